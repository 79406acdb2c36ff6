"""One message: how it is signed, and what each answer means."""

import base64
import hashlib
import hmac
import logging
import socket
import threading

import pytest
from realm_exporter_webhook.addresses import Guard
from realm_exporter_webhook.sender import Poster, signature

from .conftest import Answer, Receiver

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def poster(timeout_s: float = 5.0) -> Poster:
    return Poster(Guard(["127.0.0.1"]), timeout_s=timeout_s)


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification's reference libraries.
    body = b'{"test": 2432232314}'
    message_id, timestamp = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    assert signature(SECRET, message_id, timestamp, body) == (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


@pytest.mark.parametrize("secret", [SECRET, "plain text", "whsec_not base64"])
def test_a_receiver_can_verify_what_it_got(secret: str, receiver: Receiver) -> None:
    assert poster().post(receiver.url(), b'{"a": 1}', "msg_7", secret).delivered
    (got,) = receiver.received
    signed = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    key = base64.b64decode(secret[6:]) if secret == SECRET else secret.encode()
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert got.headers["webhook-signature"] == f"v1,{expected}"
    assert got.headers["idempotency-key"] == got.headers["webhook-id"] == "msg_7"


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    poster().post(receiver.url(), b"{}", "msg_7")
    assert "webhook-signature" not in receiver.received[0].headers
    assert receiver.received[0].headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    ("answer", "retryable", "wait_s"),
    [
        (Answer(429, {"retry-after": "7"}), True, 7),
        (Answer(503, {"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}), True, 0),
        (Answer(429, {"retry-after": "4.5"}), True, 4.5),
        (Answer(429, {"retry-after": "1"}, b'{"retry_after": 4.5, "global": false}'), True, 4.5),
        (Answer(429, {"x-ratelimit-reset-after": "4.5"}), True, 4.5),
        (Answer(500), True, None),
        (Answer(408), True, None),
        (Answer(400, {}, b"invalid_payload"), False, None),
        (Answer(404), False, None),
        (Answer(410), False, None),
    ],
)
def test_answers_are_retried_or_not(
    answer: Answer, retryable: bool, wait_s: float | None, receiver: Receiver
) -> None:
    receiver.answers = [answer]
    outcome = poster().post(receiver.url(), b"{}", "msg_1")
    assert (outcome.status, outcome.retryable, outcome.wait_s) == (answer.status, retryable, wait_s)
    assert answer.body.decode() in outcome.problem


@pytest.mark.parametrize("status", [200, 202, 204])
def test_any_answer_in_the_200s_is_taken(status: int, receiver: Receiver) -> None:
    receiver.answers = [Answer(status, {}, b"")]
    assert poster().post(receiver.url(), b"{}", "msg_1").delivered


def test_a_receiver_that_hangs_is_left_in_time_and_tried_again(receiver: Receiver) -> None:
    receiver.answers = [Answer(delay_s=30.0)]
    outcome = poster(0.3).post(receiver.url(), b"{}", "msg_1")
    assert (outcome.delivered, outcome.retryable) == (False, True)


def test_a_refused_connection_is_retried() -> None:
    outcome = poster().post("http://127.0.0.1:9/secret", b"{}", "msg_1")
    assert (outcome.delivered, outcome.retryable) == (False, True)
    assert "secret" not in outcome.problem


def test_a_secret_address_is_in_no_log(
    receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        poster().post(receiver.url("/SECRET"), b"{}", "msg_1")
    assert "SECRET" not in caplog.text


def test_an_address_with_tls_where_there_is_none_says_so(receiver: Receiver) -> None:
    url = receiver.url("/SECRET").replace("http:", "https:")
    outcome = poster().post(url, b"{}", "msg_1")
    assert (outcome.retryable, "http://?" in outcome.problem) == (True, True)
    assert "SECRET" not in outcome.problem


ODD = {
    b"HTTP/1.1 304 Not Modified\r\n\r\n": (304, False),
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n": (None, True),
    b"HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n": (999, True),
    b"HTTP/1.1 000 X\r\n\r\n": (None, True),
    b"HTTP/1.1 20 OK\r\n\r\n": (None, True),
    b"<html>hello</html>": (None, True),
    b"\0\0\x12\x04\0\0\0\0\0": (None, True),
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n": (None, True),
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello": (None, True),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n": (None, True),
    b"HTTP/1.1 307 X\r\nLocation: http://127.0.0.1/\0\r\n\r\n": (None, True),
    b"HTTP/1.1 307 X\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n": (None, False),
    b"HTTP/1.1 400 \x1b[31m\r\nContent-Length: 5\r\n\r\n\x1b[2J\x9b": (400, False),
    b"": (None, True),
}


@pytest.mark.parametrize("answer", ODD)
def test_an_odd_answer_is_an_outcome_that_can_be_printed(answer: bytes) -> None:
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listening:

        def behave() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)

        thread = threading.Thread(target=behave)
        thread.start()
        url = f"http://[::1]:{listening.getsockname()[1]}/SECRET"
        outcome = Poster(Guard(["::1"]), timeout_s=5.0).post(url, b"{}", "msg_1")
        thread.join(20)
    assert (outcome.status, outcome.retryable, outcome.delivered) == (*ODD[answer], False)
    assert outcome.problem.isprintable()
    assert "SECRET" not in outcome.problem
