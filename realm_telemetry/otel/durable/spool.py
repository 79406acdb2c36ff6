"""The spools of a durable processor: written by this process, emptied by it or by a later one.

A record stands behind the resource and scope that it refers to. A spool that a dead process left
is claimed by one process, and then emptied like its own.
"""

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Final, NamedTuple

from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.otel.durable.records import (
    KeptLogRecord,
    RecordOrigin,
    decode_origin,
    decode_record,
)
from realm_telemetry.shipper.spools import STAGING_PREFIX, remove_staging
from realm_telemetry.spool.frames import (
    FORMAT_CONTROL,
    FORMAT_OTLP,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    Frame,
    encode_frame,
)
from realm_telemetry.spool.liveness import LivenessLock, is_alive
from realm_telemetry.spool.reader import SpoolReader, spool_directories
from realm_telemetry.spool.segment import Cursor
from realm_telemetry.spool.writer import MAX_SPOOL_BYTES, OwnerCheckedLock, SpoolWriter

READ_AT_ONCE: Final = 16
MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
"""Records are read no further while so much of them waits to be exported."""

ADOPT_EVERY_S: Final = 5.0


class RecordWriter(SpoolWriter):
    """A spool of log records, appended as events are: without a lock, a system call or a wait."""

    def __init__(self, directory: Path, producer: str, *, max_bytes: int = MAX_SPOOL_BYTES) -> None:
        # The segment and the origins in it, as one value: two threads may begin a new segment.
        self._known: tuple[Cursor | None, set[bytes]] = (None, set())
        super().__init__(directory, producer, max_bytes=max_bytes)

    def append_record(self, payload: bytes, origin: RecordOrigin, urgent: bool = False) -> int:
        """Keep a record's payload; its number, or DROPPED if there is no room for it.

        Each segment has an origin before the first record that refers to it, so that it can be
        read by itself.
        """
        if len(payload) > MAX_PAYLOAD_BYTES or len(origin.control) > MAX_PAYLOAD_BYTES:
            return self._drop()
        size = len(payload) + HEADER_BYTES
        both = size + len(origin.control) + HEADER_BYTES
        while True:
            c = self.cursor
            segment, origins = self._known
            if segment is not c:
                origins = set()
                self._known = (c, origins)
            known = origin.reference in origins
            p = c.pos
            e = p + (size if known else both)
            if e > c.end and (e > c.hard_end or not urgent):
                if self._make_room(c, both, urgent):
                    continue
                return self._drop()
            q = c.seq + 1
            if not known:
                frame = encode_frame(FORMAT_CONTROL, c.seq, origin.control)
                e = p + len(frame)
                s = slice(p, e)
                # One line, no call: see the head of spool/writer.py.
                if c.pos == p: c.mm[s] = frame; c.pos = e; known = True  # fmt: skip # noqa: E701, E702
                if known:
                    origins.add(origin.reference)
                continue
            frame = encode_frame(FORMAT_OTLP, q, payload)
            s = slice(p, e)
            if c.pos == p: c.mm[s] = frame; c.pos = e; c.seq = q; return q  # fmt: skip # noqa: E701, E702

    def append_one_at_a_time(self) -> None:
        """Take an owner-checked lock round each append (builds without the global lock)."""
        self.append_record = OwnerCheckedLock().wrap(self.append_record)  # type: ignore[method-assign]


class Row(NamedTuple):
    """A record and its place: its number in the spool."""

    cursor: int
    record: KeptLogRecord
    payload: bytes


