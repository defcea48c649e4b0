"""What a config says of the images that a tower takes: sides, patches, frames, channels."""

from __future__ import annotations

from collections.abc import Callable

from sizer.model.blocks.tree import Tree
from sizer.model.config import Config

TowerMaker = Callable[[Config, Tree], None]


def pair(config: Config, name: str, default: int | None = None) -> tuple[int, int]:
    """A size that a config gives as one number or as [height, width]; `default` where it gives none."""
    if isinstance(config.get(name), (list, tuple)):
        height, width = config.sizes(name, count=2)
        return height, width
    size = config.size(name, default=default)
    return size, size


def patches(config: Config) -> int:
    """Patches of an image of the config's own size."""
    (height, width), (patch_height, patch_width) = pair(config, "image_size"), pair(config, "patch_size")
    return (height // patch_height) * (width // patch_width)


def channels(config: Config) -> int:
    """Colour channels of the input."""
    return config.size("num_channels", "in_channels", "in_chans", default=3)


def temporal(config: Config) -> int:
    """Frames that one patch spans."""
    value = config.get("temporal_patch_size")
    if isinstance(value, (list, tuple)):
        return pair(config, "temporal_patch_size")[0]
    return config.size("temporal_patch_size")
