"""Lines for the page's charts: estimates of one precision along a growing context and a growing number of users."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sizer.errors import SizerError, UsageError

Ask = Callable[[Sequence[tuple[str, str]]], str]

SHORTEST_CONTEXT_TOKENS, MOST_CONTEXTS, LONGEST_UNSTATED_TOKENS = 1024, 9, 131_072
"""Where the page's curves begin, how many contexts they are drawn at, and where they end unless a longer one is
asked for."""
USERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""How many at once the curve of throughput is drawn at."""


def curves(query: Sequence[tuple[str, str]], ask: Ask) -> dict[str, Any]:
    """Decode speed by context and throughput by users of the first estimate that a query asks for.

    Points where the model does not fit, or whose speed is not known, have null speeds: a gap in the line. Raises
    UsageError for several models.
    """
    fixed = [(key, value) for key, value in query if key not in {"context", "prompt", "output", "batch"}]
    given = dict(query)
    batch = given.get("batch") or "1"
    output_tokens = int(given["output"]) if given.get("output", "").isdigit() else 128
    if sum(key == "model" for key, _ in query) > 1:
        raise UsageError("curves are those of one model.", "Ask once for each.")
    first = json.loads(ask([*fixed, ("batch", batch)]))
    longest = first["model"]["max_context_tokens"] or LONGEST_UNSTATED_TOKENS
    by_context = [
        _point("context_tokens", tokens, ask, [*fixed, *_filled(tokens, output_tokens), ("batch", batch)])
        for tokens in _contexts(longest)
    ]
    context = [(key, value) for key, value in query if key in {"context", "prompt", "output"}]
    by_users = [_point("users", users, ask, [*fixed, *context, ("batch", str(users))]) for users in USERS]
    estimate = first["estimates"][0]
    return {
        "schema_version": first["schema_version"],
        "model": first["model"]["id"],
        "device": estimate["device"],
        "engine": estimate["engine"],
        "precision": estimate["precision"],
        "by_context": by_context,
        "by_users": by_users,
    }


def _contexts(longest_tokens: int) -> list[int]:
    """Doubling contexts up to the model's longest, at most `MOST_CONTEXTS`, the longest last."""
    steps = [longest_tokens]
    while len(steps) < MOST_CONTEXTS and steps[0] // 2 >= SHORTEST_CONTEXT_TOKENS:
        steps.insert(0, steps[0] // 2)
    return steps


def _filled(context_tokens: int, output_tokens: int) -> list[tuple[str, str]]:
    """A prompt that fills the context but for the output."""
    output_tokens = min(output_tokens, context_tokens // 2)
    return [("prompt", str(context_tokens - output_tokens)), ("output", str(output_tokens))]


def _point(axis: str, value: int, ask: Ask, query: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """One point: the figures of one estimate."""
    try:
        found = json.loads(ask(query))["estimates"][0]
    except SizerError:
        return {axis: value, "fits": False, "total_bytes": None, "tokens_per_s": None}
    # An encoder writes nothing: the tokens that it reads.
    speed, memory = found["decode"] or found["prefill"], found["memory"]
    together = found["request"]["throughput_tokens_per_s"] if found["decode"] else speed["tokens_per_s"]
    return {
        axis: value,
        "fits": memory["fits"],
        "total_bytes": memory["total_bytes"],
        "tokens_per_s": speed["tokens_per_s"],
        "low_tokens_per_s": speed["low_tokens_per_s"],
        "high_tokens_per_s": speed["high_tokens_per_s"],
        "throughput_tokens_per_s": together,
        "ttft_s": found["prefill"]["ttft_s"],
    }
