"""The amounts of a decode step: what each stage takes at the device's nominal rates, and the counts that cost time.

`memory` amounts are bytes over nominal bandwidth, `compute` amounts are FLOPs over the nominal peak, `overhead` amounts
are counts times a unit of time (so that fitted factors are near one). `law` weighs and adds them.
"""

from __future__ import annotations

from math import inf

from sizer.cache_formats import cache_format
from sizer.device.records import is_cpu
from sizer.engine.releases import rule_in_force, rules
from sizer.speed.attended import copied_cache_bytes
from sizer.speed.case import EAGER, SpeedCase, in_graphs, runtime_rule, standing
from sizer.speed.device_rates import MATRIX_OVER_VECTOR, nominal_flops_per_s, vector_flops_per_s
from sizer.speed.hosted import (
    cache_share_away,
    crosses_link,
    host_bandwidth_bytes_per_s,
    host_flops_per_s,
    host_share,
    shares_away,
    streaming_bytes_per_s,
)
from sizer.speed.kernels import names_one, packs_scales, precision_class
from sizer.speed.launches import (
    LAYER_S,
    expert_amounts,
    host_pace,
    llama_layers,
    moe_layer_count,
    quantized_layers,
    unfused_layers,
)
from sizer.speed.law import COMPUTE, LAUNCH, MEMORY, OVERHEAD, Amount
from sizer.speed.rates import (
    bandwidth_bytes_per_s,
    nominal_bandwidth_bytes_per_s,
    peak_flops_per_s,
    prompt_peak_flops_per_s,
)
from sizer.speed.routing import distinct_experts
from sizer.speed.splits import decode_links
from sizer.speed.traffic import Traffic, decode_traffic
from sizer.tables import names_key
from sizer.tuning import tuned

STEP_S, SEQUENCE_S = 1e-3, 1e-4
"""Seconds that the terms of a step and of a further sequence are told in."""
NARROWEST_TILE = 8
"""Rows of the narrowest tile that quantized products have: llama.cpp's grow in steps of eight (ggml-cuda/mmq.cuh,
mmq_x)."""
UNPACKED_SCALES = 4.5 / 4.127
"""Double quantization stores 0.127 bits of scales a weight instead of 0.5 (blocks of 64, scales in blocks of 256) and
unpacks them before each product: it saves memory, and no time."""
EXPANDED_BYTES_PER_VALUE = 2
USUAL_VECTOR_FLOPS_PER_S = 4e13
"""The unit of what runs small kernels: the factors take up any other."""


def step_traffic(case: SpeedCase, tokens_per_sequence: int = 1, outputs: int | None = None) -> Traffic:
    """The traffic of a decode step of a case, or of one that verifies several tokens of each sequence."""
    return decode_traffic(
        case.architecture,
        case.stored,
        case.workload,
        tokens_per_sequence=tokens_per_sequence,
        outputs=outputs,
        beside_window=case.reading.beside_window,
    )


def decode_amounts(case: SpeedCase, traffic: Traffic) -> tuple[Amount, ...]:
    """The amounts of one decode step."""
    bandwidth, peak = bandwidth_bytes_per_s(case), peak_flops_per_s(case)
    experts_away, rest_away = shares_away(case, host_share(case))
    cache_away = cache_share_away(case)
    experts, total = traffic.stage("experts").weight_bytes, traffic.weight_bytes
    cache_bytes = traffic.cache_bytes * (1 - cache_away)
    shares = experts_away, rest_away, cache_away
    unpacked = UNPACKED_SCALES if packs_scales(case.stored.precision) else 1.0
    moved = unpacked * converted_share(case)
    near = (total - experts) * (1 - rest_away) * moved
    near_experts = experts * (1 - experts_away) * moved + expanded_bytes(case)
    nominal = nominal_bandwidth_bytes_per_s(case)
    own = llama_layers(case.architecture, case.engine.layer_operations)
    layers = own + unfused_layers(case) + quantized_layers(case)
    amounts = [
        Amount("weights", MEMORY, near / bandwidth, near / nominal),
        Amount("experts", MEMORY, near_experts / bandwidth, near_experts / nominal),
        Amount("cache", MEMORY, cache_bytes / bandwidth, cache_bytes / nominal),
        *(_on_host(case, traffic, *shares) if any(shares) else ()),
        *_products(case, traffic, peak),
        Amount("launch" if in_graphs(case) else "eager_launch", LAUNCH, layers * LAYER_S / host_pace(case)),
        Amount("layers", OVERHEAD, layers * LAYER_S / layer_pace(case)),
        Amount("step", OVERHEAD, STEP_S),
        *expert_amounts(case),
    ]
    if case.engine.cache_growth == "concatenated":
        amounts.append(Amount("cache_copies", MEMORY, _copied_bytes(case) / bandwidth))
    if by_head := case.kernels.cache_by_head:
        amounts.append(Amount("cache_by_head", MEMORY, by_head * _shared_cache_bytes(case, traffic) / bandwidth))
    if traffic.tokens > 1:
        amounts.append(Amount("many", MEMORY, (near + near_experts) / bandwidth))
        amounts += _sorting(case, traffic.tokens)
    if case.workload.batch_size > 1:
        amounts.append(Amount("sequences", OVERHEAD, (case.workload.batch_size - 1) * SEQUENCE_S))
    return tuple(amounts + decode_links(case, case.workload.batch_size))


