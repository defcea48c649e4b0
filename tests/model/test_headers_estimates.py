"""Whatever a header holds is estimated or refused: parsing is not the end of it."""

from __future__ import annotations

from contextlib import suppress

from headerfiles import torch_header
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.answer.estimate import estimate
from sizer.answer.public import model_estimate
from sizer.answer.question import Question
from sizer.device.records import Device, Target
from sizer.errors import SizerError
from sizer.model.read.headers_torch_model import torch_model
from sizer.units import GIB
from sizer.workload import Workload

MODULES = (
    "self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.o_proj.weight",
    "self_attn.kv_a_proj_with_mqa.weight", "self_attn.kv_b_proj.weight", "self_attn.qkv_proj.weight",
    "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight", "mlp.gate_up_proj.weight", "mlp.gate.weight",
    "mlp.experts.0.down_proj.weight", "mlp.experts.1.down_proj.weight", "mlp.experts.gate_up_proj",
    "mlp.experts.down_proj", "mixer.in_proj.weight", "mixer.A_log", "mixer.conv1d.weight", "input_layernorm.weight",
)  # fmt: skip
OUTSIDE = ("model.embed_tokens.weight", "transformer.wte.weight", "lm_head.weight", "model.norm.weight", "visual.x")
NAMES = OUTSIDE + tuple(f"model.layers.{layer}.{module}" for layer in (0, 1, 70) for module in MODULES)
SHAPES = st.lists(st.sampled_from([1, 2, 3, 8, 32, 128]), max_size=3).map(tuple)


@settings(max_examples=200, deadline=None)
@given(
    tensors=st.dictionaries(
        st.sampled_from(NAMES), st.tuples(st.sampled_from(["F16", "F32", "F8_E4M3", "I8"]), SHAPES), min_size=1
    ),
    engine=st.sampled_from(["llama.cpp", "transformers", "vllm", "exllamav2"]),
    precision=st.sampled_from(["q4_k_m", "bf16", "nf4", ""]),
)
def test_what_a_header_holds_is_estimated_or_refused(
    tensors: dict[str, tuple[str, tuple[int, ...]]], engine: str, precision: str
) -> None:
    """Any tensors under the usual names, in any shape: an answer with finite bytes, or a SizerError."""
    target = Target(Device("card", "Card", "nvidia", "gpu", GIB, 1e12, {"fp16": 1e13}))
    with suppress(SizerError):
        architecture, stored = torch_model(torch_header(tensors), "m", None)
        kept = None if precision else stored
        asked = Question(architecture, target, precision or "bf16", Workload(), engine=engine, stored=kept)
        memory = model_estimate(estimate(asked)).memory
        assert memory.total_bytes >= memory.weights_bytes >= 0
