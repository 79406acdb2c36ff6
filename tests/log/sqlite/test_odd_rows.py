"""Rows that other software wrote: every one is read, and none stops its neighbours."""

import json
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest

from realm_telemetry.event import SEVERITIES
from realm_telemetry.log.engine import Reader, Writer
from realm_telemetry.log.event_rows import INSERT_COLUMNS
from realm_telemetry.log.filters import Filters, parse_filters
from realm_telemetry.log.records import Limits
from realm_telemetry.log.rows import UNREADABLE
from realm_telemetry.log.sqlite.log import SqliteLog
from realm_telemetry.log.sqlite.odd_rows import MAX_CELL_CHARS
from realm_telemetry.log.sqlite.retention import Retention
from realm_telemetry.log.sqlite.writer import own_writer

from .conftest import NOW, OLDER_INSERT, make_event, older_row

OWN = "bb" * 8
NOT_UTF8 = b"\xffabc"


def nested(depth: int) -> str:
    """An object in objects, as JSON."""
    return '{"a":' * depth + "1" + "}" * depth


def insert(path: Path, number: int = 1, **columns: Any) -> int:
    """Insert a row as other software could; bytes in a tuple are stored as text. Its row id."""
    row = {
        "event_id": bytes.fromhex(OWN) + number.to_bytes(8, "big"),
        "time_unix_nano": NOW,
        "observed_unix_nano": NOW,
        "timestamp": "2025-11-29T00:00:00.000000Z",
        "kind": "note",
        "channel": "system",
        "severity": "info",
        "source": "event.note",
        "producer": OWN,
        "message": "Odd",
        "details_json": '{"step": 1}',
    } | columns
    marks = ", ".join(
        "CAST(? AS TEXT)" if isinstance(value, tuple) else "?" for value in row.values()
    )
    values = [value[0] if isinstance(value, tuple) else value for value in row.values()]
    connection = sqlite3.connect(path)
    with connection:
        query = f"INSERT INTO battle_log ({', '.join(row)}) VALUES ({marks})"
        cursor = connection.execute(query, values).lastrowid
        # What a trigger does for rows of older code.
        connection.execute(
            "INSERT OR IGNORE INTO realm_totals (channel, severity, kind)"
            " SELECT channel, severity, coalesce(kind, '') FROM battle_log WHERE id = ?",
            (cursor,),
        )
        connection.execute("UPDATE realm_totals SET happened = 10")
    connection.close()
    assert cursor is not None
    return cursor


COLUMNS = tuple(name for name in INSERT_COLUMNS if name != "origin_observed_unix_nano")
ODD = {
    "text that is not UTF-8": (
        dict.fromkeys(("kind", "channel", "message", "details_json"), (NOT_UTF8,)),
        "kind is not UTF-8",
    ),
    "names that are not UTF-8": (
        dict.fromkeys(("hero_id", "campaign_id", "run_id"), (NOT_UTF8,)),
        "hero_id is not UTF-8",
    ),
    "a BLOB as kind": ({"kind": b"\x00\xff"}, "kind is a BLOB"),
    "a BLOB everywhere": (dict.fromkeys(COLUMNS, b"\x00\xff"), "channel is a BLOB"),
    "no kind": ({"kind": None}, "kind is missing"),
    "an empty kind": ({"kind": ""}, "kind is empty"),
    "no producer": ({"producer": None}, "producer is not that of event_id"),
    "a short event id": ({"event_id": b"short"}, "event_id has not 16 bytes"),
    "a long event id": ({"event_id": b"x" * 40}, "event_id has not 16 bytes"),
    "text as event id": ({"event_id": "text"}, "event_id has not 16 bytes"),
    "a REAL time": ({"time_unix_nano": NOW + 0.5 - NOW % 2**11}, ""),
    "a time with a fraction": ({"time_unix_nano": 12.5}, "time_unix_nano is no whole number"),
    "a time beyond 64 bits": ({"time_unix_nano": 1e300}, "time_unix_nano is no whole number"),
    "an infinite time": ({"time_unix_nano": float("inf")}, "time_unix_nano is no time"),
    "text as time": ({"time_unix_nano": "yesterday"}, "time_unix_nano is no time"),
    "no time": ({"time_unix_nano": None}, "time_unix_nano is missing"),
    "no arrival": ({"observed_unix_nano": None}, "observed_unix_nano is missing"),
    "a REAL first arrival": (
        {"origin_observed_unix_nano": 1.5},
        "origin_observed_unix_nano is no whole number",
    ),
    "flags below 0": ({"trace_flags": -1}, "trace_flags is no number of 32 bits"),
    "a trace that is none": ({"trace_id": "zz" * 16}, "trace_id has not 32 hex digits"),
    "a rank below 0": ({"rank": -1}, "rank is no rank"),
    "a short span": ({"span_id": "ab"}, "span_id has not 16 hex digits"),
    "a huge message": ({"message": "x" * (MAX_CELL_CHARS + 1)}, ""),
    "huge details": (
        {"details_json": json.dumps({"a": "x" * MAX_CELL_CHARS})},
        "details_json has 1,048,585 characters",
    ),
    "details nested too deep for Python": (
        {"details_json": nested(50_000)},
        "details_json is nested too deep",
    ),
    "details nested too deep for an event": ({"details_json": nested(900)}, ""),
    "details that are a BLOB": ({"details_json": b"\x00\xff"}, "details_json is a BLOB"),
    "details that are plain text": ({"details_json": "plain"}, ""),
    "details that end early": ({"details_json": '{"a": 0.'}, ""),
    "details that are a list": ({"details_json": "[1, 2]"}, ""),
    "details with NaN": ({"details_json": '{"loss": NaN}'}, ""),
    "details that are NaN": ({"details_json": "NaN"}, ""),
    "empty details": ({"details_json": ""}, ""),
    "half an emoji": ({"details_json": '{"a": "\\ud83d"}'}, ""),
    "an integer of 30 digits": ({"details_json": '{"a": %s}' % ("9" * 30)}, ""),
    "words of no channel and severity": ({"channel": "weird", "severity": "fatal"}, ""),
    "a time before 1970": ({"time_unix_nano": -(2**63)}, ""),
    "the last time there is": ({"time_unix_nano": 2**63 - 1}, ""),
}


