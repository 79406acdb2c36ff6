"""A run as readers see it: JSON for programs, and a report in Markdown for people."""

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.event import Event, format_time
from realm_telemetry.folds.runs.record import RunRecord
from realm_telemetry.folds.runs.spans import Entry
from realm_telemetry.folds.runs.status import Process, Team, Verdict, health, judge, team_of
from realm_telemetry.folds.state.values import number
from realm_telemetry.kinds.table import ROUTINE_KINDS
from realm_telemetry.log.engine import Snapshot
from realm_telemetry.log.filters import Filters

NOTABLE: Final = 20
"""Events that a report ends with."""

_MARKUP: Final = re.compile(
    r"[\\`*\[\]<>#|$]|~(?=~)|(?<=~)~|&(?=#?\w{1,32};)|(?<![^\W_])_|_(?![^\W_])"
)
"""What Markdown would read, GitHub's `$x$` and `~~x~~` too; an underscore within a word is text."""

MAX_TAGS: Final = 32
MAX_TAG: Final = 100
"""Characters of a tag."""

DETAILED: Final = frozenset({"ranks", "config", "evidence", "metrics"})
"""Fields that a list of runs leaves out."""

COMMAND: Final = ("command", "cwd", "git_commit", "python", "launcher", "scheduler_job_id")


def is_shown(record: RunRecord) -> bool:
    """Whether it is a run, and not only what a process without one has left."""
    return "named" in record.cells or "unnamed" in record.cells


def status_of(record: RunRecord) -> str:
    """Return the status alone."""
    return judge(team_of(record)).status


def started_at(record: RunRecord) -> int:
    """Return the time of the first event, nanoseconds since 1970."""
    return int(_value(record, "first") or 0)


def updated_at(record: RunRecord) -> int:
    """Return the time of the last event."""
    return int(record.cells["last"][0][0]) if "last" in record.cells else 0


def step_of(record: RunRecord) -> float | None:
    """Return the last step; None if there was none."""
    return number(_value(record, "step"))


def command_of(record: RunRecord) -> str | None:
    """Return the command, as text."""
    command = _value(record, "command")
    if isinstance(command, list):
        return " ".join(map(str, command))
    return None if command is None else str(command)


def is_named(record: RunRecord) -> bool:
    """Whether its events have a run id; if not, it has that of its producer."""
    return "named" in record.cells


def events_of(run_id: str, record: RunRecord) -> Filters:
    """Return the filters that all events of a run pass."""
    return Filters(runs=(run_id,)) if is_named(record) else Filters(producers=(run_id,))


def notable(log: Snapshot, run_id: str, record: RunRecord) -> list[Event]:
    """Return the last events of a run that are not routine, oldest first."""
    wanted = msgspec.structs.replace(
        events_of(run_id, record), not_kinds=tuple(sorted(ROUTINE_KINDS)), limit=NOTABLE
    )
    return [row.event for row in reversed(log.page(wanted, count=False).rows)]


def _value(record: RunRecord, name: str) -> Any:
    return record.cells[name][1] if name in record.cells else None


def tags_of(record: RunRecord) -> list[str]:
    """Return the tags of a run, those of its configuration first; a text is divided at commas."""
    config = record.config.read().get("tags")
    given = [config["value"][1] if config else None, _value(record, "tags")]
    tags: dict[str, None] = {}
    for each in given:
        words = each.split(",") if isinstance(each, str) else each
        for word in words if isinstance(words, list) else ():
            if isinstance(word, str) and word.strip():
                tags[word.strip()[:MAX_TAG]] = None
    return list(tags)[:MAX_TAGS]


def summary(run_id: str, record: RunRecord, names: Sequence[str] = ()) -> dict[str, Any]:
    """Return a run as a list shows it. names: of the numbers whose last values are wanted too."""
    run = shown(run_id, record)
    last = run["metrics"]
    wanted = {name: last[name] for name in names if name in last}
    run["exception"] = run["exception"] and {
        name: value for name, value in run["exception"].items() if name != "traceback"
    }
    listed = {name: value for name, value in run.items() if name not in DETAILED}
    return listed | {"metrics": wanted} if names else listed


