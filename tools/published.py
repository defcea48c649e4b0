"""Writes data/gguf_repositories.csv and data/quantized_copies.csv: which repositories publish a model in other formats.

    python tools/published.py FACTS.csv

FACTS.csv is a listing of hub models with the columns `id` and `gguf_repos` (publishers' GGUF repositories, `|` between
them). A quantized copy is a listed model whose name is a catalogued model's with a quantization after it.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from sizer.errors import UnknownPrecision
from sizer.model.read.name_quantization import quantization_in
from sizer.precision.names import Precision, precision_of
from sizer.tables import read_rows

DATA = Path(__file__).resolve().parent.parent / "data"
PUBLISHERS = (
    "RedHatAI", "neuralmagic", "nvidia", "mlx-community", "ModelCloud", "cyankiwi", "QuantTrio", "lmstudio-community",
)  # fmt: skip
"""Whose copies are taken beside the maker's own, the first first."""
SOURCE = "hub listing (llmfit catalogue, August 2026)"
COPIED_KINDS = frozenset({"gptq", "awq", "nvfp4", "mxfp4", "fp8", "compressed-tensors", "mlx"})


def squeezed(name: str) -> str:
    """A model's name without organisation, case and what stands between its words."""
    return re.sub(r"[\s_\-.]+", "", name.rsplit("/", 1)[-1].lower())


def known(name: str | None) -> Precision | None:
    """The precision of a name; None where there is none (`mlx-7bit`)."""
    try:
        return precision_of(name) if name else None
    except UnknownPrecision:
        return None


def copies(facts: Iterable[Mapping[str, str]], catalogued: Iterable[str]) -> list[tuple[str, str, str]]:
    """(model, precision, repository) of every quantized copy of a catalogued model, one a precision."""
    bases = {squeezed(name): name for name in catalogued}
    found: dict[tuple[str, str, str], tuple[int, str]] = {}
    for row in facts:
        named = quantization_in(row["id"])
        told, rest = named.precision, named.rest
        precision = known(told)
        if precision is None or precision.kind not in COPIED_KINDS:
            continue
        owner = row["id"].split("/")[0]
        base = bases.get(squeezed(re.sub(r"(?i)\b(quantized|dynamic|instruct-bf16)\b", " ", rest)))
        if base is None or owner not in (base.split("/")[0], *PUBLISHERS):
            continue
        rank = 0 if owner == base.split("/")[0] else 1 + PUBLISHERS.index(owner)
        key = (base, precision.name, "mlx" if owner == "mlx-community" else "")
        if key not in found or (rank, row["id"]) < found[key]:
            found[key] = (rank, row["id"])
    return sorted((model, precision, repository) for (model, precision, _), (_, repository) in found.items())


def main(path: str) -> None:
    """Read the listing, write both tables."""
    with Path(path).open(encoding="utf-8", newline="") as lines:
        facts = list(csv.DictReader(lines))
    aliases = (row["alias"] for row in read_rows("model_aliases.csv"))
    catalogued = [*(row["id"] for row in read_rows("models.csv")), *aliases]
    with (DATA / "gguf_repositories.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("model", "repositories", "source"))
        for row in sorted(facts, key=lambda row: row["id"]):
            if row["gguf_repos"]:
                names = [name for name in row["gguf_repos"].split("|") if "/" in name]
                writer.writerow((row["id"], " ".join(names), SOURCE))
    with (DATA / "quantized_copies.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(("model", "precision", "repository", "runtime", "source"))
        for copy in copies(facts, catalogued):
            writer.writerow((*copy, "mlx-lm" if copy[2].startswith("mlx-community/") else "", SOURCE))


if __name__ == "__main__":
    main(sys.argv[1])
