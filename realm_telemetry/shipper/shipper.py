"""The shipper itself: one turn after the other, until there is nothing left to do.

When to leave, and why no event can be left behind: a shipper stays while a producer lives, a
frame is unread or a cursor lags. One that leaves gives up the lock and *then* looks at the
spools again; a producer publishes its spool and *then* looks for a shipper. Whichever of the
two comes last sees the other. See docs/decisions/0020-when-the-shipper-leaves.md.
"""

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from realm_telemetry.delivery.report import LogFile, Reporter
from realm_telemetry.delivery.retry import Backoff
from realm_telemetry.shipper import lock
from realm_telemetry.shipper.doorbell import CutWatch, Doorbell
from realm_telemetry.shipper.launch import reap
from realm_telemetry.shipper.manifest import Manifest, read_manifest
from realm_telemetry.shipper.orphans import adopt, orphaned_pipelines
from realm_telemetry.shipper.process_end import inbox
from realm_telemetry.shipper.session import Session
from realm_telemetry.shipper.status import StatusPage
from realm_telemetry.spool.liveness import is_alive
from realm_telemetry.spool.reader import spool_directories
from realm_telemetry.values.clock import monotonic

BEAT_S: Final = 2.5

POLL_S: Final = 0.005
IDLE_POLL_S: Final = 0.01
IDLE_AFTER_S: Final = 2.0
SLEEP_S: Final = 1.0
"""How long to sleep when nobody rings: a ring may be lost, and the end of a producer rings none."""

HANDED_S: Final = 3.0
"""So long a shipper that was slower than this one may take to start, and pass on what it has."""

GRACE_S: Final = 2.0
"""How long to stay when all is done: the next producer may be about to start."""

LOOK_S: Final = 0.05
ADOPT_S: Final = 600.0
STOP_S: Final = 1.2
SHIPPER_KEY: Final = "shipper"
LOG_REPLACED: Final = "the log {path} was moved or deleted; a new one is begun, without its events"


