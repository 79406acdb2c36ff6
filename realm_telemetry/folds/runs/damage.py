"""Records of the log's table that are not what was written: they are known, and stood in for.

A record ends with its checksum, as the last entry of its array, which versions before did not read.
Without it one wrong byte of a disk could be another number, or fail the whole list of runs.
"""

import zlib
from typing import Final

from realm_telemetry.folds.clock import Stamp
from realm_telemetry.folds.runs.record import RunRecord, first_of
from realm_telemetry.folds.runs.status import OPEN
from realm_telemetry.log.runs import StoredRun

REASON: Final = "its record in the log is damaged"

_ARRAY: Final = 0x90
"""MessagePack's array of up to 15 entries, and a number of 32 bits:
https://github.com/msgpack/msgpack/blob/master/spec.md"""

_NUMBER: Final = b"\xce"
_SEALED_FROM: Final = 9
"""Entries; records of versions before have fewer, and no checksum."""


def sealed(content: bytes) -> bytes:
    """Return a record with its checksum."""
    checksum = zlib.crc32(content[1:]).to_bytes(4, "big")
    return bytes((content[0] + 1,)) + content[1:] + _NUMBER + checksum


def unsealed(content: bytes) -> bytes:
    """Return a record without its checksum. Raises ValueError if it is another's."""
    if not content or content[0] & 0xF0 != _ARRAY or content[0] - _ARRAY < _SEALED_FROM:
        return content
    body, end = content[1:-5], content[-5:]
    if end != _NUMBER + zlib.crc32(body).to_bytes(4, "big"):
        raise ValueError("its checksum is that of another")
    return bytes((content[0] - 1,)) + body


def stand_in(stored: StoredRun) -> RunRecord:
    """Return what the table says of a run beside its record; nothing of what is none to be shown.

    A run that went on counts as lost until one of its processes is heard of again.
    """
    record = RunRecord()
    if stored.status is None:
        return record
    begin: Stamp = (stored.started, "", 0)
    end: Stamp = (stored.updated, "", 0)
    record.cells["first"] = (first_of(begin), stored.started)
    record.cells["last"] = (end, None)
    record.cells["named"] = (begin, True)
    if stored.command is not None:
        record.cells["command"] = (begin, stored.command)
    status = "lost" if stored.status in OPEN else stored.status
    # It takes no part: processes that do count without it.
    record.processes.put("", end, {"ended_by_shipper": [status, REASON, None]})
    return record
