"""Windows under llama.cpp: kept by the architectures that it has a rule for, whole contexts by the others."""

import pytest

import sizer


@pytest.mark.parametrize(
    ("model", "engine", "cache_gib"),
    [
        ("mistralai/Mistral-7B-v0.1", "llama.cpp", 4.0),
        ("mistralai/Mistral-7B-v0.1", "vllm", 0.5),
        ("microsoft/Phi-3-mini-4k-instruct", "llama.cpp", 12.0),
        ("bigcode/starcoder2-7b", "llama.cpp", 2.0),
        ("mistralai/Mistral-Nemo-Instruct-2407", "llama.cpp", 5.0),
    ],
)
def test_cache_at_32k(model: str, engine: str, cache_gib: float) -> None:
    """Layers x KV heads x head sizes x 2 bytes over the context, or over the window where the engine keeps it."""
    precision = "q4_k_m" if engine == "llama.cpp" else "bf16"
    answer = sizer.estimate(model, device="h100", precision=precision, engine=engine, context=32768)
    assert answer.estimates[0].memory.kv_cache_bytes == pytest.approx(cache_gib * 2**30, rel=0.01)


def test_gemma_keeps_its_windows() -> None:
    """Half of Gemma 2's layers keep 4,096 tokens (and a micro-batch), far less than the context."""
    answer = sizer.estimate(
        "google/gemma-2-9b-it", device="h100", precision="q4_k_m", engine="llama.cpp", context=32768
    )
    cache_bytes = answer.estimates[0].memory.kv_cache_bytes
    assert cache_bytes is not None
    assert cache_bytes < 0.6 * 42 * 2 * 8 * 256 * 2 * 32768
