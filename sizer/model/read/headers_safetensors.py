"""The safetensors header: eight bytes of length, a JSON object of tensors, the data.

The format is https://github.com/huggingface/safetensors#format. Everything that its reference implementation refuses is
refused here, and headers above 25 MB too, the limit that the hub sets.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from sizer.model.read.headers import (
    MAX_DIMENSION,
    ByteSource,
    Header,
    HeaderTensor,
    invalid,
    merge,
    open_shard,
    read_exactly,
)
from sizer.model.read.json_object import loads

MAX_HEADER_BYTES = 25_000_000
# DeepSeek-V3 ships 163 shards; a thousand is a mistake or an attack.
MAX_SHARDS = 1000
MAX_DIMENSIONS = 16
MAX_DIGITS = 20
"""Of a number in a header: 2^64 has as many, and reading longer ones takes time that grows with their square."""
# The shortest tensor entry that can be written takes 48 bytes and 3 brackets: more brackets than one in 12 bytes are no
# tensor table, and would cost many times the header's size in memory.
BYTES_PER_BRACKET = 12

DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "U32": 32, "I32": 32, "U64": 64, "I64": 64,
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "F16": 16, "BF16": 16, "F32": 32, "F64": 64, "C64": 64,
}  # fmt: skip

SHARD_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.(?P<kind>safetensors|gguf)")


def parse(source: ByteSource) -> Header:
    """The header of one safetensors file. Reads the length, then the header; raises `InvalidHeader`."""
    if source.size_bytes < 8:
        raise invalid(source, f"it has {source.size_bytes} bytes, too few for a safetensors file")
    length = int.from_bytes(read_exactly(source, 0, 8), "little")
    if length > source.size_bytes - 8:
        raise invalid(source, f"it declares a header of {length} bytes in a file of {source.size_bytes}")
    if length > MAX_HEADER_BYTES:
        raise invalid(source, f"it declares a header of {length} bytes, {MAX_HEADER_BYTES} are allowed")
    fields = _load(source, read_exactly(source, 8, length))
    metadata = fields.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise invalid(source, "__metadata__ is not a table of strings")
    data_bytes = source.size_bytes - 8 - length
    spans = []
    tensors = []
    for name, entry in fields.items():
        begin, end, tensor = _tensor(source, name, entry)
        if end > data_bytes:
            raise invalid(source, f"tensor {name!r} ends at byte {end} of {data_bytes} bytes of data: is it cut short")
        spans.append((begin, end, name))
        tensors.append(tensor)
    _check_spans(source, spans, data_bytes)
    return Header("safetensors", tuple(tensors), source.size_bytes, metadata=metadata)


def _load(source: ByteSource, raw: bytes) -> dict[str, Any]:
    """The JSON object of a header, with nothing in it that JSON forbids or that would blow up."""
    if raw.count(b"[") + raw.count(b"{") > 8 + len(raw) // BYTES_PER_BRACKET or raw.count(b",") > 64 + len(raw) // 4:
        raise invalid(source, "it is no table of tensors")

    try:
        return loads(raw, strict=True, digits=MAX_DIGITS)
    except ValueError as error:
        raise invalid(source, f"{error}") from None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_DIMENSION


def _tensor(source: ByteSource, name: str, entry: Any) -> tuple[int, int, HeaderTensor]:
    """Where the data of one entry begins and ends, and the tensor; its shape and type must agree with both."""
    if not name or len(name) > 1024 or not name.isprintable():
        raise invalid(source, f"{name[:80]!a} is no tensor name")
    if not isinstance(entry, dict):
        raise invalid(source, f"tensor {name!r} is no JSON object")
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise invalid(source, f"tensor {name!r} has the unknown type {str(dtype)[:40]!r}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS or not all(map(_is_count, shape)):
        raise invalid(source, f"tensor {name!r} has the shape {str(shape)[:80]}")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_count, offsets)):
        raise invalid(source, f"tensor {name!r} has the data_offsets {str(offsets)[:80]}")
    begin, end = offsets
    size_bits = DTYPE_BITS[dtype]
    for dimension in shape:
        size_bits *= dimension
    if size_bits % 8 or end - begin != size_bits // 8:
        raise invalid(source, f"tensor {name!r} of {dtype} {shape} takes {size_bits / 8:g} bytes, not {end - begin}")
    return begin, end, HeaderTensor(name, dtype, tuple(shape), end - begin)


def _check_spans(source: ByteSource, spans: list[tuple[int, int, str]], data_bytes: int) -> None:
    """The tensors' data must fill the file without overlap or hole, as the reference implementation demands."""
    position = 0
    for begin, end, name in sorted(spans):
        if begin != position:
            problem = "overlaps another" if begin < position else "leaves a hole before it"
            raise invalid(source, f"tensor {name!r} at byte {begin} {problem}")
        position = end
    if position != data_bytes:
        raise invalid(source, f"its tensors take {position} bytes, the file holds {data_bytes}")


def parse_index(source: ByteSource) -> dict[str, str]:
    """Which shard holds which tensor, from a model.safetensors.index.json: names that stay inside their folder."""
    if source.size_bytes > MAX_HEADER_BYTES:
        raise invalid(source, f"it has {source.size_bytes} bytes, {MAX_HEADER_BYTES} are allowed")
    fields = _load(source, read_exactly(source, 0, source.size_bytes))
    weight_map = fields.get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise invalid(source, "it has no weight_map")
    for shard in set(map(str, weight_map.values())):
        parts = shard.split("/")
        if not shard.endswith(".safetensors") or "\\" in shard or any(part in ("", ".", "..") for part in parts):
            raise invalid(source, f"{shard[:80]!r} is no safetensors file of the same folder")
    if not all(isinstance(shard, str) for shard in weight_map.values()):
        raise invalid(source, "a shard's name is no string")
    return weight_map


def read_indexed(index: ByteSource, open_file: Callable[[str], ByteSource], workers: int = 1) -> Header:
    """The header of all shards that an index names; each tensor must be where the index says."""
    weight_map = parse_index(index)
    shards = sorted(set(weight_map.values()))
    header = read_shards(shards, open_file, index.name, workers)
    missing = weight_map.keys() - {tensor.name for tensor in header.tensors}
    if missing:
        raise invalid(index, f"tensor {min(missing)!r} is in no shard")
    return header


def read_shards(shards: Sequence[str], open_file: Callable[[str], ByteSource], name: str, workers: int = 1) -> Header:
    """The header of a list of shards; a missing one is an error that names it. Remote ones are read by `workers`."""
    if len(shards) > MAX_SHARDS:
        raise invalid(name, f"it names {len(shards)} shards, {MAX_SHARDS} are allowed")

    def read(shard: str) -> Header:
        return parse(open_shard(open_file, shard, name))

    if min(workers, len(shards)) <= 1:
        return merge([read(shard) for shard in shards], name)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(min(workers, len(shards))) as pool:
        return merge(list(pool.map(read, shards)), name)


def sibling_shards(filename: str) -> list[str]:
    """All shards of the set that `model-00002-of-00003.safetensors` (or .gguf) belongs to; the file alone otherwise."""
    match = SHARD_NAME.fullmatch(filename)
    if not match:
        return [filename]
    count = int(match["count"])
    if not 1 <= int(match["number"]) <= count <= MAX_SHARDS:
        raise invalid(filename, "its name numbers a shard that cannot be")
    return [f"{match['stem']}-{number:05d}-of-{count:05d}.{match['kind']}" for number in range(1, count + 1)]
