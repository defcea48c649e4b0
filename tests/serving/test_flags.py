"""What an engine's own flags say of a server: how its devices share the work, what a step of it holds."""

from __future__ import annotations

import pytest

import sizer
from sizer.device.catalogue import find
from sizer.engine.asked import engine_asked
from sizer.engine.engines import find_engine
from sizer.engine.stored import store_for
from sizer.errors import UsageError
from sizer.model.architecture import Architecture
from sizer.model.read.resolve import resolve
from sizer.serving.deployment import Served, deployment
from sizer.serving.layout import Layout
from sizer.serving.load import Load
from sizer.serving.options import layouts
from sizer.serving.rules import Scheduler


def model(name: str) -> Architecture:
    """A catalogued model."""
    return resolve(name, offline=True).architecture


def ways(name: str, flags: str, devices: int = 8) -> list[tuple[str, int]]:
    """The layouts of a model with an engine's flags, in words, with the replicas of each."""
    options = engine_asked(flags)
    found = layouts(model(name), find_engine(options.engine), devices, flags=options)
    return [(layout.words, replicas) for layout, replicas in found]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ("vllm -tp 1 -dp 8 --enable-expert-parallel", "DP attention 8 x EP 8"),
        ("vllm -dp 8", "DP attention 8"),
        ("vllm -tp 8 -ep", "TP 8 x EP 8"),
        ("vllm -tp 4 -pp 2", "TP 4 x PP 2"),
        ("sglang --tp 8 --dp 8 --enable-dp-attention", "DP attention 8"),
        ("sglang --tp 8 --dp 2 --enable-dp-attention --ep-size 8", "TP 4 x DP attention 2 x EP 8"),
        ("tensorrt-llm --tp_size 8 --ep_size 8 --enable_attention_dp", "DP attention 8 x EP 8"),
    ],
)
def test_flags_of_ranks_leave_one_way(flags: str, words: str) -> None:
    """Data ranks share a mixture's experts, groups of attention part tensor ranks, a pipeline stands beside them."""
    assert ways("deepseek-ai/DeepSeek-R1", flags) == [(words, 1)]


def test_data_ranks_of_a_dense_model_are_replicas() -> None:
    """Two tensor ranks four times, whether or not the flags say that they are four."""
    for flags in ("vllm -tp 2 -dp 4", "vllm -tp 2", "sglang --tp 2 --dp 4", "vllm -tp 2 -dp 4 -ep"):
        assert ways("Qwen/Qwen3-8B", flags) == [("TP 2", 4)]


def test_experts_are_whole_on_their_ranks_wherever_there_are_several() -> None:
    """A flag for expert ranks alone leaves the number of devices open."""
    found = ways("Qwen/Qwen3-30B-A3B", "vllm -ep")
    assert found[0] == ("TP 1", 8)
    assert all("EP" in words for words, _ in found[1:])


def test_ranks_that_do_not_part_are_refused() -> None:
    """Three groups of eight ranks, and five ranks of 32 heads."""
    with pytest.raises(UsageError, match="do not part into 3 groups"):
        ways("Qwen/Qwen3-8B", "sglang --tp 8 --dp 3 --enable-dp-attention")
    with pytest.raises(UsageError, match="no way to share"):
        ways("Qwen/Qwen3-8B", "vllm -tp 5", devices=5)


def test_one_device_is_the_kind_that_flags_count() -> None:
    """A card named without a count is taken as often as the flags ask for it, as an estimate takes it."""
    answer = sizer.capacity("Qwen/Qwen3-8B", device="h100", engine="vllm -tp 2", users=1, tpot=1.0, offline=True)
    assert (answer.devices, answer.parallelism) == (2, "TP 2")
    with pytest.raises(UsageError, match="ask for 4 devices"):
        sizer.capacity("Qwen/Qwen3-8B", device="2xh100", engine="vllm -tp 4", offline=True)


def rules(flags: str) -> Scheduler:
    """The scheduler of Qwen3-8B on an H100 with an engine's flags."""
    options, architecture = engine_asked(flags), model("Qwen/Qwen3-8B")
    served = Served(
        architecture, store_for(architecture, "bf16", options.engine), find("h100"), options.engine, options
    )
    return deployment(served, Layout(), Load(1024, 256, users=1)).rules


