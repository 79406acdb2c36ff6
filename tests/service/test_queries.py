"""What requests of no use may cost: endless queries, and lines in the service's log."""

import logging
import socket
import time

import httpx
import pytest
from starlette.datastructures import QueryParams

from realm_telemetry.service import RealmServer, protocol
from realm_telemetry.service.access import MAX_PARAMETERS
from realm_telemetry.service.api.parameters import filters_of
from realm_telemetry.service.errors import ApiError


@pytest.mark.parametrize("path", ["/api/battle_log", "/api/events", "/api/runs", "/health", "/"])
@pytest.mark.parametrize("count", [MAX_PARAMETERS - 1, MAX_PARAMETERS, MAX_PARAMETERS + 1])
def test_a_query_of_very_many_parameters_is_refused_unread(
    client: httpx.Client, path: str, count: int
) -> None:
    response = client.get(path + "?" + "&".join(f"a{at}={at}" for at in range(count)))
    assert ("over 256 parameters" in response.text) is (count > MAX_PARAMETERS)


def test_many_parameters_are_read_once_each() -> None:
    """The loop reads them: 6,000 took 0.6 s of it, in a request of 64 KB."""

    def took_s(count: int) -> float:
        query = QueryParams([(f"a{at}", "1") for at in range(count)])
        began_s = time.process_time()
        with pytest.raises(ApiError):
            filters_of(query)
        return time.process_time() - began_s

    assert took_s(8_000) < max(30 * took_s(500), 0.1)


def test_what_clients_send_is_no_line_of_the_log_each(
    server: RealmServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("WARNING", logger="uvicorn.error")
    send_no_http(server)
    caplog.clear()
    for _ in range(20):
        send_no_http(server)
    assert caplog.messages == []
    record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 1, "other", None, None)
    assert protocol.Seldom().filter(record)


def test_a_warning_that_stands_for_others_says_for_how_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def passed() -> str | None:
        record = logging.LogRecord("uvicorn.error", logging.WARNING, "", 1, "odd", None, None)
        return record.getMessage() if seldom.filter(record) else None

    seldom = protocol.Seldom()
    assert [passed() for _ in range(4)] == ["odd", None, None, None]
    later_s = time.monotonic() + protocol.SELDOM_S + 1.0
    monkeypatch.setattr(time, "monotonic", lambda: later_s)
    assert passed() == "odd (3 more times since this was said last)"


def send_no_http(server: RealmServer) -> None:
    with socket.create_connection(("127.0.0.1", server.ports[0]), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00")
        while connection.recv(65536):
            pass
