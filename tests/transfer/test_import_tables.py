"""Tables become history: of the older systems, and of other logs of ours."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from realm_telemetry.errors import LogError
from realm_telemetry.log import LogWriter
from realm_telemetry.transfer.inputs import UnknownFormatError

from .conftest import PRODUCER, RESOURCE, Home, make_event
from .older_files import BERLIN, OLDER_STORE, add_row, older_log, take


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


def test_a_rejected_row_is_kept_as_a_line_that_can_be_corrected(home: Home, tmp_path: Path) -> None:
    path = older_log(tmp_path / "old" / "jobs.db", 1)
    add_row(path, "soon", source="event.job_failed", severity="error", message="Broke")
    kept = take(path).kept_aside
    assert kept is not None
    rejected = Path(kept)
    reasons = rejected.with_suffix(".reasons").read_text()
    assert reasons.startswith("row 2: timestamp: 'soon' is no time from 2000 to 2262;")
    rejected.write_text(rejected.read_text().replace("soon", "2025-11-29T02:00:00Z"))
    assert take(rejected).taken == 1
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


def test_rows_of_other_software_are_taken_or_named_each_for_itself(
    home: Home, tmp_path: Path
) -> None:
    """Text that is not UTF-8, blobs, numbers for times, and a time that is none."""
    path = older_log(tmp_path / "old" / "jobs.db", 1)
    add_row(path, "2025-11-29T10:00:00Z", message=b"blob \xff")
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE battle_log SET message = CAST(x'4aff' AS TEXT) WHERE id = 1")
    for moment in (1764410400123, "1764410400.5", "2262-12-01T00:00:00Z", b"2025"):
        add_row(path, moment, details_json=b'{"loss": NaN}')
    report = take(path)
    assert (report.taken, [each.number for each in report.examples]) == (4, [5, 6])
    events = home.events()
    assert [event.message for event in events] == ["J\ufffd", "blob \ufffd", "Job", "Job"]
    assert events[2].timestamp == "2025-11-29T10:00:00.123000Z"
    assert events[3].timestamp == "2025-11-29T10:00:00.500000Z"
    assert events[3].details == {"loss": "NaN"}


def test_columns_that_a_table_has_beside_the_older_ones_are_details(
    home: Home, tmp_path: Path
) -> None:
    path = older_log(tmp_path / "old" / "jobs.db", 2)
    first = take(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("ALTER TABLE battle_log ADD COLUMN host TEXT")
        connection.execute('ALTER TABLE battle_log ADD COLUMN "job""id"')
        connection.execute("ALTER TABLE battle_log DROP COLUMN campaign_id")
    add_row(path, "2025-11-29T10:00:00Z", details_json='{"job\\"id": 1, "a": 1}')
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("""UPDATE battle_log SET host = 'forge', "job""id" = 7 WHERE id = 3""")
    assert (first.taken, take(path).already) == (2, 2)
    assert home.events()[2].details == {'job"id': 7, "a": 1, "host": "forge", 'details.job"id': 1}


def made(path: Path, *statements: str) -> Path:
    """A file that other software made."""
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


COLUMNS = "timestamp TEXT, channel TEXT, source TEXT, severity TEXT, hero_id, campaign_id"
VALUES = "'2025-11-29T01:00:00Z', 'jobs', 'event.job_failed', 'error', NULL, NULL"


@pytest.mark.parametrize("where", ["", "WHERE n < 0"], ids=["rows for ever", "no row for ever"])
def test_a_view_that_never_ends_is_not_asked(tmp_path: Path, where: str) -> None:
    """A view runs what the author of the file wrote; only tables are read."""
    path = made(
        tmp_path / "view.db",
        "CREATE VIEW battle_log AS WITH RECURSIVE x(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM x)"
        f" SELECT n AS id, '2025-11-29T01:00:00Z' AS timestamp, 'm' AS message FROM x {where}",
        "CREATE TABLE realm_meta (key, value)",
    )
    with pytest.raises(UnknownFormatError, match="neither a table battle_log"):
        take(path)


def test_ids_of_any_type_are_no_numbers_of_rows(home: Home, tmp_path: Path) -> None:
    path = made(
        tmp_path / "ids.db",
        f"CREATE TABLE battle_log (id, {COLUMNS}, message, details_json)",
        *(
            f"INSERT INTO battle_log VALUES ({id_}, {VALUES}, 'm', NULL)"
            for id_ in ("'x'", "NULL", "9e99", "7", "7", "x'00'")
        ),
    )
    assert take(path).taken == 6
    assert sorted(event.number for event in home.events()) == [1, 2, 3, 4, 5, 6]


def test_generated_columns_are_read_and_too_much_of_one_is_an_error(
    home: Home, tmp_path: Path
) -> None:
    columns = f"id INTEGER PRIMARY KEY, {COLUMNS}, details_json"
    message = "message TEXT GENERATED ALWAYS AS ({}) VIRTUAL"
    insert = f"INSERT INTO battle_log VALUES (1, {VALUES}, NULL)"
    create = f"CREATE TABLE battle_log ({columns}, {message})"
    take(made(tmp_path / "short.db", create.format("source || '!'"), insert))
    assert [event.message for event in home.events()] == ["event.job_failed!"]
    path = made(tmp_path / "endless.db", create.format("zeroblob(300000000)"), insert)
    with pytest.raises(LogError, match="too big"):
        take(path)
