"""What a config says of the images that a tower takes: sides, patches, frames, channels."""

from __future__ import annotations

from collections.abc import Callable

from sizer.errors import InvalidConfig
from sizer.model.blocks.tree import Tree
from sizer.model.config import Config

TowerMaker = Callable[[Config, Tree], None]


def pair(config: Config, name: str, default: int | None = None) -> tuple[int, int]:
    """A size that a config gives as one number or as [height, width]; `default` where it gives none."""
    value = config.get(name)
    if value is None and default is not None:
        return default, default
    if not isinstance(value, (list, tuple)):
        size = config.size(name)
        return size, size
    if len(value) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in value):
        raise InvalidConfig(f"config field {config.path + name!r} is {value!r}.", "It must be one or two sizes.")
    return value[0], value[1]


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
