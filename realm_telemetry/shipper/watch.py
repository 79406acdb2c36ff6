"""What a shipper notices in the runs that it reads: a loss gone wrong, and steps that stay away.

The rules run here and not in the program, whose loop they would cost 34 us an event. Each finding
is an event with a number of its content, so that a shipper that begins again finds it only once.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Final, NamedTuple

import msgspec

from realm_telemetry.config import load_settings
from realm_telemetry.delivery.heartbeats import SILENT_S
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import FIRST_CONTENT_NUMBER, Event
from realm_telemetry.shipper.ends import event_of, made_number
from realm_telemetry.shipper.notes import Notes
from realm_telemetry.shipper.outside_stacks import OutsideStacks
from realm_telemetry.shipper.peers import (
    Part,
    follow_progress,
    left_behind_since_s,
    other_side,
    who_is_behind,
)
from realm_telemetry.shipper.spools import Spool
from realm_telemetry.values.conversions import NOT_FINITE
from realm_telemetry.values.rank import rank_of

"""What `emit` records for numbers that are none."""

WINDOW: Final = 64
MAX_FIELDS: Final = 64
"""Fields with `loss` in their names that are followed in one run."""

LOOK_S: Final = 1.0
_FEWEST: Final = 16
_IN_A_ROW: Final = 3
_LEAST_RISE: Final = 0.25
_MAD_TO_DEVIATION: Final = 1.4826
"""The median absolute deviation of normal noise, times this, is its standard deviation."""

_PHASES: Final = frozenset(("eval", "evaluation", "checkpoint", "dataset"))
_NO_LIFE: Final = frozenset(("stack_captured", "events_dropped"))
"""What the keeper of a process emits, whatever its training does."""

_BESIDE: Final = frozenset(("eval", "checkpoint"))
"""Channels whose events name a step that was made before."""

_OWN_KINDS: Final = frozenset(("loss_not_finite", "loss_spiked"))


class WatchSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[watch]` of realm.toml.

    loss, spikes, stalls: whether to look for each. spike_z: how many deviations above the median.
    stall_min_s: the shortest silence that counts; stall_factor: so many usual steps as well.
    stall_first_s: until ten steps are known; stall_phase_s: in an evaluation or a checkpoint.
    stall_exit_s: once the main thread has ended with an exception.
    samples: whether to sample memory, processor, disk and GPUs while a run is open.
    memory_share, disk_low_bytes: from where on each is reported as scarce.
    host_silent_s: a host that a service has not heard for so long is lost.
    """

    loss: bool = True
    spikes: bool = True
    spike_z: float = 8.0
    stalls: bool = True
    stall_min_s: float = 120.0
    stall_factor: float = 20.0
    stall_first_s: float = 1800.0
    stall_phase_s: float = 900.0
    stall_exit_s: float = 60.0
    samples: bool = True
    memory_share: float = 0.9
    disk_low_bytes: int = 2 * 1024**3
    host_silent_s: Annotated[float, msgspec.Meta(gt=0)] = SILENT_S

    @property
    def shortest_s(self) -> float:
        """The shortest silence that can be a stall."""
        return min(self.stall_min_s, self.stall_first_s, self.stall_phase_s, self.stall_exit_s)


def watch_settings(home: str) -> WatchSettings:
    """Return the settings of a home. Raises ConfigError."""
    table = load_settings({"home": home}, environ={}).watch
    try:
        return msgspec.convert(table, WatchSettings)
    except msgspec.ValidationError as error:
        fix = "docs/configuration.md lists the settings."
        raise ConfigError("[watch] in realm.toml", str(error), fix) from None


