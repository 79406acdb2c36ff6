"""Both clients against a real server: what they send, what they return, and how they fail."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from realm_telemetry.client import (
    AsyncRealmClient,
    EventMessage,
    OtherMessage,
    RealmClient,
    ResetMessage,
    ServiceError,
    ServiceUnreachableError,
    SnapshotMessage,
    StreamMessage,
)
from realm_telemetry.client import stream as stream_module
from realm_telemetry.kinds.catalog import event_from_dict
from realm_telemetry.testing import BrokenServer
from tests.ports import free_port
from tests.waiting import SOON_S

from .conftest import LOG_ID, SmallService, event_frame, frame, make_event, shape

SNAPSHOT = frame("snapshot", {"events": [shape(2)], "routine": [shape(1)]}, 2)


class BlockingReads:
    """Calls RealmClient."""

    def __init__(self, service: SmallService, url: Any = None, **options: Any) -> None:
        self.client = RealmClient(url or service.url, **options)

    def call(self, name: str, *arguments: Any, **fields: Any) -> Any:
        with self.client as client:
            answer = getattr(client, name)(*arguments, **fields)
            return list(answer) if isinstance(answer, Iterator) else answer

    def take(self, count: int, *arguments: Any, **options: Any) -> list[StreamMessage]:
        with self.client as client:
            stream = client.stream(*arguments, **options)
            return [next(stream) for _ in range(count)]


class AsyncReads:
    """Calls AsyncRealmClient in the same way."""

    def __init__(self, service: SmallService, url: Any = None, **options: Any) -> None:
        self.make = lambda: AsyncRealmClient(url or service.url, **options)

    def call(self, name: str, *arguments: Any, **fields: Any) -> Any:
        async def run() -> Any:
            async with self.make() as client:
                answer = getattr(client, name)(*arguments, **fields)
                if isinstance(answer, AsyncIterator):
                    return [item async for item in answer]
                return await answer

        return asyncio.run(run())

    def take(self, count: int, *arguments: Any, **options: Any) -> list[StreamMessage]:
        async def run() -> list[StreamMessage]:
            async with self.make() as client:
                stream: Any = client.stream(*arguments, **options)
                messages = [await anext(stream) for _ in range(count)]
                await stream.aclose()
                return messages

        return asyncio.run(run())


Reads = Callable[..., BlockingReads | AsyncReads]


@pytest.fixture(params=[BlockingReads, AsyncReads], ids=["blocking", "async"])
def reads(request: pytest.FixtureRequest) -> Reads:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reconnect without a pause that a person would see."""
    monkeypatch.setattr(stream_module, "FIRST_WAIT_S", 0.01)


def test_the_live_view_comes_as_events(service: SmallService, reads: Reads) -> None:
    rows = reads(service).call("events", channel=["checkpoint", "eval"], limit=2)
    assert [(row.cursor, row.event) for row in rows] == [(25, make_event(25)), (24, make_event(24))]
    assert service.queries == ["channel=checkpoint%2Ceval&limit=2"]


def test_a_query_follows_the_pages_to_the_end(service: SmallService, reads: Reads) -> None:
    rows = reads(service).call("query", limit=10)
    assert [row.cursor for row in rows] == list(range(25, 0, -1))
    assert service.queries == ["limit=10", "limit=10&cursor=16", "limit=10&cursor=6"]


def test_a_page_says_how_many_match(service: SmallService, reads: Reads) -> None:
    page = reads(service).call("query_page", limit=10)
    assert (page.total, page.relation, page.as_of) == (25, "gte", 25)


def test_filters_are_sent_as_the_service_reads_them(service: SmallService, reads: Reads) -> None:
    since = datetime(2025, 11, 29, tzinfo=UTC)
    filters = {"since": since, "has": ["a:1,2", "b:3"], "not_": "c:4", "kind": None}
    reads(service).call("events", **filters)
    sent = "since=2025-11-29T00%3A00%3A00%2B00%3A00&has=a%3A1%2C2&has=b%3A3&not=c%3A4"
    assert service.queries == [sent]


