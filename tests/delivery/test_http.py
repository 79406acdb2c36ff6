"""The policy of HTTP senders: what an answer means, and one deadline a request."""

import socket
import time
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest

from realm_telemetry.delivery.http import (
    BUSY,
    SERVER_ERRORS,
    WAIT_FOR_A_PERSON_S,
    Answers,
    Deadline,
    Reply,
    UnreachableError,
    Wait,
    asked_wait,
    is_loopback,
    retry_after_s,
)
from tests.waiting import SOON_S

ANSWERS = Answers(BUSY | SERVER_ERRORS, {401: "Set the token", "UNAUTHENTICATED": "Set the token"})


@pytest.mark.parametrize("code", [408, 425, 429, 500, 503, 599])
def test_a_busy_or_broken_receiver_is_retried(code: int) -> None:
    assert ANSWERS.error("http://x", code).retryable


@pytest.mark.parametrize("code", [400, 404, 410, 422])
def test_every_other_answer_is_a_rejection(code: int) -> None:
    error = ANSWERS.error("http://x", code, "no", retry_after_s=9.0)
    assert (str(error), error.retryable) == (f"http://x answered {code} (no)", False)


@pytest.mark.parametrize("code", [401, "UNAUTHENTICATED"])
def test_a_setting_at_fault_is_retried_slowly_and_named(code: int | str) -> None:
    error = ANSWERS.error("http://x", code)
    assert (error.retryable, error.retry_after_s) == (True, WAIT_FOR_A_PERSON_S)
    assert str(error) == f"http://x answered {code}. Set the token"
    assert ANSWERS.error("http://x", code, retry_after_s=2.0).retry_after_s == 2.0


NOW = 1_700_000_000.0


def in_seconds(seconds: float) -> str:
    return format_datetime(datetime.fromtimestamp(NOW + seconds, UTC), usegmt=True)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("-0.5", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
        ("0x10", None),
        ("\u0665", None),
        ("4.5.6", None),
        (".", None),
        ("0", 0),
        ("7", 7),
        (" 7 ", 7),
        ("0.65", 0.65),
        (".5", 0.5),
        ("4.", 4),
        ("3599.5", 3599.5),
        ("3600", 3600),
        ("3600.5", 3600),
        ("99999999999", 3600),
        ("5, 10", 10),
        ("5, soon", 5),
        (in_seconds(90), 90),
        (in_seconds(-90), 0),
        (in_seconds(86_400 * 365), 3600),
        (f"5, {in_seconds(90)}", 90),
        (f"{in_seconds(90)}, 100", 100),
        (in_seconds(90).replace(" GMT", ""), 90),
        ("Wednesday, 15-Nov-23 00:00:00 GMT", 3600),
        ("Wed, 99 Nov 2023 00:00:00 GMT", None),
        ("Wed, 15 Nov 99999999999 00:00:00 GMT", None),
        ("5" * 100_000, None),
    ],
)
def test_retry_after_is_read_with_care(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, NOW) == seconds


def limited(body: bytes = b"", **headers: str) -> Wait:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return asked_wait(Reply(429, named, body), NOW)


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        (b'{"message": "You are being rate limited.", "retry_after": 4.5, "global": false}', 4.5),
        (b'{"retry_after": "4.5"}', 4.5),
        (b'{"retry_after": 0}', 0),
        (b'{"retry_after": -1}', None),
        (b'{"retry_after": null}', None),
        (b'{"retry_after": true}', None),
        (b'{"retry_after": [5]}', None),
        (b'{"retry_after": "inf"}', None),
        (b'{"retry_after": 1e300}', 3600),
        (b'{"retry_after": 1e999}', None),
        (b'{"retry_after": 99999999999999999999999999}', 3600),
        (b'{"ok": false, "error_code": 429, "parameters": {"retry_after": 35}}', 35),
        (b'{"parameters": 35}', None),
        (b'{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}', 2.5),
        (b'{"retry_after": 5, "global": "yes"}', 5),
        (b"[4.5]", None),
        (b"retry_after: 4.5", None),
        (b'\xff{"retry_after": 4.5}', None),
        (b"[" * 100_000, None),
    ],
)
def test_a_body_may_say_how_long_to_wait(body: bytes, seconds: float | None) -> None:
    assert limited(body) == (seconds, False)


def test_the_longest_of_all_that_a_receiver_names_counts() -> None:
    body = b'{"retry_after": 4.5}'
    assert limited(body, retry_after="1").wait_s == 4.5
    assert limited(body, retry_after="6").wait_s == 6
    assert limited(body, x_ratelimit_reset_after="7.25").wait_s == 7.25
    assert limited(b"", x_ratelimit_reset_after="0.2", retry_after="soon").wait_s == 0.2


def test_a_receiver_may_ask_for_all_of_its_host() -> None:
    assert limited(b'{"retry_after": 2, "global": true}') == (2, True)
    assert limited(retry_after="2", x_ratelimit_global="true") == (2, True)
    assert limited(retry_after="2", x_ratelimit_scope="global") == (2, True)
    assert limited(retry_after="2", x_ratelimit_scope="user") == (2, False)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ("http://127.0.0.1:8866", True),
        ("https://[::1]/v1", True),
        ("localhost", True),
        ("127.0.0.9", True),
        ("http://trainer.example", False),
        ("", False),
    ],
)
def test_loopback_is_known_by_url_and_by_host(place: str, expected: bool) -> None:
    assert is_loopback(place) is expected


def test_a_deadline_ends_a_read_that_is_in_time_for_each_byte() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(5.0)
    started_s = time.monotonic()
    with ours, theirs, Deadline(0.2) as deadline:
        deadline.watch(ours)
        theirs.send(b"x")
        while ours.recv(1):
            time.sleep(0.05)
            if not deadline.passed:
                theirs.send(b"x")
        assert time.monotonic() - started_s < SOON_S
        with pytest.raises(UnreachableError, match=r"0\.2 s"):
            deadline.check()


def test_a_connection_that_comes_too_late_is_shut_down_at_once() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, Deadline(0.01) as deadline:
        while not deadline.passed:
            time.sleep(0.005)
        deadline.watch(ours)
        assert ours.recv(1) == b""


def test_a_request_that_is_done_leaves_its_connection_open() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with Deadline(0.05) as deadline:
            deadline.watch(ours)
        time.sleep(0.15)
        theirs.send(b"x")
        assert ours.recv(1) == b"x"
