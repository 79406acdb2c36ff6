"""The sampler: what the machine does while runs go on, as events of those runs."""

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, NamedTuple, TypeVar

from msgspec.structs import replace

from realm_telemetry.event import Event
from realm_telemetry.shipper.ends import event_of, made_number
from realm_telemetry.shipper.notes import RunNotes
from realm_telemetry.shipper.process_end import kills_in_group_of, processor_time
from realm_telemetry.shipper.samples import (
    Gpus,
    HostProcessors,
    Usage,
    container_memory,
    disk_free,
    filesystems,
    host_memory,
    memory_stall_percent,
    peak_rss_bytes,
    processors_of,
    tree_of,
)
from realm_telemetry.shipper.spools import Spool
from realm_telemetry.shipper.watch import WatchSettings

SAMPLE_S: Final = 10.0
HOSTS: Final = 16
"""Of one run; with more of them each is sampled less often, so that their log stays as small."""

MAX_SAMPLE_S: Final = 40.0
"""Metrics show the numbers of a sample for a minute."""

LOOK_S: Final = 2.0
"""Between looks at the memory: what kills for want of it may kill the shipper too."""

TIME_S: Final = 0.5
TIMES_PER_S: Final = 100
"""Between looks at the limits of processor time, and how many processes a second."""

CLOSE_S: Final = 0.1
"""Between looks at a process that is about to use up its processor time."""

T = TypeVar("T")

LOCK_NAME: Final = "sampler.lock"
_RELAXED: Final = 0.1
"""So far must a share fall below its limit before it is reported again."""


PATIENCE_S: Final = 1.0
"""So long a reading may take; the shipper has events to store."""


class _Part(NamedTuple):
    """A process of a run on this host."""

    spool: Spool
    run: RunNotes
    pid: int


