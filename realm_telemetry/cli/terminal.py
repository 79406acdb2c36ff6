"""How commands print: lines, tables and JSON, in colour where it is wanted."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

from realm_telemetry.console import wants_colour

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

PIPE_WIDTH: Final = 4096
"""Columns where nobody looks: nothing is cut that a program may read."""

MIN_BAR: Final = 8
MAX_BAR: Final = 40
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"


def colour() -> bool:
    """Whether standard output is to be coloured (NO_COLOR, FORCE_COLOR, a terminal)."""
    return wants_colour(sys.stdout, os.environ)


def line(text: str) -> None:
    """Print one line; click would take colours away that FORCE_COLOR asks for."""
    click.echo(text, color=True)


def note(text: str) -> None:
    """Print a line about the output, beside it: to stderr."""
    click.echo(text, sys.stderr)


def json_line(value: Any) -> None:
    """Print a value as one line of JSON."""
    click.echo(msgspec.json.encode(value).decode())


def json_document(value: Any) -> None:
    """Print a value as JSON to read."""
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def make_table(columns: Sequence[str], *, numbers: Iterable[str] = ()) -> "Table":
    """Return an empty table with these headings.

    numbers: the columns that are aligned to the right. The last column may be cut at the edge
    of a terminal, the others are shown whole.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    right = set(numbers)
    for column in columns:
        last = column == columns[-1]
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=None if last else len(column),
        )
    return table


def print_table(table: "Table") -> None:
    """Print a table as wide as the terminal, or as it needs where there is none."""
    from rich.console import Console

    coloured = colour()
    console = Console(
        file=sys.stdout,
        force_terminal=coloured,
        no_color=not coloured,
        width=width(),
        highlight=False,
        markup=False,
        emoji=False,
    )
    with console.capture() as captured:
        console.print(table)
    for text in captured.get().splitlines():
        line(text.rstrip())


def cell(text: str, style: str = "") -> "Text":
    """Return text for a table as it is; printable already."""
    from rich.text import Text

    return Text(text, style=style)


def width() -> int:
    """Columns to print."""
    if not sys.stdout.isatty():
        return PIPE_WIDTH
    import shutil

    return shutil.get_terminal_size().columns


def bar(count: int, most: int, columns: int) -> str:
    """Return a bar of block characters; whatever is not zero is seen."""
    if not count or not most:
        return ""
    eighths = max(round(count / most * columns * 8), 1)
    whole, part = divmod(eighths, 8)
    return "█" * whole + (_EIGHTHS[part] if part else "")


def bar_columns(taken: int) -> int:
    """Return how wide bars can be beside a number of other columns."""
    return max(MIN_BAR, min(MAX_BAR, width() - taken))
