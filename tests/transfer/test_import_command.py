"""`realm import` as a whole: dry runs, refusals, and an interruption."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from realm_telemetry.errors import ConfigError, LogError
from realm_telemetry.log import LogReader, LogWriter
from realm_telemetry.transfer.inputs import UnknownFormatError
from tests.waiting import wait_until

from .conftest import EXECUTABLE, Home
from .older_files import older_line, take, write_lines


def test_a_dry_run_tells_the_same_and_writes_nothing(home: Home, tmp_path: Path) -> None:
    path = write_lines(tmp_path / "events.jsonl", older_line(1), "{broken", older_line(2))
    report = take(path, dry_run=True)
    assert (report.taken, report.broken, report.kept_aside) == (2, 1, None)
    assert not home.path.exists()
    take(path)
    with path.open("a") as file:
        file.write(json.dumps(older_line(3)) + "\n")
    report = take(path, dry_run=True)
    assert (report.outcome, report.taken, report.already) == ("dry_run", 1, 2)
    assert len(home.events()) == 2


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
    report = home.run("import", str(path))
    assert report.returncode == 2
    assert "Save the lines from before" in report.stderr
    assert take(write_lines(tmp_path / "before.jsonl", older_line(2))).taken == 1


def test_an_import_may_be_cut_off_and_goes_on(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    with path.open("w") as file:
        for n in range(40_000):
            file.write(f'{{"ts": "2025-11-29T10:00:00.{n:06d}", "kind": "note", "n": {n}}}\n')
    printed = ""

    def is_cut_off() -> bool:
        """A machine that stands still at the wrong moment lets it end before."""
        nonlocal printed
        shutil.rmtree(home.path, ignore_errors=True)
        process = subprocess.Popen(
            [str(EXECUTABLE), "import", str(path)],
            env=home.environment(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        wait_until(lambda: stored(home) > 0 or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        printed = process.communicate(timeout=60)[1]
        assert process.returncode in (0, 130), printed
        return process.returncode == 130

    wait_until(is_cut_off)
    assert "the same command continues" in printed
    assert "Traceback" not in printed
    first = stored(home)
    assert 0 < first < 40_000
    report = take(path)
    assert (report.taken, report.already) == (40_000 - first, first)
    with LogReader(home.log) as reader:
        (receipt,) = reader.now.receipts()
    assert receipt.complete


def stored(home: Home) -> int:
    """How many rows there are; none while the log is being made."""
    try:
        with LogReader(home.log) as reader:
            return reader.now.max_cursor()
    except (LogError, sqlite3.Error, TypeError):
        return 0


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
    assert "1 event imported, 0 there already" in result.stdout
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
