"""What headers mean: layers and roles from GGUF metadata, logical weights from quantized checkpoints, exact bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from headerfiles import BITS, LLAMA, BytesSource, gguf_bytes, llama_tensors, tensor_bytes, torch_header
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.errors import InvalidHeader, UnsupportedArchitecture
from sizer.model.architecture import Architecture, Basis, MixerKind, MlpKind, Module, Role
from sizer.model.families import build
from sizer.model.read.catalogue import entries, load
from sizer.model.read.headers_gguf import parse
from sizer.model.read.headers_gguf_model import gguf_model
from sizer.model.read.headers_torch_model import torch_model
from sizer.model.stored import Stored

Shapes = dict[str, tuple[str, tuple[int, ...]]]


def gguf(pairs: dict[str, Any], tensors: Shapes) -> tuple[Architecture, Stored]:
    """The model of a GGUF file made of these."""
    return gguf_model(parse(BytesSource("m.gguf", gguf_bytes(pairs, tensors))), "m.gguf")


def named(architecture: str, **pairs: Any) -> dict[str, Any]:
    """Metadata of another architecture, in the sizes of the test Llama."""
    base = {key.replace("llama.", f"{architecture}."): item for key, item in LLAMA.items()}
    extra = {f"{architecture}.{key.replace('__', '.')}": item for key, item in pairs.items()}
    return base | {"general.architecture": architecture} | extra


def test_llama_gguf_is_read_whole() -> None:
    """Parameters, bytes, layers, heads and sizes are those of the file."""
    tensors = llama_tensors()
    model, stored = gguf(LLAMA, tensors)
    assert model.basis is Basis.HEADER
    elements = {name: shape[0] * (shape[1] if len(shape) > 1 else 1) for name, (_, shape) in tensors.items()}
    assert model.total_params == model.active_params == sum(elements.values())
    assert stored.weights_bytes == sum(tensor_bytes(form, shape) for form, shape in tensors.values())
    assert stored.download_bytes == len(gguf_bytes(LLAMA, tensors))
    assert (stored.precision, stored.exact) == ("q4_k_m", True)
    assert (model.hidden_size, model.vocab_size, model.max_context_tokens) == (256, 100, 4096)
    assert not model.tied_embeddings
    assert [layer.mlp for layer in model.layers] == [MlpKind.DENSE, MlpKind.DENSE]
    mixer = model.layers[1].mixers[0]
    assert (mixer.kind, mixer.heads, mixer.kv_heads, mixer.kv_elements_per_token) == (MixerKind.FULL, 8, 2, 128)
    formats = {part.tensor.layers: part.format for part in stored.tensors if part.tensor.role is Role.V}
    assert formats == {(0,): "q4_k", (1,): "q6_k"}
    assert all(len(tensor.layers) == 2 for tensor in model.tensors if "{layer}" in tensor.name)


def test_experts_of_a_gguf() -> None:
    """Expert stacks count by expert_used_count; without it all are active, and a note says so."""
    pairs = LLAMA | {"llama.expert_count": 4, "llama.expert_used_count": 1}
    model, stored = gguf(pairs, llama_tensors(4))
    routed = 2 * 4 * 3 * 512 * 256
    assert model.total_params - model.active_params == routed * 3 // 4
    assert (model.experts, model.active_experts, model.layers[0].mlp) == (4, 1, MlpKind.MOE)
    down = next(part.tensor for part in stored.tensors if part.tensor.role is Role.EXPERT_DOWN)
    assert down.active_elements * 4 == down.total_elements
    unknown, _ = gguf(LLAMA | {"llama.expert_count": 4}, llama_tensors(4))
    assert unknown.active_params == unknown.total_params
    assert any("experts" in note for note in unknown.notes)


def test_experts_of_their_own_become_a_stack() -> None:
    """Files of 2023 store each expert apart: the same model, the same bytes."""
    apart: Shapes = {}
    for name, (form, shape) in llama_tensors(4).items():
        if "_exps" in name:
            for expert in range(4):
                apart[name.replace("_exps.weight", f".{expert}.weight")] = (form, shape[1:])
        else:
            apart[name] = (form, shape)
    pairs = LLAMA | {"llama.expert_count": 4, "llama.expert_used_count": 2}
    old, old_stored = gguf(pairs, apart)
    new, new_stored = gguf(pairs, llama_tensors(4))
    assert (old.total_params, old.active_params) == (new.total_params, new.active_params)
    assert old_stored.weights_bytes == new_stored.weights_bytes


@pytest.mark.parametrize(
    ("architecture", "windows"),
    [
        ("gemma3", [64] * 5 + [None] + [64] * 2),
        ("gpt-oss", [64, None] * 4),
        ("smallthinker", [None, 64, 64, 64] * 2),
        ("cohere2", [64, 64, 64, None] * 2),
        ("llama", [None] * 8),
        ("gemma4", [64, None] * 4),
    ],
)
def test_windows_follow_the_architecture(architecture: str, windows: list[int | None]) -> None:
    """Which layers slide is the file's pattern, else llama.cpp's; a window that it ignores is noted."""
    pairs = named(architecture, attention__sliding_window=64, block_count=8)
    if architecture == "gemma4":
        pairs["gemma4.attention.sliding_window_pattern"] = [True, False] * 4
    tensors: Shapes = {"token_embd.weight": ("fp16", (100, 256))}
    for layer in range(8):
        tensors[f"blk.{layer}.attn_k.weight"] = ("fp16", (64, 256))
    model, _ = gguf(pairs, tensors)
    assert [layer.mixers[0].window_tokens for layer in model.layers] == windows
    assert any("window" in note for note in model.notes) is (architecture == "llama")


def test_latent_attention_caches_its_latent() -> None:
    """DeepSeek's new files cache the latent; its old ones, without k_b, whole keys and values."""
    pairs = named(
        "deepseek2", attention__kv_lora_rank=32, rope__dimension_count=16, attention__key_length=48,
        attention__value_length=32, attention__key_length_mla=40, attention__value_length_mla=24,
    )  # fmt: skip
    tensors: Shapes = {"token_embd.weight": ("fp16", (100, 256))}
    for layer in range(2):
        tensors[f"blk.{layer}.attn_kv_a_mqa.weight"] = ("fp16", (48, 256))
        tensors[f"blk.{layer}.attn_k_b.weight"] = ("fp16", (8, 32, 24))
    mixer = gguf(pairs, tensors)[0].layers[0].mixers[0]
    assert (mixer.kind, mixer.kv_elements_per_token, mixer.qk_head_dim) == (MixerKind.MLA, 48, 40)
    old = {key: item for key, item in pairs.items() if "_mla" not in key}
    old |= {"deepseek2.attention.head_count_kv": 8}
    mixer = gguf(old, {name: shape for name, shape in tensors.items() if "k_b" not in name})[0].layers[0].mixers[0]
    assert (mixer.kind, mixer.kv_elements_per_token) == (MixerKind.FULL, 8 * (48 + 32))


