"""Roles by tensor name, for checkpoints in the names of transformers and its relatives, where no family says better."""

from __future__ import annotations

import re

from sizer.model.architecture import Module, Role, Tower

_LAYER = re.compile(r"(?:^|(?<=\.))(layers|h|blocks|block|layer|resblocks)\.(\d{1,4})\.")
_EXPERT = re.compile(r"\.experts\.(\d{1,4})\.")

_EXPERT_ROLES = {
    "gate_proj": Role.EXPERT_GATE, "w1": Role.EXPERT_GATE, "gate": Role.EXPERT_GATE, "up_proj": Role.EXPERT_UP,
    "w3": Role.EXPERT_UP, "up": Role.EXPERT_UP, "down_proj": Role.EXPERT_DOWN, "w2": Role.EXPERT_DOWN,
    "down": Role.EXPERT_DOWN, "gate_up_proj": Role.EXPERT_GATE_UP, "gate_and_up_proj": Role.EXPERT_GATE_UP,
}  # fmt: skip
_SHARED_ROLES = {
    "gate_proj": Role.SHARED_GATE, "up_proj": Role.SHARED_UP, "down_proj": Role.SHARED_DOWN,
    "gate_up_proj": Role.SHARED_GATE_UP, "w1": Role.SHARED_GATE, "w3": Role.SHARED_UP, "w2": Role.SHARED_DOWN,
}  # fmt: skip
_ROLES = {
    "q_proj": Role.Q, "wq": Role.Q, "k_proj": Role.K, "wk": Role.K, "v_proj": Role.V, "wv": Role.V, "o_proj": Role.O,
    "wo": Role.O, "out_proj": Role.O, "dense": Role.O, "query_key_value": Role.QKV, "qkv_proj": Role.QKV,
    "Wqkv": Role.QKV, "c_attn": Role.QKV, "W_pack": Role.QKV, "wqkv": Role.QKV, "qkv": Role.QKV, "q_a_proj": Role.Q_A,
    "q_b_proj": Role.Q_B, "kv_a_proj_with_mqa": Role.KV_A, "kv_b_proj": Role.KV_B, "gate_proj": Role.GATE,
    "w1": Role.GATE, "up_proj": Role.UP, "w3": Role.UP, "fc1": Role.UP, "c_fc": Role.UP, "dense_h_to_4h": Role.UP,
    "fc_in": Role.UP, "down_proj": Role.DOWN, "w2": Role.DOWN, "fc2": Role.DOWN, "dense_4h_to_h": Role.DOWN,
    "fc_out": Role.DOWN, "gate_up_proj": Role.GATE_UP, "in_proj": Role.SSM_IN, "x_proj": Role.SSM, "dt_proj": Role.SSM,
    "lm_head": Role.LM_HEAD, "embed_out": Role.LM_HEAD, "output_layer": Role.LM_HEAD,
}  # fmt: skip
_EMBEDDINGS = frozenset({
    "embed_tokens", "wte", "word_embeddings", "tok_embeddings", "embed_in", "embeddings", "embedding", "embed",
})  # fmt: skip
_POSITIONS = frozenset({"wpe", "embed_positions", "position_embeddings", "position_embedding"})
# Computed when the model is built, and stored by old checkpoints all the same.
_BUFFER = re.compile(
    r"(?:^|\.)(?:(?:original_)?inv_freq|rotary_emb\.(?:cos|sin)_cached|masked_bias|attn\.bias|attention\.bias|"
    r"num_batches_tracked)$"
)
_TOWERS = (
    (re.compile(r"(^|\.)(mtp|model\.mtp)\."), Tower.MTP),
    (re.compile(r"projector|merger|connector|embed_(vision|audio)"), Tower.PROJECTOR),
    (re.compile(r"vision|visual|image|vpm|vit\b|patch_embed"), Tower.VISION),
    (re.compile(r"audio|speech|apm"), Tower.AUDIO),
    (re.compile(r"(^|\.)encoder\."), Tower.ENCODER),
)


def template(name: str) -> tuple[str, int | None, int | None]:
    """A name with `{layer}` and `{expert}` where its numbers stand, and the numbers."""
    layer = _LAYER.search(name)
    if layer:
        name = f"{name[: layer.start(2)]}{{layer}}{name[layer.end(2) :]}"
    expert = _EXPERT.search(name)
    if expert:
        name = f"{name[: expert.start(1)]}{{expert}}{name[expert.end(1) :]}"
    return name, int(layer[2]) if layer else None, int(expert[1]) if expert else None


def is_buffer(name: str) -> bool:
    """Whether a tensor is computed, not learned: bytes of the file, no parameter."""
    return bool(_BUFFER.search(name))


def tower_of(name: str) -> Tower:
    """Which part of the model a name belongs to."""
    return next((tower for pattern, tower in _TOWERS if pattern.search(name)), Tower.TEXT)


def role_of(name: str, shape: tuple[int, ...]) -> tuple[Role, Module]:
    """Role and module of a templated name; OTHER where the name says nothing, or its shape is not that of the role."""
    module_name = name.removesuffix(".weight").removesuffix(".bias")
    leaf = module_name.rsplit(".", 1)[-1]
    if "experts" in module_name.split(".") or ".switch_mlp." in name:
        biased = name.endswith((".bias", "_bias"))
        if len(shape) < 3 and not biased and "{expert}" not in name:
            return Role.OTHER, Module.PARAMETER
        role = Role.EXPERT_BIAS if biased else _EXPERT_ROLES.get(leaf.removesuffix("_bias"), Role.OTHER)
        return role, Module.EXPERT_STACK
    if name.endswith(".bias"):
        return Role.BIAS, Module.LINEAR
    if "norm" in leaf or "ln_" in leaf or leaf.startswith("ln") or leaf in ("layernorm", "ln_f"):
        return Role.NORM, Module.NORM
    if len(shape) >= 2 and (leaf in _EMBEDDINGS or leaf in _POSITIONS):
        return Role.POSITION if leaf in _POSITIONS else Role.EMBEDDING, Module.EMBEDDING
    return _matrix_role(module_name, leaf, shape)


def _matrix_role(module_name: str, leaf: str, shape: tuple[int, ...]) -> tuple[Role, Module]:
    if "shared_expert" in module_name:
        return _SHARED_ROLES.get(leaf, Role.ROUTER if "gate" in leaf else Role.OTHER), Module.LINEAR
    if leaf in ("router", "gate") and len(shape) == 2:
        return Role.ROUTER, Module.LINEAR_SUBCLASS
    if "conv" in leaf:
        return Role.CONV, Module.CONV
    role = _ROLES.get(leaf, Role.SSM if ".mixer." in module_name or "linear_attn" in module_name else Role.OTHER)
    return role, Module.LINEAR if len(shape) <= 2 and role is not Role.OTHER else Module.PARAMETER
