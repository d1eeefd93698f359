"""Compiles one line of the table and prints what came of it, as JSON.

python -m benchmarks.compile_line TARGET NAME [TEXT]

A process of its own, for a compiler may end it. TEXT is where the compiled program is written.
"""

from __future__ import annotations

import json
import resource
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

import jax

from ancf_jax.machine.devices import compiling_for
from benchmarks import compiled_text
from benchmarks.compile_lines import all_lines, lowered, small_lines
from benchmarks.compile_target import devices_of


def compiled(target: str, name: str, text_to: str = "") -> dict[str, Any]:
    """What is known of the compiled program of a line."""
    lines = {line.name: line for line in [*all_lines(), *small_lines()]}
    with compiling_for(devices_of(target)):
        begin = perf_counter()
        program = lowered(lines[name])
        traced = perf_counter()
        spent = processor_seconds()
        executable = program.compile()
    found: dict[str, Any] = {
        "seconds of tracing": traced - begin,
        "seconds": perf_counter() - traced,
        "processor seconds": processor_seconds() - spent,
    }
    text = executable.as_text() or ""
    if text_to:
        Path(text_to).write_text(text, encoding="utf-8")
    return found | memory_of(executable) | costs_of(executable) | kernels_of(text)


def processor_seconds() -> float:
    """What this process and its children have used: the compiler's work, however busy the cores."""
    used = [
        resource.getrusage(who)
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    ]
    return sum(each.ru_utime + each.ru_stime for each in used)


def memory_of(executable: jax.stages.Compiled) -> dict[str, int]:
    """Bytes of what lives while the program runs, and of what it gets."""
    memory = executable.memory_analysis()
    if memory is None:
        return {}
    return {
        "temporary": memory.temp_size_in_bytes,
        "arguments": memory.argument_size_in_bytes,
    }


def costs_of(executable: jax.stages.Compiled) -> dict[str, float]:
    """Operations and bytes moved by the compiler's count; empty where it does not tell."""
    try:
        costs = executable.cost_analysis() or {}
    except (RuntimeError, NotImplementedError):
        return {}
    wanted = {"flops": "flops", "bytes": "bytes accessed"}
    return {name: costs[key] for name, key in wanted.items() if key in costs}


def kernels_of(text: str) -> dict[str, Any]:
    """Kernels by kind, collectives by name, and kernels by source and kind."""
    found = compiled_text.kernels(compiled_text.read_program(text))
    sources: dict[str, Counter[str]] = {}
    for kernel in found:
        sources.setdefault(kernel.source, Counter())[kernel.kind] += 1
    return {
        "kernels": compiled_text.counts(found),
        "collectives": compiled_text.told(found),
        "sources": sources,
    }


if __name__ == "__main__":
    print(json.dumps(compiled(*sys.argv[1:])))
