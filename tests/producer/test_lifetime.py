"""From before `configure` to after `shutdown`, in processes of their own."""

import json
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import SOON_S

pytestmark = pytest.mark.processes

HEAD = "import json, os, sys, time, realm_telemetry as realm\nHOME = sys.argv[1]\n"


def run(home: Path, code: str, **environ: str) -> tuple[Any, str]:
    """Run a program; the JSON of its last line, and what it wrote to stderr."""
    import os

    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REALM_", "OTEL_", "PYTEST"))}
    answer = subprocess.run(
        [sys.executable, "-c", HEAD + code, str(home)],
        capture_output=True,
        text=True,
        timeout=60,
        env=clean | environ,
    )
    assert answer.returncode == 0, answer.stderr
    lines = answer.stdout.splitlines()
    return (json.loads(lines[-1]) if lines else None), answer.stderr


def test_events_before_configure_are_kept_up_to_a_thousand(tmp_path: Path) -> None:
    """At the bound kept, above it dropped, counted and reported; one warning."""
    numbers, errors = run(
        tmp_path,
        "early = [realm.emit('note', 'n').number for _ in range(1003)]\n"
        "realm.configure(home=HOME, exporters=['battle_log'])\n"
        "late = realm.emit('note', 'late')\n"
        "told = [realm.flush(60), realm.flush_problem()]\n"
        "import sqlite3; db = sqlite3.connect(HOME + '/vault/jobs.db')\n"
        "rows = db.execute('SELECT kind, COUNT(*) FROM battle_log GROUP BY kind').fetchall()\n"
        "print(json.dumps([early[999:], late.number, dict(rows), told]))",
    )
    early, late, rows, flushed = numbers
    assert early == [1000, 0, 0, 0]
    assert late == 1002, "after the 1,000 and the report of the drop"
    assert rows == {"note": 1001, "events_dropped": 1}
    assert flushed == [False, "3 events were dropped: the spool, or the buffer before it, was full"]
    assert errors.count("emit() before configure()") == 1


def test_without_configure_nothing_breaks(tmp_path: Path) -> None:
    """Events are complete, and one warning says they will be lost."""
    number, errors = run(tmp_path, "print(json.dumps(realm.training_step(step=1, loss=2).number))")
    assert number == 1
    assert errors.count("\n") == 1


def test_after_shutdown_events_are_refused_with_one_warning(tmp_path: Path) -> None:
    """The number is 0; nothing raises."""
    numbers, errors = run(
        tmp_path,
        "realm.configure(home=HOME, exporters=['battle_log'])\n"
        "realm.emit('note', 'n'); realm.shutdown(); realm.shutdown()\n"
        "print(json.dumps([realm.emit('note', 'n').number for _ in range(3)]))",
    )
    assert numbers == [0, 0, 0]
    assert errors.count("after shutdown()") == 1


def test_configure_after_shutdown_begins_a_new_producer(tmp_path: Path) -> None:
    """With an id of its own, numbered from 1."""
    events, _ = run(
        tmp_path,
        "ids = []\n"
        "for _ in range(2):\n"
        "    t = realm.configure(home=HOME, exporters=['battle_log'])\n"
        "    ids.append(realm.emit('note', 'n').id); assert realm.flush(60)\n"
        "    realm.shutdown()\n"
        "print(json.dumps(ids))",
    )
    assert events[0] != events[1]
    assert all(event.endswith("0000000000000001") for event in events)


def test_configure_twice_is_harmless_and_other_settings_warn(tmp_path: Path) -> None:
    """The first stay."""
    same, errors = run(
        tmp_path,
        "a = realm.configure(home=HOME, service_name='a', shipper='none')\n"
        "b = realm.configure(home=HOME, service_name='a', shipper='none')\n"
        "c = realm.configure(home=HOME, service_name='c', shipper='none')\n"
        "print(json.dumps([a is b, a is c, c.settings.service_name]))",
    )
    assert same == [True, True, "a"]
    assert errors.count("called again with other settings") == 1


