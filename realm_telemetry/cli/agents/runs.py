"""The tools about runs: what there is, and why one ended as it did."""

import time
from collections import Counter
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Any, Final

from realm_telemetry.cli.agents.answers import (
    bounded,
    end_of,
    event_shape,
    fitting,
    log_page,
    run_page,
    text,
    without_nothing,
)
from realm_telemetry.cli.agents.desk import Desk, names, now, of_run
from realm_telemetry.cli.agents.questions import Nothing, RunQuestion, RunsQuestion
from realm_telemetry.client import AsyncRealmClient, ServiceError
from realm_telemetry.event import format_time
from realm_telemetry.kinds.catalog import event_to_dict

OPEN: Final = ("running", "stalled", "paused")
GOOD: Final = ("running", "completed", "paused")
BAD: Final = (
    *("failed", "crashed", "out_of_memory", "killed", "terminated", "preempted", "lost", "stalled"),
)
ANOMALIES: Final = (
    *("loss_not_finite", "loss_spiked", "run_stalled", "run_resumed_progress", "fatal_signal"),
    *("memory_pressure", "disk_low", "process_lost", "host_lost", "events_dropped"),
    "signal_received",
)
"""Kinds that say what went wrong in a run, beside exceptions and errors."""

SHOWN_ELSEWHERE: Final = ("run_ended", "uncaught_exception")
"""Kinds whose facts a diagnosis has as status, reason, evidence and exception."""

OUTPUT_LINES: Final = 30
ALERTS: Final = 8
"""Messages of alerts that an overview has."""

_LIST_CHARS: Final = 14_000
_NEAR: Final = 200

NEXT: Final = {
    "running": "It goes on. wait_for(run_id, until=run_end) returns when it is over.",
    "stalled": "It lives and makes no steps. search_events(run_id, kind=stack_captured) has the"
    " stacks of its threads.",
    "paused": "It waits to be resumed.",
    "completed": "It ran to its end; see `anomalies` for what happened on the way.",
    "failed": "Read `exception` and `last_lines`, mend the cause, then start it again.",
    "crashed": "A fault in native code. search_events(run_id, kind=fatal_signal) has the stack.",
    "out_of_memory": "search_events(run_id, kind=[resource_sampled, memory_pressure]) shows how"
    " memory grew. Make batch, model or number of workers smaller, or the limit larger.",
    "killed": "A signal from outside ended it; `evidence` has what is known of the sender.",
    "terminated": "The scheduler ended it, and does not say why here; ask the scheduler.",
    "preempted": "The scheduler took the machine away; start it again from a checkpoint.",
    "cancelled": "Somebody stopped it (Ctrl-C, or the scheduler's cancel).",
    "lost": "Nobody saw how it ended: the process or its host vanished. `overview` lists hosts.",
}
"""What a status means for the next step."""


NO_HOSTS: Final = (
    "None is heard: only programs that send to this service from another log have heartbeats."
    " `hosts` of a run says where it ran."
)


def brief(pages: str, run: dict[str, Any]) -> dict[str, Any]:
    """Return a run as a list shows it."""
    warnings = run.get("warnings") or {}
    return without_nothing(
        {
            "run_id": text(run["run_id"], 256),
            "status": run["status"],
            "reason": text(run["reason"], 300),
            "health": run["health"],
            "first_failed_rank": run["first_failed_rank"],
            **{name: run[name] for name in ("step", "total_steps", "loss", "best_loss")},
            **{name: run[name] for name in ("started_at", "ended_at")},
            "duration_s": round(run["duration_s"], 1),
            "not_finite": bounded(warnings.get("not_finite"), 300),
            "stalls": warnings.get("stalls") or None,
            "spikes": warnings.get("spikes") or None,
            "page": run_page(pages, run["run_id"]),
        }
    )


async def overview(desk: Desk, question: Nothing) -> dict[str, Any]:
    """Return what goes on and what went wrong lately."""
    client, pages = desk.client(), desk.pages()
    health = await client.health()
    position = await now(client)
    newest = (await client.runs_page(limit=50)).runs
    bad = await client.runs_page(status=BAD, since="7d", limit=8)
    known = {run["run_id"] for run in bad.runs}
    warned = await client.runs_page(warnings="not_finite", since="7d", limit=12)
    odd = [run for run in warned.runs if run["run_id"] not in known]
    known |= {run["run_id"] for run in odd}
    others = [run for run in newest if run["run_id"] not in known]
    running = await client.runs_page(status=("running", "stalled", "paused"), limit=100)
    errors = await client.query_page(severity="error", since="24h", limit=5)
    hosts = await client.hosts()
    return {
        "service": without_nothing(
            {"url": client.url, "status": health.get("status"), "remark": desk.remark()}
        ),
        "open_runs": f"{len(running.runs)}{'+' if running.next_cursor else ''}",
        "went_wrong_in_7_days": fitting(bad.runs, lambda run: brief(pages, run), 5_000),
        "loss_not_finite": fitting(odd[:4], lambda run: brief(pages, run), 2_500),
        "other_new_runs": fitting(others[:6], lambda run: brief(pages, run), 4_000),
        "errors_in_24_hours": {
            "total": errors.total,
            "newest": [event_shape(event_to_dict(row.event, None), 300) for row in errors.rows],
        },
        "hosts": [
            {
                "host": text(host["host"], 100),
                "status": host["status"],
                "heard_seconds_ago": round(host["age_s"], 1),
            }
            for host in hosts[:20]
        ],
        "hosts_remark": NO_HOSTS if not hosts else None,
        "alerts": await _alerts(client),
        "next": "diagnose_run(run_id) says why one ended; list_runs and search_events have more.",
        "now": position,
        "cursor": None,
        "truncated": bad.next_cursor is not None or len(hosts) > 20,
        "page": f"{pages}/runs",
    }


