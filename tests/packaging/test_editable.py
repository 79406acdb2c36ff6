"""An editable install without pages works, and says what is missing."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from .conftest import Run

PORTS = ("--port", "0", "--battle-log-port", "0", "--ui-port", "0")


@pytest.fixture
def realm(clone: Path, python_with_dependencies: Path, run: Run) -> Path:
    """The executable of an editable install of a clone without pages."""
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    run(python_with_dependencies, *install, "--editable", clone)
    return python_with_dependencies.with_name("realm")


def test_serve_and_doctor_say_that_the_pages_are_not_built(
    realm: Path, clone: Path, environment: dict[str, str], run: Run
) -> None:
    """Each in one line with the command that builds them; the doctor finds nothing worse."""
    found = json.loads(run(realm, "doctor", "--no-round-trip", "--json"))["checks"]
    pages = [finding for finding in found if finding["check"] == "pages"]
    assert [finding["level"] for finding in pages] == ["warning"]
    assert "make pages" in pages[0]["fix"]
    printed = banner(realm, environment)
    assert [line for line in printed.splitlines() if "make pages" in line] == [
        "  The pages are not built. Build them in the checkout: make pages"
    ]
    static = clone / "realm_telemetry" / "service" / "static"
    (static / "runs").mkdir(parents=True)
    for name in (
        "index.html",
        "runs.html",
        "runs/run.html",
        "battle-log.html",
        "alerts.html",
        "compare.html",
        "service-health.html",
    ):
        (static / name).write_text("built")
    assert "make pages" not in banner(realm, environment)
    assert "make pages" not in run(realm, "doctor", "--no-round-trip")


def banner(realm: Path, environment: dict[str, str]) -> str:
    """What `realm serve` printed until it answered Ctrl-C."""
    process = subprocess.Popen(
        [realm, "serve", *PORTS], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    printed = ""
    while "  log  " not in printed:
        line = process.stdout.readline()
        assert line, printed
        printed += line
    process.send_signal(signal.SIGINT)
    printed += process.communicate(timeout=60)[0]
    assert process.returncode == 0
    return printed
