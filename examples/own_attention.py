"""An attention of your own inside `ancf`: python examples/own_attention.py [DATA] [RUN]."""

import sys
from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

import ancf_jax
from ancf_jax.models.ancf import ANCF, build


class MeanOfHistory(ancf_jax.Context):
    """Every event that a position may look at counts alike."""

    @nn.compact
    def __call__(self, tokens, scope, train, last=False):
        visible = (scope.mask[:, 0] == 0).astype(tokens.dtype)
        weights = visible / jnp.maximum(visible.sum(-1, keepdims=True), 1.0)
        states = nn.Dense(tokens.shape[-1])(weights @ tokens)
        return ancf_jax.ContextState(states[:, -1:] if last else states)


own = replace(ANCF, name="ancf-mean", build=partial(build, context=MeanOfHistory))
ancf_jax.register(own)


def main(data: str = "corner-store", run: str = "runs/ancf-mean") -> None:
    """Trains two epochs, then prints a figure on the test events."""
    config = ancf_jax.default_config("ancf-mean")
    config = ancf_jax.override(config, {"data": data, "run": run, "epochs": 2})
    ancf_jax.fit(config)
    loaded = ancf_jax.load(run)
    found = ancf_jax.evaluate(loaded.ranker, loaded.dataset, keep_seen=True)
    print(f"ndcg@10 {found.metrics['ndcg@10']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
