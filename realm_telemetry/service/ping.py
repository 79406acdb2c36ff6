"""The outgoing ping: says elsewhere that this service is well, so that its silence is noticed.

A dead-man switch, such as healthchecks.io or a monitor of one's own: it alerts when no GET has come
for some time, which no alert of a service that is down can do.
"""

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from realm_telemetry.delivery.http import UnreachableError, is_loopback
from realm_telemetry.kinds.line import printable

if TYPE_CHECKING:
    from realm_telemetry.delivery.http_client import HttpClient

DEADLINE_S: Final = 10.0
_MAX_ANSWER_BYTES: Final = 64 * 1024
_logger = logging.getLogger(__name__)


class Ping:
    """Sends a GET every so often while all is well; in a thread of its own.

    url: where to; all but its host is a secret and in no message. is_well: asked before each.
    A failure is reported once in the service's output, and so is its end. Redirects are not
    followed.
    """

    def __init__(self, url: str, interval_s: float, is_well: Callable[[], bool]) -> None:
        self._url = url
        self._interval_s = interval_s
        self._is_well = is_well
        self._host = urlsplit(url).hostname or "its host"
        self._failing = ""
        self._ending = threading.Event()
        # A daemon: the end of the service waits for no receiver.
        self._thread = threading.Thread(target=self._run, name="realm-telemetry-ping", daemon=True)

    @property
    def problem(self) -> str:
        """What went wrong with the last one; empty if nothing did."""
        return self._failing

    def start(self) -> None:
        """Begin with a first ping."""
        self._thread.start()

    def stop(self) -> None:
        """Send no further one."""
        self._ending.set()

    def _run(self) -> None:
        from realm_telemetry.delivery.http_client import HttpClient

        client = HttpClient(
            timeout_s=DEADLINE_S,
            max_answer_bytes=_MAX_ANSWER_BYTES,
            proxies=not is_loopback(self._url),
        )
        while not self._ending.is_set():
            if self._is_well() and not self._ending.is_set():
                self._report(self._send(client))
            self._ending.wait(self._interval_s)
        client.close()

    def _send(self, client: "HttpClient") -> str:
        """Send one; returns what went wrong, empty if nothing did."""
        try:
            status = client.request("GET", self._url).status
        except UnreachableError as error:
            return printable(str(error))
        except ValueError:
            return "the address is none"
        return "" if 200 <= status < 300 else f"it answered {status}"

    def _report(self, problem: str) -> None:
        if problem and not self._failing:
            _logger.warning(
                "The ping to %s fails: %s. Look at ping_url in [service].", self._host, problem
            )
        elif self._failing and not problem:
            _logger.warning("The ping to %s is taken again.", self._host)
        self._failing = problem
