"""What a shipper reports at a producer's end: all drops, and losses only where one is."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from realm_telemetry.shipper.notes import Notes
from realm_telemetry.testing.samples import sample_events

pytestmark = [pytest.mark.processes]

KNOWS_ENDS = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 15)
"""Whether this kernel says how other processes ended."""
REALM = str(Path(sys.executable).with_name("realm"))
BEGIN = "import os, signal, sys, time, threading\nimport realm_telemetry as realm\n"
CONFIGURE = "realm.configure(service_name='x', exporters=['battle_log'])\n"


def run(home: Path, code: str) -> int:
    """Run a program in a home and wait for its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + code], env=environment(home), stderr=subprocess.DEVNULL
    )
    return process.wait(60)


def environment(home: Path) -> dict[str, str]:
    return dict(os.environ, REALM_HOME=str(home))


def events(home: Path) -> list[dict[str, Any]]:
    """Everything in the log once all is shipped, oldest first."""
    for arguments in (["ship", "--once", "--timeout", "30"], ["query", "--jsonl", "-n", "1000"]):
        done = subprocess.run(
            [REALM, *arguments], env=environment(home), capture_output=True, text=True, timeout=60
        )
    return [json.loads(line) for line in done.stdout.splitlines()][::-1]


def ended(home: Path) -> list[dict[str, Any]]:
    """The same, once shippers have seen all ends."""
    deadline = time.monotonic() + 60
    while any((home / "spool").glob("*/[0-9a-f]*/control")) and time.monotonic() < deadline:
        time.sleep(0.1)
    return events(home)


def losses(found: list[dict[str, Any]]) -> int:
    return sum(event["kind"] == "process_lost" for event in found)


SHIPPED = "realm.note(message='x')\nrealm.get_telemetry().settle(20)\ntime.sleep(1.5)\n"


@pytest.mark.parametrize(
    ("code", "lost"),
    [
        ("realm.flush(60); os._exit(0)", 0),
        pytest.param(SHIPPED + "os._exit(0)", 0, marks=pytest.mark.long),
        (SHIPPED + "os.kill(os.getpid(), signal.SIGTERM)", 0),
        (SHIPPED + "os.kill(os.getpid(), signal.SIGKILL)", 1),
        pytest.param(SHIPPED + "os.abort()", 1, marks=pytest.mark.long),
        pytest.param(
            SHIPPED + "realm.flush(60); os.kill(os.getpid(), signal.SIGKILL)",
            1,
            marks=pytest.mark.long,
        ),
        ("realm.training_started(model='m')\n" + SHIPPED + "os._exit(0)", 1),
        pytest.param(
            "realm.training_started(model='m')\nrealm.flush(60)\nos._exit(0)",
            1,
            marks=pytest.mark.long,
        ),
        (SHIPPED + "os.execv('/bin/sleep', ['sleep', '2'])", 0),
        pytest.param(
            SHIPPED + "os.fork() or time.sleep(2) or os._exit(0)\nos._exit(0)",
            0,
            marks=pytest.mark.long,
        ),
        pytest.param(
            SHIPPED + "os.closerange(3, 64); time.sleep(1); os._exit(0)", 0, marks=pytest.mark.long
        ),
        (
            "realm.training_started(model='m')\n"
            + SHIPPED
            + "os.closerange(3, 64); time.sleep(1); os.kill(os.getpid(), signal.SIGKILL)",
            1,
        ),
        ("realm.note(message='x')\npid = os.fork()\nif pid: time.sleep(2); os.abort()", 1),
    ],
    ids=[
        *("flush exit", "shipped exit", "shipped SIGTERM", "SIGKILL", "SIGABRT", "flush SIGKILL"),
        *("begun exit", "begun flush exit", "exec", "fork exit"),
        *("without its lock exit", "without its lock SIGKILL", "fork abort"),
    ],
)
@pytest.mark.slow
def test_an_end_is_a_loss_only_where_something_was_lost(
    code: str, lost: int, tmp_path: Path
) -> None:
    run(tmp_path, CONFIGURE + "realm.note(message='first')\n" + code)
    assert losses(ended(tmp_path)) == lost


