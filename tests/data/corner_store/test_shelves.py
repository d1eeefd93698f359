from __future__ import annotations

from ancf_jax.data.corner_store import read_book
from ancf_jax.data.interactions import Feature, Interactions

BOOK = read_book()


def values_of(log: Interactions, product: str, feature: Feature) -> list[str]:
    ids = feature.ids[list(log.names).index(product)]
    return [str(feature.values[number]) for number in ids if number >= 0]


def all_names() -> list[str]:
    names: list[str] = []
    for shelf in BOOK["shelf"]:
        names += shelf["products"]
    return names


def all_categories() -> list[str]:
    return [shelf["category"] for shelf in BOOK["shelf"]]


def test_names_of_products_and_categories_are_unique() -> None:
    names = all_names()
    categories = all_categories()
    assert len(names) == len(set(names)) > 300
    assert len(categories) == len(set(categories)) > 40


def test_the_assortment_speaks_of_products_and_categories_that_exist() -> None:
    names = set(all_names())
    categories = set(all_categories())
    assert set(BOOK["also_in"]) <= names
    assert set(BOOK["also_in"].values()) <= categories
    assert set(BOOK["launch_day"]) <= names
    for group in BOOK["refusal"].values():
        assert set(group["products"]) <= names
        assert set(group["categories"]) <= categories
    for shelf in BOOK["shelf"]:
        assert set(shelf["then"]) <= categories
        for pattern in ("hourly", "weekly", "seasonal"):
            assert shelf[pattern] in BOOK[pattern]


def test_products_on_two_shelves_have_two_categories(log) -> None:
    category = log.item_features["category"]
    assert values_of(log, "Flat white, 12 oz", category) == ["Coffee"]
    assert values_of(log, "Cold brew, 12 oz", category) == [
        "Iced coffee & tea",
        "Coffee",
    ]
    assert values_of(log, "Peach iced tea", category) == [
        "Iced coffee & tea",
        "Soft drinks",
    ]
    on_two_shelves = (category.ids >= 0).all(1)
    assert on_two_shelves.sum() == len(BOOK["also_in"]) >= 10


def test_two_shelves_of_one_department_are_one_department(log) -> None:
    department = log.item_features["department"]
    assert values_of(log, "Flat white, 12 oz", department) == ["Café & bakery"]
    assert values_of(log, "Cold brew, 12 oz", department) == [
        "Cold drinks",
        "Café & bakery",
    ]
    assert values_of(log, "Peach iced tea", department) == ["Cold drinks"]


def test_every_product_has_a_value_and_every_value_a_product(log) -> None:
    for level in ("category", "department"):
        feature = log.item_features[level]
        assert (feature.ids[:, 0] >= 0).all()
        assert feature.ids.max() == len(feature.values) - 1
