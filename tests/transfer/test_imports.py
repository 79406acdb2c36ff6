"""`realm import` and its library: everything once, nothing lost, and a report of rejected lines."""

import gzip
import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.records import Limits
from realm_telemetry.log.sqlite.retention import Retention
from realm_telemetry.transfer.exports import export_events
from realm_telemetry.transfer.identity import ChangedFileError
from realm_telemetry.transfer.inputs import Times
from realm_telemetry.transfer.lines import MAX_LINE_BYTES

from .conftest import EXECUTABLE, PRODUCER, RESOURCE, SECOND, Home, make_event
from .older_files import BERLIN, older_line, take, write_lines


def test_an_older_line_becomes_an_event_and_loses_nothing(home: Home, tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "events.jsonl",
        older_line(1, job_id="j1", loss=0.5),
        older_line(2, message="Said so", channel="eval", severity="warning", hero_id="dio"),
        older_line(3, channel="arena", severity=3, hero_id=7, campaign_id="c1", source="titles"),
    )
    report = take(path, zone=BERLIN)
    assert (report.taken, report.already, report.broken) == (3, 0, 0)
    first, second, third = home.events()
    assert (first.kind, first.channel, first.severity) == ("job_started", "jobs", "info")
    assert first.details == {"job_id": "j1", "loss": 0.5}
    assert first.message == "Job j1 started"
    assert (second.message, second.channel, second.severity) == ("Said so", "eval", "warning")
    assert (second.hero_id, second.details) == ("dio", {})
    assert third.details == {"channel": "arena", "severity": 3, "hero_id": 7}
    assert (third.campaign_id, third.source, third.channel) == ("c1", "titles", "jobs")
    assert [event.number for event in home.events()] == [1, 2, 3]


def test_times_with_and_without_a_zone_are_done_apart(home: Home, tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "events.jsonl",
        {"ts": "2025-07-01T12:00:00.123456", "kind": "note"},
        {"ts": "2025-12-01T12:00:00", "kind": "note"},
        {"ts": "2025-12-01T12:00:00Z", "kind": "note"},
        {"ts": "2025-12-01T12:00:00.5+0100", "kind": "note"},
        {"ts": 1764374400.25, "kind": "note"},
    )
    report = take(path, zone=BERLIN)
    assert (report.without_zone, report.with_zone, report.zone) == (2, 3, "Europe/Berlin")
    assert [event.timestamp for event in home.events()] == [
        "2025-07-01T10:00:00.123456Z",
        "2025-12-01T11:00:00.000000Z",
        "2025-12-01T12:00:00.000000Z",
        "2025-12-01T11:00:00.500000Z",
        "2025-11-29T00:00:00.250000Z",
    ]


