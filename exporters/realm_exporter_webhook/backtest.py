"""What each rule would have done over the log as it is; memory stays flat whatever that is."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from realm_exporter_webhook.engine import Firing
from realm_exporter_webhook.exporter import WebhookExporter
from realm_exporter_webhook.memory import held_back
from realm_exporter_webhook.rules import Rule
from realm_exporter_webhook.run_facts import StreamFacts
from realm_telemetry.event import Event, format_time
from realm_telemetry.kinds.table import ROUTINE_KINDS
from realm_telemetry.log import Filters
from realm_telemetry.log.engine import Reader
from realm_telemetry.log.rows import Followed

Progress = Callable[[int, float | None], None]
"""Called with how many events a rule has matched, and which share of the log is read."""

LAST: Final = 1000
"""Messages that are listed one by one: the last ones. All are counted by their time."""

PARTS: Final = 280
"""Equal parts of the time, for each of which messages are counted."""

_LEVELS: Final = "▁▂▃▄▅▆▇█"


class Moment(msgspec.Struct, frozen=True):
    """One message that would have been sent."""

    time: str
    group: str
    events: int
    held_back: int
    late: bool


class Part(msgspec.Struct, frozen=True):
    """How many messages would have been sent from a time on, up to the next part."""

    since: str
    messages: int


class History:
    """What a rule would have done.

    events: that it matches. messages, digests: each goes to all of so many targets; digests are
    among the messages. held_back: by the cooldown, with those that no later message counted.
    last: the last LAST messages. parts: of the time, how many messages fell into each.
    """

    def __init__(self, rule: Rule, since_ns: int, until_ns: int) -> None:
        self.rule = rule
        self.events = self.messages = self.digests = self.held_back = 0
        self.last: deque[Firing] = deque(maxlen=LAST)
        self.parts = [0] * PARTS
        self._since_ns, self._width_ns = since_ns, max((until_ns - since_ns) // PARTS, 1)

    def note(self, firings: Iterable[Firing]) -> None:
        """Count what would have been sent."""
        for firing in firings:
            self.messages += 1
            self.digests += firing.late
            self.held_back += firing.held
            self.last.append(_slim(firing))
            place = (firing.time_unix_nano - self._since_ns) // self._width_ns
            self.parts[min(max(place, 0), PARTS - 1)] += 1

    def moments(self) -> list[Moment]:
        """The last messages, oldest first."""
        return [
            Moment(format_time(each.time_unix_nano), each.group, each.count, each.held, each.late)
            for each in self.last
        ]

    def when(self) -> list[Part]:
        """The parts of the time in which anything was sent."""
        return [
            Part(format_time(self._since_ns + place * self._width_ns), count)
            for place, count in enumerate(self.parts)
            if count
        ]


def _slim(firing: Firing) -> Firing:
    """Without its events, which would be most of a backtest's memory."""
    return msgspec.structs.replace(firing, events=[])


def backtest(
    exporter: WebhookExporter,
    reader: Reader,
    rule: Rule,
    since_ns: int,
    until_ns: int,
    progress: Progress = lambda events, share: None,
) -> History:
    """Run one rule over the events since a time, in the order in which they arrived.

    The clock is each event's arrival. The rule begins without a memory, and what it has gathered at
    the end counts as sent. until_ns: of the parts that messages are counted in: now.
    """
    alone = msgspec.structs.replace(exporter.config, rules=(rule,), built_in=())
    facts = StreamFacts()
    engine = exporter.engine(config=alone, facts=facts)
    history = History(rule, since_ns, until_ns)
    now_ns = since_ns
    for event in _news(reader, rule, since_ns, history, progress):
        now_ns = max(now_ns, event.observed_unix_nano or event.time_unix_nano)
        # What was due before the event came went without it.
        history.note(engine.tick(now_ns))
        facts.note(event, rule.sought)
        if engine.wants(event):
            history.note(engine.take(event, now_ns))
            history.events += 1
        engine.memory.changed.clear()  # nothing is saved, and each group would be kept here
    now_ns = max(now_ns, until_ns) if rule.period_s else now_ns
    history.note(engine.flush(now_ns))
    history.held_back += held_back(state for _, state in engine.memory.items())
    return history


def _news(
    reader: Reader, rule: Rule, since_ns: int, history: History, progress: Progress
) -> Iterator[Event]:
    """The events that a rule has to see, without those that were imported or replayed."""
    old = {info.producer for info in reader.now.producers() if info.brings_history}
    # A rule about runs asks for more than it matches: their beginnings, ends and signs of life.
    wanted = Filters() if rule.statuses or rule.period_s else rule.filters
    if rule.statuses:
        wanted = Filters(not_kinds=tuple(sorted(ROUTINE_KINDS)))
    filters = msgspec.structs.replace(wanted, since_unix_nano=since_ns)
    end = reader.now.max_cursor()
    first: int | None = None
    for step in reader.arrivals(filters, end):
        yield from (
            row.event for row in step.rows if not row.replayed and row.event.producer not in old
        )
        first = step.cursor if first is None else first
        progress(history.events, _share(step, first, end))


def _share(step: Followed, first: int, end: int) -> float:
    return (step.cursor - first) / max(end - first, 1)


def picture(parts: Sequence[int], columns: int) -> str:
    """A bar for each of `columns` equal parts of a time; a dot where nothing was sent."""
    width = len(parts) // columns
    counts = [sum(parts[start : start + width]) for start in range(0, width * columns, width)]
    most = max(counts)
    return "".join(
        _LEVELS[(count * len(_LEVELS) - 1) // most] if count else "·" for count in counts
    )
