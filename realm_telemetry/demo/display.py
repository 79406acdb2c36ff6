"""What the demo prints: events as they happen, and the progress below them."""

import os
import threading
from collections.abc import Callable
from typing import Final, TextIO

import msgspec

from realm_telemetry.event import Event
from realm_telemetry.kinds.catalog import is_routine
from realm_telemetry.kinds.line import format_line

_QUIET: Final = frozenset({"eval_started", "eval_suite_triggered", "ledger_updated"})
"""Kinds that say little beside others; both views have them."""

_BAR_WIDTH: Final = 30
_CLEAR_LINE: Final = "\r\x1b[K"
_QUARTERS: Final = 4


class Display:
    """Writes lines from several threads.

    A terminal has the progress on its last line; a file gets a line each quarter of the way.
    on_closed: called when the reader has gone, as after `realm demo | head`.
    """

    def __init__(self, stream: TextIO, *, colour: bool, on_closed: Callable[[], None]) -> None:
        self._stream = stream
        self._colour = colour
        self._on_closed = on_closed
        self._terminal = stream.isatty()
        self._lock = threading.Lock()
        self._status = ""
        self._quarter = 0

    def say(self, text: str = "") -> None:
        """Write a line, or several."""
        with self._lock:
            self._write(text)

    def show(self, event: Event) -> None:
        """Write an event, if it is of interest; a training step moves the progress."""
        with self._lock:
            if event.kind == "training_step":
                self._progress(event)
            elif not is_routine(event.kind) and event.kind not in _QUIET:
                # Hero, campaign and run are the same on every line.
                plain = msgspec.structs.replace(event, hero_id=None, campaign_id=None, run_id=None)
                self._write(format_line(plain, self._colour))

    def end_progress(self) -> None:
        """Take the progress away."""
        with self._lock:
            if self._status:
                self._put(_CLEAR_LINE)
            self._status, self._quarter = "", 0

    def _progress(self, event: Event) -> None:
        step, total = int(event.details["step"]), int(event.details["total_steps"])
        done = _BAR_WIDTH * step // total
        line = (
            f"{'█' * done}{'░' * (_BAR_WIDTH - done)} step {step:,} of {total:,},"
            f" loss {event.details['loss']:.4f},"
            f" {event.details['samples_per_second']:,.0f} samples/s"
        )
        if self._terminal:
            self._status = line
            self._put(_CLEAR_LINE + line)
        elif _QUARTERS * step // total > self._quarter:
            self._quarter = _QUARTERS * step // total
            self._write(line)

    def _write(self, text: str) -> None:
        before = _CLEAR_LINE if self._status else ""
        self._put(f"{before}{text}\n{self._status}")

    def _put(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except BrokenPipeError:
            # What is still buffered would raise again at exit (docs.python.org, signal module).
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self._on_closed()
