"""Another program cuts the files that a producer writes to: training goes on.

Writing to a mapping behind the end of its file ends a process by SIGBUS.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from realm_telemetry.shipper import doorbell
from realm_telemetry.spool.control import ControlFile
from realm_telemetry.spool.segment import restore_sizes
from realm_telemetry.spool.writer import SpoolWriter
from tests.waiting import wait_until

from .conftest import Home


def files_of(producer_dir: Path, which: str) -> list[Path]:
    found = {
        "control": [producer_dir / "control"],
        "status": [producer_dir.parent / "shipper.status"],
        "segments": sorted(producer_dir.glob("seg-*")),
    }
    return [path for name, paths in found.items() if which in (name, "all") for path in paths]


@pytest.mark.processes
@pytest.mark.parametrize(
    "which",
    [
        *(pytest.param(each, marks=pytest.mark.long) for each in ("control", "status", "segments")),
        "all",
    ],
)
def test_files_that_are_cut_while_they_are_mapped_end_nobody(home: Home, which: str) -> None:
    """The shipper makes them whole at once; the producer goes on."""
    producer = home.producer()
    before = producer.emit(100).ids
    assert producer.flush()["delivered"]
    cut = files_of(producer.pipeline_dir / producer.id, which)
    for path in cut:
        os.truncate(path, 0)
    wait_until(lambda: all(path.stat().st_size for path in cut))
    kept = producer.emit(10, pace_s=0.05).ids
    assert producer.flush()["delivered"]
    assert home.logged() == before + kept
    producer.exit()


@pytest.mark.processes
@pytest.mark.long
def test_without_a_shipper_the_producer_itself_looks(make_home: Callable[..., Home]) -> None:
    """What was not in the log is lost and counted; all that comes later is there."""
    home = make_home()
    producer = home.producer(shipper="none")
    lost = producer.emit(10).ids
    time.sleep(1)  # the keeper's first round is over
    for path in files_of(producer.pipeline_dir / producer.id, "all"):
        os.truncate(path, 0)
    time.sleep(6)  # and then its second
    kept = producer.emit(200).ids
    assert "has cut files of the spool" in producer.exit()
    subprocess.run(
        [str(Path(sys.executable).with_name("realm")), "--home", str(home.path), "ship", "--once"],
        env=home.environment,
        check=True,
        capture_output=True,
    )
    assert home.logged() == kept
    assert len(home.logged("kind = 'events_dropped'")) == 1
    receipt = home.receipts()[producer.id]
    assert (receipt.emitted, receipt.stored) == (10 + 200, 200)
    assert len(lost) == 10


@pytest.mark.processes
def test_a_program_of_the_same_user_cannot_cut_a_segment() -> None:
    """Only root may open one for writing again; others are refused."""
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from realm_telemetry.spool.writer import SpoolWriter\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "writer = SpoolWriter(Path(sys.argv[1]), '00112233445566aa')\n"
        "for cut in (lambda path: os.truncate(path, 0), lambda path: open(path, 'w')):\n"
        "    try: cut(writer.cursor.path)\n"
        "    except PermissionError: print('refused')\n"
        "assert writer.append(b'event') == 1\n"
    )
    with TemporaryDirectory(dir="/tmp") as place:
        Path(place).chmod(0o777)
        done = subprocess.run([sys.executable, "-c", code, place], capture_output=True, text=True)
    assert (done.stdout.split(), done.returncode) == (["refused", "refused"], 0), done.stderr


def test_only_what_is_cut_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shipper writes to the pages of its spools all the time; there may be a thousand."""
    looked: list[str] = []

    def noted(directory: Path) -> bool:
        looked.append(directory.name)
        return restore_sizes(directory)

    monkeypatch.setattr(doorbell, "restore_sizes", noted)
    one, other = (SpoolWriter(tmp_path, each * 16) for each in "ab")
    watch = doorbell.CutWatch(tmp_path)
    looked.clear()
    page = ControlFile(one.directory / "control")
    page.stored_number = 1
    page.close()
    watch.wait(0.05)
    assert looked == []
    os.truncate(one.directory / "control", 0)
    watch.wait(0.05)
    assert looked == ["a" * 16]
    assert (one.directory / "control").stat().st_size == 4096
    third = SpoolWriter(tmp_path, "c" * 16)
    watch.wait(0.05)
    assert looked == ["a" * 16, "c" * 16]
    watch.close()
    for writer in (one, other, third):
        writer.close()
