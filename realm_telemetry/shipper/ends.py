"""The events that a shipper makes at the end of a producer: lost, run ended, damaged, dropped."""

import os
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM
from typing import Any, Final

from msgspec.structs import replace

from realm_telemetry.event import (
    FINAL_DROPS_NUMBER,
    FIRST_CONTENT_NUMBER,
    PROCESS_LOST_NUMBER,
    Event,
)
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.shipper.notes import DROPS_KIND, RunNotes
from realm_telemetry.shipper.process_end import ProcessEnd, kills_since
from realm_telemetry.shipper.run_end import COMPLETED, SIGNALLED, EndFacts, Verdict, judge
from realm_telemetry.shipper.scheduler import Job
from realm_telemetry.shipper.spools import Spool
from realm_telemetry.spool.liveness import FAULTS_NAME
from realm_telemetry.values.rank import to_rank

LOST_KIND: Final = "process_lost"
MAX_STACK_BYTES: Final = 16_384
_FIRST_BYTES: Final = 256
_CRASH: Final = "Fatal Python error: "
"""How `faulthandler` begins after a crash; after another signal it writes a stack alone."""

_ASKED_TO_END: Final = (SIGTERM, SIGINT, SIGHUP)
AFTER_FORK_NS: Final = 3_000_000_000
"""How soon after its last fork a daemon's first process has left."""


def was_lost(spool: Spool, others: Iterable[dict[str, Any]]) -> bool:
    """Whether the end of a producer needs an event. The rules are in decision 0097.

    others: the hellos of other producers; one may be of the program that its process has become.
    """
    notes = spool.notes
    if notes.goodbye or not (notes.hello or notes.through):
        return False
    end = spool.process_end()
    if end.goes_on or is_succeeded(notes.hello, others):
        return False
    if notes.open_lifecycles:
        return True
    if notes.forked or notes.hello.get("child"):
        return False
    if end.known and end.code != 0 and end.signal not in _ASKED_TO_END:
        return True
    shipped_before = end.known and spool.alive_through == notes.through
    return not (shipped_before or _was_at_rest(spool) or _left_after_fork(spool))


def is_succeeded(hello: dict[str, Any], others: Iterable[dict[str, Any]]) -> bool:
    """Whether the process of a producer has become another producer."""
    return any(_is_same_process(hello, other) for other in others)


def _is_same_process(hello: dict[str, Any], other: dict[str, Any]) -> bool:
    names = ("pid", "start_ticks", "pid_namespace", "host")
    if hello.get("producer") == other.get("producer") or not hello.get("start_ticks"):
        return False
    began, later = hello.get("time_unix_nano"), other.get("time_unix_nano")
    if type(began) is not int or type(later) is not int or later <= began:
        return False
    return all(hello.get(name) == other.get(name) for name in names)


def _was_at_rest(spool: Spool) -> bool:
    """Whether the program's last act was a flush that succeeded."""
    through = spool.notes.through
    return bool(through and spool.control.flushed_number == through)


def _left_after_fork(spool: Spool) -> bool:
    """Whether the program's last act was a fork, as that of a daemon's first process is."""
    control = spool.control
    forked_last = bool(control.forked_ns and control.forked_number == spool.notes.through)
    return forked_last and spool.seen_alive_ns - control.forked_ns < AFTER_FORK_NS


def final_drops(spool: Spool, time_unix_nano: int) -> Event | None:
    """Return the event for what the producer dropped and has not reported; None if all is."""
    notes, dropped = spool.notes, spool.receipt()[1]
    if dropped <= notes.reported_drops:
        return None
    count = dropped - notes.reported_drops
    details = {"count": count, "total": dropped, "reason": "spool full"}
    return event_of(spool, DROPS_KIND, details, time_unix_nano, FINAL_DROPS_NUMBER)


def event_of(
    spool: Spool, kind: str, details: dict[str, Any], time_unix_nano: int, number: int
) -> Event:
    """Make an event of the spool's producer: always with the same id, so that it comes once."""
    notes = spool.notes
    channel, severity = resolve(kind)
    return Event(
        kind,
        channel,
        severity,
        render(kind, details),
        details,
        time_unix_nano,
        spool.producer,
        number,
        hero_id=notes.hero_id,
        campaign_id=notes.campaign_id,
        run_id=notes.run_id,
    )