def test_the_sdks_off_switch_keeps_nothing(tmp_path: Path) -> None:
    """Events are built and returned; no file is made."""
    answer, _ = run(
        tmp_path / "home",
        "t = realm.configure(home=HOME)\n"
        "e = [realm.emit('note', 'n').number for _ in range(2)]\n"
        "print(json.dumps([t is None, e, realm.flush(), os.path.exists(HOME)]))",
        OTEL_SDK_DISABLED="true",
    )
    assert answer == [True, [1, 2], True, False]


def test_flush_says_what_is_missing(tmp_path: Path) -> None:
    """Without a shipper nothing reaches the log; with a dead service, not every exporter."""
    answer, _ = run(
        tmp_path,
        "realm.configure(home=HOME, shipper='none')\n"
        "realm.emit('note', 'n'); ok = realm.flush(0.05)\n"
        "print(json.dumps([ok, realm.flush_problem()]))",
    )
    assert answer == [
        False,
        "1 of 1 events are in the spool, not yet in the log "
        "(shipper='none': run `realm ship --once`)",
    ]
    answer, _ = run(
        tmp_path,
        "realm.configure(home=HOME, service_url='http://127.0.0.1:9')\n"
        "realm.emit('note', 'n'); ok, problem, end = None, '', time.monotonic() + 60\n"
        "while 'realm_service' not in problem and time.monotonic() < end:\n"
        "    ok, problem = realm.flush(0.5), realm.flush_problem()\n"
        "print(json.dumps([ok, problem]))",
    )
    assert answer[0] is False
    assert answer[1].startswith("1 of 1 events wait for an exporter: exporter realm_service")


def test_exit_with_a_dead_service_takes_no_time(tmp_path: Path) -> None:
    """A live shipper goes on alone: shutdown must not wait for its deadline."""
    seconds, _ = run(
        tmp_path,
        "realm.configure(home=HOME, service_url='http://127.0.0.1:9')\n"
        "[realm.training_step(step=i, loss=1) for i in range(500)]\n"
        "assert realm.get_telemetry().settle(60)\n"
        "begin = time.monotonic(); realm.shutdown(60)\n"
        "print(json.dumps(time.monotonic() - begin))",
    )
    assert seconds < SOON_S, "its deadline would be 60 s; the benchmark holds the 150 ms"


@pytest.mark.parametrize(
    ("environ", "waits"),
    [({"SLURM_JOB_ID": "1"}, True), ({"KUBERNETES_SERVICE_HOST": "k"}, True), ({}, False)],
)
def test_where_nothing_outlives_the_process_it_waits(
    tmp_path: Path, environ: dict[str, str], waits: bool
) -> None:
    """In Slurm and Kubernetes everything is in the log when shutdown returns."""
    stored, _ = run(
        tmp_path,
        "realm.configure(home=HOME, exporters=['battle_log'])\n"
        "[realm.training_step(step=i, loss=1) for i in range(200)]\n"
        "begin = time.monotonic(); done = realm.shutdown(60)\n"
        "print(json.dumps([done, time.monotonic() - begin]))",
        **environ,
    )
    done, seconds = stored
    assert done is True if waits else seconds < SOON_S


def test_a_thread_shipper_takes_exporters_given_as_objects(tmp_path: Path) -> None:
    """They get every event, in order, before shutdown returns."""
    answer, _ = run(
        tmp_path,
        "class Mine:\n"
        "    seen = []\n"
        "    def export_events(self, events): self.seen += [e.number for e in events]\n"
        "    def shutdown(self): pass\n"
        "    def force_flush(self, timeout_millis=0): return True\n"
        "mine = Mine()\n"
        "realm.configure(home=HOME, exporters=['battle_log', mine])\n"
        "[realm.training_step(step=i, loss=1) for i in range(300)]\n"
        "ok = realm.flush(60); realm.shutdown()\n"
        "print(json.dumps([ok, realm.flush_problem(), mine.seen == list(range(1, 303))]))",
    )
    assert answer[0] is True, answer
    assert answer[2] is True


