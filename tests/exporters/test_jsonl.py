"""The jsonl exporter: whole lines only, after any crash."""

import json
import multiprocessing
import resource
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from realm_exporter_jsonl import JsonlExporter

from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.kinds.catalog import event_to_dict
from realm_telemetry.plugins import ExporterContext
from realm_telemetry.testing import sample_events


def make(home: Path, **options: Any) -> JsonlExporter:
    options = {"format": "event"} | options
    context = ExporterContext(home=home, log_path=home / "vault" / "jobs.db", options=options)
    return JsonlExporter(context=context)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def test_a_line_is_the_one_json_shape_of_an_event(tmp_path: Path) -> None:
    (event,) = sample_events(1)
    make(tmp_path, fsync=True).export_events([event])
    assert lines(tmp_path / "logs" / "events.jsonl") == [event_to_dict(event)]


def test_half_a_line_of_a_crash_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.jsonl"
    first, second = sample_events(2)
    make(tmp_path).export_events([first])
    with path.open("ab") as file:
        file.write(b'{"id": "half a li' + b"x" * 200_000)
    make(tmp_path).export_events([second])
    assert [line["id"] for line in lines(path)] == [first.id, second.id]


def test_a_whole_line_without_its_end_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"by": "hand"}')
    make(tmp_path, path=str(path)).export_events(sample_events(1))
    assert lines(path)[0] == {"by": "hand"}
    assert len(lines(path)) == 2


def test_the_events_of_a_batch_cut_by_a_crash_are_completed(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.jsonl"
    events = sample_events(5)
    make(tmp_path).export_events(events)
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        make(tmp_path).export_events(events)
        assert path.read_bytes() == whole


def test_lines_of_others_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "events.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"not json\n\xff\xfe\n[1]\n")
    make(tmp_path).export_events(sample_events(1))
    assert path.read_bytes().startswith(b"not json\n\xff\xfe\n[1]\n{")


def test_the_older_format_has_naive_local_time_and_the_fields(tmp_path: Path) -> None:
    (event,) = sample_events(1)
    details = {"step": 1, "ts": "mine", "kind": "mine"}
    event = msgspec.structs.replace(event, details=details, hero_id="dio")
    make(tmp_path, format="older").export_events([event])
    (line,) = lines(tmp_path / "status" / "events.jsonl")
    stamp = datetime.fromisoformat(line.pop("ts"))
    assert stamp.tzinfo is None
    assert int(stamp.timestamp() * 1e6) == event.time_unix_nano // 1000
    assert line == {"kind": "training_step", "hero_id": "dio", "step": 1}


def test_without_options_the_older_lines_are_where_they_were(tmp_path: Path) -> None:
    context = ExporterContext(home=tmp_path, log_path=tmp_path / "vault" / "jobs.db", options={})
    JsonlExporter(context=context).export_events(sample_events(2))
    assert [line["step"] for line in lines(tmp_path / "status" / "events.jsonl")] == [1, 2]


def test_older_lines_that_come_again_after_a_crash_are_not_repeated(tmp_path: Path) -> None:
    events = sample_events(5)
    make(tmp_path, format="older").export_events(events)
    path = tmp_path / "status" / "events.jsonl"
    whole = path.read_bytes()
    for size in range(0, len(whole), 41):
        path.write_bytes(whole[:size])
        make(tmp_path, format="older").export_events(events)
        assert path.read_bytes() == whole


def test_a_full_file_is_rotated_and_the_oldest_removed(tmp_path: Path) -> None:
    exporter = make(tmp_path, max_bytes=1, keep=2)
    for event in sample_events(4):
        exporter.export_events([event])
    directory = tmp_path / "logs"
    steps = {path.name: lines(path)[0]["number"] for path in directory.iterdir()}
    assert steps == {"events.jsonl": 4, "events.jsonl.1": 3, "events.jsonl.2": 2}


def append_many(home: Path, producer: str) -> None:
    exporter = make(home)
    for event in sample_events(100, producer=producer):
        exporter.export_events([event])


@pytest.mark.slow
def test_several_processes_share_a_file(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    others = [
        spawn.Process(target=append_many, args=(tmp_path, f"{n:016x}"), daemon=True)
        for n in range(3)
    ]
    for process in others:
        process.start()
    for process in others:
        process.join(60)
    assert len({line["id"] for line in lines(tmp_path / "logs" / "events.jsonl")}) == 300


def fill(home: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    exporter = make(home)
    exporter.export_events(sample_events(3))
    size = (home / "logs" / "events.jsonl").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, size + 100))
    with pytest.raises(ExportError, match="File too large") as caught:
        exporter.export_events(sample_events(3, 4))
    assert caught.value.retryable


def test_a_batch_that_does_not_fit_leaves_nothing_behind(tmp_path: Path) -> None:
    process = multiprocessing.get_context("spawn").Process(target=fill, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert len(lines(tmp_path / "logs" / "events.jsonl")) == 3


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Use one of older, event"):
        make(tmp_path, format="xml")
