"""Nobody calls `configure`: the first use sets the process up, wherever it comes from."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import realm_telemetry as realm
from realm_telemetry.compat.event_bus import emit_realm_event
from realm_telemetry.compat.realm_store import get_events, update_training
from realm_telemetry.log import Filters, LogReader

PROCESS = {"REALM_SHIPPER": "process"}


def run(code: str, home: Path, expected: int = 0, **environment: str) -> str:
    """Run a program with a shipper process of its own; what it wrote to stderr."""
    script = home.parent / "old_job.py"
    script.write_text(code)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | PROCESS | environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == expected, done.stdout + done.stderr
    return done.stderr


def stored(home: Path) -> list[Any]:
    with LogReader(home / "vault" / "jobs.db") as reader:
        return [row.event for row in reader.now.page(Filters(limit=1000)).rows][::-1]


def test_the_first_use_sets_up_and_names_the_program(home: Path) -> None:
    printed = run(
        "from realm_telemetry.compat.event_bus import note\n"
        "from realm_telemetry.compat.realm_store import get_events\n"
        "note(message='First')\n"
        "assert get_events(1)[0]['message'] == 'First'\n"
        "import realm_telemetry\n"
        "print(realm_telemetry.get_telemetry().settings.service_name)\n"
        "assert realm_telemetry.get_telemetry().settings.service_name == 'old_job'\n",
        home,
    )
    assert printed == ""


def test_an_event_of_import_time_and_the_program_s_own_configure_go_together(home: Path) -> None:
    """The first use is replaced; nothing is lost, and no producer is reported as lost."""
    run(
        "from realm_telemetry.compat.event_bus import note\n"
        "import realm_telemetry as realm\n"
        "note(message='At import')\n"
        "realm.configure(service_name='daemon')\n"
        "assert realm.get_telemetry().settings.service_name == 'daemon'\n"
        "note(message='Later')\n"
        "assert realm.flush(60)\n",
        home,
    )
    run("import realm_telemetry as r; r.configure(); r.note('Last'); assert r.flush(60)", home)
    events = stored(home)
    assert [event.message for event in events] == ["At import", "Later", "Last"]
    assert len({event.producer for event in events}) == 3


def test_threads_that_keep_emitting_while_configure_replaces_lose_nothing(home: Path) -> None:
    emit_realm_event(kind="note", message="first")
    go, sent = threading.Event(), [0] * 4

    def emit(place: int) -> None:
        while not go.is_set():
            emit_realm_event(kind="note", message=f"{place}")
            sent[place] += 1
            time.sleep(0.001)

    threads = [threading.Thread(target=emit, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    before = realm.get_telemetry()
    while min(sent) < 20:
        time.sleep(0.001)
    realm.configure(service_name="daemon", shipper="thread")
    at_switch = sum(sent)
    while sum(sent) < at_switch + 200:
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join(20)
    assert realm.get_telemetry() is not before
    assert realm.flush(60), realm.flush_problem()
    with LogReader(home / "vault" / "jobs.db") as reader:
        assert reader.now.page(Filters()).total == sum(sent) + 1


def test_a_second_configure_after_the_first_use_keeps_what_it_always_kept() -> None:
    emit_realm_event(kind="note", message="first")
    one = realm.configure(service_name="one", shipper="thread")
    two = realm.configure(service_name="two", shipper="thread")
    assert one is two
    assert one is not None
    assert one.settings.service_name == "one"


def test_many_threads_may_be_the_first_to_use_it() -> None:
    barrier = threading.Barrier(8)

    def begin(place: int) -> None:
        barrier.wait()
        for number in range(25):
            emit_realm_event(kind="note", message=f"{place}/{number}")

    threads = [threading.Thread(target=begin, args=(place,)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    messages = [event["message"] for event in get_events(1000)]
    assert len(messages) == len(set(messages)) == 200


def test_a_signal_handler_may_be_the_first_to_use_it(home: Path) -> None:
    run(
        "import signal, time\n"
        "from realm_telemetry.compat.event_bus import note\n"
        "from realm_telemetry.compat.realm_store import get_events\n"
        "seen = []\n"
        "signal.signal(signal.SIGALRM, lambda *_: seen.append(note(message='Alarm')))\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)\n"
        "for number in range(20): note(message='Main')\n"
        "while len(seen) < 20: time.sleep(0.001)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "assert len(get_events(1000)) == 20 + len(seen)\n",
        home,
    )


def test_a_fork_after_the_first_use_is_a_producer_of_its_own(home: Path) -> None:
    run(
        "import os\n"
        "from realm_telemetry.compat.event_bus import note\n"
        "from realm_telemetry.compat.realm_store import get_events, get_realm_state\n"
        "note(message='Parent'); get_realm_state()\n"
        "child = os.fork()\n"
        "note(message='Child' if child == 0 else 'Parent again')\n"
        "mine = [event['message'] for event in get_events(10)]\n"
        "assert ('Child' if child == 0 else 'Parent again') in mine, mine\n"
        "get_realm_state()\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n",
        home,
    )
    events = stored(home)
    assert {event.message for event in events} == {"Parent", "Child", "Parent again"}
    assert len({event.producer for event in events}) == 2


def test_use_at_exit_neither_fails_nor_leaves_a_producer_behind(home: Path) -> None:
    printed = run(
        "import atexit\n"
        "from realm_telemetry.compat.event_bus import note\n"
        "atexit.register(lambda: note(message='Too late'))\n"
        "import realm_telemetry\n"
        "note(message='In time')\n"
        "assert realm_telemetry.flush(60)\n",
        home,
    )
    assert printed.count("events emitted after shutdown() are not recorded") <= 1
    assert "Traceback" not in printed
    assert stored(home)[0].message == "In time"


def test_after_a_shutdown_the_next_use_sets_up_again(home: Path) -> None:
    emit_realm_event(kind="note", message="one")
    realm.shutdown()
    emit_realm_event(kind="note", message="two")
    assert [event["message"] for event in get_events()] == ["two", "one"]


def test_a_wrong_setting_never_stops_the_program(home: Path) -> None:
    home.mkdir(exist_ok=True)
    (home / "realm.toml").write_text("exporterz = []")
    printed = run(
        "from realm_telemetry.compat.event_bus import note\n"
        "for number in range(3): note(message='On it goes')\n",
        home,
    )
    assert printed.count("Did you mean exporters?") == 1


def test_telemetry_that_is_switched_off_stays_off(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run(
        "from realm_telemetry.compat.event_bus import note\n"
        "from realm_telemetry.compat.realm_store import get_events\n"
        "assert len(note(message='Nowhere')['id']) == 32\n"
        "assert get_events() == []\n",
        home,
        OTEL_SDK_DISABLED="true",
    )
    assert printed == ""
    assert not home.exists()


def test_reading_alone_writes_nothing(home: Path) -> None:
    assert get_events() == []
    assert realm.get_telemetry() is None
    assert not home.exists()


def test_reading_does_not_wait_for_a_service_that_is_down(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only for the log: an exporter that waits has no part in it."""
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log,realm_service")
    monkeypatch.setenv("REALM_SERVICE_URL", "http://127.0.0.1:9")
    update_training(step=1)
    telemetry = realm.get_telemetry()
    assert telemetry is not None
    assert telemetry.settle(20)
    assert not telemetry.flush(0.05)