def shown(run_id: str, record: RunRecord) -> dict[str, Any]:
    """Return all of a run. Fields that nothing has set are None."""
    team = team_of(record)
    verdict = judge(team)
    first = team.first_failed
    return {
        "run_id": run_id,
        "status": verdict.status,
        "reason": verdict.reason,
        "evidence": verdict.evidence,
        "health": health(team),
        "first_failed_rank": None if first is None else first.rank,
        **_times(record, team),
        **_progress(record, team),
        "attempts": team.attempts,
        "processes": team.size,
        "world_size": team.world_size,
        "ranks": {_name(process): _shown_process(process) for process in team.processes},
        "hosts": sorted({str(p.value("host")) for p in team.processes if p.value("host")}),
        **_checkpoints(record, team),
        "last_evaluation": _evaluation(record),
        **{name: _value(record, name) for name in COMMAND},
        "tags": tags_of(record),
        "metrics": record.numbers.read(),
        "config": {name: cells["value"][1] for name, cells in sorted(record.config.read().items())},
        "exception": _exception(record, verdict, team),
        "warnings": warnings_of(record),
        "hero_id": _value(record, "hero_id"),
        "campaign_id": _value(record, "campaign_id"),
        "counts": {name: record.counts.get(name, 0) for name in ("events", "warnings", "errors")},
    }


def _name(process: Process) -> str:
    return process.producer if process.rank is None else str(process.rank)


def _status(process: Process) -> str:
    if process.end is not None:
        return process.end.status
    if process.silent is not None:
        return "lost"
    return "stalled" if process.stalled > process.life else "running"


def _time(nanos: int | None) -> str | None:
    return None if nanos is None else format_time(nanos)


def _shown_process(process: Process) -> dict[str, Any]:
    end = process.end
    has_started = process.started[0] > -(2**63)
    return {
        "producer": process.producer,
        "status": _status(process),
        "reason": None if end is None else end.reason,
        "step": process.value("step"),
        "host": process.value("host"),
        "started_at": _time(process.started[0]) if has_started else None,
        "last_seen_at": _time(process.seen[0]) if "seen" in process.cells else None,
        "ended_at": None if end is None else _time(end.at),
    }


def _times(record: RunRecord, team: Team) -> dict[str, Any]:
    started, last = started_at(record), updated_at(record)
    ends = [process.end.at for process in team.processes if process.end is not None]
    ended = None if team.alive or not ends else max(ends)
    return {
        "started_at": _time(started),
        "ended_at": _time(ended),
        "last_event_at": _time(last),
        "duration_s": max((ended or last) - started, 0) / 1e9,
    }


def _progress(record: RunRecord, team: Team) -> dict[str, Any]:
    step, total = step_of(record), number(_value(record, "total_steps"))
    share = min(max(step / total, 0.0), 1.0) if step is not None and total and total > 0 else None
    return {
        "step": step,
        "total_steps": _value(record, "total_steps"),
        "progress": share,
        "loss": _value(record, "loss"),
        "best_loss": _value(record, "best_loss"),
        "peak_rss_bytes": _value(record, "peak_rss_bytes"),
        "steps_per_second": _speed(record, team),
    }


def _begun(team: Team) -> int:
    """Return when the newest attempt began, as far as its processes say."""
    starts = [process.started[0] for process in team.processes if "start" in process.cells]
    return max(starts, default=-(2**63))


def _speed(record: RunRecord, team: Team) -> float | None:
    """Return steps a second over the last steps that are kept, of the newest attempt."""
    begun = _begun(team)
    points = [(stamp[0], step) for stamp, step in record.pace.read() if stamp[0] >= begun]
    if len(points) < 2:
        return None
    (begin, first), (end, last) = points[0], points[-1]
    return (last - first) / (end - begin) * 1e9 if end > begin and last > first else None


def _saved(record: RunRecord) -> list[Any]:
    """Return the cells of the checkpoints, the newest first."""
    cells = [each["checkpoint"] for each in record.checkpoints.read().values()]
    return sorted(cells, key=lambda cell: cell[0], reverse=True)


def _finite(record: RunRecord, team: Team, newest: Sequence[Any]) -> Sequence[Any]:
    before = _value(record, "first_not_finite")
    last_bad = _value(record, "last_not_finite")
    # An attempt that began after all of them, from a checkpoint before, is well again.
    is_well = before is None or last_bad[3] < _begun(team)
    return newest if is_well else [cell for cell in newest if cell[0][0] < before[3]]


def finite_checkpoints(record: RunRecord, team: Team) -> list[dict[str, Any]]:
    """Return the checkpoints before the first value that was not finite, the newest first."""
    return [_shown_checkpoint(cell) for cell in _finite(record, team, _saved(record))]


