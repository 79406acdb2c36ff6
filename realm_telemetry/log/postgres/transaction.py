"""What a query runs in: one read transaction of the log."""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import msgspec

from realm_telemetry.log.postgres.addresses import Addresses
from realm_telemetry.log.postgres.connection import Session

P = ParamSpec("P")
T = TypeVar("T")


class ReadTransaction(msgspec.Struct, frozen=True):
    """An open read transaction, and what stands beside the tables.

    clock_ns: now, in nanoseconds since 1970.
    """

    session: Session
    log_id: str
    addresses: Addresses
    clock_ns: Callable[[], int]


def needs_session(
    query: Callable[Concatenate[Session, P], T],
) -> Callable[Concatenate[ReadTransaction, P], T]:
    """Return a query of a transaction from one of a session, which a writer asks as well."""

    @wraps(query)
    def asked(log: ReadTransaction, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return query(log.session, *args, **kwargs)

    return asked
