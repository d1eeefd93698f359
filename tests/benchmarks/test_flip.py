"""Flipping bits: other lists without a word are counted as silent."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

from ancf_jax.errors import UserError
from benchmarks import flip

SOUND = pd.DataFrame({"item_id": ["p1", "p2"]})
OTHER = pd.DataFrame({"item_id": ["p2", "p1"]})


def raises(error):
    def lists_of(run):
        raise error

    return lists_of


@pytest.mark.parametrize(
    ("lists_of", "expected"),
    [
        (lambda run: (SOUND, []), "same"),
        (lambda run: (OTHER, []), "silent"),
        (lambda run: (OTHER, ["checkpoint 2 is damaged; using 1"]), "told"),
        (raises(UserError("config.json is damaged")), "told"),
        (raises(ValueError("planted")), "traceback"),
    ],
)
def test_outcomes(lists_of, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(flip, "lists_of", lists_of)
    assert flip.outcome(tmp_path, SOUND) == expected


def run_flips(monkeypatch, capsys) -> tuple[object, str]:
    """Three flips in the run of a counting model: the exit code, and what was printed."""
    monkeypatch.setattr(flip, "MODELS", ("most_bought",))
    monkeypatch.setattr(sys, "argv", ["flip.py", "--flips", "3", "--seed", "7"])
    with pytest.raises(SystemExit) as left:
        flip.main()
    return left.value.code, capsys.readouterr().out


def test_a_sound_library_is_never_silent(monkeypatch, capsys):
    code, printed = run_flips(monkeypatch, capsys)
    assert code == 0
    assert "3 flips, seed 7" in printed
    assert "3 in all, 0 wrong (silent, traceback)" in printed


def test_a_silent_flip_is_named_and_counted(monkeypatch, capsys):
    monkeypatch.setattr(flip, "outcome", lambda run, sound: "silent")
    code, printed = run_flips(monkeypatch, capsys)
    assert code == 1
    assert printed.count(": silent, most_bought/") == 3
    assert "3 wrong" in printed
