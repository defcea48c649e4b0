"""What the parts of a layer compute, as llama.cpp builds them (src/llama-graph.cpp): sizes and who reads what."""

from __future__ import annotations

from sizer.frozen import NamedTuple
from sizer.memory.graph.nodes import Graph, Node, Place, elementwise, host_weight, operation, stored, view, written
from sizer.memory.graph.shape import Experts, LayerShape, Step
from sizer.model.architecture import Mixer

KEPT_COLUMNS = 3
"""Columns of a convolution with a kernel of four that are kept from step to step."""
MOST_SUMMED = 8
"""Experts of a token whose results a graph shows being summed."""


class Inputs(NamedTuple):
    """What the host writes before a step and the layers read; `window_mask` is that of layers with a window."""

    positions: Node
    output_ids: Node
    cache_ids: Node
    value_ids: Node
    window_value_ids: Node
    key_rotation: Node | None
    value_rotation: Node | None
    mask: Node
    window_mask: Node


class Build(NamedTuple):
    """A graph in the making, the step that it is for, and what the host writes for it.

    `host_value_bytes` is the width of a layer's weights where they and its cache lie on the host and pass through the
    device, else 0.
    """

    graph: Graph
    step: Step
    inputs: Inputs
    host_value_bytes: float = 0


class Weights(NamedTuple):
    """A layer's experts where they lie on the host and the device takes copies: gate, up and down, else None.

    `on_host` says that the host multiplies by them itself.
    """

    gate: Node | None = None
    up: Node | None = None
    down: Node | None = None
    on_host: bool = False


def projected(build: Build, width: int, state: Node) -> Node:
    """A vector of `width` for each token, by a weight that may lie on the host."""
    size_bytes = int(width * state.shape[0] * build.host_value_bytes)
    return operation((width, state.shape[1]), *([host_weight(size_bytes)] if size_bytes else []), state)


def norm(node: Node) -> Node:
    """A norm and its weight."""
    return elementwise(elementwise(node, op="norm"), op="mul")


def attention(build: Build, layer: LayerShape, mixer: Mixer, state: Node) -> Node:
    """Keys and values go to the cache; what comes back is one hidden vector a token, before the residual is added."""
    graph, step, inputs = build.graph, build.step, build.inputs
    tokens, hidden = step.tokens, state.shape[0]
    k_width, v_width = mixer.kv_heads * mixer.qk_head_dim, mixer.kv_heads * mixer.v_head_dim
    plain_width = mixer.heads * mixer.qk_head_dim
    gate = None
    if layer.fused_qkv:
        whole = projected(build, plain_width + k_width + v_width, state)
        query, key, value = (view(whole, (width, tokens)) for width in (plain_width, k_width, v_width))
        query = operation((plain_width, tokens), query, inputs.positions, op="rope")
        key = operation((k_width, tokens), key, inputs.positions, op="rope")
    else:
        whole = projected(build, layer.q_width, state)
        query, key = view(whole), view(projected(build, k_width, state))
        value = view(projected(build, v_width, state))
        if layer.q_width == 2 * plain_width:
            gate = operation((plain_width, tokens), view(whole), op="cont")
            query = view(whole, (plain_width, tokens))
        if layer.qk_norm:
            query, key = norm(query), norm(key)
        query = elementwise(query, inputs.positions, op="rope")
        key = elementwise(key, inputs.positions, op="rope")
    query, key = rotated(query, inputs.key_rotation), rotated(key, inputs.key_rotation)
    value = rotated(value, inputs.value_rotation)
    for part in (query, value, key):
        graph.expand(part)
    graph.expand(stored((view(key), inputs.cache_ids)))
    ids = inputs.value_ids if mixer.window_tokens is None else inputs.window_value_ids
    graph.expand(stored((view(value), ids)))
    mixed = rotated(graph.expand(attend(mixer, build, view(query))), inputs.value_rotation)
    if gate is not None:
        mixed = elementwise(mixed, elementwise(gate, op="unary"), op="mul")
    return projected(build, hidden, mixed)


