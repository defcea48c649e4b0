"""Weight files read by their header alone: a hostile header is an `InvalidHeader`, never a traceback or a full memory.

A header comes from a `ByteSource`: a local file, or a remote one that answers range requests (`model.read.hub`).
Nothing of the tensors' data is read. Parsers live in `headers_safetensors` and `headers_gguf`; what a header means for
a model is in `headers_gguf_model` and `headers_torch_model`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, Protocol

from sizer.errors import InvalidHeader
from sizer.frozen import dataclass

# Beyond this no shape is a tensor of a model: it keeps every product far below 2^64 * 2^64.
MAX_DIMENSION = 2**48


class ByteSource(Protocol):
    """A file of known size that gives out ranges."""

    @property
    def name(self) -> str:
        """What the file is called in messages."""

    @property
    def size_bytes(self) -> int:
        """Size of the whole file."""

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only where the file ends."""


class FileSource:
    """A local file. Opened for each read, so that nothing stays open when a parser raises."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size_bytes = path.stat().st_size

    @property
    def name(self) -> str:
        """The file's name, without its folder."""
        return self.path.name

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; fewer only where the file ends."""
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)


@dataclass(frozen=True, slots=True)
class HeaderTensor:
    """One tensor of a file: its name, the file's own name of its type, its shape as PyTorch writes it ([out, in],
    [experts, out, in]) and the bytes of its data."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True)
class Header:
    """What one file, or one set of shards, says of itself.

    `file_bytes` are the sizes of all files together, headers and padding included. `metadata` is the safetensors
    `__metadata__`, or GGUF's key-value pairs less the long arrays (tokens, merges), which are skipped unread.
    """

    kind: str
    tensors: tuple[HeaderTensor, ...]
    file_bytes: int
    files: int = 1
    metadata: Mapping[str, Any] = field(default_factory=dict, repr=False)


def invalid(source: ByteSource | str, problem: str) -> InvalidHeader:
    """An `InvalidHeader` that names the file and says what to do about it."""
    name = source if isinstance(source, str) else source.name
    return InvalidHeader(f"{name!r} has an invalid header: {problem}.", "Download the file again, or ask its author.")


def read_exactly(source: ByteSource, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`, or `InvalidHeader` where the file is shorter."""
    data = source.read(offset, length)
    if len(data) != length:
        raise invalid(source, f"it ends after {offset + len(data)} bytes, {offset + length} are needed")
    return data


def open_shard(open_file: Callable[[str], ByteSource], shard: str, name: str) -> ByteSource:
    """One file of a set; a missing one is an error that names it."""
    try:
        return open_file(shard)
    except FileNotFoundError:
        raise InvalidHeader(f"{name!r} needs {shard!r}, which is missing.", "Download it too.") from None


def merge(headers: list[Header], name: str) -> Header:
    """The header of a set of shards: a tensor in two shards is an error."""
    seen: set[str] = set()
    for tensor in (tensor for header in headers for tensor in header.tensors):
        if tensor.name in seen:
            raise invalid(name, f"tensor {tensor.name!r} is in two shards")
        seen.add(tensor.name)
    if not seen:
        raise invalid(name, "it holds no tensors")
    return Header(
        kind=headers[0].kind,
        tensors=tuple(tensor for header in headers for tensor in header.tensors),
        file_bytes=sum(header.file_bytes for header in headers),
        files=len(headers),
        metadata=headers[0].metadata,
    )
