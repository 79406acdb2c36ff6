"""The spool of a durable processor: log records behind the resource and scope they refer to."""

from pathlib import Path

from realm_telemetry.otel.durable.records import Origin
from realm_telemetry.spool.frames import (
    FORMAT_CONTROL,
    FORMAT_OTLP,
    HEADER_BYTES,
    MAX_PAYLOAD_BYTES,
    encode_frame,
)
from realm_telemetry.spool.segment import Cursor
from realm_telemetry.spool.writer import MAX_SPOOL_BYTES, OwnerCheckedLock, SpoolWriter


class RecordWriter(SpoolWriter):
    """A spool of log records, appended as events are: without a lock, a system call or a wait."""

    def __init__(self, directory: Path, producer: str, *, max_bytes: int = MAX_SPOOL_BYTES) -> None:
        # The segment and what it has been told, as one value: two threads may begin a new one.
        self._told: tuple[Cursor | None, set[bytes]] = (None, set())
        super().__init__(directory, producer, max_bytes=max_bytes)

    def append_record(self, payload: bytes, origin: Origin, urgent: bool = False) -> int:
        """Keep a record's payload; its number, or DROPPED if there is no room for it.

        Each segment tells of an origin before the first record that refers to it, so that it
        can be read by itself.
        """
        if len(payload) > MAX_PAYLOAD_BYTES or len(origin.control) > MAX_PAYLOAD_BYTES:
            return self._drop()
        size = len(payload) + HEADER_BYTES
        both = size + len(origin.control) + HEADER_BYTES
        while True:
            c = self.cursor
            segment, told = self._told
            if segment is not c:
                told = set()
                self._told = (c, told)
            known = origin.reference in told
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
                    told.add(origin.reference)
                continue
            frame = encode_frame(FORMAT_OTLP, q, payload)
            s = slice(p, e)
            if c.pos == p: c.mm[s] = frame; c.pos = e; c.seq = q; return q  # fmt: skip # noqa: E701, E702

    def append_one_at_a_time(self) -> None:
        """Take an owner-checked lock round each append (builds without the global lock)."""
        self.append_record = OwnerCheckedLock().wrap(self.append_record)  # type: ignore[method-assign]
