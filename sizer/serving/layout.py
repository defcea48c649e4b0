"""How the devices of one replica share the work: tensor ranks, data-parallel attention, expert ranks, stages."""

from __future__ import annotations

from sizer.device.interconnect import linked_devices
from sizer.device.records import MOST_DEVICES, Target
from sizer.errors import UsageError
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture, MixerKind

NODE_DEVICES = 8
NODE_LINK_BYTES_PER_S = 50e9
"""Between nodes, a device: 400 Gb/s InfiniBand NDR beside each GPU (NVIDIA DGX H100 and DGX B200 user guides)."""
UNKNOWN_LINK_BYTES_PER_S = 3e10
"""A link that no table tells: PCIe 4.0 x16, as the law of speed takes it."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The devices of one replica.

    `tensor_ranks` share each matrix outside the experts; `attention_groups` are copies of the attention, each with its
    own sequences (data-parallel attention, one group of tensor ranks each); experts are shared by all devices, whole
    ones by rank where `expert_parallel`; `stages` of a pipeline follow each other, `in_flight` where they work at once
    on different sequences.
    """

    tensor_ranks: int = 1
    attention_groups: int = 1
    stages: int = 1
    expert_parallel: bool = False
    in_flight: bool = False

    def __post_init__(self) -> None:
        """Counts are positive, and a pipeline's stages are not also groups of attention."""
        for name, count in (("tensor ranks", self.tensor_ranks), ("groups", self.attention_groups)):
            if not 1 <= count <= MOST_DEVICES:
                raise UsageError(f"{count} {name} are not between 1 and {MOST_DEVICES}.")
        if not 1 <= self.stages <= MOST_DEVICES or self.devices > MOST_DEVICES:
            raise UsageError(f"{self.devices} devices in one replica are more than {MOST_DEVICES}.")

    @property
    def devices(self) -> int:
        """Devices of the replica."""
        return self.tensor_ranks * self.attention_groups * self.stages

    @property
    def expert_ranks(self) -> int:
        """Devices that share the experts of one layer."""
        return self.tensor_ranks * self.attention_groups

    def cache_copies(self, architecture: Architecture) -> float:
        """Times that the ranks of one tensor group hold the same cache: the MLA latent whole, few KV heads repeated."""
        mixers = {mixer for layer in architecture.layers for mixer in layer.mixers}
        if any(mixer.kind is MixerKind.MLA for mixer in mixers):
            return float(self.tensor_ranks)
        heads = max((mixer.kv_heads for mixer in mixers), default=0)
        return max(1.0, self.tensor_ranks / heads) if heads else 1.0

    @property
    def words(self) -> str:
        """`TP 4`, `TP 2 x PP 2`, `DP attention 8, EP 8`."""
        parts = [f"TP {self.tensor_ranks}"] if self.tensor_ranks > 1 or self.devices == 1 else []
        parts += [f"DP attention {self.attention_groups}"] if self.attention_groups > 1 else []
        parts += [f"EP {self.expert_ranks}"] if self.expert_parallel and self.expert_ranks > 1 else []
        parts += [f"PP {self.stages}"] if self.stages > 1 else []
        return " x ".join(parts)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Servers that only read prompts, each with the devices of `reading`, beside servers that only make tokens."""

    readers: int
    reading: Layout
    writers: int
    writing: Layout

    @property
    def devices(self) -> int:
        """Devices of all servers."""
        return self.readers * self.reading.devices + self.writers * self.writing.devices


def fleet_of(text: str) -> Fleet:
    """The fleet of `1 dep4 + 4 tep8`: one server of prompts with four ranks of data-parallel attention and experts,
    four of tokens with eight tensor and expert ranks each."""
    sides = []
    for side in text.split("+"):
        count, _, ranks = side.strip().partition(" ")
        size = int(ranks[3:])
        shared = {"dep": Layout(1, size, expert_parallel=True), "tep": Layout(size, 1, expert_parallel=True)}
        sides += [(int(count), shared[ranks[:3]])]
    (readers, reading), (writers, writing) = sides
    return Fleet(readers, reading, writers, writing)


def link_bytes_per_s(layout: Layout, target: Target) -> float:
    """The slowest link that a layer's exchange crosses, one direction: the devices' own, or the network of nodes."""
    own = target.link_bytes_per_s or UNKNOWN_LINK_BYTES_PER_S
    if layout.expert_ranks <= max(NODE_DEVICES, linked_devices(target.device)):
        return own
    return min(own, NODE_LINK_BYTES_PER_S)
