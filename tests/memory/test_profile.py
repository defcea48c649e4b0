"""What vLLM keeps beside weights and cache, by version: hand-computed from the sizes of the models and of the run."""

from __future__ import annotations

import pytest

import sizer
from sizer import estimate
from sizer.answer.document import Memory
from sizer.answer.estimate import estimate as estimate_one
from sizer.answer.question import Question
from sizer.device.catalogue import find
from sizer.engine.options import EngineOptions
from sizer.memory.profile_run import profile_run
from sizer.model.architecture import Tower
from sizer.model.read.resolve import resolve
from sizer.units import MIB
from sizer.workload import Workload

CUBLAS = 8_519_680
"""What torch keeps for cuBLAS before Hopper: two pieces of 4 MiB and eight of 16 KiB."""
QWEN3_30B = "Qwen/Qwen3-30B-A3B-Instruct-2507"
VOCAB, HIDDEN, ACTIVE, WIDTH = 151_936, 2048, 8, 768


def memory(model: str, device: str, engine: str, precision: str = "bf16") -> Memory:
    """The memory of one estimate, offline."""
    answer = estimate(model, device=device, precision=precision, engine=engine, offline=True, context=8192)
    return answer.estimates[0].memory


def part(held: Memory, group: str, name: str) -> int:
    """Bytes of a part of the tree by its names; 0 where there is none."""
    parts = next(item for item in held.parts if item.name == group).parts
    return sum(item.size_bytes for item in parts if item.name == name)


@pytest.mark.parametrize(
    ("engine", "sampler_bytes", "workspace_bytes"),
    [
        ("vllm", 18, 2048 * ACTIVE * (HIDDEN + HIDDEN) * 2),
        ("vllm@0.28", 14, 2048 * ACTIVE * (HIDDEN + HIDDEN) * 2),
        ("vllm@0.17", 14 + 0.5 * 4, 2048 * ACTIVE * (HIDDEN + HIDDEN) * 2),
        ("vllm@0.13", 38, 0),
        ("vllm@0.9", 38, 0),
    ],
)
def test_the_profile_run_is_the_sampler_beside_what_experts_keep(
    engine: str, sampler_bytes: float, workspace_bytes: int
) -> None:
    """256 sequences of logits (0.17: beside 128 rows of 32 bits), hidden states, and workspaces that stay."""
    held = memory(QWEN3_30B, "l40s", engine)
    expected = 256 * VOCAB * sampler_bytes + 2048 * HIDDEN * 2 + workspace_bytes + CUBLAS
    assert part(held, "activations", "profile run") == expected


def test_no_more_sequences_are_profiled_than_tokens_are_batched() -> None:
    """`--max-num-batched-tokens 128` samples 128 rows at most, and captures as many sizes as twice that takes."""
    held = memory("Qwen/Qwen3-8B", "l40s", "vllm --max-num-batched-tokens 128")
    assert part(held, "activations", "profile run") == 128 * VOCAB * 18 + 128 * 4096 * 2 + CUBLAS
    assert part(held, "overhead", "graphs") == 352_000 * 36 * (3 + 31 + 1)


def test_graphs_are_reserved_for_where_the_release_does() -> None:
    """v1/worker/gpu_worker.py: since 0.20, on ROCm since 0.26, on a TPU never; a variable stops it."""

    def graphs_of(device: str, version: str, flags: str = "") -> int:
        found = sizer.estimate(
            "Qwen/Qwen3-8B", device=device, precision="bf16", engine=f"vllm@{version}{flags}", offline=True
        )
        return found.estimates[0].memory.devices[0].graphs_bytes

    assert graphs_of("h100", "0.19.1") == 0
    assert graphs_of("h100", "0.20") == graphs_of("h100", "0.33") == graphs_of("mi300x", "0.26") > 0
    assert graphs_of("mi300x", "0.25") == 0
    assert graphs_of("tpu-v6e", "0.33") == graphs_of("ascend-910b", "0.33") == 0
    assert graphs_of("h100", "0.33", " VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS=0") == 0


