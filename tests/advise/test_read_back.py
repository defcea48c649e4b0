"""What a recipe prints, `sizer check` reads back: the same engine, precision, place and work, and it starts."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.advise.check import Checked
from sizer.advise.check import check as check_plan
from sizer.advise.recipes import RECIPES, recipe
from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.api.asked import DeviceAsked, WorkAsked
from sizer.api.check import planned
from sizer.api.recommend import advice_for
from sizer.api.targets import targets
from sizer.api.wanted import WantedAsked
from sizer.engine.engines import find_engine
from sizer.engine.ladders import ladders
from sizer.engine.scripts import read_launch
from sizer.errors import SizerError, UsageError
from sizer.model.read.resolve import resolve
from sizer.workload import Workload

MODELS = (
    "Qwen/Qwen3-8B", "Qwen/Qwen3-0.6B", "Qwen/Qwen3-30B-A3B", "meta-llama/Meta-Llama-3-8B-Instruct", "microsoft/phi-4",
    "google/gemma-3-27b-it", "google/gemma-2-9b-it", "mistralai/Mixtral-8x7B-v0.1", "openai/gpt-oss-20b",
    "deepseek-ai/DeepSeek-V2-Lite", "Qwen/Qwen3-32B", "tiiuae/Falcon-H1-7B-Base", "llama3.1:8b",
    "bigcode/starcoder2-7b", "Qwen/Qwen3.6-35B-A3B", "allenai/Olmo-3-1125-32B", "LGAI-EXAONE/EXAONE-4.0-1.2B",
    "CohereLabs/c4ai-command-r7b-12-2024", "ibm-granite/granite-4.0-h-small", "LiquidAI/LFM2-8B-A1B",
    "zai-org/GLM-4.7-Flash", "HuggingFaceTB/SmolLM3-3B",
)  # fmt: skip
DEVICES = (
    "rtx-4090", "rtx-3060-12gb", "a100", "2xh100", "m2-ultra", "2xrtx-3090", "l4", "epyc-7742", "mi300x", "rtx-5090",
    "8xh200", "rx-7900-xtx", "dgx-spark", "m4-max", "t4",
)  # fmt: skip


def read_back(item: Estimate, device: str, ram_bytes: int | None = None) -> Checked:
    """The verdict on an estimate's recipe, on the device that it was estimated for."""
    launch = read_launch([recipe(item)])
    (target,) = targets(DeviceAsked((device,), ram_bytes=ram_bytes))
    resolved = resolve(launch.options.model, offline=True)
    work = item.workload
    return check_plan(planned(launch, resolved, target, work.prompt_tokens, work.output_tokens))


def same_plan(item: Estimate, found: Checked) -> None:
    """What both reserve and where they put it."""
    back = found.estimate
    assert found.starts, found.reason
    assert (back.engine, back.precision, back.target.count) == (item.engine, item.precision, item.target.count)
    grows = find_engine(item.engine).memory().cache_grows
    asked = item.workload.context_tokens * (item.workload.batch_size if item.engine == "llama.cpp" else 1)
    assert grows or back.workload.context_tokens == asked
    cache = {back.workload.kv_precision, item.workload.kv_precision}
    assert len(cache) == 1 or cache <= {"fp16", "bf16"}
    assert back.architecture.total_params == item.architecture.total_params
    assert (back.placement.host is None) == (item.placement.host is None) or back.placement.host_bytes == 0
    assert back.placement.host_experts == item.placement.host_experts
    assert abs(back.placement.gpu_layers - item.placement.gpu_layers) <= 1 or item.placement.host is None


CACHES = {"vllm": "fp8", "sglang": "fp8", "tensorrt-llm": "fp8", "llama.cpp": "q8_0", "ollama": "q8_0"}
"""The cache of eight bits that an engine's flags can ask for."""


@settings(max_examples=120, deadline=None)
@given(
    name=st.sampled_from(MODELS),
    device=st.sampled_from(DEVICES),
    engine=st.sampled_from(sorted(RECIPES)),
    work=st.tuples(st.integers(0, 20), st.sampled_from([1024, 4096, 8192]), st.booleans()),
)
def test_every_recipe_is_read_back_to_the_same_plan(
    name: str, device: str, engine: str, work: tuple[int, int, bool]
) -> None:
    """Models by devices by engines: what fits as estimated starts as printed."""
    rung, context, dense = work
    model = resolve(name, offline=True).architecture
    (target,) = targets(DeviceAsked((device,)))
    asked = Workload(512, 128, context, kv_precision=CACHES.get(engine, "fp16") if dense else "fp16")
    try:
        rungs = ladders(model, target.device, engine)[0]
        item = estimate(Question(model, target, rungs[rung % len(rungs)].precision, asked, engine=engine))
        text = recipe(item)
    except SizerError:
        return
    assert "ollama.com/library" not in text
    refused = any("refuses this" in note for note in item.assumptions)  # such as 20 heads on eight ranks
    if item.placement.whole and not refused and context <= (model.max_context_tokens or context):
        same_plan(item, read_back(item, device))


