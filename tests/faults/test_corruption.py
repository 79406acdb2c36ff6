"""Damaged files: what can be read is kept, what cannot is reported, and training goes on."""

import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.waiting import wait_until

from .conftest import Home, check_once_in_order, holder

WITH_FILE = ("battle_log", "jsonl")
OPTIONS = {"jsonl": {"format": "event"}}


def exported(path: Path) -> list[str]:
    """Ids in the file that the jsonl exporter writes, in its order."""
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_of_a_damaged_segment_all_whole_frames_are_kept_and_the_rest_is_reported(
    home: Home,
) -> None:
    """The damaged bytes are quarantined; the next producer of the pipeline hears of it."""
    damaged = home.producer(shipper="none")
    ids = damaged.emit(500, size=200).ids
    damaged.process.kill()
    damaged.process.wait()
    # The keeper may have made the next segment ahead, which is empty.
    segments = (damaged.pipeline_dir / damaged.id).glob("seg-*")
    segment = max(segments, key=lambda path: len(path.read_bytes().rstrip(b"\0")))
    content = bytearray(segment.read_bytes())
    content[60_000:61_000] = random.Random(1).randbytes(1_000)
    segment.write_bytes(content)

    producer = home.producer()
    assert producer.pipeline_dir == damaged.pipeline_dir
    later = producer.emit(100).ids
    assert producer.flush()["delivered"]
    wait_until(lambda: home.logged("kind = 'process_lost'"))
    logged = home.logged()
    lost = [event_id for event_id in ids if event_id not in set(logged)]
    assert 1 <= len(lost) <= 6, "of 500, those that the damage touched"
    check_once_in_order(logged, [each for each in ids if each not in lost], later)
    assert not home.receipts()[damaged.id].complete
    assert list((home.path / "spool" / "quarantine").iterdir())
    output = producer.exit()
    assert output.count("are damaged") == 1, output
    assert "quarantined in" in output


def spoil(path: Path) -> None:
    """Write garbage over the middle of a file; its first page stays."""
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(random.Random(2).randbytes(size - 8192))


def cut(path: Path) -> None:
    """Cut a file in half."""
    os.truncate(path, path.stat().st_size // 2)


def has_left(pipeline: Path) -> bool:
    return not holder(pipeline)


def leave(home: Home) -> None:
    """Wait until the shippers of a home have left, so that its log is one file at rest."""
    for pipeline in home.pipelines():
        wait_until(partial(has_left, pipeline))


def files_of(log: Path) -> list[Path]:
    return [log, log.with_name(log.name + "-wal"), log.with_name(log.name + "-shm")]


@pytest.mark.parametrize(
    ("damage", "mend"),
    [
        (spoil, "move away"),
        pytest.param(spoil, "restore", marks=pytest.mark.long),
        pytest.param(cut, "move away", marks=pytest.mark.long),
        (cut, "restore"),
    ],
)
def test_a_corrupt_log_is_reported_and_events_wait_until_it_is_mended(
    home: Home, damage: Callable[[Path], None], mend: str
) -> None:
    earlier = home.producer(WITH_FILE, options=OPTIONS)
    ids = earlier.emit(3000).ids
    assert earlier.flush()["delivered"]
    earlier.exit()
    leave(home)
    backup = home.path / "backup.db"
    shutil.copy(home.log_path, backup)
    damage(home.log_path)

    producer = home.producer(WITH_FILE, options=OPTIONS)
    later = producer.emit(500).ids
    problem = producer.flush_in_vain(str(home.log_path))
    assert "move it away" in problem.lower()

    for path in files_of(home.log_path):
        path.unlink(missing_ok=True)
    if mend == "restore":
        shutil.copy(backup, home.log_path)
    wait_until(lambda: producer.flush(1.0)["delivered"], 60, home.shipper_log)
    expected = ids + later if mend == "restore" else later
    assert home.logged() == expected
    assert exported(home.path / "logs" / "events.jsonl") == ids + later
    output = producer.exit()
    assert output.lower().count("move it away") == 1, output


def test_a_log_that_breaks_under_a_running_shipper_can_be_moved_away(home: Home) -> None:
    """A new log takes over, with what spools still have; exporters miss nothing."""
    producer = home.producer(WITH_FILE, options=OPTIONS)
    ids = producer.emit(3000).ids
    assert producer.flush()["delivered"]
    # All pages into the file, and another program's commit so that none is read from memory.
    with closing(sqlite3.connect(home.log_path)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("CREATE TABLE other (id)")
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        spoil(home.log_path)
        later = producer.emit(500).ids
        producer.flush_in_vain(str(home.log_path))
    for path in files_of(home.log_path):
        path.unlink(missing_ok=True)
    wait_until(lambda: producer.flush(1.0)["delivered"], 60, home.shipper_log)
    logged = home.logged()
    assert logged == (ids + later)[-len(logged) :]
    assert len(logged) >= len(later)
    # A new log's events are new to exporters: at least once.
    assert list(dict.fromkeys(exported(home.path / "logs" / "events.jsonl"))) == ids + later
    output = producer.exit()
    assert output.lower().count("move it away") == 1, output