@pytest.mark.parametrize(("columns", "reason"), ODD.values(), ids=ODD)
def test_an_odd_row_stops_no_reading(
    columns: dict[str, Any], reason: str, path: Path, writer: Writer, reader: Reader
) -> None:
    writer.append([make_event(1)])
    cursor = insert(path, **columns)
    writer.append([make_event(2)])
    rows = reader.now.after(0)
    assert [row.cursor for row in rows] == [1, cursor, cursor + 1]
    event = rows[1].event
    assert reason in event.details.get(UNREADABLE, "")
    assert bool(reason) == (UNREADABLE in event.details)
    _is_sound(event)
    for name in (cursor, event.id):
        found = reader.now.get(name)
        assert found is not None
        assert found.event == event
    assert _every_query_answers(reader, cursor)
    writer.append([event])  # what was read can be stored again: a replay, another log


def _is_sound(event: Any) -> None:
    """Every exporter, frame and store can take the event."""
    assert msgspec.json.decode(msgspec.json.encode(event), type=type(event)) == event
    msgspec.msgpack.encode(event)
    assert event.kind
    assert event.channel
    assert event.severity in SEVERITIES
    assert len(event.id) == 32
    assert -(2**63) <= event.time_unix_nano < 2**63
    assert 0 <= event.trace_flags < 2**32
    assert len(msgspec.json.encode(event)) < 200_000


def _every_query_answers(reader: Reader, cursor: int) -> bool:
    for params in ({}, {"channel": "system"}, {"has": "step:1"}, {"not": "a.b:1"}, {"q": "odd"}):
        filters = parse_filters(params)
        now = reader.now
        now.page(filters)
        now.histogram(filters)
        now.series(filters, ["loss", "a"])
        list(reader.export(filters))
        list(reader.arrivals(filters))
    now.summary(("channel", "kind", "severity", "run", "hour"))
    now.channels(NOW - 1)
    now.happened()
    now.latest()
    now.occurring_kinds()
    return any(row.cursor == cursor for row in now.context(cursor))


def test_a_kind_that_is_not_utf8_is_found_by_its_channel(
    path: Path, writer: Writer, reader: Reader
) -> None:
    """The index by kind is asked with the bytes that the row has."""
    for number, kind in enumerate(((NOT_UTF8,), b"\x00\xff"), 1):
        insert(path, number, kind=kind)
    found = reader.now.page(Filters(channels=("system",))).rows
    assert {row.event.kind for row in found} == {"\ufffdabc", "\x00\ufffd"}


def test_many_odd_rows_are_all_read(path: Path, writer: Writer, reader: Reader) -> None:
    """A query goes on at the row that could not be decoded, however many there are."""
    for number in range(1, 21):
        message = (NOT_UTF8,) if number % 3 else f"Fine {number}"
        insert(path, number, message=message)
    page = reader.now.page(Filters())
    assert [row.cursor for row in page.rows] == list(range(20, 0, -1))
    assert [row.cursor for row in reader.now.after(0, 7)] == list(range(1, 8))


