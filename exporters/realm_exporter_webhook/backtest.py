"""What each rule would have done over the log as it is."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import msgspec

from realm_exporter_webhook import WebhookExporter
from realm_exporter_webhook.engine import Engine, Firing
from realm_exporter_webhook.rules import Rule
from realm_telemetry.event import Event
from realm_telemetry.log import LogReader

ROWS: Final = 1000
_LEVELS: Final = "▁▂▃▄▅▆▇█"


class Moment(msgspec.Struct, frozen=True):
    """One message that would have been sent."""

    time_unix_nano: int
    group: str
    events: int
    held_back: int
    late: bool


class History(msgspec.Struct, frozen=True):
    """What a rule would have done.

    events: that it matches. messages: each goes to all of so many targets. held_back: by the
    cooldown, those that no later message told of among them.
    """

    rule: str
    events: int
    messages: list[Moment]
    targets: int
    held_back: int


def backtest(
    exporter: WebhookExporter,
    reader: LogReader,
    rule: Rule,
    since_ns: int,
    progress: Callable[[int], None] = lambda rows: None,
) -> History:
    """Run one rule over the events since a time, in the order in which they arrived.

    The clock is each event's arrival. The rule begins without a memory, and what it has gathered at
    the end counts as sent. progress: told how many events were read.
    """
    alone = msgspec.structs.replace(exporter.config, rules=(rule,))
    engine = exporter.engine(config=alone)
    firings: list[Firing] = []
    matched = now_ns = 0
    for event in _news(reader, rule, since_ns):
        now_ns = max(now_ns, event.observed_unix_nano or event.time_unix_nano)
        firings += _step(engine, event, now_ns)
        matched += 1
        progress(matched)
    firings += engine.flush(now_ns)
    held = sum(firing.held for firing in firings) + sum(
        each.held for each in engine.states.values()
    )
    return History(rule.name, matched, [_moment(each) for each in firings], len(rule.to), held)


def _step(engine: Engine, event: Event, now_ns: int) -> list[Firing]:
    # What was due before the event came went without it.
    return engine.tick(now_ns) + engine.take(msgspec.structs.replace(event, webhooks=()), now_ns)


def _news(reader: LogReader, rule: Rule, since_ns: int) -> Iterator[Event]:
    """The events that a rule wants, without those that were imported or replayed."""
    old = {info.producer for info in reader.producers() if info.brings_history}
    filters = msgspec.structs.replace(rule.filters, since_unix_nano=since_ns)
    cursor = 0
    while rows := reader.after(cursor, ROWS, filters):
        yield from (row.event for row in rows if row.event.producer not in old)
        cursor = rows[-1].cursor


def _moment(firing: Firing) -> Moment:
    return Moment(firing.time_unix_nano, firing.group, firing.count, firing.held, firing.late)


def picture(moments: Sequence[Moment], since_ns: int, until_ns: int, columns: int) -> str:
    """A bar for each of `columns` equal parts of a time; a dot where nothing was sent."""
    counts = [0] * columns
    for moment in moments:
        place = (moment.time_unix_nano - since_ns) * columns // max(until_ns - since_ns, 1)
        counts[min(max(place, 0), columns - 1)] += 1
    most = max(counts)
    return "".join(
        _LEVELS[(count * len(_LEVELS) - 1) // most] if count else "·" for count in counts
    )
