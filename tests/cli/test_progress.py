"""The line that says how far long work is, and that only a terminal gets it."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from realm_telemetry.cli.terminal import progress_text

LINES = 40_000
"""Enough that an import takes longer than what needs no bar."""


@pytest.mark.parametrize(
    ("share", "shown"),
    [
        (0.0, "  0 %  1,000 events, 500/s, 0:00 left"),
        (0.25, " 25 %  1,000 events, 500/s, 0:06 left"),
        (1.0, "100 %  1,000 events, 500/s, 0:00 left"),
        (1.7, "100 %  1,000 events, 500/s, 0:00 left"),
        (None, "Importing  1,000 events, 500/s"),
    ],
)
def test_the_line_says_how_far_how_fast_and_how_long(share: float | None, shown: str) -> None:
    text = progress_text("Importing", 1000, share, 2.0)
    assert text.endswith(shown)
    assert text.count("█") == (24 if share is not None and share >= 1 else 6 if share else 0)


@pytest.fixture
def older(tmp_path: Path) -> Path:
    path = tmp_path / "events.jsonl"
    with path.open("w") as file:
        for number in range(LINES):
            stamp = f"2025-11-29T10:{number // 60 % 60:02d}:{number % 60:02d}.{number:06d}"
            file.write(json.dumps({"ts": stamp, "kind": "training_step", "step": number}) + "\n")
    return path


def run_in_a_terminal(home: Path, *arguments: str) -> str:
    """Run `realm` with stderr on a terminal; what that was sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "realm_telemetry", *arguments],
        env=os.environ | {"REALM_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    sent = b""
    try:
        while piece := os.read(ours, 65_536):
            sent += piece
    except OSError:  # Linux: nobody has the other end open any more
        pass
    finally:
        os.close(ours)
    assert process.wait(30) == 0, sent
    return sent.decode()


def test_a_terminal_sees_an_import_grow_and_a_clean_line_at_its_end(
    older: Path, tmp_path: Path
) -> None:
    sent = run_in_a_terminal(tmp_path / "home", "import", str(older))
    pieces = [piece for piece in sent.split("\r\x1b[K") if piece]
    assert len(pieces) > 1
    assert all(piece.startswith("Importing events.jsonl  ") for piece in pieces)
    assert sent.endswith("\r\x1b[K")


def test_whoever_is_no_terminal_gets_no_progress(older: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "realm_telemetry", "import", str(older)],
        env=os.environ | {"REALM_HOME": str(tmp_path / "home")},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""
    assert f"{LINES:,} events imported" in done.stdout
