"""What engines refuse before they load a weight: number formats, quantizations of other files, second ones."""

from __future__ import annotations

import pytest

import sizer
from sizer.advise.launched import checkpoint_methods
from sizer.engine.quantizations import quantization_flag
from sizer.model.read.resolve import resolve
from sizer.units import GIB


def verdict(device: str, command: str) -> tuple[bool, str]:
    """Whether a command starts on a device, and why not."""
    found = sizer.check(command, device=device, offline=True).check
    return found.starts, found.reason


@pytest.mark.parametrize(
    ("device", "command", "words"),
    [
        ("t4", "vllm serve Qwen/Qwen3-4B --dtype bfloat16 --max-model-len 4096", "--dtype half"),
        ("v100-32gb-pcie", "vllm serve Qwen/Qwen3-4B --dtype bfloat16 --max-model-len 4096", "--dtype half"),
        ("t4", "docker run vllm/vllm-openai:v0.8.4 --model Qwen/Qwen3-4B --max-model-len 4096", "--dtype half"),
        ("h100", "vllm serve Qwen/Qwen3-8B-FP8 --quantization bitsandbytes", "stored in fp8"),
        ("h100", "vllm serve openai/gpt-oss-20b --quantization bitsandbytes", "stored in mxfp4"),
        ("h100", "vllm serve Qwen/Qwen3-8B-AWQ --quantization gptq", "stored in awq"),
        ("h100", "vllm serve Qwen/Qwen3-8B --quantization awq_marlin", "made beforehand"),
    ],
)
def test_it_is_said_what_is_refused(device: str, command: str, words: str) -> None:
    """vLLM's own refusals, in words that name what to change."""
    starts, reason = verdict(device, command)
    assert starts is False
    assert words in reason


@pytest.mark.parametrize(
    ("device", "command"),
    [
        ("t4", "vllm serve Qwen/Qwen3-4B --max-model-len 4096"),  # auto falls back to half
        ("t4", "vllm serve Qwen/Qwen3-4B --dtype half --max-model-len 4096"),
        ("rtx-3090", "vllm serve Qwen/Qwen3-4B --dtype bfloat16 --max-model-len 4096"),
        ("h100", "vllm serve Qwen/Qwen3-8B-AWQ --quantization awq_marlin"),
        ("h100", "vllm serve Qwen/Qwen3-8B-FP8 --quantization fp8"),
        ("h100", "vllm serve Qwen/Qwen3-8B --quantization fp8"),
        ("h100", "vllm serve Qwen/Qwen3-8B --quantization bitsandbytes"),
    ],
)
def test_what_goes_together_starts(device: str, command: str) -> None:
    """The words that vLLM takes for the same files, and what it makes of plain floats."""
    starts, reason = verdict(device, command)
    assert starts, reason


def test_half_is_told_as_the_change() -> None:
    """The change that vLLM itself names comes first."""
    command = "vllm serve Qwen/Qwen3-4B --dtype bfloat16 --max-model-len 4096"
    assert sizer.check(command, device="t4", offline=True).check.change[0] == "--dtype half"


def test_transformers_refuses_to_quantize_twice() -> None:
    """BitsAndBytesConfig over FP8 files: another class of configuration (transformers/quantizers/auto.py)."""
    config = "BitsAndBytesConfig(load_in_4bit=True)"
    code = "import torch\nfrom transformers import AutoModelForCausalLM, BitsAndBytesConfig\n"
    code += f"model = AutoModelForCausalLM.from_pretrained('Qwen/Qwen3-8B-FP8', quantization_config={config})"
    found = sizer.check([code], device="rtx-4090", offline=True).check
    assert found.starts is False
    assert "second time" in found.reason


@pytest.mark.parametrize(
    ("device", "gib"), [("rtx-3090", 15.3), ("m4-max-128gb", 15.3), ("rtx-4090", 8.8), ("h100", 8.8)]
)
def test_transformers_dequantizes_fp8_where_no_kernel_is(device: str, gib: float) -> None:
    """Below compute capability 8.9 and on Apple the files become bf16 while they load: twice the weights."""
    found = sizer.check("transformers serve Qwen/Qwen3-8B-FP8", device=device, offline=True)
    assert found.estimates[0].memory.weights_bytes / GIB == pytest.approx(gib, rel=0.03)


def test_a_host_of_unknown_memory_is_told_what_it_must_hold() -> None:
    """qwen3:32b on 12 GB: part of it goes to a host of which nobody knows the memory."""
    starts, reason = verdict("rtx-3060-12gb", "ollama run qwen3:32b")
    assert starts
    assert "--ram says" in reason


def test_a_name_alone_may_be_of_several_methods() -> None:
    """FP8 in a name says neither fp8, compressed-tensors nor modelopt; a config says which."""
    named = checkpoint_methods(resolve("Qwen/Qwen3-8B", offline=True).architecture, "fp8")
    assert {"fp8", "compressed-tensors", "modelopt"} <= named
    matches = {word: quantization_flag("vllm", word) for word in ("fp8", "bitsandbytes", "humming")}
    assert {word for word, flag in matches.items() if flag and flag.goes_with(named)} == {"fp8", "humming"}
