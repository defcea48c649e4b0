"""MLA as ggml's engines compute it: on the latent itself, or with keys and values expanded from it for long steps."""

from __future__ import annotations

from sizer.frozen import NamedTuple
from sizer.memory.graph.blocks import Build, norm
from sizer.memory.graph.nodes import Node, Place, elementwise, operation, stored, view
from sizer.memory.graph.shape import LayerShape
from sizer.model.architecture import Mixer
from sizer.units import FLOAT_BYTES, HALF_BYTES, MIB

LEAST_EXPANDED_TOKENS = 128
"""Tokens of a step from which on ik_llama.cpp expands the latent (src/graphs/build_deepseek2.cpp, pp_opt)."""


class Projected(NamedTuple):
    """Queries, and what goes to the cache: the rotated part of a key and the compressed rest."""

    query: Node
    query_rotated: Node
    key_rotated: Node
    compressed: Node
    rope: int
    latent: int


def latent_attention(build: Build, layer: LayerShape, mixer: Mixer, state: Node) -> Node:
    """One hidden vector a token, before the residual is added."""
    parts = _projected(build, layer, mixer, state)
    step = build.step
    if step.expands_mib is not None and step.flash_attention and step.tokens >= LEAST_EXPANDED_TOKENS:
        flat = _expanded(build, mixer, parts)
    else:
        flat = _absorbed(build, mixer, parts)
    build.graph.expand(flat)
    return operation((state.shape[0], step.tokens), flat)


def _projected(build: Build, layer: LayerShape, mixer: Mixer, state: Node) -> Projected:
    tokens, heads = build.step.tokens, mixer.heads
    rope = min(mixer.latent_elements, max(0, mixer.latent_elements - 512) or 64)
    latent = mixer.latent_elements - rope
    query = state
    if layer.q_rank:
        query = norm(operation((layer.q_rank, tokens), state))
    query = operation((heads * mixer.qk_head_dim, tokens), query)
    both = operation((mixer.latent_elements, tokens), state)
    rotated = operation((heads * rope, tokens), view(query), build.inputs.positions, op="rope")
    key_rotated = operation((rope, tokens), view(both), build.inputs.positions, op="rope")
    return Projected(query, rotated, key_rotated, operation((latent, tokens), view(both)), rope, latent)


def _cached(build: Build, mixer: Mixer, parts: Projected, *before: Node) -> None:
    """The key goes to the cache, after what is computed before it."""
    shape = (mixer.latent_elements, build.step.tokens)
    key = operation(shape, parts.key_rotated, view(parts.compressed), op="concat")
    for part in (*before, parts.compressed, key):
        build.graph.expand(part)
    build.graph.expand(stored((view(key), build.inputs.cache_ids)))


def _absorbed(build: Build, mixer: Mixer, parts: Projected) -> Node:
    """Queries are taken into the latent, what comes back is expanded (src/models/deepseek2.cpp)."""
    step, tokens, heads = build.step, build.step.tokens, mixer.heads
    absorbed = operation((heads * parts.latent, tokens), view(parts.query))
    joined = operation((heads * mixer.latent_elements, tokens), parts.query_rotated, view(absorbed), op="concat")
    _cached(build, mixer, parts, joined)
    mixed_shape = (heads * parts.latent, tokens)
    if step.flash_attention:
        mixed = operation(mixed_shape, view(joined), build.inputs.mask, op="flash_attn_ext")
    else:
        scores = operation((step.cells, heads, tokens), view(joined))
        mixed = operation(mixed_shape, elementwise(scores, build.inputs.mask, op="soft_max"))
    expanded = operation((heads * mixer.v_head_dim, tokens), view(mixed))
    return operation((heads * mixer.v_head_dim, tokens), view(expanded), op="cont")


def heads_at_once(heads: int, cells: int, head_width: int, most_mib: int) -> int:
    """How many heads' keys and values of all cells are expanded together: all, or the most within a bound.

    In whole MiB and by divisors of the heads, as the source counts (-amb; 0: no bound).
    """
    whole = heads * head_width * cells * FLOAT_BYTES // MIB
    if most_mib <= 0 or whole <= most_mib:
        return heads
    parts = (count for count in range(2, heads) if heads % count == 0 and whole // count <= most_mib)
    return heads // next(parts, heads)


def _expanded(build: Build, mixer: Mixer, parts: Projected) -> Node:
    """Keys and values of all cells are expanded from the cache, a few heads at a time (ik_llama.cpp's -mla 2 and 3)."""
    step, graph, tokens, heads = build.step, build.graph, build.step.tokens, mixer.heads
    _cached(build, mixer, parts, parts.query_rotated, parts.key_rotated)
    plain = mixer.qk_head_dim - parts.rope
    width = plain + mixer.v_head_dim
    group = heads_at_once(heads, step.cells, width, step.expands_mib or 0)

    def half(values: int, *sources: Node, op: str) -> Node:
        shape = (values * group, step.cells)
        return Node(shape, sources, bytes_per_value=HALF_BYTES, place=Place.DEVICE, op=op)

    repeated = half(parts.rope, view(stored()), op="repeat")
    query = operation((heads * mixer.qk_head_dim, tokens), parts.query_rotated, view(parts.query), op="concat")
    graph.expand(view(query))
    mixed: Node | None = None
    for _ in range(heads // group):
        wide = operation((width * group, step.cells), view(stored()))
        values, keys = half(mixer.v_head_dim, view(wide), op="cpy"), half(plain, view(wide), op="cpy")
        graph.expand(keys)
        graph.expand(values)
        whole_keys = graph.expand(half(mixer.qk_head_dim, repeated, keys, op="concat"))
        shape = (mixer.v_head_dim * group, tokens)
        found = operation(shape, view(query), whole_keys, values, build.inputs.mask, op="flash_attn_ext")
        before = mixed.shape[0] if mixed is not None else 0
        joined = [view(found)] if mixed is None else [mixed, view(found)]
        mixed = view(found) if mixed is None else operation((before + shape[0], tokens), *joined, op="concat")
        graph.expand(mixed)
    assert mixed is not None
    return mixed