def test_an_unknown_filter_is_refused_before_anything_is_sent(
    service: SmallService, reads: Reads
) -> None:
    with pytest.raises(TypeError, match="no filter 'colour'"):
        reads(service).call("events", colour="red")
    assert service.queries == []


def test_state_receipts_and_health_are_returned(service: SmallService, reads: Reads) -> None:
    assert reads(service).call("state") == {"state": {"training": {"step": 7}}, "cursor": 25}
    assert reads(service).call("state", "training") == {"step": 7}
    assert reads(service).call("receipts")["receipts"][0]["complete"] is True
    assert reads(service).call("health")["log_id"] == LOG_ID


def test_a_note_is_posted_as_an_event_with_an_id(service: SmallService, reads: Reads) -> None:
    note = reads(service).call("note", "Lunch", details={"for": "all"}, severity="success")
    [posted] = service.posted[0]["events"]
    assert event_from_dict(posted) == note
    assert (note.kind, note.channel, note.severity, note.number) == ("note", "system", "success", 1)


def test_a_refusal_is_an_error_with_the_words_of_the_service(
    service: SmallService, reads: Reads
) -> None:
    with pytest.raises(ServiceError) as caught:
        reads(service).call("state", "nowhere")
    error = caught.value
    assert (error.status, error.error, error.message) == (404, "unknown_section", "No.")
    assert error.hint == "?"


