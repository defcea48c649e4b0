"""Which ggml type `llama-quantize` gives each tensor, for every file type: Q4_K_M and its kin.

The choice follows `llama_tensor_get_type_impl` of src/llama-quant.cpp (ggml-org/llama.cpp) by category, position in
the model, file type and a few properties of the model. Two rules are known: `new` since pull request 19770 (2026),
where fused attention matrices (`attn_qkv`, `attn_kv_b`) count as value matrices, and `old` before, which most published
files follow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache

from sizer.formats import format_of
from sizer.frozen import NamedTuple
from sizer.precision.gguf_by_hand import by_hand, is_by_hand
from sizer.precision.gguf_tensors import GgufModel, GgufTensor

RULES = ("old", "new")

LOW_BIT = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})
LOW_BIT_LARGE = frozenset({"IQ2_S", "IQ2_M"})
V_LIKE = frozenset({"v", "qkv", "kv_b"})

# Names that are never quantized (substrings), as llama_tensor_quantize's own list has them.
UNTOUCHED = (
    "_norm.weight", "ffn_gate_inp.weight", "ffn_gate_tid2eid.weight", "altup", "laurel", "per_layer_model_proj",
    "ssm_conv1d", "shortconv.conv.weight", "indexer.k_proj.weight", "indexer.q_proj.weight", "time_mix_first.weight",
    "time_mix_w0.weight", "time_mix_w1.weight", "time_mix_w2.weight", "time_mix_v0.weight", "time_mix_v1.weight",
    "time_mix_v2.weight", "time_mix_a0.weight", "time_mix_a1.weight", "time_mix_a2.weight", "time_mix_g1.weight",
    "time_mix_g2.weight", "time_mix_decay_w1.weight", "time_mix_decay_w2.weight", "time_mix_lerp_fused.weight",
    "attn_rel_b.weight", "position_embd", "token_types", ".rel_pos", ".patch_embd",
)  # fmt: skip

# Of those, the ones that the converter writes in 16 bits; all others are F32 in the base file.
HALF_IN_BASE = ("altup_proj", "altup_unembd_proj", "altup_router", "laurel", "per_layer_model_proj", "indexer.k_proj",
                "indexer.q_proj")  # fmt: skip

CATEGORIES = (
    ("attn_qkv.weight", "qkv"), ("attn_kv_b.weight", "kv_b"), ("attn_v.weight", "v"), ("attn_k.weight", "k"),
    ("attn_q.weight", "q"), ("attn_output.weight", "o"), ("ffn_up", "up"), ("ffn_gate", "gate"),
    ("ffn_down", "down"),
)  # fmt: skip

# What a type becomes when a row is no whole number of its blocks, and again if 32 does not divide the row either.
FALLBACKS = {
    **dict.fromkeys(("iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq3_xxs", "iq3_s", "iq4_xs"), "iq4_nl"),
    **dict.fromkeys(("q2_0", "q2_k", "q3_k", "tq1_0", "tq2_0", "q1_0"), "q4_0"),
    **dict.fromkeys(("iq1_kt", "iq2_kt", "iq2_ks", "iq2_k", "iq2_kl", "iq3_kt", "iq3_ks", "iq3_k"), "iq4_nl"),
    **dict.fromkeys(("iq4_kss", "iq4_kt", "iq4_ks"), "iq4_nl"),
    **dict.fromkeys(("q4_k", "iq4_k", "iq5_ks"), "q5_0"),
    "iq5_k": "q6_0",
    "iq6_k": "q8_0",
    "q5_k": "q5_1",
    "q6_k": "q8_0",
    "nvfp4": "q4_0",
}

LAST_RESORT = "fp16"

PLAIN = frozenset({"fp16", "bf16", "fp32"})


class Position(NamedTuple):
    """Where a tensor stands among its kind, as far as any rule asks."""

    early: bool = False
    sixteenth: bool = False
    more: bool = False
    first_two: bool = False
    first_four: bool = False
    middle: bool = False
    early_running: bool = False


ANYWHERE = Position()


class Traits(NamedTuple):
    """What the rules ask of a model."""

    falcon: bool
    tied: bool
    is_70b: bool
    eight_experts: bool
    four_experts: bool
    grouped: bool
    imatrix: bool
    new: bool


def more_bits(index: int, count: int) -> bool:
    """llama.cpp's use_more_bits: the first and last eighth, and every third between."""
    return index < count // 8 or index >= 7 * count // 8 or (index >= count // 8 and (index - count // 8) % 3 == 2)