def _on_host(
    case: SpeedCase, traffic: Traffic, experts_away: float, rest_away: float, cache_away: float
) -> list[Amount]:
    """What a step takes for the shares of its experts, of its other weights and of its cache that lie on the host.

    Its cores multiply by the weights where they lie, several tokens as they do a prompt's; or they cross the link to
    the device (`crosses_link`), from a mapped file or an unpinned copy at no more than a core copies its pages. The
    cache crosses it only where nothing is computed on the host: no engine copies it for the sake of many tokens.
    """
    experts, total = traffic.stage("experts").weight_bytes, traffic.weight_bytes
    weights, cache = experts * experts_away + (total - experts) * rest_away, traffic.cache_bytes * cache_away
    crossing, cache_crosses = crosses_link(case, traffic.tokens), crosses_link(case, 1)
    copied, found = weights * crossing + cache * cache_crosses, []
    if copied:
        rate = streaming_bytes_per_s(case)
        slowest = min(rate, tuned("pageable_bytes_per_s")) if case.engine.offload else rate
        found.append(Amount("host_link", MEMORY, copied / slowest, copied / rate))
    if in_place := weights + cache - copied:
        read_s = in_place / host_bandwidth_bytes_per_s(case)
        found.append(Amount("host", MEMORY, read_s, read_s))
    if weights and not crossing and traffic.tokens > 1:
        products, of_experts = traffic.flops - traffic.stage("kv").flops, traffic.stage("experts").flops
        away = of_experts * experts_away + (products - of_experts) * rest_away
        found.append(Amount("host_products", COMPUTE, away / host_flops_per_s(case)))
    return found


@standing
def layer_pace(case: SpeedCase) -> float:
    """How many times as fast as on a card of 40 TFLOP/s in fp32 what a layer takes beside its bytes goes by.

    CUDA's kernels follow one another without the host: what is left of a layer is small kernels, and more or faster
    cores run them faster (`layer_power` of data/tuning.csv). Other backends, and a host that launches each operation by
    itself, take their own time.
    """
    if case.backend != "cuda" or case.engine.layer_operations == EAGER:
        return 1.0
    return float((vector_flops_per_s(case.device) / USUAL_VECTOR_FLOPS_PER_S) ** tuned("layer_power"))


@standing
def expanded_bytes(case: SpeedCase) -> int:
    """Bytes of a step that expands all experts to 16 bits before it multiplies some: read packed, written whole."""
    if not case.stored.expands_experts:
        return 0
    stacks = [part for part in case.stored.tensors if part.tensor.active_experts is not None]
    return sum(part.size_bytes + EXPANDED_BYTES_PER_VALUE * part.tensor.total_elements for part in stacks)


@standing
def converted_share(case: SpeedCase) -> float:
    """How many bytes move for each of the weights where a backend without a kernel for their precision converts them
    to another for every step (`data/converted_weights.csv`)."""
    rule = runtime_rule(case, "converted_weights.csv")
    return float(rule["moved"]) if rule is not None and rule["precision"] == case.stored.precision else 1.0