def test_huge_cells_are_read_one_at_a_time(path: Path, writer: Writer, reader: Reader) -> None:
    """A page of them holds their beginnings."""
    for number in range(1, 6):
        insert(path, number, message="x" * 4_000_000)
    rows = reader.now.page(Filters()).rows
    assert [len(row.event.message) for row in rows] == [65_537] * 5
    assert all(row.event.details["realm.truncated"] == ["(message)"] for row in rows)


@pytest.mark.parametrize(("length", "is_cut"), [(-1, False), (0, False), (1, True)])
def test_a_message_is_read_whole_up_to_its_limit(
    length: int, is_cut: bool, path: Path, writer: Writer, reader: Reader
) -> None:
    cursor = insert(path, message="x" * (MAX_CELL_CHARS + length))
    row = reader.now.get(cursor)
    assert row is not None
    assert (len(row.event.message) < MAX_CELL_CHARS - 1) is is_cut


OLDER = {
    '{"loss": NaN, "step": 7}': {"loss": "NaN", "step": 7},
    "plain text": {"details": "plain text"},
    "[1, Infinity]": {"details": [1, "Infinity"]},
    '{"step": 1}': {"step": 1},
    nested(2): {"a": {"a": 1}},
}


def test_odd_rows_of_an_older_table_are_mended_when_filled_in(
    path: Path, older: sqlite3.Connection
) -> None:
    """So that all software that reads the file can read them; others stay as they are."""
    for details in OLDER:
        older.execute(OLDER_INSERT, older_row(details_json=details))
    older.execute(OLDER_INSERT, older_row(message=b"\x00\xff", details_json=None))
    older.execute("UPDATE battle_log SET hero_id = CAST(x'ff61' AS TEXT) WHERE id = 1")
    older.commit()
    log = SqliteLog(
        path, home=None, search_path=None, state_path=None, redact=(), clock_ns=lambda: NOW
    )
    with log.writer() as writer, log.reader() as reader:
        before = [row.event.details for row in reader.now.after(0)]
        while writer.backfill_step(2):
            pass
        after = [row.event.details for row in reader.now.after(0)]
        found = reader.now.page(parse_filters({"has": "step:7"})).rows
        assert [row.cursor for row in found] == [1]
    assert after == [*OLDER.values(), {}]
    assert before[1:] == [*OLDER.values(), {UNREADABLE: "message is a BLOB"}][1:]
    assert before[0][UNREADABLE] == "hero_id is not UTF-8"
    query = "SELECT details_json, typeof(message), hero_id FROM battle_log ORDER BY id"
    stored = older.execute(query)
    texts, types, heroes = zip(*stored.fetchall(), strict=True)
    assert [json.loads(text) for text in texts[:-1]] == [*OLDER.values()]
    assert texts[3:5] == tuple(OLDER)[3:5]
    assert set(types) == {"text"}
    assert heroes[0] == "\ufffda"


def test_rows_whose_time_is_no_number_of_64_bits_are_found_once_mended(
    path: Path, writer: Writer, reader: Reader
) -> None:
    """They get the nearest time, or their arrival; others keep theirs."""
    writer.append([make_event(1)])
    times = ("yesterday", b"\x00", 1e300, -1e300, 5.5, float("inf"))
    for number, moment in enumerate(times, 1):
        insert(path, number, time_unix_nano=moment)
    assert writer.backfill_step(100) == 5
    assert writer.backfill_step(100) == 0
    found = reader.now.page(Filters()).rows
    assert sorted(row.cursor for row in found) == [1, 2, 3, 4, 5, 6, 7]
    assert {row.cursor: row.event.time_unix_nano for row in found if row.cursor in (2, 5)} == {
        2: NOW,
        5: -(2**63),
    }


def test_a_word_that_is_no_severity_is_kept_among_the_details(
    path: Path, writer: Writer, reader: Reader
) -> None:
    """Older code could write any; every table by severity would lack it."""
    cursor = insert(path, kind="job_failed", channel="jobs", severity="fatal")
    row = reader.now.get(cursor)
    assert row is not None
    assert (row.event.channel, row.event.severity) == ("jobs", "error")
    assert row.event.details == {"step": 1, "given_severity": "fatal"}


def test_rows_without_a_kind_or_a_time_are_trimmed_with_their_neighbours(
    path: Path, writer: Writer, reader: Reader
) -> None:
    """What counts the rows that are gone has neither."""
    writer.append([make_event(1)])
    insert(path, 1, kind=None)
    insert(path, 2, time_unix_nano=None)
    insert(path, 3, observed_unix_nano="never")
    writer.append([make_event(2)])
    later = NOW + 10**18
    retention = Retention(own_writer(writer), Limits(max_age_ns=1), clock_ns=lambda: later)
    assert retention.step().removed == 5
    assert reader.now.after(0) == []
