"""Receivers that hang delay nobody else: not rules, not other addresses, not other hosts."""

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest
from realm_exporter_webhook import sender
from realm_exporter_webhook.exporter import WebhookExporter
from realm_exporter_webhook.sender import SENDERS, SENDERS_A_HOST, host_and_port

from realm_telemetry.delivery.circuits import FAILURES
from realm_telemetry.errors import ExportError
from tests.waiting import SOON_S

from .conftest import Answer, Maker, Receiver, event, options

pytestmark = pytest.mark.slow

DRIP = b"HTTP/1.1 200 OK\r\nX-Long: "


class Hanging:
    """Listens on ports of its own and drips the headers of an answer for ever; counts who waits."""

    def __init__(self, ports: int) -> None:
        self.connections: Counter[int] = Counter()
        self.all: Counter[int] = Counter()
        self.ended = threading.Event()
        self._lock = threading.Lock()
        self._listening = [socket.create_server(("127.0.0.1", 0)) for _ in range(ports)]
        self.ports = [each.getsockname()[1] for each in self._listening]
        for each in self._listening:
            threading.Thread(target=self._accept, args=(each,), daemon=True).start()

    def url(self, number: int, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.ports[number]}{path}"

    def close(self) -> None:
        self.ended.set()
        for each in self._listening:
            each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listening: socket.socket) -> None:
        port = listening.getsockname()[1]
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=self._drip, args=(connection, port), daemon=True).start()

    def _drip(self, connection: socket.socket, port: int) -> None:
        with self._lock:
            self.connections[port] += 1
            self.all[port] += 1
        with connection, suppress(OSError):
            connection.recv(65_536)
            connection.sendall(DRIP)
            while not self.ended.wait(0.05):
                connection.sendall(b"x")
        with self._lock:
            self.connections[port] -= 1


@pytest.fixture
def hanging() -> Iterator[Callable[[int], Hanging]]:
    made: list[Hanging] = []

    def make(ports: int) -> Hanging:
        made.append(Hanging(ports))
        return made[-1]

    yield make
    for each in made:
        each.close()


def started(exporter: WebhookExporter) -> WebhookExporter:
    """A service's exporter, which sends in a thread of its own."""
    exporter.begin()
    return exporter


def test_receivers_that_hang_stop_neither_rules_nor_other_addresses(
    make: Maker, hanging: Callable[[int], Hanging], receiver: Receiver, other: Receiver
) -> None:
    slow = hanging(12)
    given = options(receiver.url(), timeout="60s")
    exporter = started(make(given, long_lived=True))
    addresses = [slow.url(number) for number in range(12)]
    exporter.export_events([event(1, webhooks=(*addresses, other.url()))])
    started_s = time.monotonic()
    receiver.wait_for(1)
    other.wait_for(1)
    assert time.monotonic() - started_s < SOON_S


def test_targets_of_rules_that_hang_stop_no_other_target(
    make: Maker, hanging: Callable[[int], Hanging], receiver: Receiver
) -> None:
    slow = hanging(8)
    given = options(receiver.url(), timeout="60s")
    for number in range(8):
        given["targets"][f"slow{number}"] = {"url": slow.url(number)}
    names = [f"slow{number}" for number in range(8)]
    given["rules"] = [{"name": "all", "to": [*names, "lab"]}]
    started(make(given, long_lived=True)).export_events([event(1)])
    started_s = time.monotonic()
    receiver.wait_for(1)
    assert time.monotonic() - started_s < SOON_S


