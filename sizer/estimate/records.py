"""What an estimate is made of: a footprint, a placement, a speed. Frozen; bytes are int, times are seconds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from sizer.device.records import Target
from sizer.estimate.workload import Workload
from sizer.model.architecture import Architecture
from sizer.precision.stored import Stored


class Part(NamedTuple):
    """A named share of memory and what it is made of; `tree` makes one whose size is the sum of its parts."""

    name: str
    size_bytes: int
    parts: tuple[Part, ...] = ()


def tree(name: str, parts: Iterable[Part]) -> Part:
    """A part that is the sum of others."""
    held = tuple(parts)
    return Part(name, sum(part.size_bytes for part in held), held)


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory that a run takes, all devices together, as a tree of named parts that sum.

    `kv_known` is False for a model known by its name alone: its cache is then left out, and a note says so.
    """

    weights: Part
    kv_cache: Part
    activations: Part
    overhead: Part
    kv_known: bool = True

    @property
    def total_bytes(self) -> int:
        """Everything together."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def parts(self) -> tuple[Part, Part, Part, Part]:
        """The four top parts."""
        return self.weights, self.kv_cache, self.activations, self.overhead


class Share(NamedTuple):
    """What one place (a device or the host) holds of the model."""

    place: str
    weights_bytes: int
    kv_cache_bytes: int
    activations_bytes: int
    overhead_bytes: int
    available_bytes: int | None
    layers: int

    @property
    def total_bytes(self) -> int:
        """Bytes taken in this place."""
        return self.weights_bytes + self.kv_cache_bytes + self.activations_bytes + self.overhead_bytes


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the model lies: whole on one device, over several, or split with the host.

    `kind` is single, tensor, layer (whole layers over several devices) or offload (part on the host). `fits` says that
    every place holds its share, `whole` that the devices need no host for it. `gpu_layers` counts the layers on
    the devices; `host_bytes` is what lies on the host; `host_experts` says that the host holds experts only.
    `reserved_bytes` is what an engine that allocates ahead takes; `kv_capacity_tokens` what that leaves for the cache.
    `host_tables_bytes` is an input embedding that the engine keeps on the host although the model fits the devices.
    """

    kind: str
    shares: tuple[Share, ...]
    host: Share | None
    fits: bool
    shortfall_bytes: int
    gpu_layers: int
    available_bytes: int | None
    host_experts: bool = False
    reserved_bytes: int | None = None
    kv_capacity_tokens: int | None = None
    host_tables_bytes: int = 0

    @property
    def whole(self) -> bool:
        """Whether the devices alone hold everything."""
        return self.fits and self.host is None

    @property
    def host_bytes(self) -> int:
        """Bytes of weights and cache that lie on the host."""
        return self.host.total_bytes if self.host else self.host_tables_bytes

    @property
    def device_bytes(self) -> int:
        """Bytes that all devices together hold: what their drivers show."""
        return sum(share.total_bytes for share in self.shares)


class Decode(NamedTuple):
    """Speed of decoding: one sequence's tokens/s with its 90 % interval, None where it is not known."""

    tokens_per_s: float
    low_tokens_per_s: float | None
    high_tokens_per_s: float | None
    bytes_per_token: int
    bound: str

    @property
    def tpot_s(self) -> float:
        """Time per output token."""
        return 1 / self.tokens_per_s


class Prefill(NamedTuple):
    """Speed of reading the prompt: all sequences' tokens/s with its 90 % interval, and the time to the first token."""

    tokens_per_s: float
    low_tokens_per_s: float | None
    high_tokens_per_s: float | None
    ttft_s: float
    bound: str


class Request(NamedTuple):
    """A whole request: generated tokens over total time, prefill included; throughput is all sequences together."""

    tokens_per_s: float
    latency_s: float
    throughput_tokens_per_s: float


class StageTime(NamedTuple):
    """One stage of a step: what it reads, what it computes, how long it takes and what binds it."""

    stage: str
    bytes_read: int
    flops: int
    time_s: float
    bound: str


class Speed(NamedTuple):
    """Decode, prefill and request speeds of one placement, with the decode step's time by stage."""

    decode: Decode
    prefill: Prefill
    request: Request
    decode_stages: tuple[StageTime, ...] = ()
    prefill_stages: tuple[StageTime, ...] = ()
    notes: tuple[str, ...] = ()


class Speculation(NamedTuple):
    """What a draft model gains. `tokens_per_s` is one sequence's; `speedup` below 1 says that it does not pay."""

    tokens_per_step: float
    verify_cost: float
    draft_cost: float
    speedup: float
    tokens_per_s: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """One model at one precision on one target: memory, place and speed, and what was assumed for them.

    `speed` is None where the device's bandwidth is not known or nothing holds the model; `assumptions` say why.
    `max_context_tokens` is the longest context that fits, None where it cannot be told.
    """

    architecture: Architecture
    target: Target
    engine: str
    precision: str
    workload: Workload
    stored: Stored
    footprint: Footprint
    placement: Placement
    speed: Speed | None
    max_context_tokens: int | None
    quality_kl_divergence: float | None = None
    speculation: Speculation | None = None
    assumptions: tuple[str, ...] = ()
