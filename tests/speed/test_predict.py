"""Predictions from fitted constants: directions that physics fixes, intervals, bounds, and the law itself."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sizer
from sizer.calibrate.terms import TERMS
from sizer.device.catalogue import find
from sizer.device.records import Target
from sizer.engine.engines import default_engine, engines, find_engine
from sizer.engine.stored import store_for
from sizer.errors import SizerError, UnknownEngine, UsageError
from sizer.model.architecture import Architecture
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.speed.law import COMPUTE, LAUNCH, MEMORY, OVERHEAD, Constants, Term, combine, constants
from sizer.speed.predict import EVIDENCE_LEVELS, predict
from sizer.speed.records import Speed
from sizer.speed.speculative import expected_tokens, speculate
from sizer.workload import Workload
from tests.support.speedcases import case_of

WORK = Workload()


def _model(name: str = "meta-llama/Meta-Llama-3-8B") -> Architecture:
    entry = catalogue.find(name)
    assert entry is not None
    return build(catalogue.load(entry), entry.model_id)


def _speed(device: str | Target, precision: str = "q4_k_m", engine: str = "llama.cpp", work: Workload = WORK) -> Speed:
    return predict(case_of("meta-llama/Meta-Llama-3-8B", device, engine, precision, work))


parts = st.floats(0, 1e3)


@given(memory=parts, compute=parts, launch=parts, overhead=parts)
def test_step_is_never_faster_than_its_slowest_part_nor_slower_than_their_sum(
    memory: float, compute: float, launch: float, overhead: float
) -> None:
    """The combined time lies between the roofline's maximum and the sum, overhead added to both."""
    time_s = combine({MEMORY: memory, COMPUTE: compute, LAUNCH: launch, OVERHEAD: overhead})
    assert max(memory, compute, launch) + overhead <= time_s * (1 + 1e-9)
    assert time_s <= (memory + compute + launch + overhead) * (1 + 1e-9)


def test_factor_of_unmeasured_groups_is_the_base() -> None:
    """A group without an effect changes nothing; a parent's effects count; a term without constants costs nothing."""
    fitted = Constants({"a": Term(0.0, {"engine: x": 1.0}), "b": Term(0.0, {}, "a")}, {}, {}, {})
    assert fitted.factor("a", ["engine: y"]) == 1.0
    assert fitted.factor("b", ["engine: x"]) == pytest.approx(2.718281828)
    assert fitted.factor("c", ["engine: x"]) == 0.0


def test_owner_of_constants_is_not_moved_by_the_shared_ones() -> None:
    """The first owner that has a term of its own is weighed by it; others, and a term that it does not own, share."""
    fitted = Constants({"a": Term(0.0, {}), "cpu a": Term(1.0, {"engine: x": 1.0}), "b": Term(0.0, {})}, {}, {}, {})
    assert fitted.factor("a", ["engine: x"], ("cpu", "llama.cpp")) == pytest.approx(7.389056099)
    assert fitted.factor("a", ["engine: x"], ("llama.cpp",)) == 1.0
    assert fitted.factor("b", ["engine: x"], ("cpu",)) == 1.0


def test_every_prior_is_fitted() -> None:
    """The terms of `data/fit_priors.csv` and of `data/constants.json` are the same: no owner is misspelt."""
    assert {term for terms in TERMS.values() for term in terms} == set(constants().terms)


@pytest.mark.parametrize("device", ["ryzen-9-7950x", "epyc-9654", "raspberry-pi-5", "i9-9900k"])
def test_fewer_threads_are_not_faster(device: str) -> None:
    """A CPU's speed falls with its threads, in decode and in the prompt, and not below one thread's share."""
    whole, half, one = (_speed(device, work=replace(WORK, threads=count)) for count in (None, 2, 1))
    assert one.decode.tokens_per_s < half.decode.tokens_per_s <= whole.decode.tokens_per_s
    assert one.prefill.tokens_per_s < half.prefill.tokens_per_s <= whole.prefill.tokens_per_s
    assert _speed(device, work=replace(WORK, threads=4096)) == whole


