"""The records that a model becomes: a tensor inventory and a list of layers. Everything else is computed from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import field
from enum import Enum
from functools import cached_property
from math import prod
from typing import Any

from sizer.frozen import dataclass


class Role(str, Enum):
    """What a tensor is for. Fused projections have their own roles, because schemes and GGUF types treat them so."""

    EMBEDDING = "embedding"
    POSITION = "position"
    LM_HEAD = "lm_head"
    Q = "q"
    K = "k"
    V = "v"
    QKV = "qkv"
    O = "o"  # noqa: E741 - the field's own name for the output projection
    Q_A = "q_a"
    Q_B = "q_b"
    KV_A = "kv_a"
    KV_B = "kv_b"
    INDEXER = "indexer"
    GATE = "gate"
    UP = "up"
    GATE_UP = "gate_up"
    DOWN = "down"
    SHARED_GATE = "shared_gate"
    SHARED_UP = "shared_up"
    SHARED_GATE_UP = "shared_gate_up"
    SHARED_DOWN = "shared_down"
    ROUTER = "router"
    EXPERT_GATE = "expert_gate"
    EXPERT_UP = "expert_up"
    EXPERT_GATE_UP = "expert_gate_up"
    EXPERT_DOWN = "expert_down"
    EXPERT_BIAS = "expert_bias"
    SSM_IN = "ssm_in"
    SSM_OUT = "ssm_out"
    SSM = "ssm"
    CONV = "conv"
    NORM = "norm"
    BIAS = "bias"
    OTHER = "other"


class Module(str, Enum):
    """The torch module that owns a tensor: it decides which quantization schemes touch it."""

    LINEAR = "linear"
    """Exactly `torch.nn.Linear`."""
    LINEAR_SUBCLASS = "linear_subclass"
    """A subclass of `nn.Linear`, or a module of its own that multiplies: bitsandbytes leaves it alone."""
    CONV1D = "conv1d"
    """transformers' `Conv1D` (GPT-2), which stores its weight [in, out]."""
    EMBEDDING = "embedding"
    EXPERT_STACK = "expert_stack"
    """A 3-D parameter [experts, out, in]; transformers 5 fuses the experts of a layer into such stacks."""
    CONV = "conv"
    NORM = "norm"
    PARAMETER = "parameter"
    """A bare parameter (gates, scales, sinks, state matrices)."""


class Tower(str, Enum):
    """Which part of the model a tensor belongs to."""

    TEXT = "text"
    ENCODER = "encoder"
    VISION = "vision"
    AUDIO = "audio"
    PROJECTOR = "projector"
    MTP = "mtp"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One weight, or the same weight of several layers.

    `name` is the checkpoint name with `{layer}` where the layer index goes, `shape` is PyTorch's ([out, in] for a
    linear, [experts, out, in] for an expert stack), `layers` are the layer indices that each hold one copy (empty: one
    copy outside the layers). An expert stack says how many of its experts one token uses. A tensor that checkpoints
    carry and transformers does not build (multi-token prediction) has `checkpoint_only`. `dtype` is the stored type
    where a file's header told it. Tied weights appear once, as the embedding.
    """

    name: str
    shape: tuple[int, ...]
    role: Role
    module: Module
    layers: tuple[int, ...] = ()
    active_experts: int | None = None
    tower: Tower = Tower.TEXT
    checkpoint_only: bool = False
    dtype: str | None = None

    @property
    def elements(self) -> int:
        """Elements of one copy."""
        return prod(self.shape)

    @property
    def copies(self) -> int:
        """How many copies the model stores: one a layer, or one."""
        return len(self.layers) or 1

    @property
    def total_elements(self) -> int:
        """Elements of all copies."""
        return prod(self.shape) * self.copies

    @property
    def experts(self) -> int | None:
        """Experts in the stack, or None for a tensor that every token uses."""
        return None if self.active_experts is None else self.shape[0]

    @property
    def active_elements(self) -> int:
        """Elements of all copies that one token touches: an expert stack counts its routed experts only."""
        if self.active_experts is None:
            return self.total_elements
        return self.total_elements // self.shape[0] * min(self.active_experts, self.shape[0])


class MixerKind(str, Enum):
    """How a layer mixes tokens."""

    FULL = "full"
    SLIDING = "sliding"
    CHUNKED = "chunked"
    MLA = "mla"
    LINEAR = "linear"
    SSM = "ssm"
    RECURRENT = "recurrent"
    CONV = "conv"
    CROSS = "cross"
    BIDIRECTIONAL = "bidirectional"
    """An encoder's attention: every token to every other, nothing cached."""


_RECURRENT = frozenset({MixerKind.LINEAR, MixerKind.SSM, MixerKind.RECURRENT, MixerKind.CONV})


