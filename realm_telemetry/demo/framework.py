"""`realm demo --framework`: a training with a framework, recorded without a line of code for it."""

import os
import shutil
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from realm_telemetry.client import ServiceError
from realm_telemetry.config import Settings, load_settings
from realm_telemetry.demo.children import Child, environment
from realm_telemetry.demo.display import Display
from realm_telemetry.demo.lab import ended_by_signals
from realm_telemetry.demo.service import DemoService, Ports, find_or_start
from realm_telemetry.errors import ConfigError
from realm_telemetry.home import LOGS
from realm_telemetry.kinds.line import wants_colour

HOME: Final = Path(".demo/frameworks")
"""Below the current directory."""

NEEDED: Final = {"transformers": ("torch", "transformers", "accelerate")}
"""The packages that each framework's training imports, under the names that pip knows."""

STEPS: Final = 600
QUICK_STEPS: Final = 40
INTERRUPTED: Final = 130
_STARTS_WITHIN_S: Final = 90.0
_ENDS_WITHIN_S: Final = 120.0
_POLL_S: Final = 0.25
_END_S: Final = 1.5
_LINES: Final = 10


def run(framework: str, *, home: Path | None = None, ports: Ports, quick: bool = False) -> int:
    """Train a tiny random network for about 30 s, and show how it goes; 0 if it completed.

    framework: a key of NEEDED. quick: some seconds.
    home: the REALM_HOME; `.demo/frameworks` here if None.
    Raises ConfigError where packages are missing, or if the service does not start.
    """
    _check_packages(framework)
    home = (home or HOME).absolute()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings = load_settings({"home": home})
    with ended_by_signals() as stopping:
        colour = wants_colour(sys.stdout, os.environ)
        display = Display(sys.stdout, colour=colour, on_closed=stopping.set)
        display.say(f"A training with {framework} begins; no line of it knows of telemetry.")
        service = find_or_start(settings, ports, stopping.is_set)
        try:
            display.say("\n".join([*service.notes, ""]).rstrip())
            training = _Training(framework, settings, service, display, stopping)
            status = training.run(QUICK_STEPS if quick else STEPS)
        finally:
            service.end_by(time.monotonic() + _END_S)
        display.say(f"All of it: REALM_HOME={home} realm show {training.run_id}")
    if stopping.is_set():
        return INTERRUPTED
    return 0 if status == "completed" else 1


def _check_packages(framework: str) -> None:
    missing = [name for name in NEEDED[framework] if find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"realm demo --framework {framework}",
            f"needs {', '.join(missing)}, which this Python lacks ({sys.executable})",
            f"Install what it trains with: pip install {' '.join(NEEDED[framework])}",
        )
    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise ConfigError(
            f"realm demo --framework {framework}",
            "needs the service, which is not installed",
            "Install the extra: pip install 'realm-telemetry[service]'",
        )


class _Training:
    """One training below `realm run`, and what the service says of it."""

    def __init__(
        self,
        framework: str,
        settings: Settings,
        service: DemoService,
        display: Display,
        stopping: threading.Event,
    ) -> None:
        self.run_id = f"{framework}-{time.strftime('%m%d-%H%M%S')}"
        self._framework = framework
        self._settings = settings
        self._service = service
        self._display = display
        self._stopping = stopping

    def run(self, steps: int) -> str | None:
        """Train, and return the status of the run; None while the log does not know it."""
        self._display.say(f"  http://localhost:{self._service.ports.pages}/runs/{self.run_id}\n")
        child = self._start(steps)
        try:
            found = self._follow(child, steps)
        finally:
            child.terminate()
            child.end_by(time.monotonic() + _END_S)
        if found is not None:
            self._display.say(f"{found['status']}: {found['reason'] or 'it reached its end'}")
        elif not self._stopping.is_set():
            self._display.say(child.problem or f"Nothing was heard of it; see {child.log_file}.")
        return found["status"] if found is not None else None

    def _start(self, steps: int) -> Child:
        directory = self._settings.home / f"demo-{self._framework}"
        shutil.rmtree(directory, ignore_errors=True)
        module = f"realm_telemetry.demo.{self._framework}_training"
        words = [sys.executable, "-m", module, str(directory), str(steps)]
        return Child(
            f"The training with {self._framework}",
            "realm_telemetry",
            ["run", "--run-id", self.run_id, "--", *words],
            environment=environment(self._settings.home, self._service.url),
            log_file=self._settings.home / LOGS / f"demo-{self._framework}.log",
        )

    def _follow(self, child: Child, steps: int) -> dict[str, Any] | None:
        """Say how far it is, a line every tenth of the way; the run once it has ended."""
        shown, began_s = 0, time.monotonic()
        while not self._stopping.wait(_POLL_S):
            run = self._look()
            step = int((run or {}).get("step") or 0)
            if run is not None and step >= shown + steps // _LINES:
                shown = step
                self._display.say(_line(run, steps))
            if run is not None and run["status"] != "running" and not child.running:
                return run
            passed_s = time.monotonic() - began_s
            if passed_s > _ENDS_WITHIN_S or (run is None and passed_s > _STARTS_WITHIN_S):
                return None
            if run is None and not child.running and child.problem:
                return None
        return None

    def _look(self) -> dict[str, Any] | None:
        try:
            with self._service.client() as client:
                runs = client.runs(q=self.run_id, limit=10)
        except ServiceError:  # it is not up yet, or busy
            return None
        return next((run for run in runs if run["run_id"] == self.run_id), None)


def _line(run: dict[str, Any], steps: int) -> str:
    loss = run.get("loss")
    shown = f"loss {loss:.4g}" if isinstance(loss, int | float) else ""
    return f"  step {run['step']:>4} of {steps}   {shown}".rstrip()
