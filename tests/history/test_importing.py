"""`realm import` and its library: everything once, nothing lost, and told what was not taken."""

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.history.exporting import export_events
from realm_telemetry.history.identity import ChangedFileError
from realm_telemetry.history.importing import UnknownFormatError, import_files
from realm_telemetry.history.lines import MAX_LINE_BYTES
from realm_telemetry.history.older_events import Times
from realm_telemetry.history.reports import ImportReport
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.log.retention import Limits, Retention

from .conftest import EXECUTABLE, PRODUCER, RESOURCE, SECOND, Home, make_event
from .older_files import OLDER_STORE, add_row, older_line, older_log, write_lines

BERLIN = ZoneInfo("Europe/Berlin")


def take(path: Path, **options: Any) -> ImportReport:
    (report,) = import_files([path], **options)
    return report


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


def test_times_with_and_without_a_zone_are_told_apart(home: Home, tmp_path: Path) -> None:
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


def test_a_time_without_a_zone_is_this_machines_if_nothing_else_is_said(
    home: Home, tmp_path: Path
) -> None:
    path = write_lines(tmp_path / "events.jsonl", {"ts": "2025-07-01T12:00:00", "kind": "note"})
    environment = home.environment() | {"TZ": "America/New_York"}
    command = [str(EXECUTABLE), "import", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert "1 time without a zone, read as EST/EDT, this machine's zone" in told.stdout
    (event,) = home.events()
    assert event.timestamp == "2025-07-01T16:00:00.000000Z"


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)))
def test_no_time_loses_its_microseconds(moment: datetime) -> None:
    since = moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    exact = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000
    assert Times(UTC).read(moment.isoformat()) == exact


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


def test_broken_lines_are_told_by_number_and_kept_aside_as_they_are(
    home: Home, tmp_path: Path
) -> None:
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
        "a JSON object is wanted, this is list",
        "kind is missing",
        "the time 'yesterday' cannot be read",
        "neither `ts` nor an event id",
    ]
    assert report.kept_aside is not None
    aside = Path(report.kept_aside)
    assert aside.read_bytes() == b"".join(broken)
    reasons = aside.with_suffix(".reasons").read_text().splitlines()
    assert [each.split(":")[0] for each in reasons] == [f"line {n}" for n in (2, 3, 4, 6, 7, 8)]
    assert reasons[4] == "line 7: the time 'yesterday' cannot be read"
    aside.write_bytes(b'{"ts": "2025-11-29T10:00:00", "kind": "mended"}\n')
    assert take(aside).taken == 1


def test_what_python_wrote_as_nan_is_taken(home: Home, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "events.jsonl", older_line(1, loss=float("nan"), text="\ud800"))
    assert take(path).taken == 1
    (event,) = home.events()
    assert event.details["loss"] == "NaN"


def test_a_line_without_end_is_kept_aside_whole(home: Home, tmp_path: Path) -> None:
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


def test_a_dry_run_tells_the_same_and_writes_nothing(home: Home, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "events.jsonl", older_line(1), "{broken", older_line(2))
    told = take(path, dry_run=True)
    assert (told.taken, told.broken, told.kept_aside) == (2, 1, None)
    assert not home.path.exists()
    take(path)
    with path.open("a") as file:
        file.write(json.dumps(older_line(3)) + "\n")
    told = take(path, dry_run=True)
    assert (told.outcome, told.taken, told.already) == ("dry_run", 1, 2)
    assert len(home.events()) == 2


def test_an_older_battle_log_is_taken_in_utc_and_left_untouched(home: Home, tmp_path: Path) -> None:
    path = older_log(tmp_path / "old" / "jobs.db", 3)
    plain = {"details_json": None, "hero_id": None}
    add_row(path, "2025-11-29T01:00:00.000250Z", source="titles", channel="guild", **plain)
    odd = '{"message": 1, "v": NaN}'
    add_row(path, "2025-11-29T01:00:01", channel="arena", severity="loud", details_json=odd)
    add_row(path, "soon")
    add_row(path, "2025-11-29T01:00:03Z", details_json="{broken")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM battle_log WHERE id = 2")
    before = path.read_bytes()
    report = take(path, zone=BERLIN)
    assert (report.kind, report.unit, report.zone) == ("older battle log", "row", "UTC")
    assert (report.taken, report.broken, report.without_zone) == (5, 1, 1)
    assert report.examples[0].number == 6
    assert path.read_bytes() == before
    events = {event.number: event for event in home.events()}
    assert sorted(events) == [1, 3, 4, 5, 7]
    assert (events[1].kind, events[1].source, events[1].hero_id) == ("job_started", None, "dio")
    assert (events[4].kind, events[4].source, events[4].channel) == ("note", "titles", "guild")
    assert events[4].timestamp == "2025-11-29T01:00:00.000250Z"
    assert events[5].timestamp == "2025-11-29T01:00:01.000000Z"
    assert (events[5].message, events[5].channel) == ("Job", "jobs")
    further = {"channel": "arena", "severity": "loud"}
    assert events[5].details == {**further, "message": 1, "v": "NaN"}
    assert events[7].details == {"details": "{broken"}


