"""Exact ranking over the whole catalogue."""

from ancf_jax.ranking.ranker import Ranker, ranker_of

__all__ = ["Ranker", "ranker_of"]
