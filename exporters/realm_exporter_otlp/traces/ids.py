"""Trace and span ids, which come from event ids: the same events are the same trace, always."""

from hashlib import blake2b
from typing import Final, NamedTuple

from realm_telemetry.event import Event

_HEX: Final = frozenset("0123456789abcdef")


class Context(NamedTuple):
    """A place in a trace.

    trace_id: 16 bytes. span_id: 8 bytes, or empty for a trace without a span above.
    flags: W3C's, 1 for sampled.
    """

    trace_id: bytes
    span_id: bytes
    flags: int = 1


def trace_id(event: Event) -> bytes:
    """Return the id of the trace whose root this event begins."""
    return _digest(event, "trace", 16)


def span_id(event: Event) -> bytes:
    """Return the id of the span that this event begins, or ends where its start is not known."""
    return _digest(event, "span", 8)


def _digest(event: Event, what: str, size: int) -> bytes:
    # Not the event id itself: samplers take the low bits of a trace id for random, and there
    # events are numbered.
    digest = blake2b(event.id.encode(), digest_size=size, person=b"realm " + what.encode())
    # All zeros are no id (W3C Trace Context, 3.2.2.3 and 3.2.2.4).
    return digest.digest() if any(digest.digest()) else b"\1" * size


def context_of(event: Event) -> Context | None:
    """Return the program's own active span when it emitted the event; None without one."""
    trace = _id(event.trace_id, 32)
    if trace is None:
        return None
    return Context(trace, _id(event.span_id, 16) or b"", event.trace_flags & 0xFF)


def _id(text: str | None, digits: int) -> bytes | None:
    if text is None or len(text) != digits or not _HEX.issuperset(text.lower()):
        return None
    value = bytes.fromhex(text)
    return value if any(value) else None
