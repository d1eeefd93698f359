"""Models learn: planted rules are found, well above what popularity finds."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from ancf_jax.config import override
from ancf_jax.data import TEST, corner_store
from ancf_jax.evaluation import evaluate, judged, mean_baselines, value_figures
from ancf_jax.models.registry import default_config
from ancf_jax.runs import load
from ancf_jax.training.fit import fit

SMALL = {
    "network.embedding_size": 16,
    "network.mlp_size": 16,
    "network.hidden": (16, 8),
    "network.history_length": 11,
    "network.heads": 2,
    "network.layers": 1,
    "network.dropout": 0.0,
    "split.validation": 0.0,
    "loop.checkpoint_every": 1000,
}


def settings(model: str, **changes):
    """Small settings of a model; two underscores in a name stand for a dot."""
    config = default_config(model)
    small = {name: x for name, x in SMALL.items() if hasattr(config.network, name[8:])}
    small |= {name: x for name, x in SMALL.items() if not name.startswith("network.")}
    named = {name.replace("__", "."): x for name, x in changes.items()}
    return override(config, small | named)


def figures(config, keep_seen: bool = False) -> dict:
    """Test figures of a run that is trained now."""
    fit(config)
    run = load(config.run)
    return evaluate(run.ranker, run.dataset, keep_seen=keep_seen).metrics


def write_events(path, rows: list[tuple]) -> str:
    """Rows of user, item, time and maybe rating, as a table of events."""
    lines = ["user_id,item_id,timestamp,rating"[: 25 + 7 * (len(rows[0]) > 3)]]
    lines += [",".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def checkerboard(tmp_path_factory) -> str:
    """61 users who take 12 of the 20 items of their own colour; all items are as popular."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(61):
        taken = 2 * rng.permutation(20)[:12] + user % 2
        rows += [(f"u{user}", f"i{item}", time) for time, item in enumerate(taken)]
    return write_events(tmp_path_factory.mktemp("board") / "interactions.csv", rows)


@pytest.fixture(scope="module")
def walks(tmp_path_factory) -> str:
    """61 users who walk 12 steps round a ring of 31 items, from wherever they begin."""
    rng = np.random.default_rng(1)
    rows = []
    for user in range(61):
        start = int(rng.integers(31))
        rows += [(f"u{user}", f"i{(start + step) % 31}", step) for step in range(12)]
    return write_events(tmp_path_factory.mktemp("walks") / "interactions.csv", rows)


@pytest.fixture(scope="module")
def ratings(tmp_path_factory) -> str:
    """Ratings of 1 to 5 by the item's number alone: what a linear model can learn."""
    rng = np.random.default_rng(2)
    rows = []
    for user in range(61):
        for time, item in enumerate(rng.permutation(23)[:12]):
            rows.append((f"u{user}", f"i{item}", time, 1 + item % 5))
    return write_events(tmp_path_factory.mktemp("ratings") / "interactions.csv", rows)


@pytest.mark.parametrize(
    ("model", "changes"),
    [
        ("mf", {}),
        ("gmf", {}),
        ("mlp", {}),
        ("neumf", {}),
        ("ancf", {"network__history": "none", "objective__loss": "bce"}),
    ],
)
def test_a_checkerboard_is_found(model, changes, checkerboard, tmp_path):
    """9 unseen items of 29 are of the user's colour, so a list of 10 can hold them all."""
    config = settings(
        model,
        data=checkerboard,
        run=str(tmp_path / "run"),
        epochs=150,
        objective__negatives=4,
        loop__batch_size=61,
        optim__learning_rate=0.02,
        optim__weight_decay=1e-3,
        **changes,
    )
    popularity = settings(
        "popularity", data=checkerboard, run=str(tmp_path / "popularity")
    )
    found = figures(config)["hit_rate@10"]
    chance = figures(popularity)["hit_rate@10"]
    assert chance < 0.45
    assert found > max(0.7, 1.7 * chance)


@pytest.mark.parametrize("history", ["causal", "candidate"])
def test_the_next_item_is_found(history, walks, tmp_path):
    """Whoever looks at the history knows the next item, which popularity cannot."""
    config = settings(
        "ancf",
        data=walks,
        run=str(tmp_path / "run"),
        epochs=40 if history == "causal" else 25,
        network__history=history,
        network__repeats=False,
        objective__loss="softmax" if history == "causal" else "bce",
        objective__negatives=16,
        loop__batch_size=8 if history == "causal" else 61,
        optim__learning_rate=0.01,
    )
    popularity = settings("popularity", data=walks, run=str(tmp_path / "popularity"))
    found = figures(config)["hit_rate@1"]
    assert figures(popularity)["hit_rate@1"] < 0.25
    assert found > 0.7


def test_linear_finds_what_items_are_worth(ratings, tmp_path):
    config = settings("linear", data=ratings, run=str(tmp_path / "run"), epochs=40)
    fit(config)
    run = load(config.run)
    found = value_figures(*judged(run.ranker, run.dataset, TEST, "mse"))
    by_user = mean_baselines(run.dataset, TEST, "mse")["user mean"]
    assert found["rmse"] < 0.5 * by_user["rmse"]


@pytest.fixture
def tiny_store(monkeypatch):
    """A corner store of 150 shoppers and 90 days."""
    small = partial(corner_store.simulate, shoppers=150, days=90)
    monkeypatch.setattr(corner_store, "simulate", small)


def test_ancf_beats_popularity_in_a_tiny_corner_store(tiny_store, tmp_path):
    config = settings("ancf", run=str(tmp_path / "run"), epochs=4)
    popularity = settings("popularity", run=str(tmp_path / "popularity"))
    found = figures(config, keep_seen=True)["ndcg@10"]
    assert found > 1.5 * figures(popularity, keep_seen=True)["ndcg@10"]


def test_engagement_tells_liked_products_from_others(tiny_store, tmp_path):
    config = settings(
        "engagement", run=str(tmp_path / "run"), epochs=6, loop__batch_size=256
    )
    fit(config)
    run = load(config.run)
    found = value_figures(*judged(run.ranker, run.dataset, TEST, "log_loss"))
    by_user = mean_baselines(run.dataset, TEST, "log_loss")["user mean"]
    assert found["auc"] > by_user["auc"] + 0.05
