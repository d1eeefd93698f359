"""implicit's `recommend` with given factors: the top 10 of all users at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from implicit.als import AlternatingLeastSquares
from scipy.sparse import csr_matrix


def top_n(options: dict[str, str]) -> Callable[[], Any]:
    """All users' top 10, items that they had left out."""
    users, items, per_user = int(options["users"]), int(options["items"]), 20
    rng = np.random.default_rng(0)
    seen = rng.integers(0, items, users * per_user)
    had = csr_matrix(
        (np.ones(len(seen), np.float32), seen, np.arange(users + 1) * per_user),
        (users, items),
    )
    model = AlternatingLeastSquares(factors=64)
    model.user_factors = rng.standard_normal((users, 64)).astype(np.float32)
    model.item_factors = rng.standard_normal((items, 64)).astype(np.float32)
    return lambda: model.recommend(
        np.arange(users), had, N=10, filter_already_liked_items=True
    )
