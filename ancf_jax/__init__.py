"""ancf_jax: Attention Neural Collaborative Filtering in JAX, from raw shop events to the exact top N.

The names below are what people import; each is loaded when it is first used.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "ancf_jax.config": ("Config", "default_config", "override"),
    "ancf_jax.errors": ("UserError",),
    "ancf_jax.types": ("Catalogue", "EventLog", "Query", "Sizes"),
    "ancf_jax.data.corner_store": ("simulate",),
    "ancf_jax.data.dataset": ("Dataset", "build", "event_log"),
    "ancf_jax.evaluation": ("Evaluation", "evaluate"),
    "ancf_jax.models.ancf": ("Ancf",),
    "ancf_jax.modules.attention": ("attend",),
    "ancf_jax.modules.embeddings": ("embedding_bag", "lookup"),
    "ancf_jax.modules.hierarchy": ("level_attention",),
    "ancf_jax.modules.temporal": ("calendar", "sinusoid", "temporal_encoding"),
    "ancf_jax.ranking": ("Ranker",),
    "ancf_jax.recommender": ("Recommender", "load_recommender"),
    "ancf_jax.training.fit": ("fit",),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module ancf_jax has no attribute {name}")
    return getattr(import_module(_MODULE_OF[name]), name)