class Watch:
    """Looks at the events of all spools of a pipeline; `take` returns what it found."""

    def __init__(self, settings: WatchSettings, clock_ns: Callable[[], int]) -> None:
        self._settings = settings
        self._clock_ns = clock_ns
        self._found: list[Event] = []
        self._runs: dict[tuple[str, str], RunWatch] = {}
        self._look_at_s = 0.0
        self._outside = OutsideStacks()

    def read(self, spool: Spool, events: Sequence[Event]) -> None:
        """Look at the next events of a spool, which its notes have followed."""
        begun = {event.run_id for event in events if event.kind == "run_started"}
        for event in events:
            run_id = event.run_id or ""
            # Its end, and the start of another run, may have come with the same read: then the
            # notes have it no more.
            is_known = run_id in spool.notes.runs or (spool.producer, run_id) in self._runs
            if not (is_known or event.run_id in begun) or event.kind in _OWN_KINDS:
                continue
            run = self._run_of(spool, run_id)
            if event.kind not in _NO_LIFE:
                run.life_s = spool.last_frame_s
            for finding in run.look_at(event, self._settings):
                self._find(spool, run, finding)
            if _is_step(event):
                run.pace.step(event.time_unix_nano)

    def look(self, spools: Iterable[Spool], now_s: float) -> None:
        """Look for processes that live and make no steps; at most once a second."""
        if not self._settings.stalls or now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_S
        parts = self._parts([spool for spool in spools if spool.alive])
        for part in parts:
            follow_progress(part, now_s)
        for part in parts:
            peers = [other for other in parts if other.note.id == part.note.id and other != part]
            self._look_for_stall(part, peers, now_s)
        by_producer = {part.spool.producer: part.spool for part in parts}
        for spool, run_id, details in self._outside.look(by_producer, now_s):
            finding = Finding("stack_captured", details, str(spool.control.stacks_wanted))
            self._find(spool, self._run_of(spool, run_id), finding)

    def _parts(self, living: Sequence[Spool]) -> list[Part]:
        """Return what each process does in each of its runs; what has ended is forgotten."""
        found = [(spool, note) for spool in living for note in spool.notes.open_runs()]
        for gone in self._runs.keys() - {(spool.producer, note.id) for spool, note in found}:
            del self._runs[gone]
        return [
            Part(spool, self._run_of(spool, note.id), note)
            for spool, note in found
            if not note.supervises
        ]

    def take(self) -> list[Event]:
        """Return what was found since the last call."""
        found, self._found = self._found, []
        return found

    def give_back(self, events: Sequence[Event]) -> None:
        """Keep events that could not be stored for the next `take`."""
        self._found = [*events, *self._found]

    def _run_of(self, spool: Spool, run_id: str) -> "RunWatch":
        key = (spool.producer, run_id)
        watch = self._runs.get(key)
        if watch is None:
            watch = self._runs[key] = RunWatch(run_id, spool.last_frame_s)
        return watch

    def _look_for_stall(self, part: Part, peers: Sequence[Part], now_s: float) -> None:
        spool, run, notes = part.spool, part.run, part.spool.notes
        if run.stalled_at_s is not None:
            if run.life_s > run.stalled_at_s:
                self._resumed(part)
            return
        quiet_since_s = max(run.life_s, run.quiet_since_s)
        if now_s - quiet_since_s < self._settings.shortest_s:
            return
        left_behind = not run.pace.stepped and any(peer.run.pace.stepped for peer in peers)
        if left_behind:
            since_s = left_behind_since_s(part, peers)
            if since_s is None:
                return  # its steps may be recorded by another process alone
            quiet_since_s = max(quiet_since_s, since_s)
        silent_s = now_s - quiet_since_s
        threshold_s = run.threshold_s(notes, self._settings, left_behind=left_behind)
        if silent_s < threshold_s:
            return
        if spool.is_stopped():  # by SIGSTOP or a debugger: it is meant to stand still
            run.quiet_since_s = now_s
            return
        run.stalled_at_s, run.silent_from_s = now_s, quiet_since_s
        stall = run.stall(notes, silent_s, threshold_s, part.episode)
        stall.details.update(who_is_behind(part, peers))
        self._find(spool, run, stall)
        for each in (part, *other_side(part, peers)):
            if each.ask_for_stacks():
                self._outside.expect(each.spool, each.run.run_id, now_s)

    def _resumed(self, part: Part) -> None:
        run = part.run
        silent_s = round(run.life_s - run.silent_from_s, 3)
        run.stalled_at_s, run.asked = None, False
        finding = Finding("run_resumed_progress", {"silent_s": silent_s}, part.episode)
        self._find(part.spool, run, finding)

    def _find(self, spool: Spool, run: "RunWatch", finding: "Finding") -> None:
        number = made_number(finding.kind, run.run_id, finding.episode)
        event = event_of(spool, finding.kind, finding.details, self._clock_ns(), number)
        self._found.append(msgspec.structs.replace(event, run_id=run.run_id))


class Found(NamedTuple):
    """A finding of a backtest: what a shipper would have reported, and when."""

    time_unix_nano: int
    run_id: str
    rank: int | None
    kind: str
    details: dict[str, Any]


