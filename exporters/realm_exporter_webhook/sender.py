"""Send messages to webhooks: signed, to a checked address, with retry until they are too old."""

import base64
import binascii
import hashlib
import hmac
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from realm_exporter_webhook.addresses import Checked, Guard, RefusedAddressError, UnresolvedError
from realm_exporter_webhook.rules import Config, Target
from realm_telemetry.delivery.http import (
    BUSY,
    SERVER_ERRORS,
    USER_AGENT,
    Answers,
    Deadline,
    Reply,
    UnreachableError,
    asked_wait,
)
from realm_telemetry.delivery.http_client import HttpClient, InvalidAddressError, tls_context
from realm_telemetry.delivery.retry import pause_s
from realm_telemetry.errors import LogError
from realm_telemetry.kinds.line import printable
from realm_telemetry.log.outbox import Message, Outbox, redacted

MAX_REDIRECTS: Final = 3
_KEPT_METHOD: Final = (307, 308)
_MOVED: Final = (301, 302, 303)
_ANSWERS: Final = Answers(BUSY | SERVER_ERRORS)
_MOVED_HINT: Final = "It has moved: set its new address, a POST is not sent on by this status"
_MAX_ANSWER_BYTES: Final = 16 * 1024
_MAX_SHOWN: Final = 200
_SECRET_PREFIX: Final = "whsec_"

SENDERS: Final = 4
"""Attempts at once; a receiver that hangs holds one of them."""

FIRST_RETRY_S: Final = 2.0
LONGEST_RETRY_S: Final = 900.0
_LEASE_MARGIN_S: Final = 30.0
_S: Final = 1_000_000_000


