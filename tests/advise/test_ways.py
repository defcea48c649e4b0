"""The ways out where no precision of a small loss fits whole: each of them really fits."""

from __future__ import annotations

from dataclasses import replace

import pytest
from advice import model, target

import sizer
from sizer.advise.advice import Advice, advise, ladder_questions
from sizer.advise.family import relatives
from sizer.advise.public import command_of
from sizer.advise.recommend import (
    NEGLIGIBLE_LOSS,
    READING_TOKENS_PER_S,
    TOLERABLE_LOSS,
    USABLE_LOSS,
    Wanted,
    has_margin,
    readable,
    waited_rate,
    with_margin,
)
from sizer.answer.estimate import estimate
from sizer.answer.loss import loss_of
from sizer.answer.question import Question
from sizer.device.catalogue import find
from sizer.errors import DoesNotFit, UnknownEngine
from sizer.model.read.facts import facts
from sizer.model.read.resolve import resolve
from sizer.workload import Workload


def advice(
    name: str, device: str, memory_gib: float | None, ram_gib: float | None = None, *, context: int = 8192,
    asked: bool = False, wanted: Wanted | None = None,
) -> Advice:  # fmt: skip
    """The advice for a catalogued model, with its smaller relatives to fall back to."""
    large = model(name)
    questions = ladder_questions(large, target(device, memory_gib, ram_gib), Workload(context_tokens=context))
    return advise(questions, wanted or Wanted(), relatives(large), context_asked=asked)


CASES = [
    ("Qwen/Qwen3-14B", "rtx-4090", 8.5, 64.0, 8192),
    ("Qwen/Qwen3-32B", "rtx-4090", 20.0, 64.0, 32768),
    ("Qwen/Qwen3-30B-A3B", "rtx-4060", None, 32.0, 8192),
    ("meta-llama/Llama-3.1-70B", "rtx-4090", None, 64.0, 8192),
    ("meta-llama/Llama-3.1-70B", "rtx-4090", None, None, 8192),
    ("openai/gpt-oss-120b", "rtx-3090", None, 96.0, 8192),
    ("Qwen/Qwen3-32B", "apple-m2", 22.0, None, 8192),
]


@pytest.mark.parametrize(("name", "device", "memory_gib", "ram_gib", "context"), CASES)
def test_every_way_out_fits(
    name: str, device: str, memory_gib: float | None, ram_gib: float | None, context: int
) -> None:
    """Each way out holds in its places, whole ones with the margin, and the one chosen is among them."""
    found = advice(name, device, memory_gib, ram_gib, context=context)
    assert found.chosen is not None
    assert found.alternatives, "the case has no ways out"
    assert found.chosen in [way.estimate for way in found.alternatives]
    for way in found.alternatives:
        placement = way.estimate.placement
        assert placement.fits, way.text
        for share in (*placement.shares, *((placement.host,) if placement.host else ())):
            assert share.available_bytes is None or share.total_bytes <= share.available_bytes, way.text
        if way.kind == "split":
            assert placement.host is not None
            assert placement.host_bytes > 0
        elif way.kind == "filled":
            assert placement.whole
            assert not has_margin(way.estimate), way.text
        else:
            assert has_margin(way.estimate), way.text
            for share in placement.shares:
                assert share.total_bytes <= min(
                    0.95 * (share.available_bytes or 0), (share.available_bytes or 0) - 2**30
                )


@pytest.mark.parametrize(("name", "device", "memory_gib", "ram_gib", "context"), CASES)
def test_each_way_changes_what_it_says(
    name: str, device: str, memory_gib: float | None, ram_gib: float | None, context: int
) -> None:
    """A smaller cache has fewer bits, a shorter context fewer tokens, a smaller model fewer parameters, and all three
    keep a tolerable loss."""
    found = advice(name, device, memory_gib, ram_gib, context=context)
    large = model(name)
    assert found.alternatives
    for way in found.alternatives:
        work = way.estimate.workload
        assert (work.kv_precision != "fp16") == (way.kind == "smaller cache")
        assert (work.context_tokens < context) == (way.kind == "shorter context")
        assert (way.estimate.architecture.total_params < large.total_params) == (way.kind == "smaller model")
        if way.kind in {"smaller cache", "shorter context", "smaller model"}:
            assert loss_of(way.estimate) <= TOLERABLE_LOSS
        assert way.estimate.precision in way.text


