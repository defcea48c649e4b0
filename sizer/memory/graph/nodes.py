"""A graph of ggml as far as its allocation goes: sizes, sources, views and places, in the order of evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum

ALIGNMENT_BYTES = 128
"""CUDA's buffers round each tensor up to it: ggml-cuda.cu ggml_backend_cuda_buffer_type_get_alignment."""


class Place(str, Enum):
    """Where a value lies: the device's compute buffer, the host's, or storage of its own.

    A weight in the host's memory is no part of a buffer either, until the device takes a copy of it.
    """

    DEVICE = "device"
    HOST = "host"
    STORED = "stored"
    HOST_WEIGHT = "host weight"


class Node:
    """One value. `inplace` operations may take over the first source of the same shape that nobody else reads.

    `op` is ggml's name of the operation in small letters, as far as an order of nodes depends on it.
    """

    __slots__ = (
        "bytes_per_value", "children", "inplace", "is_input", "keep", "offset", "op", "place", "shape", "size_bytes",
        "sources", "view_of", "views",
    )  # fmt: skip

    def __init__(
        self,
        shape: tuple[int, ...],
        sources: Sequence[Node] = (),
        *,
        bytes_per_value: float = 4,
        inplace: bool = False,
        is_input: bool = False,
        place: Place | None = None,
        view_of: Node | None = None,
        op: str = "",
    ) -> None:
        values = 1
        for extent in shape:
            values *= extent
        size_bytes = max(0, int(values * bytes_per_value))
        self.shape = shape
        self.bytes_per_value = bytes_per_value
        self.size_bytes = -(-size_bytes // ALIGNMENT_BYTES) * ALIGNMENT_BYTES
        self.sources = list(sources)
        self.inplace = inplace
        self.is_input = is_input
        self.keep = False
        self.view_of = view_of
        self.place = place
        self.op = op
        self.offset: int | None = None
        self.children = self.views = 0


class Graph:
    """Nodes in the order in which ggml evaluates them: each `expand` adds what a result needs, sources first."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.leafs: list[Node] = []
        self._seen: set[int] = set()

    def expand(self, node: Node) -> Node:
        """Append a node and everything that it needs and that is not there yet."""
        stack = [(node, False)]
        while stack:
            current, ready = stack.pop()
            if ready:
                (self.nodes if current.sources else self.leafs).append(current)
                continue
            if id(current) in self._seen:
                continue
            self._seen.add(id(current))
            stack.append((current, True))
            stack.extend((source, False) for source in reversed(current.sources))
        return node


def operation(
    shape: tuple[int, ...], *sources: Node, inplace: bool = False, host: bool = False, op: str = "mul_mat"
) -> Node:
    """The result of an operation, in 32 bits; `host` where only the CPU has its weights."""
    return Node(shape, sources, inplace=inplace, place=Place.HOST if host else Place.DEVICE, op=op)


def elementwise(first: Node, *others: Node, op: str = "add") -> Node:
    """A result that may overwrite one of its sources: add, multiply, scale, norm, RoPE, softmax, activations."""
    width = first.bytes_per_value
    return Node(first.shape, (first, *others), bytes_per_value=width, inplace=True, place=Place.DEVICE, op=op)


def view(node: Node, shape: tuple[int, ...] = (), op: str = "view") -> Node:
    """A node that reads another's storage, or an operation that writes into it."""
    root = node.view_of or node
    return Node(shape or node.shape, (node,), place=root.place, view_of=root, op=op)


def stored(sources: Sequence[Node] = ()) -> Node:
    """Storage of its own (a cache, a weight): nothing is allocated for it."""
    return Node((0,), sources, place=Place.STORED, op="set_rows")


def written(cache: Node, *sources: Node) -> Node:
    """What an operation writes into storage that others read."""
    return Node((0,), sources, place=Place.STORED, view_of=cache, op="cpy")


def host_weight(size_bytes: int) -> Node:
    """A weight in the host's memory: a device that multiplies by it takes a copy first."""
    return Node((size_bytes,), bytes_per_value=1, place=Place.HOST_WEIGHT)


def entry(shape: tuple[int, ...], bytes_per_value: float = 4) -> Node:
    """An input that the host writes before each step."""
    return Node(shape, (), bytes_per_value=bytes_per_value, is_input=True, place=Place.HOST)
