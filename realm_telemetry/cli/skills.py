"""`realm skills`: a file that teaches an agent to use the log."""

import hashlib
import os
import re
from importlib.resources import files
from pathlib import Path
from typing import Final

import click

from realm_telemetry.cli.command import CommandGroup, command, group
from realm_telemetry.cli.problems import EXIT_PROBLEM, Problem, write_problem
from realm_telemetry.cli.terminal import line

NAME: Final = "realm-telemetry"
WHERE: Final = Path(".claude/skills")

_MARK: Final = re.compile(r"<!-- written by realm skills add: ([0-9a-f]{64}) -->\n\Z")


@group(
    examples=(
        ("realm skills", "Print the skill."),
        ("realm skills add", "Write it for the agents of this project."),
        ("realm skills add --to ~/.claude/skills", "For all projects of this user."),
    )
)
@click.pass_context
def skills(ctx: click.Context) -> None:
    """Write a file that teaches an agent to use the log.

    Without a further command it is printed.
    """
    if ctx.invoked_subcommand is None:
        for text in _skill().splitlines():
            line(text)


_GROUP: CommandGroup = skills


@command(examples=(("realm skills add --force", "Also over one that was changed."),))
@click.option(
    "--to",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=WHERE,
    show_default=True,
    metavar="DIR",
    help="The directory of skills.",
)
@click.option("--force", is_flag=True, help="Write it over a file that was changed.")
def add(directory: Path, force: bool) -> int:
    """Write the skill as realm-telemetry/SKILL.md below a directory of skills.

    Again it changes nothing, or brings an older one up to date. A file that somebody changed stays.
    """
    path = directory.expanduser() / NAME / "SKILL.md"
    wanted = _marked(_skill())
    found = _read(path)
    if found == wanted:
        line(f"{path} is up to date.")
        return 0
    if found is not None and not force and not _is_ours(found):
        hint = "Keep it, or write over it with --force."
        write_problem(Problem("changed", f"{path} was changed.", hint, EXIT_PROBLEM), False)
        return EXIT_PROBLEM
    path.parent.mkdir(parents=True, exist_ok=True)
    # Whole or not at all; what a link leads to is left as it is.
    new = path.with_name(f".SKILL.md.{os.getpid()}")
    new.write_text(wanted, encoding="utf-8")
    new.replace(path)
    line(f"{path} is written.")
    return 0


_GROUP.add_command(add, "add")


def _skill() -> str:
    return files("realm_telemetry.cli.agents").joinpath("skill.md").read_text(encoding="utf-8")


def _marked(text: str) -> str:
    return f"{text}\n<!-- written by realm skills add: {_digest(text)} -->\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _is_ours(text: str) -> bool:
    """Whether a file is as some version of this command wrote it."""
    mark = _MARK.search(text)
    return mark is not None and _digest(text[: mark.start() - 1]) == mark[1]


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
