"""Requests that two parsers could read in two ways are refused, and what follows is not heard."""

import socket

import pytest

from realm_telemetry.service import RealmServer

EVENT = b'{"kind": "note", "message": "smuggled"}'
HIDDEN = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
CHUNK = f"{len(EVENT):x}".encode()
AMBIGUOUS = {
    "a length and chunks": (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"0\r\n\r\n" + HIDDEN,
    ),
    "two codings": (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", b"0\r\n\r\n"),
    "two codings in one": (b"Transfer-Encoding: gzip, chunked", b"0\r\n\r\n" + HIDDEN),
    "another coding": (b"Transfer-Encoding: xchunked", b"0\r\n\r\n" + HIDDEN),
    "a coding behind a tab": (b"Transfer-Encoding:\tchunked, chunked", b"0\r\n\r\n" + HIDDEN),
    "a space before the colon": (b"Transfer-Encoding : chunked", b"0\r\n\r\n" + HIDDEN),
    "two lengths": (b"Content-Length: 39\r\nContent-Length: 5", EVENT),
    "two equal lengths": (b"Content-Length: 39\r\nContent-Length: 39", EVENT),
    "a list of lengths": (b"Content-Length: 39, 39", EVENT),
    "a length with a sign": (b"Content-Length: +39", EVENT),
    "a negative length": (b"Content-Length: -1", EVENT),
    "a length with a line": (b"Content-Length: 3_9", EVENT),
    "a hexadecimal length": (b"Content-Length: 0x27", EVENT),
    "a length above 64 bits": (b"Content-Length: 99999999999999999999999", EVENT),
    "a negative chunk": (b"Transfer-Encoding: chunked", b"-1\r\n\r\n"),
    "a chunk with a prefix": (
        b"Transfer-Encoding: chunked",
        b"0x27\r\n" + EVENT + b"\r\n0\r\n\r\n",
    ),
    "a chunk above 64 bits": (b"Transfer-Encoding: chunked", b"f" * 20 + b"\r\n" + EVENT),
    "chunks by line feeds": (b"Transfer-Encoding: chunked", CHUNK + b"\n" + EVENT + b"\n0\n\n"),
    "a chunk too long": (b"Transfer-Encoding: chunked", CHUNK + b"\r\n" + EVENT + b"XX0\r\n\r\n"),
    "a folded header": (b"X: a\r\n Content-Length: 39", EVENT),
    "a header with NUL": (b"X: a\0b\r\nContent-Length: 39", EVENT),
    "a header with CR": (b"X: a\rContent-Length: 39", EVENT),
}


@pytest.mark.parametrize("case", AMBIGUOUS)
def test_a_request_with_two_meanings_has_none(server: RealmServer, case: str) -> None:
    headers, body = AMBIGUOUS[case]
    start = b"POST /api/event HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.ports[0]), timeout=10) as connection:
        connection.sendall(start + headers + b"\r\n\r\n" + body)
        answer = b""
        while piece := connection.recv(65_536):  # until it is closed
            answer += piece
    assert answer.count(b"HTTP/1.1") <= 1
    assert b" 200 " not in answer
