"""The parent's side: starts workers, lets them take turns, and takes medians."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Task:
    """What a worker does: a function of a module under benchmarks/, with its options.

    Attributes:
        name: for people.
        module: under benchmarks.
        function: of the module.
        options: what the function is given, as texts.
        peer: whether the peers' interpreter does it.
    """

    name: str
    module: str
    function: str
    options: dict[str, Any] = field(default_factory=dict)
    peer: bool = False

    def command(self, peer_python: str) -> list[str]:
        """The command line of its worker."""
        words = [f"{name}={value}" for name, value in self.options.items()]
        python = peer_python if self.peer else sys.executable
        return [
            python,
            "-W",
            "ignore",
            "-m",
            "benchmarks.worker",
            f"benchmarks.{self.module}",
            self.function,
            *words,
        ]


@dataclass
class Worker:
    """A started worker: `refused` says why it cannot work, `replies` hold what it measured."""

    task: Task
    process: subprocess.Popen[str]
    refused: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    replies: list[dict[str, Any]] = field(default_factory=list)

    def hear(self) -> dict[str, Any]:
        """The next answer; `refused` where there is none."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if line:
            reply = json.loads(line)
        else:
            code = self.process.wait()
            reply = {"refused": f"worker ended with code {code}"}
        self.refused = reply.get("refused", "")
        return reply

    def wait_until_ready(self) -> None:
        """Until it has loaded and warmed up."""
        self.versions = self.hear().get("versions", {})

    def turn(self) -> None:
        """One repetition, unless it refused."""
        if self.refused:
            return
        assert self.process.stdin is not None
        print(file=self.process.stdin, flush=True)
        reply = self.hear()
        if not self.refused:
            self.replies.append(reply)

    def median(self, name: str = "seconds") -> float:
        """The median of a figure over all repetitions."""
        return statistics.median(reply[name] for reply in self.replies)


@contextmanager
def started(task: Task, peer_python: str, errors: TextIO) -> Iterator[Worker]:
    """A worker that has warmed up; it ends when its pipe is closed."""
    child = subprocess.Popen(
        task.command(peer_python),
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors,
    )
    with child as process:
        worker = Worker(task, process)
        worker.wait_until_ready()
        try:
            yield worker
        finally:
            process.kill()


def alternate(
    tasks: Sequence[Task], repeats: int, peer_python: str, errors: TextIO
) -> list[Worker]:
    """All tasks in one run, `repeats` rounds in which each does one repetition in turn."""
    with ExitStack() as stack:
        workers = [
            stack.enter_context(started(task, peer_python, errors)) for task in tasks
        ]
        for _ in range(repeats):
            for worker in workers:
                worker.turn()
    return workers