def test_the_quoted_acceptance_tests_pass_in_a_fresh_suite(home: Path, tmp_path: Path) -> None:
    """A lab's own pytest run, unchanged imports, a shipper process, nothing set up."""
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "conftest.py").write_text("from realm_telemetry.compat import install; install()\n")
    (suite / "test_acceptance.py").write_text(ACCEPTANCE)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(suite)],
        env=os.environ | PROCESS, cwd=suite, capture_output=True, text=True, timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout


ACCEPTANCE = """
import pytest

def test_a_checkpoint():
    from core.event_bus import checkpoint_saved
    from core.realm_store import get_store, get_events
    from core.battle_log import get_battle_logger
    checkpoint_saved(step=1000, loss=0.5, path="checkpoints/1000")
    assert "checkpoint_saved" in [event["kind"] for event in get_events(limit=10)]
    assert "checkpoint_saved" in [event["kind"] for event in get_store().get_events(limit=10)]
    found = get_battle_logger().get_events(channels=["checkpoint"], limit=10)
    assert found[0].message.startswith("Checkpoint 1,000")

def test_a_generic_event():
    from core.event_bus import emit_realm_event
    event = emit_realm_event(kind="job_started", message="Job eval started")
    assert event["channel"] == "jobs" and event["severity"] == "info"

def test_a_deprecated_one():
    from core.events import emit_job_started
    from core.realm_store import get_events
    from core.battle_log import get_battle_logger
    with pytest.warns(DeprecationWarning, match="job_started"):
        emit_job_started(job_id="abc", job_type="eval")
    assert any(e["details"].get("job_id") == "abc" for e in get_events(limit=10))
    assert any(e.details.get("job_id") == "abc" for e in get_battle_logger().get_events(["jobs"]))
"""
