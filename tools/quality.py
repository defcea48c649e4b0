"""Writes what estimates read of `data/quality_facts.csv`: losses by model, by scheme, and the curve by bits.

    python tools/quality.py

* `data/quality_models.csv`: mean KL divergence of one model at one precision, the median of its comparable rows;
* `data/quality_schemes.csv`: that of schemes without a row in `data/quality.csv`, scaled to Llama-3-8B's active
  parameters, the median over models;
* `data/quality_curve.csv`: bits a weight in the layers of Llama-3-8B against its loss, of the usual GGUF types;
* `data/quality_families.csv`: schemes of many widths against that curve;
* `data/quality_errors.csv`: how far off scaled figures are on models left out;
* `data/quality_benchmarks.csv`: what is left of benchmark scores at a precision, in percent, the median over rows.

Rows are comparable that measure the whole distribution over running text against 16 bits (or against the checkpoint as
published): the top few tokens alone, replies or single dialogues are another scale.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

from sizer.answer.loss import told_loss
from sizer.engine.stored import store_for
from sizer.errors import SizerError
from sizer.model.architecture import Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.precision.names import canonical
from sizer.precision.names import precision_of as named
from sizer.precision.quality import (
    LEGACY,
    REFERENCE_MODEL,
    as_others_of_model,
    kl_divergence,
    layer_bits,
    on_curve,
    rows,
    scaled_by_active,
)
from sizer.tables import read_rows

DATA = Path(__file__).resolve().parent.parent / "data"
REFERENCES = {"bf16", "f16", "fp16", "bf16/q8_0", "q8_0", "original fp8", "fp8 release"}
OTHER_SCALE = re.compile(r"top-\d|dialogue|replies|generated|self-report|quantgap", re.IGNORECASE)
SCHEMES = {"int8 w8a8": "w8a8-int8", "int4 w4a16": "w4a16-int4", "bnb nf4": "nf4", "bnb int8": "int8", "bnb fp4": "fp4"}
ENGINES = {"exl2": "exllamav3", "gguf": "llama.cpp"}
"""Whose rule of storing a scheme is told by; vLLM's for others."""
WIDTHS = ("exl2-", "exl3-", "ud-", "mlx-")
"""Schemes that are written in any number of bits."""
FEWEST_BENCHMARKS, FEWEST_LEFT_OUT = 2, 5


def precision_of(row: Mapping[str, str]) -> str | None:
    """The canonical precision of a row; None where it is a mixture of somebody's own."""
    text = row["precision"].lower()
    text = re.sub(r"\s*\(.*\)$", "", text)
    text = SCHEMES.get(text, text)
    text = re.sub(r"^exl([23]) k(\d)$", r"exl\1-\2.00bpw", text)
    text = re.sub(r"^exl([23]) (\d)\.(\d)bpw$", r"exl\1-\2.\g<3>0bpw", text)
    text = re.sub(r"^exl([23]) (\d\.\d\d)bpw$", r"exl\1-\2bpw", text)
    text = re.sub(r"^mlx (\d)bit$", r"mlx-\1bit", text)
    text = re.sub(r"^(gptq|awq) (int[48])$", r"\1-\2", text)
    try:
        return canonical(text)
    except SizerError:
        return None


def comparable(row: Mapping[str, str]) -> bool:
    """Whether a row is on the scale that the tables have."""
    return (
        row["metric"] == "kl_mean"
        and row["reference_precision"] in REFERENCES
        and not row["scheme"].endswith("-kv")
        and not OTHER_SCALE.search(row["dataset"])
        and float(row["value"]) > 0
    )


def write(name: str, header: tuple[str, ...], found: Iterable[tuple[object, ...]]) -> None:
    """One table of the data folder."""
    with (DATA / name).open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(found)


def curve() -> list[tuple[float, float]]:
    """(bits a weight in the layers, KL divergence) of the usual k-quants and codebook types, most bits first."""
    entry = catalogue.find(REFERENCE_MODEL)
    assert entry is not None
    reference = build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)
    points = sorted(
        (
            (layer_bits(store_for(reference, row.precision, "llama.cpp")), row.kl_divergence)
            for row in rows()
            if row.usual and row.size_gib is not None and row.kl_divergence > 0 and row.precision not in LEGACY
        ),
        reverse=True,
    )
    found: list[tuple[float, float]] = []
    for bits, loss in points:
        found.append((bits, max(loss, found[-1][1]) if found else loss))
    return found


