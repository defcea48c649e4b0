"""Points whose devices were servers of prompts beside servers of tokens, and what a drafter leaves by the law."""

from __future__ import annotations

import pytest

from sizer.calibrate.load_cases import LoadCase, load_case, simulated_means
from sizer.serving.corrections import NO_CORRECTIONS
from sizer.serving.fleets import TABLE, fleet_told, speaks_of
from sizer.serving.layout import Fleet, Layout, fleet_of
from sizer.serving.points import point, read_rows
from sizer.speed.law import constants
from sizer.tables import data_path
from sizer.tables import read_rows as table_rows

ROW = {
    "id": "a", "backend": "trtllm", "backend_version": "", "model_path": "deepseek-ai/DeepSeek-R1",
    "system": "gb200", "isl": "1024", "osl": "1024", "batch_size": "64", "tp_size": "36", "pp_size": "1",
    "attention_dp_size": "1", "moe_tp_size": "36", "moe_ep_size": "1", "gemm_quant_mode": "nvfp4",
    "silicon_ttft_ms": "262", "silicon_tpot_ms": "10", "silicon_data_source": "source_file=a.csv; measured=2025-11-17",
}  # fmt: skip
ALONE = {"system": "b200_sxm", "tp_size": "8", "moe_tp_size": "8", "batch_size": "16"}


def case(**changes: str) -> LoadCase:
    """The records of a point with these columns changed."""
    return load_case(point({**ROW, **changes}), constants(), {})


def test_devices_of_two_kinds_of_servers_are_a_fleet() -> None:
    """36 devices of a rack were one server of prompts and four of tokens, or one of tokens over 32 of them."""
    told = fleet_told(point(ROW))
    assert told is not None
    assert told.fleet == Fleet(1, Layout(1, 4, expert_parallel=True), 4, Layout(8, expert_parallel=True))
    assert (told.fleet.devices, told.drafts) == (36, 0)
    wide = fleet_told(point({**ROW, "batch_size": "512"}))
    assert wide is not None
    assert (wide.fleet.writing.attention_groups, wide.drafts) == (32, 3)


@pytest.mark.parametrize(
    "changes",
    [
        {"system": "b200_sxm"}, {"tp_size": "8", "moe_tp_size": "8"}, {"requests": "40"}, {"batch_size": "65"},
        {"silicon_data_source": "source_file=a.csv; measured=2026-01-17"},
        {"silicon_data_source": "source_file=aic-auto-gap-analysis/x; measured=2025-11-17"},
    ],
)  # fmt: skip
def test_what_no_launch_script_tells_is_one_server(changes: dict[str, str]) -> None:
    """Another system, another size, another benchmark, a later day."""
    assert fleet_told(point({**ROW, **changes})) is None


def test_every_fleet_is_of_measured_points_and_has_their_devices() -> None:
    """Each row of the table speaks of a point of the package, whose devices its servers add up to."""
    points = [point(row) for row in read_rows(data_path("serving.csv"))]
    for row in table_rows(TABLE):
        assert any(speaks_of(row, one) for one in points), row
        assert fleet_of(row["fleet"]).devices == int(row["devices"])
        assert row["source"]
    assert sum(fleet_told(one) is not None for one in points) == 47


def test_a_fleet_is_simulated_as_one() -> None:
    """Users are shared by four servers of tokens; its prompts wait for their own server, not for steps of tokens."""
    fleet = case()
    assert (fleet.served.layout.devices, fleet.decode_share) == (8, 0.25)
    assert fleet.reading is not None
    assert fleet.reading.rules.step_tokens == 4 * 4608
    seen = simulated_means(fleet, NO_CORRECTIONS)
    alone = simulated_means(case(**ALONE), NO_CORRECTIONS)
    assert seen.decoded[0] == 0
    assert seen.waited[0] >= 1
    assert seen.tpot_s == pytest.approx(alone.tpot_s, rel=0.2)


def test_a_drafter_leaves_what_the_law_says_of_its_drafts() -> None:
    """Three drafts help few users and burden many; beside data-parallel attention it is one."""
    image = {**ALONE, "backend_version": "1.2.0rc6.post3", "silicon_data_source": "source_file=a.csv"}
    few, many = case(**image), case(**{**image, "batch_size": "512"})
    assert 0.3 < few.drafted < 0.8 < many.drafted
    groups = {"tp_size": "1", "attention_dp_size": "8", "moe_tp_size": "1", "moe_ep_size": "8", "batch_size": "64"}
    assert case(**{**image, **groups}).drafted < many.drafted
    assert case(**ALONE).drafted == 1
