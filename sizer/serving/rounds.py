"""Rounds of speculative decoding as a server's steps: what is drafted and verified together, and how much it yields."""

from __future__ import annotations

from sizer.frozen import NamedTuple, dataclass
from sizer.speed.case import SpeedCase
from sizer.speed.law import constants
from sizer.speed.records import DraftMethod, drafts_words
from sizer.speed.speculative import Drafter, draft_cost, expected_tokens, replay_cost, round_s


class Drafts(NamedTuple):
    """A drafter, the tokens that it drafts a step, and with which probability each is accepted."""

    drafter: Drafter
    tokens: int
    acceptance: float

    @property
    def words(self) -> str:
        """What is said of it."""
        name = self.drafter.name if isinstance(self.drafter, DraftMethod) else self.drafter[0].model_id
        return drafts_words(name, self.tokens, self.acceptance)


@dataclass(frozen=True, slots=True)
class Rounds:
    """Steps that verify `drafts` tokens of each sequence beside the one before them, and yield `tokens` on average.

    Drafting them takes `drafting_steps` plain steps of the same sequences (and running accepted ones again, where that
    is how a state is undone), and a round `fixed_s` beyond all that.
    """

    drafts: int
    tokens: float
    drafting_steps: float
    fixed_s: float


def rounds_of(case: SpeedCase, asked: Drafts) -> Rounds:
    """The rounds of a drafter beside a case."""
    one, tokens = case.of_sequences(1), expected_tokens(asked.acceptance, asked.tokens)
    drafting = asked.tokens * draft_cost(one, asked.drafter, asked.tokens, constants())
    drafting += replay_cost(one, asked.tokens, tokens, constants())
    return Rounds(asked.tokens, tokens, drafting, round_s(case.engine.runtime))
