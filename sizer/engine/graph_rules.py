"""How the engines that share ggml reserve their compute buffers and caches: rows of `data/graph_rules.csv`."""

from __future__ import annotations

from functools import cache

from sizer.engine.releases import rule_in_force, rules
from sizer.frozen import NamedTuple
from sizer.tables import record_of


class GraphRule(NamedTuple):
    """One release of one engine.

    `logits` is slots (rows for as many sequences as there are slots) or chunk (for every token of the micro-batch).
    `mask_bytes` is a cell's width in the mask that the host writes, `embedding_inputs` how many forms of a prompt are
    laid out, `value_ids` whether cached values are written by row ids, `rotates` whether keys and values of a quantized
    cache are rotated, `gated` whether gate times up is a product of its own or overwrites one of them (inplace),
    `offloads` whether the device multiplies by the host's weights from 32 tokens a step or an expert on,
    `reordered_on` the backends that run a prompt's graph in an order of their own.
    `flash_attention` (yes, no; auto: where the backend has a kernel for the heads,
    `data/flash_kernels.csv`; equal: that, and keys as wide as values; listed: for the model types of
    `data/engine_model_types.csv`) and `unified` (one cache for all sequences) are the defaults. `batch` is fixed, or by
    context (and memory: Ollama's micro-batch). `window_cache` is cells (the window, the micro-batch and padding) or
    whole, `latent_cache` says that MLA's latent is cached instead of the heads, `long_latent` whether long steps
    compute on it (absorbed) or expand it. `server_slots` are those of the server where nothing is said; `slot_context`
    says whether a context is each slot's (Ollama's -c is NumCtx times -np) or shared by all. `projector` says whether
    one is loaded always or where it is asked for, `basis` whether the rule was read or fitted.
    """

    engine: str
    logits: str
    mask_bytes: int
    embedding_inputs: int
    value_ids: bool
    rotates: bool
    gated: str
    offloads: str
    reordered_on: frozenset[str]
    flash_attention: str
    batch: str
    unified: bool
    window_cache: str
    latent_cache: bool
    long_latent: str
    server_slots: int
    slot_context: str
    projector: str
    basis: str
    source: str


@cache
def graph_rule(engine: str, version: str = "", date: str = "") -> GraphRule | None:
    """The rule in force for an engine's version or date, None for engines that reserve no ggml graph."""
    table = rules("graph_rules.csv", "engine")
    if engine not in table:
        return None
    return record_of(GraphRule, rule_in_force(table[engine], version, date))
