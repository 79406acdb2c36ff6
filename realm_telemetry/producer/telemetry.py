"""One producer: this process's spool, the pipeline it belongs to, and the shipper it relies on."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from realm_telemetry.config import Settings
from realm_telemetry.errors import ConfigError, warn_once
from realm_telemetry.kinds.catalog import KIND_METADATA, KindSpec, kinds
from realm_telemetry.producer import appenders, faults
from realm_telemetry.producer.description import (
    goodbye,
    hello,
    inherited_by_children,
    kind_message,
    manifest_of,
    resource_of,
)
from realm_telemetry.producer.stacks import StackRequests
from realm_telemetry.shipper.launch import launch, reap
from realm_telemetry.shipper.lock import is_held
from realm_telemetry.shipper.manifest import read_manifest, write_manifest
from realm_telemetry.shipper.process_end import hand_over
from realm_telemetry.shipper.status import ShipperStatus, read_status
from realm_telemetry.spool.control import Control
from realm_telemetry.spool.keeper import Keeper
from realm_telemetry.spool.liveness import file_of
from realm_telemetry.spool.place import find_spool_root, spool_roots
from realm_telemetry.spool.writer import MemoryWriter, SpoolWriter
from realm_telemetry.values.clock import Deadline, monotonic, monotonic_ns, seconds

PIPELINE_VARIABLE: Final = "REALM_PIPELINE"
MAX_UNSPOOLED_EVENTS: Final = 20_000
"""Events kept in memory where no spool can be."""
RELAUNCH_S: Final = 5.0
MOVE_S: Final = 1.0
FLUSH_POLL_S: Final = 0.001
REPORT_BYTES: Final = 4096
"""Room that a report of drops needs, with anything that is bound to it."""


class InnerShipper(Protocol):
    """The shipper inside the producer."""

    pipeline_dir: Path

    def start(self) -> None:
        """Begin shipping, unless it does; RuntimeError if no thread can be started."""
        ...

    def stop(self, timeout_s: float) -> None:
        """Ship what is there, within the time, and end."""
        ...


class Telemetry:
    """What `configure` set up.

    producer: this producer's id, 16 hex digits.
    spool_root: where the spools are; None if there is no place and events stay in memory.
    flush_problem: why the last `flush` was False; None after one that was True.
    """

    def __init__(self, settings: Settings, producer: str, *, parent: str | None = None) -> None:
        self.settings = settings
        self.producer = producer
        self.parent = parent
        self.flush_problem: str | None = None
        self._moving = threading.Lock()
        self._log = file_of(settings.log_path)
        self.pipeline_dir: Path | None = None
        self.writer = self._open_spool()
        self._keeper: Keeper | None = None
        self._shipper: InnerShipper | None = None
        self._launched: list[int] = []
        self._launch_at = 0.0
        self._shown_error = 0
        self._reported_drops = 0
        self._ends = self._is_handed = False

    def begin(self) -> None:
        """Say hello in the spool, then start keeper and shipper. The spool is current by now."""
        if isinstance(self.writer, SpoolWriter):
            self._introduce(self.writer)
            self._let_be_shipped()
        self.start_threads()

    def _introduce(self, writer: SpoolWriter) -> None:
        """Say hello in a spool, and what kinds there are; fatal signals leave their stack there."""
        faults.attach(writer.directory)
        self._is_handed = hand_over(writer.directory.parent)
        writer.append_control(hello(self.producer, self.resource(), parent=self.parent))
        for spec in kinds():
            if spec.kind not in KIND_METADATA:
                writer.append_control(kind_message(spec))

    def _let_be_shipped(self) -> None:
        """Begin shipping from a thread, or tell child processes where the pipeline is."""
        if self.pipeline_dir is None:
            return
        if self.settings.shipper != "thread":
            self.tell_children()
            return
        if self._shipper is not None and self._shipper.pipeline_dir != self.pipeline_dir:
            self._shipper.stop(MOVE_S)
            self._shipper = None
        if self._shipper is None:
            self._shipper = self._thread_shipper(self.pipeline_dir)
        self._start_shipper()

    def start_threads(self) -> None:
        """Start keeper and thread shipper, unless they run.

        Where no thread can be started all goes on without, and `flush` and `configure` try again.
        """
        if self._ends or self._keeper is not None or not self._moving.acquire(blocking=False):
            return
        keeper = Keeper(
            [self._look_after_spool, self._look_after_shipper, StackRequests(self._control).answer],
            hurried=lambda: bool(getattr(self.writer, "restricted", False)),
            on_error=lambda error: warn_once(repr(error), f"the keeper met {error!r}"),
        )
        try:
            keeper.start()
            self._keeper = keeper
        except RuntimeError as error:
            _warn_of_no_thread(error)
        finally:
            self._moving.release()
        if self._keeper is None:
            self._look_after_shipper()

    def _start_shipper(self) -> None:
        try:
            if self._shipper is not None:
                self._shipper.start()
        except RuntimeError as error:
            _warn_of_no_thread(error)

    @property
    def emitted(self) -> int:
        """Events kept so far."""
        return self.writer.last_number

    @property
    def dropped(self) -> int:
        """Events refused so far."""
        writer = self.writer
        return writer.control.dropped if isinstance(writer, SpoolWriter) else writer.dropped

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until all emitted so far is in the log and acknowledged by every exporter.

        False at the deadline, or if events were dropped or given up; `flush_problem` says why.
        """
        self._look_for_place()
        self.start_threads()
        target = self.writer.last_number
        self._wait_until(lambda control: control.exported_number >= target, timeout_s)
        self._note_log()
        self.flush_problem = self._problem(target)
        if self.flush_problem is None and isinstance(self.writer, SpoolWriter):
            self.writer.control.flushed_number = target
        return self.flush_problem is None

    def settle(self, timeout_s: float = 2.0) -> bool:
        """Wait until all emitted so far is in the log, whichever exporter still waits for it."""
        target = self.writer.last_number
        return self._wait_until(lambda control: control.stored_number >= target, timeout_s)

    def _wait_until(self, done: Callable[[Control], bool], timeout_s: float) -> bool:
        """Wait for the shipper to say so; False at the deadline, or where nothing is spooled."""
        deadline = Deadline(seconds(timeout_s))
        writer = self.writer
        if not isinstance(writer, SpoolWriter):
            return False
        self._look_after_shipper()
        while not done(writer.control):
            if not deadline.wait(FLUSH_POLL_S):
                return False
        return True

    def shutdown(
        self, timeout_s: float = 2.0, *, process_ends: bool = False, goes_on: bool = False
    ) -> bool:
        """End this producer in the given time; what is left is shipped later.

        With a live shipper process this waits for nothing, unless no process outlives this one
        (`exit_wait`). Returns whether all is known to be delivered.
        process_ends: the spool goes on taking what is emitted until the process is gone.
        goes_on: another spool of this process goes on with its runs.
        """
        deadline = Deadline(timeout_s := seconds(timeout_s))
        self._ends = True
        if self._keeper is not None:
            self._keeper.stop(min(timeout_s, 0.05))
        self._look_for_place()
        writer = self.writer
        stays = process_ends and self._shipper is None and isinstance(writer, SpoolWriter)
        # Before the end frame, which holds how many events there are, and before the lock is free:
        # the shipper deletes the spool of a producer that has ended.
        # A writer that has made room for another's is not current any more.
        if appenders.current is writer and not stays:
            appenders.set_current(appenders.Ended(self.producer))
        if isinstance(writer, MemoryWriter):
            return self._end_in_memory(writer)
        writer.append_control(goodbye(writer.last_number, writer.control.dropped, goes_on))
        if self._shipper is not None:
            self._start_shipper()
            writer.close()
            self._shipper.stop(deadline.left_s)
            return self._problem(writer.last_number) is None
        self._look_after_shipper()
        delivered = self._problem(writer.last_number) is None
        if not delivered and self._nobody_outlives_us():
            delivered = self.flush(deadline.left_s)
        if not stays:
            writer.close()
        self._reap()
        return delivered

    def _end_in_memory(self, writer: MemoryWriter) -> bool:
        writer.close()
        lost = writer.last_number + writer.dropped
        if lost:
            warn_once("lost", f"{lost} events are lost: there was no place for a spool")
        return not lost

    def note_fork(self) -> None:
        """Leave word that this process has forked: a daemon's first process does so and leaves."""
        if isinstance(self.writer, SpoolWriter):
            self.writer.control.forked_number = self.writer.last_number
            self.writer.control.forked_ns = monotonic_ns()

    def count_early_drops(self, dropped: int) -> None:
        """Events refused before there was a spool belong to this producer's receipt too."""
        if isinstance(self.writer, SpoolWriter):
            self.writer.count_early_drops(dropped)
            self._reported_drops = dropped

    def register_kind(self, spec: KindSpec) -> None:
        """Send the log a kind that this process registered."""
        if isinstance(self.writer, SpoolWriter):
            self.writer.append_control(kind_message(spec))

    def inherited(self) -> str:
        """The value of `REALM_PIPELINE` for child processes, as JSON."""
        return inherited_by_children(self.settings, self.pipeline_dir)

    def tell_children(self) -> None:
        """Let child processes know where the pipeline is, and which run this is."""
        if self.pipeline_dir is not None and self.settings.shipper != "thread":
            os.environ[PIPELINE_VARIABLE] = self.inherited()

    def resource(self) -> dict[str, Any]:
        """The resource of its events, named as OpenTelemetry's semantic conventions do."""
        return resource_of(self.settings, self.producer)

    def _open_spool(self) -> SpoolWriter | MemoryWriter:
        settings = self.settings
        problems: list[str] = []
        roots = spool_roots(settings.home, settings.spool)
        while roots:
            root, found = find_spool_root(roots)
            problems += found
            if root is None:
                break
            roots = roots[roots.index(root) + 1 :]
            try:
                writer = self._spool_at(root)
            except OSError as error:
                problems.append(f"{root} cannot hold a spool ({error.strerror})")
                continue
            if problems:
                reasons = "; ".join(problems)
                warn_once("spool elsewhere", f"the spool is in {root}, because {reasons}")
            return writer
        warn_once(
            "no spool",
            "no place for a spool, so events are kept in memory and lost at exit: "
            + "; ".join(problems)
            + ". Set REALM_SPOOL to a writable directory on a local disk.",
        )
        return MemoryWriter(self.producer, max_events=MAX_UNSPOOLED_EVENTS)

    def _spool_at(self, root: Path) -> SpoolWriter:
        pipeline_dir = write_manifest(root, manifest_of(self.settings))
        writer = SpoolWriter(
            pipeline_dir,
            self.producer,
            max_bytes=self.settings.max_spool_bytes,
            sync=self.settings.durability == "power",
        )
        writer.ring_for_shipper()
        self.pipeline_dir = pipeline_dir
        return writer

    def _thread_shipper(self, pipeline_dir: Path) -> InnerShipper:
        from realm_telemetry.shipper.thread import ThreadShipper

        settings = self.settings
        return ThreadShipper(pipeline_dir, settings.exporters, settings.processors)

    def _control(self) -> Control | None:
        return self.writer.control if isinstance(self.writer, SpoolWriter) else None

    def _look_after_spool(self) -> None:
        self._look_for_place()
        self._note_log()
        if isinstance(self.writer, SpoolWriter):
            faults.renew(self.writer.directory)
            self.writer.renew_lock()
            self.writer.restore()
            self.writer.prepare_spare()
            self.writer.reconsider()
            self._report_drops()

    def _look_for_place(self) -> None:
        """Leave memory for a spool, or follow a spool whose home was renamed or deleted."""
        # Never for ever: a signal handler may come here while its own thread holds the lock.
        if not self._moving.acquire(timeout=MOVE_S):
            return
        try:
            if appenders.current is not self.writer:
                return
            if isinstance(self.writer, MemoryWriter):
                self._leave_memory()
            else:
                self._follow_spool(self.writer)
        finally:
            self._moving.release()

    def _follow_spool(self, writer: SpoolWriter) -> None:
        if writer.directory.exists() and writer.directory.parent == self.pipeline_dir:
            return
        writer.follow()
        if not writer.directory.exists():
            self._begin_again(writer)
            return
        self.pipeline_dir = writer.directory.parent
        try:
            log = read_manifest(self.pipeline_dir).log_path
        except ConfigError as error:
            log = f"(unknown: {error})"
        warn_once(
            f"moved {self.pipeline_dir}",
            f"the spool is in {writer.directory} now; its events go to {log}",
        )
        self.tell_children()

    def _begin_again(self, writer: SpoolWriter) -> None:
        """Go on in a new spool, as a new producer, with what the log does not have yet."""
        has_stored = self._log_has_what_it_had()
        before, self.producer = self.producer, appenders.new_producer()
        found = self._open_spool()
        if isinstance(found, MemoryWriter):
            self.producer = before
            return
        dropped = writer.control.dropped
        found.count_early_drops(dropped)  # what has been reported of them stays reported
        self._introduce(found)
        appenders.take_over(writer, found, writer.control.stored_number if has_stored else 0)
        self.writer = found
        found.count_drops(writer.control.dropped - dropped)
        writer.close()
        self._let_be_shipped()
        gone = f"the spool {writer.directory} was deleted"
        warn_once(gone, f"{gone}; its events go on to {found.directory}")

    def _note_log(self) -> None:
        """Note which file the log is, as long as the spool is there too."""
        found = file_of(self.settings.log_path)
        writer = self.writer
        if found is not None and isinstance(writer, SpoolWriter) and writer.directory.exists():
            self._log = found

    def _log_has_what_it_had(self) -> bool:
        """Whether the log still has what was stored: one that was deleted as well has nothing.

        One that came after the last look is taken for the log that the shipper made.
        """
        found = file_of(self.settings.log_path)
        return found is not None and self._log in (None, found)

    def _leave_memory(self) -> None:
        """Look again for a place for a spool; what is in memory goes there."""
        if isinstance(found := self._open_spool(), MemoryWriter):
            return
        dropped = appenders.hand_over(found)
        self.writer = found
        self.count_early_drops(dropped)
        self._reported_drops = 0
        self._introduce(found)
        self._let_be_shipped()
        warn_once("spool found", f"there is a place for a spool now, {found.directory}")

    def _report_drops(self) -> None:
        dropped = self.dropped
        fresh = dropped - self._reported_drops
        writer = self.writer if isinstance(self.writer, SpoolWriter) else None
        # Only with room: a report that was dropped itself would be one drop more.
        if fresh and writer and not writer.restricted and writer.has_room(REPORT_BYTES):
            from realm_telemetry.producer.emission import emit

            if emit("events_dropped", count=fresh, total=dropped, reason="spool full").number:
                self._reported_drops = dropped
        if dropped:
            warn_once(
                "dropped",
                "the spool is full, so info and success events are being dropped (and counted); "
                "the log cannot be written fast enough or at all. `realm doctor` says why.",
            )

    def _look_after_shipper(self) -> None:
        self._reap()
        if self.pipeline_dir is None:
            return
        status = read_status(self.pipeline_dir)
        self._show_error(status)
        now = monotonic()
        if self.settings.shipper == "thread":
            self._start_shipper()
        if self.settings.shipper != "process" or now < self._launch_at:
            return
        # The lock alone decides: a killed shipper may have beaten just before, and one that is
        # stopped keeps the lock, so that another could do nothing.
        if not is_held(self.pipeline_dir):
            self._launch_at = now + RELAUNCH_S
            self._launch(self.pipeline_dir)
            self._is_handed = True
        elif not self._is_handed:  # it has begun since
            self._is_handed = hand_over(self.pipeline_dir)

    def _launch(self, pipeline_dir: Path) -> None:
        try:
            self._launched.append(launch(pipeline_dir))
        except (ConfigError, OSError) as error:  # `flush` and `shutdown` come here too
            warn_once("no shipper", f"no shipper can be started: {error}")

    def _show_error(self, status: ShipperStatus | None) -> None:
        if status is not None and status.error and status.error_number != self._shown_error:
            self._shown_error = status.error_number
            warn_once(status.error, f"shipper: {status.error}")

    def _reap(self) -> None:
        self._launched = [pid for pid in self._launched if not reap(pid)]

    def _nobody_outlives_us(self) -> bool:
        wait = self.settings.exit_wait
        if wait != "auto":
            return wait == "always"
        batch = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "KUBERNETES_SERVICE_HOST")
        return os.getpid() == 1 or any(name in os.environ for name in batch)

    def _problem(self, target: int) -> str | None:
        """Why not all events up to a number are delivered; None if they are."""
        writer = self.writer
        if isinstance(writer, MemoryWriter):
            return f"{target} events are in memory only: there is no place for a spool"
        control = writer.control
        error = status.error if (status := self._status()) else ""
        because = f": {error}" if error else ""
        if control.stored_number < target:
            waiting = target - control.stored_number
            hint = because or f" ({self._shipper_state(status)})"
            return f"{waiting} of {target} events are in the spool, not yet in the log{hint}"
        if control.undelivered:
            lost = "were given up by an exporter, or could not be read"
            return f"{control.undelivered} events {lost}{because}"
        if control.exported_number < target:
            waiting = target - control.exported_number
            return f"{waiting} of {target} events wait for an exporter{because}"
        if control.dropped:
            full = "the spool, or the buffer before it, was full"
            return f"{control.dropped} events were dropped: {full}"
        return None

    def _status(self) -> ShipperStatus | None:
        return read_status(self.pipeline_dir) if self.pipeline_dir else None

    def _shipper_state(self, status: ShipperStatus | None) -> str:
        if self.settings.shipper == "none":
            return "shipper='none': run `realm ship --once`"
        if status is None or not status.alive(time.time_ns()):
            return "no shipper runs yet, or it hangs: `realm ship --status` says more"
        return "the shipper is at work"


def _warn_of_no_thread(error: RuntimeError) -> None:
    warn_once(
        "no thread",
        f"no thread can be started ({error}). Events are kept and wait in the spool; "
        "flush() and configure() try again.",
    )
