"""Text that other software wrote: read although it is not UTF-8, or not text at all.

SQLite stores any bytes as text, and Python's module then fails for the whole query. Here the query
goes on, and what was read so says what it is.
"""

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

_NOT_UTF8: Final = "Could not decode to UTF-8"


class OddText(str):
    """Text that is not UTF-8, with U+FFFD where it cannot be decoded. raw: the bytes."""

    __slots__ = ("raw",)
    raw: bytes


def _decoded(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        text = OddText(raw.decode("utf-8", "replace"))
        text.raw = raw
        return text


class LenientConnection(sqlite3.Connection):
    """A connection whose queries read text that is not UTF-8 as OddText.

    Decoding in Python costs 1 us a row, so it begins with the first row that needs it: a cursor
    that fails to decode a row still stands at it.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> "LenientCursor":
        """Run a statement."""
        return self.cursor(LenientCursor).execute(sql, parameters)


class LenientCursor(sqlite3.Cursor):
    """A cursor that reads again, with a decoder that never fails, what could not be decoded."""

    def execute(self, sql: str, parameters: Any = (), /) -> "LenientCursor":
        """Run a statement."""
        super().execute(sql, parameters)
        return self

    def fetchone(self) -> Any:
        """Return the next row, None after the last."""
        try:
            return super().fetchone()
        except sqlite3.OperationalError as error:
            self._decode_here(error)
            return super().fetchone()

    def fetchall(self) -> list[Any]:
        """Return all further rows."""
        rows: list[Any] = []
        while True:
            try:
                # Rows that were read before a failure stay in the list.
                rows.extend(iter(super().fetchone, None))
            except sqlite3.OperationalError as error:
                self._decode_here(error)
            else:
                return rows

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        """Return up to so many further rows."""
        rows: list[Any] = []
        while len(rows) < (size or 1) and (row := self.fetchone()) is not None:
            rows.append(row)
        return rows

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # never used with next()
        return iter(self.fetchone, None)

    def _decode_here(self, error: sqlite3.OperationalError) -> None:
        # SQLite's own errors have a code; this one is Python's.
        if hasattr(error, "sqlite_errorcode") or not str(error).startswith(_NOT_UTF8):
            raise error
        if self.connection.text_factory is _decoded:
            raise error
        self.connection.text_factory = _decoded


def name_of(value: Any) -> str:
    """Return a name out of a row, such as a kind, as text that can be shown."""
    if type(value) is str:
        return value
    if isinstance(value, bytes):
        return value[:_MAX_NAME_BYTES].decode("utf-8", "replace")
    return "" if value is None else str.__str__(value) if isinstance(value, str) else str(value)


_MAX_NAME_BYTES: Final = 256


def equals(column: str, value: Any) -> str:
    """SQL that compares a column with one parameter, whose value was read from the log."""
    if value is None:
        return f"{column} IS ?"
    return f"{column} = CAST(? AS TEXT)" if isinstance(value, OddText) else f"{column} = ?"


sqlite3.register_adapter(OddText, lambda text: text.raw)
