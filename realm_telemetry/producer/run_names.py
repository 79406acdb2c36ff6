"""What the runs of a process are called: one name for all, or one after the other.

Below `realm run` the processes of the command share its run, and count further ones together: each
claims a number, by a file in the directory that `realm run` made.
"""

import json
import os
from pathlib import Path
from threading import get_ident
from typing import Any, Final

from realm_telemetry.config import MAX_RUN_ID_CHARS
from realm_telemetry.shipper.process_end import stat_fields

REPORTS_VARIABLE: Final = "REALM_RUN_REPORTS"
_MAX_CLAIMS: Final = 10_000
_MAX_BYTES: Final = 16_384
_START_TICKS: Final = 21


class RunNames:
    """What the runs of this process are called.

    given: one name for all, from the user; derived: from launcher, scheduler or parent, with a
    number from the second run on. Without either each run gets a name of its own.
    is_launch: whether `derived` is of ranks that have their agent in common, and nothing else.
    is_command: whether `derived` is that of a `realm run` above.
    is_child: whether a process that has trained started this one.
    begun, ended: how many have. The process's own counts as begun with those beside it.
    """

    given: str | None = None
    derived: str | None = None
    is_launch = False
    is_command = False
    is_child = False
    begun = 0
    ended = 0

    def __init__(self) -> None:
        self._claimed: dict[str, Path] = {}

    @property
    def is_named(self) -> bool:
        """Whether user, launcher or scheduler have named the next run."""
        return self.given is not None or (self.derived is not None and not self.begun)

    def derive(self, name: str | None, *, is_command: bool = False) -> None:
        """Call the runs that begin from now on after this one."""
        self.derived, self.is_launch, self.is_command = name, False, is_command
        self.begun = self.ended = 0

    def next(self, *, is_announced: bool) -> str:
        """Return the name of the process's next run; is_announced: by `training_started`."""
        from realm_telemetry.producer.origin import launch_id

        if self.given is not None:
            return self.given
        if self.derived is None and not self.is_child:
            self.derived = launch_id()
            self.is_launch = self.derived is not None
        return self.of_number(self.begun + 1, is_announced=is_announced)

    def of_number(self, number: int, *, is_announced: bool = True) -> str:
        """Return the name of the run of a number, or of the next number that can be claimed."""
        from realm_telemetry.producer.origin import random_id

        if self.derived is None:
            return random_id()
        claimed = self._claim(number, is_announced) if self.is_command else None
        number = number if claimed is None else int(claimed.name.removeprefix("run-"))
        suffix = "" if number == 1 else f"-{number}"
        name = self.derived[: MAX_RUN_ID_CHARS - len(suffix)] + suffix
        if claimed is not None:
            self._claimed[name] = claimed
        return name

    def note_end(self, name: str, status: str) -> None:
        """Note how a run of this process ended, for the other processes of the command."""
        path = self._claimed.pop(name, None)
        if path is not None and path.exists():  # else `realm run` has ended before us
            _write(path, _claim_of(status))

    def _claim(self, number: int, is_announced: bool) -> Path | None:
        """Claim a number of the command's; None where that is impossible.

        Ranks count by themselves, all alike.
        """
        directory = os.environ.get(REPORTS_VARIABLE)
        if not directory or os.environ.get("RANK") or os.environ.get("SLURM_PROCID"):
            return None
        own = _claim_of(None)
        try:
            for each in range(1, _MAX_CLAIMS):
                path = Path(directory, f"run-{each}")
                if _write(path, own, is_new=True) or (
                    number == 1 and _goes_on(path, own, is_announced)
                ):
                    return path
        except OSError:  # the directory has gone, or is of another container
            pass
        return None


def _goes_on(path: Path, own: dict[str, Any], is_announced: bool) -> bool:
    """Whether the first run of a process is one that another process has claimed.

    It is while that one's goes on, if no training is announced that would be another; and it is
    the next attempt of the same command that died.
    """
    try:
        with path.open("rb") as file:
            other = json.loads(file.read(_MAX_BYTES))
        status, pid, began = other["status"], str(int(other["pid"])), other["began"]
        command = other["command"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False
    if status == "completed":
        return False
    if began == _began(pid):
        return status is None and not is_announced
    if command != own["command"]:
        return False
    _write(path, own)
    return True


def _claim_of(status: str | None) -> dict[str, Any]:
    from realm_telemetry.producer.origin import command

    pid = os.getpid()
    return {"pid": pid, "began": _began(str(pid)), "command": command(), "status": status}


def _began(pid: str) -> int | None:
    fields = stat_fields(pid)
    return None if fields is None else int(fields[_START_TICKS])


def _write(path: Path, claim: dict[str, Any], *, is_new: bool = False) -> bool:
    """Write a claim whole; False if it should be new and there is one. Raises OSError."""
    mine = path.with_name(f"claim.{os.getpid()}.{get_ident()}")
    mine.write_text(json.dumps(claim), "utf-8")
    if not is_new:
        mine.replace(path)
        return True
    try:
        os.link(mine, path)
    except FileExistsError:
        return False
    finally:
        mine.unlink()
    return True
