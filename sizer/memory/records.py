"""What memory is made of: a footprint, and where it lies. Frozen; bytes are int."""

from __future__ import annotations

from collections.abc import Iterable

from sizer.frozen import NamedTuple, dataclass


class Part(NamedTuple):
    """A named share of memory and what it is made of; `tree` makes one whose size is the sum of its parts."""

    name: str
    size_bytes: int
    parts: tuple[Part, ...] = ()

    def part(self, name: str) -> int:
        """Bytes of a part by its name, 0 where there is none."""
        return sum(part.size_bytes for part in self.parts if part.name == name)


def tree(name: str, parts: Iterable[Part]) -> Part:
    """A part that is the sum of others."""
    held = tuple(parts)
    return Part(name, sum(part.size_bytes for part in held), held)


def held_as(part: Part, size_bytes: int, name: str) -> Part:
    """The part at the size that places hold of it: what exceeds its own parts is one more, called `name`.

    Where the places hold less (buffers of layers that lie elsewhere) its largest part is told as much smaller.
    """
    more = size_bytes - part.size_bytes
    if more < 0:
        largest = max(part.parts, key=lambda inner: inner.size_bytes, default=Part(name, part.size_bytes))
        rest = tuple(inner for inner in part.parts if inner is not largest)
        return tree(part.name, (Part(largest.name, largest.size_bytes + more), *rest))
    return tree(part.name, (*part.parts, Part(name, more))) if more else part


@dataclass(frozen=True, slots=True)
class Footprint:
    """Memory that a run takes, all devices and the host together, as a tree of named parts that sum.

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
    """What one place (a device or the host) holds of the model.

    `kv_cache_bytes` is the attention cache, `state_bytes` recurrent and convolution states, `compute_bytes` the working
    memory or compute buffer, `graphs_bytes` captured graphs, `overhead_bytes` the driver's context and what is left.
    """

    place: str
    weights_bytes: int
    kv_cache_bytes: int
    state_bytes: int
    compute_bytes: int
    graphs_bytes: int
    overhead_bytes: int
    available_bytes: int | None
    layers: int

    @property
    def cache_bytes(self) -> int:
        """Cache and states together."""
        return self.kv_cache_bytes + self.state_bytes

    @property
    def total_bytes(self) -> int:
        """Bytes taken in this place."""
        return self.weights_bytes + self.cache_bytes + self.compute_bytes + self.graphs_bytes + self.overhead_bytes

    @property
    def missing_bytes(self) -> int:
        """By how much the place is too small; 0 where its memory is not known."""
        return 0 if self.available_bytes is None else max(0, self.total_bytes - self.available_bytes)


class Reservation(NamedTuple):
    """Bytes reserved on all devices, tokens of cache that they hold (None: no pool), and sequences of the workload."""

    reserved_bytes: int | None
    kv_capacity_tokens: int | None
    max_sequences: int | None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the model lies: whole on one device, over several, or split with the host.

    `kind` is single, tensor, layer (whole layers over several devices) or offload (part on the host). `fits` says that
    every place holds its share, `whole` that the devices need no host for it. `gpu_layers` counts the layers on
    the devices; `host_bytes` is what lies on the host; `host_experts` says that the host holds experts only.
    `reserved_bytes` is what an engine that allocates ahead takes; `kv_capacity_tokens` what that leaves for the cache.
    `host_tables_bytes` is an input embedding that the engine keeps on the host though its layers fit the devices, or
    of what the host holds the part that is such a table; `host_compute_bytes` the buffer that it reserves there.
    `max_sequences` is how many sequences of the workload's context the reservation (or the device) holds;
    `added_bytes` are weights beside the model's own on devices that share it with the host.
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
    host_compute_bytes: int = 0
    max_sequences: int | None = None
    added_bytes: int = 0

    @property
    def whole(self) -> bool:
        """Whether the devices alone hold everything."""
        return self.fits and self.host is None

    @property
    def host_bytes(self) -> int:
        """Bytes of weights and cache that lie on the host."""
        return self.host.weights_bytes + self.host.cache_bytes if self.host else self.host_tables_bytes

    @property
    def beside(self) -> Share:
        """What lies in the host's memory: its layers, else the tables and the buffer that the engine keeps there."""
        if self.host is not None:
            return self.host
        return Share("host", self.host_tables_bytes, 0, 0, self.host_compute_bytes, 0, 0, None, 0)

    @property
    def device_bytes(self) -> int:
        """Bytes that all devices together hold: what their drivers show."""
        return sum(share.total_bytes for share in self.shares)