def test_what_fits_well_needs_no_way_out() -> None:
    """Where a tolerable precision fits whole, it is taken and nothing else is offered."""
    found = advice("Qwen/Qwen3-8B", "rtx-4090", None, 64)
    assert found.alternatives == ()
    assert found.chosen is not None
    assert found.chosen.placement.whole
    assert loss_of(found.chosen) <= TOLERABLE_LOSS


def test_a_default_context_is_shortened_before_splitting_and_an_asked_one_after() -> None:
    """Nobody asked for the default context; whoever asks for one keeps it if a split can."""
    default = advice("Qwen/Qwen3-14B", "rtx-4090", 8.5, 64)
    asked = advice("Qwen/Qwen3-14B", "rtx-4090", 8.5, 64, asked=True)
    kinds = [[way.kind for way in found.alternatives if way.kind in {"shorter context", "split"}]
             for found in (default, asked)]  # fmt: skip
    assert kinds == [["shorter context", "split"], ["split", "shorter context"]]


def test_experts_go_to_the_host() -> None:
    """A mixture of experts too large for the card keeps everything but experts there, and is faster than reading."""
    found = advice("openai/gpt-oss-120b", "rtx-3090", None, 96)
    assert found.chosen is not None
    assert found.chosen.placement.host_experts
    assert found.chosen.precision == "mxfp4"
    assert (waited_rate(found.chosen) or 0) > READING_TOKENS_PER_S


@pytest.mark.parametrize("host_gb_per_s", [40, 80, 120, 200, 400, 800])
def test_a_split_loses_more_only_to_be_as_fast_as_reading(host_gb_per_s: int) -> None:
    """A dense 70B beside the host: four bits where they are read in time, three where only those are."""
    large, small_card = model("meta-llama/Llama-3.1-70B"), target("rtx-4090", None, 64)
    assert small_card.host is not None
    host = replace(small_card.host, bandwidth_bytes_per_s=host_gb_per_s * 1e9)
    questions = ladder_questions(large, replace(small_card, host=host), Workload(context_tokens=8192))
    found = advise(questions, Wanted())
    split = next(way.estimate for way in found.alternatives if way.kind == "split")
    splits = [item for item in found.tried if item.placement.host]
    rates = {
        limit: max(waited_rate(item) or 0 for item in splits if loss_of(item) <= limit)
        for limit in (TOLERABLE_LOSS, USABLE_LOSS)
    }
    if readable(rates[TOLERABLE_LOSS]) or not readable(rates[USABLE_LOSS]):
        assert loss_of(split) <= TOLERABLE_LOSS
    else:
        assert TOLERABLE_LOSS < loss_of(split) <= USABLE_LOSS
        assert split is found.chosen


def test_nothing_at_all_is_said_so() -> None:
    """A model that no way out brings onto the machine has no choice, and the reason names the context."""
    large = model("deepseek-ai/DeepSeek-V3")
    questions = ladder_questions(large, target("rtx-4060"), Workload(context_tokens=8192))
    found = advise(questions, Wanted())
    assert found.chosen is None
    assert found.alternatives == ()
    with_relatives = advise(questions, Wanted(), relatives(large))
    assert with_relatives.chosen is None
    assert [way.kind for way in with_relatives.alternatives] == ["smaller model"]
    assert "8,192" in found.reason


def test_a_wanted_speed_holds_for_every_way() -> None:
    """No way out is slower than what was asked for."""
    found = advice("Qwen/Qwen3-32B", "rtx-4090", 16, 64, wanted=Wanted(min_tokens_per_s=25))
    assert found.alternatives
    assert all((waited_rate(way.estimate) or 0) >= 25 for way in found.alternatives)