def test_cores_of_a_name_count() -> None:
    """A CPU that is named with fewer cores than its relatives computes slower."""
    few, many = _speed("Intel Xeon Platinum 8488C 8-core"), _speed("Intel Xeon Platinum 8488C 48-core")
    assert few.prefill.tokens_per_s < many.prefill.tokens_per_s
    assert few.decode.tokens_per_s < many.decode.tokens_per_s


@pytest.mark.parametrize("device", ["rtx-4090", "ryzen-5-5600x", "raspberry-pi-5", "a100"])
def test_interval_stays_below_the_nominal_bandwidth(device: str) -> None:
    """However wide an interval is, reading the step's bytes at the nominal bandwidth is faster than its upper end."""
    target = find(device)
    decode = _speed(target).decode
    fastest = (target.device.bandwidth_bytes_per_s or 0) / decode.bytes_per_token
    assert decode.tokens_per_s <= (decode.high_tokens_per_s or 0) <= fastest * (1 + 1e-6)


def test_more_bandwidth_is_faster() -> None:
    """The same card with twice the bandwidth decodes faster, but never more than twice as fast."""
    target = find("rtx-4090")
    rate = target.device.bandwidth_bytes_per_s or 0
    faster = replace(target, device=replace(target.device, bandwidth_bytes_per_s=2 * rate))
    ratio = _speed(faster).decode.tokens_per_s / _speed(target).decode.tokens_per_s
    assert 1 < ratio < 2


def test_a_deeper_context_is_slower() -> None:
    """More cache to read makes a step slower, and a longer prompt takes longer."""
    short = _speed("rtx-4090", work=Workload(128, 128, 256))
    long = _speed("rtx-4090", work=Workload(8064, 128, 8192))
    assert long.decode.tokens_per_s < short.decode.tokens_per_s
    assert long.prefill.ttft_s > short.prefill.ttft_s


def test_batch_raises_throughput_and_lowers_each_sequences_speed() -> None:
    """Sixteen requests together are served faster than one, each of them slower."""
    one = _speed("h100", "bf16", "vllm")
    many = _speed("h100", "bf16", "vllm", replace(WORK, batch_size=16))
    assert many.request.throughput_tokens_per_s > 4 * one.request.throughput_tokens_per_s
    assert many.decode.tokens_per_s < one.decode.tokens_per_s


def test_compute_binds_large_batches() -> None:
    """Thousands of sequences of a large model with hardly any cache are bound by compute, one by bandwidth."""
    case = case_of("Qwen/Qwen3-32B", "h100", "vllm", "bf16", Workload(1, 1, 2, batch_size=8192))
    assert predict(case).decode.bound == "compute"
    assert _speed("rtx-4090").decode.bound == "bandwidth"


def test_tensor_parallel_is_faster_and_a_layer_split_is_not() -> None:
    """Two cards halve the bytes of a tensor split; one sequence gains nothing from a layer split."""
    target = find("2xrtx-3090")
    tensor = _speed(target, "awq-int4", "vllm", replace(WORK, parallelism="tensor")).decode.tokens_per_s
    layer = _speed(target, work=replace(WORK, parallelism="layer")).decode.tokens_per_s
    assert tensor > _speed("rtx-3090", "awq-int4", "vllm").decode.tokens_per_s
    assert layer <= _speed("rtx-3090").decode.tokens_per_s * 1.001


@pytest.mark.parametrize(("device", "engine"), [("rtx-4090", "llama.cpp"), ("l40s", "llama.cpp"), ("m1", "mlx-lm")])
def test_interval_holds_the_prediction(device: str, engine: str) -> None:
    """low < prediction < high for decode and prefill."""
    speed = _speed(device, "mlx-4bit" if engine == "mlx-lm" else "q4_k_m", engine)
    for one in (speed.decode, speed.prefill):
        assert 0 < (one.low_tokens_per_s or inf) < one.tokens_per_s < (one.high_tokens_per_s or 0)


