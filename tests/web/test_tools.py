"""`sizer mcp` offers the commands as tools: the official client lists them, calls them, and gets the commands' JSON."""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from clirun import Run

pytest.importorskip("mcp")

import anyio
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from sizer.web.dispatch import Rules
from sizer.web.parameters import parameters
from sizer.web.tools import input_schema, query_of, server, tool_names

PAIR = {"model": "Qwen/Qwen3-8B", "device": ["rtx-4090"], "precision": ["q4_k_m"]}


def in_a_thread(ask: Callable[[], Awaitable[Any]]) -> Any:
    """The result of a coroutine, run in a thread of its own: a browser's tests may have left a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(anyio.run, ask).result()


def called(name: str, arguments: dict[str, Any]) -> Any:
    """The result of one tool, asked by the SDK's client."""

    async def ask() -> Any:
        async with Client(server(Rules(offline=True))) as client:
            return await client.call_tool(name, arguments)

    return in_a_thread(ask)


def test_estimate_is_the_commands_json(run: Run) -> None:
    """A tool's answer is the JSON that the command prints."""
    printed = run("estimate", "Qwen/Qwen3-8B", "-d", "rtx-4090", "-p", "q4_k_m", "--offline", "--json").out
    result = called("estimate", PAIR)
    assert not result.is_error
    assert json.loads(result.content[0].text) == json.loads(printed)
    assert result.structured_content == json.loads(printed)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("recommend", {"model": "Qwen/Qwen3-8B", "device": ["rtx-4060"]}),
        ("fit", {"device": ["rtx-4060"], "family": "qwen3", "limit": 3}),
        ("hardware", {"model": "Qwen/Qwen3-8B", "min-speed": 30, "limit": 3}),
        ("check", {"command": "vllm serve Qwen/Qwen3-8B --max-model-len 8192", "device": ["rtx-4090"]}),
        ("capacity", {"model": "Qwen/Qwen3-8B", "device": ["h100-80gb-sxm"], "users": 8}),
        ("devices", {"text": "rtx 4090"}),
    ],
)
def test_every_tool_answers(name: str, arguments: dict[str, Any]) -> None:
    """Each command of the API that this version has answers as a tool."""
    assert name in tool_names()
    result = called(name, arguments)
    assert not result.is_error, result.content
    assert json.loads(result.content[0].text)


def test_refusals_say_what_to_do() -> None:
    """What cannot be answered is an error with the command's own words."""
    result = called("estimate", {"model": "8B", "device": ["rtx-999999"]})
    assert result.is_error
    assert "rtx-999999" in result.content[0].text
    assert called("recommend", {"model": "/etc/passwd"}).is_error


@pytest.mark.parametrize(
    ("name", "arguments", "named"),
    [
        ("nope", {}, "'nope'"),
        ("estimate", {"model": {"a": 1}}, "{'a': 1}"),
        ("estimate", {"model": "8B", "device": [["rtx-4090"]]}, "['rtx-4090']"),
    ],
)
def test_what_is_no_tool_or_no_text_is_named(name: str, arguments: dict[str, Any], named: str) -> None:
    """A tool that is not there, and an object for a value, are named as they were given."""
    result = called(name, arguments)
    assert result.is_error
    assert named in json.loads(result.content[0].text)["error"]["message"]


def test_schemas_are_the_options() -> None:
    """A tool takes its command's options, and nothing else."""
    for name in tool_names():
        schema = input_schema(name)
        assert set(schema["properties"]) == {item.name for item in parameters(name)}
        assert not schema["additionalProperties"]
    assert input_schema("estimate")["required"] == ["model"]
    assert query_of({"a": [1, 2], "b": True, "c": None}) == [("a", "1"), ("a", "2"), ("b", "true")]


def test_over_stdio(tmp_path: Path) -> None:
    """The command itself, as a program starts it: tools are listed and answered over stdin and stdout."""

    async def ask() -> tuple[set[str], Any]:
        started = StdioServerParameters(
            command=sys.executable, args=["-m", "sizer", "mcp", "--offline"], cwd=Path.cwd()
        )
        async with Client(stdio_client(started)) as client:
            listed = await client.list_tools()
            return {tool.name for tool in listed.tools}, await client.call_tool("estimate", PAIR)

    names, result = in_a_thread(ask)
    assert names == set(tool_names())
    assert json.loads(result.content[0].text)["model"]["total_params"] == 8190735360
