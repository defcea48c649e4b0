"""Values that are alive at once while a layer runs. The rules and what they were compared with: docs/memory.md."""

from __future__ import annotations

from collections import defaultdict
from functools import lru_cache

from sizer.engine.memory_rules import LayerCode
from sizer.model.architecture import Architecture, Mixer, Role, Tensor, Tower

GATE_ROLES = frozenset({Role.GATE, Role.SHARED_GATE, Role.EXPERT_GATE})
FUSED_GATE_ROLES = frozenset({Role.GATE_UP, Role.SHARED_GATE_UP, Role.EXPERT_GATE_UP})
DOWN_ROLES = frozenset({Role.DOWN, Role.SHARED_DOWN})
QKV_ROLES = frozenset({Role.Q, Role.Q_B, Role.K, Role.V, Role.QKV, Role.KV_B, Role.SSM_IN})


@lru_cache(maxsize=256)
def activation_values_per_token(architecture: Architecture, code: LayerCode, ranks: int = 1) -> int:
    """Values alive at once for one token in the widest layer, on one of `ranks` tensor-parallel devices.

    Some copies of the hidden vector, and the wider of the MLP (gate, up and their product, or the two sides of a plain
    activation) and attention (queries, keys, values and the rotated copies of the first two). None are known of a model
    whose hidden size is not.
    """
    if not architecture.hidden_size:
        return 0
    mlp_values: dict[int, int] = defaultdict(int)
    attention_values: dict[int, int] = defaultdict(int)
    copies = _intermediate_copies(architecture, code)
    for tensor in architecture.tensors:
        if tensor.tower is not Tower.TEXT or len(tensor.shape) < 2:
            continue
        for layer in {*tensor.layers[:1], *tensor.layers[-1:]}:
            if tensor.role in DOWN_ROLES:
                mlp_values[layer] += tensor.elements // architecture.hidden_size * copies.get(layer, 2)
            elif tensor.role is Role.EXPERT_DOWN:
                mlp_values[layer] += _expert_values(tensor, architecture.hidden_size, code, copies.get(layer, 2))
            elif tensor.role in QKV_ROLES:
                rotated = tensor.role not in {Role.V, Role.SSM_IN}
                attention_values[layer] += tensor.elements // architecture.hidden_size * (2 if rotated else 1)
    widest = max([*mlp_values.values(), *attention_values.values()], default=0)
    return code.hidden_copies * architecture.hidden_size + _rotary_values(architecture, code) + -(-widest // ranks)


def _intermediate_copies(architecture: Architecture, code: LayerCode) -> dict[int, int]:
    """Intermediate vectors alive at once in each gated layer; a plain MLP has two."""
    copies = {}
    for tensor in architecture.tensors:
        if tensor.role in GATE_ROLES:
            copies.update(dict.fromkeys(tensor.layers, 3))
        elif tensor.role in FUSED_GATE_ROLES:
            fused = 3 if tensor.role is Role.EXPERT_GATE_UP else code.fused_gate_copies
            copies.update(dict.fromkeys(tensor.layers, fused))
    return copies


def _expert_values(tensor: Tensor, hidden: int, code: LayerCode, copies: int) -> int:
    """Values of a token in its routed experts, by the stack of their down projections."""
    active, experts = tensor.active_elements // tensor.copies // hidden, tensor.elements // hidden
    if code.experts == "active" or not tensor.experts or not tensor.active_experts:
        return active * copies
    if code.experts == "loop":  # what all experts write to, and one of them with its part of the tokens
        return hidden + experts // tensor.experts * copies * tensor.active_experts // tensor.experts
    width = active // tensor.active_experts
    return tensor.active_experts * max(4 * width + hidden, 4 * hidden)


def _rotary_values(architecture: Architecture, code: LayerCode) -> int:
    """Cosines and sines of one position, one table for each kind of attention."""
    if not code.holds_rotary:
        return 0
    dims: dict[object, int] = {}
    for mixer in architecture.mixer_counts:
        if mixer.kv_heads and not mixer.latent_elements:
            dims[mixer.window_tokens] = 2 * mixer.qk_head_dim
    return sum(dims.values())


def rotary_table_bytes(architecture: Architecture, bytes_per_value: int) -> int:
    """Cosines and sines for every position that the model knows, in each attention layer (transformers before 4.45)."""
    positions = architecture.max_context_tokens or 0

    def table(mixer: Mixer) -> int:
        return 2 * positions * mixer.qk_head_dim * bytes_per_value if mixer.kv_heads else 0

    return sum(count * table(mixer) for mixer, count in architecture.mixer_counts.items())