def test_the_second_ladder_helps_where_the_first_cannot() -> None:
    """A card for servers that vLLM cannot hold a model on runs it with llama.cpp beside the host's memory."""
    found = advice("Qwen/Qwen3-235B-A22B", "h100", None, 256)
    assert found.chosen is not None
    assert found.chosen.engine == "llama.cpp"
    assert found.chosen.placement.host is not None


def test_what_fits_without_the_margin_is_told_so() -> None:
    """A model that an estimate says fits is not told as one that does not run: the device is filled, and what stays
    free is said; with a host beside it, a split keeps the margin."""
    found = advice("openai/gpt-oss-20b", "rtx-3060", None, None)
    assert found.chosen is not None
    assert found.chosen.precision == "mxfp4"
    assert found.chosen.placement.whole
    assert found.alternatives[0].kind == "filled"
    free_gib = (found.chosen.placement.available_bytes - found.chosen.placement.device_bytes) / 2**30  # type: ignore[operator]
    assert f"leaves {free_gib:.2f} GiB to other programs" in found.reason
    assert advice("openai/gpt-oss-20b", "rtx-3060", None, 32).alternatives[0].kind == "split"


def test_a_relative_goes_by_the_name_that_people_rated() -> None:
    """Models whose shape stands in the catalogue under another's name are fallen back to as well, by their own name:
    GLM-4.5-Air, Llama 3.1 8B Instruct; a name of the shape that nobody rated does not take the original's place."""
    glm = [item.model_id for item in relatives(model("zai-org/GLM-4.6"))]
    llama = [item.model_id for item in relatives(model("meta-llama/Llama-3.3-70B-Instruct"))]
    qwen = [item.model_id for item in relatives(model("Qwen/Qwen3-14B"))]
    assert "zai-org/GLM-4.5-Air" in glm
    assert llama.index("meta-llama/Llama-3.1-8B-Instruct") < llama.index("meta-llama/Meta-Llama-3-8B-Instruct")
    assert qwen[0] == "Qwen/Qwen3-8B"


def test_relatives_are_smaller_and_largest_first() -> None:
    """What to fall back to is of the same organisation, smaller, in falling size, and of one size the newest; what is
    more than a year older comes after all of its time."""
    large = model("Qwen/Qwen3-32B")
    found = list(relatives(large))
    sizes = [float(f"{item.total_params:.1e}") for item in found]
    dates = [known.released or "" for item in found if (known := facts(item.model_id)) is not None]
    old = next(place for place, released in enumerate(dates) if released < "2024-04")
    assert all(item.total_params < large.total_params for item in found)
    assert sizes == sorted(sizes[:old], reverse=True) + sorted(sizes[old:], reverse=True)
    assert all(released < "2024-04" for released in dates[old:])
    names = [item.model_id for item in found]
    assert names.index("Qwen/Qwen3-14B") < names.index("Qwen/Qwen2.5-14B-Instruct")


def test_an_unknown_memory_is_named() -> None:
    """Without a memory nothing can be recommended, and the reason says what to give."""
    large = model("Qwen/Qwen3-8B")
    unknown = find("epyc-7742")
    question = Question(large, unknown, "q4_k_m", Workload(), engine="llama.cpp")
    assert estimate(question).placement.available_bytes is None
    found = advise(ladder_questions(large, unknown, Workload()), Wanted())
    assert found.chosen is None
    assert "--ram" in found.reason


def test_a_mac_gets_more_memory_for_its_gpu_before_fewer_bits() -> None:
    """What a Mac holds once its limit is raised is advised with the command for it; 3 GiB stay free."""
    found = advice("openai/gpt-oss-20b", "apple-m2", 16.0)
    assert found.chosen is not None
    assert found.alternatives[0].kind == "raised limit"
    assert (command_of(found) or "").splitlines()[0] == "sudo sysctl iogpu.wired_limit_mb=13312"
    assert has_margin(found.chosen)
    small = advice("Qwen/Qwen3-8B", "apple-m1", 8.0)
    assert "raised limit" not in {way.kind for way in small.alternatives}


