"""Shows that the shipper runs, however long a transaction takes."""

import threading
from typing import Final

from realm_telemetry.shipper.status import StatusPage

BEAT_S: Final = 0.5


class Heartbeat:
    """A thread that beats until it is stopped."""

    def __init__(self, page: StatusPage) -> None:
        self._page = page
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name="realm-telemetry-heartbeat", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Beat no more."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(BEAT_S):
            self._page.beat()
