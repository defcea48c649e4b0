"""Kernels of precisions: what the columns of data/precisions.csv tell, and what of formats that no row names."""

from __future__ import annotations

import pytest

from sizer.errors import UnknownPrecision
from sizer.formats import format_of
from sizer.speed.kernels import EIGHT_BITS, FOUR_BITS, build_of, core_kernel, packs_scales, precision_class
from sizer.tables import read_rows

APART = {"bitnet", "torchao-intx-int4"}
"""Told as four bits, though one stores two and the other eight: no row measures them."""


@pytest.mark.parametrize(
    ("precision", "kernel", "kernel_class"),
    [
        ("exl3-4.25bpw", "exl3", "exl3"),
        ("exl2-6.00bpw", "exl2", "exl2"),
        ("ud-q8_k_xl", "q8_0", "8bit"),
        ("iq2_xxs", "iq2", "low"),
        ("ud-q4_k_xl", "q4_k", "4bit"),
        ("bf16", "half", "float"),
        ("w8a8-int8", "w8a8-int8", "8bit"),
        ("gptq-int4-g32", "gptq-int4", "4bit"),
        ("gptq-int4-g-1", "gptq-int4", "4bit"),
        ("nf4-dq", "nf4", "4bit"),
        ("iq4_k_r4", "iq4_k_r4", "4bit"),
    ],
)
def test_precisions_share_kernels(precision: str, kernel: str, kernel_class: str) -> None:
    """A size letter, a group and a prefix make no kernel of their own; rows that are multiplied together do."""
    assert precision_class(precision) == (kernel, kernel_class)


@pytest.mark.parametrize(
    ("key", "kernel_class"), [("q6_0", "4bit"), ("nvfp4-mlx", "4bit"), ("fp8-plain", "8bit"), ("i8", "8bit")]
)
def test_a_format_that_no_row_names_is_its_own_kernel(key: str, kernel_class: str) -> None:
    """What a file's header tells and no precision is called has the class of its width."""
    assert precision_class(key) == (key, kernel_class)


def test_what_is_neither_precision_nor_format_is_refused() -> None:
    """No kernel is guessed out of a name."""
    with pytest.raises(UnknownPrecision):
        precision_class("iq3_s-rows")


def test_every_precision_has_a_kernel_of_its_width() -> None:
    """Each row of data/precisions.csv tells its kernel, and a class that its format's bits a weight bear out."""
    for row in read_rows("precisions.csv"):
        if row["kind"] == "ambiguous":
            continue
        assert row["kernel"], row
        assert row["kernel_class"] in {"float", "8bit", "4bit", "low", row["kernel"]}, row
        if row["kernel_class"] in {"8bit", "4bit", "low"} and row["format"] and row["name"] not in APART:
            bits = format_of(row["format"]).bits_per_weight
            assert row["kernel_class"] == ("8bit" if bits >= EIGHT_BITS else "4bit" if bits >= FOUR_BITS else "low"), (
                row
            )


def test_scales_that_are_quantized_too() -> None:
    """bitsandbytes' double quantization packs its scales; plain 4-bit floats and a file's own formats do not."""
    assert [packs_scales(name) for name in ("nf4-dq", "nf4", "q4_k_m", "nvfp4-mlx", "q6_0")] == [True] + [False] * 4


@pytest.mark.parametrize(
    ("runtime", "precision", "instructions", "kernel"),
    [
        ("transformers", "bf16", "amd avx512", "bf16"),
        ("transformers", "bf16", "intel avx512 vnni", "fp32"),
        ("transformers", "bf16", "amd avx2", "fp16"),
        ("transformers", "fp16", "amd avx512", "fp16"),
        ("transformers", "fp16", "intel amx", "bf16"),
        ("transformers", "bf16", "", "bf16"),
        ("llama.cpp", "bf16", "amd avx2", "bf16"),
    ],
)
def test_half_precisions_by_what_cores_multiply(runtime: str, precision: str, instructions: str, kernel: str) -> None:
    """oneDNN has products of bf16 from Zen 4 on, widens it on older AVX-512, and leaves it to loops elsewhere, as fp16;
    where nothing is known of the cores or the runtime, a precision is its own kernel."""
    assert core_kernel(runtime, precision, instructions) == kernel


@pytest.mark.parametrize("table", ["core_products.csv", "build_kernels.csv"])
def test_instructions_of_a_table_are_known(table: str) -> None:
    """Each name in a table of cores' kernels is one of data/cpu_instructions.csv."""
    known = {row["instructions"] for row in read_rows("cpu_instructions.csv")}
    assert {name for row in read_rows(table) for name in row["instructions"].split("|")} <= known


def test_builds_with_kernels_of_their_own() -> None:
    """llamafile brings kernels for cores with AVX2 and for Arm's dot products; on others it runs llama.cpp's."""
    assert build_of("llamafile 0.9 (LocalScore)", "cpu", "amd avx2") == "llamafile"
    assert build_of("llamafile 0.9", "cpu", "intel avx") == ""
    assert build_of("llamafile 0.9", "cuda", "amd avx2") == ""
    assert build_of("b4384", "cpu", "amd avx2") == ""
