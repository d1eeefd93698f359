"""Which settings of `ancf` suit which data, and that every preset says all that the data would."""

from __future__ import annotations

from pathlib import Path

import pytest

from ancf_jax.cli import not_given
from ancf_jax.config import flatten, override, validate
from ancf_jax.models.ancf.by_data import by_data
from ancf_jax.models.registry import default_config
from ancf_jax.types import Facts
from benchmarks.accuracy_presets import read_preset

PRESETS = Path(__file__).resolve().parents[3] / "presets"

SHOP = Facts(users=13_858, items=11_997, events=389_900, history=66, repeats=0.104)
SMALL_SHOP = Facts(users=2_405, items=23_950, events=95_444, history=93, repeats=0.095)
CORNER_STORE = Facts(users=1_200, items=315, events=104_781, history=110, repeats=0.54)
FILMS = Facts(users=6_040, items=3_416, events=987_019, history=397, repeats=0.0)
BEAUTY = Facts(users=22_363, items=12_101, events=153_776, history=12, repeats=0.0)

DATA_OF = {
    "completejourney": SMALL_SHOP,
    "corner": CORNER_STORE,
    "gsasrec": FILMS,
    "ml": FILMS,
    "ncf": FILMS,
    "s3rec": BEAUTY,
    "tafeng": SHOP,
}
ANCF_PRESETS = sorted(path.stem for path in PRESETS.glob("*-ancf*.flags"))


def chosen(known: Facts, **changes: object) -> dict[str, object]:
    named = {name.replace("__", "."): value for name, value in changes.items()}
    return by_data(override(default_config("ancf"), named), known)


@pytest.mark.parametrize("preset", ANCF_PRESETS)
def test_a_preset_leaves_nothing_to_the_data(preset):
    """So that its figures stand whatever the rules become."""
    flags = read_preset(PRESETS / f"{preset}.flags").flags
    loss = "mse" if "mse" in flags else "softmax"
    present = flatten(default_config("ancf"))
    suiting = chosen(DATA_OF[preset.split("-")[0]], objective__loss=loss)
    left_open = not_given(flags)
    assert [
        name
        for name, value in suiting.items()
        if name in left_open and value != present[name]
    ] == []


@pytest.mark.parametrize("known", [SHOP, SMALL_SHOP, CORNER_STORE, FILMS, BEAUTY])
@pytest.mark.parametrize("loss", ["softmax", "mse"])
def test_what_is_chosen_are_settings_within_their_limits(known, loss):
    config = override(default_config("ancf"), {"objective.loss": loss})
    suiting = by_data(config, known)
    found = override(config, suiting)
    validate(found)
    assert suiting.items() <= flatten(found).items()


def test_a_shop_of_few_sales_a_product_is_restrained():
    of_shop = chosen(SHOP)
    assert of_shop["optim.weight_decay"] == 20
    assert of_shop["network.embedding_size"] == 16
    assert of_shop["network.mlp_path"] is False
    assert "network.followers" not in of_shop


def test_a_shop_of_many_sales_a_product_stands_as_it_is():
    assert chosen(CORNER_STORE) == {}


def test_where_nothing_repeats_what_follows_counts():
    assert chosen(FILMS)["network.followers"] == 16
    assert chosen(BEAUTY)["network.followers"] == 16


def test_a_user_of_few_events_is_known_by_the_history():
    assert chosen(BEAUTY)["network.user_dropout"] == 0.9
    assert chosen(FILMS)["network.user_dropout"] == 0.5


@pytest.mark.parametrize(
    ("history", "length"), [(7, 50), (50, 50), (51, 100), (101, 200), (997, 200)]
)
def test_histories_are_as_long_as_those_of_most_users(history, length):
    known = FILMS._replace(history=history)
    assert chosen(known)["network.history_length"] == length


@pytest.mark.parametrize("known", [SHOP, FILMS])
def test_a_very_long_catalogue_is_sampled(known):
    assert "objective.loss" not in chosen(known)
    long = known._replace(items=200_003)
    assert chosen(long)["objective.loss"] == "sampled_softmax"
