"""How a runtime's kernels on a backend are made, where that moves its speed: `data/kernel_facts.csv`, a row a fact."""

from __future__ import annotations

from functools import cache, lru_cache
from math import inf
from typing import Any

from sizer.engine.releases import rule_in_force
from sizer.frozen import NamedTuple
from sizer.tables import CELLS, read_rows


class KernelFacts(NamedTuple):
    """What is known of them; a fact that no row tells is the usual one.

    `bf16_apart`: bf16 is multiplied by a kernel of its own, not by that of fp16.
    `int8_products`: packed weights are multiplied by activations that are quantized to bytes.
    `vector_attention`: a prompt's keys and values are weighed on vector units, not on matrix units.
    `streamed_kv_heads`: from how many KV heads on each tile of a prompt's queries reads its head's keys from memory.
    `cache_by_head`: what part of what a step's query heads share of keys and values each reads by itself.
    `fast_cores`: a CPU's efficient cores are left alone where no number of threads is asked for.
    `last_token_layers`: layers that read others' keys run for a prompt's last token alone.
    `expert_launches`: device operations for each touched expert's part of a matrix, where a prompt's experts are
    multiplied one after the other; 0 where they are not.
    `peak_power`: the power of the card's peak that prompts grow with; None where the peak alone does not tell.
    `copies_offloaded`: each pass copies what lies on the host to the device, which multiplies by it.
    `chunks_in_flight`: chunks of a prompt that go through the devices of a layer split at once.
    """

    bf16_apart: bool = False
    int8_products: bool = False
    vector_attention: bool = False
    streamed_kv_heads: float = inf
    cache_by_head: float = 0.0
    fast_cores: bool = False
    last_token_layers: bool = False
    expert_launches: int = 0
    peak_power: float | None = None
    copies_offloaded: bool = False
    chunks_in_flight: int = 1


@lru_cache(maxsize=4096)
def kernel_facts(runtime: str, backend: str, vendor: str = "", version: str = "", date: str = "") -> KernelFacts:
    """The facts of a runtime on a backend; of rows that tell the same one, those which name more of the three, and of
    these that of the runtime's version, or where that is not known of a run's date (`rule_in_force`).

    A row without a runtime holds for all others on its backend, one without a backend for all of its runtime's, one
    without a vendor for all devices.
    """
    asked = {"runtime": runtime, "backend": backend, "vendor": vendor}
    told: dict[str, dict[tuple[bool, ...], list[dict[str, str]]]] = {}
    for row in _rows():
        if all(row[column] in {"", value} for column, value in asked.items()):
            named = tuple(bool(row[column]) for column in asked)
            told.setdefault(row["fact"], {}).setdefault(named, []).append(row)
    found = {fact: rule_in_force(rows[max(rows)], version, date)["value"] for fact, rows in told.items()}
    return KernelFacts()._replace(**{fact: read(fact, value) for fact, value in found.items()})


def read(fact: str, cell: str) -> Any:
    """The value of a fact's cell, read as its field's type says."""
    return CELLS[KernelFacts.__annotations__[fact]](cell)


@cache
def _rows() -> tuple[dict[str, str], ...]:
    return tuple(read_rows("kernel_facts.csv"))
