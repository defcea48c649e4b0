"""What is known of runtimes' kernels: the table and how it is read."""

from __future__ import annotations

from sizer.engine.engines import engines
from sizer.engine.kernel_facts import KernelFacts, kernel_facts, read
from sizer.tables import read_rows


def test_every_fact_is_read_and_told_of_some_runtime() -> None:
    """The record's fields are the facts of the table; each cell reads as one, of a runtime and a backend that engines
    have, with its source, and differs from what is usual; but for a newest release's, beside older ones' that do."""
    rows = list(read_rows("kernel_facts.csv"))
    dated = {_key(row) for row in rows if row["before_version"]}
    assert set(KernelFacts._fields) == {row["fact"] for row in rows}
    backends = {backend for engine in engines().values() for _, backend in engine.backends}
    for row in rows:
        assert row["runtime"] in {"", *engines()}, row
        assert row["backend"] in {"", *backends}, row
        newest = _key(row) in dated and not row["before_version"]
        assert newest or read(row["fact"], row["value"]) != getattr(KernelFacts(), row["fact"]), row
        assert bool(row["before_version"]) == bool(row["before_date"]), row
        assert row["source"], row


def test_no_fact_is_told_twice() -> None:
    """A runtime's backend has one row a fact, vendor and release; what releases changed is told of the newest first."""
    rows = list(read_rows("kernel_facts.csv"))
    keys = [(*_key(row), row["before_version"]) for row in rows]
    assert len(keys) == len(set(keys))
    firsts: dict[tuple[str, ...], str] = {}
    for row in rows:
        assert firsts.setdefault(_key(row), row["before_version"]) == "", row


def _key(row: dict[str, str]) -> tuple[str, ...]:
    return row["runtime"], row["backend"], row["vendor"], row["fact"]


def test_a_release_s_facts_are_those_of_its_time() -> None:
    """SYCL weighs keys and values on matrix units since July 2026: by the build's number, else by the date."""
    assert not kernel_facts("llama.cpp", "sycl", "intel").vector_attention
    assert kernel_facts("llama.cpp", "sycl", "intel", "b9039").vector_attention
    assert kernel_facts("llama.cpp", "sycl", "intel", "", "2026-05-06").vector_attention
    assert not kernel_facts("llama.cpp", "sycl", "intel", "b10276", "2026-05-06").vector_attention


def test_the_row_that_names_more_tells() -> None:
    """llama.cpp's own power of a card's peak stands over that of all other runtimes under CUDA, and its bytes hold on
    each of its backends; a runtime that no row names has what is usual."""
    assert kernel_facts("llama.cpp", "cuda").peak_power == 0.75
    assert kernel_facts("vllm", "cuda").peak_power == 0.85
    assert kernel_facts("vllm", "rocm") == KernelFacts()
    assert all(kernel_facts("llama.cpp", backend).int8_products for backend in ("cuda", "vulkan", "cpu"))


def test_a_vendors_row_stands_over_that_of_all() -> None:
    """Intel's cards read keys and values by each query head under Vulkan, others a part of them; none under CUDA."""
    assert kernel_facts("llama.cpp", "vulkan", "intel").cache_by_head == 1
    assert 0 < kernel_facts("llama.cpp", "vulkan", "amd").cache_by_head < 1
    assert kernel_facts("llama.cpp", "cuda", "nvidia").cache_by_head == 0
