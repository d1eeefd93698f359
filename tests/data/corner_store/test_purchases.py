from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest

from ancf_jax.data.corner_store import read_book
from ancf_jax.data.interactions import Interactions

NEW_YEAR = int(np.datetime64("2025-01-01", "s").astype(int))
DAY = 86_400
PURCHASE = 2
BOOK = read_book()


class Purchases(NamedTuple):
    user: np.ndarray
    item: np.ndarray
    time: np.ndarray


def purchases(log: Interactions) -> Purchases:
    bought = log.kind == PURCHASE
    return Purchases(
        user=log.user[bought],
        item=log.item[bought],
        time=log.time[bought],
    )


def in_category(log: Interactions, category: str) -> np.ndarray:
    feature = log.item_features["category"]
    number = list(feature.values).index(category)
    return (feature.ids == number).any(1)


def purchases_from_end(log: Interactions, before: int) -> Purchases:
    """Every shopper's purchase `before` places from the end (1 = the last)."""
    bought = purchases(log)
    shopper = np.arange(len(log.users))
    end = np.searchsorted(bought.user, shopper, side="right")
    row = end - before
    return Purchases(
        user=bought.user[row],
        item=bought.item[row],
        time=bought.time[row],
    )


# By the calendar and not by the simulator:


def hour_of(time: np.ndarray) -> np.ndarray:
    moment = time.astype("datetime64[s]")
    hour = moment.astype("datetime64[h]")
    return hour.astype(int) % 24


def weekday_of(time: np.ndarray) -> np.ndarray:
    """Monday is 0."""
    moment = time.astype("datetime64[s]")
    day = moment.astype("datetime64[D]")
    return (day.astype(int) + 3) % 7  # 1970-01-01 was a Thursday


def month_of(time: np.ndarray) -> np.ndarray:
    """January is 1."""
    moment = time.astype("datetime64[s]")
    month = moment.astype("datetime64[M]")
    return month.astype(int) % 12 + 1


def launch_times(log: Interactions) -> np.ndarray:
    launch_day = BOOK["launch_day"]
    days = [launch_day.get(name, 0) for name in log.names]
    return NEW_YEAR + DAY * np.array(days)


def test_nothing_is_seen_before_its_launch_and_much_is_after(log) -> None:
    launch = launch_times(log)
    assert (log.time >= launch[log.item]).all()
    seen = np.unique(log.item)
    seen_and_launched_later = launch[seen] > NEW_YEAR
    assert seen_and_launched_later.sum() >= 20


@pytest.mark.parametrize(("part", "before"), [("test", 1), ("validation", 2)])
def test_nothing_is_likely_before_its_launch(store, part, before) -> None:
    log, truth = store
    time = purchases_from_end(log, before).time
    early = time[:, None] < launch_times(log)
    chance = getattr(truth, part)
    assert early.any()
    assert (chance[early] == 0).all()


@pytest.mark.parametrize(("part", "before"), [("test", 1), ("validation", 2)])
def test_the_truth_is_as_surprised_as_it_expects(store, part, before) -> None:
    """-log P of what was bought is the entropy on average."""
    log, truth = store
    chance = getattr(truth, part).astype(np.float64)
    item = purchases_from_end(log, before).item
    shopper = np.arange(len(chance))
    np.testing.assert_allclose(chance.sum(1), 1, atol=1e-5)
    assert (chance[shopper, item] > 0).all()
    surprise = -np.log(np.where(chance > 0, chance, 1))
    entropy = (chance * surprise).sum(1)
    mean_square = (chance * surprise**2).sum(1)
    variance = mean_square - entropy**2
    excess = surprise[shopper, item] - entropy
    spread = np.sqrt(variance.sum())
    assert abs(excess.sum()) < 4 * spread


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize(("part", "before"), [("test", 1), ("validation", 2)])
def test_the_truth_is_calibrated(store, part, before, k) -> None:
    """The k likeliest items are bought as often as the truth says."""
    log, truth = store
    chance = getattr(truth, part).astype(np.float64)
    item = purchases_from_end(log, before).item
    hits = is_hit(chance, item, k)
    expected = np.sort(chance, 1)[:, -k:].sum(1)
    variance = expected * (1 - expected)
    excess = hits.sum() - expected.sum()
    spread = np.sqrt(variance.sum())
    assert abs(excess) < 4 * spread


def is_hit(scores: np.ndarray, item: np.ndarray, k: int) -> np.ndarray:
    """Whether the item of each row is among the k of highest score."""
    row = np.arange(len(item))
    score = scores[row, item]
    better = scores > score[:, None]
    return better.sum(1) < k


