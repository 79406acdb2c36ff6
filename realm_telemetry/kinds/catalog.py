"""The catalog of kinds, how to register one, and the JSON shape of an event.

The built-in kinds are rows of `kinds.table`, which also states the rules of message templates.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from realm_telemetry.errors import ConfigError
from realm_telemetry.event import (
    CHANNELS,
    SEVERITIES,
    Event,
    InvalidEventError,
    split_event_id,
)
from realm_telemetry.kinds.messages import render_forgivingly
from realm_telemetry.kinds.table import (
    CHANNEL_DESCRIPTIONS,
    CHANNEL_ICONS,
    KIND_METADATA,
    KINDS,
    ROUTINE_KINDS,
    SEVERITY_COLOURS,
    SEVERITY_ICONS,
)
from realm_telemetry.values.json_fields import field, hex_digits, integer, one_of, type_name
from realm_telemetry.values.rank import MAX_RANK, rank_of, with_rank


def check_kind(kind: str, channel: str, severity: str, template: str | None) -> None:
    """Raise ConfigError, which names the fix, unless a kind can be registered like this."""
    setting = f"register_kind({kind!r})"
    if not _is_snake_case(kind):
        raise ConfigError(
            setting,
            "a kind is snake_case, like gradient_exploded",
            "Write lower-case letters and digits, words divided by one underscore.",
        )
    if kind in KIND_METADATA:
        raise ConfigError(setting, "the kind is built in", "Choose another name for yours.")
    for name, value, known in (
        ("channel", channel, CHANNELS),
        ("severity", severity, SEVERITIES),
    ):
        if value not in known:
            raise ConfigError(
                setting, f"there is no {name} {value!r}", f"Use one of {', '.join(known)}."
            )
    if template is not None:
        _check_template(setting, template)


def _is_snake_case(kind: str) -> bool:
    return (
        isinstance(kind, str)
        and kind.isascii()
        and kind == kind.lower()
        and kind[:1].isalpha()
        and all(word.isalnum() for word in kind.split("_"))
    )


def _check_template(setting: str, template: str) -> None:
    from string import Formatter

    try:
        names = [name for _, name, _, _ in Formatter().parse(template) if name is not None]
    except (TypeError, ValueError) as error:
        raise ConfigError(
            setting,
            f"the message {template!r} is not a format string ({error})",
            "Write fields as {name} or {name:.2f}, and braces doubled.",
        ) from None
    if any(not name or name[0].isdigit() for name in names):
        raise ConfigError(
            setting,
            f"the message {template!r} has a field without a name",
            "Name the detail it shows, like {norm:.1f}.",
        )


__all__ = [
    "CHANNEL_DESCRIPTIONS",
    "CHANNEL_ICONS",
    "KIND_METADATA",
    "ROUTINE_KINDS",
    "SEVERITY_COLOURS",
    "SEVERITY_ICONS",
    "UNREGISTERED",
    "KindSpec",
    "event_from_dict",
    "event_to_dict",
    "is_routine",
    "kinds",
    "known_kind",
    "learn_kind",
    "register_kind",
    "render",
    "resolve",
    "spec",
]

UNREGISTERED: Final = ("system", "info")
"""Channel and severity of an unregistered kind."""


class KindSpec(msgspec.Struct, frozen=True):
    """What the catalog knows of a kind.

    template: the message's format string over the details; None if it has none.
    routine: whether the kind repeats by the thousand.
    registered: False for a kind that is neither built in nor registered, here or by a producer
        that this process heard of.
    """

    kind: str
    channel: str
    severity: str
    template: str | None = None
    routine: bool = False
    registered: bool = True


_specs: dict[str, KindSpec] = {
    kind: KindSpec(kind, channel, severity, template, kind in ROUTINE_KINDS)
    for kind, channel, severity, template in KINDS
}
_resolved: dict[str, tuple[str, str]] = dict(KIND_METADATA)
known_kind: Final = _resolved.get
"""A kind's (channel, severity), or the default given: `resolve` without arguments to weigh."""
_templates: dict[str, str | None] = {kind: template for kind, _, _, template in KINDS}
_learned: set[str] = set()


def spec(kind: str) -> KindSpec:
    """Return what is known of a kind; an unknown one is system, info and not registered."""
    return _specs.get(kind) or KindSpec(kind, *UNREGISTERED, registered=False)


def kinds() -> list[KindSpec]:
    """Return all known kinds: the built-in ones in the catalog's order, then registered ones."""
    return list(_specs.values())


def is_routine(kind: str) -> bool:
    """Return whether a kind repeats by the thousand."""
    known = _specs.get(kind)
    return known is not None and known.routine


def resolve(kind: str, channel: str | None = None, severity: str | None = None) -> tuple[str, str]:
    """Return (channel, severity), filling in from the catalog whichever is None."""
    known = _resolved.get(kind, UNREGISTERED)
    if channel is None and severity is None:
        return known
    return known[0] if channel is None else channel, known[1] if severity is None else severity


def register_kind(
    kind: str,
    *,
    channel: str,
    severity: str = "info",
    message: str | None = None,
    routine: bool = False,
) -> KindSpec:
    """Add a kind to this process's catalog; the same again is harmless.

    message: the template, as `kinds.table` explains it; without one, and without a message at
        `emit`, the event says its kind in words and its first details.
    Raises ConfigError for a kind that is built in, registered differently, not snake_case,
    or of an unknown channel or severity, and for a template that is not a format string.
    """
    new = KindSpec(kind, channel, severity, message, routine)
    check_kind(kind, channel, severity, message)
    # One atomic step instead of a lock, which a fork in another thread could leave locked.
    known = _specs.setdefault(kind, new)
    if known != new and kind not in _learned:
        raise ConfigError(
            f"register_kind({kind!r})",
            f"the kind is already registered as {_settings_of(known)}",
            "Use the same settings everywhere, or give yours a name of its own.",
        )
    _learned.discard(kind)
    _put(new)
    return new


