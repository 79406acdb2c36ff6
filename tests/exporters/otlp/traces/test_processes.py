"""Real producers and the real shipper, both killed with SIGKILL, and a real receiver."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.shipper.overview import pipeline_status
from tests.waiting import wait_until

from .conftest import Receiver

pytestmark = pytest.mark.processes

SCRIPT = Path(__file__).parent / "dying.py"

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start(home: Path, receiver: Receiver) -> Iterator[Start]:
    """Start the program, and wait until it is where it wants to be killed."""
    running: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(home), receiver.endpoint],
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()
    kill_shippers(home)


def kill_shippers(home: Path) -> None:
    """SIGKILL whoever ships in this home."""
    for status in pipeline_status(home):
        if status.pid is not None:
            os.kill(status.pid, 9)
            wait_until(lambda: not any(each.running for each in pipeline_status(home)))


def test_a_killed_program_s_spans_arrive_with_an_error(start: Start, receiver: Receiver) -> None:
    """While it lived, what had ended was there already, below a training that was not."""
    process = start()
    wait_until(lambda: len(receiver.arrived) == 2)
    assert set(receiver.named()) == {"eval add", "checkpoint"}
    process.kill()
    wait_until(lambda: len(receiver.arrived) == 4)
    spans = receiver.named()
    for name in ("training", "job"):
        assert spans[name].span.status.code == 2
        assert spans[name].attributes["realm.span.end"] == "process_lost"
        assert spans[name].resource["service.name"] == "trainer"
        assert spans[name].span.end_time_unix_nano > spans[name].span.start_time_unix_nano
    training, job = spans["training"].span, spans["job"].span
    assert job.parent_span_id == training.span_id
    assert spans["checkpoint"].span.parent_span_id == job.span_id
    assert [event.name for event in job.events] == ["note", "run_ended"]


def test_a_killed_shipper_s_open_spans_are_closed_by_the_next(
    start: Start, receiver: Receiver, home: Path
) -> None:
    """The keeper starts another one, which finds them in the log; nothing comes twice."""
    process = start()
    wait_until(lambda: len(receiver.arrived) == 2)
    # Its cursor is saved once a second; before that a span may come again.
    wait_until(lambda: saved(home))
    kill_shippers(home)
    wait_until(lambda: any(each.running for each in pipeline_status(home)))
    process.kill()
    wait_until(lambda: len(receiver.arrived) == 4)
    spans = receiver.named()
    assert spans["job"].span.parent_span_id == spans["training"].span.span_id
    assert [event.name for event in spans["job"].span.events] == ["note", "run_ended"]
    with LogReader(home / "vault" / "jobs.db") as reader:
        rows = {row.event.kind: row.event for row in reader.now.after(0)}
    for name in ("training", "job"):
        span = spans[name].span
        assert span.start_time_unix_nano == rows[f"{name}_started"].time_unix_nano
        assert span.end_time_unix_nano == rows["process_lost"].time_unix_nano


def test_a_replay_makes_the_same_trace(start: Start, receiver: Receiver, home: Path) -> None:
    """`realm replay` sets the running shipper's exporter back; a span's bytes are the same."""
    process = start()
    wait_until(lambda: len(receiver.arrived) == 2)
    wait_until(lambda: saved(home))
    command = [sys.executable, "-m", "realm_telemetry", "--home", str(home), "replay"]
    done = subprocess.run(
        [*command, "--since", "1h", "--to", "otlp_traces"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: len(receiver.arrived) == 4)
    messages = [each.span.SerializeToString() for each in receiver.arrived]
    assert messages[:2] == messages[2:]
    process.kill()
    wait_until(lambda: len(receiver.arrived) == 6)
    job, training = sorted((each.span for each in receiver.arrived[4:]), key=lambda s: s.name)
    assert job.parent_span_id == training.span_id
    assert receiver.arrived[1].span.parent_span_id == job.span_id


def saved(home: Path) -> bool:
    with LogReader(home / "vault" / "jobs.db") as reader:
        [status] = pipeline_status(home)
        return reader.now.cursors(status.pipeline)["otlp_traces"] == reader.now.max_cursor()