CHOSEN = [
    ("Qwen/Qwen3-8B", "rtx-4090", None, None),
    ("Qwen/Qwen3-8B", "m2-ultra", "mlx-lm", None),
    ("Qwen/Qwen3-32B", "2xh100", "vllm", None),
    ("Qwen/Qwen3-32B", "2xh100", "sglang", None),
    ("Qwen/Qwen3-32B", "h100", "tensorrt-llm", None),
    ("openai/gpt-oss-20b", "rtx-4090", None, None),
    ("Qwen/Qwen3-8B", "rtx-4060", "ollama", None),
    ("google/gemma-3-27b-it", "rtx-3090", None, None),
    ("Qwen/Qwen3-8B", "rtx-4090", "transformers", None),
]


@pytest.mark.parametrize(("name", "device", "engine", "ram_bytes"), CHOSEN)
def test_what_is_recommended_starts(name: str, device: str, engine: str | None, ram_bytes: int | None) -> None:
    """`recommend --emit` prints a command that `check` finds to start, at the precision that was recommended."""
    (target,) = targets(DeviceAsked((device,), ram_bytes=ram_bytes))
    advice = advice_for(name, target, WorkAsked(engine=engine), WantedAsked().wanted(), offline=True)
    assert advice.chosen is not None
    same_plan(advice.chosen, read_back(advice.chosen, device, ram_bytes))


@pytest.mark.parametrize(
    ("name", "device", "engine", "precision"),
    [
        ("Qwen/Qwen3-30B-A3B", "rtx-4060", "llama.cpp", "q4_k_m"),
        ("openai/gpt-oss-120b", "rtx-4090", "llama.cpp", "mxfp4"),
        ("Qwen/Qwen3-32B", "rtx-3060-12gb", "llama.cpp", "q4_k_m"),
        ("meta-llama/Llama-3.1-70B-Instruct", "rtx-4090", "ollama", "q4_k_m"),
        ("Qwen/Qwen3-235B-A22B", "2xrtx-3090", "llama.cpp", "q3_k_m"),
    ],
)
def test_what_lies_on_the_host_lies_there_when_read_back(name: str, device: str, engine: str, precision: str) -> None:
    """Layers and experts on the host are the same, and so is what each place takes, within a hundredth or so."""
    (target,) = targets(DeviceAsked((device,), ram_bytes=192 << 30))
    model = resolve(name, offline=True).architecture
    item = estimate(Question(model, target, precision, Workload(512, 128, 8192), engine=engine))
    assert item.placement.host is not None
    back = read_back(item, device, 192 << 30)
    assert back.starts, back.reason
    there, here = back.estimate.placement, item.placement
    assert (there.gpu_layers, there.host_experts) == (here.gpu_layers, here.host_experts)
    assert there.device_bytes == pytest.approx(here.device_bytes, rel=0.08)


def test_the_asker_s_own_flags_stay_in_the_recipe() -> None:
    """A share of the memory that was asked for is in the command that comes out."""
    (target,) = targets(DeviceAsked(("h100",)))
    work = WorkAsked(engine="vllm --gpu-memory-utilization 0.5 --max-num-seqs 32 --enforce-eager")
    advice = advice_for("Qwen/Qwen3-8B", target, work, WantedAsked().wanted(), offline=True)
    assert advice.chosen is not None
    options = read_launch([recipe(advice.chosen)]).options
    assert (options.memory_fraction, options.max_sequences, options.graphs) == (0.5, 32, False)


def test_a_draft_s_flags_are_read_back() -> None:
    """The draft model and its length are in the options."""
    from advice import model, target

    from sizer.advise.draft import draft

    large = estimate(Question(model("Qwen/Qwen3-32B"), target("a100"), "q4_k_m", Workload(), engine="llama.cpp"))
    found = draft(large, model("Qwen/Qwen3-0.6B"))
    assert found is not None
    options = read_launch([recipe(large, draft=found)]).options
    assert options.draft_tokens == found.draft_tokens
    assert "Qwen3-0.6B" in options.draft_model
    with pytest.raises(UsageError):
        recipe(large, engine="exllamav2")
