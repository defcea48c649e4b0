"""What drafts gain, and what this machine's own measurements change, counted on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import HIDDEN, LAYERS, TENSORS, model, stored
from drawncases import CARD, LATENT, PLAIN, asked

from sizer.device.records import LocalRatio, Target
from sizer.model.architecture import Basis, Layer, Mixer, MixerKind, MlpKind, Role
from sizer.speed.attended import causal_attended_tokens  # fmt: skip
from sizer.speed.case import speed_case  # fmt: skip
from sizer.speed.limits import fastest_decode
from sizer.speed.measured_here import as_measured_here, ratio_for
from sizer.speed.predict import decode_of, predict
from sizer.speed.prompt_terms import prompt_traffic  # fmt: skip
from sizer.speed.records import DraftMethod
from sizer.speed.speculative import (
    draft_cost,
    expected_tokens,
    replay_cost,
    round_s,
    speculation_of,
    step_s,
    verify_cost,
)
from sizer.speed.splits import parallelism
from sizer.speed.traffic import decode_traffic  # fmt: skip
from sizer.workload import Split, Workload

NGRAM = DraftMethod("ngram", (), "none", 0.0, 0.0)


def test_a_round_costs_verifying_drafting_and_itself() -> None:
    """Tokens of a round over plain steps; a head drafts with its part of the layers and of the output head."""
    case = asked()
    plain = step_s(case, 1, PLAIN)
    assert verify_cost(case, 4, PLAIN) == pytest.approx(step_s(case, 5, PLAIN) / plain)
    step = decode_traffic(case.architecture, case.stored, case.workload)
    head = step.stage("lm_head").weight_bytes / step.bytes_read
    method = DraftMethod("m", (), "token", 1.0, 0.25)
    once = 1 / LAYERS * (1 - head) + 0.25 * head
    assert draft_cost(case, method, 4, PLAIN) == pytest.approx(once)
    assert draft_cost(case, method._replace(passes="round"), 4, PLAIN) == pytest.approx(once / 4)
    assert draft_cost(case, method._replace(passes="none"), 4, PLAIN) == 0.0
    assert draft_cost(case, method._replace(deepest=3), 4, PLAIN) == pytest.approx(once * 3 / 4)
    assert draft_cost(case, method._replace(deepest=4), 4, PLAIN) == pytest.approx(once)
    small = model(tensors=TENSORS[:3])
    drafter = (small, stored(small))
    assert draft_cost(case, drafter, 4, PLAIN) == pytest.approx(step_s(asked(small), 1, PLAIN) / plain)
    found = speculation_of(case, method, 4, 3.0, PLAIN)
    cost = found.verify_cost + 4 * once + round_s("vllm") / plain
    assert found.speedup == pytest.approx(3.0 / cost)
    assert found.tokens_per_s == pytest.approx(3.0 / cost / plain)
    assert expected_tokens(0.5, 2) == 1.75
    assert expected_tokens(1.0, 2) == 3.0


def test_verifying_never_costs_less_than_vectors_did() -> None:
    """llama.cpp's tiles may do 9 tokens in less time than its vectors do 8: the larger counts."""
    case = asked(engine="llama.cpp")
    plain = step_s(case, 1, PLAIN)
    nine, eight = step_s(case, 9, PLAIN), step_s(case, 8, PLAIN)
    assert verify_cost(case, 8, PLAIN) == pytest.approx(max(nine, eight) / plain)
    assert verify_cost(case, 3, PLAIN) == pytest.approx(step_s(case, 4, PLAIN) / plain)


def test_ratios_of_this_machine_are_those_of_the_engine_and_precision() -> None:
    """The median of the same pair, dated by the last; other engines and precisions say nothing."""
    ratios = [
        LocalRatio("vllm", "bf16", 0.5, 2.0, "2026-01-01"), LocalRatio("vllm", "bf16", 0.7, 4.0, "2026-02-01"),
        LocalRatio("vllm", "fp8", 9.0, 9.0, "2026-03-01"), LocalRatio("transformers", "bf16", 8.0, 8.0, "2026-03-01"),
    ]  # fmt: skip
    assert ratio_for(ratios, "vllm", "bf16") == LocalRatio("vllm", "bf16", pytest.approx(0.6), 3.0, "2026-02-01")
    assert ratio_for(ratios, "vllm", "int8") is None
    work = Workload(100, 28, 128, batch_size=3)
    before = predict(speed_case(model(), stored(model()), Target(CARD), work, "vllm"), PLAIN)
    after = as_measured_here(before, Target(CARD, local_ratios=tuple(ratios)), work, "vllm", "bf16")
    assert after.decode.tokens_per_s == pytest.approx(0.6 * before.decode.tokens_per_s)
    assert after.decode.low_tokens_per_s == pytest.approx(0.6 * (before.decode.low_tokens_per_s or 0))
    assert after.prefill.ttft_s == pytest.approx(before.prefill.ttft_s / 3)
    latency = after.prefill.ttft_s + 28 / after.decode.tokens_per_s
    assert after.request == pytest.approx((28 / latency, latency, 84 / latency))
    assert sum(one.time_s for one in after.decode_stages) == pytest.approx(1 / after.decode.tokens_per_s)
    assert sum(one.time_s for one in after.prefill_stages) == pytest.approx(after.prefill.ttft_s)


