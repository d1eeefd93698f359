"""Fuzzing: a planted fault of a reader is found, with the seed that makes it again."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from benchmarks import fuzz


def run_fuzz(monkeypatch, capsys) -> tuple[object, str]:
    """About a second of inputs: the exit code, and what was printed."""
    monkeypatch.setattr(sys, "argv", ["fuzz.py", "--minutes", "0.02", "--seed", "7"])
    with pytest.raises(SystemExit) as left:
        fuzz.main()
    return left.value.code, capsys.readouterr().out


def test_sound_readers_pass(monkeypatch, capsys):
    code, printed = run_fuzz(monkeypatch, capsys)
    assert code == 0, printed
    assert "seed 7" in printed
    assert "0 wrong (traceback, hang, wrong table)" in printed


def test_a_reader_that_raises_is_reported_with_its_seed(monkeypatch, capsys):
    def broken(config):
        raise ValueError("planted")

    monkeypatch.setattr("ancf_jax.data.build", broken)
    code, printed = run_fuzz(monkeypatch, capsys)
    assert code == 1
    assert "traceback: ValueError: planted" in printed
    assert "seed 7: traceback, " in printed
    assert "seed 8: traceback, " in printed


def test_a_wrong_table_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(fuzz, "is_right", lambda found, path: False)
    code, printed = run_fuzz(monkeypatch, capsys)
    assert code == 1
    assert ": wrong table, " in printed


def test_a_reader_that_never_ends_is_a_hang(monkeypatch, tmp_path):
    monkeypatch.setattr(fuzz, "HANG", 1)
    monkeypatch.setattr("ancf_jax.data.build", lambda config: time.sleep(60))
    config = fuzz.config_of(tmp_path, np.random.default_rng(0))
    assert fuzz.outcome(tmp_path, config) == "hang"


def test_ids_that_stand_in_no_file_make_a_wrong_table(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("user_id,item_id\nu1,p1\nu1,p2\nu2,p1\n")
    config = fuzz.config_of(path, np.random.default_rng(0))
    found = fuzz.data.readers.read(config)
    assert fuzz.is_right(found, path)
    path.write_text("user_id,item_id\nu1,p1\nu1,p2\nu3,p1\n")
    assert not fuzz.is_right(found, path)
    found.user[0] = 2
    assert not fuzz.is_right(found, path)


def test_a_seed_makes_the_same_input(tmp_path):
    text = bytes(range(97, 123))
    mutated = [fuzz.mutate(text, np.random.default_rng(3)) for _ in range(2)]
    assert mutated[0] == mutated[1] != text
