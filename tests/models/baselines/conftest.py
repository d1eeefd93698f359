"""Logs of baskets, and scores from them, for the tests of single baselines."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.types import Catalogue, EventLog, Request

Baskets = list[list[list[int]]]  # of each user, oldest first


def _offsets(lengths: list[int]) -> np.ndarray:
    return np.cumsum([0, *lengths]).astype(np.int32)


def _log_of(baskets: Baskets, together: bool = True) -> EventLog:
    histories = [[item for basket in own for item in basket] for own in baskets]
    seen = [sorted(set(history)) for history in histories]
    place = [n for own in baskets for basket in own for n in range(len(basket))]
    users = np.arange(len(baskets), dtype=np.int32)
    user = np.repeat(users, [len(history) for history in histories])
    flat = np.zeros(len(user), np.int32)
    zero = np.zeros(len(user), np.float32)
    return EventLog(
        user=user,
        item=np.concatenate(histories).astype(np.int32),
        minute=flat,
        value=zero + 1,
        kind=flat,
        mean_dwell=zero,
        prior_kind=flat,
        prior_dwell=zero,
        start=_offsets([len(history) for history in histories]),
        seen_item=np.concatenate(seen).astype(np.int32),
        seen_start=_offsets([len(items) for items in seen]),
        number=users,
        basket_place=np.array(place, np.int32) if together else None,
    )


@pytest.fixture
def log_of() -> Callable[..., EventLog]:
    """log_of(baskets, together=True): a log of them; not together, every event stands alone."""
    return _log_of


@pytest.fixture
def fitted() -> Callable:
    """fitted(model, log): the variables."""

    def fit(model, log: EventLog):
        count = np.bincount(log.item, minlength=model.sizes.items)
        return model.fit(log, Catalogue({}, {}, count.astype(np.float32)), 0)

    return fit


@pytest.fixture
def scores() -> Callable[..., np.ndarray]:
    """scores(model, variables, log, user): of all items, float32 [B, I], by compiled functions."""

    def score(model, variables, log: EventLog, user: list[int]) -> np.ndarray:
        items = np.arange(model.sizes.items)
        catalogue = Catalogue({}, {}, jnp.zeros(len(items)))
        flat = jnp.zeros(len(user), jnp.int32)
        token = flat[:, None] - 1
        request = Request(
            user=jnp.asarray(user, jnp.int32),
            minute=flat,
            kind=flat,
            dwell=flat.astype(jnp.float32),
            token=token,
            token_minute=token,
            segment=token,
        )

        def of(variables, log):
            users = model.encode_users(variables, log, catalogue, request)
            candidates = model.encode_items(variables, catalogue, items)
            return model.score(variables, users, candidates)

        return np.asarray(jax.jit(of)(variables, jax.tree.map(jnp.asarray, log)))

    return score
