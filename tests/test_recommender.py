"""Lists for shoppers from a saved run: known items, in order, none invented."""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

from ancf_jax.errors import UserError
from ancf_jax.ranking import USERS_PER_BLOCK
from ancf_jax.recommender import Recommender, load_recommender, minute_of
from ancf_jax.training.fit import fit


class Quiet:
    def say(self, message: str) -> None: ...

    def progress(self, title: str, done: int, total: int, note: str = "") -> None: ...


@pytest.fixture(scope="module")
def recommender(tiny, tmp_path_factory) -> Recommender:
    run = str(tmp_path_factory.mktemp("recommender") / "run")
    fit(tiny("mf", epochs=2, run=run), resume=False, view=Quiet())
    return load_recommender(run, print)


@pytest.fixture(scope="module")
def events(planted_shop) -> pd.DataFrame:
    return pd.read_csv(Path(planted_shop) / "interactions.csv")


ASKED = ["u07", "nobody", "u00", "u12", "u07"]


@pytest.fixture(scope="module")
def lists(recommender) -> pd.DataFrame:
    return recommender.recommend(ASKED, n=4)


def test_lists_come_in_the_order_asked(lists):
    assert lists.columns.tolist() == [
        "user_id",
        "rank",
        "item_id",
        "name",
        "score",
        "source",
    ]
    assert lists["user_id"].tolist() == [user for user in ASKED for _ in range(4)]
    assert lists["rank"].tolist() == [1, 2, 3, 4] * 5
    first, last = (
        lists.iloc[rows].drop(columns="user_id").reset_index(drop=True)
        for rows in (range(4), range(16, 20))
    )
    pd.testing.assert_frame_equal(first, last)


def test_items_are_known_unseen_and_named(lists, events):
    for user, rows in (
        lists[:16].query("source == 'model'").groupby("user_id")
    ):  # the last is asked for twice
        had = set(events.loc[events["user_id"] == user, "item_id"])
        assert not had & set(rows["item_id"])
        assert rows["item_id"].is_unique
    assert (
        lists["name"] == "product " + lists["item_id"].str[1:].astype(int).astype(str)
    ).all()


def test_scores_are_probabilities_and_fall(lists):
    rows = lists[lists["source"] == "model"]
    assert rows["score"].between(0, 1).all()
    assert not (rows["score"].diff()[rows["rank"] > 1] > 0).any()


def test_an_unknown_user_gets_the_popular_items_and_no_score(recommender, lists):
    rows = lists[lists["user_id"] == "nobody"]
    assert set(rows["source"]) == {"popular"}
    assert rows["score"].isna().all()
    source = recommender.dataset.interactions
    count = np.bincount(source.item[recommender.dataset.part == 0], minlength=23)
    assert (
        rows["item_id"].tolist()
        == source.items[np.argsort(-count, kind="stable")[:4]].tolist()
    )
    assert set(lists[lists["user_id"] != "nobody"]["source"]) == {"model"}


