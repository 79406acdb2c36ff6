"""The shipper as a process of its own, killed, raced and asked to leave."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from realm_telemetry.shipper import lock
from realm_telemetry.shipper.launch import launch, reap, shipper_environment
from realm_telemetry.shipper.manifest import write_manifest
from realm_telemetry.shipper.overview import pipeline_status
from realm_telemetry.shipper.status import read_status

EXPORTER = '''
import os
from pathlib import Path

class Writes:
    """Appends the number of each event to the file that WRITES_TO names."""

    def export_events(self, events):
        with open(os.environ["OTEL_EXPORTER_WRITES_TO"], "a") as file:
            file.writelines(f"{event.number}\\n" for event in events)

def shout(event):
    import msgspec
    return msgspec.structs.replace(event, message=event.message.upper())
'''


@pytest.fixture
def shippers():
    """Pids of shippers to kill in the end."""
    pids: set[int] = set()
    yield pids
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture
def spawn(shippers):
    """Start a shipper as a child, so that the test sees how it ends."""
    children = []

    def start(lab):
        command = [sys.executable, "-P", "-m", "realm_telemetry.shipper", "--pipeline"]
        children.append(
            subprocess.Popen([*command, str(lab.pipeline_dir)], env=shipper_environment(), cwd="/")
        )
        return children[-1]

    yield start
    for child in children:
        child.kill()
        child.wait()


def alive(lab):
    status = read_status(lab.pipeline_dir)
    return status is not None and status.alive(time.time_ns()) and lock.is_held(lab.pipeline_dir)


def rounds(request_rounds, lab, spawn, eventually):
    """Kill the shipper at random instants while a producer emits; nothing lost or repeated."""
    producer = lab.producer()
    chance = random.Random(7)
    for _ in range(request_rounds):
        child = spawn(lab)
        until = time.monotonic() + 0.3 + chance.random() * 0.6
        while time.monotonic() < until:
            producer.emit_many(50)
            time.sleep(0.001)
        child.kill()
        child.wait()
    spawn(lab)
    total = producer.writer.last_number
    eventually(lambda: producer.writer.control.exported_number == total)
    producer.end()
    assert lab.numbers(producer.id) == list(range(1, total + 1))
    return total


def writing_lab(make_lab, tmp_path):
    (tmp_path / "plugin_of_the_test.py").write_text(EXPORTER)
    return make_lab(
        exporters=["plugin_of_the_test:Writes"],
        processors=["plugin_of_the_test:shout"],
        import_path=[str(tmp_path)],
        environment={"OTEL_EXPORTER_WRITES_TO": str(tmp_path / "written")},
    )


def exported_numbers(tmp_path):
    return Counter(int(line) for line in (tmp_path / "written").read_text().split())


@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.long)])
def test_a_shipper_killed_at_random_instants_loses_and_repeats_nothing(
    count, make_lab, tmp_path, spawn, eventually
):
    lab = writing_lab(make_lab, tmp_path)
    total = rounds(count, lab, spawn, eventually)
    # Exporters get everything at least once; only what a kill left open comes again.
    assert set(exported_numbers(tmp_path)) == set(range(1, total + 1))
    assert all(row.event.message == "HELLO" for row in lab.rows()[:100])


def test_of_two_shippers_that_race_one_leaves_at_once(make_lab, spawn, eventually):
    lab = make_lab()
    producer = lab.producer()
    first, second = spawn(lab), spawn(lab)
    eventually(lambda: (first.poll() is None) != (second.poll() is None))
    survivor = first if first.poll() is None else second
    eventually(lambda: alive(lab) and read_status(lab.pipeline_dir).pid == survivor.pid)
    assert survivor.poll() is None
    producer.emit()
    eventually(lambda: producer.writer.control.stored_number == 1)
    producer.end()


@pytest.mark.alone
def test_a_shipper_leaves_within_two_seconds_of_sigterm(make_lab, spawn, eventually):
    lab = make_lab()
    producer = lab.producer()
    child = spawn(lab)
    producer.emit_many(5000)
    eventually(lambda: producer.writer.control.stored_number > 0)
    began = time.monotonic()
    child.terminate()
    assert child.wait(60) == 0
    assert time.monotonic() - began < 2.0
    assert read_status(lab.pipeline_dir).heartbeat_unix_nano == 0


@pytest.mark.alone
def test_a_shipper_that_waits_for_a_locked_log_leaves_and_beats_all_the_same(
    make_lab, spawn, eventually
):
    import sqlite3

    lab = make_lab()
    producer = lab.producer()
    child = spawn(lab)
    producer.emit()
    eventually(lambda: producer.writer.control.stored_number == 1)
    holder = sqlite3.connect(lab.log_path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    producer.emit()
    time.sleep(0.3)
    before = read_status(lab.pipeline_dir).heartbeat_unix_nano
    eventually(lambda: read_status(lab.pipeline_dir).heartbeat_unix_nano > before)
    began = time.monotonic()
    child.terminate()
    assert child.wait(60) == 0
    assert time.monotonic() - began < 2.5
    holder.execute("ROLLBACK")
    holder.close()
    lab.ship()
    assert lab.numbers(producer.id) == [1, 2]


def test_leaving_and_starting_again_leaves_no_gap(make_lab, spawn, eventually):
    """Producers come and go while shippers leave as soon as they see none."""
    lab = make_lab()
    producers = []
    running = lab.start()
    for _ in range(30):
        producer = lab.producer()
        producers.append(producer)
        if not running.thread.is_alive():
            running = lab.start()
        producer.emit_many(3)
        producer.end()
        time.sleep(random.random() * 0.15)
        # What the producer's keeper would do: publish, then look for a shipper.
        if not lock.is_held(lab.pipeline_dir):
            running.join()
            running = lab.start()
    running.join()
    lab.ship()
    assert all(lab.numbers(producer.id) == [1, 2, 3] for producer in producers)


def test_launched_shippers_are_no_children_of_the_producer_and_well_behaved(
    make_lab, tmp_path, shippers, eventually
):
    lab = writing_lab(make_lab, tmp_path)
    producer = lab.producer()
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    parent = launch(lab.pipeline_dir, sys.executable)
    eventually(lambda: reap(parent))
    eventually(lambda: alive(lab))
    pid = read_status(lab.pipeline_dir).pid
    shippers.add(pid)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    proc = Path("/proc") / str(pid)
    assert os.getsid(pid) != os.getsid(0)
    assert (proc / "cwd").readlink() == Path("/")
    assert int((proc / "oom_score_adj").read_text()) >= 500
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 5
    assert "Umask:\t0077" in (proc / "status").read_text()
    assert str((proc / "fd" / "1").readlink()) == str(lab.manifest.shipper_log_path).replace(
        "shipper-.log", f"shipper-{lab.pipeline_dir.name}.log"
    )
    # The pipe of the test is not open in the shipper: closing it here is the end of it.
    os.close(writer)
    assert os.read(reader, 1) == b""
    os.close(reader)
    producer.emit()
    eventually(lambda: producer.writer.control.exported_number == 1)
    producer.end()
    eventually(lambda: not lock.is_held(lab.pipeline_dir))
    assert exported_numbers(tmp_path) == {1: 1}


def test_launching_where_a_shipper_runs_changes_nothing(make_lab, shippers, eventually):
    lab = make_lab()
    producer = lab.producer()
    first = launch(lab.pipeline_dir)
    eventually(lambda: alive(lab))
    pid = read_status(lab.pipeline_dir).pid
    shippers.add(pid)
    second = launch(lab.pipeline_dir)
    eventually(lambda: reap(first))
    eventually(lambda: reap(second))
    time.sleep(0.5)
    assert read_status(lab.pipeline_dir).pid == pid
    producer.end()


def test_a_pipe_in_the_place_of_its_log_holds_up_no_shipper(make_lab, shippers, eventually):
    """Opening one for writing waits for a reader, for ever."""
    lab = make_lab()
    producer = lab.producer()
    log = lab.manifest.shipper_log_path.with_name(f"shipper-{lab.pipeline_dir.name}.log")
    log.parent.mkdir(exist_ok=True)
    os.mkfifo(log)
    launched = launch(lab.pipeline_dir)
    eventually(lambda: alive(lab))
    shippers.add(read_status(lab.pipeline_dir).pid)
    eventually(lambda: reap(launched))
    producer.end()


LIMITED = """
import resource, sys
import realm_telemetry as realm
realm.configure(home=sys.argv[1], exporters=["battle_log"])
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for step in range(100): realm.log({"loss": 1.0, "text": "x" * 2_000}, step=step)
sys.exit(0 if realm.flush(60) else realm.flush_problem())
"""


def test_a_limit_that_a_program_has_set_is_not_its_shippers(tmp_path):
    """The log grows beyond the size that the program's own files may have."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_environment_of_a_shipper_is_free_of_tracing_and_of_the_pipeline(monkeypatch):
    monkeypatch.setenv("PYTHONTRACEMALLOC", "1")
    monkeypatch.setenv("REALM_PIPELINE", "{}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector")
    monkeypatch.setenv("PYTHONPATH", "relative")
    environment = shipper_environment()
    assert "PYTHONTRACEMALLOC" not in environment
    assert "REALM_PIPELINE" not in environment
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector"
    assert environment["PYTHONPATH"].startswith(str(Path("relative").absolute()))


def test_orphaned_pipelines_of_another_version_are_adopted(make_lab, spawn, eventually):
    lab = make_lab()
    older = msgspec.structs.replace(lab.manifest, version="0", python="/gone/python")
    older_dir = write_manifest(lab.spool_root, older)
    orphan = type(lab.producer())(older_dir)
    orphan.emit_many(3)
    orphan.die()
    living = lab.producer()
    spawn(lab)
    eventually(lambda: not orphan.writer.directory.exists())
    assert lab.numbers(orphan.id)[:3] == [1, 2, 3]
    statuses = {status.pipeline: status for status in pipeline_status(lab.home)}
    assert statuses[lab.pipeline_dir.name].running
    assert statuses[lab.pipeline_dir.name].spools[0].alive
    living.end()


def test_what_producer_and_shipper_share_is_light():
    modules = ("launch", "lock", "manifest", "status")
    imports = "; ".join(f"import realm_telemetry.shipper.{name}" for name in modules)
    heavy = ["sqlite3", "opentelemetry", "httpx", "google", "rich", "click", "argparse", "logging"]
    code = f"import sys; {imports}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path = {sys.path!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
