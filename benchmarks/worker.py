"""A worker does one repetition of its work for every line that it reads, and answers each in JSON.

python -m benchmarks.worker MODULE FUNCTION [NAME=VALUE ...]

`MODULE.FUNCTION(options)` prepares the work and returns it as a function without arguments. Between
repetitions the worker waits at its pipe and takes no CPU, so several interpreters can take turns.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module, metadata
from time import perf_counter
from typing import Any

PACKAGES = ("jax", "jaxlib", "torch", "recbole", "implicit", "numpy")
Answer = Callable[[dict[str, Any]], None]


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Versions of those packages that are installed here."""
    installed = {}
    for name in packages:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def answers() -> Answer:
    """A function that writes one line to the parent; all else that is printed goes to stderr."""
    pipe = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    return lambda reply: print(json.dumps(reply), file=pipe, flush=True)


def serve(
    prepare: Callable[[dict[str, str]], Callable[[], Any]],
    options: dict[str, str],
    answer: Answer,
) -> None:
    """Prepares and warms up, then does one repetition per line of stdin.

    Work may return a dict of figures.
    """
    work = prepare(options)
    work()
    answer({"versions": versions()})
    for _ in sys.stdin:
        begin = perf_counter()
        found = work()
        reply = {"seconds": perf_counter() - begin}
        if isinstance(found, dict):
            reply.update(found)
        answer(reply)


def main(module: str, function: str, *options: str) -> None:
    """Answers every failure with its reason, so that the other rows go on."""
    answer = answers()
    try:
        prepare = getattr(import_module(module), function)
        serve(prepare, dict(word.split("=", 1) for word in options), answer)
    except ModuleNotFoundError as problem:
        answer({"refused": f"peer not installed: {problem.name}"})
    except Exception as problem:
        traceback.print_exc()
        answer({"refused": f"{type(problem).__name__}: {problem}"})


if __name__ == "__main__":
    main(*sys.argv[1:])
