"""The group of all commands; each command's module is imported when it is called."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from typing import Any, Final

import click

from realm_telemetry.cli.command import home_option, refuse_unknown
from realm_telemetry.cli.problems import EXIT_INTERRUPTED, report
from realm_telemetry.version import __version__

SECTIONS: Final[dict[str, dict[str, str]]] = {
    "Run": {
        "run": "Run a command, and record that it started and how and why it ended.",
        "serve": "Serve the log live and historic over HTTP, on three addresses.",
        "up": "Start the RealmService in the background, once.",
        "down": "End the RealmService of this home; what it was sent is stored before.",
        "demo": "Train a real network and watch its events arrive in both views.",
        "ship": "Ship what waits in spools, or show what waits.",
    },
    "Write": {
        "emit": "Emit one event.",
    },
    "See": {
        "login": "Print a link that logs a browser in.",
        "tail": "Print the last events, and with -f those that come.",
        "query": "Search the history.",
        "stats": "Count events by channel and day, with bars.",
        "state": "Show the state that the events give: jobs, workers, checkpoints ...",
        "runs": "List runs: how each goes, or why it ended.",
        "hosts": "List the hosts that a service hears, and what runs there.",
        "show": "Show all of a run, or of an event.",
        "compare": "Show runs beside each other: what differs, and their last numbers.",
        "logs": "Print what the command of a run printed, and with -f what comes.",
        "report": "Write a run as Markdown or HTML, for people.",
    },
    "Move": {
        "import": "Take over files of the older systems, and exports.",
        "export": "Write all events that match to a file, in order of arrival.",
        "replay": "Send events of the log again, to a service or an exporter.",
    },
    "Agents": {
        "mcp": "Serve tools for agents over MCP, on stdin and stdout.",
        "skills": "Write a file that teaches an agent to use the log.",
    },
    "Look after": {
        "watch": "Show the rules that runs are watched by, and try them on the past.",
        "log": "Make or move the log that a service writes, and say how it is.",
        "doctor": "Check the whole path of an event and say what to do.",
        "exporters": "List the installed exporters and whether they work.",
        "alerts": "Say where alerts go, list them, and mute them.",
        "webhooks": "Show, test and send again what webhook rules do.",
        "kinds": "List the kinds of events, built in or registered.",
    },
}
"""Every command and its first line of help, so that `realm --help` imports none of them."""

COMMAND_GROUP: Final = "realm_telemetry.commands"
"""The entry points of commands that plugins bring."""

BROUGHT: Final = dict.fromkeys(("alerts", "webhooks"), "realm_exporter_webhook")
"""Commands of plugins, and the distribution's part that brings each."""

SUMMARIES: Final = {name: text for section in SECTIONS.values() for name, text in section.items()}


class RealmGroup(click.Group):
    """Finds commands by name, and turns what goes wrong into one message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names, in the order of the help."""
        return list(SUMMARIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None if there is none of that name."""
        if cmd_name not in SUMMARIES:
            return None
        if cmd_name in BROUGHT:
            return _brought(cmd_name)
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        module = import_module(f"realm_telemetry.cli.{name}")
        command: click.Command = getattr(module, name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with, or say which was meant."""
        refuse_unknown(ctx, args, list(SUMMARIES))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands by section, without importing them."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(list(commands.items()))

    def main(  # type: ignore[override]  # click's overloads are about standalone_mode=False
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> None:
        """Run, and end the process with the exit code."""
        given = list(sys.argv[1:] if args is None else args) or ["--help"]
        if given[0] != "run":  # whose command is to find what it would find without us
            _open_closed()
        _forgive_encodings()
        extra["standalone_mode"] = False
        try:
            code = super().main(given, prog_name, **extra)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            code = _leave_quietly()
        except Exception as error:  # noqa: BLE001 - raised again unless it is for people
            as_json = "--json" in given or "--jsonl" in given
            code = EXIT_INTERRUPTED if _is_interrupt(error) else report(error, as_json=as_json)
        sys.exit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; click's own handling of a broken pipe would end with 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            return _leave_quietly()


def _brought(name: str) -> click.Command:
    """Import a plugin's command."""
    from importlib.metadata import entry_points

    for point in entry_points(group=COMMAND_GROUP, name=name):
        command: click.Command = point.load()
        return command
    raise click.UsageError(f"{BROUGHT[name]}, which brings {name!r}, is not installed.")


def _is_interrupt(error: Exception) -> bool:
    """Whether click stands for Ctrl-C here; it raises the same at the end of an input."""
    cause = error.__cause__ or error.__context__
    return isinstance(error, click.Abort) and isinstance(cause, KeyboardInterrupt)


def _leave_quietly() -> int:
    """End quietly: the reader of our output has closed it, as `head` does."""
    # The interpreter flushes stdout at exit, and would complain again.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _open_closed() -> None:
    """Have /dev/null where a standard stream is closed, as of `>&-` and some daemons.

    The next file to be opened, such as a database, would otherwise stand in its place.
    """
    for name, descriptor in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest one that is free
            setattr(sys, name, open(descriptor, "w" if descriptor else "r"))  # noqa: PTH123, SIM115


def _forgive_encodings() -> None:
    """Let a terminal that has no icons show a question mark instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


@click.group(
    cls=RealmGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Each command explains itself: realm COMMAND --help. Exit codes: 0 all is well,"
    " 1 a problem was found or something was not delivered, 2 wrong usage or settings.",
)
@click.version_option(__version__, prog_name="realm", message="%(prog)s %(version)s")
def realm() -> None:
    """Event telemetry for model training: one log, live and historic.

    A process that calls `realm_telemetry.configure()` writes to the log of its home
    (REALM_HOME, ~/.realm by default); these commands read it, serve it and look after it.
    """


realm.params.append(home_option())