class _Readings(Generic[T]):
    """Reads in a thread what may hang: a network disk whose server is gone, a driver.

    While a reading hangs, no other is begun.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def take(self, read: Callable[[], T]) -> T | None:
        """Return what was read; None if that takes too long or fails."""
        if self._thread is not None and self._thread.is_alive():
            return None
        found: list[T] = []

        def work() -> None:
            # A sample is worth no trouble, whatever a driver raises.
            with suppress(Exception):
                found.append(read())

        self._thread = threading.Thread(target=work, name="realm-telemetry-readings", daemon=True)
        self._thread.start()
        self._thread.join(PATIENCE_S)
        return found[0] if found else None


class Sampler:
    """Samples while a run of this pipeline is open; idle otherwise.

    What belongs to the host (its memory, its GPUs) is sampled by one pipeline of it.
    is_close: whether the next look must not wait, as a process is about to use up its time.
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
        self._of_gpus = _Readings[list[dict[str, Any]]]()
        self._of_disks = _Readings[tuple[dict[str, int], list[dict[str, Any]]]]()
        self._processors = HostProcessors()
        self._sampled: dict[str, tuple[Usage, float]] = {}
        self._reported: set[tuple[str, str]] = set()
        self._look_at_s = self._time_at_s = 0.0
        self.is_close = False

    def look(self, spools: Iterable[Spool], now_s: float) -> list[Event]:
        """Return the events of this moment; mostly none."""
        if not self._settings.samples or now_s < min(self._look_at_s, self._time_at_s):
            return []
        runs = _open_runs(spools)
        self._time_at_s = now_s + self._processor_time(runs)
        if now_s < self._look_at_s:
            return []
        self._look_at_s = now_s + LOOK_S
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

    def _processor_time(self, runs: Mapping[str, list[_Part]]) -> float:
        """Note who is about to use up its processor time; returns when to look again, in seconds.

        The kernel ends a process at its limit without a word, so the last look must be close.
        """
        parts = [part for run in runs.values() for part in run]
        usual_s = next_s = min(max(TIME_S, len(parts) / TIMES_PER_S), SAMPLE_S)
        for part in parts:
            part.run.processor = time_of = processor_time(part.pid)
            if time_of is None:
                continue
            # In so many seconds at the earliest, with all threads on processors of their own.
            after_s = time_of.left_s / min(time_of.threads, os.cpu_count() or 1)
            next_s = min(next_s, max(after_s / 2, CLOSE_S))
        self.is_close = next_s < usual_s
        return next_s

    def _memory(self, run: list[_Part]) -> list[Event]:
        """Report memory that is nearly used up, before anything is killed for it."""
        for part in run:
            _note_group(part)
        place, used, limit = _fullest(run[0].pid)
        if not limit:
            return []
        share = used / limit
        for part in run:
            part.run.memory_share = round(share, 4)
        details = {
            "share": round(share, 4),
            "place": place,
            "used_bytes": used,
            "limit_bytes": limit,
        }
        high = share - self._settings.memory_share
        return self._edge(run[0], "memory_pressure", place, details, high, _RELAXED)

    def _samples(self, runs: Mapping[str, list[_Part]], now_s: float) -> list[Event]:
        of_host: dict[str, Any] | None = None
        found = []
        self._sampled = {name: kept for name, kept in self._sampled.items() if name in runs}
        for run_id, run in runs.items():
            usage, due_s = self._sampled.get(run_id, (None, now_s))
            if now_s < due_s:
                continue
            for part in run:
                _note_peak(part)
            # The first one is what the processor time of the second is counted from.
            begun = usage or Usage()
            used = begun.take(_pids(run), now_s)
            self._sampled[run_id] = begun, now_s + sample_every_s(_hosts(run))
            if usage is None:
                self._processors.take()
            else:
                of_host = self._of_host() if of_host is None else of_host
                found += self._sample(run, used | of_host)
        return found

    def _sample(self, run: list[_Part], used: dict[str, Any]) -> list[Event]:
        first = run[0]
        directories = self._directories(first)
        disks = self._of_disks.take(lambda: (disk_free(directories), filesystems(directories)))
        free, mounted = disks or ({}, [])
        host = {"host": first.spool.notes.resource.get("host.name", os.uname().nodename)}
        details = host | used | processors_of(first.pid) | container_memory(first.pid) | free
        details |= {"filesystems": mounted} if mounted else {}
        return [self._event(first, "resource_sampled", details), *self._disks(first, free)]

    def _of_host(self) -> dict[str, Any]:
        """What one pipeline of the host samples for all."""
        if not self._holds():
            return {}
        gpus = self._of_gpus.take(self._gpus.take)
        host = self._processors.take() | host_memory() | memory_stall_percent()
        return host | ({"gpus": gpus} if gpus else {})

    def _disks(self, part: _Part, free: Mapping[str, int]) -> list[Event]:
        found = []
        limit = self._settings.disk_low_bytes
        directories = self._directories(part)
        for name, directory in directories.items():
            if (left := free.get(f"{name}_free_bytes")) is not None:
                details = {"path": directory, "free_bytes": left}
                found += self._edge(part, "disk_low", directory, details, limit - left, limit / 10)
        return found

    def _directories(self, part: _Part) -> dict[str, str]:
        return {"home": self._home, **part.run.directories}

    def _edge(
        self,
        part: _Part,
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
            return [self._event(part, kind, details)]
        if above < -relaxed:
            self._reported.discard(key)
        return []

    def _event(self, part: _Part, kind: str, details: dict[str, Any]) -> Event:
        now_ns = self._clock_ns()
        number = made_number(kind, part.run.id, str(now_ns))
        event = event_of(part.spool, kind, details, now_ns, number)
        return replace(event, run_id=part.run.id)

    def _holds(self) -> bool:
        """Whether this shipper samples for the host; takes over where nobody does."""
        if self._lock is None:
            self._lock = _locked(self._lock_path)
        return self._lock is not None


def _open_runs(spools: Iterable[Spool]) -> dict[str, list[_Part]]:
    """The processes on this host of each run that goes on."""
    runs: dict[str, list[_Part]] = {}
    for spool in spools:
        open_runs = spool.notes.open_runs() if spool.alive else []
        if open_runs and (pid := spool.pid()) is not None:
            for run in open_runs:
                runs.setdefault(run.id, []).append(_Part(spool, run, pid))
    return runs


def sample_every_s(hosts: int) -> float:
    """Return how often each of so many hosts of a run is sampled."""
    return min(max(SAMPLE_S, SAMPLE_S * hosts / HOSTS), MAX_SAMPLE_S)


def _hosts(run: list[_Part]) -> int:
    """How many hosts a run is on, if each has as many of its ranks as this one."""
    ranks = {part.spool.notes.resource.get("realm.rank") for part in run} - {None}
    return max(part.run.world_size for part in run) // max(len(ranks), 1)


def _pids(run: list[_Part]) -> list[int]:
    """The processes of a run on this host, with all that they have started."""
    return list(dict.fromkeys(child for part in run for child in tree_of(part.pid)))


def _fullest(pid: int) -> tuple[str, int, int]:
    """Return where memory is scarcest, how much is used there, and of how much."""
    container = container_memory(pid)
    if container:
        return "container", container["container_memory_bytes"], container["container_limit_bytes"]
    host = host_memory()
    total = host.get("host_memory_bytes", 0)
    return "host", total - host.get("host_memory_available_bytes", total), total


def _note_group(part: _Part) -> None:
    """Note in which control group a process is: it may have gone into another since its hello."""
    found, known = kills_in_group_of(part.pid), part.run.container_kills
    if found is not None and (known is None or known[0] != found[0]):
        part.run.container_kills = found


def _note_peak(part: _Part) -> None:
    peak = peak_rss_bytes(part.pid)
    if peak is not None:
        part.run.peak_rss_bytes = max(part.run.peak_rss_bytes or 0, peak)


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
