"""The processes of a run on one host, beside each other: which of them is behind the others.

A process shows its last step on its control page, whether the step was an event or not. Pages of
older versions show none, and a process that calls no part of the package for its steps neither.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from realm_telemetry.shipper.notes import RunNotes
from realm_telemetry.shipper.spools import Spool
from realm_telemetry.values.rank import to_rank

if TYPE_CHECKING:
    from realm_telemetry.shipper.watch import RunWatch

MAX_BEHIND: Final = 64
"""Ranks that an event names."""

EQUAL_STEPS: Final = (
    "which rank the others wait for: their steps are equal, in a collective operation all stacks "
    "look alike, and PyTorch's flight recorder is not read"
)
"""What cannot be told of several ranks, where none is behind."""


def shown_progress(spool: Spool, note: RunNotes) -> tuple[int, int]:
    """Return the step without an event that a control page shows, and when it was; else (0, 0).

    Only a later one than the last that an event told, and of the run that began last: the page does
    not name one.
    """
    progress = spool.control.progress if note is spool.notes.run else (0, 0)
    return progress if progress[1] > note.step_unix_nano else (0, 0)


class Part(NamedTuple):
    """What a process does in one of its runs."""

    spool: Spool
    run: "RunWatch"
    note: RunNotes

    @property
    def step(self) -> float | None:
        """The step that it has reached; None before the first."""
        step, moment_ns = shown_progress(self.spool, self.note)
        return step if moment_ns else self.note.step

    @property
    def name(self) -> int | str:
        """Its rank, or its producer id where it has none."""
        rank = to_rank(self.spool.notes.resource.get("realm.rank"))
        return self.spool.producer if rank is None else rank

    @property
    def episode(self) -> str:
        """Tell a stall from others of the run: by its last event, and a step without one."""
        moment_ns = self.shown_ns
        return str(self.spool.notes.through) + (f" {moment_ns}" if moment_ns else "")

    @property
    def shown_ns(self) -> int:
        """When it made its last step, if no event has told of it; else 0."""
        moment_ns = self.spool.control.last_step_ns if self.note is self.spool.notes.run else 0
        return moment_ns if moment_ns > self.note.step_unix_nano else 0

    def ask_for_stacks(self) -> bool:
        """Ask the process for the stacks of its threads; whether it was not yet in this stall."""
        if self.run.asked:
            return False
        self.run.asked = True
        self.spool.control.stacks_wanted += 1
        return True


def follow_progress(part: Part, now_s: float) -> None:
    """Take a step that the control page shows, and no event has told, as a sign of life."""
    run, moment_ns = part.run, part.shown_ns
    if moment_ns > run.progress_ns:
        step, _ = shown_progress(part.spool, part.note)
        run.pace.step(moment_ns, max(step - run.progress_step, 1))
        run.progress_step, run.progress_ns, run.life_s = step, moment_ns, now_s
    if run.first_step_s is None and run.pace.stepped:
        run.first_step_s = now_s


def left_behind_since_s(part: Part, peers: Sequence[Part]) -> float | None:
    """Since when a process without a step is to have made one; None if it need not make any.

    Most programs record steps on one rank alone. Only where at least two others show theirs, and
    this one has said that it trains, does its silence mean something.
    """
    seen_s = [peer.run.first_step_s for peer in peers if peer.run.first_step_s is not None]
    return sorted(seen_s)[1] if part.note.trains and len(seen_s) >= 2 else None


def who_is_behind(part: Part, peers: Sequence[Part]) -> dict[str, Any]:
    """Return details that name the processes behind the others, or say that none can be named."""
    stepping = [each for each in peers if each.run.pace.stepped]
    steps = {each.name: each.step or 0 for each in (part, *stepping)}
    most = max(steps.values())
    behind = sorted((name for name, step in steps.items() if step < most), key=str)
    if not behind:
        return {"cannot_tell": EQUAL_STEPS} if part.run.pace.stepped and stepping else {}
    return {"behind": behind[:MAX_BEHIND], "steps_behind": most - min(steps.values())}


def other_side(part: Part, peers: Sequence[Part]) -> list[Part]:
    """Return one process that waits for this one, or that this one waits for; none if equal."""
    own = part.step or 0
    others = [peer for peer in peers if peer.run.pace.stepped and (peer.step or 0) != own]
    # The one furthest behind says most about why all others wait.
    return [min(others, key=lambda peer: peer.step or 0)] if others else []
