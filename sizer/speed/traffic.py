"""What one step moves and computes by stage: a decode step, a verification or a prefill.

Counting rules. A multiply-add is 2 FLOPs. The input embedding is a table of which each token reads one row; a tied
table is read once, as the output head. Of an expert stack only the experts that the tokens are routed to are read.
Norms and biases count as bytes, not as FLOPs. Vision, audio and encoder towers and multi-token-prediction layers do
not run while text is decoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from sizer.cache_formats import cache_format
from sizer.frozen import NamedTuple
from sizer.model.architecture import Architecture, Mixer, Module, Role, Tensor, Tower
from sizer.model.stored import Stored, StoredTensor
from sizer.speed.attended import (
    attended_tokens,
    attention_flops,
    causal_attended_tokens,
    expansion_flops,
    last_token_layers,
    read_cache_bytes,
    weighed_tokens,
)
from sizer.speed.chunks import Chunks
from sizer.speed.routing import RoutedTokens, routed_tokens
from sizer.workload import Workload

STAGES = ("attention", "kv", "dense_mlp", "experts", "router", "lm_head", "state", "embedding", "other")

STATE_BYTES_PER_VALUE = 2
"""A recurrent state is read and written as 16-bit values; what an engine keeps wider is in its fitted constants."""

_STAGE_BY_ROLE = {
    **dict.fromkeys((Role.Q, Role.K, Role.V, Role.QKV, Role.O), "attention"),
    **dict.fromkeys((Role.Q_A, Role.Q_B, Role.KV_A, Role.KV_B, Role.INDEXER), "attention"),
    **dict.fromkeys((Role.GATE, Role.UP, Role.GATE_UP, Role.DOWN), "dense_mlp"),
    **dict.fromkeys((Role.SHARED_GATE, Role.SHARED_UP, Role.SHARED_GATE_UP, Role.SHARED_DOWN), "dense_mlp"),
    **dict.fromkeys((Role.EXPERT_GATE, Role.EXPERT_UP, Role.EXPERT_GATE_UP), "experts"),
    **dict.fromkeys((Role.EXPERT_DOWN, Role.EXPERT_BIAS), "experts"),
    **dict.fromkeys((Role.SSM_IN, Role.SSM_OUT, Role.SSM, Role.CONV), "state"),
    Role.ROUTER: "router",
    Role.LM_HEAD: "lm_head",
}
_NOT_MULTIPLIED = {Role.NORM, Role.BIAS, Role.EXPERT_BIAS, Role.EMBEDDING, Role.POSITION}
_RUNNING_TOWERS = {Tower.TEXT}


class StageTraffic(NamedTuple):
    """One stage of a step: bytes of weights and of cache it moves, FLOPs it does."""

    stage: str
    weight_bytes: int = 0
    cache_bytes: int = 0
    flops: int = 0

    @property
    def bytes_read(self) -> int:
        """Weights and cache together."""
        return self.weight_bytes + self.cache_bytes

    def plus(self, other: StageTraffic) -> StageTraffic:
        """The same stage with another's traffic added."""
        return StageTraffic(
            self.stage,
            self.weight_bytes + other.weight_bytes,
            self.cache_bytes + other.cache_bytes,
            self.flops + other.flops,
        )


class Attended(NamedTuple):
    """What a prompt's tokens attend to in all layers of one mixer, as FLOPs."""

    mixer: Mixer
    flops: int


