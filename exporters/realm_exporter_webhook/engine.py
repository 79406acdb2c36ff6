"""When rules fire: a fold of the events in the order of the log.

Nothing here knows of files or networks. Live, the clock is the wall's; in a backtest it is the
arrival of each event, so that both fire alike. Windows and cooldowns go by the events' own times,
which is why a restart, a slow log or a second look changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec

from realm_exporter_webhook.rules import REQUEST, Config, Rule
from realm_telemetry.catalog import event_to_dict
from realm_telemetry.event import Event
from realm_telemetry.log import Filters

SHOWN_EVENTS: Final = 10
"""How many events a message holds in full; the others are counted."""

MAX_GROUPS: Final = 1000
"""Groups that a rule remembers; the one that was silent longest is forgotten first."""

_S: Final = 1_000_000_000
Key = tuple[str, str]
"""A rule's name and a group; for requests the group is the address."""


class Gathered(msgspec.Struct):
    """Events on their way into one message.

    events: the last few in full. due_unix_nano: when the message is to go; None if it is open.
    """

    events: list[dict[str, Any]] = []
    count: int = 0
    due_unix_nano: int | None = None

    def add(self, event: Event) -> None:
        """Count an event and keep it while there is room for it."""
        self.count += 1
        self.events = [*self.events[-SHOWN_EVENTS + 1 :], event_to_dict(event)]


class State(msgspec.Struct):
    """What a rule remembers of one group; it is kept across restarts.

    times: of the matches within the window, no more than the threshold. recent: these events.
    fired_unix_nano: when it fired last. held: matches that the cooldown kept back since.
    """

    times: list[int] = []
    recent: Gathered = msgspec.field(default_factory=Gathered)
    fired_unix_nano: int | None = None
    held: int = 0
    collected: Gathered = msgspec.field(default_factory=Gathered)
    late: Gathered = msgspec.field(default_factory=Gathered)

    @property
    def due_unix_nano(self) -> int | None:
        """When something that was gathered is to go."""
        dues = (self.collected.due_unix_nano, self.late.due_unix_nano)
        return min((due for due in dues if due is not None), default=None)


class Firing(msgspec.Struct, frozen=True):
    """One message to be.

    group: empty, or such as "hero=dio". held: matches before it that the cooldown kept back.
    events: as readers see them, at most SHOWN_EVENTS of `count`. late: a digest.
    """

    rule: str
    group: str
    to: tuple[str, ...]
    events: list[dict[str, Any]]
    count: int
    held: int = 0
    late: bool = False
    time_unix_nano: int = 0


