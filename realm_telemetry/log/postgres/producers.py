"""What the log knows of each producer: resource, stored numbers, the receipt, and the totals."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from realm_telemetry.event import FIRST_CONTENT_NUMBER, PROCESS_LOST_NUMBER, Event
from realm_telemetry.log.event_rows import event_id_bytes
from realm_telemetry.log.postgres.connection import Session
from realm_telemetry.log.postgres.statements import OWNER, REGISTER
from realm_telemetry.log.postgres.texts import from_stored, to_stored
from realm_telemetry.log.ranges import Ranges
from realm_telemetry.log.records import LiveProducer, ProducerInfo, Receipt, ReceiptTotals
from realm_telemetry.values.details import within_limits

MOST_LIVE: Final = 50

_OWNER: Final = f"SELECT {OWNER.replace('%%', '%')} FROM realm_producers WHERE producer = ?"
_UPDATE: Final = """
UPDATE realm_producers SET pipeline = ?, resource_json = ?, history = ?, clock_offset_ns = ?,
    origin = ? WHERE producer = ?"""
_NOTE: Final = """
INSERT INTO realm_producers (producer, pipeline, resource_json) VALUES (?, ?, ?)
ON CONFLICT DO NOTHING"""
_IS_COMPLETE: Final = "(numbers @> int8range(1, least(emitted, 9223372036854775806) + 1))"


def register(session: Session, info: ProducerInfo, *, anew: bool = True) -> bool:
    """Add a producer, or replace what it reports of itself; its numbers stay.

    anew: whether one that is registered is changed. To be called with the head locked.
    False for a producer whose events come from elsewhere: what is known of it stays.
    """
    row = session.execute(
        "SELECT numbers IS NOT NULL, origin FROM realm_producers WHERE producer = ?",
        (info.producer,),
    ).fetchone()
    is_registered, origin = row is not None and row[0], info.origin
    if is_registered and not anew:
        return True
    if origin is not None and is_registered:
        (bound,) = session.execute(_OWNER, (info.producer,)).fetchone()
        if bound not in ("", origin):
            return False
        origin = bound
    if not is_registered:
        given = {"pipeline": to_stored(info.pipeline), "producers": [info.producer]}
        session.raw.execute(REGISTER, given)
    resource = resource_text(info.resource)
    values = (info.pipeline, resource, int(info.history), info.clock_offset_ns, origin)
    session.execute(_UPDATE, (*values, info.producer))
    return True


def note_resource(
    session: Session, producer: str, pipeline: str, resource: Mapping[str, Any]
) -> None:
    """Keep what another log knew of a producer, if nothing is known here."""
    session.execute(_NOTE, (producer, pipeline, resource_text(resource)))


def resource_text(resource: Mapping[str, Any]) -> str:
    """Write a resource within the limits of an event's details."""
    event = Event("", "system", "info", "", dict(resource), 0, "0" * 16, 1)
    return msgspec.json.encode(within_limits(event).details).decode()


def record_receipt(
    session: Session,
    producer: str,
    *,
    emitted: int | None,
    dropped: int | None,
    ended: bool | None,
) -> None:
    """Keep what a producer reports of itself; None leaves what is known."""
    session.execute(
        "UPDATE realm_producers SET emitted = coalesce(?::bigint, emitted),"
        " dropped = coalesce(?::bigint, dropped), ended = coalesce(?::boolean, ended)"
        " WHERE producer = ?",
        (_storable(emitted), _storable(dropped), None if ended is None else bool(ended), producer),
    )


def _storable(number: int | None) -> int | None:
    """Limit a number to signed integers; another host may send all 64 bits."""
    return None if number is None else min(number, 2**63 - 1)


def stored_numbers(session: Session, producer: str) -> Ranges:
    """The numbers that are done of a producer; none of one that is not registered."""
    rows = session.execute(
        "SELECT lower(r), upper(r) - 1 FROM realm_producers, unnest(numbers) AS r"
        " WHERE producer = ? ORDER BY 1",
        (producer,),
    )
    return Ranges(rows.fetchall())


