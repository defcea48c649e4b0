"""The graph of a whole step, and what it takes of the device's and the host's compute buffer."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from sizer.frozen import NamedTuple
from sizer.memory.graph import blocks
from sizer.memory.graph.allocator import peak_bytes
from sizer.memory.graph.blocks import Build, Inputs, Weights
from sizer.memory.graph.nodes import Graph, Node, Place, elementwise, entry, host_weight, operation
from sizer.memory.graph.shape import LayerShape, ModelShape, Step
from sizer.model.architecture import MixerKind

MASK_BYTES_ON_DEVICE = 2
"""Flash attention reads its mask in 16 bits."""
MIXED = 2
"""Embedding inputs beyond which a batch may mix tokens and vectors: one path more is laid out."""
PIPELINE_COPIES = 4
"""GGML_SCHED_MAX_COPIES: what crosses between devices that work as a pipeline is kept this many times."""
SMALLEST_ROTATION = 64
"""Side of the matrix that rotates heads before a quantized cache; keys' is larger where their size allows: 256 KiB."""
SAME_LAYERS = 3
"""Layers of one shape that a graph needs to show its peak: the first, one behind it, and the last."""


class Buffers(NamedTuple):
    """Bytes of the compute buffers on a device and on the host."""

    device_bytes: int
    host_bytes: int


class Part(NamedTuple):
    """Which part of a model a device computes: layers `first` to `last` (not included), the output if it is there.

    `copies` is how often what crosses is kept; `reorders` says that the backend runs a graph in an order of its own
    (Vulkan). The first `host_layers` lie on the host, and routed experts where `host_experts` or `host_expert_bytes`
    (the size of one stack) say so. The device multiplies by them where `host_value_bytes` (a weight's width) and
    `host_expert_bytes` are told, else the host does.
    """

    first: int
    last: int
    output: bool
    host_expert_bytes: int = 0
    copies: int = 1
    on_host: bool = False
    reorders: bool = False
    host_layers: int = 0
    host_experts: bool = False
    host_value_bytes: float = 0


def compute_buffers(model: ModelShape, step: Step, part: Part) -> Buffers:
    """What llama.cpp reserves for a step: the peak of its graph in each buffer.

    With everything on the host there is one buffer, and nothing crosses.
    """
    kinds, host_layers = model.kinds[part.first : part.last], part.host_layers
    if not part.reorders:
        first = _shown(kinds[:host_layers])
        kinds, host_layers = (*first, *_shown(kinds[host_layers:])), len(first)
    return _buffers(model, step, part._replace(first=0, last=len(kinds), host_layers=host_layers), kinds)


@lru_cache(maxsize=4096)
def _buffers(model: ModelShape, step: Step, part: Part, kinds: tuple[int, ...]) -> Buffers:
    """The buffers of layers of these kinds, of which `part` tells those of the host: many splits show the same."""
    graph = Graph()
    _build(graph, replace(model, layers=tuple(model.layers[kind] for kind in kinds)), step, part)
    if part.on_host:
        for node in (*graph.nodes, *graph.leafs):
            if node.place is Place.DEVICE:
                node.place = Place.HOST
    sizes = peak_bytes(graph, part.copies, reorders=part.reorders)
    return Buffers(sizes.get(Place.DEVICE, 0), sizes.get(Place.HOST, 0))


def _build(graph: Graph, model: ModelShape, step: Step, part: Part) -> None:
    """All nodes in their order; the result of the last is the graph's output."""
    tokens = entry((step.tokens,))
    graph.expand(tokens)
    state = operation((model.hidden, step.tokens), tokens, host=True)
    if step.embedding_inputs > 1:
        graph.expand(entry((model.hidden, step.tokens)))
    graph.expand(state)
    if step.embedding_inputs > MIXED:
        rows = operation((model.hidden, step.tokens), entry((step.tokens,)), host=True)
        mixed = operation((model.hidden, step.tokens), entry((model.hidden, step.tokens)), host=True)
        graph.expand(Node(mixed.shape, (rows, entry((step.tokens,), 8), mixed), place=mixed.place, view_of=mixed))
    build = Build(graph, step, _inputs(step))
    for number, layer in enumerate(model.layers):
        last = part.output and number == len(model.layers) - 1
        before = len(graph.nodes)
        on_host = number < part.host_layers
        own = build._replace(host_value_bytes=part.host_value_bytes) if on_host else build
        state = _layer(own, layer, state, last, part)
        if on_host and not part.host_value_bytes:
            graph.expand(state)
            for node in graph.nodes[before:]:
                node.place = Place.HOST if node.place is Place.DEVICE else node.place
    if part.output:
        logits = operation((model.vocab, step.outputs), blocks.norm(state))
        logits.keep = True
        graph.expand(logits)
    else:
        graph.expand(state)


