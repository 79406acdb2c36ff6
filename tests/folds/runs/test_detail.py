"""What a run shows beyond its record: checkpoints on the disk, how to go on, errors seen before."""

import os
import shutil
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from realm_telemetry.event import Event
from realm_telemetry.folds.clock import stamp_of
from realm_telemetry.folds.runs import RunRecord, detailed, on_disk, report
from realm_telemetry.folds.runs.seen import MAX_EVENTS, Frame, own_frame
from realm_telemetry.folds.runs.view import seen_text
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.filters import parse_filters
from realm_telemetry.values.clock import Deadline

from .conftest import folded, told

HERE = os.uname().nodename


@pytest.fixture(autouse=True)
def _no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "_known", {})


def look(tmp_path: Path, record: RunRecord, *stored: Event) -> dict[str, Any]:
    """All of a run, beside a log with some events."""
    log = open_log(tmp_path / "log" / "jobs.db")
    with log.writer() as writer:
        writer.append(list(stored))
    with log.reader() as reader, reader.snapshot() as snapshot:
        return detailed(snapshot, "r1", record)


def saved_at(tmp_path: Path, *, host: str = HERE, framework: str = "transformers") -> list[Event]:
    """A run that saved 1, 2 and 3, a directory each, and whose loss was NaN after 2."""
    events = [
        told(0, "run_started", host=host, command="python train.py", cwd=str(tmp_path)),
        told(0.5, "training_started", framework=framework),
    ]
    for step in (1, 2, 3):
        place = tmp_path / "out" / f"checkpoint-{step}" / "model"
        place.mkdir(parents=True)
        (place / "weights").write_bytes(b"x" * step * 10)
        (place.parent / "state.json").write_bytes(b"{}")
        path = f"out/checkpoint-{step}" if step == 1 else str(place.parent)
        size = {"size_bytes" if step == 1 else "bytes": step * 10 + 2}
        events.append(told(step * 10, "checkpoint_saved", more=size, step=step, path=path))
    bad = told(25, "training_step", step=25, loss="NaN")
    end = told(50, "run_ended", by_shipper=True, status="killed", reason="SIGKILL")
    return [*events, bad, end]


def test_the_last_good_checkpoint_is_one_that_is_there_with_its_bytes(tmp_path: Path) -> None:
    record = folded(*saved_at(tmp_path))
    good = look(tmp_path, record)["last_good_checkpoint"]
    assert (good["step"], good["verified"], good["size_bytes"]) == (2, True, 22)
    assert good["check"] == "there with its recorded size"
    on_disk._known.clear()
    (tmp_path / "out" / "checkpoint-2" / "more").write_bytes(b"y")
    good = look(tmp_path, record)["last_good_checkpoint"]
    assert (good["step"], good["verified"]) == (1, True), "a relative path is below its directory"
    on_disk._known.clear()
    shutil.rmtree(tmp_path / "out" / "checkpoint-1")
    good = look(tmp_path, record)["last_good_checkpoint"]
    assert (good["step"], good["verified"]) == (2, False)
    assert good["check"] == "there with 23 bytes; 22 were recorded"
    on_disk._known.clear()
    shutil.rmtree(tmp_path / "out")
    run = look(tmp_path, record)
    assert run["last_good_checkpoint"]["check"] == "not there any more"
    assert run["resume"]["code"] is None


def test_what_another_host_saved_is_verified_only_where_it_is_seen(tmp_path: Path) -> None:
    record = folded(*saved_at(tmp_path, host="gpu7"))
    assert look(tmp_path, record)["last_good_checkpoint"]["verified"] is True, "a shared disk"
    on_disk._known.clear()
    shutil.rmtree(tmp_path / "out")
    run = look(tmp_path, record)
    good = run["last_good_checkpoint"]
    assert (good["step"], good["check"]) == (2, "not verified from here")
    assert "not verified from here" in report(run, [])
    nothing = look(tmp_path, folded(told(1, "checkpoint_saved", step=1)))
    assert nothing["last_good_checkpoint"]["check"] == "not verified from here"
    assert look(tmp_path, folded(told(1, "training_step", step=1)))["last_good_checkpoint"] is None


def test_paths_of_events_are_measured_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a link that leads in a circle, nor a large tree, nor a pipe costs much."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "again").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = on_disk.measure(str(tmp_path / "tree"), Deadline(60))
    assert found.size == os.lstat(tmp_path / "tree" / "again").st_size
    assert on_disk.measure(str(tmp_path / "pipe"), Deadline(60)) == (True, None)
    assert on_disk.measure("/" + "x" * 300, Deadline(60)) == (None, None)
    monkeypatch.setattr(on_disk, "MAX_FILES", 1)
    (tmp_path / "tree" / "file").touch()
    (tmp_path / "large").mkdir()
    for name in "ab":
        (tmp_path / "large" / name).touch()
    assert on_disk.measure(str(tmp_path / "large"), Deadline(60)) == (True, None)


def resumed(tmp_path: Path, command: str, **more: Any) -> Any:
    framework = more.pop("framework", "transformers")
    events = saved_at(tmp_path, framework=framework)
    events[0] = told(0, "run_started", host=HERE, cwd=str(tmp_path), command=command, **more)
    found = look(tmp_path, folded(*events))["resume"]
    shutil.rmtree(tmp_path / "out")
    on_disk._known.clear()
    return found


