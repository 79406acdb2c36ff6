"""One attack a test: what is tried, and that it fails."""

import gzip
import re
import socket
import time
from pathlib import Path

import httpx
import msgspec
import pytest
import zstandard

from realm_telemetry.errors import ConfigError
from realm_telemetry.log.sqlite.writer import LogWriter
from realm_telemetry.service import RealmServer, ServiceSettings
from realm_telemetry.service import protocol as protocol_module
from realm_telemetry.service.access import COOKIE, Throttle, host_name
from realm_telemetry.service.app import documented_endpoints
from realm_telemetry.wire import CONTENT_TYPE, BatchProducer, encode_batch
from tests.waiting import SOON_S, wait_until

from .conftest import PRODUCER, asking, free_ports, make_event, post_notes, serving

EVENTS = "/api/v1/events"
NOTE = {"events": [{"kind": "note"}]}


def raw(server: RealmServer, request: bytes) -> bytes:
    """Send bytes as they are; gives all that comes back until the service closes."""
    with socket.create_connection(("127.0.0.1", server.ports[0]), timeout=10) as connection:
        connection.sendall(request)
        answer = b""
        while data := connection.recv(65536):
            answer += data
    return answer


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil", ""])
@pytest.mark.parametrize("path", ["/api/battle_log", "/health", "/", "/api/events/stream"])
def test_dns_rebinding_a_page_that_resolves_to_loopback_keeps_its_own_host_name(
    client: httpx.Client, host: str, path: str
) -> None:
    assert client.get(path, headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:1", "[::1]:8866", "LOCALHOST:9", "127.0.0.1"]
)
def test_a_tunnel_may_change_the_port_of_a_loopback_name(client: httpx.Client, host: str) -> None:
    assert client.get("/health", headers={"host": host}).status_code == 200


def test_two_host_headers_cannot_smuggle_one_past_the_check(server: RealmServer) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    request = request[:-2] + b"Connection: close\r\n\r\n"
    assert b" 403 " in raw(server, request).split(b"\r\n")[0]


