"""Precision counted on paper: which tensor is stored how, and what files write beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log
from typing import Any

import pytest
from drawn import HIDDEN, LAYERS, MIXER, TENSORS, VOCAB, model, stored

from sizer.errors import InvalidConfig, UnknownPrecision
from sizer.model.architecture import Architecture, Mixer, MixerKind, Module, Role, Tensor, Tower
from sizer.model.stored import Stored, StoredTensor
from sizer.precision.configured import plan
from sizer.precision.configured_methods import method_name, weight_format
from sizer.precision.gguf_header import tensor_list_bytes
from sizer.precision.gguf_mixtures import ANYWHERE, FALLBACKS, TensorCase, Traits, choose, fallback, more_bits
from sizer.precision.gguf_tensors import GgufModel, GgufTensor
from sizer.precision.gguf_tensors import gguf_model as converted
from sizer.precision.patterns import Names, bare
from sizer.precision.quality import REFERENCE_ACTIVE, layer_bits, on_curve, quality, scaled_by_active
from sizer.precision.saved import HEADER_ENTRY_BYTES, HEADER_LENGTH_BYTES, NESTED_OFFSET, saved_bytes, saved_state_bytes
from sizer.precision.schemes import SCHEMES, copy_bytes, is_projection, matrix_shape
from sizer.precision.store import store_as_configured

QUERY = Tensor("model.layers.{layer}.self_attn.q_proj.weight", (96, HIDDEN), Role.Q, Module.LINEAR, layers=(0, 1))
STACK = replace(TENSORS[6], name="model.layers.{layer}.mlp.experts.up_proj")
NORM = Tensor("model.layers.{layer}.norm.weight", (HIDDEN,), Role.NORM, Module.NORM, layers=(0, 1))
HEAD = Tensor("lm_head.weight", (VOCAB, HIDDEN), Role.LM_HEAD, Module.LINEAR)
TABLE = Tensor("model.embed_tokens.weight", (VOCAB, HIDDEN), Role.EMBEDDING, Module.EMBEDDING)


# Schemes.


@pytest.mark.parametrize(
    ("scheme", "key", "quantized"),
    [
        ("float", "fp16", {"q", "stack", "norm", "head", "table", "router", "deep", "bias", "draft", "tower"}),
        ("linears", "gptq-int4", {"q", "stack"}),
        ("modules", "torchao-int8", {"q", "router", "tower"}),
        ("bitsandbytes", "bnb-nf4", {"q", "router", "tower"}),
        ("mxfp4", "mxfp4", {"stack"}),
        ("mlx", "mlx-4bit", {"q", "head", "table", "router"}),
        ("all", "fp8-tensor", {"q", "stack", "head", "table", "router", "deep", "draft", "tower"}),
        ("in-situ", "q8_0", {"q", "stack", "head", "tower", "deep"}),
    ],
)
def test_what_a_scheme_touches(scheme: str, key: str, quantized: set[str]) -> None:
    """Projections, modules, experts, tables or all: of ten kinds of tensors, those that the scheme's own rule names."""
    kinds = {
        "q": QUERY, "stack": replace(STACK, shape=(8, 32, 32)), "norm": NORM, "head": HEAD, "table": TABLE,
        "router": replace(QUERY, role=Role.ROUTER), "deep": replace(QUERY, shape=(3, 32, 32)),
        "bias": replace(QUERY, role=Role.BIAS, shape=(96,)), "draft": replace(QUERY, checkpoint_only=True),
        "tower": replace(QUERY, tower=Tower.VISION),
    }  # fmt: skip
    if scheme == "linears":
        kinds.pop("deep")
    chosen = SCHEMES[scheme](model(tensors=tuple(kinds.values())), key)
    assert {name for name, tensor in kinds.items() if chosen(tensor) == key} == quantized
    others = {chosen(tensor) for name, tensor in kinds.items() if name not in quantized}
    assert others <= ({"fp32"} if scheme == "all" else {"bf16"})


