"""What engines and flags add of a model drawn by hand (`tests/support/drawn.py`), counted on paper."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import ALL, EXPERTS, HIDDEN, LAYERS, MIXER, MTP, TENSORS, VOCAB, WIDTH, case, model, rule  # fmt: skip

from sizer.engine.options import EngineOptions
from sizer.memory.activations import activation_values_per_token
from sizer.memory.added_by_flags import lora_bytes, prediction_bytes
from sizer.memory.case import Case
from sizer.memory.footprint import footprint
from sizer.memory.projector import projector_bytes, projector_compute_bytes
from sizer.memory.working import _captured_sizes, graphs_bytes, padded_bytes, rotary_bytes
from sizer.model.architecture import Module, Role, Tensor, Tower
from sizer.model.stored import Stored, StoredTensor
from sizer.workload import Workload


def test_adapters_take_both_factors_of_every_linear_layer() -> None:
    """Slots x rank x (inputs + outputs) of queries and routers in four layers, 2 bytes each, divided by the ranks."""
    sides = LAYERS * ((96 + HIDDEN) + (EXPERTS + HIDDEN))
    assert lora_bytes(case()) == 0
    assert lora_bytes(case(options=EngineOptions("vllm", lora=True))) == 16 * sides * 2
    files = EngineOptions("llama.cpp", lora_files=("a", "b", "c"))
    assert lora_bytes(case(options=files)) == 3 * 16 * sides * 2
    flags = EngineOptions("vllm", lora=True, lora_slots=4, lora_rank=8)
    assert lora_bytes(case(options=flags, cards_bytes=(2**30, 2**30))) == 4 * 8 * sides * 2 // 2


def test_layers_for_drafting_are_loaded_where_flags_draft_with_them() -> None:
    """The checkpoint's own, divided by the ranks; not beside a model that drafts."""
    drafts = EngineOptions("vllm", draft_method="mtp")
    assert prediction_bytes(case(options=drafts)) == MTP
    assert prediction_bytes(case(options=drafts, cards_bytes=(2**30, 2**30))) == MTP // 2
    assert prediction_bytes(case(options=replace(drafts, draft_model="small"))) == 0
    assert prediction_bytes(case()) == 0


VISION = (
    Tensor("patch", (64, 3, 10, 10), Role.OTHER, Module.CONV, tower=Tower.VISION),
    Tensor("bias", (64,), Role.BIAS, Module.CONV, tower=Tower.VISION),
    Tensor("position", (9, 64), Role.POSITION, Module.EMBEDDING, tower=Tower.VISION),
    Tensor("o", (64, 64), Role.O, Module.LINEAR, layers=(0, 1), tower=Tower.VISION),
    Tensor("up", (100, 64), Role.UP, Module.LINEAR, layers=(0, 1), tower=Tower.VISION),
    Tensor("down", (64, 100), Role.DOWN, Module.LINEAR, layers=(0, 1), tower=Tower.VISION),
)


def seeing(options: EngineOptions, **vision: object) -> Case:
    """A model with that tower, on llama.cpp."""
    sees = model(tensors=(*TENSORS, *VISION), config={"vision_config": vision})
    return case(sees, engine=rule("llama.cpp"), options=options)


