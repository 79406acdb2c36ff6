"""A crash-safe replacement for OpenTelemetry's BatchLogRecordProcessor, for any exporter.

Its spools are `otel/<name>/spool/<producer>/` below a spool root. There is no manifest, so no
shipper looks at them. Each name has a spool root and a size limit of its own: a collector that is
away does not fill another one's.
"""

import os
import re
import threading
import time
import weakref
from contextlib import suppress
from inspect import signature
from os import urandom
from pathlib import Path
from typing import Any, Final

from realm_telemetry.config import Settings, load_settings
from realm_telemetry.delivery.quarantine import Quarantine
from realm_telemetry.delivery.report import LogFile, Reporter
from realm_telemetry.errors import ConfigError, warn_once
from realm_telemetry.home import LOGS, open_own_directory
from realm_telemetry.otel.durable.records import Origins, encode_record
from realm_telemetry.otel.durable.spool import RecordWriter
from realm_telemetry.otel.durable.worker import THREAD_NAME, Worker
from realm_telemetry.otel.sdk import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordProcessor,
    ReadWriteLogRecord,
)
from realm_telemetry.spool.place import find_spool_root, spool_roots
from realm_telemetry.spool.writer import MAX_SPOOL_BYTES

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

_WARN: Final = 13
"""The least severity number of a warning; from there on records may use the spool's last tenth."""


