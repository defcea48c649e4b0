"""The amounts of reading prompts: what each stage of their chunks would take at the nominal rates."""

from __future__ import annotations

from sizer.device.records import is_cpu
from sizer.engine.memory_rules import engine_memory
from sizer.speed.case import SpeedCase
from sizer.speed.chunks import Chunks, whole
from sizer.speed.device_rates import vector_flops_per_s
from sizer.speed.hosted import (
    computes_on_host,
    host_bandwidth_bytes_per_s,
    host_flops_per_s,
    host_share,
    shares_away,
    streaming_bytes_per_s,
)
from sizer.speed.launches import LAUNCH_S, LAYER_S, prompt_layers
from sizer.speed.law import COMPUTE, LAUNCH, MEMORY, OVERHEAD, Amount
from sizer.speed.rates import (
    attention_flops_per_s,
    bandwidth_bytes_per_s,
    experts_flops_per_s,
    prompt_products_flops_per_s,
)
from sizer.speed.splits import matrix_sides, pipeline_speedup, prompt_links, tensor_ranks
from sizer.speed.terms import STEP_S, expanded_bytes, tokens_an_expert
from sizer.speed.traffic import Traffic, pass_weight_bytes, prefill_traffic
from sizer.speed.unpacked import expert_calls, unpacked_bytes
from sizer.tuning import tuned

STREAMED_FLOPS_PER_BYTE = 16
"""FLOPs of attention for each byte of keys and values that a tile of 16 queries reads: two of each query for two
bytes."""


VALUE_FLOPS = 240
"""FLOPs of the vector units in whose time a value passes them that goes into or out of a matrix: a unit, 4 bytes at 60
FLOPs a byte (an RTX 5090's fp32 peak over its bandwidth is 58); the fitted factor takes up any other. Norms, sums,
rotations and quantization stand between the products, in no matrix unit's time, and the cards' caches serve them."""


def prompt_traffic(case: SpeedCase, cached_tokens: int = 0) -> tuple[Traffic, Chunks]:
    """The traffic of reading all sequences' prompts in the engine's chunks, and these."""
    tokens = max(1, case.workload.prompt_tokens) * case.workload.batch_size
    memory = engine_memory(case.engine.name, case.engine_version)
    usual = memory.prefill_chunk_tokens if memory else None
    chunk = min(tokens, case.reading.chunk_tokens or usual or tokens)
    traffic = prefill_traffic(
        case.architecture,
        case.stored,
        case.workload,
        chunk_tokens=chunk,
        cached_tokens=cached_tokens,
        latent_absorbed=case.engine.latent_prefill == "absorbed",
        shared_apart=case.kernels.last_token_layers,
    )
    return traffic, Chunks(tokens, chunk)


def prefill_amounts(case: SpeedCase, traffic: Traffic, chunks: Chunks) -> tuple[Amount, ...]:
    """The amounts of reading the prompts in chunks, each a pass over the weights."""
    count = chunks.passes
    by_pass, speedup = pipeline_speedup(case, count), pipeline_speedup(case, chunks.tokens / chunks.size)
    one_pass = bandwidth_bytes_per_s(case)
    bandwidth = one_pass * speedup
    products = prompt_products_flops_per_s(case) * speedup
    attention = traffic.stage("kv").flops
    layers = prompt_layers(case.architecture, case.engine.layer_operations)
    hosted = traffic.weight_bytes * host_share(case)
    written = unpacked_bytes(case, chunks)
    passed = traffic.weight_bytes - hosted + expanded_bytes(case) * count + written
    experts = traffic.stage("experts").flops
    filling, chunks_of_experts = _prompt_filling(case, chunks)
    experts_rate = experts_flops_per_s(case) * pipeline_speedup(case, chunks_of_experts)
    amounts = [
        Amount("prefill_compute", COMPUTE, (traffic.flops - attention - experts) / products),
        Amount("prefill_experts", COMPUTE, experts * filling / experts_rate),
        Amount("prefill_attention", COMPUTE, attention / (attention_flops_per_s(case) * speedup)),
        Amount("prefill_weights", MEMORY, passed / (one_pass * by_pass)),
        Amount("prefill_cache", MEMORY, traffic.cache_bytes / bandwidth),
        *_prompt_on_host(case, traffic, chunks),
        Amount("prefill_launch", LAUNCH, layers * count / by_pass * LAYER_S),
        Amount("prefill_layers", OVERHEAD, layers * count / by_pass * LAYER_S),
        Amount("prefill_step", OVERHEAD, count * STEP_S),
    ]
    if written:
        amounts.append(Amount("prefill_unpacking", OVERHEAD, written / bandwidth))
    calls = expert_calls(case, chunks)
    if calls:
        amounts.append(Amount("prefill_calls", LAUNCH, calls / by_pass * LAUNCH_S))
    streamed_s = _streamed_s(case, traffic)
    if streamed_s:
        amounts.append(Amount("prefill_streamed", MEMORY, streamed_s / speedup))
    if not is_cpu(case.device) and case.device.kind != "npu":  # whose vector units no table tells
        passing = matrix_sides(case) * chunks.tokens * VALUE_FLOPS
        vectors = vector_flops_per_s(case.device) * tensor_ranks(case) * speedup
        amounts.append(Amount("prefill_activations", OVERHEAD, passing / vectors))
    if case.reading.scores and not is_cpu(case.device):
        amounts.append(Amount("prefill_scores", COMPUTE, SCORE_BYTES * _scores(case, attention) / bandwidth))
    return tuple(amounts + prompt_links(case, traffic.tokens, count))


