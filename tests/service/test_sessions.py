"""Log-in by a link: one browser, once, for ten minutes."""

import re
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from realm_telemetry.service.access import Login, Throttle
from realm_telemetry.service.sessions import TICKET_AGE_S, Sessions, login_url

from .conftest import asking, free_ports, serving

TOKEN = "s3cret-token"


def at(now_s: float, token: str = TOKEN) -> Sessions:
    """Sessions whose clock stands."""
    return Sessions(token, clock=lambda: now_s)


def test_a_ticket_is_good_once() -> None:
    service = at(1_000)
    ticket = at(1_000).ticket()
    assert service.take(ticket)
    assert not service.take(ticket)
    assert service.take(at(1_000).ticket())


@pytest.mark.parametrize(("late_s", "good"), [(-1, True), (0, False), (1, False)])
def test_a_ticket_ends_with_its_time(late_s: int, good: bool) -> None:
    ticket = at(1_000).ticket()
    assert at(1_000 + TICKET_AGE_S + late_s).take(ticket) is good


def test_a_ticket_of_another_token_or_purpose_is_worth_nothing() -> None:
    service = at(1_000)
    assert not service.take(at(1_000, "another-token").ticket())
    assert not service.take(service.issue())
    assert not service.is_valid(service.ticket())


@pytest.mark.parametrize("change", ["x", "é", ""])
def test_a_changed_ticket_is_worth_nothing(change: str) -> None:
    service = at(1_000)
    ticket = service.ticket()
    for place in (0, ticket.index("-") + 1, ticket.index(".") + 1):
        assert not service.take(ticket[:place] + change + ticket[place + 1 :])
    assert service.take(ticket)


def test_a_link_logs_a_browser_in_and_leads_on(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, token=TOKEN)) as server, asking(server) as browser:
        link = login_url(server.url, TOKEN)
        page = browser.get(f"{link}&next=/battle-log?range=all")
        assert page.status_code == 200
        assert re.findall(r'content="0;url=(.*?)"', page.text) == ["/battle-log?range=all"]
        cookie = page.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert browser.get("/api/events").status_code == 200
        with asking(server) as another:
            again = another.get(link)
            assert again.status_code == 401
            assert "realm login" in again.text
            assert another.get("/api/events").status_code == 401


def test_a_link_leads_to_no_other_site(tmp_path: Path) -> None:
    with serving(free_ports(tmp_path, token=TOKEN)) as server, asking(server) as browser:
        page = browser.get(f"{login_url(server.url, TOKEN)}&next=//evil.example")
        assert 'content="0;url=/"' in page.text


TLS = "x-forwarded-proto"


@pytest.mark.parametrize(
    ("peer", "said", "secure"),
    [
        ("127.0.0.1", "https", True),
        ("::1", "https, http", True),
        ("10.0.0.5", "https", True),
        ("::ffff:10.0.0.5", "HTTPS", True),
        ("10.0.0.6", "https", False),
        ("10.0.0.5", "http", False),
        ("10.0.0.5", "", False),
        ("unknown", "https", False),
    ],
)
@pytest.mark.anyio
async def test_behind_a_proxy_with_tls_the_cookie_is_sent_by_tls_alone(
    peer: str, said: str, secure: bool
) -> None:
    """Only of a proxy that is trusted: anybody else can send the header as well."""
    login = Login(Sessions(TOKEN), Throttle(9, 60.0), 5.0, ("10.0.0.5/32",))
    app = Starlette(routes=[Route("/login", login.submit, methods=["POST"])])
    transport = httpx.ASGITransport(app, client=(peer, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://lab") as client:
        answer = await client.post("/login", data={"token": TOKEN}, headers={TLS: said})
    assert ("; secure" in answer.headers["set-cookie"].lower()) is secure