@pytest.mark.parametrize(
    ("flags", "sizes"),
    [("", 51), (" --max-num-seqs 8", 5), (" --max-num-seqs 1", 2), (" --enforce-eager", 0)],
)
def test_graphs_follow_the_sizes_that_are_captured(flags: str, sizes: int) -> None:
    """1, 2, 4, each 8th below 256, each 16th to 512: fewer where fewer sequences may run, none in eager mode."""
    held = memory("Qwen/Qwen3-8B", "l40s", f"vllm{flags}")
    assert part(held, "overhead", "graphs") == 352_000 * 36 * sizes


def test_communicators_count_until_they_are_made_before_memory_is_looked_at() -> None:
    """Two ranks of 0.9 lose 120 MiB each over PCIe and 1.8 GiB over NVLink, of 0.13 nothing, of 0.19 as before."""
    model = "Qwen/Qwen3-8B"
    alone = {version: part(memory(model, "l40s", f"vllm@{version}"), "overhead", "device context")
             for version in ("0.9", "0.13", "0.19")}  # fmt: skip
    ranks = (("2xl40s", "0.9", 120), ("2xh100", "0.9", 1833), ("2xh100", "0.13", 0), ("2xh100", "0.19", 1833))
    for device, version, extra_mib in ranks:
        context = part(memory(model, device, f"vllm@{version}"), "overhead", "device context") // 2
        assert context - alone[version] == pytest.approx(extra_mib * MIB, abs=MIB)


def test_the_first_core_profiles_images_with_one_sequence() -> None:
    """vLLM 0.6 samples a multimodal model for one sequence: the widest layer over a whole prompt decides."""
    held = memory("Qwen/Qwen2.5-VL-7B-Instruct", "rtx-3090", "vllm@0.6")
    assert part(held, "activations", "profile run") == 8192 * (4 * 3584 + 3 * 18944) * 2 + CUBLAS


def test_a_multimodal_model_profiles_its_largest_image_first() -> None:
    """Qwen2.5-VL-7B: 16,384 tokens of four patches through a gated MLP of 3,420, then the text beside their outputs.

    The images' pixels stay: two frames of 14 x 14 x 3 values a patch.
    """
    model = "Qwen/Qwen2.5-VL-7B-Instruct"
    pixels = 16_384 * 4 * (2 * 14 * 14 * 3) * 2
    encoder = 16_384 * 4 * (4 * 1280 + 3 * 3420) * 2 + pixels
    text = 256 * 152_064 * 18 + 2048 * 3584 * 2 + CUBLAS
    assert part(memory(model, "l40s", "vllm"), "activations", "profile run") == encoder
    assert part(memory(model, "l40s", "vllm --language-model-only"), "activations", "profile run") == text
    many = part(
        memory(model, "l40s", "vllm --max-num-seqs 1024 --max-num-batched-tokens 1024"), "activations", "profile run"
    )
    assert many == 1024 * 152_064 * 18 + 1024 * 3584 * 2 + 16_384 * 3584 * 2 + pixels + CUBLAS


@pytest.mark.parametrize(
    ("engine", "loaded"),
    [
        ("vllm --language-model-only", False),
        ("vllm --limit-mm-per-prompt.image 0 --limit-mm-per-prompt.video 0", False),
        ("vllm --limit-mm-per-prompt image=0,video=0", False),
        ("vllm --limit-mm-per-prompt.image 0", True),  # videos may come
        ("vllm@0.14 --limit-mm-per-prompt image=0,video=0", True),
        ("lmdeploy --language-model-only", False),
        ("vllm", True),
    ],
)
def test_towers_that_no_image_reaches_are_not_loaded(engine: str, loaded: bool) -> None:
    """Qwen2.5-VL-7B's 1.26 GiB of tower go where its kinds of input are limited to none (vLLM since 0.15)."""
    model = resolve("Qwen/Qwen2.5-VL-7B-Instruct", offline=True).architecture
    tower = sum(tensor.total_elements for tensor in model.tensors if tensor.tower is not Tower.TEXT) * 2
    whole = sum(tensor.total_elements for tensor in model.tensors) * 2
    held = memory(model.model_id, "l40s", engine)
    assert held.weights_bytes == (whole if loaded else whole - tower)