def test_all_users_in_blocks(recommender):
    users = recommender.users_of(["all"])
    assert users == [f"u{n:02d}" for n in range(13)]
    many = users * 3
    done: list[tuple[int, int]] = []
    blocks = list(
        recommender.recommend_blocks(
            many, 3, None, None, lambda *progress: done.append(progress)
        )
    )
    assert len(blocks) == -(-39 // USERS_PER_BLOCK)
    whole = pd.concat(blocks, ignore_index=True)
    alone = pd.concat(
        [recommender.recommend([user], 3) for user in users], ignore_index=True
    )
    pd.testing.assert_frame_equal(whole.iloc[: len(alone)], alone, rtol=1e-5)
    assert done[-1] == (39, 39)


def test_what_was_had_may_be_kept(recommender, events):
    """With everything allowed, u06, who has had nearly all even products, gets a full list; without, a short one."""
    had = set(events.loc[events["user_id"] == "u06", "item_id"])
    whole, unseen = (
        recommender.recommend(["u06"], 99, keep_seen=keep) for keep in (True, False)
    )
    assert len(whole) == 23
    assert set(unseen["item_id"]) == set(whole["item_id"]) - had
    assert unseen["rank"].tolist() == list(range(1, len(unseen) + 1))


def test_the_lists_are_those_of_the_saved_model(recommender):
    """The dot product and biases of `mf`, from the parameters alone."""
    p = {
        name: np.asarray(leaf)
        for name, leaf in recommender.ranker.variables["params"].items()
    }
    score = (
        p["user_table"][3] @ p["item_table"].T
        + p["user_bias"][3]
        + p["item_bias"][:, 0]
        + p["bias"]
    )
    found = recommender.recommend(["u03"], 23, keep_seen=True)
    np.testing.assert_allclose(
        found["score"], np.sort(1 / (1 + np.exp(-score)))[::-1], rtol=1e-4
    )


def test_a_warm_recommender_compiles_nothing_more(recommender, caplog):
    try:
        recommender.warm_up(4)
        with caplog.at_level(logging.WARNING), jax.log_compiles():
            for users in (["u01"], ["u01", "nobody"], ["u02"] * 7, ["u03"] * 39):
                for n in (3, 4):
                    assert len(recommender.recommend(users, n)) > 0
            assert not caplog.records
            recommender.recommend(["u01"], 9)
            assert caplog.records, "where something is compiled it is seen"
    finally:
        gc.unfreeze()


def test_compiled_programs_lie_in_the_run_folder(recommender, tmp_path):
    """A second process finds there what the first one left; where nothing can be written, nothing is."""
    run = Path(recommender.config.run)
    code = "import sys; from ancf_jax import load_recommender as load; load(sys.argv[1], print).recommend(['u01'])"
    unset = {"JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS"}
    environment = {
        name: value for name, value in os.environ.items() if name not in unset
    }
    sizes = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, run],
            env=environment,
            check=True,
        )
        assert done.returncode == 0
        sizes.append(len(list((run / "compiled").glob("*-cache"))))
    assert sizes[0] == sizes[1] > 0


def test_a_length_below_one_is_refused(recommender):
    with pytest.raises(UserError, match="--top-n is 0"):
        recommender.recommend(["u00"], 0)


def test_a_moment_needs_a_clock(tiny, tmp_path):
    (tmp_path / "order.csv").write_text(
        "user_id,item_id\n" + "a,x\na,y\na,z\nb,y\nb,x\nb,z\n"
    )
    config = tiny("popularity", run=str(tmp_path / "run"), table__user_features=())
    fit(
        dataclasses.replace(config, data=str(tmp_path / "order.csv")),
        resume=False,
        view=Quiet(),
    )
    without = load_recommender(tmp_path / "run", print)
    with pytest.raises(UserError, match="--at needs data with times"):
        without.recommend(["a"], minute=5)
    assert without.moment_text(None) == "next"
    assert len(without.recommend(["a"], 2, keep_seen=True)) == 2


def test_the_moment_is_the_newest_event_unless_given(recommender, events):
    assert recommender.latest == events["timestamp"].max() // 60
    assert (
        recommender.moment_text(minute_of("2025-07-18T19:00"))
        == "Friday 2025-07-18 19:00"
    )


@pytest.mark.parametrize(
    ("text", "minute"),
    [
        ("1970-01-01T00:02", 2),
        ("1970-01-02", 1440),
        ("2025-07-18T19:00", 29_214_420),
        ("2025-07-18T19:00+02:00", 29_214_300),
        ("2025-07-18 19:00:59", 29_214_420),
    ],
)
def test_moments(text, minute):
    assert minute_of(text) == minute


@pytest.mark.parametrize(
    "text", ["yesterday", "19:00", "2025-13-01", "1969-12-31T23:59", ""]
)
def test_what_is_no_moment_is_explained(text):
    with pytest.raises(UserError, match="--at"):
        minute_of(text)
