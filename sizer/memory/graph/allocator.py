"""ggml's graph allocator replayed: what each buffer must hold at once.

Read in ggml/src/ggml-alloc.c (ggml_gallocr_alloc_graph_impl, ggml_dyn_tallocr) and ggml-backend.cpp
(ggml_backend_sched_split_graph): values are placed in the smallest free block that holds them, else at the end;
operations that can overwrite a source do; what another buffer needs is copied there when its split starts.
"""

from __future__ import annotations

from collections import defaultdict

from sizer.memory.graph.nodes import Graph, Node, Place

ENDLESS = 2**62


class _Buffer:
    """One buffer: its free blocks by offset, the last one without end."""

    def __init__(self) -> None:
        self.free: list[list[int]] = [[0, ENDLESS]]
        self.peak_bytes = 0

    def take(self, size_bytes: int) -> int:
        """The offset of a new value: the best fitting free block, else the last one."""
        best = -1
        for index, (_, free_bytes) in enumerate(self.free[:-1]):
            if size_bytes <= free_bytes and (best < 0 or free_bytes <= self.free[best][1]):
                best = index
        block = self.free[best]
        offset = block[0]
        block[0] += size_bytes
        block[1] -= size_bytes
        if block[1] == 0:
            self.free.remove(block)
        self.peak_bytes = max(self.peak_bytes, offset + size_bytes)
        return offset

    def give(self, offset: int, size_bytes: int) -> None:
        """Free a value, merged with the free blocks beside it."""
        if size_bytes == 0:
            return
        index = next(number for number, block in enumerate(self.free) if block[0] > offset)
        self.free.insert(index, [offset, size_bytes])
        for left in (index, index - 1):
            if 0 <= left < len(self.free) - 1 and sum(self.free[left]) == self.free[left + 1][0]:
                self.free[left][1] += self.free[left + 1][1]
                del self.free[left + 1]


def peak_bytes(graph: Graph, copies: int = 1) -> dict[Place, int]:
    """Bytes of the device's and the host's compute buffer that a graph needs.

    `copies` is 4 where several devices work as a pipeline: what crosses between buffers is then kept four times.
    """
    buffers: dict[Place, _Buffer] = defaultdict(_Buffer)
    nodes, kept = _with_copies(graph, copies)
    for node in (*kept, *graph.leafs):
        _place(buffers, node)
    for node in nodes:
        if node.view_of is not None and node.sources:
            node.view_of.views += 1
        for source in node.sources:
            source.children += 1
            if source.is_input:
                _place(buffers, source)
    for node in nodes:
        for source in node.sources:
            _place(buffers, source)
        _place(buffers, node)
        for source in node.sources:
            _release(buffers, source)
    return {place: buffer.peak_bytes for place, buffer in buffers.items()}


def _with_copies(graph: Graph, copies: int) -> tuple[list[Node], list[Node]]:
    """The nodes with the copies that each split takes at its start, and the copies that are kept throughout."""
    nodes: list[Node] = []
    kept: list[Node] = []
    taken: dict[tuple[int, Place], Node] = {}
    pending: list[Node] = []
    split: Place | None = None
    start = 0
    for node in graph.nodes:
        if node.view_of is None and node.place in {Place.DEVICE, Place.HOST}:
            weights = any(_is_away(source, node) and source.place is Place.HOST_WEIGHT for source in node.sources)
            if node.place is not split or (pending and weights):
                nodes[start:start] = pending
                pending, split, start = [], node.place, len(nodes)
            for index, source in enumerate(node.sources):
                if not _is_away(source, node):
                    continue
                assert node.place is not None
                key = (id(source), node.place)
                if key not in taken:
                    taken[key] = _copy(source, node.place)
                    pending += [Node((0,), (source,), place=Place.STORED), taken[key]]
                    kept += [_kept(source, node.place) for _ in range(copies - 1)]
                    if copies > 1:
                        taken[key].keep = True
                        kept.append(taken[key])
                node.sources[index] = taken[key]
        nodes.append(node)
    nodes[start:start] = pending
    return nodes, kept


def _is_away(source: Node, reader: Node) -> bool:
    """Whether a reader must have a source copied to its own buffer."""
    place = (source.view_of or source).place
    if place is Place.HOST_WEIGHT:
        return reader.place is Place.DEVICE
    return place is not Place.STORED and place is not reader.place


def _copy(source: Node, place: Place) -> Node:
    return Node(source.shape, bytes_per_value=source.bytes_per_value, place=place)


def _kept(source: Node, place: Place) -> Node:
    copy = _copy(source, place)
    copy.keep = True
    return copy


def _place(buffers: dict[Place, _Buffer], node: Node) -> None:
    """Give a node its offset: a source's where it may overwrite that, else a new one."""
    if node.offset is not None or node.view_of is not None or node.place not in {Place.DEVICE, Place.HOST}:
        return
    assert node.place is not None
    for source in node.sources if node.inplace else ():
        alone = source.view_of is None and source.children == 1 and source.views == 0 and not source.keep
        if alone and _alike(source, node) and source.place is node.place and source.offset is not None:
            node.offset, source.offset = source.offset, -1
            return
    node.offset = buffers[node.place].take(node.size_bytes)


def _alike(one: Node, other: Node) -> bool:
    return one.shape == other.shape and one.bytes_per_value == other.bytes_per_value


def _release(buffers: dict[Place, _Buffer], source: Node) -> None:
    """Count one reader less of a source, and free it after the last."""
    source.children -= 1
    if source.children or source.views:
        return
    root = source
    if source.view_of is not None:
        root = source.view_of
        root.views -= 1
        if root.views or root.children:
            return
    if root.keep or root.offset is None or root.offset < 0:
        return
    assert root.place is not None
    buffers[root.place].give(root.offset, root.size_bytes)
    root.offset = -1