class Shipper:
    """Ships one pipeline; the same in a process of its own and in a producer's thread.

    manifest: in place of the one in the directory.
    exporters, processors: objects to use for names in the manifest.
    once: leave as soon as nothing is left, though producers live.
    launch: starts a shipper for another pipeline; without it none is adopted.
    stdio: whether this process's output goes to the shipper's log file.
    clock: seconds, monotonic.
    """

    def __init__(
        self,
        pipeline_dir: Path,
        *,
        manifest: Manifest | None = None,
        exporters: Mapping[str, Any] | None = None,
        processors: Mapping[str, Any] | None = None,
        once: bool = False,
        grace_s: float = GRACE_S,
        launch: Callable[[Path], int] | None = None,
        stdio: bool = False,
        clock: Callable[[], float] = monotonic,
        clock_ns: Callable[[], int] = time.time_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.pipeline_dir = pipeline_dir
        self.manifest = manifest or read_manifest(pipeline_dir)
        self._exporters = exporters or {}
        self._processors = processors or {}
        self._once = once
        self._grace_s = grace_s
        self._launch = launch
        self._clock = clock
        self._clock_ns = clock_ns
        self._sleep = sleep
        self._stopping = False
        self._doorbell: Doorbell | None = None
        self._deaf = False
        self._rung_at_s = 0.0
        self._seen: set[str] = set()
        self._replay_waits = False
        self._adopt_at_s = 0.0
        self._launched: list[int] = []
        self._look_at_s = 0.0
        self._failures = Backoff()
        path, max_bytes = self.manifest.shipper_log_path, self.manifest.log_max_bytes
        log_file = LogFile(path, max_bytes=max_bytes, stdio=stdio)
        self._report = Reporter(log_file, clock_ns=clock_ns)

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong now, by where: "log", an exporter's name ..."""
        return self._report.problems

    def stop(self) -> None:
        """Ask for the end; the transaction in hand is finished. Safe in a signal handler."""
        self._stopping = True
        self._wake()

    def finish(self) -> None:
        """Ask for the end once all that is there has been shipped."""
        self._once = True
        self._wake()

    def leave_after_producers(self) -> None:
        """Ask for the end once all producers have ended. Safe in a signal handler."""
        self._grace_s = 0.0
        self._wake()

    def _wake(self) -> None:
        doorbell = self._doorbell
        if doorbell is not None:
            doorbell.wake()

    def run(self) -> bool:
        """Ship until nothing is left to do; False if another shipper has the pipeline.

        Raises OSError if the pipeline's directory cannot be used.
        """
        while True:
            held = lock.acquire(self.pipeline_dir)
            if held is None:
                return False
            try:
                self._serve()
            finally:
                held.release()
            if self._stopping:
                return True
            if not self._replay_waits and (self._once or not self._producer_came()):
                return True

    def _producer_came(self) -> bool:
        """Whether a producer came between the last look and the release of the lock."""
        return any(
            directory.name not in self._seen or is_alive(directory)
            for directory in spool_directories(self.pipeline_dir)
        )

    def _serve(self) -> None:
        page = StatusPage(self.pipeline_dir)
        heartbeat = Heartbeat(page, CutWatch(self.pipeline_dir))
        self._report.show_on(page)
        self._report.info(f"ships pipeline {self.manifest.pipeline} to {self.manifest.log_path}")
        try:
            with inbox(self.pipeline_dir):
                self._work(page)
        finally:
            heartbeat.stop()
            if self._doorbell is not None:
                self._doorbell.close()
                self._doorbell = None
            self._report.show_on(None)
            self._report.info("leaves")
            page.leave()

    def _work(self, page: StatusPage) -> None:
        session = self._new_session()
        self._rung_at_s = self._clock()
        try:
            while not self._stopping:
                if session.log_replaced():
                    if not self.pipeline_dir.exists():  # the whole home was renamed
                        break
                    self._report.incident(LOG_REPLACED.format(path=self.manifest.log_path))
                    session.close(STOP_S)
                    session = self._new_session()
                moved = self._turn(session)
                if not moved and self._done(session):
                    break
                if not moved:
                    self._rest(session, page)
            self._seen |= session.producers
        finally:
            session.close(STOP_S)
            self._replay_waits = session.replay_waits

    def _rest(self, session: Session, page: StatusPage) -> None:
        """Wait for the next turn: some milliseconds, or after a silence until somebody rings."""
        due_s = session.idle()
        idle_s = self._clock() - max(session.progress_at_s, self._rung_at_s)
        if idle_s < IDLE_AFTER_S:
            # Between transactions the log's writer lock leaves room for other writers.
            self._sleep(POLL_S)
            return
        may_sleep = not self._once and due_s > POLL_S and session.may_sleep()
        doorbell = self._bell(page) if may_sleep else None
        if doorbell is None:
            self._sleep(IDLE_POLL_S)
        elif doorbell.sleep(min(due_s, SLEEP_S), lambda: self._is_quiet(session)):
            self._rung_at_s = self._clock()

    def _bell(self, page: StatusPage) -> Doorbell | None:
        """What to sleep on, made for the first sleep; None where the system gives none."""
        if self._doorbell is None and not self._deaf:
            try:
                self._doorbell = Doorbell(self.pipeline_dir, page)
            except OSError as error:
                self._deaf = True
                self._report.info(f"stays awake while nothing happens: {error}")
        return self._doorbell

    def _is_quiet(self, session: Session) -> bool:
        return session.is_quiet() and not (self._stopping or self._once)

    def _new_session(self) -> Session:
        return Session(
            self.pipeline_dir,
            self.manifest,
            self._report,
            exporters=self._exporters,
            processors=self._processors,
            clock=self._clock,
            clock_ns=self._clock_ns,
            wake=self._wake,
            handed_s=0.0 if self._once else HANDED_S,
        )

    def _turn(self, session: Session) -> int:
        """One turn; an error is reported and waited out, so that nothing runs hot."""
        try:
            moved = session.turn()
        except Exception as error:  # noqa: BLE001 - the edge: a fault must not lose the shipper
            if not self.pipeline_dir.exists():
                self._stopping = True
                return 0
            self._report.problem(
                SHIPPER_KEY,
                f"the shipper met {error!r}. Events wait in the spool; please report this.",
            )
            self._sleep(min(self._failures.failed(), 1.0))
            return 0
        if moved and self._failures.failures:
            self._failures.succeeded()
            self._report.solved(SHIPPER_KEY, "the shipper works again")
        return moved

    def _done(self, session: Session) -> bool:
        """Whether to leave; looked at now and then while nothing moves."""
        now_s = self._clock()
        if now_s < self._look_at_s:
            return False
        self._look_at_s = now_s + LOOK_S
        lives = session.producer_lives()
        if lives and not self._once:
            self._adopt(now_s)
            return False
        left = session.unstored(of_the_living=self._once) or bool(session.lagging())
        idle_s = now_s - session.progress_at_s
        if not left:
            return self._once or idle_s >= self._grace_s
        return not self._once and session.waits_for_a_person() and idle_s >= self.manifest.linger_s

    def _adopt(self, now_s: float) -> None:
        """Look for orphaned pipelines, while a producer of ours lives.

        Only then: two that linger with nothing but each other would start each other for ever.
        """
        if self._launch is None:
            return
        self._launched = [pid for pid in self._launched if not reap(pid)]
        if now_s >= self._adopt_at_s:
            self._adopt_at_s = now_s + ADOPT_S
            orphans = orphaned_pipelines(self.pipeline_dir.parent)
            self._launched += adopt(orphans, self._launch, self._report.info)


class Heartbeat:
    """A thread that shows that the shipper runs, however long a transaction takes.

    files: what else it looks after.
    """

    def __init__(self, page: StatusPage, files: CutWatch) -> None:
        self._page = page
        self._files = files
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="realm-telemetry-heartbeat", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        self._files.end()
        self._thread.join()
        self._files.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._page.beat()
            self._files.wait(BEAT_S)