def test_a_child_joins_its_parents_pipeline(tmp_path: Path) -> None:
    """Started with nothing but the environment, it is in the same home under the same name."""
    answer, _ = run(
        tmp_path,
        "import subprocess\n"
        "t = realm.configure(home=HOME, service_name='parent', shipper='none', run_id='r1')\n"
        'code = \'import realm_telemetry as r; e = r.emit("note", "n"); \'\\\n'
        "  't = r.get_telemetry(); print(t.settings.service_name, t.pipeline_dir, e.run_id)'\n"
        "child = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)\n"
        "print(json.dumps([child.stdout.split(), child.stderr, str(t.pipeline_dir)]))",
    )
    (name, pipeline, run_id), child_errors, expected = answer
    assert (name, pipeline, run_id) == ("parent", expected, "r1")
    assert child_errors == ""


def test_a_home_that_cannot_be_written_is_not_the_end(tmp_path: Path) -> None:
    """The spool goes to the next place; emit works."""
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    runtime = tmp_path / "runtime"
    answer, errors = run(
        blocked,
        "t = realm.configure(home=HOME, shipper='none')\n"
        "print(json.dumps([realm.emit('note', 'n').number, str(t.pipeline_dir)]))",
        XDG_RUNTIME_DIR=str(runtime),
    )
    assert answer[0] == 1
    assert answer[1].startswith(str(runtime / "realm" / "spool"))
    assert errors.count(f"the spool is in {runtime}/realm/spool, because {blocked}/spool") == 1


def test_a_script_of_an_instant_is_shipped_too(tmp_path: Path) -> None:
    """It ends before its keeper has done a round; the shipper was started all the same."""
    run(tmp_path, "realm.configure(home=HOME, exporters=['battle_log']); realm.emit('note', 'n')")
    import sqlite3

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with closing(sqlite3.connect(tmp_path / "vault" / "jobs.db")) as database:
                found = database.execute("SELECT COUNT(*) FROM battle_log").fetchone()[0]
            if found == 1:
                return
        except sqlite3.OperationalError:
            pass
        time.sleep(0.05)
    pytest.fail("the event did not reach the log")


def test_a_home_that_was_deleted_makes_no_call_raise(tmp_path: Path) -> None:
    answer, errors = run(
        tmp_path / "home",
        "import shutil\n"
        "t = realm.configure(home=HOME, exporters=['battle_log']); realm.emit('note', 'n')\n"
        "while not t._launched: time.sleep(0.01)\n"
        "shutil.rmtree(HOME, ignore_errors=True); shutil.rmtree(HOME, ignore_errors=True)\n"
        "time.sleep(0.5); shutil.rmtree(HOME, ignore_errors=True); t._launch_at = 0\n"
        "flushed = realm.flush(0.1); t._launch_at = 0\n"
        "print(json.dumps([flushed, realm.shutdown(0.1)]))",
    )
    assert len(answer) == 2
    assert "Traceback" not in errors


def test_resource_and_options_take_any_value(tmp_path: Path) -> None:
    """A slip in what describes a program must not keep it from starting."""
    answer, errors = run(
        tmp_path,
        "from pathlib import Path\n"
        "t = realm.configure(home=HOME, shipper='none', exporters=['jsonl'],\n"
        "    options={'jsonl': {'path': Path('x')}},\n"
        "    resource={'where': Path('x'), 'odd': chr(0xdc80), 'big': 2**70, 'any': object()})\n"
        "print(json.dumps([realm.emit('note', 'n').number, t.resource()['where']]))",
    )
    assert answer == [1, "x"]
    assert errors == ""


