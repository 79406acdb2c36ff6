"""The resources of producers, looked up once for each."""

from collections.abc import Mapping, Sequence
from typing import Any

from realm_telemetry.log.engine import Reader
from realm_telemetry.log.rows import LogRow
from realm_telemetry.transfer.formats import Exported


class Resources:
    """What a log knows of its producers; read again when a new one is met."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._known: dict[str, Mapping[str, Any]] = {}

    def of(self, producer: str) -> Mapping[str, Any]:
        """Return a producer's resource; empty for one that nobody registered."""
        if producer not in self._known:
            told = {info.producer: info.resource for info in self._reader.now.producers()}
            self._known = {producer: {}} | self._known | told
        return self._known[producer]

    def join(self, rows: Sequence[LogRow]) -> list[Exported]:
        """Put rows together with the resources of their producers."""
        return [Exported(row.event, row.cursor, self.of(row.event.producer)) for row in rows]