def test_a_row_that_could_not_be_taken_is_kept_as_a_line_that_can_be_mended(
    home: Home, tmp_path: Path
) -> None:
    path = older_log(tmp_path / "old" / "jobs.db", 1)
    add_row(path, "soon", source="event.job_failed", severity="error", message="Broke")
    kept = take(path).kept_aside
    assert kept is not None
    aside = Path(kept)
    assert aside.with_suffix(".reasons").read_text() == "row 2: the time 'soon' cannot be read\n"
    aside.write_text(aside.read_text().replace("soon", "2025-11-29T02:00:00Z"))
    assert take(aside).taken == 1
    event = home.events()[-1]
    assert (event.kind, event.severity, event.message) == ("job_failed", "error", "Broke")
    assert (event.hero_id, event.details["job_id"]) == ("dio", "j1")
    assert event.timestamp == "2025-11-29T02:00:00.000000Z"


def test_an_older_battle_log_that_was_written_to_and_cleaned_gives_what_is_new(
    home: Home, tmp_path: Path
) -> None:
    path = older_log(tmp_path / "old" / "jobs.db", 30)
    assert take(path).taken == 30
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM battle_log WHERE id < 10")
    add_row(path, "2025-11-29T05:00:00Z", source="event.job_failed", severity="error")
    report = take(path)
    assert (report.taken, report.already) == (1, 21)
    assert home.events()[-1].kind == "job_failed"


