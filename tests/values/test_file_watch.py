"""A watch of a file, on the real file system."""

import os
import select
from collections.abc import Callable
from pathlib import Path

import pytest

from realm_telemetry.values.file_watch import MODIFIED, MOVED, TOUCHED, FileWatch


def write(path: Path) -> None:
    path.write_text("x")


def touch(path: Path) -> None:
    os.utime(path)


def move(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


@pytest.mark.parametrize(
    ("events", "act", "seen"),
    [
        (MODIFIED, write, True),
        (MODIFIED, touch, False),
        (TOUCHED, touch, True),
        (TOUCHED, Path.unlink, True),
        (MOVED, move, True),
        (MOVED, write, False),
    ],
)
def test_it_sees_what_it_was_asked_to(
    tmp_path: Path, events: int, act: Callable[[Path], None], seen: bool
) -> None:
    path = tmp_path / "file"
    path.touch()
    watch = FileWatch(path, events)
    try:
        assert not watch.drain()
        act(path)
        readable = select.select([watch.descriptor], [], [], 0)[0]
        assert bool(readable) is seen
        assert watch.drain() is seen
        assert not watch.drain()
    finally:
        watch.close()


def test_a_file_that_is_not_there_leaves_nothing_open(tmp_path: Path) -> None:
    before = sorted(each.name for each in Path("/proc/self/fd").iterdir())
    with pytest.raises(FileNotFoundError):
        FileWatch(tmp_path / "nowhere", MODIFIED)
    assert sorted(each.name for each in Path("/proc/self/fd").iterdir()) == before
