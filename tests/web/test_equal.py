"""The page shows the command line's figures to the digit, served and from the browser alone.

The served page must have the very same numbers. The browser's Python has another mathematical library, whose
logarithms and powers may differ in the last bit: there, bytes and tokens must be equal, rates to twelve digits.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import pytest
from browsing import Browsed, visit
from clirun import Run

from sizer.advise.advice import USUAL_CONTEXT_TOKENS

MODELS = (
    "Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", "meta-llama/Llama-3.1-8B-Instruct", "google/gemma-3-12b-it", "8B",
    "openai/gpt-oss-20b", "mistralai/Mistral-7B-Instruct-v0.3", "deepseek-ai/DeepSeek-V3", "microsoft/phi-4",
    "Qwen/Qwen2.5-7B-Instruct",
)  # fmt: skip
SETTINGS: tuple[dict[str, str], ...] = (
    {"device": "rtx-4090"},
    {"device": "2xrtx-3090", "context": "16384"},
    {"device": "m2-ultra", "batch": "4"},
    {"device": "consumer-cpu", "prefer": "speed"},
    {"device": "h100-80gb-sxm", "engine": "vllm", "kv-precision": "fp8"},
)
CASES = [{"model": model, **setting} for model in MODELS for setting in SETTINGS]
LAST_BITS = 1e-12

ROWS = """[...document.querySelectorAll("table.rows tbody tr")].map(
    (row) => [...row.querySelectorAll("data")].map((figure) => Number(figure.value)))"""
TILES = "[...document.querySelectorAll('.tiles data')].map((figure) => Number(figure.value))"


def printed(run: Run, asked: dict[str, str], command: str = "recommend") -> dict[str, Any] | None:
    """The command line's JSON; None where it refuses."""
    flags = [f"--{key}={value}" for key, value in asked.items() if key != "model"]
    result = run(command, asked["model"], *flags, "--offline", "--json")
    return json.loads(result.out) if result.code == 0 else None


def same(one: Any, other: Any, mode: str) -> bool:
    """Whether two JSON values are equal; a site's rates but for the last bits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key], mode) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b, mode) for a, b in zip(one, other, strict=True))
    if mode == "site" and isinstance(other, float):
        return bool(one == pytest.approx(other, rel=LAST_BITS))
    return bool(one == other)


@pytest.fixture(scope="module", params=["served", "site"])
def page(request: pytest.FixtureRequest, browser: Browsed) -> Iterator[Any]:
    """The page in one of its two modes."""
    with browser.page(request.getfixturevalue(request.param)) as opened:
        opened.mode = request.param
        yield opened


def on_devices(memory: dict[str, Any]) -> int:
    """What lies on the devices: tables that the engine keeps in the host's memory are told beside it."""
    kept = 0 if memory["placement"] == "offload" else memory["host_bytes"] or 0
    return int(memory["total_bytes"] - kept)


def test_what_is_refused_is_shown_at_the_context_of_the_refusal() -> None:
    """The page asks for the context that `recommend` leaves room for, not for the shortest."""
    text = (files("sizer.web") / "page" / "answer.js").read_text(encoding="utf-8")
    assert f"const USUAL_CONTEXT = {USUAL_CONTEXT_TOKENS};" in text


def known(*figures: float | None) -> list[float]:
    """The figures that are neither null nor zero: the page shows a dash for the others."""
    return [figure for figure in figures if figure]


@pytest.mark.parametrize("asked", CASES, ids=lambda asked: "-".join(asked.values()))
def test_shown_figures_are_the_commands(page: Any, run: Run, asked: dict[str, str]) -> None:
    """Memory, speed, first token and longest context of every precision are those that the command prints."""
    visit(page, f"?{urlencode(asked)}")
    told = printed(run, asked)
    if told is None:
        assert page.locator("#answer .refused").count() == 1
        rest = {key: value for key, value in asked.items() if key != "prefer"}
        told = printed(run, {"context": str(USUAL_CONTEXT_TOKENS), **rest}, "estimate")
    if told is None:
        return
    expected = [
        known(on_devices(item["memory"]), item["decode"]["tokens_per_s"], item["memory"]["max_context_tokens"])
        for item in told["estimates"]
    ]
    assert same(page.evaluate(ROWS), expected, page.mode)
    if best := told.get("estimate"):
        memory = best["memory"]
        figures = (on_devices(memory), best["prefill"]["ttft_s"], memory["max_context_tokens"])
        assert same(page.evaluate(TILES), known(best["decode"]["tokens_per_s"], *figures), page.mode)


def test_answers_are_the_commands_json(page: Any, run: Run) -> None:
    """What the page is told is the command's whole JSON, not only what it shows."""
    asked = {"model": "Qwen/Qwen3-14B", "device": "rtx-4060", "ram": "32GiB"}
    told = page.evaluate("async (query) => (await import('./api.js')).ask('recommend', query)", list(asked.items()))
    assert same(told, printed(run, asked), page.mode)
