"""Events carry the span that was active where they were emitted, all the way into the log."""

import subprocess
import sys
from pathlib import Path

from realm_telemetry.log.sqlite.reader import LogReader
from realm_telemetry.shipper.overview import pipeline_status

from .conftest import Home, kill_shipper

SCRIPT = Path(__file__).parent / "spanning.py"


def test_tasks_threads_and_signal_handlers_keep_their_traces_apart(home: Home) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(home.path), "1.5"],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    ids = done.stdout.split()
    with LogReader(home.log_path) as reader:
        events = [row.event for row in reader.now.after(0, 10**6) if row.event.kind == "note"]
    for status in pipeline_status(home.path):
        kill_shipper(Path(status.directory))
    assert sorted(event.id for event in events) == sorted(ids)
    for event in events:
        assert (event.trace_id, event.span_id) == (event.details["trace"], event.details["span"])
        assert event.trace_flags == event.details["flags"]
    places = {event.message.split()[0] for event in events}
    assert places == {"task", "thread", "signal"}
    spans = {event.span_id for event in events}
    assert None in spans
    assert len(spans) > 500
