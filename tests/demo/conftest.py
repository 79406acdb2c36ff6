"""Run the demo in a process of its own, and find whatever it leaves behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import pytest

_CODE = """
import sys
from pathlib import Path
from realm_telemetry.demo import run
sys.exit(run(home=Path(sys.argv[1]), **eval(sys.argv[2])))
"""


class DemoProcess:
    """A quick demo on free ports by default, in a home of its own."""

    def __init__(self, home: Path, **options: object) -> None:
        self.home = home
        given = {"quick": True, "port": 0, "battle_log_port": 0, "ui_port": 0} | options
        foreign = ("REALM_", "OTEL_")
        self._process = subprocess.Popen(
            [sys.executable, "-c", _CODE, str(home), repr(given)],
            env={key: value for key, value in os.environ.items() if not key.startswith(foreign)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read_until(self, word: str) -> str:
        """Return the output up to a line with a word in it; pytest-timeout ends a wait in vain."""
        assert self._process.stdout is not None
        lines = []
        for line in self._process.stdout:
            lines.append(line)
            if word in line:
                return "".join(lines)
        raise AssertionError(f"no {word!r} in:\n{''.join(lines)}")

    def stop_reading(self) -> None:
        """Close the output, as `head` does."""
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.stdout = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the lab alone."""
        self._process.send_signal(number)

    def ended(self, timeout_s: float = 90) -> subprocess.CompletedProcess[str]:
        """Wait for the end; returns exit code and the rest of the output."""
        output, errors = self._process.communicate(timeout=timeout_s)
        return subprocess.CompletedProcess([], self._process.returncode, output, errors)

    def left(self, *but: str) -> dict[int, str]:
        """Return what runs for this home, less the commands with one of the given words in them."""
        found = {}
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                environ = (process / "environ").read_bytes().split(b"\0")
                ours = str(self.home) in command or f"REALM_HOME={self.home}".encode() in environ
                if command and ours and not any(word in command for word in but):
                    found[int(process.name)] = command
        return found

    def end_all(self) -> None:
        """End whatever a test has left."""
        for pid in self.left():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.ended(timeout_s=10)


@contextmanager
def _demo_process(home: Path, **options: object) -> Iterator[DemoProcess]:
    process = DemoProcess(home, **options)
    try:
        yield process
    finally:
        process.end_all()


@pytest.fixture(scope="session")
def demo_process() -> Callable[..., AbstractContextManager[DemoProcess]]:
    """Run the demo: a context that leaves no process behind."""
    return _demo_process


@pytest.fixture(scope="session")
def until() -> Callable[[Callable[[], bool], float], bool]:
    """Wait for something; returns whether it came true in time."""

    def wait(wanted: Callable[[], bool], timeout_s: float) -> bool:
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            if wanted():
                return True
            time.sleep(0.05)
        return wanted()

    return wait
