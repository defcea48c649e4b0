"""Models and layers that draft beside a server's model: their weights and cache, hand-computed."""

from __future__ import annotations

import json

import pytest
from clirun import Run

import sizer
from sizer.answer.document import ModelEstimate

SPECULATIVE = "--speculative-config.model MODEL --speculative-config.num_speculative_tokens 4"


def estimate(flags: str) -> ModelEstimate:
    """Qwen3-32B in 16 bits on two H100 with vLLM."""
    answer = sizer.estimate(
        "Qwen/Qwen3-32B", device="2xh100", precision="bf16", engine=f"vllm -tp 2 {flags}".strip(), offline=True,
        context=16_384,
    )  # fmt: skip
    return answer.estimates[0]


def test_a_draft_model_takes_weights_and_cache() -> None:
    """Qwen3-0.6B beside Qwen3-32B: half its weights on each rank, and 28 layers of 8 x 128 behind 64 of them."""
    alone, beside = (estimate(flags) for flags in ("", SPECULATIVE.replace("MODEL", "Qwen/Qwen3-0.6B")))
    draft = sizer.estimate("Qwen/Qwen3-0.6B", device="h100", precision="bf16", engine="vllm", offline=True)
    weights = draft.estimates[0].memory.weights_bytes
    first, second = alone.memory.devices[0], beside.memory.devices[0]
    assert second.weights_bytes - first.weights_bytes == pytest.approx(weights / 2, rel=1e-6)
    assert second.kv_cache_bytes * 64 == first.kv_cache_bytes * 92
    room = first.available_bytes - (first.total_bytes - first.kv_cache_bytes) - weights // 2  # type: ignore[operator]
    graphs = second.graphs_bytes - first.graphs_bytes
    assert beside.memory.kv_capacity_tokens == pytest.approx((room - graphs) / (92 * 4 * 128 * 2 * 2), rel=1e-3)
    assert any("its weights and cache count" in note for note in beside.assumptions)


def test_an_unknown_draft_is_said_to_be_left_out() -> None:
    """A draft that nobody here knows is named, and nothing of it counts."""
    alone, beside = (estimate(flags) for flags in ("", SPECULATIVE.replace("MODEL", "nobody/unheard-of-eagle")))
    assert beside.memory.weights_bytes == alone.memory.weights_bytes
    assert any("not known here, and not counted" in note for note in beside.assumptions)


@pytest.mark.parametrize(("engine", "device"), [("transformers", "h100"), ("mlx-lm", "m2-ultra")])
def test_a_drafts_cache_takes_nothing_from_working_memory(run: Run, engine: str, device: str) -> None:
    """Where caches grow, the model's own is not full while it reads the prompt; a draft's beside it changes nothing."""
    asked = ("estimate", "Qwen/Qwen3-8B", "-d", device, "-e", engine, "-p", "bf16", "--prompt", "8192", "--offline")
    alone, beside = (
        json.loads(run(*asked, *more, "--json").out)["estimates"][0]["memory"]
        for more in ((), ("--draft", "Qwen/Qwen3-0.6B"))
    )
    assert beside["kv_cache_bytes"] > alone["kv_cache_bytes"]
    assert beside["activations_bytes"] == alone["activations_bytes"]


def test_layers_that_predict_keep_a_cache() -> None:
    """GLM-4.5's own layer drafts: its weights count, and 93 layers are cached where 92 were."""
    plain, drafts = (
        sizer.estimate(
            "zai-org/GLM-4.5", device="8xh100", precision="fp8", engine=f"vllm -tp 8 {flags}".strip(), offline=True
        ).estimates[0].memory
        for flags in ("", "--speculative-config.method mtp --speculative-config.num_speculative_tokens 1")
    )  # fmt: skip
    assert drafts.kv_cache_bytes == plain.kv_cache_bytes * 93 // 92  # type: ignore[operator]
    assert drafts.devices[0].weights_bytes > plain.devices[0].weights_bytes


def started(command: str, device: str = "rtx-4090", **more: str) -> ModelEstimate:
    """What a llama.cpp command takes."""
    return sizer.check(command, device=device, offline=True, **more).estimates[0]  # type: ignore[arg-type]


LLAMA = "llama-server -m Qwen3-32B-Q4_K_M.gguf -ngl 99 -c 16384 -np 1"


def test_a_draft_of_llama_cpp_is_a_model_of_its_own() -> None:
    """Its file's weights less the table on the host, 28 layers of 8 x 128 in 16 bits whatever -ctk says, a buffer."""
    alone, beside = (started(f"{LLAMA} -ctk q8_0 -ctv q8_0 {more}") for more in ("", "-md Qwen3-0.6B-Q8_0.gguf"))
    draft = started("llama-server -m Qwen3-0.6B-Q8_0.gguf -ngl 99 -c 16384 -np 1").memory.devices[0]
    first, second = alone.memory.devices[0], beside.memory.devices[0]
    assert second.weights_bytes - first.weights_bytes == draft.weights_bytes
    assert second.kv_cache_bytes - first.kv_cache_bytes == 28 * 2 * 8 * 128 * 2 * 16_384
    assert second.compute_bytes - first.compute_bytes == draft.compute_bytes
    assert second.overhead_bytes == first.overhead_bytes
    assert any("its weights and cache count" in note for note in beside.assumptions)


