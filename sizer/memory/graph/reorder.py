"""The order in which Vulkan runs a graph: what does not wait for a node moves up beside it, and so lives longer.

Read in ggml/src/ggml-vulkan/ggml-vulkan.cpp (ggml_vk_graph_optimize) of build 11434. Compared with buffers that its
builds of May (before 9500) and August 2026 (10434) reserved on a software device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sizer.memory.graph.nodes import Node

LOOKED_AT, FUSED_WITHIN = 20, 15
"""Nodes ahead that may move up, and ahead of those what may be drawn with them (NUM_TO_CHECK)."""
VIEW = "view"
TOGETHER = {
    "soft_max": (
        ("soft_max", VIEW, "argsort", VIEW, "get_rows", VIEW, "sum_rows", "clamp", "div", VIEW),
        ("soft_max", VIEW, "argsort", VIEW, "get_rows"),
    ),
    "norm": (("norm", "mul", "rope", VIEW, "set_rows"), ("norm", VIEW, "set_rows")),
    "rope": (("rope", VIEW, "set_rows"),),
}
"""By their first: runs of operations that one kernel computes. They keep their order, and none of them moves up."""
STAYING = frozenset({VIEW, "set_rows"})
"""What does not move up by itself: views follow what they view, and writes into a cache stay in their order."""
FUSED_PAIRS = frozenset(
    {("norm", "mul"), ("mul_mat", "add"), ("mul_mat_id", "mul"), ("add", "add"), ("ssm_conv", "unary")}
)
"""Operations that one kernel computes with the one before: they may follow it up."""


class _Order:
    """The nodes of a split and which of them stand in the new order already."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.used = [False] * len(nodes)
        self.new: list[Node] = []
        self.first = 0

    def emit(self, indices: Sequence[int]) -> None:
        """Append nodes to the new order."""
        for index in indices:
            self.new.append(self.nodes[index])
            self.used[index] = True
        while self.first < len(self.nodes) and self.used[self.first]:
            self.first += 1

    def together(self, start: int) -> int:
        """How many nodes from `start` on one kernel computes; 0 where it begins no such run."""
        for pattern in TOGETHER.get(self.nodes[start].op, ()):
            end = start + len(pattern)
            if pattern == tuple(node.op for node in self.nodes[start:end]) and not any(self.used[start:end]):
                return len(pattern)
        return 0

    def needed(self, index: int) -> Iterator[int]:
        """What a node needs and is not in the new order: sources, and other views of what it views (is_src_of)."""
        node, nodes, used = self.nodes[index], self.nodes, self.used
        base, sources = node.view_of or node, node.sources
        for before in range(self.first, index):
            if not used[before]:
                other = nodes[before]
                if other in sources or (other.view_of or other) is base:
                    yield before

    def waits(self, index: int, current: Sequence[int]) -> bool:
        """Whether a node needs one that is not there yet, other than the one that it is computed with."""
        for before in self.needed(index):
            follows = index == before + 1 and before == current[-1]
            if not (follows and (self.nodes[before].op, self.nodes[index].op) in FUSED_PAIRS):
                return True
        return False


def reordered(nodes: Sequence[Node]) -> list[Node]:
    """The nodes of one split in the order in which Vulkan runs them."""
    order = _Order(nodes)
    while order.first < len(nodes):
        run = order.together(order.first)
        if run:
            order.emit(range(order.first, order.first + run))
            continue
        last = min(order.first + LOOKED_AT, len(nodes))
        current = [order.first]
        for index in range(order.first + 1, last):
            if order.used[index] or nodes[index].op in STAYING or order.together(index):
                continue
            if not order.waits(index, current):
                current.append(index)
                current += _drawn_along(order, index)
        if nodes[current[-1]].op != "add":
            current += _views(order, current, last)
        order.emit(current)
    return order.new


def _drawn_along(order: _Order, index: int) -> list[int]:
    """What follows a node up: the rotation of a normed head, and the write of a rotated one into the cache."""
    nodes, ahead = order.nodes, range(index + 1, min(index + FUSED_WITHIN, len(order.nodes)))
    drawn: list[int] = []
    if nodes[index].op == "mul" and nodes[index - 1].op == "norm":
        drawn = [one for one in ahead if nodes[one].op == "rope" and nodes[one].sources[0] is nodes[index]][:1]
    head = drawn[0] if drawn else index
    if nodes[head].op in {"rope", "norm"}:
        free = [one for one in range(head + 1, min(head + FUSED_WITHIN, len(nodes))) if not order.used[one]]
        views = [one for one in free if nodes[one].op == VIEW and nodes[one].sources[0] is nodes[head]][:1]
        sets = [
            one for one in free
            if views and one > views[0] and nodes[one].op == "set_rows" and nodes[one].sources[0] is nodes[views[0]]
        ]  # fmt: skip
        drawn += [*views, sets[0]] if sets else []
    for one in drawn:
        order.used[one] = True
    return drawn


def _views(order: _Order, current: Sequence[int], last: int) -> list[int]:
    """Views of what stands in the order by now."""
    views: list[int] = []
    there = set(current)
    for index in range(order.first + 1, last):
        free = order.nodes[index].op == VIEW and not order.used[index] and index not in there
        if free and not any(one not in there for one in order.needed(index)):
            views.append(index)
            there.add(index)
    return views
