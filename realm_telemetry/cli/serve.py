"""`realm serve`: the RealmService in the foreground."""

from pathlib import Path
from typing import Any, Final

import click
import msgspec

from realm_telemetry.cli.command import command, settings
from realm_telemetry.cli.problems import MissingExtraError
from realm_telemetry.cli.terminal import line, print_warnings
from realm_telemetry.errors import ConfigError

PACKAGES: Final = ("starlette", "uvicorn", "uvloop", "httptools", "zstandard", "anyio")
"""What the extra `service` brings; another missing module is a fault of ours."""

_PORT: Final = click.IntRange(0, 65_535)


@command(
    examples=(
        ("realm serve", "On loopback: 8866 RealmService, 8767 battle log, 8888 pages."),
        ("realm serve --port 9866 --battle-log-port 9767 --ui-port 9888", "On ports of your own."),
        (
            "realm serve --host 0.0.0.0 --token-file ~/.realm-token",
            "For other machines, which then need the token.",
        ),
    )
)
@click.option("--host", help="The address to bind; 127.0.0.1 by default.")
@click.option("--port", type=_PORT, help="Of the RealmService; 8866 by default, 0 is any.")
@click.option("--battle-log-port", type=_PORT, help="Of the battle-log API; 8767 by default.")
@click.option("--ui-port", type=_PORT, help="Of the pages; 8888 by default.")
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A file that holds the token; REALM_TOKEN is the other way to give it.",
)
def serve(token_file: Path | None, **options: Any) -> None:
    """Serve the log live and historic over HTTP, on three addresses.

    Every route answers at every address. A busy port is reported with its holder and the rest is
    served. An address that other machines reach needs a token. Ctrl-C ends it, exit code 0. More
    settings are in the table [service] of realm.toml.
    """
    chosen = settings(token=None if token_file is None else read_token(token_file))
    given = {name: value for name, value in options.items() if value is not None}
    chosen = msgspec.structs.replace(chosen, service={**chosen.service, **given})
    print_warnings()
    try:
        from realm_telemetry.service import serve as run

        run(chosen, echo=line)
    except KeyboardInterrupt:  # before the server listens to signals
        return
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        raise MissingExtraError("serve", "service", package) from error


def read_token(path: Path) -> str:
    """Return the token that a file holds. Raises ConfigError."""
    try:
        token = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        problem = f"{path} cannot be read ({getattr(error, 'strerror', None) or error})"
        raise ConfigError("--token-file", problem, "Name a text file.") from None
    if not token:
        fix = f"Write a long random value: openssl rand -hex 32 > {path}"
        raise ConfigError("--token-file", f"{path} is empty", fix)
    return token
