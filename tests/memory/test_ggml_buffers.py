"""Compute buffers against those that llama.cpp reserved for models of these sizes, on a CPU (build 11549, run here)."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from sizer.memory.graph.allocator import peak_bytes
from sizer.memory.graph.decoder import Part, compute_buffers
from sizer.memory.graph.nodes import Graph, Place, elementwise, entry, host_weight, operation, view
from sizer.memory.graph.shape import Experts, LayerShape, ModelShape, Step
from sizer.model.architecture import Mixer, MixerKind
from sizer.units import KIB, MIB

TABLE = Path(__file__).parent.parent / "data" / "memory" / "ggml_buffers.csv"
ROWS = list(csv.DictReader(TABLE.read_text(encoding="utf-8").splitlines()))
NEWEST_EMBEDDING_INPUTS = 3


def model_of(row: dict[str, str]) -> ModelShape:
    """The model that was run, as its graph is built."""
    heads, kv_heads, dim = int(row["heads"]), int(row["kv_heads"]), int(row["head_dim"])
    experts = None
    if row["experts"]:
        experts = Experts(int(row["experts"]), int(row["active_experts"]), int(row["expert_width"]), gated=True)
    layer = LayerShape(
        mixer=Mixer(MixerKind.FULL, heads, kv_heads, dim, dim),
        q_width=heads * dim,
        fused_qkv=False,
        qk_norm=row["architecture"].startswith("qwen3"),
        q_rank=0,
        ffn_width=int(row["intermediate"] or 0),
        gate="parallel" if row["intermediate"] else "",
        shared_width=0,
        experts=experts,
        post_norms=False,
        conv_width=0,
    )
    return ModelShape(int(row["hidden"]), int(row["vocab"]), (layer,) * int(row["layers"]))


def step_of(row: dict[str, str]) -> Step:
    """The step that the server reserved for: its slots have caches of their own."""
    flash, sequences = row["flash_attention"] == "on", int(row["sequences"])
    return Step(
        tokens=int(row["ubatch"]),
        sequences=sequences,
        outputs=sequences,
        cells=int(row["context"]) // sequences,
        window_cells=0,
        streams=sequences,
        flash_attention=flash,
        mask_bytes=2 if flash else 4,
        embedding_inputs=NEWEST_EMBEDDING_INPUTS,
        value_ids=int(row["kv_heads"]) * int(row["head_dim"]),
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row['architecture']}-{row['hidden']}-{row['context']}")
def test_the_buffer_is_what_llama_cpp_reserved(row: dict[str, str]) -> None:
    """To the printed hundredth of a MiB, with and without flash attention, experts, longer steps and more slots."""
    part = Part(0, int(row["layers"]), True, on_host=True)
    size_bytes = compute_buffers(model_of(row), step_of(row), part).host_bytes
    assert size_bytes / MIB == pytest.approx(float(row["compute_mib"]), abs=0.011)


def test_an_operation_overwrites_what_nobody_reads_any_more() -> None:
    """Two values of 1 KiB are alive at once: the source, and a product that a chain of norms overwrites."""
    graph = Graph()
    source = operation((256,), entry((1,)), host=False)
    product = operation((256,), source)
    graph.expand(elementwise(elementwise(product)))
    assert peak_bytes(graph)[Place.DEVICE] == 2 * KIB + 128


def test_a_viewed_value_stays() -> None:
    """A value that is read through a view cannot be overwritten: its reader takes memory of its own."""
    graph = Graph()
    source = operation((256,), entry((1,)))
    graph.expand(elementwise(view(source)))
    assert peak_bytes(graph)[Place.DEVICE] == 2 * KIB + 128


def test_weights_of_the_host_are_copied_one_after_another() -> None:
    """Three expert stacks of 1 MiB on the host pass through the device in one copy's room."""
    graph = Graph()
    state = operation((256,), entry((1,)))
    for _ in range(3):
        state = operation((256,), host_weight(MIB), state)
    graph.expand(state)
    assert MIB < peak_bytes(graph)[Place.DEVICE] < MIB + 8 * KIB


def test_a_pipeline_keeps_four_copies_of_its_inputs() -> None:
    """Devices that work as a pipeline keep what crosses to them four times."""
    sizes = []
    for copies in (1, 4):
        graph = Graph()
        graph.expand(operation((1,), entry((MIB // 4,))))
        sizes.append(peak_bytes(graph, copies)[Place.DEVICE])
    assert sizes[1] - sizes[0] == 3 * MIB
