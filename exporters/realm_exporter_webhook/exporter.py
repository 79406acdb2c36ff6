"""The webhook exporter: apply rules to events, keep the messages that follow, and send them."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from hashlib import blake2b
from typing import Any, ClassVar, Final, Self

import msgspec

from realm_exporter_webhook.addresses import (
    Guard,
    RefusedAddressError,
    UnresolvedError,
    is_this_host,
)
from realm_exporter_webhook.engine import Engine, Firing, run
from realm_exporter_webhook.notify import problem_of
from realm_exporter_webhook.rules import REQUEST, Config, Target, definitions_of
from realm_exporter_webhook.run_facts import LogFacts, describe
from realm_exporter_webhook.sender import EVENTS, RULES, Poster, Sender
from realm_exporter_webhook.settings import read_config, read_hosts, seconds
from realm_exporter_webhook.store import Store, of_run
from realm_exporter_webhook.templates import render, title
from realm_telemetry.errors import ExportError, LogError, counted
from realm_telemetry.event import Event
from realm_telemetry.home.token import addresses_of
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.outbox import WEBHOOKS, KeptCircuit, Message
from realm_telemetry.otel import EventExporter
from realm_telemetry.plugins import ExporterContext


def compose(
    firing: Firing, config: Config, scope: str, replays: int, now_ns: int
) -> Iterator[Message]:
    """Yield a message to each place that a firing goes to.

    replays: how often the events of this scope were replayed.
    """
    asked = firing.rule == REQUEST
    for name in firing.to:
        target = config.requested(name) if asked else config.targets[name]
        # What an event asks for is the same message, whichever process sends it.
        message_id = (
            _message_id(firing, target, "", 0)
            if asked
            else _message_id(firing, target, scope, replays)
        )
        yield Message(
            message_id=message_id,
            scope=scope,
            rule=firing.rule,
            title=title(firing),
            target=target.name,
            url=name if asked else None,
            events=firing.count,
            body=render(target.template, firing, message_id, target.topic),
            due_unix_nano=now_ns,
            created_unix_nano=now_ns,
        )


def _message_id(firing: Firing, target: Target, scope: str, replays: int) -> str:
    """Name a message: the same events by the same rule to the same place have the same name.

    Until they are replayed.
    """
    parts = [scope, firing.rule, firing.group, target.url, firing.late, firing.count]
    parts += [event.id for event in firing.events]
    parts += [firing.episode] if firing.episode else []
    parts += [replays] if replays else []
    return f"msg_{blake2b(msgspec.json.encode(parts), digest_size=16).hexdigest()}"


CheckResult = tuple[str, str, str]


def check_settings(exporter: "WebhookExporter") -> Iterator[CheckResult]:
    """Yield the results of the checks: level, message and fix. Sends nothing."""
    config = exporter.config
    for rules, what in ((config.rules, "rule"), (config.built_in, "built-in rule")):
        if rules:
            names = ", ".join(rule.name for rule in rules)
            yield "ok", f"{counted(len(rules), what)}: {names}", ""
    used = {name for rule in config.every_rule for name in rule.to}
    for name, target in config.targets.items():
        if name not in used:
            yield "warning", f"no rule sends to the target {name}", "Name it in `to`, or remove it."
        if target.template == "apprise":
            if problem := problem_of(target.url):
                fix = f"Correct options.webhook.targets.{name}.url; see apprise's list of services."
                yield "problem", f"target {name} ({target.place}): {problem}", fix
            continue
        try:
            addresses = exporter.guard.check(target.url).addresses
        except RefusedAddressError as error:
            yield "problem", f"target {name}: {error}", ""
            continue
        except UnresolvedError as error:
            yield "warning", f"target {name}: {error}", "Correct its url, or this host's DNS."
            continue
        if target.place.startswith("http://") and not all(map(is_this_host, addresses)):
            what = f"target {name} ({target.place}) is sent to without TLS"
            yield "warning", what, "Write https://, if the receiver can."
    yield from _messages(exporter)


def _messages(exporter: "WebhookExporter") -> Iterator[CheckResult]:
    if not exporter.has_store():
        return
    try:
        store = exporter.open_store()
    except LogError as error:
        yield "problem", str(error), "Move it away; a new one is made."
        return
    with closing(store):
        counts, reason = store.outbox.counts(), store.reason()
        circuits = store.outbox.circuits()
    dead = sum(count for (_, state), count in counts.items() if state == "dead")
    waiting = sum(count for (_, state), count in counts.items() if state == "pending")
    if dead:
        fix = "realm webhooks log --state dead; then realm webhooks redeliver --all"
        yield "warning", f"not taken: {counted(dead, 'message')}", fix
    if waiting:
        what = f"waiting to be sent: {counted(waiting, 'message')}{f'; {reason}' if reason else ''}"
        yield "warning", what, "realm webhooks log"
    for circuit in circuits:
        yield "warning", circuit_text(circuit), "Look at that host; it is tried again by itself."


def circuit_text(circuit: KeptCircuit) -> str:
    """A host that is left alone, in words."""
    from realm_telemetry.cli.times import times

    again = times().full(circuit.until_unix_nano)
    whom = _POOLS[circuit.pool]
    return f"{circuit.place} is left alone until {again}, for {whom}: {circuit.reason}"


_POOLS: Final = {RULES: "targets of rules", EVENTS: "addresses that events name"}


_LOOK_S: Final = 10.0
_LEASE_PAUSE_S: Final = 5.0
_AFTER_ERROR_S: Final = 5.0
_END_S: Final = 1.5
_BEGAN_BEFORE_NS: Final = 60_000_000_000
"""A first event may have been stored a moment before there was an exporter."""

_logger = logging.getLogger(__name__)


def _is_muted(firing: Firing, muted: Mapping[str, int]) -> bool:
    """Whether its rule is quiet now, or every run that it is about."""
    runs = {of_run(event.run_id) for event in firing.events}
    return firing.rule in muted or (bool(runs) and runs <= muted.keys())


class WebhookExporter(EventExporter):
    """Fires rules over the events of its pipeline and delivers what follows.

    In a service, which stays, `deliver` returns once the messages are kept, and a thread sends
    them. Elsewhere it sends them itself, and fails as long as one of them waits: a shipper leaves
    when its exporters are done.
    """

    name = "webhook"
    defaults: ClassVar[Mapping[str, Any]] = {
        "rules": [],
        "alerts": {},
        "targets": {},
        "secret": "",
        "allow_hosts": [],
        "timeout": None,
        "late_after": None,
        "digest": None,
        "give_up_after": None,
    }
    durations_s: ClassVar[Mapping[str, float]] = {
        "timeout": 10.0,
        "late_after": 600.0,
        "digest": 60.0,
        "give_up_after": 86_400.0,
    }

    def __init__(self, *args: Any, clock: Any = time, **kwargs: Any) -> None:
        """clock: `time`, or what stands for it. Raises ConfigError."""
        super().__init__(*args, **kwargs)
        self.config = read_config(self.options)
        self._durations_s = {
            name: seconds(f"options.webhook.{name}", default if given is None else given)
            for name, default in self.durations_s.items()
            for given in (self.options[name],)
        }
        private = [target.host for target in self.config.targets.values() if target.private]
        self.guard = Guard([*read_hosts(self.options["allow_hosts"]), *private])
        self._clock = clock
        self._scope = self.context.pipeline
        self._store: Store | None = None
        self._fold = threading.Lock()
        self._wake = threading.Event()
        self._log = open_log(self.context.log_place, home=self.context.home)
        self._facts = LogFacts(self._log)
        self._lease = self._log.lease(f"{WEBHOOKS}-{self._scope or 'service'}")
        self._thread: threading.Thread | None = None

    @classmethod
    def from_context(cls, context: ExporterContext) -> Self:
        """Build it; in a service, go on at once with what another left: no event may come for long.

        Raises ConfigError, ExportError.
        """
        exporter = cls(context=context)
        if context.long_lived and exporter.has_store():
            exporter.begin()
        return exporter

    @classmethod
    def check(cls, context: ExporterContext) -> Iterator[tuple[str, str, str]]:
        """The checks of `realm doctor`: level, message, fix."""
        return check_settings(cls(context=context))

    @classmethod
    def desk(cls, context: ExporterContext) -> Any:
        """What a service shows of alerts and does about them; see Desk. Raises ConfigError."""
        from realm_exporter_webhook.desk import Desk

        return Desk(context)

    @classmethod
    def forget(cls, context: ExporterContext, event_ids: Sequence[str]) -> None:
        """Let events of a pipeline be new again: `realm replay --to webhook` calls it before."""
        exporter = cls(context=context)
        if exporter.has_store():
            with closing(exporter.open_store()) as store:
                store.forget(context.pipeline, event_ids)

    def has_store(self) -> bool:
        """Whether messages or the memory of rules were ever kept."""
        return self._log.has_outbox(WEBHOOKS)

    def open_store(self) -> Store:
        """Open what keeps messages and the memory of rules. Raises LogError."""
        return Store(self._log.outbox(WEBHOOKS))

    def engine(self, config: Config | None = None, **options: Any) -> Engine:
        """The rules as they are set, or others, with an empty memory unless one is given."""
        return Engine(
            config or self.config,
            late_after_s=self._durations_s["late_after"],
            digest_s=self._durations_s["digest"],
            **options,
        )

    def poster(self) -> Poster:
        """What sends a single message."""
        return Poster(self.guard, timeout_s=self._durations_s["timeout"], clock=self._clock)

    def sender(self, store: Store, scope: str = "", **options: Any) -> Sender:
        """What sends the messages of a scope."""
        return Sender(
            store.outbox,
            self.config,
            self.poster(),
            scope,
            timeout_s=self._durations_s["timeout"],
            give_up_after_s=self._durations_s["give_up_after"],
            clock=self._clock,
            **options,
        )

    def open(self) -> None:
        """Open the store; in a service, begin to send what waits there."""
        try:
            self._store = store = self.open_store()
            self._take_lease()
            store.outbox.keep_circuits(self._scope, [])  # of a process that has ended
            self._definitions = definitions_of(self.config)
            store.forget_others(self._scope, self._definitions)
            self._began_ns = store.began_ns(self._scope, self._clock.time_ns() - _BEGAN_BEFORE_NS)
            self._engine = self._remembering(store)
        except LogError as error:
            self._release()
            raise ExportError(str(error), retryable=True) from error
        except ExportError:
            self._release()
            raise
        self._sender = self.sender(store, self._scope, done=self._wake.set)
        if self.context.long_lived:
            self._thread = threading.Thread(
                target=self._send, name="realm-telemetry-webhooks", daemon=True
            )
            self._thread.start()

    def _take_lease(self) -> None:
        """Two processes that apply the rules of one scope would fire each of them twice."""
        if not self._lease.take():
            raise ExportError(
                f"another process holds {self._lease.place}: only one may fire the rules of this"
                " home",
                retryable=True,
                retry_after_s=_LEASE_PAUSE_S,
            )

    def deliver(self, events: Sequence[Event]) -> None:
        """Let the rules see the events, and deliver or keep what follows."""
        try:
            self._take(events)
            if self.context.long_lived:
                self._wake.set()
            else:
                self._send_all()
        except LogError as error:
            raise ExportError(str(error), retryable=True) from error

    def close(self) -> None:
        """Stop sending; what waits is sent by the next who opens the store."""
        self._wake.set()
        if self._thread is not None:
            self._thread.join(_END_S)
        elif self._store is not None:
            self._send_last()
        self._release()

    def _take(self, events: Sequence[Event]) -> None:
        """Fold new events into the rules and keep what follows, in one transaction."""
        with self._fold:
            wanted = {event.id: event for event in events if self._engine.wants(event)}
            fresh = self._kept.fresh(self._scope, wanted) if wanted else []
            now_ns = self._clock.time_ns()
            self._facts.look_again()
            try:
                firings = run(self._engine, fresh, now_ns)
            except LogError:
                # The rules were in the midst of it: the same events come again, as they were.
                self._engine = self._remembering(self._kept)
                raise
            self._keep(firings, fresh, now_ns)

    def _keep(self, firings: Sequence[Firing], seen: Sequence[Event], now_ns: int) -> None:
        changed = self._engine.memory.changed
        if not (firings or seen or changed):
            return
        replays = self._kept.replays(self._scope) if firings else 0
        muted = self._kept.muted(now_ns) if firings else {}
        firings = [self._with_run(each) for each in firings if not _is_muted(each, muted)]
        messages = [
            message
            for firing in firings
            for message in compose(firing, self.config, self._scope, replays, now_ns)
        ]
        try:
            self._kept.take(self._scope, seen, changed, self._definitions, messages)
        except BaseException:
            # What is in memory was not kept: the same events come again, to the rules as they were.
            self._engine = self._remembering(self._kept)
            raise
        self._engine.memory.changed = {}

    def _with_run(self, firing: Firing) -> Firing:
        """Add what is known of the run that all events are of."""
        run_ids = {event.run_id for event in firing.events}
        run_id = next(iter(run_ids))
        if len(run_ids) > 1 or run_id is None:
            return firing
        record = None
        try:
            record = self._facts.record(run_id)
        except LogError as error:
            _logger.debug("A message goes without what the log knows of its run: %s", error)
        run = describe(run_id, record, firing.events, addresses_of(self.context.service_url)[0])
        return msgspec.structs.replace(firing, run=run)

    def _send(self) -> None:
        """Send until the end: what is gathered when its time has come, and what waits."""
        while not self.stopping.is_set():
            self._wake.clear()
            try:
                self._take([])
                self._sender.start_due()
                # Looked at now and then: others may put messages into the store.
                wait_s = min(self._sender.wait_s() or _LOOK_S, self._digest_wait_s(), _LOOK_S)
            except LogError as error:
                _logger.warning("Webhooks cannot be sent, next try in 5 s: %s", error)
                wait_s = _AFTER_ERROR_S
            self._wake.wait(wait_s)

    def _digest_wait_s(self) -> float:
        """Seconds until what was gathered is to be sent."""
        with self._fold:
            due_ns = self._engine.memory.next_due_ns()
        return _LOOK_S if due_ns is None else max((due_ns - self._clock.time_ns()) / 1e9, 0.0)

    def _send_all(self) -> None:
        """Send what is due; raises ExportError while anything waits."""
        self._sender.send_due()
        wait_s = self._sender.wait_s()
        if wait_s is not None:
            reason = self._kept.reason()
            what = f"webhook messages wait to be sent{f': {reason}' if reason else ''}"
            raise ExportError(what, retryable=True, retry_after_s=wait_s)

    def _send_last(self) -> None:
        """Send what is still gathered: the next process may come much later."""
        try:
            with self._fold:
                now_ns = self._clock.time_ns()
                self._facts.look_again()
                self._keep(self._engine.flush(now_ns), [], now_ns)
            self._send_all()
        except (ExportError, LogError) as error:
            _logger.debug("Webhook messages are kept for later: %s", error)

    @property
    def _kept(self) -> Store:
        assert self._store is not None, "`open` comes first"
        return self._store

    def _remembering(self, store: Store) -> Engine:
        states = store.states(self._scope, self._definitions)
        # A service may begin far back, at the first event that names an address.
        since_ns = self._began_ns if self.context.long_lived else 0
        return self.engine(states=states, since_unix_nano=since_ns, facts=self._facts)

    def _release(self) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()
        self._facts.close()
        self._lease.release()
