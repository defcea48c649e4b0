"""More vision towers: those that only one family uses."""

from __future__ import annotations

from sizer.model.blocks.vision import VisionTower

MORE_TOWERS: dict[str, VisionTower] = {}
