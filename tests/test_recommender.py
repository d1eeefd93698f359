"""Lists for shoppers from a saved run: known items, in order, none invented."""

from __future__ import annotations

import dataclasses
import gc
import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from pandas.testing import assert_frame_equal

from ancf_jax.data.times import minute_of
from ancf_jax.errors import UserError
from ancf_jax.machine.sizes import USERS_PER_BLOCK
from ancf_jax.objective.calibration import Calibration
from ancf_jax.output import lists_of
from ancf_jax.recommender import Recommender, load_recommender
from ancf_jax.training.fit import fit
from ancf_jax.view import Silent


class Recorded(Silent):
    """A view that keeps the progress."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, int]] = []

    def progress(self, title: str, done: int, total: int, note: str = "") -> None:
        self.done.append((title, done, total))


def contents(folder: Path) -> dict[str, bytes | None]:
    """All files below a folder with what is in them, and all folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory) -> tuple[Path, dict[str, bytes | None]]:
    """A run, and what training left in its folder."""
    run = tmp_path_factory.mktemp("recommender") / "run"
    fit(tiny("mf", epochs=2, run=str(run)))
    return run, contents(run)


@pytest.fixture(scope="module")
def recommender(trained) -> Recommender:
    run, _ = trained
    return load_recommender(run)


@pytest.fixture(scope="module")
def events(planted_shop) -> pd.DataFrame:
    return pd.read_csv(Path(planted_shop) / "interactions.csv")


ASKED = ["u07", "nobody", "u00", "u12", "u07"]


@pytest.fixture(scope="module")
def lists(recommender) -> pd.DataFrame:
    return recommender.recommend(ASKED, n=4)


def test_lists_come_in_the_order_asked(lists):
    columns = ["user_id", "rank", "item_id", "name"]
    columns += ["score", "probability", "source"]
    assert lists.columns.tolist() == columns
    assert lists["user_id"].tolist() == [user for user in ASKED for _ in range(4)]
    assert lists["rank"].tolist() == [1, 2, 3, 4] * 5
    first_list = lists.iloc[:4].reset_index(drop=True)
    last_list = lists.iloc[16:].reset_index(drop=True)
    assert_frame_equal(first_list, last_list)


@pytest.mark.parametrize("asked", [ASKED, ["u07", "u07"], ["nobody"], ["u07"] * 200])
def test_every_asked_user_has_a_list_of_his_own(recommender, asked):
    """Also who is asked for twice, and twice in a row."""
    table = recommender.recommend(asked, n=4)
    found = list(lists_of(table))
    assert [user for user, _ in found] == asked
    for number, (_, rows) in enumerate(found):
        own = table.iloc[4 * number : 4 * number + 4]
        assert_frame_equal(rows, own.drop(columns="user_id"))


def test_items_are_known_unseen_and_named(lists, events):
    for user, rows in lists_of(lists[lists["source"] == "model"]):
        seen = set(events.loc[events["user_id"] == user, "item_id"])
        assert not seen & set(rows["item_id"])
        assert rows["item_id"].is_unique
    number = lists["item_id"].str[1:].astype(int).astype(str)
    assert (lists["name"] == "product " + number).all()


@pytest.mark.parametrize("column", ["score", "probability"])
def test_scores_and_probabilities_fall(lists, column):
    rows = lists[lists["source"] == "model"]
    rise = rows[column].diff()
    assert not (rise[rows["rank"] > 1] > 0).any()
    assert rows["probability"].between(0, 1).all()


def test_probabilities_are_of_the_softmax_over_what_is_eligible(recommender):
    """Whole lists of two users, one of whom has had nearly all even products, against NumPy."""
    scaled = dataclasses.replace(recommender, calibration=Calibration(0.7, 0.3))
    table = scaled.recommend(["u03", "u06"], 99)
    short = scaled.recommend(["u03", "u06"], 2)
    for user in ("u03", "u06"):
        rows = table[table["user_id"] == user]
        assert 2 < len(rows) < 23
        weight = np.exp(rows["score"].to_numpy(np.float64))
        odds = weight / (weight.sum() - weight)
        expected = 1 / (1 + np.exp(-0.7 * np.log(odds) - 0.3))
        assert_allclose(rows["probability"], expected, rtol=1e-4)
        shown = short.loc[short["user_id"] == user, "probability"]
        assert_allclose(shown, expected[:2], rtol=1e-4)


def test_lists_of_other_items_than_were_fitted_have_no_probability(recommender):
    assert recommender.no_probability() == ""
    assert recommender.no_probability(keep_seen=False) == ""
    assert "leave --keep-seen out" in recommender.no_probability(keep_seen=True)
    rows = recommender.recommend(["u03"], 2, keep_seen=True)
    assert "probability" not in rows
    assert "score" in rows


