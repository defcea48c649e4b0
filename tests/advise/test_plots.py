"""Plots: the figures behind the lines, and a file for every kind and ending."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from advice import GIB, model, target

from sizer.answer.estimate import estimate
from sizer.answer.question import Drafting, Question
from sizer.answer.records import Estimate
from sizer.errors import UsageError
from sizer.report import series
from sizer.report.plots import ENDINGS, KINDS, LABEL_GAP, _apart, save
from sizer.workload import Workload


@pytest.fixture(scope="module")
def items() -> list[Estimate]:
    """Two precisions on two devices; one of the four does not fit."""
    return [
        estimate(Question(model("Qwen/Qwen3-32B"), target(device), precision, Workload(), engine="llama.cpp"))
        for device in ("rtx-4090", "apple-m2-ultra")
        for precision in ("q8_0", "q4_k_m")
    ]


def test_lines_are_estimates(items: list[Estimate]) -> None:
    """Each point of memory and speed by context is what an estimate at that context says."""
    steps = series.contexts(items)
    assert steps[0] == series.SHORTEST_CONTEXT_TOKENS
    assert steps[-1] <= 40960 < 2 * steps[-1]
    memory, speed = series.memory_by_context(items), series.speed_by_context(items)
    work = Workload(prompt_tokens=steps[2] - 128, output_tokens=128, context_tokens=steps[2])
    one = estimate(Question(items[1].architecture, items[1].target, "q4_k_m", work, engine="llama.cpp"))
    assert memory[1].y[2] == one.footprint.total_bytes / GIB
    assert one.speed is not None
    assert speed[1].y[2] == one.speed.decode.tokens_per_s


def test_what_does_not_fit_has_memory_and_no_speed(items: list[Estimate]) -> None:
    """The q8_0 of a 32B on 24 GiB: a memory line above the card's, and no point of speed."""
    assert items[0].speed is None
    assert series.memory_by_context(items)[0].y
    for lines in (series.speed_by_context, series.throughput_by_latency, series.roofline_points):
        assert lines(items)[0].x == ()


def test_curves_bend_the_right_way(items: list[Estimate]) -> None:
    """Memory rises and speed falls with the context; together a larger batch is never slower."""
    assert list(series.memory_by_context(items)[1].y) == sorted(series.memory_by_context(items)[1].y)
    assert list(series.speed_by_context(items)[1].y) == sorted(series.speed_by_context(items)[1].y, reverse=True)
    together = series.throughput_by_latency(items)[1].y
    assert list(together) == sorted(together)


def test_no_point_lies_above_the_roof(items: list[Estimate]) -> None:
    """What is reached is no more than bandwidth times intensity and the peak allow."""
    for item, line in zip(items, series.roofline_points(items), strict=True):
        device = item.target.device
        assert device.bandwidth_bytes_per_s is not None
        for intensity, reached in zip(line.x, line.y, strict=True):
            roof = min(intensity * device.bandwidth_bytes_per_s, max(device.peak_flops_per_s.values()))
            assert reached * 1e12 <= 1.02 * roof


def test_labels_tell_items_apart(items: list[Estimate]) -> None:
    """No two of the compared have one label."""
    assert len(set(series.labels(items))) == len(items)
    other = estimate(Question(model("Qwen/Qwen3-8B"), target("rtx-4090"), "q4_k_m", Workload(), engine="llama.cpp"))
    both = [*items[1:2], other]
    assert series.labels(both) == ["Qwen3-32B q4_k_m", "Qwen3-8B q4_k_m"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "draft"])
def test_each_kind_draws_a_png(items: list[Estimate], kind: str, tmp_path: Path) -> None:
    """A file of its own, with the signature of a PNG."""
    pytest.importorskip("matplotlib")
    save(items, tmp_path / "plot.png", [kind])
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_an_svg_names_every_line(items: list[Estimate], tmp_path: Path) -> None:
    """All kinds in one file; every estimate has its line in the legend, and every kind its title."""
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        save(items, tmp_path / "plot.svg")
    text = (tmp_path / "plot.svg").read_text(encoding="utf-8")
    for label in series.labels(items):
        assert label in text
    for title in ("Memory by context", "Decode speed by context", "Throughput", "Roofline", "Quality, memory, speed"):
        assert title in text
    assert "24 GiB, fits below" in text


