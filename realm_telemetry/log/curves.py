"""Curves of runs beside the log: what their numbers add up to, and up to which cursor.

The curves of a run are stored as layers, each of the rows between two cursors, which a reader
merges. A store that begins on a log with many rows has two parts: `live` goes on from there with
what arrives, `older` has the rows before. Each part has a cursor of its own.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

KEPT_SET_BACKS: Final = 100

Part = Literal["live", "older"]


class CurvesMark(NamedTuple):
    """Up to where the stored curves have the rows of the log.

    begun: the cursor at which `live` began; `older` has the rows up to it when it is complete.
    live, older: the cursor of the last row in each part.
    set_backs: the last steps back of the log's clock, each the first cursor behind it and that
        row's arrival; for layers that were stored before.
    """

    begun: int = 0
    live: int = 0
    older: int = 0
    set_backs: tuple[tuple[int, int], ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether `older` has all rows before `live`."""
        return self.older >= self.begun

    @property
    def covers(self) -> int:
        """The cursor up to which rows may be trimmed."""
        return self.live if self.is_complete else self.older

    def advanced(
        self, part: Part, cursor: int, set_backs: tuple[tuple[int, int], ...]
    ) -> "CurvesMark":
        """Return the mark with one part further on, and further steps of the clock."""
        known = tuple(sorted({*self.set_backs, *set_backs}))[-KEPT_SET_BACKS:]
        if part == "live":
            return self._replace(live=cursor, set_backs=known)
        return self._replace(older=cursor, set_backs=known)


class CurvesLayer(NamedTuple):
    """What some rows add to the curves of a run. through: the cursor of the last of them."""

    part: Part
    through: int
    content: bytes


class CurveStore(Protocol):
    """Where the curves of one log are. Methods raise LogUnavailableError."""

    def mark(self) -> CurvesMark | None:
        """Return up to where the curves are stored; None if there are none of this log."""
        ...

    def layers(self, run_id: str) -> tuple[CurvesMark, list[CurvesLayer]]:
        """Return what is stored of one run, true at the mark."""
        ...

    def save(
        self, part: Part, layers: Mapping[str, bytes], mark: CurvesMark, *, before: CurvesMark
    ) -> CurvesMark:
        """Store layers by run, and the mark they are true at; return the mark that counts then.

        before: the mark that they were made from; if its part has moved since, nothing is saved.
        """
        ...

    def crowded(self, runs: Sequence[str], most: int) -> list[str]:
        """Return which of these runs have more than so many layers."""
        ...

    def join(self, run_id: str, joined: Sequence[CurvesLayer], layer: CurvesLayer) -> None:
        """Store one layer in the place of several of a run; nothing if they are not there now."""
        ...

    def make_room(self, most_bytes: int, thin: Callable[[bytes], bytes]) -> None:
        """Thin the layers of the oldest runs, then remove them, where all take more than this.

        A run is as old as its newest layer. A call does a part of it where there are many runs.
        """
        ...
