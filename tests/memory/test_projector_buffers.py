"""Buffers of projectors beside those that llama.cpp's own library reserved for files of the same widths.

`tests/data/memory/projector_buffers.csv`: tools/mtmd of build 11434 on a CPU, files made with the models' true widths
(layers as many as the towers have where features of some are kept, else few: the buffer does not go by their number).
"""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from drawn import case, rule

from sizer.engine.options import EngineOptions
from sizer.memory.graph.vision import VisionTower, tower_bytes
from sizer.memory.projector import projector_compute_bytes
from sizer.memory.vision_tower import vision_tower
from sizer.model.read.resolve import resolve
from sizer.units import MIB

TABLE = Path(__file__).parent.parent / "data" / "memory" / "projector_buffers.csv"
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
HUNDREDTH = 0.011


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["model"])
def test_a_projectors_buffer_is_the_library_s(row: dict[str, str]) -> None:
    """To the printed hundredth of a MiB, with flash attention and with its scores in memory."""
    flags = EngineOptions("llama.cpp", vision_file="mmproj-F16.gguf")
    seen = case(resolve(row["model"], offline=True).architecture, engine=rule("llama.cpp"), options=flags)
    assert projector_compute_bytes(seen) / MIB == pytest.approx(float(row["flash_mib"]), abs=HUNDREDTH)
    if row["scores_mib"]:
        off = replace(seen, options=replace(flags, flash_attention=False))
        assert projector_compute_bytes(off) / MIB == pytest.approx(float(row["scores_mib"]), abs=HUNDREDTH)


def test_more_of_an_image_never_takes_less() -> None:
    """Patches, widths, features that are kept, and scores in memory."""
    tower = VisionTower(256, 512, 4, 4, 300, 12, tail="merged", convolutions=2, merge=2, widths=(1024, 96))
    base = tower_bytes(tower)
    for more in (
        tower._replace(patches_a_side=16),
        tower._replace(hidden=512, widths=(2048, 96)),
        tower._replace(wide=4096),
        tower._replace(deep=(0, 1)),
        tower._replace(flash_attention=False, heads=64),
    ):
        assert tower_bytes(more) > base


def test_heads_that_a_config_leaves_out_are_its_class_s() -> None:
    """GLM-4.5V's config does not write its tower's heads: transformers' class takes 12, of 128 values each."""
    tower = vision_tower(resolve("zai-org/GLM-4.5V", offline=True).architecture, flash_attention=False)
    assert tower is not None
    assert (tower.hidden, tower.heads) == (1536, 12)
