"""Events and times in the shapes of the older systems, and back."""

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from realm_telemetry.event import CHANNELS, SEVERITIES, Event
from realm_telemetry.kinds.outside import event_from_outside
from realm_telemetry.values.details import make_safe

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def older_line(event: Event) -> dict[str, Any]:
    """Return what the older `status/events.jsonl` had: naive local time, kind, and the fields.

    Hero and campaign are fields like any other there.
    """
    ids = {"hero_id": event.hero_id, "campaign_id": event.campaign_id}
    line = {"ts": local_time(event.time_unix_nano), "kind": event.kind}
    line |= {key: value for key, value in ids.items() if value is not None}
    return line | {key: value for key, value in event.details.items() if key not in ("ts", "kind")}


def older_page(
    events: Sequence[Mapping[str, Any]], counts: Mapping[str, Mapping[str, int]]
) -> dict[str, Any]:
    """Return a page of `/api/battle_log` as older screens read it.

    counts: by channel and severity.
    """
    return {
        "events": events,
        "count": len(events),
        "next_since": events[0]["timestamp"] if events else None,
        "channel_counts": {channel: sum(by.values()) for channel, by in counts.items()},
    }


def local_time(time_unix_nano: int) -> str:
    """Return a time as `datetime.now().isoformat()` wrote it: local, no zone, microseconds."""
    seconds, nanos = divmod(time_unix_nano, 1_000_000_000)
    moment = datetime.fromtimestamp(seconds).replace(microsecond=nanos // 1000)
    return moment.isoformat()


def to_unix_nano(moment: datetime) -> int:
    """Return a time in nanoseconds since 1970, exactly; without a zone it is local."""
    since = moment.astimezone(UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1_000


def older_event(shape: Mapping[str, Any], *, producer: str, number: int) -> Event:
    """Return the event that an older body or call describes, safe to store.

    Its time may be naive local or missing. A channel or severity that there is not is replaced by
    the kind's and kept among the details, because older senders do not read errors.
    Raises InvalidEventError that names the field.
    """
    given = dict(shape)
    strange = {
        f"given_{name}": given.pop(name)
        for name, known in (("channel", CHANNELS), ("severity", SEVERITIES))
        if given.get(name) is not None and given[name] not in known
    }
    given.pop("id", None)
    event = event_from_outside(
        given | strange,
        now_ns=time.time_ns(),
        producer=producer,
        number=number,
        to_zone=datetime.astimezone,
    )
    return make_safe(event)
