"""What users ask of a server: who comes when, with which prompt and output. Valid from birth, and bounded."""

from __future__ import annotations

from dataclasses import field, replace
from typing import TYPE_CHECKING

from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.printable import shown

if TYPE_CHECKING:
    from random import Random

MOST_USERS = 1_000_000
MOST_TOKENS = 2**24
MOST_RATE, LEAST_RATE = 1e6, 1e-6
"""More users, tokens and requests a second than anything serves, and fewer of these than one in eleven days: a slip."""


@dataclass(frozen=True, slots=True)
class Load:
    """Requests of many users.

    Closed: `users` at once, each asking again as soon as it is answered. Open: requests arrive by chance
    (Poisson) at `rate_per_s`. Exactly one of the two is given. Prompts and outputs are uniform around their means
    within `spread` of them, or one of `sizes` (prompt and output tokens), whose means they are then. `prefix_hit` is
    the share of a prompt that the prefix cache holds already: it is attended to, but not read again. All prompts begin
    with the same `shared_tokens`, which the cache holds once.
    """

    prompt_tokens: int
    output_tokens: int
    users: int | None = None
    rate_per_s: float | None = None
    prefix_hit: float = 0.0
    spread: float = 0.2
    shared_tokens: int = 0
    sizes: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuses what cannot be served: no users, a negative or endless rate, no tokens."""
        if (self.users is None) == (self.rate_per_s is None):
            raise UsageError("a load is either so many users at once or a rate of requests.", "Give one of the two.")
        if self.users is not None and not (isinstance(self.users, int) and 1 <= self.users <= MOST_USERS):
            raise UsageError(f"{self.users} users are no whole number from 1 to {MOST_USERS:,}.", "Give --users 50.")
        rate = self.rate_per_s
        if rate is not None and not (isinstance(rate, (int, float)) and LEAST_RATE <= rate <= MOST_RATE):
            bounds = f"{LEAST_RATE:f} and {MOST_RATE:,.0f}"
            raise UsageError(f"{rate!s} requests a second are not between {bounds}.", "Give --rps 2.5.")
        for name, tokens in (("prompt", self.prompt_tokens), ("output", self.output_tokens)):
            if not 1 <= tokens <= MOST_TOKENS:
                raise UsageError(f"{tokens} {name} tokens are not between 1 and {MOST_TOKENS:,}.")
        if not (isinstance(self.prefix_hit, (int, float)) and 0 <= self.prefix_hit <= 1):
            raise UsageError(f"a prefix hit of {shown(self.prefix_hit)} is no share.", "Give a number from 0 to 1.")
        if not 0 <= self.shared_tokens < self.prompt_tokens:
            raise UsageError(
                f"prompts of {self.prompt_tokens:,} tokens do not begin with {self.shared_tokens:,} that all share.",
                "Count the shared ones in --prompt.",
            )
        if not 0 <= self.spread < 1:
            raise UsageError(f"a spread of {self.spread:g} is not from 0 to below 1.")

    @property
    def words(self) -> str:
        """`4 users` or `2.5 requests/s`."""
        return f"{self.users:,} users" if self.users is not None else f"{self.rate_per_s:g} requests/s"

    @property
    def whole_tokens(self) -> float:
        """Mean tokens of a request, prompt and output."""
        return self.prompt_tokens + self.output_tokens

    @property
    def mean_depth(self) -> float:
        """Mean cached tokens of a sequence while it decodes."""
        return self.prompt_tokens + self.output_tokens / 2

    @property
    def new_prompt_tokens(self) -> float:
        """Mean prompt tokens that are really read: the last one always is."""
        return max(1.0, (self.prompt_tokens - self.shared_tokens) * (1 - self.prefix_hit))

    def unread(self, prompt_tokens: int) -> int:
        """The tokens of one prompt that are really read."""
        return max(1, round((prompt_tokens - self.shared_tokens) * (1 - self.prefix_hit)))

    def read(self, *, prefixes: bool) -> Load:
        """The load as a server reads it: one that keeps no `prefixes` finds nothing of a prompt in its cache."""
        return self if prefixes else replace(self, prefix_hit=0.0, shared_tokens=0)

    def lengths(self, random: Random) -> tuple[int, int]:
        """Prompt and output tokens of one request."""
        if self.sizes:
            return random.choice(self.sizes)
        own = _around(self.prompt_tokens - self.shared_tokens, self.spread, random)
        return own + self.shared_tokens, _around(self.output_tokens, self.spread, random)


def _around(mean: int, spread: float, random: Random) -> int:
    if not spread:
        return mean
    return max(1, round(mean * (1 + spread * (2 * random.random() - 1))))
