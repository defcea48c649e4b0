"""What engines make of a model while they load it: `--quantization` and its kin."""

from __future__ import annotations

from typing import Any

import pytest

import sizer
from sizer.engine.quantizations import made_online
from sizer.engine.stored import store_for
from sizer.errors import UsageError
from sizer.model.read.resolve import resolve
from sizer.precision.names import precision_of
from sizer.precision.schemes import EXPERT_ROLES
from sizer.tables import read_rows

MIXTURE = "Qwen/Qwen3-30B-A3B"
LAYERS, EXPERTS, HIDDEN, WIDTH = 48, 128, 2048, 768
EXPERT_VALUES = LAYERS * EXPERTS * 3 * HIDDEN * WIDTH


def experts_bytes(precision: str, engine: str) -> int:
    """Bytes of the mixture's experts as an engine stores them."""
    stored = store_for(resolve(MIXTURE, offline=True).architecture, precision, engine)
    return sum(part.size_bytes for part in stored.tensors if part.tensor.role in EXPERT_ROLES)


def estimated(engine: str, model: str = MIXTURE, device: str = "h100") -> Any:
    """The first estimate that an engine's flags ask for."""
    return sizer.estimate(model, device=device, engine=engine, offline=True).estimates[0]


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_servers_quantize_experts_and_transformers_does_not(engine: str) -> None:
    """4.5 bits an expert's weight in vLLM and SGLang (blocks of 64 with an fp32 scale), 16 in transformers."""
    assert experts_bytes("nf4", engine) == pytest.approx(EXPERT_VALUES * 4.5 / 8, rel=1e-4)
    assert experts_bytes("nf4", "transformers") == EXPERT_VALUES * 2


@pytest.mark.parametrize(
    ("model", "version", "quantized"),
    [
        (MIXTURE, "4.57.1", True),
        (MIXTURE, "5.0", False),
        (MIXTURE, "", False),
        ("openai/gpt-oss-20b", "4.57.1", False),
    ],
)
def test_modules_of_their_own_are_quantized(model: str, version: str, quantized: bool) -> None:
    """transformers before 5 had a module for each expert, which bitsandbytes replaces; gpt-oss had stacks already."""
    stored = store_for(resolve(model, offline=True).architecture, "nf4", "transformers", version)
    formats = {
        part.format for part in stored.tensors if part.tensor.role in EXPERT_ROLES and len(part.tensor.shape) > 2
    }
    assert formats == {"bnb-nf4" if quantized else "bf16"}


def test_experts_in_int8_leave_the_rest_alone() -> None:
    """A byte a weight and an fp32 scale a row of each matrix; attention stays in 16 bits."""
    scales = LAYERS * EXPERTS * (2 * WIDTH + HIDDEN) * 4
    assert experts_bytes("experts-int8", "vllm") == EXPERT_VALUES + scales
    stored = store_for(resolve(MIXTURE, offline=True).architecture, "experts-int8", "vllm")
    rest = {part.format for part in stored.tensors if part.tensor.role not in EXPERT_ROLES}
    assert rest == {"bf16"}


def test_expanding_experts_takes_room_and_time() -> None:
    """vLLM's 4-bit experts of a layer stand in 16 bits while it runs: 1.125 GiB here, and each step writes them."""
    four, eight = (estimated(f"vllm -q {word}", device="a100-40gb-sxm") for word in ("bitsandbytes", "fp8"))
    expanded_bytes = EXPERT_VALUES // LAYERS * 2
    assert eight.memory.activations_bytes < expanded_bytes < four.memory.activations_bytes
    written_s = EXPERT_VALUES * 2 / 1.555e12
    assert 1 / four.decode.tokens_per_s > written_s
    assert four.decode.tokens_per_s < eight.decode.tokens_per_s


