"""What a GGUF header means: its tensors' roles, its layers as llama.cpp runs them, its exact bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from sizer.errors import UnsupportedArchitecture
from sizer.model.architecture import Architecture, Basis, Layer, MlpKind, Module, Role, Tensor, Tower
from sizer.model.config import MAX_LAYERS
from sizer.model.read.headers import Header, HeaderTensor, invalid
from sizer.model.read.headers_gguf_layers import Metadata, layer_mixers
from sizer.model.stored import Stored, StoredTensor

# File types of llama.h by number, from 138 on of ik_llama.cpp's; those of plain floats have sizer's names.
FILE_TYPES = {
    0: "fp32", 1: "fp16", 2: "q4_0", 3: "q4_1", 7: "q8_0", 8: "q5_0", 9: "q5_1", 10: "q2_k", 11: "q3_k_s", 12: "q3_k_m",
    13: "q3_k_l", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s", 17: "q5_k_m", 18: "q6_k", 19: "iq2_xxs", 20: "iq2_xs",
    21: "q2_k_s", 22: "iq3_xs", 23: "iq3_xxs", 24: "iq1_s", 25: "iq4_nl", 26: "iq3_s", 27: "iq3_m", 28: "iq2_s",
    29: "iq2_m", 30: "iq4_xs", 31: "iq1_m", 32: "bf16", 36: "tq1_0", 37: "tq2_0", 38: "mxfp4_moe", 39: "nvfp4",
    40: "q1_0",
    138: "iq2_k", 139: "iq3_k", 140: "iq4_k", 141: "iq5_k", 142: "iq6_k", 145: "iq4_ks", 147: "iq2_ks", 148: "iq4_kss",
    150: "iq5_ks", 151: "iq2_kt", 152: "iq3_kt", 153: "iq4_kt", 154: "iq3_ks", 155: "iq2_kl", 156: "iq1_kt",
    338: "iq2_k_r4", 339: "iq3_k_r4", 340: "iq4_k_r4", 341: "iq5_k_r4", 345: "iq4_ks_r4", 350: "iq5_ks_r4",
}  # fmt: skip

_LINEAR = {
    "attn_q": Role.Q, "attn_k": Role.K, "attn_v": Role.V, "attn_qkv": Role.QKV, "attn_output": Role.O,
    "attn_o": Role.O, "attn_q_a": Role.Q_A, "attn_q_b": Role.Q_B, "attn_kv_a_mqa": Role.KV_A, "attn_kv_b": Role.KV_B,
    "attn_k_b": Role.KV_B, "attn_v_b": Role.KV_B, "attn_gate": Role.OTHER, "cross_attn_q": Role.Q,
    "cross_attn_k": Role.K, "cross_attn_v": Role.V, "cross_attn_o": Role.O, "ffn_gate": Role.GATE, "ffn_up": Role.UP,
    "ffn_down": Role.DOWN, "ffn_gate_shexp": Role.SHARED_GATE, "ffn_up_shexp": Role.SHARED_UP,
    "ffn_down_shexp": Role.SHARED_DOWN, "ffn_gate_inp": Role.ROUTER, "ffn_gate_inp_shexp": Role.ROUTER,
    "ssm_in": Role.SSM_IN, "ssm_out": Role.SSM_OUT, "shortconv.in_proj": Role.SSM_IN,
    "shortconv.out_proj": Role.SSM_OUT, "output": Role.LM_HEAD, "indexer.proj": Role.INDEXER,
    "indexer.attn_k": Role.INDEXER, "indexer.attn_q_b": Role.INDEXER, "channel_mix_key": Role.UP,
    "channel_mix_value": Role.DOWN, "channel_mix_receptance": Role.GATE, "time_mix_output": Role.O,
}  # fmt: skip
_EXPERTS = {
    "ffn_gate_exps": Role.EXPERT_GATE, "ffn_up_exps": Role.EXPERT_UP, "ffn_down_exps": Role.EXPERT_DOWN,
    "ffn_gate_up_exps": Role.EXPERT_GATE_UP, "ffn_gate_chexps": Role.EXPERT_GATE, "ffn_up_chexps": Role.EXPERT_UP,
    "ffn_down_chexps": Role.EXPERT_DOWN,
}  # fmt: skip
_TABLES = {
    "token_embd": Role.EMBEDDING, "per_layer_token_embd": Role.EMBEDDING, "position_embd": Role.POSITION,
    "token_types": Role.POSITION,
}  # fmt: skip
# Frequencies that the converter computes: bytes of the file, parameters of no model.
_BUFFERS = frozenset({"rope_freqs", "rope_factors_long", "rope_factors_short"})
_BLOCK = re.compile(r"((?:dec\.|enc\.)?blk)\.(\d{1,4})\.(.+)")
_SINGLE_EXPERT = re.compile(r"(ffn_(?:gate|up|down))\.(\d{1,4})\.weight")
_NOT_LANGUAGE_MODELS = {"clip": "an image or audio projector (mmproj)", "wavtokenizer-dec": "an audio decoder"}


def gguf_model(header: Header, model_id: str) -> tuple[Architecture, Stored]:
    """The architecture and the exact bytes of a GGUF file, or set of files.

    Raises: InvalidHeader where the metadata contradicts itself, UnsupportedArchitecture for what is no language model.
    """
    meta = Metadata(header.metadata, model_id)
    blocks = _blocks(header, meta, model_id)
    draft = meta.size("nextn_predict_layers", default=0)
    stored = _stored_tensors(_merge_experts(header.tensors, model_id), meta, max(blocks - draft, 1))
    tensors = _without_formats(stored)
    layers = tuple(_layer(index, tensors, meta) for index in range(max(blocks - draft, 1)))
    precision = FILE_TYPES.get(meta.size("file_type", scope="general", default=-1, minimum=-1), "")
    precision = precision or max(stored, key=lambda part: part.size_bytes).format
    architecture = Architecture(
        model_id=model_id,
        architecture=meta.architecture,
        model_type=meta.architecture,
        basis=Basis.HEADER,
        tensors=tuple(tensor for tensor in tensors if tensor.name.split(".")[0] not in _BUFFERS),
        layers=layers,
        hidden_size=meta.size("embedding_length", minimum=1),
        vocab_size=_vocabulary(tensors, meta),
        max_context_tokens=meta.size("context_length", default=0) or None,
        tied_embeddings=all(tensor.role is not Role.LM_HEAD for tensor in tensors),
        dtype="bfloat16" if precision == "bf16" else "float32" if precision == "fp32" else "float16",
        experts=meta.size("expert_count", default=0) or None,
        active_experts=meta.size("expert_used_count", default=0) or None,
        notes=meta.notes(),
    )
    return architecture, Stored(precision, tuple(stored), header.file_bytes)


def _blocks(header: Header, meta: Metadata, model_id: str) -> int:
    """How many layers the metadata tells of a language model. Raises as `gguf_model` does."""
    kind = meta.text("general.type", "model")
    if meta.architecture in _NOT_LANGUAGE_MODELS or kind != "model":
        what = _NOT_LANGUAGE_MODELS.get(meta.architecture, f"of the type {kind!r}")
        raise UnsupportedArchitecture(f"{model_id!r} is {what}, no language model.", "Give the model's own GGUF file.")
    if not any(_BLOCK.match(tensor.name) for tensor in header.tensors):
        what = "tensors of layers" if header.tensors else "tensors: only a vocabulary or metadata"
        raise invalid(model_id, f"it holds no {what}")
    blocks = meta.size("block_count", minimum=1)
    if blocks > MAX_LAYERS:
        raise invalid(model_id, f"block_count is {blocks}")
    if meta.size("expert_used_count", default=0) > meta.size("expert_count", default=0):
        raise invalid(model_id, "expert_used_count is above expert_count")
    return blocks


def _vocabulary(tensors: Iterable[Tensor], meta: Metadata) -> int:
    for tensor in tensors:
        if tensor.role is Role.EMBEDDING and tensor.name == "token_embd.weight":
            return tensor.shape[0]
    return meta.size("vocab_size", default=0)


def _merge_experts(tensors: Iterable[HeaderTensor], model_id: str) -> list[HeaderTensor]:
    """Files of 2023 store each expert as a tensor of its own: they become the stack that newer files store."""
    merged: dict[str, list[HeaderTensor]] = {}
    for tensor in tensors:
        block = _BLOCK.fullmatch(tensor.name)
        expert = _SINGLE_EXPERT.fullmatch(block[3]) if block else None
        name = f"{block[1]}.{block[2]}.{expert[1]}_exps.weight" if block and expert else tensor.name
        merged.setdefault(name, []).append(tensor)
    result = []
    for name, parts in merged.items():
        if name == parts[0].name:
            result.append(parts[0])
            continue
        if len({(part.shape, part.dtype) for part in parts}) > 1:
            raise invalid(model_id, f"the experts of {name!r} differ in shape or type")
        size = sum(part.size_bytes for part in parts)
        result.append(HeaderTensor(name, parts[0].dtype, (len(parts), *parts[0].shape), size))
    return result


def _stored_tensors(tensors: Iterable[HeaderTensor], meta: Metadata, layers: int) -> list[StoredTensor]:
    """The tensors of a file, those of several layers that share shape and type together."""
    groups: dict[tuple[str, tuple[int, ...], str], list[int]] = {}
    sizes: dict[tuple[str, tuple[int, ...], str], int] = {}
    for tensor in tensors:
        block = _BLOCK.fullmatch(tensor.name)
        key = (f"{block[1]}.{{layer}}.{block[3]}" if block else tensor.name, tensor.shape, tensor.dtype)
        groups.setdefault(key, []).extend([int(block[2])] if block else [])
        sizes[key] = sizes.get(key, 0) + tensor.size_bytes
    stored = []
    for (name, shape, dtype), indices in groups.items():
        if indices and max(indices) >= meta.size("block_count", minimum=1):
            raise invalid(meta.model_id, f"{name!r} is of layer {max(indices)}, beyond block_count")
        size = sizes[name, shape, dtype]
        described = replace(_describe(name, shape, meta), dtype=dtype)
        running = tuple(sorted(index for index in indices if index < layers))
        drafting = tuple(sorted(index for index in indices if index >= layers))
        if running or not indices:
            share = size - size * len(drafting) // (len(indices) or 1)
            stored.append(StoredTensor(replace(described, layers=running), dtype, share))
        if drafting:
            part = replace(described, layers=drafting, tower=Tower.MTP, checkpoint_only=True)
            stored.append(StoredTensor(part, dtype, size * len(drafting) // len(indices)))
    return stored


def _without_formats(stored: Iterable[StoredTensor]) -> list[Tensor]:
    """The inventory: the same tensors, layers that differ in their type alone together again."""
    merged: dict[tuple[str, tuple[int, ...], bool], Tensor] = {}
    for part in stored:
        tensor = part.tensor
        key = (tensor.name, tensor.shape, tensor.checkpoint_only)
        known = merged.get(key)
        if known is not None:
            tensor = replace(known, layers=tuple(sorted({*known.layers, *tensor.layers})), dtype=None)
        merged[key] = tensor
    return list(merged.values())


def _describe(name: str, shape: tuple[int, ...], meta: Metadata) -> Tensor:
    """A tensor by its GGUF name (`blk.{layer}.attn_q.weight`)."""
    base, _, suffix = name.rpartition(".")
    base = base.split(".{layer}.", 1)[-1]
    role, module = _role(base, suffix, shape, meta)
    active = None
    if module is Module.EXPERT_STACK:
        # Without expert_used_count every expert is taken to run: the figure is an upper bound, and a note says so.
        active = meta.size("expert_used_count", default=0) or shape[0]
    tower = Tower.ENCODER if name.startswith("enc.") else Tower.TEXT
    return Tensor(name, shape, role, module, active_experts=active, tower=tower)


def _role(base: str, suffix: str, shape: tuple[int, ...], meta: Metadata) -> tuple[Role, Module]:
    """Role and module of `attn_q` with its suffix `weight` or `bias`."""
    if base in _EXPERTS and len(shape) > 1 and suffix in ("weight", "bias"):
        found = (_EXPERTS[base] if suffix == "weight" else Role.EXPERT_BIAS, Module.EXPERT_STACK)
    elif suffix == "bias" or base == "exp_probs_b":
        found = (Role.BIAS, Module.LINEAR if base in _LINEAR else Module.PARAMETER)
    elif "norm" in base:
        found = (Role.NORM, Module.NORM)
    elif base in _TABLES:
        found = (_TABLES[base], Module.EMBEDDING)
    elif base == "ffn_up" and shape[:1] == (2 * meta.size("feed_forward_length", layer=0, default=0),):
        found = (Role.GATE_UP, Module.LINEAR)
    elif base in _LINEAR and len(shape) > 1:
        found = (_LINEAR[base], Module.LINEAR)
    elif "conv1d" in base or base == "shortconv.conv":
        found = (Role.CONV, Module.CONV)
    else:
        role = Role.SSM if base.startswith(("ssm_", "time_mix")) else Role.OTHER
        found = (role, Module.LINEAR if len(shape) == 2 and suffix == "weight" else Module.PARAMETER)
    return found


def _layer(index: int, tensors: Iterable[Tensor], meta: Metadata) -> Layer:
    """One layer: what its tensors' names and the metadata make of it."""
    shapes = {
        tensor.name.split(".{layer}.", 1)[1].removesuffix(".weight"): tensor.shape
        for tensor in tensors
        if index in tensor.layers and not tensor.name.startswith("enc.")
    }
    if shapes.keys() & _EXPERTS.keys():
        mlp = MlpKind.MOE
    elif shapes.keys() & {"ffn_up", "ffn_down", "channel_mix_key"}:
        mlp = MlpKind.DENSE
    else:
        mlp = MlpKind.NONE
    return Layer(index, layer_mixers(index, shapes, meta), mlp)
