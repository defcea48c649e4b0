"""What is asked of the library: devices and work, as records that are valid from birth.

Keyword options (`Options`) are the command line's, in Python's spelling; the page's query has the same names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from sizer.errors import UsageError, did_you_mean
from sizer.frozen import dataclass
from sizer.printable import shown
from sizer.units import MIB, parse_bytes, parse_flops, parse_layers, parse_rate, parse_tokens, parse_watts, parse_whole
from sizer.workload import Split, Workload

if TYPE_CHECKING:
    from sizer.answer.question import Drafting
    from sizer.engine.options import EngineOptions

MOST_BYTES, MOST_RATE = 2**60, 1e24
"""More than any machine has: what is larger is a slip."""


class Options(TypedDict, total=False):
    """Options that every question takes; sizes and counts are numbers, or text as `24GiB`, `936GB/s`, `32k`.

    device: one or several names (default: this machine). precision: one or several. engine. prompt, output, context
    (tokens; context also `max`), batch, kv_precision, parallel (`tensor`, `pipeline`, `layer` ...), gpu_layers,
    threads. bandwidth_bytes_per_s, memory_bytes, flops_per_s, power_limit_w describe or override a device; host,
    ram_bytes, ram_bandwidth_bytes_per_s where offloaded layers go; reserve_bytes is what others use. offline: never
    touch the network.
    """

    device: str | Sequence[str] | None
    precision: str | Sequence[str] | None
    engine: str | None
    prompt: int | str
    output: int | str
    context: int | str | None
    batch: int | str
    kv_precision: str
    parallel: str | None
    gpu_layers: int | str | None
    threads: int | None
    bandwidth_bytes_per_s: float | str | None
    memory_bytes: int | str | None
    flops_per_s: float | str | None
    power_limit_w: float | str | None
    host: str | None
    ram_bytes: int | str | None
    ram_bandwidth_bytes_per_s: float | str | None
    reserve_bytes: int | str | None
    offline: bool


@dataclass(frozen=True, slots=True)
class DeviceAsked:
    """Which devices, and what describes or overrides them. Empty `names`: this machine, or the figures alone.

    Raises UsageError for a figure that is not positive and finite.
    """

    names: tuple[str, ...] = ()
    bandwidth_bytes_per_s: float | None = None
    memory_bytes: int | None = None
    flops_per_s: float | None = None
    power_limit_w: float | None = None
    host: str | None = None
    ram_bytes: int | None = None
    ram_bandwidth_bytes_per_s: float | None = None
    reserve_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            if not isinstance(name, str) or not name.strip():
                raise UsageError(f"a device is {name!r}.", "Name one: 'sizer devices' lists them.")
        check_text("host", self.host)
        _positive("memory", self.memory_bytes, MOST_BYTES, least=MIB)
        _positive("ram", self.ram_bytes, MOST_BYTES, least=MIB)
        _positive("reserve", self.reserve_bytes, MOST_BYTES, least=MIB)
        _positive("bandwidth", self.bandwidth_bytes_per_s, MOST_RATE)
        _positive("ram-bandwidth", self.ram_bandwidth_bytes_per_s, MOST_RATE)
        _positive("flops", self.flops_per_s, MOST_RATE)
        _positive("power-limit", self.power_limit_w, MOST_RATE)


@dataclass(frozen=True, slots=True)
class WorkAsked:
    """Which precisions, engine and work. `context_tokens` may be `max`; None is prompt and output together.

    `engine` may be given with a version and the engine's own flags (`vllm@0.21 --max-num-seqs 64`): they become
    `flags`, and shape the workload. Raises UnknownEngine with the nearest names, and UsageError where a number is out
    of bounds, or the context holds less than prompt and output.
    """

    precisions: tuple[str, ...] = ()
    engine: str | None = None
    prompt_tokens: int = 512
    output_tokens: int = 128
    context_tokens: int | str | None = None
    batch_size: int = 1
    kv_precision: str = "fp16"
    parallelism: str | None = None
    gpu_layers: int | None = None
    threads: int | None = None
    drafting: Drafting | None = None
    flags: EngineOptions | None = None

    def __post_init__(self) -> None:
        check_text("engine", self.engine)
        if self.engine is not None and self.flags is None:
            from sizer.engine.asked import engine_asked

            flags = engine_asked(self.engine)
            object.__setattr__(self, "engine", flags.engine)
            object.__setattr__(self, "flags", flags)
        self.workload()

    def workload(self) -> Workload:
        """The workload; a context shorter than prompt and output together is an error."""
        if self.context_tokens not in (None, "max") and not isinstance(self.context_tokens, int):
            raise UsageError(f"context is {shown(self.context_tokens)}.", "It is a whole number of tokens, or max.")
        context = self.context_tokens if isinstance(self.context_tokens, int) else None
        asked = Workload(
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            context_tokens=0 if context is None else context,
            batch_size=self.batch_size,
            kv_precision=self.kv_precision,
            parallelism=None if self.parallelism is None else Split.parse(self.parallelism),
            gpu_layers=self.gpu_layers,
            threads=self.threads,
        )
        needed = self.prompt_tokens + self.output_tokens
        if context is None:
            asked = _with_context(asked, needed)
            return self._flagged(asked, context_asked=False)
        if context < needed:
            raise UsageError(
                f"--context {context} is shorter than prompt and output together ({needed}).",
                "Ask for a longer context, or a shorter --prompt or --output.",
            )
        return self._flagged(asked, context_asked=True)

    def _flagged(self, workload: Workload, *, context_asked: bool) -> Workload:
        """The workload with what the engine's own flags say of it."""
        if self.flags is None or not self.flags.given:
            return workload
        from sizer.engine.flagged import with_flags

        return with_flags(workload, self.flags, context_asked=context_asked)


