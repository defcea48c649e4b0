"""Quantizations read from model names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sizer
from sizer.errors import UsageError
from sizer.model.read import name_quantization
from sizer.model.read.name_quantization import Told, may_tell, quantization_in
from sizer.model.read.names import parse_name
from sizer.precision.names import precision_of


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("Llama-3.1-8B-Instruct-Q4_K_M.gguf", "q4_k_m"),
        ("mistral-7b-instruct-v0.2.Q5_K_S.gguf", "q5_k_s"),
        ("Llama-4-Scout-17B-16E-Instruct-Q4_K_M-00001-of-00002.gguf", "q4_k_m"),
        ("Qwen3-30B-A3B-Instruct-2507-UD-Q4_K_XL.gguf", "ud-q4_k_xl"),
        ("bartowski/Qwen2.5-32B-Instruct-GGUF:IQ4_XS", "iq4_xs"),
        ("gemma-3-27b-it-qat-q4_0.gguf", "q4_0"),
        ("model-Q6_K_L.gguf", "q6_k_l"),
        ("model-Q4_K.gguf", "q4_k_m"),
        ("Qwen3-235B-A22B-mix-IQ3_K-00001-of-00003.gguf", "iq3_k"),
        ("DeepSeek-R1-0528-IQ4_KS_R4.gguf", "iq4_ks"),
        ("Qwen3-8B-IQ4_KSS.gguf", "iq4_kss"),
        ("Qwen3-8B-IQ4_XS_R8.gguf", "iq4_xs"),
        ("TheBloke/Llama-2-7B-Chat-GPTQ", "gptq-int4"),
        ("Qwen2.5-72B-Instruct-GPTQ-Int8", "gptq-int8"),
        ("vicuna-13B-1.1-GPTQ-4bit-128g", "gptq-int4"),
        ("TheBloke/Llama-2-70B-GPTQ:gptq-4bit-32g-actorder_True", "gptq-int4-g32"),
        ("ISTA-DASLab/gemma-3-27b-it-GPTQ-4b-128g", "gptq-int4"),
        ("Meta-Llama-3-70B-Instruct-AWQ", "awq-int4"),
        ("Qwen2.5-Coder-32B-Instruct-exl2-4.25bpw", "exl2-4.25bpw"),
        ("Yi-34B-6.0bpw-h6-exl2", "exl2-6.00bpw"),
        ("bartowski/Qwen2.5-32B-Instruct-exl2-4_25", "exl2-4.25bpw"),
        ("RedHatAI/Llama-3.3-70B-Instruct-NVFP4A16", "nvfp4"),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "nf4"),
        ("x-bnb-8bit", "int8"),
        ("mlx-community/Qwen3-4B-4bit", "mlx-4bit"),
        ("RedHatAI/Llama-3.1-8B-quantized.w4a16", "w4a16-int4"),
        ("x-7B-quantized.w8a8", "w8a8-int8"),
        ("Meta-Llama-3.1-405B-Instruct-FP8-dynamic", "fp8"),
        ("nvidia/Qwen3-32B-NVFP4", "nvfp4"),
        ("nvidia/DeepSeek-R1-FP4", "nvfp4"),
        ("gpt-oss-20b-MXFP4", "mxfp4"),
        ("NVIDIA-Nemotron-3-Nano-30B-A3B-BF16", "bf16"),
        ("Phi-3-mini-4k-instruct-q4.gguf", None),
        ("someone/Llama-8B-4bit", None),
        ("someone/Llama-8B-6.0bpw", None),
        ("Falcon3-10B-Instruct-1.58bit", None),
        ("Qwen/Qwen3-8B", None),
        ("", None),
    ],
)
def test_quantization(name: str, precision: str | None) -> None:
    """A scheme that the name tells gets its canonical name; one that it leaves open gets none."""
    assert parse_name(name).quantization == precision


def test_bits_without_a_scheme_say_so() -> None:
    """`4bit` alone does not tell the scheme, and the notes say that."""
    assert any("scheme" in note for note in parse_name("Llama-8B-4bit").notes)


PIECES = [
    "Llama",
    "Q",
    "8B",
    "q4",
    "K",
    "M",
    "g",
    "gs",
    "128",
    "-",
    "_",
    ".",
    "int",
    "4",
    "bit",
    "w",
    "a16",
    "nf",
    "AWQ",
    "/",
]


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30) | st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_the_sieve_before_the_patterns_loses_nothing(text: str) -> None:
    """A name that the cheap sieve passes over is one that the patterns would leave as it is."""
    expected = quantization_in(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(name_quantization, "may_tell", lambda _whole: True)
        assert quantization_in(text) == expected
    assert may_tell(text) or expected[:2] == (None, ())


def test_a_word_of_a_name_is_no_scheme() -> None:
    """`ov` is OpenVINO behind a format only: elsewhere it is a part of the name."""
    assert parse_name("llava-hf/llava-onevision-qwen2-72b-ov-hf").notes == ()
    assert "ov" in parse_name("OpenVINO/Qwen3-8B-int4-ov").notes[0]


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("ISTA-DASLab/Meta-Llama-3-8B-Instruct-AQLM-2Bit-1x16", "aqlm-2bit"),
        ("mobiuslabsgmbh/Llama-3.1-8b-instruct_4bitgs64_hqq_calib", "hqq-4bit"),
        ("someone/Llama-3.1-8B-hqq-3bit-gs128", "hqq-3bit-g128"),
        ("Intel/Qwen3-8B-int4-AutoRound", "gptq-int4"),
        ("Intel/Qwen3-8B-AutoRound", "gptq-int4"),
        ("OPEA/Qwen2.5-7B-Instruct-int4-sym-inc", "gptq-int4"),
        ("RedHatAI/Qwen3-8B-MXFP8", "mxfp8"),
    ],
)
def test_schemes_of_few_copies_are_read(name: str, precision: str) -> None:
    """What a copy is stored in stands in its name, and its bytes are known."""
    assert quantization_in(name).precision == precision
    assert precision_of(precision)


@pytest.mark.parametrize(
    "name",
    [
        "VPTQ-community/Meta-Llama-3.1-8B-Instruct-v8-k65536-4096-woft",
        "relaxml/Llama-2-7b-E8P-2Bit",
        "meta-llama/Llama-3.2-1B-Instruct-SpinQuant_INT4_EO8",
        "ISTA-DASLab/Llama-2-7b-AQLM-2Bit-8x8-hf",
        "someone/Mixtral-8x7B-attn-4bit-moe-2bit-HQQ",
        "OpenVINO/Qwen3-8B-int8-ov",
        "onnx-community/Qwen3-0.6B-ONNX",
        "lmsys/Qwen3-8B-W4AFP8",
    ],
)
def test_a_copy_of_a_scheme_that_is_not_sized_is_not_told_as_unquantized(name: str) -> None:
    """One line says so, for a model and for a command; a precision that is named is told."""
    with pytest.raises(UsageError, match="a kind that sizer does not size"):
        sizer.estimate(name, device="h100", offline=True)
    with pytest.raises(UsageError, match="a kind that sizer does not size"):
        sizer.check(["vllm", "serve", name], device="h100", offline=True)
    told = sizer.estimate(name, device="h100", precision="bf16", offline=True)
    assert [item.precision for item in told.estimates] == ["bf16"]


def test_bits_without_a_scheme_are_told_as_as_many_bits() -> None:
    """Four bits that no name calls GPTQ's or AWQ's take what theirs take: 16 bits would be three times too many."""
    told = sizer.estimate("pytorch/Qwen3-8B-INT4", device="h100", offline=True).estimates[0]
    assert told.precision == "w4a16-int4"
    assert quantization_in("bosonai/Higgs-Llama-3-70B") == Told(rest="Higgs-Llama-3-70B")
