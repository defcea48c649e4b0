"""Encoders of timm, which a config names and nothing in it sizes."""

from __future__ import annotations

from sizer.model.blocks.tree import Tree
from sizer.model.config import Config

# Parameters of timm's encoders, which the config names and nothing in it sizes. MobileNetV5-300M: the published totals
# of gemma-3n-E2B (5,439,438,272) and of gemma-3n-E4B (7,849,978,192), less every other tensor that they store, both
# leave this number; timm's own listing says 294.13M.
TIMM_PARAMS = {"mobilenetv5_300m_enc": 294_126_912}


def encoder(config: Config, tree: Tree) -> None:
    """The timm encoder as one lump."""
    name = config.text("architecture")
    if name not in TIMM_PARAMS:
        raise config.error("architecture", f"Only the sizes of {', '.join(TIMM_PARAMS)} are known.")
    tree.parameter("timm_model", TIMM_PARAMS[name])
