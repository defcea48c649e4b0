"""Schemes: which tensors they touch, and the bytes of models that were really quantized."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from precisionmodels import experts_model, gguf_model, published_model, quantized_model, rows

from sizer.engine.stored import store_for
from sizer.model.architecture import Basis, Module, Role, Tensor
from sizer.model.stored import Stored
from sizer.precision.bitsandbytes import cpu_repacked_bytes, repacking_notes
from sizer.precision.names import all_precisions, precision_of
from sizer.precision.reference import reference_architecture
from sizer.precision.schemes import linears
from sizer.precision.store import store, stored_by

BITSANDBYTES = rows("bitsandbytes_bytes.csv")
BASE_PRECISIONS = ("fp32", "bf16", "fp16")
# The rotary buffers of the torchao and quanto model, which hold no weights.
ROTARY_BUFFER_BYTES = 256


def bitsandbytes_stored(row: dict[str, str]) -> Stored:
    """The model of a measured row, loaded in the type that the row says."""
    wide = row["scheme"] == "nf4_fp32base"
    model = quantized_model(row["model"], "float32" if wide else "")
    return store(model, "nf4" if wide else row["scheme"].replace("_", "-"))


@pytest.mark.parametrize("row", BITSANDBYTES, ids=lambda row: f"{row['model']}-{row['scheme']}")
def test_resident_bytes_equal_those_of_a_quantized_model(row: dict[str, str]) -> None:
    """Every row of models quantized by bitsandbytes, to the byte, buffers apart."""
    measured = int(row["actual_tensor_bytes"]) - int(row["buffer_bytes"])
    assert bitsandbytes_stored(row).weights_bytes == measured


@pytest.mark.parametrize(
    "row", [row for row in BITSANDBYTES if row["saved_file_bytes"]], ids=lambda row: f"{row['model']}-{row['scheme']}"
)
def test_saved_files_are_within_a_thousandth(row: dict[str, str]) -> None:
    """The saved file, its header estimated: within 0.1 % even for models of a megabyte."""
    stored = bitsandbytes_stored(row)
    if row["scheme"] == "bf16":
        kept = tuple(part for part in stored.tensors if not part.tensor.checkpoint_only)
        assert sum(part.size_bytes for part in kept) <= int(row["saved_tensor_bytes"]) + 32
        return
    assert stored.download_bytes == pytest.approx(int(row["saved_file_bytes"]), rel=1e-3)


@pytest.mark.parametrize(
    "row",
    [row for row in BITSANDBYTES if row["scheme"] in ("nf4", "fp4", "nf4_dq", "nf4_fp32base")],
    ids=lambda row: f"{row['model']}-{row['scheme']}",
)
def test_bytes_after_the_cpu_has_repacked(row: dict[str, str]) -> None:
    """The bytes after the first forward; a model whose forward failed has none."""
    repacked = cpu_repacked_bytes(bitsandbytes_stored(row))
    measured = row["post_forward_tensor_bytes"]
    assert repacked == (int(measured) - int(row["buffer_bytes"]) if measured else None)


@pytest.mark.parametrize("row", rows("other_quant_bytes.csv"), ids=lambda row: row["scheme"])
def test_torchao_and_quanto_equal_quantized_models(row: dict[str, str]) -> None:
    """torchao and quanto as really quantized, to the byte."""
    names = {
        "torchao_int8wo": "torchao-int8", "torchao_int8dyn": "torchao-int8", "torchao_fp8wo": "torchao-fp8",
        "torchao_intx_int4_g32": "torchao-intx-int4", "quanto_float8": "quanto-fp8",
    }  # fmt: skip
    precision = names.get(row["scheme"], row["scheme"].replace("_", "-"))
    stored = store(quantized_model("llama-1024w-2L"), precision)
    assert stored.weights_bytes + ROTARY_BUFFER_BYTES == int(row["actual_inner_tensor_bytes"])


PUBLISHED = {
    "Llama-2-13B-chat": "WizardLM/WizardLM-13B-V1.2", "LLaMA2-13B-Estopia": "WizardLM/WizardLM-13B-V1.2",
    "llama2_70b_chat_uncensored": "Llama-2-70b", "Llama-2-70B": "Llama-2-70b", "Llama-2-7B": "Llama-2-7B",
    "llama-2-7b-chat": "Llama-2-7B", "Synthia-7B-v1.3 (Mistral-7B)": "Mistral-7B", "Qwen2-7B-Instruct": "Qwen2-7B",
    "Hermes-2-Pro-Mistral-7B": "Mistral-7B", "blossom-v3_1-yi-34b": "Yi-34B", "Llama-3.1-70B": "Llama-3.1-70B",
    "Qwen2.5-7B-Instruct-1M": "Qwen2-7B", "Llama-3-8B-Instruct": "Llama-3-8B", "Llama-3-70B-Instruct": "Llama-3-70B",
    "Llama-3-70B": "Llama-3-70B", "TinyLlama-1.1B": "TinyLlama-v1",
}  # fmt: skip


def published_stored(row: dict[str, str]) -> Stored:
    """The model of a published repository at its precision; AutoGPTQ's files of 2023 carry a bias a matrix."""
    name = PUBLISHED[row["model"]]
    model = replace(published_model(name) or gguf_model(name), dtype="float16")
    if row["scheme"] == "gptq":
        bits = row["quant_params"][0]
        group = re.search(r"g(-?\d+)|(\d+)g", row["quant_params"])
        assert group is not None
        precision = f"gptq-int{bits}-g{group[1] or group[2]}"
        if "TheBloke" in row["hf_repo"]:
            key = precision_of(precision).format + "+bias"
            return stored_by(model, precision, linears(model, key), "gptq")
        return store(model, precision)
    width = row["quant_params"].split("bpw")[0]
    names = {"awq": "awq-int4", "bnb-nf4-dq": "nf4-dq", "mlx": "mlx-4bit", "exl2": f"exl2-{width}bpw"}
    return store(model, names[row["scheme"]])


