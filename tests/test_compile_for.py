"""Programs compiled for devices that are not there: what is counted in them, and what is listed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import pytest

from ancf_jax import data
from ancf_jax.config import LossName
from ancf_jax.data import TRAIN
from ancf_jax.machine import devices, forms
from ancf_jax.machine.parallel import assemble, device_count, lay
from ancf_jax.models.ancf.config import History
from ancf_jax.models.registry import names
from ancf_jax.prepared import prepare
from ancf_jax.training.loop import trainer
from ancf_jax.training.packing import RowUpdates
from ancf_jax.types import Precision, TrainState
from benchmarks import compile_for
from benchmarks.compile_for import Command, last_words, result_of, write
from benchmarks.compile_lines import (
    OF_FEW,
    OF_WHOLE_CATALOGUE,
    STEP,
    TABLES,
    all_lines,
    small_lines,
    trained,
)
from benchmarks.compile_target import chips, environment
from benchmarks.compiled_text import counts, kernels, read_program, size_of, told

PROGRAM = """\
HloModule jit_run, is_scheduled=true, entry_computation_layout={(f32[2,3]{1,0})->f32[2,3]{1,0}}

FileNames
1 "/somewhere/library/step.py"
2 "/somewhere/library/move.py"

FunctionNames
1 "Trainer.run"
2 "move"

FileLocations
1 {file_name_id=1 function_name_id=1 line=3 end_line=3 column=1 end_column=2}
2 {file_name_id=2 function_name_id=2 line=5 end_line=5 column=1 end_column=2}

StackFrames
1 {file_location_id=1 parent_frame_id=1}
2 {file_location_id=2 parent_frame_id=2}


%add (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %sum = f32[] add(%a, %b)
}

%fused_product (p: f32[2,3]) -> f32[2,3] {
  %p = f32[2,3]{1,0:T(8,128)} parameter(0)
  %c = f32[2,3]{1,0:T(8,128)} convolution(%p, %p), dim_labels=bf_io->bf
  ROOT %t = f32[2,3]{1,0:T(8,128)} tanh(%c), metadata={op_name="jit(run)/jvp(Net.forward)/tower/dense_0/tanh"}
}

%fused_twice (p.1: f32[2,3]) -> (f32[2,3], f32[]) {
  %p.1 = f32[2,3]{1,0} parameter(0)
  ROOT %two = f32[2,3]{1,0} multiply(%p.1, %p.1)
}

%body (state: (s32[], f32[2,3])) -> (s32[], f32[2,3]) {
  %state = (s32[], f32[2,3]{1,0}) parameter(0)
  %x = f32[2,3]{1,0} get-tuple-element(%state), index=1
  %fusion.1 = (f32[2,3]{1,0}, f32[]) fusion(%x), kind=kLoop, calls=%fused_twice, metadata={op_name="jit(run)/while/body/transpose(jvp(Net.forward))/tower/mul" stack_frame_id=1}
  %all-reduce-start = f32[2,3]{1,0} all-reduce-start(%x), to_apply=%add
  %all-reduce-done = f32[2,3]{1,0} all-reduce-done(%all-reduce-start)
  %gathered = (f32[5]{0}, s8[7]{0}) all-gather(%x, %x), dimensions={0}
  %moved = f32[2,3]{1,0} fusion(%x), kind=kLoop, calls=%fused_twice, metadata={op_name="jit(on_devices)/jit(_fun)/shard_map/while/body/add" stack_frame_id=2}
  ROOT %next = (s32[], f32[2,3]{1,0}) tuple(%x, %moved)
}

%condition (state.1: (s32[], f32[2,3])) -> pred[] {
  %state.1 = (s32[], f32[2,3]{1,0}) parameter(0)
  ROOT %less = pred[] compare(%state.1, %state.1), direction=LT
}

%yes (y: f32[2,3]) -> f32[2,3] {
  ROOT %sorted = f32[2,3]{1,0} sort(%y), dimensions={0}, to_apply=%add
}

%no (n: f32[2,3]) -> f32[2,3] {
  ROOT %n = f32[2,3]{1,0} parameter(0)
}

