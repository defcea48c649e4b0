"""The commands as tools of the Model Context Protocol: the same names, options and JSON, over the official SDK."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sizer.cli import COMMANDS
from sizer.errors import UsageError
from sizer.printable import shown
from sizer.version import package_version
from sizer.web.dispatch import Reply, Rules, refusal, reply
from sizer.web.openapi import schema_of
from sizer.web.parameters import available, parameters

if TYPE_CHECKING:
    from mcp.server import Server

TOOLS = ("estimate", "recommend", "fit", "hardware", "check", "capacity", "models", "devices")
INSTRUCTIONS = (
    "Memory and speed of language models on given hardware, from their names, without downloading them. "
    "Bytes are exact; speeds have a 90 % interval. Say `device` (a card, a Mac, a cloud instance, `2x rtx-4090`); "
    "without it, this machine is meant. Null is unknown: the reason stands in `assumptions`."
)


def tool_names() -> tuple[str, ...]:
    """The tools that this version offers."""
    return tuple(name for name in TOOLS if name in available())


def input_schema(name: str) -> dict[str, Any]:
    """The JSON schema of a tool's arguments: its command's options."""
    known = parameters(name)
    return {
        "type": "object",
        "properties": {item.name: {**schema_of(item), "description": item.about} for item in known},
        "required": [item.name for item in known if item.required],
        "additionalProperties": False,
    }


def query_of(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """A tool's arguments as a query: a list repeats its name, true and false are written so, null is left out.

    Raises UsageError for an object, or a list of lists.
    """
    query: list[tuple[str, str]] = []
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        query += [(name, _text(name, item)) for item in values if item is not None]
    return query


def _text(name: str, value: Any) -> str:
    if isinstance(value, (Mapping, list)):
        raise UsageError(f"{name} is {shown(value)}.", "Give a text, a number, or a list of them.")
    return str(value).lower() if isinstance(value, bool) else str(value)


def called(name: str, arguments: Mapping[str, Any], rules: Rules) -> Reply:
    """The answer of a tool; errors are answers too."""
    if name not in tool_names():
        return refusal(400, f"there is no tool {shown(name)}.", f"There are {', '.join(tool_names())}.")
    try:
        query = query_of(arguments)
    except UsageError as error:
        return refusal(400, error.message, error.hint, error.exit_code)
    return reply(name, query, rules)


def server(rules: Rules) -> Server[Any]:
    """The MCP server: each tool is a command, its answer the command's JSON, a refusal an error with a next step."""
    import anyio
    import mcp_types as types
    from mcp.server import Server

    async def list_tools(_ctx: Any, _params: Any) -> types.ListToolsResult:
        tools = [
            types.Tool(name=name, description=COMMANDS[name], input_schema=input_schema(name)) for name in tool_names()
        ]
        return types.ListToolsResult(tools=tools)

    async def call_tool(_ctx: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        found = await anyio.to_thread.run_sync(called, params.name, params.arguments or {}, rules)
        document = json.loads(found.body)
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=found.body)],
            structured_content=document if isinstance(document, dict) else {"rows": document},
            is_error=found.status != 200,
        )

    return Server(
        "sizer",
        version=package_version(),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


async def serve(rules: Rules) -> None:
    """Answer on stdin and stdout until the client leaves."""
    from mcp.server.stdio import stdio_server

    served = server(rules)
    async with stdio_server() as (reading, writing):
        await served.run(reading, writing, served.create_initialization_options())