@pytest.mark.parametrize(
    "row",
    [row for row in rows("quant_published_sizes.csv") if row["model"] in PUBLISHED],
    ids=lambda row: f"{row['model']}-{row['quant_params']}",
)
def test_published_checkpoints(row: dict[str, str]) -> None:
    """GPTQ, AWQ, bitsandbytes and MLX within 0.12 % and the page's rounding; EXL2 at most 0.4 % below."""
    published = float(row["published_gb"]) * 1e9
    size = published_stored(row).download_bytes
    assert size is not None
    if row["scheme"] == "exl2":
        assert -0.004 < size / published - 1 < 0.0005
    else:
        assert size == pytest.approx(published, rel=0.0012, abs=5e6)


def formats_by_role(stored: Stored) -> dict[Role, str]:
    """The format of each role."""
    return {part.tensor.role: part.format for part in stored.tensors}


def test_bitsandbytes_leaves_experts_head_and_tables_alone() -> None:
    """Only exact linears are converted; fused experts stay as they are loaded."""
    formats = formats_by_role(store(experts_model(), "nf4"))
    assert formats[Role.Q] == "bnb-nf4"
    assert {formats[role] for role in (Role.EXPERT_DOWN, Role.ROUTER, Role.EMBEDDING, Role.LM_HEAD)} == {"bf16"}


def test_calibrated_schemes_quantize_experts_and_not_the_router() -> None:
    """GPTQ reaches each expert, and leaves router, head and tables in 16 bits."""
    formats = formats_by_role(store(experts_model(), "gptq-int4"))
    assert formats[Role.EXPERT_DOWN] == formats[Role.Q] == "gptq-int4"
    assert {formats[role] for role in (Role.ROUTER, Role.EMBEDDING, Role.LM_HEAD, Role.OTHER)} == {"bf16"}


def test_mxfp4_is_the_experts_alone_where_there_are_experts() -> None:
    """gpt-oss keeps attention in bf16; a dense model has its projections converted."""
    formats = formats_by_role(store(experts_model(), "mxfp4"))
    assert formats[Role.EXPERT_DOWN] == "mxfp4"
    assert formats[Role.Q] == "bf16"
    assert formats_by_role(store(reference_architecture(), "mxfp4"))[Role.Q] == "mxfp4"


def test_mlx_quantizes_embeddings_and_head_too() -> None:
    """Every matrix whose rows divide into groups; norms stay."""
    formats = formats_by_role(store(experts_model(), "mlx-4bit"))
    assert formats[Role.EMBEDDING] == formats[Role.LM_HEAD] == formats[Role.ROUTER] == "mlx-4bit"
    assert formats[Role.NORM] == "bf16"
    assert formats_by_role(store(experts_model(), "mlx-4bit-g1024"))[Role.Q] == "bf16"


