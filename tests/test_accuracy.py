from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ancf_jax.errors import UserError
from benchmarks import accuracy, accuracy_runs
from benchmarks.accuracy_presets import Place, Trial, missing, read_preset
from benchmarks.accuracy_rows import (
    FULL,
    GROUPS,
    STUDIES,
    VARIANTS,
    Group,
    Published,
    Study,
)
from benchmarks.accuracy_runs import Result, finished, make
from benchmarks.results import audit_text, results_text, write_results
from benchmarks.results_ablations import sentence, write_ablations
from benchmarks.results_figures import Run, difference, figure, gap_shares, paired

PRESET = """\
# EASE on a shop.
# python train.py @presets/shop-ease.flags --data PATH-TO/shop --run runs/shop
# python evaluate.py --run runs/shop --protocol given
# expected: NDCG@10 .450
--model ease  # closed form
--keep-seen
"""
TRIAL = Trial("shop-ease", 2, "alone", ("--network.temporal",))
AUDIT = {
    "users": 3,
    "items": 3,
    "events": 3,
    "train": 3,
    "validation": 3,
    "test": 3,
    "unused": 3,
    "duplicates": 3,
    "split": "leave_one_out",
    "ties_in_time": None,
    "test_before_newest_train": None,
    "cold_users": 0,
    "cold_items": 0,
    "test_before_newest_train_of_user": 0.5,
    "repeat_share": 0.0,
    "test_pairs_in_train": 0.0,
    "left_out": {},
    "data_sha256": "abc",
}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    for name in ("presets", "data/shop", "out"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "presets" / "shop-ease.flags").write_text(PRESET)
    return Place(tmp_path / "presets", tmp_path / "data", tmp_path / "out")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The words of every train.py that would have been started.

    evaluate.py finds planted figures.
    """
    made: list[list[str]] = []
    found: dict[str, Any] = {
        "metrics": {"ndcg@10": 0.5},
        "intervals": {"ndcg@10": [0.4, 0.6]},
        "audit": AUDIT,
        "keep_seen": True,
    }

    def evaluate(words: list[str], log: object) -> dict[str, Any]:
        made.append(words)
        table = {
            "user_id": ["a", "b"],
            "ndcg@10": [0.2, 0.8],
            "hit_rate@10": [0.0, float("ancf" in words[1])],
        }
        pd.DataFrame(table).to_parquet(words[-1])
        return found

    monkeypatch.setattr(
        accuracy_runs, "_train", lambda words, log: made.append(words) or (60.0, 512.0)
    )
    monkeypatch.setattr(accuracy_runs, "_evaluate", evaluate)
    return made


def result(ndcg: float, sha: str = "abc", best: float | None = None) -> Result:
    figures = {"ndcg@10": ndcg, "hit_rate@10": None}
    known = {"ndcg@10": best} if best else None
    bounds = {"ndcg@10": [0.3, 0.5], "hit_rate@10": [None, None]}
    return Result(
        "",
        figures,
        bounds,
        AUDIT | {"data_sha256": sha},
        60.0,
        512.0,
        False,
        "a machine",
        known,
    )


def test_the_header_of_a_preset_holds_both_commands(place, calls):
    make(TRIAL, place, "a machine")
    run = str(place.of(TRIAL))
    preset = f"@{place.presets / 'shop-ease.flags'}"
    data = ["--data", str(place.data / "shop"), "--seed", "2", "--network.temporal"]
    assert calls[0] == [preset, *data, "--run", run, "--resume"]
    per_user = str(place.of(TRIAL, ".parquet"))
    assert calls[1] == [
        "--run",
        run,
        "--protocol",
        "given",
        "--json",
        "--per-user",
        per_user,
    ]


def test_without_an_evaluate_line_the_whole_catalogue_is_ranked(place):
    path = place.presets / "shop-ease.flags"
    path.write_text(
        "\n".join(line for line in PRESET.splitlines() if "evaluate" not in line)
    )
    assert read_preset(path).evaluate == []
    path.write_text("--model ease\n")
    with pytest.raises(UserError, match=r"shop-ease.flags has no line"):
        read_preset(path)


def test_what_is_absent_is_told(place):
    assert missing(TRIAL, place) == ""
    assert missing(Trial("shop-ncf", 0), place) == "there is no presets/shop-ncf.flags"
    (place.data / "shop").rmdir()
    assert missing(TRIAL, place) == f"there is no {place.data / 'shop'}"


def test_a_finished_result_is_not_made_again_but_a_changed_preset_is(place, calls):
    writes: list[int] = []

    def pass_over() -> int:
        return accuracy.make_all(
            [TRIAL], place, "a machine", lambda: writes.append(len(calls))
        )

    assert [pass_over(), pass_over()] == [0, 0]
    assert writes == [2], "written once, after training and evaluating"
    path = place.presets / "shop-ease.flags"
    path.write_text(PRESET.replace(".450", ".451"))
    assert finished(TRIAL, place) is not None, "a comment changes nothing"
    leftover = place.of(TRIAL) / "config.json"
    leftover.touch()
    path.write_text(PRESET + "--seed 3\n")
    assert finished(TRIAL, place) is None
    assert pass_over() == 0
    assert len(calls) == 4
    assert not leftover.exists(), "a run of another preset is removed"
    assert not finished(TRIAL, place).resumed
    place.of(TRIAL, ".json").unlink()
    leftover.touch()
    assert make(TRIAL, place, "a machine").resumed, "a run of this preset goes on"


def test_a_failed_row_is_told_and_the_others_are_made(
    place, calls, monkeypatch, capsys
):
    def fails(words: list[str], log: object) -> None:
        raise UserError("ended with code 2: error: out of memory")

    monkeypatch.setattr(accuracy_runs, "_train", fails)
    trials = [TRIAL, Trial("shop-ncf", 0), Trial("shop-ncf", 1)]
    assert accuracy.make_all(trials, place, "a machine", lambda: None) == 1
    started, failed, skipped = capsys.readouterr().out.splitlines()
    assert started == "shop-ease-alone-seed-2: started"
    assert (
        failed
        == "shop-ease-alone-seed-2: failed, ended with code 2: error: out of memory"
    )
    assert skipped == "shop-ncf: skipped, there is no presets/shop-ncf.flags"


def test_a_figure_is_mean_deviation_and_the_first_interval():
    assert (
        figure([result(0.4), result(0.5)], "ndcg@10")
        == "0.4500 ± 0.0707 (0.3000-0.5000)"
    )
    assert figure([result(0.4)], "ndcg@10") == "0.4000 (0.3000-0.5000)"
    assert figure([result(0.4)], "hit_rate@10") == ""


def test_the_table_of_results(place):
    runs = {
        "popularity": [Run(Trial("shop-popularity", 0), result(0.1, best=0.6))],
        "ease": [
            Run(Trial("shop-ease", seed), result(0.4 + seed / 10, best=0.6))
            for seed in range(2)
        ],
    }
    text = results_text(
        {Group("shop", "A shop", ("popularity", "ease"), ("ndcg@10",)): runs}, place
    )
    row = (
        "| `ease` | 0.4500 ± 0.0707 (0.3000-0.5000) | 60.0% | 2 | 60 s | 0.5 GiB | 1 |"
    )
    assert f"\n{row} [preset](../presets/shop-ease.flags) |\n" in text
    assert "\n1. a machine\n" in text
    assert "data SHA-256 abc" in text


def test_documents_and_pictures_hold_what_is_finished(place, calls, tmp_path):
    (place.presets / "shop-ancf.flags").write_text(PRESET.replace("ease", "ancf"))
    group = Group(
        "shop",
        "A shop",
        ("ease", "ials", "ancf"),
        ("ndcg@10",),
        (Published("EASE", (0.45,), "a paper"),),
    )
    study = Study("shop-ancf", "A shop")
    rows = group.rows(1, ())
    variants = study.rows(1, ())
    for trial in (*rows["ease"], *rows["ancf"], *variants[VARIANTS[1]]):
        make(trial, place, "a machine")
    write_results({group: rows}, place, tmp_path)
    write_ablations(
        {study: variants, Study("shop-ease", "Nothing off yet"): {FULL: rows["ease"]}},
        place,
        tmp_path,
    )
    results, ablations = (
        (tmp_path / f"{name}.md").read_text() for name in ("results", "ablations")
    )
    assert (
        "| `ease` | +0.0000 (+0.0000 to +0.0000) | +0.5000 (+0.0000 to +1.0000) | 2 |"
        in results
    )
    assert "Audit of the split:\n" in results, "it is the same for all"
    assert "ials" not in results
    assert "The MLP path makes no measurable difference" in ablations
    assert "Nothing off yet" not in ablations
    assert all(
        (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        for name in ("results", "ablations")
    )


def test_the_share_of_the_gap_is_taken_by_seed():
    floor = [Run(Trial("p", seed), result(0.1 * seed, best=0.5)) for seed in (1, 2)]
    ours = [Run(Trial("a", seed), result(0.4, best=0.5)) for seed in (1, 2, 3)]
    assert gap_shares(ours, floor) == pytest.approx([0.75, 2 / 3])
    assert gap_shares([Run(Trial("a", 1), result(0.4))], floor) == []


def test_paired_differences_are_taken_by_user():
    rng = np.random.default_rng(0)
    users = [f"u{i}" for i in range(500)]
    easy = pd.Series(rng.random(500), users)
    gain = pd.Series(0.1 + 0.02 * rng.standard_normal(500), users)
    ours = (easy + gain).iloc[::-1]
    other = pd.concat([easy, pd.Series({"stranger": 0.9})])
    found = paired([(ours, other), (ours + 0.2, other)])
    assert found.users == 500
    assert found.mean == pytest.approx(gain.mean() + 0.1)
    assert found.low < found.mean < found.high
    assert found.high - found.low == pytest.approx(
        2 * 1.96 * 0.02 / 500**0.5, rel=0.2
    ), "users cancel out"


def test_a_pair_shares_data_and_if_it_can_the_seed(place):
    def planted(row: str, seed: int, value: float, sha: str) -> Run:
        trial = Trial(row, seed)
        pd.DataFrame({"user_id": ["a", "b"], "ndcg@10": value}).to_parquet(
            place.of(trial, ".parquet")
        )
        return Run(trial, result(value, sha))

    ours = [planted("ancf", seed, 0.5 + seed / 10, "abc") for seed in range(2)]
    others = [planted("neumf", seed, 0.3 * seed, "abc") for seed in range(2)]
    assert difference(ours, others, place).mean == pytest.approx(0.4)
    assert difference(ours, others[:1], place).mean == pytest.approx(0.55), (
        "the first seed stands for the absent one"
    )
    assert difference(ours, [planted("ease", 0, 0.1, "def")], place) is None


def test_audits_that_differ_say_whose_they_are():
    def audited(users: int) -> list[Run]:
        return [
            Run(TRIAL, dataclasses.replace(result(0.5), audit=AUDIT | {"users": users}))
        ]

    text = audit_text({"ease": audited(3), "ials": audited(5), "ancf": audited(3)})
    assert (
        text.index("of `ease`, `ancf`:")
        < text.index("3 users")
        < text.index("of `ials`:")
        < text.index("5 users")
    )


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(-0.3, -0.1, "helps"), (-0.2, 0.1, "no measurable"), (0.1, 0.2, "hurts")],
)
def test_the_sentence_follows_the_sign_of_the_interval(low, high, words):
    found = sentence(
        VARIANTS[1],
        paired([(pd.Series([low, high]), pd.Series([0.0, 0.0]))])._replace(
            low=low, high=high
        ),
    )
    assert words in found


def test_names_are_distinct():
    rows = [
        *(g.rows(3, ()) for g in GROUPS),
        *({v: t for v, t in s.rows(3, ()).items() if v != FULL} for s in STUDIES),
    ]
    names = [
        trial.name for each in rows for trials in each.values() for trial in trials
    ]
    assert len(names) == len(set(names)) > 60
    assert "ncf-ml-1m-ease-seed-0" in names
    assert "gsasrec-ml-1m-ancf-short-no-time-seed-0" not in names, (
        "that data has no clock"
    )
    assert "s3rec-beauty-ancf-no-followers-seed-0" in names
    assert "corner-store-ancf-no-followers-seed-0" not in names, "that preset has none"


@pytest.mark.parametrize(
    "group",
    [group for group in GROUPS if "ancf" in group.models],
    ids=lambda group: group.name,
)
def test_baselines_train_on_all_that_ancf_trains_on(group):
    flags = {
        model: read_preset(
            accuracy.ROOT / "presets" / f"{group.name}-{model}.flags"
        ).flags
        for model in group.models
    }
    everything = {
        model for model, words in flags.items() if "--split.validation" in words
    }
    assert "ancf" not in everything or everything == set(group.models)
