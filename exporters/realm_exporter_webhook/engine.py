"""When rules fire: a fold of the events in the order of the log.

Nothing here knows of files or networks. Live, the clock is the wall's; in a backtest it is the
arrival of each event, so that both fire alike. Windows and cooldowns go by the events' own times,
which is why a restart, a slow log or a second look changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import msgspec
from msgspec.structs import replace

from realm_exporter_webhook.memory import Absence, Gathered, Key, Memory, State
from realm_exporter_webhook.rules import REQUEST, Config, Rule, runs_of
from realm_exporter_webhook.run_facts import OPEN, Facts, NoFacts, RunFacts
from realm_telemetry.event import Event
from realm_telemetry.log import Filters

_S: Final = 1_000_000_000


class Firing(msgspec.Struct, frozen=True):
    """One message to be.

    group: empty, or such as "hero=dio". held: matches before it that the cooldown kept back.
    events: the last of `count`, oldest first, at least one and at most SHOWN_EVENTS.
    time_unix_nano: when it was due. late: a digest. about: what stayed away, if that is it.
    episode: tells one silence of a run from another. of_status: of a rule about the status of runs;
    `became` is the one that it fired for. run: that all events belong to.
    """

    rule: str
    group: str
    to: tuple[str, ...]
    events: list[Event]
    count: int
    held: int = 0
    late: bool = False
    time_unix_nano: int = 0
    about: str = ""
    episode: str = ""
    of_status: bool = False
    became: str = ""
    run: RunFacts | None = None


class Engine:
    """All rules over one sequence of events.

    late_after_s: an event that is older when it is seen counts as late. digest_s: how long late
    events are gathered from the first on. since_unix_nano: events that arrived before concern no
    rule, only the addresses that they name.
    """

    def __init__(
        self,
        config: Config,
        *,
        late_after_s: float,
        digest_s: float,
        since_unix_nano: int = 0,
        facts: Facts | None = None,
        states: Mapping[Key, State] | None = None,
    ) -> None:
        self._rules = {rule.name: rule for rule in config.every_rule}
        self._facts = facts or NoFacts()
        self._late_after_ns = int(late_after_s * _S)
        self._digest_ns = int(digest_s * _S)
        self._since_ns = since_unix_nano
        self.memory = Memory(states or {})

    def wants(self, event: Event) -> bool:
        """Whether an event concerns any rule, or names addresses itself."""
        return bool(event.webhooks) or any(True for _ in self._matching(event))

    def take(self, event: Event, now_ns: int) -> list[Firing]:
        """Take the next event; what is to be sent because of it. Raises LogError."""
        firings = []
        for rule in self._matching(event):
            if rule.period_s:
                self._wait_for(rule, event)
            elif self._is_news(rule, event):
                firings += self._matched(rule, rule.group_of(event), event, now_ns)
        for url in dict.fromkeys(event.webhooks):
            firings += self._matched(_request(url), url, event, now_ns)
        return firings

    def tick(self, now_ns: int) -> list[Firing]:
        """What was gathered and is due, and what has stayed away. Raises LogError."""
        firings = []
        for key in self.memory.take_due(now_ns):
            firings += self._release(key, now_ns)
            firings += self._look_for(key, now_ns)
        return firings

    def flush(self, now_ns: int) -> list[Firing]:
        """All that was gathered, due or not."""
        for key, state in self.memory.items():
            for gathered in (state.collected, state.late):
                if gathered.count:
                    gathered.due_unix_nano = now_ns
                    self.memory.remind(key, now_ns)
        return self.tick(now_ns)

    def _matching(self, event: Event) -> Iterator[Rule]:
        arrival = event.observed_unix_nano
        if arrival is None or arrival >= self._since_ns:
            yield from (rule for rule in self._rules.values() if rule.concerns(event))

    def _matched(self, rule: Rule, group: str, event: Event, now_ns: int) -> list[Firing]:
        late = event.late or now_ns - event.time_unix_nano > self._late_after_ns
        # Late ones are one digest a rule, whatever the groups; an address is asked for apart.
        key = (rule.name, "" if late and rule.name != REQUEST else group)
        firings = self._make_room(key, now_ns)
        state = self.memory.state(key)
        if late:
            self._gather(key, state.late, event, now_ns)
        elif state.collected.due_unix_nano is not None:
            state.collected.add(event)
        # A clock that is ahead must not keep a cooldown going until its time has come.
        elif _reached(rule, state, event, min(event.time_unix_nano, now_ns)):
            firings += self._fired(rule, key, state, now_ns)
        return firings

    def _is_news(self, rule: Rule, event: Event) -> bool:
        """Whether a rule has not said this of the run yet; it counts as said then."""
        if event.run_id is None or not (rule.statuses or rule.once):
            return True
        key = (runs_of(rule.name), event.run_id)
        reported = self.memory.look(key).reported
        if rule.once and reported:
            return False
        status = self._status_after(event, event.run_id) if rule.statuses else None
        if rule.statuses and status not in rule.statuses:
            return False
        what = status or ""
        if what in reported:
            return False
        self._make_room(key, 0)
        self.memory.state(key).reported.append(what)
        return True

    def _status_after(self, event: Event, run_id: str) -> str | None:
        """The status of a run; what its event says of it where nothing is known of the run."""
        return self._facts.status(run_id) or event.details.get("status")

    def _wait_for(self, rule: Rule, start: Event) -> None:
        """Begin to wait for what a rule expects of a run, unless that is done already."""
        key = (rule.name, start.run_id or "")
        if self.memory.look(key).absence is not None:
            return
        self._make_room(key, 0)
        arrival = start.observed_unix_nano or start.time_unix_nano
        due_ns = arrival + int(rule.period_s * _S)
        start = replace(start, webhooks=())
        self.memory.state(key).absence = Absence(start, arrival, due_ns)
        self.memory.remind(key, due_ns)

    def _look_for(self, key: Key, now_ns: int) -> list[Firing]:
        """Ask whether what is expected of a run has stayed away; forget a run that has ended."""
        rule, absence = self._rules.get(key[0]), self.memory.look(key).absence
        if rule is None or absence is None or rule.sought is None or absence.due_unix_nano > now_ns:
            return []
        status = self._facts.status(key[1])
        if status not in OPEN:
            self.memory.forget(key)
            return []
        period_ns = int(rule.period_s * _S)
        came_ns = self._facts.last_arrival_ns(key[1], rule.sought) or 0
        # A pause is meant: what is expected counts from its end on.
        since_ns = now_ns if status == "paused" else came_ns
        if since_ns > absence.since_unix_nano:
            absence.since_unix_nano, absence.is_reported = since_ns, False
        is_away = now_ns >= absence.since_unix_nano + period_ns
        fires = is_away and not absence.is_reported
        absence.is_reported = is_away
        absence.due_unix_nano = (
            now_ns + period_ns if is_away else absence.since_unix_nano + period_ns
        )
        self.memory.state(key)  # changed
        self.memory.remind(key, absence.due_unix_nano)
        return [_silence(rule, key[1], absence, now_ns)] if fires else []

    def _gather(self, key: Key, late: Gathered, event: Event, now_ns: int) -> None:
        late.add(event)
        if late.due_unix_nano is None:
            self._send_at(key, late, now_ns + self._digest_ns)

    def _say(
        self, rule: Rule, group: str, state: State | None, gathered: Gathered, now_ns: int
    ) -> Firing:
        """Make a message. state: that tells what the cooldown held back; None makes a digest."""
        firing = _firing(rule, group, state, gathered, now_ns)
        run_id = gathered.events[-1].run_id
        if not rule.statuses or run_id is None:
            return firing
        reported = self.memory.look((runs_of(rule.name), run_id)).reported
        return replace(firing, became=reported[-1] if reported else "")

    def _fired(self, rule: Rule, key: Key, state: State, now_ns: int) -> list[Firing]:
        gathered, state.recent = state.recent, Gathered()
        if rule.collect_s:
            state.collected = gathered
            self._send_at(key, gathered, now_ns + int(rule.collect_s * _S))
            return []
        return [self._say(rule, key[1], state, gathered, now_ns)]

    def _send_at(self, key: Key, gathered: Gathered, due_ns: int) -> None:
        gathered.due_unix_nano = due_ns
        self.memory.remind(key, due_ns)

    def _release(self, key: Key, now_ns: int, *, early: bool = False) -> list[Firing]:
        """What a group has to send by now; early: all that it has."""
        rule = self._rules.get(key[0]) or _request(key[1])
        state = self.memory.state(key)
        firings = []
        if early or _is_due(state.collected, now_ns):
            firings += self._told(rule, key[1], state, state.collected, now_ns)
            state.collected = Gathered()
        if early or _is_due(state.late, now_ns):
            firings += self._told(rule, key[1], None, state.late, now_ns)
            state.late = Gathered()
        return firings

    def _told(
        self, rule: Rule, group: str, state: State | None, gathered: Gathered, now_ns: int
    ) -> list[Firing]:
        return [self._say(rule, group, state, gathered, now_ns)] if gathered.count else []

    def _make_room(self, key: Key, now_ns: int) -> list[Firing]:
        """Forget the group that was silent longest, if there are too many; what it has is sent."""
        oldest = self.memory.too_many(key)
        if oldest is None:
            return []
        firings = self._release(oldest, now_ns, early=True)
        self.memory.forget(oldest)
        return firings


def _is_due(gathered: Gathered, now_ns: int) -> bool:
    return gathered.due_unix_nano is not None and gathered.due_unix_nano <= now_ns


def _reached(rule: Rule, state: State, event: Event, moment_ns: int) -> bool:
    """Count a match; whether the rule fires."""
    count = state.count(event, moment_ns, int(rule.window_s * _S), rule.threshold)
    if count < rule.threshold:
        return False
    last = state.fired_unix_nano
    if last is not None and rule.cooldown_s and moment_ns < last + int(rule.cooldown_s * _S):
        state.held += 1
        return False
    state.fired_unix_nano, state.times = moment_ns, []
    return True


def _firing(rule: Rule, group: str, state: State | None, gathered: Gathered, now_ns: int) -> Firing:
    """state: that tells what the cooldown held back; None makes a digest."""
    held = 0
    if state is not None:
        held, state.held = state.held, 0
    shown = "" if rule.name == REQUEST else group
    return Firing(
        rule.name,
        shown,
        rule.to,
        gathered.events,
        gathered.count,
        held,
        state is None,
        # A backtest has no clock between its events, and would say the time of the next one.
        min(now_ns, gathered.due_unix_nano or now_ns),
        of_status=bool(rule.statuses),
    )


def _silence(rule: Rule, run_id: str, absence: Absence, now_ns: int) -> Firing:
    return Firing(
        rule.name,
        run_id,
        rule.to,
        [absence.start],
        1,
        time_unix_nano=min(now_ns, absence.since_unix_nano + int(rule.period_s * _S)),
        about=rule.absence,
        episode=str(absence.since_unix_nano),
    )


def _request(url: str) -> Rule:
    return Rule(REQUEST, (url,), Filters())


def run(engine: Engine, events: Iterable[Event], now_ns: int) -> list[Firing]:
    """Take several events and what is due."""
    firings: list[Firing] = []
    for event in events:
        firings += engine.take(event, now_ns)
    return firings + engine.tick(now_ns)