ENTRY %main (arg: f32[2,3]) -> f32[2,3] {
  %arg = f32[2,3]{1,0} parameter(0)
  %copy.1 = f32[2,3]{1,0} copy(%arg)
  %gemm = (f32[2,3]{1,0}, s8[64]{0}) custom-call(%copy.1, %copy.1), custom_call_target="__cublas$lt$matmul"
  %room = f32[64]{0} custom-call(), custom_call_target="AllocateBuffer"
  %top = (f32[2]{0}, s32[2]{0}) custom-call(%copy.1), custom_call_target="TopK"
  %product = f32[2,3]{1,0:T(8,128)} fusion(%copy.1), kind=kOutput, calls=%fused_product
  %loop = (s32[], f32[2,3]{1,0}) while(%arg), condition=%condition, body=%body
  ROOT %choice = f32[2,3]{1,0} conditional(%arg, %arg, %arg), branch_computations={%yes, %no}
}
"""


def test_kernels_are_counted_where_they_are_launched():
    found = kernels(read_program(PROGRAM))
    assert counts(found) == {
        "copy": 1,
        "product": 2,  # the library's, and the fused one
        "custom": 1,
        "fusion": 2,
        "collective": 2,
        "other": 1,  # the sort of a branch; the loop's comparison is a scalar
    }


def test_collectives_are_counted_with_what_they_give():
    found = told(kernels(read_program(PROGRAM)))
    assert found == {"all-reduce": (1, 4 * 2 * 3), "all-gather": (1, 4 * 5 + 7)}


def test_the_source_is_a_module_or_else_a_function():
    found = kernels(read_program(PROGRAM))
    by_kind = {
        kind: [kernel.source for kernel in found if kernel.kind == kind]
        for kind in ("fusion", "product", "copy")
    }
    assert by_kind["fusion"] == ["Net.forward/tower (back)", "library/move.py move"]
    assert by_kind["product"] == ["?", "Net.forward/tower/dense_0"]
    assert by_kind["copy"] == ["?"]


@pytest.mark.parametrize(
    ("result", "size"),
    [
        ("f32[]", 4),
        ("bf16[3,5]{1,0}", 30),
        ("pred[7]{0}", 7),
        ("s4[3]{0}", 2),
        ("f8e4m3fn[11]{0}", 11),
        ("(f32[2,3]{1,0:T(8,128)S(1)}, /*index=1*/s32[5]{0}, u32[])", 48),
        ("token[]", 0),
    ],
)
def test_bytes_of_a_type(result, size):
    assert size_of(result) == size


def test_a_compiled_program_of_this_machine_is_read():
    def f(x: jax.Array) -> jax.Array:
        return jax.lax.fori_loop(0, 3, lambda _, y: jax.numpy.sin(y @ x), x)

    text = jax.jit(f).lower(np.ones((7, 7), np.float32)).compile().as_text()
    program = read_program(text or "")
    assert program.entry
    assert counts(kernels(program))["product"] == 1


def test_every_model_is_listed():
    lines = all_lines()
    listed = {(line.model, line.program) for line in lines}
    steps = {(model, STEP) for model in trained()}
    rankings = {(model, kind) for model in names() for kind in OF_WHOLE_CATALOGUE}
    of_few = {(model, kind) for model in trained() for kind in OF_FEW}
    assert steps | rankings | of_few <= listed
    assert {line.name for line in small_lines()} - {"step ancf, small"} <= {
        line.name for line in lines
    }
    assert len({line.name for line in lines}) == len(lines)


@pytest.mark.parametrize(
    ("setting", "values"),
    [
        ("loop.tables", TABLES),
        ("network.history", get_args(History)),
        ("objective.loss", get_args(LossName)),
        ("loop.precision", get_args(Precision)),
    ],
)
def test_every_choice_of_the_flagship_is_listed(setting, values):
    listed = [line.changes.get(setting) for line in all_lines() if line.model == "ancf"]
    assert set(values) <= set(listed)


class Device:
    """As much of a device as is asked for; it can be hashed, and it is nowhere."""

    platform = "tpu"
    process_index = 0


def test_programs_for_absent_devices_take_their_forms_and_their_number():
    @forms.formula
    def form() -> str:
        return "plain"

    @form.faster_on("cpu")
    def _() -> str:
        return "for CPUs"

    here = device_count()
    assert form() == "for CPUs"
    assert not devices.are_absent()
    with devices.compiling_for([Device() for _ in range(3)]):
        assert devices.are_absent()
        assert devices.backend() == "tpu"
        assert device_count() == 3
        assert form() == "plain"
    assert device_count() == here


def test_packed_rows_fill_the_rows_that_a_device_keeps():
    table = np.ones((7, 33), np.float32)
    state = TrainState(np.int32(0), {"table": table}, {}, ())
    updates = RowUpdates({"table": "user"})
    assert updates.pack(state).rows["user"].shape == (7, 40)
    with devices.compiling_for([Device()]):
        assert updates.pack(state).rows["user"].shape == (7, 128)


def test_shapes_stand_for_what_lies_on_absent_devices():
    with devices.compiling_for(jax.devices()[:2]):
        laid = lay({"x": np.zeros((2, 5))}, split=True)["x"]
        assembled = assemble(np.zeros((2, 5)), 2)
    for one in (laid, assembled):
        assert isinstance(one, jax.ShapeDtypeStruct)
        assert one.shape == (2, 5)
        assert one.dtype == np.float32  # as on a device
        assert len(one.sharding.device_set) == 2


@pytest.mark.parametrize(
    "changes",
    [{"loop__tables": "dense"}, {"loop__tables": "divided"}, {"loop__stream": 50}],
)
def test_the_program_is_the_one_that_trains(tiny, changes):
    """From shapes alone, and from a real state at work."""
    config = tiny("mf", **changes)
    prepared = prepare(config, data.build(config), (TRAIN,))
    made = trainer(prepared, devices=2)
    state = made.initial_state()
    call = next(made.feed.calls(0, made._drawn_per_step, 0, made._most_steps))
    at_work = made.run.lower(state, *made._inputs(call)).as_text()
    with devices.compiling_for(jax.devices()[:2]):
        from_shapes = trainer(prepared).lowered().as_text()
    assert from_shapes == at_work
    # The state is given up: its leaves become those of the next state.
    given_up = at_work.count("tf.aliasing_output") + at_work.count("jax.buffer_donor")
    assert given_up >= len(jax.tree.leaves(state.params))


def test_why_a_process_ended():
    said = (
        "a warning\nF0000 scatter.cc:5] Check failed: n == 1\n*** stack ***\n @ 0x1\n"
    )
    assert last_words(said, -6) == "exit -6: F0000 scatter.cc:5] Check failed: n == 1"
    assert last_words("Traceback\nValueError: no\n", 1) == "exit 1: ValueError: no"
    assert last_words("one\nthe last\n\n", 1) == "exit 1: the last"
    assert last_words("", -9) == "exit -9"


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch):
    """ended(code, stdout): every process ends so."""

    def set_end(code: int, stdout: str) -> None:
        def run(*_: Any, **options: Any) -> subprocess.CompletedProcess[str]:
            options["stderr"].write("E Check failed: x\n")
            return subprocess.CompletedProcess([], code, stdout)

        monkeypatch.setattr(compile_for.subprocess, "run", run)

    return set_end


FOUND = (
    '{"seconds": 4.4, "processor seconds": 3.0, "kernels": {"fusion": 5, "product": 2},'
    ' "collectives": {"all-reduce": [2, 1024]}, "sources": {"a": {"fusion": 5}},'
    ' "temporary": 3145728, "flops": 2e9}'
)


def test_a_line_is_a_row_of_the_table(ended, tmp_path: Path):
    command = Command("h100")
    ended(0, f"words\n{FOUND}\n")
    good = result_of("step a", command)
    ended(-6, "")
    bad = result_of("step b", command)
    write([good, bad], command, tmp_path / "table.csv")
    rows = (tmp_path / "table.csv").read_text().splitlines()
    assert rows[1] == 'step a,ok,4,3,5,2,0,0,0,"2 all-reduce of 1,024 B",3.00,2.00,'
    assert rows[2] == "step b,exit -6: E Check failed: x" + "," * 11
    write([good, bad], command, tmp_path / "table.md")
    assert "| step a | ok | 4 | 3 | 5 |" in (tmp_path / "table.md").read_text()


def test_targets():
    assert chips("tpu-v5e:2x2") == 4
    assert chips("tpu-v5e:1x1") == chips("h100") == 1
    assert environment("tpu-v5e:2x2")["JAX_PLATFORMS"] == "cpu"
    assert "autotune_level=0" in environment("h100")["XLA_FLAGS"]
