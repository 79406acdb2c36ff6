"""Spool to log: read, decode, process, store, free.

Events of all spools go into the log together, one transaction for many. What has been read but
could not be stored is held here, and nothing more is read until it is.
"""

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from realm_telemetry.delivery.guarded import GuardedLog
from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.delivery.report import Reporter
from realm_telemetry.delivery.sources import Recent
from realm_telemetry.errors import ConfigError
from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import KindSpec, check_kind, learn_kind
from realm_telemetry.log.engine import Writer
from realm_telemetry.log.errors import LogRefusedError, LogUnavailableError
from realm_telemetry.log.ranges import Ranges
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.plugins import load_processor
from realm_telemetry.processors import KindMetadataProcessor, ProcessorChain, ResourceProcessor
from realm_telemetry.redaction import Redactor, redactor
from realm_telemetry.shipper.manifest import Manifest
from realm_telemetry.shipper.spools import Spool
from realm_telemetry.spool.control import BELIEVABLE
from realm_telemetry.spool.frames import (
    FORMAT_CONTROL,
    FORMAT_EVENT,
    UNDECODABLE,
    Frame,
    decode_control,
    decode_event,
)
from realm_telemetry.values.clock import monotonic

Process = Callable[[Event], Event | None]

MAX_ROWS: Final = 1000
MIN_ROWS: Final = 100
MAX_TRANSACTION_S: Final = 0.02
MAX_UNEXPORTED: Final = 1000
"""Transactions of one spool that are remembered apart while an exporter lags."""

_MIN_SHARE: Final = 16


def build_chain(
    manifest: Manifest,
    resources: ResourceProcessor,
    objects: Mapping[str, Any],
    report: Reporter,
) -> tuple[ProcessorChain, list[Callable[[], None]]]:
    """Return the chain, and what to call at the end.

    The order is kind metadata, resource, redaction where the user has processors, then those as
    they are named. What they return is redacted again before it is stored, see Decoding.
    objects: processors to use for some names, in place of what is installed.
    """
    built_in: list[tuple[str, Callable[[Event], Event]]] = [
        ("kind_metadata", KindMetadataProcessor()),
        ("resource", resources),
    ]
    if manifest.processors:
        built_in.append(("redaction", redactor(tuple(manifest.redact))))
    endings: list[Callable[[], None]] = []
    own = [(name, _load(name, objects, resources, endings)) for name in manifest.processors]

    def failed(name: str, error: BaseException) -> None:
        report.problem(
            f"processor {name}",
            f"processor {name} fails: {error!r}. Events pass without it and are marked;"
            " correct it and restart the programs that use it.",
        )

    return ProcessorChain(built_in, own, failed), endings


def _load(
    name: str,
    objects: Mapping[str, Any],
    resources: ResourceProcessor,
    endings: list[Callable[[], None]],
) -> Process:
    try:
        found = objects[name] if name in objects else load_processor(name)
    except ConfigError as error:
        return _raising(error)
    if not hasattr(found, "on_emit"):
        return found  # type: ignore[no-any-return]  # plugins are of any type
    endings.append(found.shutdown)
    return _adapted(found, resources)


def _raising(error: ConfigError) -> Process:
    """Stand in for a processor that cannot be loaded: events are marked as with one that fails."""

    def process(event: Event) -> Event:
        raise error

    return process


def _adapted(processor: Any, resources: ResourceProcessor) -> Process:
    """Let an OpenTelemetry log record processor see events as log records."""
    from realm_telemetry.otel import apply_log_record_processor
    from realm_telemetry.otel.sdk import Resource

    latest: tuple[str, Resource] = ("", Resource({}))

    def process(event: Event) -> Event:
        nonlocal latest
        producer, resource = latest
        if producer != event.producer:
            resource = Resource(dict(resources.resource(event.producer)))
            latest = event.producer, resource
        return apply_log_record_processor(processor, [event], resource)[0]

    return process


