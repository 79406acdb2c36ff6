"""Addresses that events ask to be sent to: secrets, kept outside the log's file.

Whoever knows the address of a webhook can post there, and the log is copied, synced and handed
around. So it holds a random name for each address and what may be shown of it, and the address
itself is in a file of its own (docs/decisions/0061).
"""

import secrets
import sqlite3
from collections.abc import Callable, Collection, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from realm_telemetry.home import LOG, WEBHOOK_ADDRESSES, make_private_directory
from realm_telemetry.log.outbox import redacted
from realm_telemetry.log.sqlite.connection import translated
from realm_telemetry.log.sqlite.side_files import usable

UNUSED_NS: Final = 24 * 3600 * 1_000_000_000
"""An address stays for so long beyond its last event: that may not be in the log yet."""

_REFRESH_NS: Final = UNUSED_NS // 24
_BUSY_TIMEOUT_S: Final = 5.0
_LOST: Final = "Events that are still to be sent to addresses in it are not sent."
T = TypeVar("T")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS addresses (
    name TEXT PRIMARY KEY,
    url TEXT NOT NULL UNIQUE,
    used_unix_nano INTEGER NOT NULL
) WITHOUT ROWID"""


def addresses_path(log_path: Path) -> Path:
    """Where the addresses of a log are: not in `vault/`, which is what people copy."""
    if log_path.parent.name == Path(LOG).parent.name:
        return log_path.parent.parent / WEBHOOK_ADDRESSES
    return log_path.with_name(Path(WEBHOOK_ADDRESSES).name)


class Addresses:
    """The file; opened for each use, which is rare.

    Raises LogUnavailableError where it is locked, or can neither be used nor renamed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, urls: Collection[str], now_ns: int) -> dict[str, str]:
        """Return what the log is to hold of each address, which is on disk by then."""

        def keep(connection: sqlite3.Connection) -> dict[str, str]:
            names = _fresh(connection, list(urls), now_ns)
            unsaved = set(urls) - names.keys()
            return names | _save(connection, unsaved, now_ns) if unsaved else names

        names = self._ask(keep)
        return {url: f"{name} {redacted(url)}" for url, name in names.items()}

    def find(self, kept: Sequence[str]) -> tuple[str, ...]:
        """Return the addresses behind what the log holds; those that are not here are left out.

        So a copy of the log in another home sends nothing.
        """
        if not self._is_there():
            return ()
        names = [each.partition(" ")[0] for each in kept]
        query = "SELECT name, url FROM addresses WHERE name IN (SELECT value FROM json_each(?))"
        found = self._ask(lambda connection: dict(connection.execute(query, (_json(names),))))
        return tuple(found[name] for name in names if isinstance(found.get(name), str))

    def forget_unused(self, since_ns: int) -> None:
        """Remove addresses that no event has named since a time."""
        if self._is_there():
            query, before = "DELETE FROM addresses WHERE used_unix_nano < ?", since_ns - UNUSED_NS
            self._ask(lambda connection: connection.execute(query, (before,)))

    def _is_there(self) -> bool:
        with translated(self.path):
            return self.path.exists()

    def _ask(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """Ask the file; one that is damaged is renamed and begun anew."""
        with translated(self.path):
            return usable(self.path, lambda: self._opened(ask), _LOST)

    def _opened(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        make_private_directory(self.path.parent)
        self.path.touch(mode=0o600)
        with closing(
            sqlite3.connect(self.path, timeout=_BUSY_TIMEOUT_S, isolation_level=None)
        ) as connection:
            # What is removed is to be gone from the disk too, as far as SQLite can see to it.
            connection.execute("PRAGMA secure_delete = ON")
            connection.execute(_SCHEMA)
            return ask(connection)


def _fresh(connection: sqlite3.Connection, urls: list[str], now_ns: int) -> dict[str, str]:
    """Names of addresses that were used lately: to note it again would cost a sync."""
    query = (
        "SELECT url, name FROM addresses WHERE used_unix_nano > ?"
        " AND url IN (SELECT value FROM json_each(?))"
    )
    return dict(connection.execute(query, (now_ns - _REFRESH_NS, _json(urls))))


def _save(connection: sqlite3.Connection, urls: Collection[str], now_ns: int) -> dict[str, str]:
    """Save addresses, synced; the names that they have, which another process may have given."""
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany(
        "INSERT INTO addresses VALUES (?, ?, ?)"
        " ON CONFLICT (url) DO UPDATE SET used_unix_nano = excluded.used_unix_nano",
        [(secrets.token_hex(16), url, now_ns) for url in urls],
    )
    names = _fresh(connection, list(urls), now_ns)
    connection.execute("COMMIT")
    return names


def _json(values: Sequence[str]) -> str:
    return msgspec.json.encode(values).decode()
