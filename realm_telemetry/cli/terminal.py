"""How commands print: lines, tables and JSON, colour where it is wanted, progress of long work.

All that a command prints passes here, and no text can drive the terminal or look like other text
than it is, whoever wrote it. JSON in a pipe or a file is exact. Progress is one line on stderr,
only where stderr is a terminal.
"""

import logging
import os
import select
import shutil
import stat
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Literal, Self, TextIO

import click
import msgspec

from realm_telemetry.errors import shown
from realm_telemetry.kinds.line import printable, printable_json, wants_colour

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


PIPE_WIDTH: Final = 100_000
"""Columns where stdout is no terminal: nothing is cut that a program may read."""

GAP: Final = 2
"""Blanks between columns."""

MIN_LAST: Final = 8
WANTED_LAST: Final = 32
"""Columns of a terminal for the last column of a table that can spare others."""

"""The narrowest that the last column is cut to."""

MIN_BAR: Final = 8
MAX_BAR: Final = 40
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def colour() -> bool:
    """Whether standard output is to be coloured (NO_COLOR, FORCE_COLOR, a terminal)."""
    return wants_colour(sys.stdout, os.environ)


def line(text: str) -> None:
    """Print one line."""
    styled_line(printable(text))


def styled_line(text: str) -> None:
    """Print one line with colours in it, made of parts that are printable.

    click would take colours away that FORCE_COLOR asks for.
    """
    click.echo(text, color=True)


def note(text: str) -> None:
    """Print a line about the output, beside it: to stderr. Further lines are indented."""
    click.echo(printable(shown(text), lines=True).replace("\n", "\n  "), sys.stderr)


def json_line(value: Any) -> None:
    """Print a value as one line of JSON."""
    _json(msgspec.json.encode(value), sys.stdout)


def json_document(value: Any) -> None:
    """Print a value as JSON to read."""
    _json(msgspec.json.format(msgspec.json.encode(value), indent=2), sys.stdout)


def json_note(value: Any) -> None:
    """Print a value as one line of JSON beside the output: to stderr."""
    _json(msgspec.json.encode(value), sys.stderr)


def _json(document: bytes, stream: TextIO) -> None:
    text = document.decode()
    click.echo(printable_json(text) if stream.isatty() else text, stream)


class _PrintableFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record), lines=True)


def print_warnings() -> None:
    """Print what is logged as a warning or worse to stderr, as Python does if nobody else does."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.WARNING)
    handler.setFormatter(_PrintableFormatter())
    logging.getLogger().addHandler(handler)


def make_table(columns: Sequence[str], *, numbers: Iterable[str] = ()) -> "Table":
    """Return an empty table with these headings; its cells are made by `cell`.

    numbers: the columns that are aligned to the right.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    right = set(numbers)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in right else "left"
        table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis")
    return table


def print_table(table: "Table") -> None:
    """Print a table as wide as the terminal, or as it needs where there is none."""
    from rich.console import Console

    coloured = colour()
    console = Console(
        file=sys.stdout,
        force_terminal=coloured,
        no_color=not coloured,
        width=_fit(table, width()),
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as captured:
        console.print(table)
    for text in captured.get().splitlines():
        styled_line(text.rstrip())


def without_spare(
    columns: Sequence[str], rows: Sequence[Sequence["Text"]], spare: Sequence[str]
) -> tuple[Sequence[str], Sequence[Sequence["Text"]]]:
    """Leave out columns, those named first in `spare` first, until the last one can be read.

    That is where it has all of its text, or WANTED_LAST columns of the terminal.
    """
    widths = [widest(name, [str(row[place]) for row in rows]) for place, name in enumerate(columns)]
    shown = list(range(len(columns)))
    for name in spare:
        needed = sum(widths[place] + GAP for place in shown[:-1])
        if needed + min(widths[-1], WANTED_LAST) <= width():
            break
        shown.remove(columns.index(name))
    return [columns[place] for place in shown], [[row[place] for place in shown] for row in rows]


def _fit(table: "Table", columns: int) -> int:
    """Cut the last column so that the others are shown whole; return the table's width."""
    for column in table.columns:
        column.width = widest(str(column.header), map(str, column.cells))
    *others, last = (column.width or 0 for column in table.columns)
    taken = sum(others) + GAP * len(others)
    table.columns[-1].width = max(min(last, columns - taken), MIN_LAST)
    return taken + (table.columns[-1].width or 0)


def widest(heading: str, texts: Iterable[str]) -> int:
    """Return how many columns of a terminal the widest of some texts takes."""
    from rich.cells import cell_len

    return max(cell_len(heading), *map(cell_len, texts), 0)


def cell(text: str, style: str = "") -> "Text":
    """Return text for a table."""
    from rich.text import Text

    return Text(printable(text), style=style)


def width() -> int:
    """Columns to print."""
    if not sys.stdout.isatty():
        return PIPE_WIDTH
    import shutil

    return shutil.get_terminal_size().columns


def end_when_nobody_reads() -> None:
    """End this process once the reader of its pipe has left, though nothing is being written.

    For commands that only print: what is still in a buffer is of no use.
    """
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # not a file
        return
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return

    def watch() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # errors are reported without being asked for
        poll.poll()
        os._exit(0)

    threading.Thread(target=watch, name="realm-telemetry-pipe", daemon=True).start()


def bar(count: int, most: int, columns: int) -> str:
    """Return a bar of block characters; a value above zero is always seen."""
    if not count or not most:
        return ""
    eighths = max(round(count / most * columns * 8), 1)
    whole, part = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[part] if part else "")


def bar_columns(taken: int) -> int:
    """Return how wide bars can be beside a number of other columns."""
    return max(MIN_BAR, min(MAX_BAR, width() - taken))


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
    doing = printable(doing)
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
