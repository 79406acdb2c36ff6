"""The status of a run, out of what is known of its processes.

First the end of each process: `ENDINGS`, the first row that there is an event of. Then the run:
`ROWS`, the first row that fits. Only the processes of the newest attempt count: of each rank the
one that started last, and of processes without a rank those that no later one has replaced.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from realm_telemetry.folds.clock import Stamp
from realm_telemetry.folds.runs.record import RunRecord
from realm_telemetry.folds.state.lattice import Cells
from realm_telemetry.folds.state.values import number
from realm_telemetry.values.times import MINUTE_S, in_words

ENDINGS: Final = (
    # cell of the record, the event that sets it
    ("ended_by_shipper", "run_ended of the shipper"),
    ("ended", "run_ended of the process itself"),
    ("failed", "training_failed"),
    ("cancelled", "training_cancelled"),
    ("completed", "training_completed"),
    ("exception", "uncaught_exception of the main thread, or a fatal one by OTLP"),
    ("signal", "fatal_signal"),
    ("lost", "process_lost"),
)
"""What ends a process, the surest first. It ends nothing if the process went on after it."""

_OF_A_PEER: Final = re.compile(
    r"Connection\w*Error|BrokenPipe|broken pipe|connection (was )?(closed|reset|refused|aborted)"
    r"|Dist(Backend|Network|Store)Error|NCCL|\bpeer\b",
    re.IGNORECASE,
)
"""Errors of a process whose peer has gone: they follow from what ended that one."""


_BARE: Final = frozenset(("exit_code", "signal"))
"""What says how a process ended, and nothing of why."""

_OF_SENDER: Final = frozenset(("asked_to_end", "sender"))

_OPEN: Final = frozenset(("running", "stalled", "paused"))
"""No status of an end."""

_GOOD_WORDS: Final = frozenset(("success", "succeeded", "ok", "done", "finished", "complete"))
"""What other software calls completed. Every other word that is not ours is a failure."""


class End(msgspec.Struct, frozen=True):
    """How a process ended.

    at: nanoseconds since 1970. trouble_at: of its exception, if that led to the end; else `at`.
    follows: whether such an end usually follows from that of another process.
    """

    status: str
    reason: str | None
    evidence: Any
    at: int
    trouble_at: int
    follows: bool = False


class Process(msgspec.Struct, frozen=True):
    """What is known of one process of a run.

    life, stalled, paused: stamps of the last sign of progress, stall and pause.
    seen: of the last event of its own. cells: all else.
    silent: what is known of its host, if that is silent: `host`, `last_heard`, `silent_s`.
    """

    producer: str
    cells: Cells
    rank: int | None
    attempt: int | None
    started: Stamp
    seen: Stamp
    life: Stamp
    stalled: Stamp
    paused: Stamp
    takes_part: bool
    end: End | None
    silent: Mapping[str, Any] | None = None

    def value(self, name: str) -> Any:
        """Return the value of a cell, None without one."""
        cell = self.cells.get(name)
        return None if cell is None else cell[1]


_NEVER: Final[Stamp] = (-(2**63), "", 0)


def read_process(producer: str, cells: Cells) -> Process:
    """Return a process as its cells give it."""

    def stamp(name: str) -> Stamp:
        return cells[name][0] if name in cells else _NEVER

    def value(name: str) -> Any:
        return cells[name][1] if name in cells else None

    seen = stamp("seen")
    started = stamp("start") if "start" in cells else seen
    life = max(stamp("life"), stamp("start"))
    attempt = value("attempt")
    return Process(
        producer,
        cells,
        value("rank"),
        attempt if type(attempt) is int else None,
        started,
        seen,
        life,
        stamp("stalled"),
        stamp("paused"),
        "part" in cells,
        _end(cells, life),
        value("silent") if stamp("silent") > stamp("heard") else None,
    )


def _end(cells: Cells, life: Stamp) -> End | None:
    found = [name for name, _ in ENDINGS if name in cells and cells[name][0] > life]
    if not found or (found == ["exception"] and _hangs_in_exit(cells)):
        return None
    stamp, (status, reason, evidence) = cells[found[0]]
    troubles = [cells[name][0][0] for name in ("exception", "failed") if name in found]
    text = str(cells["exception"][1][1]) if "exception" in found else str(reason)
    # A launcher ends the other ranks by SIGTERM once one of them has failed.
    is_stopped = status == "killed" and reason == "SIGTERM" and "rank" in cells
    is_peers = status == "failed" and bool(_OF_A_PEER.search(text))
    follows = status == "terminated" or is_stopped or is_peers
    return End(_known(status), reason, evidence, stamp[0], min([stamp[0], *troubles]), follows)


def _known(status: Any) -> str:
    """Return the status that an event gives an end, as one of those that a run can have."""
    word = str(status).lower()
    if word in _OPEN or word not in statuses():
        return "completed" if word in _GOOD_WORDS else "failed"
    return word


def _hangs_in_exit(cells: Cells) -> bool:
    """Whether a process was found alive long after its exception."""
    stamp, facts = cells.get("stalled", (_NEVER, {}))
    return stamp > cells["exception"][0] and facts.get("phase") == "exit"


def still_open(record: RunRecord, producers: Iterable[str]) -> list[str]:
    """Return those of some processes that a run knows, and that have not ended."""
    known = record.processes.read()
    return [
        name for name in producers if name in known and read_process(name, known[name]).end is None
    ]


class Team(msgspec.Struct, frozen=True):
    """The processes of the newest attempt, and how many attempts there were.

    supervisor: the `realm run` above them; None where there is none, or nothing but it.
    """

    processes: Sequence[Process]
    attempts: int
    world_size: int | None
    supervisor: Process | None = None

    @property
    def alive(self) -> list[Process]:
        """Those that have not ended; the command goes on without them as long as `realm run`."""
        alive = [process for process in self.processes if process.end is None]
        supervisor = self.supervisor
        return alive or ([supervisor] if supervisor is not None and supervisor.end is None else [])

    @property
    def first_failed(self) -> Process | None:
        """The first that ended badly, of those whose end does not follow from another's.

        Else what `realm run` saw of the command; how that one itself ended, if not by its own
        word, says nothing of the training.
        """
        first = min(filter(_is_bad, self.processes), key=_blame, default=None)
        supervisor = self.supervisor
        if first is not None or supervisor is None or "ended" not in supervisor.cells:
            return first
        if self._was_complete_before(supervisor):
            return None
        return supervisor if _is_bad(supervisor) else None

    def _was_complete_before(self, supervisor: Process) -> bool:
        """Whether the command was asked to end, and all of the training had said it was complete.

        A program that serves, or waits, after its training ends like that.
        """
        evidence = supervisor.end.evidence if supervisor.end else None
        was_asked = isinstance(evidence, dict) and "asked_to_end" in evidence
        words = [each.value("completed") for each in self.processes]
        return was_asked and bool(words) and all(words)

    @property
    def size(self) -> int:
        """How many processes there should be."""
        ranked = sum(process.rank is not None for process in self.processes)
        return max(len(self.processes), self.world_size or 0 if ranked else 0)


def _is_bad(process: Process) -> bool:
    return process.end is not None and process.end.status != "completed"


def _blame(process: Process) -> tuple[bool, int, int, str]:
    assert process.end is not None
    rank = -1 if process.rank is None else process.rank
    return process.end.follows, process.end.trouble_at, rank, process.producer


def team_of(record: RunRecord) -> Team:
    """Return who counts for the status of a run."""
    every = [read_process(*item) for item in record.processes.read().items()]
    taking_part = [process for process in every if process.takes_part]
    # A run of which only other software told: whoever of it has ended.
    every = taking_part or [process for process in every if process.end is not None]
    working = [process for process in every if not process.value("supervises")]
    supervisors = [process for process in every if process.value("supervises")]
    every = working or supervisors
    supervisor = max(supervisors, key=_by_start, default=None) if working else None
    world_size = record.cells.get("world_size", (None, None))[1]
    newest = _newest_attempt(every)
    ranked = _newest_of_ranks([process for process in newest if process.rank is not None])
    alone = [process for process in newest if process.rank is None]
    newest_start = max((process.started for process in alone), default=_NEVER)
    current = [process for process in alone if not _is_replaced(process, newest_start)]
    team = sorted([*ranked, *current], key=_by_rank)
    return Team(
        [_with_word_of(supervisor, process, len(team)) for process in team],
        _attempts(every, len(alone) - len(current) + 1),
        world_size if type(world_size) is int else None,
        supervisor,
    )


def _with_word_of(supervisor: Process | None, process: Process, count: int) -> Process:
    """Return a process with the end that `realm run` has seen, where it has no word of its own.

    Of several processes only those that nothing is known of: the end is that of the command.
    """
    end = process.end
    if supervisor is None or supervisor.end is None or "ended" not in supervisor.cells:
        return process
    is_known = end and end.status != "lost" and not (_is_vague(end) and _is_bad(supervisor))
    is_known = is_known and not (_is_bad(process) and _knows_more(supervisor.end, end))
    if process.seen[0] > supervisor.end.at or (end and (is_known or count > 1)):
        return process
    return replace(process, end=supervisor.end)


def _is_vague(end: End) -> bool:
    """Whether nobody knows by which signal a process ended, or with what code."""
    return isinstance(end.evidence, dict) and end.evidence.get("exit_status") == "unknown"


def _knows_more(above: End, end: End | None) -> bool:
    """Whether `realm run` saw why a process left with a code, or died of a signal, and others no
    more than the code or the signal: a traceback that was printed, a limit, who asked it to end.
    """
    facts, seen = end.evidence if end is not None else None, above.evidence
    if not (isinstance(facts, dict) and isinstance(seen, dict)):
        return False
    is_bare = facts.keys() <= _BARE and any(facts.get(name) is not None for name in _BARE)
    is_same = all(facts.get(name) == seen.get(name) for name in _BARE)
    # Who sent a signal that ended it is added to its own word: `_with_sender`.
    known = {"seen_by"} | (_OF_SENDER if facts.get("signal") else set())
    return is_bare and is_same and bool(seen.keys() - _BARE - known)


def _by_start(process: Process) -> tuple[Stamp, str]:
    return process.started, process.producer


def _by_rank(process: Process) -> tuple[int, Stamp, str]:
    return (2**32 if process.rank is None else process.rank, *_by_start(process))


def _newest_attempt(processes: Sequence[Process]) -> list[Process]:
    last = max((process.attempt for process in processes if process.attempt is not None), default=0)
    return [process for process in processes if process.attempt in (None, last)]


def _newest_of_ranks(processes: Sequence[Process]) -> list[Process]:
    newest: dict[int | None, Process] = {}
    for process in sorted(processes, key=_by_start):
        newest[process.rank] = process
    return list(newest.values())


def _is_replaced(process: Process, newest_start: Stamp) -> bool:
    """Whether a later process went on with the run: it began after this one's last own event."""
    is_gone = process.end is not None or process.silent is not None
    return is_gone and newest_start > max(process.seen, process.started)


