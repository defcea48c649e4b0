"""The licences of the catalogued models, where the hub's tag is known: rows of `data/licenses.csv`."""

from __future__ import annotations

from functools import cache

from sizer.errors import UsageError, did_you_mean
from sizer.frozen import dataclass
from sizer.tables import read_rows


@cache
def _by_model() -> dict[str, str]:
    return {row["model"]: row["license"] for row in read_rows("licenses.csv")}


def license_of(model_id: str) -> str | None:
    """The licence tag of a catalogued model (`apache-2.0`); None where it is not known."""
    return _by_model().get(model_id)


@dataclass(frozen=True, slots=True)
class Licenses:
    """The licences to keep, as beginnings of their tags (`llama` is all of Meta's); none keeps every model."""

    beginnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, texts: tuple[str, ...]) -> Licenses:
        """The licences that texts name, with commas between several; UsageError for one that no model has."""
        names = [name.strip().lower() for text in texts for name in text.split(",") if name.strip()]
        known = sorted(set(_by_model().values()))
        for name in names:
            if not any(tag.startswith(name) for tag in known):
                hint = did_you_mean(name, known) or f"Known: {', '.join(known)}."
                raise UsageError(f"no catalogued model has the licence {name!r}.", hint)
        return cls(tuple(names))

    def allow(self, model_id: str) -> bool:
        """Whether a model may be kept: its licence is one of these. One that is not known is none of them."""
        return not self.beginnings or (license_of(model_id) or " ").startswith(self.beginnings)


ANY_LICENSE = Licenses()
