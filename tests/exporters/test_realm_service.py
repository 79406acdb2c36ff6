"""The realm_service exporter against a real HTTP server that behaves badly."""

import gzip
import logging
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from realm_exporter_realm_service import RealmServiceExporter

from realm_telemetry.delivery.http import retry_after_s
from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.log.records import ProducerInfo
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.plugins import ExporterContext
from realm_telemetry.testing import BrokenServer, FakeClock, sample_events
from realm_telemetry.wire import read_batch
from tests.waiting import SOON_S

OWN_LOG = "cd" * 16
EVENTS = sample_events(4)

Make = Callable[..., RealmServiceExporter]


@pytest.fixture
def server() -> Iterator[BrokenServer]:
    with BrokenServer() as running:
        yield running


@pytest.fixture
def make(tmp_path: Path, server: BrokenServer) -> Iterator[Make]:
    made = []

    def build(*, clock: Any = time, **changes: Any) -> RealmServiceExporter:
        options = {"timeout_s": 0.5} | changes.pop("options", {})
        context = ExporterContext(
            home=tmp_path,
            log_path=tmp_path / "jobs.db",
            log_id=changes.pop("log_id", OWN_LOG),
            service_url=changes.pop("service_url", server.url),
            options=options,
            **changes,
        )
        made.append(RealmServiceExporter(context=context, clock=clock))
        return made[-1]

    yield build
    for exporter in made:
        exporter.shutdown()


def posts(server: BrokenServer) -> list[Any]:
    return [request for request in server.requests if request.method == "POST"]


def failure(exporter: RealmServiceExporter) -> ExportError:
    with pytest.raises(ExportError) as caught:
        exporter.export_events(EVENTS)
    return caught.value


def test_one_connection_carries_all_batches(make: Make, server: BrokenServer) -> None:
    exporter = make()
    for start in range(4):
        exporter.export_events(sample_events(2, 1 + 2 * start))
    assert len(server.events) == 8
    assert server.connections == 1


def test_a_service_that_serves_our_own_log_is_sent_nothing(
    make: Make, server: BrokenServer
) -> None:
    server.log_id = OWN_LOG
    exporter = make()
    exporter.export_events(EVENTS)
    exporter.export_events(EVENTS)
    assert [request.path for request in server.requests] == ["/health"]


def test_our_own_log_is_asked_for_again_after_a_while(make: Make, server: BrokenServer) -> None:
    """Another service, with another log, may have taken the address over."""
    server.log_id = OWN_LOG
    clock = FakeClock()
    exporter = make(clock=clock)
    exporter.export_events(EVENTS)
    server.log_id = "ef" * 16
    clock.advance(2)
    exporter.export_events(EVENTS)
    assert server.events == EVENTS


def test_the_log_is_asked_for_again_after_a_reconnect(make: Make, server: BrokenServer) -> None:
    exporter = make()
    exporter.export_events(EVENTS)
    server.stop()
    assert failure(exporter).retryable
    server.log_id = OWN_LOG
    server.start()
    server.requests.clear()
    exporter.export_events(EVENTS)
    assert [request.path for request in server.requests] == ["/health"]


@pytest.mark.parametrize(
    "mode", ["500", "502", "503", "429", "408", "garbage", "html", "hang", "close_mid_body", "drip"]
)
def test_a_service_in_trouble_is_worth_another_try(
    make: Make, server: BrokenServer, mode: str
) -> None:
    server.mode = mode
    exporter = make()
    started = time.monotonic()
    error = failure(exporter)
    assert error.retryable
    assert server.url in str(error)
    assert time.monotonic() - started < SOON_S
    server.mode = "ok"
    exporter.export_events(EVENTS)
    assert server.events == EVENTS


def test_an_endless_answer_is_not_read_to_its_end(make: Make, server: BrokenServer) -> None:
    server.mode = "endless"
    assert "no RealmService says" in str(failure(make(options={"timeout_s": 20.0})))


@pytest.mark.parametrize("mode", ["500", "garbage", "html", "hang", "404"])
def test_a_broken_health_check_is_worth_another_try(
    make: Make, server: BrokenServer, mode: str
) -> None:
    server.health_mode = mode
    assert failure(make()).retryable
    assert not posts(server)


def test_a_service_that_is_away_is_named_with_setting_and_fix(
    make: Make, server: BrokenServer
) -> None:
    exporter = make()
    server.stop()
    error = failure(exporter)
    assert error.retryable
    for words in (server.url, "realm serve", "REALM_SERVICE_URL"):
        assert words in str(error)


