"""Events that other software wrote as JSON: stored with all they say, or refused with a reason."""

from collections.abc import Mapping
from typing import Any, Final

from msgspec.structs import replace

from realm_telemetry.event import Event, InvalidEventError, format_time
from realm_telemetry.kinds.catalog import CHANNEL_ICONS, event_from_dict, event_to_dict
from realm_telemetry.values.conversions import MAX_INT
from realm_telemetry.values.json_fields import field, integer, type_name
from realm_telemetry.values.times import ToZone, read_time

_OWN: Final = frozenset(
    event_to_dict(Event("", "system", "info", "", {}, 0, "0" * 16, 1), cursor=1)
) - {"time_unix_nano", "timestamp"} | {"resource", "webhooks"}
"""Fields of the shape that every reader of a log sees but its times, and what travels beside it."""

_OF_ANOTHER_LOG: Final = frozenset(
    ("id", "cursor", "icon", "late", "number", "observed_unix_nano", "producer", "resource")
)
"""Those that say something of an event that has an id; of any other they are details."""

TIMES: Final = ("time_unix_nano", "timestamp", "ts")
"""Fields with the time of an event, the first that is given counts."""

KEPT: Final = "details."
"""Begins the name of a detail whose own name a field beside the details has too."""

_MAX_WEBHOOKS: Final = 64


def has_identity(data: Mapping[str, Any]) -> bool:
    """Whether an event brings its own id, or a producer."""
    return data.get("id") is not None or data.get("producer") is not None


def event_from_outside(
    data: Any,
    *,
    now_ns: int,
    producer: str | None = None,
    number: int | None = None,
    to_zone: ToZone | None = None,
) -> Event:
    """Return the event that a JSON value describes.

    Fields that no event has join the details, as those of `emit` do. now_ns: the time of an event
    that names none. producer, number: the id of an event that has none. to_zone: as in `read_time`.
    Raises InvalidEventError that names the field.
    """
    if not isinstance(data, Mapping):
        raise InvalidEventError(f"an event must be an object, got {type_name(data)}")
    known = _OWN if has_identity(data) else _OWN - _OF_ANOTHER_LOG
    time_ns, read_from = _time(data, now_ns, to_zone)
    further = {
        name: value
        for name, value in data.items()
        if name not in known and name not in read_from and not _is_icon(name, value)
    }
    if "resource" in known:
        field(data, "resource", dict)
    fields = {name: value for name, value in data.items() if name in known}
    fields["details"] = joined(field(data, "details", dict) or {}, further)
    fields["time_unix_nano"] = time_ns
    event = event_from_dict(fields, producer=producer, number=number)
    return _with_webhooks(event, data.get("webhooks"))


def _is_icon(name: str, value: Any) -> bool:
    """Whether it is what readers are shown of the channel; older senders send it back."""
    return name == "icon" and value in CHANNEL_ICONS.values()


def joined(details: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """Return details and the fields beside them as one.

    A field wins, as with `emit`; what the details have under its name is kept as `details.<name>`.
    """
    both = dict(details)
    for name, value in further.items():
        if name in details and details[name] != value:
            both[_free(KEPT + name, both)] = details[name]
        both[name] = value
    return both


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name = KEPT + name
    return name


def _time(
    data: Mapping[str, Any], now_ns: int, to_zone: ToZone | None
) -> tuple[int, frozenset[str]]:
    """Return an event's time, and the names of the fields that say nothing else."""
    given = [name for name in TIMES if data.get(name) is not None]
    if not given:
        return now_ns, frozenset(TIMES)
    # A log's own shape says its time twice: then it is one, however odd the producer's clock was.
    exact = _exact(data)
    time_ns = read_time(data[given[0]], given[0], to_zone) if exact is None else exact
    text = format_time(time_ns)
    same = [name for name in TIMES if data.get(name) in (None, text)]
    return time_ns, frozenset([given[0], *same])


def _exact(data: Mapping[str, Any]) -> int | None:
    try:
        nanos = integer(data, "time_unix_nano", -MAX_INT - 1, MAX_INT)
    except InvalidEventError:
        return None
    return nanos if nanos is not None and data.get("timestamp") == format_time(nanos) else None


def _with_webhooks(event: Event, given: Any) -> Event:
    if not given:
        return event
    if not isinstance(given, list) or not all(isinstance(address, str) for address in given):
        raise InvalidEventError("webhooks must be an array of addresses")
    if len(given) > _MAX_WEBHOOKS:
        raise InvalidEventError(f"webhooks: {len(given)} addresses, the limit is {_MAX_WEBHOOKS}")
    return replace(event, webhooks=tuple(given))
