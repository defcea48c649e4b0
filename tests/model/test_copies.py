"""Copies whose name tells a quantization, but not of which layers."""

import pytest

import sizer
from sizer.model.read.resolve import resolve


def test_metas_own_fp8_is_that_of_the_mlps() -> None:
    """Llama 3.1 405B in FP8: attention and two MLPs stay in BF16, 57 GiB a card of eight (vLLM logged 57.75)."""
    answer = sizer.estimate("meta-llama/Meta-Llama-3.1-405B-Instruct-FP8", device="8xh100", engine="vllm")
    first = answer.estimates[0]
    assert first.precision.startswith("fp8")
    assert first.memory.weights_bytes / 8 / 2**30 == pytest.approx(57.75, rel=0.03)


def test_a_copys_fp8_may_be_that_of_the_mlps_alone() -> None:
    """The note says how much more that is: a byte for each value of the attention's projections."""
    notes = "\n".join(resolve("RedHatAI/Meta-Llama-3.1-70B-Instruct-FP8", offline=True).notes)
    attention = 80 * (2 * 8192 * 8192 + 2 * 1024 * 8192)
    assert f"{attention / 2**30:.2f} GiB more" in notes


@pytest.mark.parametrize("text", ["TheBloke/Llama-2-13B-chat-GPTQ", "Qwen/Qwen3-8B", "unsloth/Qwen3-8B-GGUF:Q4_K_M"])
def test_other_schemes_leave_nothing_open(text: str) -> None:
    """GPTQ and GGUF types are of every linear layer: nothing is said."""
    assert "MLPs alone" not in "\n".join(resolve(text, offline=True).notes)
