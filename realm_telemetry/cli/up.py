"""`realm up`: the RealmService in the background, or as a service of the user's systemd."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from realm_telemetry.cli.command import command, json_option, timeout_option
from realm_telemetry.cli.problems import EXIT_PROBLEM, Problem, write_problem
from realm_telemetry.cli.terminal import json_document, line
from realm_telemetry.client import RealmClient, ServiceError
from realm_telemetry.config import load_settings
from realm_telemetry.errors import ConfigError
from realm_telemetry.home import (
    LOGS,
    RunningService,
    make_private_directory,
    running_service,
    said_service,
)
from realm_telemetry.home.shared import read_service, serves

UNIT: Final = "realm-telemetry.service"
_POLL_S: Final = 0.05
_SHOWN_LINES: Final = 8
_TIMEOUT_S: Final = 30.0


class NotUpError(Exception):
    """The service did not come up. output: the last lines that it printed."""

    def __init__(self, message: str, log: Path) -> None:
        super().__init__(message)
        self.log = log


@command(
    examples=(
        ("realm up", "Start the service of this home, unless it runs; print where it is."),
        ("realm up -- --port 9866 --ui-port 9888", "With options of `realm serve`."),
        ("realm up --install", "Write a unit for systemd, so that it starts with your session."),
    )
)
@click.option("--install", is_flag=True, help="Write the unit, and start nothing.")
@json_option("Print one JSON object: url, pages, pid, started.")
@timeout_option(_TIMEOUT_S, "How long to wait until it answers.")
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[-- OPTIONS OF SERVE]")
def up(install: bool, as_json: bool, timeout_s: float, options: Sequence[str]) -> int:
    """Start the RealmService in the background, once.

    It goes on when the terminal is closed, and writes into logs/service.log of the home. A second
    `realm up` changes nothing. `realm down` ends it.
    """
    chosen = load_settings()
    home = chosen.home
    if install:
        path = _write_unit(home, options)
        line(f"Wrote {path}. Start it now, and with every session of yours:")
        line(f"  systemctl --user daemon-reload && systemctl --user enable --now {UNIT}")
        return 0
    if home.is_file():
        raise ConfigError("REALM_HOME", f"{home} is a file", "Set it to a directory.")
    running = said_service(home) or _elsewhere(chosen.shared_home)
    was_up = running is not None
    if running is not None and not _is_reached(running):
        message = f"The service of this home runs in another container, as {running.url} there."
        hint = "Set service_url (REALM_SERVICE_URL) to where it is reached from here, or end it."
        write_problem(Problem("elsewhere", message, hint, EXIT_PROBLEM), as_json)
        return EXIT_PROBLEM
    try:
        running = running or start(home, options, timeout_s)
    except NotUpError as error:
        hint = f"All that it printed is in {error.log}."
        write_problem(Problem("service_not_up", str(error), hint, EXIT_PROBLEM), as_json)
        return EXIT_PROBLEM
    if as_json:
        facts = {"url": running.url, "pages": running.pages, "pid": running.pid}
        json_document({**facts, "started": not was_up})
    else:
        line(f"{running.pages}  the service is {'up already' if was_up else 'up'}")
    return 0


def _elsewhere(shared: Path | None) -> RunningService | None:
    """The service of a shared home that runs on another host; None if none answers."""
    try:
        found = read_service(shared) if shared is not None else None
    except ConfigError:  # the one that is started now writes it anew
        return None
    url = found and next((each for each in found.urls if serves(each, found.log_id)), None)
    return RunningService(url, found.pages, 0, 0) if found and url else None


def start(home: Path, options: Sequence[str] = (), timeout_s: float = _TIMEOUT_S) -> RunningService:
    """Start the service of a home and wait until it answers. Raises NotUpError, OSError."""
    make_private_directory(home / LOGS)
    log = home / LOGS / "service.log"
    with log.open("ab") as output:
        begins_at = output.tell()
        process = subprocess.Popen(
            [sys.executable, "-m", "realm_telemetry", "serve", *options],
            env={**os.environ, "REALM_HOME": str(home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            start_new_session=True,
        )
    deadline_s = time.monotonic() + timeout_s
    while True:
        running = running_service(home)
        if running is not None and _answers(running):
            return running
        if process.poll() is not None and running is None:
            printed = log.read_bytes()[begins_at:].decode("utf-8", "replace").splitlines()
            said = "\n".join(printed[-_SHOWN_LINES:])
            raise NotUpError(f"The service did not come up: {said}", log)
        if time.monotonic() > deadline_s:
            raise NotUpError(f"The service does not answer after {timeout_s:g} s.", log)
        time.sleep(_POLL_S)


def _is_reached(running: RunningService) -> bool:
    """Whether a service of this home is the one that answers at its address, asked from here."""
    return running.is_on_this_network or serves(running.url, running.log_id)


def _answers(running: RunningService) -> bool:
    with RealmClient(running.url, timeout_s=1.0) as client, suppress(ServiceError):
        client.health()
        return True
    return False


def _write_unit(home: Path, options: Sequence[str]) -> Path:
    """Write the unit of the user's systemd; returns its path. Raises OSError."""
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    path = Path(config) / "systemd" / "user" / UNIT
    path.parent.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "realm_telemetry", "serve", *options]
    path.write_text(
        "[Unit]\n"
        "Description=RealmService: events of trainings, live and historic\n"
        "\n"
        "[Service]\n"
        f"Environment={_quoted(f'REALM_HOME={home}')}\n"
        f"ExecStart={' '.join(map(_quoted, words))}\n"
        "Restart=on-failure\n"
        "\n"
        "[Install]\n"
        "WantedBy=default.target\n",
        encoding="utf-8",
    )
    return path


def _quoted(word: str) -> str:
    """Quote a word of a unit. Source: systemd.syntax(7), systemd.unit(5) "Specifiers"."""
    word = word.replace("%", "%%").replace("$", "$$")
    if word == shlex.quote(word):
        return word
    return '"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"'
