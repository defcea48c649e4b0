"""The graph of a projector's tower as llama.cpp builds it: tools/mtmd/clip.cpp and models/ of build 11434 (read).

An image goes in as patches, through the tower's layers and the projector of its family. Replayed by the allocator it is
what llama.cpp reserves for the image that it warms up with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce

from sizer.frozen import NamedTuple
from sizer.memory.graph.allocator import peak_bytes
from sizer.memory.graph.nodes import Graph, Node, Place, elementwise, operation, stored, view
from sizer.units import HALF_BYTES


class VisionTower(NamedTuple):
    """A vision tower and its projector, as far as its graph goes by them.

    `wide` is the MLP's width, of gate and up each where it is `gated`. `convolutions` are two where patches come in
    pairs of frames, and are put in order for merging. `positions` of a patch are learned (`stored`; `resized` to the
    image; `rows` picked from a table; `added` from two tables) or none; `position_inputs` are numbers a patch that the
    host writes, `turns` the rotations by them. `first` is a token before the patches. Every `window_pattern`-th layer
    attends to all patches, the others within windows (0: all to all). `deep` are the layers whose results are kept.
    `tail` names what stands between tower and projector, `merge` the side of the patches that become one token,
    `widths` those of the projector's matrices, one after another.
    """

    hidden: int
    wide: int
    heads: int
    layers: int
    patch_values: int
    patches_a_side: int
    gated: bool = False
    fused_qkv: bool = False
    root_mean_square: bool = False
    head_norms: bool = False
    post_norms: bool = False
    clamped: bool = False
    convolutions: int = 1
    positions: str = ""
    position_inputs: int = 0
    turns: int = 0
    first: bool = False
    window_pattern: int = 0
    deep: tuple[int, ...] = ()
    tail: str = ""
    merge: int = 1
    widths: tuple[int, ...] = ()
    flash_attention: bool = True

    @property
    def patches(self) -> int:
        """Patches of the square image."""
        return self.patches_a_side**2


def tower_bytes(tower: VisionTower) -> int:
    """The buffer that the graph of an image needs."""
    graph = Graph()
    positions = _input((tower.position_inputs, tower.patches + tower.first)) if tower.position_inputs else None
    state, mask = _embedded(tower, positions)
    features: list[Node] = []
    for layer in range(tower.layers):
        whole = not tower.window_pattern or (layer + 1) % tower.window_pattern == 0
        state = _layer(graph, tower, state, positions, None if whole else mask)
        if layer in tower.deep:
            features.append(_deep_feature(tower, state))
    result = TAILS[tower.tail](tower, state)
    graph.expand(_joined(result, reduce(_joined, features)) if features else result)
    return peak_bytes(graph)[Place.DEVICE]


def _input(shape: tuple[int, ...]) -> Node:
    return Node(shape, (), is_input=True, place=Place.DEVICE)


def _copied(shape: tuple[int, ...], *sources: Node, width: float = 4) -> Node:
    """What an operation writes anew."""
    return Node(shape, sources, bytes_per_value=width, place=Place.DEVICE)


def _joined(one: Node, other: Node) -> Node:
    return _copied((one.shape[0] + other.shape[0], one.shape[1]), one, other)


def _normed(tower: VisionTower, node: Node, *, layer_norm: bool = False) -> Node:
    """A norm with its weight: ggml runs RMS norms in place, others not."""
    if tower.root_mean_square and not layer_norm:
        return elementwise(elementwise(node))
    return elementwise(_copied(node.shape, node))


def _multiplied(tower: VisionTower, width: int, state: Node) -> Node:
    """A matrix over each token, with its bias; between limits where the tower clamps (Gemma4ClippableLinear)."""
    if tower.clamped:
        return elementwise(operation((width, state.shape[1]), elementwise(state)))
    return elementwise(operation((width, state.shape[1]), state))


def _embedded(tower: VisionTower, positions: Node | None) -> tuple[Node, Node | None]:
    """The patches with their positions, and the mask of layers with windows."""
    hidden, patches = tower.hidden, tower.patches
    image = _input((tower.patch_values, patches))
    image = elementwise(image) if tower.positions == "added" else image
    state = _convolved(tower, image)
    if tower.convolutions > 1:
        state = _merged_order(tower, elementwise(state, _convolved(tower, image)))
    elif tower.tail != "unfolded linear":
        state = _copied((hidden, patches), view(view(state)))
    if tower.first:
        state = _copied((hidden, patches + 1), state, _copied((hidden, 1), stored()))
    state = _positioned(tower, elementwise(state), positions)
    if not tower.window_pattern:
        return state, None
    mask = _input((patches, patches))
    mask = _copied((patches, patches), mask, width=HALF_BYTES) if tower.flash_attention else mask
    chosen = _copied((4 * hidden, patches // 4), view(state), _input((patches // 4,)))
    return view(chosen, (hidden, patches)), mask


def _convolved(tower: VisionTower, image: Node) -> Node:
    """ggml_conv_2d: the patches' values in 16 bits, times the kernel, put in order."""
    columns = _copied((tower.patch_values, tower.patches), image, width=HALF_BYTES)
    product = operation((tower.patches, tower.hidden), view(columns))
    return _copied((tower.patches, tower.hidden), view(view(product)))


