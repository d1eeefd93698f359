"""An attention of your own inside `ancf`: python examples/own_attention.py [DATA] [RUN]."""

import sys
from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax import Context, ContextState, default_config, evaluate, fit, load, override, register
from ancf_jax.data import TEST, known_parts
from ancf_jax.models.ancf import ANCF, build


class MeanOfHistory(Context):
    """Every event that a position may look at counts alike."""

    @nn.compact
    def __call__(self, tokens, scope, train, last=False):
        visible = (scope.mask[:, 0] == 0).astype(tokens.dtype)
        weights = visible / jnp.maximum(visible.sum(-1, keepdims=True), 1.0)
        states = nn.Dense(tokens.shape[-1])(weights @ tokens)
        return ContextState(states[:, -1:] if last else states)


register(replace(ANCF, name="ancf-mean", build=partial(build, context=MeanOfHistory)))


def main(data: str = "corner-store", run: str = "runs/ancf-mean") -> None:
    """Trains two epochs, then prints the figures on the test events."""
    changes = {"data": data, "run": run, "epochs": 2}
    fitted = fit(override(default_config("ancf-mean"), changes))
    loaded = load(fitted.config.run, known_parts(TEST))
    keep_seen = bool(fitted.config.keep_seen)
    found = evaluate(loaded.ranker, loaded.dataset, TEST, keep_seen=keep_seen)
    print(f"ndcg@10 {found.metrics['ndcg@10']:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