@lru_cache(maxsize=1)
def default_types() -> dict[str, str]:
    """The type that a file type starts from."""
    from sizer.tables import read_rows

    return {row["ftype"]: row["type"] for row in read_rows("gguf_ftypes.csv")}


@lru_cache(maxsize=4096)
def category(name: str) -> str:
    """The quantizer's category of a tensor, by the first match in its name."""
    if name == "output.weight":
        return "output"
    if name in ("token_embd.weight", "per_layer_token_embd.weight"):
        return "embedding"
    return next((kind for part, kind in CATEGORIES if part in name), "other")


@lru_cache(maxsize=4096)
def base_type(name: str, dims: int, half: str) -> str | None:
    """The type that the quantizer leaves as it is in the base file, or None where it quantizes."""
    if dims < 2 or not name.endswith("weight"):
        return "fp32"
    if any(part in name for part in UNTOUCHED):
        return half if any(part in name for part in HALF_IN_BASE) else "fp32"
    return None


def positions(model: GgufModel) -> dict[str, Sequence[tuple[Position, tuple[int, ...]]]]:
    """For each tensor name, the layers at each position. One pass over the tensors in llama.cpp's order."""
    kinds = {part.name: kind for part in model.tensors if (kind := category(part.name)) != "other"}
    by_layer: dict[int, list[str]] = defaultdict(list)
    for part in sorted(model.tensors, key=lambda part: part.name):
        if part.name in kinds:
            for layer in part.layers:
                by_layer[layer].append(part.name)
    values = sum(kinds[name] in V_LIKE for names in by_layer.values() for name in names)
    seen = {"v": 0, "down": 0, "gate": 0, "up": 0}
    found: dict[str, dict[Position, list[int]]] = defaultdict(lambda: defaultdict(list))
    for layer in sorted(by_layer):
        for name in by_layer[layer]:
            counter = "v" if kinds[name] in V_LIKE else kinds[name]
            index = seen.get(counter, 0)
            place = ANYWHERE
            if counter == "v":
                place = Position(more=more_bits(index, values), first_two=index < 2, first_four=index < 4)
            elif counter in seen:
                place = _ffn_position(layer if model.experts > 1 else index, index, model.layers)
            if counter in seen:
                seen[counter] = index + 1
            found[name][place].append(layer)
    return {name: [(place, tuple(layers)) for place, layers in places.items()] for name, places in found.items()}


@lru_cache(maxsize=4096)
def _ffn_position(index: int, running: int, count: int) -> Position:
    return Position(
        early=index < count // 8,
        sixteenth=index < count // 16,
        more=more_bits(index, count),
        middle=count // 8 <= index < 7 * count // 8,
        early_running=running < count // 8,
    )


class TensorCase(NamedTuple):
    """A file type on a model: what every rule is called with."""

    ftype: str
    default: str
    traits: Traits


Rule = Callable[[str, Position, TensorCase], str]
"""The type of a tensor by its category and position."""


def tensor_type(part: GgufTensor, place: Position, ftype: str, traits: Traits, half: str) -> str:
    """The type of a tensor in a file of this type, fallback included."""
    kept = base_type(part.name, part.dims, half)
    default = default_types()[ftype]
    if default in PLAIN:
        return kept if kept == "fp32" else default
    if kept is not None:
        return kept
    fits = format_of(default).fits(part.ne0)
    chosen = choose(category(part.name), place, TensorCase(ftype, default, traits), fits, part.stacked)
    return fallback(chosen, part.ne0)


