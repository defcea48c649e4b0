"""What headers mean: layers and roles from GGUF metadata, logical weights from quantized checkpoints, exact bytes."""

from __future__ import annotations

from typing import Any

import pytest
from headerfiles import LLAMA, BytesSource, Shapes, gguf_bytes, llama_tensors, tensor_bytes

from sizer.errors import InvalidHeader, UnsupportedArchitecture
from sizer.model.architecture import Architecture, Basis, MixerKind, MlpKind, Role
from sizer.model.read.headers_gguf import parse
from sizer.model.read.headers_gguf_model import gguf_model
from sizer.model.stored import Stored


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


@pytest.mark.parametrize("kept", [(), ("token_embd.weight", "output_norm.weight")])
def test_a_gguf_file_without_layers_is_no_model(kept: tuple[str, ...]) -> None:
    """A vocabulary alone (llama.cpp keeps such files) or a table without layers is refused: no nought parameters."""
    whole = llama_tensors()
    with pytest.raises(InvalidHeader, match="it holds no tensors"):
        gguf(LLAMA, {name: whole[name] for name in kept})
