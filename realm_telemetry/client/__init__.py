"""For programs that read: live view, stream, history and state of a RealmService."""

from realm_telemetry.client.asynchronous import AsyncRealmClient
from realm_telemetry.client.blocking import RealmClient
from realm_telemetry.client.errors import ServiceError, ServiceUnreachableError
from realm_telemetry.client.stream import (
    EventMessage,
    OtherMessage,
    QueryPage,
    ResetMessage,
    SnapshotMessage,
    StoredEvent,
    StreamMessage,
)

__all__ = [
    "AsyncRealmClient",
    "EventMessage",
    "OtherMessage",
    "QueryPage",
    "RealmClient",
    "ResetMessage",
    "ServiceError",
    "ServiceUnreachableError",
    "SnapshotMessage",
    "StoredEvent",
    "StreamMessage",
]
