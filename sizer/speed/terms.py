"""The amounts of a step: what each stage would take at the device's nominal rates, and the counts that cost time.

`memory` amounts are bytes over nominal bandwidth, `compute` amounts are FLOPs over the nominal peak, `overhead` amounts
are counts times a unit of time (so that fitted factors are near one). The law of `speed_law` weighs and adds them.
"""

from __future__ import annotations

from functools import cache

from sizer.device.kinds import instructions
from sizer.device.records import is_cpu
from sizer.engine.memory_rules import engine_memory
from sizer.errors import SizerError
from sizer.speed.case import (
    DOUBLE,
    SpeedCase,
    cpu_flops_per_s,
    in_graphs,
    instructions_share,
    nominal_flops_per_s,
    peak_alone_flops_per_s,
    precision_class,
    product_type,
    prompt_flops_per_s,
    reachable_bytes_per_s,
    runtime_rule,
)
from sizer.speed.chunks import Chunks, whole
from sizer.speed.launches import LAYER_S, expert_amounts, llama_layers, prompt_layers, unfused_layers
from sizer.speed.law import COMPUTE, LAUNCH, MEMORY, OVERHEAD, Amount
from sizer.speed.splits import decode_links, parallelism, pipeline_speedup, prompt_links, tensor_ranks, within_layers
from sizer.speed.traffic import (
    Traffic,
    copied_cache_bytes,
    distinct_experts,
    pass_weight_bytes,
    prefill_traffic,
)
from sizer.tables import read_rows
from sizer.tuning import tuned
from sizer.workload import Split

STEP_S, SEQUENCE_S = 1e-3, 1e-4
NARROWEST_TILE = 8
UNPACKED_SCALES = 4.5 / 4.127
"""Double quantization stores 0.127 bits of scales a weight instead of 0.5 (blocks of 64, scales in blocks of 256) and
unpacks them before each product: it saves memory, and no time."""
EXPANDED_BYTES_PER_VALUE = 2
USUAL_VECTOR_FLOPS_PER_S = 4e13
"""The unit of what runs small kernels: the factors take up any other."""
MATRIX_OVER_VECTOR = 4
"""The 16-bit peak of NVIDIA's cards over that in fp32: the median of data/devices.csv, for those without one there. (It
is more on those with HBM: none of these is taken for more than usual.)"""


def bandwidth_bytes_per_s(case: SpeedCase) -> float:
    """Bandwidth that a step sees: of all ranks of a tensor group together, the harmonic mean of layer splits."""
    rates = [reachable_bytes_per_s(device) for device in case.devices]
    known = [rate for rate in rates if rate]
    if len(known) < len(rates):
        raise SizerError(
            f"the memory bandwidth of {case.device.name!r} is not known.", "Give --bandwidth, or run 'sizer probe'."
        )
    if within_layers(case):
        return min(known) * tensor_ranks(case)
    if parallelism(case) is Split.DATA:
        return known[0]
    sizes = [device.memory_bytes or 1 for device in case.devices]
    return sum(sizes) / sum(size / rate for size, rate in zip(sizes, known, strict=True))


def nominal_bandwidth_bytes_per_s(case: SpeedCase) -> float:
    """The same with every device at its specification: no step moves its bytes faster."""
    reached = reachable_bytes_per_s(case.device) or 1.0
    return bandwidth_bytes_per_s(case) * (case.device.bandwidth_bytes_per_s or reached) / reached


def peak_flops_per_s(case: SpeedCase) -> float:
    """Nominal dense peak that a step sees; a CPU's is that of the cores that work on it."""
    if is_cpu(case.device):
        return cpu_flops_per_s(case.device, case.workload.threads) * tensor_ranks(case)
    return nominal_flops_per_s(case.device, case.engine.accumulates) * tensor_ranks(case)


def prompt_peak_flops_per_s(case: SpeedCase, products: str = "", *, packed: bool = True) -> float:
    """The same for a prompt, at the peak of a type of products where the device has one; products that are not `packed`
    are those of the maker's libraries, whose kernels reach the whole peak."""
    if is_cpu(case.device):
        return peak_flops_per_s(case) * _matrix_units().get((case.engine.runtime, instructions(case.device.key)), 1.0)
    reached = instructions_share(case) if packed else 1.0
    alone = peak_alone_flops_per_s(case, reached)
    if alone is None:
        alone = prompt_flops_per_s(case.device, case.engine.accumulates, products, reached)
    return alone * tensor_ranks(case)


@cache
def _matrix_units() -> dict[tuple[str, str], float]:
    """How many times their fp32 peak cores with matrix units read a runtime's prompts at."""
    rows = read_rows("core_matrix_units.csv")
    return {(row["runtime"], row["instructions"]): float(row["factor"]) for row in rows}


