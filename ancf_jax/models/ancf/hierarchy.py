"""The category hierarchy: levels of an item (department, category), weighed by attention."""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from ancf_jax.modules.embeddings import embedding_bag
from ancf_jax.modules.heads import Dense
from ancf_jax.modules.hierarchy import level_attention
from ancf_jax.types import Array, Catalogue


class Hierarchy(nn.Module):
    """hierarchy(i) = sum_g softmax_g(query(item_i) . level_g / sqrt(D)) level_g.

    level_g is the bag of the item's values of feature g. Products share strength with others of
    their category and department, so one that nobody has bought yet has a place, too.

    Attributes:
        size: D.
        pooling: how several values of one level are pooled.
    """

    size: int
    pooling: Literal["mean", "sum"]

    def setup(self) -> None:
        self.level_query = Dense(self.size)

    def __call__(
        self,
        tables: dict[str, Array],
        catalogue: Catalogue,
        items: Array,
        embedding: Array,
    ) -> Array:
        """[..., D] of items [...] with this embedding [..., D]; zero for one without levels.

        Args:
            tables: the embeddings [values, D] of each level.
            catalogue: which values each item has.
            items: row numbers.
            embedding: the items' own embeddings, which ask.
        """
        if not tables:
            return jnp.zeros_like(embedding)
        values = [
            jnp.take(catalogue.item_features[name], items, axis=0) for name in tables
        ]
        bags = [
            embedding_bag(table, ids, self.pooling)
            for table, ids in zip(tables.values(), values, strict=True)
        ]
        present = jnp.stack([(ids >= 0).any(-1) for ids in values], -1)
        mixed, weights = level_attention(
            self.level_query(embedding), jnp.stack(bags, -2), present
        )
        self.sow("intermediates", "level_weights", weights)
        return mixed
