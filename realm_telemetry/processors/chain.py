"""Processors: what happens to an event between a spool and the log.

The order is kind metadata, resource and run, redaction, then the user's own. A processor is a
callable `Event -> Event | None`; None drops the event. An OpenTelemetry `LogRecordProcessor`
is one too, by way of `realm_telemetry.otel`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from msgspec.structs import replace

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.values.rank import to_rank

FAILED_KEY: Final = "realm.processor_failed"
"""The detail that names the processors that raised for an event."""


class Processor(Protocol):
    """What a user's processor looks like."""

    def __call__(self, event: Event) -> Event | None:
        """Return the event, another one in its place, or None to drop it."""
        ...


class KindMetadataProcessor:
    """Fills in the channel, severity and message that a foreign record lacks."""

    def __call__(self, event: Event) -> Event:
        """Return the event with a known channel and severity, and a message."""
        if event.channel in _CHANNELS and event.severity in _SEVERITIES and event.message:
            return event
        channel, severity = resolve(
            event.kind,
            event.channel if event.channel in _CHANNELS else None,
            event.severity if event.severity in _SEVERITIES else None,
        )
        message = event.message or render(event.kind, event.details)
        return replace(event, channel=channel, severity=severity, message=message)


class ResourceProcessor:
    """Fills run, hero, campaign, source and rank from the resource of the event's producer."""

    def __init__(self) -> None:
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._defaults: dict[str, tuple[tuple[str, str | int], ...]] = {}

    def learn(self, producer: str, resource: Mapping[str, Any]) -> None:
        """Keep the resource of a producer."""
        self._resources[producer] = resource
        rank = to_rank(resource.get(_RANK))
        self._defaults[producer] = (
            *((field, str(resource[key])) for field, key in _RESOURCE_FIELDS if resource.get(key)),
            *(() if rank is None else (("rank", rank),)),
        )

    def forget(self, producer: str) -> None:
        """The producer has ended and all of its events are in the log."""
        self._resources.pop(producer, None)
        self._defaults.pop(producer, None)

    def resource(self, producer: str) -> Mapping[str, Any]:
        """The resource of a producer; empty before its hello frame."""
        return self._resources.get(producer, {})

    def __call__(self, event: Event) -> Event:
        """Return the event with what it left open."""
        defaults = self._defaults.get(event.producer)
        if not defaults:
            return event
        missing = {field: value for field, value in defaults if getattr(event, field) is None}
        return replace(event, **missing) if missing else event


class ProcessorChain:
    """Runs events through processors; one that raises never costs an event.

    built_in: name and callable of those that have no state to repeat, first.
    processors: name and callable of the others, in order.
    on_failure: called with (processor's name, error) at the first failure of each.
    failures: how often each has raised.
    """

    def __init__(
        self,
        built_in: Sequence[tuple[str, Callable[[Event], Event]]],
        processors: Sequence[tuple[str, Callable[[Event], Event | None]]] = (),
        on_failure: Callable[[str, BaseException], None] = lambda name, error: None,
    ) -> None:
        self._built_in = list(built_in)
        self._processors = list(processors)
        self._on_failure = on_failure
        self.failures: dict[str, int] = {}

    def __call__(self, events: Sequence[Event]) -> list[Event]:
        """Return what is left of the events, in order."""
        kept = list(events)
        for name, fill in self._built_in:
            try:
                kept = [fill(event) for event in kept]
            except Exception:  # noqa: BLE001 - found event by event
                kept = self._apply(name, fill, kept)
        for name, process in self._processors:
            kept = self._apply(name, process, kept)
        return kept

    def _apply(
        self, name: str, process: Callable[[Event], Event | None], events: list[Event]
    ) -> list[Event]:
        kept = []
        for event in events:
            try:
                result = process(event)
                if result is not None:
                    kept.append(_same_event(event, result))
            except Exception as error:  # noqa: BLE001 - a user's code may raise anything
                kept.append(self._unprocessed(event, name, error))
        return kept

    def _unprocessed(self, event: Event, name: str, error: Exception) -> Event:
        self.failures[name] = self.failures.get(name, 0) + 1
        if self.failures[name] == 1:
            self._on_failure(name, error)
        failed = [*event.details.get(FAILED_KEY, ()), name]
        return replace(event, details=event.details | {FAILED_KEY: failed})


def _same_event(before: Event, after: Event) -> Event:
    """Check a processor's answer: another event, but with the same id."""
    if after is before:
        return after
    if not isinstance(after, Event):
        raise TypeError(f"a processor returns an Event or None, not {type(after).__name__}")
    if after.producer != before.producer or after.number != before.number:
        # The id is what keeps an event from being stored or delivered twice.
        return replace(after, producer=before.producer, number=before.number)
    return after


_CHANNELS = frozenset(CHANNELS)
_SEVERITIES = frozenset(SEVERITIES)
_RANK = "realm.rank"
_RESOURCE_FIELDS = (
    ("run_id", "realm.run.id"),
    ("hero_id", "realm.hero.id"),
    ("campaign_id", "realm.campaign.id"),
    ("source", "service.name"),
)
