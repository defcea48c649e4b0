"""Requests whose prompts no card can have read in their time."""

from __future__ import annotations

from sizer.calibrate.measurements import ReadRow, measurement
from sizer.calibrate.observations import observe, observe_row
from sizer.calibrate.plausible import UNREAD


def requests(name: str, tokens_per_s: float, source: str = "one", prompt: int = 512) -> ReadRow:
    """Requests of 64 sequences of an 8B on an RTX 3090: 256 tokens of output each."""
    return measurement(
        {
            "id": name, "source_url": source, "engine": "vllm", "backend": "cuda", "model": "meta-llama/Llama-3.1-8B",
            "precision": "bf16", "device": "NVIDIA GeForce RTX 3090", "device_count": "1", "batch": "64",
            "prompt_tokens": str(prompt), "context_tokens": str(prompt), "output_tokens": "256", "metric": "request",
            "decode_tokens_per_s": str(tokens_per_s), "flags": "aggregate", "source_date": "2026-01",
        }
    )  # fmt: skip


def test_more_products_than_the_card_can_do_say_that_prompts_were_cached() -> None:
    """3,000 tokens/s with prompts of 512 are 140 TFLOP/s of 71; without prompts they are 47."""
    (odd,) = observe_row(requests("fast", 3000))
    assert odd.odd.endswith(UNREAD)
    assert not any(one.odd for one in observe_row(requests("short", 3000, prompt=1)))
    assert not any(one.odd for one in observe_row(requests("slow", 900)))


def test_the_others_of_its_table_repeat_the_prompt_too() -> None:
    """One row that cannot have read its prompts speaks for the requests of its model in its source, not in others."""
    kept = observe([requests("fast", 3000), requests("slow", 900), requests("other", 900, source="two")])
    assert [one.id for one in kept] == ["other"]
