"""Ship what is there and return: `realm ship --once`, for epilogs and preStop hooks."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.shipper.manifest import join_surroundings, read_manifest
from realm_telemetry.shipper.overview import describe_spool
from realm_telemetry.shipper.shipper import Shipper
from realm_telemetry.spool.reader import spool_directories

LOOK_S: Final = 0.1
LEAVE_S: Final = 1.5


class ShipResult(msgspec.Struct, frozen=True):
    """What became of one pipeline.

    pending: events that are still not in the log; unexported: in the log, but not everywhere.
    unended: producers that have ended without the log having their end yet.
    problem: why, where anything is left; empty otherwise.
    """

    directory: str
    pending: int
    unexported: int
    problem: str = ""
    unended: int = msgspec.field(default=0, name="untold")

    @property
    def complete(self) -> bool:
        """Whether everything is in the log and acknowledged by every exporter."""
        return not (self.pending or self.unexported or self.unended or self.problem)


def ship_once(pipeline_dirs: Sequence[Path], timeout_s: float = 30.0) -> list[ShipResult]:
    """Ship everything that these pipelines hold now, all at once, within the time.

    Where a shipper is at work already, wait for it to catch up. What is left stays where it is.
    """
    deadline_s = time.monotonic() + timeout_s
    problems: dict[Path, str] = {}
    threads = [
        threading.Thread(target=_ship, args=(directory, deadline_s, problems), daemon=True)
        for directory in pipeline_dirs
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(deadline_s - time.monotonic(), 0.0) + LEAVE_S)
    return [_result(directory, problems.get(directory, "")) for directory in pipeline_dirs]


def _ship(directory: Path, deadline_s: float, problems: dict[Path, str]) -> None:
    try:
        join_surroundings(read_manifest(directory))
        shipper = Shipper(directory, once=True)
        timer = threading.Timer(max(deadline_s - time.monotonic(), 0.0), shipper.stop)
        timer.start()
        try:
            while not shipper.run() and time.monotonic() < deadline_s:
                # Another shipper has it, and may leave before it is done: then this one ships.
                if _caught_up(directory):
                    return
                time.sleep(LOOK_S)
        finally:
            timer.cancel()
        problems[directory] = " ".join(shipper.problems.values())
    except (ConfigError, OSError) as error:
        problems[directory] = str(error)


def _caught_up(directory: Path) -> bool:
    return _result(directory, "").complete


def _result(directory: Path, problem: str) -> ShipResult:
    pending = unexported = unended = 0
    try:
        read_manifest(directory)
    except ConfigError as error:  # whose spools these are is not known: none is opened
        return ShipResult(str(directory), 0, 0, str(error))
    for spool in spool_directories(directory):
        try:
            status = describe_spool(spool)
        except OSError:  # shipped and removed meanwhile
            continue
        pending += status.pending
        unexported += status.unexported
        unended += status.end_unstored
    return ShipResult(str(directory), pending, unexported, problem, unended)
