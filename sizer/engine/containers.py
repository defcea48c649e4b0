"""What a container's command says: its image, what it sets, and the words that are run in it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sizer.engine.programs import Program, programs
from sizer.errors import UsageError
from sizer.frozen import NamedTuple

CONTAINERS = frozenset({"docker", "podman", "nerdctl"})
CONTAINER_SWITCHES = frozenset(
    {
        "-i", "-t", "-d", "-it", "-ti", "-dit", "-itd", "-P", "--rm", "--init", "--detach", "--interactive", "--tty",
        "--privileged", "--publish-all", "--read-only", "--no-healthcheck", "--oom-kill-disable", "--quiet", "-q",
    }
)  # fmt: skip
"""Options of `docker run` without a value; every other takes one."""
_NGC_TAG = re.compile(r"\d\d\.\d\d-py\d")
"""Tags of NVIDIA's containers: a year and a month, whatever they hold."""
_TAG_VERSION = re.compile(r"v?(\d+\.\d+(?:\.\d+)?)|(b\d{3,6})(?!\d)")


class Container(NamedTuple):
    """What `docker run OPTIONS IMAGE ARGS` says: the image's program where a row knows it, the image as it is called,
    the version that its tag tells, the variables that are set, and the words that are run in it."""

    program: Program | None
    image: str
    version: str
    environment: tuple[str, ...]
    arguments: tuple[str, ...]


def container_of(words: Sequence[str]) -> Container:
    """The container that words start. Raises UsageError where they start none, or name no image."""
    rest = list(words[1:])
    if rest[:1] == ["container"]:
        rest = rest[1:]
    if rest[:1] not in (["run"], ["exec"], ["create"]):
        raise UsageError(f"{' '.join(words[:3])!r} starts no engine.", "Give the whole 'docker run ... IMAGE ARGS'.")
    variables, entry, rest = _container_options(rest[1:])
    if not rest:
        raise UsageError("the docker command names no image.", "Give the whole 'docker run ... IMAGE ARGS'.")
    image = rest.pop(0)
    program = next((row for row in programs() if row.kind == "image" and row.words[0] in image.lower()), None)
    if rest and rest[0] in {"--server", "-s"} and program is not None and "llama.cpp" in program.words[0]:
        entry, rest = ["llama-server"], rest[1:]
    version = _tag_version(image, program.engine if program is not None else "")
    return Container(program, image, version, tuple(variables), (*entry, *rest))


def _container_options(rest: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Variables that options set, the entry point where they name one, and the words from the image on."""
    variables: list[str] = []
    entry: list[str] = []
    while rest and rest[0].startswith("-"):
        option, sign, value = rest.pop(0).partition("=")
        if option in CONTAINER_SWITCHES or (sign and option not in {"-e", "--env", "--entrypoint"}):
            continue
        if not sign:
            if not rest:
                break
            value = rest.pop(0)
        if option in {"-e", "--env"} and "=" in value:
            variables.append(value)
        elif option == "--entrypoint" and value:
            entry = [value]
    return variables, entry, rest


def _tag_version(image: str, engine: str) -> str:
    """The version that an image's tag tells; of several (`rocm6.3.1_vllm_0.6.6`) the one behind the engine's name."""
    tag = image.rpartition("/")[2].partition(":")[2]
    named = re.search(rf"{re.escape(engine)}[_-]?v?(\d+\.\d+(?:\.\d+)?)", tag) if engine else None
    found = named or (None if _NGC_TAG.match(tag) else _TAG_VERSION.search(tag))
    return next((part for part in found.groups() if part), "") if found else ""
