"""Names of precisions: spellings, rules, engines and what is refused."""

from __future__ import annotations

import csv
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.errors import UnknownPrecision
from sizer.formats import format_of
from sizer.precision.names import all_precisions, canonical, engines_of, precision_of
from sizer.tables import data_path

SPELLINGS = {
    "FP16": "fp16", "torch.float16": "fp16", "half": "fp16", "BFloat16": "bf16", "float32": "fp32",
    "LLM.int8": "int8", "bnb-8bit": "int8", "load_in_8bit": "int8", "bnb-4bit": "nf4", "bitsandbytes nf4": "nf4",
    "NF4 double quant": "nf4-dq", "QLoRA": "nf4-dq", "FP8 dynamic": "fp8", "fp8_e4m3": "fp8", "fp8_block": "fp8-block",
    "INT4": "w4a16-int4", "w4a16_g128": "w4a16-int4", "int4_wo": "w4a16-int4", "INT4-G32": "w4a16-int4-g32",
    "W8A8": "w8a8-int8", "GPTQ": "gptq-int4", "GPTQ-Int8": "gptq-int8", "GPTQ-4bit g32 act-order": "gptq-int4-g32",
    "gptq-4bit-32g": "gptq-int4-g32", "gptq_int4_g64": "gptq-int4-g64", "gptq-int4-g-1": "gptq-int4-g-1",
    "GPTQ-4bit g128 act-order": "gptq-int4", "AWQ": "awq-int4", "awq int4 g64": "awq-int4-g64", "INT4 AWQ / INT4 AWQ":
    "awq-int4", "MXFP4": "mxfp4", "NVFP4": "nvfp4", "MLX 4bit": "mlx-4bit", "mlx-q8": "mlx-8bit", "MLX q4 g32":
    "mlx-4bit-g32", "EXL2 4.25 bpw": "exl2-4.25bpw", "exl3-6.0bpw-mcg": "exl3-6.00bpw", "exl2-4bpw": "exl2-4.00bpw",
    "Q4_K_M": "q4_k_m", "q4km": "q4_k_m", "Q4-K-M": "q4_k_m", "Q4_K - Small": "q4_k_s", "gguf:Q4_K_M": "q4_k_m",
    "Q4_K_M.gguf": "q4_k_m", "ollama default (Q4_K_M)": "q4_k_m", "IQ4_XS - 4.25 bpw": "iq4_xs", "Q8": "q8_0",
    "Q4_0 (QAT)": "q4_0", "UD-Q4_K_XL": "ud-q4_k_xl", "ud_iq2_xxs": "ud-iq2_xxs", "UD-Q6_K": "ud-q6_k", "Q4_K_L":
    "q4_k_l", "Q3_K_XL": "q3_k_xl", "MXFP4_MOE": "mxfp4_moe", "IQ4_XS_R8": "iq4_xs_r8", "TQ1_0": "tq1_0", "Q5_K":
    "q5_k_m", "ISQ q4_k": "q4_k", "HQQ": "hqq-4bit", "hqq 2bit g16": "hqq-2bit-g16", "AQLM 2-bit": "aqlm-2bit",
    "QuIP# 2-bit": "quip-2bit", "quanto-int4": "quanto-int4", "torchao int8wo": "torchao-int8", "gf4": "gf4",
}  # fmt: skip
AMBIGUOUS = ["8bit", "4-bit", "Q4", "W4", "2-bit", "q3", "Medium", "(not stated)", "MQ4", "4-bit GGUF"]


@pytest.mark.parametrize(("text", "name"), SPELLINGS.items())
def test_common_spellings_have_one_name(text: str, name: str) -> None:
    """What people write becomes the canonical name."""
    assert canonical(text) == name


@pytest.mark.parametrize("name", [*all_precisions(), *sorted(set(SPELLINGS.values()))])
def test_a_canonical_name_is_its_own(name: str) -> None:
    """Canonical names are fixed points, lower case or not, and have a format, engines and a source."""
    assert canonical(name) == name == canonical(name.upper())
    row = precision_of(name)
    assert engines_of(name)
    assert row.source
    assert format_of(row.format).bits_per_weight > 0


def test_every_measured_precision_resolves_to_itself() -> None:
    """Each precision of the measurements, and each quantization mode of the serving table, is known."""
    with data_path("measurements.csv").open(encoding="utf-8", newline="") as lines:
        names = {row["precision"] for row in csv.DictReader(lines)} - {""}
    assert len(names) > 50
    for name in names:
        assert canonical(name) == name
    with data_path("serving.csv").open(encoding="utf-8", newline="") as lines:
        modes = {row["gemm_quant_mode"] for row in csv.DictReader(lines)} - {""}
    assert {canonical(mode) for mode in modes} == {"fp8", "fp8-block", "nvfp4", "w4a16-int4"}


@pytest.mark.parametrize("text", AMBIGUOUS)
def test_a_spelling_of_several_formats_is_refused_with_the_reason(text: str) -> None:
    """Bits alone name no format: the error says why, and quotes the text."""
    with pytest.raises(UnknownPrecision, match="names no one format") as refused:
        canonical(text)
    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(("text", "near"), [("q4_k_n", "q4_k_m"), ("gptq-int5", "gptq-int4"), ("nvfp5", "nvfp4")])
def test_a_misspelling_is_refused_with_the_nearest(text: str, near: str) -> None:
    """An unknown name is an error that quotes it and offers the nearest."""
    with pytest.raises(UnknownPrecision) as refused:
        canonical(text)
    assert repr(text) in str(refused.value)
    assert repr(near) in str(refused.value)


@pytest.mark.parametrize(
    "text", ["", "exl2", "exl2-99bpw", "exl2-0.5bpw", "gptq-int4-g3", "ud-nf4", "q4_k_m_r9", "x" * 999]
)
def test_nonsense_is_refused(text: str) -> None:
    """Widths, groups and combinations that no format has are errors."""
    with pytest.raises(UnknownPrecision):
        canonical(text)


@given(st.text(max_size=80))
def test_any_text_is_known_or_refused(text: str) -> None:
    """The parser answers or raises UnknownPrecision, whatever the text; an answer is a fixed point."""
    try:
        name = canonical(text)
    except UnknownPrecision:
        return
    assert canonical(name) == name


def test_the_engines_of_the_contract_run_what_is_theirs() -> None:
    """The usual engine comes first, and the others that run a format are listed."""
    assert engines_of("q4_k_m")[0] == "llama.cpp"
    assert engines_of("nf4")[0] == "transformers"
    assert engines_of("mlx-4bit")[0] == "mlx-lm"
    assert engines_of("exl2-4.00bpw") == ("exllamav2",)
    assert "tensorrt-llm" in engines_of("nvfp4")
    assert "vllm" in engines_of("gptq-int4-g32")


@pytest.mark.parametrize("text", ["exl2", "EXL3", "exl3-99bpw", "exl2 0.5bpw"])
def test_a_scheme_of_many_widths_asks_for_one(text: str) -> None:
    """`exl2` alone, or with bits that it does not have, is told what to write, which is known, and not itself."""
    with pytest.raises(UnknownPrecision, match="bits per weight") as refused:
        canonical(text)
    [offered] = re.findall(r"exl[23]-\d\.\d\dbpw", refused.value.hint)
    assert canonical(offered) == offered
