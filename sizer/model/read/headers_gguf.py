"""The GGUF header: key-value pairs and tensor infos, versions 2 and 3, of either byte order.

The format is https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. A length is checked against the file and the
limits before a byte of it is read; long arrays (tokens, merges, scores) are stepped over, never built.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from sizer.formats import format_of
from sizer.model.read.headers import MAX_DIMENSION, ByteSource, Header, HeaderTensor, invalid, merge, open_shard

# The largest published headers (262,144 tokens with merges) take some 16 MB.
MAX_HEADER_BYTES = 64 * 2**20
MAX_PAIRS = 16_384
MAX_TENSORS = 65_536
MAX_NAME_BYTES = 1024
# A list with an entry a layer (heads, windows) is kept, the vocabulary is not.
MAX_KEPT_ARRAY = 4096
MAX_KEPT_STRING_BYTES = 65_536
MAX_ARRAY_STRINGS = 2**22
MAX_DIMENSIONS = 4
READ_AHEAD_BYTES = 2**16

# ggml.h's `enum ggml_type`: the number in the file, sizer's name of the format.
GGML_TYPES = {
    0: "fp32", 1: "fp16", 2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 9: "q8_1", 10: "q2_k", 11: "q3_k",
    12: "q4_k", 13: "q5_k", 14: "q6_k", 15: "q8_k", 16: "iq2_xxs", 17: "iq2_xs", 18: "iq3_xxs", 19: "iq1_s", 20:
    "iq4_nl", 21: "iq3_s", 22: "iq2_s", 23: "iq4_xs", 24: "i8", 25: "i16", 26: "i32", 27: "i64", 28: "fp64", 29:
    "iq1_m", 30: "bf16", 34: "tq1_0", 35: "tq2_0", 39: "mxfp4", 40: "nvfp4", 41: "q1_0", 42: "q2_0",
    133: "q6_0", 233: "q6_0", 137: "iq2_k", 138: "iq3_k", 139: "iq4_k", 140: "iq5_k", 141: "iq6_k", 144: "iq4_ks",
    145: "iq2_ks", 146: "iq4_kss", 152: "iq5_ks", 153: "iq2_kt", 154: "iq3_kt", 155: "iq4_kt", 156: "iq3_ks",
    157: "iq2_kl", 158: "iq1_kt",
}  # fmt: skip
# ik_llama.cpp's types of interleaved rows: the same bytes, 200 above the type they hold.
INTERLEAVED = 200
_INTERLEAVED_TYPES = frozenset({
    202, 206, 208, 210, 211, 212, 213, 214, 216, 217, 218, 220, 221, 222, 223, 337, 338, 339, 340, 344, 352,
})  # fmt: skip
GGML_TYPES.update({number: GGML_TYPES[number - INTERLEAVED] for number in _INTERLEAVED_TYPES})

# gguf.h's `enum gguf_type`: numbers by their letter in `struct`, and the three kinds that are no numbers.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_BOOL, _STRING, _ARRAY = 7, 8, 9


class _Cursor:
    """Reads a header front to back, in pieces, and never past the limit or the end of the file."""

    def __init__(self, source: ByteSource) -> None:
        self.source = source
        self.limit = min(source.size_bytes, MAX_HEADER_BYTES)
        self.position = 0
        self.order = "<"
        self._piece = b""
        self._start = 0

    def need(self, length: int, what: str) -> None:
        """Refuses a length that the file, or the limit for headers, does not hold."""
        if length > self.limit - self.position:
            where = "the file's end" if self.limit == self.source.size_bytes else f"{MAX_HEADER_BYTES} bytes"
            raise invalid(self.source, f"{what} at byte {self.position} takes {length} bytes, beyond {where}")

    def take(self, length: int, what: str) -> bytes:
        """The next `length` bytes."""
        self.need(length, what)
        begin = self.position - self._start
        if begin < 0 or begin + length > len(self._piece):
            wanted = min(max(length, READ_AHEAD_BYTES), self.limit - self.position)
            self._piece = self.source.read(self.position, wanted)
            self._start, begin = self.position, 0
            if len(self._piece) < length:
                raise invalid(self.source, f"it ends inside {what} at byte {self.position}")
        self.position += length
        return self._piece[begin : begin + length]

    def skip(self, length: int, what: str) -> None:
        """Steps over `length` bytes without reading them."""
        self.need(length, what)
        self.position += length

    def number(self, code: str, what: str) -> Any:
        """One number, by its `struct` code."""
        (value,) = struct.unpack(self.order + code, self.take(struct.calcsize(code), what))
        return value

    def text(self, limit: int, what: str) -> str:
        """A string of at most `limit` bytes, in UTF-8."""
        length = self.number("Q", what)
        if length > limit:
            raise invalid(self.source, f"{what} at byte {self.position} has {length} bytes, {limit} are allowed")
        raw = self.take(length, what)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError:
            raise invalid(self.source, f"{what} at byte {self.position - length} is not UTF-8") from None

    def skip_strings(self, count: int, what: str) -> None:
        """Steps over `count` strings; only their lengths are looked at."""
        self.need(8 * count, what)
        unpack = struct.Struct(self.order + "Q").unpack
        for _ in range(count):
            (length,) = unpack(self.take(8, what))
            self.skip(length, what)


def parse(source: ByteSource) -> Header:
    """The header of one GGUF file; raises `InvalidHeader`."""
    cursor = _Cursor(source)
    if cursor.take(4, "the magic") != b"GGUF":
        raise invalid(source, "it does not begin with 'GGUF'")
    version = cursor.number("I", "the version")
    if version & 0xFFFF == 0:
        cursor.order = ">"
        (version,) = struct.unpack(">I", struct.pack("<I", version))
    if version not in (2, 3):
        raise invalid(source, f"it is of GGUF version {version}, 2 and 3 are known")
    tensor_count = cursor.number("Q", "the tensor count")
    pair_count = cursor.number("Q", "the count of key-value pairs")
    if tensor_count > MAX_TENSORS or pair_count > MAX_PAIRS:
        raise invalid(source, f"it declares {tensor_count} tensors and {pair_count} key-value pairs")
    # The shortest pair takes 8 + 1 + 4 + 1 bytes, the shortest tensor 8 + 1 + 4 + 4 + 8.
    cursor.need(14 * pair_count + 25 * tensor_count, "its table of contents")
    metadata: dict[str, Any] = {}
    for _ in range(pair_count):
        key = cursor.text(MAX_NAME_BYTES, "a key")
        if key in metadata:
            raise invalid(source, f"the key {key[:80]!r} is there twice")
        metadata[key] = _value(cursor, key)
    infos = [_tensor(cursor) for _ in range(tensor_count)]
    _check_data(cursor, metadata, infos)
    return Header("gguf", tuple(tensor for tensor, _ in infos), source.size_bytes, metadata=metadata)


def _value(cursor: _Cursor, key: str) -> Any:
    """One value: a number, a string, a short list of numbers, or None for what is too long to keep."""
    what = f"the value of {key[:80]!r}"
    kind = cursor.number("I", what)
    if kind == _STRING:
        length = cursor.number("Q", what)
        if length > MAX_KEPT_STRING_BYTES:
            cursor.skip(length, what)
            return None
        cursor.position -= 8
        return cursor.text(MAX_KEPT_STRING_BYTES, what)
    if kind == _ARRAY:
        return _array(cursor, what)
    return _scalars(cursor, kind, 1, what)[0]


def _scalars(cursor: _Cursor, kind: int, count: int, what: str) -> tuple[Any, ...]:
    code = _SCALARS.get(kind)
    if code is None:
        raise invalid(cursor.source, f"{what} has the unknown type {kind}")
    raw = cursor.take(struct.calcsize(code) * count, what)
    if kind == _BOOL and raw.strip(b"\0\1"):
        raise invalid(cursor.source, f"{what} is a truth value other than 0 and 1")
    return struct.unpack(f"{cursor.order}{count}{code}", raw)


def _array(cursor: _Cursor, what: str) -> list[Any] | None:
    kind = cursor.number("I", what)
    count = cursor.number("Q", what)
    if kind == _ARRAY:
        raise invalid(cursor.source, f"{what} is a list of lists")
    if kind == _STRING:
        if count > MAX_ARRAY_STRINGS:
            raise invalid(cursor.source, f"{what} is a list of {count} strings, {MAX_ARRAY_STRINGS} are allowed")
        cursor.skip_strings(count, what)
        return None
    if kind not in _SCALARS:
        raise invalid(cursor.source, f"{what} is a list of the unknown type {kind}")
    if count > MAX_KEPT_ARRAY:
        cursor.skip(struct.calcsize(_SCALARS[kind]) * count, what)
        return None
    return list(_scalars(cursor, kind, count, what))


def _tensor(cursor: _Cursor) -> tuple[HeaderTensor, int]:
    """One tensor info, with its shape in PyTorch's order, and the offset of its data."""
    name = cursor.text(MAX_NAME_BYTES, "a tensor's name")
    if not name or not name.isprintable():
        raise invalid(cursor.source, f"{name[:80]!a} is no tensor name")
    dimensions = cursor.number("I", f"tensor {name!r}")
    if dimensions > MAX_DIMENSIONS:
        raise invalid(cursor.source, f"tensor {name!r} has {dimensions} dimensions, {MAX_DIMENSIONS} are allowed")
    shape = tuple(cursor.number("Q", f"tensor {name!r}") for _ in range(dimensions))
    type_id = cursor.number("I", f"tensor {name!r}")
    offset = cursor.number("Q", f"tensor {name!r}")
    if not all(1 <= dimension <= MAX_DIMENSION for dimension in shape):
        raise invalid(cursor.source, f"tensor {name!r} has the shape {shape}")
    if type_id not in GGML_TYPES:
        raise invalid(cursor.source, f"tensor {name!r} has the unknown type {type_id}")
    stored = format_of(GGML_TYPES[type_id])
    row = shape[0] if shape else 1
    if not stored.fits(row):
        raise invalid(cursor.source, f"tensor {name!r}: a row of {row} is no whole number of {stored.key} blocks")
    size = row // stored.block_elements * stored.block_bytes * prod(shape[1:])
    return HeaderTensor(name, stored.key, shape[::-1], size), offset