def test_a_model_without_videos_needs_no_images_to_go_text_alone() -> None:
    """Gemma 3 takes images alone: `image` 0 is enough, and `check` proposes it where the towers are too much."""
    seeing, blind = (
        memory("google/gemma-3-4b-it", "l40s", f"vllm {more}") for more in ("", "--limit-mm-per-prompt.image 0")
    )
    assert blind.weights_bytes < seeing.weights_bytes
    command = "llama-server -hf ggml-org/gemma-3-12b-it-GGUF:Q4_K_M -c 42000 -ngl 99"
    assert "--no-mmproj" in sizer.check(command, device="rtx-3060-12gb", offline=True).check.change


def test_images_of_one_size_fill_the_budget() -> None:
    """Gemma 3: 256 tokens an image of 64 x 64 patches; 2,048 tokens hold eight."""
    pixels = 8 * 896**2 * 3 * 2
    encoder = 8 * 64**2 * (4 * 1152 + 2 * 4304) * 2 + pixels
    text = 256 * 262_208 * 18 + 2048 * 2560 * 2 + 8 * 256 * 2560 * 2 + pixels + CUBLAS
    assert part(memory("google/gemma-3-4b-it", "l40s", "vllm"), "activations", "profile run") == max(encoder, text)


def test_hopper_keeps_a_larger_workspace() -> None:
    """32 MiB for cuBLAS on an H100, 8.125 on an L40S; a mixture in MXFP4 keeps no workspace of its experts."""
    held = memory("openai/gpt-oss-20b", "h100", "vllm@0.28", "mxfp4")
    assert part(held, "activations", "profile run") == 1024 * 201_088 * 14 + 8192 * 2880 * 2 + 32 * MIB


def test_what_lies_outside_of_torch_is_by_card() -> None:
    """130 MiB of Ampere, Ada and Hopper, 10 before them (no FlashAttention), 64 of a GeForce Blackwell."""
    for card, expected in (("h100", 130), ("l40s", 130), ("t4", 10), ("rtx-5080", 64)):
        held = memory("Qwen/Qwen2.5-1.5B-Instruct", card, "vllm@0.13", "fp16")
        assert part(held, "overhead", "device context") == expected * MIB


def test_tensorrt_llm_runs_its_largest_step_first() -> None:
    """8,192 tokens of Llama-3.1-8B whatever the prompt, or as many as a flag says; 0.9 of what is left is the pool."""
    held = memory("meta-llama/Llama-3.1-8B-Instruct", "h100", "tensorrt-llm")
    step = 8192 * (2 * 4096 + 3 * 14336) * 2
    assert part(held, "activations", "profile run") == step
    assert held.available_bytes is not None
    room = 0.9 * (held.available_bytes - held.weights_bytes - step - held.overhead_bytes)
    assert held.kv_capacity_tokens == pytest.approx(room / (32 * 8 * 128 * 2 * 2), rel=1e-4)
    fewer = memory("meta-llama/Llama-3.1-8B-Instruct", "h100", "tensorrt-llm --max_num_tokens 2048")
    assert part(fewer, "activations", "profile run") == step // 4


@pytest.mark.parametrize(
    ("device", "version", "tokens", "sequences"),
    [
        ("b200", "0.33", 16384, 1024), ("b200", "0.27", 8192, 1024), ("gb10", "0.33", 2048, 256),
        ("gb10", "0.32", 8192, 1024), ("a100-80gb-sxm", "0.9", 2048, 256), ("a100-80gb-sxm", "0.8.5", 8192, 1024),
        ("a100-80gb-sxm", "0.8.4", 2048, 256), ("rtx-4090", "0.8.3", 2048, 1024), ("tpu-v6e", "0.33", 1024, 256),
    ],
)  # fmt: skip
def test_what_is_profiled_goes_by_card_and_release(device: str, version: str, tokens: int, sequences: int) -> None:
    """get_batch_defaults of vllm/engine/arg_utils.py in the releases read, for a server."""
    architecture = resolve("Qwen/Qwen3-8B", offline=True).architecture
    question = Question(
        architecture, find(device), "bf16", Workload(), engine="vllm", options=EngineOptions("vllm", version)
    )
    assert profile_run(estimate_one(question).case) == (tokens, sequences)