def rotated(values: Node, rotation: Node | None) -> Node:
    """Values times a Hadamard matrix, as caches in few bits store them (src/llama-kv-cache.cpp, build_input_k_rot)."""
    return values if rotation is None else view(operation(values.shape, rotation, view(values)))


def attend(mixer: Mixer, build: Build, query: Node) -> Node:
    """Queries against the cache: one result with flash attention, else the scores of every cell as well.

    A cache on the host is copied for it where the device computes.
    """
    step, inputs = build.step, build.inputs
    windowed = mixer.window_tokens is not None
    mask = inputs.window_mask if windowed else inputs.mask
    cells = step.window_cells if windowed else step.cells
    width = mixer.heads * mixer.v_head_dim
    values = cells * mixer.kv_heads * step.streams
    if build.host_value_bytes:
        sizes = (values * mixer.qk_head_dim * step.key_bytes, values * mixer.v_head_dim * step.value_bytes)
        keys, kept_values = (host_weight(int(size)) for size in sizes)
    else:
        keys, kept_values = (view(view(stored())) for _ in range(2))
    if step.flash_attention:
        return view(operation((width, step.tokens), view(query), keys, kept_values, mask, op="flash_attn_ext"))
    scores = operation((cells, mixer.heads, step.tokens), keys, query)
    weighted = operation((width, step.tokens), kept_values, elementwise(scores, mask, op="soft_max"))
    return operation((width, step.tokens), view(weighted), op="cont")


def delta_net(build: Build, mixer: Mixer, conv_width: int, state: Node) -> Node:
    """A gated delta net with the fused kernel (src/models/delta-net-base.cpp): convolution, state, gated norm."""
    graph, step = build.graph, build.step
    tokens = step.tokens
    inner = mixer.heads * mixer.v_head_dim
    state_values = mixer.heads * mixer.v_head_dim * mixer.qk_head_dim * step.sequences
    columns = KEPT_COLUMNS * step.sequences + tokens
    graph.expand(state)
    conv_cache, state_cache = stored(), stored()
    kept = view(_state(graph, (conv_width, KEPT_COLUMNS * step.sequences), conv_cache))
    mixed = view(view(projected(build, conv_width, state)))
    conv_input = operation((conv_width, columns), kept, mixed, op="concat")
    graph.expand(written(conv_cache, view(conv_input), view(conv_cache)))
    before = _state(graph, (state_values,), state_cache)
    convolved = elementwise(operation((conv_width, tokens), conv_input, op="ssm_conv"), op="unary")
    width = (conv_width - inner) // 2
    query, key = (operation((width, tokens), view(convolved, (width, tokens)), op="l2_norm") for _ in range(2))
    rates = operation((mixer.heads, tokens), state)
    decay = elementwise(elementwise(elementwise(view(rates)), op="unary"), op="mul")
    beta = elementwise(view(operation((mixer.heads, tokens), state)), op="unary")
    sources = (query, key, view(convolved), view(decay), beta, view(view(before)))
    result = operation((inner * tokens + state_values,), *sources, op="gated_delta_net")
    graph.expand(written(state_cache, view(result), view(state_cache)))
    normed = norm(view(result, (inner, tokens)))
    gate = elementwise(view(operation((inner, tokens), state)), op="unary")
    return view(operation((state.shape[0], tokens), view(elementwise(normed, gate, op="mul"))))


def _state(graph: Graph, shape: tuple[int, ...], cache: Node) -> Node:
    """The rows of a recurrent state that a step's sequences had, read from where they are kept (build_rs)."""
    rows = view(cache)
    graph.expand(written(cache, view(rows)))
    kept = graph.expand(operation(shape, rows, op="get_rows"))
    graph.expand(
        written(cache, operation((0,), rows, op="get_rows"), view(cache))
    )  # those of sequences that are not in the step
    return kept