def _attempts(processes: Sequence[Process], alone: int) -> int:
    of_rank: dict[int, int] = {}
    for process in processes:
        if process.rank is not None:
            of_rank[process.rank] = of_rank.get(process.rank, 0) + 1
    numbered = [process.attempt for process in processes if process.attempt is not None]
    return max(alone, *of_rank.values(), *numbered, 1)


class Verdict(msgspec.Struct, frozen=True):
    """Status, reason and evidence of a run."""

    status: str
    reason: str | None = None
    evidence: Any = None


def _silent(team: Team) -> Verdict | None:
    silent = [process for process in team.alive if process.silent is not None]
    if not silent:
        return None
    facts = min((each.silent or {} for each in silent), key=_since)
    ranks = [process.rank for process in silent if process.rank is not None]
    reason = f"host {facts.get('host')} silent since {facts.get('last_heard')}"
    return Verdict("lost", reason, {**facts, "ranks": ranks})


def _since(facts: Mapping[str, Any]) -> str:
    return str(facts.get("last_heard"))


def _stalled(team: Team) -> Verdict | None:
    alive = team.alive
    last = max(alive, key=lambda process: process.stalled, default=None)
    if last is None or last.stalled <= max(process.life for process in alive):
        return None
    facts = last.value("stalled")
    return Verdict("stalled", _of_rank(team, last, _silence(facts)), facts)


