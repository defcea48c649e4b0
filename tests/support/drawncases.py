"""Cases of the drawn model on made-up cards, and constants that leave every amount as it is."""

from __future__ import annotations

from dataclasses import replace
from math import log

from drawn import model, stored

from sizer.device.records import Device, Target
from sizer.memory.records import Placement, Share
from sizer.model.architecture import Architecture, Mixer, MixerKind
from sizer.speed.case import SpeedCase, speed_case
from sizer.speed.law import Constants, Term
from sizer.speed.predict import OTHER_ENGINES
from sizer.speed.widths import Width
from sizer.workload import Workload

LATENT = Mixer(MixerKind.MLA, heads=4, qk_head_dim=24, v_head_dim=16, latent_elements=40)
STATE = Mixer(MixerKind.SSM, state_elements=1000)

CARD = Device("card", "Card", "nvidia", "gpu", 2**30, 1e12, {"bf16": 1e14, "fp16_acc16": 2e14}, "hbm2")
OWN_KERNELS_FLOPS_PER_S = 1.5e14 * (2e14 / 1.5e14) ** 0.75
"""What llama.cpp's prompts on the card are relative to: its peak, with sums in 16 bits, to the power 0.75."""
LIBRARIES_FLOPS_PER_S = 1.5e14 * (1e14 / 1.5e14) ** 0.85
"""The same of engines on the maker's libraries, with sums in 32 bits: to the power 0.85."""
EVERY_TERM = {
    "weights", "experts", "cache", "host", "compute", "tiles", "launch", "layers", "step", "moe_layers", "expert_calls",
    "cache_copies", "many", "sequences", "ranks", "moved", "rows", "hops", "prefill_compute", "prefill_experts",
    "prefill_attention", "prefill_weights", "prefill_cache", "prefill_host", "prefill_launch", "prefill_layers",
    "prefill_step", "host_link", "host_products", "prefill_activations", "prefill_ranks", "prefill_calls",
    "prefill_moved", "prefill_rows", "prefill_unpacking",
}  # fmt: skip
FLAT = Width(log(0.5), {}, -1.0, 1.0)
PLAIN = Constants(
    {name: Term(0.0, {}) for name in EVERY_TERM}, {}, {"decode": FLAT, "prefill": FLAT},
    {"decode": {OTHER_ENGINES: 1.0}, "prefill": {OTHER_ENGINES: 1.0}},
)  # fmt: skip
"""Constants that leave every amount as it is: what remains is the counting and the law."""


def asked(  # noqa: PLR0917 - each test varies some of these
    architecture: Architecture | None = None,
    workload: Workload | None = None,
    engine: str = "vllm",
    target: Target | None = None,
    placement: Placement | None = None,
    precision: str = "bf16",
) -> SpeedCase:
    """A case of the drawn model on made-up cards."""
    drawn = architecture or model()
    weights = replace(stored(drawn), precision=precision)
    return speed_case(
        drawn, weights, target or Target(CARD), workload or Workload(100, 28, 128), engine, placement=placement
    )


def place_of(name: str, weights_bytes: int) -> Share:
    """A place that holds weights alone."""
    return Share(name, weights_bytes, 0, 0, 0, 0, 0, None, 1)


def split(on_card: int, on_host: int, *, experts: bool = False) -> Placement:
    """Weights divided between a card and the host."""
    return Placement("offload", (place_of("card", on_card),), place_of("host", on_host), True, 0, 1, None, experts)