@pytest.mark.parametrize(("status", "word"), [("401", "REALM_TOKEN"), ("404", "service_url")])
def test_a_wrong_setting_keeps_the_events_and_names_the_fix(
    make: Make, server: BrokenServer, status: str, word: str
) -> None:
    """Once a person has mended it, the same events are accepted."""
    server.mode = status
    error = failure(make())
    assert error.retryable
    assert word in str(error)
    assert error.retry_after_s


@pytest.mark.parametrize("status", ["400", "415", "422"])
def test_a_refusal_for_good_is_not_tried_again(
    make: Make, server: BrokenServer, status: str
) -> None:
    server.mode = status
    error = failure(make())
    assert not error.retryable
    assert "as set by the test" in str(error)


def test_retry_after_is_passed_on(make: Make, server: BrokenServer) -> None:
    server.mode, server.retry_after = "429", "7"
    assert failure(make()).retry_after_s == 7


def test_retry_after_may_be_a_date(make: Make, server: BrokenServer) -> None:
    clock = FakeClock()
    moment = datetime.fromtimestamp(clock.time() + 90, UTC)
    server.mode, server.retry_after = "503", format_datetime(moment, usegmt=True)
    assert failure(make(clock=clock)).retry_after_s == 90


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("soon", None), ("-5", None), ("99999999999", 3600), ("0", 0), ("", None)],
)
def test_retry_after_is_read_with_care(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, 0) == seconds


def test_a_batch_that_is_too_large_is_sent_in_parts(make: Make, server: BrokenServer) -> None:
    server.max_body_bytes = 1000
    events = sample_events(20)
    make().export_events(events)
    assert server.events == events


def test_an_event_that_is_too_large_by_itself_is_rejected_alone(
    make: Make, server: BrokenServer
) -> None:
    server.max_body_bytes = 1000
    events = sample_events(5)
    events[2] = msgspec.structs.replace(events[2], message="x" * 2000)
    with pytest.raises(ExportError) as caught:
        make().export_events(events)
    assert not caught.value.retryable
    assert caught.value.rejected_ids == (events[2].id,)
    assert server.events == [*events[:2], *events[3:]]


def test_an_event_that_cannot_be_encoded_is_rejected_alone(
    make: Make, server: BrokenServer
) -> None:
    events = sample_events(3)
    events[1] = msgspec.structs.replace(events[1], message="\ud800")
    with pytest.raises(ExportError, match="cannot be encoded") as caught:
        make().export_events(events)
    assert caught.value.rejected_ids == (events[1].id,)
    assert len(server.events) == 2


def test_rejected_events_are_named_with_the_reason(make: Make, server: BrokenServer) -> None:
    server.reject = {EVENTS[1].id: "too old"}
    error = failure(make())
    assert error.rejected_ids == (EVENTS[1].id,)
    assert "too old" in str(error)
    assert not error.retryable


def test_a_lost_answer_does_no_harm(make: Make, server: BrokenServer) -> None:
    server.script.append("taken_but_unanswered")
    exporter = make()
    assert failure(exporter).retryable
    exporter.export_events(EVENTS)
    assert server.events == EVENTS


def test_the_token_is_sent_and_never_shown(make: Make, server: BrokenServer) -> None:
    server.mode = "401"
    error = failure(make(token="s3cret"))
    assert server.requests[-1].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in str(error)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_bodies_are_compressed(make: Make, server: BrokenServer, compression: str) -> None:
    make(options={"compression": compression}).export_events(sample_events(100))
    assert posts(server)[0].headers["content-encoding"] == compression
    assert len(server.events) == 100


def test_a_service_without_zstd_gets_gzip(make: Make, server: BrokenServer) -> None:
    server.script.append("415")
    make(options={"compression": "zstd"}).export_events(sample_events(100))
    _, second = posts(server)
    assert second.headers["content-encoding"] == "gzip"
    assert gzip.decompress(second.body)
    assert len(server.events) == 100


def test_loopback_bodies_are_sent_as_they_are(make: Make, server: BrokenServer) -> None:
    make().export_events(sample_events(100))
    assert "content-encoding" not in posts(server)[0].headers


