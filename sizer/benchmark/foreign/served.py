"""Load generators: vLLM's `bench serve` (JSON), SGLang's `bench_serving` (JSONL), guidellm (JSON)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import islice

from sizer.benchmark.foreign.found import Found, Values

# A load generator's name of what it asks -> the engine's name in the measurements; others are told by --engine.
ENGINES = {
    "vllm": "vllm",
    "vllm-chat": "vllm",
    "sglang": "sglang",
    "sglang-native": "sglang",
    "sglang-oai": "sglang",
    "sglang-oai-chat": "sglang",
    "lmdeploy": "lmdeploy",
    "lmdeploy-chat": "lmdeploy",
    "trt": "tensorrt-llm",
    "tensorrt-llm": "tensorrt-llm",
}
MOST_BENCHMARKS = 10_000
"""Benchmarks of one report, at most."""


def vllm_object(values: Values) -> Iterator[Found]:
    """The result of `vllm bench serve --save-result`."""
    date = values.text("date")
    found = Found(
        engine=ENGINES.get(values.text("endpoint_type") or values.text("backend"), ""),
        model=values.text("model_id"),
        date=f"{date[:4]}-{date[4:6]}-{date[6:8]}" if date[:8].isdigit() else "",
    )
    yield loaded(found, values, users=_capped(values), at_once=None)


def sglang_object(values: Values) -> Iterator[Found]:
    """A line that `sglang.bench_serving --output-file` appends. `concurrency` is the mean of requests at once."""
    server = values.inside("server_info")
    count = server.whole("tp_size") or 1
    found = Found(
        engine=ENGINES.get(values.text("backend"), ""),
        engine_version=server.text("version"),
        model=server.text("model_path") or values.text("model"),
        device_count=count,
        parallelism="tensor" if count > 1 else "",
        flags=frozenset({"speculative"}) if values.number("accept_length") else frozenset(),
    )
    yield loaded(found, values, users=_capped(values), at_once=values.number("concurrency"))


def guidellm_object(values: Values) -> Iterator[Found]:
    """A report of guidellm: a benchmark for each rate, of which the successful requests count."""
    listed = values.values.get("benchmarks")
    for item in islice(listed if isinstance(listed, list) else (), MOST_BENCHMARKS):
        one = Values(item if isinstance(item, Mapping) else {})
        metrics = one.inside("metrics")
        tpot = _median(metrics, "inter_token_latency_ms")
        if not tpot:
            continue  # nothing succeeded at this rate
        flat = {
            "median_tpot_ms": tpot,
            "median_ttft_ms": _median(metrics, "time_to_first_token_ms"),
            "prompt": _mean(metrics, "prompt_token_count"),
            "output": _mean(metrics, "output_token_count"),
        }
        synchronous = _strategy(one) == "synchronous"
        at_once = _mean(metrics, "request_concurrency")
        model = _first(values, one)
        yield loaded(Found(model=model), Values(flat), users=1 if synchronous else None, at_once=at_once)


def loaded(found: Found, values: Values, *, users: int | None, at_once: float | None) -> Found:
    """The cell of a server under load, from the medians of its requests.

    Decoding is `batch` sequences at once, one token each in the time between tokens. A first token under load waited
    for others, so that only a lone user's tells the speed of reading a prompt.
    """
    sequences = round(at_once) if at_once else users
    done = values.whole("completed")
    prompt = values.whole("prompt") or _share(values.number("total_input_tokens"), done)
    output = values.whole("output") or _share(values.number("total_output_tokens"), done)
    flags = set(found.flags)
    if sequences is None:
        flags.add("max_load")
        decode = values.rate("output_throughput")
    else:
        sequences = max(1, sequences)
        decode = sequences * 1000 / values.rate("median_tpot_ms")
    ttft_ms = values.number("median_ttft_ms")
    alone = sequences == 1 and prompt and ttft_ms
    return replace(
        found,
        batch=sequences,
        as_stored=bool(found.engine),
        prompt_tokens=prompt,
        context_tokens=prompt,
        output_tokens=output,
        prefill_tokens_per_s=prompt * 1000 / ttft_ms if alone and prompt and ttft_ms else None,
        decode_tokens_per_s=decode,
        flags=frozenset(flags),
    )


def _capped(values: Values) -> int | None:
    """The users of a closed loop: the cap on concurrency, where no slower arrival rate keeps below it."""
    users = values.whole("max_concurrency")
    endless = values.text("request_rate").lower() in ("", "inf", "infinity")
    return users if users and endless else None


def _share(total: float | None, count: int | None) -> int | None:
    return round(total / count) if total and count else None


def _median(metrics: Values, name: str) -> float | None:
    return metrics.inside(name, "successful").number("median")


def _mean(metrics: Values, name: str) -> float | None:
    return metrics.inside(name, "successful").number("mean")


def _strategy(one: Values) -> str:
    """The kind of load: where it stands moved between guidellm's versions."""
    places = (("config", "strategy"), ("args", "strategy"), ("scheduler", "strategy"))
    return next((kind for place in places if (kind := one.inside(*place).text("type_"))), "")


def _first(report: Values, one: Values) -> str:
    """The model's name: where it stands moved between guidellm's versions."""
    places = (
        one.inside("config", "backend").text("model"),
        one.inside("worker").text("backend_model"),
        one.inside("benchmarker", "backend").text("model"),
        report.inside("args").text("model"),
    )
    return next(filter(None, places), "")
