"""Locks that say that a producer lives."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from realm_telemetry.spool.control import Control
from realm_telemetry.spool.doorbell import open_status_page
from realm_telemetry.spool.liveness import LivenessLock, is_locked
from realm_telemetry.spool.segment import create_segment

PRODUCER = "0123456789abcdef"


@pytest.mark.processes
def test_a_lock_that_another_process_holds_costs_no_descriptor(tmp_path: Path) -> None:
    """Orphaned spools are tried every few seconds, for as long as a program runs."""
    lock = LivenessLock(tmp_path, "0123456789abcdef")
    child = os.fork()
    if child == 0:
        before = len(list(Path("/proc/self/fd").iterdir()))
        with pytest.raises(BlockingIOError):
            LivenessLock(tmp_path, "0123456789abcdef")
        os._exit(0 if len(list(Path("/proc/self/fd").iterdir())) == before else 1)
    assert os.waitpid(child, 0)[1] == 0
    lock.release()


FORKING = """
import os, sys
from pathlib import Path
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter
from realm_telemetry.otel.durable import DurableLogRecordProcessor
from realm_telemetry.spool.liveness import LivenessLock, is_alive, is_locked

directory, locks = Path(sys.argv[1]) / "0123456789abcdef", []
directory.mkdir()
begin = lambda: locks.append(LivenessLock(directory, directory.name))
os.register_at_fork(after_in_child=begin)
processor = DurableLogRecordProcessor("lab", InMemoryLogRecordExporter(), home=sys.argv[1])
asked, answer = os.pipe()
done, end = os.pipe()
if os.fork() == 0:
    os.close(end)
    os.write(answer, b"alive" if is_alive(directory) else b"dead")
    os.read(done, 1)
    os._exit(0)
os.close(done)
print(os.read(asked, 5).decode(), is_locked(directory / "lock"))
"""


@pytest.mark.processes
def test_a_child_keeps_the_lock_that_it_takes_while_it_is_being_forked(tmp_path: Path) -> None:
    """A handler of the program may emit there; those of ours that come later forget nothing."""
    ran = subprocess.run(
        [sys.executable, "-c", FORKING, str(tmp_path)], capture_output=True, text=True, timeout=30
    )
    assert ran.stdout.split() == ["alive", "True"], ran.stderr


@pytest.fixture
def lock(tmp_path: Path) -> Iterator[LivenessLock]:
    """A lock in a spool's directory."""
    (tmp_path / PRODUCER).mkdir()
    made = LivenessLock(tmp_path / PRODUCER, PRODUCER)
    yield made
    made.release()


def others_see_it_held(directory: Path) -> bool:
    """Whether another process finds the lock held."""
    child = os.fork()
    if child == 0:
        os._exit(0 if is_locked(directory / "lock") else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_release_closes_no_file_that_has_its_number_by_now(
    tmp_path: Path, lock: LivenessLock
) -> None:
    """A program that becomes a daemon closes what it does not know, and opens files of its own."""
    with (tmp_path / "result").open("w") as mine:
        os.dup2(mine.fileno(), lock._descriptor)
        lock.release()
        os.write(lock._descriptor, b"kept")
        os.close(lock._descriptor)
    assert (tmp_path / "result").read_text() == "kept"


def test_a_release_of_what_the_program_has_closed_does_not_raise(lock: LivenessLock) -> None:
    os.close(lock._descriptor)
    lock.release()
    lock.release()


def test_a_file_that_has_its_number_says_nothing_of_where_the_spool_is(
    tmp_path: Path, lock: LivenessLock
) -> None:
    """Though its name may be the same."""
    assert lock.directory() == tmp_path / PRODUCER
    with (tmp_path / "lock").open("w") as mine:
        os.dup2(mine.fileno(), lock._descriptor)
    assert lock.directory() is None
    os.close(lock._descriptor)


@pytest.mark.processes
def test_a_lock_that_the_program_has_closed_is_taken_again(
    tmp_path: Path, lock: LivenessLock
) -> None:
    directory = tmp_path / PRODUCER
    assert not lock.renew(directory)
    os.close(lock._descriptor)
    assert not others_see_it_held(directory)
    assert lock.renew(directory)
    assert others_see_it_held(directory)


def test_only_the_same_file_is_locked_again(tmp_path: Path, lock: LivenessLock) -> None:
    """Not that of another spool, and none after the release."""
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "lock").touch()
    os.close(lock._descriptor)
    assert not lock.renew(tmp_path / "nowhere")
    assert not lock.renew(tmp_path / "other")
    lock.release()
    assert not lock.renew(tmp_path / PRODUCER)


@pytest.mark.processes
def test_a_lock_that_another_process_has_by_now_is_left_to_it(
    tmp_path: Path, lock: LivenessLock
) -> None:
    directory = tmp_path / PRODUCER
    os.close(lock._descriptor)
    asked, answer = os.pipe()
    child = os.fork()
    if child == 0:
        LivenessLock(directory, PRODUCER)
        os.write(answer, b"x")
        signal.pause()
    try:
        assert os.read(asked, 1) == b"x"
        assert not lock.renew(directory)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    os.close(asked)
    os.close(answer)


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a map keeps a descriptor there")
def test_what_is_mapped_keeps_no_descriptor(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    kept = [
        create_segment(tmp_path, 4096).mm,
        Control(tmp_path / "control").page,
        open_status_page(tmp_path),
    ]
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    for each in kept:
        each.close()
