"""The demo's own reader of the live view: what arrives over server-sent events."""

import threading
from collections import Counter
from typing import Final

from realm_telemetry.client import EventMessage, RealmClient, ServiceError
from realm_telemetry.demo.display import Display
from realm_telemetry.event import Event

_RETRY_S: Final = 0.5


class Watcher:
    """Follows the stream in a thread, shows the events of one campaign and remembers their ids.

    Resumes where it was when the connection breaks, so that no event is missed or seen twice.
    """

    def __init__(self, client: RealmClient, display: Display) -> None:
        self._client = client
        self._display = display
        self._campaign = ""
        self._seen: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="watcher", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the stream has begun; what is emitted from then on will come over it."""
        return self._connected.is_set()

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def watch(self, campaign: str) -> None:
        """Turn to a campaign that is about to begin."""
        with self._lock:
            self._campaign = campaign
            self._seen = Counter()

    def seen(self) -> Counter[str]:
        """Return how often each event id of the campaign has come."""
        with self._lock:
            return Counter(self._seen)

    def end(self) -> None:
        """Stop as soon as the stream says something more, or ends with its service."""
        self._ended.set()

    def _follow(self) -> None:
        last_event_id: str | None = None
        while not self._ended.is_set():
            try:
                for message in self._client.stream(last_event_id=last_event_id, reconnect=False):
                    last_event_id = message.last_event_id
                    self._connected.set()
                    if self._ended.is_set():
                        return
                    if isinstance(message, EventMessage):
                        self._take(message.event)
            except (ServiceError, RuntimeError):  # the service, or the client, was closed
                pass
            self._ended.wait(_RETRY_S)

    def _take(self, event: Event) -> None:
        with self._lock:
            if event.campaign_id != self._campaign:
                return
            self._seen[event.id] += 1
        self._display.show(event)
