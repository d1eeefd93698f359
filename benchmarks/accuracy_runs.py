"""One training and evaluation as child processes; what they found is kept, and not made again."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TextIO

from ancf_jax import data
from ancf_jax.data import TEST
from ancf_jax.data.storage import replacing
from ancf_jax.errors import UserError
from ancf_jax.evaluation import truth_metrics
from ancf_jax.objective import intervals
from benchmarks.accuracy_presets import Place, Trial, digest, read_preset
from benchmarks.report import cores, processor

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Result:
    """What one trial found, and what train.py cost.

    Of a resumed run `seconds` counts the last part alone.
    """

    digest: str
    metrics: dict[str, float | None]
    intervals: dict[str, list[float | None]]
    audit: dict[str, Any]
    seconds: float
    mebibytes: float
    resumed: bool
    machine: str
    best_possible: dict[str, float] | None


def finished(trial: Trial, place: Place) -> Result | None:
    """The result that is there, if the preset still asks for the same."""
    path = place.of(trial, ".json")
    preset = place.preset_of(trial)
    if not (path.exists() and preset.exists()):
        return None
    result = Result(**json.loads(path.read_text(encoding="utf-8")))
    return result if result.digest == digest(trial, read_preset(preset)) else None


def make(trial: Trial, place: Place, machine: str) -> Result:
    """Trains, or goes on with a run that was stopped, evaluates, and keeps the result.

    Raises:
        UserError: a child process fails.
    """
    preset = read_preset(place.preset_of(trial))
    run = place.of(trial)
    asked = digest(trial, preset)
    resumed = _prepare(run, asked)
    data_and_seed = [*place.filled_in(preset.train), "--seed", str(trial.seed)]
    words = [f"@{preset.path}", *data_and_seed, *trial.extra]
    per_user = str(place.of(trial, ".parquet"))
    outputs = ["--json", "--per-user", per_user]
    with place.of(trial, ".log").open("a", encoding="utf-8") as log:
        seconds, mebibytes = _train([*words, "--run", str(run), "--resume"], log)
        found = _evaluate(["--run", str(run), *preset.evaluate, *outputs], log)
    is_simulated = "--data" not in preset.train
    result = Result(
        digest=asked,
        metrics=found["metrics"],
        intervals=found["intervals"],
        audit=found["audit"],
        seconds=seconds,
        mebibytes=mebibytes,
        resumed=resumed,
        machine=machine,
        best_possible=_best_possible(run, found["keep_seen"]) if is_simulated else None,
    )
    with replacing(place.of(trial, ".json")) as file:
        file.write(json.dumps(dataclasses.asdict(result), indent=2).encode())
    return result


def _prepare(run: Path, asked: str) -> bool:
    """Removes a run that was asked for something else; whether one is there to go on with."""
    note = run / "asked-for"
    is_same = note.exists() and note.read_text(encoding="utf-8") == asked
    if run.exists() and not is_same:
        shutil.rmtree(run)
    with replacing(note) as file:
        file.write(asked.encode())
    return (run / "config.json").exists()


def _train(words: list[str], log: TextIO) -> tuple[float, float]:
    """Runs train.py; its seconds, and its peak resident memory in MiB."""
    begin = time.perf_counter()
    command = _command("train.py", words, log)
    with subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log) as child:
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except KeyboardInterrupt:  # the run saves itself; the next call goes on with it
            child.terminate()
            child.wait()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
    _check(child.returncode, log)
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return time.perf_counter() - begin, usage.ru_maxrss / unit


def _evaluate(words: list[str], log: TextIO) -> dict[str, Any]:
    """Runs evaluate.py; the object that it prints."""
    done = subprocess.run(
        _command("evaluate.py", words, log),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=log,
    )
    _check(done.returncode, log)
    return json.loads(done.stdout)


def _command(script: str, words: list[str], log: TextIO) -> list[str]:
    print("$ python", script, shlex.join(words), file=log, flush=True)
    return [sys.executable, script, *words]


def _check(code: int, log: TextIO) -> None:
    """Raises UserError with the last line of the log where a child failed."""
    if code:
        text = Path(log.name).read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        raise UserError(f"ended with code {code}: {lines[-1] if lines else ''}")


def _best_possible(run: Path, keep_seen: bool) -> dict[str, float] | None:
    """Figures of ranking by the simulation's true probabilities."""
    best = truth_metrics(data.load(run / "dataset"), TEST, keep_seen)
    return None if best is None else intervals.mean(best)


DEVICES = """
import jax
devices = jax.local_devices()
if devices[0].platform != "cpu":
    print(f"{len(devices)} x {devices[0].device_kind}")
"""


def describe_machine() -> str:
    """Processor, cores, accelerators and versions."""
    child = subprocess.run(
        [sys.executable, "-c", DEVICES], capture_output=True, text=True, check=True
    )
    count = cores()
    parts = [
        processor(),
        f"{count} core{'' if count == 1 else 's'}",
        child.stdout.strip(),
        f"Python {sys.version.split()[0]}",
        *(f"{name} {version(name)}" for name in ("jax", "flax", "optax", "numpy")),
    ]
    return ", ".join(part for part in parts if part)