def test_to_resume_is_what_the_adapter_knows_else_the_original_command(tmp_path: Path) -> None:
    path = f"{tmp_path}/out/checkpoint-2"
    found = resumed(tmp_path, "python train.py --lr 3")
    assert found["command"] == "python train.py --lr 3"
    assert found["code"] == f"trainer.train(resume_from_checkpoint={path!r})"
    assert found["note"].startswith("The original command")
    assert (found["cwd"], found["framework"]) == (str(tmp_path), "transformers")
    option = "python t.py --resume_from_checkpoint old 'a b'"
    found = resumed(tmp_path, option)
    assert found["command"] == f"python t.py --resume_from_checkpoint {path} 'a b'"
    found = resumed(tmp_path, "python -m x fit --ckpt_path=old", framework="lightning")
    assert found["command"] == f"python -m x fit --ckpt_path={path}"
    assert found["code"] == f"trainer.fit(..., ckpt_path={path!r})"
    found = resumed(tmp_path, option, framework="of one's own")
    assert (found["command"], found["code"], found["framework"]) == (option, None, None)
    assert "up to the program" in found["note"]
    assert "too long" in resumed(tmp_path, "python " + "x" * 9 + "…")["note"]
    assert resumed(tmp_path, "python 'open")["command"] == "python 'open"


def test_a_supervised_run_is_resumed_as_the_same_run(tmp_path: Path) -> None:
    events = saved_at(tmp_path)
    above = told(0, "run_started", process="f", launcher="realm run", command="python train.py")
    over = told(51, "run_ended", process="f", status="killed", reason="SIGKILL")
    command = look(tmp_path, folded(above, *events, over))["resume"]["command"]
    assert command == "realm run --run-id r1 -- python train.py"
    goes_on = look(tmp_path / "b", folded(told(1, "training_step", step=1)))
    assert goes_on["resume"] is None


TRACE = """Traceback (most recent call last):
  File "/home/a/{place}train.py", line {line}, in main
    step()
  File "/home/a/{place}model.py", line 7, in forward_all
    return torch.cat(x)
  File "/usr/lib/python3.11/json/__init__.py", line 346, in loads
    raise
ValueError: no {line}
"""


def failed(number: int, run_id: str, line: int = 3, place: str = "", **other: Any) -> Event:
    details: dict[str, Any] = {
        "error": f"no {line}",
        "error_type": "lab.errors.ValueError",
        "traceback": TRACE.format(line=line, place=place),
    }
    event = told(0, "uncaught_exception", process=f"{number:x}", more=details | other)
    fields = {name: getattr(event, name) for name in event.__struct_fields__}
    return Event(**{**fields, "run_id": run_id, "time_unix_nano": time.time_ns()})


def test_an_error_was_seen_as_often_as_processes_reported_its_like(tmp_path: Path) -> None:
    mine = failed(1, "r1")
    record = folded(told(0, "training_step", process="1", step=1))
    record.apply(mine, stamp_of(mine), "r1")
    like = [
        failed(2, "r1", 9),
        failed(3, "r2", 5, "other/"),
        failed(4, "r3", error_type="ValueError"),
    ]
    unlike = [
        failed(5, "r4", error_type="KeyError"),
        failed(6, "r5", traceback=TRACE.replace("forward_all", "backward")),
        failed(7, "r6", unraisable="in __del__"),
    ]
    run = look(tmp_path, record, mine, *like, *unlike)
    exception = run["exception"]
    assert exception["frame"] == {"file": "/home/a/model.py", "line": 7, "function": "forward_all"}
    seen = exception["seen"]
    assert (seen["times"], seen["runs"], seen["days"], seen["at_least"]) == (4, 3, 7, False)
    assert seen_text(exception) == "4 times in the last 7 days, in 3 runs"
    assert "This error was seen 4 times" in report(run, [])
    filters = parse_filters(parse_qs(seen["query"]))
    assert [filters.matches(event) for event in like] == [True] * 3
    assert [filters.matches(event) for event in unlike[:2]] == [False] * 2


def test_with_very_many_errors_the_count_is_a_least(tmp_path: Path) -> None:
    mine = failed(1, "r1")
    record = folded(told(0, "training_step", process="1", step=1))
    record.apply(mine, stamp_of(mine), "r1")
    many = [
        Event(**{**{n: getattr(mine, n) for n in mine.__struct_fields__}, "number": 9_000 + n_})
        for n_ in range(MAX_EVENTS)
    ]
    seen = look(tmp_path, record, mine, *many)["exception"]["seen"]
    assert (seen["times"], seen["at_least"]) == (1, True)


@pytest.mark.parametrize(
    ("trace", "frame"),
    [
        (None, None),
        ("ValueError: x", None),
        ('  File "/a/site-packages/t.py", line 1, in f', Frame("/a/site-packages/t.py", 1, "f")),
        (
            TRACE + "\nDuring ...\n\n" + TRACE.replace("7", "8"),
            Frame("/home/a/model.py", 8, "forward_all"),
        ),
        ('  | File "a.py", line 2, in <module>\n    +---- 1\n', Frame("a.py", 2, "<module>")),
        ('  File "a.py", line 9\n    x = = 1\n', Frame("a.py", 9, "")),
    ],
)
def test_the_own_frame_is_the_one_nearest_to_the_error(trace: Any, frame: Frame | None) -> None:
    given = (
        trace.format(line=3, place="") if isinstance(trace, str) and "{line}" in trace else trace
    )
    assert own_frame(given) == frame