def test_flags_of_a_draft_shorten_its_cache_and_move_it_to_the_host() -> None:
    """`-cd` is its context, `-ctkd` its type, `-ngld 0` leaves it to the host but for the buffer of its prompts."""
    named = f"{LLAMA} -md Qwen3-0.6B-Q8_0.gguf"
    memories = [
        started(command).memory for command in (LLAMA, named, f"{named} -cd 4096 -ctkd q8_0", f"{named} -ngld 0")
    ]
    alone, whole, short, away = (memory.devices[0] for memory in memories)
    per_token = 28 * 8 * 128
    assert whole.kv_cache_bytes - alone.kv_cache_bytes == per_token * 4 * 16_384
    assert short.kv_cache_bytes - alone.kv_cache_bytes == per_token * (2 * 32 + 34) // 32 * 4096
    assert 0 < away.total_bytes - alone.total_bytes == away.compute_bytes - alone.compute_bytes
    gone = whole.weights_bytes + whole.kv_cache_bytes - away.weights_bytes - away.kv_cache_bytes
    gone -= 151_936 * 1024 * 34 // 32  # the tied table, which the host holds either way
    assert memories[3].host.total_bytes - memories[1].host.total_bytes == pytest.approx(gone, rel=0.02)


def test_layers_that_predict_have_a_context_of_their_own_in_llama_cpp() -> None:
    """GLM-4.5-Air's one layer keeps 8 x 128 keys and values for the context; its experts go where the others go."""
    command = "llama-server -hf unsloth/GLM-4.5-Air-GGUF:Q4_K_M -c 32768 -np 1 --cpu-moe"
    plain, drafts = (started(f"{command} {more}").memory for more in ("", "--spec-type draft-mtp"))
    assert drafts.devices[0].kv_cache_bytes - plain.devices[0].kv_cache_bytes == 2 * 8 * 128 * 2 * 32_768
    added = drafts.devices[0].weights_bytes - plain.devices[0].weights_bytes
    away = drafts.host.weights_bytes - plain.host.weights_bytes
    assert 0 < added < away


@pytest.mark.parametrize("flags", ["-ngl 99", "-ngl 20", "-ngl 99 -ot attn=CPU"])
def test_a_projector_lies_on_the_card_however_the_layers_are_split(flags: str) -> None:
    """The file of --mmproj and its buffer count on the device, never on the host."""
    command = f"llama-server -m gemma-3-12b-it-Q4_K_M.gguf -c 8192 -np 1 {flags}"
    without, sees = (started(f"{command} {more}").memory for more in ("--no-mmproj", "--mmproj mmproj-F16.gguf"))
    first, second = without.devices[0], sees.devices[0]
    assert 0.7e9 < second.weights_bytes - first.weights_bytes < 1e9
    assert second.compute_bytes > first.compute_bytes
    assert sees.host.weights_bytes == without.host.weights_bytes


def test_a_hubs_file_brings_its_projector() -> None:
    """`-hf` loads the one beside it unless --no-mmproj is said, `-m` none; Ollama always does."""
    hub = "llama-server -hf ggml-org/gemma-3-12b-it-GGUF:Q4_K_M -c 8192 -np 1"
    sees, blind = (started(f"{hub} {more}") for more in ("", "--no-mmproj"))
    alone = started("llama-server -m gemma-3-12b-it-Q4_K_M.gguf -c 8192 -np 1")
    assert blind.memory.devices[0].total_bytes == alone.memory.devices[0].total_bytes
    assert sees.memory.devices[0].weights_bytes - alone.memory.devices[0].weights_bytes > 0.8e9
    assert any("--no-mmproj leaves it out" in note for note in sees.assumptions)
    assert any("Its projector is loaded" in note for note in started("ollama run gemma3:12b").assumptions)


def test_experts_are_counted_over_the_layers_that_have_them() -> None:
    """DeepSeek-V3's first three layers have none: `--cpu-moe` leaves 0 of 58 on the device."""
    found = sizer.check(
        "llama-server -m DeepSeek-V3-Q4_K_M.gguf --cpu-moe -c 4096", device="rtx-5090", ram_bytes="768GiB", offline=True
    )
    assert found.check.reason.startswith("it runs with the experts of 0 of 58 layers on the device")
    assert found.estimates[0].memory.gpu_layers == 0