def test_stage_times_add_up_to_the_step() -> None:
    """The stages of --explain sum to the step's time, decode and prefill."""
    speed = _speed("rtx-4090")
    assert sum(stage.time_s for stage in speed.decode_stages) == pytest.approx(1 / speed.decode.tokens_per_s)
    assert sum(stage.time_s for stage in speed.prefill_stages) == pytest.approx(speed.prefill.ttft_s)


def test_unknown_bandwidth_is_an_error_that_says_what_to_type() -> None:
    """Nothing is guessed for a device without a bandwidth."""
    target = find("rtx-4090")
    blind = replace(target, device=replace(target.device, bandwidth_bytes_per_s=None))
    with pytest.raises(SizerError, match="--bandwidth"):
        _speed(blind)


def test_unknown_engine_names_the_nearest() -> None:
    """A misspelt engine gets a suggestion."""
    with pytest.raises(UnknownEngine, match=r"llama\.cpp"):
        find_engine("lama.cpp")


def test_default_engine_is_the_usual_one() -> None:
    """GGUF runs in llama.cpp, fp8 in vLLM, bf16 in transformers, and on a Mac in MLX."""
    assert default_engine("q4_k_m", find("rtx-4090").device) == "llama.cpp"
    assert default_engine("fp8", find("h100").device) == "vllm"
    assert default_engine("bf16", find("a100").device) == "transformers"
    assert default_engine("bf16", find("m2-ultra").device) == "mlx-lm"


def test_every_engine_of_the_measurements_is_known() -> None:
    """Each engine's runtime is an engine of the table, and each has a way to run somewhere."""
    for engine in engines().values():
        assert engine.runtime in engines()
        assert engine.backends


def test_constants_have_a_width_for_every_level_of_evidence() -> None:
    """Each quantity has an effect for each level of evidence that rows had, and its ends lie around the prediction."""
    for width in constants().widths.values():
        assert {f"evidence: {level}" for level in EVIDENCE_LEVELS[:4]} <= set(width.effects)
        assert width.low < 0 < width.high
        known = width.ends(("evidence: engine device", "nearest: alike"), 1.0)
        unknown = width.ends(("evidence: none", "nearest: none"), 1.0)
        assert known[1] - known[0] < unknown[1] - unknown[0]


@given(acceptance=st.floats(0, 1), tokens=st.integers(1, 16))
def test_expected_tokens_lie_between_one_and_all(acceptance: float, tokens: int) -> None:
    """A speculative step yields at least the verifier's token and at most every draft with it."""
    assert 1 <= expected_tokens(acceptance, tokens) <= tokens + 1 + 1e-9


def test_speculation_pays_for_a_dense_model_and_less_for_a_mixture() -> None:
    """Verification costs a dense model little and a mixture its experts: the same draft gains less there."""
    draft = _model("Qwen/Qwen3-0.6B")
    drafting = (draft, store_for(draft, "q4_k_m", "llama.cpp"))
    gains = []
    for name in ("Qwen/Qwen3-32B", "Qwen/Qwen3-30B-A3B"):
        case = case_of(name, "rtx-4090", "llama.cpp", "q4_k_m")
        found = speculate(case, drafting, draft_tokens=4, acceptance=0.7)
        assert found.verify_cost > 1
        gains.append(found.speedup)
    assert gains[0] > 1
    assert gains[0] > gains[1]


def test_acceptance_outside_its_range_is_refused() -> None:
    """A probability above 1 is a usage error."""
    case = case_of("meta-llama/Meta-Llama-3-8B", "h100", "llama.cpp", "q4_k_m")
    with pytest.raises(UsageError, match="acceptance"):
        speculate(case, (case.architecture, case.stored), draft_tokens=4, acceptance=1.5)