class Portion(NamedTuple):
    """What was read from one spool at a time.

    number: the last event's; position: behind the last frame.
    events: processed, numbered above what the spool's notes know.
    skipped: numbers of events that a processor dropped.
    kinds: that the producer registered.
    refused: how many frames hold no event; they are in the quarantine.
    """

    spool: Spool
    number: int
    position: tuple[int, int]
    events: list[Event]
    skipped: list[tuple[int, int]]
    kinds: list[KindSpec]
    refused: int


class Decoding:
    """Decodes frames, learns from control frames, and runs events through the processors.

    redact: the last step before the log and before the exporters, which read from memory.
    """

    def __init__(
        self,
        chain: ProcessorChain,
        resources: ResourceProcessor,
        quarantine: Quarantine,
        redact: Redactor,
    ) -> None:
        self.chain = chain
        self.resources = resources
        self.quarantine = quarantine
        self.redact = redact

    def portion(self, spool: Spool, frames: Sequence[Frame]) -> Portion:
        """Decode frames of a spool, at least one; what is no event is quarantined."""
        events: list[Event] = []
        kinds: list[KindSpec] = []
        numbers: list[int] = []
        through = spool.notes.through
        producer = spool.producer
        refused = 0
        for format_, number, payload, _ in frames:
            if format_ == FORMAT_CONTROL:
                self._control(spool, payload, kinds)
            elif format_ != FORMAT_EVENT:
                # Log records whole are spooled by DurableLogRecordProcessor, beside pipelines.
                wrong = ValueError(f"frame format {format_} holds no event")
                self.quarantine.refused(producer, number, payload, wrong)
                refused += number > through
            elif number > through or not spool.is_logged(number):
                try:
                    events.append(decode_event(payload, producer, number))
                    numbers.append(number)
                except UNDECODABLE as error:
                    self.quarantine.refused(producer, number, payload, error)
                    refused += number > through
        kept = self.chain(events)
        skipped = _missing(events, kept) if len(kept) < len(events) else []
        _note_numbers(spool.seen, numbers)
        last = frames[-1]
        return Portion(spool, last.number, last.position, kept, skipped, kinds, refused)

    def _control(self, spool: Spool, payload: bytes, kinds: list[KindSpec]) -> None:
        try:
            message = decode_control(payload)
        except UNDECODABLE as error:
            self.quarantine.refused(spool.producer, spool.notes.through, payload, error)
            return
        match message.get("type"):
            case "hello":
                self._introduced(spool, message)
            case "resource":
                self._introduced(spool, spool.notes.hello | message)
            case "kind":
                kinds += _registered(message)
            case "goodbye":
                spool.notes.goodbye = True
                spool.notes.goes_on = message.get("goes_on") is True
                spool.notes.emitted = _count(message.get("emitted"))
                spool.notes.dropped = _count(message.get("dropped"))

    def _introduced(self, spool: Spool, hello: dict[str, Any]) -> None:
        resource = hello.pop("resource", {})
        resource = resource if isinstance(resource, dict) else {}
        spool.notes.resource = self.redact.resource(resource)
        spool.notes.go_on_with(hello.pop("runs", None))
        spool.notes.hello = hello
        self.resources.learn(spool.producer, spool.notes.resource)
        spool.registered = False


def _count(value: Any) -> int:
    """A count that a control frame gives; 0 for what cannot be one."""
    return value if isinstance(value, int) and 0 <= value < BELIEVABLE else 0


def _note_numbers(seen: Ranges, numbers: Sequence[int]) -> None:
    """Add numbers, which mostly come one after the other."""
    if numbers and numbers[-1] - numbers[0] == len(numbers) - 1 and numbers[-1] < BELIEVABLE:
        seen.add(numbers[0], numbers[-1])
        return
    for number in numbers:
        if number < BELIEVABLE:
            seen.add(number, number)


