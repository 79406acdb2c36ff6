"""What the receipts of all producers add up to, and those that are alive one by one."""

import sqlite3
from typing import Final

import msgspec

MOST_LIVE: Final = 50

# The ranges of `done` are sorted and do not touch: 1 to `emitted` are there if the first has them.
_TOTALS: Final = """
SELECT count(*), total(NOT ended), total(emitted), total(iif(emitted IS NULL, 0, stored)),
    total(iif(emitted IS NULL, stored, 0)), total(dropped),
    total(emitted IS NOT NULL AND (dropped > 0 OR emitted > 0
        AND (json_extract(done, '$[0][0]') IS NOT 1 OR json_extract(done, '$[0][1]') < emitted)))
FROM realm_producers WHERE done != ''"""
_LIVE: Final = """
SELECT producer, coalesce(json_extract(resource_json, '$."service.name"'), ''),
    emitted, stored, dropped FROM realm_producers WHERE done != '' AND NOT ended
ORDER BY last_time_unix_nano DESC, producer LIMIT ?"""


class LiveProducer(msgspec.Struct, frozen=True):
    """A producer that has not said goodbye.

    emitted: None while it has not said, which those of this host do when they end.
    """

    producer: str
    service_name: str
    emitted: int | None
    stored: int
    dropped: int


class ReceiptTotals(msgspec.Struct, frozen=True):
    """Sums over all producers.

    emitted, stored: of producers that have said how many events they emitted.
    stored_so_far: of the others. incomplete: producers that have said so, and something lacks.
    newest_live: the 50 that spoke last of those that are alive.
    """

    producers: int
    live: int
    emitted: int
    stored: int
    stored_so_far: int
    dropped: int
    incomplete: int
    newest_live: list[LiveProducer]


def receipt_totals(connection: sqlite3.Connection, most_live: int = MOST_LIVE) -> ReceiptTotals:
    """Add up the receipts of all registered producers."""
    numbers = connection.execute(_TOTALS).fetchone()
    live = [LiveProducer(*row) for row in connection.execute(_LIVE, (most_live,))]
    producers, alive, emitted, stored, stored_so_far, dropped, incomplete = map(int, numbers)
    return ReceiptTotals(
        producers, alive, emitted, stored, stored_so_far, dropped, incomplete, live
    )
