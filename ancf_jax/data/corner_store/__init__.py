"""The built-in corner store: a SIMULATED convenience store, to try everything at once.

It needs no download. No shopper and no purchase here is real. Every purchase is drawn,
one after another, from

    P(item | shopper, time, past)
        = softmax(appeal + taste + demand(time) + habit(past) + basket(past)),

so the best possible ranking is known:

- `appeal` holds for everybody;
- `taste` is a shopper's leanings, favourites and refusals;
- `demand` depends on hour, weekday, season and launch;
- `habit` is the effect of earlier purchases, fading over weeks;
- `basket` is the effect of what this visit holds: the product itself and its rivals become
  less likely, what goes with them more likely.

`corner_store.toml` holds the shelves.
"""

from ancf_jax.data.corner_store.purchases import Truth
from ancf_jax.data.corner_store.shelves import Shop, read_book
from ancf_jax.data.corner_store.simulation import simulate
from ancf_jax.data.corner_store.visits import Visits

__all__ = ["Shop", "Truth", "Visits", "read_book", "simulate"]