def _missing(events: Sequence[Event], kept: Sequence[Event]) -> list[tuple[int, int]]:
    """The numbers of events that were not kept, as ranges."""
    numbers = {event.number for event in kept}
    gone = [event.number for event in events if event.number not in numbers]
    return list(Ranges((number, number) for number in gone).pairs())


def _registered(message: dict[str, Any]) -> list[KindSpec]:
    """The kind that a control frame registers, learned here too; none if it is not valid."""
    try:
        found = msgspec.convert({**message, "template": message.get("message")}, KindSpec)
        check_kind(found.kind, found.channel, found.severity, found.template)
    except (msgspec.ValidationError, ConfigError):
        return []
    learn_kind(found)
    return [found]


Skipped = Mapping[str, Sequence[tuple[int, int]]]


class Intake:
    """Moves events from spools into the log.

    last_cursor: no event stored so far has a higher one.
    unexported: spools with events that some exporter may not have.
    on_webhooks: called before events are stored that name addresses to be sent to.
    on_fresh: called with a spool and events of it that are in the log for the first time.
    """

    def __init__(
        self,
        pipeline: str,
        log: GuardedLog,
        decoding: Decoding,
        recent: Recent,
        *,
        history: bool = True,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.pipeline = pipeline
        self.last_cursor = 0
        self.on_webhooks: Callable[[int], None] = lambda cursor: None
        self.on_fresh: Callable[[Spool, Sequence[Event]], None] = lambda spool, events: None
        self.unexported: set[Spool] = set()
        self._log = log
        self._decoding = decoding
        self._recent = recent
        self._history = history
        self._clock = clock
        self._held: list[Portion] = []
        self._refused: Counter[str] = Counter()
        self._rows = MAX_ROWS

    @property
    def holding(self) -> bool:
        """Whether events were read that are not in the log yet."""
        return bool(self._held)

    def adopt(self, spool: Spool) -> None:
        """Begin with a spool that was found.

        Raises LogUnavailableError.
        """
        spool.compare_with_log(self._log.write(lambda log: log.stored_numbers(spool.producer)))
        if spool.notes.resource:
            self._decoding.resources.learn(spool.producer, spool.notes.resource)
        if spool.stored > spool.control.exported_number or spool.notes.shipped:
            self._await_export(spool, spool.notes.cursor or self.last_cursor, spool.stored)

    def step(self, ready: Sequence[Spool]) -> int:
        """Store what is ready, one transaction at the most; how many frames were moved."""
        if not self._log.ready():
            return 0
        if not self._held:
            self._held = self._gather(ready)
        if not self._held:
            return 0
        try:
            self._store(self._held)
        except LogUnavailableError:
            return 0
        moved = sum(len(portion.events) for portion in self._held) or 1
        self._held = []
        return moved

    def finish(self, spool: Spool) -> None:
        """Finish with a spool: all of it is in the log, its end too.

        Raises OSError if that cannot be noted.
        """
        spool.finish(self.last_cursor)
        if not spool.copied:
            self._decoding.resources.forget(spool.producer)
        self._await_export(spool, self.last_cursor, spool.stored)

    def exported(self, acknowledged: int) -> None:
        """Show producers what every exporter has: everything up to a cursor."""
        for spool in list(self.unexported):
            waiting = spool.unexported
            while waiting and waiting[0][0] <= acknowledged:
                spool.control.exported_number = waiting.popleft()[1]
            if not waiting:
                self.unexported.discard(spool)

    def _await_export(self, spool: Spool, cursor: int, number: int) -> None:
        if len(spool.unexported) >= MAX_UNEXPORTED:
            # An exporter is away, maybe for days. With fewer pairs the producer learns it later.
            spool.unexported = deque(list(spool.unexported)[1::2])
        spool.unexported.append((cursor, number))
        self.unexported.add(spool)

    def store_event(self, event: Event) -> int:
        """Store one event that no spool holds; its cursor or a higher one.

        Raises LogUnavailableError.
        """
        events = self._decoding.chain([event])
        self._write(events, {})
        return self.last_cursor

    def _gather(self, ready: Sequence[Spool]) -> list[Portion]:
        portions: list[Portion] = []
        left = self._rows
        share = max(left // len(ready), _MIN_SHARE) if ready else 0
        now_s = self._clock()
        for spool in ready:
            frames = spool.read(min(share, left), now_s)
            if frames:
                portions.append(self._decoding.portion(spool, frames))
            left -= len(frames)
            if left <= 0:
                break
        return portions

    def _store(self, portions: Sequence[Portion]) -> None:
        for portion in portions:
            if not portion.spool.registered:
                self._register(portion.spool)
            for kind in portion.kinds:
                self._register_kind(kind)
        # Also those that the log has already: it says so if it has others by their numbers.
        events = [event for portion in portions for event in portion.events]
        skipped = {
            portion.spool.producer: portion.skipped for portion in portions if portion.skipped
        }
        if events or skipped:
            self._append(events, skipped)
        for portion in portions:
            self._settle(portion)

    def _append(self, events: list[Event], skipped: Skipped) -> None:
        began_s = self._clock()
        try:
            self._write(events, skipped)
        except (LogRefusedError, TypeError, ValueError, OverflowError) as error:
            self._append_one_by_one(events, skipped, error)
        self._adapt(self._clock() - began_s)

    def _write(self, events: list[Event], skipped: Skipped) -> None:
        clean = self._decoding.redact.batch(events)
        if any(event.webhooks for event in clean):
            self.on_webhooks(self.last_cursor)
        result = self._log.write(
            lambda log: log.append(clean, pipeline=self.pipeline, skipped=skipped)
        )
        # Remembered first: an exporter that sees a cursor must find its event.
        self._recent.add(result)
        for each in result.refused:
            self._quarantine(clean[each.position], ValueError(each.reason))
        self.last_cursor = max(self.last_cursor, result.last_cursor)

    def _append_one_by_one(self, events: list[Event], skipped: Skipped, error: Exception) -> None:
        """Find the event that the log refuses; the others are stored."""
        if len(events) <= 1:
            for event in events:
                self._quarantine(event, error)
            return
        for event in events:
            self._append([event], {})
        self._append([], skipped)

    def _quarantine(self, event: Event, error: Exception) -> None:
        payload = repr(event).encode("utf-8", "backslashreplace")
        self._decoding.quarantine.refused(event.producer, event.number, payload, error)
        self._refused[event.producer] += 1

    def _adapt(self, took_s: float) -> None:
        """Keep transactions short: the file has other writers."""
        if took_s > MAX_TRANSACTION_S:
            self._rows = max(int(self._rows * 0.7), MIN_ROWS)
        else:
            self._rows = min(self._rows + 50, MAX_ROWS)

    def _settle(self, portion: Portion) -> None:
        spool = portion.spool
        through = spool.notes.through
        fresh = [event for event in portion.events if event.number > through]
        if fresh:
            spool.notes.follow(fresh)
            self.on_fresh(spool, fresh)
        spool.notes.through = max(through, portion.number)
        number = spool.stored = max(spool.stored, portion.number)
        refused = portion.refused + self._refused.pop(spool.producer, 0)
        if refused:  # before the number: a flush that sees that must not return True
            spool.refused += refused
            spool.control.undelivered += refused
        spool.control.stored_number = number
        self._await_export(spool, self.last_cursor, number)
        spool.acknowledge(portion.position)

    def _register(self, spool: Spool) -> None:
        info = ProducerInfo(
            spool.producer, self.pipeline, spool.notes.resource, history=self._history
        )

        def register(log: Writer) -> None:
            log.register_producer(info)

        self._log.write(register)
        spool.registered = True

    def _register_kind(self, kind: KindSpec) -> None:
        def register(log: Writer) -> None:
            log.register_kind(kind)

        self._log.write(register)
