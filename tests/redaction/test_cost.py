"""Redaction takes time in proportion to what it is given, however the text was made."""

import itertools
import time
from typing import Any

import pytest

from realm_telemetry.event import Event
from realm_telemetry.redaction import Redactor
from realm_telemetry.redaction.rules import NAME_HINTS
from realm_telemetry.redaction.text import clean_text

SMALL = 16_384
LARGE = 131_072
MAX_GROWTH = 24
"""In proportion it is 8, in proportion to the square 64."""

MAX_LARGE_S = 2.0
SUSPICIOUS_S = 0.05
"""A small text that takes longer is tried at the large size too."""

KEPT = [
    ";keyx]=a",
    ";sigma]=x",
    "?keyx]=a",
    "&sigs]=a",
    "token: ntlm [redacted] ",
    "auth: digest [redacted] ",
    "token: bearer [redacted] ",
    "'cookie: a' ",
    '"authorization: ntlm a" ',
    "PuTTY-User-Key-File-",
    "tokens:\n- ",
    "tokens:\n  tokens:\n",
    "passwords:\n ",
    "password|a\n",
    "| user | password |\n",
    "a\tpassword\n",
    "user,password\nb,",
    "user,token\n",
    "a  password\n",
    "password\t",
    "password is ",
    "with password a1",
    "echo x | ",
    "net use \\\\a ",
    'password="""',
    "ldapsearch ",
    "$6$",
    "set password ",
    "contraseña",
]
NAMES = [
    *NAME_HINTS,
    "?token",
    ";keyx]",
    "&sig",
    "--password",
    "'cookie",
    '"authorization',
    '"password"',
    "<password",
    "://a",
]
SEPARATORS = ["=", ": ", " ", ">", ", ", " value=", ": ntlm ", ": bearer ", "%3d", "/"]
FILLERS = ["a", "[redacted] ", "\\", "'", '"', "a'", "[", "]", "@", "<", "\n", "&", "a,", "1", "$"]


def of_size(piece: str, size: int) -> str:
    return (piece * (size // len(piece) + 1))[:size]


def took_s(text: str) -> float:
    began_s = time.process_time()
    clean_text(text)
    return time.process_time() - began_s


def assert_in_proportion(piece: str) -> None:
    small_s = min(took_s(of_size(piece, SMALL)) for _ in range(2))
    large_s = took_s(of_size(piece, LARGE))
    assert large_s < MAX_LARGE_S, piece
    assert large_s < MAX_GROWTH * max(small_s, 0.002), piece


@pytest.mark.parametrize("piece", KEPT)
def test_a_value_that_is_kept_is_read_once(piece: str) -> None:
    assert_in_proportion(piece)


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_no_name_separator_and_filler_are_slow_together(name: str) -> None:
    for separator, filler in itertools.product(SEPARATORS, FILLERS):
        piece = f"{name}{separator}{filler}"
        if took_s(of_size(piece, SMALL)) > SUSPICIOUS_S:
            assert_in_proportion(piece)


def _keys(count: int) -> dict[str, Any]:
    return {f"password=a{number}b": number for number in range(count)}


def _paths(count: int) -> dict[str, Any]:
    return {"n" * 8 * count: {f"password{number:06}": "x1" for number in range(count)}}


def _secrets(count: int) -> dict[str, Any]:
    secrets = {f"password{number}": f"abc{number:06}" for number in range(count)}
    return secrets | {"note": "abc " * 4 * count}


def _equal(count: int) -> dict[str, Any]:
    return {f"n{number}": ["password", "hunter2", "token: a"] for number in range(count)}


def _one_text(count: int) -> dict[str, Any]:
    return {"note": ";keyx]=a" * 2 * count + "token: ntlm [redacted] " * count}


@pytest.mark.parametrize("details", [_one_text, _keys, _paths, _secrets, _equal])
def test_an_event_of_many_details_takes_time_in_proportion(details: Any) -> None:
    def event_took_s(count: int) -> float:
        event = Event("note", "debug", "info", "x", details(count), 1, "0123456789abcdef", 1)
        began_s = time.process_time()
        Redactor()(event)
        return time.process_time() - began_s

    event_took_s(10)
    assert event_took_s(4000) < max(MAX_GROWTH * event_took_s(500), MAX_LARGE_S)