@pytest.mark.parametrize(
    ("model", "changes", "reason"),
    [
        ("mf", {"split__validation": 0.0}, "no validation events"),
        ("popularity", {}, ""),
        ("linear", {}, ""),
    ],
)
def test_why_there_are_no_probabilities(tiny, tmp_path, model, changes, reason):
    """For `linear` nothing is missing: its score is the value that it learned."""
    fit(tiny(model, epochs=1, run=str(tmp_path / "run"), **changes))
    found = load_recommender(tmp_path / "run")
    assert reason in found.no_probability()
    assert bool(found.no_probability()) == bool(reason)
    has_column = "probability" in found.recommend(["u03"], 2)
    assert has_column == (model == "popularity")


def test_a_run_whose_scale_is_of_another_checkpoint_says_so(recommender):
    without = dataclasses.replace(recommender, calibration=None)
    assert "train.py --resume fits it" in without.no_probability()
    assert "probability" not in without.recommend(["u03"], 2)
    assert without.digest() != recommender.digest()


def test_an_unknown_user_gets_the_popular_items_and_no_score(recommender, lists):
    rows = lists[lists["user_id"] == "nobody"]
    assert set(rows["source"]) == {"popular"}
    assert rows[["score", "probability"]].isna().all(axis=None)
    source = recommender.dataset.interactions
    count = np.bincount(
        source.item, minlength=23
    )  # of all events, not of training alone
    popular = np.argsort(-count, kind="stable")[:4]
    assert rows["item_id"].tolist() == source.items[popular].tolist()
    known = lists[lists["user_id"] != "nobody"]
    assert set(known["source"]) == {"model"}


def test_all_users_in_blocks(recommender):
    users = recommender.users_of(["all"])
    assert users == [f"u{n:02d}" for n in range(13)]
    many = users * 3
    view = Recorded()
    blocks = list(recommender.recommend_blocks(many, 3, None, None, view))
    assert len(blocks) == -(-39 // USERS_PER_BLOCK)
    whole = pd.concat(blocks, ignore_index=True)
    each = [recommender.recommend([user], 3) for user in users]
    alone = pd.concat(each, ignore_index=True)
    assert_frame_equal(whole.iloc[: len(alone)], alone, rtol=1e-5)
    assert view.done[-1] == ("recommending", 39, 39)


def test_a_part_of_the_users(recommender):
    users = recommender.users_of(["all"])
    view = Recorded()
    part = slice(5, 9)
    blocks = recommender.recommend_blocks(users, 3, None, None, view, part)
    found = pd.concat(blocks, ignore_index=True)
    assert_frame_equal(found, recommender.recommend(users[part], 3))
    assert view.done == [("recommending", 9, 13)]


def test_what_was_had_may_be_kept(recommender, events):
    """With everything allowed, u06, who has had nearly all even products, gets a full list.

    Without, it is a short one.
    """
    seen = set(events.loc[events["user_id"] == "u06", "item_id"])
    whole = recommender.recommend(["u06"], 99, keep_seen=True)
    unseen = recommender.recommend(["u06"], 99, keep_seen=False)
    assert len(whole) == 23
    assert set(unseen["item_id"]) == set(whole["item_id"]) - seen
    assert unseen["rank"].tolist() == list(range(1, len(unseen) + 1))


def test_the_lists_are_those_of_the_saved_model(recommender):
    """The dot product and biases of `mf`, from the parameters alone."""
    params = recommender.ranker.variables["params"]
    product = np.asarray(params["item_table"]) @ np.asarray(params["user_table"][3])
    bias = np.asarray(params["user_bias"][3] + params["bias"])
    score = product + bias + np.asarray(params["item_bias"])[:, 0]
    found = recommender.recommend(["u03"], 23, keep_seen=True)
    expected = np.sort(score)[::-1]
    assert_allclose(found["score"], expected, rtol=1e-4)


def test_a_warm_recommender_compiles_nothing_more(recommender, caplog):
    recommender.warm_up(4)
    with caplog.at_level(logging.WARNING), jax.log_compiles():
        for users in (["u01"], ["u01", "nobody"], ["u02"] * 7, ["u03"] * 39):
            for n in (3, 4):
                assert len(recommender.recommend(users, n)) > 0
        assert not caplog.records
        recommender.recommend(["u01"], 9)
        assert caplog.records, "where something is compiled it is seen"


def test_warming_up_leaves_garbage_collection_alone(recommender):
    before = gc.get_freeze_count()
    recommender.warm_up(4)
    assert gc.get_freeze_count() == before


READER = """
import sys
from ancf_jax.recommender import load_recommender

print(load_recommender(sys.argv[1]).recommend(["u01", "u05"], 4).to_csv(index=False))
"""


def test_a_run_opened_for_reading_is_not_written_to(recommender, trained):
    """Also not by a process without the settings of these tests; its lists are the same."""
    run, before = trained
    unset = {"JAX_COMPILATION_CACHE_DIR", "XLA_FLAGS"}
    environment = {x: value for x, value in os.environ.items() if x not in unset}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", READER, run],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    expected = recommender.recommend(["u01", "u05"], 4).to_csv(index=False)
    assert done.stdout.split() == expected.split()
    assert contents(run) == before


def test_a_length_below_one_is_refused(recommender):
    with pytest.raises(UserError, match="--top-n is 0"):
        recommender.recommend(["u00"], 0)


def test_a_moment_needs_a_clock(tiny, tmp_path):
    events = tmp_path / "order.csv"
    events.write_text("user_id,item_id\na,x\na,y\na,z\nb,y\nb,x\nb,z\n")
    config = tiny("popularity", run=str(tmp_path / "run"), table__user_features=())
    fit(dataclasses.replace(config, data=str(events)))
    without = load_recommender(tmp_path / "run")
    with pytest.raises(UserError, match="--at needs data with times"):
        without.recommend(["a"], minute=5)
    assert without.moment_text(None) == "next"
    assert len(without.recommend(["a"], 2, keep_seen=True)) == 2


def test_the_moment_is_the_newest_event_unless_given(recommender, events):
    assert recommender.latest == events["timestamp"].max() // 60
    minute = minute_of("2025-07-18T19:00")
    assert recommender.moment_text(minute) == "Friday 2025-07-18 19:00"


@pytest.mark.parametrize(
    ("text", "minute"),
    [
        ("1970-01-01T00:02", 2),
        ("1970-01-02", 1440),
        ("2025-07-18T19:00", 29_214_420),
        ("2025-07-18T19:00+02:00", 29_214_300),
        ("2025-07-18 19:00:59", 29_214_420),
        ("2286-11-20T17:46", 166_666_666),
    ],
)
def test_moments(text, minute):
    assert minute_of(text) == minute


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yesterday", "is no moment; write it as 2025"),
        ("19:00", "is no moment; write it as 2025"),
        ("2025-13-01", "is no moment; write it as 2025"),
        ("", "is no moment; write it as 2025"),
        ("1969-12-31T23:59", "is not between 1970 and 2286"),
        ("2286-11-20T17:47", "is not between 1970 and 2286"),
        ("9999-12-31T23:59", "is not between 1970 and 2286"),
        ("9999-12-31T23:59-23:59", "is not between 1970 and 2286"),
        ("0001-01-01T00:00+23:59", "is not between 1970 and 2286"),
    ],
)
def test_what_is_no_moment_is_explained(text, words):
    with pytest.raises(UserError, match=f'--at "{re.escape(text)}" {words}'):
        minute_of(text)