def test_what_fits_too_tightly_is_split() -> None:
    """A model that fills the card to the brim runs with a few experts on the host and the margin free."""
    found = advice("openai/gpt-oss-20b", "rtx-3060", None, 32)
    assert found.chosen is not None
    placement = found.chosen.placement
    assert placement.host is not None
    assert placement.fits
    assert found.chosen.precision == "mxfp4"
    assert placement.shares[0].total_bytes <= with_margin(placement.shares[0].available_bytes or 0)
    case = (found.chosen.architecture, find("rtx-3060"), "mxfp4", found.chosen.workload, "llama.cpp")
    whole = estimate(Question(*case))
    assert placement.available_bytes == whole.placement.available_bytes


def test_a_cache_of_eight_bits_comes_before_a_much_worse_type() -> None:
    """Where only three bits fit beside a 16-bit cache, one of eight bits lets four bits fit: half the loss or less."""
    found = advice("microsoft/phi-4", "rtx-3080", None)
    assert found.chosen is not None
    assert found.chosen.workload.kv_precision == "q8_0"
    assert found.cheaper is not None
    assert loss_of(found.chosen) <= loss_of(found.cheaper) / 2
    assert has_margin(found.chosen)


@pytest.mark.parametrize(("name", "device"), [("Qwen/Qwen3-8B", "rtx-2060"), ("Qwen/Qwen3-4B", "gtx-1650")])
def test_a_cache_of_four_bits_is_no_first_way_out(name: str, device: str) -> None:
    """With a host to split with, neither four bits of cache nor a context under 4,096 tokens is advised."""
    found = advice(name, device, None, 16)
    assert found.chosen is not None
    assert found.chosen.workload.kv_precision != "q4_0"
    assert found.chosen.workload.context_tokens >= 4096


def test_what_is_often_wrong_is_not_advised_without_a_word() -> None:
    """Two bits of a model too large say that a smaller model answers better; four bits do not."""
    assert "smaller model at four bits" in advice("meta-llama/Llama-3.3-70B-Instruct", "rtx-4090", None).reason
    assert "smaller model at four bits" not in advice("Qwen/Qwen3-32B", "rtx-4090", None).reason


def test_a_smaller_model_that_answers_better_is_named() -> None:
    """The sentence names the model that the list of ways out offers, and a filter or a fine-tune is none."""
    found = advice("Qwen/Qwen3-8B", "apple-m2", 8.0)
    (smaller,) = [way for way in found.alternatives if way.kind == "smaller model"]
    name = smaller.estimate.architecture.model_id
    assert f"answers better: {name}." in found.reason
    assert not any(word in name for word in ("Guard", "SafeRL"))


@pytest.mark.parametrize(("device", "ram_gib", "said"), [("rtx-3060-12gb", None, True), ("rtx-3060-12gb", 8.0, False),
                                                         ("apple-m2", None, False)])  # fmt: skip
def test_a_host_that_nobody_told_is_asked_for(device: str, ram_gib: float | None, said: bool) -> None:
    """Beside a card whose host is not told, --ram may help what does not fit; a Mac has no host apart."""
    memory_gib = 12.0 if device == "apple-m2" else None
    assert ("--ram" in advice("Qwen/Qwen3-32B", device, memory_gib, ram_gib).reason) is said


@pytest.mark.parametrize(
    ("name", "images"), [("meta-llama/Llama-3.3-70B-Instruct", False), ("google/gemma-3-27b-it", True)]
)
def test_a_smaller_model_is_made_for_the_same(name: str, images: bool) -> None:
    """What is offered instead of a chat model is one: none for images, embeddings or code, unless asked."""
    found = [facts(model.model_id) for model in relatives(resolve(name, offline=True).architecture)]
    assert found
    assert all(known is None or known.kind in {"instruct", "reasoning", "base", "vision"} for known in found)
    assert any(known is not None and known.images for known in found) is images


