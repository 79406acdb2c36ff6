"""Send messages to webhooks: signed, to a checked address, with retry until they are too old."""

import base64
import binascii
import hashlib
import hmac
import random
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from realm_exporter_webhook import notify
from realm_exporter_webhook.addresses import Checked, Guard, RefusedAddressError, UnresolvedError
from realm_exporter_webhook.rules import Config, Target
from realm_telemetry.delivery.circuits import Circuits
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
from realm_telemetry.log.outbox import KeptCircuit, Message, Outbox, redacted

MAX_REDIRECTS: Final = 3
_KEPT_METHOD: Final = (307, 308)
_MOVED: Final = (301, 302, 303)
_ANSWERS: Final = Answers(BUSY | SERVER_ERRORS)
_MOVED_HINT: Final = "It has moved: set its new address, a POST is not sent on by this status"
_TLS_HINTS: Final = {
    "CERTIFICATE_VERIFY_FAILED": ". SSL_CERT_FILE names the certificates that are trusted",
    "WRONG_VERSION_NUMBER": ". What answers there speaks no TLS: is its address http://?",
}
_MAX_ANSWER_BYTES: Final = 16 * 1024
_MAX_SHOWN: Final = 200
_SECRET_PREFIX: Final = "whsec_"

RULES: Final = "rules"
EVENTS: Final = "events"
SENDERS: Final = {RULES: 16, EVENTS: 16}
"""Attempts at once for targets of rules, and apart for addresses that events name; a receiver that
hangs holds one of them."""

SENDERS_A_HOST: Final = 4
"""Of a pool's attempts, how many may be with one host and port."""

_NO_ANSWER: Final = frozenset({502, 503, 504})
"""Answers of what stands before a host that gives none."""

_SOON_S: Final = 1.0

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


