"""The encoder's part of vLLM's profile run: as many images as its budget holds, at their largest, and what they become.

Read in v1/core/encoder_cache_manager.compute_mm_encoder_budget and v1/worker/gpu/mm/encoder_runner.py (0.33): the
budget is the larger of the batched tokens and one largest item; outputs stay beside the text's own profile.
"""

from __future__ import annotations

from collections.abc import Mapping

from sizer.engine.options import EngineOptions
from sizer.engine.releases import version_numbers
from sizer.frozen import NamedTuple
from sizer.memory.case import Case
from sizer.model.architecture import Architecture, Role, Tower
from sizer.tables import read_rows
from sizer.units import HALF_BYTES

LARGEST_IMAGE_TOKENS = 16_384
"""Tokens of the largest image that processors of any resolution take (Qwen-VL: max_pixels of 16,384 merged patches)."""
HIDDEN_COPIES, ATTENTION_COPIES = 4, 5
"""Hidden vectors beside the widest step, and queries, keys, values with the rotated copies of two."""
COLOURS = 3
VIDEO_TOKENS = ("video_token_id", "video_token_index")
"""Keys of the config of a model that takes videos too."""


class EncoderRun(NamedTuple):
    """What the encoder takes at its peak, and what images and outputs keep while the text is profiled."""

    peak_bytes: int
    output_bytes: int


NO_ENCODER = EncoderRun(0, 0)


class _Images(NamedTuple):
    """Images of a size: tokens that one becomes, and patches that it is cut into."""

    tokens: int
    patches: int


def encoder_run(case: Case, batched_tokens: int) -> EncoderRun:
    """The encoder's profile; nothing of a model without a vision tower, or where flags load none.

    None either where the config does not tell the tower's sizes.
    """
    config = case.architecture.config.get("vision_config")
    loaded = any(tensor.tower is Tower.VISION for tensor in case.architecture.tensors)
    if not isinstance(config, dict) or not loaded or sees_nothing(case.architecture, case.options):
        return NO_ENCODER
    hidden = _size(config, "embed_dim", "hidden_size", "width")
    wide = _size(config, "intermediate_size") or int(hidden * _number(config, "mlp_ratio"))
    images = _images(case, config)
    if not hidden or not wide or images is None:
        return NO_ENCODER
    gated = any(tensor.tower is Tower.VISION and tensor.role in GATES for tensor in case.architecture.tensors)
    widest = max(ATTENTION_COPIES * hidden, (3 if gated else 2) * wide)
    values = HIDDEN_COPIES * hidden + -(-widest // case.ranks)
    count = max(1, max(batched_tokens, images.tokens) // images.tokens)
    levels = config.get("deepstack_visual_indexes")
    outputs = case.architecture.hidden_size * (1 + (len(levels) if isinstance(levels, list) else 0))
    pixels = count * images.patches * _patch_values(config)
    return EncoderRun(
        (count * images.patches * values + pixels) * HALF_BYTES,
        (count * images.tokens * outputs + pixels) * HALF_BYTES,
    )


def sees_nothing(architecture: Architecture, options: EngineOptions) -> bool:
    """Whether flags let no image through: none asked for, or none allowed where videos are none either."""
    films = any(name in architecture.config for name in VIDEO_TOKENS) and options.videos_per_prompt != 0
    return options.vision is False or (options.images_per_prompt == 0 and not films)


def leaves_towers_out(architecture: Architecture, options: EngineOptions) -> bool:
    """Whether the engine then does not load the towers either: since the versions of `data/text_only.csv`."""
    since = next((row["since"] for row in read_rows("text_only.csv") if row["engine"] == options.engine), "")
    numbers = version_numbers(options.version)
    able = bool(since) and (not numbers or numbers >= version_numbers(since))
    return able and sees_nothing(architecture, options)


def _patch_values(config: Mapping[str, object]) -> int:
    """Values of one patch of the images, which stay until the text is profiled (v1/worker/gpu_model_runner.py)."""
    side = _size(config, "patch_size", "spatial_patch_size")
    frames = _size(config, "temporal_patch_size") or 1
    return side * side * frames * (_size(config, "in_channels", "num_channels", "in_chans") or COLOURS)


GATES = frozenset({Role.GATE, Role.GATE_UP})


def _images(case: Case, config: Mapping[str, object]) -> _Images | None:
    """The largest image: of any size where patches are merged by a square, else of the config's one size."""
    merge = _size(config, "spatial_merge_size")
    if merge:
        return _Images(LARGEST_IMAGE_TOKENS, LARGEST_IMAGE_TOKENS * merge**2)
    side, patch = _size(config, "image_size"), _size(config, "patch_size")
    if not side or not patch:
        return None
    patches = (side // patch) ** 2
    tokens = _size(case.architecture.config, "mm_tokens_per_image")
    shrunk = _number(case.architecture.config, "downsample_ratio") ** 2
    return _Images(tokens or int(patches * shrunk) or patches, patches)


def _size(config: Mapping[str, object], *names: str) -> int:
    """The first whole number above 0 of several fields, else 0; of a pair (height and width) its first."""
    found = (config.get(name) for name in names)
    firsts = (value[0] if isinstance(value, list) and value else value for value in found)
    return next((value for value in firsts if isinstance(value, int) and 0 < value < 2**20), 0)


def _number(config: Mapping[str, object], name: str) -> float:
    value = config.get(name)
    return float(value) if isinstance(value, (int, float)) and 0 < value < 2**10 else 0.0
