"""Limits of the wire format, checked before a body costs more memory than it has bytes."""

from typing import Final

from realm_telemetry.errors import PayloadTooLargeError
from realm_telemetry.event import InvalidEventError
from realm_telemetry.wire.fields import submessages

MAX_BATCH_EVENTS: Final = 512
"""What a sender puts into one batch: a few hundred KiB, one commit at the other side."""

MAX_READ_ENTRIES: Final = 50_000
"""What a reader takes in one batch: events and producers together."""

MAX_BATCH_BYTES: Final = 64 * 1024 * 1024
"""An EventBatch, uncompressed."""

MAX_ENTRY_BYTES: Final = 1024 * 1024
"""One event or producer of a batch; `emit` keeps its events below 64 KiB."""


def check_shape(data: bytes, max_bytes: int, max_entries: int) -> None:
    """Walk over a message's top-level fields before a parser builds objects from them.

    64 MiB of two-byte entries would become gigabytes of empty events.
    Raises PayloadTooLargeError for too many or too large entries, InvalidEventError for bytes
    that are not a protobuf message.
    """
    if len(data) > max_bytes:
        raise PayloadTooLargeError(f"the batch has {len(data):,} bytes, the limit is {max_bytes:,}")
    entries = 0
    try:
        for _, start, end in submessages(data, 0, len(data)):
            entries += 1
            if entries > max_entries or end - start > MAX_ENTRY_BYTES:
                raise _too_large(entries, end - start, max_entries)
    except InvalidEventError as error:
        raise InvalidEventError(f"the body is not an EventBatch: {error}") from None


def _too_large(entries: int, size: int, max_entries: int) -> PayloadTooLargeError:
    if entries > max_entries:
        return PayloadTooLargeError(f"the batch has more than {max_entries:,} entries")
    return PayloadTooLargeError(
        f"entry {entries} of the batch has {size:,} bytes, the limit is {MAX_ENTRY_BYTES:,}"
    )
