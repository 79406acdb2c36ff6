"""Events of the older systems as events: fields of a JSON line, rows of the older tables.

Nothing is lost on the way: what is no field of an event, or not a fit value for one, is a detail.
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from math import floor
from typing import Any, Final

import msgspec

from realm_telemetry.event import CHANNELS, SEVERITIES, Event, InvalidEventError
from realm_telemetry.kinds.catalog import render, resolve
from realm_telemetry.log.sqlite.older import is_bus, older_kind
from realm_telemetry.values.details import MAX_EVENT_BYTES, clean_details, fit_event, make_safe

_decode: Final = msgspec.json.Decoder().decode
_CHOICES: Final = {"channel": CHANNELS, "severity": SEVERITIES}
_FIELDS: Final = frozenset(
    ("channel", "severity", "message", "hero_id", "campaign_id", "run_id", "source")
)
SURELY_FITS: Final = MAX_EVENT_BYTES // 4
"""A JSON text of this length: its msgpack is shorter than four times as many bytes."""


class Times:
    """Reads times, and counts those that name no zone.

    zone: of a time without one; None is this machine's.
    """

    def __init__(self, zone: tzinfo | None) -> None:
        self._zone = zone
        self.with_zone = 0
        self.without_zone = 0

    def read(self, value: Any) -> int:
        """Return nanoseconds since 1970 of ISO text or of seconds. Raises InvalidEventError."""
        try:
            if isinstance(value, str):
                return self._from_text(value)
            if isinstance(value, int | float) and not isinstance(value, bool):
                self.with_zone += 1
                return round(value * 1_000_000) * 1000
        except (ValueError, OverflowError):
            pass
        raise InvalidEventError(f"the time {str(value)[:40]!r} cannot be read")

    def _from_text(self, text: str) -> int:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            self.without_zone += 1
            moment = moment if self._zone is None else moment.replace(tzinfo=self._zone)
        else:
            self.with_zone += 1
        # Apart: as one floating-point number a time would lose its last digits.
        return floor(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000


def decode_object(text: bytes | str) -> dict[str, Any]:
    """Decode a JSON object; NaN and infinities too, which Python's `json` wrote by default.

    Raises InvalidEventError.
    """
    try:
        value = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        value = _decode_as_python(text, error)
    if not isinstance(value, dict):
        raise InvalidEventError(f"a JSON object is wanted, this is {type(value).__name__}")
    return value


def _decode_as_python(text: bytes | str, problem: Exception) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidEventError(f"not JSON: {problem}") from None


def event_of_fields(
    details: dict[str, Any], time_unix_nano: int, producer: str, number: int, size: int
) -> Event:
    """Return the event of an older line's fields, its time apart.

    details: all fields; those that stay are the event's details.
    size: of the line, in bytes. Raises InvalidEventError.
    """
    kind = details.pop("kind", None)
    fields = {
        name: details.pop(name)
        for name in _FIELDS.intersection(details)
        if isinstance(value := details[name], str) and value in _CHOICES.get(name, (value,))
    }
    return _event(kind, details, fields, time_unix_nano, producer, number, size)


def event_of_battle_row(row: tuple[Any, ...], times: Times, producer: str) -> Event:
    """Return the event of a row of an older `battle_log`.

    row: id, timestamp, channel, source, severity, hero_id, campaign_id, message, details_json.
    Raises InvalidEventError.
    """
    number, timestamp, channel, source, severity, hero_id, campaign_id, message, text = row
    fields = {"channel": channel, "severity": severity, "message": message}
    fields |= {"hero_id": hero_id, "campaign_id": campaign_id}
    if not is_bus(str(source)):
        fields["source"] = source
    return _event_of_row(
        older_kind(str(source)), fields, text, times.read(timestamp), producer, number
    )


def event_of_store_row(row: tuple[Any, ...], times: Times, producer: str) -> Event:
    """Return the event of a row of the older RealmService's `events`.

    row: rowid, timestamp, kind, channel, severity, message, details. Raises InvalidEventError.
    """
    number, timestamp, kind, channel, severity, message, text = row
    fields = {"channel": channel, "severity": severity, "message": message}
    return _event_of_row(kind, fields, text, times.read(timestamp), producer, number)


def _event_of_row(
    kind: Any, columns: Mapping[str, Any], text: Any, time: int, producer: str, number: int
) -> Event:
    details = details_of(text)
    fields = {name: str(value) for name, value in columns.items() if value is not None}
    for name, known in _CHOICES.items():
        if name in fields and fields[name] not in known:
            details = {name: fields.pop(name)} | details
    size = len(str(text or "")) + len(fields.get("message", ""))
    return _event(kind, details, fields, time, producer, number, size)


def _event(
    kind: Any,
    details: dict[str, Any],
    fields: dict[str, str],
    time: int,
    producer: str,
    number: int,
    size: int,
) -> Event:
    if not isinstance(kind, str) or not kind:
        raise InvalidEventError("kind is missing")
    details, _ = clean_details(details)
    channel, severity = resolve(kind, fields.pop("channel", None), fields.pop("severity", None))
    message = fields.pop("message", None)
    if message is None:
        message = render(kind, details)
    event = Event(
        kind, channel, severity, message, details, time, producer, number,
        fields.get("hero_id"), fields.get("campaign_id"), fields.get("run_id"),
        fields.get("source"),
    )  # fmt: skip
    return event if size < SURELY_FITS else fit_event(make_safe(event))


def details_of(text: Any) -> dict[str, Any]:
    """Return the details that a row's text holds; of one that is no JSON object the text itself."""
    if not text:
        return {}
    try:
        return decode_object(str(text))
    except InvalidEventError:
        return {"details": str(text)}


BATTLE_LOG_ZONE: Final = UTC
"""The older battle log wrote UTC, with `Z` and without."""
