"""Towers without a plain encoder: Inkling's folded patches and sound tokens, Muse's wide patches and sound pyramid."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import ceil, inf, log
from operator import mul

from sizer.model.architecture import Role
from sizer.model.blocks.core import embedding
from sizer.model.blocks.towers.images import channels
from sizer.model.blocks.tree import Tree
from sizer.model.config import MAX_COUNT, Config

Scale = tuple[int, int, int]
"""Frames, rows (as many columns) and channels after a fold."""


def muse_vision(config: Config, tree: Tree) -> None:
    """Muse's tower: patches of a few frames embedded by one matrix, learned positions, layers with split q, k, v."""
    size, patch = config.size("hidden_size"), config.size("patch_size")
    embedder = tree.at("patch_embedder")
    embedder.linear("patch_embedding", size, config.size("patch_temporal") * 3 * patch**2)
    rows = config.size("pos_emb_height") * config.size("pos_emb_width")
    embedder.positions("position_embedding_table", rows, size)
    tree.layer_norm("ln_pre", "ln_post", size=size)
    layer = tree.stack("layers", config.layers())
    layer.layer_norm("norm1", "norm2", size=size)
    layer.at("attn").attention(size, "q_proj k_proj v_proj proj")
    layer.at("mlp").mlp(size, config.size("intermediate_size"))


def muse_audio(config: Config, tree: Tree) -> None:
    """Muse Spark's sound pyramid: each stage joins patches of the one before, then runs causal convolutions."""
    count = config.layers()
    names = ("patch_sizes", "hidden_sizes", "depths")
    patches, sizes, depths = (config.sizes(name, count=count, maximum=MAX_COUNT) for name in names)
    for index, (patch, size, depth) in enumerate(zip(patches, sizes, depths, strict=True)):
        stage = tree.at(f"layers.{index}")
        stage.linear("patch_embedder.proj", size, patch * (sizes[index - 1] if index else 1), bias=True)
        stage.rms_norm("patch_embedder.norm", size=size)
        block = stage.stack("conv_blocks", depth)
        block.conv("conv", size, 1, config.size("conv_kernel_size"), bias=True)
        block.rms_norm("norm", size=size)
        block.at("mlp").mlp(size, config.scaled(size, "mlp_ratio", default=4.0))
    out = config.size("out_hidden_size")
    tree.rms_norm("norm", size=sizes[-1])
    tree.linear("proj", out, sizes[-1], bias=True)
    tree.rms_norm("post_proj_norm", size=out)


def inkling_audio(config: Config, tree: Tree) -> None:
    """Inkling's sound: one table for all codebooks and a norm."""
    size = config.size("hidden_size")
    rows = config.size("num_codebooks") * config.size("codebook_size")
    tree.put(embedding("embed_audio_tokens.embed_audio_tokens", rows, size, Role.OTHER))
    tree.rms_norm("norm", size=config.size("text_hidden_size"))


def inkling_vision(config: Config, tree: Tree) -> None:
    """Inkling's patches: matrices that fold space, then time, into channels, with a norm after all but the last."""
    count, out = config.layers("num_hidden_layers"), config.size("text_hidden_size")
    scales = _scales_by_layer(config, count)
    for index, (before, after) in enumerate(pairwise(scales)):
        folded = (after[0] // before[0]) * (after[1] // before[1]) ** 2
        last = index == count - 1
        width = out if last else after[2]
        tree.linear(f"encoder_layers.{index}.projection", width, before[2] * folded)
        if not last:
            tree.rms_norm(f"encoder_layers.{index}.layer_norm", size=width)
    tree.rms_norm("final_norm", size=out)


def _scales_by_layer(config: Config, count: int) -> list[Scale]:
    """The scale before each of `count` layers and after the last: those nearest to even steps of log size.

    Where there are more scales than steps, each step takes one of its own so that the sum of distances is smallest;
    both are sorted, so such a choice keeps their order.
    """
    scales, total = _scales(config)
    ideal = [log(total) * step / count for step in range(count + 1)]
    reached = [log(frames * rows**2) for frames, rows, _ in scales]
    if count >= len(scales):
        chosen = [min(range(len(scales)), key=lambda place: abs(reached[place] - wanted)) for wanted in ideal]
    else:
        chosen = _matched(ideal, reached)
    return [scales[0], *(scales[place] for place in chosen[1:-1]), scales[-1]]


def _matched(wanted: list[float], offered: list[float]) -> list[int]:
    """For each of the sorted `wanted` a place of its own among the sorted `offered`, the sum of distances smallest."""
    costs, paths = [0.0] * (len(offered) + 1), [[] for _ in range(len(offered) + 1)]  # type: list[float], list[list[int]]
    for value in wanted:
        next_costs, next_paths = [inf], [[]]  # type: list[float], list[list[int]]
        for place, point in enumerate(offered):
            taken, left = costs[place] + abs(point - value), next_costs[place]
            next_costs.append(min(taken, left))
            next_paths.append([*paths[place], place] if taken < left else next_paths[place])
        costs, paths = next_costs, next_paths
    return paths[-1]


def _scales(config: Config) -> tuple[list[Scale], int]:
    """What a patch can be folded to, prime factor by prime factor (space first), and the values of a patch."""
    patch, frames, colours = (
        config.size("patch_size", maximum=MAX_COUNT),
        config.size("temporal_patch_size"),
        channels(config),
    )
    rows = list(accumulate(_prime_factors(patch), mul))
    times = list(accumulate(_prime_factors(frames), mul))
    spatial = [(1, side, ceil(side**2 * colours / 64) * 64) for side in rows]
    temporal = [(time, patch, patch**2 * colours * time * 64) for time in times]
    return [(1, 1, colours), *spatial, *temporal], patch**2 * frames * colours


def _prime_factors(number: int) -> list[int]:
    """The prime factors, largest first."""
    factors, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*([number] if number > 1 else []), *reversed(factors)]
