"""What the host, contexts and ranks make of the verdict."""

from __future__ import annotations

import pytest
from verdicts import answer

import sizer


@pytest.mark.parametrize(
    ("gib", "ram", "starts"), [(48, None, True), (48, 64, True), (30, None, False), (48, 32, False)]
)
def test_weights_kept_on_the_host_count_for_the_verdict(gib: int, ram: int | None, starts: bool) -> None:
    """64.5 GiB on a device with 21.7: 48 kept on a host that holds them are enough, 30 are not."""
    command = f"vllm serve Qwen/Qwen3-32B --cpu-offload-gb {gib} --max-model-len 4096"
    found = sizer.check(command, device="rtx-4090", ram_bytes=ram * 2**30 if ram else None, offline=True)
    assert found.check.starts is starts


def test_ollama_s_context_is_each_slot_s() -> None:
    """OLLAMA_NUM_PARALLEL multiplies the cache (-c is num_ctx times slots), whether a context is said or not."""
    for said in ("", "OLLAMA_CONTEXT_LENGTH=16384 "):
        one, four = (
            answer(f"{said}OLLAMA_NUM_PARALLEL={slots} ollama run qwen3:8b", "a100").estimates[0].memory
            for slots in (1, 4)
        )
        assert four.kv_cache_bytes == 4 * one.kv_cache_bytes
    small = answer("OLLAMA_NUM_PARALLEL=4 OLLAMA_CONTEXT_LENGTH=8192 ollama run qwen3:8b", "rtx-3090").estimates[0]
    assert 30000 < (small.memory.max_context_tokens or 0) < 36000


def test_a_fitted_context_leaves_the_margin_free() -> None:
    """llama-server shortens a context nobody gave until --fit-target stays free, and never one that -c 0 asks for."""
    command = "llama-server -m Meta-Llama-3.1-8B-Instruct-Q8_0.gguf"
    for flags, margin_bytes in (("", 2**30), (" -fitt 256", 2**28)):
        found = answer(command + flags, "rtx-4090")
        card = found.estimates[0].memory.devices[0]
        free = (card.available_bytes or 0) - card.total_bytes
        assert found.check.starts
        assert margin_bytes <= free < margin_bytes + 2**26, free
    whole = answer(command + " -c 0 -ngl 99", "rtx-4090")
    assert whole.workload.context_tokens == 131072
    assert not whole.check.starts


def test_experts_on_the_host_leave_room_for_the_context() -> None:
    """With experts sent to the host by flags, the context is fitted to what is left on the card, not to the least."""
    found = answer("llama-server -hf ggml-org/gpt-oss-20b-GGUF --n-cpu-moe 12", "rtx-3060")
    assert found.workload.context_tokens == 131072


def test_a_host_that_is_too_small_is_named() -> None:
    """The sentence tells of the part that does not fit: the host's, where the card has room."""
    command = "llama-server -m Qwen3-235B-A22B-Q2_K.gguf -c 8192 -ngl 99 --cpu-moe"
    found = sizer.check(command, device="rtx-4090", ram_bytes=64 * 2**30, offline=True)
    assert not found.check.starts
    assert found.check.reason.startswith("the host's part takes"), found.check.reason


def test_attention_groups_within_the_tensor_ranks() -> None:
    """SGLang's --enable-dp-attention deals the experts to all eight ranks and gives each the attention and a cache."""
    command = "python -m sglang.launch_server --model deepseek-ai/DeepSeek-V3 --tp 8"
    plain, groups = (answer(command + more, "8xh200") for more in ("", " --dp 8 --enable-dp-attention"))
    one, several = plain.estimates[0].memory, groups.estimates[0].memory
    assert several.devices[0].weights_bytes > one.devices[0].weights_bytes > one.weights_bytes // 8
    assert 4 < (several.kv_capacity_tokens or 0) / (one.kv_capacity_tokens or 1) < 8
    replicas = answer("vllm serve deepseek-ai/DeepSeek-V3 -dp 8 --enable-expert-parallel", "8xh200")
    shard = replicas.estimates[0].memory.devices[0].weights_bytes
    assert several.devices[0].weights_bytes == pytest.approx(shard, rel=0.01)
