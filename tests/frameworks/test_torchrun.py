"""Ranks below `torchrun`: which one failed first, and whose end is collateral."""

import sys
from pathlib import Path

import pytest

from .conftest import Told, script, tell

pytestmark = [pytest.mark.long, pytest.mark.processes]

RANKS = """
import os, signal, sys, time
import torch, torch.distributed as dist
import realm_telemetry as realm
dist.init_process_group("gloo")
rank = dist.get_rank()
for step in realm.steps(range(1, 101), every=20):
    if step == 20 and rank == 2:
        if sys.argv[1] == "raise": raise OSError("the disk of rank 2 is gone")
        os.kill(os.getpid(), signal.SIGKILL)
    dist.all_reduce(torch.ones(1))
    time.sleep(0.01)
"""


def ranks(place: Path, way: str) -> Told:
    """Run four ranks, of which rank 2 ends in a way, below `realm run`."""
    program = script(place / "ranks.py", RANKS)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    return tell(place / way, [*torchrun, "--nproc-per-node=4", program, way], under=way)


def test_the_rank_that_raised_first_is_named(place: Path) -> None:
    told = ranks(place, "raise")
    assert told.code != 0
    run = told.run("raise")
    assert run["status"] == "failed"
    assert "the disk of rank 2 is gone" in run["reason"]
    assert run["first_failed_rank"] == 2
    assert run["exception"]["rank"] == 2
    assert set(run["ranks"]) == {"0", "1", "2", "3"}


def test_the_rank_that_was_killed_is_named(place: Path) -> None:
    told = ranks(place, "kill")
    assert told.code != 0
    run = told.run("kill")
    assert run["first_failed_rank"] == 2
    # Of a process that is not our child, not every kernel says how it ended.
    assert (run["ranks"]["2"]["status"], run["ranks"]["2"]["reason"]) in (
        ("killed", "SIGKILL, sender unknown"),
        ("lost", "no word of its end"),
    )
    assert run["status"] in ("killed", "failed")
