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
    for path in files_of(producer.pipeline_dir / producer.id, which):
        os.truncate(path, 0)
    time.sleep(0.3)
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