def with_vram(asked: DeviceAsked, vram_bytes: int | None) -> DeviceAsked:
    """The devices asked for, with the memory that `--vram` gives a GPU. Raises UsageError beside `--memory`."""
    if vram_bytes is None:
        return asked
    if asked.memory_bytes is not None:
        raise UsageError("--vram and --memory say the same thing.", "Leave one of them out.")
    from dataclasses import replace

    return replace(asked, memory_bytes=vram_bytes)


def _with_context(workload: Workload, context_tokens: int) -> Workload:
    from dataclasses import replace

    return replace(workload, context_tokens=context_tokens)


def check_text(name: str, value: object) -> None:
    """Nothing for None and for text. Raises UsageError otherwise."""
    if value is not None and not isinstance(value, str):
        raise UsageError(f"{name} is {shown(value)}.", "Write its name as text.")


def check_number(name: str, value: object, least: float, most: float, *, whole: bool = False) -> None:
    """Nothing for None and for a number (a whole one) within bounds. Raises UsageError otherwise."""
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if value is not None and not (number and least <= value <= most):  # type: ignore[operator]
        kind = "whole number" if whole else "number"
        raise UsageError(f"{name} is {shown(value)}.", f"It is a {kind} from {least:g} to {most:g}.")


def _positive(name: str, value: object, most: float, least: float = 0) -> None:
    """Nothing for None and for a finite number above zero, within bounds. Raises UsageError otherwise."""
    if value is None:
        return
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 < value <= most or value < least:
        above = f"from {int(least):,} to" if least else "above 0, at most"
        raise UsageError(
            f"{name} is {shown(value)}.",
            f"It is a number {above} {f'{most:,}' if isinstance(most, int) else f'{most:g}'}.",
        )


def tokens(value: Any) -> Any:
    """Tokens of a number or of text: `32k`, `max` as it is. Raises InvalidQuantity."""
    if not isinstance(value, str):
        return value
    return "max" if value.strip().lower() == "max" else parse_tokens(value)


def _read(value: Any, parse: Any) -> Any:
    return parse(value) if isinstance(value, str) else value


def split_options(options: Mapping[str, Any]) -> tuple[DeviceAsked, WorkAsked, bool]:
    """Options as the records that they ask for, and whether to stay offline.

    Raises TypeError for a name that no option has, with the nearest; UsageError for a value that cannot be.
    """
    for name in options:
        if name not in Options.__annotations__:
            hint = did_you_mean(name, Options.__annotations__)
            raise TypeError(f"no option is called {name!r}. {hint}".strip())
    devices = DeviceAsked(
        names=names(options.get("device")),
        bandwidth_bytes_per_s=_read(options.get("bandwidth_bytes_per_s"), parse_rate),
        memory_bytes=_read(options.get("memory_bytes"), parse_bytes),
        flops_per_s=_read(options.get("flops_per_s"), parse_flops),
        power_limit_w=_read(options.get("power_limit_w"), parse_watts),
        host=options.get("host"),
        ram_bytes=_read(options.get("ram_bytes"), parse_bytes),
        ram_bandwidth_bytes_per_s=_read(options.get("ram_bandwidth_bytes_per_s"), parse_rate),
        reserve_bytes=_read(options.get("reserve_bytes"), parse_bytes),
    )
    work = WorkAsked(
        precisions=names(options.get("precision")),
        engine=options.get("engine"),
        prompt_tokens=tokens(options.get("prompt", 512)),
        output_tokens=tokens(options.get("output", 128)),
        context_tokens=tokens(options.get("context")),
        batch_size=_read(options.get("batch", 1), parse_whole),
        kv_precision=options.get("kv_precision", "fp16"),
        parallelism=options.get("parallel") or None,
        gpu_layers=_read(options.get("gpu_layers"), parse_layers),
        threads=_read(options.get("threads"), parse_whole),
    )
    return devices, work, bool(options.get("offline", False))


def names(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """One name or several as a tuple."""
    if given is None:
        return ()
    if not isinstance(given, (str, Iterable)):
        raise UsageError(f"{shown(given)} is no text and no list of texts.", "Write it as text.")
    found = (given,) if isinstance(given, str) else tuple(given)
    for text in found:
        if not isinstance(text, str):
            raise UsageError(f"{shown(text)} is no text.", "Write it as text.")
    return found
