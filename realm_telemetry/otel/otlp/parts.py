"""What a request of any signal and either encoding is taken apart into.

Logs, traces and metrics share one layout: resources, in them scopes, in them items.
"""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.otel.attributes import PlainRecord
from realm_telemetry.values.conversions import MAX_DEPTH, MAX_ITEMS

MAX_VALUES: Final = 100_000
"""Values in one item; an event keeps no more than 64 KiB of them."""

KEPT_ITEMS: Final = MAX_ITEMS + 1
"""Items read of a container: one more than an event keeps, so that the cut is noticed."""


class Item(NamedTuple):
    """A log record, a span or a metric.

    records: what of it can be events. refused: how many parts of it, in the signal's own unit,
    are not taken. size: its bytes as sent. problem: why it cannot be read, or holds nothing.
    """

    records: list[PlainRecord]
    refused: int
    size: int
    problem: str = ""


class ResourceFields(NamedTuple):
    """A resource: its attributes, and all that it says as details of a foreign event."""

    attributes: dict[str, Any]
    details: dict[str, Any]


class ScopeFields(NamedTuple):
    """A scope: its name, and what else it says as details of a foreign event."""

    name: str
    details: dict[str, Any]


class Group(NamedTuple):
    """The items of one scope; each is read when the iterator comes to it."""

    resource: ResourceFields
    scope: ScopeFields
    items: Iterator[Item]


class Entries:
    """How many entries a request may still have: resources, scopes and items together.

    unknown: the names of fields that were passed over, because OTLP has none like them there.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.unknown: set[str] = set()
        self._count = 0

    def count(self, entries: int = 1) -> None:
        """Count some more; raises PayloadTooLargeError."""
        self._count += entries
        if self._count > self.most:
            raise PayloadTooLargeError(f"the request has more than {self.most:,} entries")


def too_deep(container: str) -> str:
    """Return what stands for a container below MAX_DEPTH others."""
    return f"<{container} nested too deep>"


__all__ = [
    "KEPT_ITEMS",
    "MAX_DEPTH",
    "MAX_VALUES",
    "Entries",
    "Group",
    "Item",
    "ResourceFields",
    "ScopeFields",
    "too_deep",
]