FOREIGN = (
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://localhost:1"},
    {"origin": "http://localhost:1", "sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "Same-Origin"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
)
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
LINKED = (
    *("/", "/runs", "/runs/1", "/battle-log", "/alerts", "/compare", "/service-health", "/login"),
)
"""Every page: a message, a wiki or a chat may have its address."""


def all_requests() -> list[tuple[str, str]]:
    """Method and path of every route, with a HEAD for each GET."""
    routes = [(one.method, re.sub(r"{\w+}", "1", one.path)) for one in documented_endpoints()]
    return [*routes, *(("HEAD", path) for method, path in routes if method == "GET")]


def test_csrf_pages_of_other_origins_can_ask_for_nothing(client: httpx.Client) -> None:
    for method, path in all_requests():
        for headers in FOREIGN:
            answer = client.request(method, path, headers=headers)
            assert answer.status_code == 403, (method, path, headers)


def test_csrf_a_link_leads_to_a_page_and_to_nothing_else(client: httpx.Client) -> None:
    for method, path in all_requests():
        answer = client.request(method, path, headers=LINK)
        linked = method != "POST" and path in LINKED
        assert (answer.status_code != 403) is linked, (method, path)


def test_csrf_two_headers_cannot_hide_where_a_request_comes_from(server: RealmServer) -> None:
    for pair in (("none", "cross-site"), ("cross-site", "same-origin")):
        lines = "".join(f"Sec-Fetch-Site: {one}\r\n" for one in pair)
        request = f"GET /api/events HTTP/1.1\r\nHost: localhost\r\n{lines}Connection: close\r\n\r\n"
        assert b" 403 " in raw(server, request.encode()).split(b"\r\n")[0]


def test_our_own_pages_and_programs_may_ask_at_every_address(server: RealmServer) -> None:
    for port in server.ports:
        url = f"http://127.0.0.1:{port}"
        ours = {"origin": url, "sec-fetch-site": "same-origin"}
        for headers in ({}, ours, {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}):
            for path in ("/api/battle_log", "/api/state", "/metrics", "/api/workers", "/health"):
                assert httpx.get(url + path, headers=headers).status_code == 200


def test_csrf_a_form_cannot_post_events_even_without_an_origin(client: httpx.Client) -> None:
    for media_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = client.post(EVENTS, content=b"{}", headers={"content-type": media_type})
        assert response.status_code == 415


def test_our_own_pages_may_write(server: RealmServer, client: httpx.Client) -> None:
    headers = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert client.post(EVENTS, json=NOTE, headers=headers).status_code == 200


def test_no_answer_lets_another_origin_read_it(client: httpx.Client) -> None:
    for method in ("GET", "OPTIONS"):
        response = client.request(method, "/api/events", headers={"origin": "http://evil.example"})
        assert response.status_code == 403
        assert not [name for name in response.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_bomb_is_refused_while_it_inflates(client: httpx.Client, encoding: str) -> None:
    zeros = bytes(256 * 1024 * 1024)
    pack = {"gzip": lambda data: gzip.compress(data, 6), "zstd": zstandard.compress}[encoding]
    headers = {"content-type": CONTENT_TYPE, "content-encoding": encoding}
    bomb = pack(zeros)
    del zeros
    started = time.monotonic()
    response = client.post(EVENTS, content=bomb, headers=headers)
    assert (response.status_code, response.json()["error"]) == (413, "body_too_large")
    assert time.monotonic() - started < SOON_S


def test_a_zstd_frame_cannot_ask_for_a_huge_window(client: httpx.Client) -> None:
    params = zstandard.ZstdCompressionParameters(window_log=27)
    body = zstandard.ZstdCompressor(compression_params=params).compress(b"x" * (1 << 24))
    frame = zstandard.get_frame_parameters(body)
    headers = {"content-type": CONTENT_TYPE, "content-encoding": "zstd"}
    response = client.post(EVENTS, content=body, headers=headers)
    assert frame.window_size > 8 * 1024 * 1024
    assert response.status_code == 400


def test_a_million_empty_events_are_counted_before_they_are_built(client: httpx.Client) -> None:
    body = b"\x0a\x00" * 1_000_000
    response = client.post(EVENTS, content=body, headers={"content-type": CONTENT_TYPE})
    assert response.json()["error"] == "too_many_events"


def test_deeply_nested_json_does_not_end_the_service(client: httpx.Client) -> None:
    body = b'{"events":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    response = client.post(EVENTS, content=body, headers={"content-type": "application/json"})
    assert (response.status_code, client.get("/health").status_code) == (400, 200)


def test_a_content_length_over_the_limit_is_refused_unread(server: RealmServer) -> None:
    head = b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    answer = raw(server, head + b"Content-Length: 99999999999\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_without_length_is_limited_as_well(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, max_body_bytes=1000)) as server, asking(server) as client:
        headers = {"content-type": "application/json"}
        response = client.post(EVENTS, content=iter([b"x" * 600] * 2), headers=headers)
    assert response.status_code == 413


@pytest.mark.parametrize("text", ["a\r\nX-Evil: a=b", "%0d%0aX-Evil: 1", "\u2028", "x\x00y"])
def test_header_injection_no_parameter_reaches_a_header_raw(
    client: httpx.Client, text: str
) -> None:
    post_notes(client, 1, 3, hero_id=text)
    response = client.get("/api/battle_log", params={"hero": text, "limit": 1})
    assert response.status_code == 200
    assert "set-cookie" not in response.headers
    assert "x-evil" not in response.headers
    assert re.fullmatch(r'<\?[\w.%=&+~*-]+>; rel="next"', response.headers["link"])


def test_frame_injection_a_message_cannot_forge_a_server_sent_event(client: httpx.Client) -> None:
    forged = "x\n\nevent: event\ndata: {}\n\n\r\r\u2028id: 1"
    with client.stream("GET", "/api/events/stream") as response:
        lines = response.iter_lines()
        while not next(lines).startswith("data: "):
            pass
        with httpx.Client(base_url=client.base_url) as other:
            post_notes(
                other, 1, 1, details={"text": forged, "\n\nevent: x": 1}, kind="note\n\nid: 9"
            )
        got = [next(lines) for _ in range(4)]
    assert [line.partition(":")[0] for line in got] == ["", "id", "event", "data"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/battle_log/..%2f..%2fetc%2fpasswd",
        "/api/battle_log/%2e%2e",
        "/api/battle_log/1;DROP TABLE battle_log",
        "/api/battle_log/' OR 1=1 --",
        "/api/battle_log/99999999999999999999999999",
        "/api/battle_log/\u0661",
        "/api/battle_log/-1",
        "/api/state/..%2f..%2fhealth",
        "/api/state/__class__",
        "/../../etc/passwd",
    ],
)
def test_path_traversal_an_id_is_an_id_and_nothing_else(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code in (400, 404)
    assert response.json()["error"] in ("invalid_event_id", "not_found", "unknown_section")


def test_sql_injection_a_filter_is_only_a_value(client: httpx.Client) -> None:
    post_notes(client, 1, 3)
    for value in ("x' OR '1'='1", 'x" OR ""="', "*", "NEAR(", "a:b:c"):
        for parameter in ("hero", "kind", "run", "q", "producer"):
            response = client.get("/api/battle_log", params={parameter: value})
            assert response.status_code in (200, 400)
            assert response.status_code == 400 or response.json() == []
    assert len(client.get("/api/battle_log").json()) == 3


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_csv_injection_no_cell_begins_like_a_formula(client: httpx.Client, start: str) -> None:
    post_notes(client, 1, 1, message=start + 'HYPERLINK("http://evil.example")')
    text = client.get("/api/battle_log/export?format=csv").text
    assert f"'{start}HYPERLINK" in text


def test_script_injection_the_page_escapes_and_runs_no_script(client: httpx.Client) -> None:
    post_notes(client, 1, 1, message="<script>alert(1)</script>", kind='"><img src=x>')
    response = client.get("/api", headers={"accept": "text/html"})
    assert "<script" not in response.text
    assert "<img" not in response.text
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert "script-src" not in response.headers["content-security-policy"]


def test_terminal_injection_the_text_page_has_no_control_characters(client: httpx.Client) -> None:
    post_notes(client, 1, 1, message="\x1b[2J\x1b]0;owned\x07")
    assert "\x1b" not in client.get("/").text


@pytest.mark.parametrize("path", ["/", "/api/events", "/nowhere", "/health"])
def test_every_answer_has_the_security_headers(client: httpx.Client, path: str) -> None:
    headers = client.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_an_open_address_without_a_token_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match="REALM_TOKEN") as caught:
        RealmServer(free_ports(tmp_path, host=host))
    assert "openssl rand" in caught.value.fix


@pytest.mark.parametrize("token", ["", "  ", "x" * 7, "  1234567 ", "pässword", "pass\nword"])
def test_a_short_token_or_one_that_no_header_carries_is_refused(tmp_path: Path, token: str) -> None:
    with pytest.raises(ConfigError, match="REALM_TOKEN") as caught:
        RealmServer(free_ports(tmp_path, token=token))
    assert "openssl rand" in caught.value.fix


@pytest.mark.parametrize("token", ["x" * 8, "x" * 9])
def test_a_token_of_eight_characters_is_long_enough(tmp_path: Path, token: str) -> None:
    free_ports(tmp_path, token=token).check_access()


PROTECTED = [
    "/",
    "/api/events",
    "/api/events/stream",
    "/api/stream",
    "/api/workers",
    "/api/battle_log",
    "/api/state",
    "/metrics",
]


def test_without_the_token_nothing_is_shown(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, token="s3cret-token")) as server, asking(server) as client:
        assert [client.get(path).status_code for path in PROTECTED] == [401] * len(PROTECTED)
        assert client.post(EVENTS, json=NOTE).status_code == 401
        assert client.get("/health").status_code == 200
        # A path that only looks like an open one is not open.
        assert client.get("//health").status_code == 401
        assert client.get("/health/").status_code == 401


def test_the_token_opens_every_route(tmp_path: Path) -> None:
    bearer = {"authorization": "Bearer s3cret-token"}
    with (
        serving(free_ports(tmp_path, token="s3cret-token")) as server,
        asking(server, headers=bearer) as client,
    ):
        assert client.get("/api/events").status_code == 200
        assert client.post(EVENTS, json=NOTE).status_code == 200


def test_a_browser_logs_in_and_gets_a_cookie_that_scripts_cannot_read(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, token="s3cret-token")) as server, asking(server) as client:
        sent = client.get("/api/state?x=1", headers={"accept": "text/html"})
        assert (sent.status_code, sent.headers["location"]) == (
            303,
            "/login?next=/api/state%3Fx%3D1",
        )
        form = client.get(sent.headers["location"])
        assert 'value="/api/state?x=1"' in form.text
        wrong = client.post("/login", data={"token": "guess"})
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers
        right = client.post("/login", data={"token": "s3cret-token", "next": "/api/events"})
        assert (right.status_code, right.headers["location"]) == (303, "/api/events")
        cookie = right.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "s3cret-token" not in cookie
        assert client.get("/api/events").status_code == 200