def _of_rank(team: Team, process: Process, reason: str | None) -> str | None:
    """Name the rank that a reason is about, where there are several."""
    if process.rank is None or team.size < 2:
        return reason
    return f"rank {process.rank}" + ("" if reason is None else f": {reason}")


def _silence(facts: Mapping[str, Any]) -> str | None:
    if facts.get("phase") == "exit":
        return f"hangs in its exit after {facts.get('error') or 'an exception'}"
    silent, usual = (number(facts.get(name)) for name in ("silent_s", "median_step_s"))
    if silent is None:
        return None
    reason = f"no step for {in_words(silent)}"
    if usual is not None:
        reason += f", {in_words(usual) if usual >= MINUTE_S else f'{usual:,.1f} s'} is usual"
    behind = facts.get("behind")
    if isinstance(behind, list) and behind:
        reason += f"; behind the others: {', '.join(map(str, behind[:8]))}"
    elif facts.get("cannot_tell"):
        reason += "; all ranks are at the same step"
    return reason


def _paused(team: Team) -> Verdict | None:
    alive = team.alive
    last = max(alive, key=lambda process: process.paused, default=None)
    if last is None or last.paused <= max(process.life for process in alive):
        return None
    return Verdict("paused", last.value("paused"))


def _running(team: Team) -> Verdict | None:
    if not team.alive and team.processes:
        return None
    first = team.first_failed
    if first is None or first.end is None or first.rank is None:
        return Verdict("running")
    reason = f"rank {first.rank} {first.end.status}"
    if first.end.reason:
        reason += f": {first.end.reason}"
    return Verdict("running", reason, first.end.evidence)


