"""What a graph needs to know of a model and of a run: the sizes of its layers, the tokens and the cells of a step."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from functools import cached_property, lru_cache

from sizer.frozen import NamedTuple, dataclass
from sizer.model.architecture import Architecture, Layer, Mixer, MixerKind, Role, Tensor, Tower


class Experts(NamedTuple):
    """A layer's routed experts: how many, how many a token uses, their width, whether they are gated."""

    total: int
    active: int
    width: int
    gated: bool


class LayerShape(NamedTuple):
    """One layer: widths of what its parts make of a token.

    `q_width` is that of all queries, or of a state-space mixer's inner vector. `ffn_width` is the intermediate size (0
    without a dense MLP), `gate` is parallel, fused (one matrix makes both halves) or empty. `post_norms` says that what
    attention and MLP give is normed before it is added, `pre_norms` that what they read is; `side_by_side` that both
    read the same normed vector.
    """

    mixer: Mixer | None
    q_width: int
    fused_qkv: bool
    qk_norm: bool
    q_rank: int
    ffn_width: int
    gate: str
    shared_width: int
    experts: Experts | None
    post_norms: bool
    conv_width: int
    pre_norms: bool = True
    side_by_side: bool = False


@dataclass(frozen=True, eq=False)
class ModelShape:
    """A model: hidden and vocabulary size, and its layers. One is itself alone: to compare layers costs more than to
    look its buffers up."""

    hidden: int
    vocab: int
    layers: tuple[LayerShape, ...]

    @cached_property
    def kinds(self) -> tuple[int, ...]:
        """By layer: the number of the first layer of its shape."""
        first: dict[LayerShape, int] = {}
        return tuple(first.setdefault(layer, number) for number, layer in enumerate(self.layers))


class Step(NamedTuple):
    """The step that a server reserves for: tokens of a micro-batch, sequences in it, rows of logits, and the cache.

    `cells` are those of a full cache (one stream's), `window_cells` those of layers with a window. `streams` are the
    sequences with a cache of their own. `mask_bytes` is 4 where the mask is made in 32 bits. `gated_inplace` says that
    gate times up takes no room of its own. `key_bytes` and `value_bytes` are the widths of the cache's values.
    Where `expands_mib` is told, long steps expand MLA's latent, no more than so much of it at once (0: all).
    """

    tokens: int
    sequences: int
    outputs: int
    cells: int
    window_cells: int
    streams: int
    flash_attention: bool
    mask_bytes: int
    embedding_inputs: int
    value_ids: int = 1
    rotates_keys: bool = False
    rotates_values: bool = False
    gated_inplace: bool = False
    key_bytes: float = 2
    value_bytes: float = 2
    expands_mib: int | None = None


POST_NORMS = ("post_feedforward", "post_mlp", "post_ffw")
INNER_NORMS = ("q_norm", "k_norm", "_a_norm", "ssm", "sub_norm", "query", "key")
"""Norms of heads, of low-rank inputs and of a mixer's inside, as GGUF files name them."""
TWO_NORMS = 2
"""Norms of a layer that has one for attention and one for its MLP."""


@lru_cache(maxsize=256)
def model_shape(architecture: Architecture) -> ModelShape:
    """The sizes of a model's layers, from its tensors."""
    by_layer: dict[int, dict[Role, Tensor]] = defaultdict(dict)
    names: dict[int, set[str]] = defaultdict(set)
    for tensor in architecture.tensors:
        if tensor.tower is not Tower.TEXT or tensor.checkpoint_only:
            continue
        for layer in tensor.layers:
            if tensor.role is Role.NORM:
                names[layer].add(tensor.name.rpartition("{layer}.")[2])
            elif len(tensor.shape) >= 2:
                by_layer[layer].setdefault(tensor.role, tensor)
    layers = tuple(_layer(layer, by_layer[layer.index], names[layer.index]) for layer in architecture.layers)
    return ModelShape(architecture.hidden_size, architecture.vocab_size, layers)


@lru_cache(maxsize=64)
def without_latents(model: ModelShape) -> ModelShape:
    """A model whose MLA is computed head by head, as where its latent is not cached."""
    return replace(model, layers=tuple(layer._replace(mixer=_plain(layer.mixer)) for layer in model.layers))


def _plain(mixer: Mixer | None) -> Mixer | None:
    if mixer is None or not mixer.latent_elements:
        return mixer
    return replace(mixer, latent_elements=0, kv_heads=mixer.heads)


def _layer(layer: Layer, tensors: dict[Role, Tensor], norms: set[str]) -> LayerShape:
    """What a graph's nodes go by of one layer: widths, norms and how its matrices are fused."""
    mixer = layer.mixers[0] if layer.mixers else None
    down, shared = tensors.get(Role.DOWN), tensors.get(Role.SHARED_DOWN)
    gate = "parallel" if Role.GATE in tensors else "fused" if Role.GATE_UP in tensors else ""
    rank = tensors.get(Role.Q_A)
    query = tensors.get(Role.Q) or tensors.get(Role.Q_B)
    width = query.shape[0] if query else mixer.heads * mixer.qk_head_dim if mixer else 0
    if mixer is not None and mixer.kind is MixerKind.SSM and Role.SSM_OUT in tensors:
        width = tensors[Role.SSM_OUT].shape[-1]
    return LayerShape(
        mixer=mixer,
        q_width=width,
        fused_qkv=Role.QKV in tensors,
        qk_norm=any("q_norm" in name or "query_layernorm" in name for name in norms),
        q_rank=rank.shape[0] if rank else 0,
        ffn_width=down.shape[1] if down else 0,
        gate=gate,
        shared_width=shared.shape[1] if shared else 0,
        experts=_experts(tensors),
        post_norms=any(word in name for name in norms for word in POST_NORMS),
        conv_width=tensors[Role.CONV].shape[0] if Role.CONV in tensors else 0,
        pre_norms=_normed_before(norms),
        side_by_side=len(_of_the_block(norms)) == 1 and down is not None and mixer is not None,
    )


def _of_the_block(norms: set[str]) -> set[str]:
    """The norms of a layer that are no norms of heads or of a mixer's inside, without `.weight` and `.bias`."""
    stems = {name.rpartition(".")[0] or name for name in norms}
    return {stem for stem in stems if "." not in stem and not any(word in stem for word in INNER_NORMS)}


def _normed_before(norms: set[str]) -> bool:
    """Whether a layer's parts read normed vectors: OLMo 2 and EXAONE 4 norm what they give alone."""
    block = _of_the_block(norms)
    return not block or not all(stem.startswith("post_") for stem in block) or len(block) < TWO_NORMS


def _experts(tensors: dict[Role, Tensor]) -> Experts | None:
    down = tensors.get(Role.EXPERT_DOWN)
    if down is None or down.experts is None or down.active_experts is None:
        return None
    hidden_last = Role.EXPERT_GATE in tensors or Role.EXPERT_GATE_UP in tensors
    return Experts(down.experts, min(down.active_experts, down.experts), down.shape[-1], hidden_last)
