"""What rules remember, of each group, in the bounds that keep a busy lab from filling memory."""

from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from typing import Final

import msgspec

from realm_telemetry.event import Event

SHOWN_EVENTS: Final = 10
"""How many events a message holds in full; the others are counted."""

MAX_GROUPS: Final = 1000
"""Groups that a rule remembers; the one that was silent longest is forgotten first."""

_MANY_DUES: Final = 10 * MAX_GROUPS
"""So many reminders may be of groups that are gone; then these are taken out."""

STATE_VERSION: Final = 2
"""Of the shape of a State; one of another version is forgotten."""

Key = tuple[str, str]
"""A rule's name and a group; for requests the group is the address."""


class Gathered(msgspec.Struct):
    """Events on their way into one message.

    events: the last few in full. due_unix_nano: when the message is to go; None if it is open.
    """

    events: list[Event] = []
    count: int = 0
    due_unix_nano: int | None = None

    def add(self, event: Event) -> None:
        """Count an event and keep it while there is room for it."""
        self.count += 1
        # Without addresses, which are secrets and not for the receivers of rules.
        self.events.append(msgspec.structs.replace(event, webhooks=()) if event.webhooks else event)
        del self.events[:-SHOWN_EVENTS]


class Absence(msgspec.Struct):
    """A run that something is expected of.

    start: the event that began it. since_unix_nano: from when on nothing came.
    due_unix_nano: when to look again. is_reported: whether this silence was.
    """

    start: Event
    since_unix_nano: int
    due_unix_nano: int
    is_reported: bool = False


class State(msgspec.Struct):
    """What a rule remembers of one group; it is kept across restarts.

    times: of the matches within the window, in order, no more than the threshold.
    recent: these events.
    fired_unix_nano: when it fired last. held: matches that the cooldown kept back since.
    reported: statuses of a run that the rule has reported. absence: of a run that is waited for.
    """

    times: list[int] = []
    recent: Gathered = msgspec.field(default_factory=Gathered)
    fired_unix_nano: int | None = None
    held: int = 0
    collected: Gathered = msgspec.field(default_factory=Gathered)
    late: Gathered = msgspec.field(default_factory=Gathered)
    reported: list[str] = []
    absence: Absence | None = None

    def count(self, event: Event, moment_ns: int, window_ns: int, most: int) -> int:
        """Count a match; how many there are within the window, up to `most`."""
        times = self.times
        del times[: bisect_right(times, moment_ns - window_ns)]
        insort(times, moment_ns)
        del times[:-most]
        self.recent.add(event)
        self.recent.count = len(times)
        del self.recent.events[: -len(times)]
        return len(times)

    def dues(self) -> Iterator[int]:
        """When what was gathered is to go."""
        for gathered in (self.collected, self.late):
            if gathered.due_unix_nano is not None:
                yield gathered.due_unix_nano
        if self.absence is not None:
            yield self.absence.due_unix_nano


class Memory:
    """The states of all rules, and which of them have something to send, and when.

    changed: states that are to be saved; the caller empties it.
    """

    def __init__(self, states: Mapping[Key, State]) -> None:
        self._rules: dict[str, dict[str, State]] = {}
        self._dues: list[tuple[int, Key]] = []
        self._most_dues = _MANY_DUES
        self.changed: dict[Key, State | None] = {}
        for key, state in states.items():
            self._rules.setdefault(key[0], {})[key[1]] = state
            for due_ns in state.dues():
                self.remind(key, due_ns)

    def items(self) -> Iterator[tuple[Key, State]]:
        """All states; of a rule the one that was silent longest first."""
        for rule, groups in self._rules.items():
            yield from (((rule, group), state) for group, state in groups.items())

    def state(self, key: Key) -> State:
        """The state of a group, marked as changed and moved behind the others."""
        groups = self._rules.setdefault(key[0], {})
        state = groups.pop(key[1], None) or State()
        groups[key[1]] = self.changed[key] = state
        return state

    def look(self, key: Key) -> State:
        """The state of a group, to be read; a new one if there is none."""
        return self._rules.get(key[0], {}).get(key[1]) or State()

    def too_many(self, key: Key) -> Key | None:
        """The group of this rule that has to make room before another comes."""
        groups = self._rules.get(key[0], {})
        if len(groups) < MAX_GROUPS or key[1] in groups:
            return None
        return key[0], next(iter(groups))

    def forget(self, key: Key) -> None:
        """Forget a group."""
        del self._rules[key[0]][key[1]]
        self.changed[key] = None

    def remind(self, key: Key, due_ns: int) -> None:
        """Say that a group has something to send at a time."""
        heappush(self._dues, (due_ns, key))
        if len(self._dues) > self._most_dues:
            self._dues = [(due, each) for each, state in self.items() for due in state.dues()]
            self._most_dues = 2 * len(self._dues) + _MANY_DUES
            heapify(self._dues)

    def take_due(self, now_ns: int) -> Iterator[Key]:
        """The groups whose time has come, in order; some may have nothing to send any more."""
        while self._dues and self._dues[0][0] <= now_ns:
            key = heappop(self._dues)[1]
            if key[1] in self._rules.get(key[0], {}):
                yield key

    def next_due_ns(self) -> int | None:
        """When there will be something to send."""
        return self._dues[0][0] if self._dues else None


def held_back(states: Iterable[State]) -> int:
    """How many matches are in no message yet."""
    return sum(state.held for state in states)
