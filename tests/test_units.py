"""Quantities: parsed as written, formatted with their true names."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.errors import InvalidQuantity, did_you_mean, nearest
from sizer.units import (
    GB,
    MIB,
    format_bandwidth,
    format_count,
    format_gib,
    format_rate,
    format_seconds,
    parse_bytes,
    parse_flops,
    parse_rate,
    parse_tokens,
    parse_whole,
)

BYTES = [
    ("24GiB", 24 * 2**30),
    ("24GB", 24 * 10**9),
    ("24 gb", 24 * 10**9),
    ("24g", 24 * 10**9),
    ("1.5 GiB", 3 * 2**29),
    ("512MiB", 2**29),
    ("2TiB", 2**41),
    ("16384", 16384),
    ("80Gi", 80 * 2**30),
]


@pytest.mark.parametrize(("text", "expected"), BYTES)
def test_bytes_as_written(text: str, expected: int) -> None:
    """GiB is 2^30 and GB is 10^9, whatever the spelling."""
    assert parse_bytes(text) == expected


RATES = [("936GB/s", 936e9), ("3.35 TB/s", 3.35e12), ("1TB/s", 1000e9), ("600 GiB/s", 600 * 2**30), ("50GBps", 50e9)]


@pytest.mark.parametrize(("text", "expected"), RATES)
def test_rates_as_written(text: str, expected: float) -> None:
    """A terabyte a second is a thousand gigabytes a second, no more."""
    assert parse_rate(text) == expected


@pytest.mark.parametrize(("text", "expected"), [("71TFLOPS", 71e12), ("0.5 PFLOPS", 5e14), ("312 tflops/s", 312e12)])
def test_flops_as_written(text: str, expected: float) -> None:
    """Compute rates are decimal."""
    assert parse_flops(text) == expected


@pytest.mark.parametrize("text", ["", "GB", "-3GB", "0GB", "24 potatoes", "1e999GB", "nanGB", "24GB/s"])
def test_bad_bytes_name_the_text(text: str) -> None:
    """What is no amount of memory is refused with the user's own text."""
    with pytest.raises(InvalidQuantity) as caught:
        parse_bytes(text)
    assert repr(text) in caught.value.message


@pytest.mark.parametrize("parse", [parse_bytes, parse_rate, parse_flops])
@given(text=st.text(max_size=30) | st.from_regex(r"[0-9]{1,4}(\.[0-9]+)? ?[kKmMgGtT]?i?[bB]?(/s)?", fullmatch=True))
def test_parsers_raise_only_their_error(parse: Callable[[str], float], text: str) -> None:
    """Any text parses to a number that is not negative, or raises InvalidQuantity."""
    with suppress(InvalidQuantity):
        assert parse(text) >= 0


@given(st.integers(min_value=1, max_value=2**50))
def test_gib_round_trips(size_bytes: int) -> None:
    """What is printed as GiB parses back to within its last digit."""
    printed = format_gib(size_bytes)
    if size_bytes >= 2**30:
        assert abs(parse_bytes(printed) - size_bytes) <= 0.006 * 2**30


def test_formats() -> None:
    """Printed figures carry their unit and no false digits."""
    assert format_gib(6.2 * 2**20) == "6.2 MiB"
    assert format_gib(0) == "0.00 GiB"
    assert format_bandwidth(2.039e12) == "2,039 GB/s"
    assert format_count(8_030_261_248) == "8.03B"
    assert format_count(596_049_920) == "596M"
    assert format_rate(1234.5) == "1,234"
    assert format_rate(12.345) == "12.3"
    assert format_seconds(0.01234) == "12.3 ms"
    assert format_seconds(300) == "5 min"


@pytest.mark.parametrize(
    "text",
    [format_seconds(0.9996), format_seconds(999.6), format_seconds(1e6), format_count(999.7e9), format_count(3e16)],
)
def test_figures_for_people_have_no_exponent(text: str) -> None:
    """What rounds up to the next power of a thousand, and what is huge, is written with its digits."""
    assert "e+" not in text


def test_nearest_names() -> None:
    """A misspelt name is answered with the nearest ones, none when nothing is near."""
    assert nearest("rtx-409", ["rtx-4090", "a100"]) == ["rtx-4090"]
    assert did_you_mean("rtx-409", ["rtx-4090"]) == "Did you mean 'rtx-4090'?"
    assert did_you_mean("zzzz", ["rtx-4090"]) == ""


@pytest.mark.parametrize("number", [1, 640, 8192, 32_768, 131_072, 1_048_576, 123_456_789])
def test_what_is_printed_is_read(number: int) -> None:
    """A figure that an answer shows with its commas can be typed as it stands: tokens, counts, bytes, rates."""
    assert parse_tokens(f"{number:,}") == parse_whole(f"{number:,}") == number
    assert parse_bytes(f"{number:,} MiB") == number * MIB
    assert parse_rate(f"{number:,} GB/s") == number * GB
    assert parse_flops(f"{number:,}GFLOPS") == number * GB
    assert parse_rate(format_bandwidth(1008 * GB)) == 1008 * GB


@pytest.mark.parametrize("text", ["24,5GiB", "1,2,3", "1,0000", ",123", "12,34", "1,234,5", "1.5,000"])
def test_other_commas_are_refused(text: str) -> None:
    """A comma that parts no groups of three may be a decimal one: nobody guesses which."""
    with pytest.raises(InvalidQuantity):
        parse_bytes(text if text.endswith("B") else f"{text}GiB")
