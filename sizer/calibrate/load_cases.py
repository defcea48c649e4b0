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
from sizer.serving.fleets import fleet_told
from sizer.serving.layout import Fleet, Layout
from sizer.serving.points import Point
from sizer.serving.rounds import Drafts, rounds_of
from sizer.serving.rules import MOST_SEQUENCES
from sizer.serving.simulate import MOST_REQUESTS, Simulation
from sizer.serving.simulate_apart import ApartSimulation, Reading
from sizer.serving.steps import StepLaw, law_weights, weighed, weight_floors
from sizer.serving.term_curves import TermCurves, term_curves
from sizer.serving.told import as_told, heard
from sizer.speed.law import Constants
from sizer.speed.speculative import USUAL_ACCEPTANCE, draft_methods

USUAL_DRAFTS, DRAFTS_OF_GROUPS = 3, 1
"""Tokens that the benchmark's servers with a drafter draft a step, and beside data-parallel attention (InferenceX
benchmarks/single_node/dsr1_fp4_b200_trt_mtp.sh and dsr1_fp8_b200_trt_mtp.sh: MTP=3, and MTP=1 with DP_ATTENTION)."""


@dataclass(frozen=True, slots=True)
class LoadCase:
    """One point with its records. `law_weights` are the law's factors by term; `cache` is None where nothing binds.

    Where prompts have servers of their own, `served` is one server of tokens, `reading` one of prompts, whose terms
    `curves` has for prompts. `drafted` is what the law says that a drafter leaves of the time per token.
    """

    point: Point
    served: Deployment
    curves: dict[str, TermCurves]
    law_weights: dict[str, float]
    floors: dict[str, float]
    names: dict[str, str]
    cache: float | None
    fleet: Fleet | None = None
    reading: Deployment | None = None
    drafted: float = 1.0

    @property
    def decode_share(self) -> float:
        """Of the decoding sequences, those that one step takes: a pipeline's stages and servers of tokens part them."""
        return 1 / (self.served.layout.stages * (self.fleet.writers if self.fleet else 1))

    @property
    def simulated_by(self) -> tuple[object, ...]:
        """All that a simulation depends on: points that share it are simulated once."""
        point = self.point
        told = (point.requests, point.engine_flags, point.script, self.served.rules, self.fleet)
        return (*self.names.values(), point.model, point.precision, point.device, point.layout, point.load, *told)

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
    told = fleet_told(point)
    fleet = told.fleet if told else None
    if told:
        script = replace(point.script, step_tokens=told.step_tokens, drafted=told.drafts > 0)
        point = replace(point, layout=told.fleet.writing, script=script)
    engine, precision = find_engine(point.engine).name, canonical(point.precision)
    model = Served(
        _architecture(point),
        _stored(point, precision, engine),
        _target(point.device, point.layout.devices),
        engine,
        replace(engine_asked(f"{engine} {point.engine_flags}".strip()), version=point.engine_version),
    )
    served = _deployment(model, point, point.layout)
    reading = _deployment(model, point, fleet.reading) if fleet else None
    key = (
        point.model,
        precision,
        point.kv_precision,
        engine,
        point.engine_flags,
        point.device,
        point.layout,
        fleet,
    )
    curves = known_curves.get(key) or _curves(served, reading)
    known_curves[key] = curves
    weights = law_weights(served.case, curves, fitted, served.rules.products)
    room = cache_tokens(served.memory, point.layout, point.load)
    if room is not None and room < point.load.whole_tokens * (1 + point.load.spread):
        room = None  # it was measured, so it fitted: how much is left beside the weights is not known
    if room is not None and fleet:
        room *= fleet.writers
    floors = weight_floors(served.case, curves)
    names = load_groups(served.case, point.layout)
    found = LoadCase(point, served, curves, weights, floors, names, room, fleet, reading)
    return replace(found, drafted=_drafted(found, told.drafts if told else 0)) if point.script.drafted else found


def _deployment(model: Served, point: Point, layout: Layout) -> Deployment:
    """The deployment of one server of a point, with what its script told it."""
    told = point.script
    return deployment(
        replace(model, target=_target(point.device, layout.devices)), layout, point.load,
        kv_precision=point.kv_precision, step_tokens=told.step_tokens, max_sequences=told.max_sequences,
        date=point.date,
    )  # fmt: skip


def _curves(served: Deployment, reading: Deployment | None) -> dict[str, TermCurves]:
    """The terms of a server's steps; those of prompts are of the servers that read them."""
    own = term_curves(served.case, served.layout)
    if reading is None:
        return own
    theirs = term_curves(reading.case, reading.layout)
    return {name: (theirs if name.startswith("prefill") else own)[name] for name in own.keys() & theirs.keys()}


def _drafted(case: LoadCase, drafts: int) -> float:
    """What a head that drafts leaves of the time per token by the law alone, at the usual acceptance."""
    plain = weighed(case.curves, case.law_weights, case.decode_share)
    load = case.point.load
    drafts = drafts or (DRAFTS_OF_GROUPS if case.served.layout.attention_groups > 1 else USUAL_DRAFTS)
    asked = Drafts(draft_methods()["mtp"], drafts, USUAL_ACCEPTANCE)
    drafting = replace(plain, rounds=rounds_of(case.served.case, asked))
    users, depth = load.users or 1, load.mean_depth
    return drafting.token_s(users, depth) / plain.token_s(users, depth)


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
    law = weighed(case.curves, weights, case.decode_share if layout.in_flight or case.reading else 1.0)
    return as_told(law, case.served, case.point.load, known, case.names)


def simulation(case: LoadCase, law: StepLaw, requests: int) -> Simulation:
    """The simulation of a point's server, or of its fleet."""
    rules, load, fleet = case.served.rules, case.point.load, case.fleet
    if case.reading is None or fleet is None:
        return Simulation(law, rules, load, case.cache, requests=requests)
    together = rules.with_limits(max_sequences=min(MOST_SEQUENCES, rules.max_sequences * fleet.writers))
    reading = Reading(fleet.readers, replace(law, batch_share=1.0), case.reading.rules)
    return ApartSimulation(law, together, load, case.cache, reading=reading, requests=requests)


def simulated_means(case: LoadCase, known: Corrections) -> Means:
    """What a benchmark of the point would report, by simulation with these corrections."""
    law, load = corrected_law(case, known), case.point.load
    users = load.users or 1
    requests = requests_of(users) if case.point.requests is None else max(users, case.point.requests)
    seen = simulation(case, law, min(requests, MOST_REQUESTS)).run()
    burst_share = BURST_SHARE if case.point.requests is None else users / requests
    found = means(seen, users, burst_share)
    first_s = REQUEST_S * known.own(REQUEST, case.names)
    waited = case.waited_steps + known.own(STREAMED, case.names)
    first_s += waited * law.step_s(seen.mean_decoding or 1, load.mean_depth)
    first_s += known.own(COLD, case.names) if case.point.script.cold else 0.0
    drafted = case.drafted * known.factor(DRAFTED, case.names) if case.point.script.drafted else 1.0
    return found._replace(ttft_s=found.ttft_s + first_s, tpot_s=found.tpot_s * drafted)
