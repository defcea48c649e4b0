"""Writes docs/recommendations.md: what sizer recommends for well-known pairs of model and machine.

Run: python tools/recommendations.py [--check]. With --check nothing is written; the exit code is 1 where it differs.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path
from typing import Any

from sizer.cli import cli
from sizer.errors import DoesNotFit

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "recommendations.md"
PAIRS = ROOT / "docs" / "recommendations.csv"
HEAD = """# Twenty models and machines

What `sizer recommend` says, and what people who run these report. Written by `python tools/recommendations.py` out of
`docs/recommendations.csv`; each row is the command in front of it with `--offline`. Memory is in GiB; the rule is in
[advice.md](advice.md).

| machine | model | recommended | memory | tokens/s | people run |
| --- | --- | --- | --- | --- | --- |
"""
JUDGED = """

The last column is what owners report in public threads, rounded: a judgement, not a measurement, and no test holds it.
Where the two differ:

- On 12 and 24 GiB the advice takes the most bits that leave a GiB free (5 bits), where habit takes Q4_K_M and a longer
  context: `--context` asks for one.
- A dense 70B beside a 24 GiB card stays a choice between slow and lossy; the command lists both, and a smaller model.
- On an APU all memory counts as the GPU's: a Ryzen AI Max+ 395 needs its limit raised for the last 32 GiB
  (`--memory 96GiB` is what its driver offers under Windows).
- The 4 bits of AWQ are estimated to lose as much as Q4_0 does; a 70B loses less.
"""


def recommended(command: str) -> dict[str, Any] | str:
    """The JSON of a recommendation, or why there is none."""
    from click.testing import CliRunner

    result = CliRunner().invoke(cli, [*command.split(), "--offline", "--json"])
    if isinstance(result.exception, DoesNotFit):
        return f"{result.exception.message} {result.exception.hint}"
    if result.exception is not None and result.exit_code:
        raise result.exception
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def row(pair: dict[str, str]) -> str:
    """One line of the table."""
    found = recommended(pair["command"])
    model = pair["command"].split()[1]
    if isinstance(found, str):
        return f"| {pair['machine']} | `{model}` | {found} | - | - | {pair['practice']} |"
    item = found["estimate"]
    memory, decode = item["memory"], item["decode"]
    host_bytes = memory["host_bytes"] or 0
    split = ""
    if memory["gpu_layers"] < found["model"]["num_layers"] and host_bytes:
        split = f", {memory['gpu_layers']} of {found['model']['num_layers']} layers on the device"
        if "experts of the other layers on the host" in found["recommendation"]["reason"]:
            split += ", the experts of the others on the host"
    kv = found["workload"]["kv_precision"]
    cache = f", {kv} cache" if kv != "fp16" else ""
    context = found["workload"]["context_tokens"]
    text = f"{item['precision']}, {item['engine']}, context {context:,}{cache}{split}"
    rate = f"{decode['tokens_per_s']:.3g} ({decode['low_tokens_per_s']:.3g} to {decode['high_tokens_per_s']:.3g})"
    held = f"{(memory['total_bytes'] - host_bytes) / 2**30:.1f} of {memory['available_bytes'] / 2**30:.1f}"
    held += f", {host_bytes / 2**30:.1f} on the host" if host_bytes else ""
    return f"| {pair['machine']} | `{model}` | {text} | {held} | {rate} | {pair['practice']} |"


def page() -> str:
    """The whole page."""
    with PAIRS.open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    commands = "\n".join(f"sizer {pair['command']}" for pair in pairs)
    return HEAD + "\n".join(row(pair) for pair in pairs) + f"{JUDGED}\nThe commands:\n\n```sh\n{commands}\n```\n"


def main(check: bool) -> int:
    """Write the page, or compare it."""
    text = page()
    if check:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