def _inputs(step: Step) -> Inputs:
    """Positions, ids and masks; a mask in 32 bits is converted once for all layers."""
    per_stream = step.tokens // step.streams if step.streams else step.tokens
    rows = per_stream * max(1, step.streams)

    def mask(cells: int) -> Node:
        made = entry((cells, rows), step.mask_bytes)
        if step.flash_attention and step.mask_bytes != MASK_BYTES_ON_DEVICE:
            return Node((cells, rows), (made,), bytes_per_value=MASK_BYTES_ON_DEVICE, place=Place.DEVICE, op="cpy")
        return made

    ids = 1 if step.flash_attention else step.value_ids
    return Inputs(
        positions=entry((step.tokens,)),
        output_ids=entry((step.outputs,)),
        cache_ids=entry((step.tokens,), 8),
        value_ids=entry((step.tokens, ids), 8),
        window_value_ids=entry((step.tokens, ids), 8),
        key_rotation=entry((SMALLEST_ROTATION, SMALLEST_ROTATION)) if step.rotates_keys else None,
        value_rotation=entry((SMALLEST_ROTATION, SMALLEST_ROTATION)) if step.rotates_values else None,
        mask=mask(step.cells),
        window_mask=mask(step.window_cells),
    )


def _shown(kinds: tuple[int, ...]) -> tuple[int, ...]:
    """Of the kinds of layers, those that a graph must hold to show its peak: each a few times, in their order, and the
    last."""
    seen: dict[int, int] = {}
    shown = []
    for number, kind in enumerate(kinds):
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] < SAME_LAYERS or number == len(kinds) - 1:
            shown.append(kind)
    return tuple(shown)


def _layer(build: Build, layer: LayerShape, state: Node, last: bool, part: Part) -> Node:
    """One layer: mixer and residual, then MLP or experts and residual; the last keeps the rows that are asked for."""
    residual = state
    if layer.mixer is not None:
        normed = blocks.norm(state) if layer.pre_norms else state
        mixed = _mixer(build, layer, normed)
        if last:
            rows = (state.shape[0], build.step.outputs)
            mixed = operation(rows, mixed, build.inputs.output_ids, op="get_rows")
            residual = operation(rows, residual, build.inputs.output_ids, op="get_rows")
            normed = operation(rows, normed, build.inputs.output_ids, op="get_rows") if layer.side_by_side else normed
        if layer.post_norms:
            mixed = blocks.norm(mixed)
        if layer.side_by_side:
            made = _feed_forward(build, layer, normed, residual, part)
            return elementwise(elementwise(made, mixed), residual)
        residual = elementwise(mixed, residual)
    if not layer.ffn_width and layer.experts is None:
        return residual
    normed = blocks.norm(residual) if layer.pre_norms else residual
    made = _feed_forward(build, layer, normed, residual, part)
    if layer.post_norms:
        made = blocks.norm(made)
    return elementwise(made, residual)


def _feed_forward(build: Build, layer: LayerShape, normed: Node, residual: Node, part: Part) -> Node:
    """A dense MLP, routed experts with a shared one, or both side by side."""
    if layer.experts is None:
        return blocks.mlp(build, layer.ffn_width, layer.gate, normed)
    weights = Weights(on_host=part.host_experts)
    if part.host_expert_bytes and (build.host_value_bytes or not part.host_layers):
        gate, up, down = (host_weight(part.host_expert_bytes) for _ in range(3))
        weights = Weights(gate, up, down)
    if layer.ffn_width:
        dense = blocks.norm(blocks.mlp(build, layer.ffn_width, layer.gate, normed))
        build.graph.expand(dense)
        routed = blocks.norm(blocks.experts(build, layer.experts, blocks.norm(residual), weights))
        return elementwise(dense, routed)
    routed = blocks.experts(build, layer.experts, normed, weights)
    if layer.shared_width:
        shared = blocks.mlp(build, layer.shared_width, "parallel", normed)
        share = elementwise(operation((1, normed.shape[1]), normed), op="unary")
        routed = elementwise(routed, elementwise(shared, share, op="mul"))
    return routed


def _mixer(build: Build, layer: LayerShape, normed: Node) -> Node:
    mixer = layer.mixer
    assert mixer is not None
    if mixer.kind is MixerKind.LINEAR:
        return blocks.delta_net(build, mixer, layer.conv_width, normed)
    if mixer.is_recurrent:
        return blocks.state_space(build, mixer, layer.q_width, layer.conv_width or layer.q_width, normed)
    if mixer.latent_elements:
        from sizer.memory.graph.latent import latent_attention

        return latent_attention(build, layer, mixer, normed)
    return blocks.attention(build, layer, mixer, normed)
