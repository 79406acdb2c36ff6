"""What is exported is imported without loss, and a million of it costs no memory."""

import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.log import Filters, LogReader
from realm_telemetry.transfer.exports import export_events
from realm_telemetry.transfer.imports import import_files

from .conftest import EXECUTABLE, Home
from .older_files import add_row, older_log

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
EVENTS = st.builds(
    Event,
    kind=st.text(st.characters(codec="utf-8"), min_size=1, max_size=12),
    channel=st.sampled_from(CHANNELS),
    severity=st.sampled_from(SEVERITIES),
    message=TEXT,
    details=st.dictionaries(TEXT.filter(bool), JSON, max_size=4),
    time_unix_nano=st.integers(-(2**63), 2**63 - 1),
    producer=st.sampled_from(["a1" * 8, "b2" * 8]),
    number=st.integers(1, 2**64 - 1),
    hero_id=st.none() | TEXT,
    campaign_id=st.none() | TEXT,
    run_id=st.none() | TEXT,
    source=st.none() | TEXT.filter(bool),
    trace_id=st.none() | st.just("ab" * 16),
    span_id=st.none() | st.just("cd" * 8),
    trace_flags=st.integers(0, 255),
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=settings().max_examples // 3,
    deadline=None,
)
@given(
    events=st.lists(EVENTS, max_size=8, unique_by=lambda event: event.id),
    resource=st.dictionaries(TEXT, JSON, min_size=1, max_size=3),
    name=st.sampled_from(["events.jsonl", "events.jsonl.gz"]),
)
def test_an_export_is_imported_without_loss(
    tmp_path_factory: pytest.TempPathFactory,
    events: list[Event],
    resource: dict[str, Any],
    name: str,
) -> None:
    """Everything but the arrival, which is that of the import."""
    root = tmp_path_factory.mktemp("homes")
    here, there = Home(root / "here"), Home(root / "there")
    here.register("a1" * 8, resource)
    here.store(events)
    export_events(root / name, home=here.path)
    (report,) = import_files([root / name], home=there.path)
    assert (report.taken, report.broken) == (len(events), 0)
    assert without_arrival(there.events()) == without_arrival(here.events())
    if any(event.producer == "a1" * 8 for event in events):
        assert there.resources()["a1" * 8] == here.resources()["a1" * 8]


def without_arrival(events: list[Event]) -> list[Event]:
    return [replace(event, observed_unix_nano=None) for event in events]


def test_a_row_with_a_word_of_its_own_for_a_channel_comes_back(
    home: Home, elsewhere: Home, tmp_path: Path
) -> None:
    older_log(home.log, 0)
    add_row(home.log, "2025-11-29T05:00:00Z", channel="arena", source="event.fight")
    export_events(tmp_path / "events.jsonl")
    (report,) = import_files([tmp_path / "events.jsonl"], home=elsewhere.path)
    assert report.taken == 1
    (event,) = elsewhere.events()
    assert (event.kind, event.details) == ("fight", {"channel": "arena", "job_id": "j1"})


@pytest.mark.long
def test_a_million_lines_cost_no_memory(home: Home, tmp_path: Path) -> None:
    """Import, and export again, each in a process of its own below 100 MiB."""
    path, back = tmp_path / "events.jsonl", tmp_path / "back.jsonl"
    with path.open("w") as file:
        for n in range(1_000_000):
            stamp = f"2025-11-29T{n // 3600 % 24:02d}:{n // 60 % 60:02d}:{n % 60:02d}.{n:06d}"
            file.write(f'{{"ts": "{stamp[:26]}", "kind": "training_step", "step": {n}}}\n')
    for command in (["import", str(path)], ["export", "--output", str(back)]):
        assert peak_mib(home, command) < 100
    with LogReader(home.log) as reader:
        assert reader.now.page(Filters(limit=1)).total == 1_000_000
    with back.open("rb") as lines:
        assert sum(1 for _ in lines) == 1_000_000


def peak_mib(home: Home, command: list[str]) -> float:
    """Run a command and return the most memory that it held.

    Asked of the kernel while it runs: rusage would count this process, from which it was forked.
    """
    process = subprocess.Popen(
        [str(EXECUTABLE), *command],
        env=home.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    peak_kib = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        held = re.search(r"VmHWM:\s+(\d+)", status.read_text())
        peak_kib = int(held[1]) if held else peak_kib  # a process at its end holds none
        time.sleep(0.02)
    assert process.returncode == 0
    assert peak_kib
    return peak_kib / 1024