def made_number(*content: str | None) -> int:
    """Return the number of an event that a shipper makes: the same whenever it makes it again."""
    digest = blake2b("\n".join(map(str, content)).encode(errors="replace"), digest_size=8).digest()
    numbers = FINAL_DROPS_NUMBER - FIRST_CONTENT_NUMBER
    return FIRST_CONTENT_NUMBER + int.from_bytes(digest, "big") % numbers


def spool_damaged(spool: Spool, count: int, time_unix_nano: int) -> Event:
    """Return the `events_dropped` event for a spool of which not everything could be read.

    Its producer is made of the spool's, so that it comes once and takes none of its numbers.
    """
    channel, severity = resolve(DROPS_KIND)
    details = {
        "count": count,
        "reason": "they could not be read from its spool, or stored; `realm doctor` says more",
        "service": spool.notes.resource.get("service.name", "a process"),
        "producer": spool.producer,
        "damaged_pieces": spool.damaged,
    }
    name = blake2b(f"damage {spool.producer}".encode(), digest_size=8).hexdigest()
    return Event(
        DROPS_KIND,
        channel,
        severity,
        render(DROPS_KIND, details),
        details,
        time_unix_nano,
        name,
        FIRST_CONTENT_NUMBER,
        hero_id=spool.notes.hero_id,
        campaign_id=spool.notes.campaign_id,
        run_id=spool.notes.run_id,
    )


def verdict_of(spool: Spool, run: RunNotes | None = None) -> Verdict:
    """Return how and why the process of a producer ended, as far as can be found out.

    run: what it may have ended by; the last one if none is given.
    """
    notes = spool.notes
    in_container, on_host = kills_since(notes.hello.get("memory_kills"))
    run = run or notes.run or RunNotes()
    since_seen, _ = kills_since({"container": run.container_kills})
    in_container = since_seen if since_seen is not None else in_container
    end = spool.process_end()
    if notes.goodbye and not (end.known or end.goes_on):
        # It ended by itself, and said so; with what code, nobody knows.
        end = ProcessEnd(known=True, code=1 if run.error else 0)
    facts = EndFacts(end, run.error, run.scheduled, in_container, on_host, run.memory_share)
    stack = _last_stack(spool, end)
    facts = facts._replace(scheduler=spool.scheduler_word, job_of=run.scheduler, stack=stack)
    return judge(facts._replace(processor=run.processor, exits=run.exits))


def _last_stack(spool: Spool, end: ProcessEnd) -> str | None:
    """What the process wrote its last stack for; None where it wrote none, or the kernel knows.

    All signals that it is written for end the process, unless the program has handlers of its own,
    which then are in the place of ours.
    """
    stack = "" if end.known or end.goes_on else _stack_of(spool.directory / FAULTS_NAME)
    if not stack:
        return None
    return _first_line(stack) if stack.startswith(_CRASH) else SIGNALLED


def job_to_ask_about(spool: Spool) -> Job | None:
    """Return the job whose record may say why a process ended; None where none can."""
    notes, end = spool.notes, spool.process_end()
    run = notes.run
    if run is None or run.job_id is None or notes.goes_on or end.goes_on:
        return None
    if notes.goodbye and not end.known:
        return None
    if not EndFacts(end, run.error, job_of=run.scheduler).may_be_by_scheduler:
        return None
    last_s = None if end.known else notes.last_time_unix_nano / 1e9
    return Job(run.job_id, run.job_restarts, run.job_ends_unix_s, last_s, run.scheduler)


def runs_ended(spool: Spool, time_unix_nano: int) -> list[Event]:
    """Return the `run_ended` events for the runs that a process left open, or said wrongly of."""
    runs = () if spool.notes.goes_on else spool.notes.runs.values()
    found = [_run_ended(spool, run, time_unix_nano) for run in runs]
    return [event for event in found if event is not None]


