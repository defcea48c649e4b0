"""text-generation-launcher: its words, and the memory that it takes, against hand-computed sizes."""

from __future__ import annotations

import pytest

import sizer
from sizer.device.catalogue import find
from sizer.device.records import Device
from sizer.device.usable import cuda_reserve_mib
from sizer.engine.asked import engine_asked
from sizer.engine.engines import find_engine
from sizer.engine.flag_text import written_all
from sizer.engine.flags import options_of, read_flags
from sizer.engine.stored import store_for
from sizer.errors import UsageError
from sizer.model.read.resolve import resolve
from sizer.serving.deployment import Served, deployment
from sizer.serving.layout import Layout
from sizer.serving.load import Load
from sizer.units import MIB

FLAGS = find_engine("tgi").flags


@pytest.mark.parametrize(
    ("words", "fields"),
    [
        ("--model-id a/b --num-shard 4", {"model": "a/b", "tensor_parallel": 4}),
        ("MAX_TOTAL_TOKENS=8192 --max-batch-prefill-tokens=2048", {"context_tokens": 8192, "batch_tokens": 2048}),
        ("--quantize eetq --dtype float16", {"quantization": "eetq", "weights_dtype": "float16"}),
        ("--cuda-memory-fraction 0.5", {"memory_fraction": 0.45}),
        ("--max-batch-total-tokens 90000 --max-batch-size 8", {"cache_tokens": 90000, "max_sequences": 8}),
    ],
)
def test_the_launchers_words_are_read(words: str, fields: dict[str, object]) -> None:
    """Flags and environment variables of launcher/src/main.rs; a share is of the nine tenths that it takes."""
    assert options_of("tgi", "", read_flags(FLAGS, words.split())).settings == pytest.approx(fields)


def test_a_share_is_written_as_it_is_read() -> None:
    """0.45 of the card is half of the nine tenths; more than those cannot be asked for."""
    assert written_all(FLAGS, {"memory_fraction": 0.45}) == ["--cuda-memory-fraction", "0.5"]
    with pytest.raises(UsageError):
        written_all(FLAGS, {"memory_fraction": 0.95})


def test_the_cache_is_what_nine_tenths_leave_once_the_largest_prefill_ran() -> None:
    """Llama-3.1-8B in 16 bits on an L40S: 9/10 of what CUDA sees, less weights, the largest prefill and context.

    The prefill is 363e12 operations over those of a token, as its launcher counts them: 24,147 tokens.
    """
    found = sizer.check(
        "docker run ghcr.io/huggingface/text-generation-inference:3.3.7 --model-id meta-llama/Llama-3.1-8B-Instruct"
        " --max-total-tokens 8192",
        device="l40s",
        offline=True,
    )
    assert found.check.starts
    held = found.estimates[0].memory
    shown = 46_068 * MIB
    seen = shown - int(cuda_reserve_mib(shown) * MIB)
    operations = 32 * (2 * 4096 * 128 * (3 * 32 + 2 * 8) + 6 * 4096 * 14336)
    assert 363_000_000_000_000 // operations == 24_147
    prefill = 24_147 * (2 * 4096 + 3 * 14336) * 2
    context, rotary = 450 * MIB, 131_072 * 128 * 2
    room = int(seen * 0.9) - 8_030_261_248 * 2 - prefill - context - rotary
    assert held.kv_capacity_tokens == pytest.approx(room / (32 * 8 * 128 * 2 * 2), rel=0.002)


def test_it_refuses_what_its_card_cannot_hold() -> None:
    """A 70B in 16 bits does not start on one L40S."""
    found = sizer.check(
        "text-generation-launcher --model-id meta-llama/Llama-3.1-70B-Instruct", device="l40s", offline=True
    )
    assert found.check.starts is False


def test_the_engine_is_known_by_its_long_name() -> None:
    """`text-generation-inference` is TGI."""
    assert find_engine("text-generation-inference").name == "tgi"
    assert isinstance(find_engine("tgi").backends_on(Device("x", "x", "nvidia", "gpu", None, None)), tuple)


@pytest.mark.parametrize(
    ("model", "device", "engine", "tokens"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", "rtx-4090", "tgi", 4096),  # its table has no name that this card shows
        ("meta-llama/Llama-3.1-8B-Instruct", "l40s", "tgi@2.4", 4096),
        ("meta-llama/Llama-3.1-8B-Instruct", "l40s", "tgi --max-batch-prefill-tokens 1000", 1000),
        ("meta-llama/Llama-2-7b-hf", "h100-80gb-sxm", "tgi", 4096),  # no longer than the model's context
        ("meta-llama/Llama-3.1-8B-Instruct", "2xl4", "tgi", 2 * 121_000_000_000_000 // 15_032_385_536),
    ],
)
def test_the_largest_prefill_by_card(model: str, device: str, engine: str, tokens: int) -> None:
    """By card and model since 3.0, else 4,096: what one rank's profile run takes."""
    found = sizer.estimate(model, device=device, precision="bf16", engine=engine, offline=True).estimates[0]
    ranks = found.device.count
    hidden, wide = 4096, 11008 if "Llama-2" in model else 14336
    expected = tokens * (2 * hidden + 3 * wide // ranks) * 2
    assert found.memory.devices[0].compute_bytes == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("engine", "tokens"),
    [
        ("tgi", 363_000_000_000_000 // 15_032_385_536), ("tgi@2.4", 4096),
        ("tgi --max-batch-prefill-tokens 1000", 1000),
    ],
)  # fmt: skip
def test_users_prompts_are_read_in_the_largest_prefill(engine: str, tokens: int) -> None:
    """Many users' prompts go through the prefill that memory was measured with: on an L40S 24,147 tokens since 3.0."""
    model = resolve("meta-llama/Llama-3.1-8B-Instruct", offline=True).architecture
    served = Served(model, store_for(model, "bf16", "tgi"), find("l40s"), "tgi", engine_asked(engine))
    assert deployment(served, Layout(), Load(512, 128, users=4)).rules.step_tokens == tokens
