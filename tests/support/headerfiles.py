"""Builds safetensors and GGUF files byte by byte, so that tests can make them wrong."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from sizer.formats import format_of
from sizer.model.read.headers import Header, HeaderTensor
from sizer.model.read.headers_gguf import GGML_TYPES

TYPE_IDS = {name: number for number, name in GGML_TYPES.items()}
BITS = {
    "F32": 32,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "I64": 64,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "U32": 32,
    "F8_E8M0": 8,
    "I16": 16,
}

Shapes = dict[str, tuple[str, tuple[int, ...]]]
"""Tensors by name: a type and a shape."""


def safetensors_header(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> tuple[dict[str, Any], int]:
    """The header's fields and the bytes of data that follow."""
    fields: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, (dtype, shape) in tensors.items():
        size = BITS[dtype] // 8 * prod(shape)
        fields[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    return fields, offset


def torch_header(tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> Header:
    """The header that a reader would make of a checkpoint of these tensors."""
    found = tuple(
        HeaderTensor(name, dtype, shape, BITS[dtype] // 8 * prod(shape)) for name, (dtype, shape) in tensors.items()
    )
    return Header("safetensors", found, sum(tensor.size_bytes for tensor in found) + 100)


def safetensors_bytes(tensors: Mapping[str, tuple[str, Sequence[int]]]) -> bytes:
    """A whole file of zeros."""
    fields, size = safetensors_header(tensors)
    return with_header(fields, size)


def with_header(fields: Any, data_bytes: int) -> bytes:
    """A file with these fields as its header; text and bytes go in as they are."""
    raw = fields if isinstance(fields, bytes) else (fields if isinstance(fields, str) else json.dumps(fields)).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(data_bytes)


def text(value: str | bytes) -> bytes:
    """A GGUF string."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value(item: Any) -> bytes:
    """A GGUF value with its type: strings, truth values, whole numbers (32 bits), floats and lists of one of them."""
    if isinstance(item, str):
        return struct.pack("<I", 8) + text(item)
    if isinstance(item, bool):
        return struct.pack("<I?", 7, item)
    if isinstance(item, int):
        return struct.pack("<II", 4, item)
    if isinstance(item, float):
        return struct.pack("<If", 6, item)
    first = value(item[0])
    return struct.pack("<I", 9) + first[:4] + struct.pack("<Q", len(item)) + b"".join(value(part)[4:] for part in item)


def gguf_bytes(
    pairs: Mapping[str, Any], tensors: Mapping[str, tuple[str, Sequence[int]]], alignment: int = 32
) -> bytes:
    """A whole GGUF file of zeros. Shapes are PyTorch's; types are names of formats (`q4_0`)."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(pairs))
    for key, item in pairs.items():
        head += text(key) + value(item)
    offset = 0
    for name, (form, shape) in tensors.items():
        head += text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in reversed(shape))
        head += struct.pack("<IQ", TYPE_IDS[form], offset)
        offset = padded(offset + tensor_bytes(form, shape), alignment)
    return head.ljust(padded(len(head), alignment), b"\0") + bytes(offset)


def padded(size: int, alignment: int) -> int:
    """`size` up to the next multiple."""
    return -(-size // alignment) * alignment


def tensor_bytes(form: str, shape: Sequence[int]) -> int:
    """Bytes of one GGUF tensor."""
    kind = format_of(form)
    size = shape[-1] // kind.block_elements * kind.block_bytes
    for dimension in shape[:-1]:
        size *= dimension
    return size


LLAMA = {
    "general.architecture": "llama",
    "general.file_type": 15,
    "llama.block_count": 2,
    "llama.embedding_length": 256,
    "llama.feed_forward_length": 512,
    "llama.context_length": 4096,
    "llama.attention.head_count": 8,
    "llama.attention.head_count_kv": 2,
    "tokenizer.ggml.tokens": ["<s>", "a", "b"],
}


def llama_tensors(experts: int = 0) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of a Llama of two layers, or of a Mixtral."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {"token_embd.weight": ("q6_k", (100, 256))}
    stack = ((experts,), "_exps") if experts else ((), "")
    for layer in range(2):
        block = f"blk.{layer}."
        tensors |= {
            f"{block}attn_norm.weight": ("fp32", (256,)),
            f"{block}attn_q.weight": ("q4_k", (256, 256)),
            f"{block}attn_k.weight": ("q4_k", (64, 256)),
            f"{block}attn_v.weight": ("q6_k" if layer else "q4_k", (64, 256)),
            f"{block}attn_output.weight": ("q4_k", (256, 256)),
            f"{block}ffn_norm.weight": ("fp32", (256,)),
            f"{block}ffn_gate{stack[1]}.weight": ("q4_k", (*stack[0], 512, 256)),
            f"{block}ffn_up{stack[1]}.weight": ("q4_k", (*stack[0], 512, 256)),
            f"{block}ffn_down{stack[1]}.weight": ("q6_k", (*stack[0], 256, 512)),
        }
        if experts:
            tensors[f"{block}ffn_gate_inp.weight"] = ("fp32", (experts, 256))
    return tensors | {"output_norm.weight": ("fp32", (256,)), "output.weight": ("q6_k", (100, 256))}


# Numbers that lengths, counts, offsets and dimensions break on.
EXTREMES = (0, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**48, 2**62, 2**63 - 1, 2**63, 2**64 - 1)


def mutate(data: bytes, chance: random.Random) -> bytes:
    """A file with up to four faults: bits, bytes, extreme numbers, pieces cut, doubled or moved, an early end."""
    raw = bytearray(data)
    head = min(len(raw), 4096)  # faults in the tensors' data are no faults
    for _ in range(chance.randint(1, 4)):
        if not raw:
            break
        at = chance.randrange(min(len(raw), head))
        kind = chance.randrange(7)
        if kind == 0:
            raw[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            raw[at] = chance.randrange(256)
        elif kind == 2:
            raw[at : at + 8] = struct.pack("<Q", chance.choice(EXTREMES))
        elif kind == 3:
            raw[at : at + 4] = struct.pack("<I", chance.choice(EXTREMES) & 0xFFFFFFFF)
        elif kind == 4:
            del raw[at : at + chance.randint(1, 40)]
        elif kind == 5:
            raw[at:at] = raw[max(at - chance.randint(1, 60), 0) : at]
        else:
            del raw[chance.randrange(len(raw)) :]
    return bytes(raw)


class BytesSource:
    """A file in memory."""

    def __init__(self, name: str, data: bytes) -> None:
        self.name = name
        self.data = data

    @property
    def size_bytes(self) -> int:
        """Number of bytes."""
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only where the data ends."""
        return self.data[offset : offset + length]


def data_bytes(header: Header) -> int:
    """Data of all tensors of a header, padding between them left out."""
    return sum(tensor.size_bytes for tensor in header.tensors)
