"""What multiplies a precision's weights: its kernel, the kernel's wider class, and the peaks it may reach."""

from __future__ import annotations

import re
from functools import cache

from sizer.tables import read_rows

DOUBLE = "-dq"
"""Scales that are quantized too: the kernel is that of plain ones, and unpacks them first."""


@cache
def precision_class(name: str) -> tuple[str, str]:
    """A precision's kernel (`q4_k` of `ud-q4_k_xl`, `exl3` of `exl3-4.25bpw`) and its wider class (`4bit`, `low` …)."""
    kernel = re.sub(r"_(xxs|xs|s|m|l|xl|p|moe)$", "", name.removeprefix("ud-"))
    kernel = re.sub(r"-g\d+$", "", kernel)
    kernel = {"fp16": "half", "bf16": "half", "q8_k": "q8_0"}.get(kernel, kernel).removesuffix(DOUBLE)
    if kernel in {"half", "fp32"}:
        return kernel, "float"
    trellis = re.match(r"exl\d", kernel)
    if trellis:
        return trellis[0], trellis[0]  # one kernel unpacks every width, at a cost of its own
    bits = re.search(r"\d+(?:\.\d+)?", kernel.replace("w4a16", "4").replace("w8a8", "8").replace("mxfp4", "4"))
    width = round(float(bits[0])) if bits else 4
    return kernel, "8bit" if width >= 7 else "4bit" if width >= 4 else "low"


@cache
def product_type(kernel: str) -> str:
    """The peak that a precision's kernel multiplies at (`fp8`); empty where it is the 16-bit one."""
    return _products_row(kernel).get("peak", "")


@cache
def served_products(kernel: str) -> tuple[str, ...]:
    """The peaks that a server's products may reach with a precision's kernel, the highest that the device has."""
    return tuple(_products_row(kernel).get("served", "").split())


def _products_row(kernel: str) -> dict[str, str]:
    return next((row for row in read_rows("product_types.csv") if kernel in row["kernels"].split()), {})