def test_a_projectors_file_is_its_towers_by_type() -> None:
    """Vectors and positions in 32 bits, the rest in 16; Q8_0 for rows of whole blocks, patches in BF16 files in 32."""
    fixed, patch, whole, odd = 4 * (64 + 9 * 64), 64 * 300, 2 * (64 * 64 + 100 * 64), 2 * 64 * 100
    for name, size in (
        ("mmproj-F16.gguf", fixed + 2 * (patch + whole + odd)),
        ("mmproj-BF16.gguf", fixed + 4 * patch + 2 * (whole + odd)),
        ("mmproj-Q8_0.gguf", fixed + 2 * (patch + odd) + whole * 34 // 32),
    ):
        assert projector_bytes(seeing(EngineOptions("llama.cpp", vision_file=name))) == size


def test_a_projectors_buffer_is_what_its_image_takes() -> None:
    """30 x 30 pixels are 3 x 3 patches of 3 x 10 x 10 values: the image in 32 bits and its columns in 16, each to whole
    128 bytes; the layers find room in what that leaves. Scores of all heads stand beside without flash attention."""
    flags = EngineOptions("llama.cpp", vision_file="mmproj-F16.gguf")
    sees = seeing(flags, image_size=30, num_heads=8)
    assert projector_compute_bytes(sees) == 85 * 128 + 43 * 128
    assert 9 * 300 * 4 <= 85 * 128 < 9 * 300 * 4 + 128
    assert 9 * 300 * 2 <= 43 * 128 < 9 * 300 * 2 + 128
    many = seeing(replace(flags, flash_attention=False), image_size=30, num_heads=64)
    assert 64 * 81 * 4 < projector_compute_bytes(many) < 64 * 81 * 4 + 85 * 128 + 43 * 128
    for odd in ("x", 0, -7, None, 1.5):
        assert projector_compute_bytes(seeing(flags, image_size=odd)) == 0


def test_a_projector_is_loaded_where_flags_say_so() -> None:
    """Not on the host, not for --no-mmproj; always in Ollama."""
    sees = seeing(EngineOptions("llama.cpp", vision_file="mmproj-F16.gguf"), image_size=30)
    blind = replace(sees, options=replace(sees.options, vision=False))
    assert (projector_bytes(blind), projector_compute_bytes(blind)) == (0, 0)
    assert projector_bytes(replace(sees, options=EngineOptions("llama.cpp"))) == 0
    plain = replace(sees, engine=sees.engine._replace(engine="ollama"), options=EngineOptions("ollama"))
    assert projector_bytes(plain) == projector_bytes(sees)
    away = replace(sees, options=replace(sees.options, vision_on_device=False))
    assert (projector_bytes(away), projector_compute_bytes(away)) == (0, 0)


@pytest.mark.parametrize(
    ("most", "sizes"), [(1, 1), (2, 2), (4, 3), (8, 4), (255, 34), (256, 35), (272, 36), (512, 51)]
)
def test_sizes_of_captured_graphs(most: int, sizes: int) -> None:
    """1, 2, 4; 8, 16 … 248; 256, 272 … 512."""
    listed = [size for size in (1, 2, 4, *range(8, 256, 8), *range(256, 513, 16)) if size <= most]
    assert len(listed) == sizes
    captures = case(engine=rule("vllm", expert_graph_bytes=10), options=EngineOptions("vllm", graph_max_sequences=most))
    assert _captured_sizes(captures) == sizes
    assert graphs_bytes(captures) == 10 * LAYERS * sizes


def test_rotary_tables_have_a_row_a_position() -> None:
    """Of every width once: 4,096 positions x 24 x 2 bytes, whatever the longest sequence; none where none are known."""
    assert rotary_bytes(case()) == 4096 * 24 * 2
    assert rotary_bytes(case(options=EngineOptions("vllm", context_tokens=100))) == 4096 * 24 * 2
    unknown = case(model(max_context_tokens=None), options=EngineOptions("vllm", context_tokens=100))
    assert rotary_bytes(unknown) == 100 * 24 * 2
    wide = replace(MIXER, qk_head_dim=32)
    assert rotary_bytes(case(model(wide, MIXER))) == 4096 * (24 + 32) * 2
    assert rotary_bytes(case(model(max_context_tokens=None))) == 0


@pytest.mark.parametrize(
    ("role", "shape", "halves"),
    [
        (Role.EXPERT_GATE_UP, (EXPERTS, 80, HIDDEN), 2),
        (Role.EXPERT_UP, (EXPERTS, 40, HIDDEN), 1),
        (Role.EXPERT_DOWN, (EXPERTS, HIDDEN, 40), 1),
    ],
)
def test_experts_are_padded_to_whole_tiles(role: Role, shape: tuple[int, ...], halves: int) -> None:
    """Tiles of 96: hidden 64 to 96, widths of 40 to half tiles of 48, gate and up apart: 96 x 48 over 64 x 40."""
    stack = Tensor("up", shape, role, Module.EXPERT_STACK, layers=ALL, active_experts=2)
    size = EXPERTS * HIDDEN * 40 * halves * LAYERS // 2
    weights = Stored("mxfp4", (StoredTensor(stack, "mxfp4", size),), None)
    asked = replace(case(engine=rule("vllm", expert_tile=96)), stored=weights)
    assert padded_bytes(asked) == int(size * ((96 * 48) / (64 * 40) - 1))
    assert padded_bytes(replace(asked, engine=rule("vllm", tiled_precisions=()))) == 0
    assert padded_bytes(replace(asked, stored=replace(weights, precision="bf16"))) == 0


def test_the_widest_layer_is_alive() -> None:
    """Two hidden vectors, and 96 queries with their rotated copies, which ranks divide."""
    down = Tensor("down", (EXPERTS, HIDDEN, WIDTH), Role.EXPERT_DOWN, Module.EXPERT_STACK, layers=ALL, active_experts=2)
    code = rule().layer_code
    assert activation_values_per_token(model(), code) == code.hidden_copies * HIDDEN + 2 * 96
    assert activation_values_per_token(model(), code, 4) == code.hidden_copies * HIDDEN + 48
    wide = Tensor("v", (500, HIDDEN), Role.V, Module.LINEAR, layers=ALL)
    assert activation_values_per_token(model(tensors=(*TENSORS, wide)), code) == code.hidden_copies * HIDDEN + 692
    active = rule("vllm").layer_code
    assert active.experts == "active"
    few = model(tensors=(*(part for part in TENSORS if part.role is not Role.Q), down))
    assert activation_values_per_token(few, active) == active.hidden_copies * HIDDEN + 2 * WIDTH * 2


def test_logits_or_the_widest_layer_are_the_working_memory() -> None:
    """One row of logits a sequence and the residual of a chunk, or the layer, whichever is larger."""
    asked = case(workload=Workload(100, 28, 128, batch_size=3), engine=rule(prefill_chunk_tokens=50, cache_grows=False))
    engine = asked.engine
    assert engine.logits_rows == "last"
    code = activation_values_per_token(asked.architecture, engine.layer_code)
    layer = 50 * code * engine.activation_bytes_per_value
    logits = 3 * VOCAB * engine.logits_bytes_per_value + 50 * HIDDEN * engine.activation_bytes_per_value
    work = next(part.size_bytes for part in footprint(asked).activations.parts if part.name == "working memory")
    assert work == max(layer, logits)
    many = replace(asked, engine=engine._replace(logits_rows="chunk"))
    rows = 50 * VOCAB * engine.logits_bytes_per_value + 50 * HIDDEN * engine.activation_bytes_per_value
    work = next(part.size_bytes for part in footprint(many).activations.parts if part.name == "working memory")
    assert work == rows > layer
