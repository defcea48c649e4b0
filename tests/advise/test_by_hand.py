"""Parts of a decision counted on paper: the fewest bits of a loss, a split in words, its pace by the host alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from advice import model, target

from sizer.advise.advice import questions_for
from sizer.advise.alternatives import split_pace
from sizer.advise.reasons import split_text
from sizer.advise.recommend import READING_TOKENS_PER_S, Wanted, neighbours, readable, waited_rate
from sizer.answer.estimate import estimate
from sizer.answer.loss import LARGEST_ACTIVE, expected_loss, least_bits
from sizer.answer.records import Estimate
from sizer.precision.quality import scaled_by_active
from sizer.workload import Workload

WORK = Workload(context_tokens=8192)


def split(precision: str, name: str = "meta-llama/Llama-3.3-70B-Instruct") -> Estimate:
    """A large model on an RTX 4090 beside 64 GiB."""
    questions = questions_for(model(name), target("rtx-4090", ram_gib=64), WORK, "llama.cpp")
    return estimate(next(question for question in questions if question.precision == precision))


@pytest.mark.parametrize("loss", [0.01, 0.08, 0.2])
def test_the_fewest_bits_of_a_loss_lose_just_that(loss: float) -> None:
    """Of the largest model, which loses least: the curve crosses the limit there, and a bit fewer is beyond it."""
    bits = least_bits(loss)
    assert 1 < bits < 8
    assert scaled_by_active(expected_loss(bits + 0.01), LARGEST_ACTIVE) <= loss
    assert scaled_by_active(expected_loss(bits - 0.01), LARGEST_ACTIVE) > loss
    assert least_bits(0.08) > least_bits(0.2)


def test_a_split_is_told_with_its_layers_and_whether_it_is_slower_than_reading() -> None:
    """Layers on the device and beside it, the host's bytes, and a speed below that of silent reading called so."""
    slow, fast = split("q4_k_m"), split("q4_k_m", "Qwen/Qwen3-30B-A3B")
    layers = slow.placement.gpu_layers
    assert 0 < layers < 80
    assert f"q4_k_m runs with {layers} of 80 layers on the device, the others on the host" in split_text(slow)
    assert (waited_rate(slow) or 0) < READING_TOKENS_PER_S < (waited_rate(fast) or 0)
    assert split_text(slow).endswith("slower than reading")
    assert "slower than reading" not in split_text(fast)


def test_a_split_of_unknown_speed_goes_by_what_the_host_reads() -> None:
    """Without a bandwidth of the device: the host's over the active share of what lies there; none without a host."""
    item = split("q4_k_m")
    assert split_pace(item) == waited_rate(item)
    blind = replace(item, speed=None)
    host = blind.target.host
    assert host is not None
    assert host.bandwidth_bytes_per_s is not None
    assert split_pace(blind) == pytest.approx(host.bandwidth_bytes_per_s / item.placement.host_bytes)
    assert split_pace(replace(blind, target=replace(blind.target, host=None))) == 0.0
    unknown = replace(host, bandwidth_bytes_per_s=None)
    assert split_pace(replace(blind, target=replace(blind.target, host=unknown))) == 0.0


def test_what_was_chosen_has_neighbours_though_it_misses_the_speed_that_was_wanted() -> None:
    """A choice is a point of its own frontier, whatever was asked; those beside it must reach what was."""
    questions = questions_for(model("meta-llama/Meta-Llama-3-8B-Instruct"), target("rtx-4090"), WORK)
    tried = [estimate(question) for question in questions]
    chosen = next(item for item in tried if item.precision == "q8_0")
    beyond = Wanted(min_tokens_per_s=(waited_rate(chosen) or 0) + 1)
    better, cheaper = neighbours(tried, chosen, beyond)
    assert better is None
    assert cheaper is not None
    assert (waited_rate(cheaper) or 0) > (waited_rate(chosen) or 0)


def test_reading_has_a_tenth_of_room() -> None:
    """A tenth below the speed of reading counts as reading; less does not."""
    assert readable(READING_TOKENS_PER_S)
    assert readable(READING_TOKENS_PER_S / 1.1 + 0.01)
    assert not readable(READING_TOKENS_PER_S * 0.85)