async def _alerts(client: AsyncRealmClient) -> dict[str, Any]:
    """Return which alerts were sent last, where to and what came of it, and what is muted."""
    try:
        found = await client.alerts()
    except ServiceError as error:
        if error.error == "not_found":  # a service that is older than this path
            return {"problem": "This service does not say."}
        raise
    rules = [rule for rule in found["rules"] if rule["muted_until"]]
    return {
        "problem": text(found["problem"], 300),
        "targets": [text(each["name"], 64) for each in found["targets"][:20]],
        "newest": fitting(found["messages"][:ALERTS], _alert, 2_500),
        "muted_rules": {text(rule["name"], 64): rule["muted_until"] for rule in rules[:20]},
        "muted_runs": bounded(found.get("muted_runs"), 500),
    }


def _alert(message: dict[str, Any]) -> dict[str, Any]:
    named = ("created", "rule", "target", "title", "state", "problem")
    return without_nothing({name: text(message[name], 200) for name in named})


async def list_runs(desk: Desk, question: RunsQuestion) -> dict[str, Any]:
    """Return a page of runs, newest first."""
    client, pages = desk.client(), desk.pages()
    position = await now(client)
    wanted: dict[str, Any] = {
        "status": names(question.status) or None,
        "warnings": names(question.warnings) or None,
        "tags": names(question.tags) or None,
        "since": question.since,
        "q": question.q,
        "cursor": question.cursor,
    }
    page = await client.runs_page(**wanted, limit=question.limit)
    shown = fitting(page.runs, lambda run: brief(pages, run), _LIST_CHARS)
    if len(shown) < len(page.runs):  # the cursor has to lead to the first that is left out
        page = await client.runs_page(**wanted, limit=len(shown))
    return {
        "runs": shown,
        "now": position,
        "cursor": page.next_cursor,
        "truncated": page.next_cursor is not None,
        "page": f"{pages}/runs",
    }


async def diagnose_run(desk: Desk, question: RunQuestion) -> dict[str, Any]:
    """Return all that says why a run ended, or how it goes."""
    client, pages, run_id = desk.client(), desk.pages(), question.run_id
    position = await now(client)
    run = await known_run(client, run_id)
    own = await of_run(client, run_id)
    anomalies = await client.query_page(**own, kind=ANOMALIES, limit=12)
    errors = await client.query_page(
        **own,
        severity="warning,error",
        kind=[f"!{kind}" for kind in (*ANOMALIES, *SHOWN_ELSEWHERE)],
        limit=6,
    )
    return {
        **brief(pages, run),
        "next": _next(run),
        "heard_last": heard(run),
        "evidence": bounded(run["evidence"], 1_500),
        "exception": _exception(run["exception"]),
        **_checkpoints(run),
        "resume": bounded(run.get("resume"), 1_500),
        "last_evaluation": bounded(run["last_evaluation"], 500),
        "ranks": _ranks(run),
        "hosts": bounded(run["hosts"], 500),
        "attempts": run["attempts"],
        "command": text(run["command"], 500),
        "cwd": text(run["cwd"], 300),
        "git_commit": text(run["git_commit"], 100),
        "config": bounded(run["config"], 1_500),
        "anomalies": _events(anomalies, run_id, 2_500),
        "last_warnings_and_errors": _events(errors, run_id, 2_000),
        "last_lines": await _last_lines(client, run_id, own),
        "counts": run["counts"],
        "now": position,
        "cursor": None,
        "truncated": len(anomalies.rows) < (anomalies.total or 0)
        or len(errors.rows) < (errors.total or 0),
        "page": run_page(pages, run_id),
        "events_page": log_page(pages, **own),
    }


def heard(run: dict[str, Any]) -> dict[str, Any]:
    """Return when a run was heard last, by this machine's clock, and how fast it goes on."""
    heard_at, speed = run.get("last_event_at"), run.get("steps_per_second")
    found: dict[str, Any] = {"at": heard_at, "asked_at": format_time(time.time_ns())}
    if isinstance(heard_at, str):
        age_s = datetime.now(UTC) - datetime.fromisoformat(heard_at)
        found["seconds_ago"] = round(age_s.total_seconds(), 1)
    if run["status"] == "running" and speed:
        found["steps_per_second"] = float(f"{speed:.4g}")
        left = (run["total_steps"] or 0) - (run["step"] or 0)
        found["seconds_left"] = round(left / speed) if left > 0 else None
    return without_nothing(found)


