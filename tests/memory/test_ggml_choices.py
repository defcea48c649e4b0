"""Flash attention and micro-batches that engines on ggml choose: hand-computed from the rules of their sources."""

from __future__ import annotations

import pytest

from sizer import estimate
from sizer.answer.document import Memory
from sizer.memory.ggml_choices import (
    Heads,
    automatic_batch,
    batch_without_flash_attention,
    has_flash_kernels,
    heads_of,
)
from sizer.model.architecture import Mixer, MixerKind
from sizer.units import GB, GIB, MIB


def buffer_bytes(model: str, device: str, engine: str, context: int = 32768, precision: str = "q4_0") -> int:
    """The compute buffer of one estimate, offline."""
    answer = estimate(model, device=device, precision=precision, engine=engine, offline=True, context=context)
    held: Memory = answer.estimates[0].memory
    group = next(part for part in held.parts if part.name == "activations")
    return next(part.size_bytes for part in group.parts if part.name == "compute buffer")


def test_deepseek_v2_lite_on_ollama_keeps_the_scores_of_its_larger_batch() -> None:
    """2.4 GB as reported: 16 heads x 32,768 cells x 1,024 tokens x 4 bytes and what stands beside; half until 0.30."""
    model, card = "deepseek-ai/DeepSeek-V2-Lite", "rtx-4060-ti-16gb"
    scores = 16 * 32768 * 1024 * 4
    assert buffer_bytes(model, card, "ollama") / GB == pytest.approx(2.4, rel=0.01)
    assert buffer_bytes(model, card, "ollama") > scores
    assert buffer_bytes(model, card, "ollama@0.24") == pytest.approx(buffer_bytes(model, card, "ollama") / 2, rel=0.001)
    assert buffer_bytes(model, card, "ollama num_batch=512") == buffer_bytes(model, card, "ollama@0.30.5 num_batch=512")
    assert buffer_bytes(model, card, "llama.cpp") < scores / 8


@pytest.mark.parametrize(
    ("context", "predicted_gib", "free_gib", "batch"),
    [
        (4096, 5, 16, 512),  # a short context
        (8192, 5, 16, 1024),
        (32768, 5, 16, 1024),
        (65536, 5, 16, 2048),  # 5 of 9.6 GiB, and 2 more than the 12.8 that may be filled are not reached
        (65536, 11, 16, 1024),  # more than 60 %, less than 75 %
        (65536, 12.5, 16, 512),  # more than 75 %
        (65536, 5, None, 2048),
    ],
)
def test_ollama_takes_the_largest_batch_that_its_prediction_leaves_room_for(
    context: int, predicted_gib: float, free_gib: float | None, batch: int
) -> None:
    """2,048 above 32k where the model takes at most 60 % of the memory, 1,024 above 4k with at most 75 %, else 512."""
    free = None if free_gib is None else int(free_gib * GIB)
    assert automatic_batch(context, int(predicted_gib * GIB), free) == batch


def test_a_small_cuda_card_without_flash_attention_reads_256_tokens_at_once() -> None:
    """8 GiB and more than 4,096 tokens: 256; either less strict: 512."""
    assert batch_without_flash_attention(8192, 8 * GIB) == 256
    assert batch_without_flash_attention(4096, 8 * GIB) == 512
    assert batch_without_flash_attention(8192, 12 * GIB) == 512


@pytest.mark.parametrize(
    ("heads", "cuda"),
    [
        (Heads(128, 128, 4), True),
        (Heads(576, 512, 16), True),
        (Heads(576, 512, 1), False),
        (Heads(192, 128, 1), False),  # DeepSeek's heads, expanded
        (Heads(192, 128, 16), True),  # MiMo-V2's
        (Heads(160, 160, 2), False),
        (Heads(512, 512, 1), False),
    ],
)
def test_cuda_has_kernels_for_some_heads_and_the_others_for_all(heads: Heads, cuda: bool) -> None:
    """The switch over head widths in fattn.cu; a backend that the table does not name refuses none."""
    assert has_flash_kernels("cuda", [heads]) is cuda
    assert has_flash_kernels("vulkan", [heads]) is True


def test_a_latent_is_one_head_for_all_unless_it_is_expanded() -> None:
    """576 values shared by 16 heads; expanded, each head has its own 192 and 128."""
    mixer = Mixer(MixerKind.MLA, 16, 1, 192, 128, latent_elements=576)
    assert heads_of(mixer) == Heads(576, 512, 16)
    assert heads_of(mixer, expands_latent=True) == Heads(192, 128, 1)


def test_heads_without_a_kernel_keep_their_scores_on_cuda_alone() -> None:
    """sarashina2.2-3b has heads of 160: on a GeForce llama.cpp turns flash attention off, on a Mac it does not."""
    model = "sbintuitions/sarashina2.2-3b-instruct-v0.1"
    on_cuda, on_mac = (buffer_bytes(model, name, "llama.cpp", 8192) for name in ("rtx-4090", "m4-max-128gb"))
    heads = 16
    assert on_cuda - on_mac > heads * 8192 * 512 * 4 - 64 * MIB
    off, on = (buffer_bytes(model, "rtx-4090", f"llama.cpp -fa {word}", 8192) for word in ("off", "on"))
    assert (on_cuda, on_mac) == (off, on)


def test_koboldcpp_runs_with_flash_attention_since_1_112() -> None:
    """No scores unless --noflashattention; before, only where --flashattention says so."""
    scores = 32 * 32768 * 512 * 4
    for engine, stand in (
        ("koboldcpp", False), ("koboldcpp --noflashattention", True),
        ("koboldcpp@1.90", True), ("koboldcpp@1.90 --flashattention", False),
    ):  # fmt: skip
        assert (buffer_bytes("Qwen/Qwen3-8B", "rtx-4090", engine, precision="q4_k_m") > scores) is stand


@pytest.mark.parametrize(
    ("engine", "cache_mib", "heads"),
    [("llama.cpp@b5000", 4320.0, True), ("ollama@0.5", 4320.0, True), ("llama.cpp", 486.0, False)],
)
def test_deepseeks_heads_were_cached_before_its_latent_was(engine: str, cache_mib: float, heads: bool) -> None:
    """27 layers x 16 heads x (192 + 128) x 2 bytes x 16,384 cells until April 2025; since then 576 values a token."""
    answer = estimate(
        "deepseek-ai/DeepSeek-V2-Lite", device="rtx-4090", precision="q4_0", engine=engine, offline=True, context=16384
    )
    values = 16 * (192 + 128) if heads else 576
    assert answer.estimates[0].memory.kv_cache_bytes == 27 * values * 2 * 16384 == cache_mib * MIB
