"""A request on its way through a simulated server, and what is counted on the way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Request:
    """One request on its way."""

    arrived_s: float
    prompt: int
    output: int
    unread: int
    """Prompt tokens still to read; after a preemption the generated ones too."""
    generated: int = 0
    first_s: float = -1.0
    done_s: float = -1.0
    order: int = 0
    ends_at: int = -1
    """Decode-step count at which the last token comes."""
    held: int = 0
    """Tokens in the cache when it began to decode, and the count of steps then."""
    since: int = 0
    seen: tuple[tuple[float, ...], ...] = ()
    """The engine's counts when it arrived, when its first token came and when it ended."""


COUNTS = ("prompt_steps", "prompt_tokens", "attention_s", "beside", "alone_steps")
"""What a simulation counts: steps with prompts, their tokens, attention and decodes beside them; steps without."""