def state_space(build: Build, mixer: Mixer, inner: int, conv_width: int, state: Node) -> Node:
    """A Mamba-2 mixer (src/models/mamba-base.cpp): one projection, convolution, scan, gate and norm."""
    graph, step = build.graph, build.step
    tokens, heads = step.tokens, max(1, mixer.heads)
    conv_cache = stored()
    kept = _state(graph, (conv_width, KEPT_COLUMNS * step.sequences), conv_cache)
    whole = operation((inner + conv_width + heads, tokens), state)
    columns = KEPT_COLUMNS * step.sequences + tokens
    conv_input = operation((conv_width, columns), view(kept), view(whole), op="concat")
    graph.expand(written(conv_cache, view(conv_input), view(conv_cache)))
    convolved = elementwise(elementwise(operation((conv_width, tokens), conv_input, op="ssm_conv")), op="unary")
    steps = elementwise(operation((heads, tokens), view(whole)))
    state_values = max(0, mixer.state_elements - conv_width * (KEPT_COLUMNS + 1)) * step.sequences
    sources = (view(convolved), steps, view(convolved), view(convolved))
    scanned = operation((inner * tokens + state_values,), *sources, op="ssm_scan")
    graph.expand(scanned)
    graph.expand(stored((view(scanned),)))
    skipped = elementwise(view(convolved, (inner, tokens)), op="mul")
    summed = elementwise(view(scanned, (inner, tokens)), skipped)
    gated = operation((inner, tokens), operation((inner, tokens), view(whole), op="cont"), summed, op="glu")
    return operation((state.shape[0], tokens), view(norm(view(gated))))


def gated(gate: Node, up: Node, *, inplace: bool) -> Node:
    """Gate times up: a product of its own, or over one of the two (ik_llama.cpp)."""
    return elementwise(gate, up, op="mul") if inplace else operation(gate.shape, gate, up, op="glu")


def mlp(build: Build, width: int, gate: str, state: Node) -> Node:
    """Up and gate side by side, their product, and the way back to the hidden size."""
    hidden, tokens = state.shape[0], state.shape[1]
    if gate == "fused":
        product = operation((width, tokens), projected(build, 2 * width, state), op="glu")
    elif gate == "parallel":
        up = projected(build, width, state)
        product = gated(projected(build, width, state), up, inplace=build.step.gated_inplace)
    else:
        product = elementwise(projected(build, width, state), op="unary")
    return projected(build, hidden, product)


def experts(build: Build, spec: Experts, state: Node, weights: Weights) -> Node:
    """Routing, the active experts of each token side by side, and their weighted sum."""
    graph = build.graph
    hidden, tokens = state.shape[0], state.shape[1]
    scores = elementwise(operation((spec.total, tokens), state), op="soft_max")
    listed = view(scores)
    chosen = view(operation((spec.total, tokens), scores, op="argsort"), (spec.active, tokens))
    shares = view(operation((spec.active, tokens), listed, chosen, op="get_rows"))
    total = view(operation((1, tokens), shares, op="sum_rows"), op="clamp")
    shares = view(elementwise(shares, total, op="div"))
    if not build.step.gated_inplace:  # ik_llama.cpp asks for the shares last
        graph.expand(shares)
    each = view(state)
    host = weights.on_host
    up = _routed((spec.width, spec.active, tokens), each, chosen, weights.up, host=host)
    if spec.gated:
        gate = _routed((spec.width, spec.active, tokens), each, chosen, weights.gate, host=host)
        product = gated(gate, up, inplace=build.step.gated_inplace)
    else:
        product = elementwise(up, op="unary")
    product.place = Place.HOST if host else product.place
    back = _routed((hidden, spec.active, tokens), product, chosen, weights.down, host=host)
    weighted = graph.expand(elementwise(back, shares, op="mul"))
    # One after another into the same sum: more of them need no more room.
    parts = [graph.expand(view(weighted, (hidden, tokens))) for _ in range(min(spec.active, MOST_SUMMED))]
    summed = parts[0]
    for number, part in enumerate(parts[1:]):
        added = elementwise(summed, part) if number else operation((hidden, tokens), summed, part, op="add")
        summed = graph.expand(added)
    return summed


def _routed(shape: tuple[int, ...], state: Node, chosen: Node, weight: Node | None, *, host: bool) -> Node:
    sources = (weight, state, chosen) if weight is not None else (state, chosen)
    return operation(shape, *sources, op="mul_mat_id", host=host)