@pytest.mark.parametrize(
    "wanted",
    ["//evil.example", "http://evil.example", "/\\evil.example", "/x\r\nSet-Cookie: a=b", ""],
)
def test_open_redirect_the_login_leads_nowhere_else(tmp_path: Path, wanted: str) -> None:
    with serving(free_ports(tmp_path, token="s3cret-token")) as server, asking(server) as client:
        response = client.post("/login", data={"token": "s3cret-token", "next": wanted})
    assert response.headers["location"] == "/"


@pytest.mark.parametrize(
    "cookie", ["", "9999999999", "9999999999.0", "1.x", "\u0661.x", "99999999999999999.aa", "a.b.c"]
)
def test_a_forged_cookie_is_worth_nothing(tmp_path: Path, cookie: str) -> None:
    with serving(free_ports(tmp_path, token="s3cret-token")) as server, asking(server) as client:
        headers = {b"cookie": f"{COOKIE}={cookie}".encode()}
        assert client.get("/api/events", headers=headers).status_code == 401


def test_guessing_is_limited_for_form_and_header_together(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, token="s3cret-token", login_attempts=3)
    with serving(settings) as server, asking(server) as client:
        client.post("/login", data={"token": "a"})
        for guess in ("b", "c"):
            client.get("/api/events", headers={"authorization": f"Bearer {guess}"})
        limited = client.post("/login", data={"token": "d"})
        assert limited.status_code == 429
        assert 0 < int(limited.headers["retry-after"]) <= 61
        assert client.get("/api", headers={"authorization": "Bearer e"}).status_code == 429
        # All users of a host share an address: those who have the token are not kept out.
        right = {"authorization": "Bearer s3cret-token"}
        assert client.get("/api/events", headers=right).status_code == 200
        assert client.post("/login", data={"token": "s3cret-token"}).status_code == 303


