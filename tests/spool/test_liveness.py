"""Locks that say that a producer lives."""

import os
from pathlib import Path

import pytest

from realm_telemetry.spool.liveness import LivenessLock


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