def _ended_badly(team: Team) -> Verdict | None:
    first, above = team.first_failed, team.supervisor
    if first is None or first.end is None:
        return None
    if first.end.status == "lost" and above and _is_bad(above) and "ended" in above.cells:
        first = above
    verdict = _of_end(first.end)
    return verdict and replace(verdict, evidence=_with_sender(verdict.evidence, above))


def _with_sender(evidence: Any, above: Process | None) -> Any:
    """Return evidence of a signal with who sent it, where `realm run` has seen that."""
    seen = above.end.evidence if above is not None and above.end is not None else None
    if not (isinstance(evidence, dict) and isinstance(seen, dict) and "sender" in seen):
        return evidence
    is_same = evidence.get("signal") is not None and evidence["signal"] == seen.get("asked_to_end")
    return evidence | {"sender": seen["sender"]} if is_same else evidence


def _of_end(end: End | None) -> Verdict | None:
    return None if end is None else Verdict(end.status, end.reason, end.evidence)


def _completed(team: Team) -> Verdict | None:
    ends = [process.end for process in team.processes if process.end is not None]
    last = max(ends, key=lambda end: end.at)
    return Verdict("completed", last.reason, last.evidence)


ROWS: Final[tuple[tuple[str, Callable[[Team], Verdict | None]], ...]] = (
    ("a process lives, as far as is known, on a host that is silent", _silent),
    ("a process lives, and the last that is known of progress is a stall", _stalled),
    ("a process lives, and was paused after its last progress", _paused),
    ("a process lives, or none is known", _running),
    (
        "all have ended, one badly: the first that does not follow from another",
        _ended_badly,
    ),
    ("all have ended as completed", _completed),
)
"""The status of a run: the first row that fits. docs/state.md has the same table."""


def judge(team: Team) -> Verdict:
    """Return the status of a run."""
    return next(verdict for _, row in ROWS if (verdict := row(team)) is not None)


def health(team: Team) -> str | None:
    """Return how many ranks live, such as `7 of 8 ranks`; None where that says nothing."""
    silent = sum(process.silent is not None for process in team.alive)
    alive = len(team.alive)
    if not alive or team.size < 2:
        return None
    of = "ranks" if any(process.rank is not None for process in team.processes) else "processes"
    ended = len(team.processes) - alive
    return f"{team.size - ended - silent} of {team.size} {of}"


OPEN: Final = ("running", "stalled", "paused")
"""Statuses of a run that goes on."""


def statuses() -> Mapping[str, str]:
    """Return each status that a run can have, and when it has it."""
    return {
        "running": "it goes on",
        "stalled": "it lives, without a step for longer than its threshold",
        "paused": "`training_paused`, and nothing since",
        "completed": "all known processes have ended well",
        "failed": "an exception, or an exit code that is not 0",
        "cancelled": "Ctrl-C, or `training_cancelled`",
        "killed": "a signal of somebody, or a time limit",
        "crashed": "a fatal signal: SEGV, ABRT, BUS, FPE, ILL",
        "out_of_memory": "killed because memory ran out",
        "terminated": "SIGTERM by a scheduler, cause unknown",
        "preempted": "the scheduler took its place away",
        "lost": "it ended without a word, or its host is silent",
    }