class Outcome(NamedTuple):
    """The outcome of one attempt.

    status: of the answer, None without one. problem: empty if it was taken.
    retryable: whether the same may be taken later. wait_s: as the receiver asked.
    whole_host: whether it asked that for all of its host.
    """

    status: int | None
    problem: str = ""
    retryable: bool = False
    wait_s: float | None = None
    whole_host: bool = False
    took_s: float = 0.0

    @property
    def delivered(self) -> bool:
        """Whether the receiver has taken it."""
        return not self.problem


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """Sign a message as Standard Webhooks does (standardwebhooks.com): `v1,<base64>`.

    HMAC-SHA256 over `id.timestamp.body`. secret: text, or `whsec_` and base64.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    digest = hmac.new(_key(secret), signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _key(secret: str) -> bytes:
    if secret.startswith(_SECRET_PREFIX):
        try:
            return base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
        except binascii.Error:
            return secret.encode()
    return secret.encode()


class Poster:
    """Posts messages; safe to use from several threads.

    timeout_s: for a whole attempt, redirects included.
    """

    def __init__(self, guard: Guard, *, timeout_s: float, clock: Any = time) -> None:
        self._guard = guard
        self._timeout_s = timeout_s
        self._clock = clock
        self._context: ssl.SSLContext | None = None

    def post(self, url: str, body: bytes, message_id: str, secret: str = "") -> Outcome:
        """Send one message, once."""
        started_s = time.monotonic()
        outcome = self._attempt(url, body, self._headers(body, message_id, secret))
        return outcome._replace(took_s=time.monotonic() - started_s)

    def _headers(self, body: bytes, message_id: str, secret: str) -> dict[str, str]:
        timestamp = int(self._clock.time())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Accept": "*/*",
            "Idempotency-Key": message_id,
            "webhook-id": message_id,
            "webhook-timestamp": str(timestamp),
        }
        if secret:
            headers["webhook-signature"] = signature(secret, message_id, timestamp, body)
        return headers

    def _attempt(self, url: str, body: bytes, headers: Mapping[str, str]) -> Outcome:
        try:
            with Deadline(self._timeout_s) as deadline:
                return self._follow(url, body, headers, deadline)
        except (RefusedAddressError, InvalidAddressError) as error:
            return Outcome(None, str(error))
        except UnresolvedError as error:
            return Outcome(None, str(error), retryable=True)
        except (UnreachableError, OSError) as error:
            return Outcome(None, f"{redacted(url)}: {printable(str(error))}", retryable=True)

    def _follow(
        self, url: str, body: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> Outcome:
        for _ in range(MAX_REDIRECTS + 1):
            reply = self._send(self._guard.check(url, deadline.left_s), body, headers, deadline)
            if reply.status not in _KEPT_METHOD:
                return self._judge(reply)
            url = _redirected(url, reply.headers.get("location", ""))
        return Outcome(None, f"over {MAX_REDIRECTS} redirects, the last to {redacted(url)}")

    def _send(
        self, checked: Checked, body: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> Reply:
        # No proxy: it would resolve the name again. No redirect: each is checked anew.
        client = HttpClient(
            timeout_s=self._timeout_s,
            max_answer_bytes=_MAX_ANSWER_BYTES,
            proxies=False,
            tls=self._tls(),
        )
        with closing(client):
            return client.request(
                "POST", checked.url, body, headers, addresses=checked.addresses, deadline=deadline
            )

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = tls_context()
        return self._context

    def _judge(self, reply: Reply) -> Outcome:
        status = reply.status
        if 200 <= status < 300:
            return Outcome(status)
        words = printable(reply.body[:_MAX_SHOWN].decode("utf-8", "replace").strip())
        asked = asked_wait(reply, self._clock.time())
        hint = _MOVED_HINT if status in _MOVED else ""
        error = _ANSWERS.error("", status, words, asked.wait_s, hint)
        return Outcome(status, str(error), error.retryable, asked.wait_s, asked.whole_host)


def _redirected(url: str, location: str) -> str:
    """The address of a redirect.

    Raises RefusedAddressError for one that leaves TLS.
    """
    if not location:
        raise RefusedAddressError(f"{redacted(url)} redirects to nowhere")
    target = urljoin(url, location)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise RefusedAddressError(f"{redacted(url)} redirects to {redacted(target)}, without TLS")
    return target


class Sender:
    """Sends the messages of one scope.

    timeout_s: for one attempt. give_up_after_s: a message that was not taken by then is dead.
    done: called after each attempt.
    """

    def __init__(
        self,
        outbox: Outbox,
        config: Config,
        poster: Poster,
        scope: str,
        *,
        timeout_s: float,
        give_up_after_s: float,
        clock: Any = time,
        jitter: Callable[[], float] = random.random,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        self._outbox = outbox
        self._config = config
        self._poster = poster
        self._scope = scope
        self._lease_ns = int((timeout_s + _LEASE_MARGIN_S) * _S)
        self._give_up_after_ns = int(give_up_after_s * _S)
        self._clock = clock
        self._jitter = jitter
        self._done = done
        self._flying: list[threading.Thread] = []

    def start_due(self) -> int:
        """Begin to try what is due, different targets at once; returns how many."""
        self._flying = [thread for thread in self._flying if thread.is_alive()]
        free = SENDERS - len(self._flying)
        if not free:
            return 0
        claimed = self._outbox.claim(self._scope, self._clock.time_ns(), self._lease_ns, free)
        for message in claimed:
            # A daemon: the end of the process waits for no receiver. The message is due again then.
            thread = threading.Thread(target=self._attempt, args=(message,), daemon=True)
            self._flying.append(thread)
            thread.start()
        return len(claimed)

    def send_due(self) -> None:
        """Try all that is due, and wait for the outcomes."""
        while self.start_due():
            for thread in self._flying:
                thread.join()

    def send_again(self, id: int) -> tuple[Message, Outcome] | None:
        """Try a message now, in any state; None if there is none of this number."""
        message = self._outbox.claim_one(id, self._clock.time_ns(), self._lease_ns)
        return None if message is None else (message, self._attempt(message))

    def wait_s(self) -> float | None:
        """Seconds until something is due; None if nothing waits."""
        due = self._outbox.next_due_ns(self._scope)
        return None if due is None else max((due - self._clock.time_ns()) / _S, 0.0)

    def _attempt(self, message: Message) -> Outcome:
        target = self._target(message)
        if target is None:
            outcome = Outcome(None, f"there is no target {message.target} any more")
        else:
            outcome = self._poster.post(target.url, message.body, message.message_id, target.secret)
        try:
            self._record(message, outcome)
        except LogError as error:
            # Not noted, as where the process ended meanwhile: the message is due again later.
            return outcome._replace(problem=outcome.problem or f"taken, but not noted: {error}")
        self._done()
        return outcome

    def _target(self, message: Message) -> Target | None:
        if message.url is not None:
            return self._config.requested(message.url)
        return self._config.targets.get(message.target)

    def _record(self, message: Message, outcome: Outcome) -> None:
        now_ns = self._clock.time_ns()
        due_ns = now_ns + int(self._pause_s(message.attempts + 1, outcome) * _S)
        if outcome.delivered:
            self._outbox.record(message, "delivered", now_ns, status=outcome.status)
        elif outcome.retryable and due_ns - message.created_unix_nano < self._give_up_after_ns:
            self._outbox.record(
                message,
                "pending",
                now_ns,
                due_unix_nano=due_ns,
                status=outcome.status,
                problem=outcome.problem,
            )
        else:
            self._outbox.record(
                message, "dead", now_ns, status=outcome.status, problem=outcome.problem
            )

    def _pause_s(self, attempts: int, outcome: Outcome) -> float:
        return pause_s(
            attempts,
            outcome.wait_s,
            first_s=FIRST_RETRY_S,
            cap_s=LONGEST_RETRY_S,
            jitter=self._jitter,
        )
