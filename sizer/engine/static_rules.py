"""What engines leave free of a card for their working memory, by rule: rows of `data/static_reserves.csv`.

SGLang's `mem_fraction_static` is what weights and pool may take together. Without the flag it is the card less a
reserve for a chunk of prompts and for captured graphs, by version; `data/prompt_graphs.csv` tells where no prompts are
captured.
"""

from __future__ import annotations

from functools import cache

from sizer.engine.releases import rule_in_force, rules
from sizer.frozen import NamedTuple

PROMPT_SIZES = ((4, 33, 4), (48, 257, 16), (288, 513, 32), (576, 1025, 64), (1280, 4097, 256), (4608, 2**31, 512))
"""Sizes of prompts that are captured, up to a chunk: cuda_graph_hook.py generate_prefill_cuda_graph_batch_sizes."""
LEAST_TOKENS = 2048
"""Tokens of a step that a reserve is made for at least."""
LEAST_FRACTION = 0.001
"""Where a reserve is larger than the card: nothing fits."""
MANY_GRAPHS, MANY_GRAPHS_FACTOR = 300, 1.5
"""Groups of data-parallel attention take half as much again where more sequences are captured."""
LARGE_TOWER = 24 * 1024**2
"""Layers times the square of the hidden size of the vision tower that the reserve is made for (ViT-L/14)."""


class Card(NamedTuple):
    """What the reserve goes by: the memory that the driver shows in MiB, ranks, and what flags say of the run.

    `vision` is layers times the squared hidden size of a vision tower, 0 of a model without one. `groups` are those of
    data-parallel attention, `drafts` is model, layers or nothing, `verified_tokens` what a step checks of a sequence.
    `traits` are words of `data/prompt_graphs.csv` that hold for model and flags, `phase` is prefill or decode of a
    server that does that alone.
    """

    memory_mib: float
    ranks: int
    chunk_tokens: int | None
    graph_sequences: int | None
    latent: bool
    vision: int
    groups: int = 1
    drafts: str = ""
    verified_tokens: int = 1
    sequences: int | None = None
    traits: frozenset[str] = frozenset()
    architecture: str = ""
    phase: str = ""


def static_chunk_tokens(engine: str, version: str, date: str, card: Card) -> int | None:
    """The tokens of a prompt that run at once by default; None for an engine without such a rule, or a row without."""
    row = _row(engine, version, date, card)
    return int(row["chunk_tokens"]) if row and row["chunk_tokens"] else None


def _row(engine: str, version: str, date: str, card: Card) -> dict[str, str] | None:
    rows = rules("static_reserves.csv", "engine").get(engine)
    if rows is None:
        return None
    era = rule_in_force(rows, version, date)["before_version"]
    return next(row for row in rows if row["before_version"] == era and _is_for(row, card))


@cache
def static_fraction(engine: str, version: str, date: str, card: Card) -> float | None:
    """The fraction of a card that weights and pool may take by default; None for an engine without such a rule."""
    row = _row(engine, version, date, card)
    if row is None:
        return None
    if row["fraction"]:
        return float(row["fraction"]) * _vision_factor(row["vision_factor"], card.vision)
    phases = bool(row["phases"])
    chunk = int(row["chunk_tokens"]) if card.chunk_tokens is None else card.chunk_tokens
    graphs = _graphs(row, card)
    alone = card.phase if phases else ""
    step = (card.sequences or graphs or 1) * card.verified_tokens if alone == "decode" else chunk
    reserve = float(row["constant_mib"]) + max(step, LEAST_TOKENS) * float(row["token_mib"])
    captures = alone != "prefill" and not (phases and "eager" in card.traits)
    reserve += graphs * float(row["graph_mib"]) if captures else 0.0
    reserve += card.ranks * float(row["rank_mib"])
    if card.groups > 1 and alone != "prefill":
        many = MANY_GRAPHS_FACTOR if graphs > MANY_GRAPHS else 1.0
        reserve += graphs * card.groups * float(row["group_graph_mib"]) * many + float(row["group_mib"])
    if alone != "decode" and not (phases and "eager" in card.traits) and _captures_prompts(engine, version, date, card):
        captured = sum(len(range(first, min(last, chunk + 1), step)) for first, last, step in PROMPT_SIZES)
        reserve += float(row["latent_mib"]) if card.latent else captured * float(row["prefill_graph_mib"])
    reserve = max(reserve, float(row["least_mib"]))
    reserve += float(row["exchange_mib"]) if captures and "deepep" in card.traits else 0.0
    reserve += {"model": float(row["draft_model_mib"]), "layers": float(row["draft_mib"])}.get(card.drafts, 0.0)
    left = max(round(1 - reserve / card.memory_mib, 3), LEAST_FRACTION)
    return left * _vision_factor(row["vision_factor"], card.vision)


def _is_for(row: dict[str, str], card: Card) -> bool:
    below = float(row["below_mib"]) if row["below_mib"] else float("inf")
    return card.memory_mib < below and card.ranks >= int(row["from_ranks"])


def _graphs(row: dict[str, str], card: Card) -> int:
    """Sequences of the largest captured graph: as flags say, else by card, no more than run at once where that caps."""
    if card.graph_sequences is not None:
        return card.graph_sequences
    graphs = int(row["graphs"])
    return min(graphs, card.sequences) if row["capped"] and card.sequences else graphs


def _captures_prompts(engine: str, version: str, date: str, card: Card) -> bool:
    """Whether prompts are captured too: model and flags have no trait that turns it off."""
    row = rule_in_force(rules("prompt_graphs.csv", "engine")[engine], version, date)
    off = card.traits & frozenset(row["off_for"].split())
    if card.architecture in row["multimodal_architectures"].split():
        off -= {"multimodal"}
    return not off and "no prompts" not in card.traits


def _vision_factor(rule: str, vision: int) -> float:
    """What of the fraction is left to a model that sees: a number, or by the size of its tower (`vit`)."""
    if not vision:
        return 1.0
    if rule != "vit":
        return float(rule)
    return 0.95 * max(0.8, min(1.05, 1.0 - 0.1 * (vision / LARGE_TOWER - 1.0)))