def test_a_time_without_a_zone_is_in_this_machines_zone_by_default(
    home: Home, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "events.jsonl", {"ts": "2025-07-01T12:00:00", "kind": "note"})
    environment = home.environment() | {"TZ": "America/New_York"}
    command = [str(EXECUTABLE), "import", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "1 time without a zone, read as EST/EDT, this machine's zone" in done.stdout
    (event,) = home.events()
    assert event.timestamp == "2025-07-01T16:00:00.000000Z"


@given(st.datetimes(datetime(2000, 1, 1), datetime(2262, 1, 1)))
def test_no_time_loses_its_microseconds(moment: datetime) -> None:
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    exact = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    assert Times(UTC).read(moment.isoformat(), "ts") == exact


def test_a_second_import_adds_nothing(home: Home, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "events.jsonl", *(older_line(n) for n in range(1, 30)))
    take(path)
    copy = tmp_path / "copy.jsonl.gz"
    copy.write_bytes(gzip.compress(path.read_bytes()))
    for again in (path, copy):
        report = take(again)
        assert (report.taken, report.already) == (0, 29)
    assert len(home.events()) == 29


def test_a_file_that_has_grown_gives_its_new_lines(home: Home, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "events.jsonl", older_line(1), "{broken", older_line(2))
    with path.open("a") as file:
        file.write('{"ts": "2025-11-29T10:00:09", "ki')
    first = take(path)
    assert (first.taken, first.broken) == (2, 2)
    with path.open("a") as file:
        file.write('nd": "note"}\n' + json.dumps(older_line(10)) + "\n")
    second = take(path)
    assert (second.taken, second.already, second.broken) == (2, 2, 1)
    assert [event.number for event in home.events()] == [1, 3, 4, 5]
    assert take(path).taken == 0


def test_a_file_that_was_changed_is_refused_before_anything_is_stored_twice(
    home: Home, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "events.jsonl", older_line(1), "{broken", older_line(2))
    take(path)
    write_lines(path, older_line(1), older_line(7), older_line(2))
    with pytest.raises(ChangedFileError, match="imported before"):
        take(path)
    rotated = write_lines(path, older_line(20), older_line(21))
    assert take(rotated).taken == 2
    assert len(home.events()) == 4


def test_broken_lines_are_reported_by_number_and_kept_unchanged(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    broken = [
        b'{"ts": "2025-11-29T10:00:00", "kind"\n',
        b"\xff\xfe\n",
        b"[1, 2]\n",
        b'{"ts": "2025-11-29T10:00:00"}\n',
        b'{"ts": "yesterday", "kind": "note"}\n',
        b'{"kind": "note"}\n',
    ]
    good = json.dumps(older_line(1)).encode() + b"\n"
    path.write_bytes(good + b"".join(broken[:3]) + b"\n" + b"".join(broken[3:]) + good)
    report = take(path)
    assert (report.seen, report.taken, report.broken, report.blank) == (9, 2, 6, 1)
    assert [each.number for each in report.examples] == [2, 3, 4, 6, 7, 8]
    assert [each.reason.split(":")[0] for each in report.examples] == [
        "not JSON",
        "not JSON",
        "expected a JSON object, got an array",
        "kind is missing",
        "ts",
        "neither `ts` nor an event id",
    ]
    assert report.kept_aside is not None
    rejected = Path(report.kept_aside)
    assert rejected.read_bytes() == b"".join(broken)
    reasons = rejected.with_suffix(".reasons").read_text().splitlines()
    assert [each.split(":")[0] for each in reasons] == [f"line {n}" for n in (2, 3, 4, 6, 7, 8)]
    assert reasons[4].startswith("line 7: ts: 'yesterday' is no time")
    rejected.write_bytes(b'{"ts": "2025-11-29T10:00:00", "kind": "corrected"}\n')
    assert take(rejected).taken == 1


def test_what_python_wrote_as_nan_is_taken(home: Home, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "events.jsonl", older_line(1, loss=float("nan"), text="\ud800"))
    assert take(path).taken == 1
    (event,) = home.events()
    assert event.details["loss"] == "NaN"


def test_a_line_without_end_is_kept_whole(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    long = b"x" * (2 * MAX_LINE_BYTES + 5) + b"\n"
    good = json.dumps(older_line(1)).encode() + b"\n"
    path.write_bytes(good + long + good)
    report = take(path)
    assert (report.seen, report.taken, report.broken) == (3, 2, 1)
    assert report.examples[0].number == 2
    assert "longer than" in report.examples[0].reason
    assert report.kept_aside is not None
    assert Path(report.kept_aside).read_bytes() == long
    assert [event.number for event in home.events()] == [1, 3]


def test_an_event_over_the_limit_is_cut_and_marked(home: Home, tmp_path: Path) -> None:
    take(write_lines(tmp_path / "events.jsonl", older_line(1, text="x" * 200_000)))
    (event,) = home.events()
    assert event.details["realm.truncated"] == ["text"]


def test_the_resource_of_a_producer_of_this_home_is_not_replaced(
    home: Home, tmp_path: Path
) -> None:
    home.register()
    home.store([make_event(1)])
    output = tmp_path / "events.jsonl"
    export_events(output)
    output.write_text(output.read_text().replace("forge", "other").replace("0001", "0002"))
    assert take(output).taken == 1
    with LogReader(home.log) as reader:
        info = next(each for each in reader.now.producers() if each.producer == PRODUCER)
    assert (info.resource, info.pipeline) == (RESOURCE, "p1")


def test_a_producer_met_in_an_import_may_still_ship_for_itself(
    home: Home, elsewhere: Home, tmp_path: Path
) -> None:
    home.register()
    home.store([make_event(n) for n in (2, 4, 6)])
    output = tmp_path / "events.jsonl"
    export_events(output)
    take(output, home=elsewhere.path)
    with LogReader(elsewhere.log) as reader:
        assert PRODUCER not in {receipt.producer for receipt in reader.now.receipts()}
    elsewhere.register()
    with LogWriter(elsewhere.log) as writer, LogReader(elsewhere.log) as reader:
        result = writer.append([make_event(n) for n in range(1, 7)])
        assert (result.stored, result.duplicates) == (3, 3)
        (receipt,) = (each for each in reader.now.receipts() if each.producer == PRODUCER)
        assert receipt.stored == 6


def test_an_import_counts_as_arriving_now(home: Home, tmp_path: Path) -> None:
    take(write_lines(tmp_path / "a.jsonl", {"ts": "2019-01-01T00:00:00Z", "kind": "note"}))
    with LogWriter(home.log) as writer:
        assert Retention(writer, Limits()).step().removed == 0
    (event,) = home.events()
    assert event.late
    assert event.observed_unix_nano is not None
    assert abs(time.time_ns() - event.observed_unix_nano) < 60 * SECOND


def test_lines_of_other_software_are_taken_and_a_dry_run_says_the_same(
    home: Home, tmp_path: Path
) -> None:
    path = tmp_path / "events.jsonl"
    lines = [
        b'\xef\xbb\xbf{"ts": "2025-11-29T10:00:00", "kind": "note", "text": "cut \\ud83d"}\r\n',
        b'{"ts": "2025-11-29T10:00:01", "kind": "note", "\\ude00": NaN}\n',
        b'{"ts": "2025-11-29T10:00:02", "kind": "note", "name": "J\xf6rg\x01"}\n',
        b'{"ts": "2025-11-29T10:00:03", "kind": "note", "n": ' + b"9" * 5_000 + b"}\n",
        '{"ts": "2025-11-29T10:00:04", "kind": "note", "line": "a\u2028b"}\n'.encode(),
    ]
    path.write_bytes(b"".join(lines))
    assert (take(path, dry_run=True).taken, take(path).taken) == (5, 5)
    assert [event.details for event in home.events()] == [
        {"text": "cut \ufffd"},
        {"\ufffd": "NaN"},
        {"name": "J\ufffdrg\x01"},
        {"n": "9" * 5_000},
        {"line": "a\u2028b"},
    ]


def test_an_export_with_half_an_emoji_is_taken(home: Home, tmp_path: Path) -> None:
    shape: dict[str, Any] = {
        "id": PRODUCER + "0" * 15 + "1",
        "timestamp": "2025-11-29T00:00:00Z",
        "kind": "note",
    }
    shape |= {"details": {"text": "\ud83d"}, "resource": {"service.name": "\ud83d"}}
    path = write_lines(tmp_path / "export.jsonl", shape)
    assert (take(path, dry_run=True).taken, take(path).taken) == (1, 1)
    assert home.events()[0].details == {"text": "\ufffd"}
    assert home.resources()[PRODUCER] == {"service.name": "\ufffd"}
