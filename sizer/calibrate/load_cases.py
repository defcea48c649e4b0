"""Measured points under load as the fit needs them: their deployment, term curves, and what a simulation counts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from sizer.calibrate.measurements import EXCLUDING_FLAGS
from sizer.calibrate.rows import row_architecture
from sizer.device.catalogue import find
from sizer.device.records import Target
from sizer.engine.asked import engine_asked
from sizer.engine.engines import find_engine
from sizer.engine.stored import store_for
from sizer.errors import InvalidInputFile, SizerError
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored
from sizer.precision.names import canonical
from sizer.serving.benchmark import BURST_SHARE, Means, means, requests_of
from sizer.serving.cache import cache_tokens
from sizer.serving.corrections import COLD, DRAFTED, REQUEST, REQUEST_S, STREAMED, Corrections, load_groups
from sizer.serving.deployment import Deployment, Served, deployment
from sizer.serving.points import Point
from sizer.serving.simulate import MOST_REQUESTS, Simulation
from sizer.serving.steps import StepLaw, law_weights, weighed, weight_floors
from sizer.serving.term_curves import TermCurves, term_curves
from sizer.serving.told import as_told, heard
from sizer.speed.law import Constants


@dataclass(frozen=True, slots=True)
class LoadCase:
    """One point with its records. `law_weights` are the law's factors by term; `cache` is None where nothing binds."""

    point: Point
    served: Deployment
    curves: dict[str, TermCurves]
    law_weights: dict[str, float]
    floors: dict[str, float]
    names: dict[str, str]
    cache: float | None

    @property
    def system(self) -> str:
        """The device's key."""
        return self.served.case.device.key

    @property
    def shape(self) -> str:
        """The model's shape: checkpoints of one shape are one model to a fit."""
        model = self.served.case.architecture
        return f"{model.total_params} {model.num_layers}"

    @property
    def waited_steps(self) -> float:
        """Decode steps that the server was told to let a request wait, in the mean."""
        return self.point.script.waited_steps((self.point.load.users or 0) / self.point.load.output_tokens)

    @property
    def same_case(self) -> tuple[object, ...]:
        """What points share that measure the same case, whatever the release: they are held out together."""
        layout = self.served.layout
        engine, precision = self.served.case.engine.name, self.served.case.stored.precision
        return self.shape, self.system, engine, precision, layout.devices, repr(self.point.load)


def _stored(point: Point, precision: str, engine: str) -> Stored:
    return store_for(_architecture(point), precision, engine)


def _architecture(point: Point) -> Architecture:
    """The model of a point; of one that no catalogue has its size."""
    return row_architecture(point.model, point.total_params_b, point.active_params_b)


@lru_cache(maxsize=256)
def _target(device: str, count: int) -> Target:
    return find(f"{count}x{device}" if count > 1 else device)


def load_case(point: Point, fitted: Constants, known_curves: dict[object, dict[str, TermCurves]]) -> LoadCase:
    """The records of a point; curves of its deployment are taken from `known_curves` or put there.

    Raises SizerError naming what is not known, or the flag that excludes the row.
    """
    excluding = sorted(point.flags & EXCLUDING_FLAGS)
    if excluding:
        raise InvalidInputFile(f"flagged {', '.join(excluding)}")
    engine, precision = find_engine(point.engine).name, canonical(point.precision)
    model = Served(
        _architecture(point),
        _stored(point, precision, engine),
        _target(point.device, point.devices),
        engine,
        replace(engine_asked(f"{engine} {point.engine_flags}".strip()), version=point.engine_version),
    )
    told = point.script
    served = deployment(
        model,
        point.layout,
        point.load,
        kv_precision=point.kv_precision,
        step_tokens=told.step_tokens,
        max_sequences=told.max_sequences,
        date=point.date,
    )
    key = (point.model, precision, point.kv_precision, engine, point.engine_flags, point.device, point.layout)
    curves = known_curves.get(key) or term_curves(served.case, point.layout)
    known_curves[key] = curves
    weights = law_weights(served.case, curves, fitted, served.rules.products)
    room = cache_tokens(served.memory, point.layout, point.load)
    if room is not None and room < point.load.whole_tokens * (1 + point.load.spread):
        room = None  # it was measured, so it fitted: how much is left beside the weights is not known
    floors = weight_floors(served.case, curves)
    return LoadCase(point, served, curves, weights, floors, load_groups(served.case, point.layout), room)


def load_cases(points: Iterable[Point], fitted: Constants) -> list[LoadCase]:
    """The cases of all points that have both times and known names."""
    found = []
    known_curves: dict[object, dict[str, TermCurves]] = {}
    for one in points:
        if one.ttft_s is None or one.tpot_s is None:
            continue
        try:
            found.append(load_case(one, fitted, known_curves))
        except SizerError:
            continue
    return found


def corrected_law(case: LoadCase, known: Corrections) -> StepLaw:
    """The law of the case's steps: corrected, or as an estimate tells them where no correction holds."""
    layout = case.served.layout
    weights = heard(layout, known, case.names).weights(case.law_weights, case.floors, case.names)
    law = weighed(case.curves, weights, 1 / layout.stages if layout.in_flight else 1.0)
    return as_told(law, case.served, case.point.load, known, case.names)


def simulated_means(case: LoadCase, known: Corrections) -> Means:
    """What a benchmark of the point would report, by simulation with these corrections."""
    law, load = corrected_law(case, known), case.point.load
    users = load.users or 1
    requests = requests_of(users) if case.point.requests is None else max(users, case.point.requests)
    seen = Simulation(law, case.served.rules, load, case.cache, requests=min(requests, MOST_REQUESTS)).run()
    burst_share = BURST_SHARE if case.point.requests is None else users / requests
    found = means(seen, users, burst_share)
    first_s = REQUEST_S * known.own(REQUEST, case.names)
    waited = case.waited_steps + known.own(STREAMED, case.names)
    first_s += waited * law.step_s(seen.mean_decoding or 1, load.mean_depth)
    first_s += known.own(COLD, case.names) if case.point.script.cold else 0.0
    drafted = known.factor(DRAFTED, case.names) if case.point.script.drafted else 1.0
    return found._replace(ttft_s=found.ttft_s + first_s, tpot_s=found.tpot_s * drafted)
