"""Storage formats: block tables and bytes of one matrix."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.errors import UnknownPrecision
from sizer.formats import format_of, formats
from sizer.model.read.headers_gguf import GGML_TYPES

# gguf 0.19 says 40 bytes for Q8_1; ggml's C struct has two halves and 32 bytes. No file stores the type.
KNOWN_EXCEPTIONS = {"q8_1": (32, 36)}
# In ggml's C, not yet in gguf 0.19.
NEWER_THAN_GGUF = {"q2_0"}
shapes = st.tuples(st.integers(1, 4096), st.integers(1, 4096))


def test_blocks_equal_those_of_the_gguf_package() -> None:
    """Every ggml type has the block that gguf has, but for the recorded exceptions."""
    import gguf

    for kind, block in gguf.GGML_QUANT_SIZES.items():
        name = kind.name.lower()
        found = format_of(name)
        assert (found.block_elements, found.block_bytes) == KNOWN_EXCEPTIONS.get(name, block), name
    for name in NEWER_THAN_GGUF:
        assert name not in {kind.name.lower() for kind in gguf.GGML_QUANT_SIZES}


def test_the_header_reader_knows_the_same_types() -> None:
    """Every type number of gguf is read, as the format of its name."""
    import gguf

    for kind in gguf.GGML_QUANT_SIZES:
        assert format_of(GGML_TYPES[int(kind)]) is format_of(kind.name.lower()), kind


def test_every_format_names_its_source_and_whole_blocks() -> None:
    """A row states where it comes from, and blocks are positive integers (EXL2 and EXL3 take their bits by name)."""
    for key, row in formats().items():
        assert row.source, key
        assert row.block_elements > 0, key
        assert row.block_bytes > 0 or key in ("exl2", "exl2-head", "exl3"), key


@pytest.mark.parametrize(
    ("key", "rows", "columns", "size"),
    [
        ("fp8-block", 129, 128, 129 * 128 + 2 * 4),
        ("bnb-nf4", 3, 43, 65 + 3 * 4 + 64),
        ("bnb-nf4-dq", 4096, 4096, 4096 * 2048 + 262144 + 1024 * 4 + 1024 + 4 + 64),
        ("gptq-int4", 4096, 4096, 4096 * 2048 + 32 * 4096 * 2 + 32 * 2048 + 4 * 4096),
        ("gptq-int3-g-1", 64, 64, 64 * 24 + 64 * 2 + 24 + 4 * 64),
        ("awq-int4", 4096, 4096, 4096 * 2048 + 32 * 4096 * 2 + 32 * 2048),
        ("w4a16-int4", 100, 130, 4 * 100 * 17 + 2 * 100 * 2 + 16),
        ("nvfp4-linear", 16, 64, 512 + 64 + 8),
        ("mxfp4", 10, 64, 10 * 2 * 17),
        ("mlx-4bit", 8, 128, 8 * 64 + 8 * 2 * 4),
        ("q4_k", 2, 512, 2 * 2 * 144),
        ("exl2-4.25bpw", 8, 32, 8 * 17 + 4 * 32),
        ("aqlm-2bit", 16, 64, 256 + 1048576 + 32),
    ],
)
def test_bytes_of_one_matrix(key: str, rows: int, columns: int, size: int) -> None:
    """The published layout of each scheme, part by part, partial blocks and groups rounded up."""
    assert format_of(key).matrix_bytes(rows, columns) == size


@given(st.sampled_from(sorted(set(formats()) - {"exl2", "exl2-head", "exl3"})), shapes, shapes)
def test_a_larger_matrix_never_needs_less(key: str, first: tuple[int, int], second: tuple[int, int]) -> None:
    """Bytes never fall when rows and columns grow."""
    smaller = (min(first[0], second[0]), min(first[1], second[1]))
    larger = (max(first[0], second[0]), max(first[1], second[1]))
    assert format_of(key).matrix_bytes(*smaller) <= format_of(key).matrix_bytes(*larger)


@given(st.integers(100, 1600), st.integers(100, 1600), shapes)
def test_more_bits_never_need_less(first: int, second: int, shape: tuple[int, int]) -> None:
    """EXL2 at more bits per weight needs at least as many bytes, within a block's rounding."""
    low, high = (format_of("exl2").with_bits(bits) for bits in sorted((first, second)))
    assert low.matrix_bytes(*shape) <= high.matrix_bytes(*shape) + low.block_bytes


@given(st.sampled_from([8, 16, 32, 64, 128, 256, -1]), shapes)
def test_smaller_groups_never_need_less(group: int, shape: tuple[int, int]) -> None:
    """Halving a group adds scales, one group a row has fewest."""
    base = format_of("gptq-int4")
    halved = base.with_group(group // 2 if group > 0 else 4096)
    assert base.with_group(group).matrix_bytes(*shape) <= halved.matrix_bytes(*shape)


def test_an_unknown_format_is_an_error_with_the_nearest() -> None:
    """The error quotes the key and offers what is near."""
    with pytest.raises(UnknownPrecision, match=r"'q4_kk'.*'q4_k'"):
        format_of("q4_kk")
