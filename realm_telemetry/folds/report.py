"""A run as one document to send or keep: Markdown, or HTML with its curves as pictures.

The HTML needs nothing else: no script, and no request to anywhere.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from typing import Any, Final, Literal, NamedTuple

from realm_telemetry.event import Event
from realm_telemetry.folds.curves.view import MAX_SERIES, Metric, series_of, totals
from realm_telemetry.folds.runs import report
from realm_telemetry.folds.runs.view import fenced, good_checkpoint, inline, seen_text

ReportFormat = Literal["md", "html"]
FORMATS: Final[tuple[ReportFormat, ...]] = ("md", "html")

LAST_LINES: Final = 40
"""Of what the run printed."""

POINTS: Final = 300
_WIDTH: Final = 320
_HEIGHT: Final = 90
_BEYOND: Final = 1e300

_STYLE: Final = """
:root{color-scheme:light dark;--faint:#8886;--line:#3b82f6;--bad:#dc2626}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}
h1{overflow-wrap:anywhere}pre{overflow:auto;padding:.75rem;border:1px solid var(--faint)}
table{border-collapse:collapse}th,td{text-align:left;padding:.2rem .8rem .2rem 0;vertical-align:top}
td{overflow-wrap:anywhere}.cause{border-left:4px solid var(--bad);padding:.25rem 1rem}
.curves{display:grid;grid-template-columns:repeat(auto-fill,minmax(18rem,1fr));gap:1rem}
figure{margin:0}figcaption{overflow-wrap:anywhere}svg{width:100%;height:auto}
polyline{fill:none;stroke:var(--line);stroke-width:1.5;vector-effect:non-scaling-stroke}
.again{opacity:.3}.bad{stroke:var(--bad)}small{opacity:.8}
"""


class Report(NamedTuple):
    """What a report is made of.

    run: as folds.runs.shown returns it. events: the last notable ones, oldest first.
    output: the last lines that it printed, without secrets; empty for none.
    """

    run: dict[str, Any]
    events: Sequence[Event]
    metrics: Sequence[Metric] = ()
    output: str = ""

    def text(self, wanted: ReportFormat) -> str:
        """Return the report in a format."""
        return self.html() if wanted == "html" else self.markdown()

    def markdown(self) -> str:
        """Return the report as Markdown."""
        parts = [report(self.run, self.events).rstrip("\n")]
        if self.metrics:
            parts += ["## Curves", _table(self.metrics)]
        if self.output:
            parts += ["## Last lines of its output", fenced(self.output)]
        return "\n\n".join(parts) + "\n"

    def html(self) -> str:
        """Return the report as one HTML document."""
        run = self.run
        title = f"Run {run['run_id']}: {run['status']}"
        body = [f"<h1>{_text(run['run_id'])}</h1>", _cause(run), _rows(_facts(run))]
        sections: tuple[tuple[str, Any, Callable[[Any], str]], ...] = (
            ("Evidence", run["evidence"], _evidence),
            ("To resume", run.get("resume"), _resume),
            ("Exception", run["exception"], _exception),
            ("Curves", self.metrics, _curves),
            ("Ranks", run["ranks"] if len(run["ranks"]) > 1 else None, _ranks),
            ("Configuration", run["config"], _rows),
            ("Last lines of its output", self.output, _pre),
            ("Last events", self.events, _events),
        )
        body += [f"<h2>{name}</h2>{shown(found)}" for name, found, shown in sections if found]
        head = f'<meta charset="utf-8"><title>{_text(title)}</title><style>{_STYLE}</style>'
        viewport = '<meta name="viewport" content="width=device-width,initial-scale=1">'
        return (
            f'<!doctype html>\n<html lang="en"><head>{head}{viewport}</head>\n<body>\n'
            + "\n".join(body)
            + "\n</body></html>\n"
        )


def _text(value: Any) -> str:
    return escape(str(value))


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _table(metrics: Iterable[Metric]) -> str:
    head = "| name | last | least | greatest | points | not finite |\n|---|---|---|---|---|---|"
    return "\n".join([head, *map(_row, list(metrics)[:MAX_SERIES])])


def _row(metric: Metric) -> str:
    found = totals(metric)
    cells = [inline(metric.name), *(_number(found[name]) for name in ("last", "least", "greatest"))]
    return f"| {' | '.join([*cells, str(found['count']), _not_finite(found)])} |"


def _not_finite(found: Mapping[str, Any]) -> str:
    if not found["not_finite"]:
        return ""
    step = found["first_not_finite_step"]
    return f"{found['not_finite']}" + ("" if step is None else f", from step {step}")


def _cause(run: dict[str, Any]) -> str:
    rank = run["first_failed_rank"]
    parts = [run["reason"], None if rank is None else f"rank {rank}", run["health"]]
    rest = "".join(f"<br>{_text(part)}" for part in parts if part)
    return f'<p class="cause"><strong>{_text(run["status"])}</strong>{rest}</p>'


def _facts(run: dict[str, Any]) -> dict[str, Any]:
    checkpoint = run["last_checkpoint"] or {}
    found = {
        "Command": run["command"]
        if not isinstance(run["command"], list)
        else " ".join(map(str, run["command"])),
        "Directory": run["cwd"],
        "Git commit": run["git_commit"],
        "Started": run["started_at"],
        "Ended": run["ended_at"],
        "Duration": f"{run['duration_s']:,.0f} s",
        "Attempts": run["attempts"],
        "Step": run["step"],
        "Steps in all": run["total_steps"],
        "Loss": run["loss"],
        "Best loss": run["best_loss"],
        "Last checkpoint": checkpoint.get("path") or checkpoint.get("step"),
        **good_checkpoint(run),
        "Hosts": ", ".join(run["hosts"]),
    }
    return {name: value for name, value in found.items() if value not in (None, "")}


def _rows(found: Mapping[str, Any]) -> str:
    rows = [
        f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in found.items()
    ]
    return f"<table>{''.join(rows)}</table>"


def _evidence(found: Any) -> str:
    if isinstance(found, Mapping):
        return _rows(found)
    items = found if isinstance(found, list) else [found]
    return f"<ul>{''.join(f'<li>{_text(item)}</li>' for item in items)}</ul>"


def _pre(text: str) -> str:
    return f"<pre>{_text(text.rstrip())}</pre>"


def _exception(found: Mapping[str, Any]) -> str:
    rank = "" if found["rank"] is None else f" (rank {found['rank']})"
    first = f"<p><strong>{_text(found['error_type'] or 'An error')}</strong>: "
    first += f"{_text(found['error'])}{rank}</p>"
    seen = seen_text(dict(found))
    first += f"<p>This error was seen {_text(seen)}.</p>" if seen else ""
    return first + (_pre(found["traceback"]) if found["traceback"] else "")


def _resume(found: Mapping[str, Any]) -> str:
    command = _pre(found["command"]) if found["command"] else ""
    directory = f"<p>In {_text(found['cwd'])}:</p>" if found["cwd"] and command else ""
    code = _pre(found["code"]) if found["code"] else ""
    return f"<p>{_text(found['note'])}</p>{directory}{command}{code}"


def _ranks(ranks: Mapping[str, Mapping[str, Any]]) -> str:
    names = ("status", "step", "host", "reason")
    head = "".join(f"<th>{name}</th>" for name in ("rank", *names))
    rows = [
        "<tr>"
        + "".join(f"<td>{_text(v)}</td>" for v in (rank, *(_shown(one[n]) for n in names)))
        + "</tr>"
        for rank, one in ranks.items()
    ]
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _shown(value: Any) -> Any:
    return "" if value is None else value


def _events(events: Iterable[Event]) -> str:
    rows = [
        f"<tr><td>{event.timestamp[:19]}Z</td><td>{_text(event.kind)}</td>"
        f"<td>{_text(event.message)}</td></tr>"
        for event in events
    ]
    return f"<table>{''.join(rows)}</table>"


def _curves(metrics: Sequence[Metric]) -> str:
    return f'<div class="curves">{"".join(map(_figure, metrics[:MAX_SERIES]))}</div>'


def _figure(metric: Metric) -> str:
    found = totals(metric)
    facts = [f"last {_number(found['last'])}"] if found["last"] is not None else []
    if found["least"] is not None:
        facts.append(f"{_number(found['least'])} to {_number(found['greatest'])}")
    if found["not_finite"]:
        facts.append(f"not finite: {_not_finite(found)}")
    caption = f"{_text(metric.name)}<br><small>{_text(', '.join(facts))}</small>"
    return f"<figure>{_picture(metric)}<figcaption>{caption}</figcaption></figure>"


def _picture(metric: Metric) -> str:
    """Return the curves of the lowest rank as SVG."""
    series = series_of(metric, None, POINTS)
    places = [x for each in series for x in _places(each)]
    values = [float(value) for each in series for value in each["values"]]
    bad = [_place(each, point) for each in series for point in each["not_finite"]["points"]]
    across = _scale([*places, *bad], _WIDTH)
    up = _scale(values, _HEIGHT)
    lines = [
        f"<polyline{' class=again' if faint else ''} points="
        f'"{" ".join(f"{across(x):.1f},{_HEIGHT - up(y):.1f}" for x, y in points)}"/>'
        for each in series
        for faint, points in _halves(each)
        if points
    ]
    marks = [
        f'<line class="bad" x1="{across(x):.1f}" x2="{across(x):.1f}" y1="0" y2="{_HEIGHT}"/>'
        for x in bad
    ]
    box = f'viewBox="-2 -2 {_WIDTH + 4} {_HEIGHT + 4}" role="img" aria-label="{_text(metric.name)}"'
    return f"<svg {box}>{''.join(lines + marks)}</svg>"


def _places(series: Mapping[str, Any]) -> list[int]:
    return list(series["steps"] or series["times"])


def _place(series: Mapping[str, Any], point: Mapping[str, Any]) -> int:
    return int(point["time"] if series["steps"] is None else point["step"])


def _halves(series: Mapping[str, Any]) -> list[tuple[bool, list[tuple[int, float]]]]:
    """Return the points that still hold, and those that a later attempt has made again."""
    limit = series["overwritten_from"]
    points = [(x, float(y)) for x, y in zip(_places(series), series["values"], strict=True)]
    if limit is None:
        return [(False, points)]
    return [
        (False, [p for p in points if p[0] < limit]),
        (True, [p for p in points if p[0] >= limit]),
    ]


def _scale(values: Sequence[float], length: int) -> Callable[[float], float]:
    """Return what puts a value between 0 and a length; in the middle where all are the same."""
    least, greatest = min(values, default=0), max(values, default=0)
    width = greatest - least
    if not 0 < width < _BEYOND:
        return lambda value: length / 2
    return lambda value: (value - least) / width * length
