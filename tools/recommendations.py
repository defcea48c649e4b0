"""Writes docs/recommendations.md: what sizer recommends for well-known pairs of model and machine.

Run: python tools/recommendations.py [--check]. With --check nothing is written; the exit code is 1 where it differs.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from sizer.cli import cli
from sizer.errors import DoesNotFit

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "recommendations.md"
PAIRS = ROOT / "docs" / "recommendations.csv"
HEAD = """# A hundred models and machines

What `sizer recommend` says, and whether a friend who knows would say so. Written by
`python tools/recommendations.py` out of `docs/recommendations.csv`; each row is the command in front of it with
`--offline`. Memory is in GiB; the rule is in [advice.md](advice.md). The verdict and the remark are judgements, read
row by row, of the answer that the file names: where today's answer is another, the row says which one was judged.

"""
TABLE = """
| machine | model | recommended | memory | tokens/s | verdict | remark |
| --- | --- | --- | --- | --- | --- | --- |
"""
VERDICTS = {
    "good": "what people who run it do, or better",
    "fine": "runs well; another choice is as sensible, and the remark names it",
    "doubtful": "honest about what is lost, but a friend would send you elsewhere",
}
KNOWN = """

What the verdicts taught, and what stays:

- On 8 to 24 GiB the advice takes the most bits that leave a GiB free, where habit takes Q4_K_M and a longer context:
  `--context` asks for one.
- A dense 70B beside 24 GiB stays a choice between slow and lossy; the command lists both, and a smaller model.
- Two bits are never advised without the words *often wrong* and the way to something better.
- Reading these rows changed the rule: a cache of eight bits before three bits of weights, a split where a model fills
  a card to the brim, a Mac's memory limit with its command, no four-bit cache and no context under 4,096 tokens before
  a split, and of the smaller models of one size the newest.
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
        return f"| {pair['machine']} | `{model}` | {found} | - | - | {pair['verdict']} | {pair['remark']} |"
    item = found["estimate"]
    memory, decode = item["memory"], item["decode"]
    host_bytes = memory["host_bytes"] or 0
    split = ""
    if memory["gpu_layers"] < found["model"]["num_layers"] and memory["gpu_layers"] and host_bytes:
        split = f", {memory['gpu_layers']} of {found['model']['num_layers']} layers on the device"
        if "experts of the other layers on the host" in found["recommendation"]["reason"]:
            split += ", the experts of the others on the host"
    kv = found["workload"]["kv_precision"]
    cache = f", {kv} cache" if kv != "fp16" else ""
    answer = f"{item['precision']} {item['engine']}"
    text = f"{item['precision']}, {item['engine']}, context {found['workload']['context_tokens']:,}{cache}{split}"
    rate = f"{decode['tokens_per_s']:.3g} ({decode['low_tokens_per_s']:.3g} to {decode['high_tokens_per_s']:.3g})"
    held = f"{(memory['total_bytes'] - host_bytes) / 2**30:.1f} of {memory['available_bytes'] / 2**30:.1f}"
    held += f", {host_bytes / 2**30:.1f} on the host" if host_bytes else ""
    verdict = pair["verdict"] if answer == pair["judged"] else f"{pair['verdict']} (of {pair['judged']})"
    return f"| {pair['machine']} | `{model}` | {text} | {held} | {rate} | {verdict} | {pair['remark']} |"


def page() -> str:
    """The whole page."""
    with PAIRS.open(encoding="utf-8", newline="") as file:
        pairs = list(csv.DictReader(file))
    counts = Counter(pair["verdict"] for pair in pairs)
    meanings = "\n".join(f"- **{name}** ({counts[name]}): {meaning}." for name, meaning in VERDICTS.items())
    commands = "\n".join(f"sizer {pair['command']}" for pair in pairs)
    rows = "\n".join(row(pair) for pair in pairs)
    return f"{HEAD}{meanings}\n{TABLE}{rows}{KNOWN}\nThe commands:\n\n```sh\n{commands}\n```\n"


def main(check: bool) -> int:
    """Write the page, or compare it."""
    text = page()
    if check:
        return int(PAGE.read_text(encoding="utf-8") != text)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
