"""Others' ratings of models: LMArena's, with source and date. sizer gives them on and never makes its own.

`data/arena.csv` has the published ratings of 17 December 2025 (lmarena/arena-catalog: text, style control) under the
arena's own names; `data/arena_models.csv` says which hub model each name is, where its weights are public.
"""

from __future__ import annotations

from functools import lru_cache

from sizer.errors import UsageError, did_you_mean
from sizer.frozen import NamedTuple
from sizer.tables import read_rows

SOURCE = "LMArena, text, 17 December 2025"
OVERALL = "full"
CATEGORIES = {
    "overall": OVERALL,
    "coding": "coding",
    "math": "math",
    "hard": "hard",
    "instructions": "if",
    "writing": "creative_writing",
    "multiturn": "multiturn",
    "long": "long_user",
    "software": "industry_software_and_it_services",
    "science": "industry_life_and_physical_and_social_science",
    "business": "industry_business_and_management_and_financial_operations",
    "law": "industry_legal_and_government",
    "medicine": "industry_medicine_and_healthcare",
    **{name: name for name in ("english", "chinese", "russian", "german", "spanish", "japanese", "french", "korean")},
}
"""Plain words for the arena's categories."""


class Rating(NamedTuple):
    """One rating with its 95 % bounds; `mode` says how the model was run where it has several ways (`thinking`)."""

    rating: float
    low_95: float
    high_95: float
    mode: str


def category_of(text: str) -> str:
    """The arena's category of a plain word, or its own name. Raises UsageError with the words there are."""
    wanted = text.strip().lower()
    if wanted in CATEGORIES.values():
        return wanted
    if wanted not in CATEGORIES:
        hint = did_you_mean(wanted, CATEGORIES) or f"Known: {', '.join(CATEGORIES)}."
        raise UsageError(f"the arena has no category {text!r}.", hint)
    return CATEGORIES[wanted]


def rating_of(model_id: str, category: str = OVERALL) -> Rating | None:
    """A model's rating in a category, in the better of its modes; None where the arena has none."""
    return _ratings(category).get(model_id.lower())


@lru_cache(maxsize=8)
def _ratings(category: str) -> dict[str, Rating]:
    models = {row["arena_name"]: (row["model"].lower(), row["mode"]) for row in read_rows("arena_models.csv")}
    found: dict[str, Rating] = {}
    for row in read_rows("arena.csv"):
        if row["category"] != category:
            continue
        model, mode = models[row["arena_name"]]
        rating = Rating(float(row["rating"]), float(row["low_95"]), float(row["high_95"]), mode)
        if model not in found or rating.rating > found[model].rating:
            found[model] = rating
    return found