def test_a_manifest_holds_the_options_of_its_own_exporters_only(tmp_path: Path) -> None:
    """Another plugin's secrets are no business of this pipeline, nor a reason for a new one."""
    code = (
        "t = realm.configure(home=HOME, shipper='none', exporters=['jsonl'],\n"
        "    options={'jsonl': {'keep': 1}, 'webhook': {'secret': '%s'}})\n"
        "print(json.dumps(str(t.pipeline_dir)))"
    )
    first, second = run(tmp_path, code % "one")[0], run(tmp_path, code % "two")[0]
    assert first == second
    assert json.loads((Path(first) / "manifest.json").read_text())["options"] == {
        "jsonl": {"keep": 1}
    }


@pytest.mark.parametrize("left", [b"", b'{"version": "0.'])
def test_a_manifest_that_a_power_failure_left_half_is_written_anew(
    tmp_path: Path, left: bytes
) -> None:
    """Otherwise no shipper of this pipeline could ever start."""
    code = "t = realm.configure(home=HOME, shipper='none'); print(json.dumps(str(t.pipeline_dir)))"
    manifest = Path(run(tmp_path, code)[0]) / "manifest.json"
    whole = json.loads(manifest.read_bytes())
    manifest.write_bytes(left)
    run(tmp_path, code)
    assert json.loads(manifest.read_bytes())["log_path"] == whole["log_path"]
    assert [path.name for path in manifest.parent.glob(".manifest*")] == []


def test_a_signal_handler_may_shut_down_during_a_shutdown(tmp_path: Path) -> None:
    """It waits no longer than its own timeout, and the first one goes on."""
    answer, _ = run(
        tmp_path,
        "import signal\n"
        "signal.signal(signal.SIGALRM, lambda *_: realm.shutdown(0.2))\n"
        "t = realm.configure(home=HOME, shipper='none', exit_wait='always')\n"
        "realm.emit('note', 'n'); signal.setitimer(signal.ITIMER_REAL, 0.3)\n"
        "print(json.dumps(realm.shutdown(1.0)))",
    )
    assert answer is False


def test_events_emitted_while_a_thread_shipper_ends_are_counted_as_refused(tmp_path: Path) -> None:
    """Each event with a number is in the log: none goes to a spool that is about to be deleted."""
    answer, _ = run(
        tmp_path,
        "import sqlite3, threading\n"
        "realm.configure(home=HOME, exporters=['battle_log'], shipper='thread')\n"
        "numbers, going = [], True\n"
        "def work():\n"
        "    while going: numbers.append(realm.emit('note', 'n').number); time.sleep(0.0005)\n"
        "thread = threading.Thread(target=work); thread.start(); time.sleep(0.2)\n"
        "realm.shutdown(3.0); time.sleep(0.05); going = False; thread.join()\n"
        "log = sqlite3.connect(HOME + '/vault/jobs.db')\n"
        "stored = log.execute('SELECT COUNT(*) FROM battle_log').fetchone()[0]\n"
        "print(json.dumps([max(numbers), numbers[-1], stored]))",
    )
    last, after, stored = answer
    assert after == 0
    assert stored == last


def test_a_program_that_closes_what_it_does_not_know_goes_on(tmp_path: Path) -> None:
    """As daemons do: the keeper takes the lock again, and nothing raises."""
    answer, errors = run(
        tmp_path,
        "from realm_telemetry.spool.liveness import is_locked\n"
        "t = realm.configure(home=HOME, shipper='none', exporters=[]); realm.emit('note', 'n')\n"
        "def held():\n"
        "    child = os.fork()\n"
        "    if child == 0: os._exit(is_locked(t.writer.directory / 'lock'))\n"
        "    return os.waitpid(child, 0)[1] != 0\n"
        "t._keeper.stop(5)  # so that none of its own files is open just now\n"
        "os.closerange(3, 64); lost = held(); t._look_after_spool(); again = held()\n"
        "os.closerange(3, 64)\n"
        "print(json.dumps([lost, again, realm.emit('note', 'n').number, realm.shutdown()]))",
    )
    assert answer == [False, True, 2, False]
    assert errors == ""