def _shared_cache_bytes(case: SpeedCase, traffic: Traffic) -> float:
    """Bytes of the cache that query heads read beyond the first of those that share keys and values, once for all
    tokens of a sequence: two FLOPs weigh a value."""
    kv, kept = traffic.stage("kv"), cache_format(case.workload.kv_precision)
    values = kv.flops / 2 * case.workload.batch_size / traffic.tokens
    return max(0.0, values * kept.block_bytes / kept.block_values - kv.cache_bytes)


def _copied_bytes(case: SpeedCase) -> int:
    """What concatenating the cache moves, by the release's way with shared heads (`data/cache_copies.csv`)."""
    rule = runtime_rule(case, "cache_copies.csv")
    return copied_cache_bytes(case.architecture, case.workload, repeats=rule is None or rule["repeats"] == "yes")


def vector_rows(case: SpeedCase) -> int:
    """Up to how many tokens a step a case multiplies by vectors, one after the other; 0 where one kernel does all.

    `data/vector_rows.csv` tells, the first row that holds for backend, kernel and release, and `data/vector_limits.csv`
    the cards that take fewer; with more tokens it turns to tiles, near a prompt's rate.
    """
    rule = _vector_rule(case)
    return int(min(int(rule["rows"]), _vector_limit(case))) if rule else 0


def switches_where_faster(case: SpeedCase) -> bool:
    """Whether the number of vectors was chosen by chip for where blocks begin to take no longer (`tuned`)."""
    rule = _vector_rule(case)
    return rule is not None and rule["tuned"] == "yes"


def expert_vector_rows(case: SpeedCase) -> int | None:
    """The same for a mixture's experts, whose tokens of more are sorted into tiles; None where sorting costs nothing
    that is told apart."""
    rule = _vector_rule(case)
    return int(rule["expert_rows"]) if rule and rule["expert_rows"] else None


@standing
def _vector_rule(case: SpeedCase) -> dict[str, str] | None:
    """The row that holds for a case's release, of the first backend, devices and kernels of its runtime that it is
    among."""
    wanted = set(precision_class(case.stored.precision))
    told = rules("vector_rows.csv", "runtime").get(case.engine.runtime, ())
    found = [
        row for row in told
        if row["backend"] in {"", case.backend} and names_one(row["kernels"], wanted)
        and (not row["devices"] or names_key(row["devices"], case.device.key))
    ]  # fmt: skip
    first = [row for row in found if _of_one_rule(row) == _of_one_rule(found[0])]
    return rule_in_force(first, case.runtime_version, case.built) if first else None


@standing
def _vector_limit(case: SpeedCase) -> float:
    """How many tokens a release multiplies by vectors at the most on a card, of the precision's kernel."""
    told = rules("vector_limits.csv", "runtime").get(case.engine.runtime, ())
    own = [row for row in told if row["backend"] == case.backend and names_key(row["devices"], case.device.key)]
    if not own:
        return inf
    limits = dict(limit.split("=") for limit in rule_in_force(own, case.runtime_version, case.built)["limits"].split())
    return float(limits.get(precision_class(case.stored.precision)[0], inf))


def _of_one_rule(row: dict[str, str]) -> tuple[str, str, str]:
    """What rows of one rule share, which releases changed."""
    return row["backend"], row["devices"], row["kernels"]


def shares_cells(case: SpeedCase) -> bool:
    """Whether each sequence's token is weighed against the cells of all sequences, others' masked: one cache for all
    (`data/shared_caches.csv`)."""
    rule = runtime_rule(case, "shared_caches.csv")
    return rule is not None and rule["shared"] == "yes"


