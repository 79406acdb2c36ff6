"""The numbers of a run as a table, each with its curve in one line where a person reads."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from realm_telemetry.cli.terminal import cell, make_table, note, print_table
from realm_telemetry.errors import counted

CURVE_COLUMNS: Final = 24
POINTS: Final = 200
"""Of each curve; a column shows the mean of those that fall into it."""

_HEIGHTS: Final = "▁▂▃▄▅▆▇█"
_NUMBERS: Final = ("last", "least", "greatest", "points")


def print_metrics(found: Mapping[str, Any]) -> None:
    """Print what a run measures. found: as `GET /api/runs/{id}/metrics` answers, with series."""
    metrics = [metric for group in found["groups"] for metric in group["metrics"]]
    if metrics:
        _print(metrics, _curves(found["series"]) if sys.stdout.isatty() else {})
    note(counted(len(metrics), "number"))
    if found["building"]:
        note("Older rows of this run are still being read; ask again for all of it.")


def _print(metrics: Sequence[Mapping[str, Any]], curves: Mapping[str, str]) -> None:
    drawn = ("curve",) if curves else ()
    table = make_table(("name", *_NUMBERS, *drawn, "not finite"), numbers=_NUMBERS)
    for metric in metrics:
        name = str(metric["name"])
        table.add_row(
            cell(name, "bold"),
            *(cell(_number(metric[field])) for field in ("last", "least", "greatest")),
            cell(f"{metric['count']:,}"),
            *([cell(curves.get(name, ""), "cyan")] if curves else ()),
            cell(_not_finite(metric), "red"),
        )
    print_table(table)


def _number(value: Any) -> str:
    return "" if value is None else f"{value:,}" if type(value) is int else f"{value:.6g}"


def _not_finite(metric: Mapping[str, Any]) -> str:
    if not metric["not_finite"]:
        return ""
    step = metric["first_not_finite_step"]
    return f"{metric['not_finite']:,}" + ("" if step is None else f", from step {step:,}")


def _curves(series: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The curve of each name: of its lowest rank, as the last attempt made it."""
    points: dict[str, dict[int, float]] = {}
    for each in series:
        if each["values"]:
            of_name = points.setdefault(str(each["name"]), {})
            places = each["steps"] or each["times"]
            for place in [place for place in of_name if place >= places[0]]:
                del of_name[place]
            of_name.update(zip(places, map(float, each["values"]), strict=True))
    return {name: sparkline(list(found.items())) for name, found in points.items()}


def sparkline(points: Sequence[tuple[float, float]], columns: int = CURVE_COLUMNS) -> str:
    """Return points as one line of blocks, from the least value to the greatest.

    points: (place, value), in order of place. A column without a point is a space.
    """
    if not points:
        return ""
    first, last = points[0][0], points[-1][0]
    cells: list[list[float]] = [[] for _ in range(columns)]
    for place, value in points:
        share = (place - first) / (last - first) if last > first else 0.0
        cells[min(int(share * columns), columns - 1)].append(value)
    means = [sum(each) / len(each) if each else None for each in cells]
    known = [mean for mean in means if mean is not None]
    least, width = min(known), max(known) - min(known)
    return "".join(" " if mean is None else _block(mean - least, width) for mean in means).rstrip()


def _block(height: float, width: float) -> str:
    if not 0.0 < width < float("inf"):
        return _HEIGHTS[len(_HEIGHTS) // 2]
    return _HEIGHTS[min(int(height / width * len(_HEIGHTS)), len(_HEIGHTS) - 1)]