def test_one_host_has_few_senders_and_soon_one(
    make: Maker, hanging: Callable[[int], Hanging], other: Receiver
) -> None:
    slow = hanging(1)
    given = options("http://127.0.0.1:9/unused", {"kind": "note"}, timeout=0.5)
    exporter = started(make(given, long_lived=True))
    addresses = [slow.url(0, f"/{number}") for number in range(3 * SENDERS_A_HOST)]
    exporter.export_events([event(1, webhooks=tuple(addresses))])
    deadline_s = time.monotonic() + 60
    with closing(exporter.open_store()) as store:
        while not store.outbox.circuits() and time.monotonic() < deadline_s:
            time.sleep(0.05)
        (circuit,) = store.outbox.circuits()
    assert (circuit.pool, circuit.place) == ("events", f"127.0.0.1:{slow.ports[0]}")
    assert "no answer within 0.5 s: the answer's headers took longer" in circuit.reason
    # Each failure but the last makes room for another attempt.
    assert slow.all[slow.ports[0]] <= SENDERS_A_HOST + FAILURES - 1 < len(addresses)
    time.sleep(1.0)  # those that began before are over, and nobody else goes there
    assert slow.connections[slow.ports[0]] == 0
    exporter.export_events([event(2, webhooks=(other.url(),))])
    other.wait_for(1)
    levels = [(level, text) for level, text, _ in WebhookExporter.check(exporter.context)]
    assert any(
        level == "warning" and "is left alone until" in text and "headers took longer" in text
        for level, text in levels
    )


def test_a_shipper_says_why_messages_wait(
    make: Maker, hanging: Callable[[int], Hanging], receiver: Receiver
) -> None:
    """What `realm ship --status` and doctor show is what the exporter raises."""
    slow = hanging(1)
    given = options(receiver.url(), timeout=0.5)
    exporter = make(given)
    with pytest.raises(ExportError, match="the answer's headers took longer") as caught:
        exporter.export_events([event(1, webhooks=(slow.url(0),))])
    assert caught.value.retryable
    assert caught.value.retry_after_s
    assert len(receiver.received) == 1


def test_a_host_that_answers_again_gets_all_that_waits(
    make: Maker, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realm_telemetry.delivery.circuits.FIRST_PAUSE_S", 0.2)
    monkeypatch.setattr(sender, "FIRST_RETRY_S", 0.1)
    receiver.answers = [Answer(503)] * 4
    exporter = started(make(options(receiver.url()), long_lived=True))
    exporter.export_events([event(number) for number in range(1, 6)])
    receiver.wait_for(9)
    ids = Counter(each.headers["webhook-id"] for each in receiver.received[4:])
    assert len(ids) == 5
    with closing(exporter.open_store()) as store:
        assert store.outbox.circuits() == []


def test_a_limit_of_the_whole_host_holds_all_its_targets(make: Maker, receiver: Receiver) -> None:
    receiver.answers = [Answer(429, {}, b'{"retry_after": 1.5, "global": true}')]
    given = options(receiver.url("/one"))
    exporter = started(make(given, long_lived=True))
    exporter.export_events([event(1)])
    receiver.wait_for(1)
    limited_s = time.monotonic()
    time.sleep(0.2)
    exporter.export_events([event(2, webhooks=(receiver.url("/two"),))])
    receiver.wait_for(3)
    assert time.monotonic() - limited_s >= 1.2


def test_a_limit_of_one_address_holds_no_other(make: Maker, receiver: Receiver) -> None:
    receiver.answers = [Answer(429, {}, b'{"retry_after": 30, "global": false}')]
    exporter = started(make(options(receiver.url("/one")), long_lived=True))
    exporter.export_events([event(1)])
    receiver.wait_for(1)
    exporter.export_events([event(2, webhooks=(receiver.url("/two"),))])
    receiver.wait_for(2, 5.0)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://Hook.Example/x", "hook.example:443"),
        ("https://hook.example.:443/y?z", "hook.example:443"),
        ("http://hook.example", "hook.example:80"),
        ("http://user:pw@hook.example:8080/", "hook.example:8080"),
        ("http://[::1]:9/x", "::1:9"),
        ("http://[::1", "http://[::1"),
    ],
)
def test_a_host_is_one_however_its_address_is_written(url: str, place: str) -> None:
    assert host_and_port(url) == place


def test_pools_are_apart() -> None:
    assert SENDERS["rules"] > SENDERS_A_HOST
    assert SENDERS["events"] > SENDERS_A_HOST
