"""Settings that nobody gave, chosen from what is known of the data."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from ancf_jax import data
from ancf_jax.config import Config, as_flag, flatten, override
from ancf_jax.data import Dataset
from ancf_jax.models.registry import registered
from ancf_jax.types import Facts
from ancf_jax.view import View


def adapt(
    config: Config, dataset: Dataset, undecided: Collection[str], view: View
) -> Config:
    """`config` with what the data implies where nobody says it, which the view is told.

    Items that a user already had are kept in the ranking where people buy again: at least
    `types.BUY_AGAIN` of the training events repeat the item of an earlier one. The settings in
    `undecided` are those that suit the data by the rules of the model.

    Args:
        config: the settings.
        dataset: the data.
        undecided: dotted names of settings that may change.
        view: where what is chosen is said, in one line each.
    """
    is_open = undecided and registered(config.model).by_data
    if config.keep_seen is not None and not is_open:
        return config
    known = data.facts(dataset)
    config = _decide_seen(config, known, view)
    return _choose(config, known, undecided, view)


def suiting(config: Config, known: Facts) -> Mapping[str, Any]:
    """The settings, by dotted name, that suit the data by the rules of the model."""
    rules = registered(config.model).by_data
    return rules(config, known) if rules else {}


def _decide_seen(config: Config, known: Facts, view: View) -> Config:
    if config.keep_seen is not None:
        return config
    keep_seen = known.people_buy_again
    fate = "kept in" if keep_seen else "left out of"
    view.say(
        f"{known.repeats:.1%} of the training events repeat an earlier one, so items already had "
        f"are {fate} the ranking (--keep-seen {not keep_seen} changes that)"
    )
    return replace(config, keep_seen=keep_seen)


def _choose(
    config: Config, known: Facts, undecided: Collection[str], view: View
) -> Config:
    present = flatten(config)
    changes = {
        name: value
        for name, value in suiting(config, known).items()
        if name in undecided and value != present[name]
    }
    if changes:
        words = [word for item in changes.items() for word in as_flag(*item)]
        view.say(
            f"chosen from the data, where no flag says otherwise: {' '.join(words)}"
        )
    return override(config, changes)