@dataclass(frozen=True, slots=True)
class Mixer:
    """One token mixer of a layer and what it keeps in the cache.

    Attention caches `kv_heads * (qk_head_dim + v_head_dim)` values a token, MLA its latent (`latent_elements`), at most
    `window_tokens` tokens where that is set. Linear attention, SSM, recurrent and convolution mixers keep
    `state_elements` values a sequence, whatever the context. `shares_kv` reads another layer's cache and stores none.
    Sparse attention reads `selected_tokens` of the context at most, chosen by an indexer that caches
    `indexer_elements` values a token. A compressed cache stores one entry per `compression_tokens` tokens.
    """

    kind: MixerKind
    heads: int = 0
    kv_heads: int = 0
    qk_head_dim: int = 0
    v_head_dim: int = 0
    window_tokens: int | None = None
    latent_elements: int = 0
    state_elements: int = 0
    shares_kv: bool = False
    selected_tokens: int | None = None
    indexer_elements: int = 0
    compression_tokens: int = 1

    @property
    def is_recurrent(self) -> bool:
        """Whether it keeps a state instead of keys and values: its tokens are scored against no others."""
        return self.kind in _RECURRENT

    @property
    def kv_elements_per_token(self) -> int:
        """Values that this mixer caches for each token it keeps (keys, values or latent; indexer apart)."""
        if self.shares_kv:
            return 0
        return self.latent_elements or self.kv_heads * (self.qk_head_dim + self.v_head_dim)

    def cached_tokens(self, context_tokens: int) -> int:
        """Entries kept at a context: the window's at most, one per `compression_tokens`; none by an encoder."""
        if self.kind is MixerKind.BIDIRECTIONAL:
            return 0
        tokens = context_tokens if self.window_tokens is None else min(context_tokens, self.window_tokens)
        return -(-tokens // self.compression_tokens)


class MlpKind(str, Enum):
    """What follows the mixer in a layer."""

    DENSE = "dense"
    MOE = "moe"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Layer:
    """One decoder layer: its mixers (several where they run in parallel, none in an MLP-only layer) and its MLP."""

    index: int
    mixers: tuple[Mixer, ...]
    mlp: MlpKind


class Basis(str, Enum):
    """Where a model's figures come from, from best to worst."""

    HEADER = "header"
    CONFIG = "config"
    CATALOGUE = "catalogue"
    HUB = "hub"
    META_DEVICE = "meta-device"
    NAME = "name"


@dataclass(frozen=True, eq=False)
class Architecture:
    """A model: its tensors, its layers and the few sizes that are not in them.

    Compared and hashed by identity, so that what is computed from it can be kept beside it.

    `dtype` is the checkpoint's own float type. `quantization` is the config's `quantization_config`, as it stands, or
    None. `experts` and `active_experts` are those of the routed layers. `notes` are what a reader of the figures must
    know. A model known by its name alone has no layers, and its tensors are one lump (`basis` NAME). An encoder or
    embedder does not write tokens: `decodes` is False. `passes` is how often a token runs through the layers.
    """

    model_id: str
    architecture: str
    model_type: str
    basis: Basis
    tensors: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    hidden_size: int
    vocab_size: int
    max_context_tokens: int | None
    tied_embeddings: bool
    dtype: str
    experts: int | None = None
    active_experts: int | None = None
    quantization: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    decodes: bool = True
    passes: int = 1
    config: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def total_params(self) -> int:
        """Parameters that run: tied weights once, buffers and checkpoint-only tensors never."""
        return sum(tensor.total_elements for tensor in self.tensors if not tensor.checkpoint_only)

    @cached_property
    def active_params(self) -> int:
        """`total_params` less the experts that one token is not routed to, and less a layer's table of n-grams."""
        ran = (tensor for tensor in self.tensors if not tensor.checkpoint_only)
        return sum(tensor.active_elements for tensor in ran if tensor.role is not Role.EMBEDDING or not tensor.layers)

    @cached_property
    def checkpoint_params(self) -> int:
        """`total_params` plus what checkpoints store besides (multi-token prediction layers)."""
        return sum(tensor.total_elements for tensor in self.tensors)

    @cached_property
    def mixer_counts(self) -> Mapping[Mixer, int]:
        """Each distinct mixer and how many layers have it."""
        return Counter(mixer for layer in self.layers for mixer in layer.mixers)

    @cached_property
    def model_types(self) -> frozenset[str]:
        """The model type of the config, and of its text part."""
        text = self.config.get("text_config")
        return frozenset({self.model_type, str(text.get("model_type", "")) if isinstance(text, dict) else ""})

    @property
    def is_lump(self) -> bool:
        """Whether only the count of parameters is known: from the name, or from the hub for a gated model."""
        return self.basis in {Basis.NAME, Basis.HUB} and not self.layers

    @property
    def num_layers(self) -> int:
        """Decoder layers."""
        return len(self.layers)

    @cached_property
    def expert_layers(self) -> int:
        """Decoder layers that have experts: mixtures often begin with a few that have none."""
        return sum(layer.mlp is MlpKind.MOE for layer in self.layers)
