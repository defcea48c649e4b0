"""Inventories of checkpoints become models: weights grouped, experts stacked, families told by their tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from headerfiles import BITS, Shapes, torch_header
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.errors import InvalidHeader
from sizer.model.architecture import Architecture, Module, Role
from sizer.model.families import build
from sizer.model.read.catalogue import entries, load
from sizer.model.read.headers_torch_model import torch_model
from sizer.model.stored import Stored


def torch(tensors: Shapes, config: dict[str, Any] | None = None) -> tuple[Architecture, Stored]:
    """The model of a safetensors checkpoint made of these."""
    return torch_model(torch_header(tensors), "m", config)


M = "model.layers.0.self_attn.q_proj"
SCHEMES: list[tuple[str, Shapes, str, tuple[int, ...], dict[str, Any]]] = [
    ("gptq", {".qweight": ("I32", (32, 512)), ".qzeros": ("I32", (2, 64)), ".scales": ("F16", (2, 512)),
              ".g_idx": ("I32", (256,))}, "gptq-int4", (512, 256), {}),
    ("gptq-g32", {".qweight": ("I32", (64, 512)), ".qzeros": ("I32", (8, 128)), ".scales": ("F16", (8, 512)),
                  ".g_idx": ("I32", (256,))}, "gptq-int8-g32", (512, 256), {}),
    ("gptq-g-1", {".qweight": ("I32", (24, 512)), ".qzeros": ("I32", (1, 48)), ".scales": ("F16", (1, 512)),
                  ".g_idx": ("I32", (256,))}, "gptq-int3-g-1", (512, 256), {"bits": 3}),
    ("awq", {".qweight": ("I32", (256, 64)), ".qzeros": ("I32", (2, 64)), ".scales": ("F16", (2, 512))},
     "awq-int4", (512, 256), {}),
    ("w4a16", {".weight_packed": ("I32", (512, 32)), ".weight_scale": ("BF16", (512, 2)),
               ".weight_shape": ("I64", (2,))}, "w4a16-int4", (512, 256),
     {"config_groups": {"group_0": {"weights": {"num_bits": 4}}}}),
    ("w8a8", {".weight": ("I8", (512, 256)), ".weight_scale": ("BF16", (512, 1))}, "w8a8-int8", (512, 256), {}),
    ("fp8-block", {".weight": ("F8_E4M3", (512, 256)), ".weight_scale_inv": ("F32", (4, 2))}, "fp8-block",
     (512, 256), {}),
    ("fp8-channel", {".weight": ("F8_E4M3", (512, 256)), ".weight_scale": ("BF16", (512, 1))}, "fp8-channel",
     (512, 256), {}),
    ("fp8-tensor", {".weight": ("F8_E4M3", (512, 256)), ".weight_scale": ("F32", ()), ".input_scale": ("F32", ())},
     "fp8-tensor", (512, 256), {}),
    ("nvfp4", {".weight": ("U8", (512, 128)), ".weight_scale": ("F8_E4M3", (512, 16)), ".weight_scale_2": ("F32", ()),
               ".input_scale": ("F32", ())}, "nvfp4-linear", (512, 256), {}),
    ("nvfp4-ct", {".weight_packed": ("U8", (512, 128)), ".weight_scale": ("F8_E4M3", (512, 16)),
                  ".weight_global_scale": ("F32", (1,)), ".input_global_scale": ("F32", (1,))}, "nvfp4-linear",
     (512, 256), {}),
    ("mxfp4-quark", {".weight": ("U8", (512, 128)), ".weight_scale": ("U8", (512, 8))}, "mxfp4", (512, 256), {}),
    ("mlx", {".weight": ("U32", (512, 32)), ".scales": ("BF16", (512, 4)), ".biases": ("BF16", (512, 4))}, "mlx-4bit",
     (512, 256), {"group_size": 64, "bits": 4}),
    ("mlx-g32", {".weight": ("U32", (512, 64)), ".scales": ("BF16", (512, 8)), ".biases": ("BF16", (512, 8))},
     "mlx-8bit-g32", (512, 256), {"group_size": 32}),
    ("int8", {".weight": ("I8", (512, 256)), ".SCB": ("F32", (512,)), ".weight_format": ("U8", (1,))}, "bnb-int8",
     (512, 256), {}),
    ("exl2", {".q_weight": ("I32", (34, 512)), ".q_scale": ("I32", (2, 64)), ".q_invperm": ("I32", (256,)),
              ".q_groups": ("I8", (8,)), ".q_scale_max": ("F16", (2,))}, "exl2-4.25bpw", (512, 256), {}),
    ("exl3", {".trellis": ("I16", (16, 32, 64)), ".suh": ("F16", (256,)), ".svh": ("F16", (512,))}, "exl3-4.00bpw",
     (512, 256), {}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("parts", "form", "shape", "hints"), [case[1:] for case in SCHEMES], ids=[c[0] for c in SCHEMES]
)
def test_quantized_weights_are_grouped(parts: Shapes, form: str, shape: tuple[int, ...], hints: dict[str, Any]) -> None:
    """Data, scales and zero points are one weight, of its logical shape, its format and all their bytes."""
    tensors = {M + suffix: part for suffix, part in parts.items()}
    config = {"quantization_config": hints, "model_type": "nobody-knows-it"}
    model, stored = torch(tensors, config)
    (weight,) = stored.tensors
    assert (weight.format, weight.tensor.shape, weight.tensor.role) == (form, shape, Role.Q)
    assert weight.tensor.name == "model.layers.{layer}.self_attn.q_proj.weight"
    assert weight.size_bytes == sum(
        BITS[dtype]
        // 8
        * (size[0] if size else 1)
        * (size[1] if len(size) > 1 else 1)
        * (size[2] if len(size) > 2 else 1)
        for dtype, size in parts.values()
    )
    assert model.total_params == 512 * 256


def test_formats_agree_with_the_format_table() -> None:
    """The bytes that a real layout takes are those that `precision.formats` computes for the format recognised."""
    from sizer.formats import format_of

    for name, parts, form, shape, hints in SCHEMES:
        if name.startswith(("exl", "mxfp4-quark", "nvfp4")) or name in ("fp8-tensor", "int8"):
            continue  # scales that the table leaves out or rounds: listed in data/formats.csv
        _, stored = torch({M + suffix: part for suffix, part in parts.items()}, {
            "quantization_config": hints, "model_type": "nobody-knows-it",
        })  # fmt: skip
        assert stored.tensors[0].size_bytes == format_of(form).matrix_bytes(*shape), name


def test_bitsandbytes_shapes_come_from_the_family() -> None:
    """Packed 4-bit values have lost their shape: the count is right without a config, the shape with one."""
    config = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 1, "vocab_size": 50,
        "num_attention_heads": 4, "num_key_value_heads": 2, "tie_word_embeddings": True,
    }  # fmt: skip
    packed: Shapes = {
        f"{M}.weight": ("U8", (64 * 64 // 2, 1)),
        f"{M}.weight.absmax": ("U8", (64,)),
        f"{M}.weight.nested_absmax": ("F32", (1,)),
        f"{M}.weight.nested_quant_map": ("F32", (256,)),
        f"{M}.weight.quant_map": ("F32", (16,)),
        f"{M}.weight.quant_state.bitsandbytes__nf4": ("U8", (90,)),
    }
    for beside in (None, config):
        _, stored = torch(packed, beside)
        (weight,) = stored.tensors
        assert weight.format == "bnb-nf4-dq"
        assert weight.tensor.elements == 64 * 64
        assert weight.tensor.shape == ((64, 64) if beside else (64 * 64,))
        assert stored.precision == "nf4-dq"


def test_gpt_oss_experts_are_microscaled() -> None:
    """Blocks and scales of gpt-oss are one stack of experts; the rest stays in bf16."""
    base = "model.layers.0.mlp.experts.gate_up_proj"
    model, stored = torch({
        f"{base}_blocks": ("U8", (4, 96, 2, 16)), f"{base}_scales": ("U8", (4, 96, 2)),
        f"{base}_bias": ("BF16", (4, 96)), "model.embed_tokens.weight": ("BF16", (10, 64)),
    })  # fmt: skip
    weight = next(part for part in stored.tensors if part.format == "mxfp4")
    assert weight.tensor.shape == (4, 96, 64)
    assert weight.tensor.role is Role.EXPERT_GATE_UP
    assert weight.size_bytes == 4 * 96 * 64 * 17 // 32
    assert stored.precision == "mxfp4"
    assert any("active" in note for note in model.notes)


def test_single_experts_become_stacks() -> None:
    """Experts stored one by one are one stack a layer, active as the config says."""
    tensors: Shapes = {}
    for layer in range(2):
        for expert in range(4):
            tensors[f"model.layers.{layer}.mlp.experts.{expert}.up_proj.weight"] = ("BF16", (6, 8))
    model, stored = torch(tensors)
    (stack,) = model.tensors
    assert (stack.shape, stack.layers, stack.module) == ((4, 6, 8), (0, 1), Module.EXPERT_STACK)
    assert model.total_params == 2 * 4 * 48
    assert stored.weights_bytes == 2 * model.total_params
    del tensors["model.layers.1.mlp.experts.3.up_proj.weight"]
    with pytest.raises(InvalidHeader, match="3 experts in one layer, 4 in another"):
        torch(tensors)


def test_a_checkpoint_without_config_tells_its_cache() -> None:
    """Rows of keys and values give the KV cache; what is unknown is said, not guessed."""
    layer = "model.layers.{}.self_attn."
    tensors: Shapes = {"model.embed_tokens.weight": ("BF16", (50, 64)), "rotary_emb.inv_freq": ("F32", (8,))}
    for index in range(3):
        for name, rows in (("q", 64), ("k", 32), ("v", 32), ("o", 64)):
            tensors[f"{layer.format(index)}{name}_proj.weight"] = ("BF16", (rows, 64))
    model, stored = torch(tensors)
    assert [each.mixers[0].kv_elements_per_token for each in model.layers] == [64] * 3
    assert (model.hidden_size, model.vocab_size, model.tied_embeddings) == (64, 50, True)
    assert model.total_params == 50 * 64 + 3 * 64 * 192
    assert stored.weights_bytes == 2 * model.total_params
    assert any("config.json" in note for note in model.notes)
    del tensors["model.layers.1.self_attn.k_proj.weight"]
    unsure, _ = torch(tensors)
    assert unsure.layers == ()
    assert any("KV cache" in note for note in unsure.notes)


@pytest.mark.oracle
@pytest.mark.parametrize("quantized", [False, True])
def test_saved_models_come_back(tmp_path: Path, quantized: bool) -> None:
    """A model that transformers saved, in shards or in 4 bits, has its parameters and the bytes of its tensors."""
    import torch as pytorch
    from safetensors import safe_open
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaConfig, LlamaForCausalLM

    from sizer.model.read.resolve import resolve

    config = LlamaConfig(
        hidden_size=128, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=500, tie_word_embeddings=False, dtype="bfloat16",
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(pytorch.bfloat16)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    model.save_pretrained(tmp_path / "plain", max_shard_size="200KB")
    folder = tmp_path / "plain"
    if quantized:
        settings = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
        loaded = AutoModelForCausalLM.from_pretrained(folder, quantization_config=settings, device_map="cpu")
        folder = tmp_path / "nf4"
        loaded.save_pretrained(folder)
    bytes_in_files = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            bytes_in_files += sum(opened.get_tensor(name).nbytes for name in opened.keys())  # noqa: SIM118
    found = resolve(str(folder))
    assert found.architecture.total_params == parameters
    assert found.architecture.notes == ()
    assert found.stored is not None
    assert found.stored.weights_bytes == bytes_in_files
    assert found.stored.precision == ("nf4" if quantized else "bf16")
    assert found.stored.download_bytes == sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def test_catalogued_models_come_back_from_their_headers() -> None:
    """A checkpoint with the tensors that a config describes has its parameters, by the family or by names alone."""
    for entry in entries()[::12]:
        config = load(entry)
        described = build({name: value for name, value in config.items() if name != "quantization_config"}, "m")
        tensors: Shapes = {}
        if (described.experts or 0) * described.num_layers > 2000:
            continue  # the larger mixtures take a second each, and show the same
        for tensor in described.tensors:
            for layer in tensor.layers or (None,):
                name = tensor.name.replace("{layer}", str(layer))
                if tensor.active_experts and ".experts." in name and len(tensor.shape) == 3:
                    for expert in range(tensor.shape[0]):
                        single = name.replace(".experts.", f".experts.{expert}.")
                        tensors[single] = ("BF16", tensor.shape[1:])
                else:
                    tensors[name] = ("BF16", tensor.shape)
        model, stored = torch(tensors, dict(described.config))
        assert stored.weights_bytes == 2 * described.total_params, entry.model_id
        assert (model.active_params, model.layers) == (described.active_params, described.layers)
        assert model.notes == described.notes, entry.model_id
        alone, _ = torch(tensors)
        assert alone.checkpoint_params == described.checkpoint_params, entry.model_id


_PARTS = (
    "weight", "qweight", "qzeros", "scales", "g_idx", "biases", "weight_packed", "weight_scale", "weight_scale_inv",
    "weight_scale_2", "weight.absmax", "SCB", "q_weight", "q_invperm", "trellis", "codes", "codebooks", "bias",
)  # fmt: skip
_MODULES = (
    "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.k_proj", "model.layers.0.mlp.experts.1.up_proj",
    "model.layers.0.mlp.experts.up_proj", "model.embed_tokens", "lm_head", "mtp.layers.0.x", "visual.blocks.0.attn.qkv",
)  # fmt: skip
_TYPES = ("F16", "I32", "U8", "F8_E4M3", "U32", "I8", "F32", "BF16", "I16")


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(
        st.tuples(st.sampled_from(_MODULES), st.sampled_from(_PARTS)).map(".".join),
        st.tuples(st.sampled_from(_TYPES), st.lists(st.integers(0, 65), max_size=4)),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from([None, {"quantization_config": {"bits": 4, "group_size": 32}, "model_type": "no-such-type"}]),
)
def test_any_mixture_of_tensors_is_sized_or_refused(
    tensors: dict[str, tuple[str, list[int]]], config: dict[str, Any] | None
) -> None:
    """Parts that do not fit together are refused; what is accepted has all bytes once, active within total."""
    shapes = {name: (dtype, tuple(shape)) for name, (dtype, shape) in tensors.items()}
    try:
        model, stored = torch(shapes, config)
    except InvalidHeader:
        return
    assert sum(part.size_bytes for part in stored.tensors) == stored.download_bytes - 100  # type: ignore[operator]
    assert 0 <= model.active_params <= model.total_params <= model.checkpoint_params


def test_a_file_without_an_embedding_table_has_its_width_from_its_layers() -> None:
    """A shard of layers alone is sized: down projections write to the residual, queries read from it."""
    down: Shapes = {"model.layers.0.mlp.down_proj.weight": ("F16", (48, 128))}
    query: Shapes = {"model.layers.0.self_attn.q_proj.weight": ("F16", (64, 48))}
    norm: Shapes = {"model.norm.weight": ("F16", (48,))}
    sizes = [torch(shapes, None)[0].hidden_size for shapes in (down | query, down, query, norm)]
    assert sizes == [48, 48, 48, 0]
