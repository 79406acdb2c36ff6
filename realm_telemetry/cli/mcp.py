"""`realm mcp`: tools for agents over the Model Context Protocol, on stdin and stdout."""

import os
import signal
from typing import Final

import click

from realm_telemetry.cli.command import command
from realm_telemetry.cli.problems import EXIT_INTERRUPTED, MissingExtraError

PACKAGES: Final = ("mcp", "mcp_types", "pydantic", "anyio")


@command(
    examples=(
        ("realm mcp < /dev/null", "Started by an agent's program; it ends with its input."),
        (
            "realm mcp --url http://lab.example:8866 < /dev/null",
            "Tools over the service of another host.",
        ),
    )
)
@click.option("--url", help="Ask this service, not the one in the settings.")
def mcp(url: str | None) -> None:
    """Serve tools for agents over MCP, on stdin and stdout.

    MCP is the Model Context Protocol. An agent's program starts it: see docs/agents.md. It reads
    runs and events of the service, and writes notes only where there is a token. It starts without
    a service, too.
    """
    try:
        from realm_telemetry.cli.agents.server import serve
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in PACKAGES:
            raise
        raise MissingExtraError("mcp", "mcp", package) from error
    from realm_telemetry.cli.agents.desk import Desk

    # A thread waits for stdin, and nothing can wake it; there is nothing to finish.
    signal.signal(signal.SIGINT, lambda number, frame: os._exit(EXIT_INTERRUPTED))
    serve(Desk(url))
