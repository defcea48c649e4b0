"""Compute buffers against those that llama.cpp reserved for models of these sizes, on a CPU (build 11549, run here)."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from sizer.memory.graph.allocator import Buffer, Chunk, peak_bytes
from sizer.memory.graph.decoder import Part, compute_buffers
from sizer.memory.graph.nodes import Graph, Place, elementwise, entry, host_weight, operation, view
from sizer.memory.graph.shape import Experts, LayerShape, ModelShape, Step, model_shape
from sizer.model.architecture import Mixer, MixerKind
from sizer.model.read.resolve import resolve
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


def layer_of(mixer: Mixer, q_width: int, **parts: object) -> LayerShape:
    """A layer with what is said of it, and nothing else."""
    plain: dict[str, object] = {
        "fused_qkv": False, "qk_norm": False, "q_rank": 0, "ffn_width": 0, "gate": "", "shared_width": 0,
        "experts": None, "post_norms": False, "conv_width": 0,
    }  # fmt: skip
    return LayerShape(mixer=mixer, q_width=q_width, **(plain | parts))  # type: ignore[arg-type]


def latent_model() -> ModelShape:
    """DeepSeek-V2-Lite."""
    mla = Mixer(MixerKind.MLA, 16, 1, 192, 128, latent_elements=576)
    dense = layer_of(mla, 3072, ffn_width=10944, gate="parallel")
    routed = layer_of(mla, 3072, experts=Experts(64, 6, 1408, gated=True), shared_width=2816)
    return ModelShape(2048, 102400, (dense, *(routed,) * 26))


def windowed_model() -> ModelShape:
    """Gemma 3 4B, seven layers of it."""
    layers = [
        layer_of(Mixer(kind, 8, 4, 256, 256, window_tokens=window), 2048, qk_norm=True, ffn_width=10240,
                 gate="parallel", post_norms=True)
        for kind, window in [(MixerKind.SLIDING, 1024)] * 5 + [(MixerKind.FULL, None), (MixerKind.SLIDING, 1024)]
    ]  # fmt: skip
    return ModelShape(2560, 262144, tuple(layers))


def gpt_oss() -> ModelShape:
    """gpt-oss-20b, four layers of it."""
    experts = Experts(32, 4, 2880, gated=True)
    windows = (MixerKind.SLIDING, 128), (MixerKind.FULL, None)
    layers = [
        layer_of(Mixer(kind, 64, 8, 64, 64, window_tokens=window), 4096, experts=experts) for kind, window in windows
    ]
    return ModelShape(2880, 201088, tuple(layers) * 2)


def hybrid(*, dense: bool) -> ModelShape:
    """Qwen3.6-27B or 35B-A3B, four layers of it: three gated delta nets and gated attention."""
    heads, kv_heads, hidden, values = (24, 4, 5120, 48) if dense else (16, 2, 2048, 32)
    parts: dict[str, object] = {"ffn_width": 17408, "gate": "parallel"}
    if not dense:
        parts = {"experts": Experts(256, 8, 512, gated=True), "shared_width": 512}
    delta = Mixer(MixerKind.LINEAR, values, 0, 128, 128, state_elements=1)
    linear = layer_of(delta, 0, fused_qkv=True, conv_width=2 * 2048 + values * 128, **parts)
    full = layer_of(Mixer(MixerKind.FULL, heads, kv_heads, 256, 256), 2 * heads * 256, qk_norm=True, **parts)
    return ModelShape(hidden, 248320, (linear,) * 3 + (full,))


def state_space(hidden: int, inner: int, heads: int, groups: int) -> ModelShape:
    """Mamba-2, three layers of it."""
    conv_width = inner + 2 * groups * 128
    mixer = Mixer(MixerKind.SSM, heads, state_elements=inner * 128 + 4 * conv_width)
    return ModelShape(hidden, 50280, (layer_of(mixer, inner, conv_width=conv_width),) * 3)


@pytest.mark.parametrize(
    ("model", "context", "window_cells", "sequences", "flash", "printed"),
    [
        (latent_model(), 8192, 0, 1, True, 92.14),
        (latent_model(), 8192, 0, 1, False, 332.01),
        (windowed_model(), 32768, 1536, 1, True, 118.53),
        (windowed_model(), 8192, 1536, 1, False, 184.02),
        (gpt_oss(), 32768, 768, 1, True, 128.40),
        (hybrid(dense=False), 34048, 0, 1, True, 109.27),
        (hybrid(dense=False), 66816, 0, 1, True, 141.27),
        (hybrid(dense=False), 4096, 0, 2, True, 80.02),
        (hybrid(dense=False), 4096, 0, 16, True, 129.52),
        (hybrid(dense=True), 32768, 0, 1, True, 184.02),
        (state_space(2560, 5120, 80, 1), 256, 0, 1, True, 79.23),
        (state_space(4096, 8192, 128, 8), 256, 0, 1, True, 132.38),
    ],
)
def test_latents_windows_and_states_are_what_llama_cpp_reserved(  # noqa: PLR0917 - a table of printed sizes
    model: ModelShape, context: int, window_cells: int, sequences: int, flash: bool, printed: float
) -> None:
    """MLA, windows, gpt-oss's experts and gated delta nets, run as the table's models were: within 0.02 MiB."""
    widths = [layer.mixer.kv_heads * layer.mixer.v_head_dim for layer in model.layers if layer.mixer]
    step = Step(
        tokens=512, sequences=sequences, outputs=sequences, cells=context, window_cells=window_cells, streams=sequences,
        flash_attention=flash, mask_bytes=2 if flash else 4, embedding_inputs=NEWEST_EMBEDDING_INPUTS,
        value_ids=1 if model == latent_model() else max([*widths, 1]),
    )  # fmt: skip
    size_bytes = compute_buffers(model, step, Part(0, len(model.layers), True, on_host=True)).host_bytes
    assert size_bytes / MIB == pytest.approx(printed, abs=0.02)


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


@pytest.mark.parametrize(
    ("model", "context", "window_cells", "sequences", "flash", "device_mib", "host_mib"),
    [
        (hybrid(dense=False), 34048, 0, 1, True, 102.27, 41.27),
        (hybrid(dense=False), 66816, 0, 1, True, 134.27, 73.27),
        (hybrid(dense=False), 8192, 0, 2, True, 73.02, 12.02),
        (hybrid(dense=False), 65536, 0, 16, True, 125.52, 12.02),
        (hybrid(dense=True), 32768, 0, 1, True, 154.13, 52.02),
        (windowed_model(), 32768, 1536, 1, True, 111.52, 43.52),
        (gpt_oss(), 32768, 768, 1, True, 119.52, 44.02),
        (latent_model(), 8192, 0, 1, True, 84.13, 16.01),
        (latent_model(), 8192, 0, 1, False, 324.01, 24.01),
    ],
)
def test_vulkan_runs_a_graph_in_its_own_order(  # noqa: PLR0917 - a table of printed sizes
    model: ModelShape, context: int, window_cells: int, sequences: int, flash: bool, device_mib: float, host_mib: float
) -> None:
    """What build 10434 reserved on a Vulkan device of the system's own renderer, within 0.03 MiB."""
    step = Step(
        tokens=512, sequences=sequences, outputs=sequences, cells=context // sequences, window_cells=window_cells,
        streams=sequences, flash_attention=flash, mask_bytes=2 if flash else 4, embedding_inputs=2, value_ids=1,
    )  # fmt: skip
    found = compute_buffers(model, step, Part(0, len(model.layers), True, reorders=True))
    assert found.device_bytes / MIB == pytest.approx(device_mib, abs=0.03)
    assert found.host_bytes / MIB == pytest.approx(host_mib, abs=0.03)