def _check_data(cursor: _Cursor, metadata: dict[str, Any], infos: list[tuple[HeaderTensor, int]]) -> None:
    """Names are unique; data is aligned, inside the file and without overlap."""
    source = cursor.source
    alignment = metadata.get("general.alignment", 32)
    if not isinstance(alignment, int) or not 1 <= alignment <= 2**16 or alignment & (alignment - 1):
        raise invalid(source, f"general.alignment is {alignment!r}, not a power of two up to 65536")
    if len({tensor.name for tensor, _ in infos}) != len(infos):
        raise invalid(source, "two tensors have the same name")
    data_start = -(-cursor.position // alignment) * alignment
    position = 0
    for tensor, offset in sorted(infos, key=lambda info: info[1]):
        if offset % alignment:
            raise invalid(source, f"tensor {tensor.name!r} is not aligned to {alignment} bytes")
        if offset < position:
            raise invalid(source, f"tensor {tensor.name!r} overlaps another")
        position = offset + tensor.size_bytes
        if position > source.size_bytes - data_start:
            raise invalid(
                source,
                f"tensor {tensor.name!r} ends at byte {data_start + position} of {source.size_bytes}: it is cut short",
            )


def read_split(shards: Sequence[str], open_file: Callable[[str], ByteSource], name: str) -> Header:
    """The header of a model split over files; the first one has the metadata, and says how many there are."""
    headers = []
    for number, shard in enumerate(shards):
        header = parse(open_shard(open_file, shard, name))
        count, part = header.metadata.get("split.count", 1), header.metadata.get("split.no", number)
        if count not in (len(shards), 0) or part != number:
            raise invalid(
                shard, f"its split.no is {part} of {count} by its header, {number} of {len(shards)} by its name"
            )
        headers.append(header)
    merged = merge(headers, name)
    declared = merged.metadata.get("split.tensors.count", len(merged.tensors))
    if declared != len(merged.tensors):
        raise invalid(name, f"its files hold {len(merged.tensors)} tensors, {declared} are declared")
    return merged
