"""Bytes become lines as a person sees them, and a traceback is found among them."""

import pytest

from realm_telemetry.redaction import redactor
from realm_telemetry.spool.output import Folder, Tail, find_traceback


def fold(*pieces: bytes) -> list[str]:
    folder = Folder(redactor(()).text)
    lines = [line for piece in pieces for line in folder.feed(piece)]
    return lines + folder.end()


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\nb\n"], ["a", "b"]),
        ([b"a", b"b\nc"], ["ab", "c"]),
        ([b"a\r\nb\r", b"\nc\r\r\n"], ["a", "b", "c"]),
        ([b"\r10%", b"\r20%", b"\r30%\n"], ["30%"]),
        ([b"\r10%\r", b"20%\r"], ["20%"]),
        ([b"\n\n"], ["", ""]),
        ([b"\x1b[31mred\x1b[0m \x1b]0;title\x07x\x1b(B\n"], ["red x"]),
        ([b"\xff\xc3", b"\xa4\n"], ["�ä"]),
        ([b"x" * 9000, b"x" * 9000, b"\ny\n"], ["x" * 8189 + "…", "y"]),
        ([b"x" * 99_999, b"\rshort\n"], ["short"]),
    ],
)
def test_lines(pieces: list[bytes], lines: list[str]) -> None:
    assert fold(*pieces) == lines


def test_a_thousand_frames_are_one_line_and_little_memory() -> None:
    folder = Folder(str)
    for step in range(1000):
        assert folder.feed(b"\r%4d/1000 " % step + b"#" * 60) == []
        assert len(folder._rest) < 80
    assert folder.feed(b"\n") == [" 999/1000 " + "#" * 60]


def test_a_private_key_is_hidden_though_it_comes_in_pieces() -> None:
    key = [b"-----BEGIN RSA PRIVATE KEY-----\n", b"MIIEow\n", b"IBAAKC\n"]
    end = b"-----END RSA PRIVATE KEY-----\nafter\n"
    text = "\n".join(fold(b"before\n", *key, end))
    assert "MIIEow" not in text
    assert "IBAAKC" not in text
    assert text.startswith("before\n")
    assert text.endswith("\nafter")


def test_the_mention_of_a_key_hides_not_all_that_follows() -> None:
    lines = fold(b"-----BEGIN PRIVATE KEY-----\n", *(b"%d\n" % number for number in range(300)))
    assert lines[-1] == "299"


def test_what_was_left_out_is_said() -> None:
    folder = Folder(str)
    folder.feed(b"half")
    assert folder.skip(12_345) == ["half", "[... 12,345 bytes left out]"]


def test_a_tail_is_fifty_lines_and_16_kib() -> None:
    tail = Tail()
    tail.add([str(number) for number in range(500)])
    assert tail.lines() == [str(number) for number in range(450, 500)]
    tail.add(["ä" * 4000] * 500)
    assert len("\n".join(tail.lines()).encode()) <= 16_384
    assert len(tail.lines()) == 16


TRACE = [
    "Traceback (most recent call last):",
    '  File "train.py", line 3, in <module>',
    "    main()",
    "ValueError: no labels",
]


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        (TRACE, "ValueError: no labels"),
        (["x", *TRACE, "bye", ""], "ValueError: no labels"),
        ([" 50%|## | 1/2" + TRACE[0], *TRACE[1:]], "ValueError: no labels"),
        ([f"[rank0]: {line}" for line in TRACE], "ValueError: no labels"),
        ([*TRACE, *TRACE[:3], "torch.cuda.OutOfMemoryError: 2 GB"], "torch.cuda.OutOfMemoryError"),
        ([*TRACE[:3], "KeyError"], "KeyError"),
        (TRACE[:3], None),
        ([*TRACE[:1], "ValueError: x"], None),
        ([*TRACE[:3], "no exception at all"], None),
        ([*TRACE, *TRACE[:3], "KeyboardInterrupt"], None),
        ([], None),
    ],
)
def test_the_last_traceback_is_found(lines: list[str], error: str | None) -> None:
    found = find_traceback(lines)
    assert (found and found[0].startswith(error or "") and True) is (True if error else None)
    if found is not None:
        assert found[1].startswith(TRACE[0])
        assert found[1].endswith(found[0])
