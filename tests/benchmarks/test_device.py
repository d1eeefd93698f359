"""What a trace says of a device, which ceiling counts, and that every line prepares its work."""

from __future__ import annotations

import pytest

from benchmarks.device import Command, cells, of_ceiling, result_of
from benchmarks.device_lines import Line, all_lines, product
from benchmarks.device_profile import activity, traced, union


def named(kind: str, name: str, pid: int, tid: int = 0) -> dict:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}


def ran(pid: int, tid: int, begin: float, duration: float) -> dict:
    return {"ph": "X", "pid": pid, "tid": tid, "ts": begin, "dur": duration}


def test_kernels_are_those_of_the_first_devices_streams():
    events = [
        named("process_name", "/host:CPU", 1),
        named("process_name", "/device:GPU:0", 7),
        named("thread_name", "Stream #13(Compute)", 7, 2),
        named("thread_name", "Stream #14(Memcpy)", 7, 3),
        named("thread_name", "XLA Modules", 7, 5),
        ran(1, 2, 0, 1000),  # of the host
        ran(7, 5, 0, 500),  # the same once more, by module
        ran(7, 2, 10, 20),
        ran(7, 2, 40, 10),
        ran(7, 3, 25, 10),  # 5 of it beside the first
    ]
    found = activity(events)
    assert found.kernels == 3
    assert found.busy == pytest.approx(35e-6)


def test_spans_are_counted_once_where_they_overlap():
    assert union([]) == 0
    assert union([(0, 10), (2, 5), (5, 13), (20, 21)]) == 14


def test_a_cpu_has_no_activity():
    assert traced(lambda: None) is None


def test_the_nearer_ceiling_counts():
    ceilings = {"product float32": 100.0, "copy": 10.0}
    line = Line("one", product, flops=70.0, moved=6.0)
    assert of_ceiling(line, 2.0, ceilings) == pytest.approx(0.35)  # .35 and .3
    assert of_ceiling(line, 2.0, {"copy": 10.0}) == pytest.approx(0.3)
    assert of_ceiling(Line("two", product), 2.0, ceilings) is None


def test_a_line_without_figures_says_why():
    line = Line("PyTorch one", product, unit="epoch")
    assert cells(line, {"refused": "no torch"}, None)[:2] == ["PyTorch one", "no torch"]
    found = {"seconds": 0.0125, "seconds before": 3.0, "kernels": 1700, "busy": 0.5}
    row = cells(line, {**found, "peak memory": 3 * 2**20}, 0.125)
    expected = ["PyTorch one", "12.50", "epoch", "1,700", "50%", "12.5%", "3", "3.0"]
    assert row == expected


def test_a_line_is_measured_in_a_process_of_its_own():
    line = next(line for line in all_lines(400) if line.name == "product tf32")
    found = result_of(line, Command(share=400, repeats=1))
    assert found["seconds"] > 0
    missing = Line("nothing of this name", product)
    assert "KeyError" in result_of(missing, Command(share=400))["refused"]


@pytest.mark.parametrize("share", [1, 50])
def test_names_of_lines_are_told_apart(share):
    lines = [line.name for line in all_lines(share)]
    assert len(set(lines)) == len(lines)