def _products(case: SpeedCase, traffic: Traffic, peak: float) -> list[Amount]:
    """The products of a step. An engine of two kernels multiplies by vectors up to its rows: the first token's product
    unpacks the weights, further ones find them unpacked; beyond them one vector's and the tiles'. Experts' own tokens
    are sorted into tiles from the second on. A sequence's further tokens attend in tiles of queries."""
    rows, tokens, attention = vector_rows(case), traffic.tokens, traffic.stage("kv").flops
    products, experts = traffic.flops - attention, traffic.stage("experts").flops
    if not rows or tokens == 1:
        return [Amount("compute", COMPUTE, products / peak), Amount("attention", COMPUTE, attention / peak)]
    packed = precision_class(case.stored.precision)[1] != "float"
    beyond, tiled = (tokens - 1) / tokens, prompt_peak_flops_per_s(case, packed=packed)
    first, others = _attending(case, attention, tokens)
    by_vectors = tokens <= (expert_vector_rows(case) or 1)
    found = [
        Amount("compute", COMPUTE, (products / tokens + (experts * beyond if by_vectors else 0)) / peak),
        Amount("attention", COMPUTE, first / peak),
        Amount("further_attention", COMPUTE, others / peak),
    ]
    if not by_vectors:
        filled = experts * beyond * _tile_filling(case, tokens, _narrow_tile(tokens))
        found.append(Amount("tile_experts", COMPUTE, filled / tiled))
    if tokens <= rows:
        return [*found, Amount("further", COMPUTE, (products - experts) * beyond / _vectors_flops_per_s(case, peak))]
    held = (products - experts) * (beyond if rows == 1 else 1.0)
    return [*found, Amount("tiles", COMPUTE, held * _block_filling(case, tokens) / tiled)]


def _block_filling(case: SpeedCase, tokens: int) -> float:
    """How many times the products of the tokens their blocks take, where kernels have blocks of one size alone."""
    rule = _vector_rule(case)
    block = int(rule["tile"] or 1) if rule else 1
    return -(-tokens // block) * block / tokens


def _vectors_flops_per_s(case: SpeedCase, peak: float) -> float:
    """What vectors beyond the first are relative to: the geometric mean of the matrix units' peak and of four times
    that of the vector units, which multiply them. By the first alone a V100 is told too fast, by the second alone an
    RTX 5090 is. A card without matrix units has but one peak."""
    vectors, matrices = vector_flops_per_s(case.device), nominal_flops_per_s(case.device)
    return peak if vectors >= matrices else float(peak * (MATRIX_OVER_VECTOR * vectors / matrices) ** 0.5)


def _sorting(case: SpeedCase, tokens: int) -> list[Amount]:
    """What a mixture's layers take to sort several tokens by their experts, where a step that does is not replayed from
    a captured graph (`expert_rows` of `data/vector_rows.csv`)."""
    least = expert_vector_rows(case)
    if least is None or tokens <= least or case.architecture.experts is None:
        return []
    return [Amount("sorted_experts", OVERHEAD, moe_layer_count(case.architecture) * LAYER_S)]


def _attending(case: SpeedCase, attention: int, tokens: int) -> tuple[float, float]:
    """FLOPs of attention: of one token over each cell of the caches, and of further tokens over the same cells.

    These are a sequence's own further tokens, or those of all sequences where their caches share their cells.
    """
    sequences = case.workload.batch_size
    first = attention * sequences / tokens
    seeing = tokens if is_cpu(case.device) and shares_cells(case) else tokens / sequences
    return first, first * (seeing - 1)


def _tile_filling(case: SpeedCase, tokens: int, rows: float) -> float:
    """How many times the products of an expert's own tokens its tiles take, where `tokens` run at once.

    Accelerators multiply tiles of `rows` tokens: the last tile of an expert is half full on average, and an expert
    with few tokens takes a whole one.
    """
    each = tokens_an_expert(case, tokens)
    return 1.0 if each is None else max(rows / each, 1 + rows / (2 * each))


def tokens_an_expert(case: SpeedCase, tokens: int) -> float | None:
    """How many of the `tokens` that run at once each touched expert takes; None where no tiles are filled: of a dense
    model, and on CPUs, which multiply by vectors."""
    experts, active = case.architecture.experts, case.architecture.active_experts
    if not experts or not active or is_cpu(case.device):
        return None
    return tokens * active / distinct_experts(experts, active, tokens, case.workload.routed_alike)


def _narrow_tile(tokens: int) -> float:
    """The rows of the tiles that few tokens' experts take: 8 of up to 16 tokens, then one more for each four.

    Kernels choose the narrowest tile that holds what one expert gets.
    """
    return min(tuned("tile_rows"), max(NARROWEST_TILE, NARROWEST_TILE / 2 + tokens / 4))
