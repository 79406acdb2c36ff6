"""The hot path: `emit` builds an event, encodes it and hands it to the current appender."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import time_ns
from typing import Any, Final

import msgspec

from realm_telemetry import appenders
from realm_telemetry.catalog import render, resolve
from realm_telemetry.event import CHANNELS, SEVERITIES, Event, InvalidEventError
from realm_telemetry.once import mistake
from realm_telemetry.spool.frames import encode_msgpack
from realm_telemetry.spool.writer import DROPPED, SpoolClosedError
from realm_telemetry.values import (
    MAX_EVENT_BYTES,
    clean_details,
    clean_fields,
    fit_event,
    make_safe,
)

_URGENT: Final = frozenset(("warning", "error"))
_ENVELOPE_BYTES: Final = 1024
"""What an event takes beside its payload, at the most."""


class Bound:
    """What `bound` adds to every event inside it."""

    __slots__ = ("campaign_id", "details", "hero_id", "run_id", "source")

    def __init__(
        self,
        hero_id: str | None = None,
        campaign_id: str | None = None,
        run_id: str | None = None,
        source: str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        self.hero_id = hero_id
        self.campaign_id = campaign_id
        self.run_id = run_id
        self.source = source
        self.details = details


_bound: ContextVar[Bound | None] = ContextVar("realm_bound", default=None)
_base = Bound()


def emit(
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
    bound = _bound.get() or _base
    if details is not None or bound.details:
        fields = _joined(bound.details, details, fields)
    fields, _ = clean_fields(fields)
    if channel is not None or severity is not None or type(kind) is not str:
        kind, channel, severity = _checked(kind, channel, severity)
    channel, severity = resolve(kind, channel, severity)
    if message is None:
        message = render(kind, fields)
    elif type(message) is not str:
        message = str(message)
    trace_id, span_id, trace_flags = None, None, 0
    if "opentelemetry.trace" in sys.modules:
        trace_id, span_id, trace_flags = _trace_context()
    hero_id = hero_id or bound.hero_id
    campaign_id = campaign_id or bound.campaign_id
    source = source or bound.source
    run_id = bound.run_id
    requested = () if webhooks is None else tuple(webhooks)
    moment = time_ns()
    try:
        payload = encode_msgpack(
            (
                moment, kind, channel, severity, message, fields, hero_id, campaign_id,
                run_id, source, trace_id, span_id, trace_flags, requested,
            )
        )  # fmt: skip
        if len(payload) < MAX_EVENT_BYTES - _ENVELOPE_BYTES:
            appender = appenders.current
            number = appender.append(payload, severity in _URGENT)
            return Event(
                kind, channel, severity, message, fields, moment, appender.producer, number,
                hero_id, campaign_id, run_id, source, trace_id, span_id, trace_flags, requested,
            )  # fmt: skip
    except (TypeError, ValueError, OverflowError, SpoolClosedError):
        pass  # text that does not encode, or a buffer just handed over: once more, with care
    return _keep(
        Event(
            kind, channel, severity, message, fields, moment, "", DROPPED,
            hero_id, campaign_id, run_id, source, trace_id, span_id, trace_flags, requested,
        )
    )  # fmt: skip


@contextmanager
def bound(
    *,
    hero_id: str | None = None,
    campaign_id: str | None = None,
    run_id: str | None = None,
    source: str | None = None,
    **fields: Any,
) -> Iterator[None]:
    """Add fields to everything emitted inside the block, in this thread or asyncio task.

    fields: join the details; an event's own win. Blocks nest, the inner one wins.
    """
    outer = _bound.get() or _base
    details, _ = clean_details(fields)
    inner = Bound(
        hero_id or outer.hero_id,
        campaign_id or outer.campaign_id,
        run_id or outer.run_id,
        source or outer.source,
        {**(outer.details or {}), **details},
    )
    token = _bound.set(inner)
    try:
        yield
    finally:
        _bound.reset(token)


def set_base(*, run_id: str | None) -> None:
    """Set what events carry outside any `bound` block (`configure` calls)."""
    _base.run_id = run_id


def _joined(
    bound_details: dict[str, Any] | None, details: Mapping[str, Any] | None, fields: dict[str, Any]
) -> dict[str, Any]:
    """Bound details, the `details` argument and fields as one; the later wins."""
    joined = dict(bound_details or {})
    if details is not None:
        if isinstance(details, Mapping):
            joined.update(clean_details(details)[0])
        else:
            problem = f"details must be a mapping, got {type(details).__name__}"
            mistake(InvalidEventError(problem))
            joined["value"] = details
    joined.update(fields)
    return joined


def _checked(
    kind: Any, channel: str | None, severity: str | None
) -> tuple[str, str | None, str | None]:
    if not isinstance(kind, str) or not kind:
        mistake(InvalidEventError(f"kind must be text that is not empty, got {kind!r}"))
        kind = str(kind) or "unnamed"
    if channel is not None and channel not in CHANNELS:
        mistake(InvalidEventError(f"channel {channel!r} is none of {', '.join(CHANNELS)}"))
        channel = None
    if severity is not None and severity not in SEVERITIES:
        mistake(InvalidEventError(f"severity {severity!r} is none of {', '.join(SEVERITIES)}"))
        severity = None
    return str(kind), channel, severity


def _trace_context() -> tuple[str | None, str | None, int]:
    """The active span's context, if there is one; never imports OpenTelemetry itself."""
    try:
        span = sys.modules["opentelemetry.trace"].get_current_span().get_span_context()
        if span.is_valid:
            return f"{span.trace_id:032x}", f"{span.span_id:016x}", int(span.trace_flags)
    except (AttributeError, KeyError):  # it is only just being imported
        pass
    return None, None, 0


def _keep(event: Event) -> Event:
    """Append an event that needs care: made safe, cut to the limit, or after a hand-over."""
    fitted = fit_event(make_safe(event))
    payload = encode_msgpack(
        (
            fitted.time_unix_nano,
            fitted.kind,
            fitted.channel,
            fitted.severity,
            fitted.message,
            fitted.details,
            fitted.hero_id,
            fitted.campaign_id,
            fitted.run_id,
            fitted.source,
            fitted.trace_id,
            fitted.span_id,
            fitted.trace_flags,
            fitted.webhooks,
        )
    )
    producer, number = appenders.append(payload, urgent=fitted.severity in _URGENT)
    return msgspec.structs.replace(fitted, producer=producer, number=number)
