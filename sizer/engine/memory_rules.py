"""How each engine takes memory, release by release: rows of `data/engine_memory.csv`."""

from __future__ import annotations

from functools import cache

from sizer.engine.releases import rule_in_force, rules
from sizer.frozen import NamedTuple, dataclass
from sizer.tables import record_of


@dataclass(frozen=True, slots=True)
class LayerCode:
    """How an engine runs a layer, as far as it decides what is alive at once.

    `hidden_copies` are hidden vectors beside the widest step: 2 (the residual and its normed copy), 4 where a model of
    Python modules also holds the embeddings and the layer's own input. Such modules hold the rotary cosines and sines
    too (`holds_rotary`), and a fused gate and up projection while their product is made (`fused_gate_copies` 4 instead
    of 3 intermediate vectors). `experts` is active (each token at its own experts), loop (one expert after another) or
    stacked (every token repeated for each of its experts, input, output and weighted output).
    """

    name: str
    hidden_copies: int
    holds_rotary: bool
    fused_gate_copies: int
    experts: str


LAYER_CODES = {
    code.name: code
    for code in (
        LayerCode("kernels", 2, holds_rotary=False, fused_gate_copies=3, experts="active"),
        LayerCode("compiled kernels", 3, holds_rotary=False, fused_gate_copies=3, experts="active"),
        LayerCode("eager kernels", 4, holds_rotary=False, fused_gate_copies=3, experts="active"),
        LayerCode("modules", 4, holds_rotary=True, fused_gate_copies=4, experts="loop"),
        LayerCode("stacked modules", 4, holds_rotary=True, fused_gate_copies=4, experts="stacked"),
    )
}
"""By the name that `data/engine_memory.csv` uses: fused kernels (in pieces of a compiled graph, whose inputs stay:
compiled; called from Python: eager), transformers before 5, transformers."""


class EngineMemory(NamedTuple):
    """How an engine takes memory: one row of `data/engine_memory.csv`.

    `allocates` is as_needed, fraction_of_device, fraction_of_free (of what is free once the weights are loaded) or
    fraction_of_device_for_cache, and `device_fraction` that fraction; `pool_backends` are those where it does so, on
    others as needed (empty: everywhere). Prompts are read in chunks of
    `prefill_chunk_tokens` (None: whole). `layer_code` says what is alive while a layer runs. `logits_rows` is last (one
    row a sequence), chunk (one a token of the chunk), prompt (one a token of the prompt) or a fixed number.
    `window_cache` is window where layers with a window keep that much, whole where they keep the context.
    `state_type` is the type of recurrent states: model (that of the weights), config (`mamba_ssm_dtype` where the
    config has it, else the model's) or fp32. `conv_columns` is kernel or kernel-1: what a convolution keeps.
    `indexer` is the format of what sparse attention's indexer keeps: the cache's, or fp8 with scales.
    `text_alone` says that vision and audio towers are not loaded.
    `cache_grows` says that the cache grows token by token instead of being reserved, and that layers with a
    window hold the last chunk besides while the prompt is read; `cache_copies` is 2 where a step makes a new cache
    beside the old one, `dequantizes_layer` says that a layer of a quantized cache stands whole in 16 bits for its
    step. `profile` says how an engine that allocates ahead leaves room for its working memory: by card
    (a profile run of the card's default tokens and sequences, whatever the prompt), whole length (of 256 sequences and
    of one whole prompt: vLLM before 0.8), fixed (256 sequences and a chunk on every card), whose sampler holds
    `sampler_bytes_per_value` for each logit and rows of 32 bits (`sampler_buffer_rows`), or static (what the fraction
    leaves free). `captured` says which batch sizes are captured (8th: 1, 2, 4 and each 8th; 16th: from 256
    each 16th; 8th to 256: none larger). Captured graphs take
    `graph_bytes` (`expert_graph_bytes` in mixtures) for each layer and captured size, and are reserved for on
    `graph_backends`; `keeps_workspace` says that what
    experts compute in, at most `expert_chunk_tokens` at once, stays allocated beside the sampler. Several ranks take
    `rank_overhead_bytes` on each, over links as fast as NVLink `linked_rank_overhead_bytes`. Kernels for experts of
    `tiled_precisions` take them padded to `expert_tile`, and have workspaces of their own, which do not stay.
    `capped_score_bytes` are those of one attention score where the model caps its scores and no kernel does.
    `scanned_tokens` are those of a chunk that a state-space layer compares at once, each with each; 0 where none is.
    `rotary_tables` says that each layer holds cosines and sines for every position, `embedding_on_host` that the input
    table stays in the host's memory beside a GPU. Layers that go to the host leave `split_margin_bytes` free on each
    device. `usual_counter` is what people report: allocated (the framework's allocator), device (what the driver shows,
    context included) or each device (that of one device).
    """

    engine: str
    like: str
    allocates: str
    device_fraction: float | None
    pool_backends: tuple[str, ...]
    context_overhead_bytes: int
    host_runtime_bytes: int
    prefill_chunk_tokens: int | None
    layer_code: LayerCode
    activation_bytes_per_value: int
    logits_rows: str
    logits_bytes_per_value: int
    kv_block_tokens: int
    state_bytes_per_value: int
    window_cache: str
    state_type: str
    conv_columns: str
    indexer: str
    text_alone: bool
    cache_grows: bool
    cache_copies: int
    dequantizes_layer: bool
    profile: str
    sampler_bytes_per_value: int
    sampler_buffer_rows: int
    captured: str
    graph_bytes: int
    expert_graph_bytes: int
    graph_backends: tuple[str, ...]
    keeps_workspace: bool
    expert_chunk_tokens: int | None
    tiled_precisions: tuple[str, ...]
    expert_tile: int
    rank_overhead_bytes: int
    linked_rank_overhead_bytes: int
    capped_score_bytes: float
    scanned_tokens: int
    rotary_tables: bool
    workspace_bytes: int
    embedding_on_host: bool
    split_margin_bytes: int
    usual_counter: str
    source: str

    def pooled(self, backend: str | None, told: bool | None = None) -> EngineMemory:
        """The rule on a backend: a cache that grows where the engine has no pool there, or a flag says so (`told`)."""
        if not self.pool_backends:
            return self
        has_pool = backend in self.pool_backends if told is None else told
        if has_pool:
            return self
        return self._replace(allocates="as_needed", device_fraction=None, profile="", cache_grows=True)


@cache
def engine_memory(engine: str, version: str = "", date: str = "") -> EngineMemory | None:
    """The memory row of an engine (of the one that it allocates like, where the table says so), or None.

    A row with `before_version` holds for older versions, and where the version is not known for runs before that
    version's release (`date`, ISO); without either the newest rule holds. The versions are those of the engine that
    the row describes: one that allocates like it has its own. What its own row tells stands before the other's.
    """
    rows = rules("engine_memory.csv", "engine")
    if engine not in rows:
        return None
    like = rows[engine][0]["like"]
    version = "" if like else version
    row = rule_in_force(rows[like or engine], version, date)
    row = {name: (like and rows[engine][0][name]) or cell for name, cell in row.items()}
    return record_of(EngineMemory, row, engine=engine, like=like, layer_code=LAYER_CODES[row["layer_code"]])