def _run_ended(spool: Spool, run: RunNotes, time_unix_nano: int) -> Event | None:
    verdict = verdict_of(spool, run)
    is_helper = spool.notes.forked or spool.notes.hello.get("child")
    end = spool.process_end()
    is_asked = end.signal in _ASKED_TO_END or _last_stack(spool, end) == SIGNALLED
    if is_helper and is_asked:
        # As pools and daemonic processes do; the run goes by what its parent says.
        verdict = Verdict(COMPLETED, "its parent ended it", verdict.evidence)
    says_more = run.at_exit and run.status == COMPLETED and verdict.status != COMPLETED
    if run.ended and not says_more:
        return None
    details = {
        "status": verdict.status,
        "reason": verdict.reason,
        "evidence": verdict.evidence,
        "exit_code": verdict.evidence.get("exit_code"),
        "signal": verdict.evidence.get("signal"),
        "duration_s": max(spool.notes.last_time_unix_nano - run.since_unix_nano, 0) / 1e9,
        "last_step": run.step,
        "peak_rss_bytes": run.peak_rss_bytes,
        "host": spool.notes.resource.get("host.name"),
    }
    given = {name: value for name, value in details.items() if value is not None}
    number = made_number("run_ended", run.id)
    event = event_of(spool, "run_ended", given, time_unix_nano, number)
    return replace(event, run_id=run.id, severity=verdict.severity)


def fatal_signal(spool: Spool, time_unix_nano: int) -> Event | None:
    """Return the `fatal_signal` event with the stack that the process wrote down as it died.

    None where it wrote none, and where a program that was in no run was asked to end: a daemon
    that is stopped, a worker of a pool.
    """
    stack = _stack_of(spool.directory / FAULTS_NAME)
    run = spool.notes.run
    crashed = stack.startswith(_CRASH)
    if not stack or not (crashed or spool.notes.open_runs()):
        return None
    signal = judge(EndFacts(spool.process_end())).evidence.get("signal")
    signal = signal or (_first_line(stack) if crashed else "of unknown number")
    details = {"signal": signal, "stack": stack}
    event = event_of(spool, "fatal_signal", details, time_unix_nano, made_number("fatal_signal"))
    severity = "error" if crashed else "warning"
    return replace(event, severity=severity, run_id=run.id if run else event.run_id)


def _stack_of(path: Path) -> str:
    """The end of what `faulthandler` wrote; empty where there is nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            text = file.read(_FIRST_BYTES)  # which says whether it is a crash
            size = file.seek(0, os.SEEK_END)
            if size > len(text):
                begin = max(size - MAX_STACK_BYTES, len(text))
                file.seek(begin)
                text += b"\n...\n" * (begin > len(text)) + file.read(MAX_STACK_BYTES)
            return text.decode("utf-8", "replace").strip()
    except OSError:
        return ""


def _first_line(stack: str) -> str:
    return stack.partition("\n")[0].removeprefix(_CRASH)


def process_lost(spool: Spool, time_unix_nano: int) -> Event:
    """Return the `process_lost` event.

    time_unix_nano: now; the last sign of life is among the details.
    """
    notes, verdict = spool.notes, verdict_of(spool)
    resource = notes.resource
    details = {
        "service": resource.get("service.name", "a process"),
        "pid": resource.get("process.pid"),
        "host": resource.get("host.name"),
        "last_kind": notes.last_kind,
        "last_step": notes.last_step,
        "last_message": notes.last_message,
        "last_time_unix_nano": notes.last_time_unix_nano or None,
        "open_lifecycles": list(notes.open_lifecycles),
        "dropped": spool.receipt()[1],
        "run_id": notes.run_id,
        "rank": to_rank(resource.get("realm.rank")),
        "status": verdict.status,
        "reason": verdict.reason,
        "evidence": verdict.evidence,
    }
    details = {key: value for key, value in details.items() if value not in (None, [], 0)}
    return event_of(spool, LOST_KIND, details, time_unix_nano, PROCESS_LOST_NUMBER)
