"""The MCP server over stdin and stdout: lists the tools, checks arguments, answers errors."""

import asyncio
from typing import Any, Final

import mcp.types as types
import msgspec
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server

from realm_telemetry.cli.agents.answers import MAX_CHARS, NOTICE, bounded, encoded
from realm_telemetry.cli.agents.desk import Desk
from realm_telemetry.cli.agents.tools import INSTRUCTIONS, TOOLS, Tool
from realm_telemetry.client import ServiceError
from realm_telemetry.errors import ConfigError
from realm_telemetry.version import __version__

_BY_NAME: Final = {tool.name: tool for tool in TOOLS}


def serve(desk: Desk) -> None:
    """Serve until stdin is closed."""
    asyncio.run(_serve(desk))


async def _serve(desk: Desk) -> None:
    async def on_list(ctx: Any, params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_described(tool) for tool in _offered(desk)])

    async def on_call(ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        return await _call(desk, params.name, params.arguments or {})

    server: Server[Any] = Server(
        "realm",
        version=__version__,
        instructions=INSTRUCTIONS,
        on_list_tools=on_list,
        on_call_tool=on_call,
    )
    async with stdio_server() as (received, sent):
        await server.run(received, sent, server.create_initialization_options())


def _offered(desk: Desk) -> list[Tool]:
    try:
        may_write = desk.may_write()
    except ConfigError:  # each call says what is wrong
        may_write = False
    return [tool for tool in TOOLS if may_write or not tool.writes]


def _described(tool: Tool) -> types.Tool:
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=tool.schema(),
        annotations=types.ToolAnnotations(
            read_only_hint=not tool.writes, destructive_hint=False, open_world_hint=False
        ),
    )


async def _call(desk: Desk, name: str, arguments: dict[str, Any]) -> types.CallToolResult:
    """Answer a call; what a model can mend is an answer too, marked as an error."""
    tool = _BY_NAME.get(name)
    if tool is None:
        return _refused("unknown_tool", f"There is no tool {name[:80]!r}.", ", ".join(_BY_NAME))
    try:
        if tool.writes and not desk.may_write():
            hint = (
                'Set access = "token" in realm.toml, or REALM_TOKEN, and start `realm mcp` again.'
            )
            return _refused("token_required", "Writing stands behind a token.", hint)
        question = msgspec.convert(arguments, tool.question, strict=False)
        answer = await tool.answer(desk, question)
    except msgspec.ValidationError as error:
        known = ", ".join(tool.question.__struct_fields__) or "none"
        return _refused("invalid_arguments", f"{error}.", f"{name} takes: {known}.")
    except ConfigError as error:
        return _refused("config", f"{error.setting}: {error.problem}.", error.fix)
    except ServiceError as error:
        return _refused(error.error, error.message, _hint(error))
    shown = {"notice": NOTICE, **answer}
    if len(encoded(shown)) > MAX_CHARS:
        shown = {"notice": NOTICE, "truncated": True, "answer": bounded(answer, MAX_CHARS)}
    return _result(shown, is_error=False)


def _hint(error: ServiceError) -> str:
    if error.error == "unreachable":
        return (
            "Start it with the command `realm up` (of the same home), or set REALM_SERVICE_URL to"
            " where it runs; then call again."
        )
    if error.status == 401:
        return f"{error.hint} `realm mcp` takes it from REALM_TOKEN, or from the home."
    return error.hint


def _refused(code: str, message: str, hint: str) -> types.CallToolResult:
    return _result(bounded({"error": code, "message": message, "hint": hint}, 2_000), is_error=True)


def _result(answer: dict[str, Any], *, is_error: bool) -> types.CallToolResult:
    text = types.TextContent(type="text", text=encoded(answer))
    return types.CallToolResult(content=[text], is_error=is_error)
