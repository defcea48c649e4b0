"""Writes data/model_facts.csv: when each catalogued name was released and what kind of model it is, with the source.

    python tools/model_facts.py FACTS.csv

FACTS.csv is a scrape of the hub with the columns id, released, use_case and capabilities. A date that the table already
has from another source than the scrape (an announcement) is kept; a kind is told anew from the name, the config and
the use that the hub tells. `2022-03-02` is the hub's own date for everything older, so it tells nothing.
"""

from __future__ import annotations

import csv
import re
import sys
from bisect import bisect_left
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from sizer.model.read import catalogue
from sizer.tables import read_rows

# Months of announcements, for names whose repository's date the hub lost or the scrape lacks.
ANNOUNCED = Path(__file__).resolve().parent / "announced.csv"
# Kinds by a word of a name, or by how it starts where the model card alone tells; the first row that matches decides.
KINDS = Path(__file__).resolve().parent / "kinds.csv"
TARGET = Path(__file__).resolve().parent.parent / "data" / "model_facts.csv"
Announced = tuple[tuple[re.Pattern[str], str], ...]
FIELDS = ("model", "released", "released_source", "kind", "kind_source", "images")
PLACEHOLDER = "2022-03-02"
MADE_ANEW_MONTHS = 6
SCRAPE = "hub: repository created (llmfit catalogue, August 2026)"

MARK = re.compile(r"[-_. ](?:instruct|inst|chat|it|sft|thinking)(?=[-_. ]|$)", re.IGNORECASE)
BASE_MARK = re.compile(r"[-_. ](?:base|pt|pretrain(?:ed)?)(?=[-_. ]|$)", re.IGNORECASE)
COPY = re.compile(r"[-_.](?:nvfp4|fp8|bf16|base|it|instruct|awq|gptq|4bit|pt)\b.*", re.IGNORECASE)
IN_A_FORMAT = re.compile(
    r"(?:gguf|gptq|awq|fp8|bnb|[34568]bits?|int[48]|unsloth|mlx|exl[23]?|nvfp4|mxfp4|fp4|dynamic|quantized|w4a16|w8a8|bf16|"
    r"fp16|g128|abliterated|uncensored|dwq|dq3|dq4|autoround)+[a-z0-9]{0,12}"
)
TOWERS = ("vision_config", "vit_config", "img_processor", "vision_tower", "mm_vision_tower")


@cache
def rules(where: str) -> tuple[tuple[str, re.Pattern[str]], ...]:
    """The rows of `tools/kinds.csv` for a word or for the start of a name."""
    shape = r"(?:^|-)(?:{})(?:-|$)" if where == "word" else "{}"
    with KINDS.open(encoding="utf-8", newline="") as lines:
        found = [row for row in csv.DictReader(lines) if row["where"] == where]
    return tuple((row["kind"], re.compile(shape.format(row["pattern"]), re.IGNORECASE)) for row in found)


def by_name(last: str) -> tuple[str, str] | None:
    """The kind that a name tells: a vision model's word counts before a base's."""
    text = re.sub(r"[_ ]", "-", last)
    instruct = next((kind for kind, pattern in rules("start") if kind == "instruct" and pattern.match(last)), None)
    if instruct:
        return instruct, "model card"
    word = next((kind for kind, pattern in rules("word") if pattern.search(text)), None)
    if word:
        return word, "name"
    start = next((kind for kind, pattern in rules("start") if pattern.match(last)), None)
    return (start, "model card: pretrained") if start else None


def sees(config: Mapping[str, object]) -> bool:
    """Whether the config has a tower for images."""
    return any(config.get(field) for field in TOWERS)