def test_what_devices_share_is_told_to_the_law() -> None:
    """One device has no link and no split; two over NVLink and over PCIe, three or more; the groups say it."""
    fast = replace(CARD, interconnect_bytes_per_s=6e11)
    found = {}
    for name, target in (
        ("one", Target(fast)),
        ("nvlink", Target(fast, 2)),
        ("pcie", Target(CARD, 2)),
        ("four", Target(CARD, 4)),
    ):
        told = asked(target=target, workload=Workload(100, 28, 128, parallelism=Split.TENSOR)).groups
        found[name] = (told["link"], told["split"])
    assert found == {
        "one": ("link: none", "split: vllm one device"),
        "nvlink": ("link: nvlink", "split: vllm tensor over 2"),
        "pcie": ("link: pcie", "split: vllm tensor over 2"),
        "four": ("link: pcie", "split: vllm tensor over 3 or more"),
    }
    assert parallelism(asked(workload=Workload(100, 28, 128, parallelism=Split.TENSOR))) is None


def test_notes_of_what_nobody_measured() -> None:
    """A device like others, an engine like others, a model known by its name alone: each is said where it holds."""
    case = asked()
    assert [note.startswith("No measured row of vllm") for note in predict(case, PLAIN).notes] == [True]
    (like,) = predict(case, replace(PLAIN, counts={case.groups["engine"]: 5})).notes
    assert "devices like it" in like or "engines like it" in like
    measured = replace(PLAIN, counts={case.groups["engine device"]: 5})
    assert predict(case, measured).notes == ()
    named = replace(case, architecture=replace(case.architecture, basis=Basis.NAME, layers=()))
    assert ["known from the name" in note for note in predict(named, measured).notes] == [True]


def test_nothing_decodes_faster_than_its_fastest() -> None:
    """The bytes of a step at the nominal rate; endless where this machine's own measurements stand above the law."""
    case = asked()
    step = decode_traffic(case.architecture, case.stored, case.workload)
    assert fastest_decode(case) == pytest.approx(1e12 / step.bytes_read)
    assert decode_of(case, PLAIN)[0].tokens_per_s <= fastest_decode(case)
    here = Target(CARD, local_ratios=(LocalRatio("vllm", "bf16", 2.0, 2.0, "2026-01-01"),))
    for target in (here, Target(replace(CARD, bandwidth_bytes_per_s=None))):
        assert fastest_decode(replace(case, target=target)) == float("inf")


@pytest.mark.parametrize(("engine", "width"), [("llama.cpp", 2 * 40), ("vllm", 24 + 16)])
def test_a_prompts_latent_attention_is_the_engines(engine: str, width: int) -> None:
    """On the latent, twice its width a head, or on the heads' own widths: 100 tokens attend to 5,050 entries."""
    traffic, _ = prompt_traffic(asked(model(LATENT), engine=engine))
    assert traffic.stage("kv").flops == LAYERS * 2 * 4 * width * 5050


def test_biases_and_norms_are_read_and_not_multiplied() -> None:
    """Whatever their role or their module: bytes of each layer, no FLOPs."""
    bias = replace(TENSORS[3], name="bias", shape=(96,), role=Role.BIAS)
    norm = replace(TENSORS[4], name="gate_norm", role=Role.OTHER)
    work = Workload(9, 1, 10)
    plain, more = (decode_traffic(one, stored(one), work) for one in (model(), model(tensors=(*TENSORS, bias, norm))))
    assert more.flops == plain.flops
    assert more.weight_bytes - plain.weight_bytes == LAYERS * (96 + HIDDEN) * 2


def test_an_encoder_sees_all_of_its_window() -> None:
    """Ten tokens attend to ten, or to a window of four."""
    mixer = Mixer(MixerKind.BIDIRECTIONAL, heads=1, kv_heads=1, qk_head_dim=8, v_head_dim=8)
    assert causal_attended_tokens(mixer, 10) == 100
    assert causal_attended_tokens(replace(mixer, window_tokens=4), 10) == 40


def test_what_was_accepted_runs_again_where_a_state_is_undone_so() -> None:
    """Half of two drafts accepted: three rounds of four reject one, and run the two tokens that they yield again."""
    states = (Layer(0, (Mixer(MixerKind.LINEAR, state_elements=64),), MlpKind.DENSE),)
    keeping = replace(model(), layers=(*states, *model().layers[1:]))
    chip = Target(replace(CARD, vendor="apple", kind="apple"))
    for engine, architecture, replayed in (
        ("mlx-lm", keeping, True),
        ("mlx-lm", model(), False),
        ("mlx-vlm", keeping, False),
        ("llama.cpp", keeping, False),
    ):
        case = replace(asked(engine=engine, target=chip), architecture=architecture)
        expected = 0.75 * verify_cost(case, 1, PLAIN) if replayed else 0.0
        assert replay_cost(case, 2, 2.0, PLAIN) == pytest.approx(expected)
        gain = speculation_of(case, NGRAM, 2, 2.0, PLAIN)
        assert gain.verify_cost == pytest.approx(verify_cost(case, 2, PLAIN) + expected)
