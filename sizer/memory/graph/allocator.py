"""ggml's graph allocator replayed: what each buffer must hold at once.

Read in ggml/src/ggml-alloc.c (ggml_gallocr_alloc_graph_impl, ggml_dyn_tallocr) and ggml-backend.cpp
(ggml_backend_sched_split_graph): values are placed in the smallest free block that holds them, else at the end;
operations that can overwrite a source do; what another buffer needs is copied there when its split starts.
"""

from __future__ import annotations

from sizer.memory.graph.nodes import Graph, Node, Place
from sizer.memory.graph.reorder import reordered
from sizer.units import GIB

ENDLESS = 2**120
"""More bytes than any graph asks for: a chunk without an end."""
CHUNK_STRIDE = 2**128
"""An offset tells its chunk too: offsets of one chunk are smaller than this, whatever flags and configs ask for."""
VULKAN_CHUNK_BYTES = GIB
"""What Vulkan allocates in one piece (GGML_VK_SUBALLOCATION_BLOCK_SIZE)."""
MOST_CHUNKS = 16
"""GGML_VBUFFER_MAX_CHUNKS: the last one takes whatever is left."""


class Chunk:
    """A part of a buffer that the backend allocates in one piece: its free blocks in order, the last one its end."""

    def __init__(self, size_bytes: int) -> None:
        self.free: list[list[int]] = [[0, size_bytes]]
        self.peak_bytes = 0

    def take(self, index: int, size_bytes: int) -> int:
        """The offset of a value put at the start of a free block."""
        block = self.free[index]
        offset = block[0]
        block[0] += size_bytes
        block[1] -= size_bytes
        if block[1] == 0:
            del self.free[index]
        self.peak_bytes = max(self.peak_bytes, offset + size_bytes)
        return offset

    def give(self, offset: int, size_bytes: int) -> None:
        """Free a value, as ggml_dyn_tallocr_free_bytes does.

        An empty value leaves an empty block: blocks on both sides of it are not merged any more.
        """
        for index, block in enumerate(self.free):
            if sum(block) == offset:
                block[1] += size_bytes
                self._merge(index)
                return
            if offset + size_bytes == block[0]:
                block[0] = offset
                block[1] += size_bytes
                if index:
                    self._merge(index - 1)
                return
        place = next((number for number, block in enumerate(self.free) if block[0] >= offset), len(self.free))
        self.free.insert(place, [offset, size_bytes])

    def _merge(self, index: int) -> None:
        """Join a block with the next one in the list where they touch."""
        if index + 1 < len(self.free) and sum(self.free[index]) == self.free[index + 1][0]:
            self.free[index][1] += self.free[index + 1][1]
            del self.free[index + 1]


class Buffer:
    """One buffer: chunks of at most `chunk_bytes`, one without end where that is 0."""

    def __init__(self, chunk_bytes: int = 0) -> None:
        self.chunk_bytes = chunk_bytes or ENDLESS
        self.chunks: list[Chunk] = []

    @property
    def peak_bytes(self) -> int:
        """What all chunks hold at most."""
        return sum(chunk.peak_bytes for chunk in self.chunks)

    def take(self, size_bytes: int) -> int:
        """The offset of a new value: the best fitting free block, else the end of a chunk, else a new one."""
        number, index = self._best_block(size_bytes)
        if number < 0:
            number, index = self._best_end(size_bytes), -1
        if number < 0:
            last = len(self.chunks) == MOST_CHUNKS - 1
            self.chunks.append(Chunk(ENDLESS if last else max(size_bytes, self.chunk_bytes)))
            number, index = len(self.chunks) - 1, 0
        return number * CHUNK_STRIDE + self.chunks[number].take(index, size_bytes)

    def _best_block(self, size_bytes: int) -> tuple[int, int]:
        """Chunk and number of the smallest free block that holds a value; the last chunk that has one decides."""
        found = (-1, -1)
        for number, chunk in enumerate(self.chunks):
            best_bytes = ENDLESS
            for index, (_, free_bytes) in enumerate(chunk.free[:-1]):
                if size_bytes <= free_bytes <= best_bytes:
                    found, best_bytes = (number, index), free_bytes
        return found

    def _best_end(self, size_bytes: int) -> int:
        """The chunk whose end takes a value best: with the least room to spare, else growing least; -1 for none."""
        found, best = -1, -ENDLESS
        for number, chunk in enumerate(self.chunks):
            if not chunk.free or chunk.free[-1][1] < size_bytes:
                continue
            spare = chunk.peak_bytes - chunk.free[-1][0] - size_bytes
            if (best < 0 and spare > best) or 0 <= spare < best:
                found, best = number, spare
        return found

    def give(self, offset: int, size_bytes: int) -> None:
        """Free a value."""
        number, place = divmod(offset, CHUNK_STRIDE)
        self.chunks[number].give(place, size_bytes)


def peak_bytes(graph: Graph, copies: int = 1, *, reorders: bool = False) -> dict[Place, int]:
    """Bytes of the device's and the host's compute buffer that a graph needs.

    `copies` is 4 where several devices work as a pipeline: what crosses between buffers is then kept four times.
    `reorders` says that the device's backend is Vulkan: it runs its splits in an order of its own, and its buffers are
    of chunks.
    """
    buffers = {place: Buffer(VULKAN_CHUNK_BYTES if reorders else 0) for place in (Place.DEVICE, Place.HOST)}
    nodes, kept = _with_copies(graph, copies)
    if reorders:
        nodes = _in_their_order(nodes)
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


def _in_their_order(nodes: list[Node]) -> list[Node]:
    """The nodes with each run of the device's own in its backend's order; copies stay at the start of their split."""
    ordered: list[Node] = []
    own: list[Node] = []
    for node in nodes:
        if node.op and node.place is not Place.HOST:
            own.append(node)
            continue
        ordered += [*reordered(own), node]
        own = []
    return ordered + reordered(own)


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


def _place(buffers: dict[Place, Buffer], node: Node) -> None:
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


def _release(buffers: dict[Place, Buffer], source: Node) -> None:
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
