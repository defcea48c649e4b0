"""Which experts the tokens of a step are routed to: tokens of one sequence more alike than those of several."""

from __future__ import annotations

from sizer.frozen import NamedTuple
from sizer.model.architecture import Tensor
from sizer.tuning import tuned


def distinct_experts(experts: int, active_experts: int, tokens: int, correlation: float = 1.0) -> float:
    """Expected experts of one layer that `tokens` tokens touch.

    Independent routing touches E (1 - (1 - k/E)^tokens). Tokens of one sequence are routed alike: each beyond the first
    counts as `correlation` of one. Few touch fewer; a chunk of a prompt touches nearly all. Never fewer than k, never
    more than E.
    """
    active = min(active_experts, experts)
    if tokens <= 1 or active == experts:
        return float(active)
    touched: float = experts * (1 - (1 - active / experts) ** (1 + correlation * (tokens - 1)))
    return touched


class RoutedTokens(NamedTuple):
    """How many sequences route tokens in a step, how many tokens each, and how alike those are routed; `alike` is what
    each further sequence counts as."""

    sequences: int
    per_sequence: int
    correlation: float
    alike: float

    @property
    def tokens(self) -> int:
        """Tokens of all sequences."""
        return self.sequences * self.per_sequence

    def touched_share(self, tensor: Tensor) -> float:
        """Share of a stack's experts that the step touches; 1 for what every token uses."""
        if tensor.experts is None or tensor.active_experts is None:
            return 1.0
        of_one = distinct_experts(tensor.experts, tensor.active_experts, self.per_sequence, self.correlation)
        share_missed: float = (1 - of_one / tensor.experts) ** (1 + self.alike * (self.sequences - 1))
        return 1 - share_missed


def routed_tokens(sequences: int, per_sequence: int, alike: float = 1.0) -> RoutedTokens:
    """The tokens of a step, those of a sequence as alike as sequences were measured to be (`routing_correlation`)."""
    return RoutedTokens(sequences, per_sequence, tuned("routing_correlation"), alike)
