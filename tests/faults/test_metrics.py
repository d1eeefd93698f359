"""Rows 24 and 25: figures that are undefined, of all or of some users."""

from __future__ import annotations

import json

import pandas as pd
import pytest


def test_row_24_values_of_one_class_have_no_auc_and_it_is_said(
    shop, plain_rows, tmp_path, leave
):
    path = shop([f"{row},1" for row in plain_rows], "user_id,item_id,timestamp,rating")
    run = tmp_path / "run"
    flags = [
        "--model",
        "mf",
        "--epochs",
        "1",
        "--objective.loss",
        "log_loss",
        "--network.embedding-size",
        "3",
    ]
    code, out, err = leave("train", "--data", path, "--run", run, *flags)
    assert code == 0, err
    assert "no auc: all held-out values are at least the median of training" in err
    code, out, err = leave("evaluate", "--run", run, "--json")
    assert code == 0, err
    assert json.loads(out)["metrics"]["auc"] is None
    code, out, err = leave("evaluate", "--run", run)
    assert code == 0, err
    assert "no auc: all held-out values are at least the median of training" in err


def test_row_24_values_beyond_a_chance_are_not_learned_as_one(
    shop, plain_rows, tmp_path, leave
):
    path = shop([f"{row},4" for row in plain_rows], "user_id,item_id,timestamp,rating")
    flags = ["--data", path, "--run", tmp_path / "run", "--objective.loss", "log_loss"]
    code, _, err = leave("train", *flags)
    assert code == 2
    assert (
        "log_loss learns values from 0 to 1, found ratings of up to 4; choose another"
        in err
    )


def test_row_25_users_with_nothing_to_be_found_are_left_out_and_it_is_said(
    shop, plain_rows, tmp_path, leave
):
    """u00 has 2 events, which train; the last event of u01 repeats the first, and is had already."""
    rows = [row for row in plain_rows if not row.startswith(("u00", "u01"))]
    rows += ["u00,p01,1700000000", "u00,p02,1700000060"]
    rows += [
        f"u01,p{item:02d},{1_700_000_000 + 60 * n}"
        for n, item in enumerate((1, 2, 3, 1))
    ]
    run = tmp_path / "run"
    flags = ["--model", "popularity", "--split.kind", "leave_one_out", "--no-keep-seen"]
    code, out, err = leave("train", "--data", shop(rows), "--run", run, *flags)
    assert code == 0, err
    code, out, err = leave("evaluate", "--run", run, "--json")
    assert code == 0, err
    found = json.loads(out)
    judged = found["users"]
    assert judged + found["users_without_hits_to_find"] == 12
    assert found["users_without_hits_to_find"] >= 1
    code, out, err = leave(
        "evaluate", "--run", run, "--per-user", tmp_path / "users.csv"
    )
    assert code == 0, err
    assert f"means are over {judged} of 13 users; the others have no test events" in err
    users = pd.read_csv(tmp_path / "users.csv").set_index("user_id")
    assert "u00" not in users.index
    assert users.loc["u01"].isna().all()
    mean = users["ndcg@10"].dropna()
    assert len(mean) == judged
    assert found["metrics"]["ndcg@10"] == pytest.approx(mean.mean())
