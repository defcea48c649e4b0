"""The same load simulated: what the serving law says of the very requests that were sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import exp
from typing import TYPE_CHECKING

from sizer.benchmark.load.asked import LoadAsked
from sizer.benchmark.load.figures import MeasuredLoad, PredictedLoad
from sizer.errors import SizerError
from sizer.frozen import dataclass
from sizer.serving.capacity import Choice
from sizer.serving.load import Load
from sizer.serving.simulate import MOST_REQUESTS, Simulation
from sizer.serving.simulated import Simulated, percentiles

if TYPE_CHECKING:
    from sizer.serving.deployment import Served

SEEDS = 5
"""Runs whose requests are pooled: a short test has few, in an order that is chance."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """What serves: the way that its devices share the work, and how its cache and engine were understood."""

    choice: Choice
    served: Served
    kv_precision: str
    flags: str = ""
    """The engine with its flags, as `--engine` takes them."""

    @property
    def words(self) -> str:
        """`Qwen/Qwen3-0.6B q8_0, llama.cpp on 1 x this (TP 1)`."""
        one, several = self.choice.replica.served, self.choice.replicas
        shared = f"{several} x {one.layout.words}" if several > 1 else one.layout.words
        target = self.served.target
        return (
            f"{self.served.architecture.model_id}, {self.served.stored.precision}, {self.served.engine} on "
            f"{target.count} x {target.device.name} ({shared})"
        )


def deployed(asked: LoadAsked, engine: str) -> Deployed | None:
    """The deployment behind the server: of its command line, else of model, precision and device.

    None where neither is told. Raises the errors of a command, a model or a device that cannot be read, and DoesNotFit.
    """
    if asked.command:
        served = _of_command(asked)
    elif asked.model and asked.precision and asked.device:
        served = _of_names(asked, engine)
    else:
        return None
    from sizer.serving.answer import candidates, chosen

    load = asked.stages()[0]
    kv_precision = (served.options.k_cache_type if served.options else "") or "fp16"
    ways = list(candidates(served, load, kv_precision=kv_precision))
    return Deployed(chosen(ways, load), served, kv_precision, asked.command)


def _of_command(asked: LoadAsked) -> Served:
    """What `sizer check` reads of the server's command."""
    import shlex

    from sizer.api.asked import DeviceAsked
    from sizer.api.check import launched
    from sizer.engine.stored import store_for
    from sizer.serving.deployment import Served

    devices = DeviceAsked(names=(_device(asked),))
    plan = launched(shlex.split(asked.command), devices, offline=asked.offline)[0]
    stored = plan.stored or store_for(plan.architecture, plan.precision, plan.options.engine, plan.options.version)
    return Served(plan.architecture, stored, plan.used, plan.options.engine, plan.options)


def _of_names(asked: LoadAsked, engine: str) -> Served:
    from sizer.api.asked import DeviceAsked
    from sizer.api.targets import targets
    from sizer.engine.asked import engine_asked
    from sizer.engine.stored import store_for
    from sizer.model.read.resolve import resolve
    from sizer.precision.names import canonical
    from sizer.serving.deployment import Served

    resolved = resolve(asked.model, offline=asked.offline)
    precision, options = canonical(asked.precision), engine_asked(asked.engine or engine)
    (target,) = targets(DeviceAsked(names=(_device(asked),)))
    stored = resolved.stored if resolved.stored and resolved.stored.precision == precision else None
    stored = stored or store_for(resolved.architecture, precision, options.engine, options.version)
    return Served(resolved.architecture, stored, target, options.engine, options)


def _device(asked: LoadAsked) -> str:
    return f"{asked.device_count}x{asked.device}" if asked.device_count > 1 else asked.device or "this"


def predicted(one: Deployed, load: Load, measured: MeasuredLoad, sizes: Sequence[tuple[int, int]]) -> PredictedLoad:
    """The load played through with the lengths that were sent and as many requests, the first of all users together.

    Raises UsageError where it is too much to simulate.
    """
    replica, together = one.choice.replica, one.choice.replicas
    prompts, outputs = (sum(pair[place] for pair in sizes) / len(sizes) for place in (0, 1))
    each = replace(
        load,
        prompt_tokens=max(1, round(prompts)),
        output_tokens=max(1, round(outputs)),
        users=None if load.users is None else -(-load.users // together),
        rate_per_s=None if load.rate_per_s is None else load.rate_per_s / together,
        sizes=tuple(sizes),
    )
    requests = min(MOST_REQUESTS, max(each.users or 1, -(-(measured.requests + measured.unfinished) // together)))
    runs = [
        Simulation(
            replica.law, replica.served.rules, each, replica.cache,
            requests=requests, request_s=replica.request_s, seed=seed,
        ).run()
        for seed in range(SEEDS)
    ]  # fmt: skip
    (low_ttft, high_ttft), (low_tpot, high_tpot) = replica.spreads
    ttft, tpot, latency = (
        percentiles([value for run in runs for value in getattr(run, name)] or (0.0,))
        for name in ("ttft_s", "tpot_s", "latency_s")
    )
    rate = together * _rate(runs, each)
    return PredictedLoad(
        ttft, tpot, latency,
        ttft.p50 * exp(low_ttft), ttft.p50 * exp(high_ttft), tpot.p50 * exp(low_tpot), tpot.p50 * exp(high_tpot),
        rate, rate * sum(run.output_tokens for run in runs) / sum(run.finished for run in runs),
    )  # fmt: skip


def _rate(runs: Sequence[Simulated], load: Load) -> float:
    """Requests answered a second: of users who ask again at once their number over the mean latency (Little's law)."""
    latencies = [value for run in runs for value in run.latency_s]
    if load.users is not None:
        return load.users * len(latencies) / sum(latencies)
    return min(load.rate_per_s or 0.0, sum(run.finished for run in runs) / sum(run.elapsed_s for run in runs))


def try_deployed(asked: LoadAsked, engine: str) -> tuple[Deployed | None, str]:
    """The deployment, or why there is no prediction: a measurement does not fail for want of one."""
    try:
        found = deployed(asked, engine)
    except SizerError as error:
        return None, error.message
    return found, "" if found else "Name the server's --command, or the model, --precision and --device."