def _checkpoints(record: RunRecord, team: Team) -> dict[str, Any]:
    newest = _saved(record)
    good = _finite(record, team, newest)
    return {
        "last_checkpoint": _shown_checkpoint(newest[0]) if newest else None,
        "last_finite_checkpoint": _shown_checkpoint(good[0]) if good else None,
    }


def _shown_checkpoint(cell: Any) -> dict[str, Any]:
    stamp, fields = cell
    named = {name: fields.get(name) for name in ("step", "path", "loss")}
    size = fields.get("size_bytes", fields.get("bytes"))
    return {**named, "size_bytes": size, "saved_at": _time(stamp[0])}


def _evaluation(record: RunRecord) -> dict[str, Any] | None:
    if "evaluation" not in record.cells:
        return None
    stamp, found = record.cells["evaluation"]
    return {**found, "finished_at": _time(stamp[0])}


def _exception(record: RunRecord, verdict: Verdict, team: Team) -> dict[str, Any] | None:
    """Return the first exception after which its process made no progress.

    Of the process that failed first, if one has; else of any.
    """
    if verdict.status == "completed":
        return None
    first = team.first_failed
    supervised = first is not None and first.value("supervises")
    blamed = [first] if first is not None and not supervised else team.processes
    # What `realm run` saw of the command may be the exception of any process below it.
    asked = {process.producer: process for process in (*blamed, *([first] if first else []))}
    kept = record.exceptions.read()
    entries = [entry for entry in kept if not asked or _is_after(entry, asked)]
    if not entries and first is not None:
        # Other threads went on after it; the reason of the end names it.
        entries = [entry for entry in kept[::-1] if _is_reason(entry, asked, first)]
    with_trace = [entry for entry in entries if entry[1]["traceback"]]
    for stamp, found in (with_trace or entries)[:1]:
        fields = {name: value for name, value in found.items() if name != "producer"}
        return fields | {"at": _time(stamp[0])}
    return None


def _is_reason(entry: Entry, asked: Mapping[str, Process], first: Process) -> bool:
    kept, end = entry[1], first.end
    is_its = kept["producer"] in asked and kept["error"]
    return bool(is_its and end is not None and str(kept["error"]) in (end.reason or ""))


def _is_after(entry: Entry, asked: Mapping[str, Process]) -> bool:
    stamp, kept = entry
    process = asked.get(kept["producer"])
    return process is not None and bool(stamp > process.life)


def warnings_of(record: RunRecord) -> dict[str, Any]:
    found = _value(record, "first_not_finite")
    not_finite = found and {
        **dict(zip(("field", "step", "value"), found, strict=False)),
        "at": _time(found[3]),
    }
    counts = {name: record.counts.get(name, 0) for name in ("spikes", "stalls")}
    return {"not_finite": not_finite, **counts}


def report(run: dict[str, Any], events: Sequence[Event]) -> str:
    """Return a run as Markdown: what it was, how it ended and why, and what happened last.

    run: as `shown` returns it. events: the last notable ones, oldest first.
    """
    parts = [f"# Run {inline(run['run_id'])}", _headline(run), _facts(run)]
    if run["evidence"]:
        parts += ["## Evidence", _listed(run["evidence"])]
    if run.get("resume"):
        parts += ["## To resume", _resume(run["resume"])]
    if run["exception"]:
        parts += ["## Exception", _shown_exception(run["exception"])]
    if len(run["ranks"]) > 1:
        parts += ["## Ranks", _ranks(run["ranks"])]
    if run["config"]:
        parts += ["## Configuration", _listed(run["config"])]
    if events:
        parts += ["## Last events", _events(events)]
    return "\n\n".join(parts) + "\n"


def inline(value: Any) -> str:
    """Return text on one line that Markdown does not read."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(str(value).split()))


def fenced(text: str) -> str:
    """Return text as a block that Markdown does not read."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.rstrip()}\n{fence}"


def _headline(run: dict[str, Any]) -> str:
    parts = [f"**{run['status']}**"]
    if run["reason"]:
        parts.append(inline(run["reason"]))
    if run["first_failed_rank"] is not None:
        parts.append(f"rank {run['first_failed_rank']}")
    if run["health"]:
        parts.append(run["health"])
    return " · ".join(parts)


