"""The demo: a lab that trains a network on handwritten digits and emits what happens.

`trainer.py` and `worker.py` show how programs of one's own use realm_telemetry; `lab.py` runs
them, and `verdict.py` checks that every event arrived.
"""

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from realm_telemetry.errors import ConfigError

__all__ = ["run"]

HOME: Final = Path(".demo/realm")
"""Below the current directory."""

INTERRUPTED: Final = 130
_SERVICE_END_S: Final = 1.2
_NEEDED: Final = ("numpy", "sklearn", "starlette", "uvicorn")


def run(
    *,
    home: Path | None = None,
    once: bool = False,
    quick: bool = False,
    port: int = 8866,
    battle_log_port: int = 8767,
    ui_port: int = 8888,
    colour: bool | None = None,
) -> int:
    """Run the lab in the foreground until Ctrl-C; returns the exit code.

    home: the REALM_HOME of the demo; `.demo/realm` here if None. History stays in it.
    once: end after one campaign; the code is 0 only if every event arrived in both views, the
        killed worker and the failed job were seen and the network learned, else 1.
    quick: a campaign of seconds, for tests. Ports: 0 is any free one.
    colour: None decides by the terminal and NO_COLOR.
    Raises ConfigError without the extra `demo`, or if the service does not start.
    """
    _check_extra()
    from realm_telemetry.config import load_settings
    from realm_telemetry.demo.campaign import QUICK, Plan
    from realm_telemetry.demo.display import Display
    from realm_telemetry.demo.lab import Lab, ended_by_signals
    from realm_telemetry.demo.service import Ports, find_or_start
    from realm_telemetry.demo.verdict import links
    from realm_telemetry.kinds.line import wants_colour

    settings = load_settings({"home": (home or HOME).absolute()})
    if colour is None:
        colour = wants_colour(sys.stdout, os.environ)
    with ended_by_signals() as stopping:
        display = Display(sys.stdout, colour=colour, on_closed=stopping.set)
        display.say("⚔️  The lab opens: a network learns to read handwritten digits.")
        wanted = Ports(port, battle_log_port, ui_port)
        service = find_or_start(settings, wanted, stopping.is_set)
        try:
            display.say("\n".join([*service.notes, *links(service.ports), ""]))
            lab = Lab(settings, service, QUICK if quick else Plan(), display, stopping)
            good = stopping.is_set() or lab.run(once=once)
        finally:
            display.end_progress()
            service.end_by(time.monotonic() + _SERVICE_END_S)
        display.say(f"The lab is closed. Its history: REALM_HOME={settings.home} realm query")
        if stopping.is_set():
            return INTERRUPTED if once else 0
        return 0 if good else 1


def _check_extra() -> None:
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise ConfigError(
            "realm demo",
            f"needs {', '.join(missing)}, which is not installed",
            "Install the extra: pip install 'realm-telemetry[demo]'",
        )
