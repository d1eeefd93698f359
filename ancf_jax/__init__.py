"""ancf_jax: Attention Neural Collaborative Filtering in JAX, from raw shop events to the exact top N.

The names below are what people import; each is loaded when it is first used.
"""

from importlib import import_module
from typing import Any

_HOME = {
    "config": "Config default_config override", "errors": "UserError", "types": "Catalogue EventLog Query Sizes",
    "data.corner_store": "simulate", "data.dataset": "Dataset build event_log",
    "evaluation": "Evaluation evaluate", "models.ancf": "Ancf", "modules.attention": "attend",
    "modules.embeddings": "embedding_bag lookup", "modules.hierarchy": "level_attention",
    "modules.temporal": "calendar sinusoid temporal_encoding", "ranking": "Ranker",
    "recommender": "Recommender load_recommender", "training.fit": "fit",
}  # fmt: skip
_MODULE_OF = {
    name: f"ancf_jax.{module}"
    for module, names in _HOME.items()
    for name in names.split()
}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module ancf_jax has no attribute {name}")
    return getattr(import_module(_MODULE_OF[name]), name)
