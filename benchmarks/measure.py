"""What the benchmarks share: timing, percentiles, and a table with targets."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table


class Figure(NamedTuple):
    """One measured figure beside its target.

    met: None where there is nothing to compare with.
    """

    what: str
    measured: str
    target: str
    met: bool | None
    note: str = ""


def at_most(what: str, value: float, target: float, unit: str, note: str = "") -> Figure:
    """A figure that must not be above its target."""
    return Figure(what, _number(value, unit), f"<= {target:,g} {unit}", value <= target, note)


def at_least(what: str, value: float, target: float, unit: str, note: str = "") -> Figure:
    """A figure that must not be below its target."""
    return Figure(what, _number(value, unit), f">= {target:,g} {unit}", value >= target, note)


def _number(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}"


def percentile(sorted_values: Sequence[float], share: float) -> float:
    """The value that a share of a sorted sequence does not exceed."""
    return sorted_values[min(int(len(sorted_values) * share), len(sorted_values) - 1)]


def time_each(function: Callable[[], object], count: int) -> list[float]:
    """Nanoseconds of each call, sorted, the clock's own cost taken off."""
    clock = time.perf_counter_ns
    own = sorted(-clock() + clock() for _ in range(2000))[1000]
    times = []
    for _ in range(count):
        begin = clock()
        function()
        times.append(max(clock() - begin - own, 0))
    return sorted(times)


def time_batches(function: Callable[[], object], batches: int, size: int) -> list[float]:
    """Mean nanoseconds a call in each of many short batches, sorted."""
    clock = time.perf_counter_ns
    means = []
    for _ in range(batches):
        begin = clock()
        for _ in range(size):
            function()
        means.append((clock() - begin) / size)
    return sorted(means)


def machine() -> str:
    """This machine in a line."""
    model = next(
        (line.split(":", 1)[1].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.machine(),
    )
    return (
        f"{model}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]}, "
        f"CPython {platform.python_version()}"
    )


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return []


def show(title: str, figures: Sequence[Figure]) -> None:
    """Print a table of figures."""
    table = Table(title=title, title_justify="left")
    for column in ("what", "measured", "target", "", "note"):
        table.add_column(column, overflow="fold")
    for figure in figures:
        mark = {True: "met", False: "MISSED", None: ""}[figure.met]
        table.add_row(figure.what, figure.measured, figure.target, mark, figure.note)
    Console(width=150).print(table)