def test_what_is_a_projection() -> None:
    """A matrix or stack within the text's layers that runs: no tower's, no draft's, no vector, no norm."""
    assert is_projection(QUERY)
    assert is_projection(replace(QUERY, tower=Tower.ENCODER))
    for other in (
        replace(QUERY, tower=Tower.VISION), replace(QUERY, checkpoint_only=True), replace(QUERY, shape=(96,)),
        replace(QUERY, module=Module.PARAMETER), replace(QUERY, role=Role.ROUTER), HEAD, TABLE, NORM,
    ):  # fmt: skip
        assert not is_projection(other)


def test_matrices_of_a_tensor() -> None:
    """A vector is one row, GPT-2's matrices lie the other way, experts are apart, what is deeper is flattened."""
    assert matrix_shape(NORM) == (1, 1, HIDDEN)
    assert matrix_shape(replace(QUERY, module=Module.CONV1D)) == (1, HIDDEN, 96)
    assert matrix_shape(STACK) == (8, 32, HIDDEN)
    assert matrix_shape(replace(QUERY, shape=(5, 4, 3))) == (1, 20, 3)
    assert copy_bytes(replace(QUERY, shape=()), "bf16") == 2
    assert copy_bytes(STACK, "q8_0") == 8 * 32 * (HIDDEN // 32) * 34


def test_heads_of_exl_have_their_own_bits() -> None:
    """Six, from eight on eight; embeddings in fp16."""
    for bits, head in (("4.25", "6.00"), ("7.99", "6.00"), ("8.00", "8.00")):
        chosen = SCHEMES["exl2"](model(), f"exl3-{bits}bpw")
        assert (chosen(HEAD), chosen(QUERY), chosen(TABLE)) == (f"exl3-{head}bpw", f"exl3-{bits}bpw", "fp16")
    assert SCHEMES["exl2"](model(), "exl2-4.25bpw")(HEAD) == "exl2-head-6.00bpw"


# Files.


def test_bitsandbytes_writes_a_state_beside_each_matrix() -> None:
    """One byte for int8; the state of 4 bits as JSON; with double quantization its offset as text for 4 bytes."""
    state: dict[str, Any] = {"quant_type": "nf4", "blocksize": 64, "dtype": "bfloat16", "shape": [96, HIDDEN]}
    nested = {**state, "nested_blocksize": 256, "nested_dtype": "float32", "nested_offset": NESTED_OFFSET}
    assert saved_state_bytes(StoredTensor(QUERY, "bnb-int8", 0)) == 1
    assert saved_state_bytes(StoredTensor(QUERY, "bnb-nf4", 0)) == len(json.dumps(state))
    assert saved_state_bytes(StoredTensor(QUERY, "bnb-fp4", 0)) == len(json.dumps({**state, "quant_type": "fp4"}))
    assert saved_state_bytes(StoredTensor(QUERY, "bnb-nf4-dq", 0)) == len(json.dumps(nested)) - 4
    assert saved_state_bytes(StoredTensor(QUERY, "bf16", 0)) == 0


def test_a_file_is_its_tensors_their_entries_and_states() -> None:
    """An entry of the header for each tensor that a matrix takes, in each layer; draft layers where they are stored."""
    entry = HEADER_ENTRY_BYTES + len(QUERY.name)
    assert saved_bytes([StoredTensor(QUERY, "bf16", 1000)], "float") == HEADER_LENGTH_BYTES + 1000 + 2 * entry
    draft = StoredTensor(replace(QUERY, checkpoint_only=True), "bf16", 1000)
    assert saved_bytes([draft], "float") == HEADER_LENGTH_BYTES + 1000 + 2 * entry
    assert saved_bytes([draft], "bitsandbytes") == HEADER_LENGTH_BYTES
    nf4 = StoredTensor(QUERY, "bnb-nf4", 1000)
    from sizer.formats import format_of

    expected = 1000 + 2 * (format_of("bnb-nf4").checkpoint_tensors * entry + saved_state_bytes(nf4))
    assert saved_bytes([nf4], "bitsandbytes") == HEADER_LENGTH_BYTES + expected


def test_the_list_of_tensors_of_a_gguf() -> None:
    """24 bytes, 8 a dimension, and the name with the layer's own number in it, for every copy."""
    many = GgufTensor("blk.{layer}.x", 4, 4, False, 2, replace(QUERY, layers=(0, 9, 10)))
    alone = GgufTensor("output.weight", 4, 4, False, 0, replace(QUERY, layers=()))
    found = tensor_list_bytes(GgufModel("llama", (many, alone), 11, 0, 1, False, True))
    assert found == 3 * (len("blk..x") + 24 + 16) + 1 + 1 + 2 + len("output.weight") + 24 + 8


# Converters.


def named(architecture: Architecture, model_type: str, rule: str = "new") -> dict[str, tuple[int, int, bool, int]]:
    """Row length, rows, whether stacked, and dimensions, by name in the file."""
    found = converted(replace(architecture, model_type=model_type), rule)
    return {part.name: (part.ne0, part.rows, part.stacked, part.dims) for part in found.tensors}


def test_names_rows_and_dimensions() -> None:
    """By role: matrices have two dimensions, stacks three, vectors one; biases end so."""
    bias = Tensor("model.layers.{layer}.self_attn.q_proj.bias", (96,), Role.BIAS, Module.LINEAR, layers=(0, 1))
    row = replace(NORM, name="model.layers.{layer}.k_norm.weight", shape=(2, 32), role=Role.NORM)
    found = named(model(tensors=(TABLE, HEAD, QUERY, STACK, NORM, bias, row)), "llama")
    assert found["token_embd.weight"] == (HIDDEN, VOCAB, False, 2)
    assert found["output.weight"] == (HIDDEN, VOCAB, False, 2)
    assert found["blk.{layer}.attn_q.weight"] == (HIDDEN, 96, False, 2)
    assert found["blk.{layer}.ffn_up_exps.weight"] == (HIDDEN, 8 * 32, True, 3)
    assert [found[name][3] for name in found if name.endswith("bias")] == [1]
    assert {size[3] for name, size in found.items() if "norm" in name} == {1}


@pytest.mark.parametrize(("model_type", "apart"), [("llama", True), ("phi3", False)])
def test_a_fused_gate_is_split_but_where_the_converter_keeps_it(model_type: str, apart: bool) -> None:
    """Two matrices of half the rows, or one as it is; experts' are split by all."""
    fused = Tensor(
        "model.layers.{layer}.mlp.gate_up_proj.weight", (80, HIDDEN), Role.GATE_UP, Module.LINEAR, layers=(0,)
    )
    experts = replace(STACK, role=Role.EXPERT_GATE_UP, shape=(8, 80, HIDDEN))
    found = named(model(tensors=(fused, experts)), model_type)
    halves = (HIDDEN, 40, False, 2)
    plain = {name: size for name, size in found.items() if "exps" not in name}
    assert plain == (
        {"blk.{layer}.ffn_gate.weight": halves, "blk.{layer}.ffn_up.weight": halves}
        if apart
        else {"blk.{layer}.ffn_up.weight": (HIDDEN, 80, False, 2)}
    )
    assert found["blk.{layer}.ffn_gate_exps.weight"] == (HIDDEN, 8 * 40, True, 3)


def test_latent_attention_is_split_into_keys_and_values_or_said_to_be_whole() -> None:
    """kv_b of 4 heads x (24 + 16) rows on 40 values: k_b of 40 rows of 24, v_b of 16 rows of 40, for each head."""
    latent = Mixer(MixerKind.MLA, heads=4, qk_head_dim=32, v_head_dim=16, latent_elements=48)
    kv_b = Tensor("model.layers.{layer}.self_attn.kv_b_proj.weight", (160, 40), Role.KV_B, Module.LINEAR, layers=(0,))
    drawn = model(latent, tensors=(kv_b,))
    split = named(drawn, "kimi_k2")
    assert split == {
        "blk.{layer}.attn_k_b.weight": (24, 4 * 40, True, 3), "blk.{layer}.attn_v_b.weight": (40, 4 * 16, True, 3),
    }  # fmt: skip
    assert named(drawn, "deepseek_v3") == {"blk.{layer}.attn_kv_b.weight": (40, 160, False, 2)}
    notes = {
        kind: " ".join(converted(replace(drawn, model_type=kind), "new").notes) for kind in ("kimi_k2", "deepseek_v3")
    }
    assert ("counted whole" in notes["kimi_k2"], "counted whole" in notes["deepseek_v3"]) == (False, True)
    without = converted(model(tensors=(QUERY,), model_type="deepseek_v3"), "new")
    assert without.notes == ()
    odd = model(replace(latent, heads=3), tensors=(kv_b,))
    assert named(odd, "kimi_k2") == {"blk.{layer}.attn_kv_b.weight": (40, 160, False, 2)}
    assert converted(replace(drawn, model_type="kimi_k2"), "new").kv_groups == 4
    assert converted(replace(drawn, model_type="deepseek_v3"), "new").kv_groups == 1


@pytest.mark.parametrize(("rule", "apart"), [("new", True), ("old", False)])
def test_linear_attention_of_qwen3_next_is_split_by_todays_converter(rule: str, apart: bool) -> None:
    """z of 2 x 8 rows is the gate; other models, and files of before, keep the matrix."""
    fused = Tensor(
        "model.layers.{layer}.linear_attn.in_proj_qkvz.weight", (50, HIDDEN), Role.SSM_IN, Module.LINEAR, layers=(0,)
    )
    config = {"linear_num_value_heads": 2, "linear_value_head_dim": 8}
    drawn = model(tensors=(fused,), config=config)
    found = named(drawn, "qwen3_next", rule)
    if apart:
        assert found == {
            "blk.{layer}.attn_qkv.weight": (HIDDEN, 34, False, 2),
            "blk.{layer}.attn_gate.weight": (HIDDEN, 16, False, 2),
        }  # fmt: skip
    else:
        assert [size[1] for size in found.values()] == [50]
    assert [size[1] for size in named(drawn, "llama", rule).values()] == [50]


def test_fused_attention_is_split_by_its_heads() -> None:
    """Baichuan's W_pack: 2 KV heads of 24 and of 16, the rest are queries."""
    pack = Tensor("model.layers.{layer}.self_attn.W_pack.weight", (176, HIDDEN), Role.QKV, Module.LINEAR, layers=(0,))
    found = named(model(tensors=(pack,)), "baichuan")
    assert {name: size[1] for name, size in found.items()} == {
        "blk.{layer}.attn_q.weight": 96, "blk.{layer}.attn_k.weight": 48, "blk.{layer}.attn_v.weight": 32,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("mixer", "groups"),
    [
        (MIXER, 2), (replace(MIXER, kv_heads=4), 1), (replace(MIXER, kv_heads=0), 0),
        (Mixer(MixerKind.LINEAR, heads=4, state_elements=9), 0), (Mixer(MixerKind.SSM, state_elements=9), 0),
    ],
)  # fmt: skip
def test_query_heads_a_group(mixer: Mixer, groups: int) -> None:
    """4 over 2 and over 4; none without KV heads, or without attention."""
    assert converted(model(mixer, model_type="llama"), "new").kv_groups == groups


def test_what_converters_add_and_leave_to_another_file() -> None:
    """A copy of the head, rope's frequencies and lists of factors; towers are told of, drafts counted where kept."""
    scaled = model(config={"rope_scaling": {"rope_type": "llama3"}}, model_type="llama")
    assert named(scaled, "llama")["rope_freqs.weight"] == (12, 1, False, 1)
    long = model(config={"rope_scaling": {"type": "longrope", "long_factor": [1.0] * 5, "short_factor": [1.0] * 7}})
    sizes = named(long, "llama")
    assert (sizes["rope_factors_long.weight"][0], sizes["rope_factors_short.weight"][0]) == (5, 7)
    tower = Tensor("vision", (100, 10), Role.OTHER, Module.LINEAR, tower=Tower.VISION)
    seeing = converted(model(tensors=(*TENSORS, tower), model_type="llama"), "new")
    assert all(part.tensor is not tower for part in seeing.tensors)
    assert "about 2,000 bytes" in seeing.notes[0]
    assert seeing.layers == LAYERS
    assert all(not part.tensor.checkpoint_only for part in seeing.tensors)


@pytest.mark.parametrize(
    ("index", "more"),
    [(0, True), (1, True), (2, False), (4, True), (5, False), (7, True), (13, True), (14, True), (15, True)],
)
def test_more_bits_for_the_ends_and_every_third_between(index: int, more: bool) -> None:
    """Of 16: the first two and the last two, and from the third on each third one."""
    assert more_bits(index, 16) is more
    assert more_bits(index, 16) is (index < 2 or index >= 14 or (index - 2) % 3 == 2)


@pytest.mark.parametrize("key", sorted(FALLBACKS))
def test_rows_of_no_whole_blocks_fall_back_twice(key: str) -> None:
    """256 values stay, 32 go to a type of small blocks, 30 to F16 (types of small blocks at once)."""
    assert fallback(key, 256) == key
    small = fallback(key, 32)
    assert small in {key, FALLBACKS[key]}
    assert fallback(key, 30) == "fp16"


PLAIN = Traits(False, False, False, False, False, False, False, True)


@pytest.mark.parametrize(
    ("ftype", "kind", "traits", "place", "expected"),
    [
        ("Q4_K_M", "v", {}, {}, "q4_k"), ("Q4_K_M", "v", {}, {"more": True}, "q6_k"),
        ("Q4_K_M", "v", {"eight_experts": True}, {}, "q8_0"), ("Q4_K_M", "v", {"is_70b": True}, {}, "q5_k"),
        ("Q4_K_M", "v", {"is_70b": True}, {"more": True}, "q6_k"), ("Q4_K_M", "k", {"eight_experts": True}, {}, "q8_0"),
        ("Q4_K_M", "down", {}, {"more": True}, "q6_k"), ("Q4_K_M", "down", {"falcon": True}, {"more": True}, "q5_k"),
        ("Q4_K_M", "down", {"falcon": True}, {"sixteenth": True}, "q6_k"),
        ("Q4_K_M", "o", {"eight_experts": True}, {}, "q5_k"),
        ("Q4_K_M", "qkv", {}, {"more": True}, "q6_k"), ("Q4_K_M", "qkv", {"new": False}, {"more": True}, "q5_k"),
        ("Q4_K_S", "v", {}, {"first_four": True}, "q5_k"), ("Q4_K_S", "v", {}, {}, "q4_k"),
        ("Q4_K_S", "down", {}, {"early": True}, "q5_k"), ("Q4_0", "down", {"imatrix": True}, {"early": True}, "q4_1"),
        ("Q4_0", "down", {}, {"early": True}, "q4_0"), ("Q3_K_M", "v", {}, {"first_two": True}, "q5_k"),
        ("Q3_K_M", "v", {}, {}, "q4_k"), ("Q3_K_M", "down", {}, {"sixteenth": True}, "q5_k"),
        ("Q3_K_M", "down", {"falcon": True}, {}, "q3_k"), ("Q2_K", "v", {"grouped": True}, {}, "q4_k"),
        ("Q2_K", "v", {}, {}, "q3_k"), ("IQ3_XXS", "v", {}, {}, "iq3_s"),
        ("IQ3_XXS", "v", {"imatrix": True}, {}, "iq3_xxs"),
        ("IQ3_XXS", "down", {}, {"early": True}, "q4_k"), ("IQ3_XS", "up", {}, {"middle": True}, "iq3_xxs"),
        ("IQ3_XS", "up", {}, {}, "iq3_s"), ("IQ2_M", "v", {}, {}, "iq3_s"),
        ("IQ2_M", "v", {"grouped": True}, {}, "q4_k"),
        ("IQ2_XS", "down", {}, {"early_running": True}, "q2_k"), ("IQ2_XS", "k", {"eight_experts": True}, {}, "q4_k"),
        ("IQ1_S", "o", {}, {}, "iq2_xxs"), ("Q4_K_M", "output", {}, {}, "q6_k"), ("Q8_0", "output", {}, {}, "q8_0"),
        ("Q4_K_M", "output", {"falcon": True}, {}, "q8_0"), ("IQ2_M", "output", {}, {}, "q5_k"),
        ("Q4_K_M", "embedding", {}, {}, "q4_k"), ("Q4_K_M", "embedding", {"tied": True}, {}, "q6_k"),
        ("IQ2_M", "embedding", {}, {}, "iq3_s"), ("IQ2_XS", "embedding", {}, {}, "q2_k"),
        ("TQ1_0", "embedding", {}, {}, "q4_k"),
    ],
)  # fmt: skip
def test_types_of_a_mixture(
    ftype: str, kind: str, traits: dict[str, bool], place: dict[str, bool], expected: str
) -> None:
    """What src/llama-quant.cpp gives a category at a place in a model of these properties."""
    from sizer.precision.gguf_mixtures import default_types

    case = TensorCase(ftype, default_types()[ftype], PLAIN._replace(**traits))
    assert choose(kind, ANYWHERE._replace(**place), case, True, False) == expected
    assert choose("output", ANYWHERE, case, False, False) == "q8_0"


# Configs.

LISTED = {"quant_method": "compressed-tensors"}


@pytest.mark.parametrize(
    ("weights", "packing", "inputs", "precision", "key"),
    [
        ({"num_bits": 8, "type": "float", "strategy": "group", "group_size": 32}, "", None, "mxfp8", "mxfp8"),
        ({"num_bits": 8, "type": "float", "strategy": "group", "group_size": 128}, "", None, "fp8", "fp8-block-16bit"),
        ({"num_bits": 8, "type": "float", "strategy": "block", "group_size": 32}, "", None, "fp8", "fp8-block-16bit"),
        ({"num_bits": 8, "type": "float", "strategy": "channel"}, "", None, "fp8", "fp8-channel"),
        ({"num_bits": 8, "type": "float"}, "", None, "fp8", "fp8-tensor-16bit-weight"),
        ({"num_bits": 8, "type": "float"}, "", {"dynamic": False}, "fp8", "fp8-tensor-16bit"),
        ({"num_bits": 8, "type": "float"}, "", {"dynamic": True}, "fp8", "fp8-tensor-16bit-weight"),
        ({"num_bits": 4, "type": "float", "group_size": 32}, "", None, "mxfp4", "mxfp4"),
        ({"num_bits": 4, "type": "float", "group_size": 16}, "", None, "nvfp4", "nvfp4-linear-weight"),
        ({"num_bits": 4, "type": "float", "group_size": 16}, "", {"dynamic": "local"}, "nvfp4", "nvfp4-linear"),
        ({"num_bits": 8, "type": "int"}, "int-quantized", None, "w8a8-int8", "w8a8-int8"),
        ({"num_bits": 8}, "", None, "w8a8-int8", "w8a8-int8"),
        ({"num_bits": 4, "group_size": 128}, "int-quantized", None, "w8a8-int8-g128", "w8a8-int8-g128"),
        ({"num_bits": 4, "group_size": 128}, "pack-quantized", None, "w4a16-int4", "w4a16-int4"),
        ({"num_bits": 4, "group_size": 128}, "", None, "w4a16-int4", "w4a16-int4"),
        ({"num_bits": 8, "group_size": 128}, "pack-quantized", None, "w8a16-int8-g128", "w8a16-int8-g128"),
        ({"num_bits": 4, "group_size": 128, "symmetric": False}, "", None, "w4a16-int4", "w4a16-int4+zero"),
        ({"num_bits": 4, "group_size": 128, "actorder": "group"}, "", None, "w4a16-int4", "w4a16-int4+order"),
        ({"num_bits": 4, "group_size": 128, "actorder": "weight"}, "", None, "w4a16-int4", "w4a16-int4"),
    ],
)  # fmt: skip
def test_compressed_tensors_by_bits_kind_and_group(
    weights: dict[str, Any], packing: str, inputs: dict[str, Any] | None, precision: str, key: str
) -> None:
    """Floats of 4 and 8 bits, integers that are packed or take a byte each, zero points and orders of groups."""
    assert weight_format(weights, packing, inputs) == (precision, key)


@pytest.mark.parametrize("weights", [{"num_bits": 2}, {"num_bits": 6, "type": "float"}, {"num_bits": 4, "type": "elf"}])
def test_other_widths_are_refused(weights: dict[str, Any]) -> None:
    """Nothing is guessed of a width or kind that no scheme has."""
    with pytest.raises(UnknownPrecision):
        weight_format(weights, "")


@pytest.mark.parametrize(("dtype", "key"), [("fp4", "mxfp4"), ("fp8", "fp8-block"), (None, "fp8-block")])
def test_experts_of_deepseek_v4_have_four_bits(dtype: str | None, key: str) -> None:
    """Where the config says so, its experts alone; everything else keeps its block scales."""
    config = {"expert_dtype": dtype} if dtype else {}
    settings = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    found = plan(model(tensors=(QUERY, STACK), quantization=settings, config=config))
    assert found is not None
    assert (found.tensor_format(STACK), found.tensor_format(QUERY)) == (key, "fp8-block")
    other = plan(model(tensors=(STACK,), quantization={"quant_method": "awq"}, config={"expert_dtype": "fp4"}))
    assert other is not None
    assert other.tensor_format(STACK) == "awq-int4"


def test_what_a_config_leaves_out_stays_in_sixteen_bits() -> None:
    """By module, by layer, by pattern; layers that share a format stay together."""
    settings = {"quant_method": "awq", "modules_to_not_convert": ["model.layers.1.self_attn.q_proj"]}
    found = store_as_configured(model(tensors=(QUERY, STACK, TABLE), quantization=settings))
    queries = {part.tensor.layers: part.format for part in found.tensors if part.tensor.role is Role.Q}
    assert queries == {(0,): "awq-int4", (1,): "bf16"}
    assert Names(("lm_head",)).by_layer is False
    assert Names(("layers.3",)).by_layer is True
    names = Names(("self_attn", "re:.*router$", "mlp.*_proj"))
    listed = ["model.layers.0.self_attn.q_proj", "layers.0.router", "mlp.up_proj", "mlp.up_proj.x"]
    assert [module in names for module in (*listed, "layers.0.mlp", "self_attn2", "router2")] == [True] * 4 + [
        False
    ] * 3
    assert bare("model.language_model.layers.0.x") == "layers.0.x"
    for hostile in ("re:(a+)+", "re:" + "a*" * 7, "*" * 7):
        with pytest.raises(InvalidConfig):
            assert "x" in Names((hostile,))
    assert method_name({"bits": 4, "group_size": 64}) == "mlx"
    assert method_name({"quant_method": "Auto_Round"}) == "auto-round"


# Losses.


def test_bits_of_the_layers_leave_tables_vectors_and_drafts_out() -> None:
    """Stacks of 4 bits, matrices of 8: their mean by elements, whatever the rest takes; a lump is all there is."""
    drawn = model()
    assert layer_bits(stored(drawn)) == 16
    widths = {3: 4, 2: 8}
    parts = tuple(
        replace(part, size_bytes=part.tensor.total_elements * widths[len(part.tensor.shape)] // 8)
        if part.tensor.layers and len(part.tensor.shape) > 1 and not part.tensor.checkpoint_only
        else replace(part, size_bytes=part.size_bytes * 3)
        for part in stored(drawn).tensors
    )
    stacks, matrices = 8 * 32 * HIDDEN, (96 + 8) * HIDDEN
    assert layer_bits(Stored("x", parts, None)) == (4 * stacks + 8 * matrices) / (stacks + matrices)
    lump = Tensor("lump", (1000,), Role.OTHER, Module.LINEAR)
    assert layer_bits(Stored("x", (StoredTensor(lump, "x", 500),), None)) == 4


def test_a_loss_lies_on_its_curve() -> None:
    """Log-linear between two points, the ends beyond, nothing from sixteen bits on; larger models lose less."""
    curve = ((8.0, 0.001), (4.0, 0.1), (2.0, 1.0))
    assert on_curve(curve, 6.0) == pytest.approx(exp((log(0.001) + log(0.1)) / 2))
    assert on_curve(curve, 3.5) == pytest.approx(exp(log(0.1) + 0.25 * (log(1.0) - log(0.1))))
    assert [on_curve(curve, bits) for bits in (8.0, 4.0, 2.0, 9.0, 1.0, 16.0)] == pytest.approx(
        [0.001, 0.1, 1.0, 0.001, 1.0, 0]
    )
    assert scaled_by_active(0.1, REFERENCE_ACTIVE) == pytest.approx(0.1)
    assert scaled_by_active(0.1, 32 * REFERENCE_ACTIVE) == pytest.approx(0.05)


def test_of_two_measured_rows_the_usual_one_is_told() -> None:
    """Q4_K_M without an importance matrix, IQ2_M with one; the other on demand."""
    plain, small = quality("q4_k_m"), quality("iq2_m")
    assert plain is not None
    assert small is not None
    assert (plain.imatrix, plain.usual, small.imatrix, small.usual) == (False, True, True, True)
    other = quality("q4_k_m", imatrix=True)
    assert other is None or (other.imatrix, other.usual) == (True, False)
