"""Rows 5, 17, 29 and 30: lists that cannot be written, made, or filled."""

from __future__ import annotations

import dataclasses
import errno
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import pandas as pd
import pytest

from ancf_jax.errors import NumericalError
from ancf_jax.ranking import blocks
from ancf_jax.recommender import load_recommender


def test_row_05_on_a_full_disk_the_old_lists_stay(
    trained, leave, tmp_path, small_files
):
    path = tmp_path / "lists.csv"
    path.write_text("what was there before")
    asked = ["recommend", "--run", trained, "--top-n", 23, "--keep-seen", "--out"]
    assert leave(*asked, tmp_path / "other.csv")[0] == 0  # so that all is compiled
    small_files(True)
    code, _, err = leave(*asked, path)
    small_files(False)
    assert code == 2
    assert "cannot be written (File too large); make room" in err
    assert path.read_text() == "what was there before"
    assert not list(tmp_path.rglob("*.part"))
    code, _, err = leave(*asked, path)
    assert code == 0, err
    assert path.read_bytes() == (tmp_path / "other.csv").read_bytes()
    assert set(os.listdir(tmp_path)) == {"lists.csv", "other.csv"}


def test_row_05_on_a_read_only_disk_the_old_lists_stay(
    trained, leave, tmp_path, monkeypatch
):
    path = tmp_path / "lists.csv"
    path.write_text("what was there before")
    open_file = Path.open

    def open_unless_new(self: Path, mode: str = "r", *rest: object, **options: object):
        if mode == "wb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return open_file(self, mode, *rest, **options)

    monkeypatch.setattr(Path, "open", open_unless_new)
    code, _, err = leave("recommend", "--run", trained, "--out", path)
    assert code == 2
    assert "cannot be written (Read-only file system)" in err
    assert path.read_text() == "what was there before"


def test_row_17_an_unknown_user_is_nobody_else(trained, leave, tmp_path):
    path = tmp_path / "lists.csv"
    asked = [
        "recommend",
        "--run",
        trained,
        "--top-n",
        3,
        "--out",
        path,
        "--users",
        "u3",
        "u03",
    ]
    words = "1 of 2 users are unknown, such as 'u3'"
    code, _, err = leave(*asked)
    assert code == 0, err
    assert f"{words}: they get the most popular items" in err
    found = pd.read_csv(path)
    known = found[found["user_id"] == "u03"].reset_index(drop=True)
    unknown = found[found["user_id"] == "u3"]
    recommender = load_recommender(trained)
    events = pd.Series(recommender.dataset.interactions.item).value_counts(sort=False)
    ranked = events.sort_index().sort_values(ascending=False, kind="stable").index[:3]
    popular = recommender.dataset.interactions.items[ranked]
    assert unknown["item_id"].tolist() == popular.tolist()
    assert unknown["score"].isna().all()
    assert set(unknown["source"]) == {"popular"}
    code, _, err = leave(*asked, "--unknown", "skip")
    assert code == 0, err
    assert f"{words}: they get no list" in err
    skipped = pd.read_csv(path)
    assert skipped["item_id"].tolist() == known["item_id"].tolist()
    code, _, err = leave(*asked, "--unknown", "error")
    assert code == 2
    assert f"{words}; correct the ids" in err
    code, _, err = leave(
        "recommend", "--run", trained, "--users", "u3", "--unknown", "skip"
    )
    assert code == 2
    assert "nobody is left; correct the ids" in err


def test_row_29_lists_that_cannot_fit_in_memory_are_refused(
    trained, leave, tmp_path, monkeypatch
):
    """4 blocks of 13 users with an item and its score, 8 bytes, each: 416 bytes a place."""
    monkeypatch.setattr(blocks, "memory_of_device", lambda: 1000.0)
    monkeypatch.setattr(blocks.sizes, "blocks_at_once", lambda devices: 4)
    path = tmp_path / "lists.csv"
    asked = ["recommend", "--run", trained, "--keep-seen", "--out", path]
    code, _, err = leave(*asked, "--top-n", 3)
    assert code == 2
    assert "lists of 4 items for 13 users at a time take at least 0.0 GB" in err
    assert "that a device can hold; lower --top-n" in err
    assert not path.exists()
    code, _, err = leave(*asked, "--top-n", 2)
    assert code == 0, err


def test_row_30_scores_that_are_nan_are_refused(trained):
    recommender = load_recommender(trained)
    variables = jax.tree.map(lambda leaf: leaf * jnp.nan, recommender.ranker.variables)
    broken = dataclasses.replace(
        recommender, ranker=recommender.ranker.with_variables(variables)
    )
    with pytest.raises(NumericalError, match="the model's scores are NaN; train again"):
        broken.recommend(["u03"])


def test_row_30_too_few_candidates_give_a_short_list(trained):
    recommender = load_recommender(trained)
    log = recommender.dataset.interactions
    found = recommender.recommend(["u03", "u04"], n=23)
    for user, rows in found.groupby("user_id"):
        had = set(log.items[log.item[log.users[log.user] == user]])
        assert set(rows["item_id"]) == set(log.items) - had
        assert rows["rank"].tolist() == [*range(1, 24 - len(had))]
        assert rows["score"].notna().all()