class Drain:
    """One spool, as a follower reads it; what is settled is freed.

    rows: read and not settled yet, oldest first.
    exported_number: all records up to this number are settled; can be read after `close`.
    claim: the lock of a dead producer's spool, which shows that this process empties it.
    Raises OSError if the spool cannot be read.
    """

    def __init__(
        self, directory: Path, quarantine: Quarantine, claim: LivenessLock | None = None
    ) -> None:
        self.rows: list[Row] = []
        self.directory = directory
        self._quarantine = quarantine
        self._claim = claim
        self._reader = SpoolReader(directory, on_damage=quarantine.damaged)
        self.exported_number = self._reader.control.checked_number
        self._origins: dict[bytes, RecordOrigin] = {}
        self._segment = 0
        self._number = self.exported_number
        self._position: tuple[int, int] | None = None
        if claim is not None:
            self._reader.finish()

    @property
    def empty(self) -> bool:
        """Whether a dead producer's spool has been read and exported to its end."""
        return self._reader.exhausted and not self.rows

    def after(self, cursor: int, limit: int) -> tuple[Sequence[Row], int]:
        """Return the rows behind a number, in order, and the number up to which was read.

        cursor: of the last row that is settled. At most MAX_WAITING_BYTES are held.
        """
        waiting_bytes = sum(len(row.payload) for row in self.rows)
        # `pending` waits for the next segment to be due; a dead producer begins none.
        while len(self.rows) < limit and (self._claim or self._reader.pending()):
            if waiting_bytes >= MAX_WAITING_BYTES:
                break
            frames = self._reader.read(min(READ_AT_ONCE, limit - len(self.rows)))
            if not frames:
                break
            for frame in frames:
                self._take(frame)
                waiting_bytes += len(frame.payload)
        self._free()
        return self.rows, self._number

    def settle(self, cursor: int) -> None:
        """Note that everything up to a number is exported or rejected, and free it."""
        self.rows = [row for row in self.rows if row.cursor > cursor]
        self._free()

    def reject(self, row: Row, reason: str) -> None:
        """Keep a record that the exporter will never take in the quarantine."""
        self._quarantine.refused(self.directory.name, row.cursor, row.payload, Exception(reason))

    def _free(self) -> None:
        """Note how far all is settled, and free what is behind.

        The note is a store into mapped memory. It is all that a crash leaves to separate
        records that were exported from those that were not, so it follows each batch.
        """
        if self.rows:
            self._note(self.rows[0].cursor - 1)
        elif self._position is not None:
            self._note(self._number)
            self._reader.acknowledge(self._position)

    def close(self) -> None:
        """Unmap everything and give up the claim; files stay."""
        self._reader.close()
        if self._claim is not None:
            self._claim.release()

    def remove(self) -> None:
        """Delete the spool: every record of it has been exported."""
        for path in self._reader.unreadable:
            self._quarantine.moved(path)
        # Renamed first: a process that looks into it by name must not bring half of it back.
        gone = self.directory.with_name(f"{STAGING_PREFIX}{self.directory.name}")
        with suppress(OSError):
            self.directory.rename(gone)
        rmtree(gone, ignore_errors=True)
        self.close()

    def _note(self, number: int) -> None:
        self.exported_number = number
        self._reader.control.note_checked(number)

    def _take(self, frame: Frame) -> None:
        segment = frame.position[0]
        if segment != self._segment:
            # A segment has its origins in itself; those of the one before can go.
            self._segment, self._origins = segment, {}
        self._position = frame.position
        if frame.format == FORMAT_CONTROL:
            self._learn(frame)
            return
        if frame.number > self.exported_number:
            self._read_record(frame)
        # A segment that was exported in part is read from its start.
        self._number = max(self._number, frame.number)

    def _learn(self, frame: Frame) -> None:
        try:
            found = decode_origin(frame.payload)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._quarantine.refused(self.directory.name, frame.number, frame.payload, error)
            return
        if found is not None:
            reference, origin = found
            self._origins[reference] = origin

    def _read_record(self, frame: Frame) -> None:
        try:
            if frame.format != FORMAT_OTLP:
                raise ValueError(f"frame format {frame.format} holds no log record")
            record = decode_record(frame.payload, self._origins)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            self._quarantine.refused(self.directory.name, frame.number, frame.payload, error)
            return
        self.rows.append(Row(frame.number, record, frame.payload))


# One processor of this process at a time: opening and closing a lock file drops the lock that
# another one has just taken on it.
_adopting = threading.Lock()


def adopt(directory: Path, quarantine: Quarantine) -> list[Drain]:
    """Claim the spools of a name whose producers are dead and which no process empties yet.

    The claim is the dead producer's own lock: if this process dies too, the spool is an orphan
    again.
    """
    with _adopting:
        remove_staging(directory)
        found = [spool for spool in spool_directories(directory) if not is_alive(spool)]
        return [drain for drain in (_claim(spool, quarantine) for spool in found) if drain]


def _claim(spool: Path, quarantine: Quarantine) -> Drain | None:
    try:
        claim = LivenessLock(spool, spool.name)
    except OSError:  # another process was first, or it is emptied and gone
        return None
    try:
        return Drain(spool, quarantine, claim)
    except OSError:
        claim.release()
        return None


def _renew_lock() -> None:
    """In a forked child: no thread of the parent holds it here."""
    global _adopting
    _adopting = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)
