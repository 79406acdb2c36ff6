"""What a person at a terminal sees."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len

from .conftest import EXECUTABLE


def at_a_terminal(columns: int, *arguments: str) -> list[str]:
    """The lines that a command prints on a terminal of some width."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("COLUMNS", None)
    command = [str(EXECUTABLE), *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.DEVNULL, env=environment):
        os.close(theirs)
        output = b""
        try:
            while piece := os.read(ours, 65_536):
                output += piece
        except OSError:  # Linux: the other side is closed
            pass
    os.close(ours)
    return output.decode().splitlines()


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