@pytest.fixture
def dripping() -> Iterator[str]:
    """The address of a service that sends a header for ever."""
    ended = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.recv(65_536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not ended.wait(0.05):
                connection.sendall(b"x")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listening.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        ended.set()
        listening.shutdown(socket.SHUT_RDWR)


def test_an_answer_that_drips_ends_at_the_timeout(dripping: str) -> None:
    async def ask() -> None:
        async with AsyncRealmClient(dripping, timeout_s=0.4) as client:
            await client.health()

    def ask_blocking() -> None:
        with RealmClient(dripping, timeout_s=0.4) as client:
            client.health()

    for attempt in (ask_blocking, lambda: asyncio.run(ask())):
        started_s = time.monotonic()
        with pytest.raises(ServiceUnreachableError, match=r"no answer within 0\.4 s"):
            attempt()
        assert time.monotonic() - started_s < SOON_S


def test_the_token_is_sent_and_a_missing_one_is_an_error(
    service: SmallService, reads: Reads
) -> None:
    service.token = "secret"
    assert reads(service, token="secret").call("health")["status"] == "ok"
    with pytest.raises(ServiceError) as caught:
        reads(service).call("health")
    assert (caught.value.status, caught.value.error) == (401, "token_required")


def test_url_and_token_come_from_the_environment(
    service: SmallService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.token = "from outside"
    monkeypatch.setenv("REALM_SERVICE_URL", service.url + "/")
    monkeypatch.setenv("REALM_TOKEN", "from outside")
    with RealmClient() as client:
        assert client.health()["status"] == "ok"


def test_a_refused_connection_names_url_setting_and_fix(
    service: SmallService, reads: Reads
) -> None:
    service.url = f"http://127.0.0.1:{free_port()}"
    for name in ("health", "stream"):
        with pytest.raises(ServiceUnreachableError) as caught:
            reads(service).call(name)
        for part in (service.url, "REALM_SERVICE_URL", "realm up"):
            assert part in str(caught.value)


def test_another_server_at_the_address_is_recognized(service: SmallService, reads: Reads) -> None:
    service.connections = [PlainTextResponse("hello")]
    with pytest.raises(ServiceError, match="did not answer with an event stream"):
        reads(service).take(1)


def test_a_stream_gives_typed_messages(service: SmallService, reads: Reads) -> None:
    coalesced = frame("event", shape(4) | {"coalesced": 3})
    reset = frame("reset", {"reason": "retention"})
    gap = frame("gap", {"missed": 9})
    service.connections = [[b"retry: 1000\n\n", SNAPSHOT, event_frame(3), coalesced, reset, gap]]
    snapshot, event, thinned, forget, other = reads(service).take(
        5, {"kind": "a"}, routine="latest"
    )
    assert isinstance(snapshot, SnapshotMessage)
    assert [row.cursor for row in snapshot.rows] == [2]
    assert [row.cursor for row in snapshot.routine] == [1]
    assert event == EventMessage(make_event(3), 3, f"{LOG_ID}-3")
    assert thinned == EventMessage(make_event(4), 4, f"{LOG_ID}-3", 3)
    assert forget == ResetMessage("retention", f"{LOG_ID}-3", {"reason": "retention"})
    assert other == OtherMessage("gap", {"missed": 9}, f"{LOG_ID}-3")
    assert service.queries == ["kind=a&routine=latest"]


@pytest.mark.usefixtures("fast")
def test_a_lost_stream_resumes_behind_the_last_whole_message(
    service: SmallService, reads: Reads
) -> None:
    service.connections = [
        [SNAPSHOT, event_frame(3), event_frame(4)[:-10]],
        [],
        [b": keepalive\n\n", event_frame(4)],
        [event_frame(5)],
    ]
    messages = reads(service).take(4)
    assert [getattr(message, "cursor", 0) for message in messages] == [0, 3, 4, 5]
    assert service.resumed_at == [None, *[f"{LOG_ID}-{n}" for n in (3, 3, 4)]]


@pytest.mark.usefixtures("fast")
def test_bytes_cut_anywhere_give_the_same_messages(service: SmallService, reads: Reads) -> None:
    whole = SNAPSHOT + event_frame(3)
    service.connections = [[whole[place : place + 1] for place in range(len(whole))]]
    messages = reads(service).take(2)
    assert messages[1] == EventMessage(make_event(3), 3, f"{LOG_ID}-3")


@pytest.mark.usefixtures("fast")
@pytest.mark.parametrize(
    "refusal",
    [
        JSONResponse({"error": "not_ready"}, 503, {"retry-after": "0"}),
        JSONResponse({"error": "slow_down"}, 429),
        PlainTextResponse("bad gateway", 502),
    ],
    ids=["not ready", "too many requests", "a proxy"],
)
def test_a_service_that_is_away_for_a_while_is_tried_again(
    service: SmallService, reads: Reads, refusal: Response
) -> None:
    service.connections = [[event_frame(1)], refusal, refusal, [event_frame(2)]]
    assert [getattr(message, "cursor", 0) for message in reads(service).take(2)] == [1, 2]


@pytest.mark.usefixtures("fast")
def test_a_refusal_that_will_not_change_ends_the_stream(
    service: SmallService, reads: Reads
) -> None:
    service.connections = [[event_frame(1)], JSONResponse({"error": "token_wrong"}, 401)]
    with pytest.raises(ServiceError) as caught:
        reads(service).take(2)
    assert caught.value.error == "token_wrong"


def test_a_stream_without_reconnecting_ends_with_its_connection(
    service: SmallService, reads: Reads
) -> None:
    service.connections = [[event_frame(1), event_frame(2)]]
    assert len(reads(service).call("stream", reconnect=False)) == 2


def test_a_stream_goes_on_from_an_id_of_earlier(service: SmallService, reads: Reads) -> None:
    service.connections = [[event_frame(8)]]
    reads(service).take(1, last_event_id=f"{LOG_ID}-7")
    assert service.resumed_at == [f"{LOG_ID}-7"]


@pytest.mark.parametrize("data", [b"not json", b"[]", b'{"kind": "x"}'])
def test_a_message_that_cannot_be_read_is_an_error(
    service: SmallService, reads: Reads, data: bytes
) -> None:
    service.connections = [[b"event: event\ndata: " + data + b"\n\n"]]
    with pytest.raises(ServiceError, match="cannot be read"):
        reads(service).take(1)


def test_waits_double_up_to_a_bound_and_begin_anew_after_a_message() -> None:
    stream = stream_module.StreamSession(None)
    stream._ever_open = True
    waits = [stream.wait_s(None) or 0.0 for _ in range(12)]
    assert 0.5 <= waits[0] <= 1.0
    assert 4.0 <= waits[3] <= 8.0
    assert 15.0 <= waits[-1] <= 30.0
    stream.feed(event_frame(1))
    assert (stream.wait_s(None) or 0.0) <= 1.0


def test_the_pause_that_the_service_asks_for_is_kept() -> None:
    stream = stream_module.StreamSession(None)
    stream._ever_open = True
    assert stream.wait_s(ServiceError(503, "not_ready", "", "", retry_after_s=7.0)) == 7.0
    stream.feed(b"retry: 100\n\n")
    assert (stream.wait_s(None) or 0.0) <= 0.2


@pytest.fixture
def elsewhere() -> Iterator[BrokenServer]:
    """Another address, whose server misbehaves as a test wants it."""
    with BrokenServer() as server:
        yield server


@pytest.mark.parametrize("form", [list, ",".join])
def test_another_address_is_asked_where_one_does_not_answer(
    service: SmallService, reads: Reads, elsewhere: BrokenServer, form: Callable[[Any], Any]
) -> None:
    elsewhere.stop()
    url = form([elsewhere.url, service.url])
    assert reads(service, url).call("health")["log_id"] == LOG_ID
    assert len(reads(service, url).call("query", limit=10)) == 25


@pytest.mark.parametrize("status", ["502", "503", "504"])
def test_another_address_is_asked_where_one_has_no_log(
    service: SmallService, reads: Reads, elsewhere: BrokenServer, status: str
) -> None:
    elsewhere.health_mode = status
    urls = [elsewhere.url, service.url]
    assert reads(service, urls).call("health")["log_id"] == LOG_ID
    with pytest.raises(ServiceError) as caught:
        reads(service, [elsewhere.url]).call("health")
    assert caught.value.status == int(status)


def test_an_answer_that_is_no_outage_is_that_of_all(
    service: SmallService, reads: Reads, elsewhere: BrokenServer
) -> None:
    elsewhere.health_mode = "500"
    with pytest.raises(ServiceError) as caught:
        reads(service, [elsewhere.url, service.url]).call("health")
    assert caught.value.status == 500


def test_the_address_that_answers_is_kept_to(
    service: SmallService, elsewhere: BrokenServer
) -> None:
    elsewhere.health_mode = "503"
    with RealmClient([elsewhere.url, service.url]) as client:
        assert client.url == elsewhere.url
        for _ in range(3):
            client.health()
        assert client.url == service.url
    assert len(elsewhere.requests) == 1


def test_a_service_that_answers_at_none_of_its_addresses_is_named(
    service: SmallService, reads: Reads, elsewhere: BrokenServer
) -> None:
    elsewhere.stop()
    with pytest.raises(ServiceUnreachableError) as caught:
        reads(service, [elsewhere.url, "http://127.0.0.1:9"]).call("health")
    assert elsewhere.url in str(caught.value)
    assert "http://127.0.0.1:9" in str(caught.value)


def test_all_addresses_together_have_the_time_of_a_request(
    service: SmallService, reads: Reads, dripping: str
) -> None:
    began = time.monotonic()
    with pytest.raises(ServiceUnreachableError, match="no answer within"):
        reads(service, [dripping, dripping.replace("127.0.0.1", "localhost")], timeout_s=0.5).call(
            "health"
        )
    assert time.monotonic() - began < SOON_S


@pytest.mark.usefixtures("fast")
def test_a_stream_goes_on_at_another_address(
    service: SmallService, reads: Reads, elsewhere: BrokenServer
) -> None:
    elsewhere.stop()
    service.connections = [
        [SNAPSHOT, event_frame(3)],
        JSONResponse({"error": "log_unavailable"}, 503),
        [event_frame(4)],
    ]
    messages = reads(service, [elsewhere.url, service.url]).take(3)
    assert [getattr(message, "cursor", 0) for message in messages] == [0, 3, 4]
    assert service.resumed_at == [None, *[f"{LOG_ID}-3"] * 2]
