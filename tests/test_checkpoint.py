"""A run on disk: what is written comes back bit for bit.

What is damaged is never taken for good.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import shutil
import signal
import subprocess
import sys
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ancf_jax.checkpoint import RunFolder, open_run
from ancf_jax.config import override
from ancf_jax.errors import UserError
from ancf_jax.models.registry import default_config
from ancf_jax.types import TrainState
from ancf_jax.view import Silent

REPOSITORY = Path(__file__).resolve().parents[1]


def _state(epoch: int, rows: int = 7) -> TrainState:
    params = {
        "table": jax.random.normal(jax.random.key(epoch), (rows, 5)),
        "half": jnp.full((3,), epoch + 0.5, jnp.bfloat16),
        "flags": jnp.array([True, False]),
    }
    return TrainState(
        jnp.int32(11 * epoch),
        params,
        {},
        ({"mu": jnp.full((13,), 1.0 / (epoch + 3))}, ()),
    )


def _bits(tree) -> list[bytes]:
    return [np.array(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


class _Shop(Silent):
    """A run folder under test: its path and what was said to the person."""

    def __init__(self, path: Path):
        self.path = path
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)

    def train(
        self, *, resume: bool = False, **changes
    ) -> AbstractContextManager[RunFolder]:
        names = {name.replace("__", "."): value for name, value in changes.items()}
        config = override(default_config("ancf"), names)
        return RunFolder.create(self.path, config, resume=resume, view=self)

    def refuse(self, message: str, **options) -> None:
        with pytest.raises(UserError, match=message), self.train(**options):
            pass

    def view(self):
        return open_run(self.path, self)

    def data_file(self, epoch: int) -> Path:
        return max(
            (self.path / "checkpoints" / str(epoch) / "state" / "d").iterdir(),
            key=lambda p: p.stat().st_size,
        )


@pytest.fixture
def shop(tmp_path) -> _Shop:
    return _Shop(tmp_path / "a run")


def _save(run: RunFolder, epoch: int, score: float = 0.0, **options) -> bool:
    run.append_metrics({"epoch": epoch, "loss": 1.0 / (epoch + 1)})
    return run.save(
        epoch, _state(epoch), {"ndcg@10": score}, score, {"waited": epoch}, **options
    )


def _flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


TEMPLATE = jax.eval_shape(partial(_state, 0))


def test_the_state_comes_back_bit_for_bit_with_types_and_structure(shop):
    with shop.train() as run:
        run.save(
            3,
            _state(3),
            {"loss": np.float32(0.5), "auc": None},
            0.25,
            {"waited": 2, "best": -math.inf},
        )
        found = run.restore_latest(TEMPLATE)
    assert _bits(found.state) == _bits(_state(3))
    assert jax.tree.structure(found.state) == jax.tree.structure(TEMPLATE)
    assert jax.tree.map(lambda x: x.dtype, found.state) == jax.tree.map(
        lambda x: x.dtype, TEMPLATE
    )
    assert found[1:] == (
        3,
        {"loss": 0.5, "auc": None},
        0.25,
        {"waited": 2, "best": -math.inf},
    )
    assert all(
        isinstance(leaf, jax.Array) and not leaf.committed
        for leaf in jax.tree.leaves(found.state)
    )


def test_a_part_of_the_state_is_read_alone(shop):
    with shop.train() as run:
        _save(run, 3)
    part = shop.view().restore_best({"params": TEMPLATE.params}).state
    assert _bits(part) == _bits(_state(3).params)


def test_what_was_saved_does_not_move_when_the_state_is_donated(shop):
    step = jax.jit(lambda s: jax.tree.map(lambda x: x * 0, s), donate_argnums=0)
    state = {"table": jnp.arange(35.0).reshape(7, 5)}
    with shop.train() as run:
        run.save(1, state, {}, 0.0, {})
        step(state)
        assert state[
            "table"
        ].is_deleted()  # a live view of the table would have kept it
        found = run.restore_latest({"table": jax.ShapeDtypeStruct((7, 5), jnp.float32)})
    np.testing.assert_array_equal(found.state["table"], np.arange(35.0).reshape(7, 5))


def test_a_state_spread_over_devices_comes_back_on_one(shop):
    devices = jax.devices()
    assert len(devices) > 1
    mesh = jax.make_mesh(
        (len(devices),), ("device",), axis_types=(jax.sharding.AxisType.Auto,)
    )
    specs = {
        "rows": jax.sharding.PartitionSpec("device"),
        "same": jax.sharding.PartitionSpec(),
    }
    table = jnp.arange(len(devices) * 5.0).reshape(-1, 5)
    state = {
        name: jax.device_put(table, jax.sharding.NamedSharding(mesh, spec))
        for name, spec in specs.items()
    }
    with shop.train() as run:
        run.save(1, state, {}, 0.0, {})
        found = run.restore_latest(state).state
    np.testing.assert_array_equal(found["rows"], table)
    np.testing.assert_array_equal(found["same"], table)


def test_the_latest_two_and_the_best_two_are_kept(shop):
    scores = {1: 0.1, 2: 0.7, 3: 0.2, 4: 0.9, 5: 0.3, 6: 0.2, 7: 0.1}
    with shop.train() as run:
        for epoch, score in scores.items():
            _save(run, epoch, score)
        assert run.epochs() == [2, 4, 6, 7]
        assert run.restore_latest(TEMPLATE).epoch == 7
        assert run.restore_best(TEMPLATE).epoch == 4
    with shop.train(resume=True) as run:
        _save(run, 8, 0.8)
        assert run.epochs() == [4, 7, 8]
        assert {path.name for path in (shop.path / "checkpoints").iterdir()} == {
            "4",
            "7",
            "8",
        }


def test_an_epoch_that_is_there_stands(shop):
    with shop.train() as run:
        _save(run, 1)
        assert run.save(1, _state(2), {}, 9.0, {})
        assert _bits(run.restore_latest(TEMPLATE).state) == _bits(_state(1))
    assert shop.said == []


def test_nan_is_never_the_best(shop):
    with shop.train() as run:
        for epoch, score in enumerate([0.3, math.nan, 0.2, math.nan, math.nan]):
            _save(run, epoch, score)
        assert run.epochs() == [0, 2, 3, 4]
        assert run.restore_best(TEMPLATE).epoch == 0
        assert run.restore_latest(TEMPLATE).score == -math.inf


def test_every_flipped_bit_is_found_or_harmless(shop):
    with shop.train() as run:
        _save(run, 3)
        _save(run, 4, 1.0)
    path = shop.data_file(4)
    outcomes = []
    for at in range(3, path.stat().st_size, 97):
        _flip(path, at)
        found = shop.view().restore_best(TEMPLATE)
        assert _bits(found.state) == _bits(_state(found.epoch))
        outcomes.append(found.epoch)
        _flip(path, at)
    assert outcomes.count(3) > len(outcomes) / 2


def test_data_that_reads_well_but_is_not_what_was_saved_is_named_by_leaf(shop):
    with shop.train() as run:
        _save(run, 3)
        _save(run, 4)
    files = [p for p in (shop.path / "checkpoints/3/state").rglob("*") if p.is_file()]
    for path in files:  # epoch 4 gets the arrays of epoch 3: whole, but not its own
        target = Path(str(path).replace("checkpoints/3", "checkpoints/4"))
        target.write_bytes(path.read_bytes())
    found = shop.view().restore_best(TEMPLATE)
    assert found.epoch == 3
    assert re.fullmatch(
        r"checkpoint 4 is damaged \(leaf \S+: not what its digest says\); using 3",
        shop.said[-1],
    )


def test_a_record_that_was_altered_is_found(shop):
    with shop.train() as run:
        _save(run, 1, 0.25)
        _save(run, 2, 0.5)
    record = shop.path / "checkpoints/1/info/metadata"
    record.write_text(record.read_text().replace('"score": 0.25', '"score": 0.75'))
    assert shop.view().restore_best(TEMPLATE).epoch == 2
    assert re.search(
        r"checkpoint 1 is damaged \(file \S.*: not what its digest says\); using 2",
        shop.said[0],
    )


@pytest.mark.parametrize("file", ["state/manifest.ocdbt", "info/metadata", "data"])
@pytest.mark.parametrize("fault", ["truncated", "missing"])
def test_a_broken_file_is_told_and_the_checkpoint_before_it_used(shop, file, fault):
    with shop.train() as run:
        for epoch in (1, 2, 3):
            _save(run, epoch, epoch / 10)
    path = shop.data_file(3) if file == "data" else shop.path / "checkpoints/3" / file
    if fault == "missing":
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size // 2)
    assert shop.view().restore_best(TEMPLATE).epoch == 2
    assert shop.said[0].startswith("checkpoint 3 is damaged (")
    assert shop.said[0].endswith("; using 2")
    with pytest.raises(UserError, match="checkpoint 3 is damaged"):
        shop.view().restore_best(TEMPLATE, strict=True)
    with shop.train(resume=True) as run:
        found = run.restore_latest(TEMPLATE)
        assert (found.epoch, run.epochs()) == (2, [2])
        assert _bits(found.state) == _bits(_state(2))
        assert _save(run, 3)
        assert run.restore_latest(TEMPLATE).epoch == 3


def test_a_run_never_starts_from_zero_because_all_is_damaged(shop):
    with shop.train() as run:
        _save(run, 1)
        _save(run, 2)
    for epoch in (1, 2):
        os.truncate(shop.data_file(epoch), 10)
    with shop.train(resume=True) as run:
        with pytest.raises(
            UserError, match=r"cannot be restored.*checkpoint 2 is.*checkpoint 1 is"
        ):
            run.restore_latest(TEMPLATE)
        assert run.epochs() == [1, 2]
    with pytest.raises(UserError, match="cannot be restored"):
        shop.view().restore_best(TEMPLATE)


def test_a_forged_shape_is_refused_before_memory_is_taken(shop):
    ts = pytest.importorskip("tensorstore")
    with shop.train() as run:
        _save(run, 1)
    base = {"driver": "file", "path": f"{shop.path}/checkpoints/1/state/"}
    store = ts.KvStore.open(
        {"driver": "ocdbt", "base": base, "path": "params.table/"}
    ).result()
    header = json.loads(store[".zarray"])
    store[".zarray"] = json.dumps(header | {"shape": [7 * 10**9, 5 * 10**9]}).encode()
    with pytest.raises(
        UserError, match=r"leaf params\.table: shape \(7000000000, 5000000000\)"
    ):
        shop.view().restore_best(TEMPLATE)


def test_a_model_of_another_shape_or_type_is_refused(shop):
    with shop.train() as run:
        _save(run, 1)
    view = shop.view()
    params = TEMPLATE.params
    with pytest.raises(
        UserError,
        match=r"leaf params\.table of checkpoint 1 is float32\[7, 5\].*float32\[11, 5\]",
    ):
        view.restore_best(jax.eval_shape(partial(_state, 0, 11)))
    with pytest.raises(UserError, match=r"params\.half .*bfloat16\[3\].*float32\[3\]"):
        view.restore_best(
            {"params": params | {"half": jax.ShapeDtypeStruct((3,), jnp.float32)}}
        )
    with pytest.raises(UserError, match=r"leaf params\.new of checkpoint 1 is missing"):
        view.restore_best({"params": {"new": params["half"]}})


def test_another_format_and_other_data_are_refused(shop, monkeypatch):
    with shop.train() as run:
        run.data_digest = "ab" * 16
        _save(run, 1)
    view = shop.view()
    view.data_digest = "ab" * 16
    assert view.restore_best(TEMPLATE).epoch == 1
    view.data_digest = "cd" * 16
    with pytest.raises(UserError, match="made from other data"):
        view.restore_best(TEMPLATE)
    monkeypatch.setattr("ancf_jax.checkpoint.record.READABLE", (2,))
    with pytest.raises(UserError, match="has format 3, expected at most"):
        shop.view().restore_best(TEMPLATE)


_CHILD = """
import os, signal, sys
import jax.numpy as jnp
from ancf_jax.checkpoint import RunFolder
from ancf_jax.models.registry import default_config
from ancf_jax.view import PRINTED
config = default_config("ancf")
opened = RunFolder.create(sys.argv[1], config, resume=False, view=PRINTED)
run = opened.__enter__()
for epoch in range(3):
    run.append_metrics({"epoch": epoch})
    if epoch == 2:
        rename = os.rename
        def die(source, target, **_):
            if os.path.basename(str(target)) == sys.argv[2]:
                os.kill(os.getpid(), signal.SIGKILL)
            rename(source, target)
        os.rename = os.replace = die
    run.save(epoch, {"w": jnp.full((7, 5), float(epoch))}, {}, 0.0, {})