def test_state_space_and_hybrid_layers() -> None:
    """A layer is what its tensors show: SSM state where there is a convolution, attention where there are keys."""
    pairs = named(
        "jamba", ssm__conv_kernel=4, ssm__inner_size=512, ssm__state_size=16, ssm__time_step_rank=16, block_count=3,
        attention__head_count_kv=[0, 2, 2],
    )  # fmt: skip
    tensors: Shapes = {
        "token_embd.weight": ("fp16", (100, 256)),
        "blk.0.ssm_conv1d.weight": ("fp32", (512, 4)),
        "blk.0.ssm_in.weight": ("fp16", (1024, 256)),
        "blk.1.attn_k.weight": ("fp16", (64, 256)),
        "blk.2.attn_k.weight": ("fp16", (64, 256)),
        "blk.2.ssm_conv1d.weight": ("fp32", (512, 4)),
    }
    model, _ = gguf(pairs, tensors)
    kinds = [[mixer.kind for mixer in layer.mixers] for layer in model.layers]
    assert kinds == [[MixerKind.SSM], [MixerKind.FULL], [MixerKind.SSM, MixerKind.FULL]]
    assert model.layers[0].mixers[0].state_elements == 512 * 16 + 4 * 512


def test_delta_net_convolution_and_recurrent_layers() -> None:
    """Gated delta nets, short convolutions (all columns of a kernel, as families count them) and RWKV keep a state."""
    ssm = {"ssm__conv_kernel": 4, "ssm__inner_size": 512, "ssm__state_size": 16, "ssm__group_count": 2}
    delta: Shapes = {"blk.0.ssm_conv1d.weight": ("fp32", (576, 4)), "blk.0.ssm_ba.weight": ("fp16", (8, 256))}
    delta["blk.0.attn_qkv.weight"] = ("fp16", (576, 256))
    model, _ = gguf(named("qwen3next", block_count=1, **ssm), delta | {"token_embd.weight": ("fp16", (9, 256))})
    (mixer,) = model.layers[0].mixers
    assert (mixer.kind, mixer.state_elements) == (MixerKind.LINEAR, 512 * 16 + 4 * (512 + 2 * 2 * 16))
    short: Shapes = {"blk.0.shortconv.conv.weight": ("fp32", (256, 3)), "token_embd.weight": ("fp16", (9, 256))}
    (mixer,) = gguf(named("lfm2", block_count=1, shortconv__l_cache=3), short)[0].layers[0].mixers
    assert (mixer.kind, mixer.state_elements) == (MixerKind.CONV, 3 * 256)
    rwkv: Shapes = {"blk.0.time_mix_key.weight": ("fp16", (256, 256)), "token_embd.weight": ("fp16", (9, 256))}
    (mixer,) = gguf(named("rwkv7", block_count=1, wkv__head_size=64), rwkv)[0].layers[0].mixers
    assert (mixer.kind, mixer.state_elements) == (MixerKind.RECURRENT, 2 * 256 + 256 * 64)