@pytest.mark.parametrize("flags", ["vllm --enforce-eager", "vllm -O0", "sglang --disable-cuda-graph"])
def test_flags_that_forbid_graphs_slow_what_launches_bind(flags: str) -> None:
    """Eager steps are slower by more than a quarter of a small model and by little of a large one."""
    asked = {"device": "h100", "precision": "bf16", "offline": True}
    engine = flags.partition(" ")[0]
    ratios = []
    for model in ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-32B"):
        (captured,) = sizer.estimate(model, engine=engine, **asked).estimates
        (eager,) = sizer.estimate(model, engine=flags, **asked).estimates
        assert captured.decode is not None
        assert eager.decode is not None
        ratios.append(eager.decode.tokens_per_s / captured.decode.tokens_per_s)
    assert ratios[0] < 0.75
    assert ratios[0] < ratios[1] <= 1
    assert ratios[1] > 0.75


def test_steps_beyond_the_captured_batches_are_eager() -> None:
    """More sequences than the largest captured batch run as with --enforce-eager, fewer as without."""
    asked = {"device": "h100", "precision": "bf16", "offline": True}

    def rate(flags: str, batch: int) -> float:
        (found,) = sizer.estimate("Qwen/Qwen3-0.6B", engine=f"vllm {flags}", batch=batch, **asked).estimates
        assert found.decode is not None
        return found.decode.tokens_per_s

    for few in ("--max-cudagraph-capture-size 8", "--cudagraph-capture-sizes 1 2 4 8"):
        assert rate(few, 8) == pytest.approx(rate("", 8))
        assert rate(few, 9) == pytest.approx(rate("--enforce-eager", 9))
    assert rate("--enforce-eager", 9) < rate("", 9)


def prompt_rate(model: str, device: str, flags: str, prompt: int) -> float:
    """Tokens/s of a prompt in llama.cpp with these flags."""
    engine = f"llama.cpp {flags}".strip()
    answer = sizer.estimate(model, device=device, precision="q4_k_m", engine=engine, prompt=prompt, offline=True)
    prefill = answer.estimates[0].prefill
    assert prefill is not None
    return prefill.tokens_per_s


def test_a_micro_batch_reads_a_mixtures_prompt_faster() -> None:
    """`-ub 2048` reads experts once for four times the tokens of the default, whose tiles are fuller; a dense model's
    prompt gains less, and the default said aloud is the default."""
    gains = {}
    for model in ("Qwen3-30B-A3B", "meta-llama/Meta-Llama-3-8B-Instruct"):
        usual, larger, same = (prompt_rate(model, "rtx-3090", flags, 4096) for flags in ("", "-ub 2048", "-ub 512"))
        assert same == usual
        gains[model] = larger / usual
    mixture, dense = gains.values()
    assert mixture > 1.1
    assert 1 <= dense < mixture


def test_flash_attention_reads_long_prompts_faster() -> None:
    """Without flash attention the scores of a prompt go through memory: `-fa off` is slower, the more the longer."""
    slower = [
        prompt_rate("meta-llama/Llama-3.1-8B", "rtx-4090", "-fa on", prompt)
        / prompt_rate("meta-llama/Llama-3.1-8B", "rtx-4090", "-fa off", prompt)
        for prompt in (512, 32768)
    ]
    assert 1 <= slower[0] < 1.2 < slower[1]


@pytest.mark.parametrize("device", ["gb10", "raspberry-pi-5", "jetson-agx-orin-64gb", "p40", "rtx-4090"])
def test_no_first_token_comes_before_a_decode_step(device: str) -> None:
    """A prompt of few tokens reads the weights as a decode step does, and takes no less."""
    for prompt in (1, 16, 64):
        one = sizer.estimate(
            "meta-llama/Llama-3.1-8B", device=device, precision="q4_k_m", engine="llama.cpp", prompt=prompt, output=1,
            context=prompt + 1, offline=True,
        ).estimates[0]  # fmt: skip
        assert one.prefill is not None
        assert one.decode is not None
        assert one.prefill.ttft_s >= 0.99 * one.decode.tpot_s