class Backtest:
    """Looks for what would have been found in events of the past, with these settings."""

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings
        self._past: dict[str, tuple[Notes, RunWatch]] = {}

    def read(self, event: Event) -> Iterator[Found]:
        """Take in the next event, in order of arrival, and yield what is found with it."""
        if event.run_id is None or event.kind in _OWN_KINDS or event.number >= FIRST_CONTENT_NUMBER:
            return
        notes, run = self._past.get(event.producer, (Notes(), None))
        if run is None or run.run_id != event.run_id:
            run = RunWatch(event.run_id, event.time_unix_nano / 1e9)
            self._past[event.producer] = notes, run
        if event.kind not in _NO_LIFE:
            yield from self._silence(notes, run, event)
        notes.follow([event])
        for finding in run.look_at(event, self._settings):
            yield _found(event, event.time_unix_nano, finding)
        if _is_step(event):
            run.pace.step(event.time_unix_nano)

    def _silence(self, notes: Notes, run: "RunWatch", event: Event) -> Iterator[Found]:
        now_s = event.time_unix_nano / 1e9
        silent_s, before_s = now_s - run.life_s, run.life_s
        run.life_s = now_s
        own = notes.runs.get(run.run_id)
        over = own is not None and (own.ended or own.supervises)
        if over or not self._settings.stalls or silent_s < self._settings.shortest_s:
            return
        threshold_s = run.threshold_s(notes, self._settings)
        if silent_s >= threshold_s:
            finding = run.stall(notes, silent_s, threshold_s)
            yield _found(event, round((before_s + threshold_s) * 1e9), finding)


def _found(event: Event, time_unix_nano: int, finding: "Finding") -> Found:
    assert event.run_id is not None
    return Found(time_unix_nano, event.run_id, rank_of(event), finding.kind, finding.details)


class Finding(NamedTuple):
    """What a rule found; episode: tells it from others of its kind in the run."""

    kind: str
    details: dict[str, Any]
    episode: str


def _is_step(event: Event) -> bool:
    """Whether an event says that the training made a step, and not what was done at one."""
    return type(event.details.get("step")) is int and event.channel not in _BESIDE


def _step_of(event: Event) -> dict[str, Any]:
    step = event.details.get("step")
    return {"step": step} if type(step) is int else {}


def median(values: Iterable[float]) -> float:
    """Return the value in the middle of an odd number of values, or the one above it.

    `statistics` takes longer to import than all there is to compute.
    """
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


class RunWatch:
    """What is remembered of a run in one process.

    life_s: when its last event was read.
    quiet_since_s: when it was last seen standing still on purpose.
    stalled_at_s: when it was found to have stalled; silent_from_s: since when it was silent then.
    first_step_s: when it was first seen to make a step.
    progress_step, progress_ns: the last step that its control page showed before any event did,
        and when it was made by its clock.
    asked: whether it was asked for its stacks in this stall.
    """

    def __init__(self, run_id: str, life_s: float) -> None:
        self.run_id, self.life_s = run_id, life_s
        self.not_finite: set[str] = set()
        self.pace = _Pace()
        self.quiet_since_s = 0.0
        self.stalled_at_s: float | None = None
        self.silent_from_s = 0.0
        self.first_step_s: float | None = None
        self.progress_step = self.progress_ns = 0
        self.asked = False
        self._losses: defaultdict[str, _Loss] = defaultdict(_Loss)

    def look_at(self, event: Event, settings: WatchSettings) -> "Iterator[Finding]":
        """Yield what is wrong with the numbers of an event."""
        if not settings.loss or type(event.details.get("step")) is not int:
            return
        for name, value in event.details.items():
            if value.__class__ is str:
                if value in NOT_FINITE:
                    yield from self._not_finite(event, name, value)
            elif value.__class__ is float and name.endswith("loss"):
                yield from self._follow_loss(event, name, value, settings)

    def threshold_s(
        self, notes: Notes, settings: WatchSettings, *, left_behind: bool = False
    ) -> float:
        """Return the silence that is too long; left_behind: for the first step, after others'."""
        own = notes.runs.get(self.run_id)
        if own is not None and own.exits:
            return settings.stall_exit_s
        return self.pace.threshold_s(notes, settings, left_behind=left_behind)

    def stall(
        self, notes: Notes, silent_s: float, threshold_s: float, episode: str = ""
    ) -> "Finding":
        """Return the finding that nothing has come for too long."""
        own = notes.runs.get(self.run_id)
        exits = own is not None and own.exits
        details = {
            "silent_s": round(silent_s, 3),
            "threshold_s": round(threshold_s, 3),
            "median_step_s": self.pace.median_s(),
            "last_step": own.step if own else None,
            "phase": "exit" if exits else self.pace.phase(notes),
            "error": own.error if own and exits else None,
        }
        given = {name: value for name, value in details.items() if value is not None}
        return Finding("run_stalled", given, episode)

    def _not_finite(self, event: Event, field: str, value: str, **more: Any) -> "Iterator[Finding]":
        """Once for each field of a run in a process."""
        if field not in self.not_finite and len(self.not_finite) < MAX_FIELDS:
            self.not_finite.add(field)
            details = {"field": field, "value": value, **_step_of(event), **more}
            yield Finding("loss_not_finite", details, field)

    def _follow_loss(
        self, event: Event, field: str, value: float, settings: WatchSettings
    ) -> "Iterator[Finding]":
        loss = self._loss(field)
        if loss is None:
            return
        if value == 0.0 and loss.last == 0.0 and field == "loss":
            note = "exactly 0 twice in a row, which is how some trainers show NaN"
            yield from self._not_finite(event, field, "0.0", note=note)
        if loss.spikes(value, settings.spike_z) and settings.spikes:
            details = {"field": field, "value": value, "median": loss.usual, **_step_of(event)}
            yield Finding("loss_spiked", details, f"{field}\n{event.number}")

    def _loss(self, field: str) -> "_Loss | None":
        """Return the loss of a name; None where there are too many."""
        if field not in self._losses and len(self._losses) >= MAX_FIELDS:
            return None
        return self._losses[field]


