"""What is known of runtimes' kernels: the table and how it is read."""

from __future__ import annotations

from sizer.engine.engines import engines
from sizer.engine.kernel_facts import _READ, KernelFacts, kernel_facts
from sizer.tables import read_rows


def test_every_fact_is_read_and_told_of_some_runtime() -> None:
    """The record's fields are the facts of the table; each cell reads as one, of a runtime and a backend that engines
    have, with its source, and differs from what is usual."""
    rows = list(read_rows("kernel_facts.csv"))
    assert set(_READ) == set(KernelFacts._fields) == {row["fact"] for row in rows}
    backends = {backend for engine in engines().values() for _, backend in engine.backends}
    for row in rows:
        assert row["runtime"] in {"", *engines()}, row
        assert row["backend"] in {"", *backends}, row
        assert _READ[row["fact"]](row["value"]) != getattr(KernelFacts(), row["fact"]), row
        assert row["source"], row


def test_no_fact_is_told_twice() -> None:
    """A runtime's backend has one row a fact and vendor."""
    keys = [(row["runtime"], row["backend"], row["vendor"], row["fact"]) for row in read_rows("kernel_facts.csv")]
    assert len(keys) == len(set(keys))


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
