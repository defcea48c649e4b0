"""A model's tensors as llama.cpp's converter writes them: names, row lengths, what is merged, split, added or dropped.

Follows `conversion/` and `gguf-py/gguf/tensor_mapping.py` of ggml-org/llama.cpp. What a quantizer needs of a tensor is
its name (its category), its row length `ne0`, whether it is a stack, and which layers have it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any

from sizer.frozen import NamedTuple
from sizer.model.architecture import Architecture, MixerKind, Module, Role, Tensor, Tower
from sizer.precision.schemes import matrix_shape

ROLE_NAMES = {
    Role.EMBEDDING: "token_embd", Role.POSITION: "position_embd", Role.LM_HEAD: "output", Role.Q: "attn_q",
    Role.K: "attn_k", Role.V: "attn_v", Role.QKV: "attn_qkv", Role.O: "attn_output", Role.Q_A: "attn_q_a",
    Role.Q_B: "attn_q_b", Role.KV_A: "attn_kv_a_mqa", Role.KV_B: "attn_kv_b", Role.GATE: "ffn_gate",
    Role.UP: "ffn_up", Role.GATE_UP: "ffn_up", Role.DOWN: "ffn_down", Role.SHARED_GATE: "ffn_gate_shexp",
    Role.SHARED_UP: "ffn_up_shexp", Role.SHARED_GATE_UP: "ffn_up_shexp", Role.SHARED_DOWN: "ffn_down_shexp",
    Role.ROUTER: "ffn_gate_inp", Role.EXPERT_GATE: "ffn_gate_exps", Role.EXPERT_UP: "ffn_up_exps",
    Role.EXPERT_GATE_UP: "ffn_up_exps", Role.EXPERT_DOWN: "ffn_down_exps", Role.SSM_IN: "ssm_in",
    Role.SSM_OUT: "ssm_out", Role.CONV: "ssm_conv1d",
}  # fmt: skip

# Fused gate and up projections, and the two that most converters write instead.
SPLITS = {
    Role.GATE_UP: (Role.GATE, Role.UP),
    Role.SHARED_GATE_UP: (Role.SHARED_GATE, Role.SHARED_UP),
    Role.EXPERT_GATE_UP: (Role.EXPERT_GATE, Role.EXPERT_UP),
}

# What llama.cpp keeps in a file of its own.
OTHER_FILE = frozenset({Tower.VISION, Tower.AUDIO, Tower.PROJECTOR})

# What converters compute and add (rope frequencies) is a tensor of the file, a parameter of no model.
BUFFER = Role.OTHER


class GgufTensor(NamedTuple):
    """One tensor of the file, or the same one of several layers (`blk.{layer}.attn_q.weight`).

    `ne0` is the row length, `rows` how many there are in all, `stacked` whether there is a third dimension, `dims` the
    number of dimensions after trailing ones. `tensor` is the part of the model's tensor that it holds.
    """

    name: str
    ne0: int
    rows: int
    stacked: bool
    dims: int
    tensor: Tensor

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that have it; none for a tensor outside them."""
        return self.tensor.layers


class GgufModel(NamedTuple):
    """What `llama-quantize` knows of a model. `kv_groups` is its n_gqa, `layers` its block count, draft layers too.

    `native_experts` is the type of experts that the checkpoint already stores in a ggml type (MXFP4): files of every
    type keep them so.
    """

    arch: str
    tensors: tuple[GgufTensor, ...]
    layers: int
    experts: int
    kv_groups: int
    is_70b: bool
    known: bool
    native_experts: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def tied(self) -> bool:
        """Whether the file has no output matrix of its own."""
        return all(tensor.name != "output.weight" for tensor in self.tensors)


@lru_cache(maxsize=1)
def gguf_archs() -> dict[str, tuple[str, frozenset[str]]]:
    """llama.cpp's architecture and the converter's options by model_type."""
    from sizer.tables import read_rows

    return {row["model_type"]: (row["arch"], frozenset(row["options"].split())) for row in read_rows("gguf_archs.csv")}


@lru_cache(maxsize=1)
def _suffixes() -> dict[str, str]:
    """Names of tensors whose role does not tell them, by the end of the checkpoint's name."""
    from sizer.tables import read_rows

    return {row["suffix"]: row["name"] for row in read_rows("gguf_names.csv")}