@pytest.mark.slow
def test_what_is_emitted_after_a_program_closed_our_lock_is_stored(tmp_path: Path) -> None:
    run(
        tmp_path,
        CONFIGURE + SHIPPED + "os.closerange(3, 64)\n"
        "for n in range(12): realm.note(message=str(n)); time.sleep(0.2)\n"
        "os.kill(os.getpid(), signal.SIGKILL)",
    )
    messages = [event["message"] for event in ended(tmp_path)]
    assert [text for text in messages if text.isdigit()] == [str(n) for n in range(12)]


@pytest.mark.slow
def test_a_daemon_and_a_program_that_starts_itself_again_are_not_lost(tmp_path: Path) -> None:
    run(
        tmp_path,
        CONFIGURE + "realm.note(message='starting')\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "if os.fork(): os._exit(0)\n"
        "realm.note(message='works'); time.sleep(2)\n",
    )
    script = tmp_path / "again.py"
    script.write_text(
        BEGIN + CONFIGURE + "realm.note(message=sys.argv[1])\n"
        "again = [sys.executable, *sys.orig_argv[1:-1], 'second']\n"
        "if sys.argv[1] == 'first': os.execv(sys.executable, again)\n"
    )
    subprocess.run([sys.executable, str(script), "first"], env=environment(tmp_path), check=True)
    time.sleep(3)
    found = ended(tmp_path)
    assert [event["message"] for event in found] == ["starting", "works", "first", "second"]


@pytest.mark.slow
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_that_their_pool_ends_are_not_lost(method: str, tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(
        BEGIN + "import multiprocessing\n"
        "def work(number):\n    realm.note(message='worker')\n    time.sleep(0.2)\n"
        "if __name__ == '__main__':\n    "
        + CONFIGURE
        + f"    context = multiprocessing.get_context('{method}')\n"
        "    pool = context.Pool(2)\n    pool.map(work, range(4))\n    pool.terminate()\n"
        "    pool.join()\n    realm.flush(60)\n"
    )
    subprocess.run([sys.executable, str(script)], env=environment(tmp_path), check=True, timeout=60)
    found = ended(tmp_path)
    assert sum(event["message"] == "worker" for event in found) == 4
    assert losses(found) == 0


FULL = """
settings = dict(shipper='none', exporters=['battle_log'], max_spool_bytes=262144)
realm.configure(service_name='x', **settings)
kept = sum(realm.note(message=str(i), pad='y' * 300).number > 0 for i in range(3000))
print(kept, flush=True)
{end}
"""


@pytest.mark.parametrize(
    "end",
    [
        "",
        "realm.shutdown()",
        pytest.param("os.kill(os.getpid(), signal.SIGKILL)", marks=pytest.mark.long),
        pytest.param("os.fork() or os._exit(0)\nos.wait()", marks=pytest.mark.long),
        "os._exit(1)",
    ],
    ids=["exit", "shutdown", "SIGKILL", "fork", "os._exit"],
)
def test_drops_at_the_end_of_a_full_spool_are_one_event(end: str, tmp_path: Path) -> None:
    """Stored and dropped make all that was emitted, and the receipt says the same."""
    program = BEGIN + FULL.format(end=end)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    kept = int(done.stdout.split()[0])
    found = events(tmp_path)
    notes = [event for event in found if event["kind"] == "note"]
    (report,) = [event for event in found if event["kind"] == "events_dropped"]
    assert len(notes) == kept < 3000
    assert report["details"]["total"] == report["details"]["count"] == 3000 - kept
    assert events(tmp_path) == found, "shipping again reports nothing twice"


@pytest.mark.parametrize(
    ("total", "reported"), [(7, 7), (2, 5), (2**48 - 1, 2**48 - 1), (2**48, 5), ("7", 5), (None, 5)]
)
def test_drops_that_the_producer_reported_are_not_reported_again(total: Any, reported: int) -> None:
    notes = Notes(reported_drops=5)
    details = {"count": 1, "total": total}
    [sample] = sample_events(1)
    notes.follow([msgspec.structs.replace(sample, kind="events_dropped", details=details)])
    assert notes.reported_drops == reported


STARTED = "realm.run_started(command='train')\nrealm.training_step(step=7, loss=0.5)\n"


@pytest.mark.parametrize(
    ("code", "status", "reason"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", "killed", "SIGKILL, sender unknown"),
        pytest.param(
            "os.kill(os.getpid(), signal.SIGTERM)", "killed", "SIGTERM", marks=pytest.mark.long
        ),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "SIGSEGV"),
        pytest.param("os.abort()", "crashed", "SIGABRT", marks=pytest.mark.long),
        ("os.kill(os.getpid(), signal.SIGXCPU)", "killed", "time limit (SIGXCPU)"),
        ("os._exit(3)", "failed", "exit code 3"),
        pytest.param("os._exit(0)", "completed", "exit code 0", marks=pytest.mark.long),
        ("os._exit(143)", "killed", "SIGTERM (exit code 143)"),
    ],
)
def test_a_run_that_a_process_left_open_is_ended_by_the_shipper_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, status: str, reason: str
) -> None:
    """With rank and run, and in `process_lost` too where the end was a loss."""
    monkeypatch.setenv("REALM_RUN_ID", "run 7/ä")
    monkeypatch.setenv("RANK", "3")
    run(tmp_path, CONFIGURE + STARTED + SHIPPED + code)
    found = ended(tmp_path)
    (end,) = [event for event in found if event["kind"] == "run_ended"]
    assert (end["details"]["status"], end["details"]["reason"]) == (status, reason)
    assert end["details"]["last_step"] == 7
    assert (end["run_id"], end["rank"]) == ("run 7/ä", 3)
    for lost in [event for event in found if event["kind"] == "process_lost"]:
        assert (lost["details"]["run_id"], lost["details"]["rank"]) == ("run 7/ä", 3)
        assert (lost["details"]["status"], lost["details"]["reason"]) == (status, reason)


