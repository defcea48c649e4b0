"""What is known of a catalogued name beside its shape: when it was released and what kind of model it is."""

from __future__ import annotations

from functools import lru_cache

from sizer.frozen import dataclass
from sizer.tables import read_rows, record_of

KINDS = ("instruct", "base", "code", "vision", "reasoning", "embedding")


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One name's facts, each with its source; `released` is YYYY-MM-DD, YYYY-MM or None where nobody told.

    `kind` is one of KINDS: what the model is made for. `images` says that it has a tower for images, whatever its kind.
    """

    model: str
    released: str | None
    released_source: str
    kind: str
    kind_source: str
    images: bool


def facts(name: str) -> ModelFacts | None:
    """The facts of a published name (a model's id or an alias, in any letter case); None where none are known."""
    return _facts().get(name.lower())


def usual_first(name: str) -> tuple[bool, str]:
    """What is meant first of models alike, as a key that sorts it last: no base model, and the newest."""
    fact = facts(name)
    return fact is not None and fact.kind != "base", (fact.released if fact else None) or ""


@lru_cache(maxsize=1)
def _facts() -> dict[str, ModelFacts]:
    return {row["model"].lower(): record_of(ModelFacts, row) for row in read_rows("model_facts.csv")}