def _facts(run: dict[str, Any]) -> str:
    total = "" if run["total_steps"] is None else f" of {run['total_steps']}"
    rows = {
        "Command": run["command"],
        "Directory": run["cwd"],
        "Git commit": run["git_commit"],
        "Started": run["started_at"],
        "Ended": run["ended_at"],
        "Duration": f"{run['duration_s']:,.0f} s",
        "Attempts": run["attempts"],
        "Step": None if run["step"] is None else f"{run['step']}{total}",
        "Loss": run["loss"],
        "Best loss": run["best_loss"],
        "Last checkpoint": _checkpoint_text(run["last_checkpoint"]),
        **good_checkpoint(run),
        "Last evaluation": _evaluation_text(run["last_evaluation"]),
        "Not finite": _not_finite_text(run["warnings"]["not_finite"]),
    }
    return "\n".join(f"- {name}: {inline(value)}" for name, value in rows.items() if value)


def _checkpoint_text(checkpoint: dict[str, Any] | None) -> str | None:
    if checkpoint is None:
        return None
    path = f", {checkpoint['path']}" if checkpoint["path"] else ""
    return f"step {checkpoint['step']}{path} ({checkpoint['saved_at']})"


def _evaluation_text(evaluation: dict[str, Any] | None) -> str | None:
    if evaluation is None:
        return None
    at = [] if evaluation["step"] is None else [f"step {evaluation['step']}"]
    found = [f"{name} {value}" for name, value in evaluation["metrics"].items()]
    return f"{', '.join(at + found)} ({evaluation['finished_at']})"


def good_checkpoint(run: dict[str, Any]) -> dict[str, str]:
    """Return which checkpoint to go on from, by the name of the fact: what is known of it."""
    if "last_good_checkpoint" in run:
        good = run["last_good_checkpoint"]
        text = _checkpoint_text(good)
        found = text and f"{text}, {good['check']}"
    else:
        found = _checkpoint_text(run["last_finite_checkpoint"])
    is_known = run["last_checkpoint"] is not None or run["warnings"]["not_finite"] is not None
    return {"Last good checkpoint": found or "none is known"} if found or is_known else {}


def _resume(found: dict[str, Any]) -> str:
    code = [found["code"]] if found["code"] else []
    directory = [f"cd {shlex.quote(found['cwd'])}"] if found["cwd"] else []
    command = [*directory, found["command"]] if found["command"] else []
    return f"{inline(found['note'])}\n\n" + "\n\n".join(
        fenced("\n".join(lines)) for lines in (command, code) if lines
    )


def seen_text(exception: dict[str, Any]) -> str:
    """Return how often an error was seen lately, as text; empty where that is not known."""
    seen = exception.get("seen")
    if not seen or not seen["times"]:
        return ""
    least = "at least " if seen["at_least"] else ""
    times = "once" if seen["times"] == 1 else f"{seen['times']:,} times"
    runs = "1 run" if seen["runs"] == 1 else f"{seen['runs']:,} runs"
    return f"{least}{times} in the last {seen['days']} days, in {runs}"


def _not_finite_text(found: dict[str, Any] | None) -> str | None:
    if found is None:
        return None
    return f"{found['field']} was {found['value']} at step {found['step']} ({found['at']})"


def _listed(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"- {inline(name)}: {inline(item)}" for name, item in value.items())
    items = value if isinstance(value, list) else [value]
    return "\n".join(f"- {inline(item)}" for item in items)


def _shown_exception(exception: dict[str, Any]) -> str:
    rank = "" if exception["rank"] is None else f" (rank {exception['rank']})"
    first = f"{inline(exception['error_type'] or 'An error')}: {inline(exception['error'])}{rank}"
    seen = seen_text(exception)
    first += f"\n\nThis error was seen {seen}." if seen else ""
    return first + (f"\n\n{fenced(exception['traceback'])}" if exception["traceback"] else "")


def _ranks(ranks: dict[str, dict[str, Any]]) -> str:
    head = "| rank | status | step | reason |\n|---|---|---|---|"
    rows = [
        f"| {inline(name)} | {rank['status']} | {rank['step']} | {inline(rank['reason'] or '')} |"
        for name, rank in ranks.items()
    ]
    return "\n".join([head, *rows])


def _events(events: Sequence[Event]) -> str:
    return "\n".join(
        f"- {event.timestamp[:19]}Z {inline(event.kind)}: {inline(event.message)}"
        for event in events
    )