def check_name(name: str) -> str:
    """Return a processor's name.

    Raises ConfigError unless it can be the name of a directory.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"DurableLogRecordProcessor({name!r})",
            "the name is no name of a directory",
            "Use up to 64 letters, digits, `_`, `-` and `.`, a letter or digit first.",
        )
    return name


def spool_directory(settings: Settings, name: str) -> Path:
    """Return the directory of a name's spools, made if need be.

    Raises OSError where no directory on a local disk can be made; its text has the reason.
    """
    root, problems = find_spool_root(spool_roots(settings.home, settings.spool))
    if root is None:
        raise OSError("; ".join(problems))
    directory = root / "otel" / name / "spool"
    os.close(open_own_directory(directory, make=True))
    return directory


class DurableLogRecordProcessor(LogRecordProcessor):
    """Keeps log records in a memory-mapped spool, and exports them from there.

    A record is safe from a crash of the process once the logger's `emit` returns. What a process
    could not export, the next one with the same name on this host does: at least once.

    name: of the spool; one for each destination. Several processes may use it at once.
    exporter: any LogRecordExporter. It is called by one thread, and shut down with this.
    schedule_delay_millis, max_export_batch_size: as in BatchLogRecordProcessor; by default
        OTEL_BLRP_SCHEDULE_DELAY (1000) and OTEL_BLRP_MAX_EXPORT_BATCH_SIZE (512).
    max_bytes: of all spools of this name. Above 90 % only warnings and errors are kept.
    shutdown_timeout_millis: how long `shutdown` may export; what is left stays in the spool.
    home: instead of REALM_HOME.
    Raises ConfigError for a name that is no name of a directory, or broken settings.
    """

    def __init__(
        self,
        name: str,
        exporter: LogRecordExporter,
        *,
        schedule_delay_millis: float | None = None,
        max_export_batch_size: int | None = None,
        max_bytes: int = MAX_SPOOL_BYTES,
        shutdown_timeout_millis: int = 5_000,
        home: str | os.PathLike[str] | None = None,
    ) -> None:
        self.name = check_name(name)
        self._exporter = exporter
        self._settings = load_settings({"home": home})
        self._delay_s = _number(schedule_delay_millis, "OTEL_BLRP_SCHEDULE_DELAY", 1000) / 1e3
        self._batch = int(_number(max_export_batch_size, "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", 512))
        self._max_bytes = max_bytes
        self._shutdown_s = shutdown_timeout_millis / 1e3
        self._report = _reporter(self._settings, name)
        self._origins = Origins()
        self._fallback: BatchLogRecordProcessor | None = None
        self._writer: RecordWriter | None = None
        self._worker: Worker | None = None
        self._ended = False
        self._refused = 0
        self._beginning = threading.RLock()
        self._begin()
        forked = weakref.WeakMethod(self._after_fork_in_child)
        os.register_at_fork(after_in_child=lambda: (method := forked()) and method())

    @property
    def dropped(self) -> int:
        """Records of this process that were not kept: the spool was full, or they are no records.

        Larger ones than 1 MiB are among them.
        """
        return self._refused + (self._writer.control.dropped if self._writer else 0)

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Keep a record: encode it and copy it into the spool, without a system call."""
        if self._ended:
            self._refused += 1
            return
        writer = self._writer or self._begin()
        if writer is None:
            self._fall_back(log_record)
            return
        if threading.current_thread().name == THREAD_NAME:
            return  # what exporting logs would bring forth the next export, for ever
        try:
            origin = self._origins.of(log_record)
            # Some loggers hand over a plain number.
            number: Any = log_record.log_record.severity_number
            urgent = number is not None and getattr(number, "value", number) >= _WARN
            writer.append_record(encode_record(log_record, origin), origin, urgent)
        except Exception as error:  # noqa: BLE001 - a logging program must not see it
            self._refused += 1
            kind = type(error).__name__
            warn_once(f"durable {kind}", f"{self.name}: a log record was not kept: {error!r}")

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Export what has been emitted so far; False if that takes longer, or after shutdown."""
        deadline = time.monotonic() + timeout_millis / 1e3
        if self._fallback is not None:
            return self._fallback.force_flush(timeout_millis)
        if self._worker is None:  # in a forked child that has emitted nothing
            return not self._ended
        if not self._worker.flush(timeout_millis / 1e3):
            return False
        left_millis = int(max(deadline - time.monotonic(), 0.0) * 1e3)
        # Some exporters return None where the interface says bool.
        return self._exporter.force_flush(left_millis) is not False

    def shutdown(self) -> None:
        """Export what is left in the given time, shut the exporter down, take no more.

        At the first failure or the end of the time the rest stays in the spool.
        """
        if self._ended:
            return
        self._ended = True
        if self._fallback is not None:
            self._fallback.shutdown()  # type: ignore[no-untyped-call]
            return
        worker, writer, self._worker = self._worker, self._writer, None
        exported = worker is not None and worker.stop(self._shutdown_s)
        self._shut_exporter_down()
        if worker is not None and writer is not None:
            worker.close(exported=exported)
            writer.close()

    def _begin(self) -> RecordWriter | None:
        """Open a spool and start the worker; None where no spool can be."""
        with self._beginning:
            if self._writer is None and self._fallback is None:
                try:
                    self._open()
                except OSError as error:
                    self._warn_of(error)
                    self._fallback = BatchLogRecordProcessor(self._exporter)
            return self._writer

    def _open(self) -> None:
        directory = spool_directory(self._settings, self.name)
        writer = RecordWriter(directory, urandom(8).hex(), max_bytes=self._max_bytes)
        quarantine = Quarantine(directory.parent / "quarantine", self._report)
        self._worker = Worker(
            writer,
            self._exporter,
            quarantine,
            self._report,
            delay_s=self._delay_s,
            batch=self._batch,
        )
        self._worker.thread.start()
        self._writer = writer

    def _fall_back(self, log_record: ReadWriteLogRecord) -> None:
        if self._fallback is not None:
            self._fallback.on_emit(log_record)

    def _warn_of(self, error: OSError) -> None:
        warn_once(
            f"durable {self.name}",
            f"{self.name}: no place for a spool ({error}), so a crash loses the log records that"
            " are queued. Set REALM_SPOOL to a writable directory on a local disk.",
        )

    def _shut_exporter_down(self) -> None:
        # Some exporters take a timeout; they would wait longer than is left.
        with suppress(Exception):
            takes_timeout = "timeout_millis" in signature(self._exporter.shutdown).parameters
            arguments = {"timeout_millis": 1_000} if takes_timeout else {}
            self._exporter.shutdown(**arguments)  # type: ignore[no-untyped-call]

    def _after_fork_in_child(self) -> None:
        """The child gets a spool of its own, with its first record. Takes no lock."""
        self._beginning = threading.RLock()
        # Its lock may be held by the parent's worker, which is not here to give it up.
        self._report = _reporter(self._settings, self.name)
        self._writer = self._worker = None
        self._refused = 0


class _Warnings:
    """Shows problems at the terminal, one a minute at the most; the log file has all."""

    def __init__(self, name: str) -> None:
        self._name = name

    def show(self, error: str) -> None:
        """Show it."""
        if error:
            minute = int(time.monotonic() // 60)
            warn_once(f"durable {self._name} {minute}", f"{self._name}: {error}")


def _reporter(settings: Settings, name: str) -> Reporter:
    path = settings.home / LOGS / f"otel-{name}.log"
    return Reporter(LogFile(path, max_bytes=1_000_000), _Warnings(name))


def _number(given: float | None, variable: str, default: float) -> float:
    """An argument, or its environment variable; a bad variable counts as not set."""
    value: Any = given
    if value is None:
        with suppress(ValueError):
            value = float(os.environ.get(variable, ""))
    if value is None:
        value = default
    if value <= 0:
        raise ValueError(f"{variable} and its argument need a positive number, got {value}")
    return float(value)
