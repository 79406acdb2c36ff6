"""What the README says is so."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MANUAL = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *(ROOT / "docs").rglob("*.md"),
]
PORTS = (8866, 8767, 8888)


def environment(home: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REALM_", "OTEL_", "PYTEST"))}
    return clean | {
        "REALM_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Path]:
    """`realm serve` with no option at all, on the addresses that the lab knows."""
    if any(map(taken, PORTS)):
        pytest.skip(f"one of the ports {PORTS} is in use on this machine")
    process = subprocess.Popen(
        ["realm", "serve"], env=environment(tmp_path), stdout=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while not all(map(taken, PORTS)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield tmp_path
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_the_quick_start_is_the_tested_example() -> None:
    """Word for word, in about 20 lines."""
    example = (ROOT / "examples" / "quickstart.py").read_text()
    code = blocks("python")[0]
    assert code.strip() == example.split('"""', 2)[2].strip()
    assert len([line for line in code.splitlines() if line.strip()]) <= 20


@pytest.mark.alone  # on the addresses that producers of other tests know as well
@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="needs curl and jq")
def test_the_curl_lines_show_recent_training_events(served: Path) -> None:
    """As written, in the live view and in the history."""
    quick_start = [sys.executable, str(ROOT / "examples" / "quickstart.py")]
    answer = subprocess.run(
        quick_start, env=environment(served), capture_output=True, text=True, check=True
    )
    assert answer.stdout == ""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    commands = [line for line in lines if line.startswith("curl ")]
    assert len(commands) == 2
    for command in commands:
        shown = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
        event = json.loads(shown.stdout)
        assert (event["kind"], event["details"]["status"]) == ("run_ended", "completed")
        assert event["channel"] == "training"
        assert event["hero_id"] == "dio"


@pytest.mark.alone
def test_the_realm_commands_run(served: Path) -> None:
    """Those that come back by themselves, with the exit code that the manual gives them."""
    commands = [
        line.split("#")[0].strip()
        for block in blocks("sh")
        for line in block.splitlines()
        if line.startswith("realm ") and "-f" not in line and line != "realm up"
    ]
    assert len(commands) >= 2
    (served / "train.py").write_text("print('trained')\n")
    for command in commands:
        answer = subprocess.run(
            command, shell=True, env=environment(served), cwd=served,
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert answer.returncode == 0, (command, answer.stdout, answer.stderr)


def test_every_link_leads_somewhere() -> None:
    """In the files of the root and in every page of the manual."""
    for page in MANUAL:
        for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http:", "https:")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_make_target_that_is_named_exists() -> None:
    """And says in `make help` what it does."""
    text = README + (ROOT / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))
    described = set(re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= described
