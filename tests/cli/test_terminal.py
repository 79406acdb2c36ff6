"""What a person at a terminal sees, whoever wrote the text."""

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from realm_telemetry.kinds.line import printable

from .conftest import EXECUTABLE, make_event, run_realm, store


def at_a_terminal(columns: int, *arguments: str) -> list[str]:
    """The lines that a command prints on a terminal of some width."""
    return on_screen(columns, *arguments).splitlines()


def on_screen(columns: int, *arguments: str, errors: bool = False) -> str:
    """All that a command prints on a terminal, errors too if they are asked for."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    command = [str(EXECUTABLE), *arguments]
    stderr = theirs if errors else subprocess.DEVNULL
    with subprocess.Popen(command, stdout=theirs, stderr=stderr, env=environment):
        os.close(theirs)
        output = b""
        try:
            while piece := os.read(ours, 65_536):
                output += piece
        except OSError:  # Linux: the other side is closed
            pass
    os.close(ours)
    return output.decode()


def plain(line: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", line)


@pytest.mark.parametrize("command", ["query", "stats", "kinds", "exporters"])
def test_a_table_is_coloured_and_no_wider_than_the_terminal(command: str, filled: Path) -> None:
    lines = at_a_terminal(72, command)
    assert any("\x1b[" in line for line in lines)
    # The names of distributions are not cut for a narrow terminal.
    limit = 120 if command == "exporters" else 72
    assert max(cell_len(plain(line)) for line in lines) <= limit


def test_only_the_last_column_is_cut(filled: Path) -> None:
    text = "\n".join(map(plain, at_a_terminal(60, "query", "-n", "30")))
    assert "checkpoint_saved" in text
    assert "Checkpoint 29,000 saved" not in text
    assert "…" in text


def test_the_lines_of_tail_are_coloured(filled: Path) -> None:
    assert "\x1b[31m" in at_a_terminal(100, "tail", "-n", "1")[0]


HOSTILE = (
    "\x00\x07\x08\x1b[2J\x1b]0;title\x07\x1bP\x1b\\\\\x7f\x80\x9b31m\x9d0;t\x9c\u202eevil\u202c\u2066x\u2069\u200e\u200f"
    "\u061c\u200b\u2060\ufeff\u2028\u2029\U000e0041\U000e007f\r\nfaked line\tx"
)
SGR = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def hostile(home: Path) -> Path:
    """A home whose log has one event that is hostile in all its fields."""
    fields = dict.fromkeys(("hero_id", "campaign_id", "run_id", "source"), HOSTILE)
    job = {"job_id": HOSTILE, HOSTILE: HOSTILE, "list": [HOSTILE]}
    store(home, [make_event(1, "job_failed", 1, message=HOSTILE, details=job, **fields)])
    store(home, [make_event(2, HOSTILE, 1, message=HOSTILE, channel="system", severity="error")])
    return home


def assert_plain(output: str, *, cells: bool = False) -> None:
    """cells: of CSV, which may have several lines."""
    lines = SGR.sub("", output).replace("\r\n", "\n").split("\n")
    assert lines
    for line in lines:
        assert printable(line) == line
        assert cells or not line.startswith("faked")


@pytest.mark.parametrize(
    "command",
    [
        "query",
        "query --json",
        "query --jsonl",
        "tail --log",
        "tail --log -d",
        "tail --log --json",
        "stats --by day,kind,run",
        "stats --by kind --json",
        "state --log",
        "state --log --json",
        "export",
        "export --format csv",
        "kinds --json",
    ],
)
def test_no_text_of_an_event_drives_the_terminal(command: str, hostile: Path) -> None:
    output = on_screen(200, *command.split())
    assert "evil" in output or "kinds" in command
    assert_plain(output, cells="csv" in command)


@pytest.mark.parametrize(
    "arguments",
    [
        ["query", "--kind", f"{HOSTILE}"[1:], "--since", HOSTILE[1:]],
        [HOSTILE[1:]],
        ["state", HOSTILE[1:]],
        ["stats", "--by", HOSTILE[1:], "--json"],
        ["export", "--output", f"/nowhere/{HOSTILE[1:]}"],
        ["import", f"/nowhere/{HOSTILE[1:]}"],
        ["emit", "note", f"channel={HOSTILE[1:]}"],
        ["webhooks", "test", HOSTILE[1:]],
        ["ship", "--once", "--spool", HOSTILE[1:]],
    ],
    ids=lambda arguments: arguments[0] if arguments[0].isascii() else "no command",
)
def test_no_error_drives_the_terminal(arguments: list[str], home: Path) -> None:
    output = on_screen(200, *arguments, errors=True)
    assert output.strip()
    assert_plain(output)


def test_json_in_a_pipe_is_exact_and_on_a_terminal_means_the_same(hostile: Path) -> None:
    piped = run_realm("query", "--json", encoding="utf-8").stdout
    assert "\u202e" in piped
    seen = on_screen(200, "query", "--json")
    assert "\\u202e" in seen
    assert json.loads(seen) == json.loads(piped)
    assert [row["message"] for row in json.loads(piped)] == [HOSTILE, HOSTILE]