def test_an_unknown_ending_is_refused(items: list[Estimate], tmp_path: Path) -> None:
    """The message quotes the file and lists what can be drawn."""
    with pytest.raises(UsageError) as caught:
        save(items, tmp_path / "plot.bmp")
    assert "plot.bmp" in caught.value.message
    assert all(ending in (caught.value.hint or "") for ending in ENDINGS)


def test_a_drafts_gain_rises_with_what_is_accepted(tmp_path: Path) -> None:
    """The line rises, passes through the estimate's own gain at its acceptance; without a draft none is drawn."""
    small = Drafting(model("Qwen/Qwen3-0.6B"), 4, 0.7)
    question = Question(
        model("Qwen/Qwen3-32B"), target("rtx-4090"), "q4_k_m", Workload(), engine="llama.cpp", drafting=small
    )
    one = estimate(question)
    (line,) = series.gain_by_acceptance([one])
    assert list(line.y) == sorted(line.y)
    assert one.speculation is not None
    assert line.y[line.x.index(0.7)] == pytest.approx(one.speculation.speedup)
    save([one], tmp_path / "gain.png", ["draft"])
    with pytest.raises(UsageError, match="--draft"):
        save([estimate(replace(question, drafting=None))], tmp_path / "none.png", ["draft"])


def test_a_panel_has_eight_lines_at_most() -> None:
    """Two models on three devices at three precisions: every estimate in one group, none with more than eight, each of
    one model; nine precisions of one case are two groups."""
    many = [
        estimate(Question(model(name), target(device), precision, Workload(), engine="llama.cpp"))
        for name in ("Qwen/Qwen3-8B", "Qwen/Qwen3-0.6B")
        for device in ("rtx-4090", "apple-m2-ultra", "rtx-3090")
        for precision in ("bf16", "q8_0", "q4_k_m")
    ]
    groups = series.panels(many)
    assert [item for group in groups for item in group] == many
    assert max(map(len, groups)) <= 8
    assert all(len({item.architecture.model_id for item in group}) == 1 for group in groups)
    assert [len(group) for group in series.panels(many[:1] * 9)] == [8, 1]
    assert len(series.panels([many[0], many[9]])) == 1


@pytest.mark.parametrize("heights", [[0.5, 0.5], [0.0, 0.01, 0.02, 0.9], [0.1, 0.4, 0.8]])
def test_labels_do_not_cover_each_other(heights: list[float]) -> None:
    """Labels keep their order and a label's height between them, and those with room stay where they are."""
    placed = _apart(heights)
    gaps = [upper - lower for lower, upper in pairwise(placed)]
    assert min(gaps) >= LABEL_GAP - 1e-3
    assert placed[-1] == pytest.approx(heights[-1], abs=LABEL_GAP / 2 + 1e-3)


def test_axes_are_not_negative_and_colours_keep_their_meaning(items: list[Estimate], tmp_path: Path) -> None:
    """No panel shows less than nothing; a precision has one colour on every device and in every kind of plot."""
    pytest.importorskip("matplotlib")
    from matplotlib.figure import Figure

    drawn: list[Figure] = []

    class Kept(Figure):
        def __init__(self, *args: object, **options: object) -> None:
            super().__init__(*args, **options)  # type: ignore[arg-type]
            drawn.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sizer.report.plots.figure_class", lambda: Kept)
        save(items, tmp_path / "plot.png")
    panels = drawn[0].axes
    assert len(panels) == len(KINDS)  # a key of colours where the draft's gain would be
    for panel in panels[:-1]:
        assert panel.get_xlim()[0] >= 0
        assert panel.get_ylim()[0] >= 0
        assert panel.lines or panel.collections
    colours = [line.get_color() for line in panels[0].lines if line.get_marker() == "o"]
    assert colours == ["C0", "C1", "C0", "C1"]