def gguf_model(architecture: Architecture, rule: str) -> GgufModel:
    """The tensors of the model's GGUF file and what the quantizer reads beside them.

    A model_type that no row of `data/gguf_archs.csv` has is named by role alone (`known` False).
    """
    model_type = architecture.model_type
    text_type = str(_text_config(architecture).get("model_type", ""))
    found = gguf_archs().get(model_type) or gguf_archs().get(text_type)
    arch, options = found or (model_type, frozenset())
    if rule == "new" and arch == "qwen3next":
        options |= {"split-qkvz"}
    kept = _kept(architecture, options)
    if rule == "old":
        options |= {option.removesuffix("-old") for option in options if option.endswith("-old")}
    if "fused-qkv" in options:
        kept = _fused(tuple(kept))
    tensors = [part for tensor in kept for part in _convert(tensor, architecture, options)]
    tensors += _added(architecture, options)
    drafts = {layer for part in tensors for layer in part.layers if layer >= architecture.num_layers}
    native = "mxfp4" if (architecture.quantization or {}).get("quant_method") == "mxfp4" else None
    return GgufModel(
        arch,
        tuple(tensors),
        architecture.num_layers + len(drafts),
        architecture.experts or 0,
        _kv_groups(architecture, options),
        _is_70b(architecture, arch),
        known=found is not None or model_type in {value[0] for value in gguf_archs().values()},
        native_experts=native,
        notes=tuple(_notes(architecture, options, native)),
    )


def _notes(architecture: Architecture, options: frozenset[str], native: str | None) -> Iterator[str]:
    """What of the model is not in the file, or stands in it otherwise than one expects."""
    other_towers = sum(t.total_elements for t in architecture.tensors if t.tower in OTHER_FILE)
    if other_towers:
        yield f"The vision or audio part is a file of its own (mmproj), about {2 * other_towers:,} bytes in F16."
    if native:
        yield "The experts keep the MXFP4 of the checkpoint, as published files of every type do."
    if "mla-whole" in options and any(tensor.role is Role.KV_B for tensor in architecture.tensors):
        yield "attn_kv_b is counted whole; converters since April 2025 split it into attn_k_b and attn_v_b."


def _text_config(architecture: Architecture) -> Mapping[str, Any]:
    """The config of the text model: a wrapper's own part, or the whole."""
    for name in ("text_config", "llm_config", "language_config"):
        part = architecture.config.get(name)
        if isinstance(part, Mapping):
            return part
    return architecture.config


def _kept(architecture: Architecture, options: frozenset[str]) -> Iterator[Tensor]:
    """The tensors that the converter takes: the text model's, and draft layers where it keeps them."""
    for tensor in architecture.tensors:
        if tensor.tower in OTHER_FILE:
            continue
        if (tensor.checkpoint_only or tensor.tower is Tower.MTP) and "mtp" not in options:
            continue
        yield tensor


def _fused(tensors: tuple[Tensor, ...]) -> Iterator[Tensor]:
    """Query, key and value matrices of a layer as the one matrix that older checkpoints of the model have."""
    parts = (Role.K, Role.V)
    rows = {t.layers: 0 for t in tensors if t.role is Role.Q}
    for tensor in tensors:
        if tensor.role in parts and tensor.layers in rows:
            rows[tensor.layers] += tensor.shape[0]
    for tensor in tensors:
        if tensor.role is Role.Q and rows[tensor.layers]:
            shape = (tensor.shape[0] + rows[tensor.layers], *tensor.shape[1:])
            yield replace(tensor, shape=shape, role=Role.QKV)
        elif tensor.role not in parts or tensor.layers not in rows:
            yield tensor


