"""Every wait ends, also where the program's clock stands still; times stay what that clock says."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from realm_telemetry.values import clock
from realm_telemetry.values.clock import Deadline
from tests.waiting import SOON_S

FROZEN = """
import time, threading
import realm_telemetry as realm
from freezegun import freeze_time
real = time.clock_gettime
began = real(time.CLOCK_MONOTONIC)
with freeze_time("2025-01-01"):
    {configure}
    event = realm.note(message="x")
    {call}
print(event.time_unix_nano == 1735689600 * 10**9, real(time.CLOCK_MONOTONIC) - began < 10)
"""
AWAY = "exporters=['battle_log', 'realm_service'], service_url='http://127.0.0.1:9'"


@pytest.mark.processes
@pytest.mark.parametrize(
    ("configure", "call"),
    [
        (f"realm.configure(service_name='x', {AWAY})", "assert not realm.flush(1)"),
        (f"realm.configure(service_name='x', exit_wait='always', {AWAY})", "realm.shutdown(1)"),
        (
            "realm.configure(service_name='x', shipper='thread', exporters=['battle_log'])",
            "assert realm.flush(8), realm.flush_problem()\n    assert realm.shutdown(2)",
        ),
        ("realm.configure(service_name='x', shipper='none')", "assert not realm.flush(1)"),
    ],
    ids=["flush", "exit wait", "thread", "no shipper"],
)
def test_waits_end_under_a_frozen_clock(configure: str, call: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", FROZEN.format(configure=configure, call=call)],
        env=dict(os.environ, REALM_HOME=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=40,
    )
    assert run.stdout.split() == ["True", "True"], run.stderr


def test_a_deadline_comes_though_the_clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "_read_clock", lambda _: 7.0)
    began = time.perf_counter()
    deadline = Deadline(0.05)
    waits = 0
    while deadline.wait(0.01):
        waits += 1
    assert 5 <= waits <= 6
    assert 0.05 <= time.perf_counter() - began < SOON_S


def test_a_deadline_is_kept_where_waiting_is_only_part_of_the_time() -> None:
    deadline = Deadline(0.05)
    time.sleep(0.06)
    assert deadline.left_s == 0.0
    assert not deadline.wait(1.0)
