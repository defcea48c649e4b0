"""What multiplies a precision's weights: its kernel, the kernel's wider class, and the peaks it may reach."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache

from sizer.errors import UnknownPrecision
from sizer.formats import format_of
from sizer.precision.names import precision_of
from sizer.tables import read_rows

EIGHT_BITS, FOUR_BITS = 7, 4
"""Bits a weight, scales included, from which on a format is of the class of eight bits and of that of four, as the rows
are: Q6_K (6.6) is of the class of four, a 3-bit type with its scales (3.4 to 3.5) of none of both."""


@cache
def precision_class(name: str) -> tuple[str, str]:
    """A precision's kernel (`q4_k` of `ud-q4_k_xl`, `exl3` of `exl3-4.25bpw`) and its wider class (`4bit`, `low` …):
    the columns of `data/precisions.csv`. A file's format that no row names is a kernel of its own."""
    try:
        precision = precision_of(name)
    except UnknownPrecision:
        bits = format_of(name).bits_per_weight
        return name, "8bit" if bits >= EIGHT_BITS else "4bit" if bits >= FOUR_BITS else "low"
    return precision.kernel, precision.kernel_class


def names_one(kernels: str, wanted: Collection[str]) -> bool:
    """Whether a list of kernels and their classes names one of these, or none at all."""
    return not kernels or any(kernel in wanted for kernel in kernels.split())


@cache
def core_kernel(runtime: str, precision: str, instructions: str) -> str:
    """The kernel that multiplies a half precision on a CPU's cores: its own (bf16 and fp16 are two), or where they have
    no products of it that of the precision which it is widened to or looped over as (`data/core_products.csv`)."""
    rows = (row for row in read_rows("core_products.csv") if (row["runtime"], row["precision"]) == (runtime, precision))
    return next((row["kernel"] for row in rows if instructions in row["instructions"].split("|")), precision)


@cache
def build_of(version: str, backend: str, instructions: str) -> str:
    """The build of an engine that brings kernels of its own for a backend and for cores of these instructions, as a
    version's first word names it (`data/build_kernels.csv`); empty for any other."""
    rows = (row for row in read_rows("build_kernels.csv") if row["backend"] == backend)
    told = (row["build"] for row in rows if instructions in row["instructions"].split("|"))
    return next((build for build in told if build == version.split(" ", maxsplit=1)[0]), "")


@cache
def packs_scales(name: str) -> bool:
    """Whether a precision's scales are quantized too: the kernel is that of plain ones, and unpacks them first."""
    try:
        return format_of(precision_of(name).format).nested_elements > 0
    except UnknownPrecision:
        return False


@cache
def product_type(kernel: str) -> str:
    """The peak that a precision's kernel multiplies at (`fp8`); empty where it is the 16-bit one."""
    return _products_row(kernel).get("peak", "")


@cache
def served_products(kernel: str) -> tuple[str, ...]:
    """The peaks that a server's products may reach with a precision's kernel, the highest that the device has."""
    return tuple(_products_row(kernel).get("served", "").split())


@cache
def _products_row(kernel: str) -> dict[str, str]:
    return next((row for row in read_rows("product_types.csv") if kernel in row["kernels"].split()), {})