def test_a_run_that_the_process_ended_itself_is_left_alone(tmp_path: Path) -> None:
    code = "realm.run_ended(status='completed')\nos.kill(os.getpid(), signal.SIGKILL)"
    run(tmp_path, CONFIGURE + STARTED + SHIPPED + code)
    assert sum(event["kind"] == "run_ended" for event in ended(tmp_path)) == 1


def test_an_exit_code_corrects_a_run_that_was_called_completed_at_the_end(tmp_path: Path) -> None:
    code = "realm.run_ended(status='completed', evidence={'exit': 'normal'})\nos._exit(3)"
    run(tmp_path, CONFIGURE + STARTED + SHIPPED + code)
    statuses = [
        event["details"]["status"] for event in ended(tmp_path) if event["kind"] == "run_ended"
    ]
    assert statuses == ["completed", "failed"]


def test_a_process_in_no_run_ends_none(tmp_path: Path) -> None:
    run(tmp_path, CONFIGURE + SHIPPED + "os.kill(os.getpid(), signal.SIGKILL)")
    assert [event["kind"] for event in ended(tmp_path)].count("run_ended") == 0


def test_a_program_that_dies_before_its_shipper_runs_is_known_to_have_been_killed(
    tmp_path: Path,
) -> None:
    """It hands the shipper a descriptor of itself, which tells how it ended."""
    launched = "while not realm.get_telemetry()._launched: time.sleep(0.001)\n"
    code = "realm.run_started(command='t')\nos.kill(os.getpid(), signal.SIGKILL)"
    run(tmp_path, CONFIGURE + launched + code)
    (end,) = [event for event in ended(tmp_path) if event["kind"] == "run_ended"]
    if end["details"]["status"] == "lost":
        pytest.skip("this kernel does not say how other processes ended")
    assert (end["details"]["status"], end["details"]["signal"]) == ("killed", "SIGKILL")


def test_how_a_process_ended_is_known_though_it_died_at_once_beside_a_running_shipper(
    tmp_path: Path,
) -> None:
    """Sooner than it looks for new spools: its socket keeps what the process handed over."""
    code = """
for way in ("9", "15", "exit", "11"):
    child = os.fork()
    if not child:
        os.environ["REALM_RUN_ID"] = way
        realm.training_step(step=1, loss=1.0)
        os._exit(3) if way == "exit" else os.kill(os.getpid(), int(way))
        time.sleep(9)
    os.waitpid(child, 0)
"""
    run(tmp_path, CONFIGURE + STARTED + SHIPPED + code)
    found = [event["details"] for event in ended(tmp_path) if event["kind"] == "run_ended"]
    if any(details.get("evidence", {}).get("exit_status") == "unknown" for details in found):
        assert not KNOWS_ENDS
        pytest.skip("this kernel does not say how other processes ended")
    reasons = {details.get("reason") for details in found}
    assert reasons >= {"SIGKILL, sender unknown", "its parent ended it", "exit code 3", "SIGSEGV"}


