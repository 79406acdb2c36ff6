"""`realm demo --endings`: trainings that end well, and in the ways that trainings break."""

import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from realm_telemetry.client import ServiceError
from realm_telemetry.config import Settings, load_settings
from realm_telemetry.demo.children import Child, environment
from realm_telemetry.demo.display import Display
from realm_telemetry.demo.lab import ended_by_signals
from realm_telemetry.demo.service import DemoService, Ports, find_or_start
from realm_telemetry.home import LOGS
from realm_telemetry.kinds.line import wants_colour

HOME: Final = Path(".demo/endings")
"""Below the current directory; of its own, because its limits for a stall are short."""

WITHIN_S: Final = 90.0
INTERRUPTED: Final = 130

EXPECTED: Final = {
    "completed": "completed",
    "exception": "failed",
    "exit-code": "failed",
    "sigkill": "killed",
    "stall": "stalled",
    "nan": "completed",
}
"""The status in which each training is to be found, by its way to end."""

_SETTINGS: Final = "# Of `realm demo --endings`.\n[watch]\nstall_min_s = 5\n"
_POLL_S: Final = 0.25
_END_S: Final = 1.5
_COLOURS: Final = {"completed": "\x1b[32m", "stalled": "\x1b[33m"}
_RED, _PLAIN = "\x1b[31m", "\x1b[0m"


def run(*, home: Path | None = None, ports: Ports, colour: bool | None = None) -> int:
    """Run the trainings, and show what became of each; 0 if all were understood.

    home: the REALM_HOME; `.demo/endings` here if None.
    Raises ConfigError if the service does not start.
    """
    home = (home or HOME).absolute()
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (home / "realm.toml").exists():
        (home / "realm.toml").write_text(_SETTINGS, encoding="utf-8")
    settings = load_settings({"home": home})
    if colour is None:
        colour = wants_colour(sys.stdout, os.environ)
    with ended_by_signals() as stopping:
        display = Display(sys.stdout, colour=colour, on_closed=stopping.set)
        service = find_or_start(settings, ports, stopping.is_set)
        try:
            lab = _Lab(settings, service, display, stopping, colour=colour)
            good = lab.run()
        finally:
            service.end_by(time.monotonic() + _END_S)
        display.say(f"More of each: REALM_HOME={home} realm runs, realm show RUN")
    if stopping.is_set():
        return INTERRUPTED
    return 0 if good else 1


class _Lab:
    """The trainings, and what the service says of them."""

    def __init__(
        self,
        settings: Settings,
        service: DemoService,
        display: Display,
        stopping: threading.Event,
        *,
        colour: bool,
    ) -> None:
        self._settings = settings
        self._service = service
        self._display = display
        self._stopping = stopping
        self._colour = colour
        mark = time.strftime("%m%d-%H%M%S")
        self._run_of = {way: f"{way}-{mark}" for way in EXPECTED}

    def run(self) -> bool:
        """Start all, and wait until each is where it is to be; whether it is."""
        self._display.say(
            "Six trainings start: one ends well, one meets an exception, one leaves with a code,\n"
            "one is killed, one hangs, and one has a loss that becomes NaN.\n"
        )
        children = [self._start(way) for way in EXPECTED]
        try:
            found = self._await()
        finally:
            for child in children:
                child.kill()
        good = all(found.get(way, {}).get("status") == status for way, status in EXPECTED.items())
        if not good and not self._stopping.is_set():
            self._display.say(f"Not all were understood within {WITHIN_S:.0f} s.")
        return good

    def _start(self, way: str) -> Child:
        variables = environment(self._settings.home, self._service.url)
        return Child(
            way,
            "realm_telemetry.demo.ending",
            [way],
            environment=variables | {"REALM_RUN_ID": self._run_of[way]},
            log_file=self._settings.home / LOGS / f"demo-{way}.log",
        )

    def _await(self) -> dict[str, dict[str, Any]]:
        """Say what becomes of each as soon as it is known; what was found last."""
        found: dict[str, dict[str, Any]] = {}
        deadline_s = time.monotonic() + WITHIN_S
        while len(found) < len(EXPECTED) and time.monotonic() < deadline_s:
            if self._stopping.wait(_POLL_S):
                break
            for way, run in self._look().items():
                if way not in found and run["status"] != "running":
                    found[way] = run
                    self._display.say(self._line(way, run))
        return found

    def _look(self) -> dict[str, dict[str, Any]]:
        try:
            with self._service.client() as client:
                runs = {run["run_id"]: run for run in client.runs(limit=100)}
        except ServiceError:  # it is not up yet, or busy
            return {}
        return {way: runs[run_id] for way, run_id in self._run_of.items() if run_id in runs}

    def _line(self, way: str, run: dict[str, Any]) -> str:
        status = f"{run['status']:<10}"
        if self._colour:
            status = f"{_COLOURS.get(run['status'], _RED)}{status}{_PLAIN}"
        reason = run["reason"] or ""
        warnings = run.get("warnings") or {}
        nan = "  (its loss was not finite)" if way == "nan" and warnings else ""
        return f"  {self._run_of[way]:<26} {status} {reason}{nan}"
