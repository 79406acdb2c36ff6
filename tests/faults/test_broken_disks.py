"""A full disk and a read-only home: training goes on, and afterwards everything is there."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.waiting import wait_until

from .conftest import Home, check_once_in_order, mounted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    with mounted(directory, "-t", "tmpfs", "-o", "size=24m", "tmpfs"):
        yield directory


def fill(disk: Path) -> Path:
    """Take every byte that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 4096):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def test_a_disk_that_is_full_for_a_while_costs_nothing_acknowledged(
    small_disk: Path, make_home: Callable[..., Home]
) -> None:
    """What the spool has no room for is refused, counted and reported; the rest is in the log."""
    home = make_home("disk/home")
    producer = home.producer()
    ids = producer.emit(200).ids
    assert producer.flush()["delivered"]
    filler = fill(small_disk)
    kept = producer.emit(20_000, size=400)
    assert kept["dropped"] > 0
    assert kept["total_s"] < 20.0
    assert "Free some space" in producer.flush_in_vain("the disk is full")
    producer.flush(1.5)  # a round of the keeper, which prints it

    filler.unlink()
    ids += kept.ids
    wait_until(lambda: set(ids) <= set(home.logged()), explain=home.shipper_log)
    later = producer.emit(10)
    assert not later["dropped"]
    ids += later.ids
    output = producer.exit()
    assert output.count("the disk is full") == 1, output
    wait_until(lambda: home.receipts()[producer.id].ended)
    check_once_in_order(home.logged(), ids)
    receipt = home.receipts()[producer.id]
    assert receipt.dropped == kept["dropped"]
    assert receipt.stored == receipt.emitted
    assert len(home.logged("kind = 'events_dropped'")) == 1


def test_a_producer_that_begins_on_a_full_disk_keeps_its_events_elsewhere(
    small_disk: Path, make_home: Callable[..., Home]
) -> None:
    home = make_home("disk/home")
    home.path.mkdir()
    filler = fill(small_disk)
    producer = home.producer()
    assert not producer.pipeline_dir.is_relative_to(home.path)
    ids = producer.emit(500).ids
    flushed = producer.flush(1.5)
    assert not flushed["delivered"]
    filler.unlink()
    wait_until(lambda: producer.flush(1.0)["delivered"])
    assert home.logged() == ids
    output = producer.exit()
    assert "Free some space" in output or "No space left" in output, output


@contextmanager
def read_only(directory: Path) -> Iterator[Callable[[], object]]:
    """A directory that cannot be written, until the function that this yields is called."""
    if os.geteuid() != 0:
        directory.chmod(0o500)
        yield lambda: directory.chmod(0o700)
        return
    with mounted(directory, "--bind", str(directory)):
        mount = ["mount", "-o"]
        subprocess.run([*mount, "remount,bind,ro", str(directory)], check=True)
        yield lambda: subprocess.run([*mount, "remount,bind,rw", str(directory)], check=True)


@pytest.mark.parametrize("known", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_home_that_cannot_be_written_for_a_while_loses_nothing(home: Home, known: bool) -> None:
    """Whether the home is still empty or has a log, the spool goes elsewhere."""
    home.path.mkdir()
    ids: list[str] = []
    if known:
        earlier = home.producer()
        ids += earlier.emit(50).ids
        assert earlier.flush()["delivered"]
        earlier.exit()
        wait_until(lambda: not any(path.is_dir() for path in earlier.pipeline_dir.iterdir()))
        wait_until(lambda: "leaves" in home.shipper_log())
    with read_only(home.path) as mend:
        producer = home.producer()
        assert not producer.pipeline_dir.is_relative_to(home.path)
        ids += producer.emit(500).ids
        producer.flush_in_vain(str(home.path))
        producer.flush(2.5)  # two rounds of the keeper, which prints the shipper's error
        mend()
        wait_until(lambda: producer.flush(1.0)["delivered"], explain=lambda: producer.flush(1.0))
        output = producer.exit()
        check_once_in_order(home.logged(), ids)
        assert len(home.logged()) == len(ids)
    lines = [line for line in output.splitlines() if str(home.log_path.parent) in line]
    assert len(lines) == 1, output
    assert "may write" in lines[0] or "may read and write" in lines[0]
