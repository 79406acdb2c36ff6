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

from realm_telemetry.delivery.guarded import GuardedLog
from realm_telemetry.delivery.report import LogFile, Reporter
from realm_telemetry.delivery.sources import EVERY_PIPELINE, RecentOfLog, WholeLog
from realm_telemetry.errors import LogError
from realm_telemetry.home import LOGS
from realm_telemetry.log.engine import open_log
from realm_telemetry.plugins import installed_exporters
from realm_telemetry.service.settings import ServiceSettings
from realm_telemetry.shipper.deliveries import WEBHOOK_EXPORTER, Deliveries
from realm_telemetry.shipper.manifest import Manifest
from realm_telemetry.version import __version__

SAVE_S: Final = 1.0
LOOK_AGAIN_S: Final = 30.0
LOG_MAX_BYTES: Final = 1_000_000
LOG_NAME: Final = "service-exporters.log"

_WEBHOOKS: Final = (EVERY_PIPELINE, WEBHOOK_EXPORTER)
_logger = logging.getLogger(__name__)


class Exporting:
    """Runs the exporters in threads of their own; nothing here is for the event loop.

    recent: what this service has stored lately.
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
        self._deliveries = Deliveries(
            self._manifest,
            self._log,
            self._report,
            {},
            partial(WholeLog, settings.log_place, recent),
            moved=self._moved.set,
            log_url=None if settings.log_url is None else str(settings.log_place),
        )
        self._thread = threading.Thread(
            target=self._run, name="realm-telemetry-exporting", daemon=True
        )
        self._timeout_s = settings.shutdown_s / 2

    def start(self) -> None:
        """Begin to follow the log, if there is anything to do it for."""
        if self._manifest.exporters:
            self._thread.start()

    def notify(self) -> None:
        """Wake the exporters: the log has grown."""
        self._deliveries.notify()
        # `realm replay` may have asked an exporter back.
        self._moved.set()

    def stop(self) -> None:
        """End the exporters and save how far they came."""
        self._ending.set()
        self._moved.set()
        if self._thread.ident is not None:
            self._thread.join(2 * self._timeout_s)

    def _run(self) -> None:
        while not self._begun() and not self._ending.wait(SAVE_S):
            pass
        while not self._ending.wait(SAVE_S):
            self._moved.wait(LOOK_AGAIN_S)
            self._moved.clear()
            try:
                self._deliveries.save(force=True)
            except LogError:  # reported
                self._moved.set()
        self._deliveries.stop(self._timeout_s)
        self._log.close()
        self._log_file.close()

    def _begun(self) -> bool:
        """Start at the saved cursors; without one at the end, or before what asks for webhooks."""
        try:
            with self._log.log.reader() as reader, reader.snapshot() as log:
                asked = log.first_webhook_cursor()
                last = log.max_cursor()
                known = log.cursors(EVERY_PIPELINE)
            if asked is not None and WEBHOOK_EXPORTER not in known:
                self._log.write(lambda log: log.save_cursor(*_WEBHOOKS, asked - 1))
            self._deliveries.start(last)
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
