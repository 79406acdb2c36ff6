"""Programs that the kernel ends for want of memory, in control groups of their own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from realm_telemetry.shipper import samples
from tests.waiting import wait_until

pytestmark = [pytest.mark.processes]

REALM = str(Path(sys.executable).with_name("realm"))
LIMIT_BYTES = 300_000_000
"""So much that a shipper inside, which the kernel takes rather than others, is smaller still."""

JOIN = "open(sys.argv[1] + '/cgroup.procs', 'w').write(str(os.getpid()))\n"
TRAIN = """
import realm_telemetry as realm
realm.configure(service_name="trainer", exporters=["battle_log"])
realm.training_started(model="m")
realm.training_step(step=1, loss=0.5)
realm.flush(30)
"""
EAT = "kept = []\nwhile True: kept.append(bytearray(1 << 20))\n"
SEEN = "time.sleep(3)  # the shipper has looked where it is\n"
HEAD = "import os, sys, time\n"


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group with a limit of memory, below our own."""
    own = next(iter(samples._groups(os.getpid())), None)
    if own is None:
        pytest.skip("no memory controller")
    parent, _, limit_name = own
    path = parent / f"realm-test-{os.getpid()}"
    try:
        path.mkdir()
    except OSError:
        pytest.skip("control groups cannot be made here")
    try:
        (path / limit_name).write_text(str(LIMIT_BYTES))
        with suppress(OSError):  # version 2
            (path / "memory.swap.max").write_text("0")
    except OSError:
        path.rmdir()
        pytest.skip("control groups cannot have a limit here")
    yield path
    wait_until(lambda: _left(path), 30)


def _left(path: Path) -> bool:
    for pid in (path / "cgroup.procs").read_text().split():
        with suppress(ProcessLookupError):
            os.kill(int(pid), 9)
    with suppress(OSError):
        path.rmdir()
    return not path.exists()


def environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name[:5] != "REALM"}
    return {**kept, "REALM_HOME": str(home), "REALM_EXPORTERS": "battle_log"}


def run_of(home: Path, run_id: str) -> dict[str, Any]:
    """The run, once its end is known."""
    found: dict[str, Any] = {}
    deadline_s = time.monotonic() + 60
    while found.get("status") in (None, "running") and time.monotonic() < deadline_s:
        done = subprocess.run(
            [REALM, "show", run_id, "--json"],
            env=environment(home),
            capture_output=True,
            text=True,
            check=False,
        )
        with suppress(ValueError):
            found = json.loads(done.stdout)
    return found


@pytest.mark.long
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(JOIN + TRAIN + EAT, id="from its start"),
        pytest.param(TRAIN + JOIN + SEEN + EAT, id="later"),
    ],
)
def test_a_container_at_its_limit_of_memory_is_the_reason(
    tmp_path: Path, group: Path, code: str
) -> None:
    home = tmp_path / "home"
    environ = {**environment(home), "REALM_RUN_ID": "r1"}
    died = subprocess.run([sys.executable, "-c", HEAD + code, group], env=environ, check=False)
    assert died.returncode == -9
    run = run_of(home, "r1")
    assert run["status"] == "out_of_memory"
    assert run["reason"] == "the container reached its memory limit"
    assert run["evidence"]["kills_in_container"] >= 1


@pytest.mark.long
def test_realm_run_knows_the_container_that_its_command_is_in(tmp_path: Path, group: Path) -> None:
    """The host counts such a kill too, but its own memory was never full."""
    home = tmp_path / "home"
    program = [sys.executable, "-c", HEAD + JOIN + SEEN + EAT, str(group)]
    command = [REALM, "run", "--run-id", "r1", "--", *program]
    died = subprocess.run(command, env=environment(home), check=False)
    assert died.returncode == -9
    run = run_of(home, "r1")
    assert run["status"] == "out_of_memory"
    assert run["reason"] == "the container reached its memory limit"