def prompt_products_flops_per_s(case: SpeedCase) -> float:
    """The same at the peak of the format that the stored weights are multiplied in."""
    kernel, bits = precision_class(case.stored.precision)
    return prompt_peak_flops_per_s(case, product_type(kernel), packed=bits != "float")


def host_share(case: SpeedCase) -> float:
    """Share of the model's weights that the host's memory serves, without an input table: of that a row a token."""
    placement = case.placement
    if placement is None or placement.host is None:
        return 0.0
    held = placement.host.weights_bytes - placement.host_tables_bytes
    total = held + sum(share.weights_bytes for share in placement.shares) - placement.added_bytes
    return held / total if total else 0.0


def host_bandwidth_bytes_per_s(case: SpeedCase) -> float:
    """Bandwidth of the host's memory, a desktop's where no host is known."""
    host = case.target.host
    if host is None or not host.bandwidth_bytes_per_s:
        return tuned("host_bytes_per_s")
    return host.bandwidth_bytes_per_s * case.target.host_count


def decode_amounts(case: SpeedCase, traffic: Traffic) -> tuple[Amount, ...]:
    """The amounts of one decode step."""
    bandwidth, peak = bandwidth_bytes_per_s(case), peak_flops_per_s(case)
    away = host_share(case)
    experts_away, rest_away = _away(case, away)
    experts, total = traffic.stage("experts").weight_bytes, traffic.weight_bytes
    hosted = experts * experts_away + (total - experts) * rest_away
    unpacked = UNPACKED_SCALES if case.stored.precision.endswith(DOUBLE) else 1.0
    near = (total - experts) * (1 - rest_away) * unpacked
    near_experts = experts * (1 - experts_away) * unpacked + _expanded_bytes(case)
    nominal = nominal_bandwidth_bytes_per_s(case)
    host_s = hosted / (host_bandwidth_bytes_per_s(case) if case.engine.offload else _streaming_bytes_per_s(case))
    layers = llama_layers(case.architecture, case.engine.layer_operations) + unfused_layers(case)
    amounts = [
        Amount("weights", MEMORY, near / bandwidth, near / nominal),
        Amount("experts", MEMORY, near_experts / bandwidth, near_experts / nominal),
        Amount("cache", MEMORY, traffic.cache_bytes / bandwidth, traffic.cache_bytes / nominal),
        Amount("host", MEMORY, host_s, host_s),
        *_products(case, traffic, peak),
        Amount("launch" if in_graphs(case) else "eager_launch", LAUNCH, layers * LAYER_S),
        Amount("layers", OVERHEAD, layers * LAYER_S / layer_pace(case)),
        Amount("step", OVERHEAD, STEP_S),
        *expert_amounts(case),
    ]
    if case.engine.cache_growth == "concatenated":
        amounts.append(Amount("cache_copies", MEMORY, _copied_bytes(case) / bandwidth))
    if traffic.tokens > 1:
        amounts.append(Amount("many", MEMORY, (near + near_experts) / bandwidth))
    if case.workload.batch_size > 1:
        amounts.append(Amount("sequences", OVERHEAD, (case.workload.batch_size - 1) * SEQUENCE_S))
    return tuple(amounts + decode_links(case, case.workload.batch_size))


def layer_pace(case: SpeedCase) -> float:
    """How many times as fast as on a card of 40 TFLOP/s in fp32 what a layer takes beside its bytes goes by.

    CUDA's kernels follow one another without the host: what is left of a layer is small kernels, and more or faster
    cores run them faster (`layer_power` of data/tuning.csv). Other backends, and a host that launches each operation by
    itself, take their own time.
    """
    if case.backend != "cuda" or case.engine.layer_operations == "eager":
        return 1.0
    untold = min(USUAL_VECTOR_FLOPS_PER_S, nominal_flops_per_s(case.device) / MATRIX_OVER_VECTOR)
    peak = case.device.peak_flops_per_s.get("fp32") or untold
    return float((peak / USUAL_VECTOR_FLOPS_PER_S) ** tuned("layer_power"))


def _expanded_bytes(case: SpeedCase) -> int:
    """Bytes of a step that expands all experts to 16 bits before it multiplies some: read packed, written whole."""
    if not case.stored.expands_experts:
        return 0
    stacks = [part for part in case.stored.tensors if part.tensor.active_experts is not None]
    return sum(part.size_bytes + EXPANDED_BYTES_PER_VALUE * part.tensor.total_elements for part in stacks)


def _copied_bytes(case: SpeedCase) -> int:
    """What concatenating the cache moves, by the release's way with shared heads (`data/cache_copies.csv`)."""
    rule = runtime_rule(case, "cache_copies.csv")
    return copied_cache_bytes(case.architecture, case.workload, repeats=rule is None or rule["repeats"] == "yes")


