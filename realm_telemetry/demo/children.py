"""The lab's processes: started with a log file and a lifeline, ended in time.

The lifeline is a pipe: a child ends when the lab does, however the lab ends.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import FrameType
from typing import Final

_TAIL_LINES: Final = 12


class Child:
    """One process, running a module of this Python.

    Its output goes to a file. It has a process group of its own, so that a Ctrl-C in the terminal
    reaches the lab alone, which ends its children in order. name: for messages.
    """

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Iterable[str],
        *,
        environment: Mapping[str, str],
        log_file: Path,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self.killed = False
        log_file.parent.mkdir(parents=True, exist_ok=True)
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=dict(environment),
                process_group=0,
            )

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def problem(self) -> str | None:
        """How it ended, with the end of its output, if that was neither well nor meant."""
        code = self._process.poll()
        if self.killed or code in (None, 0):
            return None
        lines = self.log_file.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"{self.name} ended with exit code {code} ({self.log_file}):", *lines])

    def kill(self) -> None:
        """End it the hard way, with SIGKILL, as the kernel does when memory runs out."""
        self.killed = True
        self._process.kill()
        self._process.wait()

    def let_go(self) -> None:
        """Ask it to end: its lifeline closes. See lifeline.py."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def terminate(self) -> None:
        """Ask it to end with SIGTERM, for programs without a lifeline."""
        self.let_go()
        self._process.terminate()

    def end_by(self, deadline_s: float) -> None:
        """Wait until it has ended, after the deadline with SIGKILL. On time.monotonic's clock."""
        try:
            self._process.wait(max(deadline_s - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            self.kill()
        self.let_go()


def environment(home: Path, service_url: str) -> dict[str, str]:
    """Return the environment of the lab's children: they configure themselves from it."""
    inherited = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return inherited | {
        "REALM_HOME": str(home),
        "REALM_SERVICE_URL": service_url,
        # The arrays are tiny: more threads would only fight over the cores.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


# What would send the demo's events elsewhere than to the home that it checks.
_LEFT_OUT: Final = ("REALM_PIPELINE", "REALM_EXPORTERS", "REALM_SPOOL", "REALM_RUN_ID")


def run_until_told(work: Callable[[], None]) -> int:
    """Run a child's work until it is done, or standard input ends, or a signal asks for the end.

    All of these are one KeyboardInterrupt in the main thread, so the work can end in order.
    Returns the exit code.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    threading.Thread(target=_watch_standard_input, name="lifeline", daemon=True).start()
    try:
        work()
    except KeyboardInterrupt:
        return 0
    finally:
        _ignore_signals()
    return 0


def _watch_standard_input() -> None:
    # The lab holds the other end and never writes; the kernel closes it with the lab's death.
    while os.read(0, 1024):
        pass
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # Once: what ends in order must not be interrupted again.
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