def _streamed_s(case: SpeedCase, traffic: Traffic) -> float:
    """Nominal seconds in which a prompt's tiles of queries read keys and values that no cache serves."""
    least = case.kernels.streamed_kv_heads
    products = sum(one.flops for one in traffic.attended if one.mixer.kv_heads >= least)
    return products / STREAMED_FLOPS_PER_BYTE / bandwidth_bytes_per_s(case)


SCORE_BYTES = 20
"""What one attention score moves where it is written to memory: the product writes 4 bytes, the softmax reads and
writes them, the weighted values' product reads them and makes 2 of them first (ggml-cuda of llama.cpp, read)."""


def _scores(case: SpeedCase, attention_flops: int) -> float:
    """How many scores a prompt's attention makes: 2 FLOPs for each value of a key and of a value that they weigh."""
    widths = [mixer.qk_head_dim + mixer.v_head_dim for mixer in case.architecture.mixer_counts if mixer.heads]
    widest = max(widths, default=0)
    return attention_flops / (2 * widest) if widest else 0.0


def _tile_filling(case: SpeedCase, tokens: int, rows: float) -> float:
    """How many times the products of an expert's own tokens its tiles take: half a tile more. Of few tokens a tile is
    as narrow as the kernels have it, and what is left of one costs little beside reading the weights."""
    each = tokens_an_expert(case, tokens)
    return 1.0 if each is None else 1 + rows / (2 * each)


def _prompt_filling(case: SpeedCase, chunks: Chunks) -> tuple[float, float]:
    """The same for a prompt, whose last chunk may be a short one; and how many of the longest chunk its chunks take."""
    rows = tuned("tile_rows")
    taken = [(size * _tile_filling(case, size, rows), count) for size, count in chunks.sizes]
    filled = sum(each * count for each, count in taken)
    return filled / chunks.tokens, filled / max(each for each, _ in taken)


def _prompt_on_host(case: SpeedCase, traffic: Traffic, chunks: Chunks) -> list[Amount]:
    """What a prompt takes for its weights on the host.

    They cross the link once a chunk, no faster than a mapped file's pages can be copied to where the device reads them.
    Or the host multiplies them in place, and its cores set the pace: in a chunk of few tokens (`streams_from_tokens`);
    engines that compute there read them once for the whole prompt.
    """
    share = host_share(case)
    if not share:
        return []
    if computes_on_host(case):
        return _in_place(case, traffic, share, whole(chunks.tokens))
    least = case.reading.streams_from_tokens
    crossing = sum(_pass_bytes(case, size) * count for size, count in chunks.sizes if size >= least)
    rate = streaming_bytes_per_s(case)
    hosted = share * crossing
    streamed = [Amount("prefill_host", MEMORY, hosted / min(rate, tuned("pageable_bytes_per_s")), hosted / rate)]
    return (streamed if hosted else []) + _in_place(case, traffic, share, chunks)


def _in_place(case: SpeedCase, traffic: Traffic, share: float, chunks: Chunks) -> list[Amount]:
    """What the host takes for the chunks that it multiplies itself, by what lies there."""
    least, always = case.reading.streams_from_tokens, computes_on_host(case)
    few = [(size, count) for size, count in chunks.sizes if always or size < least]
    if not few:
        return []
    read_s = sum(share * _pass_bytes(case, size) * count for size, count in few) / host_bandwidth_bytes_per_s(case)
    of_all = sum(size * count for size, count in few) / traffic.tokens
    experts, attention = traffic.stage("experts").flops, traffic.stage("kv").flops
    experts_away, rest_away = shares_away(case, share)
    products = experts * experts_away + (traffic.flops - experts - attention) * rest_away
    return [
        Amount("prefill_in_place", MEMORY, read_s, read_s),
        Amount("prefill_on_cores", COMPUTE, products * of_all / host_flops_per_s(case)),
    ]


def _pass_bytes(case: SpeedCase, tokens: int) -> int:
    return pass_weight_bytes(case.architecture, case.stored, case.workload, tokens)