@pytest.mark.parametrize(
    ("flags", "step_tokens", "prompts"),
    [
        ("sglang", 8192, "before"),
        ("sglang --chunked-prefill-size 2048 --max-prefill-tokens 16384", 2048, "before"),
        ("sglang --max-prefill-tokens 65536", 8192, "before"),
        ("sglang --chunked-prefill-size -1", 40960, "before"),
        ("sglang --enable-mixed-chunk", 8192, "beside"),
        ("vllm --max-num-batched-tokens 3000", 3000, "beside"),
        ("vllm --no-enable-chunked-prefill", 40960, "beside"),
        ("vllm --no-enable-chunked-prefill --max-model-len 9000", 9000, "beside"),
        ("lmdeploy --max-prefill-token-num 2048", 2048, "beside"),
        ("tensorrt-llm --max_num_tokens 4096", 4096, "beside"),
    ],
)
def test_the_flag_that_sets_a_step_is_the_engines_own(flags: str, step_tokens: int, prompts: str) -> None:
    """SGLang's steps are its chunks, whatever a batch of prompts may hold; without chunks a prompt is read whole."""
    found = rules(flags)
    assert (found.step_tokens, found.prompts) == (step_tokens, prompts)


def test_a_step_without_chunks_has_room_for_the_longest_prompt() -> None:
    """Its prompts stay whole; those of an engine that parts them do not."""
    assert rules("vllm --no-enable-chunked-prefill").parts == "longest"
    assert rules("sglang --chunked-prefill-size -1 --max-running-requests 16").max_sequences == 16
    assert not rules("vllm").parts


def test_what_flags_draft_with_is_told() -> None:
    """EAGLE's tokens come faster for one user; the same method beside the flags tells its acceptance, and one that is
    not known tells nothing."""
    asked = {"device": "h100", "precision": "bf16", "users": 1, "tpot": 1.0, "offline": True}
    flags = "vllm --speculative-config.method eagle3 --speculative-config.num_speculative_tokens 3"
    plain = sizer.capacity("Qwen/Qwen3-32B", engine="vllm", **asked)
    eagle = sizer.capacity("Qwen/Qwen3-32B", engine=flags, **asked)
    sure = sizer.capacity("Qwen/Qwen3-32B", engine=flags, draft="eagle", acceptance=0.9, **asked)
    assert eagle.serving[0].tpot_s.p50 < 0.8 * plain.serving[0].tpot_s.p50
    assert any("eagle drafts 3 tokens a step, each accepted with probability 0.7" in note for note in eagle.assumptions)
    assert any("eagle drafts 3 tokens a step, each accepted with probability 0.9" in note for note in sure.assumptions)
    assert not any("drafts" in note for note in plain.assumptions)
    unknown = sizer.capacity("Qwen/Qwen3-32B", engine="vllm --speculative-config.method suffix", **asked)
    assert any("What 'suffix' drafts is not known" in note for note in unknown.assumptions)
    assert unknown.serving[0].tpot_s == plain.serving[0].tpot_s


def test_shared_beginnings_count_where_the_engine_keeps_them() -> None:
    """vLLM finds a system prompt in its cache unless a flag forbids it, LMDeploy where a flag asks for it."""
    asked = {"device": "h100", "precision": "bf16", "users": 2, "tpot": 1.0, "offline": True}
    asked |= {"prompt": "8k", "shared_prompt": "7k", "percentile": "p95"}
    kept = sizer.capacity("Qwen/Qwen3-8B", engine="vllm", **asked)
    off = sizer.capacity("Qwen/Qwen3-8B", engine="vllm --no-enable-prefix-caching", **asked)
    assert kept.serving[0].ttft_s.p95 < 0.4 * off.serving[0].ttft_s.p95
    assert any("7,168 tokens, read once and held once" in note for note in kept.assumptions)
    assert any("keeps no prefix cache" in note for note in off.assumptions)
    assert not rules("lmdeploy").prefixes
    assert rules("lmdeploy --enable-prefix-caching").prefixes
    assert not rules("sglang --disable-radix-cache").prefixes
    with pytest.raises(UsageError, match="do not begin with"):
        sizer.capacity("Qwen/Qwen3-8B", device="h100", prompt="1k", shared_prompt="2k", offline=True)
