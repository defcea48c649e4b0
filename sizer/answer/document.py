"""What a user gets: typed records whose fields are the names of the JSON."""

from __future__ import annotations

from sizer.answer.measured import MeasuredRow
from sizer.engine.options import FlagValue
from sizer.frozen import dataclass
from sizer.speed.records import Speculation

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Model:
    """What the model is, and where that was read (`basis`)."""

    id: str
    basis: str
    architecture: str | None
    total_params: int
    active_params: int
    checkpoint_params: int
    num_layers: int | None
    max_context_tokens: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WorkloadAsked:
    """What was asked of it."""

    prompt_tokens: int
    output_tokens: int
    context_tokens: int
    batch_size: int
    kv_precision: str


@dataclass(frozen=True, slots=True)
class DeviceUsed:
    """What it runs on; None where the table does not know."""

    key: str
    name: str
    count: int
    memory_bytes: int | None
    bandwidth_bytes_per_s: float | None
    usable_memory_bytes: int | None


@dataclass(frozen=True, slots=True)
class PartSize:
    """One part of the memory, with its own parts."""

    name: str
    size_bytes: int
    parts: tuple[PartSize, ...]


@dataclass(frozen=True, slots=True)
class DeviceMemory:
    """What one card holds; the parts sum to `total_bytes`."""

    device: str
    layers: int
    weights_bytes: int
    kv_cache_bytes: int
    state_bytes: int
    compute_bytes: int
    graphs_bytes: int
    overhead_bytes: int
    total_bytes: int
    available_bytes: int | None


@dataclass(frozen=True, slots=True)
class HostMemory:
    """What lies in the host's memory beside the devices."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int
    total_bytes: int
    available_bytes: int | None


@dataclass(frozen=True, slots=True)
class Memory:
    """What it takes, what there is, and where it lies. `fits` says that the devices hold it without the host."""

    weights_bytes: int
    kv_cache_bytes: int | None
    activations_bytes: int
    overhead_bytes: int
    total_bytes: int
    low_total_bytes: int | None
    high_total_bytes: int | None
    available_bytes: int | None
    fits: bool | None
    shortfall_bytes: int
    max_context_tokens: int | None
    download_bytes: int | None
    gpu_layers: int
    host_bytes: int
    placement: str
    reserved_bytes: int | None
    kv_capacity_tokens: int | None
    max_sequences: int | None
    devices: tuple[DeviceMemory, ...]
    host: HostMemory
    parts: tuple[PartSize, ...]


@dataclass(frozen=True, slots=True)
class DecodeSpeed:
    """One sequence's decode speed, its 90 % interval, and what binds it; all None where it cannot be known.

    `empty_tokens_per_s` and `full_tokens_per_s` are the speeds with an empty cache and with one of
    `full_context_tokens`, None where they differ by no more than 3 %. `measured` are the nearest measured rows.
    """

    tokens_per_s: float | None
    low_tokens_per_s: float | None
    high_tokens_per_s: float | None
    tpot_s: float | None
    bytes_per_token: int | None
    bound: str | None
    empty_tokens_per_s: float | None
    full_tokens_per_s: float | None
    full_context_tokens: int | None
    measured: tuple[MeasuredRow, ...]


@dataclass(frozen=True, slots=True)
class PrefillSpeed:
    """Speed of reading the prompts and the time to the first token; all None where it cannot be known.

    `texts_per_s`, with the ends of its interval, is what an encoder is asked for: whole texts of the prompt's length a
    second, all of a batch together.
    """

    tokens_per_s: float | None
    low_tokens_per_s: float | None
    high_tokens_per_s: float | None
    ttft_s: float | None
    bound: str | None
    measured: tuple[MeasuredRow, ...]
    texts_per_s: float | None = None
    low_texts_per_s: float | None = None
    high_texts_per_s: float | None = None


@dataclass(frozen=True, slots=True)
class RequestSpeed:
    """Generated tokens over total time, prefill included; throughput is all sequences together."""

    tokens_per_s: float | None
    latency_s: float | None
    throughput_tokens_per_s: float | None


@dataclass(frozen=True, slots=True)
class Quality:
    """What the precision costs: KL divergence from the checkpoint and where it may lie, the share of tokens at which
    the likeliest differs, what is left of benchmark scores (None where no source tells), and plain words.

    `basis` is checkpoint, measured (this model), model (its other precisions), table (Llama-3-8B), scheme (other
    models) or bits (a curve); what is not of this model is scaled by active parameters.
    """

    kl_divergence: float | None
    low_kl_divergence: float | None
    high_kl_divergence: float | None
    basis: str
    top_token_disagreement: float | None
    benchmark_recovery_pct: float | None
    words: str


@dataclass(frozen=True, slots=True)
class ModelEstimate:
    """One device, engine and precision; `engine_options` are the engine's version and flags in its own words.

    `context_tokens` is the length that its figures are for: with a context of `max` each estimate has its own.
    """

    device: DeviceUsed
    engine: str
    engine_options: dict[str, FlagValue]
    precision: str
    context_tokens: int
    memory: Memory
    decode: DecodeSpeed | None
    prefill: PrefillSpeed
    request: RequestSpeed
    quality: Quality
    speculation: Speculation | None
    assumptions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Recommendation:
    """Which of the precisions to run, and why; precision None where nothing fits."""

    precision: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Answer:
    """All estimates of one model."""

    schema_version: int
    model: Model
    workload: WorkloadAsked
    estimates: tuple[ModelEstimate, ...]
    recommendation: Recommendation | None


@dataclass(frozen=True, slots=True)
class CheckVerdict:
    """Whether a command starts, why, and changes of its flags each of which makes it start."""

    starts: bool
    reason: str
    change: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckAnswer:
    """The estimate of one command, with its verdict."""

    schema_version: int
    model: Model
    workload: WorkloadAsked
    estimates: tuple[ModelEstimate, ...]
    check: CheckVerdict
