"""What a query runs in: one read transaction of the log."""

import sqlite3
from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from realm_telemetry.log.sqlite.addresses import Addresses
from realm_telemetry.log.sqlite.search import SearchIndex

P = ParamSpec("P")
T = TypeVar("T")


class ReadTransaction(msgspec.Struct, frozen=True):
    """An open read transaction, and what stands beside the table.

    clock_ns: now, in nanoseconds since 1970.
    """

    connection: sqlite3.Connection
    log_id: str
    search: SearchIndex
    addresses: Addresses
    clock_ns: Callable[[], int]


def needs_connection(
    query: Callable[Concatenate[sqlite3.Connection, P], T],
) -> Callable[Concatenate[ReadTransaction, P], T]:
    """Return a query of a transaction from one of a connection, which a writer asks as well."""

    @wraps(query)
    def asked(log: ReadTransaction, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return query(log.connection, *args, **kwargs)

    return asked
