"""What an estimate is asked for."""

from __future__ import annotations

from sizer.answer.drafts import NamedDraft
from sizer.device.records import Target
from sizer.engine.options import EngineOptions
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.speed.records import DraftMethod, drafts_words
from sizer.workload import Workload


@dataclass(frozen=True, slots=True)
class Drafting:
    """A drafter: how many tokens it drafts a step, and with which probability each is accepted.

    It is a model of its own, or a way of drafting beside the model (`mtp`, `eagle`, `dflash`, `ngram` …). `chosen` says
    that somebody chose the number of tokens; `flagged`, that the engine's own flags name it, which memory counts.
    `doubt` says what is not known of it.
    """

    drafter: Architecture | DraftMethod
    draft_tokens: int
    acceptance: float
    chosen: bool = True
    flagged: bool = False
    doubt: str = ""

    @property
    def note(self) -> str:
        """What is assumed of it."""
        if self.flagged:
            beside = "the engine's own flags ask for it"
        elif isinstance(self.drafter, Architecture):
            beside = "its weights and cache count"
        else:
            beside = "what it takes of memory is not counted"
        return f"{drafts_words(self.name, self.draft_tokens, self.acceptance)}; {beside}. {self.doubt}".strip()

    @property
    def name(self) -> str:
        """What drafts, as it is called."""
        return self.drafter.model_id if isinstance(self.drafter, Architecture) else self.drafter.name


@dataclass(frozen=True, slots=True)
class Question:
    """What an estimate is asked for: a model, where it runs, at which precision and engine, for which work.

    `stored` is given where a file's header told the exact bytes. `context_max` asks for the longest context that fits.
    `options` are what the engine's own flags said, `draft` the model that they draft with.
    """

    architecture: Architecture
    target: Target
    precision: str
    workload: Workload
    engine: str | None = None
    stored: Stored | None = None
    engine_version: str = ""
    engine_date: str = ""
    context_max: bool = False
    drafting: Drafting | None = None
    options: EngineOptions | None = None
    draft: NamedDraft | None = None
