"""By apprise: e-mail to a real SMTP server, with delivery, ids and retries of ours."""

import asyncio
import email
import email.policy
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session
from realm_exporter_webhook.notify import problem_of

from realm_telemetry.errors import ConfigError, ExportError
from realm_telemetry.log.engine import open_log

from .conftest import Maker, Receiver, event, options

pytestmark = [
    # apprise imports all its services, of which one asks for a module that Python is to drop.
    pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:apprise"),
]


class Mailbox:
    """A real SMTP server; it answers first what stands in `answers`."""

    def __init__(self) -> None:
        self.mails: list[Any] = []
        self.answers: list[str] = []
        self._loop = asyncio.new_event_loop()
        self._server = self._loop.run_until_complete(
            self._loop.create_server(
                lambda: SMTP(self, hostname="lab", loop=self._loop), "127.0.0.1", 0
            )
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.answers:
            return self.answers.pop(0)
        content = envelope.content
        assert isinstance(content, bytes)
        self.mails.append(email.message_from_bytes(content, policy=email.policy.default))
        return "250 taken"

    def url(self, password: str = "") -> str:
        user = f"bot:{password}@" if password else ""
        return (
            f"apprise:mailto://{user}127.0.0.1:{self.port}"
            "?from=realm@lab.example&to=dio@lab.example&mode=insecure"
        )

    def close(self) -> None:
        """End it; a second time does nothing."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._server.close()
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    running = Mailbox()
    yield running
    running.close()


class Clock:
    """The wall's, and further on by what a test adds."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def time(self) -> float:
        return time.time() + self.ahead_s

    def time_ns(self) -> int:
        return time.time_ns() + int(self.ahead_s * 1e9)

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s


def body_of(mail: Any) -> str:
    return str(mail.get_body(("html", "plain")).get_content())


def test_an_alert_is_an_e_mail_whose_text_is_no_markup(make: Maker, mailbox: Mailbox) -> None:
    failed = event(
        1, "run_ended", severity="error", run_id="r7", message="<b>Run</b> failed",
        details={"status": "failed", "reason": "KeyError"},
    )  # fmt: skip
    exporter = make(options(mailbox.url(), alerts={}))
    exporter.export_events([failed])
    exporter.shutdown()  # what it gathers of a run's end goes then
    first, *_ = mailbox.mails
    assert first["to"] == "dio@lab.example"
    assert first["subject"] == "❌ all: run_ended · r7"
    assert [mail["subject"] for mail in mailbox.mails[1:]] == ["❌ Run failed: KeyError · r7"]
    parts = {part.get_content_type(): part.get_content() for part in first.walk()}
    assert "<b>Run" in parts["text/plain"], parts
    assert "<b>Run" not in parts.get("text/html", "")
    assert "why: failed: KeyError" in body_of(first)
    assert "/runs/r7" in body_of(first)


def test_a_server_that_refuses_is_asked_again_and_the_password_is_not_shown(
    tmp_path: Path, make: Maker, mailbox: Mailbox
) -> None:
    clock = Clock()
    mailbox.answers = ["451 SECRETPASS greylisted, try later"]
    exporter = make(options(mailbox.url(), {"kind": "job_failed"}), clock=clock)
    with pytest.raises(ExportError) as caught:
        exporter.export_events([event(1)])
    assert mailbox.mails == []
    clock.ahead_s = 30.0
    exporter.export_events([event(1)])
    assert len(mailbox.mails) == 1
    assert "bot" not in str(caught.value)
    outbox = open_log(tmp_path / "vault" / "jobs.db", home=tmp_path).outbox("webhooks")
    (message,) = outbox.messages(10)
    outbox.close()
    assert (message.state, message.attempts) == ("delivered", 2)


def test_an_address_that_apprise_does_not_know_is_a_dead_letter(
    tmp_path: Path, make: Maker
) -> None:
    make(options("apprise:nonsense://SECRET")).export_events([event(1)])
    outbox = open_log(tmp_path / "vault" / "jobs.db", home=tmp_path).outbox("webhooks")
    (message,) = outbox.messages(10)
    outbox.close()
    assert (message.state, message.problem) == ("dead", "apprise knows no such address")
    exporter = make(options("apprise:nonsense://SECRET"))
    checks = list(type(exporter).check(exporter.context))
    assert any("target lab (apprise:nonsense://…)" in text for _, text, _ in checks)
    assert "SECRET" not in repr(checks)


def test_a_server_that_is_not_there_shows_no_password(make: Maker, mailbox: Mailbox) -> None:
    mailbox.close()
    exporter = make(options(mailbox.url("SECRETPASS")))
    with pytest.raises(ExportError) as caught:
        exporter.export_events([event(1)])
    assert "SECRETPASS" not in str(caught.value)
    assert "onnection" in str(caught.value)


def test_an_event_cannot_name_an_address_of_apprise(
    tmp_path: Path, make: Maker, mailbox: Mailbox, receiver: Receiver
) -> None:
    """Else every program that may emit could send e-mail."""
    make({}).export_events([event(1, webhooks=(mailbox.url(),))])
    outbox = open_log(tmp_path / "vault" / "jobs.db", home=tmp_path).outbox("webhooks")
    (message,) = outbox.messages(10)
    outbox.close()
    assert message.state == "dead"
    assert "no http://" in message.problem
    assert mailbox.mails == []


@pytest.mark.parametrize(
    ("target", "setting"),
    [
        ({"url": "apprise:"}, "lab.url"),
        ({"url": "apprise:mailto"}, "lab.url"),
        ({"url": "apprise:mailto://x y"}, "lab.url"),
        ({"url": "apprise:mailto://x", "template": "slack"}, "lab.template"),
        ({"url": "https://x.example", "template": "apprise"}, "lab.url"),
    ],
)
def test_a_mistake_names_the_setting(target: dict[str, Any], setting: str) -> None:
    from realm_exporter_webhook.settings import read_config

    with pytest.raises(ConfigError) as caught:
        read_config({"targets": {"lab": target}})
    assert caught.value.setting.endswith(setting)


def test_a_known_address_has_no_problem(mailbox: Mailbox) -> None:
    assert problem_of(mailbox.url()) == ""