def left_out(by_model: Mapping[tuple[str, str], list[Mapping[str, str]]]) -> Iterable[tuple[object, ...]]:
    """How far off the scaled figures are on models that gave them nothing: by basis, a row each."""
    factors: dict[str, list[float]] = defaultdict(list)
    scheme_rows: dict[str, dict[str, float]] = defaultdict(dict)
    for (model, precision), found in by_model.items():
        active = float(found[0]["active_params_b"] or 0) * 1e9
        value = median(float(row["value"]) for row in found)
        if not active:
            continue
        table = kl_divergence(precision)
        if table:
            factors["table"].append(off(scaled_by_active(table, active), value))
        else:
            scheme_rows[precision][model] = value / scaled_by_active(1.0, active)
        bits = [float(row["bits_per_weight"]) for row in found if row["bits_per_weight"]]
        if bits:
            factors["bits"].append(off(scaled_by_active(on_curve(curve(), median(bits)), active), value))
    for models in scheme_rows.values():
        for model, value in models.items():
            others = [other for name, other in models.items() if name != model]
            if others:
                factors["scheme"].append(off(median(others), value))
    factors["model"] = list(of_model(by_model))
    # Where no scheme has two models, its rows are as far off as the table's.
    factors["scheme"] = factors["scheme"] if len(factors["scheme"]) >= FEWEST_LEFT_OUT else factors["table"]
    for basis, found_factors in sorted(factors.items()):
        ordered = sorted(found_factors)
        nine_of_ten = ordered[min(len(ordered) - 1, int(0.9 * len(ordered)))]
        yield basis, len(ordered), f"{median(ordered):.3g}", f"{nine_of_ten:.3g}"


def of_model(by_model: Mapping[tuple[str, str], list[Mapping[str, str]]]) -> Iterable[float]:
    """How far off a loss is that the same model's other precisions of the kind tell."""
    losses: dict[str, dict[str, float]] = defaultdict(dict)
    for (model, precision), found in by_model.items():
        losses[model][precision] = median(float(row["value"]) for row in found)
    for model, measured in losses.items():
        entry = catalogue.find(model)
        if entry is None:
            continue
        built = build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)
        schemes = {name: named(name).scheme for name in measured}
        told = {name: told_loss(built, name, ENGINES.get(schemes[name], "vllm"))[0] for name in measured}
        for name, loss in measured.items():
            alike = [other for other in told if other != name and schemes[other] == schemes[name] and told[other] > 0]
            others = [(told[other], measured[other]) for other in alike]
            if others and told[name] > 0:
                yield off(as_others_of_model(told[name], others), loss)


def families(by_model: Mapping[tuple[str, str], list[Mapping[str, str]]]) -> Iterable[tuple[object, ...]]:
    """How each scheme of many widths compares with the curve at its bits: the median over models of their medians."""
    line, ratios = curve(), {prefix: defaultdict(list) for prefix in WIDTHS}
    for (model, precision), found in by_model.items():
        prefix = next((prefix for prefix in WIDTHS if precision.startswith(prefix)), None)
        bits = [float(row["bits_per_weight"]) for row in found if row["bits_per_weight"]]
        active = float(found[0]["active_params_b"] or 0) * 1e9
        if prefix and bits and active:
            told = scaled_by_active(on_curve(line, median(bits)), active)
            ratios[prefix][model].append(median(float(row["value"]) for row in found) / told)
    for prefix, models in ratios.items():
        if models:
            yield prefix, f"{median(median(values) for values in models.values()):.3g}", len(models)


def off(one: float, other: float) -> float:
    """The factor between two figures, at least 1."""
    return max(one / other, other / one)


def main() -> None:
    """Write the six tables."""
    facts = list(read_rows("quality_facts.csv"))
    by_model: dict[tuple[str, str], list[Mapping[str, str]]] = defaultdict(list)
    by_scheme: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    benchmarks: dict[str, list[float]] = defaultdict(list)
    known = {row.precision for row in rows()}
    for row in facts:
        precision = precision_of(row)
        if precision is None:
            continue
        if row["metric"] == "recovery_pct":
            benchmarks[precision].append(float(row["value"]))
        if not comparable(row):
            continue
        if row["model_id"] and row["model"] != "Llama-3-8B":
            by_model[row["model_id"], precision].append(row)
        if precision not in known and row["active_params_b"]:
            at_8b = float(row["value"]) / scaled_by_active(1.0, float(row["active_params_b"]) * 1e9)
            by_scheme[precision][row["model"]].append(at_8b)
    write(
        "quality_models.csv",
        ("model", "precision", "kl_divergence", "rows"),
        (
            (*key, f"{median(float(row['value']) for row in found):.4g}", " ".join(row["id"] for row in found))
            for key, found in sorted(by_model.items())
        ),
    )
    write(
        "quality_schemes.csv",
        ("precision", "kl_divergence", "models"),
        (
            (precision, f"{median(median(values) for values in models.values()):.4g}", len(models))
            for precision, models in sorted(by_scheme.items())
        ),
    )
    write(
        "quality_benchmarks.csv",
        ("precision", "recovery_pct", "rows"),
        (
            (precision, f"{median(values):.4g}", len(values))
            for precision, values in sorted(benchmarks.items())
            if len(values) >= FEWEST_BENCHMARKS
        ),
    )
    write("quality_families.csv", ("prefix", "over_curve", "models"), families(by_model))
    write("quality_errors.csv", ("basis", "n", "median_factor", "p90_factor"), left_out(by_model))
    write("quality_curve.csv", ("bits_per_weight", "kl_divergence"), ((f"{bits:.4f}", loss) for bits, loss in curve()))


if __name__ == "__main__":
    main()
