"""implicit's `recommend` with given factors: the top 10 of all users at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix


def top_n(options: dict[str, str]) -> Callable[[], Any]:
    """All users' top 10, without the items that they have seen."""
    users = int(options["users"])
    items = int(options["items"])
    per_user = 20
    rng = np.random.default_rng(0)
    item = rng.integers(0, items, users * per_user)
    start = np.arange(users + 1) * per_user
    ones = np.ones(len(item), np.float32)
    seen = csr_matrix((ones, item, start), (users, items))
    model = AlternatingLeastSquares(factors=64)
    model.user_factors = rng.standard_normal((users, 64)).astype(np.float32)
    model.item_factors = rng.standard_normal((items, 64)).astype(np.float32)
    everybody = np.arange(users)

    def work() -> Any:
        return model.recommend(everybody, seen, N=10, filter_already_liked_items=True)

    return work
