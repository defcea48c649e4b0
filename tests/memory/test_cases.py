"""Reports of what engines took where the prediction was wrong once: each with others of its kind."""

from __future__ import annotations

import json

import pytest

from sizer import estimate
from sizer.answer.document import Memory
from sizer.units import GIB, MIB

LAYERS_OF_OLMOE = 16


def memory(model: str, device: str, precision: str, engine: str, **options: object) -> Memory:
    """The memory of one estimate, offline."""
    answer = estimate(model, device=device, precision=precision, engine=engine, offline=True, **options)  # type: ignore[arg-type]
    return answer.estimates[0].memory


def test_gpt_oss_does_not_start_on_one_h100_with_vllm() -> None:
    """Padded experts load 64.4 to 66 GiB; the profile run leaves nothing at 0.9, and too little at 0.92."""
    for engine, most_tokens in (("vllm", 131072 // 2), ("vllm@0.28", 131072 * 2 // 3), ("vllm@0.11", 0)):
        held = memory("openai/gpt-oss-120b", "h100", "mxfp4", engine, context=131072)
        assert 64.38 <= held.weights_bytes / GIB <= 65.98
        assert held.fits is False
        assert held.kv_capacity_tokens is not None
        assert held.kv_capacity_tokens <= most_tokens


@pytest.mark.parametrize(
    ("model", "device", "precision", "engine", "parallel", "context", "printed"),
    [
        ("Qwen/Qwen3.8-27B", "2xrtx-5090", "fp8-block", "vllm", "tensor", 262144, 377456),
        ("Qwen/Qwen3-235B-A22B-Instruct-2507", "8xl40s", "fp8", "vllm@0.10.2", "tensor", 32768, 238208),
        ("Qwen/Qwen3-235B-A22B", "4xh100", "fp8", "vllm@0.9", "tensor", 40960, 178880),
        ("Qwen/Qwen3-14B", "l40s", "bf16", "vllm@0.28", None, 40960, 75824),
    ],
)
def test_the_pool_holds_what_vllm_printed(  # noqa: PLR0917 - a table of printed pools
    model: str, device: str, precision: str, engine: str, parallel: str | None, context: int, printed: int
) -> None:
    """Tokens of cache within 12 % of the log, hybrids with their paged states included."""
    held = memory(model, device, precision, engine, parallel=parallel, context=context)
    assert held.kv_capacity_tokens == pytest.approx(printed, rel=0.12)


@pytest.mark.parametrize(
    ("model", "precision", "device", "bytes_a_token"),
    [
        ("deepseek-ai/DeepSeek-R1", "fp8", "8xh200", 61 * 576 * 2),  # every rank holds the whole latent
        ("deepseek-ai/DeepSeek-V2-Lite", "bf16", "8xh100", 27 * 576 * 2),
        ("Qwen/Qwen2.5-7B-Instruct", "bf16", "8xh100", 28 * 1 * 128 * 2 * 2),  # 4 heads on 8 ranks: one each
        ("Qwen/Qwen2.5-7B-Instruct", "bf16", "2xh100", 28 * 2 * 128 * 2 * 2),
    ],
)
def test_capacity_is_one_ranks_room_over_its_bytes(model: str, precision: str, device: str, bytes_a_token: int) -> None:
    """What a rank has left over what it keeps for a token, not the sum of all ranks over one copy."""
    held = memory(model, device, precision, "vllm", context=8192)
    card = held.devices[0]
    assert card.available_bytes is not None
    room_bytes = card.available_bytes - (card.total_bytes - card.kv_cache_bytes)
    assert card.kv_cache_bytes == 8192 * bytes_a_token
    assert held.kv_capacity_tokens == pytest.approx(room_bytes / bytes_a_token, rel=0.001)


@pytest.mark.parametrize(
    ("model", "precision", "device"),
    [("mistralai/Mistral-7B-v0.1", "fp16", "l40s"), ("tiiuae/falcon-mamba-7b", "bf16", "h100")],
)
def test_a_cache_that_does_not_grow_is_told_in_sequences(model: str, precision: str, device: str) -> None:
    """No sentinel: sequences that fit, and tokens only where there are tokens."""
    held = memory(model, device, precision, "vllm")
    assert held.max_sequences is not None
    assert 0 < held.max_sequences < 100_000
    assert held.kv_capacity_tokens is None or held.kv_capacity_tokens < 2**30
    assert "1073741824" not in json.dumps([held.kv_capacity_tokens, held.max_context_tokens, held.max_sequences])


def test_window_cells_of_llama_cpp() -> None:
    """gemma-3-4b at 131,072: 29 layers keep 1,536 cells (174 MiB in the log), five keep the context."""
    held = memory("google/gemma-3-4b-it", "rtx-5080", "q4_k_m", "llama.cpp", context=131072)
    assert held.devices[0].kv_cache_bytes == 182_452_224 + 2_684_354_560
    slots = memory("google/gemma-3-4b-it", "rtx-5080", "q4_k_m", "llama.cpp -np 4 --kv-unified", context=131072)
    assert slots.devices[0].kv_cache_bytes == 29 * 4608 * 4096 + 2_684_354_560
    whole = memory("google/gemma-3-4b-it", "rtx-5080", "q4_k_m", "llama.cpp --swa-full", context=131072)
    assert whole.devices[0].kv_cache_bytes == 34 * 131072 * 4096


def test_engines_that_keep_windows_whole() -> None:
    """gemma-4-31B: 58.4 GiB of cache in 8 bits under ExLlamaV3, and no room on two 3090s under ik_llama.cpp."""
    values = (50 * 16 * 256 * 2 + 10 * 4 * 512 * 2) * 131072
    exl = memory("google/gemma-4-31B-it", "rtx-a6000", "exl3-6.00bpw", "exllamav3", context=131072, kv_precision="q8_0")
    assert exl.kv_cache_bytes == values * 34 // 32
    assert exl.total_bytes / GIB == pytest.approx(85.3, rel=0.03)
    assert exl.fits is False
    ik = memory("google/gemma-4-31B-it", "2xrtx-3090", "q4_k_m", "ik_llama.cpp", context=65536)
    assert ik.fits is False
    assert ik.total_bytes >= 66 * GIB


def test_the_output_layer_goes_first() -> None:
    """-ngl 1 is the output layer alone (80.6 MiB of OLMoE), 16 leave one block behind, 17 are all."""

    def layers(number: int) -> Memory:
        return memory(
            "allenai/OLMoE-1B-7B-0924", "rx-7900-xtx", "q4_k_m", "llama.cpp", gpu_layers=number, ram_bytes=64 * GIB
        )

    assert layers(1).devices[0].weights_bytes / MIB == pytest.approx(80.6, abs=0.1)
    assert layers(1).devices[0].layers == 0
    assert layers(LAYERS_OF_OLMOE).devices[0].layers == LAYERS_OF_OLMOE - 1
    assert layers(LAYERS_OF_OLMOE + 1).devices[0].layers == LAYERS_OF_OLMOE
    assert layers(0).devices[0].weights_bytes == 0


def test_scores_stand_in_memory_without_flash_attention() -> None:
    """heads x micro-batch x context x 4 bytes where it is off, or where keys and values differ in width (Ollama)."""
    scores = 32 * 512 * 8192 * 4
    off = memory("meta-llama/Meta-Llama-3-8B-Instruct", "rtx-4090", "q4_k_m", "llama.cpp -fa off", context=8192)
    on = memory("meta-llama/Meta-Llama-3-8B-Instruct", "rtx-4090", "q4_k_m", "llama.cpp -fa on", context=8192)
    assert scores < off.devices[0].compute_bytes < 1.2 * scores
    assert on.devices[0].compute_bytes < scores / 3
    ollama = memory("deepseek-ai/DeepSeek-V2-Lite", "rtx-4060-ti-16gb", "q4_0", "ollama", context=32768)
    assert ollama.devices[0].compute_bytes > 16 * 512 * 32768 * 4


@pytest.mark.parametrize(
    ("model", "device", "precision", "engine", "context"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "t4", "fp16", "transformers", 640),
        ("meta-llama/Llama-3.3-70B-Instruct", "l40s", "q4_k_m", "llama.cpp", 20480),
        ("Qwen/Qwen3-235B-A22B", "dgx-spark", "q4_k_s", "llama.cpp", 8192),
        ("meta-llama/Llama-3.1-8B-Instruct", "jetson-orin-nano-super", "q6_k", "llama.cpp", 8192),
    ],
)
def test_what_the_label_holds_and_the_card_does_not(
    model: str, device: str, precision: str, engine: str, context: int
) -> None:
    """A model that fits the label of a card or board and not what it shows and leaves is told so."""
    assert memory(model, device, precision, engine, context=context).fits is False


def test_memory_that_is_given_is_taken() -> None:
    """An APU has --ram, a CPU --memory."""
    apu = memory("Qwen/Qwen3-Coder-Next", "ryzen-ai-9-hx-370", "q4_k_m", "llama.cpp", ram_bytes=32 * GIB)
    assert (apu.fits, apu.available_bytes) == (False, 24 * GIB)
    cpu = memory("Qwen/Qwen2.5-Coder-32B-Instruct", "cpu", "q4_k_m", "llama.cpp", memory_bytes=96 * GIB)
    assert (cpu.fits, cpu.available_bytes) == (True, 96 * GIB)


def test_a_reserve_is_left_to_others() -> None:
    """--reserve takes from every card what a desktop or another program uses."""
    free = memory("Qwen/Qwen3-8B", "2xrtx-4090", "q8_0", "llama.cpp")
    kept = memory("Qwen/Qwen3-8B", "2xrtx-4090", "q8_0", "llama.cpp", reserve_bytes=2 * GIB)
    assert free.available_bytes is not None
    assert kept.available_bytes == free.available_bytes - 4 * GIB


@pytest.mark.parametrize(
    ("model", "device", "precision", "engine"),
    [
        ("Qwen/Qwen3.6-35B-A3B", "2xrtx-4090", "q4_k_m", "llama.cpp"),
        ("openai/gpt-oss-20b", "rtx-4060", "mxfp4", "llama.cpp"),
        ("Qwen/Qwen3-32B", "4xl40s", "fp8", "vllm"),
        ("Qwen/Qwen3-8B", "rtx-4090", "bf16", "transformers"),
        ("Qwen/Qwen3-8B", "apple-m4-max 48GB", "mlx-4bit", "mlx-lm"),
    ],
)
def test_the_parts_of_each_device_sum(model: str, device: str, precision: str, engine: str) -> None:
    """One entry a card, whose parts are its total; all layers lie somewhere."""
    held = memory(model, device, precision, engine, ram_bytes=64 * GIB if "apple" not in device else None)
    assert len(held.devices) == (int(device[0]) if device[1] == "x" else 1)
    for card in held.devices:
        parts = card.weights_bytes + card.kv_cache_bytes + card.state_bytes
        assert parts + card.compute_bytes + card.graphs_bytes + card.overhead_bytes == card.total_bytes
        assert card.total_bytes <= (card.available_bytes or 0) or not held.fits
    host = held.host
    assert host.weights_bytes + host.kv_cache_bytes + host.compute_bytes == host.total_bytes


@pytest.mark.parametrize("device", ["described", "ascend-910b"])
def test_a_device_that_few_engines_run_on_has_an_answer(device: str) -> None:
    """Without -p: what runs there is told, what does not is left out."""
    named = {"device": device} if device != "described" else {"bandwidth_bytes_per_s": 936e9, "memory_bytes": 24 * GIB}
    answer = estimate("Qwen/Qwen3-8B", offline=True, **named)  # type: ignore[arg-type]
    assert len(answer.estimates) > 1


def test_replicas_keep_attention_and_share_experts() -> None:
    """Data parallel attention: each of eight ranks holds it whole with its own cache, and an eighth of the experts.

    The capacity is eight times that of one rank, where tensor parallel ranks hold the same latents; the workspaces of
    the experts, for all ranks' tokens, take of it since they are no longer chunked (0.21).
    """
    flags = "vllm --data-parallel-size 8 --enable-expert-parallel"
    replicas = memory("deepseek-ai/DeepSeek-R1", "8xh200", "fp8", flags, context=8192)
    shards = memory("deepseek-ai/DeepSeek-R1", "8xh200", "fp8", "vllm", context=8192)
    assert replicas.devices[0].weights_bytes > shards.devices[0].weights_bytes
    assert replicas.devices[0].weights_bytes < 1.3 * shards.devices[0].weights_bytes
    assert replicas.kv_capacity_tokens is not None
    assert shards.kv_capacity_tokens is not None
    assert 2.5 * shards.kv_capacity_tokens < replicas.kv_capacity_tokens < 8 * shards.kv_capacity_tokens
    chunked = memory("deepseek-ai/DeepSeek-R1", "8xh200", "fp8", flags.replace("vllm", "vllm@0.19"), context=8192)
    saved = replicas.devices[0].compute_bytes - chunked.devices[0].compute_bytes
    logits = (18 - 14) * 1024 * 129_280 - 128 * 129_280 * 4
    assert saved == (65_536 - 16_384) * 8 * 2 * 7168 * 2 + logits


def test_stages_hold_their_layers() -> None:
    """Two stages of two ranks hold a quarter of the weights each, as four ranks do, and twice their part of a token."""
    four = memory("Qwen/Qwen3-32B", "4xh100", "bf16", "vllm", context=8192)
    two = memory(
        "Qwen/Qwen3-32B", "4xh100", "bf16", "vllm --tensor-parallel-size 2 --pipeline-parallel-size 2", context=8192
    )
    assert two.devices[0].weights_bytes == pytest.approx(four.devices[0].weights_bytes, rel=0.01)
    assert two.devices[0].kv_cache_bytes == four.devices[0].kv_cache_bytes
    assert two.devices[0].layers == 32


def test_adapters_projector_and_cache_formats_are_counted() -> None:
    """Slots of LoRA adapters, a projector's file (888 MiB in a log, its buffer 248), fp8 caches."""
    plain = memory("Qwen/Qwen3-8B", "h100", "bf16", "vllm", context=8192)
    adapters = memory("Qwen/Qwen3-8B", "h100", "bf16", "vllm --enable-lora --max-loras 4 --max-lora-rank 64")
    sides = 36 * ((4096 + 4096) * 2 + (4096 + 1024) * 2 + (4096 + 12288) * 3)
    assert adapters.weights_bytes - plain.weights_bytes == 4 * 64 * sides * 2
    fp8 = memory("Qwen/Qwen3-8B", "h100", "bf16", "vllm --kv-cache-dtype fp8", context=8192)
    assert fp8.kv_cache_bytes == plain.kv_cache_bytes // 2
    blind = memory("Qwen/Qwen3.6-27B", "rtx-5090", "q4_k_m", "llama.cpp")
    seeing = memory("Qwen/Qwen3.6-27B", "rtx-5090", "q4_k_m", "llama.cpp --mmproj mmproj-BF16.gguf")
    assert (seeing.weights_bytes - blind.weights_bytes) / MIB == pytest.approx(887.99, abs=0.01)
    assert (seeing.activations_bytes - blind.activations_bytes) / MIB == pytest.approx(248.1, abs=0.01)


def test_a_cache_stays_on_the_host_where_flags_say_so() -> None:
    """--no-kv-offload leaves the weights on the card and the cache in the host's memory; so do transformers' offloaded
    caches."""
    held = memory("Qwen/Qwen3-8B", "rtx-4090", "q4_k_m", "llama.cpp --no-kv-offload", context=32768)
    assert held.devices[0].kv_cache_bytes == 0
    assert held.host.kv_cache_bytes == 36 * 32768 * 4096
    assert held.devices[0].layers == 36
    for kind in ("offloaded", "offloaded_static"):
        kept = memory("Qwen/Qwen3-8B", "rtx-4090", "bf16", f"transformers --cache-implementation {kind}", context=32768)
        assert kept.devices[0].kv_cache_bytes == 0
        assert kept.host.kv_cache_bytes == 36 * 32768 * 4096


def test_experts_stay_on_the_host_by_number_and_by_pattern() -> None:
    """--n-cpu-moe N, --cpu-moe and the pattern that people write for it are one thing."""

    def card(flags: str) -> int:
        held = memory("Qwen/Qwen3-30B-A3B", "rtx-4090", "q4_k_m", f"llama.cpp {flags}", ram_bytes=64 * GIB)
        return held.devices[0].weights_bytes

    everything, half, none = card("--cpu-moe"), card("--n-cpu-moe 24"), card("--n-cpu-moe 0")
    assert everything < half < none
    kept = memory("Qwen/Qwen3-30B-A3B", "rtx-4090", "q4_k_m", "llama.cpp --n-cpu-moe 20", ram_bytes=64 * GIB)
    assert kept.gpu_layers == 28  # layers with their experts on the card
    assert card("-ot 'ffn_.*_exps=CPU'") == everything
    assert card("-ot 'blk\\.(?:[0-9]|1[0-9]|2[0-3])\\.ffn_.*_exps=CPU'") == half


def test_exllamav3_dequantizes_one_layer_of_its_cache_whole() -> None:
    """Gemma-4-31B at 131k: 16 heads x (256 + 256) x 2 bytes x 131,072 tokens beside the cache: 85.3 GiB reported."""
    options = {"context": 131072, "kv_precision": "q8_0"}
    held = memory("google/gemma-4-31B-it", "rtx-a6000", "exl3-6.00bpw", "exllamav3", **options)
    working = next(part for part in held.parts if part.name == "activations")
    layer = next(part for part in working.parts if part.name == "dequantized layer")
    assert layer.size_bytes == 131072 * 16 * (256 + 256) * 2
    assert held.total_bytes / GIB == pytest.approx(85.3, rel=0.005)
    plain = memory("google/gemma-4-31B-it", "rtx-a6000", "exl3-6.00bpw", "exllamav3", context=131072)
    group = next(part for part in plain.parts if part.name == "activations")
    assert all(part.name != "dequantized layer" for part in group.parts)


@pytest.mark.parametrize(("context", "peak_gb"), [(8192, 9.44), (32768, 21.37), (131072, 69.08)])
def test_mlx_holds_the_scores_that_gemma_2_caps(context: int, peak_gb: float) -> None:
    """No kernel caps scores: 16 heads x 2,048 tokens x cells x 4.4 bytes, also where a config leaves the cap out."""
    held = memory("google/gemma-2-9b-it", "m4-max-128gb", "mlx-4bit", "mlx-lm", context=context, prompt=context - 128)
    working = next(part for part in held.parts if part.name == "activations").size_bytes
    assert working > 16 * 2048 * context * 4.4 - GIB
    assert (held.total_bytes - held.overhead_bytes) / 1e9 == pytest.approx(peak_gb, rel=0.12)


@pytest.mark.parametrize(
    ("model", "device", "precision", "engine", "context"),
    [
        ("deepseek-v3", "8xh200", "fp8", "sglang", 163840),
        ("Qwen/Qwen3-32B", "8xh100", "bf16", "vllm", 32768),
        ("Qwen/Qwen3-8B", "rtx-4090", "q4_k_m", "llama.cpp", 8192),
        ("Qwen/Qwen3-0.6B", "rtx-4090", "q4_k_m", "llama.cpp", 8192),
    ],
)
def test_the_total_is_what_devices_and_host_hold(
    model: str, device: str, precision: str, engine: str, context: int
) -> None:
    """A latent that each of eight ranks keeps counts eight times, the host's tables once, no copy of a tied one."""
    held = memory(model, device, precision, engine, context=context)
    tables_bytes = 0 if model.endswith("0.6B") else held.host.weights_bytes
    assert held.total_bytes == sum(card.total_bytes for card in held.devices) + tables_bytes
    assert held.kv_cache_bytes <= sum(card.kv_cache_bytes + card.state_bytes for card in held.devices)
    assert held.fits == all(card.total_bytes <= (card.available_bytes or 0) for card in held.devices)


@pytest.mark.parametrize(("kv_precision", "latent_bytes"), [("fp16", 576 * 2), ("fp8", 656)])
def test_an_indexer_keeps_keys_in_fp8_with_scales(kv_precision: str, latent_bytes: int) -> None:
    """DeepSeek-V3.2 with vLLM: a latent (in fp8 with its scales where asked) and 128 + 4 bytes a token and layer."""
    answer = estimate(
        "deepseek-ai/DeepSeek-V3.2", device="8xh200", precision="fp8", engine="vllm", offline=True, context=65_536,
        kv_precision=kv_precision,
    )  # fmt: skip
    assert answer.estimates[0].memory.kv_cache_bytes == 61 * 65_536 * (latent_bytes + 132)


def test_windows_alone_are_pages_too() -> None:
    """Mistral-7B v0.1 with vLLM: a sequence holds its window and a step, in whole blocks: 385 of 16 tokens."""
    held = memory("mistralai/Mistral-7B-Instruct-v0.1", "l40s", "bf16", "vllm", context=32_768)
    assert held.kv_capacity_tokens is None
    device = held.devices[0]
    assert device.available_bytes is not None
    room = device.available_bytes - (device.total_bytes - device.kv_cache_bytes)
    assert -(-(4096 - 1 + 2048) // 16) + 1 == 385
    assert held.max_sequences == room // (385 * 16 * 131_072)


def test_stages_capture_their_own_layers() -> None:
    """Two stages of two ranks capture forty of Llama-3.3-70B's layers each: half the graphs of four ranks."""
    model = "meta-llama/Llama-3.3-70B-Instruct"
    staged = memory(model, "4xh100", "bf16", "vllm -tp 2 -pp 2", context=8192)
    shards = memory(model, "4xh100", "bf16", "vllm", context=8192)
    assert 2 * staged.devices[0].graphs_bytes == shards.devices[0].graphs_bytes > 0


def test_ranks_that_do_not_divide_heads_are_named() -> None:
    """28 heads on three ranks: vLLM refuses, and the estimate says so."""
    found = estimate("Qwen/Qwen2.5-7B-Instruct", device="3xl40s", precision="bf16", engine="vllm", offline=True)
    assert any("28 attention heads are not divided by 3 ranks" in note for note in found.estimates[0].assumptions)


def test_a_pool_of_a_part_of_what_is_free_must_hold_the_context() -> None:
    """TensorRT-LLM gives its cache 0.9 of what is free: the longest context is what that holds, none longer fits."""
    held = memory("Qwen/Qwen2.5-14B-Instruct", "rtx-5090", "bf16", "tensorrt-llm", context=4096)
    assert held.max_context_tokens is not None
    assert held.kv_capacity_tokens is not None
    assert held.kv_capacity_tokens - 32 <= held.max_context_tokens <= held.kv_capacity_tokens
    one_more = held.kv_capacity_tokens + 32
    assert memory("Qwen/Qwen2.5-14B-Instruct", "rtx-5090", "bf16", "tensorrt-llm", context=one_more).fits is False
