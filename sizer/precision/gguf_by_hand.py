"""Files whose publisher chooses types by hand: ik_llama.cpp's own, by the recipe that most of them follow.

The type of the name is that of the experts' gate and up matrices, their down matrices have the next one, and all that
runs for every token stays near 8 bits. A dense model has the type of its name throughout, its value matrices the next.
Each type has its next in `data/gguf_ftypes.csv`.
"""

from __future__ import annotations

from functools import lru_cache

KEPT = "iq6_k"
KEPT_MOST = "q8_0"
"""Attention's keys and values, which are small."""

BY_HAND_NOTE = (
    "Files of ik_llama.cpp's own types are mixed by hand: these are the bytes of their publishers' usual recipe, and "
    "four known files are within 4 % of it."
)


@lru_cache(maxsize=1)
def _next_types() -> dict[str, str]:
    from sizer.tables import read_rows

    return {row["ftype"]: row["down"] for row in read_rows("gguf_ftypes.csv") if row["down"]}


def is_by_hand(ftype: str) -> bool:
    """Whether files of this type are mixed by hand."""
    return ftype in _next_types()


def by_hand(kind: str, ftype: str, default: str, *, stacked: bool, mixture: bool) -> str:
    """The type of a tensor by its category; `mixture`: the model has experts, `stacked`: this tensor holds them."""
    if stacked:
        return _next_types()[ftype] if kind == "down" else default
    if mixture:
        return KEPT_MOST if kind in ("k", "v") else KEPT
    if kind == "output":
        return KEPT
    return _next_types()[ftype] if kind == "v" else default
