"""How an engine itself reckons what a model will take, before it loads: rows of `data/own_estimates.csv`.

Ollama decides by such formulas how many layers go to the card, and prints them ("memory required"), until an engine of
its own, and later llama-server, reserves the graph and measures it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING

from sizer.engine.releases import rule_in_force, rules
from sizer.frozen import NamedTuple
from sizer.regex import pattern

if TYPE_CHECKING:
    from fractions import Fraction

MEASURED, ANY = "measured", "*"
_TERM = pattern(r"(\d+(?:/\d+)?)?([A-Z]*)")


class Term(NamedTuple):
    """A number times what letters stand for."""

    factor: Fraction
    letters: str

    def value(self, sizes: Mapping[str, int]) -> Fraction:
        """The term's bytes for the sizes of a model and a step."""
        product = self.factor
        for letter in self.letters:
            product *= sizes[letter]
        return product


Formula = tuple[tuple[Term, ...], ...]
"""Alternatives, of which the largest counts; each a sum of terms."""


class EstimateRule(NamedTuple):
    """One release's formulas for one kind of GGUF file.

    `full` and `partial` tell the graph's bytes where all layers are on the devices and where some are. Letters: B the
    tokens of a batch, C cells of all slots, E hidden size, F the MLP width, V vocabulary, H heads, K KV heads, G heads
    a KV head, W a key's width, D hidden size / heads, M the larger of C and E, S a fused bias, T the bytes of the whole
    cache, X those of one layer of gate experts, P slots, U a MiB; of images I values, Q patches, Y the tower's hidden
    size, R its heads, Z a patch's side. `windows` says how layers with a window count: whole,
    window (slots times the window, and a batch) or a number taken for it. `counted` is how layers are laid: from the
    first or the last, the output after them, or as a layout (the output first). A projector counts on the `first`
    device, beside the `last` layer or not at all (empty), with a graph of its own for the towers of some files.
    """

    full: Formula
    partial: Formula
    windows: str
    counted: str
    source: str
    projector: str = ""
    images: Formula = ()

    @staticmethod
    def bytes_of(formula: Formula, sizes: Mapping[str, int]) -> int:
        """The largest alternative of a formula."""
        return max(int(sum(term.value(sizes) for term in terms)) for terms in formula)


@cache
def estimate_rule(engine: str, arch: str, experts: bool, version: str, date: str) -> EstimateRule | None:
    """The formulas in force for a GGUF architecture; None where the engine measures, or has none."""
    rows = rules("own_estimates.csv", "engine").get(engine, [])
    own = [row for row in rows if arch in row["archs"].split() and row["experts"] in {"", "yes" if experts else "no"}]
    general = [row for row in rows if row["archs"] == ANY]
    if not general:
        return None
    row, era = rule_in_force(own or general, version, date), rule_in_force(general, version, date)
    if MEASURED in {row["full"], era["full"]}:
        return None
    projector, _, images = (row["projector"] or era["projector"]).partition(": ")
    return EstimateRule(
        formula(row["full"]),
        formula(row["partial"]),
        row["windows"],
        era["counted"],
        row["source"],
        projector,
        formula(images) if images else (),
    )


def formula(text: str) -> Formula:
    """A formula of the table: terms with spaces between, alternatives with a bar."""
    return tuple(tuple(_term(word) for word in part.split()) for part in text.split("|"))


def _term(word: str) -> Term:
    from fractions import Fraction

    found = _TERM.fullmatch(word)
    if found is None:
        raise ValueError(f"{word!r} in data/own_estimates.csv is no term")
    return Term(Fraction(found[1] or "1"), found[2])
