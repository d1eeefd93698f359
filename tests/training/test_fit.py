"""A whole run: what it says, what it leaves, and which checkpoint is the best."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import pytest

from ancf_jax import data
from ancf_jax.config import Config, to_json
from ancf_jax.data import TEST, VALIDATION
from ancf_jax.errors import UserError
from ancf_jax.evaluation import fitted_calibration
from ancf_jax.ranking import Ranker
from ancf_jax.runs import load
from ancf_jax.training.fit import fit

pytestmark = pytest.mark.usefixtures("no_pictures")


def opened_epoch(config: Config) -> int:
    """The epoch of the checkpoint that evaluation opens."""
    return load(config.run, data.known_parts(TEST)).epoch


def rows(config: Config) -> list[dict]:
    lines = (Path(config.run) / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def validation_metric(config: Config) -> dict[int, float]:
    """The metric that chooses the checkpoint, by epoch; 0 is the untrained model."""
    return {row["epoch"]: row["validation_ndcg@10"] for row in rows(config)}


def test_a_run_leaves_what_it_promises(straight):
    config, screen, score = straight
    folder = Path(config.run)
    found = rows(config)
    assert [row["epoch"] for row in found] == [0, 1, 2, 3, 4, 5]
    assert "train_loss" not in found[0]
    trained = found[1:]
    names = {"train_loss", "validation_loss", "validation_ndcg@10"}
    assert all(names <= set(row) for row in trained)
    assert trained[-1]["train_loss"] < trained[0]["train_loss"]
    assert score == max(row["validation_ndcg@10"] for row in trained)
    assert (folder / "curves.png").read_bytes().startswith(b"\x89PNG\r\n")
    saved = json.loads((folder / "config.json").read_text())
    del saved["digest"]
    assert saved == json.loads(to_json(data.resolve(config)))
    assert len(set(screen.titles)) == 5


def test_every_epoch_that_is_better_than_all_before_is_marked(straight):
    config, screen, _ = straight
    figures = validation_metric(config)
    best = -math.inf
    expected = []
    for epoch, figure in figures.items():
        if figure > best:
            best = figure
            expected.append(epoch)
    marked = [int(line.split()[1]) for line in screen.said if line.endswith("*")]
    assert marked == expected
    assert len(marked) < len(figures)  # otherwise a mark would say nothing


def test_without_a_view_nothing_is_shown(tiny, tmp_path, capfd):
    """Neither on standard output nor on standard error, by this library or those it uses."""
    fit(tiny("mf", epochs=1, run=str(tmp_path / "run")))
    assert capfd.readouterr() == ("", "")


def test_without_validation_the_last_epoch_is_kept(tiny, tmp_path, new_screen):
    """Nothing is judged, patience never ends the run, and what validated before trains."""
    config = tiny(
        "mf",
        epochs=5,
        run=str(tmp_path / "run"),
        split__validation=0.0,
        loop__patience=1,
        loop__checkpoint_every=3,
    )
    screen = new_screen()
    fitted = fit(config, view=screen)
    assert fitted.epochs == 5
    assert VALIDATION not in fitted.dataset.part
    found = rows(config)
    assert [row["epoch"] for row in found] == [0, 1, 2, 3, 4, 5]
    assert [set(row) for row in found[1:]] == [{"epoch", "train_loss"}] * 5
    assert opened_epoch(config) == 5
    folders = (tmp_path / "run" / "checkpoints").iterdir()
    assert sorted(folder.name for folder in folders) == ["3", "5"]
    assert not any("*" in line for line in screen.said)


def test_the_metric_last_keeps_the_last_epoch_and_validates_all_the_same(
    tiny, tmp_path, new_screen
):
    """At so high a learning rate some epoch before the last one validates best."""
    config = tiny(
        "mf",
        epochs=4,
        run=str(tmp_path / "run"),
        loop__metric="last",
        loop__patience=1,
        optim__learning_rate=0.3,
    )
    screen = new_screen()
    assert fit(config, view=screen).epochs == 4
    figures = validation_metric(config)
    assert max(figures, key=figures.__getitem__) < 4
    assert opened_epoch(config) == 4
    assert not any("*" in line for line in screen.said)


def test_the_best_checkpoint_is_opened_not_the_latest(tiny, tmp_path):
    """The same run judged by its metric."""
    config = tiny(
        "mf",
        epochs=4,
        run=str(tmp_path / "run"),
        loop__patience=0,
        optim__learning_rate=0.3,
    )
    score = fit(config).score
    figures = validation_metric(config)
    best = max(figures, key=figures.__getitem__)
    assert best < 4
    assert opened_epoch(config) == best
    assert score == figures[best]
    assert json.loads(calibration_file(config).read_text())["epoch"] == best


def test_training_stops_early_and_stays_stopped(tiny, tmp_path, new_screen):
    """Steps too small to change a ranking: the untrained model is the best there will be."""
    config = tiny(
        "mf",
        epochs=9,
        loop__patience=2,
        optim__learning_rate=1e-12,
        run=str(tmp_path / "run"),
    )
    assert fit(config).epochs == 2
    screen = new_screen()
    assert fit(config, resume=True, view=screen).epochs == 2
    assert not screen.titles
    assert any("2 epochs" in line for line in screen.said)


def test_training_that_only_harms_leaves_the_untrained_model(
    tiny, tmp_path, new_screen
):
    """Steps so long that every loss is above that of a model which knows nothing."""
    config = tiny(
        "mf",
        epochs=2,
        optim__learning_rate=30.0,
        loop__metric="loss",
        run=str(tmp_path / "run"),
    )
    screen = new_screen()
    fit(config, view=screen)
    assert opened_epoch(config) == 0
    assert any("better than the untrained" in line for line in screen.said)


@pytest.fixture
def small_sample(monkeypatch):
    """The untrained model is judged on 5 users and 8 events."""
    place = "ancf_jax.training.validation"
    monkeypatch.setattr(f"{place}.SAMPLE_USERS", 5)
    monkeypatch.setattr(f"{place}.EVENTS_PER_BLOCK", 8)
    monkeypatch.setattr(f"{place}.SAMPLE_BLOCKS", 1)


@pytest.mark.usefixtures("small_sample")
def test_the_untrained_model_is_judged_on_a_sample(tiny, tmp_path, monkeypatch):
    """So is the first epoch, to be compared with it; later ones on all users alone."""
    judged = []
    ranks = Ranker.ranks

    def counted(ranker, held, *arguments):
        judged.append(len(held.user))
        return ranks(ranker, held, *arguments)

    monkeypatch.setattr(Ranker, "ranks", counted)
    config = tiny("mf", epochs=3, loop__metric="loss", run=str(tmp_path / "run"))
    fit(config)
    everyone = judged[1]
    assert everyone > 5
    assert judged[:5] == [5, everyone, 5, everyone, everyone]
    assert opened_epoch(config) == 3


@pytest.mark.usefixtures("small_sample")
def test_nothing_worse_than_the_untrained_model_on_the_sample_is_kept(tiny, tmp_path):
    config = tiny(
        "mf",
        epochs=2,
        optim__learning_rate=30.0,
        loop__metric="loss",
        loop__checkpoint_every=1,
        run=str(tmp_path / "run"),
    )
    fit(config)
    assert opened_epoch(config) == 0


def test_no_epochs_leave_the_untrained_model(tiny, tmp_path):
    config = tiny("mf", epochs=0, run=str(tmp_path / "run"))
    assert fit(config).epochs == 0
    assert opened_epoch(config) == 0


def test_a_baseline_becomes_a_run_that_scores(tiny, tmp_path):
    config = tiny("popularity", run=str(tmp_path / "run"))
    fitted = fit(config)
    opened = load(config.run, data.known_parts(TEST))
    source = fitted.dataset
    trained_item = source.interactions.item[source.part == 0]
    count = [int((trained_item == item).sum()) for item in range(23)]
    assert opened.ranker.variables["params"]["count"].tolist() == count


def test_a_folder_with_a_run_is_not_trained_again_by_accident(straight):
    with pytest.raises(UserError, match="--resume"):
        fit(straight[0])


def calibration_file(config: Config) -> Path:
    return Path(config.run) / "calibration.json"


def test_the_scale_is_that_of_the_best_checkpoint(straight):
    config, screen, _ = straight
    found = json.loads(calibration_file(config).read_text())
    assert found["epoch"] == opened_epoch(config)
    assert found["slope"] >= 0
    assert any("fitted on 13 validation requests" in line for line in screen.said)
    opened = load(config.run, data.known_parts(VALIDATION))
    held = data.heldout(opened.dataset, VALIDATION)
    again = fitted_calibration(opened.ranker, held, bool(config.keep_seen))
    assert again == pytest.approx(opened.calibration, rel=1e-3)


@pytest.mark.parametrize(
    ("model", "changes"),
    [("mf", {"split__validation": 0.0}), ("linear", {}), ("engagement", {})],
)
def test_no_scale_without_validation_or_for_values(tiny, tmp_path, model, changes):
    config = tiny(model, epochs=1, run=str(tmp_path / "run"), **changes)
    fit(config)
    assert not calibration_file(config).exists()
    assert load(config.run, data.known_parts(TEST)).calibration is None


def test_resuming_a_finished_run_writes_the_scale_anew(tiny, tmp_path):
    config = tiny("popularity", run=str(tmp_path / "run"))
    fit(config)
    file = calibration_file(config)
    before = file.read_text()
    file.unlink()
    fit(config, resume=True)
    assert file.read_text() == before


def test_curves_that_cannot_be_written_do_not_end_the_run(
    tiny, tmp_path, monkeypatch, new_screen
):
    def full_disk(rows, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ancf_jax.training.fit.draw_curves", full_disk)
    screen = new_screen()
    config = tiny("mf", epochs=1, run=str(tmp_path / "run"))
    assert fit(config, view=screen).epochs == 1
    assert "WARNING: curves.png was not written: No space left on device" in screen.said