def _merged_order(tower: VisionTower, node: Node) -> Node:
    """Patches in the order in which they are merged, by two copies."""
    paired = _copied((2 * tower.hidden, tower.patches // 2), view(node))
    return _copied((tower.hidden, tower.patches), view(view(paired)))


def _positioned(tower: VisionTower, state: Node, positions: Node | None) -> Node:
    """Learned positions added, resized to the image where its sides differ from the table's."""
    ids = [positions] if positions is not None else []
    if tower.positions == "rows":
        return elementwise(state, _copied(state.shape, *ids))
    if tower.positions == "added":
        return elementwise(elementwise(state, _copied(state.shape, *ids)), _copied(state.shape, *ids))
    if tower.positions != "resized":
        return state
    table = _copied((tower.patches, tower.hidden), view(stored()))
    table = _copied((tower.hidden, tower.patches), view(table))
    return elementwise(state, _merged_order(tower, table) if tower.convolutions > 1 else table)


def _layer(graph: Graph, tower: VisionTower, state: Node, positions: Node | None, mask: Node | None) -> Node:
    """A layer of the tower: attention, then the MLP, each with its norm before and the residual after."""
    mixed = _attention(graph, tower, _normed(tower, state), positions, mask)
    mixed = _normed(tower, mixed) if tower.post_norms else mixed
    state = elementwise(mixed, state)
    normed = _normed(tower, state)
    up = _multiplied(tower, tower.wide, normed)
    inner = _copied(up.shape, _multiplied(tower, tower.wide, normed), up) if tower.gated else elementwise(up)
    product = _multiplied(tower, tower.hidden, inner)
    return elementwise(state, _normed(tower, product) if tower.post_norms else product)


def _attention(graph: Graph, tower: VisionTower, normed: Node, positions: Node | None, mask: Node | None) -> Node:
    """Queries, keys and values, rotated, and what attention makes of them; keys and values in 16 bits with flash
    attention, else the scores of all pairs."""
    shape = normed.shape
    tokens = shape[1]
    if tower.fused_qkv:
        whole = _multiplied(tower, 3 * tower.hidden, normed)
        query, key, value = (view(whole, shape) for _ in range(3))
    else:
        query, key, value = (view(_multiplied(tower, tower.hidden, normed), shape) for _ in range(3))
    if tower.head_norms:
        query, key = _normed(tower, query), _normed(tower, key)
    for _ in range(tower.turns):
        query, key = (elementwise(part, *([positions] if positions else [])) for part in (query, key))
    value = elementwise(value) if tower.positions == "added" else value
    for part in (query, key, value):
        graph.expand(part)
    if tower.flash_attention:
        halves = [_copied(shape, view(part), width=HALF_BYTES) for part in (key, value)]
        masks = [] if mask is None else [_copied(mask.shape, mask, width=HALF_BYTES)]
        mixed = view(_copied(shape, view(query), *halves, *masks))
    else:
        values = _copied((tokens, shape[0]), view(value))
        scores = operation((tower.heads * tokens, tokens), view(key), view(query))
        scores = elementwise(scores, *([] if mask is None else [mask]))
        mixed = _copied(shape, view(operation(shape, values, scores)))
    return _multiplied(tower, tower.hidden, mixed)


def _deep_feature(tower: VisionTower, state: Node) -> Node:
    """What is kept of a layer for the text's first layers (Qwen3-VL): it is computed after the last layer."""
    merged = view(state, (4 * tower.hidden, tower.patches // 4))
    normed = elementwise(elementwise(_copied(merged.shape, merged)))
    return _projected(normed, (4 * tower.hidden, *tower.widths[-1:]))


def _projected(state: Node, widths: Sequence[int]) -> Node:
    """Matrices one after another, an activation between each two."""
    for number, width in enumerate(widths):
        state = elementwise(operation((width, state.shape[1]), state if number == 0 else elementwise(state)))
    return state


def _plain(tower: VisionTower, state: Node) -> Node:
    """The last norm alone, where the projector is not known."""
    return _normed(tower, state)


def _merged(tower: VisionTower, state: Node) -> Node:
    """Qwen's: four patches of the order are one token; windows are undone after the projector."""
    state = view(_normed(tower, state), (4 * tower.hidden, tower.patches // 4))
    state = _projected(state, tower.widths)
    return _copied(state.shape, view(state), _input((state.shape[1],))) if tower.window_pattern else state


def _shuffled(tower: VisionTower, state: Node) -> Node:
    """Patches of a square become one token, by two copies (idefics3, lfm2, kimi_vl)."""
    state = _normed(tower, state)
    side = -(-tower.patches_a_side // tower.merge)
    if tower.patches_a_side % tower.merge:
        state = _copied((tower.hidden, (side * tower.merge) ** 2), view(state))
    shape = (tower.hidden * tower.merge**2, side**2)
    return _projected(_copied(shape, view(_copied(shape, view(view(state))))), tower.widths)


def _shuffled_normed(tower: VisionTower, state: Node) -> Node:
    """The same with a norm before the projector (kimi_vl)."""
    shuffled = _shuffled(tower._replace(widths=()), state)
    return _projected(elementwise(_copied(shuffled.shape, view(shuffled))), tower.widths)


def _shuffled_first(tower: VisionTower, state: Node) -> Node:
    """InternVL's: the first token is left out, squares become one token, and a norm."""
    state = _copied((tower.hidden, tower.patches), view(state))
    shape = (tower.hidden * tower.merge**2, tower.patches // tower.merge**2)
    state = _copied(shape, view(_copied(shape, view(view(state)))))
    return _projected(elementwise(_copied(shape, state)), tower.widths)


def _unfolded_linear(tower: VisionTower, state: Node) -> Node:
    """Llama 4's: the first token is left out, squares become one token, and an activation after each matrix but one."""
    state = view(_normed(tower, state), (tower.hidden, tower.patches))
    shape = (tower.hidden * tower.merge**2, tower.patches // tower.merge**2)
    return _projected(_copied(shape, _copied(shape, view(state))), tower.widths)


def _pooled(tower: VisionTower, state: Node) -> Node:
    """Gemma's: the mean of squares of patches, a norm, and the matrix, which Gemma 3 turns around first."""
    state = _normed(tower, state) if tower.positions == "stored" else state
    tokens = tower.patches // tower.merge**2
    state = _copied((tokens, tower.hidden), _copied((tower.patches, tower.hidden), view(state)))
    state = elementwise(elementwise(_copied((tower.hidden, tokens), view(view(state)))))
    width = tower.widths[0]
    if tower.clamped:
        return _multiplied(tower, width, state)
    turned = _copied((tower.hidden, width), view(stored()), width=HALF_BYTES)
    return operation((width, tokens), turned, state)


def _unfolded(tower: VisionTower, state: Node) -> Node:
    """Mistral's and Pixtral's: squares of patches unfolded where they are merged, a token at the end of each row."""
    tokens = tower.patches
    if tower.merge > 1:
        state = _copied((tower.hidden, tokens), view(_normed(tower, state)))
        tokens //= tower.merge**2
        state = _copied((tower.hidden * tower.merge**2, tokens), view(state), state)
        state = operation((tower.hidden, tokens), view(state))
    state = _projected(state, tower.widths[-2:])
    rows = tower.patches_a_side // tower.merge
    ends = elementwise(elementwise(_copied((state.shape[0], rows))))
    return _copied((state.shape[0], tokens + rows), view(state), ends)


def _downsampled(tower: VisionTower, state: Node) -> Node:
    """GLM-4V's: a convolution over squares of patches, a matrix with its norm, and a gated MLP."""
    tokens = tower.patches // tower.merge**2
    out, inner = tower.widths[0], tower.widths[1]
    state = _copied((tower.hidden, tower.patches), view(_normed(tower, state)))
    columns = _copied((tower.hidden * tower.merge**2, tokens), state, width=HALF_BYTES)
    state = elementwise(view(_copied((out, tokens), view(operation((out, tokens), view(columns))))))
    state = elementwise(elementwise(_copied((out, tokens), operation((out, tokens), state))))
    up = operation((inner, tokens), state)
    return operation((out, tokens), _copied(up.shape, operation((inner, tokens), state), up))


def _picked(tower: VisionTower, state: Node) -> Node:
    """LLaVA's: the patches without the first token, each a token."""
    state = _copied((tower.hidden, tower.patches), state, _input((tower.patches,)))
    return _projected(state, tower.widths)


TAILS: dict[str, Callable[[VisionTower, Node], Node]] = {
    "": _plain,
    "merged": _merged,
    "shuffled": _shuffled,
    "shuffled normed": _shuffled_normed,
    "shuffled first": _shuffled_first,
    "unfolded linear": _unfolded_linear,
    "pooled": _pooled,
    "unfolded": _unfolded,
    "downsampled": _downsampled,
    "picked": _picked,
}
"""What stands behind the last layer, by its name in `data/warm_up_images.csv`."""
