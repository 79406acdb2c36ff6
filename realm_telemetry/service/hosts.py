"""The hosts that shippers report from, and which of them is silent: in memory, by our own clock.

No clock of another host is asked. A time during which this service itself stood still (stopped,
suspended, or too busy to look) counts as no silence of anybody.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.delivery.heartbeats import SILENT_S, Heartbeat, RunningProcess
from realm_telemetry.event import Event, format_time
from realm_telemetry.folds.runs import processes_of
from realm_telemetry.folds.state.values import number
from realm_telemetry.service.hosts_file import HeardHost
from realm_telemetry.values.clock import monotonic

MAX_HOSTS: Final = 1_024
MAX_SENDERS: Final = 64
"""Pipelines of one host."""

MAX_ALL_PROCESSES: Final = 100_000
MAX_REPORTED_BYTES: Final = 40_000
"""Of runs and processes that one event names: it has room for 64 KiB. Enough for 1,000 ranks."""

_PROCESS_BYTES: Final = 32
_RUN_BYTES: Final = 64

PAIR_S: Final = 600.0
"""A host is reported as lost once in so many seconds at most."""

MISSED: Final = 3
"""Heartbeats that must stay away, whatever the limit of this service is."""

LATE_S: Final = 2.0
"""How late a heartbeat may be: a sender gives up a request after so long."""

FORGET_S: Final = 3_600.0
FORGET_LOST_S: Final = 30 * 86_400.0

Key = tuple[str, str]
"""A host's name and its boot id."""


class FullError(Exception):
    """More processes are reported than are kept."""


class Sender(msgspec.Struct):
    """A pipeline of a host.

    heard_s: when it was heard last, on `monotonic`. is_fresh: other services do not know it yet.
    """

    heard_s: float
    interval_s: float
    processes: Sequence[RunningProcess]
    is_fresh: bool = False


class Host(msgspec.Struct):
    """What is known of one host.

    heard_s: when it was heard last, on `monotonic`; None if not since this service started.
    heard_unix_nano: the same on the service's wall clock.
    lost: the processes it was reported with as lost, by run; None while it is not.
    lost_at_s: when that was last. back_at_s: since when it is heard again and that is not reported.
    reported: id of the event that was taken over last.
    is_remembered: whether an earlier service has heard it, and this one not yet; then `heard_s` is
        when this one began.
    """

    name: str
    boot_id: str
    heard_s: float | None = None
    heard_unix_nano: int = 0
    senders: dict[str, Sender] = {}
    lost: dict[str, list[str]] | None = None
    lost_at_s: float = float("-inf")
    back_at_s: float | None = None
    reported: str = ""
    is_remembered: bool = False

    @property
    def processes(self) -> list[RunningProcess]:
        """The processes of all pipelines; one that takes part in several runs has each of them."""
        return [process for sender in self.senders.values() for process in sender.processes]

    @property
    def interval_s(self) -> float:
        """How long it may take to the next heartbeat."""
        return min((sender.interval_s for sender in self.senders.values()), default=0.0)

    def by_run(self) -> dict[str, list[str]]:
        """Return its processes by run."""
        runs: dict[str, list[str]] = {}
        for process in self.processes:
            runs.setdefault(process.run_id, []).append(process.producer)
        return runs


