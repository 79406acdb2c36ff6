"""The hot path: `emit` builds an event, encodes it and hands it to the current appender."""

from collections.abc import Callable, Mapping, Sequence
from sys import modules
from time import time_ns
from typing import TYPE_CHECKING, Any, Final

import msgspec

from realm_telemetry.errors import mistake
from realm_telemetry.event import CHANNELS, SEVERITIES, Event, InvalidEventError
from realm_telemetry.kinds.catalog import UNREGISTERED, known_kind, render, resolve
from realm_telemetry.producer import appenders, context
from realm_telemetry.producer.context import Bound, as_id, base
from realm_telemetry.spool.frames import encode_msgpack
from realm_telemetry.spool.writer import DROPPED, SpoolClosedError
from realm_telemetry.values.conversions import ENDING, is_a
from realm_telemetry.values.details import (
    MAX_DETAILS,
    MAX_EVENT_BYTES,
    clean_details,
    clean_fields,
    fit_event,
    make_safe,
    text_or_none,
    to_json_value,
)

_URGENT: Final = frozenset(("warning", "error"))
_SURELY_FITS: Final = MAX_EVENT_BYTES - 1024
"""Payload bytes below which an event is within its limit with any other fields."""
bound_here: Final = context.current.get


class Run:
    """A run that this process takes part in.

    first: its first event here, whose hero, campaign and source are the run's.
    thread, task: references to what stands for those that began it; task: None outside of asyncio.
    handled: the `id` of the exception that was being handled then.
    last: details of its newest step.
    trained: whether `training_started` was among its events.
    cause: why it will have ended, with its newest step then, once its thread has died.
    """

    __slots__ = ("began_s", "cause", "first", "handled", "id", "last", "task", "thread", "trained")

    def __init__(
        self, run_id: str, first: Event | None, began_s: float, thread: Callable[[], object]
    ) -> None:
        self.id = run_id
        self.first = first
        self.began_s = began_s
        self.thread = thread
        self.last: dict[str, Any] = {}
        self.trained = False
        self.cause: Any = None
        self.task: Any = None
        self.handled = 0


NO_RUN: Final = Run("", None, 0.0, lambda: None)
"""Its id is that of no event: events are compared by identity."""
run = NO_RUN
"""The run whose steps are recorded at full speed."""


def _outside_runs(event: Event, run_id: str | None) -> Event:
    return keep_clean(event)


take_part: Callable[[Event, str | None], Event] = _outside_runs
"""Records any other training event, given the run id of a `bound` block (`producer.runs`)."""


def emit_in_full(
    kind: str,
    message: str | None = None,
    *,
    channel: str | None = None,
    severity: str | None = None,
    details: Mapping[str, Any] | None = None,
    hero_id: str | None = None,
    campaign_id: str | None = None,
    source: str | None = None,
    webhooks: Sequence[str] | None = None,
    **fields: Any,
) -> Event:
    """Record that something happened, in about two microseconds, and return the event.

    message: without one the kind's template is rendered.
    channel, severity: without them those of the kind.
    details, fields: JSON values, or anything that converts to them; fields win. Within 96
        details and 64 KiB; what is cut is marked.
    webhooks: addresses to send this event to.
    An event that could not be kept has the number 0; nothing is dropped without being counted.
    Never raises for a delivery problem. A bad kind, channel or severity warns once and the
    event is recorded all the same; under pytest it raises InvalidEventError.
    """
    if details is not None:
        fields = _joined(details, fields)
    kind, channel, severity = _checked(kind, channel, severity)
    if not (hero_id is campaign_id is source is None):
        hero_id, campaign_id, source = as_id(hero_id), as_id(campaign_id), as_id(source)
    requested = () if webhooks is None else _addresses(webhooks)
    return record(kind, message, fields, channel, severity, hero_id, campaign_id, source, requested)


# Matching a keyword that ends up in **fields against many named parameters costs CPython 100 ns
# and more a keyword, so the fast signature has none; the set is looked at once instead.
_ARGUMENTS: Final = frozenset(
    emit_in_full.__code__.co_varnames[
        : emit_in_full.__code__.co_argcount + emit_in_full.__code__.co_kwonlyargcount
    ]
)

