"""The heartbeat of this host: sent to a service elsewhere while a producer of the pipeline lives.

Its thread waits for nobody but the service, and nobody waits for it: a service that hangs delays no
delivery, and a heartbeat that fails is forgotten, because the next one says the same.
"""

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from realm_telemetry.config import DEFAULT_SERVICE_URL, service_url_of, token_for
from realm_telemetry.delivery.addresses import ELSEWHERE, Addresses
from realm_telemetry.delivery.heartbeats import (
    HEARTBEAT_PATH,
    HEARTBEAT_TYPE,
    INTERVAL_S,
    MAX_PROCESSES,
    MAX_STEP,
    Heartbeat,
    RunningProcess,
    encode_heartbeat,
)
from realm_telemetry.delivery.http import UnreachableError, is_loopback
from realm_telemetry.errors import ConfigError
from realm_telemetry.home.token import is_stranger
from realm_telemetry.shipper.deliveries import SERVICE_EXPORTER
from realm_telemetry.shipper.manifest import Manifest
from realm_telemetry.shipper.notes import RunNotes
from realm_telemetry.shipper.peers import shown_progress
from realm_telemetry.shipper.process_end import host
from realm_telemetry.shipper.spools import Spool
from realm_telemetry.values.rank import to_rank

if TYPE_CHECKING:
    from realm_telemetry.delivery.http_client import HttpClient

DEADLINE_S: Final = 2.0
LOOK_S: Final = 1.0
"""How often the processes are listed; a change of them is sent at once."""

_MAX_ANSWER_BYTES: Final = 64 * 1024


class HostHeartbeat:
    """Sends the heartbeats of one pipeline; nothing where it ships to no service.

    host_silent_s: heartbeats come at least three times in so many seconds.
    """

    def __init__(self, manifest: Manifest, host_silent_s: float) -> None:
        options = manifest.options.get(SERVICE_EXPORTER, {})
        self._home = Path(manifest.home)
        self._url = str(options.get("url") or manifest.service_url)
        self._places = Addresses(self._url)
        self._own_token = options.get("token")
        self._token = manifest.token
        self._sends = SERVICE_EXPORTER in manifest.exporters
        self._pipeline = manifest.pipeline
        self._interval_s = min(INTERVAL_S, host_silent_s / 3)
        name, _, boot_id = host().partition(" ")
        self._host, self._boot_id = name[:256] or "unknown", boot_id[:64]
        self._processes: Sequence[RunningProcess] = ()
        self._look_at_s = 0.0
        self._wake = threading.Event()
        self._ending = False
        self._thread: threading.Thread | None = None

    def look(self, spools: Iterable[Spool], now_s: float) -> None:
        """Note what runs; the first process that lives begins the heartbeats."""
        if not self._sends or now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_S
        living = [spool for spool in spools if spool.alive]
        if self._thread is None and not living:
            return
        before = {(each.producer, each.run_id) for each in self._processes}
        self._processes = _running(living)
        if self._thread is None:
            self._begin()
        elif before != {(each.producer, each.run_id) for each in self._processes}:
            self._wake.set()

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name="realm-telemetry-host", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no threads to be had: the next look tries again
            return
        self._thread = thread

    def request_stop(self, spools: Iterable[Spool]) -> None:
        """End; where nothing runs any more after a last heartbeat, which says so.

        A shipper that is stopped before its producers says nothing: if nobody takes over, the host
        counts as silent.
        """
        self._processes = _running(spool for spool in spools if spool.alive)
        self._ending = True
        self._wake.set()

    def join(self, timeout_s: float) -> None:
        """Wait for the end; a request that hangs is left behind."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        clients: dict[str, HttpClient] = {}
        while not self._ending:
            self._wake.clear()
            self._send(clients)
            self._wake.wait(self._interval_s)
        if not self._processes:
            self._send(clients)
        for client in clients.values():
            client.close()

    def _send(self, clients: "dict[str, HttpClient]") -> None:
        """Send a heartbeat to the first service that takes it."""
        beat = Heartbeat(
            self._host,
            self._boot_id,
            self._pipeline,
            self._interval_s,
            list(self._processes[:MAX_PROCESSES]),
        )
        body = encode_heartbeat(beat)
        try:
            text = self._url if self._url != DEFAULT_SERVICE_URL else service_url_of(self._home)
        except ConfigError:  # the exporter reports it
            return
        if text != self._places.text:
            self._places = Addresses(text)
        for url, _ in self._places.turn():
            if self._is_taken(clients, url, body):
                self._places.answered(url)
                return
            self._places.failed(url)

    def _is_taken(self, clients: "dict[str, HttpClient]", url: str, body: bytes) -> bool:
        """Send a heartbeat to one service; False where another one is to be asked."""
        from realm_telemetry.delivery.http_client import HttpClient

        if url not in clients:
            clients[url] = HttpClient(
                timeout_s=DEADLINE_S,
                max_answer_bytes=_MAX_ANSWER_BYTES,
                proxies=not is_loopback(url),
            )
        headers = {"Content-Type": HEARTBEAT_TYPE}
        try:
            # A port goes to another program, which is to learn neither token nor runs.
            if is_stranger(self._home, url):
                return False
            token = self._own_token or token_for(self._home, self._token, url, is_checked=True)
            if token:
                headers["Authorization"] = f"Bearer {token}"
            reply = clients[url].request("POST", url + HEARTBEAT_PATH, body, headers)
        # The exporter reports what is wrong with any of these.
        except (ConfigError, UnreachableError, ValueError):
            return False
        return reply.status not in ELSEWHERE


def _running(spools: Iterable[Spool]) -> list[RunningProcess]:
    return [_process(spool, run) for spool in spools for run in spool.notes.open_runs()]


def _process(spool: Spool, run: RunNotes) -> RunningProcess:
    step: float | None
    step, moment_ns = shown_progress(spool, run)
    if not moment_ns:
        step, moment_ns = run.step, run.step_unix_nano
    is_known = step is not None and 0 <= step <= MAX_STEP
    return RunningProcess(
        spool.producer,
        run.id,
        to_rank(spool.notes.resource.get("realm.rank")),
        step if is_known else None,
        moment_ns if is_known and moment_ns > 0 else None,
    )
