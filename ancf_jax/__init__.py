"""ancf_jax: Attention Neural Collaborative Filtering in JAX, from raw shop events to the top N.

The names below are what people import.
"""

import os

# Before Arrow is imported: its own pools keep a third of the peak of reading a file for later.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

from ancf_jax.config import Config, override
from ancf_jax.data import Dataset, build, event_log
from ancf_jax.data.corner_store import simulate
from ancf_jax.errors import UserError
from ancf_jax.evaluation import Evaluation, evaluate
from ancf_jax.models.ancf.config import AncfSettings
from ancf_jax.models.ancf.context import Context, ContextState
from ancf_jax.models.ancf.model import Ancf
from ancf_jax.models.protocol import FittedModel, NeuralModel, PairModule
from ancf_jax.models.registry import Registration, default_config, register
from ancf_jax.modules.attention import attend
from ancf_jax.modules.embeddings import embedding_bag, lookup
from ancf_jax.modules.hierarchy import level_attention
from ancf_jax.modules.temporal import calendar, sinusoid, temporal_encoding
from ancf_jax.ranking import Ranker
from ancf_jax.recommender import Recommender, load_recommender
from ancf_jax.runs import load
from ancf_jax.training.fit import fit
from ancf_jax.types import Catalogue, EventLog, Request, Sizes
from ancf_jax.view import PRINTED, SILENT, View

__all__ = [
    "PRINTED",
    "SILENT",
    "Ancf",
    "AncfSettings",
    "Catalogue",
    "Config",
    "Context",
    "ContextState",
    "Dataset",
    "Evaluation",
    "EventLog",
    "FittedModel",
    "NeuralModel",
    "PairModule",
    "Ranker",
    "Recommender",
    "Registration",
    "Request",
    "Sizes",
    "UserError",
    "View",
    "attend",
    "build",
    "calendar",
    "default_config",
    "embedding_bag",
    "evaluate",
    "event_log",
    "fit",
    "level_attention",
    "load",
    "load_recommender",
    "lookup",
    "override",
    "register",
    "simulate",
    "sinusoid",
    "temporal_encoding",
]
