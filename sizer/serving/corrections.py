"""What engines under load showed beyond the law of speed: `data/serving_constants.json`, fitted to measured points.

Each term of a step may have a correction, exp(base + the effects of the groups that the deployment belongs to). Two
further terms are a server's own: `request` (time of a request outside the engine's steps) and `streamed` (decode
steps until the first tokens are sent). A group that nobody measured has no effect: an engine or a device without
points under load keeps the law's own times.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from math import exp
from typing import Any

from sizer.device.kinds import device_family
from sizer.frozen import NamedTuple
from sizer.serving.layout import Layout
from sizer.speed.case import SpeedCase
from sizer.speed.kernels import precision_class
from sizer.tables import read_json

FILE = "serving_constants.json"
REQUEST_S = 0.01
"""The unit of the `request` term."""
EVIDENCE = ("known", "model", "system", "engine")
"""What is measured of a deployment: all of it, or all but its model, its system, its engine."""
REQUEST, STREAMED, DRAFTED, COLD = "request", "streamed", "drafted", "cold"
LEVELS = (
    "all",
    "engine",
    "generation",
    "kernel",
    "kind",
    "split",
    "engine split",
    "engine kernel",
    "version",
    "model",
    "engine model",
)


class Corrections(NamedTuple):
    """Log-corrections by term and group, and the held-out spreads of both times by evidence and engine.

    `runtimes` are those whose engines were measured, `systems` the devices, `families` what these are: another
    runtime's kernels, and devices of another family, are corrected by nothing (none named: all are).
    """

    effects: Mapping[str, Mapping[str, float]]
    spreads: Mapping[str, Mapping[str, tuple[float, float]]]
    runtimes: frozenset[str] = frozenset()
    systems: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()

    def tells_of(self, names: Mapping[str, str]) -> bool:
        """Whether points under load of the runtime of a deployment of these groups were measured."""
        return not self.runtimes or names["runtime"] in self.runtimes

    def holds_for(self, names: Mapping[str, str]) -> bool:
        """Whether points of its runtime tell of a deployment of these groups: on devices of a generation that was
        measured, or with an engine that was on others of their family.

        What cards with HBM show misleads on others (vLLM on an RTX 3090: 27 % by it, 12 % by the law), and holds for
        others with HBM: a system left out errs by 11 % in its time per token and 27 % in that to the first one, as an
        estimate tells it by 23 and 46 %.
        """
        if not self.tells_of(names):
            return False
        seen = self._seen()
        alike = not self.families or names["family"] in self.families
        return names["generation"] in seen or (alike and names["engine"] in seen)

    def _seen(self) -> set[str]:
        return {group for effects in self.effects.values() for group in effects}

    def factor(self, term: str, names: Mapping[str, str]) -> float:
        """The correction of a term in a deployment of these groups."""
        if not self.tells_of(names):
            return 1.0
        own = self.effects.get(term, {})
        return exp(sum(own.get(group, 0.0) for group in names.values()))

    def own(self, term: str, names: Mapping[str, str]) -> float:
        """How much of a server's own term a deployment of these groups has: none where nothing measured its runtime."""
        return self.factor(term, names) if term in self.effects and self.tells_of(names) else 0.0

    def weights(
        self, law: Mapping[str, float], floors: Mapping[str, float], names: Mapping[str, str]
    ) -> dict[str, float]:
        """The weight of each term: the law's, corrected; no correction makes a device faster than its floors allow."""
        return {
            term: max(weight * self.factor(term, names), min(weight, floors.get(term, 0.0)))
            for term, weight in law.items()
        }

    def evidence(self, names: Mapping[str, str]) -> str:
        """What was measured of a deployment: `known`, or which of engine, system and model was not."""
        seen = self._seen()
        for level, evidence in (("engine", "engine"), ("generation", "system"), ("model", "model")):
            if names[level] not in seen:
                return evidence
        return "known"

    def spread(self, quantity: str, names: Mapping[str, str]) -> tuple[float, float]:
        """The middle 90 % of log(measured / predicted) of points held out so that as little was known of them."""
        found, evidence = self.spreads[quantity], self.evidence(names)
        return found.get(f"{evidence}: {names['engine'].partition(': ')[2]}") or found[evidence]


NO_CORRECTIONS = Corrections({}, {})


def load_groups(case: SpeedCase, layout: Layout) -> dict[str, str]:
    """The groups of a deployment by level."""
    known = case.groups
    engine, kernel = case.engine.name, precision_class(case.stored.precision)[0]
    made = known["generation"].partition(": ")[2]
    kind, model = _kind(case), f"{case.architecture.total_params} parameters"
    split = "single" if layout.devices == 1 else "experts" if layout.expert_parallel else "tensor"
    split = "data" if layout.attention_groups > 1 else split
    found = {
        "all": "all",
        "engine": engine,
        "generation": made,
        "kernel": kernel,
        "engine kernel": f"{engine} {kernel}",
        "kind": kind,
        "version": f"{engine} {case.engine_version}" if case.engine_version else "",
        "split": split,
        "engine split": f"{engine} {split}",
        "model": model,
        "engine model": f"{engine} {model}",
    }
    named = {level: f"{level}: {name}" for level, name in found.items()}
    return {**named, "runtime": case.engine.runtime, "family": device_family(case.device)}


def _kind(case: SpeedCase) -> str:
    """What a model is to an engine's kernels: dense or a mixture, with plain, latent or recurrent attention."""
    mixers = {mixer.kind.name.lower() for mixer in case.architecture.mixer_counts}
    attention = next((name for name in ("mla", "linear", "ssm") if name in mixers), "plain")
    return f"{'mixture' if case.architecture.experts else 'dense'}, {attention}"


def corrections_of(document: Mapping[str, Any]) -> Corrections:
    """The corrections of a document in the format of `data/serving_constants.json`."""
    effects = {term: {group: value for group, value, *_ in rows} for term, rows in document["effects"].items()}
    spreads = {
        quantity: {name: (low, high) for name, low, high, _ in rows} for quantity, rows in document["spreads"].items()
    }
    measured = (frozenset(document[name]) for name in ("runtimes", "systems", "families"))
    return Corrections(effects, spreads, *measured)


@cache
def corrections() -> Corrections:
    """The corrections that `sizer calibrate` wrote."""
    return corrections_of(read_json(FILE))
