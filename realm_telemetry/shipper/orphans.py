"""Pipelines that hold spools and have no shipper: who finds one starts a shipper for it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from realm_telemetry.delivery.retry import Backoff
from realm_telemetry.errors import ConfigError
from realm_telemetry.shipper.launch import launch, reap
from realm_telemetry.shipper.lock import is_held
from realm_telemetry.shipper.manifest import MANIFEST_NAME, read_manifest
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.reader import spool_directories

_FIRST_S: Final = 5.0
_LONGEST_S: Final = 600.0


def orphaned_pipelines(spool_root: Path) -> list[Path]:
    """Pipelines that hold spools and have no shipper.

    A spool's directory is there until every exporter has its last event, so a directory means
    work, whether its frames or a cursor wait. Raises OSError if the root cannot be read.
    """
    with os.scandir(spool_root) as entries:
        directories = [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
    return [
        directory
        for directory in directories
        if (directory / MANIFEST_NAME).exists()
        and spool_directories(directory)
        and not is_held(directory)
    ]


def adopt(
    orphans: list[Path], start: Callable[[Path], int], report: Callable[[str], None]
) -> list[int]:
    """Start a shipper for each orphaned pipeline; the pids for `reap`.

    A process of its own, because exporters read the environment of their pipeline; run by our
    interpreter, because that of an older version may be gone.
    """
    pids = []
    for directory in orphans:
        try:
            pids.append(start(directory))
            report(f"started a shipper for the orphaned pipeline {directory.name}")
        except (OSError, ConfigError) as error:
            report(f"no shipper could be started for the orphaned pipeline {directory}: {error}")
    return pids


class Adoption:
    """Adopts, for a log, the pipelines of which no process is left: all of them were killed.

    While a program lives, it starts its own shipper. A shipper that cannot finish its work is
    started again after longer and longer times, until there are other spools.
    clock: seconds, monotonic.
    """

    def __init__(
        self,
        spool_roots: list[Path],
        log_path: Path,
        report: Callable[[str], None],
        clock: Callable[[], float],
    ) -> None:
        self._roots = spool_roots
        self._log_path = log_path.absolute()
        self._report = report
        self._clock = clock
        self._tried: dict[Path, _Tried] = {}
        self._launched: list[int] = []

    def look(self) -> None:
        """Start what is missing; returns at once."""
        self._launched = [pid for pid in self._launched if not reap(pid)]
        orphans = [path for root in self._roots for path in self._in(root) if self._is_due(path)]
        self._launched += adopt(orphans, launch, self._report)

    def _in(self, root: Path) -> list[Path]:
        try:
            return orphaned_pipelines(root)
        except OSError:  # there is none
            return []

    def _is_due(self, directory: Path) -> bool:
        spools = spool_directories(directory)
        if any(map(is_alive, spools)) or not self._is_ours(directory):
            return False
        names = {spool.name for spool in spools}
        tried = self._tried.get(directory)
        if tried is None or tried.spools != names:
            tried = self._tried[directory] = _Tried(names)
        return tried.again(self._clock())

    def _is_ours(self, directory: Path) -> bool:
        try:
            return Path(read_manifest(directory).log_path) == self._log_path
        except ConfigError:  # `realm doctor` says why
            return False


class _Tried:
    """When to start a shipper again for a set of spools."""

    def __init__(self, spools: set[str]) -> None:
        self.spools = spools
        self._backoff = Backoff(_FIRST_S, _LONGEST_S)
        self._next_s = 0.0

    def again(self, now_s: float) -> bool:
        """Whether it is time for another; then it counts as started."""
        if now_s < self._next_s:
            return False
        self._next_s = now_s + self._backoff.failed()
        return True
