"""The policy of HTTP senders: what an answer means, and one deadline a request."""

import socket
import time

import pytest

from realm_telemetry.delivery.http import (
    BUSY,
    SERVER_ERRORS,
    WAIT_FOR_A_PERSON_S,
    Answers,
    Deadline,
    UnreachableError,
    is_loopback,
    retry_after_s,
)

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


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), ("soon", None), ("-5", None), ("99999999999", 3600), ("0", 0), ("", None)],
)
def test_retry_after_is_read_with_care(value: str | None, seconds: float | None) -> None:
    assert retry_after_s(value, 0) == seconds


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
        assert time.monotonic() - started_s < 2
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