def learn_kind(learned: KindSpec) -> bool:
    """Take over a kind that another process registered; whether it is known like that now.

    What is built in or was registered in this process stays; of others the newest word counts.
    A kind that `register_kind` would refuse is not learned.
    """
    known = _specs.get(learned.kind)
    if known is not None and learned.kind not in _learned:
        return known == learned
    try:
        check_kind(learned.kind, learned.channel, learned.severity, learned.template)
    except ConfigError:
        return False
    _learned.add(learned.kind)
    _put(learned)
    return True


def _put(new: KindSpec) -> None:
    _specs[new.kind] = new
    _templates[new.kind] = new.template
    _resolved[new.kind] = (new.channel, new.severity)


def _settings_of(known: KindSpec) -> str:
    return (
        f"channel={known.channel!r}, severity={known.severity!r}, "
        f"message={known.template!r}, routine={known.routine}"
    )


def render(kind: str, details: Mapping[str, Any]) -> str:
    """Return the message of an event that brought none. Never raises.

    details: converted already (`values.clean_details`), so that no tensor is read back here.
    Without a template it is the kind in words, and the first details.
    """
    try:
        return _templates[kind].format_map(details)  # type: ignore[union-attr]
    except Exception:  # noqa: BLE001 - any object may be among the details
        return render_forgivingly(kind, _templates.get(kind), details)


def event_to_dict(event: Event, cursor: int | None = None) -> dict[str, Any]:
    """Return the one JSON shape of an event, as every reader sees it.

    cursor: its row id in the log, where known. Webhooks are secrets and never shown.
    Nanoseconds are strings, as in OTLP/JSON: JavaScript's numbers cannot hold them.
    """
    arrival = event.observed_unix_nano
    shape: dict[str, Any] = {"id": event.id}
    if cursor is not None:
        shape["cursor"] = cursor
    shape |= {
        "timestamp": event.timestamp,
        "time_unix_nano": str(event.time_unix_nano),
        "observed_unix_nano": None if arrival is None else str(arrival),
        "kind": event.kind,
        "channel": event.channel,
        "severity": event.severity,
        "icon": CHANNEL_ICONS.get(event.channel, ""),
        "message": event.message,
        "details": event.details,
        "source": event.source,
        "hero_id": event.hero_id,
        "campaign_id": event.campaign_id,
        "run_id": event.run_id,
        "rank": rank_of(event),
        "producer": event.producer,
        "number": event.number,
        "trace_id": event.trace_id,
        "span_id": event.span_id,
        "trace_flags": event.trace_flags,
        "late": event.late,
    }
    return shape


def event_from_dict(
    data: Mapping[str, Any], *, producer: str | None = None, number: int | None = None
) -> Event:
    """Return the event of a JSON shape: what `event_to_dict` gave, or less of it.

    Needed are `kind`, a time (`time_unix_nano`, or `timestamp` as ISO text with its zone) and an
    event id: `id`, or `producer` and `number`, or the keyword arguments, in this order.
    Channel, severity and message are filled in from the catalog. `icon`, `late` and unknown
    fields are not read. Raises InvalidEventError that names the field.
    """
    if not isinstance(data, Mapping):
        raise InvalidEventError(f"an event must be an object, got {type_name(data)}")
    kind = field(data, "kind", str)
    if not kind:
        raise InvalidEventError("kind is missing")
    details = field(data, "details", dict) or {}
    if not all(isinstance(key, str) for key in details):
        raise InvalidEventError("details: keys must be strings")
    channel, severity = resolve(
        kind, one_of(data, "channel", CHANNELS), one_of(data, "severity", SEVERITIES)
    )
    message = field(data, "message", str)
    event_producer, event_number = _identity(data, producer, number)
    event = Event(
        kind=kind,
        channel=channel,
        severity=severity,
        message=render(kind, details) if message is None else message,
        details=details,
        time_unix_nano=_time(data),
        producer=event_producer,
        number=event_number,
        hero_id=field(data, "hero_id", str),
        campaign_id=field(data, "campaign_id", str),
        run_id=field(data, "run_id", str),
        source=field(data, "source", str),
        trace_id=hex_digits(data, "trace_id", 32),
        span_id=hex_digits(data, "span_id", 16),
        trace_flags=integer(data, "trace_flags", 0, 255) or 0,
        observed_unix_nano=integer(data, "observed_unix_nano", *_INT64),
    )
    return with_rank(event, integer(data, "rank", 0, MAX_RANK))


_INT64: Final = (-(2**63), 2**63 - 1)
_EVENT_NUMBER: Final = (1, 2**64 - 1)


def _identity(data: Mapping[str, Any], producer: str | None, number: int | None) -> tuple[str, int]:
    event_id = hex_digits(data, "id", 32)
    if event_id is not None:
        return split_event_id(event_id)
    producer = hex_digits(data, "producer", 16) or producer
    own = integer(data, "number", *_EVENT_NUMBER)
    number = number if own is None else own
    if producer is None or number is None:
        raise InvalidEventError("id is missing: 32 hex digits, or a producer and a number")
    return producer, number


def _time(data: Mapping[str, Any]) -> int:
    nanos = integer(data, "time_unix_nano", *_INT64)
    if nanos is not None:
        return nanos
    text = field(data, "timestamp", str)
    if text is None:
        raise InvalidEventError("time_unix_nano is missing, and timestamp too")
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise InvalidEventError(
            f"timestamp must be ISO 8601 with its zone (2025-11-29T00:00:00Z), got {text[:80]!r}"
        )
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000