def test_the_throttle_forgets_after_its_window_and_remembers_few_addresses() -> None:
    now = 0.0
    throttle = Throttle(2, 60.0, max_addresses=2, clock=lambda: now)
    throttle.failed("a")
    throttle.failed("a")
    assert throttle.wait_s("a") == 61
    now = 61.0
    assert throttle.wait_s("a") == 0
    for address in ("b", "c", "d"):
        throttle.failed(address)
    assert len(throttle._failures) == 2


def test_slow_headers_are_cut_off(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, header_timeout_s=0.3)) as server:
        started = time.monotonic()
        try:
            answer = raw(server, b"GET /health HTTP/1.1\r\nHost: local")
        except ConnectionResetError:
            answer = b""
        assert answer == b""
        assert time.monotonic() - started < SOON_S


def test_endless_headers_are_cut_off(server: RealmServer) -> None:
    request = b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: " + b"y" * 1000 + b"\r\n"
    try:
        answer = raw(server, request + (b"X-More: " + b"z" * 1000 + b"\r\n") * 100 + b"\r\n")
    except (ConnectionResetError, BrokenPipeError):
        answer = b""
    assert b"200" not in answer[:20]


def test_an_answer_that_nobody_takes_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol_module, "WRITE_TIMEOUT_S", 0.3)
    with serving(free_ports(tmp_path)) as server, asking(server) as client, socket.socket() as slow:
        post_notes(client, 1, 1000, details={"text": "x" * 5000})
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(("127.0.0.1", server.ports[0]))
        slow.sendall(b"GET /api/battle_log/export HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(1.5)
        slow.settimeout(5)
        assert bytes_until_cut_off(slow) < 4_000_000


def bytes_until_cut_off(connection: socket.socket) -> int:
    """How much still comes before the other side is gone."""
    size = 0
    try:
        while data := connection.recv(1 << 20):
            size += len(data)
    except ConnectionResetError:
        pass
    return size


def test_the_bytes_of_all_bodies_in_memory_are_bounded(tmp_path: Path) -> None:
    head = b"POST /api/v1/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with (
        serving(free_ports(tmp_path, ingest_queue_bytes=1000)) as server,
        asking(server) as client,
        socket.create_connection(("127.0.0.1", server.ports[0])) as slow,
    ):
        slow.sendall(head + b"Content-Length: 900\r\n\r\n" + b" " * 800)
        wait_until(lambda: "realm_ingest_bytes 800" in client.get("/metrics").text)
        large = {"events": [{"kind": "note", "message": "x" * 500}]}
        assert client.post(EVENTS, json=large).status_code == 429
        assert client.post(EVENTS, json=NOTE).status_code == 200
        slow.close()
        wait_until(lambda: "realm_ingest_bytes 0" in client.get("/metrics").text)
        assert client.post(EVENTS, json=large).status_code == 200


