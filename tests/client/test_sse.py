"""The parser follows the HTML standard, however the bytes are cut."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realm_telemetry.client.sse import SseMessage, SseParser
from realm_telemetry.errors import PayloadTooLargeError


def parsed(stream: bytes) -> list[tuple[str, str, str]]:
    return [(one.event, one.data, one.last_event_id) for one in SseParser().feed(stream)]


def parsed_in_pieces(stream: bytes, cuts: list[int]) -> list[SseMessage]:
    parser = SseParser()
    borders = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(borders)]
    return [message for piece in pieces for message in parser.feed(piece)]


UNTIMED = settings(deadline=None)  # a busy machine is not a defect
LINES = st.one_of(
    st.sampled_from(
        [
            "",
            "",
            ": keepalive",
            ":",
            "data",
            "data:",
            "data: ",
            "data:  two spaces",
            "data: a:b",
            "data: naïve ⚔️ 🏰",
            "event: event",
            "event",
            "id: 7",
            "id",
            "id: no\0way",
            "retry: 250",
            "retry: soon",
            "unknown: field",
            " data: not a field",
        ]
    ),
    st.text(max_size=12).filter(lambda text: not set(text) & {"\r", "\n"}),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Streams of plausible lines with mixed line ends, now and then with a byte order mark."""
    lines = draw(st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r", "\r\n"])), max_size=25))
    mark = b"\xef\xbb\xbf" if draw(st.booleans()) else b""
    return mark + "".join(line + end for line, end in lines).encode("utf-8", "replace")


@UNTIMED
@given(st.one_of(streams(), st.binary(max_size=60)), st.lists(st.integers(0, 10_000), max_size=30))
def test_any_split_of_the_bytes_gives_the_same_messages(stream: bytes, cuts: list[int]) -> None:
    assert parsed_in_pieces(stream, cuts) == SseParser().feed(stream)


@UNTIMED
@given(streams())
def test_single_bytes_give_the_same_messages(stream: bytes) -> None:
    assert parsed_in_pieces(stream, list(range(len(stream)))) == SseParser().feed(stream)


@UNTIMED
@given(
    st.lists(
        st.text().filter(lambda text: "\r" not in text and "\n" not in text),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["\n", "\r", "\r\n"]),
)
def test_data_comes_back_as_it_was_sent(lines: list[str], end: str) -> None:
    stream = "".join(f"data: {line}{end}" for line in lines) + end
    assert parsed(stream.encode()) == [("message", "\n".join(lines), "")]


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        # The examples of the standard, section 9.2.6.
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [("message", "YHOO\n+2\n10", "")]),
        (
            b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\n"
            b"data:  third event\n\n",
            [
                ("message", "first event", "1"),
                ("message", "second event", ""),
                ("message", " third event", ""),
            ],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [("message", "", ""), ("message", "\n", "")]),
        (b"data:test\n\ndata: test\n\n", [("message", "test", ""), ("message", "test", "")]),
    ],
)
def test_the_examples_of_the_standard(stream: bytes, messages: list[tuple[str, str, str]]) -> None:
    assert parsed(stream) == messages


@pytest.mark.parametrize(
    ("stream", "messages"),
    [
        (b"\xef\xbb\xbfdata: x\n\n", [("message", "x", "")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
        (b"event: a\n\ndata: x\n\n", [("message", "x", "")]),
        (b"id: 1\n\ndata: x\n\n", [("message", "x", "1")]),
        (b"id: 1\nid: 2\0\ndata: x\n\n", [("message", "x", "1")]),
        (b"data: \xff\n\n", [("message", "\ufffd", "")]),
        (b"data: x\r\rdata: y\r\n\r\n", [("message", "x", ""), ("message", "y", "")]),
        (b"DATA: x\n\n", []),
        (b"data: never finished\n", []),
    ],
    ids=[
        "a byte order mark is dropped",
        "only one byte order mark",
        "a message without data is none and its type is forgotten",
        "an id without data holds",
        "an id with NUL is ignored",
        "broken UTF-8 is replaced",
        "CR alone ends lines",
        "names are case-sensitive",
        "an unfinished message is not given out",
    ],
)
def test_the_corners_of_the_standard(stream: bytes, messages: list[tuple[str, str, str]]) -> None:
    assert parsed(stream) == messages


def test_a_cr_gives_the_message_at_once_and_its_lf_is_no_second_line_end() -> None:
    parser = SseParser()
    assert parser.feed(b"data: x\r\n\r") == [("message", "x", "")]
    assert parser.feed(b"") == []
    assert parser.feed(b"\ndata: y\r\n\r\n") == [("message", "y", "")]


def test_retry_is_kept_if_it_is_digits() -> None:
    parser = SseParser()
    parser.feed(b"retry: 250\nretry: 1s\nretry: -1\nretry:\n")
    assert parser.retry_ms == 250


def test_the_id_to_resume_at_is_that_of_the_last_finished_message() -> None:
    parser = SseParser("log-6")
    assert parser.last_event_id == "log-6"
    parser.feed(b"id: log-7\ndata: x\n\nid: log-8\ndata: unfinished\n")
    assert parser.last_event_id == "log-7"


def feed_for_ever(parser: SseParser, chunk: bytes) -> None:
    while not parser.feed(chunk):
        pass


@pytest.mark.parametrize("chunk", [b"x" * 10, b"data: 123\n", b"data: \n"])
def test_a_message_without_end_is_refused(chunk: bytes) -> None:
    parser = SseParser(max_message_bytes=1_000)
    with pytest.raises(PayloadTooLargeError, match="1,000 bytes"):
        feed_for_ever(parser, chunk)


def test_many_small_messages_are_no_large_one() -> None:
    parser = SseParser(max_message_bytes=100)
    assert sum(len(parser.feed(b": comment\ndata: x\n\n")) for _ in range(100)) == 100