class Hosts:
    """All hosts. For one thread; it asks nothing and stores nothing itself."""

    def __init__(
        self,
        silent_s: float = SILENT_S,
        clock: Callable[[], float] = monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._silent_s = silent_s
        self._clock, self._clock_ns = clock, clock_ns
        self._hosts: dict[Key, Host] = {}
        self._looked_at_s = clock()

    def __iter__(self) -> Iterator[Host]:
        return iter(sorted(self._hosts.values(), key=lambda host: (host.name, host.boot_id)))

    def hear(self, beat: Heartbeat) -> None:
        """Take in a heartbeat. Raises FullError."""
        self._hear(beat, 0.0).is_fresh = True

    def hear_of(self, beat: Heartbeat, age_s: float) -> None:
        """Take in a heartbeat that came to another service, unless a later one is known.

        Raises FullError.
        """
        host = self._hosts.get((beat.host, beat.boot_id))
        known = host.senders.get(beat.pipeline) if host else None
        if known is None and not beat.processes and age_s > FORGET_S:
            return
        if known is None or known.heard_s < self._clock() - age_s:
            self._hear(beat, age_s)

    def fresh(self) -> list[tuple[Heartbeat, float]]:
        """Return what came here since the last call, each with how long ago that was."""
        found = []
        for host in self:
            for pipeline, each in host.senders.items():
                if each.is_fresh:
                    each.is_fresh = False
                    age_s = max(self._clock() - each.heard_s, 0.0)
                    found.append((_beat(host, pipeline, each), age_s))
        return found

    def not_shared(self, beats: Iterable[Heartbeat]) -> None:
        """Return these from `fresh` again: no other service knows of them."""
        for beat in beats:
            host = self._hosts.get((beat.host, beat.boot_id))
            if host is not None and beat.pipeline in host.senders:
                host.senders[beat.pipeline].is_fresh = True

    def _hear(self, beat: Heartbeat, age_s: float) -> Sender:
        key = beat.host, beat.boot_id
        host = self._hosts.get(key) or Host(beat.host, beat.boot_id)
        known = host.senders.get(beat.pipeline)
        others = sum(
            len(sender.processes)
            for each in self._hosts.values()
            for sender in each.senders.values()
        )
        others -= len(known.processes) if known else 0
        if others + len(beat.processes) > MAX_ALL_PROCESSES:
            raise FullError
        heard_s = self._clock() - age_s
        sender = Sender(heard_s, beat.interval_s, beat.processes)
        host.senders[beat.pipeline] = sender
        if host.heard_s is None or host.is_remembered or heard_s >= host.heard_s:
            host.heard_s = heard_s
            host.heard_unix_nano = self._clock_ns() - int(age_s * 1e9)
        host.is_remembered = False
        if host.lost is not None and host.back_at_s is None:
            host.back_at_s = heard_s
        self._hosts[key] = host
        if len(host.senders) > MAX_SENDERS:
            del host.senders[min(host.senders, key=lambda name: host.senders[name].heard_s)]
        if len(self._hosts) > MAX_HOSTS:
            del self._hosts[min(self._hosts, key=lambda each: _worth(self._hosts[each]))]
        return sender

    def heard(self) -> list[HeardHost]:
        """Return the last heartbeat of each pipeline that may be missed, for the next service."""
        return [
            HeardHost(_beat(host, pipeline, each), host.heard_unix_nano)
            for host in self
            if host.lost is None
            for pipeline, each in host.senders.items()
            if each.processes
        ]

    def remember(self, heard: Iterable[HeardHost]) -> None:
        """Take over what an earlier service has heard: its silence counts from now on."""
        fresh = set(self._hosts)
        now_s = self._clock()
        for each in heard:
            beat = each.beat
            key = beat.host, beat.boot_id
            if key in fresh or len(self._hosts) >= MAX_HOSTS:
                continue
            host = self._hosts.setdefault(key, Host(*key, heard_s=now_s, is_remembered=True))
            host.heard_unix_nano = max(host.heard_unix_nano, each.heard_unix_nano)
            host.senders[beat.pipeline] = Sender(now_s, beat.interval_s, beat.processes)

    def look(self, due_s: float) -> None:
        """Note that this service runs; called every `due_s` seconds."""
        now_s = self._clock()
        stood_still_s = now_s - self._looked_at_s - due_s
        self._looked_at_s = now_s
        if stood_still_s > LATE_S:
            self.excuse(stood_still_s)
        self._forget(now_s)

    def excuse(self, seconds: float) -> None:
        """Take a time in which nobody could be heard off every host's silence."""
        now_s = self._clock()
        for host in self._hosts.values():
            if host.heard_s is not None:
                host.heard_s = min(host.heard_s + seconds, now_s)

    def silent(self) -> list[Host]:
        """Return the hosts that are to be reported as lost."""
        now_s = self._clock()
        return [
            host
            for host in self
            if host.lost is None
            and host.processes
            and self.is_silent(host)
            and now_s - host.lost_at_s >= PAIR_S
        ]

    def is_silent(self, host: Host) -> bool:
        """Whether a host was heard, and not for too long."""
        return host.heard_s is not None and self._clock() - host.heard_s >= self._limit_s(host)

    def _limit_s(self, host: Host) -> float:
        return max(self._silent_s, MISSED * host.interval_s)

    def lose(self, host: Host, open_processes: Mapping[str, list[str]]) -> dict[str, Any]:
        """Note that a host is reported as lost; return the details of the event.

        open_processes: those of its processes that have not ended, by run.
        """
        host.lost = _few(open_processes)
        host.lost_at_s, host.back_at_s = self._clock(), None
        return _details(host) | {
            "silent_s": round(host.lost_at_s - (host.heard_s or 0.0), 1),
            "last_heard": format_time(host.heard_unix_nano),
            "runs": _listed(host.lost, host.processes),
        }

    def returned(self) -> list[Host]:
        """Return the hosts that are to be reported as heard again.

        That waits until each pipeline of the host could be heard, so that none of its processes is
        taken for gone.
        """
        for host in self._hosts.values():
            if self.is_silent(host):
                host.back_at_s = None
        return [host for host in self if host.back_at_s is not None and self._is_complete(host)]

    def _is_complete(self, host: Host) -> bool:
        assert host.back_at_s is not None
        if self._clock() - host.back_at_s >= host.interval_s + LATE_S:
            return True
        lost = host.lost or {}
        awaited = {(run_id, name) for run_id, producers in lost.items() for name in producers}
        return awaited <= {(each.run_id, each.producer) for each in self._heard_again(host)}

    def _heard_again(self, host: Host) -> list[RunningProcess]:
        since_s = host.back_at_s or 0.0
        senders = [each for each in host.senders.values() if each.heard_s >= since_s]
        return [process for sender in senders for process in sender.processes]

    def welcome(self, host: Host) -> dict[str, Any]:
        """Note that a host is reported as heard again; return the details of the event.

        Of its processes it names those that are there; what became of the others their end tells.
        """
        there = self._heard_again(host)
        pairs = {(each.run_id, each.producer) for each in there}
        runs = {
            run_id: [name for name in producers if (run_id, name) in pairs]
            for run_id, producers in (host.lost or {}).items()
        }
        silent_s = max((host.back_at_s or 0.0) - host.lost_at_s, 0.0)
        host.lost = host.back_at_s = None
        return _details(host) | {
            "silent_s": round(silent_s, 1),
            "runs": _listed({run_id: names for run_id, names in runs.items() if names}, there),
        }

    def clear(self, host: Host) -> None:
        """Forget the processes of a silent host: all have ended."""
        for sender in host.senders.values():
            sender.processes = ()

    def restore(self, events: Iterable[Event]) -> None:
        """Take over what other services reported, earlier ones too: their events, newest first."""
        now_s, now_ns = self._clock(), self._clock_ns()
        seen: set[Key] = set()
        for event in events:
            key = str(event.details.get("host")), str(event.details.get("boot_id") or "")
            known = self._hosts.get(key)
            is_news = key not in seen and (known is None or known.reported != event.id)
            if event.kind == "host_lost":
                host = self._hosts.setdefault(key, Host(*key))
                age_s = max(now_ns - event.time_unix_nano, 0) / 1e9
                host.lost_at_s = max(host.lost_at_s, now_s - age_s)
                if is_news:
                    self._restore_lost(host, event)
            elif is_news and known is not None:
                known.lost = known.back_at_s = None
                known.reported = event.id
            seen.add(key)

    def _restore_lost(self, host: Host, event: Event) -> None:
        host.reported = event.id
        host.lost = {run_id: list(names) for run_id, names in processes_of(event).items()}
        if host.is_remembered:  # it has not been heard since
            host.heard_s, host.is_remembered = None, False
        host.back_at_s = host.heard_s
        if host.heard_s is None:
            silent_s = number(event.details.get("silent_s")) or 0.0
            host.heard_unix_nano = event.time_unix_nano - int(silent_s * 1e9)

    def _forget(self, now_s: float) -> None:
        for key, host in list(self._hosts.items()):
            if host.lost is not None:
                is_over = now_s - host.lost_at_s > FORGET_LOST_S
            else:
                is_over = not host.processes and now_s - (host.heard_s or 0.0) > FORGET_S
            if is_over:
                del self._hosts[key]

    def shown(self) -> list[dict[str, Any]]:
        """Return all hosts as readers see them."""
        return [self._shown(host) for host in self]

    def _shown(self, host: Host) -> dict[str, Any]:
        wall_s = (self._clock_ns() - host.heard_unix_nano) / 1e9
        by_wall = host.heard_s is None or host.is_remembered
        age_s = wall_s if by_wall else self._clock() - (host.heard_s or 0.0)
        known = {(each.run_id, each.producer): each for each in host.processes}
        return {
            "host": host.name,
            "boot_id": host.boot_id,
            "status": self._status(host),
            "last_heard_at": format_time(host.heard_unix_nano),
            "age_s": round(max(age_s, 0.0), 3),
            "runs": [
                {
                    "run_id": run_id,
                    "processes": [_process(name, known.get((run_id, name))) for name in producers],
                }
                for run_id, producers in sorted((host.by_run() or host.lost or {}).items())
            ],
        }

    def _status(self, host: Host) -> str:
        if host.lost is not None and host.back_at_s is None:
            return "lost"
        if not self.is_silent(host):
            return "live"
        return "silent" if host.processes else "away"


def _beat(host: Host, pipeline: str, sender: Sender) -> Heartbeat:
    return Heartbeat(host.name, host.boot_id, pipeline, sender.interval_s, list(sender.processes))


def _worth(host: Host) -> tuple[bool, float]:
    """What is forgotten first: hosts where nothing runs, whoever else may report from them."""
    return bool(host.processes or host.lost), host.heard_s or 0.0


def _details(host: Host) -> dict[str, Any]:
    return {"host": host.name, "boot_id": host.boot_id}


def _few(runs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return as many processes as one event names."""
    few: dict[str, list[str]] = {}
    left = MAX_REPORTED_BYTES
    for run_id, producers in runs.items():
        left -= _RUN_BYTES + len(run_id.encode())
        room = max(left, 0) // _PROCESS_BYTES
        if room:
            few[run_id] = list(producers[:room])
            left -= _PROCESS_BYTES * len(few[run_id])
    return few


def _listed(
    runs: Mapping[str, Sequence[str]], processes: Iterable[RunningProcess]
) -> list[dict[str, Any]]:
    """Return runs as an event names them, with the ranks of their processes."""
    rank_of = {each.producer: each.rank for each in processes}
    return [
        {"run_id": run_id, "producers": list(names), "ranks": _ranks(map(rank_of.get, names))}
        for run_id, names in runs.items()
    ]


def _ranks(ranks: Iterable[int | None]) -> list[int]:
    return sorted({rank for rank in ranks if rank is not None})


def _process(producer: str, found: RunningProcess | None) -> dict[str, Any]:
    nanos = found.step_unix_nano if found else None
    return {
        "producer": producer,
        "rank": found.rank if found else None,
        "step": found.step if found else None,
        "step_at": None if nanos is None else format_time(nanos),
    }