class Traffic(NamedTuple):
    """The traffic of one step (or of a whole prefill), by stage. `tokens` is how many tokens the step processes;
    `attended` is a prompt's attention by mixer."""

    stages: tuple[StageTraffic, ...]
    tokens: int
    attended: tuple[Attended, ...] = ()

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights read."""
        return sum(stage.weight_bytes for stage in self.stages)

    @property
    def cache_bytes(self) -> int:
        """Bytes of cache and state read and written."""
        return sum(stage.cache_bytes for stage in self.stages)

    @property
    def bytes_read(self) -> int:
        """All bytes moved."""
        return sum(stage.bytes_read for stage in self.stages)

    @property
    def flops(self) -> int:
        """All FLOPs done."""
        return sum(stage.flops for stage in self.stages)

    def stage(self, name: str) -> StageTraffic:
        """The traffic of one stage, empty where the model has none of it."""
        for stage in self.stages:
            if stage.stage == name:
                return stage
        return StageTraffic(name)


def is_tied_head(architecture: Architecture, tensor: Tensor) -> bool:
    """True of the embedding table that a tied model multiplies with as its output head."""
    if tensor.role is not Role.EMBEDDING or not architecture.tied_embeddings or tensor.tower is not Tower.TEXT:
        return False
    return not tensor.layers and tensor.shape[-1] == architecture.hidden_size


def runs_in_text(tensor: Tensor) -> bool:
    """True of a tensor that runs while text is decoded."""
    return tensor.tower in _RUNNING_TOWERS and not tensor.checkpoint_only


def decode_traffic(
    architecture: Architecture,
    stored: Stored,
    workload: Workload,
    *,
    tokens_per_sequence: int = 1,
    outputs: int | None = None,
    mla_expanded: bool = False,
    beside_window: float = 0,
) -> Traffic:
    """Bytes and FLOPs of one decode step of `workload.batch_size` sequences, each with its cache of
    `workload.decode_context_tokens` tokens.

    `tokens_per_sequence` above 1 is a verification step of speculative decoding: weights are read once, experts are
    those that the tokens of all sequences touch. `outputs` is how many tokens the output head runs for: all of them, or
    fewer where a prompt is read in steps so small. `mla_expanded` says that the engine rebuilds keys and values of the
    whole context from the latent in every step instead of absorbing the projection. Layers with a window weigh
    `beside_window` tokens beside it, too.
    """
    sequences = workload.batch_size
    context = workload.decode_context_tokens
    told = sequences * tokens_per_sequence if outputs is None else outputs
    routed = routed_tokens(sequences, tokens_per_sequence, workload.routed_alike)
    totals = _weights_by_stage(architecture, stored, routed, told)
    kv_format = cache_format(workload.kv_precision)
    for mixer, layers in architecture.mixer_counts.items():
        kept = weighed_tokens(mixer, context, beside_window)
        cache_bytes = (
            layers * sequences * read_cache_bytes(mixer, context, kept, kv_format.block_bytes, kv_format.block_values)
        )
        flops = layers * sequences * tokens_per_sequence * attention_flops(mixer, kept, mla_expanded)
        if mla_expanded and mixer.latent_elements:
            flops += layers * sequences * expansion_flops(mixer, kept)
        _add(totals, StageTraffic("kv", cache_bytes=cache_bytes, flops=flops))
        _add(totals, _state_traffic(mixer, layers, sequences, tokens_per_sequence))
    return Traffic(_ordered(totals), sequences * tokens_per_sequence)


def prefill_traffic(
    architecture: Architecture,
    stored: Stored,
    workload: Workload,
    *,
    chunk_tokens: int | None = None,
    cached_tokens: int = 0,
    latent_absorbed: bool = False,
    shared_apart: bool = False,
) -> Traffic:
    """Bytes and FLOPs of reading the prompts of all sequences, behind `cached_tokens` tokens already in the cache.

    The prompt runs in chunks of `chunk_tokens` tokens (None: at once); each chunk reads the weights once, and the
    experts of its own tokens. Attention is causal: token i attends to i tokens, a sliding window at most; each chunk
    reads the cache of its sequences once. The output head runs for the last token only. Latent attention rebuilds keys
    and values unless it is `latent_absorbed`. Where layers that read others' keys and values are told `shared_apart`,
    the last ones of these run for the last token only: nothing reads what they make of the others.
    """
    prompt, sequences = max(1, workload.prompt_tokens), workload.batch_size
    apart = last_token_layers(architecture) if shared_apart else frozenset()
    chunks = Chunks(prompt * sequences, min(prompt * sequences, chunk_tokens or prompt * sequences))
    totals: dict[str, StageTraffic] = {}
    for tokens, count in chunks.sizes:
        reading, each = _read_together(prompt, tokens)
        for stage in _weights_by_stage(architecture, stored, routed_tokens(reading, each), 0, apart).values():
            _add(totals, _times(stage, count, tokens * count, reading * each))
    each = min(chunks.size, prompt)
    head = _weights_by_stage(architecture, stored, routed_tokens(1, 1), sequences).get("lm_head")
    if head:
        totals["lm_head"] = head
    kv_format = cache_format(workload.kv_precision)
    last = cached_tokens + (prompt + each) // 2  # entries that a sequence's chunk finds in the cache, on average
    passes = sequences * -(-prompt // each)
    found = []
    for mixer, layers in architecture.mixer_counts.items():
        attended = causal_attended_tokens(mixer, prompt, cached_tokens)
        if apart and mixer.shares_kv:
            attended = attended_tokens(mixer, cached_tokens + prompt)
        flops = layers * sequences * attention_flops(mixer, attended, expanded=not latent_absorbed)
        found.append(Attended(mixer, flops))
        read = read_cache_bytes(
            mixer, last, attended_tokens(mixer, last), kv_format.block_bytes, kv_format.block_values
        )
        _add(totals, StageTraffic("kv", cache_bytes=layers * read * passes, flops=flops))
        _add(totals, _state_traffic(mixer, layers, sequences, prompt))
    return Traffic(_ordered(totals), prompt * sequences, tuple(found))


def _read_together(prompt_tokens: int, chunk_tokens: int) -> tuple[int, int]:
    """How many sequences' prompts a chunk reads, and how many tokens of each."""
    return max(1, chunk_tokens // prompt_tokens), min(chunk_tokens, prompt_tokens)


def pass_weight_bytes(architecture: Architecture, stored: Stored, workload: Workload, tokens: int) -> int:
    """Bytes of weights that one chunk of so many tokens of the prompts reads, without the output head."""
    reading, each = _read_together(max(1, workload.prompt_tokens), tokens)
    stages = _weights_by_stage(architecture, stored, routed_tokens(reading, each), 0)
    return sum(stage.weight_bytes for stage in stages.values())


def _weights_by_stage(
    architecture: Architecture,
    stored: Stored,
    routed: RoutedTokens,
    head_tokens: int,
    apart: frozenset[int] = frozenset(),
) -> dict[str, StageTraffic]:
    """Weights read and multiplied once by a step's tokens, by stage; the layers `apart` multiply by each sequence's
    last token only."""
    return {stage.stage: stage for stage in _weight_stages(architecture, stored, routed, head_tokens, apart)}


@lru_cache(maxsize=4096)
def _weight_stages(
    architecture: Architecture, stored: Stored, routed: RoutedTokens, head_tokens: int, apart: frozenset[int]
) -> tuple[StageTraffic, ...]:
    """`_weights_by_stage`, kept: it is the same at every depth of the cache and on every device."""
    totals: dict[str, StageTraffic] = {}
    for part in stored.tensors:
        if not runs_in_text(part.tensor):
            continue
        tied = is_tied_head(architecture, part.tensor)
        if part.tensor.role in (Role.EMBEDDING, Role.POSITION):
            _add(totals, _row_lookup(part, routed.tokens))
        if tied or part.tensor.role is Role.LM_HEAD:
            _add(totals, _head(part, head_tokens))
        elif part.tensor.role not in (Role.EMBEDDING, Role.POSITION):
            tokens = routed.sequences if apart and apart.issuperset(part.tensor.layers or (-1,)) else routed.tokens
            _add(totals, _matrix(part, routed, architecture.passes if part.tensor.layers else 1, tokens))
    return tuple(totals.values())


def _matrix(part: StoredTensor, routed: RoutedTokens, passes: int, tokens: int) -> StageTraffic:
    tensor = part.tensor
    share = routed.touched_share(tensor)
    multiplied = 0 if tensor.role in _NOT_MULTIPLIED or tensor.module is Module.NORM else tensor.active_elements
    stage = _STAGE_BY_ROLE.get(tensor.role) or ("attention" if tensor.role in (Role.NORM, Role.BIAS) else "other")
    return StageTraffic(
        stage,
        weight_bytes=round(part.size_bytes * share) * passes,
        flops=2 * multiplied * tokens * passes,
    )


def _head(part: StoredTensor, tokens: int) -> StageTraffic:
    if not tokens:
        return StageTraffic("lm_head")
    elements = part.tensor.total_elements
    return StageTraffic("lm_head", part.size_bytes, 0, 2 * elements * tokens)


def _row_lookup(part: StoredTensor, tokens: int) -> StageTraffic:
    rows = part.tensor.shape[0] or 1
    return StageTraffic("embedding", weight_bytes=part.size_bytes * min(tokens, rows) // rows)


def _state_traffic(mixer: Mixer, layers: int, sequences: int, tokens: int) -> StageTraffic:
    """A state is read and written once a step; a token updates it with about 2 multiply-adds a value."""
    values = layers * sequences * mixer.state_elements
    return StageTraffic("state", cache_bytes=2 * STATE_BYTES_PER_VALUE * values, flops=4 * values * tokens)


def _times(stage: StageTraffic, chunks: int, tokens: int, chunk_tokens: int) -> StageTraffic:
    """A stage of one chunk over the whole prompt: weights once a chunk, FLOPs by tokens."""
    return StageTraffic(
        stage.stage,
        stage.weight_bytes * chunks,
        stage.cache_bytes * chunks,
        stage.flops * tokens // chunk_tokens,
    )


def _add(totals: dict[str, StageTraffic], traffic: StageTraffic) -> None:
    before = totals.get(traffic.stage)
    totals[traffic.stage] = before.plus(traffic) if before else traffic


def _ordered(totals: dict[str, StageTraffic]) -> tuple[StageTraffic, ...]:
    ordered: Iterable[StageTraffic] = (totals[name] for name in STAGES if name in totals)
    return tuple(stage for stage in ordered if stage.bytes_read or stage.flops)
