"""The four systems, the NCF family and the baselines, all behind `protocol.Model`."""

from ancf_jax.models import ancf, engagement, linear, neumf
from ancf_jax.models.baselines import (
    counting,
    ease,
    follows,
    ials,
    recency,
    recent,
    tifu_knn,
)
from ancf_jax.models.registry import register

BUILT_IN = (
    ancf.ANCF,
    linear.LINEAR,
    engagement.ENGAGEMENT,
    neumf.MF,
    neumf.GMF,
    neumf.MLP,
    neumf.NEUMF,
    counting.POPULARITY,
    counting.MOST_BOUGHT,
    recent.RECENT_POPULARITY,
    recency.RECENCY_FREQUENCY,
    tifu_knn.TIFU_KNN,
    follows.FOLLOWS,
    ease.EASE,
    ials.IALS,
)

for registration in BUILT_IN:
    register(registration)
