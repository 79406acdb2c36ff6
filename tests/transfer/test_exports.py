"""`realm export` and its library: whole events, whole files."""

import csv
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realm_telemetry.config import load_settings
from realm_telemetry.errors import LogError
from realm_telemetry.log import Filters
from realm_telemetry.service import RealmServer, ServiceSettings
from realm_telemetry.transfer.exports import export_events, opened_output, replaced, write_events
from realm_telemetry.transfer.formats import (
    CSV_COLUMNS,
    TEXT_FORMATS,
    Exported,
    format_of,
    make_writer,
)
from realm_telemetry.transfer.source import LogInput, Step, open_log, read_line
from tests.waiting import wait_until

from .conftest import EXECUTABLE, NOW, PRODUCER, RESOURCE, SECOND, Home, make_event

OLDER_TABLE = """
CREATE TABLE battle_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT, timestamp TEXT NOT NULL, channel TEXT NOT NULL,
    source TEXT NOT NULL, severity TEXT NOT NULL DEFAULT 'info', hero_id TEXT, campaign_id TEXT,
    message TEXT NOT NULL, details_json TEXT)"""


def shapes(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_export_has_the_whole_event_with_resource_in_order_of_arrival(
    home: Home, tmp_path: Path
) -> None:
    home.register()
    late = make_event(3, time_unix_nano=NOW - SECOND, hero_id="dio", trace_id="ab" * 16)
    home.store([make_event(1), make_event(2), late])
    output = tmp_path / "events.jsonl"
    report = export_events(output)
    assert (report.events, report.format) == (3, "jsonl")
    rows = [read_line(line) for line in output.read_bytes().splitlines()]
    assert [row.event for row in rows] == home.events()
    assert [row.cursor for row in rows] == [1, 2, 3]
    assert rows[0].resource == RESOURCE


def test_every_common_filter_holds(home: Home, tmp_path: Path) -> None:
    home.store(
        [
            make_event(1, run_id="r1"),
            make_event(2, severity="error", message="Out of memory"),
            make_event(3, channel="eval", details={"skill": "sums"}),
        ]
    )
    output = tmp_path / "out.jsonl"
    for filters, numbers in (
        ({"run": "r1"}, [1]),
        ({"severity": "error,warning"}, [2]),
        ({"q": "memory"}, [2]),
        ({"has": ["skill:sums"]}, [3]),
        ({"since": "2025-11-29T00:00:02Z", "until": "2025-11-29T00:00:03Z"}, [2]),
        ({"channel": "jobs", "not": ["step:1"]}, [2]),
    ):
        export_events(output, **filters)
        assert [shape["number"] for shape in shapes(output)] == numbers, filters


def test_csv_keeps_details_as_json_and_runs_no_formula(home: Home, tmp_path: Path) -> None:
    home.register()
    home.store([make_event(1, message="=1+1", details={"path": "a,b\n"})])
    output = tmp_path / "events.csv"
    export_events(output)
    (row,) = csv.DictReader(io.StringIO(output.read_text(), newline=""))
    assert tuple(row) == CSV_COLUMNS
    assert row["message"] == "'=1+1"
    assert json.loads(row["details"]) == {"path": "a,b\n"}
    assert json.loads(row["resource"]) == RESOURCE


RUN = [
    "=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\x00=1", " =1", "  +1+1",
    "\u3000=1",
    "\xa0=1", "\ufeff=1", "\u200b=1", "\u202e=1", '"=1', "'=1", "''=1", '"" =1', ",=1", ";=1",
    "|=1",
    "\x7f=1", "\x85=1", "\xad=1", "\u034f=1", "\u115f=1", "\u180e=1", "\u2800=1", "\u3164=1",
    "\ufe0f=1", "\ufff9=1", "\U000e0001=1", "\u207a1", "\u208b1",
    "\uff1d1+1", "\uff0b1", "\uff0d1", "\uff20SUM(A1)", "\u22121+1", "-", "=", "-0.5+1", "- 0.5",
    "-inf",
    "-0.5\n", " -0.5", "-1-", "--1", "+-1", "-1e", "-0x10", "-\u0661", "\ttext", "\rtext", "\ntext",
    "\x00text", "'\ttext", "-2+3+cmd|' /C calc'!A0", "@", "+", "'-0.5",
]  # fmt: skip
KEPT = [
    "", "text", "a=1", "a\n=1", "-0.5", "+0.5", "-1", "-1.", "-.5", "-1e-9", "+1E+9", "0", "1-1",
    "'text",
    " text", '"quoted"', "{\"a\": \"=1\"}", "~/x", "a;=1", "日本",
]  # fmt: skip


def exported_cells(text: str) -> dict[str, str]:
    encode = TEXT_FORMATS["csv"].encode
    made = encode([Exported(make_event(message=text, hero_id=text), 1, {})]).decode()
    (row,) = csv.DictReader(io.StringIO(made, newline=""), CSV_COLUMNS)
    return row


def given_back(cell: str) -> str:
    """A cell as it was, in the way that docs/cli.md describes."""
    return cell[1:] if cell[:1] == "'" and exported_cells(cell[1:])["hero_id"] == cell else cell


@pytest.mark.parametrize("text", RUN)
def test_no_cell_is_run_by_a_spreadsheet(text: str) -> None:
    row = exported_cells(text)
    assert row["message"] == row["hero_id"] == f"'{text}"
    assert given_back(row["hero_id"]) == text


@pytest.mark.parametrize("text", KEPT)
def test_other_cells_and_numbers_stay_as_they_are(text: str) -> None:
    assert exported_cells(text)["hero_id"] == text
    assert given_back(text) == text


@given(st.text(st.sampled_from("=+-@'\" \t\n;,a1.e\uff1d"), max_size=6))
def test_every_cell_can_be_given_back(text: str) -> None:
    assert given_back(exported_cells(text)["hero_id"]) == text


def test_parquet_has_typed_columns_and_exact_nanoseconds(home: Home, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    home.register()
    event = make_event(2**64 - 1, time_unix_nano=NOW + 123_456_789, run_id="r1")
    home.store([make_event(1), event])
    output = tmp_path / "events.parquet"
    assert export_events(output).format == "parquet"
    table = parquet.read_table(output)
    assert table.column("time")[1].value == NOW + 123_456_789
    assert table.column("number")[1].as_py() == 2**64 - 1
    assert table.column("run_id").to_pylist() == [None, "r1"]
    assert json.loads(table.column("resource")[0].as_py()) == RESOURCE
    assert export_events(output, since="now").events == 0
    assert parquet.read_table(output).num_rows == 0


def test_parquet_without_its_package_names_the_extra(home: Home, tmp_path: Path) -> None:
    home.store([make_event()])
    (tmp_path / "pyarrow.py").write_text("raise ModuleNotFoundError(name='pyarrow')")
    output = tmp_path / "events.parquet"
    result = subprocess.run(
        [sys.executable, "-m", "realm_telemetry", "export", "-o", str(output)],
        capture_output=True,
        text=True,
        env=home.environment() | {"PYTHONPATH": str(tmp_path)},
    )
    assert result.returncode == 2
    assert "pip install 'realm-telemetry[parquet]'" in result.stderr
    assert list(tmp_path.glob("*.parquet*")) + list(tmp_path.glob(".*part")) == []


def test_the_name_of_a_file_says_format_and_compression() -> None:
    for name, expected in (
        ("a.jsonl", ("jsonl", False)),
        ("a.b.ndjson.gz", ("jsonl", True)),
        ("A.CSV", ("csv", False)),
        ("x.parquet", ("parquet", False)),
        ("-", (None, False)),
        ("events.gz", (None, True)),
    ):
        assert format_of(Path(name)) == expected


def test_equal_events_give_equal_compressed_files(home: Home, tmp_path: Path) -> None:
    home.store([make_event(number) for number in range(1, 50)])
    first, second = tmp_path / "one.jsonl.gz", tmp_path / "two.jsonl.gz"
    export_events(first)
    export_events(second)
    assert first.read_bytes() == second.read_bytes()
    assert len(gzip.decompress(first.read_bytes()).splitlines()) == 49


def test_a_failed_export_leaves_what_was_there(tmp_path: Path) -> None:
    output = tmp_path / "events.jsonl"
    output.write_text("before")

    class Failing:
        def steps(self, filters: Filters) -> object:
            yield Step([Exported(make_event(), 1, {})], 0.5)
            raise LogError("the disk is gone")

        def close(self) -> None: ...

    with pytest.raises(LogError):
        write_events(Failing(), Filters(), output, format="jsonl", compress=False)  # type: ignore[arg-type]
    assert output.read_text() == "before"
    assert list(tmp_path.iterdir()) == [output]


def test_ctrl_c_leaves_no_half_file(home: Home, tmp_path: Path) -> None:
    home.store([make_event(n, details={"text": "x" * 2000}) for n in range(1, 20_001)])
    output = tmp_path / "events.jsonl.gz"
    errors = ""

    def is_cut_off() -> bool:
        """A machine that stands still at the wrong moment lets it end before."""
        nonlocal errors
        output.unlink(missing_ok=True)
        process = subprocess.Popen(
            [str(EXECUTABLE), "export", "-o", str(output)],
            env=home.environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(
            lambda: list(tmp_path.glob(".events*part")) or process.poll() is not None,
        )
        process.send_signal(signal.SIGINT)
        errors = process.communicate(timeout=60)[1]
        assert process.returncode in (0, 130), errors
        return process.returncode == 130

    wait_until(is_cut_off)
    assert "Traceback" not in errors
    assert [each.name for each in tmp_path.iterdir()] == ["home"]


def test_a_link_stays_a_link_and_a_missing_directory_is_named(tmp_path: Path) -> None:
    target, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    target.write_text("before")
    link.symlink_to(target)
    with replaced(link) as file:
        file.write(b"after")
    assert link.is_symlink()
    assert target.read_text() == "after"
    with pytest.raises(FileNotFoundError, match="no such directory"), replaced(target / "x" / "y"):
        pass


def test_a_pipe_is_written_to_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reading = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reading.start()
    with opened_output(pipe, compress=False) as file:
        make_writer("jsonl", file).write([Exported(make_event(), 1, {})])
    reading.join(10)
    assert pipe.is_fifo()
    assert read[0].endswith(b"\n")


def test_an_older_log_is_exported_whole_at_once(home: Home, tmp_path: Path) -> None:
    """Right after the upgrade its rows are not filled in yet."""
    import sqlite3

    home.log.parent.mkdir(parents=True)
    connection = sqlite3.connect(home.log)
    connection.execute(OLDER_TABLE)
    connection.executemany(
        "INSERT INTO battle_log (timestamp, channel, source, message) VALUES (?, 'jobs', ?, 'm')",
        [(f"2025-11-29T00:{n // 60:02d}:{n % 60:02d}Z", "event.job_started") for n in range(2500)],
    )
    connection.commit()
    connection.close()
    output = tmp_path / "events.jsonl"
    seen: list[float | None] = []
    report = export_events(
        output, since="2025-11-29T00:01:00Z", progress=lambda _, share: seen.append(share)
    )
    assert report.events == 2440
    assert seen[-1] == 1.0
    assert shapes(output)[0]["kind"] == "job_started"


def test_a_service_gives_the_same_file_as_its_log(home: Home, tmp_path: Path) -> None:
    home.register()
    home.store([make_event(n, message=f"line \u2028 {n}") for n in range(1, 1203)])
    local, remote = tmp_path / "local.jsonl", tmp_path / "remote.jsonl"
    ports = {"port": 0, "battle_log_port": 0, "ui_port": 0}
    server = RealmServer(ServiceSettings.for_home(home.path, **ports))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        assert server.started.wait(60)
        shares: list[float | None] = []
        export_events(
            remote,
            url=server.url,
            since="2025-11-29T00:00:03Z",
            progress=lambda _, share: shares.append(share),
        )
    finally:
        server.stop()
        thread.join(20)
    export_events(local, since="2025-11-29T00:00:03Z")
    assert remote.read_bytes() == local.read_bytes()
    assert len(remote.read_bytes().splitlines()) == 1200
    assert shares[-1] == 1.0


def test_the_command_writes_to_stdout_and_tells_on_stderr(home: Home) -> None:
    home.store([make_event(1), make_event(2)])
    result = home.run("export", "--kind", "job_started", "--json")
    assert [json.loads(line)["number"] for line in result.stdout.splitlines()] == [1, 2]
    assert json.loads(result.stderr) == {"output": "stdout", "format": "jsonl", "events": 2}
    wrong = home.run("export", "--format", "parquet", "--gzip")
    assert wrong.returncode == 2
    assert "leave --gzip" in wrong.stderr


def test_without_a_log_the_command_says_so(home: Home, tmp_path: Path) -> None:
    result = home.run("export", "-o", str(tmp_path / "x.jsonl"))
    assert result.returncode == 1
    assert "there is no log at" in result.stderr
    assert not (tmp_path / "x.jsonl").exists()


def test_what_comes_while_an_export_runs_is_left_out(home: Home) -> None:
    home.store([make_event(n) for n in range(1, 1501)])
    source = LogInput(open_log(load_settings({"home": home.path})))
    steps = source.steps(Filters())
    first = next(steps)
    home.store([make_event(n, producer="b" * 16) for n in range(1, 11)])
    rest = [row for step in steps for row in step.rows]
    source.close()
    assert len(first.rows) + len(rest) == 1500
    assert {row.event.producer for row in rest} == {PRODUCER}
