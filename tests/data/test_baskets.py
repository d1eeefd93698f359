"""What is bought together, by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from ancf_jax import data
from ancf_jax.config import Config, SplitConfig
from ancf_jax.data import TEST, TRAIN, VALIDATION, Dataset
from ancf_jax.data.baskets import (
    basket_numbers,
    basket_places,
    basket_sizes,
    repeats_of,
    share_in_baskets,
)
from ancf_jax.data.engagement import fit_scales
from ancf_jax.data.splits import places_in_baskets

MINUTE = 60

# User 0 buys three products at once, one 30 minutes later, one 31 minutes after that; user 1 begins
# at the very moment at which user 0 ends.
USER = [0, 0, 0, 0, 0, 1, 1]
TIME = [MINUTE * minutes for minutes in (0, 0, 0, 30, 61, 61, 91)]


@pytest.fixture
def visits(make_log):
    return make_log(user=USER, item=list(range(7)), time=TIME)


def test_events_of_one_moment_are_a_basket(visits):
    assert_array_equal(basket_numbers(visits), [0, 0, 0, 1, 2, 3, 4])
    assert share_in_baskets(visits) == pytest.approx(2 / 7)


def test_a_basket_goes_on_while_the_next_event_is_near(visits):
    assert_array_equal(basket_numbers(visits, 30), [0, 0, 0, 0, 1, 2, 2])
    assert_array_equal(basket_numbers(visits, 31), [0, 0, 0, 0, 0, 1, 1])
    assert share_in_baskets(visits, 30) == pytest.approx(4 / 7)


def test_users_never_share_a_basket(visits):
    basket = basket_numbers(visits, 10_000)
    assert_array_equal(basket, USER)


def test_without_a_clock_minutes_count_for_nothing(make_log):
    log = make_log([0, 0, 0, 0, 1], [0, 1, 2, 3, 4], time=[0, 0, 1, 2, 0], clock=False)
    assert_array_equal(basket_numbers(log, 0), [0, 0, 1, 2, 3])
    assert_array_equal(basket_numbers(log, 30), [0, 0, 1, 2, 3])


def test_places_within_baskets():
    basket = np.array([0, 0, 0, 1, 2, 2])
    place = basket_places(basket)
    assert_array_equal(place, [0, 1, 2, 0, 0, 1])
    assert place.dtype == np.int32
    assert basket_places(np.arange(6)) is None


def test_a_repeat_is_of_an_earlier_basket():
    #               user 0: a a | a b | b;  user 1: a
    pair = np.array([5, 5, 5, 6, 6, 9])
    place = np.array([0, 1, 0, 1, 0, 0])
    assert_array_equal(repeats_of(pair, place), [0, 0, 1, 0, 1, 0])
    assert_array_equal(repeats_of(pair, None), [0, 1, 1, 0, 1, 0])


@pytest.mark.parametrize(
    ("kind", "has_baskets"),
    [("next_basket", True), ("time", True)]
    + [(kind, False) for kind in ("leave_one_out", "ratio", "given")],
)
def test_splits_that_show_the_rest_of_a_basket_have_no_baskets(
    visits, kind, has_baskets
):
    place = places_in_baskets(visits, SplitConfig(kind=kind))
    assert (place is not None) == has_baskets


def test_a_split_counts_places_by_its_minutes(visits):
    at_once = places_in_baskets(visits, SplitConfig(kind="next_basket"))
    assert_array_equal(at_once, [0, 1, 2, 0, 0, 0, 0])
    near = SplitConfig(kind="next_basket", basket_minutes=30)
    assert_array_equal(places_in_baskets(visits, near), [0, 1, 2, 3, 0, 0, 1])


# Baskets by user; every letter is a product.
SHOP = {"u0": ["ab", "ca", "dc", "efg"], "u1": ["g", "abc", "hab"], "u2": ["h"]}


def build_shop(folder: Path, first_day: int, kind: str) -> Dataset:
    """The baskets of SHOP from a file, one of each user a day."""
    rows = [
        (user, item, first_day + 86_400 * day)
        for user, baskets in SHOP.items()
        for day, basket in enumerate(baskets)
        for item in basket
    ]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    path = folder / "shop.csv"
    table.to_csv(path, index=False)
    split = SplitConfig(kind=kind)
    return data.build(Config(data=str(path), model="most_bought", split=split))


@pytest.mark.parametrize("first_day", [1_700_000_000, 5])
def test_a_shop_of_baskets_is_split_by_them(tmp_path, first_day):
    """No flag is needed, whether the days are times or only an order."""
    shop = build_shop(tmp_path, first_day, "auto")
    assert shop.interactions.clock == (first_day > 5)
    assert shop.audit["split"] == "next_basket"
    part = shop.part[shop.interactions.user == 0]
    assert_array_equal(part, [TRAIN] * 4 + [VALIDATION] * 2 + [TEST] * 3)
    part = shop.part[shop.interactions.user == 1]
    assert_array_equal(part, [TRAIN] + [VALIDATION] * 3 + [TEST] * 3)
    assert (shop.part[shop.interactions.user == 2] == TRAIN).all()
    assert data.sizes(shop).baskets


def test_a_log_keeps_the_places_of_its_events(tmp_path):
    shop = build_shop(tmp_path, 1_700_000_000, "next_basket")
    train = data.event_log(shop, (TRAIN,))
    assert_array_equal(train.basket_place, [0, 1, 0, 1, 0, 0])
    known = data.event_log(shop, (TRAIN, VALIDATION))
    assert_array_equal(known.basket_place, [0, 1, 0, 1, 0, 1, 0, 0, 1, 2, 0])
    by_event = build_shop(tmp_path, 1_700_000_000, "leave_one_out")
    assert data.event_log(by_event, (TRAIN,)).basket_place is None
    assert not data.sizes(by_event).baskets


def test_only_what_an_earlier_basket_held_is_counted_as_repeated(tmp_path):
    """Of ab | ca, g and h that train, the second a of user 0 alone."""
    shop = build_shop(tmp_path, 1_700_000_000, "next_basket")
    catalogue = data.catalogue(shop)
    assert catalogue.total_events == 6
    assert catalogue.total_repeats == 1


def test_a_basket_has_one_moment_and_knows_one_kind_and_dwell(make_log):
    """Baskets of kinds 0 | 1 2 | 1 1 2: each event knows the kind of the one before its basket."""
    interactions = make_log(
        user=[0] * 6,
        item=list(range(6)),
        time=[MINUTE * minutes for minutes in (0, 100, 101, 200, 201, 202)],
        kind=np.array([0, 1, 2, 1, 1, 2], np.int8),
        dwell=np.array([3, 5, 7, 9, 11, 13], np.float32),
    )
    visits = SplitConfig(kind="next_basket", basket_minutes=1)
    shop = Dataset(
        interactions=interactions,
        part=np.full(6, TRAIN, np.int8),
        audit={},
        scales=fit_scales(None, interactions.dwell),
        value=np.ones(6, np.float32),
        basket_place=places_in_baskets(interactions, visits),
    )
    log = data.event_log(shop, (TRAIN,))
    assert_array_equal(log.minute, [0, 100, 100, 200, 200, 200])
    assert_array_equal(log.prior_kind, [-1, 0, 0, 2, 2, 2])
    dwell = np.asarray(log.mean_dwell)[[0, 0, 2, 2, 2]]
    assert_array_equal(log.prior_dwell, [0, *dwell])


def test_a_data_set_of_baskets_is_saved_whole(tmp_path):
    shop = build_shop(tmp_path, 5, "next_basket")
    data.save(shop, tmp_path / "saved")
    again = data.load(tmp_path / "saved")
    assert_array_equal(again.basket_place, shop.basket_place)


def test_sizes_of_baskets():
    place = np.array([0, 1, 2, 0, 0, 1], np.int32)
    assert_array_equal(basket_sizes(place), [3, 3, 3, 1, 2, 2])
