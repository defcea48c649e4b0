"""Sizes, experts and contexts read from model names."""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.model.read.name_only import like
from sizer.model.read.names import Confidence, parse_name
from sizer.model.read.resolve import resolve
from sizer.precision.store import store

NAMES = Path(__file__).parent.parent / "data" / "names" / "names.csv"
B, M = 10**9, 10**6

SIZES = [
    ("8B", 8 * B, None),
    ("8x7B", 56 * B, None),
    ("141B-A35B", 141 * B, 35 * B),
    ("Qwen3-30B-A3B", 30 * B, 3 * B),
    ("meta-llama/Llama-4-Scout-17B-16E", None, 17 * B),
    ("granite-3.0-1b-a400m", 1 * B, 400 * M),
    ("OLMoE-1B-7B", 7 * B, 1 * B),
    ("bloom-7b1", 7100 * M, None),
    ("pythia-410m", 410 * M, None),
    ("Refact-1_6B", 1600 * M, None),
    ("gemma-3n-E2B", None, 2 * B),
    ("Qwen1.5-MoE-A2.7B", None, 2700 * M),
    ("Mixtral_34Bx2_MoE_60B", 60 * B, None),
    ("c4ai-command-r7b-12-2024", 7 * B, None),
    ("Kimi-K2-1T-A32B", 1000 * B, 32 * B),
    ("stablelm-2-12b", 12 * B, None),
    ("llama_2_7b", 7 * B, None),
    ("internlm2_5-7b-chat-1m", 7 * B, None),
    ("qwen3:30b-a3b", 30 * B, 3 * B),
    ("8\N{MULTIPLICATION SIGN}7B", 56 * B, None),
    ("Ring-flash-2.0 (100B-A6.1B)", 100 * B, 6100 * M),
    ("TinyLlama-1.1B-intermediate-step-1431k-3T", 1100 * M, None),
    ("TinyLlama-1.1B-step-50K-105b", 1100 * M, None),
    ("llama-161M-100B", 161 * M, None),
    ("OLMo-2-0425-1B-stage1-step1907359-tokens4001B", 1 * B, None),
    ("Mistral-7B-v0.1-GPTQ-4bit-128g", 7 * B, None),
    ("ISTA-DASLab/gemma-3-27b-it-GPTQ-4b-128g", 27 * B, None),
    ("Yi-34B-6.0bpw-h6-exl2", 34 * B, None),
    ("Computing.2026.27B.Instruct", 27 * B, None),
    ("tfm-1p5b-alt", 1500 * M, None),
    ("StdMoE_1b14b_130B", 14 * B, 1 * B),
    ("Infinity-Instruct-3M-0625-Llama3-8B", 8 * B, None),
    ("Qwen3-1.7B-SFT-medical-2e-5", 1700 * M, None),
    ("Qwen3-MOE-4x1.7B-6.8B", 6800 * M, None),
    ("extGemma-40_5B", 40_500 * M, None),
    ("inclusionAI/Ling-1T", 1000 * B, None),
    ("llama3-8b-indonesia-law-assistant", 8 * B, None),
    ("Llama-3.1-8B-Instruct-quantized.w4a16", 8 * B, None),
]

NO_SIZES = [
    "phi-1_5", "Mistral-Nemo-Instruct-2407", "Phi-3-mini-128k-instruct", "LWM-Text-Chat-1M", "Devstral-Small-2507",
    "DeepSeek-V3.2", "gpt2-xl", "3T-tokens", "Q4_K_M.gguf", "4bit", "g128", "v0.3", "2.5", "0B", "0.0B",
    "99999999999999999999B", "t5gemma-2b-2b", "EAGLE3-LLaMA3.1-Instruct-8B", "llama213b", "8 bit", "W4A16", "mmproj-8B",
    "gemma-4-31B-it-qat-q4_0-unquantized-assistant",
    "Qwen3.8-27B-DFlash2", "Recurrent-TinyLlama-3T-train", "CreoleVal-CreoleM2M",
]  # fmt: skip


@pytest.mark.parametrize(("name", "total", "active"), SIZES)
def test_sizes(name: str, total: int | None, active: int | None) -> None:
    """Each spelling of a size on the hub is read as its authors mean it."""
    hints = parse_name(name)
    assert (hints.total_params, hints.active_params) == (total, active)


@pytest.mark.parametrize("name", NO_SIZES)
def test_what_is_no_size(name: str) -> None:
    """Versions, contexts, token counts, bits, groups, dates and contradictions tell no size."""
    hints = parse_name(name)
    assert (hints.total_params, hints.active_params, hints.confidence) == (None, None, Confidence.NONE)