def test_a_share_of_the_places_is_for_products_without_events(recommender):
    """The shop has one such product: with half of the places, every user has it in the last."""
    users = [f"u{number:02d}" for number in range(13)]
    plain = recommender.recommend(users, n=4)
    assert set(plain["source"]) == {"model"}
    table = recommender.recommend(users, n=4, explore=0.5)
    last = table[table["rank"] == 4]
    assert (last["item_id"] == "p22").all()
    assert (last["source"] == "new").all()
    others = table[table["rank"] < 4]
    assert (others["source"] == "model").all()
    kept = plain[plain["item_id"] != "p22"]
    best = kept.groupby("user_id").head(3)
    assert others["item_id"].tolist() == best["item_id"].tolist()


def test_how_much_is_explored_may_be_left_to_the_events(recommender):
    """In the latest tenth of the events nothing was new."""
    assert_frame_equal(
        recommender.recommend(ASKED, n=4, explore="auto"),
        recommender.recommend(ASKED, n=4),
    )


def test_nobody_has_no_rows_but_all_columns(recommender, lists):
    nobody = recommender.recommend([])
    assert len(nobody) == 0
    expected = [name for name in lists.columns if name != "probability"]
    assert [name for name in nobody.columns if name != "probability"] == expected


def test_one_text_is_no_list_of_users(recommender):
    with pytest.raises(UserError, match=r'expected a list such as \["u03"\]'):
        recommender.recommend("u03")


def test_without_names_there_is_no_column_of_them(recommender):
    source = recommender.dataset.interactions
    bare = dataclasses.replace(source, names=source.items)
    dataset = dataclasses.replace(recommender.dataset, interactions=bare)
    nameless = dataclasses.replace(recommender, dataset=dataset)
    named = recommender.recommend(["u03"], n=3)
    found = nameless.recommend(["u03"], n=3)
    assert "name" in named.columns
    assert_frame_equal(found, named.drop(columns="name"))
