"""Quantizations read from model names."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.model.read import name_quantization
from sizer.model.read.name_quantization import may_tell, quantization_in
from sizer.model.read.names import parse_name


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