def test_an_older_event_store_is_taken_in_local_time(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "realm_state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLDER_STORE)
        connection.execute(
            "INSERT INTO events VALUES ('20251129100000123456_job_started',"
            " '2025-11-29T10:00:00.123456', 'job_started', 'jobs', 'info', 'Started', 'x',"
            ' \'{"job_id": "j1"}\')'
        )
        connection.commit()
    report = take(path, zone=BERLIN)
    assert (report.taken, report.without_zone) == (1, 1)
    (event,) = home.events()
    assert event.timestamp == "2025-11-29T09:00:00.123456Z"
    assert (event.message, event.details) == ("Started", {"job_id": "j1"})
    assert take(path, zone=BERLIN).already == 1


def test_a_file_that_is_this_homes_log_needs_no_import(home: Home) -> None:
    older_log(home.log, 4)
    before = home.log.read_bytes()
    assert take(home.log).outcome == "own_log"
    result = home.run("import", str(home.log))
    assert "is this home's log. It was extended in place" in result.stdout
    assert result.returncode == 0
    assert home.log.read_bytes() == before


def test_a_file_that_our_exporter_writes_is_not_taken_for_an_older_one(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the way back its lines are events of the log, and would be there twice."""
    (home.path / "status").mkdir(parents=True)
    path = write_lines(home.path / "status" / "events.jsonl", older_line(1))
    assert take(path).taken == 1
    monkeypatch.setenv("REALM_EXPORTERS", "battle_log,jsonl")
    with pytest.raises(ConfigError, match="exporter jsonl writes"):
        take(path)
    monkeypatch.delenv("REALM_EXPORTERS")
    with LogWriter(home.log) as writer:
        writer.save_cursor("p1", "jsonl", 1)
    told = home.run("import", str(path))
    assert told.returncode == 2
    assert "Save the lines from before" in told.stderr
    assert take(write_lines(tmp_path / "before.jsonl", older_line(2))).taken == 1


def test_a_copy_of_what_was_extended_in_place_adds_nothing(home: Home, tmp_path: Path) -> None:
    """A backup from before the upgrade holds the rows that this log holds already."""
    older_log(home.log, 40)
    backup = tmp_path / "backup.db"
    backup.write_bytes(home.log.read_bytes())
    LogWriter(home.log).close()
    report = take(backup)
    assert (report.taken, report.already) == (0, 40)
    assert take(backup, dry_run=True).already == 40
    other = older_log(tmp_path / "other.db", 0)
    add_row(other, "2025-11-28T05:00:00Z")
    assert take(other).taken == 1


def test_a_log_of_ours_keeps_ids_and_resources(home: Home, elsewhere: Home) -> None:
    elsewhere.register()
    elsewhere.store([make_event(n, run_id="r1") for n in range(1, 1500)])
    report = take(elsewhere.log)
    assert (report.kind, report.taken) == ("log of realm_telemetry", 1499)
    assert [event.id for event in home.events()] == [event.id for event in elsewhere.events()]
    assert home.resources()[PRODUCER] == RESOURCE
    assert take(elsewhere.log).already == 1499


def test_what_a_producer_said_here_is_not_replaced(home: Home, tmp_path: Path) -> None:
    home.register()
    home.store([make_event(1)])
    output = tmp_path / "events.jsonl"
    export_events(output)
    output.write_text(output.read_text().replace("forge", "other").replace("0001", "0002"))
    assert take(output).taken == 1
    with LogReader(home.log) as reader:
        info = next(each for each in reader.producers() if each.producer == PRODUCER)
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
        assert PRODUCER not in {receipt.producer for receipt in reader.receipts()}
    elsewhere.register()
    with LogWriter(elsewhere.log) as writer, LogReader(elsewhere.log) as reader:
        result = writer.append([make_event(n) for n in range(1, 7)])
        assert (result.stored, result.duplicates) == (3, 3)
        (receipt,) = (each for each in reader.receipts() if each.producer == PRODUCER)
        assert receipt.stored == 6


def test_an_import_counts_as_arriving_now(home: Home, tmp_path: Path) -> None:
    take(write_lines(tmp_path / "a.jsonl", {"ts": "2019-01-01T00:00:00Z", "kind": "note"}))
    with LogWriter(home.log) as writer:
        assert Retention(writer, Limits()).step().removed == 0
    (event,) = home.events()
    assert event.late
    assert event.observed_unix_nano is not None
    assert abs(time.time_ns() - event.observed_unix_nano) < 60 * SECOND


def test_an_import_may_be_cut_off_and_goes_on(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("w") as file:
        for n in range(40_000):
            file.write(f'{{"ts": "2025-11-29T10:00:00.{n:06d}", "kind": "note", "n": {n}}}\n')
    process = subprocess.Popen(
        [str(EXECUTABLE), "import", str(path)],
        env=home.environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    wait_for(lambda: stored(home) > 0, process)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=20)[1]
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert "Traceback" not in said
    first = stored(home)
    assert 0 < first < 40_000
    report = take(path)
    assert (report.taken, report.already) == (40_000 - first, first)
    with LogReader(home.log) as reader:
        (receipt,) = reader.receipts()
    assert receipt.complete


def stored(home: Home) -> int:
    """How many rows there are; none while the log is being made."""
    try:
        with LogReader(home.log) as reader:
            return reader.max_cursor()
    except (LogError, sqlite3.Error, TypeError):
        return 0


def wait_for(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 30
    while not done():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.005)


def test_what_is_no_import_is_named(home: Home, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.db"
    with closing(sqlite3.connect(foreign)) as connection:
        connection.execute("CREATE TABLE t (x)")
    with pytest.raises(UnknownFormatError, match="neither a table battle_log"):
        take(foreign)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UnknownFormatError, match="a pipe or a device"):
        take(pipe)
    wrong = home.run("import", str(foreign), "--zone", "Mars/Olympus")
    assert wrong.returncode == 2
    assert "no time zone 'Mars/Olympus'" in wrong.stderr
    assert not home.path.exists()


def test_the_command_reports_for_people_and_programs(home: Home, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "events.jsonl", older_line(1), "{broken\x1b[2J")
    result = home.run("import", str(path), "--zone", "UTC")
    assert result.returncode == 1
    assert "1 event taken, 0 there already" in result.stdout
    assert "line 2: not JSON" in result.stdout
    assert "1 time without a zone, read as UTC" in result.stdout
    assert "\x1b" not in result.stdout
    (report,) = json.loads(home.run("import", str(path), "--json").stdout)
    assert (report["taken"], report["already"], report["broken"]) == (0, 1, 1)
    assert report["examples"][0]["number"] == 2


def test_a_file_without_events_is_no_error(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    for text, blank in (("\n\n", 2), ("", 0)):
        path.write_text(text)
        report = take(path)
        assert (report.seen, report.taken, report.blank, report.first) == (blank, 0, blank, None)
