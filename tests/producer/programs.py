"""Programs that train and end, in processes of their own, and the events that they left."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from realm_telemetry.event import Event
from realm_telemetry.spool.frames import decode_event
from realm_telemetry.spool.reader import SpoolReader

HEAD = """
import faulthandler, os, signal, subprocess, sys, threading, time
import realm_telemetry as realm
HOME = sys.argv[1]
"""
SETUP = HEAD + "realm.configure(home=HOME, shipper='none')\n"
OTHERS = ("REALM_", "OTEL_", "PYTEST", "TORCHELASTIC_", "SLURM_")


class Ended(NamedTuple):
    """A program that has ended."""

    code: int
    output: str
    errors: str
    events: list[Event]

    def of(self, *kinds: str) -> list[Event]:
        """Return its events of some kinds, in order."""
        return [event for event in self.events if event.kind in kinds]

    def one(self, kind: str) -> Event:
        """Return its only event of a kind."""
        (event,) = self.of(kind)
        return event


def environment(**environ: str) -> dict[str, str]:
    """Return this process's environment without what names a run or a pipeline."""
    return {k: v for k, v in os.environ.items() if not k.startswith(OTHERS)} | environ


def program(home: Path, code: str, *, setup: str = SETUP, **environ: str) -> Ended:
    """Run a program to its end."""
    return _ended(["-c", setup + code, str(home)], home, environ)


def script(path: Path, code: str, home: Path, *options: str, typed: str = "") -> Ended:
    """Run a program to its end as a file, which `spawn` imports again.

    options: of the interpreter. typed: what it reads from its standard input.
    """
    path.write_text(HEAD + code, encoding="utf-8")
    return _ended([*options, str(path), str(home)], home, {}, typed)


def _ended(arguments: list[str], home: Path, environ: dict[str, str], typed: str = "") -> Ended:
    answer = subprocess.run(
        [sys.executable, *arguments],
        input=typed,
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(**environ),
        check=False,
    )
    return Ended(answer.returncode, answer.stdout, answer.stderr, events_in(home))


def events_in(home: Path) -> list[Event]:
    """Return what all producers of a home have spooled, one producer after the other."""
    found: list[Event] = []
    controls = sorted(home.glob("spool/*/*/control"), key=lambda path: path.parent.stat().st_mtime)
    for control in controls:
        reader = SpoolReader(control.parent)
        frames = [frame for frame in reader.read(100_000) if frame.format == 1]
        reader.close()
        found += [decode_event(f.payload, control.parent.name, f.number) for f in frames]
    return found
