"""The steps of a server are those of the law of speed, asked for mixes of work and divided over ranks."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.serving.corrections import Corrections, load_groups
from sizer.serving.layout import Layout
from sizer.serving.steps import StepLaw, law_weights, step_law
from sizer.serving.term_curves import term_curves
from sizer.speed import chunks
from sizer.speed.case import SpeedCase
from sizer.speed.law import constants
from sizer.speed.predict import timed
from sizer.speed.prompt_terms import prefill_amounts
from sizer.speed.terms import decode_amounts
from sizer.speed.traffic import decode_traffic, prefill_traffic
from sizer.workload import Workload
from tests.support.speedcases import case_of

NONE = Corrections({}, {})


def case(model: str, precision: str, device: str = "h100-80gb-sxm") -> SpeedCase:
    """A catalogued model on a device with vLLM."""
    return case_of(model, device, "vllm", precision)


def law(asked: SpeedCase, layout: Layout | None = None) -> StepLaw:
    """Its uncorrected law."""
    chosen = layout or Layout()
    return step_law(asked, chosen, constants(), NONE, load_groups(asked, chosen))


@pytest.mark.parametrize("model", ["Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B", "google/gemma-3-27b-it"])
def test_decode_is_the_laws(model: str) -> None:
    """A decode step on one device takes what the law tells, whatever its batch and depth, within one percent.

    An estimate adds what measured rows near its case say; a mix of prompts and decodes has no such rows.
    """
    asked = case(model, "fp8")
    steps = law(asked)
    for sequences, context in ((1, 16), (16, 1), (5, 1000), (37, 5000), (200, 300)):
        whole = replace(asked, workload=Workload(context, 1, context + 1, sequences))
        traffic = decode_traffic(whole.architecture, whole.stored, whole.workload)
        expected = timed(decode_amounts(whole, traffic), whole, constants()).total_s
        assert steps.step_s(sequences, context) == pytest.approx(expected, rel=0.01)


def test_prefill_is_the_laws() -> None:
    """A prompt that fits one step takes what the law tells, within two percent: in 16 bits, whose peak both tell by."""
    asked = case("Qwen/Qwen3-32B", "bf16")
    steps = law(asked)
    whole = replace(asked, workload=Workload(700, 1, 701))
    traffic = prefill_traffic(whole.architecture, whole.stored, whole.workload)
    expected = timed(prefill_amounts(whole, traffic, chunks.whole(700)), whole, constants()).total_s
    assert steps.step_s(0, 0, 700, steps.attention_s(0, 700)) == pytest.approx(expected, rel=0.02)


def test_prompts_under_load_gain_from_narrow_products_where_the_engine_has_them() -> None:
    """The law's gain from FP8 products is left out under load, but of an engine whose products are narrow: there it is
    what the two peaks differ by."""
    asked = case("Qwen/Qwen3-32B", "fp8")
    curves = term_curves(asked, Layout())
    plain, narrow = (
        law_weights(asked, curves, constants(), products)["prefill_compute"] for products in ("", "narrow")
    )
    peaks = asked.device.peak_flops_per_s
    assert plain / narrow == pytest.approx(peaks["fp8"] / peaks["bf16"])
    told = constants().factor("prefill_compute", tuple(asked.groups.values()), asked.owners)
    assert plain > curves["prefill_compute"].weight(told)


def test_more_work_is_never_faster() -> None:
    """More sequences, deeper caches, more prompt tokens and both together take no less time, but less than apart."""
    steps = law(case("Qwen/Qwen3-32B", "fp8"))
    by_batch = [steps.step_s(n, 2000) for n in range(1, 300)]
    by_depth = [steps.step_s(8, n) for n in range(1, 40000, 777)]
    by_prompt = [steps.step_s(0, 0, n) for n in range(1, 9000, 101)]
    assert by_batch == sorted(by_batch)
    assert by_depth == sorted(by_depth)
    assert by_prompt == sorted(by_prompt)
    both = steps.step_s(16, 2000, 512)
    assert max(steps.step_s(16, 2000), steps.step_s(0, 0, 512)) <= both
    assert both < steps.step_s(16, 2000) + steps.step_s(0, 0, 512)


def test_chunks_of_attention_add_up() -> None:
    """A prompt's causal attention costs the same in one chunk or in four."""
    steps = law(case("Qwen/Qwen3-32B", "fp8"))
    parts = sum(steps.attention_s(start, 2048) for start in range(0, 8192, 2048))
    assert parts == pytest.approx(steps.attention_s(0, 8192))


def test_ranks_divide_and_latent_caches_do_not() -> None:
    """Four ranks read a GQA model's cache four times as fast; an MLA model's every rank reads it whole."""
    dense, latent = case("Qwen/Qwen3-32B", "fp8", "4xh100"), case("deepseek-ai/DeepSeek-V3", "fp8", "8xb200")
    one, four = law(dense), law(dense, Layout(4))
    assert one.deep_memory(8192) == pytest.approx(4 * four.deep_memory(8192))
    alone, shared, apart = law(latent), law(latent, Layout(8)), law(latent, Layout(1, 8, expert_parallel=True))
    assert shared.deep_memory(8192) == pytest.approx(alone.deep_memory(8192))
    assert apart.deep_memory(8192) == pytest.approx(alone.deep_memory(8192) / 8)


def test_a_pipeline_gains_throughput_not_latency() -> None:
    """Stages at work on different sequences keep one sequence's time, and shrink what each further one adds."""
    asked = case("Qwen/Qwen3-32B", "fp8", "4xh100")
    alone, stages = law(asked), law(asked, Layout(stages=4, in_flight=True))
    assert stages.step_s(1, 2000) >= 0.99 * alone.step_s(1, 2000)
    assert stages.step_s(256, 2000) < alone.step_s(256, 2000)


def test_floors_hold_memory_to_its_bandwidth() -> None:
    """However strong a correction, weights are not read faster than the bandwidth."""
    asked = case("Qwen/Qwen3-32B", "fp8")
    names = load_groups(asked, Layout())
    strong = Corrections({"weights": {"all: all": -9.0}, "layers": {"all: all": -9.0}, "step": {"all: all": -9.0}}, {})
    steps = step_law(asked, Layout(), constants(), strong, names)
    bandwidth = asked.device.bandwidth_bytes_per_s or 0
    assert steps.step_s(1, 1) > 0.9 * 32e9 / bandwidth


def test_narrow_products_take_the_peak_of_their_format() -> None:
    """FP8 weights are multiplied at a card's FP8 peak, twice its 16-bit one, and other weights no faster."""
    for precision, gain in (("fp8", 2.0), ("bf16", 1.0), ("w4a16-int4", 1.0)):
        asked = case("Qwen/Qwen3-32B", precision, "h100")
        curves = term_curves(asked, Layout())
        plain, narrow = (law_weights(asked, curves, constants(), products) for products in ("", "narrow"))
        assert plain["prefill_compute"] == pytest.approx(gain * narrow["prefill_compute"])
        assert plain["weights"] == narrow["weights"]
