"""Kinds that producers registered, kept in the log so that every reader knows them."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from realm_telemetry.kinds.catalog import KindSpec, learn_kind, spec
from realm_telemetry.log.rows import LogRow
from realm_telemetry.values.clock import monotonic

LOOK_AGAIN_AFTER_S: Final = 1.0
LOOK_AT_LEAST_EVERY_S: Final = 30.0


def learn_kinds(kinds: Iterable[KindSpec]) -> None:
    """Let this process's catalog know them; what it registered itself stays."""
    for kind in kinds:
        learn_kind(kind)


class KindSource(Protocol):
    """What KindWatch needs of a LogReader."""

    def kinds(self) -> list[KindSpec]:
        """All kinds that producers registered."""


class KindWatch:
    """Keeps this process's catalog up to date with the kinds of one log.

    Looks into the log when rows hold a kind that the catalog does not know: at once for one not
    met before, else once a second at the most. And every 30 s while rows come, for kinds that were
    registered anew with other settings.
    """

    def __init__(self, source: KindSource, clock: Callable[[], float] = monotonic) -> None:
        self._source = source
        self._clock = clock
        self._looked_at_s = float("-inf")
        self._unknown: set[str] = set()
        self._met: set[str] = set()

    def look(self) -> None:
        """Learn all kinds of the log. Raises LogUnavailableError."""
        kinds = self._source.kinds()
        self._looked_at_s = self._clock()
        # Only now: a look that failed is due again.
        self._unknown |= self._met
        learn_kinds(kinds)

    def asks(self, rows: Sequence[LogRow]) -> bool:
        """Whether `look` is due because of these rows."""
        age_s = self._clock() - self._looked_at_s
        kinds = {row.event.kind for row in rows}
        self._met = {kind for kind in kinds if not spec(kind).registered}
        if age_s >= LOOK_AGAIN_AFTER_S:
            self._unknown.clear()
        return age_s >= LOOK_AT_LEAST_EVERY_S or not self._met <= self._unknown

    def meet(self, rows: Sequence[LogRow]) -> None:
        """Learn what the log knows of kinds among these rows. Raises LogUnavailableError."""
        if self.asks(rows):
            self.look()
