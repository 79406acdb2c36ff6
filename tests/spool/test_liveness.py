"""Locks that say that a producer lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from realm_telemetry.spool.liveness import LivenessLock


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
