from __future__ import annotations

import dataclasses
import tomllib
from importlib import resources

import numpy as np
import pytest

from ancf_jax.data.corner_store import Truth, simulate
from ancf_jax.data.interactions import Feature, Interactions

NEW_YEAR = int(np.datetime64("2025-01-01", "s").astype(int))
VIEW, CLICK, PURCHASE = 0, 1, 2
BOOK = tomllib.loads(
    resources.files("ancf_jax.data").joinpath("corner_store.toml").read_text("utf-8")
)


@pytest.fixture(scope="module")
def store() -> tuple[Interactions, Truth]:
    return simulate(seed=5, shoppers=307)


@pytest.fixture(scope="module")
def log(store) -> Interactions:
    return store[0]


def purchases(log: Interactions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    bought = log.kind == PURCHASE
    return log.user[bought], log.item[bought], log.time[bought]


def in_category(log: Interactions, category: str) -> np.ndarray:
    feature = log.item_features["category"]
    return (feature.ids == list(feature.values).index(category)).any(1)


def last_items(log: Interactions, before: int) -> tuple[np.ndarray, np.ndarray]:
    """Item and time of every shopper's purchase `before` places from the end (1 = the last)."""
    user, item, time = purchases(log)
    row = np.searchsorted(user, np.arange(len(log.users)), side="right") - before
    return item[row], time[row]


def clock(time: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(hour, weekday with Monday 0, month with January 1), by the calendar and not by the simulator."""
    moment = time.astype("datetime64[s]")
    weekday = (
        moment.astype("datetime64[D]").astype(int) + 3
    ) % 7  # 1970-01-01 was a Thursday
    return (
        moment.astype("datetime64[h]").astype(int) % 24,
        weekday,
        moment.astype("datetime64[M]").astype(int) % 12 + 1,
    )


def test_the_seed_decides_everything() -> None:
    first, truth = simulate(seed=3, shoppers=31, days=120)
    again, truth_again = simulate(seed=3, shoppers=31, days=120)
    other, _ = simulate(seed=4, shoppers=31, days=120)
    for name in (
        "user",
        "item",
        "time",
        "kind",
        "clicked",
        "dwell",
        "hover",
        "quantity",
    ):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    np.testing.assert_array_equal(truth.test, truth_again.test)
    assert first.digest == again.digest != other.digest
    assert len(first.digest) == 64


def test_the_log_keeps_the_contract_of_interactions(log) -> None:
    assert log.clock
    assert log.kinds == ("view", "click", "purchase")
    same = np.diff(log.user) == 0
    assert (np.diff(log.user) >= 0).all()
    assert (np.diff(log.time)[same] > 0).all()
    assert (log.users[17], log.items[42], len(set(log.names))) == (
        "S00017",
        "P0042",
        len(log.items),
    )
    for name, kind in (
        ("user", np.int32),
        ("item", np.int32),
        ("time", np.int64),
        ("kind", np.int8),
    ):
        assert getattr(log, name).dtype == kind
    for field in dataclasses.fields(log):
        if field.name in ("clicked", "dwell", "hover", "quantity"):
            assert getattr(log, field.name).dtype == np.float32
    assert log.time.min() >= NEW_YEAR
    assert log.time.max() < NEW_YEAR + 365 * 86_400


def test_the_last_event_of_every_shopper_is_a_purchase(log) -> None:
    last = np.flatnonzero(np.diff(log.user, append=-1))
    assert len(last) == len(log.users)
    assert (log.kind[last] == PURCHASE).all()
    assert np.bincount(purchases(log)[0]).min() >= 3


def test_traces_agree_with_the_kind_of_event(log) -> None:
    assert (log.clicked[log.kind == VIEW] == 0).all()
    assert (log.clicked[log.kind == CLICK] == 1).all()
    assert set(log.clicked[log.kind == PURCHASE]) == {0.0, 1.0}
    assert np.isnan(log.quantity[log.kind != PURCHASE]).all()
    assert (log.quantity[log.kind == PURCHASE] >= 1).all()
    assert min(log.dwell.min(), log.hover.min()) > 0
    assert log.dwell.max() > 20 * np.median(log.dwell)  # heavy tail


def test_the_assortment_speaks_of_products_and_categories_that_exist() -> None:
    names = [name for shelf in BOOK["shelf"] for name in shelf["products"]]
    categories = [shelf["category"] for shelf in BOOK["shelf"]]
    assert len(names) == len(set(names)) > 300
    assert len(categories) == len(set(categories)) > 40
    refused = BOOK["refusal"].values()
    assert {*BOOK["also_in"], *BOOK["launch_day"]} | {
        n for group in refused for n in group["products"]
    } <= set(names)
    assert {c for group in refused for c in group["categories"]} | set(
        BOOK["also_in"].values()
    ) <= set(categories)
    for shelf in BOOK["shelf"]:
        assert set(shelf["then"]) <= set(categories)
        assert all(
            shelf[pattern] in BOOK[pattern]
            for pattern in ("hourly", "weekly", "seasonal")
        )


def test_features_hold_two_values_for_products_on_two_shelves(log) -> None:
    category, department = (
        log.item_features["category"],
        log.item_features["department"],
    )

    def values(name: str, feature: Feature) -> list[str]:
        return [
            str(feature.values[n])
            for n in feature.ids[list(log.names).index(name)]
            if n >= 0
        ]

    assert values("Flat white, 12 oz", category) == ["Coffee"]
    assert values("Flat white, 12 oz", department) == ["Café & bakery"]
    assert values("Cold brew, 12 oz", category) == ["Iced coffee & tea", "Coffee"]
    assert values("Cold brew, 12 oz", department) == ["Cold drinks", "Café & bakery"]
    assert values("Peach iced tea", category) == ["Iced coffee & tea", "Soft drinks"]
    assert values("Peach iced tea", department) == ["Cold drinks"]
    assert (category.ids >= 0).all(1).sum() == len(BOOK["also_in"]) >= 10
    for feature in (category, department):
        assert (feature.ids[:, 0] >= 0).all()
        assert feature.ids.max() == len(feature.values) - 1


def test_nothing_is_seen_or_likely_before_its_launch(store) -> None:
    log, truth = store
    launch = NEW_YEAR + 86_400 * np.array(
        [BOOK["launch_day"].get(name, 0) for name in log.names]
    )
    assert (log.time >= launch[log.item]).all()
    assert (
        launch[np.unique(log.item)] > NEW_YEAR
    ).sum() >= 20  # and they do sell later
    for before, rows in ((1, truth.test), (2, truth.validation)):
        early = last_items(log, before)[1][:, None] < launch
        assert early.any()
        assert (rows[early] == 0).all()


@pytest.mark.parametrize(("part", "before"), [("test", 1), ("validation", 2)])
def test_the_truth_is_calibrated(store, part, before) -> None:
    """log P of what was bought is -entropy on average, and any group of items is hit as often as it says."""
    log, truth = store
    rows = getattr(truth, part).astype(np.float64)
    item = last_items(log, before)[0]
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)
    surprise = -np.log(np.where(rows > 0, rows, 1))
    entropy = (rows * surprise).sum(1)
    spread = np.sqrt(((rows * surprise**2).sum(1) - entropy**2).sum())
    users = np.arange(len(rows))
    assert (rows[users, item] > 0).all()
    assert abs((surprise[users, item] - entropy).sum()) < 4 * spread
    place = (rows > rows[users, item][:, None]).sum(1)
    for k in (1, 5, 20):
        expected = np.sort(rows, 1)[:, -k:].sum(1)
        assert abs((place < k).sum() - expected.sum()) < 4 * np.sqrt(
            (expected * (1 - expected)).sum()
        )


def test_the_best_ranking_beats_the_most_bought_and_that_beats_popularity(
    store,
) -> None:
    log, truth = store
    item = last_items(log, 1)[0]
    user, bought, _ = purchases(log)
    rest = np.append(np.diff(user) == 0, False)
    popular = np.bincount(bought[rest], minlength=len(log.items)).astype(float)
    own = np.zeros(truth.test.shape)
    np.add.at(own, (user[rest], bought[rest]), 1)
    hits = [
        np.mean((s > s[np.arange(len(item)), item][:, None]).sum(1) < 10)
        for s in (
            truth.test,
            own + popular / popular.sum(),
            np.tile(popular, (len(item), 1)),
        )
    ]
    assert hits[0] > hits[1] + 0.1
    assert hits[1] > hits[2] + 0.1


def test_demand_follows_the_hour_the_weekday_and_the_season(log) -> None:
    _, item, time = purchases(log)
    hour, weekday, month = clock(time)

    def share(category: str, when: np.ndarray) -> float:
        return in_category(log, category)[item[when]].mean()

    evening = (hour >= 18) & (hour < 22)
    assert share("Coffee", hour == 8) > 4 * share("Coffee", evening)
    assert share("Pizza", evening) > 4 * share("Pizza", hour == 8)
    assert share("Beer", evening & (weekday == 4)) > 1.25 * share(
        "Beer", evening & (weekday < 3)
    )
    assert share("Ice cream", (month == 7) | (month == 8)) > 3 * share(
        "Ice cream", month <= 3
    )
    assert share("Soup", month <= 2) > 3 * share("Soup", (month == 7) | (month == 8))


def test_the_truth_knows_the_hour(store) -> None:
    log, truth = store
    hour = clock(last_items(log, 1)[1])[0]
    coffee = truth.test[:, in_category(log, "Coffee")].sum(1)
    assert coffee[(hour >= 7) & (hour <= 9)].mean() > 3 * coffee[hour >= 18].mean()


def test_a_visit_holds_partners_and_hardly_twice_the_same(log) -> None:
    user, item, time = purchases(log)
    together = (np.diff(user) == 0) & (np.diff(time) < 3_600)
    before, after = item[:-1][together], item[1:][together]
    hour = clock(time[1:][together])[0]
    coffee, pastry = in_category(log, "Coffee"), in_category(log, "Pastry")
    morning = (hour >= 7) & (hour <= 9)
    assert (before == after).mean() < 0.01
    assert (
        pastry[after[morning & coffee[before]]].mean()
        > 2 * pastry[after[morning & ~coffee[before]]].mean()
    )
    assert (
        coffee[after[morning & coffee[before]]].mean()
        < 0.5 * coffee[after[morning & ~coffee[before]]].mean()
    )


def test_habits_fade(log) -> None:
    """What was bought in the visit before comes back more often than what was bought long ago."""
    user, item, time = purchases(log)
    lag = np.full(len(user), np.inf)
    seen: dict[tuple[int, int], int] = {}
    for n, pair in enumerate(zip(user.tolist(), item.tolist(), strict=True)):
        lag[n] = time[n] - seen.get(pair, -(10**12))
        seen[pair] = time[n]
    repeated = lag[lag < 10**9] / 86_400
    assert 0.4 < len(repeated) / len(lag) < 0.8
    assert np.mean(repeated < 10) > 2 * np.mean((repeated >= 10) & (repeated < 20))


@pytest.mark.parametrize("group", list(BOOK["refusal"]))
def test_some_shoppers_never_buy_some_things(store, group) -> None:
    log, truth = store
    group = BOOK["refusal"][group]
    left = {
        n
        for shelf in BOOK["shelf"]
        if shelf["category"] in group["categories"]
        for n in shelf["products"]
    }
    left |= set(group["products"])
    columns = np.isin(log.names, list(left - set(BOOK["launch_day"])))
    possible = truth.test[:, columns] > 0
    refuses = ~possible.any(1)
    assert (possible.all(1) | refuses).all()
    assert abs(refuses.mean() - group["share"]) < 0.12
    user, item, _ = purchases(log)
    assert not np.isin(log.names[item], list(left))[refuses[user]].any()


def test_engagement_is_a_matter_of_shopper_and_product_together(log) -> None:
    """Dwell on the same pair agrees beyond what the shopper and the product explain by themselves."""
    dwell = np.log(log.dwell)
    for row, n in ((log.user, len(log.users)), (log.item, len(log.items))):
        dwell = (
            dwell
            - (np.bincount(row, dwell, n) / np.bincount(row, minlength=n).clip(1))[row]
        )
    pair = log.user.astype(np.int64) * len(log.items) + log.item
    order = np.argsort(pair, kind="stable")
    again = np.diff(pair[order]) == 0
    assert np.corrcoef(dwell[order][:-1][again], dwell[order][1:][again])[0, 1] > 0.2
    bought, seen = np.isin(pair, pair[log.kind == PURCHASE]), log.kind != PURCHASE
    assert dwell[seen & bought].mean() > dwell[seen & ~bought].mean() + 0.3


def test_the_smallest_store_works() -> None:
    log, truth = simulate(seed=1, shoppers=1, days=30)
    assert truth.test.shape == (1, len(log.items))
    assert (log.kind == PURCHASE).sum() >= 3
