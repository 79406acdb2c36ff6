"""Files as the older systems wrote them, and the report of taking one."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from realm_telemetry.transfer.imports import ImportReport, import_files

OLDER_LOG = """
CREATE TABLE jobs (id TEXT PRIMARY KEY, status TEXT);
CREATE TABLE battle_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, channel TEXT NOT NULL,
    source TEXT NOT NULL, severity TEXT NOT NULL DEFAULT 'info', hero_id TEXT, campaign_id TEXT,
    message TEXT NOT NULL, details_json TEXT);
"""
OLDER_STORE = """
CREATE TABLE state (section TEXT PRIMARY KEY, data TEXT, updated_at TEXT);
CREATE TABLE events (id TEXT PRIMARY KEY, timestamp TEXT, kind TEXT, channel TEXT, severity TEXT,
    message TEXT, icon TEXT, details TEXT);
"""
_INSERT = (
    "INSERT INTO battle_log (timestamp, channel, source, severity, hero_id, message, details_json)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)


def write_lines(path: Path, *lines: str | dict[str, Any]) -> Path:
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("\n".join(texts) + "\n")
    return path


def older_line(number: int, **fields: Any) -> dict[str, Any]:
    return {"ts": f"2025-11-29T10:00:{number:02d}.000250", "kind": "job_started"} | fields


def older_log(path: Path, rows: int) -> Path:
    """Make a jobs.db with so many rows, one a second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(OLDER_LOG)
    for n in range(rows):
        add_row(path, f"2025-11-29T00:{n // 60:02d}:{n % 60:02d}Z", message=f"Job {n}")
    return path


def add_row(path: Path, timestamp: str | float | bytes, **changes: Any) -> None:
    """Append a row, as the older battle log does."""
    fields = {"channel": "jobs", "source": "event.job_started", "severity": "info"}
    fields |= {"hero_id": "dio", "message": "Job", "details_json": '{"job_id": "j1"}'} | changes
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(_INSERT, (timestamp, *fields.values()))


BERLIN = ZoneInfo("Europe/Berlin")


def take(path: Path, **options: Any) -> ImportReport:
    (report,) = import_files([path], **options)
    return report