def fallback(key: str, ne0: int) -> str:
    """The type, or the one it falls back to where the row is no whole number of blocks (F16 where none fits)."""
    if format_of(key).fits(ne0):
        return key
    second = FALLBACKS.get(key, LAST_RESORT)
    return second if format_of(second).fits(ne0) else LAST_RESORT


@lru_cache(maxsize=65536)
def choose(kind: str, place: Position, case: TensorCase, fits: bool, stacked: bool) -> str:
    """llama_tensor_get_type_impl: the type before the fallback. `fits`: rows are whole blocks of the default type."""
    is_output = kind == "output" or (kind == "embedding" and case.traits.tied)
    if is_by_hand(case.ftype):
        told = "output" if is_output else kind
        return by_hand(told, case.ftype, case.default, stacked=stacked, mixture=case.traits.four_experts)
    if is_output:
        return _output(case, fits)
    if case.ftype == "MXFP4_MOE":
        return "mxfp4" if stacked else "q8_0"
    return _rule(kind, case)(kind, place, case)


def _rule(kind: str, case: TensorCase) -> Rule:
    """The branch that a category takes."""
    if kind == "embedding":
        return _embedding
    if case.ftype in LOW_BIT:
        return _low_bit
    if _is_value(kind, case):
        return _value
    return {"down": _down, "o": _attention_output}.get(kind, _other)


def _is_value(kind: str, case: TensorCase) -> bool:
    return kind == "v" or (case.traits.new and kind in V_LIKE)


def _output(case: TensorCase, fits: bool) -> str:
    if case.ftype == "MXFP4_MOE" or case.traits.falcon or not fits:
        return "q8_0"
    if case.ftype in LOW_BIT or case.ftype == "IQ3_XXS":
        return "q5_k"
    return "q8_0" if case.default == "q8_0" else "q6_k"


def _embedding(_kind: str, _place: Position, case: TensorCase) -> str:
    if case.ftype in LOW_BIT_LARGE or case.ftype == "IQ3_XXS":
        return "iq3_s"
    if case.ftype in LOW_BIT:
        return "q2_k"
    return "q4_k" if case.ftype in ("TQ1_0", "TQ2_0", "Q2_0") else case.default


def _low_bit(kind: str, place: Position, case: TensorCase) -> str:
    """The 1- and 2-bit codebook types, which have a branch of their own."""
    raised = "iq3_s" if case.ftype in LOW_BIT_LARGE else "q2_k"
    if _is_value(kind, case):
        return "q4_k" if case.traits.grouped or case.traits.four_experts else raised
    if kind == "k" and case.traits.eight_experts:
        return "q4_k"
    if kind == "down" and place.early_running:
        return raised
    if kind == "o" and case.traits.eight_experts:
        return "q5_k"
    low = {"IQ1_S": "iq2_xxs", "IQ1_M": "iq2_xxs", "IQ2_S": "iq3_s", "IQ2_M": "iq3_s"}
    return low.get(case.ftype, case.default) if kind == "o" else case.default


def _value(_kind: str, place: Position, case: TensorCase) -> str:
    """Value matrices, the most sensitive ones."""
    if case.traits.eight_experts:
        return "q8_0"
    chosen = _value_by_ftype(place, case)
    return "q5_k" if case.traits.is_70b and chosen in ("q3_k", "q4_k") else chosen