def test_vulkan_keeps_a_wide_mask_below_its_logits() -> None:
    """With logits of every row (before build 9500) a mask's hole is not joined with the end: the log's 498 MiB at two
    slots, and 576.52 MiB at 34,048 cells, of Qwen3.6-35B-A3B with all its layers."""
    shape = hybrid(dense=False)
    whole = replace(shape, layers=shape.layers * 10)
    for cells, sequences, printed in ((34048, 1, 576.52), (4096, 2, 498.0), (4096, 16, 557.02)):
        step = Step(512, sequences, 512, cells, 0, sequences, flash_attention=True, mask_bytes=4, embedding_inputs=2)
        found = compute_buffers(whole, step, Part(0, 40, True, reorders=True))
        assert found.device_bytes / MIB == pytest.approx(printed, abs=0.03)


def test_an_empty_value_keeps_the_free_blocks_around_it_apart() -> None:
    """ggml leaves an empty block where an empty value lay: a hole and the end that it touches are not joined then."""
    inside = Chunk(1000)
    whole, rest = inside.take(-1, 100), inside.take(-1, 50)
    inside.give(50, 0)
    inside.give(whole, 100)
    inside.give(rest, 50)
    assert inside.free == [[0, 150], [50, 0], [150, 850]]


def test_a_vulkan_buffer_is_of_chunks() -> None:
    """Two values of 700 MiB do not share a chunk of a GiB; a smaller one goes into what a chunk has left."""
    buffer = Buffer(1024 * MIB)
    for size_bytes in (700 * MIB, 700 * MIB, 300 * MIB):
        buffer.take(size_bytes)
    assert [chunk.peak_bytes // MIB for chunk in buffer.chunks] in ([1000, 700], [700, 1000])
    assert buffer.peak_bytes == 1700 * MIB


STACK_BYTES = 128 * 768 * 2048 * 34 // 32
"""A stack of experts in Q8_0, as `split_models` has it."""


def split_model(*, routed: bool) -> ModelShape:
    """Six layers that were run in part on the host, in Q8_0: 128 experts, or a dense MLP."""
    mixer = Mixer(MixerKind.FULL, 32, 4 if routed else 8, 128, 128)
    parts: dict[str, object] = {"experts": Experts(128, 8, 768, gated=True)}
    if not routed:
        parts = {"ffn_width": 12288, "gate": "parallel"}
    layer = layer_of(mixer, 4096, qk_norm=True, **parts)
    return ModelShape(2048 if routed else 4096, 32000, (layer,) * 6)


@pytest.mark.parametrize(
    ("routed", "part", "device_mib", "host_mib", "within"),
    [
        (True, {}, 92.01, 16.01, 0.001),
        (True, {"host_expert_bytes": STACK_BYTES}, 272.01, 16.01, 0.001),  # --cpu-moe
        (True, {"host_experts": True}, 56.01, 80.01, 0.001),  # --cpu-moe --no-op-offload
        (True, {"host_expert_bytes": STACK_BYTES, "host_value_bytes": 34 / 32, "host_layers": 4}, 288.0, 16.01, 0.01),
        (True, {"host_layers": 4}, 88.03, 96.01, 0.05),  # -ngl 3 --no-op-offload
        (False, {}, 96.01, 24.01, 0.001),
        (False, {"host_value_bytes": 34 / 32, "host_layers": 4}, 148.0, 24.01, 0.06),  # -ngl 3
        (False, {"host_layers": 4}, 96.01, 112.01, 0.001),  # -ngl 3 --no-op-offload
    ],
)
def test_what_lies_on_the_host_passes_through_the_device_or_is_computed_there(
    routed: bool, part: dict[str, float], device_mib: float, host_mib: float, within: float
) -> None:
    """As build 10434 reserved on Vulkan for layers or experts on the host, with weights copied and without."""
    step = Step(512, 1, 1, 8192, 0, 1, flash_attention=True, mask_bytes=2, embedding_inputs=2)
    found = compute_buffers(split_model(routed=routed), step, Part(0, 6, True, reorders=True)._replace(**part))  # type: ignore[arg-type]
    assert found.device_bytes / MIB == pytest.approx(device_mib, rel=within)
    assert found.host_bytes / MIB == pytest.approx(host_mib, rel=0.001)


def test_ik_multiplies_gates_in_place() -> None:
    """ik_llama.cpp's buffer for DeepSeek-V2-Lite on a CPU (its package, run here): 204 MiB, within 2 %."""
    step = Step(512, 1, 512, 4096, 0, 1, flash_attention=True, mask_bytes=4, embedding_inputs=1, gated_inplace=True)
    found = compute_buffers(latent_model(), step, Part(0, 27, True, on_host=True)).host_bytes / MIB
    own = compute_buffers(
        latent_model(), step._replace(gated_inplace=False, cells=512), Part(0, 27, True, on_host=True)
    )
    assert found == pytest.approx(204, rel=0.021)
    assert own.host_bytes / MIB > 230


def normed_behind() -> ModelShape:
    """EXAONE 4.0 1.2B, four layers of it and 32,000 words: what layers give is normed, not what they read."""
    mixer = Mixer(MixerKind.FULL, 32, 8, 64, 64)
    layer = layer_of(
        mixer, 2048, qk_norm=True, ffn_width=4096, gate="parallel", post_norms=True, pre_norms=False
    )  # fmt: skip
    return ModelShape(2048, 32000, (layer,) * 4)


@pytest.mark.parametrize(("flash", "printed"), [(True, 52.02), (False, 550.01)])
def test_layers_that_norm_behind_alone(flash: bool, printed: float) -> None:
    """Build 11549 on a CPU, run here; and 44.01 MiB by Vulkan."""
    step = Step(
        512, 1, 1, 8192, 0, 1, flash_attention=flash, mask_bytes=2 if flash else 4, embedding_inputs=3, value_ids=512
    )
    own = compute_buffers(normed_behind(), step, Part(0, 4, True, on_host=True)).host_bytes / MIB
    assert own == pytest.approx(printed, abs=0.02)
    if flash:
        device = compute_buffers(normed_behind(), step._replace(embedding_inputs=2), Part(0, 4, True, reorders=True))
        assert device.device_bytes / MIB == pytest.approx(44.01, abs=0.02)


@pytest.mark.parametrize(
    ("model", "pre_norms", "post_norms", "side_by_side"),
    [
        ("LGAI-EXAONE/EXAONE-4.0-1.2B", False, True, False),
        ("allenai/OLMo-2-0325-32B", False, True, False),
        ("google/gemma-3-4b-it", True, True, False),
        ("Qwen/Qwen3-8B", True, False, False),
        ("microsoft/phi-1_5", True, False, True),
        ("CohereLabs/c4ai-command-r7b-12-2024", True, False, True),
    ],
)
def test_where_a_layer_norms_is_read_from_its_tensors(
    model: str, pre_norms: bool, post_norms: bool, side_by_side: bool
) -> None:
    """Before, behind or both; one norm alone says that attention and MLP read the same vector."""
    layers = model_shape(resolve(model, offline=True).architecture).layers
    assert {(one.pre_norms, one.post_norms, one.side_by_side) for one in layers} == {
        (pre_norms, post_norms, side_by_side)
    }


def test_a_buffer_of_any_size_is_counted() -> None:
    """Slots by the hundred billion are told what they would take, as a million are: in proportion."""
    model = model_shape(resolve("meta-llama/Meta-Llama-3-8B-Instruct", offline=True).architecture)
    step = Step(512, 1, 1, 4096, 0, 1, flash_attention=True, mask_bytes=4, embedding_inputs=2)
    million, more = (
        compute_buffers(model, step._replace(tokens=count, outputs=count), Part(0, 32, True)).device_bytes
        for count in (10**6, 10**11)
    )
    assert more == pytest.approx(million * 10**5, rel=0.01)


def test_splits_that_show_the_same_layers_take_the_same_buffers() -> None:
    """Ten or eleven of 32 equal layers on the host are one graph; the first and the last layers are others."""
    model = model_shape(resolve("meta-llama/Meta-Llama-3-8B-Instruct", offline=True).architecture)
    assert set(model.kinds) == {0}
    step = Step(512, 1, 1, 4096, 0, 1, flash_attention=True, mask_bytes=4, embedding_inputs=2)
    told = {count: compute_buffers(model, step, Part(0, 32, True, host_layers=count)) for count in (0, 1, 10, 11, 31)}
    assert told[10] == told[11]
    assert told[0].device_bytes == told[10].device_bytes
    assert told[0].host_bytes < told[10].host_bytes
