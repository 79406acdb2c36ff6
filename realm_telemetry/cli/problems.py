"""What went wrong, as one message for a person or one JSON object for a program."""

from collections.abc import Sequence
from shlex import quote
from typing import Final

import click
import msgspec

from realm_telemetry.cli import INTERRUPTED
from realm_telemetry.cli.terminal import json_note, note
from realm_telemetry.errors import ConfigError, LogError, shown
from realm_telemetry.event import InvalidEventError
from realm_telemetry.values.conversions import safe_text

EXIT_PROBLEM: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = INTERRUPTED


class Problem(msgspec.Struct, frozen=True):
    """The fields of the service's error answers, and an exit code.

    error: a word for programs. hint: what to do, may be empty.
    """

    error: str
    message: str
    hint: str
    exit_code: int


class MissingExtraError(Exception):
    """A command needs packages that a plain install leaves out."""

    def __init__(self, command: str, extra: str, module: str) -> None:
        self.message = f"`realm {command}` needs {module}, which is not installed."
        self.hint = f"pip install 'realm-telemetry[{extra}]'"
        super().__init__(f"{self.message} {self.hint}")


class UnknownRunError(Exception):
    """There is no run of an id. near: ids that it may be meant to be."""

    code = "run_not_found"

    def __init__(self, run_id: str, near: Sequence[str]) -> None:
        self.message = f"There is no run {run_id!r}."
        self.hint = (
            f"Did you mean {' or '.join(map(quote, near))}?" if near else "realm runs lists them."
        )
        super().__init__(f"{self.message} {self.hint}")


class NoOutputError(Exception):
    """Nothing that a run printed is kept."""

    code = "output_not_found"

    def __init__(self, run_id: str) -> None:
        self.message = f"Nothing that the run {run_id!r} printed is kept here."
        self.hint = "realm run -- COMMAND keeps it, on the host where it runs."
        super().__init__(f"{self.message} {self.hint}")


def report(error: Exception, *, as_json: bool) -> int:
    """Write an error to stderr and return the exit code.

    Raises the error again if it is not one that a person can do something about.
    """
    problem = describe(error)
    if problem is None:
        raise error
    problem = Problem(problem.error, shown(problem.message), shown(problem.hint), problem.exit_code)
    write_problem(problem, as_json)
    return problem.exit_code


def write_problem(problem: Problem, as_json: bool) -> None:
    """Write a problem to stderr."""
    if as_json:
        shape = {name: safe_text(getattr(problem, name)) for name in ("error", "message", "hint")}
        json_note(shape)
    else:
        note(" ".join(part for part in (f"realm: {problem.message}", problem.hint) if part))


def describe(error: Exception) -> Problem | None:
    """Return what an error means to a person, None for a fault of this program."""
    match error:
        case click.Abort():
            return Problem("aborted", "The input ended, or the answer was no.", "", EXIT_PROBLEM)
        case click.UsageError():
            return Problem("usage", error.format_message(), _usage_hint(error), EXIT_USAGE)
        case click.ClickException():
            return Problem("usage", error.format_message(), "", EXIT_USAGE)
        case ConfigError():
            return Problem("config", f"{error.setting}: {error.problem}.", error.fix, EXIT_USAGE)
        case MissingExtraError():
            return Problem("missing_extra", error.message, error.hint, EXIT_USAGE)
        case UnknownRunError() | NoOutputError():
            return Problem(error.code, error.message, error.hint, EXIT_PROBLEM)
        case InvalidEventError():
            return Problem("invalid_event", str(error), "", EXIT_USAGE)
        case LogError():
            return Problem("log", str(error), "", EXIT_PROBLEM)
        case OSError():
            return Problem("system", _os_message(error), "", EXIT_PROBLEM)
    return _describe_reading(error)


def _describe_reading(error: Exception) -> Problem | None:
    """Describe errors whose modules are only imported by commands that read."""
    from realm_telemetry.client import ServiceError
    from realm_telemetry.log.filters import InvalidFilterError

    if isinstance(error, ServiceError):
        return Problem(error.error, error.message, error.hint, EXIT_PROBLEM)
    if isinstance(error, InvalidFilterError):
        message = f"--{error.parameter}: {error.message}."
        return Problem("invalid_parameter", message, f"{error.hint}.", EXIT_USAGE)
    return None


def _usage_hint(error: click.UsageError) -> str:
    path = error.ctx.command_path if error.ctx else "realm"
    return f"See: {path} --help"


def _os_message(error: OSError) -> str:
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}."
