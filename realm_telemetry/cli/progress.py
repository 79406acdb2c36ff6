"""How far long work is: one line on stderr, where a terminal shows it."""

import shutil
import sys
import time
from types import TracebackType
from typing import Final, Self

from realm_telemetry.cli.terminal import bar

EVERY_S: Final = 0.1
SHOW_AFTER_S: Final = 0.5
"""Work that is done sooner needs no bar."""

_BAR: Final = 24


class ProgressLine:
    """Called with the events done and the share of the work; wipes its line at the end."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._shown = sys.stderr.isatty()
        self._started_s = time.monotonic()
        self._next_s = self._started_s + SHOW_AFTER_S
        self._written = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._written:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, events: int, share: float | None) -> None:
        """Show how far it is, ten times a second at the most."""
        now_s = time.monotonic()
        if not self._shown or now_s < self._next_s:
            return
        self._next_s, self._written = now_s + EVERY_S, True
        text = progress_text(self._doing, events, share, now_s - self._started_s)
        sys.stderr.write(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}")
        sys.stderr.flush()


def progress_text(doing: str, events: int, share: float | None, elapsed_s: float) -> str:
    """Return the line: what is done, a bar, how many events, how fast, how long it will take."""
    rate = f"{events:,} events, {events / max(elapsed_s, 1e-9):,.0f}/s"
    if share is None:
        return f"{doing}  {rate}"
    thousandths = round(min(max(share, 0.0), 1.0) * 1000)
    left_s = elapsed_s * (1000 - thousandths) / thousandths if thousandths else 0.0
    shown = f"{bar(thousandths, 1000, _BAR):<{_BAR}}"
    return f"{doing}  {shown} {thousandths // 10:3d} %  {rate}, {_duration(left_s)} left"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
