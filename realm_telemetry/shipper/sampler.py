"""The sampler: what the machine does while runs go on, as events of those runs."""

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec.structs import replace

from realm_telemetry.event import Event
from realm_telemetry.shipper.ends import event_of, made_number
from realm_telemetry.shipper.samples import (
    Gpus,
    Usage,
    container_memory,
    disk_free,
    host_memory,
    memory_stall_percent,
    peak_rss_bytes,
    tree_of,
)
from realm_telemetry.shipper.spools import Spool
from realm_telemetry.shipper.watch import WatchSettings

SAMPLE_S: Final = 10.0
LOOK_S: Final = 2.0
"""Between looks at the memory: what kills for want of it may kill the shipper too."""

LOCK_NAME: Final = "sampler.lock"
_RELAXED: Final = 0.1
"""So far must a share fall below its limit before it is reported again."""


class Sampler:
    """Samples while a run of this pipeline is open; idle otherwise.

    What belongs to the host (its memory, its GPUs) is sampled by one pipeline of it.
    """

    def __init__(
        self,
        spool_root: Path,
        home: str,
        settings: WatchSettings,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._lock_path = spool_root / LOCK_NAME
        self._home = home
        self._settings = settings
        self._clock_ns = clock_ns
        self._lock: int | None = None
        self._gpus = Gpus()
        self._sampled: dict[str, tuple[Usage, float]] = {}
        self._reported: set[tuple[str, str]] = set()
        self._look_at_s = 0.0

    def look(self, spools: Iterable[Spool], now_s: float) -> list[Event]:
        """Return the events of this moment; mostly none."""
        if not self._settings.samples or now_s < self._look_at_s:
            return []
        self._look_at_s = now_s + LOOK_S
        runs = _open_runs(spools)
        if not runs:
            self.close()
            return []
        found = [event for run in runs.values() for event in self._memory(run)]
        return found + self._samples(runs, now_s)

    def close(self) -> None:
        """Let another shipper of this host sample."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
        self._sampled.clear()

    def _memory(self, run: list[tuple[Spool, int]]) -> list[Event]:
        """Report memory that is nearly used up, before anything is killed for it."""
        spool, pid = run[0]
        place, used, limit = _fullest(pid)
        if not limit:
            return []
        share = used / limit
        for each, _ in run:
            if each.notes.run is not None:
                each.notes.run.memory_share = round(share, 4)
        details = {
            "share": round(share, 4),
            "place": place,
            "used_bytes": used,
            "limit_bytes": limit,
        }
        high = share - self._settings.memory_share
        return self._edge(spool, "memory_pressure", place, details, high, _RELAXED)

    def _samples(self, runs: Mapping[str, list[tuple[Spool, int]]], now_s: float) -> list[Event]:
        of_host: dict[str, Any] | None = None
        found = []
        for run_id, run in runs.items():
            usage, due_s = self._sampled.get(run_id, (None, now_s))
            if now_s < due_s:
                continue
            for each, pid in run:
                _note_peak(each, pid)
            # The first one is what the processor time of the second is counted from.
            begun = usage or Usage()
            used = begun.take(_pids(run), now_s)
            self._sampled[run_id] = begun, now_s + SAMPLE_S
            if usage is not None:
                of_host = self._of_host() if of_host is None else of_host
                found += self._sample(run, used | of_host)
        return found

    def _sample(self, run: list[tuple[Spool, int]], used: dict[str, Any]) -> list[Event]:
        spool, pid = run[0]
        free = disk_free(self._directories(spool))
        host = {"host": spool.notes.resource.get("host.name", os.uname().nodename)}
        details = host | used | container_memory(pid) | free
        return [self._event(spool, "resource_sampled", details), *self._disks(spool, free)]

    def _of_host(self) -> dict[str, Any]:
        """What one pipeline of the host samples for all."""
        if not self._holds():
            return {}
        gpus = self._gpus.take()
        return host_memory() | memory_stall_percent() | ({"gpus": gpus} if gpus else {})

    def _disks(self, spool: Spool, free: Mapping[str, int]) -> list[Event]:
        found = []
        limit = self._settings.disk_low_bytes
        directories = self._directories(spool)
        for name, directory in directories.items():
            if (left := free.get(f"{name}_free_bytes")) is not None:
                details = {"path": directory, "free_bytes": left}
                found += self._edge(spool, "disk_low", directory, details, limit - left, limit / 10)
        return found

    def _directories(self, spool: Spool) -> dict[str, str]:
        run = spool.notes.run
        return {"home": self._home, **(run.directories if run else {})}

    def _edge(
        self,
        spool: Spool,
        kind: str,
        name: str,
        details: dict[str, Any],
        above: float,
        relaxed: float,
    ) -> list[Event]:
        """Report once that a limit is reached, and again only after some distance from it."""
        key = (kind, name)
        if above >= 0 and key not in self._reported:
            self._reported.add(key)
            return [self._event(spool, kind, details)]
        if above < -relaxed:
            self._reported.discard(key)
        return []

    def _event(self, spool: Spool, kind: str, details: dict[str, Any]) -> Event:
        now_ns = self._clock_ns()
        run = spool.notes.run
        run_id = run.id if run else None
        event = event_of(spool, kind, details, now_ns, made_number(kind, run_id, str(now_ns)))
        return replace(event, run_id=run_id)

    def _holds(self) -> bool:
        """Whether this shipper samples for the host; takes over where nobody does."""
        if self._lock is None:
            self._lock = _locked(self._lock_path)
        return self._lock is not None


def _open_runs(spools: Iterable[Spool]) -> dict[str, list[tuple[Spool, int]]]:
    """The processes on this host of each run that goes on."""
    runs: dict[str, list[tuple[Spool, int]]] = {}
    for spool in spools:
        run = spool.notes.run
        if run is None or run.ended or run.id is None or not spool.alive:
            continue
        if (pid := spool.pid()) is not None:
            runs.setdefault(run.id, []).append((spool, pid))
    return runs


def _pids(run: list[tuple[Spool, int]]) -> list[int]:
    """The processes of a run on this host, with all that they have started."""
    return list(dict.fromkeys(child for _, pid in run for child in tree_of(pid)))


def _fullest(pid: int) -> tuple[str, int, int]:
    """Return where memory is scarcest, how much is used there, and of how much."""
    container = container_memory(pid)
    if container:
        return "container", container["container_memory_bytes"], container["container_limit_bytes"]
    host = host_memory()
    total = host.get("host_memory_bytes", 0)
    return "host", total - host.get("host_memory_available_bytes", total), total


def _note_peak(spool: Spool, pid: int) -> None:
    peak = peak_rss_bytes(pid)
    run = spool.notes.run
    if run is not None and peak is not None:
        run.peak_rss_bytes = max(run.peak_rss_bytes or 0, peak)


def _locked(path: Path) -> int | None:
    """Take the lock of a file; None if another process has it, or there is no room for it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return None
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor
