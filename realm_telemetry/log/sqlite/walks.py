"""Finding the rows of one page, also where no index answers the whole filter."""

import sqlite3
import time

import msgspec

from realm_telemetry.log.filters import Filters
from realm_telemetry.log.sqlite.conditions import TRUE, Condition, residual
from realm_telemetry.log.sqlite.paths import Bounds, Path, matching, newest, paths_for
from realm_telemetry.log.tokens import Position

_FIRST_STEP = 256
_LONGEST_STEP = 4096


class Found(msgspec.Struct, frozen=True):
    """The rows of a page, newest first.

    further: the place to go on from; None if there is nothing below.
    """

    positions: list[Position]
    further: Position | None


class _Walk:
    """Goes down one path and keeps the rows for which the rest of the filter is true."""

    def __init__(
        self, connection: sqlite3.Connection, path: Path, rest: Condition, bounds: Bounds
    ) -> None:
        self._connection = connection
        self._path = path
        self._rest = rest
        self._bounds = bounds
        self.found: list[Position] = []
        self.place = bounds.before
        self.ended = False

    @property
    def direct(self) -> bool:
        return self._rest == TRUE

    def step(self, count: int) -> None:
        bounds = msgspec.structs.replace(self._bounds, before=self.place)
        rows = newest(self._connection, self._path, bounds, count)
        self.found += rows if self.direct else matching(self._connection, rows, self._rest)
        self.ended = len(rows) < count
        if rows:
            self.place = rows[-1]

    def result(self, limit: int) -> Found:
        if len(self.found) > limit:
            return Found(self.found[:limit], self.found[limit - 1])
        return Found(self.found, None if self.ended else self.place)


def find(
    connection: sqlite3.Connection,
    filters: Filters,
    bounds: Bounds,
    limit: int,
    deadline: float,
) -> Found:
    """The newest `limit` rows that the filters want (`q` apart).

    Where several indexes could serve, such as hero and kind, they are walked in turns with steps
    that grow, so that the work is at most a few times that of the best of them. At the deadline
    (time.monotonic()) the page ends early, with the place to go on from.
    """
    walks = [
        _Walk(connection, path, residual(filters, path.answers), bounds)
        for path in paths_for(connection, filters)
    ]
    step = max(limit + 1, _FIRST_STEP)
    while True:
        for walk in walks:
            walk.step(limit + 1 if walk.direct else step)
            if walk.ended or len(walk.found) > limit:
                return walk.result(limit)
        if time.monotonic() > deadline:
            # The one that is furthest down has found all that the others have.
            return min(walks, key=lambda walk: walk.place).result(limit)
        step = min(step * 4, _LONGEST_STEP)
