"""A service that hangs, fails or talks nonsense: only its own exporter waits."""

from collections.abc import Callable

import pytest

from realm_telemetry.testing import BrokenServer
from tests.waiting import wait_until

from .conftest import Home, check_once_in_order

EXPORTERS = ("battle_log", "realm_service")
OPTIONS = {"realm_service": {"timeout_s": 1.0, "connect_timeout_s": 0.5}}


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("hang", "realm serve"),
        ("500", "answered 500"),
        ("429", "answered 429"),
        ("garbage", "REALM_SERVICE_URL"),
        pytest.param("html", "REALM_SERVICE_URL", marks=pytest.mark.long),
        pytest.param("drip", "realm serve", marks=pytest.mark.long),
        pytest.param("close_mid_body", "realm serve", marks=pytest.mark.long),
        pytest.param("404", "REALM_SERVICE_URL", marks=pytest.mark.long),
    ],
)
def test_training_goes_on_and_a_mended_service_gets_everything(
    home: Home, mode: str, words: str
) -> None:
    with BrokenServer(mode) as server:
        server.retry_after = "2"
        producer = home.producer(EXPORTERS, service_url=server.url, options=OPTIONS)
        ids = producer.emit(300, pace_s=0.001).ids
        producer.flush_in_vain(words)
        wait_until(lambda: home.logged() == ids)
        output = producer.exit()
        assert output.count(server.url) == 1, output
        assert words in output
        before = len(server.requests)
        server.mode = "ok"
        wait_until(lambda: len(server.events) == 300, 60, home.shipper_log)
        assert [event.id for event in server.events] == ids
        if mode == "429":
            assert before <= 4, "Retry-After is kept"


def test_a_service_that_takes_little_at_a_time_gets_everything_in_parts(home: Home) -> None:
    with BrokenServer() as server:
        server.max_body_bytes = 8_000
        options = {"realm_service": {"compression": "none"}}
        producer = home.producer(EXPORTERS, service_url=server.url, options=options)
        ids = producer.emit(300, size=500).ids
        assert producer.flush()["delivered"]
        check_once_in_order([event.id for event in server.events], ids)
        producer.exit()


def test_an_event_that_a_service_never_takes_is_dead_lettered_and_reported(
    home: Home, make_home: Callable[..., Home]
) -> None:
    """413 for a single event: it stays in the log, and its neighbours go through."""
    with BrokenServer() as server:
        server.max_body_bytes = 8_000
        options = {"realm_service": {"compression": "none"}}
        producer = home.producer(EXPORTERS, service_url=server.url, options=options)
        ids = producer.emit(20).ids + producer.emit(1, size=20_000).ids + producer.emit(20).ids
        problem = producer.flush_in_vain("1 events were given up by an exporter")
        assert ids[20] in problem + producer.exit()
        assert home.logged() == ids
        check_once_in_order([event.id for event in server.events], ids[:20] + ids[21:])
