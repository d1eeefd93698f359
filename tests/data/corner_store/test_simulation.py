from __future__ import annotations

import numpy as np
import pytest

from ancf_jax.data.corner_store import simulate

NEW_YEAR = int(np.datetime64("2025-01-01", "s").astype(int))
YEAR = 365 * 86_400
VIEW = 0
CLICK = 1
PURCHASE = 2
TYPES = {
    "user": np.int32,
    "item": np.int32,
    "time": np.int64,
    "kind": np.int8,
    "clicked": np.float32,
    "dwell": np.float32,
    "hover": np.float32,
    "quantity": np.float32,
}


def test_the_seed_decides_everything() -> None:
    one, truth = simulate(seed=3, shoppers=31, days=120)
    same, same_truth = simulate(seed=3, shoppers=31, days=120)
    other, _ = simulate(seed=4, shoppers=31, days=120)
    for name in TYPES:
        column = getattr(one, name)
        same_column = getattr(same, name)
        np.testing.assert_array_equal(column, same_column)
    np.testing.assert_array_equal(truth.test, same_truth.test)
    assert one.digest == same.digest
    assert one.digest != other.digest
    assert len(one.digest) == 64


def test_events_are_sorted_by_shopper_and_time(log) -> None:
    step = np.diff(log.user)
    assert (step >= 0).all()
    elapsed = np.diff(log.time)[step == 0]
    assert (elapsed > 0).all()
    assert log.time.min() >= NEW_YEAR
    assert log.time.max() < NEW_YEAR + YEAR


def test_the_log_says_what_its_numbers_stand_for(log) -> None:
    assert log.clock
    assert log.kinds == ("view", "click", "purchase")
    assert log.users[17] == "S00017"
    assert log.items[42] == "P0042"
    distinct_names = set(log.names)
    assert len(distinct_names) == len(log.items)


@pytest.mark.parametrize("name", list(TYPES))
def test_the_columns_have_their_types(log, name) -> None:
    assert getattr(log, name).dtype == TYPES[name]


def test_the_last_event_of_every_shopper_is_a_purchase(log) -> None:
    last = np.flatnonzero(np.diff(log.user, append=-1))
    assert len(last) == len(log.users)
    assert (log.kind[last] == PURCHASE).all()


def test_every_shopper_buys_three_times_at_least(log) -> None:
    buyer = log.user[log.kind == PURCHASE]
    count = np.bincount(buyer)
    assert len(count) == len(log.users)
    assert count.min() >= 3


def test_traces_agree_with_the_kind_of_event(log) -> None:
    purchase = log.kind == PURCHASE
    view = log.kind == VIEW
    click = log.kind == CLICK
    assert (log.clicked[view] == 0).all()
    assert (log.clicked[click] == 1).all()
    assert set(log.clicked[purchase]) == {0.0, 1.0}
    assert np.isnan(log.quantity[~purchase]).all()
    assert (log.quantity[purchase] >= 1).all()


def test_durations_have_a_heavy_tail(log) -> None:
    assert log.hover.min() > 0
    assert log.dwell.min() > 0
    assert log.dwell.max() > 20 * np.median(log.dwell)


def without_mean(values: np.ndarray, group: np.ndarray, groups: int) -> np.ndarray:
    """The values less the mean of their group."""
    total = np.bincount(group, values, groups)
    count = np.bincount(group, minlength=groups)
    mean = total / count.clip(1)
    return values - mean[group]


def unexplained_dwell(log) -> np.ndarray:
    """Log dwell beyond what shopper and product explain by themselves."""
    dwell = np.log(log.dwell)
    users = len(log.users)
    items = len(log.items)
    dwell = without_mean(dwell, log.user, users)
    return without_mean(dwell, log.item, items)


def pair_ids(log) -> np.ndarray:
    """Equal for the events of one shopper with one product."""
    user = log.user.astype(np.int64)
    return user * len(log.items) + log.item


def test_dwell_on_one_pair_agrees(log) -> None:
    pair = pair_ids(log)
    order = np.argsort(pair, kind="stable")
    same_pair = np.diff(pair[order]) == 0
    dwell = unexplained_dwell(log)[order]
    earlier = dwell[:-1][same_pair]
    later = dwell[1:][same_pair]
    assert np.corrcoef(earlier, later)[0, 1] > 0.2


def test_what_is_bought_some_day_is_looked_at_longer(log) -> None:
    pair = pair_ids(log)
    purchase = log.kind == PURCHASE
    is_bought = np.isin(pair, pair[purchase])
    dwell = unexplained_dwell(log)
    of_bought = dwell[~purchase & is_bought]
    of_others = dwell[~purchase & ~is_bought]
    assert of_bought.mean() > of_others.mean() + 0.3


def test_the_smallest_store_works() -> None:
    log, truth = simulate(seed=1, shoppers=1, days=30)
    purchase = log.kind == PURCHASE
    assert truth.test.shape == (1, len(log.items))
    assert purchase.sum() >= 3
