"""What an engine is: one record that answers where it runs, how it splits, what it runs and how it takes memory."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

from sizer.device.chip_parts import UNIFIED_KINDS
from sizer.device.records import Device, is_cpu
from sizer.engine.releases import rule_in_force, rules
from sizer.errors import UnknownEngine, UsageError, did_you_mean
from sizer.frozen import dataclass
from sizer.tables import read_rows, record_of
from sizer.workload import Split

if TYPE_CHECKING:
    from sizer.engine.memory_rules import EngineMemory
    from sizer.precision.names import Precision

ANY_VENDOR_KINDS = frozenset({"gpu", *UNIFIED_KINDS})
"""Kinds of device that a backend for any vendor runs on (Vulkan): TPUs and neural accelerators have none."""
USUAL_BACKEND = frozenset({"", "gpu"})
"""What asks for the backend that a device usually has."""
NAMED = 4
"""Names that an error offers: as many as fit its line."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One inference engine.

    `runtime` is the engine whose kernels it shares: the constants of an engine shrink toward its runtime's.
    `backends` maps a vendor (or `cpu`, `any`, or a vendor's kind: `intel-apu`) to the backend used there, the usual one
    first; `cpu` on a chip with a GPU means that the engine leaves the GPU alone. `parallelism` and `offload` are the
    ways it splits a model over devices and with the host. `preferred_on` are the vendors whose owners take it first.
    `accumulates` is the width that its 16-bit products are summed in: cards may do fp16 sums at twice the fp32 rate.
    `cache_growth` is `concatenated` where each step copies the cache to append to it, and repeats grouped heads.
    `layer_operations` says how it runs a layer (`data/layer_operations.csv`): `eager`, `kernels`, or empty where the
    fusing of its kernels makes the layers of all models alike.
    `latent_prefill` is `absorbed` where a prompt's latent attention (MLA) works on the latent itself, as in decoding.
    `no_ladder` is why no precisions of it are listed to choose from; empty where `data/ladders.csv` has some.
    `refuses` is what it does not start with: a `pool` too small for one sequence of the longest context (`told-pool`:
    where a flag says that length), a `length` beyond the model's own, `heads` that its ranks do not divide, plain
    `files` where a flag says that they are quantized, quantized `values` in the cache without flash attention.
    `usual_precision` is what its users get who name none, `float32_as` the type that it loads float32 checkpoints in
    unless a flag says another.
    `caches` are the formats that its cache takes, the plain ones first; none where they are not known.
    `smaller_caches` are those of them that are offered where 16 bits do not fit: in eight bits, then in four.
    `flags` are the dialects of `data/engine_flags.csv` that it reads, its own first; none where they are not known.
    `called_as` is the engine whose programs its own are called as, a fork's: a flag of its own or the program's folder
    tells them apart.
    `no_precisions` is why none of the table's precisions is its own; empty where `data/methods.csv` names it.
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
    no_ladder: str
    no_precisions: str
    refuses: frozenset[str]
    usual_precision: str
    float32_as: str
    caches: tuple[str, ...]
    smaller_caches: tuple[str, ...]
    flags: tuple[str, ...]
    called_as: str
    source: str

    def backends_on(self, device: Device) -> tuple[str, ...]:
        """The backends that run on a device, the usual one first; none where the engine has none for it."""
        if is_cpu(device):
            wanted: Sequence[str] = ("cpu",)
        elif device.beside_gpu:
            wanted = (f"{device.vendor}-{device.kind}",)
        else:
            wanted = (f"{device.vendor}-{device.kind}", device.vendor)
            wanted = (*wanted, "any") if device.kind in ANY_VENDOR_KINDS else wanted
        found = [backend for place in wanted for vendor, backend in self.backends if vendor == place]
        return tuple(dict.fromkeys(found))

    def backend(self, device: Device, told: str = "") -> str | None:
        """The backend that runs on a device, the usual one unless `told` is another of them; None where it has none."""
        own = self.backends_on(device)
        return told if told in own else next(iter(own), None)

    def leaves_gpu(self, device: Device) -> bool:
        """True of a chip whose GPU the engine leaves alone: its CPU computes."""
        return not is_cpu(device) and self.backend(device) == "cpu"

    def backend_asked(self, asked: str, device: Device) -> str | None:
        """The backend of a device for what was asked: nothing and `gpu` mean the usual one, `a+b` shares the work.

        Raises UsageError for a backend that the engine has not got for the device.
        """
        own = self.backends_on(device)
        if asked in USUAL_BACKEND:
            return own[0] if own else None
        known = {*own, "cpu"} if self._has("cpu") else set(own)
        if not set(asked.split("+")) <= {part for name in known for part in (name, *name.split("+"))}:
            listed = ", ".join(sorted(known)) or "no backend"
            raise UsageError(f"{self.name} has no backend {asked!r} for {device.name}.", f"It has {listed}.")
        return asked

    def _has(self, backend: str) -> bool:
        return any(backend in own.split("+") for _, own in self.backends)

    def require_device(self, device: Device) -> None:
        """Raises UnknownEngine where the engine does not run on a device, naming where it does."""
        if self.backend(device) is None:
            places = ", ".join(dict.fromkeys(_place(vendor) for vendor, _ in self.backends))
            raise UnknownEngine(f"{self.name} does not run on {device.name}.", f"It runs on {places}.")

    def split(self, asked: Split | None) -> Split:
        """How it splits a model over several devices: as asked, else its first way, else whole layers.

        Raises UsageError for a way that the engine has not got.
        """
        if asked is None:
            return self.parallelism[0] if self.parallelism else Split.LAYER
        own = set(self.parallelism)
        if asked in own or (asked.whole_layers and any(way.whole_layers for way in own)):
            return asked
        if asked is Split.TENSOR_AND_PIPELINE and {Split.TENSOR, Split.PIPELINE} <= own:
            return asked
        ways = ", ".join(way.value for way in self.parallelism)
        has = f"It has {ways}." if ways else "It runs a model on one device."
        raise UsageError(f"{self.name} does not split a model by {asked.value}.", has)

    def runs(self, precision: str) -> bool:
        """Whether it is among the engines of a precision. Raises UnknownPrecision."""
        from sizer.precision.names import engines_of

        return self.name in engines_of(precision)

    def runs_on(self, precision: str, device: Device) -> bool:
        """Whether it runs a precision that it has on a device: some kinds have a kernel on one backend alone."""
        from sizer.engine.precisions import backends_of

        backend = self.backend(device)
        only = backends_of(precision, self.name)
        return backend is not None and (not only or backend in only)

    def has_kernels(self, precision: str, device: Device) -> bool:
        """Whether a device that it runs a precision on is new enough for its kernels, fast or not, and among the chips
        that they are built for."""
        from sizer.device.capability import cuda_capability
        from sizer.engine.precisions import built_for

        if self.backend(device) != "cpu" and not built_for(precision, self.name, device):
            return False

        least = max((capability for _, capability in self.needs(precision)), default=0.0)
        return (not least or cuda_capability(device) >= least) and self.runs_on(precision, device)

    def precisions(self) -> tuple[str, ...]:
        """Every precision of the table that it runs."""
        from sizer.precision.names import all_precisions

        return tuple(name for name in all_precisions() if self.runs(name))

    def stored_precision(self, precision: str, version: str = "", models: frozenset[str] = frozenset()) -> Precision:
        """A precision as a version of this engine (empty: the newest) stores it for models of some types: by its own
        scheme, or that of the engine whose kernels it shares."""
        from sizer.engine.precisions import stored_by_engine

        return stored_by_engine(precision, self.name, self.runtime, version, models)

    def own_cache(self, kind: str) -> str:
        """Its own name of a cache format: the format itself, else one of its that is as small; empty where it has none.

        An engine whose formats are not known has any. Raises UnknownPrecision for a format that is not in the table.
        """
        from sizer.cache_formats import cache_format

        asked = cache_format(kind)
        if not self.caches or asked.key in self.caches:
            return asked.key
        return next((name for name in self.caches if cache_format(name).as_small_as(asked)), "")

    def needs(self, precision: str) -> list[tuple[str, float]]:
        """The matrix units and CUDA capability that it takes for a precision, rule by rule."""
        from sizer.engine.precisions import needs

        return needs(precision, self.name)

    def memory(self, version: str = "", date: str = "") -> EngineMemory:
        """How a version of it takes memory, the newest where none is named. Raises UnknownEngine without a rule."""
        from sizer.engine.memory_rules import engine_memory

        found = engine_memory(self.name, version, date)
        if found is None:
            hint = "Add its row to data/engine_memory.csv."
            raise UnknownEngine(f"how {self.name!r} takes memory is not known.", hint)
        return found

    def expert_calls(self, version: str = "", date: str = "") -> dict[str, str] | None:
        """How a version calls routed experts, where its runtime's code calls them one by one; None elsewhere."""
        rows = rules("expert_calls.csv", "runtime").get(self.runtime)
        own_version = version if self.name == self.runtime else ""
        return rule_in_force(rows, own_version, date) if rows else None

    @property
    def uses_one_device_unasked(self) -> bool:
        """Whether a command without a flag for ranks runs on one device, however many there are."""
        from sizer.engine.flag_table import flag_setting

        flag = flag_setting(self.flags, "tensor_parallel")
        return flag is not None and flag.default == "1"

    def releases(self) -> tuple[str, ...]:
        """The versions that one of its rules changed with."""
        tables = (("engine_memory.csv", "engine"), ("expert_calls.csv", "runtime"))
        rows = [row for table, column in tables for row in rules(table, column).get(self.name, [])]
        return tuple(dict.fromkeys(row["before_version"] for row in rows if row["before_version"]))


def _place(vendor: str) -> str:
    """A vendor of the backends column in words."""
    return {"cpu": "CPUs", "any": "any GPU with Vulkan"}.get(vendor, vendor.replace("-", " "))


@cache
def operation_costs(code: str) -> dict[str, float] | None:
    """Device operations of each part of a layer for a way of running it; None for a code without such a count."""
    rows = rules("layer_operations.csv", "code").get(code)
    return {part: float(cost) for part, cost in rows[0].items() if part not in {"code", "source"}} if rows else None


@cache
def engines() -> dict[str, Engine]:
    """The engines of `data/engines.csv` by name."""
    return {row["name"]: _engine(row) for row in read_rows("engines.csv")}


def _engine(row: dict[str, str]) -> Engine:
    """A row of `data/engines.csv` as the record."""
    pairs = tuple(pair.partition(":") for pair in row["backends"].split())
    return record_of(
        Engine,
        row,
        backends=tuple((vendor, backend) for vendor, _, backend in pairs),
        parallelism=tuple(Split.parse(word) for word in row["parallelism"].split()),
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


def running_engines(precision: str, device: Device) -> list[Engine]:
    """The engines that run a precision on a device, the usual one first. Raises UnknownPrecision."""
    from sizer.precision.names import engines_of

    return [engines()[name] for name in engines_of(precision) if engines()[name].runs_on(precision, device)]


def any_runs_on(device: Device) -> bool:
    """Whether any engine runs on a device at all."""
    return any(engine.backend(device) for engine in engines().values())


def nothing_runs_on(device: Device) -> UnknownEngine:
    """The error for a device on which no engine runs any of the usual precisions, or on which none runs at all."""
    if not any_runs_on(device) and not device.beside_gpu:
        said = f"no known engine runs on {device.name}: its memory and bandwidth are all that is known."
        return UnknownEngine(said, "Name another device: 'sizer devices' lists them.")
    hint = "Name a precision and an engine (-p, -e), or another device: 'sizer devices' lists them."
    if device.beside_gpu:
        hint = f"The chip's GPU: -d {device.key}."
    return UnknownEngine(f"no known engine runs the usual precisions on {device.name}.", hint)


def _instead(precision: str, device: Device) -> str:
    """What to type where no engine runs a precision on a device: the precisions that some do, and its engines."""
    from sizer.precision.names import all_precisions, engines_of

    running = [name for name in all_precisions() if running_engines(name, device)][:NAMED]
    there = f"There run -p {', -p '.join(running)} and others. " if running else ""
    return f"{there}{precision!r} runs elsewhere with {', '.join(engines_of(precision)[:NAMED])}."


def default_engine(precision: str, device: Device) -> str:
    """The engine that people use for a precision on a device: the precision's usual one that runs there.

    Raises UnknownPrecision, and UnknownEngine where no engine runs that precision on that device.
    """
    running = running_engines(precision, device)
    running = [engine for engine in running if engine.has_kernels(precision, device)] or running
    if not running:
        if not any_runs_on(device):
            raise nothing_runs_on(device)
        raise UnknownEngine(f"no known engine runs {precision!r} on {device.name}.", _instead(precision, device))
    preferred = [engine for engine in running if device.vendor in engine.preferred_on]
    return (preferred or running)[0].name
