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


@pytest.mark.parametrize(
    ("text", "precision", "note"),
    [
        ("unsloth/gemma-3-27b-it-bnb-4bit", "nf4-dq", ""),
        ("someone/Qwen3-8B-bnb-4bit", "nf4-dq", "taken as unsloth's"),
        ("unsloth/Qwen2.5-7B-unsloth-bnb-4bit", "nf4-dq", "dynamic"),
        ("someone/Qwen3-8B-bnb-8bit", "int8", ""),
        ("gemma3:12b-it-qat", "q4_0", "trained for"),
    ],
)
def test_what_a_copy_is_stored_in_is_its_download(text: str, precision: str, note: str) -> None:
    """bitsandbytes made these beforehand, Ollama's qat tags are Q4_0: the download is the copy's, no larger."""
    found = resolve(text, offline=True)
    assert found.hints.quantization == precision
    assert note in "\n".join(found.notes)
    first = sizer.estimate(text, device="rtx-4090", offline=True).estimates[0]
    assert first.precision == precision
    assert first.memory.download_bytes == pytest.approx(first.memory.weights_bytes, rel=0.15)


@pytest.mark.parametrize(
    ("name", "said"), [("someone/Qwen3-8B-GPTQ", "4 is usual"), ("mlc-ai/Qwen3-8B-q4f16_1-MLC", "mlc-llm")]
)
def test_what_a_copys_name_leaves_open_is_said(name: str, said: str) -> None:
    """A copy's name that does not tell its bits, or whose files one engine loads alone, says so in the answer."""
    assert any(said in note for note in resolve(name, offline=True).architecture.notes)
