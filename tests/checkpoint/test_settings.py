"""The settings of a run are those that were written, or the run is not opened."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ancf_jax.checkpoint import RunFolder, open_run
from ancf_jax.config import Config, override
from ancf_jax.errors import UserError
from ancf_jax.models.registry import default_config


def settings_of_run() -> Config:
    return override(default_config("ancf"), {"network.history_length": 53})


@pytest.fixture
def file(tmp_path) -> Path:
    """The config.json of a run."""
    with RunFolder.create(tmp_path / "run", settings_of_run(), resume=False):
        return tmp_path / "run" / "config.json"


def older(file: Path, **changes: Any) -> None:
    """Makes the file one of an older version, which wrote no digest, with other settings."""
    settings = json.loads(file.read_text())
    settings.pop("digest", None)
    settings |= {name.replace("__", "."): value for name, value in changes.items()}
    file.write_text(json.dumps(settings, indent=2))


def test_no_flipped_bit_gives_other_settings(file):
    whole = file.read_bytes()
    refused = 0
    for place in range(len(whole)):
        bit = 1 << place % 7
        flipped = whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :]
        file.write_bytes(flipped)
        try:
            assert open_run(file.parent).config == settings_of_run()
        except UserError:
            refused += 1
    assert refused > len(whole) * 0.8  # a flip in the blanks may be harmless


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"network.history": "causal"', '"network.history": "bag"'),
        ('"network.layers": 2', '"network.layers": 3'),
        ('"keep_seen": null', '"keep_seen": true'),
    ],
)
def test_a_setting_that_was_edited_is_told_with_what_to_do(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    words = r'config\.json" is not what was written .*restore it, or delete its line "digest"'
    with pytest.raises(UserError, match=words):
        open_run(file.parent)


def test_without_its_digest_an_edited_file_counts(file):
    older(file, network__layers=3)
    assert open_run(file.parent).config == override(
        settings_of_run(), {"network.layers": 3}
    )


def test_training_that_goes_on_adds_the_digest(file):
    older(file)
    with RunFolder.create(file.parent, settings_of_run(), resume=True):
        pass
    assert "digest" in json.loads(file.read_text())
    assert open_run(file.parent).config == settings_of_run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep_seen": "no"}, '--keep-seen is "no", expected True or False or None'),
        ({"network__layers": 0}, "--network.layers is 0, expected from 1 to 256"),
        (
            {"network__layers": 2.0},
            '--network.layers is "2.0", expected a whole number',
        ),
        ({"network__history": "casual"}, 'did you mean "causal"?'),
        ({"network__hidden": [32, "16"]}, "expected a list, each a whole number"),
        ({"network__hidden": 32}, "expected a list, each a whole number"),
        ({"network__temporal": ["moon"]}, "expected a list, each one of hour"),
        ({"network__heads": 3}, "expected a multiple of --network.heads 3"),
        ({"seed": 2**70}, "--seed is 1180591620717411303424, expected from 0 to"),
        ({"loop": {"members": 2}}, 'there is no setting "loop"'),
        ({"network": 5}, 'there is no setting "network"'),
        ({"network__layers__x": 5}, 'there is no setting "network.layers.x"'),
    ],
)
def test_settings_of_older_runs_are_held_to_types_limits_and_choices(
    file, changes, message
):
    older(file, **changes)
    with pytest.raises(UserError) as refused:
        open_run(file.parent)
    assert message in str(refused.value)
    assert "--run" in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        '{"model": ["ancf"]}',
        '{"model": 5}',
        '{"model": null}',
        "[" * 100_000,
        '{"model": "ancf", "seed": ' + "9" * 5000 + "}",
        '"digest"',
        "5",
    ],
    ids=range(7),
)
def test_what_is_no_set_of_settings_is_told(file, text):
    file.write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        open_run(file.parent)