def test_an_endless_query_is_refused(client: httpx.Client) -> None:
    response = client.get("/api/battle_log", params={"q": "x" * 20_000})
    assert (response.status_code, response.json()["error"]) == (400, "invalid_parameter")


def test_webhook_addresses_are_secrets_and_never_shown(client: httpx.Client) -> None:
    post_notes(client, 1, 1, webhooks=["https://hooks.example/secret"])
    for path in ("/api/events", "/api/battle_log", "/api/battle_log/export", "/api/battle_log/1"):
        assert "hooks.example" not in client.get(path).text


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost:8866", "localhost"),
        ("[::1]:8866", "::1"),
        ("A.example.", "a.example"),
        ("", ""),
        ("127.0.0.1:8866:evil.example", ""),
        ("localhost:@evil.example", ""),
        ("[::1].evil.example", ""),
    ],
)
def test_the_name_in_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


def test_on_an_open_address_other_machines_may_use_its_number(tmp_path: Path) -> None:
    settings = free_ports(tmp_path, host="0.0.0.0", token="s3cret-token")
    with serving(settings) as server, httpx.Client() as client:
        url = f"http://127.0.0.1:{server.ports[0]}/health"
        assert client.get(url, headers={"host": "10.1.2.3:8866"}).status_code == 200
        assert client.get(url, headers={"host": socket.gethostname()}).status_code == 200
        assert client.get(url, headers={"host": "evil.example"}).status_code == 403


def test_an_allowed_host_name_is_answered(tmp_path: Path) -> None:
    settings: ServiceSettings = free_ports(tmp_path, allowed_hosts=("Lab.example",))
    with serving(settings) as server, asking(server) as client:
        assert client.get("/health", headers={"host": "lab.example:443"}).status_code == 200
        assert client.get("/health", headers={"host": "evil.example"}).status_code == 403


@pytest.mark.parametrize("receipt", [{"emitted": 2**63}, {"dropped": 2**64 - 1}])
def test_a_receipt_beyond_what_the_log_can_hold_does_not_end_the_writer(
    client: httpx.Client, receipt: dict[str, int]
) -> None:
    """The wire has 64 bits without a sign, SQLite has one."""
    stated = msgspec.structs.replace(BatchProducer(PRODUCER, ended=True), **receipt)
    headers = {"content-type": CONTENT_TYPE}
    for number in (1, 2):
        body = encode_batch([make_event(number)], [stated])
        assert client.post(EVENTS, content=body, headers=headers).status_code == 200


def test_a_batch_that_nobody_thought_of_does_not_end_the_writer(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(LogWriter, "append", lambda *_, **__: 1 // 0)
        answer = client.post(EVENTS, json=NOTE)
    assert (answer.status_code, answer.json()["error"]) == (500, "internal_error")
    assert client.post(EVENTS, json=NOTE).status_code == 200
