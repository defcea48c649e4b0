"""How a prompt is cut: an engine reads it in chunks of one size, and what is left over in a last one."""

from __future__ import annotations

from sizer.frozen import NamedTuple


class Chunks(NamedTuple):
    """The chunks of `tokens` tokens that are read `size` at a time: all are full but for the rest, the last one.

    Each is a pass over the weights. The rest touches no more experts than its own tokens are routed to.
    """

    tokens: int
    size: int

    @property
    def passes(self) -> int:
        """Passes over the weights."""
        return -(-self.tokens // self.size)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """The tokens of a chunk, and how many chunks have so many."""
        full, rest = divmod(self.tokens, self.size)
        return tuple(pair for pair in ((self.size, full), (rest, 1)) if all(pair))


def whole(tokens: int) -> Chunks:
    """All tokens at once."""
    return Chunks(tokens, tokens)
