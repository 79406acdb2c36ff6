"""A real service in a process of its own, and a real browser."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from realm_telemetry.service.pages import BuiltPages
from tests.ports import free_port

PRODUCER = "00000000000000bb"
SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without a browser or pages these tests are skipped, but never in CI."""
    missing = None
    if CHROMIUM is None:
        missing = "needs chromium: apt install chromium"
    elif not BuiltPages().built:
        missing = "needs the pages: make pages"
    for item in items:
        here = Path(__file__).parent in item.path.parents
        if here and missing is not None and "CI" not in os.environ:
            item.add_marker(pytest.mark.skip(reason=missing))


class Lab:
    """`realm serve` on a home of its own; it can be killed and restarted at the same port."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self.client = httpx.Client(base_url=self.url, timeout=30)

    def start(self) -> None:
        """Start the service and wait until it is ready."""
        ports = ["--port", str(self.port), "--battle-log-port", "0", "--ui-port", "0"]
        with (self.home / "serve.err").open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "realm_telemetry", "serve", *ports],
                env=environment(self.home),
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        deadline = time.monotonic() + 60
        while not self._ready():
            assert self._process.poll() is None, (self.home / "serve.err").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def _ready(self) -> bool:
        try:
            return self.client.get("/ready").status_code == 200
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def post(self, shapes: list[dict[str, Any]]) -> None:
        """Store events over HTTP."""
        answer = self.client.post("/api/v1/events", json={"events": shapes})
        assert answer.status_code == 200, answer.text
        assert not answer.json()["rejected"], answer.text

    def notes(self, first: int, last: int, **fields: Any) -> None:
        """Store numbered notes."""
        self.post([note(number, **fields) for number in range(first, last + 1)])

    def emitting(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a producer; see emitting.py."""
        script = Path(__file__).with_name("emitting.py")
        command = [sys.executable, str(script), *arguments]
        return subprocess.Popen(command, env=environment(self.home, self.url))

    def ids(self, **filters: str) -> list[str]:
        """The ids of all events that the log has, oldest arrival first."""
        answer = self.client.get("/api/battle_log/export", params=filters)
        rows = [httpx.Response(200, content=line).json() for line in answer.text.splitlines()]
        return [row["id"] for row in sorted(rows, key=lambda row: row["cursor"])]


def environment(home: Path, url: str = "") -> dict[str, str]:
    """The environment of the lab's processes."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("REALM_", "OTEL_", "PYTEST"))}
    return clean | {"REALM_HOME": str(home)} | ({"REALM_SERVICE_URL": url} if url else {})


def note(number: int, **fields: Any) -> dict[str, Any]:
    """The JSON shape of an event."""
    given = {"kind": "note", "message": f"Note {number}", "producer": PRODUCER, "number": number}
    return given | {"details": {"n": number}} | fields


@contextmanager
def running_lab(home: Path) -> Iterator[Lab]:
    """A lab while it is needed."""
    made = Lab(home)
    made.start()
    try:
        yield made
    finally:
        made.kill()
        made.client.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A running lab."""
    with running_lab(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab for all read-only tests of a module."""
    with running_lab(tmp_path_factory.mktemp("lab")) as made:
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module's tests; each test gets a profile of its own.

    No longer than that: while Playwright runs, its event loop is this thread's running one, and
    tests elsewhere call `asyncio.run`.
    """
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield running
        running.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh profile."""
    made = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    made.set_default_timeout(60_000)
    yield made
    made.close()


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab; errors and refused content in it fail the test."""
    with watched_page(context) as opened:
        yield opened


@contextmanager
def watched_page(context: BrowserContext) -> Iterator[Page]:
    """A tab; afterwards it must have had no errors."""
    opened = context.new_page()
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("console", lambda line: problems.append(line.text) if is_problem(line) else None)
    yield opened
    assert not problems


def is_problem(message: Any) -> bool:
    """Whether a console message is an error of the page; an unreachable service is not."""
    return message.type == "error" and not re.search(r"ERR_|Failed to load", message.text)