if TYPE_CHECKING:
    emit = emit_in_full
else:

    def emit(kind=None, message=None, /, **fields):
        # Its type, and not what its own code says that it is.
        if type(kind) is str and _ARGUMENTS.isdisjoint(fields):
            return record(kind, message, fields)
        return _emit_named(kind, message, fields)

    def _emit_named(kind, message, fields):
        """Sort out arguments by name; one that was given by position as well is a detail."""
        details = {}
        for name, given in (("kind", kind), ("message", message)):
            if given is None:
                continue
            if name in fields:
                details[name] = fields[name]
            fields[name] = given
        if details:
            fields["details"] = _joined(fields.get("details") or {}, details)
        fields.setdefault("kind", None)
        return emit_in_full(**fields)

    emit.__doc__ = emit_in_full.__doc__
    emit.__wrapped__ = emit_in_full  # whose signature `inspect` shows


def record(  # noqa: C901 - a call more would cost 50 ns
    kind: str,
    message: str | None,
    fields: dict[str, Any],
    channel: str | None = None,
    severity: str | None = None,
    hero_id: str | None = None,
    campaign_id: str | None = None,
    source: str | None = None,
    webhooks: tuple[str, ...] = (),
    time_unix_nano: int | None = None,
) -> Event:
    """What `emit` does once its arguments are sorted: the hot path."""
    bound, run_id = bound_here(), base.run_id
    if bound is None:
        bound = base
    else:
        bound, fields, run_id = _inside(bound, fields)
    fields, _ = clean_fields(fields)
    if channel is None and severity is None:
        channel, severity = known_kind(kind, UNREGISTERED)
    else:
        channel, severity = resolve(kind, channel, severity)
    if message is None:
        message = render(kind, fields)
    elif type(message) is not str:
        message = _shown(message)
    trace_id, span_id, trace_flags = None, None, 0
    if "opentelemetry.trace" in modules:
        trace_id, span_id, trace_flags = _trace_context()
    hero_id = hero_id or bound.hero_id
    campaign_id = campaign_id or bound.campaign_id
    source = source or bound.source
    moment = time_unix_nano or time_ns()
    appender = appenders.current
    if channel == "training":
        if kind == "training_step" and run_id is run.id:
            run.last = fields
            try:  # noqa: SIM105 - the hot path
                appender.progress[2] = moment
            except ValueError:
                pass  # a time that somebody gave, and that is none
        else:
            return take_part(
                Event(
                    kind, channel, severity, message, fields, moment, "", DROPPED,
                    hero_id, campaign_id, run_id, source, trace_id, span_id, trace_flags, webhooks,
                ),
                bound.run_id if bound is not base else None,
            )  # fmt: skip
    try:
        payload = encode_msgpack(
            (
                moment, kind, channel, severity, message, fields, hero_id, campaign_id,
                run_id, source, trace_id, span_id, trace_flags, webhooks,
            )
        )  # fmt: skip
        if len(payload) < _SURELY_FITS:
            number = appender.append(payload, severity in _URGENT)
            return Event(
                kind, channel, severity, message, fields, moment, appender.producer, number,
                hero_id, campaign_id, run_id, source, trace_id, span_id, trace_flags, webhooks,
            )  # fmt: skip
    except (TypeError, ValueError, OverflowError, SpoolClosedError):
        pass  # text that does not encode, or a buffer just handed over: try again, slowly
    return keep(
        Event(
            kind, channel, severity, message, fields, moment, "", DROPPED,
            hero_id, campaign_id, run_id, source, trace_id, span_id, trace_flags, webhooks,
        )
    )  # fmt: skip


def _inside(bound: Bound, fields: dict[str, Any]) -> tuple[Bound, dict[str, Any], str | None]:
    """What the blocks around an event make of it."""
    if context.any_abandoned:
        bound = context.settled(bound)
    if bound.details:
        fields = bound.details | fields
    return bound, fields, bound.run_id or base.run_id


