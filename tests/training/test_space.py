"""Spaces of settings: how `--tuning.over` is read, and the command line of settings."""

from __future__ import annotations

import shlex
import sys

import pytest

from ancf_jax.config import flatten, override
from ancf_jax.errors import UserError
from ancf_jax.models.registry import default_config
from ancf_jax.training.space import command_of, parse_space, with_params
from train import parse

CONFIG = override(
    default_config("ancf"),
    {
        "epochs": 20,
        "network.dropout": 0.2,
        "network.heads": 4,
        "network.mlp_size": 64,
        "network.hidden": (32, 16),
        "network.layers": 2,
        "network.history_length": 50,
        "network.temporal": ("hour", "weekday", "day", "month"),
        "optim.optimizer": "adamw",
    },
)


def test_the_learning_rate_and_the_embedding_size_vary_by_default():
    config = override(
        CONFIG, {"optim.learning_rate": 0.003, "network.embedding_size": 24}
    )
    space, start = parse_space(config)
    assert start == {"optim.learning_rate": 0.003, "network.embedding_size": "24"}
    rate = space["optim.learning_rate"]
    assert (rate.low, rate.high) == pytest.approx((0.0003, 0.03))
    assert rate.log
    assert space["network.embedding_size"].choices == ("6", "12", "24", "48")


def test_ranges_are_linear_or_logarithmic_and_keep_the_type_of_the_field():
    space, start = parse_space(
        CONFIG,
        (
            "network.dropout=0:0.5",
            "network.layers=1:5:log",
            "network.history-length=7:50",
        ),
    )
    assert start == {
        "network.dropout": 0.2,
        "network.layers": 2,
        "network.history_length": 50,
    }
    dropout, layers, length = space.values()
    assert (dropout.low, dropout.high, dropout.log) == (0.0, 0.5, False)
    assert (layers.low, layers.high, layers.log) == (1, 5, True)
    assert isinstance(length.low, int)


def test_choices_of_every_type_become_settings():
    over = (
        "network.hidden=32+16,64+32+8",
        "network.temporal=hour+weekday+day+month,hour,",
        "network.mf_path=true,false",
        "optim.optimizer=adamw,sgd",
        "epochs=20,3",
    )
    space, start = parse_space(CONFIG, over)
    assert with_params(CONFIG, start) == CONFIG
    last = {name: axis.choices[-1] for name, axis in space.items()}
    assert with_params(CONFIG, last) == override(
        CONFIG,
        {
            "network.hidden": (64, 32, 8),
            "network.temporal": (),
            "network.mf_path": False,
            "optim.optimizer": "sgd",
            "epochs": 3,
        },
    )


@pytest.mark.parametrize(
    ("over", "message"),
    [
        ("network.dropuot=0:0.5", 'did you mean "network.dropout"'),
        ("network", '"network" is no setting'),
        ("run=a,b", '"run" is no setting'),
        ("network.dropout", "is none of network.dropout=LOW:HIGH"),
        ("network.dropout=0.5", "with 0.2 included"),
        ("network.dropout=0.3:0.5", "with 0.2 included"),
        ("network.dropout=0.2:inf", "is none of"),
        ("network.dropout=0.5:0.1", "is none of"),
        ("network.dropout=0:0.5:log", "is none of"),
        ("network.dropout=0:0.5:cubic", "is none of"),
        ("network.dropout=0.2:1", "--network.dropout is 1.0"),
        ("network.layers=1.5:3", "is none of"),
        ("network.heads=4,0", "--network.heads is 0"),
        ("network.heads=4,3", "expected a multiple of --network.heads 3"),
        ("network.mf_path=true,maybe", "is none of"),
        ("optim.optimizer=adamw,adamx", "is none of"),
        ("network.temporal=hour,decade", "is none of"),
    ],
)
def test_what_cannot_be_searched_is_one_sentence(over, message):
    with pytest.raises(UserError) as error:
        parse_space(CONFIG, (over,))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_optuna_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"not installed: pip install optuna$"):
        parse_space(CONFIG)


def test_the_command_line_says_what_the_data_might_choose_otherwise():
    config = default_config("ancf")
    rate = ["--optim.learning-rate", str(config.optim.learning_rate)]
    assert rate[0] not in command_of(config)
    assert command_of(config, ["optim.learning_rate"]).split()[-2:] == rate


@pytest.mark.parametrize("model", ["ancf", "linear"])
def test_the_command_line_says_the_whole_config(model):
    changes = {
        "run": "runs/a b",
        "keep_seen": True,
        "network.mf_path": False,
        "network.hidden": (5, 3),
        "network.temporal": ("hour", "month"),
        "network.history": "candidate",
        "optim.learning_rate": 0.0012345678901234567,
        "optim.weight_decay": 1e-7,
        "split.events": ("purchase", "add to cart"),
    }
    known = flatten(default_config(model))
    changes = {name: value for name, value in changes.items() if name in known}
    config = override(default_config(model), changes)
    script, *words = shlex.split(command_of(config))[1:]
    assert script == "train.py"
    assert parse(words).config == config