def test_prediction_layers_do_not_run() -> None:
    """Next-token-prediction layers are in the file and the checkpoint count, not among the layers or parameters."""
    plain, _ = gguf(LLAMA | {"llama.block_count": 1}, {k: v for k, v in llama_tensors().items() if "blk.1" not in k})
    model, stored = gguf(LLAMA | {"llama.nextn_predict_layers": 1}, llama_tensors())
    assert model.num_layers == 1
    assert model.total_params == plain.total_params < model.checkpoint_params
    assert stored.weights_bytes < (stored.download_bytes or 0) - 100_000


def test_frequencies_are_bytes_and_no_parameters() -> None:
    """rope_freqs is stored and loaded, and no parameter of the model."""
    plain, plain_stored = gguf(LLAMA, llama_tensors())
    model, stored = gguf(LLAMA, llama_tensors() | {"rope_freqs.weight": ("fp32", (16,))})
    assert model.total_params == plain.total_params
    assert stored.weights_bytes == plain_stored.weights_bytes + 64


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"general.architecture": 5}, "general.architecture"),
        ({"llama.block_count": 0}, "block_count"),
        ({"llama.block_count": 1}, "beyond block_count"),
        ({"llama.block_count": 100_000}, "block_count is 100000"),
        ({"llama.attention.head_count": [8]}, "1 entries"),
        ({"llama.attention.head_count_kv": 3}, "64 rows, not 3 x 32"),
        ({"llama.embedding_length": "wide"}, "embedding_length is wide"),
        ({"llama.expert_used_count": 2}, "above expert_count"),
    ],
)
def test_contradicting_metadata_is_refused(changes: dict[str, Any], words: str) -> None:
    """Metadata that cannot be is an InvalidHeader that names the key."""
    with pytest.raises(InvalidHeader, match=words):
        gguf(LLAMA | changes, llama_tensors())


def test_projectors_and_adapters_are_no_models() -> None:
    """An mmproj file or a LoRA adapter is told apart from a language model."""
    for pairs in ({"general.architecture": "clip"}, LLAMA | {"general.type": "adapter"}):
        with pytest.raises(UnsupportedArchitecture, match="no language model"):
            gguf(pairs, {"v.patch_embd.weight": ("fp16", (8, 8))})


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
BITS["I16"] = 16


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


@pytest.mark.parametrize("kept", [(), ("token_embd.weight", "output_norm.weight")])
def test_a_gguf_file_without_layers_is_no_model(kept: tuple[str, ...]) -> None:
    """A vocabulary alone (llama.cpp keeps such files) or a table without layers is refused: no nought parameters."""
    whole = llama_tensors()
    with pytest.raises(InvalidHeader, match="it holds no tensors"):
        gguf(LLAMA, {name: whole[name] for name in kept})
