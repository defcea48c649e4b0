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

    It is a model of its own, or a way of drafting beside the model (`mtp`, `eagle`, `dflash`, `ngram` …).
    """

    drafter: Architecture | DraftMethod
    draft_tokens: int
    acceptance: float

    @property
    def note(self) -> str:
        """What is assumed of it."""
        if isinstance(self.drafter, Architecture):
            name, of_memory = self.drafter.model_id, "its weights and cache count"
        else:
            name, of_memory = self.drafter.name, "what it takes of memory is not counted"
        return f"{drafts_words(name, self.draft_tokens, self.acceptance)}; {of_memory}."


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
