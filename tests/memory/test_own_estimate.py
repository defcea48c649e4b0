"""Ollama's own estimate: its formulas by hand, its layers against a log, and the versions that have it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.api.asked import DeviceAsked
from sizer.api.targets import targets
from sizer.engine.estimate_rules import EstimateRule, estimate_rule, formula
from sizer.engine.releases import rules
from sizer.memory.case import Case
from sizer.memory.own_estimate import own_estimate
from sizer.model.read.resolve import resolve
from sizer.units import GIB
from sizer.workload import Workload

LLAMA_3 = {"B": 512, "C": 2048, "E": 4096, "V": 128_256, "H": 32, "K": 8, "D": 128, "M": 4096}


def case(model: str, device: str, memory_gib: float, context: int, version: str) -> Case:
    """A q4_K_M file under Ollama on a card with so much free memory."""
    (target,) = targets(DeviceAsked((device,), memory_bytes=int(memory_gib * GIB), ram_bytes=64 * GIB))
    work = Workload(512, 128, context, 1)
    asked = Question(
        resolve(model, offline=True).architecture, target, "q4_k_m", work, "ollama", engine_version=version
    )
    return estimate(asked).case


def rule(arch: str, version: str, *, experts: bool = False) -> EstimateRule:
    """The formulas in force."""
    found = estimate_rule("ollama", arch, experts, version, "")
    assert found is not None
    return found


def test_a_graph_by_hand() -> None:
    """Llama-3-8B at 2,048 cells and a batch of 512: 4 x 512 x (1 + 4 x 4096 + 2048 x 33) bytes, the 164.0 MiB of a log
    of 0.2; since 0.3.10 at least hidden size and vocabulary: 4 x 512 x (4096 + 128256), 258.5 MiB."""
    old, new = rule("llama", "0.2"), rule("llama", "0.3.10")
    assert old.bytes_of(old.full, LLAMA_3) == 4 * 512 * (1 + 4 * 4096 + 2048 * 33)
    assert new.bytes_of(new.full, LLAMA_3) == 4 * 512 * (4096 + 128_256)
    partial = 4 * 512 * 4096 + 4 * 512 * (4096 + 128_256) + 4096 * 128_256 * 105 // 128
    assert new.bytes_of(new.partial, LLAMA_3) == partial


def test_an_architecture_without_a_formula_takes_a_sixth_of_the_cache() -> None:
    """phi-4: 4 heads a KV head x 400 MiB / 6 = 266.7 MiB, 29 of 41 layers on 6.9 GiB, 9.6 GiB in all: its log."""
    found = own_estimate(case("microsoft/phi-4", "rtx-4060", 6.9, 2048, "0.5"))
    assert found is not None
    assert found.kv_bytes == 40 * 2048 * 10 * 256 * 2
    assert found.graph_bytes == 4 * found.kv_bytes // 6
    assert found.gpu_layers == 29
    assert found.total_bytes / GIB == pytest.approx(9.6, abs=0.05)


def test_the_estimate_decides_the_layers() -> None:
    """What Ollama before 0.30 sends to the card is what its estimate says, not what would fit."""
    asked = Question(
        resolve("microsoft/phi-4", offline=True).architecture,
        case("microsoft/phi-4", "rtx-4060", 6.9, 2048, "0.5").target,
        "q4_k_m",
        Workload(512, 128, 2048, 1),
        "ollama",
        engine_version="0.5",
    )
    told = estimate(asked)
    assert told.placement.gpu_layers == 28  # the output counts as one
    assert any("29 of 41 layers" in note for note in told.assumptions)
    newest = estimate(replace(asked, engine_version=""))
    assert not any("itself expects" in note for note in newest.assumptions)


@pytest.mark.parametrize(
    ("arch", "version", "has"),
    [
        ("llama", "0.24", True), ("llama", "0.30", False), ("gemma3", "0.11.10", True), ("gemma3", "0.11.11", False),
        ("qwen3", "0.11.11", True), ("qwen3", "0.12.0", False), ("deepseek2", "0.12.11", True),
        ("deepseek2", "0.13", False), ("granite", "0.20", True), ("granite", "", False),
    ],
)  # fmt: skip
def test_versions_that_estimate(arch: str, version: str, has: bool) -> None:
    """Models of Ollama's own engine are measured since it became theirs, all since 0.30; the newest holds untold."""
    assert (estimate_rule("ollama", arch, False, version, "") is not None) is has


def test_windows_of_gemma_3() -> None:
    """At 0.6.3 five of six layers of gemma-3-4b keep a slot's window and a batch, before that every layer all cells."""
    new = own_estimate(case("google/gemma-3-4b-it", "rtx-4090", 24, 8192, "0.6.3"))
    old = own_estimate(case("google/gemma-3-4b-it", "rtx-4090", 24, 8192, "0.6.0"))
    assert new is not None
    assert old is not None
    token = 4 * 256 * 2 * 2
    assert old.kv_bytes == 34 * 8192 * token
    assert new.kv_bytes == (5 * 8192 + 29 * (1024 + 512)) * token


@pytest.mark.parametrize(
    "row", [row for row in rules("own_estimates.csv", "engine")["ollama"] if row["before_version"]]
)
def test_every_formula_of_the_table_is_known(row: dict[str, str]) -> None:
    """Each row parses, and each letter is one that a case tells."""
    letters = set("BCEFVHKGWDMSXTPU")
    for column in ("full", "partial"):
        used = {letter for terms in formula(row[column]) for term in terms for letter in term.letters}
        assert used
        assert used <= letters


def test_a_projector_counts_with_the_output_layer() -> None:
    """A log of 0.11.3: gemma3:12b at 2,048 cells on 10.9 GiB, 795.9 MiB of projector and 1.0 GiB of its graph, 11.0 GiB
    in all, 608.0 MiB of cache, 48 of 49 layers; from 0.12.11 on Ollama adds adapters in its place."""
    found = own_estimate(case("google/gemma-3-12b-it", "rtx-3060-12gb", 10.9, 2048, "0.11.3"))
    assert found is not None
    assert found.kv_bytes == 608 * 2**20
    assert found.gpu_layers == 48
    assert found.total_bytes / GIB == pytest.approx(11.0, abs=0.1)
    sizes = {"I": 3 * 896**2, "Y": 1152, "Z": 14, "Q": 64**2, "R": 16}
    seen = estimate_rule("ollama", "gemma3", False, "0.11.3", "")
    assert seen is not None
    assert seen.bytes_of(seen.images, sizes) == 4 * (3 * 896**2 + 1152 * 14 + 64**4 * 16)
    assert (seen.projector, rule("llama", "0.6").projector, rule("llama", "0.20").projector) == ("last", "first", "")