class Engine:
    """All rules over one sequence of events.

    late_after_s: an event that is older when it is seen counts as late. digest_s: how long late
    events are gathered from the first on. since_unix_nano: events that arrived before concern no
    rule, only the addresses that they name.
    changed: states that are to be saved; the caller empties it.
    """

    def __init__(
        self,
        config: Config,
        *,
        late_after_s: float,
        digest_s: float,
        since_unix_nano: int = 0,
        states: Mapping[Key, State] | None = None,
    ) -> None:
        self._rules = {rule.name: rule for rule in config.rules}
        self._late_after_ns = int(late_after_s * _S)
        self._digest_ns = int(digest_s * _S)
        self._since_ns = since_unix_nano
        self.states: dict[Key, State] = dict(states or {})
        self.changed: dict[Key, State | None] = {}

    def wants(self, event: Event) -> bool:
        """Whether an event concerns any rule, or names addresses itself."""
        return bool(event.webhooks) or any(True for _ in self._matching(event))

    def take(self, event: Event, now_ns: int) -> list[Firing]:
        """Take the next event; what is to be sent because of it."""
        firings = []
        for rule in self._matching(event):
            firings += self._matched(rule, rule.group_of(event), event, now_ns)
        for url in dict.fromkeys(event.webhooks):
            firings += self._matched(_request(url), url, event, now_ns)
        return firings

    def tick(self, now_ns: int) -> list[Firing]:
        """What was gathered and is due."""
        due = [
            key
            for key, state in self.states.items()
            if state.due_unix_nano is not None and state.due_unix_nano <= now_ns
        ]
        return [firing for key in due for firing in self._release(key, now_ns)]

    def flush(self, now_ns: int) -> list[Firing]:
        """All that was gathered, due or not."""
        for state in self.states.values():
            for gathered in (state.collected, state.late):
                if gathered.count:
                    gathered.due_unix_nano = now_ns
        return self.tick(now_ns)

    def next_due_ns(self) -> int | None:
        """When `tick` will have something to say."""
        dues = (state.due_unix_nano for state in self.states.values())
        return min((due for due in dues if due is not None), default=None)

    def _matching(self, event: Event) -> Iterator[Rule]:
        arrival = event.observed_unix_nano
        if arrival is None or arrival >= self._since_ns:
            yield from (rule for rule in self._rules.values() if rule.filters.matches(event))

    def _matched(self, rule: Rule, group: str, event: Event, now_ns: int) -> list[Firing]:
        if event.late or now_ns - event.time_unix_nano > self._late_after_ns:
            # One digest a rule, whatever the groups; an address is asked for apart.
            late = self._state((rule.name, group if rule.name == REQUEST else "")).late
            late.add(event)
            late.due_unix_nano = late.due_unix_nano or now_ns + self._digest_ns
            return []
        state = self._state((rule.name, group))
        if state.collected.due_unix_nano is not None:
            state.collected.add(event)
            return []
        # A clock that is ahead must not keep a cooldown going until its time has come.
        moment = min(event.time_unix_nano, now_ns)
        if not _reached(rule, state, event, moment):
            return []
        return self._fired(rule, group, state, now_ns)

    def _fired(self, rule: Rule, group: str, state: State, now_ns: int) -> list[Firing]:
        gathered, state.recent = state.recent, Gathered()
        if rule.collect_s:
            state.collected = gathered
            state.collected.due_unix_nano = now_ns + int(rule.collect_s * _S)
            return []
        return [_firing(rule, group, state, gathered, now_ns)]

    def _release(self, key: Key, now_ns: int) -> list[Firing]:
        name, group = key
        rule = self._rules.get(name) or _request(group)
        state = self._state(key)
        firings = []
        if state.collected.due_unix_nano is not None and state.collected.due_unix_nano <= now_ns:
            firings.append(_firing(rule, group, state, state.collected, now_ns))
            state.collected = Gathered()
        if state.late.due_unix_nano is not None and state.late.due_unix_nano <= now_ns:
            firings.append(_firing(rule, group, None, state.late, now_ns))
            state.late = Gathered()
        return firings

    def _state(self, key: Key) -> State:
        """The state of a group, marked as changed and moved behind the others."""
        state = self.states.pop(key, None)
        if state is None:
            state = State()
            self._forget_one(key[0])
        self.states[key] = self.changed[key] = state
        return state

    def _forget_one(self, rule: str) -> None:
        own = [key for key in self.states if key[0] == rule]
        if len(own) < MAX_GROUPS:
            return
        silent = next((key for key in own if self.states[key].due_unix_nano is None), None)
        if silent is not None:  # else all of them have something to send, and stay until then
            del self.states[silent]
            self.changed[silent] = None


def _reached(rule: Rule, state: State, event: Event, moment: int) -> bool:
    """Count a match; whether the rule fires."""
    oldest = moment - int(rule.window_s * _S)
    state.times = [*(time for time in state.times if time > oldest), moment][-rule.threshold :]
    state.recent.add(event)
    state.recent.count = len(state.times)
    state.recent.events = state.recent.events[-len(state.times) :]
    if len(state.times) < rule.threshold:
        return False
    last = state.fired_unix_nano
    if last is not None and rule.cooldown_s and moment < last + int(rule.cooldown_s * _S):
        state.held += 1
        return False
    state.fired_unix_nano, state.times = moment, []
    return True


def _firing(rule: Rule, group: str, state: State | None, gathered: Gathered, now_ns: int) -> Firing:
    held = 0
    if state is not None:
        held, state.held = state.held, 0
    shown = "" if rule.name == REQUEST else group
    return Firing(
        rule.name, shown, rule.to, gathered.events, gathered.count, held, state is None, now_ns
    )


def _request(url: str) -> Rule:
    return Rule(REQUEST, (url,), Filters())


def run(engine: Engine, events: Iterable[Event], now_ns: int) -> list[Firing]:
    """Take several events and what is due."""
    firings: list[Firing] = []
    for event in events:
        firings += engine.take(event, now_ns)
    return firings + engine.tick(now_ns)