def test_a_smaller_model_answers_as_fast_as_one_reads() -> None:
    """On a slow machine the model to fall back to is one that is waited for gladly, not the largest that fits."""
    found = advice("Qwen/Qwen3-235B-A22B", "raspberry-pi-5", None)
    (smaller,) = [way for way in found.alternatives if way.kind == "smaller model"]
    assert readable(waited_rate(smaller.estimate) or 0)


def test_no_search_quantizes_a_quantized_checkpoint_for_little() -> None:
    """`fit` takes of gpt-oss-20b what `recommend` does: its own MXFP4 or nothing, never Q5_K of the same size."""
    asked = {"bandwidth_bytes_per_s": 5e11, "family": "gpt-oss-20b", "everything": True, "offline": True}
    rows = sizer.fit(memory_bytes=16 << 30, **asked)
    assert [row.precision for row in rows if row.model == "openai/gpt-oss-20b"] == ["mxfp4"]
    with pytest.raises(DoesNotFit, match="gpt-oss-20b"):
        sizer.fit(memory_bytes=12 << 30, **asked)


@pytest.mark.parametrize(
    ("name", "device", "engine", "instead"),
    [
        ("openai/gpt-oss-20b", "rtx-4090", "exllamav2", "mxfp4 with llama.cpp"),
        ("Qwen/Qwen3-8B", "m2-ultra", "vllm", "with llama.cpp"),
    ],
)
def test_an_engine_that_does_not_run_it_is_answered_with_one_that_does(
    name: str, device: str, engine: str, instead: str
) -> None:
    """The refusal of the engine that was asked for names what runs there, with figures; nothing where nothing does."""
    with pytest.raises(UnknownEngine) as caught:
        sizer.recommend(name, device=device, engine=engine, offline=True)
    assert instead in caught.value.hint
    assert "tokens/s" in caught.value.hint
    with pytest.raises(UnknownEngine) as caught:
        sizer.recommend("deepseek-ai/DeepSeek-V3", device="rtx-4090", engine="exllamav2", offline=True)
    assert "Without --engine" not in caught.value.hint


def test_a_smaller_cache_is_that_of_the_usual_engine() -> None:
    """Sixteen sequences of 131,072 tokens on eight H100: vLLM's four bits with an FP8 cache, as its ladder comes first.

    llama.cpp's five bits with a cache of eight lose less and decode seven times slower.
    """
    found = sizer.recommend(
        "Qwen/Qwen3-Coder-480B-A35B-Instruct", device="8xh100", context="128k", batch=16, offline=True
    )
    assert found.estimate is not None
    assert (found.estimate.engine, found.estimate.precision) == ("vllm", "awq-int4")
    assert found.workload.kv_precision == "fp8"


def test_many_sequences_are_served_with_a_smaller_cache_first() -> None:
    """Sixteen at once on an L4: vLLM with a cache of eight bits, before llama.cpp, which is not made to serve."""
    found = sizer.recommend("meta-llama/Llama-3.1-8B-Instruct", device="l4", batch=16, offline=True)
    assert found.estimate is not None
    assert (found.estimate.engine, found.workload.kv_precision) == ("vllm", "fp8")
    assert found.estimate.memory.fits
    alone = sizer.recommend("meta-llama/Llama-3.1-8B-Instruct", device="l4", offline=True)
    assert alone.workload.kv_precision == "fp16"


def test_an_encoder_is_never_slower_than_reading() -> None:
    """Texts a second are no tokens that somebody reads: few of them buy no loss that is noticed."""
    found = sizer.recommend("BAAI/bge-reranker-v2-m3", device="raspberry-pi-5", offline=True)
    assert found.estimate is not None
    rate = found.estimate.prefill.texts_per_s
    assert rate is not None
    assert rate < READING_TOKENS_PER_S
    assert found.estimate.quality.kl_divergence is not None
    assert found.estimate.quality.kl_divergence <= NEGLIGIBLE_LOSS