def _next(run: dict[str, Any]) -> str:
    """Return what status and warnings mean for the next step."""
    parts = [NEXT.get(run["status"], "")]
    if "sender unknown" in (run["reason"] or ""):
        parts.append(
            "Nobody saw who sent it: `journalctl -k` of the host shows whether the kernel killed it"
            " for want of memory, and search_events(run_id, kind=resource_sampled) its memory."
        )
    if run["status"] in BAD and run["status"] != "stalled":
        parts.append("`resume` says how to go on; compare_runs(run_id) what changed since it went.")
    warnings = run["warnings"]
    if warnings["not_finite"]:
        parts.append(
            "But a loss was not finite: see `not_finite`, and series(run_id) for what came before."
            " A smaller learning rate, or clipped gradients, often helps."
        )
    if warnings["stalls"] and run["status"] != "stalled":
        parts.append(
            "It had stalled before: search_events(run_id, kind=[run_stalled, stack_captured])."
        )
    return " ".join(part for part in parts if part)


async def known_run(client: AsyncRealmClient, run_id: str) -> dict[str, Any]:
    """Return a run. Raises ServiceError, with near ids where there is no such run."""
    try:
        return await client.run(run_id)
    except ServiceError as error:
        if error.error != "run_not_found":
            raise
        known = [str(run["run_id"]) for run in await client.runs(limit=_NEAR)]
        holding = [name for name in known if run_id.lower() in name.lower()]
        near = list(dict.fromkeys([*holding[:3], *get_close_matches(run_id, known, 3, 0.5)]))
        hint = "list_runs has all; list_runs(since=24h) those of the last day."
        hint = f"Near: {', '.join(near[:3])}." if near else hint
        raise ServiceError(error.status, error.error, error.message, hint) from None


def _exception(found: dict[str, Any] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return without_nothing(
        {
            "error_type": text(found["error_type"], 200),
            "error": text(found["error"], 800),
            "rank": found["rank"],
            "thread": text(found["thread"], 100),
            "at": found["at"],
            "seen": bounded(found.get("seen"), 600),
            "traceback": end_of(found["traceback"], 4_000),
        }
    )


def _checkpoints(run: dict[str, Any]) -> dict[str, Any]:
    """Return both checkpoints, and which one to go on from."""
    last, finite = run["last_checkpoint"], run["last_finite_checkpoint"]
    shown = {
        "last_checkpoint": bounded(last, 600),
        "last_finite_checkpoint": bounded(finite, 600),
    }
    if last is None:
        return shown | {"resume_from": "No checkpoint is known."}
    if finite is None:
        return shown | {"resume_from": "None: every checkpoint followed a value that is NaN."}
    good = run.get("last_good_checkpoint")
    if good is not None:
        shown |= {"last_good_checkpoint": bounded(good, 600)}
        return shown | {"resume_from": f"last_good_checkpoint; {text(good['check'], 200)}."}
    which = "last_checkpoint" if last == finite else "last_finite_checkpoint"
    return shown | {"resume_from": f"{which}; whether the file is whole was not looked at."}


def _ranks(run: dict[str, Any]) -> dict[str, Any]:
    """Return how many ranks have which status, and those that are worst."""
    ranks: dict[str, dict[str, Any]] = run["ranks"]
    order = sorted(ranks, key=lambda name: ranks[name]["status"] in GOOD)
    fields = ("status", "reason", "step", "host", "last_seen_at")

    def shape(name: str) -> dict[str, Any]:
        found = {field: bounded(ranks[name][field], 200) for field in fields}
        return {"rank" if name.isdigit() else "process": text(name, 40)} | without_nothing(found)

    shown = fitting(order[:16], shape, 2_000)
    return {
        "world_size": run["world_size"],
        "by_status": dict(Counter(rank["status"] for rank in ranks.values())),
        "worst": shown,
        "left_out": len(ranks) - len(shown),
    }


def _events(page: Any, run_id: str, most: int) -> list[dict[str, Any]]:
    """Return the events of a page that are the run's: an id with a comma reads as two."""
    rows = [row for row in page.rows if run_id in (row.event.run_id, row.event.producer)]
    return fitting(rows, lambda row: event_shape(event_to_dict(row.event, None), 300), most)


async def _last_lines(client: AsyncRealmClient, run_id: str, own: dict[str, str]) -> str | None:
    """Return the end of what the run printed, as it is kept or as its end has it."""
    try:
        return end_of((await client.run_output(run_id, tail=OUTPUT_LINES)).text, 3_000)
    except ServiceError as error:
        if error.error not in ("output_not_found", "not_found"):
            raise
    ends = await client.query_page(**own, kind="run_ended", limit=3)
    tails = [row.event.details.get("output_tail") for row in ends.rows]
    lines = next((tail for tail in tails if tail), None)
    return end_of("\n".join(map(str, lines)) if isinstance(lines, list) else lines, 3_000)
