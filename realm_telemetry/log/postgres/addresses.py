"""Addresses that events ask to be sent to: secrets, in a schema that a dump can leave out."""

import secrets
from collections.abc import Sequence
from typing import Final

from realm_telemetry.log.outbox import redacted
from realm_telemetry.log.postgres.connection import Place, Session, explained

UNUSED_NS: Final = 24 * 3600 * 1_000_000_000
"""An address stays for so long beyond its last event: that may not be in the log yet."""

_REFRESH_NS: Final = UNUSED_NS // 24


class Addresses:
    """The table; a connection is opened for each use, which is rare."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._table = f'"{place.schema}_addresses".addresses'

    def keep(self, urls: Sequence[str], now_ns: int) -> dict[str, str]:
        """Return what the log is to hold of each address, which is durable by then."""
        session = Session(self._place)
        try:
            with explained(self._place), session.transaction():
                names = self._fresh(session, urls, now_ns)
                for url in sorted(set(urls) - names.keys()):
                    session.execute(
                        f"INSERT INTO {self._table} VALUES (?, ?, ?) ON CONFLICT (url)"
                        " DO UPDATE SET used_unix_nano = excluded.used_unix_nano",
                        (secrets.token_hex(16), url, now_ns),
                    )
                names = self._fresh(session, urls, now_ns)
        finally:
            session.close()
        return {url: f"{name} {redacted(url)}" for url, name in names.items()}

    def _fresh(self, session: Session, urls: Sequence[str], now_ns: int) -> dict[str, str]:
        """Names of addresses that were used lately: to note it again would cost a sync."""
        rows = session.execute(
            f"SELECT url, name FROM {self._table} WHERE used_unix_nano > ?"
            " AND url = ANY(?::text[])",
            (now_ns - _REFRESH_NS, list(urls)),
        )
        return dict(rows.fetchall())

    def find(self, kept: Sequence[str]) -> tuple[str, ...]:
        """Return the addresses behind what the log holds; those that are not here are left out."""
        names = [each.partition(" ")[0] for each in kept]
        session = Session(self._place)
        try:
            with explained(self._place):
                rows = session.execute(
                    f"SELECT name, url FROM {self._table} WHERE name = ANY(?::text[])", (names,)
                )
                found = dict(rows.fetchall())
        finally:
            session.close()
        return tuple(found[name] for name in names if name in found)

    def forget_unused(self, since_ns: int) -> None:
        """Remove addresses that no event has named since a time."""
        session = Session(self._place)
        try:
            with explained(self._place):
                session.execute(
                    f"DELETE FROM {self._table} WHERE used_unix_nano < ?", (since_ns - UNUSED_NS,)
                )
        finally:
            session.close()
