"""The service's own exporters, which follow the whole log: webhooks, for example.

They follow it as a shipper's do, each with a thread and a cursor of its own, saved in the log
under the pipeline "" (all pipelines). A problem is reported once, in the service's output.
"""

import logging
import sys
import threading
import time
from functools import partial
from typing import Final

from realm_telemetry.delivery.guarded import LOG_KEY, GuardedLog
from realm_telemetry.delivery.report import LogFile, Reporter
from realm_telemetry.delivery.sources import EVERY_PIPELINE, RecentOfLog, WholeLog
from realm_telemetry.errors import LogError
from realm_telemetry.home import LOGS
from realm_telemetry.log.engine import open_log
from realm_telemetry.log.maintenance import EXPORTERS
from realm_telemetry.plugins import installed_exporters
from realm_telemetry.service.settings import ServiceSettings
from realm_telemetry.shipper.deliveries import WEBHOOK_EXPORTER, Deliveries
from realm_telemetry.shipper.manifest import Manifest
from realm_telemetry.version import __version__

SAVE_S: Final = 1.0
LOOK_AGAIN_S: Final = 30.0
_HOLD_S: Final = 4.0
LOG_MAX_BYTES: Final = 1_000_000
LOG_NAME: Final = "service-exporters.log"

_WEBHOOKS: Final = (EVERY_PIPELINE, WEBHOOK_EXPORTER)
_logger = logging.getLogger(__name__)


class Exporting:
    """Runs the exporters in threads of their own; nothing here is for the event loop.

    recent: what this service has stored lately.
    delivers: whether it follows the log now; of several services of one log one does.
    """

    def __init__(self, settings: ServiceSettings, recent: RecentOfLog) -> None:
        offered = installed_exporters()
        # The default is what is installed; a name that was written down must be.
        names = [name for name in settings.exporters if name != WEBHOOK_EXPORTER or name in offered]
        self._manifest = _manifest(settings, names)
        log_file = LogFile(settings.home / LOGS / LOG_NAME, max_bytes=LOG_MAX_BYTES)
        self._log_file = log_file
        self._report = Reporter(log_file, _Output())
        self._log = GuardedLog(open_log(settings.log_place, home=settings.home), self._report)
        self._ending = threading.Event()
        self._moved = threading.Event()
        self._source = partial(WholeLog, settings.log_place, recent)
        self._log_url = None if settings.log_url is None else str(settings.log_place)
        # Several services have one log there: one of them delivers.
        self._lease = self._log.log.lease(EXPORTERS) if self._log_url is not None else None
        self._deliveries = self._made()
        self._thread = threading.Thread(
            target=self._run, name="realm-telemetry-exporting", daemon=True
        )
        self._timeout_s = settings.shutdown_s / 2
        self.delivers = False

    def _made(self) -> Deliveries:
        return Deliveries(
            self._manifest,
            self._log,
            self._report,
            {},
            self._source,
            moved=self._moved.set,
            log_url=self._log_url,
        )

    def start(self) -> None:
        """Begin to follow the log, if there is anything to do it for."""
        if self._manifest.exporters:
            self._thread.start()

    def notify(self) -> None:
        """Wake the exporters: the log has grown."""
        self._deliveries.notify()
        # `realm replay` may have asked an exporter back.
        self._moved.set()

    def state(self, last_cursor: int) -> list[tuple[str, int, str]]:
        """Each exporter that runs: its name, how many rows it is behind, and what is wrong."""
        problems = self._report.problems
        return [
            (each.name, max(last_cursor - each.cursor, 0), problems.get(each.name, ""))
            for each in self._deliveries
        ]

    @property
    def log_problem(self) -> str:
        """Why the exporters cannot keep in the log how far they are; empty while all is well."""
        return self._report.problems.get(LOG_KEY, "")

    def stop(self) -> None:
        """End the exporters and save how far they came."""
        self._ending.set()
        self._moved.set()
        if self._thread.ident is not None:
            self._thread.join(2 * self._timeout_s)

    def _run(self) -> None:
        while not self._ending.is_set():
            if self._begun():
                self._follow()
            self._ending.wait(SAVE_S)
        if self._lease is not None:
            self._lease.release()
        self._log.close()
        self._log_file.close()

    def _follow(self) -> None:
        """Deliver until the end, or until another service delivers."""
        pause_s = LOOK_AGAIN_S if self._lease is None else _HOLD_S
        while not self._ending.wait(SAVE_S):
            self._moved.wait(pause_s)
            self._moved.clear()
            if not self._holds():
                break
            try:
                self._deliveries.save(force=True)
            except LogError:  # reported
                self._moved.set()
        self.delivers = False
        self._deliveries.stop(self._timeout_s)
        if not self._ending.is_set():
            _logger.warning("Another service of this log delivers now.")
            self._deliveries = self._made()

    def _holds(self) -> bool:
        """Whether this service is the one that delivers; without its log nothing is saved."""
        try:
            return self._lease is None or self._lease.take()
        except LogError:
            return True

    def _begun(self) -> bool:
        """Start at the saved cursors; without one at the end, or before what asks for webhooks."""
        try:
            if self._lease is not None and not self._lease.take():
                return False
            with self._log.log.reader() as reader, reader.snapshot() as log:
                asked = log.first_webhook_cursor()
                last = log.max_cursor()
                known = log.cursors(EVERY_PIPELINE)
            if asked is not None and WEBHOOK_EXPORTER not in known:
                self._log.write(lambda log: log.save_cursor(*_WEBHOOKS, asked - 1))
            self._deliveries.start(last)
            self.delivers = True
        except (LogError, OSError) as error:
            _logger.debug("The service's exporters wait for the log: %r", error)
            return False
        return True


class _Output:
    """Shows problems in the service's output."""

    def show(self, error: str) -> None:
        """Show an error; empty when all is well."""
        if error:
            _logger.warning("%s", error)


def _manifest(settings: ServiceSettings, names: list[str]) -> Manifest:
    return Manifest(
        version=__version__,
        python=sys.executable,
        home=str(settings.home),
        log_path=str(settings.log_path),
        search_path=str(settings.search_path),
        service_url=settings.address,
        token=settings.token,
        exporters=names,
        options=settings.options,
        service_name="realm_service",
        pipeline=EVERY_PIPELINE,
        created_unix_nano=time.time_ns(),
    )