def _value_by_ftype(place: Position, case: TensorCase) -> str:
    """The type of an `attn_v`, before experts and large models raise it (llama_tensor_get_type)."""
    ftype = case.ftype
    grouped = {
        "Q2_K": "q4_k", "Q2_K_S": "q4_k", "IQ3_XXS": "q4_k", "IQ3_XS": "q4_k", "IQ3_S": "q4_k", "IQ4_NL": "q5_k",
        "IQ4_XS": "q5_k",
    }  # fmt: skip
    if case.traits.grouped and ftype in grouped:
        return grouped[ftype]
    if ftype == "Q3_K_M":
        return "q5_k" if place.first_two else "q4_k"
    if ftype in ("Q4_K_M", "Q5_K_M") and place.more:
        return "q6_k"
    if ftype == "Q4_K_S" and place.first_four:
        return "q5_k"
    plain = {
        "Q2_K": "q3_k",
        "IQ3_M": "q4_k",
        "Q3_K_L": "q5_k",
        "IQ3_XXS": "iq3_xxs" if case.traits.imatrix else "iq3_s",
    }
    return plain.get(ftype, case.default)


def _down(_kind: str, place: Position, case: TensorCase) -> str:
    """ffn_down, dense or of experts."""
    ftype, traits = case.ftype, case.traits
    if ftype == "IQ3_XXS" and not traits.imatrix:
        return "q4_k" if place.early else "q3_k"
    if ftype in ("Q3_K_M", "Q4_K_M"):
        return _down_medium(place, case)
    if ftype == "Q5_K_M" and place.more:
        return "q6_k"
    if ftype == "IQ3_M" and (place.early or (traits.eight_experts and place.more)):
        return "q4_k"
    always = {"Q2_K": "q3_k", "Q3_K_L": "q4_k" if traits.falcon else "q5_k"}
    return always.get(ftype) or (_early_down(case) if place.early else case.default)


def _down_medium(place: Position, case: TensorCase) -> str:
    """ffn_down of Q3_K_M and Q4_K_M, where Falcon has its own."""
    if case.ftype == "Q3_K_M":
        return "q5_k" if place.sixteenth else "q4_k" if place.more or not case.traits.falcon else "q3_k"
    if case.traits.falcon:
        return "q6_k" if place.sixteenth else "q5_k" if place.more else "q4_k"
    return "q6_k" if place.more else case.default


def _early_down(case: TensorCase) -> str:
    """The first eighth of ffn_down."""
    with_imatrix = {"Q4_0": "q4_1", "Q5_0": "q5_1"}
    without = {"IQ4_NL": "q5_k", "IQ4_XS": "q5_k"}
    always = {"Q2_K_S": "q4_k", "Q4_K_S": case.default if case.traits.falcon else "q5_k"}
    return {**always, **(with_imatrix if case.traits.imatrix else without)}.get(case.ftype, case.default)


def _attention_output(_kind: str, _place: Position, case: TensorCase) -> str:
    if case.traits.falcon:
        return "q4_k" if case.ftype == "Q3_K_L" else case.default
    if case.traits.eight_experts:
        raised = (
            "Q2_K", "Q3_K_S", "Q3_K_M", "Q4_K_S", "Q4_K_M", "IQ3_XXS", "IQ3_XS", "IQ3_S", "IQ3_M", "IQ4_NL", "IQ4_XS",
        )  # fmt: skip
        return "q5_k" if case.ftype in raised else case.default
    types = {"Q2_K": "q3_k", "IQ3_XXS": "iq3_s", "Q3_K_M": "q4_k", "Q3_K_L": "q5_k", "IQ3_M": "q4_k"}
    return types.get(case.ftype, case.default)


def _other(kind: str, place: Position, case: TensorCase) -> str:
    """Query, key, gate and up matrices, and by the old rule fused attention."""
    if kind == "k" and case.traits.eight_experts:
        return "q8_0"
    if kind in ("k", "q"):
        return {"IQ3_XS": "iq3_xxs", "IQ3_XXS": "iq2_s"}.get(case.ftype, case.default)
    if kind == "qkv":
        fused = {"Q3_K_M": "q4_k", "Q3_K_L": "q4_k", "IQ3_M": "q4_k", "Q4_K_M": "q5_k", "Q5_K_M": "q6_k"}
        return fused.get(case.ftype, case.default)
    if kind in ("gate", "up") and case.ftype == "IQ3_XS" and place.middle:
        return "iq3_xxs"
    return case.default