@cache
def _vector_rows() -> dict[str, int]:
    return {row["runtime"]: int(row["rows"]) for row in read_rows("vector_rows.csv")}


def vector_rows(runtime: str) -> int:
    """Up to how many tokens a step a runtime multiplies by vectors, one after the other; 0 where one kernel does all.

    `data/vector_rows.csv` tells; with more tokens it turns to tiles, near a prompt's rate.
    """
    return _vector_rows().get(runtime, 0)


def _products(case: SpeedCase, traffic: Traffic, peak: float) -> list[Amount]:
    """The products of a step. An engine of two kernels multiplies by vectors up to its rows: the first token's product
    unpacks the weights, further ones find them unpacked; beyond them one vector's and the tiles'. Experts' own tokens
    are sorted into tiles from the second on. A sequence's further tokens attend in tiles of queries."""
    rows, tokens, attention = vector_rows(case.engine.runtime), traffic.tokens, traffic.stage("kv").flops
    products, experts = traffic.flops - attention, traffic.stage("experts").flops
    if not rows or tokens == 1:
        return [Amount("compute", COMPUTE, products / peak), Amount("attention", COMPUTE, attention / peak)]
    packed = precision_class(case.stored.precision)[1] != "float"
    beyond, tiled = (tokens - 1) / tokens, prompt_peak_flops_per_s(case, packed=packed)
    sequences = case.workload.batch_size
    found = [
        Amount("compute", COMPUTE, products / tokens / peak),
        Amount("attention", COMPUTE, attention * sequences / tokens / peak),
        Amount("further_attention", COMPUTE, attention * (1 - sequences / tokens) / peak),
        Amount("tile_experts", COMPUTE, experts * beyond * _tile_filling(case, tokens, _narrow_tile(tokens)) / tiled),
    ]
    if tokens <= rows:
        return [*found, Amount("further", COMPUTE, (products - experts) * beyond / peak)]
    return [*found, Amount("tiles", COMPUTE, (products - experts) / tiled)]


def prompt_traffic(case: SpeedCase, cached_tokens: int = 0) -> tuple[Traffic, Chunks]:
    """The traffic of reading all sequences' prompts in the engine's chunks, and these."""
    tokens = max(1, case.workload.prompt_tokens) * case.workload.batch_size
    memory = engine_memory(case.engine.name, case.engine_version)
    usual = memory.prefill_chunk_tokens if memory else None
    chunk = min(tokens, case.chunk_tokens or usual or tokens)
    traffic = prefill_traffic(
        case.architecture,
        case.stored,
        case.workload,
        chunk_tokens=chunk,
        cached_tokens=cached_tokens,
        latent_absorbed=case.engine.latent_prefill == "absorbed",
    )
    return traffic, Chunks(tokens, chunk)


def prefill_amounts(case: SpeedCase, traffic: Traffic, chunks: Chunks) -> tuple[Amount, ...]:
    """The amounts of reading the prompts in chunks, each a pass over the weights."""
    count = chunks.passes
    by_pass, speedup = pipeline_speedup(case, count), pipeline_speedup(case, chunks.tokens / chunks.size)
    bandwidth, peak = bandwidth_bytes_per_s(case) * speedup, prompt_peak_flops_per_s(case) * speedup
    products = prompt_products_flops_per_s(case) * speedup
    attention = traffic.stage("kv").flops
    layers = prompt_layers(case.architecture, case.engine.layer_operations)
    hosted = traffic.weight_bytes * host_share(case)
    passed = traffic.weight_bytes - hosted + _expanded_bytes(case) * count
    experts = traffic.stage("experts").flops
    filling, chunks_of_experts = _prompt_filling(case, chunks)
    experts_flops_per_s = prompt_products_flops_per_s(case) * pipeline_speedup(case, chunks_of_experts)
    amounts = [
        Amount("prefill_compute", COMPUTE, (traffic.flops - attention - experts) / products),
        Amount("prefill_experts", COMPUTE, experts * filling / experts_flops_per_s),
        Amount("prefill_attention", COMPUTE, attention / peak),
        Amount("prefill_weights", MEMORY, passed / (bandwidth_bytes_per_s(case) * by_pass)),
        Amount("prefill_cache", MEMORY, traffic.cache_bytes / bandwidth),
        *_prompt_on_host(case, traffic, chunks),
        Amount("prefill_launch", LAUNCH, layers * count / by_pass * LAYER_S),
        Amount("prefill_layers", OVERHEAD, layers * count / by_pass * LAYER_S),
        Amount("prefill_step", OVERHEAD, count * STEP_S),
    ]
    if case.scores and not is_cpu(case.device):
        amounts.append(Amount("prefill_scores", COMPUTE, SCORE_BYTES * _scores(case, attention) / bandwidth))
    return tuple(amounts + prompt_links(case, traffic.tokens, count))