if sys.argv[2] == "wait":
    print("ready", flush=True)
    sys.stdin.read()
"""


def _child(shop: _Shop, argument: str) -> subprocess.Popen:
    command = [sys.executable, "-c", _CHILD, str(shop.path), argument]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, env=environment, stdin=pipe, stdout=pipe, text=True
    )


def test_a_kill_during_a_write_leaves_the_step_before_it_and_its_leftovers_go(shop):
    with _child(shop, "2") as child:
        assert child.wait() == -signal.SIGKILL
    checkpoints = shop.path / "checkpoints"
    assert any("tmp" in path.name for path in checkpoints.glob("unfinished/*"))
    template = {"w": jax.ShapeDtypeStruct((7, 5), jnp.float32)}
    assert shop.view().restore_best(template).epoch == 1
    with shop.train(resume=True) as run:
        assert {path.name for path in checkpoints.iterdir()} == {"0", "1"}
        found = run.restore_latest(template)
        np.testing.assert_array_equal(found.state["w"], np.full((7, 5), 1.0))
        assert [row["epoch"] for row in run.read_metrics()] == [0, 1]
    assert shop.said == []


def test_a_kill_during_a_deletion_leaves_no_half_of_a_checkpoint(shop, monkeypatch):
    def half(path, **_):
        for file in list(Path(path).rglob("*.ocdbt")):
            file.unlink()
            raise KeyboardInterrupt

    with shop.train() as run:
        for epoch in (1, 2):
            _save(run, epoch, epoch)
        monkeypatch.setattr(shutil, "rmtree", half)
        with pytest.raises(KeyboardInterrupt):
            _save(run, 3, 3)
        monkeypatch.undo()
    assert shop.view().epochs() == [2, 3]
    with shop.train(resume=True) as run:
        assert run.restore_latest(TEMPLATE, strict=True).epoch == 3
        assert {path.name for path in (shop.path / "checkpoints").iterdir()} == {
            "2",
            "3",
        }


def test_a_second_process_is_refused_until_the_first_is_killed(shop):
    with _child(shop, "wait") as child:
        assert child.stdout.readline() == "ready\n"
        shop.refuse(f"process {child.pid} trains in", resume=True)
        found = shop.view().restore_best(
            {"w": jax.ShapeDtypeStruct((7, 5), jnp.float32)}
        )
        assert found.epoch == 2
        child.kill()
    with shop.train(resume=True):
        pass


def test_a_second_run_in_one_process_is_refused_and_a_failed_start_frees_the_lock(shop):
    with shop.train():
        shop.refuse(f"process {os.getpid()} trains", resume=True)
    for _ in range(2):
        shop.refuse("already holds a run; pass --resume")


def test_resuming_where_nothing_is_starts_and_says_so(shop):
    with shop.train(resume=True) as run:
        assert run.restore_latest(TEMPLATE) is None
    assert len(shop.said) == 1
    assert shop.said[0].endswith("starting from the beginning")


def test_resume_takes_over_the_length_of_the_run_and_refuses_another_model(shop):
    with shop.train(network__heads=4) as run:
        _save(run, 1)
    message = r"network\.hidden \(32, 16\) -> \(8,\), network\.heads 4 -> 2; keep them"
    shop.refuse(message, resume=True, network__heads=2, network__hidden=(8,), epochs=3)
    free = {
        "epochs": 41,
        "loop__patience": 3,
        "loop__checkpoint_every": 2,
        "loop__spread": "shard_map",
    }
    with shop.train(
        resume=True, loop__validation_users=7, run="elsewhere", **free
    ) as run:
        assert run.restore_latest(TEMPLATE).epoch == 1
        assert run.config.epochs == 41
    assert shop.view().config == run.config


def test_a_setting_that_the_older_run_did_not_have_is_at_its_models_default(shop):
    started = default_config("engagement")  # whose loss is not that of Config()
    with RunFolder.create(shop.path, started, resume=False):
        pass
    file = shop.path / "config.json"
    saved = {
        k: v
        for k, v in json.loads(file.read_text()).items()
        if k not in ("objective.loss", "keep_seen", "digest")
    }
    file.write_text(json.dumps(saved))
    assert shop.view().config == started
    changed = RunFolder.create(
        shop.path, override(started, {"objective.loss": "mse"}), resume=True
    )
    with (
        pytest.raises(UserError, match=r"objective\.loss log_loss -> mse; keep them"),
        changed,
    ):
        pass
    with RunFolder.create(shop.path, started, resume=True):
        assert json.loads(file.read_text())["objective.loss"] == "log_loss"


@pytest.mark.parametrize("text", ["{", "[]", "{}", ""])
def test_settings_that_cannot_be_read_are_told(shop, text):
    with shop.train():
        pass
    (shop.path / "config.json").write_text(text)
    with pytest.raises(UserError, match="cannot be read"):
        shop.view()
    shop.refuse("cannot be read", resume=True)


@pytest.mark.parametrize(
    "changes", [{"baseline.ease_l2": 250.0}, {"network.heads_": 2}]
)
def test_settings_of_another_version_are_told(shop, changes):
    with shop.train():
        pass
    file = shop.path / "config.json"
    settings = json.loads(file.read_text()) | changes
    del settings["digest"]
    file.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"was written by another version \(there is"):
        shop.view()


def test_a_run_of_a_model_that_is_not_registered_says_what_to_do(shop):
    with shop.train():
        pass
    file = shop.path / "config.json"
    settings = json.loads(file.read_text()) | {"model": "mine"}
    del settings["digest"]
    file.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r'no model "mine".*register it first'):
        shop.view()


def test_saving_leaves_the_programs_logging_as_it_was(shop):
    logging.disable(logging.DEBUG)
    filters = list(logging.getLogger("absl").filters)
    with shop.train() as run:
        _save(run, 1)
    assert logging.root.manager.disable == logging.DEBUG
    assert logging.getLogger("absl").filters == filters
    logging.disable(logging.NOTSET)


def test_another_model_cannot_go_on_with_a_run(shop):
    with shop.train():
        pass
    other = RunFolder.create(shop.path, default_config("mf"), resume=True)
    with pytest.raises(UserError, match=r"model ancf -> mf.*; keep them"), other:
        pass


def test_the_view_writes_nothing(shop):
    def listing():
        return {
            str(p): p.stat().st_mtime_ns for p in [shop.path, *shop.path.rglob("*")]
        }

    with shop.train() as run:
        _save(run, 1)
        before = listing()
        view = shop.view()
        assert view.restore_best(TEMPLATE).epoch == 1
        assert view.read_metrics() == [{"epoch": 1, "loss": 0.5}]
        assert listing() == before
    with pytest.raises(UserError, match="no run in"):
        open_run(shop.path / "none")


def test_a_view_of_a_run_without_checkpoints_says_so(shop):
    with shop.train(), pytest.raises(UserError, match="has no checkpoint yet"):
        shop.view().restore_best(TEMPLATE)


def test_rows_after_the_restored_epoch_are_cut_so_that_resumed_equals_straight(
    shop, tmp_path
):
    straight = _Shop(tmp_path / "straight")
    with straight.train() as run:
        for epoch in range(1, 5):
            _save(run, epoch)
    with shop.train() as run:
        for epoch in range(1, 3):
            _save(run, epoch)
        run.append_metrics({"epoch": 3, "loss": 99.0})
    whole = (shop.path / "metrics.jsonl").read_text()
    for torn in ('{"epoch": 2, "lo', '{"epoch": 2}'):
        (shop.path / "metrics.jsonl").write_text(whole + torn)
        assert [row["epoch"] for row in shop.view().read_metrics()] == [1, 2, 3]
    with shop.train(resume=True) as run:
        run.restore_latest(TEMPLATE)
        for epoch in range(3, 5):
            _save(run, epoch)
    assert (shop.path / "metrics.jsonl").read_bytes() == (
        straight.path / "metrics.jsonl"
    ).read_bytes()


def test_a_metric_that_is_not_finite_is_null_in_the_rows(shop):
    with shop.train() as run:
        run.append_metrics({"epoch": 1, "auc": math.nan, "loss": math.inf})
    assert (
        shop.path / "metrics.jsonl"
    ).read_text() == '{"auc": null, "epoch": 1, "loss": null}\n'


def test_a_full_disk_warns_keeps_the_old_and_goes_on(shop, small_files, caplog):
    big = {"table": jax.random.normal(jax.random.key(0), (89, 53))}
    with shop.train() as run:
        run.save(1, big, {}, 0.0, {})
        small_files(True)
        assert not run.save(2, big, {}, 0.0, {})
        with pytest.raises(UserError, match="checkpoint 2 could not be written"):
            run.save(2, big, {}, 0.0, {}, final=True)
        small_files(False)
        assert [path.name for path in (shop.path / "checkpoints").glob("[0-9]*")] == [
            "1"
        ]
        assert run.save(2, big, {}, 0.0, {})
        assert run.epochs() == [1, 2]
    (warning,) = shop.said
    assert re.fullmatch(
        r"WARNING: checkpoint 2 could not.*File too large; training goes on, kept are \[1\]",
        warning,
    )
    assert not caplog.records