def test_a_proxy_setting_does_not_catch_loopback(
    make: Make, server: BrokenServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    make().export_events(EVENTS)
    assert server.events == EVENTS


def test_its_own_requests_are_not_logged(
    make: Make, server: BrokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A program that exports its logging would otherwise export for ever."""
    with caplog.at_level(logging.DEBUG):
        make().export_events(EVENTS)
        assert [each for each in caplog.records if each.name.startswith("http")] == []
        httpx.get(server.url + "/health", trust_env=False)
    assert [each for each in caplog.records if each.name.startswith("http")]


@pytest.mark.parametrize(
    "options",
    [{"url": "ftp://x"}, {"url": "http://"}, {"token": "a\nb"}, {"compression": "lz4"}],
)
def test_wrong_options_are_refused_when_it_is_built(make: Make, options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match=next(iter(options)).replace("url", "service_url")):
        make(options=options)


def test_producers_and_their_last_receipts_are_sent(
    make: Make, server: BrokenServer, tmp_path: Path
) -> None:
    producer = EVENTS[0].producer
    with LogWriter(tmp_path / "jobs.db") as log:
        log.register_producer(ProducerInfo(producer, "pipe", {"service.name": "trainer"}))
        log.append(EVENTS, pipeline="pipe")
        exporter = make()
        exporter.export_events(EVENTS)
        log.record_receipt(producer, emitted=4, dropped=1, ended=True)
        exporter.shutdown()
    first, last = (read_batch(request.body) for request in posts(server))
    assert first.producers[0].resource == {"service.name": "trainer"}
    assert (first.producers[0].pipeline, first.producers[0].ended) == ("pipe", False)
    assert last.events == []
    assert (last.producers[0].emitted, last.producers[0].dropped) == (4, 1)
    assert last.producers[0].ended


def test_a_batch_names_the_log_that_it_is_read_from(make: Make, server: BrokenServer) -> None:
    """The service takes the events of a producer from one log only."""
    make().export_events(EVENTS)
    assert read_batch(posts(server)[0].body).log_id == OWN_LOG


@pytest.fixture
def other() -> Iterator[BrokenServer]:
    with BrokenServer() as running:
        yield running


def both(server: BrokenServer, other: BrokenServer) -> str:
    return f"{server.url},{other.url}"


@pytest.mark.parametrize("mode", ["502", "503", "504", "hang", "gone"])
def test_another_address_takes_what_one_does_not(
    make: Make, server: BrokenServer, other: BrokenServer, mode: str
) -> None:
    exporter = make(service_url=both(server, other))
    exporter.export_events(EVENTS[:1])
    if mode == "gone":
        server.stop()
    server.mode = server.health_mode = mode if mode != "gone" else "ok"
    exporter.export_events(EVENTS[1:3])
    assert (server.events, other.events) == (EVENTS[:1], EVENTS[1:3])
    if mode == "gone":
        server.start()
    server.mode = server.health_mode = "ok"
    exporter.export_events(EVENTS[3:])
    assert other.events == EVENTS[1:], "it keeps to the one that answers"


def test_a_setting_that_is_wrong_at_one_address_is_reported(
    make: Make, server: BrokenServer, other: BrokenServer
) -> None:
    server.mode = "401"
    assert "REALM_TOKEN" in str(failure(make(service_url=both(server, other))))
    assert other.events == []


def test_an_address_of_another_log_is_sent_nothing(
    make: Make, server: BrokenServer, other: BrokenServer
) -> None:
    other.log_id = "ef" * 16
    exporter = make(service_url=both(server, other))
    exporter.export_events(EVENTS[:2])
    server.mode = "503"
    error = failure(exporter)
    assert error.retryable
    assert "services of one log" in str(error)
    assert other.log_id in str(error)
    server.mode = "ok"
    exporter.export_events(EVENTS)
    assert (server.events, other.events) == (EVENTS, [])


def test_a_restored_log_is_taken_once_all_addresses_say_so(
    make: Make, server: BrokenServer, other: BrokenServer
) -> None:
    exporter = make(service_url=both(server, other))
    exporter.export_events(EVENTS[:1])
    server.stop()
    other.log_id = server.log_id = "ef" * 16
    assert "services of one log" in str(failure(exporter))
    server.start()
    exporter.export_events(EVENTS)
    assert (server.events, other.events) == (EVENTS, [])


def test_our_own_log_is_known_at_each_address(
    make: Make, server: BrokenServer, other: BrokenServer
) -> None:
    server.log_id = other.log_id = OWN_LOG
    server.health_mode = "503"
    exporter = make(service_url=both(server, other))
    exporter.export_events(EVENTS)
    assert [request.path for request in other.requests] == ["/health"]
    assert (server.events, other.events) == ([], [])


def test_the_log_is_asked_for_outside_a_shipper_where_there_are_several_addresses(
    make: Make, server: BrokenServer, other: BrokenServer
) -> None:
    exporter = make(service_url=both(server, other), log_id=None)
    exporter.export_events(EVENTS)
    assert server.events == EVENTS
    assert "/health" in [request.path for request in server.requests]
    single = make(log_id=None)
    server.requests.clear()
    single.export_events(EVENTS)
    assert [request.method for request in server.requests] == ["POST"]