def _convert(tensor: Tensor, architecture: Architecture, options: frozenset[str]) -> Iterator[GgufTensor]:
    """One tensor of the checkpoint as the tensors of the file."""
    if tensor.name.startswith(("blk.", "token_embd.", "output.", "output_norm.")):
        yield _named(tensor, tensor.name.removesuffix(".weight"))
        return
    split = SPLITS.get(tensor.role)
    fused = tensor.role is Role.GATE_UP and "fused-gate-up" in options
    if split is not None and not fused and len(tensor.shape) >= 2:
        half = (*tensor.shape[:-2], tensor.shape[-2] // 2, tensor.shape[-1])
        for role in split:
            yield _named(replace(tensor, shape=half, role=role), _name(replace(tensor, role=role), architecture))
    elif tensor.role is Role.QKV and "split-qkv" in options and len(tensor.shape) == 2:
        yield from _split_qkv(tensor, architecture)
    elif tensor.role is Role.KV_B and "mla-split" in options and len(tensor.shape) == 2:
        yield from _split_kv_b(tensor, architecture)
    elif tensor.name.endswith("in_proj_qkvz.weight") and "split-qkvz" in options:
        yield from _split_qkvz(tensor, architecture)
    elif tensor.role is Role.EMBEDDING and "pad-vocab" in options and tensor.shape[0] < architecture.vocab_size:
        padded = replace(tensor, shape=(architecture.vocab_size, *tensor.shape[1:]))
        yield _named(padded, _name(tensor, architecture))
    else:
        yield _named(tensor, _name(tensor, architecture))


def _split_kv_b(tensor: Tensor, architecture: Architecture) -> Iterator[GgufTensor]:
    """MLA's kv_b [heads * (nope + v), latent] as k_b [heads, latent, nope] and v_b [heads, v, latent]."""
    mixer = next(m for layer in architecture.layers for m in layer.mixers if m.kind is MixerKind.MLA)
    heads, latent, v_dim = mixer.heads, tensor.shape[1], mixer.v_head_dim
    if not heads or tensor.shape[0] % heads or not 0 < v_dim < tensor.shape[0] // heads:
        yield _named(tensor, _name(tensor, architecture))
        return
    nope = tensor.shape[0] // heads - v_dim
    for name, rows, columns in (("attn_k_b", latent, nope), ("attn_v_b", v_dim, latent)):
        part = replace(tensor, shape=(heads, rows, columns), module=Module.PARAMETER)
        yield GgufTensor(_layered(part, name), columns, heads * rows, heads > 1, 3 if heads > 1 else 2, part)


def _split_qkv(tensor: Tensor, architecture: Architecture) -> Iterator[GgufTensor]:
    """A fused attention matrix as the converter of some models writes it: query, key and value apart."""
    mixer = architecture.layers[tensor.layers[0]].mixers[0]
    key, value = mixer.kv_heads * mixer.qk_head_dim, mixer.kv_heads * mixer.v_head_dim
    for role, rows in ((Role.Q, tensor.shape[0] - key - value), (Role.K, key), (Role.V, value)):
        yield _named(replace(tensor, shape=(rows, tensor.shape[1]), role=role), ROLE_NAMES[role])


def _split_qkvz(tensor: Tensor, architecture: Architecture) -> Iterator[GgufTensor]:
    """Qwen3-Next's in_proj_qkvz as attn_qkv and attn_gate: z has as many rows as the values."""
    config = _text_config(architecture)
    try:
        gate = int(config["linear_num_value_heads"]) * int(config["linear_value_head_dim"])
    except (KeyError, TypeError, ValueError):
        gate = 0
    if not 0 < gate < tensor.shape[0]:
        yield _named(tensor, "ssm_in")
        return
    yield _named(replace(tensor, shape=(tensor.shape[0] - gate, tensor.shape[1])), "attn_qkv")
    yield _named(replace(tensor, shape=(gate, tensor.shape[1])), "attn_gate")


def _name(tensor: Tensor, architecture: Architecture) -> str:
    """The name without layer and suffix: by the checkpoint's name where it tells, else by role."""
    plain = re.sub(r"\.\d+$", "", tensor.name.removesuffix(".weight").removesuffix(".bias"))
    parts = plain.split(".")
    for length in (3, 2, 1):
        known = _suffixes().get(".".join(parts[-length:]))
        if known is not None and tensor.role not in (Role.Q, Role.K, Role.V, Role.O, Role.GATE, Role.EXPERT_GATE):
            return known
    if tensor.role is Role.GATE and "attn" in tensor.name:
        return "attn_gate"
    if tensor.role is Role.ROUTER and "shared" in tensor.name:
        return "ffn_gate_inp_shexp"
    if tensor.role is Role.CONV and ".conv." in tensor.name:
        return "shortconv.conv"
    if tensor.role is Role.NORM and not parts[-1].endswith("_norm"):
        return f"{parts[-1]}_norm"
    name = ROLE_NAMES.get(tensor.role, parts[-1])
    return name if architecture.experts else name.removesuffix("_shexp")


def layer_tensor_name(tensor: Tensor, architecture: Architecture) -> str:
    """The name that a GGUF file gives a tensor of a layer, as `blk.{layer}.ffn_up_exps.weight`."""
    if tensor.name.startswith("blk."):
        return tensor.name
    return f"blk.{{layer}}.{_name(tensor, architecture)}.weight"


def _layered(tensor: Tensor, name: str) -> str:
    """The full name of a weight."""
    if name.startswith("blk.") or not tensor.layers:
        return f"{name}.weight"
    return f"blk.{{layer}}.{name}.weight"


def _named(tensor: Tensor, name: str) -> GgufTensor:
    """A tensor under a name: biases and bare parameters lose the ending that llama-quantize looks for."""
    full = _layered(tensor, name)
    if tensor.role in (Role.BIAS, Role.EXPERT_BIAS) or tensor.name.endswith(".bias"):
        full = full.removesuffix(".weight") + ".bias"
    elif not tensor.name.endswith(".weight") and tensor.module is not Module.EXPERT_STACK:
        full = full.removesuffix(".weight")
    matrices, rows, columns = matrix_shape(tensor) if tensor.shape else (1, 1, 1)
    dims = 3 if matrices > 1 else 2 if rows > 1 else 1
    if tensor.role is Role.BIAS or tensor.role is Role.NORM:
        dims = min(dims, 1)
    return GgufTensor(full, columns, matrices * rows, matrices > 1, dims, tensor)


def _added(architecture: Architecture, options: frozenset[str]) -> list[GgufTensor]:
    """What the converter writes beside the checkpoint's inventory: rope factors, a copy of a tied head."""
    added = [
        GgufTensor(f"{name}.weight", size, 1, False, 1, Tensor(name, (size,), BUFFER, Module.PARAMETER))
        for name, size in _rope_factors(architecture)
    ]
    head = any(tensor.role is Role.LM_HEAD and len(tensor.shape) == 2 for tensor in architecture.tensors)
    table = next((t for t in architecture.tensors if t.role is Role.EMBEDDING and not t.layers), None)
    if "output" in options and not head and table is not None:
        copy = replace(table, name="lm_head.weight", role=Role.LM_HEAD, module=Module.LINEAR)
        added.append(_named(copy, "output"))
    return added


def _rope_factors(architecture: Architecture) -> Iterator[tuple[str, int]]:
    """Names and sizes of the rope tensors: Llama 3.1's frequencies, LongRoPE's two lists of factors."""
    config = _text_config(architecture)
    scaling = config.get("rope_scaling") or config.get("rope_parameters")
    if not isinstance(scaling, Mapping):
        return
    kind = scaling.get("rope_type") or scaling.get("type")
    if kind == "llama3":
        head_dim = next((m.qk_head_dim for layer in architecture.layers for m in layer.mixers if m.qk_head_dim), 0)
        yield "rope_freqs", head_dim // 2
    elif kind in ("longrope", "su"):
        for name in ("long", "short"):
            factors = scaling.get(f"{name}_factor")
            if isinstance(factors, (list, tuple)):
                yield f"rope_factors_{name}", len(factors)


def _kv_groups(architecture: Architecture, options: frozenset[str]) -> int:
    """llama.cpp's n_gqa: query heads a KV head in layer 0; 0 without KV heads there. Split MLA counts one KV head."""
    if not architecture.layers:
        return 0
    mixers = [mixer for layer in architecture.layers for mixer in layer.mixers if mixer.heads]
    if "kv-by-layer" in options:
        mixers = [mixer for mixer in architecture.layers[0].mixers if mixer.heads]
    attention = [m for m in mixers if m.kind not in (MixerKind.LINEAR, MixerKind.SSM, MixerKind.RECURRENT)]
    if not attention:
        return 0
    mixer = attention[0]
    if mixer.kind is MixerKind.MLA:
        return mixer.heads if "mla-split" in options else 1
    return mixer.heads // mixer.kv_heads if mixer.kv_heads else 0


def _is_70b(architecture: Architecture, arch: str) -> bool:
    """llama.cpp's LLM_TYPE_70B: 80 layers (Jais 2: 68), and for Llama grouped KV heads."""
    layers = architecture.num_layers
    if arch == "llama":
        mixers = [mixer for layer in architecture.layers[:1] for mixer in layer.mixers]
        return layers == 80 and any(mixer.heads != mixer.kv_heads for mixer in mixers)
    return (arch, layers) in {("qwen2", 80), ("deci", 80), ("olmo", 80), ("jais2", 68)}
