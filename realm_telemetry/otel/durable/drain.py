"""One spool of log records being emptied: read, decoded, acknowledged once exported."""

from contextlib import suppress
from pathlib import Path
from shutil import rmtree
from typing import Final, NamedTuple

from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.otel.durable.records import (
    KeptLogRecord,
    Origin,
    decode_origin,
    decode_record,
)
from realm_telemetry.shipper.spool import STAGING_PREFIX
from realm_telemetry.spool.frames import FORMAT_CONTROL, FORMAT_OTLP, Frame
from realm_telemetry.spool.liveness import LivenessLock
from realm_telemetry.spool.reader import SpoolReader

READ_AT_ONCE: Final = 16

MAX_WAITING_BYTES: Final = 8 * 1024 * 1024
"""Records are read no further while so much of them waits to be exported."""


class Row(NamedTuple):
    """A record and its number in the spool."""

    number: int
    record: KeptLogRecord
    payload: bytes


class Drain:
    """Empties one spool.

    rows: read and not exported yet, oldest first.
    exported_number: all records up to this number have been exported; can be read after `close`.
    claim: the lock of a dead producer's spool, which says that this process empties it.
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
        self.exported_number = int(self._reader.control.stored_number)
        self._origins: dict[bytes, Origin] = {}
        self._segment = 0
        self._number = 0
        self._position: tuple[int, int] | None = None
        if claim is not None:
            self._reader.finish()

    @property
    def empty(self) -> bool:
        """Whether a dead producer's spool has been read and exported to its end."""
        return self._reader.exhausted and not self.rows

    def fill(self, most: int) -> None:
        """Read until so many rows wait, or MAX_WAITING_BYTES, or there are no more by now."""
        waiting_bytes = sum(len(row.payload) for row in self.rows)
        # `pending` waits for the next segment to be due; a dead producer begins none.
        while len(self.rows) < most and (self._claim or self._reader.pending()):
            if waiting_bytes >= MAX_WAITING_BYTES:
                break
            frames = self._reader.read(min(READ_AT_ONCE, most - len(self.rows)))
            if not frames:
                break
            for frame in frames:
                self._take(frame)
                waiting_bytes += len(frame.payload)
        self.settle()

    def settle(self) -> None:
        """Note how far all has been exported, and free what is behind.

        The note is a store into mapped memory. It is all that a crash leaves to tell records
        that were exported from those that were not, so it follows each batch.
        """
        if self.rows:
            self._note(self.rows[0].number - 1)
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
        # Renamed first: somebody who looks into it by name must not bring half of it back.
        gone = self.directory.with_name(f"{STAGING_PREFIX}{self.directory.name}")
        with suppress(OSError):
            self.directory.rename(gone)
        rmtree(gone, ignore_errors=True)
        self.close()

    def _note(self, number: int) -> None:
        self._reader.control.stored_number = self.exported_number = number

    def _take(self, frame: Frame) -> None:
        segment = frame.position[0]
        if segment != self._segment:
            # A segment tells of its origins itself; those of the one before can go.
            self._segment, self._origins = segment, {}
        self._position = frame.position
        if frame.format == FORMAT_CONTROL:
            self._learn(frame)
            return
        if frame.number > self.exported_number:
            self._read_record(frame)
        self._number = frame.number

    def _learn(self, frame: Frame) -> None:
        try:
            told = decode_origin(frame.payload)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            self._quarantine.refused(self.directory.name, frame.number, frame.payload, error)
            return
        if told is not None:
            reference, origin = told
            self._origins[reference] = origin

    def _read_record(self, frame: Frame) -> None:
        try:
            if frame.format != FORMAT_OTLP:
                raise ValueError(f"frame format {frame.format} is none of a log record")
            record = decode_record(frame.payload, self._origins)
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            self._quarantine.refused(self.directory.name, frame.number, frame.payload, error)
            return
        self.rows.append(Row(frame.number, record, frame.payload))