class _Loss:
    """The last values of a loss. usual: their median."""

    def __init__(self) -> None:
        self.last: float | None = None
        self.usual = 0.0
        self._window: deque[float] = deque(maxlen=WINDOW)
        self._above = 0
        self._fired = False
        self._since = 0

    def spikes(self, value: float, z: float) -> bool:
        """Take in a value; whether a spike is sure with it, which is so once for each spike."""
        self.last = value
        if self._is_high(value, z):
            self._above += 1
            if self._above >= WINDOW:  # a new level
                self._window.extend([value] * WINDOW)
                self._above = 0
            fires = self._above == _IN_A_ROW and not self._fired
            self._fired = self._fired or fires
            return fires
        self._above, self._fired = 0, False
        self._window.append(value)
        self._since += 1
        return False

    def _is_high(self, value: float, z: float) -> bool:
        window = self._window
        if len(window) < _FEWEST:
            return False
        if self._since >= _FEWEST or not self.usual:
            self.usual, self._since = median(window), 0
        # Cheap first: of a loss that falls as it should, nearly every value ends here.
        if value - self.usual <= _LEAST_RISE * abs(self.usual):
            return False
        self.usual = median(window)
        if value - self.usual <= _LEAST_RISE * abs(self.usual):
            return False
        deviation = _MAD_TO_DEVIATION * median(abs(each - self.usual) for each in window)
        return value - self.usual > z * deviation


class _Pace:
    """How fast steps follow one another, by the producer's clock."""

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=WINDOW)
        self._longest_s = 0.0
        self._last_ns: int | None = None

    def step(self, time_unix_nano: int, count: int = 1) -> None:
        """Note a step; count: how many were made since the one before."""
        if self._last_ns is not None and time_unix_nano >= self._last_ns:
            interval_s = (time_unix_nano - self._last_ns) / 1e9 / count
            self._intervals.extend([interval_s] * min(count, WINDOW))
            self._longest_s = max(self._longest_s, interval_s)
        self._last_ns = time_unix_nano

    def median_s(self) -> float | None:
        """Return the usual time of a step; None before ten are known."""
        return round(median(self._intervals), 6) if len(self._intervals) >= 10 else None

    def phase(self, notes: Notes) -> str | None:
        """Return the phase that the process is in, in which steps stay away; None if in none."""
        return next((name for name in notes.open_lifecycles if name in _PHASES), None)

    @property
    def stepped(self) -> bool:
        """Whether a step was made."""
        return self._last_ns is not None

    def threshold_s(
        self, notes: Notes, settings: WatchSettings, *, left_behind: bool = False
    ) -> float:
        """Return the silence that is too long; left_behind: for the first step, after others'."""
        if self.phase(notes) is not None:
            return max(settings.stall_phase_s, 3 * self._longest_s)
        usual_s = self.median_s()
        if usual_s is None:
            return settings.stall_min_s if left_behind else settings.stall_first_s
        return max(settings.stall_min_s, settings.stall_factor * usual_s, 2 * self._longest_s)