@pytest.mark.parametrize(
    ("code", "signals"),
    [
        (STARTED + SHIPPED + "os.kill(os.getpid(), signal.SIGSEGV)", [("SIGSEGV", "error")]),
        (STARTED + SHIPPED + "os.kill(os.getpid(), signal.SIGTERM)", [("SIGTERM", "warning")]),
        pytest.param(
            SHIPPED + "os.kill(os.getpid(), signal.SIGABRT)",
            [("SIGABRT", "error")],
            marks=pytest.mark.long,
        ),
        (SHIPPED + "os.kill(os.getpid(), signal.SIGTERM)", []),
        (
            STARTED
            + "realm.run_ended(status='completed')\n"
            + SHIPPED
            + "os.kill(os.getpid(), 15)",
            [],
        ),
    ],
)
def test_the_stack_of_a_crash_is_kept_and_that_of_a_run_that_was_asked_to_end(
    tmp_path: Path, code: str, signals: list[tuple[str, str]]
) -> None:
    """A daemon that is stopped is no fault."""
    run(tmp_path, CONFIGURE + code)
    found = [event for event in ended(tmp_path) if event["kind"] == "fatal_signal"]
    assert [(event["details"]["signal"], event["severity"]) for event in found] == signals
    assert all('File "<string>", line' in event["details"]["stack"] for event in found)


def endings(found: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [
        (event["run_id"], event["details"]["status"])
        for event in found
        if event["kind"] == "run_ended"
    ]


POOL = """
import multiprocessing
def work(step):
    realm.training_step(step=step, loss=0.5)
    realm.get_telemetry().settle(10)
with multiprocessing.get_context("fork").Pool(2) as pool:
    pool.map(work, range(4))
    time.sleep(1.5)
realm.training_completed(step=4, loss=0.1)
"""


def test_workers_that_a_pool_terminates_are_no_ending_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALM_RUN_ID", "r")
    run(tmp_path, CONFIGURE + "realm.training_started(model='m')\n" + POOL)
    assert {status for _, status in endings(ended(tmp_path))} == {"completed"}


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM)", {"killed"}),
        ("os.kill(os.getpid(), signal.SIGSEGV)", {"crashed"}),
        ("os.kill(os.getpid(), signal.SIGKILL)", {"lost"}),
        (POOL.replace("    realm.get_telemetry().settle(10)\n", ""), {"completed"}),
    ],
)
def test_the_last_stack_says_how_a_process_ended_that_nobody_saw_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, found: set[str]
) -> None:
    monkeypatch.setenv("REALM_RUN_ID", "r")
    monkeypatch.setenv("REALM_SHIPPER", "none")
    run(tmp_path, CONFIGURE + "realm.training_started(model='m')\n" + code)
    assert {status for _, status in endings(events(tmp_path))} == found


def test_each_run_that_a_killed_process_left_open_is_ended(tmp_path: Path) -> None:
    begin = "".join(
        f"with realm.bound(run_id={name!r}): realm.training_step(step=1, loss=0.5)\n"
        for name in ("a", "b", "c")
    )
    over = "with realm.bound(run_id='b'): realm.training_completed(step=1, loss=0.1)\n"
    run(tmp_path, CONFIGURE + begin + over + SHIPPED + "os.kill(os.getpid(), signal.SIGKILL)")
    assert sorted(endings(ended(tmp_path))) == [
        ("a", "killed"),
        ("b", "completed"),
        ("c", "killed"),
    ]


def test_a_run_goes_on_in_the_spool_that_a_late_configure_begins(tmp_path: Path) -> None:
    """Its end is judged there, by the exit code too."""
    code = (
        "os.environ['REALM_EXPORTERS'] = 'battle_log'\nrealm.log({'loss': 1.0}, step=1)\n"
        "realm.configure(service_name='late')\nrealm.log({'loss': 0.5}, step=2)\n"
    )
    run(tmp_path, code + SHIPPED + "sys.exit(3)")
    found = ended(tmp_path)
    assert len({event["run_id"] for event in found if event["kind"] == "training_step"}) == 1
    assert [status for _, status in endings(found)] == ["completed", "failed"]
