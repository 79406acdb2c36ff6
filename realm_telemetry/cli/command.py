"""What all commands share: examples in their help, `--home`, and the settings they run with."""

import os
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final

import click

from realm_telemetry.config import Settings, load_settings, located, service_log_url

Example = tuple[str, str]
"""A command line as typed in a shell, and what it is for."""

_HOME_KEY: Final = "realm_telemetry.home"


class RealmCommand(click.Command):
    """A command whose help ends with examples; tests run each of them."""

    def __init__(self, *args: Any, examples: Sequence[Example] = (), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = tuple(examples)
        self.params.append(home_option())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; an error names this command, also where click's own does not."""
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        with formatter.section("Examples"):
            for line, purpose in self.examples:
                # Whole, to be copied: no wrapping.
                formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
                with formatter.indentation():
                    formatter.write_text(purpose)
        super().format_epilog(ctx, formatter)


def command(*, examples: Sequence[Example]) -> Callable[[Callable[..., Any]], RealmCommand]:
    """Make a function a command of its own name; `import_` is `import`."""

    def decorate(function: Callable[..., Any]) -> RealmCommand:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        decorator = click.command(
            function.__name__.rstrip("_"),
            cls=RealmCommand,
            examples=examples,
            context_settings=settings,
        )
        return decorator(function)

    return decorate


class CommandGroup(RealmCommand, click.Group):
    """A command with further commands below it."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments begin with, or say which was meant."""
        refuse_unknown(ctx, args, list(self.commands))
        return super().resolve_command(ctx, args)


def refuse_unknown(ctx: click.Context, args: Sequence[str], known: Sequence[str]) -> None:
    """Raise click.UsageError where the arguments begin with a command that there is not."""
    if args and args[0] not in known and not args[0].startswith("-"):
        near = get_close_matches(args[0], known, 1, 0.5)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
        raise click.UsageError(f"There is no command {args[0]!r}. {hint}", ctx)


def group(*, examples: Sequence[Example]) -> Callable[[Callable[..., Any]], CommandGroup]:
    """Make a function a group of its own name; it runs where no further command is named."""

    def decorate(function: Callable[..., Any]) -> CommandGroup:
        settings = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
        decorator = click.command(
            function.__name__,
            cls=CommandGroup,
            examples=examples,
            context_settings=settings,
            invoke_without_command=True,
        )
        return decorator(function)

    return decorate


def home_option() -> click.Option:
    """Return `--home`, which may stand before and behind a command's name."""
    return click.Option(
        ["--home"],
        type=click.Path(path_type=Path, file_okay=False),
        expose_value=False,
        is_eager=True,
        callback=_set_home,
        metavar="DIR",
        help="Where log, spools and realm.toml are; the same as REALM_HOME.",
    )


def json_option(text: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return `--json`, as the argument `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def timeout_option(default_s: float, text: str) -> Callable[[Any], Any]:
    """Return `--timeout`, as the argument `timeout_s`."""
    return click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(0.0, 86_400.0),
        default=default_s,
        show_default=True,
        metavar="SECONDS",
        help=text,
    )


def settings(**arguments: Any) -> Settings:
    """Return the settings of this process; arguments win. Raises ConfigError."""
    return located(load_settings(arguments))


def log_url(chosen: Settings) -> str | None:
    """Return the URL of the service's log; None where it is the file of the home.

    For commands of exporters, which know nothing of `config`.
    """
    return service_log_url(chosen)


def given_home() -> Path | None:
    """Return the value of `--home`, None without it."""
    home: Path | None = click.get_current_context().meta.get(_HOME_KEY)
    return home


def _set_home(ctx: click.Context, parameter: click.Parameter, value: Path | None) -> None:
    # Through the environment, so that all that this command starts has the same home.
    if value is not None:
        ctx.meta[_HOME_KEY] = home = value.expanduser().absolute()
        os.environ["REALM_HOME"] = str(home)