def set_base(*, run_id: str | None) -> None:
    """Set what events carry outside any `bound` block that has its own."""
    base.run_id = run_id


def set_run(taking_part: Run) -> None:
    """Set the run whose steps are recorded at full speed."""
    global run
    run = taking_part


def _joined(details: Mapping[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """The `details` argument and fields as one; fields win."""
    if is_a(details, Mapping):
        return {**clean_details(details)[0], **fields}
    problem = f"details must be a mapping, got {type(details).__name__}"
    mistake(InvalidEventError(problem))
    return {"details": details, **fields}


def _checked(
    kind: Any, channel: str | None, severity: str | None
) -> tuple[str, str | None, str | None]:
    if not issubclass(type(kind), str) or not str.__str__(kind):
        shown = to_json_value(kind)
        mistake(InvalidEventError(f"kind must be text that is not empty, got {shown!r}"))
        kind = text_or_none(kind) or "unnamed"
    channel = _one_of("channel", channel, CHANNELS)
    severity = _one_of("severity", severity, SEVERITIES)
    return str.__str__(kind), channel, severity


def _one_of(name: str, given: Any, known: Sequence[str]) -> str | None:
    if given is None:
        return None
    # Its type, and not what a proxy says that it is.
    if issubclass(type(given), str) and str.__str__(given) in known:
        return str.__str__(given)
    shown = to_json_value(given)
    mistake(InvalidEventError(f"{name} {shown!r} is none of {', '.join(known)}"))
    return None


def _addresses(webhooks: Any) -> tuple[str, ...]:
    if issubclass(type(webhooks), str):
        return (str.__str__(webhooks),)
    if is_a(webhooks, Sequence):
        converted = to_json_value(webhooks)
        return tuple(map(str, converted)) if isinstance(converted, list) else ()
    problem = f"webhooks must be a list of addresses, got {type(webhooks).__name__}"
    mistake(InvalidEventError(problem))
    return ()


def _shown(message: Any) -> str:
    """What a message that is not text says."""
    try:
        return str.__str__(str(message))
    except ENDING:
        raise
    except BaseException:  # noqa: BLE001 - a value's own code may raise anything
        return str(to_json_value(message))


def _trace_context() -> tuple[str | None, str | None, int]:
    """The active span's context, if there is one; never imports OpenTelemetry itself."""
    try:
        span = modules["opentelemetry.trace"].get_current_span().get_span_context()
        if span.is_valid:
            return f"{span.trace_id:032x}", f"{span.span_id:016x}", int(span.trace_flags)
    except Exception:  # noqa: BLE001 - foreign code, which may be only half imported as yet
        pass
    return None, None, 0


def keep(event: Event) -> Event:
    """Append an event that needs care: made safe, cut to the limit, or after a hand-over.

    Its producer and number are new ones.
    """
    run_id = event.run_id or base.run_id  # the first event of a child is what joins its pipeline
    fitted = fit_event(make_safe(msgspec.structs.replace(event, run_id=run_id)))
    return _append(fitted, _payload(fitted))


def keep_clean(event: Event) -> Event:
    """Append an event whose values are JSON already; `keep` if it is too large or not quite so."""
    if event.run_id is None and base.run_id is not None:
        event = msgspec.structs.replace(event, run_id=base.run_id)
    try:
        payload = _payload(event)
    except (TypeError, ValueError, OverflowError):
        return keep(event)
    if len(payload) >= _SURELY_FITS or len(event.details) > MAX_DETAILS:
        return keep(event)
    return _append(event, payload)


def _append(event: Event, payload: bytes) -> Event:
    producer, number = appenders.append(payload, urgent=event.severity in _URGENT)
    return msgspec.structs.replace(event, producer=producer, number=number)


def _payload(event: Event) -> bytes:
    return encode_msgpack(
        (
            event.time_unix_nano,
            event.kind,
            event.channel,
            event.severity,
            event.message,
            event.details,
            event.hero_id,
            event.campaign_id,
            event.run_id,
            event.source,
            event.trace_id,
            event.span_id,
            event.trace_flags,
            event.webhooks,
        )
    )
