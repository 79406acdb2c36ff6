"""What one step of an import reads: events, and what could not be one."""

from typing import Any, NamedTuple

from realm_telemetry.event import Event


class Broken(NamedTuple):
    """A line or row that is no event.

    number: its own. reason: empty for a further piece of the line before. data: the line itself.
    """

    number: int
    reason: str
    data: bytes


class Batch:
    """Events with their ids, and the numbers of the file that are settled.

    seen: lines or rows. settled: ranges by producer that need no further import: they are events
        of this batch, or nothing that could become one.
    resources: of producers that the file tells of. share: of the file, at the end of the batch.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.broken: list[Broken] = []
        self.resources: dict[str, dict[str, Any]] = {}
        self.settled: dict[str, list[tuple[int, int]]] = {}
        self.seen = self.blank = self.bytes = 0
        self.share: float | None = None

    def add(self, event: Event) -> None:
        """Take an event."""
        self.events.append(event)

    def break_off(self, broken: Broken) -> None:
        """Take what is no event."""
        self.broken.append(broken)

    def settle(self, producer: str, number: int) -> None:
        """Note that a number, and all before it in this batch, need no further look."""
        ranges = self.settled.setdefault(producer, [])
        if ranges and number <= ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], max(number, ranges[-1][1]))
        else:
            ranges.append((number, number))
