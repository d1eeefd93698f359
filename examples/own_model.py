"""A model of your own: python examples/own_model.py [DATA] [RUN]."""

import sys
from dataclasses import dataclass

import flax.linen as nn

import ancf_jax
from ancf_jax.limits import Size
from ancf_jax.modules.embeddings import lookup, pair_dot


@dataclass(frozen=True)
class Settings:
    size: Size = 32  # the flag --network.size


class LastItem(ancf_jax.PairModule):
    """score = after[last item] . item: what follows depends on what was just taken."""

    size: int

    def setup(self):
        shape = (self.sizes.items, self.size)
        self.after = self.param("after", nn.initializers.normal(0.1), shape)
        self.item = self.param("item", nn.initializers.normal(0.1), shape)

    def encode_users(self, catalogue, request, train=False):
        return lookup(self.after, request.token[..., -1])

    def encode_items(self, catalogue, items):
        return lookup(self.item, items)

    def couple(self, users, items):
        return pair_dot(users, items)[..., None]


def build(config, sizes, clock):
    """The model, which wants to know the latest event of a history."""
    return ancf_jax.NeuralModel(LastItem(sizes, config.network.size), history_length=1)


DEFAULTS = {"loop.batch_size": 256, "optim.learning_rate": 0.01}
ancf_jax.register(ancf_jax.Registration("last-item", Settings, build, DEFAULTS))


def main(data: str = "corner-store", run: str = "runs/last-item") -> None:
    """Trains, evaluates, and recommends to two users."""
    config = ancf_jax.default_config("last-item")
    config = ancf_jax.override(config, {"data": data, "run": run, "epochs": 3})
    ancf_jax.fit(config)
    loaded = ancf_jax.load(run)
    found = ancf_jax.evaluate(loaded.ranker, loaded.dataset, keep_seen=True)
    print(f"ndcg@10 {found.metrics['ndcg@10']:.4f}")
    users = loaded.dataset.interactions.users[:2].tolist()
    print(ancf_jax.load_recommender(run).recommend(users, n=5))


if __name__ == "__main__":
    main(*sys.argv[1:])