def test_exl2_heads_have_six_bits_and_eight_in_wide_files() -> None:
    """The head of an EXL2 file does not follow the stated bits."""
    assert formats_by_role(store(experts_model(), "exl2-2.50bpw"))[Role.LM_HEAD] == "exl2-head-6.00bpw"
    assert formats_by_role(store(experts_model(), "exl2-8.00bpw"))[Role.LM_HEAD] == "exl2-head-8.00bpw"


def test_engines_store_the_same_name_differently() -> None:
    """llama.cpp keeps norms in 32 bits, mistral.rs quantizes in place, MLX's MXFP4 has embeddings too."""
    model = experts_model()
    assert formats_by_role(store_for(model, "fp16", "llama.cpp"))[Role.NORM] == "fp32"
    assert formats_by_role(store(model, "fp16"))[Role.NORM] == "fp16"
    assert formats_by_role(store_for(model, "q4_k", "mistral.rs"))[Role.LM_HEAD] == "q4_k"
    assert formats_by_role(store_for(model, "mxfp4", "mlx-lm"))[Role.EMBEDDING] == "mxfp4"
    assert formats_by_role(store_for(model, "mxfp4", "ollama"))[Role.LM_HEAD] == "q8_0"


def test_a_float32_checkpoint_keeps_its_type_in_bitsandbytes() -> None:
    """What bitsandbytes leaves alone doubles for a float32 checkpoint."""
    wide = replace(experts_model(), dtype="float32")
    assert formats_by_role(store(wide, "nf4"))[Role.LM_HEAD] == "fp32"
    assert formats_by_role(store(wide, "gptq-int4"))[Role.LM_HEAD] == "bf16"


@pytest.mark.parametrize("name", all_precisions())
def test_parts_sum_and_layers_are_kept(name: str) -> None:
    """Whatever the precision, each layer's copy is stored once, and the parts sum to the whole."""
    for model in (experts_model(), reference_architecture()):
        stored = store(model, name, gguf_rule="new")
        running = [part for part in stored.tensors if not part.tensor.checkpoint_only]
        assert stored.weights_bytes == sum(part.size_bytes for part in running)
        assert sum(part.tensor.total_elements for part in running) == model.total_params
        assert stored.download_bytes is not None
        assert stored.download_bytes >= stored.weights_bytes


@given(st.sampled_from([2, 4, 8, 16]), st.sampled_from(["hqq", "mlx"]))
@settings(max_examples=20, deadline=None)
def test_more_bits_never_need_less(experts: int, family: str) -> None:
    """Within a family of schemes, bytes rise with bits."""
    model = experts_model(experts)
    sizes = [store(model, f"{family}-{bits}bit").weights_bytes for bits in (2, 3, 4, 8)]
    assert sizes == sorted(sizes)
    by_float = [store(model, name).weights_bytes for name in ("nf4-dq", "nf4", "int8", "fp16", "fp32")]
    assert by_float == sorted(by_float)


def test_a_name_alone_is_sized_by_usual_bits() -> None:
    """A model of one lump has the bits per weight of Llama-3-8B, and says that it is not exact."""
    lump = Tensor("parameters", (8_000_000_000,), Role.OTHER, Module.PARAMETER)
    model = replace(reference_architecture(), basis=Basis.NAME, tensors=(lump,), layers=())
    stored = store(model, "q4_k_m")
    assert not stored.exact
    assert "name" in stored.notes[0]
    assert stored.weights_bytes * 8 / 8e9 == pytest.approx(4.89, abs=0.01)


def test_four_bit_on_a_cpu_says_what_the_cpu_makes_of_it() -> None:
    """A note tells the repacked bytes, or that rows are no multiple of 32; other formats have none."""
    model = reference_architecture()
    repacked = cpu_repacked_bytes(store(model, "nf4"))
    assert repacking_notes(store(model, "nf4"))[0].endswith(f"{repacked:,} bytes then.")
    assert repacking_notes(store(model, "int8")) == ()
    odd = tuple(
        replace(tensor, shape=(200, *tensor.shape[1:])) if tensor.role is Role.UP else tensor
        for tensor in model.tensors
    )
    assert "multiples of 32" in repacking_notes(store(replace(model, tensors=odd), "nf4"))[0]