def stored_among(session: Session, events: Sequence[Event]) -> int:
    """How many of these events are in rows, or were and are refused since."""
    ids = [event_id_bytes(event.producer, event.number).hex() for event in events]
    content = [FIRST_CONTENT_NUMBER <= event.number < PROCESS_LOST_NUMBER for event in events]
    numbers = [event.number if event.number < 2**63 - 1 else None for event in events]
    row = session.execute(
        "SELECT count(*) FROM unnest(?::uuid[], ?::text[], ?::bigint[], ?::boolean[])"
        " AS i (event_id, producer, number, is_content)"
        " LEFT JOIN realm_producers AS p ON p.producer = i.producer AND p.numbers IS NOT NULL"
        " AND NOT i.is_content"
        " WHERE CASE WHEN p.producer IS NOT NULL AND i.number IS NOT NULL"
        " THEN p.numbers @> i.number"
        " ELSE EXISTS (SELECT FROM events AS e WHERE e.event_id = i.event_id)"
        " OR (p.lost AND i.number IS NULL) END",
        (ids, [event.producer for event in events], numbers, content),
    ).fetchone()
    return int(row[0])


def _resource(text: str) -> dict[str, Any]:
    return msgspec.json.decode(text, type=dict[str, Any])


def read_producers(session: Session) -> list[ProducerInfo]:
    """All registered producers."""
    rows = session.execute(
        "SELECT producer, pipeline, resource_json, history, clock_offset_ns, ended, last_kind,"
        " last_step, last_time_unix_nano FROM realm_producers ORDER BY producer"
    )
    return [
        ProducerInfo(
            row[0],
            from_stored(row[1]),
            _resource(row[2]),
            bool(row[3]),
            row[4],
            row[5],
            None if row[6] is None else from_stored(row[6]),
            *row[7:],
        )
        for row in rows
    ]


def read_receipts(session: Session) -> list[Receipt]:
    """The receipts of all registered producers."""
    rows = session.execute(
        "SELECT producer, pipeline, emitted, stored, dropped, ended, emitted IS NOT NULL"
        f" AND dropped = 0 AND (emitted <= 0 OR {_IS_COMPLETE}), clock_offset_ns"
        " FROM realm_producers WHERE numbers IS NOT NULL ORDER BY producer"
    )
    return [Receipt(row[0], from_stored(row[1]), *row[2:]) for row in rows]


_TOTALS: Final = f"""
SELECT count(*), count(*) FILTER (WHERE NOT ended), coalesce(sum(emitted), 0),
    coalesce(sum(stored) FILTER (WHERE emitted IS NOT NULL), 0),
    coalesce(sum(stored) FILTER (WHERE emitted IS NULL), 0), coalesce(sum(dropped), 0),
    count(*) FILTER (WHERE emitted IS NOT NULL
        AND (dropped > 0 OR (emitted > 0 AND NOT {_IS_COMPLETE})))
FROM realm_producers WHERE numbers IS NOT NULL"""
_LIVE: Final = """
SELECT producer, resource_json, emitted, stored, dropped FROM realm_producers
WHERE numbers IS NOT NULL AND NOT ended
ORDER BY last_time_unix_nano DESC NULLS LAST, producer LIMIT ?"""


def receipt_totals(session: Session, most_live: int = MOST_LIVE) -> ReceiptTotals:
    """Add up the receipts of all registered producers."""
    numbers = session.execute(_TOTALS).fetchone()
    producers, alive, emitted, stored, stored_so_far, dropped, incomplete = map(int, numbers)
    live = [
        LiveProducer(row[0], str(_resource(row[1]).get("service.name", "")), *row[2:])
        for row in session.execute(_LIVE, (most_live,))
    ]
    return ReceiptTotals(
        producers, alive, emitted, stored, stored_so_far, dropped, incomplete, live
    )