@pytest.mark.parametrize(
    ("engine", "precision"),
    [
        ("vllm --quantization fp8", "fp8"),
        ("vllm -q fp8_per_block", "fp8-block"),
        ("vllm -q int8_per_channel_weight_only", "experts-int8"),
        ("vllm -q experts_int8", "experts-int8"),
        ("vllm -q mxfp4", "online-mxfp4"),
        ("vllm -q bitsandbytes", "nf4"),
        ("vllm --dtype half", "fp16"),
        ("sglang --torchao-config int4wo-64", "torchao-int4-g64"),
        ("sglang --quantization mxfp8", "mxfp8"),
        ("transformers --load-in-8bit", "int8"),
    ],
)
def test_flags_of_an_engine_choose_the_precision(engine: str, precision: str) -> None:
    """An estimate with such a flag is of what it makes, and of nothing else."""
    found = sizer.estimate(MIXTURE, device="h100", engine=engine, offline=True).estimates
    assert [item.precision for item in found] == [precision]


def test_an_unknown_quantization_is_named() -> None:
    """A word that no version of vLLM takes is refused with those that it does; where an engine's words are not known,
    it is not taken silently for plain floats."""
    with pytest.raises(UsageError, match="-q: 'rot13' is not one of awq, auto_awq, fp8"):
        estimated("vllm -q rot13", "Qwen/Qwen3-8B")
    assert not any("'awq'" in note for note in estimated("vllm -q awq", "Qwen/Qwen3-8B").assumptions)


def test_a_mixture_in_eight_bits_of_bitsandbytes_does_not_start() -> None:
    """vLLM has no 8-bit method for experts; a dense model loads."""
    refused = sizer.check("vllm serve unsloth/Qwen3-30B-A3B-bnb-8bit", device="h100", offline=True).check
    assert not refused.starts
    assert "experts in int8" in refused.reason
    assert sizer.check("vllm serve unsloth/Qwen3-8B-bnb-8bit", device="h100", offline=True).check.starts


def test_every_word_makes_a_precision_that_its_engine_runs() -> None:
    """Each row's precision is in the table; the words that two engines share may differ between them."""
    for row in read_rows("quantization_flags.csv"):
        assert row["source"]
        if row["makes"]:
            assert precision_of(row["makes"]).name == row["makes"]
    assert made_online("vllm", "mxfp4") == "online-mxfp4"
    assert made_online("sglang", "mxfp4") == ""


@pytest.mark.parametrize(("device", "starts"), [("v100-32gb-sxm2", False), ("t4", True), ("a100", True)])
def test_weights_in_fp8_need_turing(device: str, starts: bool) -> None:
    """vLLM multiplies FP8 weights from compute capability 7.5 on; an estimate on an older card leaves it out."""
    command = "vllm serve Qwen/Qwen3-4B --quantization fp8 --max-model-len 4096"
    assert sizer.check(command, device=device, offline=True).check.starts is starts
    usual = sizer.estimate("Qwen/Qwen3-4B", device=device, engine="vllm", offline=True).estimates
    assert ("fp8" in [item.precision for item in usual]) is starts
    asked = sizer.estimate("Qwen/Qwen3-4B", device=device, engine="vllm", precision="fp8", offline=True).estimates[0]
    assert any("no kernels for fp8" in note for note in asked.assumptions) is not starts


@pytest.mark.parametrize(
    ("command", "precision"),
    [
        ("vllm serve openai-community/gpt2-xl", "bf16"),
        ("vllm serve openai-community/gpt2-xl --dtype float32", "fp32"),
        ("vllm serve EleutherAI/gpt-j-6b --dtype half", "fp16"),
        ("python -m sglang.launch_server --model-path openai-community/gpt2-xl", "fp16"),
        ("text-generation-launcher --model-id openai-community/gpt2-xl", "fp16"),
        ("transformers serve --force-model openai-community/gpt2-xl", "fp32"),
    ],
)
def test_servers_load_float32_checkpoints_in_sixteen_bits(command: str, precision: str) -> None:
    """What a checkpoint stores in float32 takes half as much in a server, unless a flag asks for all of it."""
    found = sizer.check(command, device="rtx-4090", offline=True).estimates
    assert [item.precision for item in found] == [precision]
