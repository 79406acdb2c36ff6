"""`realm log`: where the service's log is, how it is, and how it moves to another engine."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Self

import click

from realm_telemetry.cli.command import CommandGroup, command, group, json_option, settings
from realm_telemetry.cli.problems import EXIT_PROBLEM
from realm_telemetry.cli.terminal import ProgressLine, json_document, line, note
from realm_telemetry.config import service_log_url
from realm_telemetry.errors import counted
from realm_telemetry.log.engine import Log, open_log

if TYPE_CHECKING:
    from realm_telemetry.transfer.log_move import MoveReport

_SERVICE_EXPORTER = "realm_service"


@group(examples=(("realm log status", "Where the log is, how large, and what a commit survives."),))
@click.pass_context
def log(ctx: click.Context) -> None:
    """Make or move the log that a service writes, and say how it is."""
    if ctx.invoked_subcommand is None:
        line(ctx.get_help())


_GROUP: CommandGroup = log


@command(
    examples=(("realm log init", "The log that the settings name, before a service needs it."),)
)
@click.argument("url", required=False)
def init(url: str | None) -> None:
    """Make the log's tables, or bring them up to date.

    URL: a log in PostgreSQL, such as postgresql://realm@db/realm. A service does the same when it
    starts; here it can be done by a user with more rights.
    """
    found = _opened(url)
    with found.writer() as writer:
        line(f"The log {found.place} is ready; its id is {writer.log_id}.")


@command(examples=(("realm log status --json", "For a program."),))
@click.argument("url", required=False)
@json_option("Print a JSON object.")
def status(url: str | None, as_json: bool) -> int:
    """Say where the log is, how large, what it has, and what a commit survives.

    URL: a log in PostgreSQL. Exit code 1 if there is no log yet.
    """
    found = _opened(url)
    if not found.exists():
        note(f"There is no log at {found.place} yet. Make it: realm log init")
        return EXIT_PROBLEM
    shown = _status(found)
    if as_json:
        json_document(shown)
        return 0
    for name, value in shown.items():
        text = f"{value:,}" if isinstance(value, int) else str(value)
        line(f"{name.replace('_', ' '):<12} {text}")
    return 0


@command(
    examples=(
        ("realm log move --to postgresql://realm@db/realm", "From SQLite to PostgreSQL."),
        ("realm log move --to postgresql://realm@db/realm --json", "For a program."),
    )
)
@click.option("--to", required=True, metavar="URL", help="Where the log is to be, in PostgreSQL.")
@json_option("Print a JSON object.")
def move(to: str, as_json: bool) -> int:
    """Move the log of this home to PostgreSQL, while programs go on emitting.

    Ids, cursors, counts, receipts, dead letters, runs and the state stay as they are, and are
    compared at the end. In the same step the log here is sealed: it goes on under a new id, and
    what comes behind the seal is sent to the service of the moved log. Give the same command again
    if it was interrupted; it goes on.
    """
    from realm_telemetry.transfer.log_move import move_log

    chosen = settings()
    with _Phases() as progress:
        report = move_log(chosen, to, progress)
    if as_json:
        json_document(report)
        return 0
    for text in _move_lines(report):
        line(text)
    if _SERVICE_EXPORTER not in chosen.exporters:
        note(
            f"realm: {_SERVICE_EXPORTER} is not among the exporters of this home, so what programs"
            " emit from now on stays here. Add it to `exporters`."
        )
    return 0


_GROUP.add_command(init, "init")
_GROUP.add_command(status, "status")
_GROUP.add_command(move, "move")


class _Phases:
    """A progress line for each part of a move, one after the other."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._doing = ""
        self._line: ProgressLine | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __call__(self, doing: str, events: int, share: float | None) -> None:
        """Show how far it is."""
        if self._line is None or doing != self._doing:
            self._open.close()
            self._doing = doing
            self._line = self._open.enter_context(ProgressLine(doing))
        self._line(events, share)


def _move_lines(report: "MoveReport") -> list[str]:
    if report.was_sealed:
        first = f"The log was moved to {report.place} before; it is in its place."
    else:
        first = (
            f"The log is at {report.place} now, with {counted(report.events, 'event')} ever stored:"
            " counts, ids, cursors and state are the same."
        )
    return [
        first,
        f"The log here is sealed behind cursor {report.last_cursor:,} and goes on as"
        f" {report.source_id}: what programs of this host emit is sent from it to the service.",
        f"Now start the service with the moved log: REALM_LOG_URL={report.place}",
    ]


def _opened(url: str | None) -> Log:
    chosen = settings()
    return open_log(url or service_log_url(chosen) or chosen.log_path, home=chosen.home)


def _status(found: Log) -> dict[str, Any]:
    described = found.describe()
    with found.reader() as reader, reader.snapshot() as now:
        first, last = now.min_cursor() + 1, now.max_cursor()
        shown: dict[str, Any] = {
            "place": described.place,
            "log_id": reader.log_id,
            "schema": f"{described.version} of {described.newest_version}",
            "durability": described.durability,
            "size_bytes": described.size_bytes,
            "events": sum(now.happened().values()),
            "first_cursor": min(first, last),
            "last_cursor": last,
        }
    if described.moved is not None:
        shown |= {"moved_to": described.moved.place, "moved_through": described.moved.cursor}
    return shown
