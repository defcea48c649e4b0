"""What engines leave free of a card for their working memory, by rule: rows of `data/static_reserves.csv`.

SGLang's `mem_fraction_static` is what weights and pool may take together. Without the flag it is the card less a
reserve for a chunk of prompts and for captured graphs, by version.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sizer.engine.releases import rule_in_force, rules

PROMPT_SIZES = ((4, 33, 4), (48, 257, 16), (288, 513, 32), (576, 1025, 64), (1280, 4097, 256), (4608, 2**31, 512))
"""Sizes of prompts that are captured, up to a chunk: cuda_graph_hook.py generate_prefill_cuda_graph_batch_sizes."""
MANY_GRAPHS, MANY_GRAPHS_FACTOR = 300, 1.5
"""Groups of data-parallel attention take half as much again where more sequences are captured."""
LARGE_TOWER = 24 * 1024**2
"""Layers times the square of the hidden size of the vision tower that the reserve is made for (ViT-L/14)."""


class Card(NamedTuple):
    """What the reserve goes by: the memory that the driver shows in MiB, ranks, and what flags say of the run.

    `vision` is layers times the squared hidden size of a vision tower, 0 of a model without one. `groups` are those of
    data-parallel attention, `drafts` is model, layers or nothing.
    """

    memory_mib: float
    ranks: int
    chunk_tokens: int | None
    graph_sequences: int | None
    latent: bool
    vision: int
    groups: int = 1
    drafts: str = ""


@cache
def static_fraction(engine: str, version: str, date: str, card: Card) -> float | None:
    """The fraction of a card that weights and pool may take by default; None for an engine without such a rule."""
    rows = rules("static_reserves.csv", "engine").get(engine)
    if rows is None:
        return None
    era = rule_in_force(rows, version, date)["before_version"]
    row = next(row for row in rows if row["before_version"] == era and _is_for(row, card))
    if row["fraction"]:
        return float(row["fraction"])
    chunk = max(card.chunk_tokens or int(row["chunk_tokens"]), 2048)
    reserve = float(row["constant_mib"]) + chunk * float(row["token_mib"])
    graphs = int(row["graphs"]) if card.graph_sequences is None else card.graph_sequences
    reserve += graphs * float(row["graph_mib"])
    reserve += card.ranks * float(row["rank_mib"])
    if card.groups > 1:
        many = MANY_GRAPHS_FACTOR if graphs > MANY_GRAPHS else 1.0
        reserve += graphs * card.groups * float(row["group_graph_mib"]) * many + float(row["group_mib"])
    captured = sum(len(range(first, min(last, chunk + 1), step)) for first, last, step in PROMPT_SIZES)
    reserve += float(row["latent_mib"]) if card.latent else captured * float(row["prefill_graph_mib"])
    reserve = max(reserve, float(row["least_mib"]))
    reserve += {"model": float(row["draft_model_mib"]), "layers": float(row["draft_mib"])}.get(card.drafts, 0.0)
    return round(1 - reserve / card.memory_mib, 3) * _vision_factor(row["vision_factor"], card.vision)


def _is_for(row: dict[str, str], card: Card) -> bool:
    below = float(row["below_mib"]) if row["below_mib"] else float("inf")
    return card.memory_mib < below and card.ranks >= int(row["from_ranks"])


def _vision_factor(rule: str, vision: int) -> float:
    """What of the fraction is left to a model that sees: a number, or by the size of its tower (`vit`)."""
    if not vision:
        return 1.0
    if rule != "vit":
        return float(rule)
    return 0.95 * max(0.8, min(1.05, 1.0 - 0.1 * (vision / LARGE_TOWER - 1.0)))