SCORE_BYTES = 20
"""What one attention score moves where it is written to memory: the product writes 4 bytes, the softmax reads and
writes them, the weighted values' product reads them and makes 2 of them first (ggml-cuda of llama.cpp, read)."""


def _scores(case: SpeedCase, attention_flops: int) -> float:
    """How many scores a prompt's attention makes: 2 FLOPs for each value of a key and of a value that they weigh."""
    widths = [mixer.qk_head_dim + mixer.v_head_dim for mixer in case.architecture.mixer_counts if mixer.heads]
    widest = max(widths, default=0)
    return attention_flops / (2 * widest) if widest else 0.0


def _tile_filling(case: SpeedCase, tokens: int, rows: float) -> float:
    """How many times the products of an expert's own tokens its tiles take, where `tokens` run at once.

    Accelerators multiply tiles of `rows` tokens: the last tile of an expert is half full on average, and an expert
    with few tokens takes a whole one. CPUs multiply by vectors.
    """
    experts, active = case.architecture.experts, case.architecture.active_experts
    if not experts or not active or is_cpu(case.device):
        return 1.0
    each = tokens * active / distinct_experts(experts, active, tokens)
    return max(rows / each, 1 + rows / (2 * each))


def _prompt_filling(case: SpeedCase, chunks: Chunks) -> tuple[float, float]:
    """The same for a prompt, whose last chunk may be a short one; and how many of the longest chunk its chunks take."""
    rows = tuned("tile_rows")
    taken = [(size * _tile_filling(case, size, rows), count) for size, count in chunks.sizes]
    filled = sum(each * count for each, count in taken)
    return filled / chunks.tokens, filled / max(each for each, _ in taken)


def _narrow_tile(tokens: int) -> float:
    """The rows of the tiles that few tokens' experts take: 8 of up to 16 tokens, then one more for each four.

    Kernels choose the narrowest tile that holds what one expert gets.
    """
    return min(tuned("tile_rows"), max(NARROWEST_TILE, NARROWEST_TILE / 2 + tokens / 4))


def computes_on_host(case: SpeedCase) -> bool:
    """Whether what lies on the host is multiplied there (KTransformers' experts) instead of streamed to the device."""
    return case.backend.startswith("cpu+")


def _streaming_bytes_per_s(case: SpeedCase) -> float:
    """The rate at which a device reads what lies on the host: over its link (each rank over its own), or in place.

    A prompt does for each chunk, and each step of an engine that computes nothing on the host.
    """
    host = host_bandwidth_bytes_per_s(case)
    link = case.target.host_link_bytes_per_s
    return host if link is None or computes_on_host(case) else min(host, link * tensor_ranks(case))


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
    crossing = sum(_pass_bytes(case, size) * count for size, count in chunks.sizes if size >= case.streams_from_tokens)
    rate = _streaming_bytes_per_s(case)
    hosted = share * crossing
    streamed = [Amount("prefill_host", MEMORY, hosted / min(rate, tuned("pageable_bytes_per_s")), hosted / rate)]
    return (streamed if hosted else []) + _in_place(case, traffic, share, chunks)


def _in_place(case: SpeedCase, traffic: Traffic, share: float, chunks: Chunks) -> list[Amount]:
    """What the host takes for the chunks that it multiplies itself, by what lies there."""
    few = [(size, count) for size, count in chunks.sizes if computes_on_host(case) or size < case.streams_from_tokens]
    if not few:
        return []
    read_s = sum(share * _pass_bytes(case, size) * count for size, count in few) / host_bandwidth_bytes_per_s(case)
    host, of_all = case.target.host, sum(size * count for size, count in few) / traffic.tokens
    cores = cpu_flops_per_s(host) * case.target.host_count if host else tuned("core_flops_per_s")
    experts, attention = traffic.stage("experts").flops, traffic.stage("kv").flops
    experts_away, rest_away = _away(case, share)
    products = experts * experts_away + (traffic.flops - experts - attention) * rest_away
    return [
        Amount("prefill_in_place", MEMORY, read_s, read_s),
        Amount("prefill_on_cores", COMPUTE, products * of_all / cores),
    ]


def _pass_bytes(case: SpeedCase, tokens: int) -> int:
    return pass_weight_bytes(case.architecture, case.stored, case.workload, tokens)


def _away(case: SpeedCase, share: float) -> tuple[float, float]:
    """Shares of the experts' and of the other weights' traffic on the host."""
    if not share or case.placement is None or not case.placement.host_experts:
        return share, share
    expert_bytes = sum(part.size_bytes for part in case.stored.tensors if part.tensor.active_experts is not None)
    return min(1.0, share * case.stored.weights_bytes / max(1, expert_bytes)), 0.0