def test_a_product_of_experts_says_that_it_is_too_high() -> None:
    """A sparse name gives the plain product, its experts and a note, at low confidence."""
    hints = parse_name("mistralai/Mixtral-8x7B-Instruct-v0.1")
    assert (hints.total_params, hints.experts, hints.confidence) == (56 * B, 8, Confidence.LOW)
    assert any("share" in note for note in hints.notes)


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("Yi-34B-200K", 200_000),
        ("Llama-3-8B-Instruct-262k", 262_144),
        ("Llama-3-8B-Instruct-Gradient-1048k", 1_048_576),
        ("Phi-3-mini-4k-instruct", 4096),
        ("Qwen2.5-7B-Instruct-1M", 1_000_000),
        ("TinyLlama-1.1B-intermediate-step-1431k-3T", None),
        ("TinyLlama-1.1B-step-32K-105b", None),
        ("MiniMax-M1-40k", None),
    ],
)
def test_contexts(name: str, tokens: int | None) -> None:
    """A context is read where the name advertises one; steps and thinking budgets are none."""
    assert parse_name(name).context_tokens == tokens


def _published() -> list[dict[str, str]]:
    with NAMES.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def test_published_names_that_tell_their_size() -> None:
    """Every such name is read; 93 % within 15 % of the published total, none beyond 35 %."""
    rows = [row for row in _published() if row["in_name"] == "yes"]
    errors = []
    for row in rows:
        total = parse_name(row["name"]).total_params
        assert total is not None, row["name"]
        errors.append(abs(total / B / float(row["total_b"]) - 1))
    assert max(errors) < 0.35
    assert sum(error <= 0.15 for error in errors) >= 0.93 * len(rows)


def test_published_names_that_do_not_tell_their_size() -> None:
    """None of them is read wrong with high confidence."""
    for row in _published():
        hints = parse_name(row["name"])
        if row["in_name"] == "no" and hints.total_params and hints.confidence is Confidence.HIGH:
            assert hints.total_params / B == pytest.approx(float(row["total_b"]), rel=0.15), row["name"]


def test_published_active_sizes() -> None:
    """An active size that a name tells is within 35 % of the published one."""
    for row in _published():
        active = parse_name(row["name"]).active_params
        if row["active_b"] and active:
            assert active / B == pytest.approx(float(row["active_b"]), rel=0.35), row["name"]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=450) | st.text(alphabet="0123456789bBmMtTkKxXaAeE.-_/: qQ", max_size=60))
def test_any_text_is_read_without_an_error(text: str) -> None:
    """No text raises; sizes are positive, active is at most total, and no size means no confidence."""
    hints = parse_name(text)
    sizes = [size for size in (hints.total_params, hints.active_params) if size is not None]
    assert all(size > 0 for size in sizes)
    assert (hints.confidence is Confidence.NONE) == (not sizes)
    if len(sizes) == 2:
        assert hints.active_params <= hints.total_params  # type: ignore[operator]


@settings(max_examples=200, deadline=None)
@given(
    family=st.sampled_from(["Llama-3.1", "Qwen2.5", "gemma-2", "Mistral", "Yi-1.5", "org/Falcon3", "stablelm-2"]),
    size=st.sampled_from(["0.5B", "1.5b", "7B", "70B", "350M", "405B", "13b"]),
    rest=st.lists(
        st.sampled_from(
            ["Instruct", "v0.3", "2507", "128k", "GPTQ-Int4", "AWQ", "4bit", "Q4_K_M", "FP8", "g128", "hf"]
        ),
        max_size=4,
    ),
)
def test_what_surrounds_a_size_does_not_change_it(family: str, size: str, rest: list[str]) -> None:
    """Version, tuning, date, context and quantization around one plain size leave it as it is."""
    scale = B if size[-1] in "bB" else M
    assert parse_name("-".join([family, size, *rest])).total_params == round(float(size[:-1]) * scale)


@pytest.mark.parametrize("total", [185_000_000_000, 200_000_000_000, 235_000_000_000])
def test_a_model_of_linear_subclasses_is_scaled_too(total: int) -> None:
    """Falcon's matrices are a module of its own: they grow with the size, and no lump of 16 bits makes up for them."""
    shaped = like("tiiuae/falcon-180B-chat", total, None)
    assert shaped is not None
    assert shaped.total_params == total
    rest = sum(tensor.total_elements for tensor in shaped.tensors if tensor.name.startswith("rest"))
    assert rest < total / 1000
    assert store(shaped, "q4_k_m").weights_bytes < 0.7 * total


@pytest.mark.parametrize(
    ("size", "named"),
    [("235B", "Qwen/Qwen3-235B-A22B"), ("671B", "deepseek-ai/DeepSeek-V3"), ("8B", ""), ("70B", ""), ("235B-A22B", "")],
)
def test_a_size_that_mixtures_alone_have_says_so(size: str, named: str) -> None:
    """A bare size is read as a dense model's; where only mixtures are published with it, one of them is named."""
    notes = [note for note in resolve(size, offline=True).architecture.notes if note.startswith("Taken as dense")]
    assert bool(notes) is bool(named)
    assert all(named in note for note in notes)
