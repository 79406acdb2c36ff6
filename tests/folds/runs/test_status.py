"""The status of a run: a table of what happened and what it comes to."""

from typing import Any

import pytest

from realm_telemetry.event import Event
from realm_telemetry.folds.runs import shown, statuses
from realm_telemetry.folds.runs.status import ENDINGS

from .conftest import folded, told

START = told(0, "run_started")
STEP = told(1, "training_step", step=1, loss=0.5)
ABOVE = told(0, "run_started", process="5", launcher="realm run")


def ended(at_s: float, status: str, rank: int | None = None, **fields: Any) -> Event:
    """A process says how it ended, or its shipper does."""
    return told(at_s, "run_ended", rank, status=status, **fields)


def ranks(count: int, attempt: int = 1, at_s: float = 0) -> list[Event]:
    """The start of each rank of an attempt."""
    return [
        told(
            at_s,
            "run_started",
            rank,
            process=f"{attempt}{rank}",
            world_size=count,
            attempt=attempt,
        )
        for rank in range(count)
    ]


def host(at_s: float, kind: str, *processes: str, run_id: str = "r1") -> Event:
    """A service has not heard the host of these processes, or hears it again."""
    runs = [{"run_id": run_id, "producers": [each * (16 // len(each)) for each in processes]}]
    return told(at_s, kind, process="f", host="gpu7", last_heard="noon", silent_s=31.0, runs=runs)


PRINTED = {"exit_code": 1, "printed": "KeyError", "seen_by": "realm run"}
SILENT = "host gpu7 silent since noon"

CASES = {
    "a run that has begun": ([START], "running", None),
    "a run of which only a step is known": ([STEP], "running", None),
    "a run that other software only speaks of": ([told(0, "note")], "running", None),
    "paused": ([START, STEP, told(2, "training_paused", reason="lunch")], "paused", "lunch"),
    "a step after a pause": (
        [START, told(2, "training_paused"), told(3, "training_step", step=2)],
        "running",
        None,
    ),
    "stalled": (
        [STEP, told(200, "run_stalled", by_shipper=True, silent_s=199.0, median_step_s=0.5)],
        "stalled",
        "no step for 3 min 19 s, 0.5 s is usual",
    ),
    "stalled, with steps of over a minute": (
        [STEP, told(200, "run_stalled", by_shipper=True, silent_s=4000.0, median_step_s=190.0)],
        "stalled",
        "no step for 1 h 6 min, 3 min 10 s is usual",
    ),
    "it hangs in its exit": (
        [
            STEP,
            told(2, "uncaught_exception", error="ValueError: x", thread="MainThread"),
            told(
                70, "run_stalled", by_shipper=True, silent_s=60, phase="exit", error="ValueError: x"
            ),
        ],
        "stalled",
        "hangs in its exit after ValueError: x",
    ),
    "on a host that is silent": ([START, STEP, host(40, "host_lost", "a")], "lost", SILENT),
    "on a host that is heard again": (
        [START, STEP, host(40, "host_lost", "a"), host(60, "host_heard_again", "a")],
        "running",
        None,
    ),
    "silent for a second time": (
        [
            *(START, host(40, "host_lost", "a"), host(60, "host_heard_again", "a")),
            host(700, "host_lost", "a"),
        ],
        "lost",
        SILENT,
    ),
    "its end comes after its host was silent": (
        [START, host(40, "host_lost", "a"), ended(20, "completed")],
        "completed",
        None,
    ),
    "a host that is silent, of another run": (
        [START, host(40, "host_lost", "a", run_id="r2")],
        "running",
        None,
    ),
    "one of two ranks on a host that is silent, the other stalls for want of it": (
        [
            *ranks(2),
            host(40, "host_lost", "11"),
            told(200, "run_stalled", 0, process="10", by_shipper=True, silent_s=199.0),
        ],
        "lost",
        SILENT,
    ),
    "started again on another host": (
        [START, STEP, host(40, "host_lost", "a"), told(99, "run_started", process="b")],
        "running",
        None,
    ),
    "a step after a stall": (
        [STEP, told(200, "run_stalled", by_shipper=True), told(201, "training_step", step=2)],
        "running",
        None,
    ),
    "progress after a stall": (
        [STEP, told(200, "run_stalled"), told(201, "run_resumed_progress", silent_s=200)],
        "running",
        None,
    ),
    "its own word": ([START, STEP, ended(2, "completed")], "completed", None),
    "the shipper's word counts for more than its own": (
        [
            START,
            ended(2, "completed"),
            ended(3, "crashed", reason="signal SIGSEGV", by_shipper=True),
        ],
        "crashed",
        "signal SIGSEGV",
    ),
    "the shipper's word beats one of the process that has a later time": (
        [START, ended(3, "completed"), ended(2, "killed", reason="SIGKILL", by_shipper=True)],
        "killed",
        "SIGKILL",
    ),
    "an older program that completed": (
        [told(0, "training_started"), STEP, told(2, "training_completed", step=1)],
        "completed",
        None,
    ),
    "an older program that failed": (
        [told(0, "training_started"), told(2, "training_failed", error="no data")],
        "failed",
        "no data",
    ),
    "an older program that was cancelled": (
        [told(0, "training_started"), told(2, "training_cancelled", reason="asked to")],
        "cancelled",
        "asked to",
    ),
    "an older program that was lost": (
        [STEP, told(2, "process_lost", by_shipper=True, last_kind="training_step", last_step=1)],
        "lost",
        "it ended without goodbye (last kind training_step, step 1)",
    ),
    "lost after it had completed": (
        [told(2, "training_completed"), told(3, "process_lost", by_shipper=True)],
        "completed",
        None,
    ),
    "an exception of the main thread": (
        [STEP, told(2, "uncaught_exception", error="no data", error_type="ValueError")],
        "failed",
        "ValueError: no data",
    ),
    "an exception of another thread": (
        [STEP, told(2, "uncaught_exception", error="no data", thread="loader")],
        "running",
        None,
    ),
    "an exception that OpenTelemetry calls fatal": (
        [
            STEP,
            told(
                2,
                "exception",
                more={
                    "exception.type": "ValueError",
                    "exception.message": "no data",
                    "otel.severity_number": 21,
                },
            ),
        ],
        "failed",
        "ValueError: no data",
    ),
    "an exception that other software went on after": (
        [STEP, told(2, "exception", more={"exception.type": "ValueError"})],
        "running",
        None,
    ),
    "a fatal signal": (
        [STEP, told(2, "fatal_signal", signal="SIGSEGV")],
        "crashed",
        "signal SIGSEGV",
    ),
    "a training that goes on after its end": (
        [START, ended(2, "failed"), told(3, "training_started")],
        "running",
        None,
    ),
    "an attempt of another process": (
        [
            START,
            STEP,
            told(3, "run_started", process="b"),
            ended(4, "killed", by_shipper=True),
        ],
        "running",
        None,
    ),
    "two processes without a rank, of which one ended": (
        [
            START,
            told(1, "run_started", process="b"),
            told(2, "training_step", step=1),
            ended(3, "completed", process="b"),
        ],
        "running",
        None,
    ),
    "one rank of two ended": (
        [*ranks(2), ended(3, "failed", 1, process="11", reason="no data")],
        "running",
        "rank 1 failed: no data",
    ),
    "one rank of two is stalled": (
        [*ranks(2), told(300, "run_stalled", 1, process="11", by_shipper=True, silent_s=300)],
        "stalled",
        "rank 1: no step for 5 min",
    ),
    "all ranks completed": (
        [*ranks(2), *(ended(3, "completed", rank, process=f"1{rank}") for rank in (0, 1))],
        "completed",
        None,
    ),
    "the first rank that failed gives the reason": (
        [
            *ranks(2),
            ended(4, "failed", 0, process="10", reason="later"),
            ended(3, "failed", 1, process="11", reason="first"),
        ],
        "failed",
        "first",
    ),
    "a rank that its launcher stopped only follows": (
        [
            *ranks(2),
            ended(3, "killed", 0, process="10", reason="SIGTERM"),
            ended(4, "killed", 1, process="11", reason="SIGKILL, sender unknown"),
        ],
        "killed",
        "SIGKILL, sender unknown",
    ),
    "a rank whose peer had gone only follows": (
        [
            *ranks(2),
            ended(3, "failed", 0, process="10", reason="ConnectionResetError: by peer"),
            ended(4, "out_of_memory", 1, process="11", reason="limit", by_shipper=True),
        ],
        "out_of_memory",
        "limit",
    ),
    "a rank that was told to end only follows": (
        [
            *ranks(2),
            ended(3, "terminated", 0, process="10", by_shipper=True),
            ended(4, "failed", 1, process="11", reason="exit code 3", by_shipper=True),
        ],
        "failed",
        "exit code 3",
    ),
    "a second attempt": (
        [
            *ranks(2),
            ended(3, "failed", 1, process="11"),
            ended(4, "killed", 0, process="10", by_shipper=True),
            *ranks(2, attempt=2, at_s=3.5),
        ],
        "running",
        None,
    ),
    "a second attempt with fewer ranks": (
        [
            *ranks(2),
            *(ended(3, "failed", rank, process=f"1{rank}") for rank in (0, 1)),
            *ranks(1, attempt=2, at_s=5),
            ended(6, "completed", 0, process="20"),
        ],
        "completed",
        None,
    ),
    "realm run and the program below it": (
        [
            ABOVE,
            START,
            ended(2, "failed", reason="ValueError: no"),
            ended(3, "failed", process="5", reason="exit code 1"),
        ],
        "failed",
        "ValueError: no",
    ),
    "a command that goes on after its program": (
        [ABOVE, START, ended(2, "completed")],
        "running",
        None,
    ),
    "a command that fails after its program": (
        [
            ABOVE,
            START,
            ended(2, "completed"),
            ended(3, "failed", process="5", reason="exit code 3"),
        ],
        "failed",
        "exit code 3",
    ),
    "realm run is killed and its command goes on": (
        [
            ABOVE,
            START,
            ended(1, "killed", process="5", by_shipper=True),
            told(2, "training_step", step=1),
        ],
        "running",
        None,
    ),
    "realm run is killed and its command ends well": (
        [
            ABOVE,
            START,
            ended(1, "killed", process="5", by_shipper=True),
            ended(2, "completed"),
        ],
        "completed",
        None,
    ),
    "realm run has seen the end of a program that nothing else is known of": (
        [ABOVE, START, ended(3, "killed", process="5", reason="SIGKILL")],
        "killed",
        "SIGKILL",
    ),
    "realm run knows more than that its program was lost": (
        [
            ABOVE,
            START,
            ended(3, "killed", process="5", reason="SIGKILL"),
            ended(4, "lost", by_shipper=True, reason="no word of its end"),
        ],
        "killed",
        "SIGKILL",
    ),
    "realm run knows more than that its program left with a code": (
        [
            ABOVE,
            START,
            ended(2, "failed", reason="exit code 1", evidence={"exit_code": 1}, by_shipper=True),
            ended(3, "failed", process="5", reason="KeyError", evidence=PRINTED),
        ],
        "failed",
        "KeyError",
    ),
    "realm run knows more of another end than of its program's": (
        [
            ABOVE,
            START,
            ended(2, "failed", reason="exit code 2", evidence={"exit_code": 2}, by_shipper=True),
            ended(3, "failed", process="5", reason="KeyError", evidence=PRINTED),
        ],
        "failed",
        "exit code 2",
    ),
    "realm run knows only the code of a program that said why": (
        [
            ABOVE,
            START,
            ended(2, "failed", reason="no", evidence={"exit_code": 1, "exception": "no"}),
            ended(3, "failed", process="5", reason="KeyError", evidence=PRINTED),
        ],
        "failed",
        "no",
    ),
    "realm run knows more than that its ranks were lost": (
        [
            ABOVE,
            *ranks(2),
            *(ended(2, "lost", rank, process=f"1{rank}", by_shipper=True) for rank in (0, 1)),
            ended(3, "failed", process="5", reason="exit code 1"),
        ],
        "failed",
        "exit code 1",
    ),
    "a training that goes on after the end of an earlier realm run": (
        [ABOVE, START, ended(2, "killed", process="5"), told(3, "training_step", step=2)],
        "running",
        None,
    ),
    "a command that emits nothing": (
        [ABOVE, ended(3, "killed", process="5", reason="SIGKILL")],
        "killed",
        "SIGKILL",
    ),
    "a helper with the same run id that only notes something": (
        [START, told(1, "note", process="c"), ended(2, "completed")],
        "completed",
        None,
    ),
}
"""What happened; status and reason."""


@pytest.mark.parametrize("case", CASES)
def test_a_run_has_the_status_of_the_first_row_that_fits(case: str) -> None:
    events, status, reason = CASES[case]
    run = shown("r1", folded(*events))
    assert (run["status"], run["reason"]) == (status, reason)
    assert status in statuses()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("completed", "completed"),
        ("Finished", "completed"),
        ("success", "completed"),
        ("KILLED", "killed"),
        ("error", "failed"),
        ("running", "failed"),
        ('"><script>alert(1)</script>', "failed"),
        ("\x1b]0;title\x07", "failed"),
        (["completed"], "failed"),
        (5, "failed"),
    ],
)
def test_an_end_has_one_of_our_statuses_whatever_its_event_says(given: Any, status: str) -> None:
    run = shown("r1", folded(START, ended(1, given)))
    assert run["status"] == status
    assert {rank["status"] for rank in run["ranks"].values()} <= {status}


def test_every_ending_has_a_case() -> None:
    cells = {
        name
        for events, *_ in CASES.values()
        for process in folded(*events).processes.read().values()
        for name in process
    }
    assert {name for name, _ in ENDINGS} <= cells


def test_health_says_how_many_ranks_live_while_one_does() -> None:
    events = [*ranks(8), ended(3, "failed", 3, process="13", reason="no data")]
    run = shown("r1", folded(*events))
    assert (run["status"], run["health"], run["first_failed_rank"]) == (
        "running",
        "7 of 8 ranks",
        3,
    )
    assert run["ranks"]["3"]["reason"] == "no data"
    last = [ended(5, "completed", rank, process=f"1{rank}") for rank in range(8) if rank != 3]
    run = shown("r1", folded(*events, *last))
    assert (run["status"], run["health"], run["reason"]) == ("failed", None, "no data")


def test_ranks_that_never_spoke_count_among_the_living() -> None:
    run = shown("r1", folded(ranks(8)[0]))
    assert (run["health"], run["processes"], list(run["ranks"])) == ("8 of 8 ranks", 8, ["0"])


def test_attempts_are_counted() -> None:
    assert shown("r1", folded(START))["attempts"] == 1
    assert shown("r1", folded(*ranks(2), *ranks(2, attempt=2, at_s=9)))["attempts"] == 2
    again = [START, ended(1, "killed"), told(3, "run_started", process="b")]
    assert shown("r1", folded(*again))["attempts"] == 2
    below = shown("r1", folded(ABOVE, told(1, "run_started")))
    assert (below["attempts"], below["processes"]) == (1, 1)


def test_a_silent_host_is_said_of_its_ranks_and_gives_evidence() -> None:
    run = shown("r1", folded(*ranks(2), host(40, "host_lost", "11")))
    assert run["health"] == "1 of 2 ranks"
    assert [run["ranks"][rank]["status"] for rank in "01"] == ["running", "lost"]
    assert run["evidence"] == {
        "host": "gpu7",
        "last_heard": "noon",
        "silent_s": 31.0,
        "ranks": [1],
    }
    assert run["ended_at"] is None


@pytest.mark.parametrize("asked", ["SIGTERM", "SIGHUP"])
def test_the_sender_of_a_signal_is_what_the_supervisor_has_seen(asked: str) -> None:
    died = {"status": "killed", "reason": "SIGTERM", "evidence": {"signal": "SIGTERM"}}
    seen = {"signal": "SIGTERM", "asked_to_end": asked, "sender": "timeout (pid 7)"}
    run = shown(
        "r1",
        folded(
            told(0, "run_started", process="f", launcher="realm run"),
            told(1, "training_step", step=1),
            told(2, "run_ended", by_shipper=True, more=died),
            told(2.1, "run_ended", process="f", more=died | {"evidence": seen}),
        ),
    )
    assert (run["status"], run["reason"]) == ("killed", "SIGTERM")
    assert run["evidence"].get("sender") == ("timeout (pid 7)" if asked == "SIGTERM" else None)


@pytest.mark.parametrize(
    ("above", "reason"),
    [
        ({"status": "killed", "reason": "SIGUSR1", "evidence": {"signal": "SIGUSR1"}}, "SIGUSR1"),
        ({"status": "completed", "reason": "exit code 0", "evidence": {"exit_code": 0}}, "some"),
    ],
)
def test_the_supervisor_knows_the_signal_that_the_shipper_does_not(
    above: dict[str, Any], reason: str
) -> None:
    """A command that goes well all the same says nothing of a process of it."""
    vague = {"status": "killed", "reason": "some", "evidence": {"exit_status": "unknown"}}
    run = shown(
        "r1",
        folded(
            told(0, "run_started", process="f", launcher="realm run"),
            told(1, "training_step", step=1),
            told(2, "run_ended", by_shipper=True, more=vague),
            told(2.1, "run_ended", process="f", more=above),
        ),
    )
    assert (run["status"], run["reason"]) == ("killed", reason)
