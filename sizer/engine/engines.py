"""Which engine runs what: its runtime, its backend on a device, how it splits, and which one people use by default."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

from sizer.device.records import Device, is_cpu
from sizer.errors import UnknownEngine, did_you_mean
from sizer.tables import read_rows
from sizer.workload import Split


class Engine(NamedTuple):
    """One inference engine.

    `runtime` is the engine whose kernels it shares: the constants of an engine shrink toward its runtime's.
    `backends` maps a vendor (or `cpu`, `any`, or a vendor's kind: `intel-apu`) to the backend used there; `cpu` on a
    chip with a GPU means that the engine leaves the GPU alone. `parallelism` and `offload` are the ways
    it splits a model over devices and with the host. `preferred_on` are the vendors whose owners take it first.
    `accumulates` is the width that its 16-bit products are summed in: cards may do fp16 sums at twice the fp32 rate.
    `cache_growth` is `concatenated` where each step copies the cache to append to it, and repeats grouped heads.
    `layer_operations` says how it runs a layer (`data/layer_operations.csv`): `eager`, `kernels`, or empty where the
    fusing of its kernels makes the layers of all models alike.
    `latent_prefill` is `absorbed` where a prompt's latent attention (MLA) works on the latent itself, as in decoding.
    """

    name: str
    runtime: str
    backends: tuple[tuple[str, str], ...]
    parallelism: tuple[Split, ...]
    offload: tuple[str, ...]
    aliases: tuple[str, ...]
    preferred_on: tuple[str, ...]
    accumulates: str
    cache_growth: str
    layer_operations: str
    latent_prefill: str
    source: str

    def backend(self, device: Device) -> str | None:
        """The backend that runs on a device, best first; None where the engine has none for it."""
        by_vendor = dict(self.backends)
        if is_cpu(device):
            return by_vendor.get("cpu")
        if device.kind == "npu" and "npu" in by_vendor.values():
            return "npu"
        own = by_vendor.get(f"{device.vendor}-{device.kind}") or by_vendor.get(device.vendor)
        return own or by_vendor.get("any")

    def leaves_gpu(self, device: Device) -> bool:
        """True of a chip whose GPU the engine leaves alone: its CPU computes."""
        return not is_cpu(device) and self.backend(device) == "cpu"


@cache
def engines() -> dict[str, Engine]:
    """The engines of `data/engines.csv` by name."""
    return {row["name"]: _engine(row) for row in read_rows("engines.csv")}


def _engine(row: dict[str, str]) -> Engine:
    pairs = tuple(pair.partition(":") for pair in row["backends"].split())
    return Engine(
        name=row["name"],
        runtime=row["runtime"],
        backends=tuple((vendor, backend) for vendor, _, backend in pairs),
        parallelism=tuple(Split.parse(name) for name in row["parallelism"].split()),
        offload=tuple(row["offload"].split()),
        aliases=tuple(row["aliases"].split()),
        preferred_on=tuple(row["preferred_on"].split()),
        accumulates=row["accumulates"],
        cache_growth=row["cache_growth"],
        layer_operations=row["layer_operations"],
        latent_prefill=row["latent_prefill"],
        source=row["source"],
    )


@cache
def _names() -> dict[str, str]:
    names = {name.lower(): name for name in engines()}
    for engine in engines().values():
        names.update({alias.lower(): engine.name for alias in engine.aliases})
    return names


def find_engine(text: str) -> Engine:
    """The engine of a name or alias; UnknownEngine with the nearest names otherwise."""
    wanted = text.strip().lower()
    name = _names().get(wanted) or _names().get(wanted.replace(" ", "-"))
    if name is None:
        hint = did_you_mean(wanted, _names()) or f"Known: {', '.join(engines())}."
        raise UnknownEngine(f"unknown engine {text!r}.", hint)
    return engines()[name]


def default_engine(precision: str, device: Device) -> str:
    """The engine that people use for a precision on a device: the precision's usual one that runs there.

    Raises UnknownPrecision, and UnknownEngine where no engine runs that precision on that device.
    """
    from sizer.precision.names import engines_of

    usual = [engines()[name] for name in engines_of(precision) if name in engines()]
    running = [engine for engine in usual if engine.backend(device)]
    if not running:
        names = ", ".join(engine.name for engine in usual)
        raise UnknownEngine(f"no known engine runs {precision!r} on {device.name}.", f"It runs with {names}.")
    preferred = [engine for engine in running if device.vendor in engine.preferred_on]
    return (preferred or running)[0].name
