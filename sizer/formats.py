"""Storage formats: how many bytes a matrix takes in each, in whole blocks, scales included.

A row of `data/formats.csv` describes a format by integers. A matrix W [rows, columns] (`columns` is the input
dimension) is cut into blocks of `block_elements` values in `block_bytes` bytes, along `axis`: each row on its own
(`row`), each column (`column`), all values in one run (`flat`), or the same value of as many groups (`groups`); a part
of a block takes a whole block. Beside them:

* `group_elements` values along the axis share `group_bytes` of scales (a group never crosses a row unless `flat` or
  `groups`; for `column` blocks the groups still run along the row), and `zero_bits` of zero point a group, packed in
  32-bit words over the rows;
* `nested_elements` groups share `nested_bytes` (double quantization: the scales of the scales);
* each `tile` x `tile` square has `tile_bytes`;
* `out_bytes` a row, `in_bytes` a column and `fixed_bytes` a matrix.

A checkpoint stores `checkpoint_tensors` tensors for one matrix.
"""

from __future__ import annotations

from dataclasses import fields, replace
from functools import lru_cache
from math import gcd

from sizer.errors import UnknownPrecision, did_you_mean
from sizer.frozen import dataclass

WORD_BITS = 32
"""Zero points are packed into words of so many bits."""
BIAS_SUFFIX = "+bias"
ZERO_SUFFIX = "+zero"
ORDER_SUFFIX = "+order"

# Other names of the same plain types: GGUF's and safetensors' own.
SAME_FORMAT = {"f32": "fp32", "f16": "fp16", "f64": "fp64", "float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}


def ceil_div(value: int, divisor: int) -> int:
    """`value / divisor`, rounded up."""
    return -(-value // divisor)


@dataclass(frozen=True, slots=True)
class Format:
    """One storage format; see the module's text for the fields. Sizes are bytes."""

    key: str
    block_elements: int
    block_bytes: int
    axis: str = "flat"
    group_elements: int = 0
    group_bytes: int = 0
    zero_bits: int = 0
    tile: int = 0
    tile_bytes: int = 0
    nested_elements: int = 0
    nested_bytes: int = 0
    out_bytes: int = 0
    in_bytes: int = 0
    fixed_bytes: int = 0
    checkpoint_tensors: int = 1
    source: str = ""

    def matrix_bytes(self, rows: int, columns: int) -> int:
        """Bytes of one matrix [rows, columns], data and scales."""
        size = self._data_bytes(rows, columns) + self._group_bytes(rows, columns)
        if self.tile:
            size += self.tile_bytes * ceil_div(rows, self.tile) * ceil_div(columns, self.tile)
        return size + self.out_bytes * rows + self.in_bytes * columns + self.fixed_bytes

    def _data_bytes(self, rows: int, columns: int) -> int:
        if self.axis == "row":
            return rows * ceil_div(columns, self.block_elements) * self.block_bytes
        if self.axis == "column":
            return columns * ceil_div(rows, self.block_elements) * self.block_bytes
        if self.axis == "groups":
            groups = ceil_div(rows * columns, self.group_elements)
            return ceil_div(groups, self.block_elements) * self.group_elements * self.block_bytes
        return ceil_div(rows * columns, self.block_elements) * self.block_bytes

    def _group_bytes(self, rows: int, columns: int) -> int:
        if not self.group_elements:
            return 0
        if self.axis in ("flat", "groups"):
            groups = ceil_div(rows * columns, self.group_elements)
            size = groups * self.group_bytes
            if self.nested_elements:
                size += ceil_div(groups, self.nested_elements) * self.nested_bytes
            return size
        groups = 1 if self.group_elements < 0 else ceil_div(columns, self.group_elements)
        zeros = ceil_div(rows * self.zero_bits, WORD_BITS) * WORD_BITS // 8
        return groups * (rows * self.group_bytes + zeros)

    def fits(self, columns: int) -> bool:
        """Whether rows of `columns` values are whole blocks (ggml refuses a row that is not)."""
        return columns % self.block_elements == 0

    @property
    def bits_per_weight(self) -> float:
        """Bits a weight of a 4096 x 4096 matrix takes, scales and constants included."""
        return self.matrix_bytes(4096, 4096) * 8 / 4096**2

    def with_group(self, elements: int) -> Format:
        """The same format with another group size; -1 is one group a row."""
        return replace(self, key=f"{self.key}-g{elements}", group_elements=elements)

    def with_bias(self) -> Format:
        """The same format with a 16-bit bias a row that the model does not have (AutoGPTQ of 2023)."""
        return replace(self, key=self.key + BIAS_SUFFIX, out_bytes=self.out_bytes + 2)

    def with_zero(self) -> Format:
        """The same format with a zero point of its own width for each group (asymmetric compressed-tensors)."""
        return replace(self, key=self.key + ZERO_SUFFIX, zero_bits=self.block_bytes * 8 // self.block_elements)

    def with_order(self) -> Format:
        """The same format with a 32-bit group index a column (compressed-tensors with actorder group)."""
        return replace(self, key=self.key + ORDER_SUFFIX, in_bytes=self.in_bytes + 4)

    def with_bits(self, hundredths: int) -> Format:
        """The same format at a stated number of hundredths of a bit per weight (EXL2, EXL3)."""
        common = gcd(hundredths, 100)  # so many runs of eight weights take a whole number of bytes: 100 / common
        key = f"{self.key}-{hundredths / 100:.2f}bpw"
        return replace(self, key=key, block_elements=800 // common, block_bytes=hundredths // common)


@lru_cache(maxsize=1)
def formats() -> dict[str, Format]:
    """Every format of `data/formats.csv` that has a fixed width, by key."""
    from sizer.tables import read_rows

    numbers = [name.name for name in fields(Format) if name.name not in ("key", "axis", "source")]
    return {
        row["key"]: Format(
            key=row["key"],
            axis=row["axis"],
            source=row["source"],
            **{name: int(row[name] or 0) for name in numbers},
        )
        for row in read_rows("formats.csv")
    }


def bits_hundredths(text: str) -> int:
    """`4.25bpw` in hundredths of a bit per weight."""
    return round(float(text.removesuffix("bpw")) * 100)


@lru_cache(maxsize=512)
def format_of(key: str) -> Format:
    """The format of a key, also with its group (`gptq-int4-g32`) or its bits (`exl2-4.00bpw`).

    Raises UnknownPrecision for a key that no row has.
    """
    table = formats()
    key = SAME_FORMAT.get(key, key)
    if key in table:
        return table[key]
    for suffix, add in (
        (BIAS_SUFFIX, Format.with_bias),
        (ZERO_SUFFIX, Format.with_zero),
        (ORDER_SUFFIX, Format.with_order),
    ):
        if key.endswith(suffix):
            return add(format_of(key.removesuffix(suffix)))
    base, _, group = key.rpartition("-g")
    if base in table and group.lstrip("-").isdecimal():
        return table[base].with_group(int(group))
    base, _, bits = key.rpartition("-")
    if base in table and bits.endswith("bpw"):
        return table[base].with_bits(bits_hundredths(bits))
    raise UnknownPrecision(f"no storage format is called {key!r}.", did_you_mean(key, table))
