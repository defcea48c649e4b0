"""Prompts that rows of their own table contradict."""

from __future__ import annotations

from dataclasses import replace

from sizer.calibrate.contradicted import contradicted
from sizer.calibrate.observation import Observation
from sizer.speed.law import COMPUTE, Amount


def prompt(name: str, tokens: int, seconds: float, products_s: float, model: str = "8b") -> Observation:
    """A prompt of so many tokens."""
    groups = {"engine device": "e d", "kernel": "half", "era": "e 2024", "split": "e one device"}
    amounts = (Amount("prefill_compute", COMPUTE, products_s),)
    return Observation(
        name, "prefill", "table", "d", model, "e", "gpu", False, seconds, amounts, groups, tokens_per_s=tokens / seconds
    )  # fmt: skip


def test_a_cold_first_run_is_contradicted_by_the_second() -> None:
    """Twice the tokens of a model in less time say that the shorter prompt waited for something else."""
    cold, warm = prompt("cold", 512, 0.39, 0.1), prompt("warm", 1024, 0.27, 0.2)
    assert set(contradicted([cold, warm])) == {"cold"}
    assert contradicted([replace(cold, seconds=0.2, tokens_per_s=512 / 0.2), warm]) == {}


def test_a_larger_model_that_is_read_faster_contradicts() -> None:
    """As many tokens of a model of eight times the products in less time; not where mixtures or other tables say so."""
    slow, large = prompt("slow", 512, 0.85, 0.1), prompt("large", 512, 0.42, 0.8, "70b")
    assert set(contradicted([slow, large])) == {"slow"}
    assert contradicted([slow, replace(large, moe=True)]) == {}
    assert contradicted([slow, replace(large, source="another")]) == {}
    assert contradicted([slow, replace(large, seconds=0.9, tokens_per_s=512 / 0.9)]) == {}