def kind(name: str, fact: Mapping[str, str], marked: set[str], based: set[str]) -> tuple[str, str]:
    """A name's kind and its source. `marked` are the names that stay of marked siblings without the mark."""
    use, folded = fact.get("use_case", ""), name.lower()
    tags = {"Code": "code", "Inst": "instruct", "Adva": "reasoning"}.get(use[:4])
    if found := by_name(name.rsplit("/", 1)[-1]):
        return found
    if tags == "code":
        return "code", "hub tags"
    if folded in based or folded in marked:
        unmarked = "instruct" if folded in based else "base"
        return unmarked, f"its {'base' if unmarked == 'instruct' else 'instruct'} model is marked as such"
    return (tags, "hub tags") if tags else ("instruct", "no mark of another kind")


def squashed(name: str) -> str:
    """The last part of a name, letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", name.rsplit("/", 1)[-1].lower())


def earliest_copies(facts: Mapping[str, Mapping[str, str]]) -> list[tuple[str, str]]:
    """(squashed name, day) of every repository whose day is told, in the order of the names."""
    return sorted(
        (squashed(name), fact["released"]) for name, fact in facts.items() if fact["released"] not in {"", PLACEHOLDER}
    )


def earliest_copy(name: str, copies: list[tuple[str, str]]) -> str:
    """The day of the earliest repository that holds a name in some format: a model is out before its copies are."""
    wanted, days = squashed(name), []
    for other, day in copies[bisect_left(copies, (wanted, "")) :]:
        if not other.startswith(wanted):
            break
        if other == wanted or IN_A_FORMAT.fullmatch(other[len(wanted) :]):
            days.append(day)
    return min(days, default="")


def release(
    name: str, facts: Mapping[str, Mapping[str, str]], copies: list[tuple[str, str]], announced: Announced
) -> tuple[str, str]:
    """The day or month of a name and where that comes from: its repository, or an earlier one that holds it in another
    format; its line's announcement where the repositories are over half a year younger (they were made anew)."""
    last = name.rsplit("/", 1)[-1]
    own = facts.get(name, {}).get("released", "")
    month = next((month for pattern, month in announced if pattern.match(last)), "")
    told = {
        SCRAPE: "" if own == PLACEHOLDER else own,
        "hub: the earliest repository that holds it": earliest_copy(name, copies),
    }
    day, source = min(((day, source) for source, day in told.items() if day), default=("", ""))
    if month and (not day or months(day) - months(month) > MADE_ANEW_MONTHS):
        return month, "announcement"
    if day:
        return day, source
    bare = earliest_copy(COPY.sub("", last), copies)
    if bare:
        return bare, "hub: the earliest repository of that name"
    month = next((month for pattern, month in announced if pattern.search(last)), "")
    return month, "announcement" if month else ""


def months(day: str) -> int:
    """Months since the year 0."""
    return 12 * int(day[:4]) + int(day[5:7])


def main() -> None:
    """Write the table."""
    with Path(sys.argv[1]).open(encoding="utf-8", newline="") as lines:
        facts = {row["id"]: row for row in csv.DictReader(lines)}
    kept = {row["model"]: row for row in read_rows("model_facts.csv")} if TARGET.exists() else {}
    names = {*facts, *(name for name, _ in catalogue.published())}
    marked = {MARK.sub("", name).lower() for name in names if MARK.search(name)}
    based = {BASE_MARK.sub("", name).lower() for name in names if BASE_MARK.search(name)}
    with ANNOUNCED.open(encoding="utf-8", newline="") as lines:
        announced = tuple((re.compile(row["pattern"], re.IGNORECASE), row["month"]) for row in csv.DictReader(lines))
    copies = earliest_copies(facts)
    rows = []
    for name, entry in catalogue.published():
        fact, old = facts.get(name, {}), kept.get(name, {})
        released, source = release(name, facts, copies, announced)
        if not released and old.get("released"):
            released, source = old["released"], old["released_source"]
        told = kind(name, fact, marked, based)
        rows.append((name, released, source, *told, "yes" if sees(catalogue.load(entry)) else ""))
    with TARGET.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows(sorted(rows, key=lambda row: row[0].lower()))


if __name__ == "__main__":
    main()
