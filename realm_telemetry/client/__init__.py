"""For programs that read: live view, stream, history and state of a RealmService."""

import realm_telemetry.compat.renamed  # noqa: F401  # first: for live processes of 0.1.0
from realm_telemetry.client.asynchronous import AsyncRealmClient
from realm_telemetry.client.blocking import RealmClient
from realm_telemetry.client.errors import ServiceError, ServiceUnreachableError
from realm_telemetry.client.requests import RunOutput, RunsPage
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
    "RunOutput",
    "RunsPage",
    "ServiceError",
    "ServiceUnreachableError",
    "SnapshotMessage",
    "StoredEvent",
    "StreamMessage",
]
