"""What a load test sends: prompts and outputs of drawn lengths, or the requests of a JSON Lines file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

from sizer.benchmark.records import LARGEST_FILE_BYTES
from sizer.errors import InvalidInputFile, UsageError
from sizer.frozen import dataclass
from sizer.serving.load import MOST_TOKENS
from sizer.units import parse_tokens

LEAST_OUTPUT_TOKENS = 2
"""One token has no time after the first."""
MOST_REQUESTS = 100_000
"""Of one file: more is a slip."""

_SPAN = re.compile(r"(?P<a>[^~-]+)(?:(?P<kind>[-~])(?P<b>[^~-]+))?")
PROMPT_NAMES = ("prompt_tokens", "input_tokens", "prompt_len", "input_len")
OUTPUT_NAMES = ("output_tokens", "max_tokens", "max_completion_tokens", "output_len")


@dataclass(frozen=True, slots=True)
class Lengths:
    """Tokens of prompts or outputs: uniform from `low` to `high`, or normal about `mean_tokens` within them.

    >>> Lengths.parse("256-1024").mean_tokens, Lengths.parse("512").fixed, Lengths.parse("512~128").deviation_tokens
    (640, 512, 128)
    """

    low: int
    high: int
    mean_tokens: int
    deviation_tokens: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.low <= self.mean_tokens <= self.high <= MOST_TOKENS:
            raise UsageError(
                f"{self.words!r} is no number of tokens to measure.",
                f"Give 1 to {MOST_TOKENS:,}, the lower end of a range first.",
            )

    @classmethod
    def parse(cls, text: str) -> Lengths:
        """`512`, `256-1k` (uniform from the one to the other) or `512~128` (normal: mean and deviation)."""
        match = _SPAN.fullmatch(text.strip())
        if match is None:
            raise UsageError(f"{text!r} is no length.", "Write 512, 256-1024 (uniform) or 512~128 (normal).")
        first, second = parse_tokens(match["a"].strip()), parse_tokens((match["b"] or match["a"]).strip())
        if match["kind"] == "~":
            # Within four deviations of the mean, and as far above it as below, so that the mean stays what it is.
            reach = min(4 * second, first - 1)
            return cls(first - reach, first + reach, first, second)
        return cls(first, second, (first + second) // 2)

    @property
    def fixed(self) -> int | None:
        """The one length that there is; None where lengths differ."""
        return self.low if self.low == self.high else None

    @property
    def words(self) -> str:
        """As it is typed."""
        if self.deviation_tokens is not None:
            return f"{self.mean_tokens}~{self.deviation_tokens}"
        return str(self.low) if self.low == self.high else f"{self.low}-{self.high}"

    def draw(self, random: Random) -> int:
        """The length of one request."""
        if self.deviation_tokens is None:
            return random.randint(self.low, self.high)
        return min(self.high, max(self.low, round(random.gauss(self.mean_tokens, self.deviation_tokens))))


@dataclass(frozen=True, slots=True)
class Request:
    """One request: a prompt of `prompt_tokens` made-up words, or `content` as it is (a text, or a chat's messages)."""

    prompt_tokens: int
    output_tokens: int
    content: str | tuple[Mapping[str, Any], ...] = ()


def drawn(prompt: Lengths, output: Lengths, seed: int = 0) -> Iterator[Request]:
    """Endless requests of drawn lengths, the same for the same seed."""
    random = Random(seed)  # noqa: S311 - a workload, no secret
    while True:
        yield Request(prompt.draw(random), max(LEAST_OUTPUT_TOKENS, output.draw(random)))


def replayed(requests: Sequence[Request]) -> Iterator[Request]:
    """The requests of a file in its order, again from the start when it is over."""
    return cycle(requests)


def read_requests(path: Path, output: Lengths) -> tuple[Request, ...]:
    """The requests of a JSON Lines file.

    A line has `prompt` (a text), `messages` (a chat) or `prompt_tokens` (that many made-up words), and
    `output_tokens` (or `max_tokens`); without it the mean of `output` counts. Raises InvalidInputFile naming the line.
    """
    if not path.is_file():
        raise InvalidInputFile(f"{str(path)!r} is no file.", "Give a JSON Lines file of requests.")
    if path.stat().st_size > LARGEST_FILE_BYTES:
        raise InvalidInputFile(f"{str(path)!r} is larger than {LARGEST_FILE_BYTES // 2**20} MiB.", "Split it.")
    found: list[Request] = []
    try:
        with path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    found.append(_request(line, f"{str(path)!r}, line {number}", output.mean_tokens))
                if len(found) > MOST_REQUESTS:
                    raise InvalidInputFile(f"{str(path)!r} has more than {MOST_REQUESTS:,} requests.", "Split it.")
    except UnicodeDecodeError:
        raise InvalidInputFile(f"{str(path)!r} is not UTF-8 text.", "Give a JSON Lines file of requests.") from None
    if not found:
        raise InvalidInputFile(f"{str(path)!r} has no request.", 'Write lines as {"prompt": "...", "max_tokens": 128}.')
    return tuple(found)


def _request(line: str, where: str, usual_output: int) -> Request:
    try:
        told = json.loads(line)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise InvalidInputFile(f"{where} is no JSON object.", 'Write it as {"prompt": "...", "max_tokens": 128}.')
    output = max(LEAST_OUTPUT_TOKENS, _tokens(told, OUTPUT_NAMES, where) or usual_output)
    content = _content(told, where)
    if content:
        return Request(0, output, content)
    prompt = _tokens(told, PROMPT_NAMES, where)
    if not prompt:
        raise InvalidInputFile(f"{where} has no prompt.", "Give prompt, messages or prompt_tokens.")
    return Request(prompt, output)


def _content(told: Mapping[str, Any], where: str) -> str | tuple[Mapping[str, Any], ...]:
    prompt, messages = told.get("prompt"), told.get("messages")
    if isinstance(prompt, str):
        return prompt
    if messages is None:
        return ()
    chat = isinstance(messages, list) and all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and "content" in one for one in messages
    )
    if not chat or not messages:
        raise InvalidInputFile(f"{where} has messages that are no chat.", "Each has a role and a content.")
    return tuple(messages)


def _tokens(told: Mapping[str, Any], names: Sequence[str], where: str) -> int | None:
    name = next((name for name in names if told.get(name) is not None), None)
    if name is None:
        return None
    value = told[name]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_TOKENS:
        raise InvalidInputFile(f"{where}: {name} is {str(value)[:40]!r}.", f"It is 1 to {MOST_TOKENS:,} tokens.")
    return value