def test_the_best_ranking_beats_the_most_bought_and_that_beats_popularity(
    store,
) -> None:
    log, truth = store
    bought = purchases(log)
    not_last = np.append(np.diff(bought.user) == 0, False)
    earlier_user = bought.user[not_last]
    earlier_item = bought.item[not_last]
    own = np.zeros(truth.test.shape)
    np.add.at(own, (earlier_user, earlier_item), 1)
    popularity = own.sum(0)
    last = bought.item[~not_last]
    popularity_of_all = np.broadcast_to(popularity, own.shape)
    own_then_popularity = own + popularity / popularity.sum()
    best = is_hit(truth.test, last, 10)
    most_bought = is_hit(own_then_popularity, last, 10)
    most_popular = is_hit(popularity_of_all, last, 10)
    assert best.mean() > most_bought.mean() + 0.1
    assert most_bought.mean() > most_popular.mean() + 0.1


def test_demand_follows_the_hour_the_weekday_and_the_season(log) -> None:
    bought = purchases(log)
    hour = hour_of(bought.time)
    weekday = weekday_of(bought.time)
    month = month_of(bought.time)

    def share(category: str, when: np.ndarray) -> float:
        is_of_category = in_category(log, category)
        items = bought.item[when]
        return is_of_category[items].mean()

    morning = hour == 8
    evening = (hour >= 18) & (hour < 22)
    friday_evening = evening & (weekday == 4)
    early_week_evening = evening & (weekday < 3)
    winter = month <= 2
    first_quarter = month <= 3
    summer = (month == 7) | (month == 8)
    coffee_in_the_morning = share("Coffee", morning)
    pizza_in_the_evening = share("Pizza", evening)
    beer_on_friday = share("Beer", friday_evening)
    ice_cream_in_summer = share("Ice cream", summer)
    soup_in_winter = share("Soup", winter)
    assert coffee_in_the_morning > 4 * share("Coffee", evening)
    assert pizza_in_the_evening > 4 * share("Pizza", morning)
    assert beer_on_friday > 1.25 * share("Beer", early_week_evening)
    assert ice_cream_in_summer > 3 * share("Ice cream", first_quarter)
    assert soup_in_winter > 3 * share("Soup", summer)


def test_the_truth_knows_the_hour(store) -> None:
    log, truth = store
    hour = hour_of(purchases_from_end(log, 1).time)
    morning = (hour >= 7) & (hour <= 9)
    evening = hour >= 18
    is_coffee = in_category(log, "Coffee")
    coffee = truth.test[:, is_coffee].sum(1)
    assert coffee[morning].mean() > 3 * coffee[evening].mean()


def test_a_visit_holds_partners_and_hardly_twice_the_same(log) -> None:
    bought = purchases(log)
    same_user = np.diff(bought.user) == 0
    same_hour = np.diff(bought.time) < 3_600
    together = same_user & same_hour
    before = bought.item[:-1][together]
    after = bought.item[1:][together]
    assert (before == after).mean() < 0.01
    hour = hour_of(bought.time[1:][together])
    morning = (hour >= 7) & (hour <= 9)
    coffee = in_category(log, "Coffee")
    pastry = in_category(log, "Pastry")
    coffee_before = coffee[before]
    after_coffee = after[morning & coffee_before]
    after_other = after[morning & ~coffee_before]
    pastry_with_coffee = pastry[after_coffee].mean()
    pastry_with_other = pastry[after_other].mean()
    assert pastry_with_coffee > 2 * pastry_with_other
    coffee_with_coffee = coffee[after_coffee].mean()
    coffee_with_other = coffee[after_other].mean()
    assert coffee_with_coffee < 0.5 * coffee_with_other


def test_habits_fade(log) -> None:
    """What the last visit held comes back more often than what was bought long ago."""
    bought = purchases(log)
    pairs = zip(bought.user.tolist(), bought.item.tolist(), strict=True)
    last_time: dict[tuple[int, int], int] = {}
    lags = []
    for pair, time in zip(pairs, bought.time.tolist(), strict=True):
        if pair in last_time:
            lags.append(time - last_time[pair])
        last_time[pair] = time
    repeat_share = len(lags) / len(bought.time)
    assert 0.4 < repeat_share < 0.8
    days = np.array(lags) / DAY
    soon = days < 10
    later = (days >= 10) & (days < 20)
    assert soon.mean() > 2 * later.mean()


@pytest.mark.parametrize("reason", list(BOOK["refusal"]))
def test_some_shoppers_never_buy_some_things(store, reason) -> None:
    log, truth = store
    refusal = BOOK["refusal"][reason]
    refused = set(refusal["products"])
    for shelf in BOOK["shelf"]:
        if shelf["category"] in refusal["categories"]:
            refused |= set(shelf["products"])
    always_there = refused - set(BOOK["launch_day"])
    columns = np.isin(log.names, list(always_there))
    possible = truth.test[:, columns] > 0
    buys_all = possible.all(1)
    refuses = ~possible.any(1)
    assert (buys_all | refuses).all()
    assert refuses.mean() == pytest.approx(refusal["share"], abs=0.12)
    bought = purchases(log)
    is_refused = np.isin(log.names[bought.item], list(refused))
    by_refuser = refuses[bought.user]
    assert not is_refused[by_refuser].any()