def host_and_port(url: str) -> str:
    """The host and port that an address leads to, one text for all ways to write them."""
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return url
    return f"{(parts.hostname or '').rstrip('.')}:{port}"


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
        self._making = threading.Lock()

    def post(self, url: str, body: bytes, message_id: str, secret: str = "") -> Outcome:
        """Send one message, once."""
        started_s = time.monotonic()
        outcome = self._attempt(url, body, self._headers(body, message_id, secret))
        return outcome._replace(took_s=time.monotonic() - started_s)

    def post_to(self, target: Target, body: bytes, message_id: str) -> Outcome:
        """Send one message to a target, once; by apprise where the target is one of it."""
        if target.template != "apprise":
            return self.post(target.post_url, body, message_id, target.secret)
        started_s = time.monotonic()
        try:
            problem = notify.send(target.url, body)
        except Exception as error:  # noqa: BLE001 - the edge: apprise and its plugins are foreign
            problem = f"apprise: {printable(type(error).__name__)}"
        found = Outcome(None, problem, retryable=problem not in ("", notify.UNKNOWN))
        return found._replace(took_s=time.monotonic() - started_s)

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
            words = printable(str(error))
            hint = next((hint for part, hint in _TLS_HINTS.items() if part in words), "")
            return Outcome(None, f"{redacted(url)}: {words}{hint}", retryable=True)
        except Exception as error:  # noqa: BLE001 - the edge: an attempt ends in an outcome
            return Outcome(None, f"{redacted(url)}: {printable(repr(error))}", retryable=True)

    def _follow(
        self, url: str, body: bytes, headers: Mapping[str, str], deadline: Deadline
    ) -> Outcome:
        before = ""
        for _ in range(MAX_REDIRECTS + 1):
            try:
                checked = self._guard.check(url, deadline.left_s)
            except RefusedAddressError as error:
                raise RefusedAddressError(f"{before}{error}") from None
            reply = self._send(checked, body, headers, deadline)
            if reply.status not in _KEPT_METHOD:
                return self._judge(reply)
            before = f"{redacted(url)} redirects elsewhere: "
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
            tls=self._tls() if checked.url.startswith("https:") else None,
        )
        with closing(client):
            return client.request(
                "POST", checked.url, body, headers, addresses=checked.addresses, deadline=deadline
            )

    def _tls(self) -> ssl.SSLContext:
        with self._making:
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

    Raises RefusedAddressError for one that leaves TLS, or is no address.
    """
    if not location:
        raise RefusedAddressError(f"{redacted(url)} redirects to nowhere")
    try:
        target = urljoin(url, location)
        scheme = urlsplit(target).scheme
    except ValueError as error:
        raise RefusedAddressError(f"{redacted(url)} redirects to no address: {error}") from None
    if urlsplit(url).scheme == "https" and scheme != "https":
        raise RefusedAddressError(f"{redacted(url)} redirects to {redacted(target)}, without TLS")
    return target


class _Flight(NamedTuple):
    """An attempt on its way."""

    pool: str
    place: str


class _Turn:
    """Chooses what may start now: so many of a pool, so many with a host, none with an open one."""

    def __init__(self, flights: Sequence[_Flight], sender: "Sender") -> None:
        self._pools = Counter(flight.pool for flight in flights)
        self._places = Counter(flights)
        self._sender = sender

    def take(self, target: str, url: str | None) -> bool:
        """Whether a message may start; it counts as started then."""
        flight = self._sender.flight(target, url)
        room = self._sender.circuits[flight.pool].room(flight.place, SENDERS_A_HOST)
        if self._pools[flight.pool] >= SENDERS[flight.pool] or self._places[flight] >= room:
            return False
        self._pools[flight.pool] += 1
        self._places[flight] += 1
        return True


class Sender:
    """Sends the messages of one scope.

    timeout_s: for one attempt. give_up_after_s: a message that was not taken by then is dead.
    done: called after each attempt.
    circuits: of the hosts of each pool.
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
        self._flying: dict[int, _Flight] = {}
        self._lock = threading.Lock()
        self._landed = threading.Event()
        self.circuits = {pool: Circuits(clock.monotonic) for pool in SENDERS}

    def start_due(self) -> int:
        """Begin to try what is due, different targets at once; returns how many."""
        turn = _Turn(self._flights(), self)
        most = sum(SENDERS.values())
        claimed = self._outbox.claim(
            self._scope, self._clock.time_ns(), self._lease_ns, most, turn.take
        )
        for message in claimed:
            with self._lock:
                self._flying[message.id] = self.flight(message.target, message.url)
            # A daemon: the end of the process waits for no receiver. The message is due again then.
            threading.Thread(target=self._fly, args=(message,), daemon=True).start()
        return len(claimed)

    def send_due(self) -> None:
        """Try all that may go now, and wait for the outcomes."""
        while True:
            self._landed.clear()
            self.start_due()
            if not self._flights():
                return
            self._landed.wait()

    def send_again(self, id: int) -> tuple[Message, Outcome] | None:
        """Try a message now, in any state; None if there is none of this number."""
        message = self._outbox.claim_one(id, self._clock.time_ns(), self._lease_ns)
        return None if message is None else (message, self._attempt(message))

    def wait_s(self) -> float | None:
        """Seconds until something may go; None if nothing waits."""
        due = self._outbox.next_due_ns(self._scope)
        if due is None:
            return None
        wait_s: float = (due - self._clock.time_ns()) / _S
        if wait_s > 0:
            return wait_s
        # Due, but its host is left alone or all senders are taken.
        waits = [each.soonest_s() for each in self.circuits.values()]
        return min((each for each in waits if each is not None), default=_SOON_S) or _SOON_S

    def flight(self, target: str, url: str | None) -> _Flight:
        """Which senders a message needs."""
        if url is not None:
            return _Flight(EVENTS, host_and_port(url))
        known = self._config.targets.get(target)
        if known is None:
            return _Flight(RULES, "")
        # apprise's targets are apart: several of one host are rare, and their hosts are its affair.
        return _Flight(RULES, target if known.template == "apprise" else host_and_port(known.url))

    def _flights(self) -> list[_Flight]:
        with self._lock:
            return list(self._flying.values())

    def _fly(self, message: Message) -> None:
        try:
            self._attempt(message)
        finally:
            with self._lock:
                self._flying.pop(message.id, None)
            self._landed.set()
            self._done()

    def _attempt(self, message: Message) -> Outcome:
        target = self._target(message)
        if target is None:
            outcome = Outcome(None, f"there is no target {message.target} any more")
        else:
            outcome = self._poster.post_to(target, message.body, message.message_id)
        try:
            self._record(message, outcome)
            self._judge_host(self.flight(message.target, message.url), outcome)
        except LogError as error:
            # Not noted, as where the process ended meanwhile: the message is due again later.
            return outcome._replace(problem=outcome.problem or f"taken, but not noted: {error}")
        return outcome

    def _judge_host(self, flight: _Flight, outcome: Outcome) -> None:
        """Open or close the circuit of a host. Raises LogError."""
        circuits = self.circuits[flight.pool]
        if outcome.whole_host and outcome.wait_s:
            for each in self.circuits.values():
                each.hold(flight.place, outcome.wait_s, outcome.problem)
            changed = True
        elif outcome.status in _NO_ANSWER or (outcome.status is None and outcome.retryable):
            changed = circuits.failed(flight.place, outcome.problem)
        else:
            has_answered = outcome.delivered or outcome.status is not None
            changed = has_answered and circuits.answered(flight.place)
        if changed:
            self._outbox.keep_circuits(self._scope, list(self._kept_circuits()))

    def _kept_circuits(self) -> Iterator[KeptCircuit]:
        now_ns = self._clock.time_ns()
        for pool, circuits in self.circuits.items():
            for each in circuits.open():
                until_ns = now_ns + int(each.wait_s * _S)
                yield KeptCircuit(pool, each.place, each.failures, until_ns, each.reason)

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
