"""GGUF: the type of every tensor, the bytes of llama-quantize, and published files."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from precisionmodels import DATA, config, file_elements, gguf_model, published_model, rows

from sizer.engine.engines import find_engine
from sizer.errors import UsageError
from sizer.formats import SAME_FORMAT, format_of
from sizer.model import families
from sizer.model.architecture import Architecture, Role
from sizer.model.read.headers_gguf import GGML_TYPES
from sizer.model.read.resolve import resolve
from sizer.model.stored import Stored
from sizer.precision.gguf_header import header_bytes
from sizer.precision.gguf_mixtures import category, default_types
from sizer.precision.gguf_tensors import gguf_model as converted
from sizer.precision.names import all_precisions, precision_of
from sizer.precision.reference import reference_architecture
from sizer.precision.store import store, stored_as

GIB = 2**30
QUANTIZED = [(row, False) for row in rows("gguf_tensor_bytes.csv")]
QUANTIZED += [(row, True) for row in rows("gguf_tensor_bytes_imatrix.csv")]
MODELS = sorted({row["model"] for row, _ in QUANTIZED})
# File names of 2023 whose experts were tensors of their own, by rules that are no longer known.
LEGACY_VARIANTS = ("pre-2024-01",)


def gguf(model: Architecture, ftype: str, *, imatrix: bool = False, rule: str = "old") -> Stored:
    """The model as a llama.cpp file of this type."""
    name = {"F16": "fp16", "BF16": "bf16", "F32": "fp32"}.get(ftype, ftype.lower())
    row = find_engine("llama.cpp").stored_precision(name)
    return stored_as(model, row, imatrix=imatrix, gguf_rule=rule)


def mixture(stored: Stored) -> dict[str, int]:
    """Elements by type."""
    counts: Counter[str] = Counter()
    for part in stored.tensors:
        counts[part.format] += part.tensor.total_elements
    return dict(counts)


@pytest.mark.parametrize("name", MODELS)
def test_every_type_of_a_shape_equals_llama_quantize(name: str) -> None:
    """Every file type of a shape, with and without an importance matrix: bytes and elements by type, exactly."""
    mine = [(row, imatrix) for row, imatrix in QUANTIZED if row["model"] == name]
    assert mine
    for row, imatrix in mine:
        stored = gguf(gguf_model(name), row["ftype"], imatrix=imatrix, rule="new")
        assert stored.weights_bytes == int(row["tensor_bytes_llama_quantize"]), row["ftype"]
        expected = {
            SAME_FORMAT.get(k.lower(), k.lower()): int(v) for k, v in re.findall(r"(\w+):(\d+)", row["type_mix"])
        }
        assert mixture(stored) == expected, row["ftype"]


@pytest.mark.parametrize("name", MODELS)
def test_the_file_holds_as_many_parameters_as_the_converter_wrote(name: str) -> None:
    """Tensors added (rope factors, a second head) and dropped are those of the converter."""
    row = next(row for row, _ in QUANTIZED if row["model"] == name)
    model = converted(gguf_model(name), "new")
    assert file_elements(model) == int(row["params"])
    assert model.arch == row["gguf_arch"]


def published_error(row: dict[str, str]) -> float | None:
    """Relative error of one published size; a row that does not say is tried with and without importance matrix."""
    model = published_model(row["hf_model_id"])
    if model is None or "mmproj" in row["model"]:
        return None
    published = float(row["size_bytes"] or 0) or float(row["size_gib"]) * GIB
    choices = (True, False) if row["imatrix"] == "" else (row["imatrix"] == "1",)
    errors = []
    for imatrix in choices:
        stored = gguf(model, row["quant"], imatrix=imatrix)
        # What llama.cpp prints (MiB, GiB) counts the tensors, what pages print (GB, bytes) the file.
        size = stored.weights_bytes if row["published_unit"] in ("MiB", "GiB") else stored.download_bytes
        assert size is not None
        errors.append(size / published - 1)
    return min(errors, key=abs)


def test_published_files_are_within_half_a_percent() -> None:
    """All published files of 2024 and 2025 whose model is described, by the older rule, header included."""
    known = [row for row in rows("gguf_published_sizes.csv") if row["rule_variant"] not in LEGACY_VARIANTS]
    errors = [
        (f"{row['model']} {row['quant']} {row['published_value']}", error)
        for row in known
        if (error := published_error(row)) is not None
    ]
    assert len(errors) == 372
    assert [(name, error) for name, error in errors if abs(error) > 0.005] == []


def test_published_files_of_fused_attention_follow_the_older_rule() -> None:
    """Fused attention tells the rules apart: the older one has fewer files beyond half a percent."""
    beyond = Counter({"old": 0, "new": 0})
    for row in rows("gguf_published_sizes.csv"):
        model = published_model(row["hf_model_id"])
        if model is None or row["rule_variant"] in LEGACY_VARIANTS or not row["model"].startswith(("Phi-3", "phi-4")):
            continue
        published = float(row["size_bytes"] or 0) or float(row["size_gib"]) * GIB
        for rule in beyond:
            size = gguf(model, row["quant"], imatrix=row["imatrix"] == "1", rule=rule).download_bytes
            assert size is not None
            beyond[rule] += abs(size / published - 1) > 0.005
    assert beyond["old"] == 0
    assert beyond["new"] > 10


def described(row: dict[str, str]) -> Architecture | None:
    """The model of a file, where one of the configs has just its parameters."""
    model = published_model(row["hf_model_id"])
    same = model is not None and int(row["params"]) == file_elements(converted(model, "old"))
    return model if same else None


EXACT = [(row, model) for row in rows("gguf_exact_file_bytes.csv") if (model := described(row)) is not None]


def test_by_default_tensors_are_todays_and_the_file_is_the_published_one() -> None:
    """phi-4 in Q2_K is 5.55 GB on the hub and 5.91 GB made today: both are told, and the difference explained."""
    model = published_model("microsoft/phi-4")
    assert model is not None
    default = store(model, "q2_k")
    assert default.download_bytes == store(model, "q2_k", gguf_rule="old").download_bytes
    assert default.download_bytes == pytest.approx(5.55e9, rel=0.002)
    assert default.tensors == store(model, "q2_k", gguf_rule="new").tensors
    assert default.weights_bytes == pytest.approx(5.91e9, rel=0.002)
    assert any("19770" in note for note in default.notes)
    llama = reference_architecture()
    assert store(llama, "q4_k_m").notes == ()
    by_rule = {store(llama, "q4_k_m", gguf_rule=rule).download_bytes for rule in ("auto", "old", "new")}
    assert len(by_rule) == 1
    matrix = store(llama, "iq3_xxs", imatrix=True)
    assert store(llama, "iq3_xxs").download_bytes == matrix.download_bytes


@pytest.mark.parametrize(("row", "model"), EXACT, ids=[f"{row['model']}-{row['quant']}" for row, _ in EXACT])
def test_files_known_to_the_byte(row: dict[str, str], model: Architecture) -> None:
    """Files whose bytes are known: within 0.02 %, or the half megabyte that some publishers' tokenizers add."""
    sizes = [gguf(model, row["quant"], imatrix=imatrix).download_bytes or 0 for imatrix in (False, True)]
    nearest = min(sizes, key=lambda size: abs(size - int(row["file_bytes"])))
    assert nearest == pytest.approx(int(row["file_bytes"]), rel=2e-4, abs=6e5)


def test_linear_attention_follows_the_older_rule_to_the_byte() -> None:
    """Qwen3.5-35B-A3B in Q4_K_M is 20177.96 MiB in llama.cpp's log before pull request 19770."""
    fields = json.loads((DATA / "Qwen3.5-35B-A3B.json").read_text(encoding="utf-8"))
    stored = gguf(families.build(fields, "Qwen/Qwen3.5-35B-A3B"), "Q4_K_M")
    assert stored.weights_bytes / 2**20 == pytest.approx(20177.96, abs=0.006)


def test_gpt_oss_keeps_its_experts_in_mxfp4() -> None:
    """Published gpt-oss-120b files of every type differ by their other tensors alone."""
    published_gib = {"Q4_K_M": 58.46, "Q4_K_S": 58.45, "Q2_K": 58.27, "Q6_K": 58.94, "Q8_0": 59.03, "Q3_K_M": 58.33}
    model = published_model("openai/gpt-oss-120b")
    assert model is not None
    for ftype, size in published_gib.items():
        stored = gguf(model, ftype)
        assert (stored.download_bytes or 0) / GIB == pytest.approx(size, abs=0.02), ftype
        assert "MXFP4" in stored.notes[0]


def test_large_files_have_tables_in_q8_0() -> None:
    """`_L` files: the embeddings and the output matrix in Q8_0, all else as in their base."""
    base, large = store(reference_architecture(), "q4_k_m"), store(reference_architecture(), "q4_k_l")
    formats = {part.tensor.role: part.format for part in large.tensors}
    assert formats[Role.EMBEDDING] == formats[Role.LM_HEAD] == "q8_0"
    tables = (Role.EMBEDDING, Role.LM_HEAD)
    rest = [{p.tensor.name: p.size_bytes for p in s.tensors if p.tensor.role not in tables} for s in (base, large)]
    assert rest[0] == rest[1]


def test_a_publishers_own_list_is_an_estimate() -> None:
    """No config tells unsloth's lists: the bytes of the base type, marked and explained."""
    for name in ("ud-q4_k_xl", "ud-iq2_xxs", "q4_k_p", "q8_k_xl"):
        stored = store(reference_architecture(), name)
        assert not stored.exact
        assert any("by hand" in note for note in stored.notes)
        assert stored.precision == name
    assert store(reference_architecture(), "ud-q4_k_xl").tensors == store(reference_architecture(), "q4_k_m").tensors


@pytest.mark.parametrize(
    "row", rows("gguf_dynamic_published.csv"), ids=lambda row: f"{row['model']}-{row['precision']}"
)
def test_a_publishers_own_list_is_near_its_base(row: dict[str, str]) -> None:
    """The known files of unsloth are within 9 % of the type that their name starts from."""
    model = published_model(f"openai/{row['model']}")
    if model is None:
        fields = json.loads((DATA / f"{row['model']}.json").read_text(encoding="utf-8"))
        model = families.build(fields, row["model"])
    assert store(model, row["precision"]).download_bytes == pytest.approx(int(row["size_bytes"]), rel=0.09)


def test_interleaved_types_take_the_bytes_of_their_own() -> None:
    """ik_llama.cpp's row-interleaved types hold the same blocks."""
    model = reference_architecture()
    assert store(model, "iq4_xs_r8").weights_bytes == store(model, "iq4_xs").weights_bytes
    assert store(model, "q4_0_4_4").weights_bytes == store(model, "q4_0").weights_bytes
    assert store(model, "iq4_ks_r4").weights_bytes == store(model, "iq4_ks").weights_bytes
    assert [GGML_TYPES[number] for number in (144, 344, 212, 233)] == ["iq4_ks", "iq4_ks", "q4_k", "q6_0"]


# Sizes told in ik_llama.cpp's pull requests 529, 642, 602 and 2480.
@pytest.mark.parametrize(
    ("model", "name", "published_gib"),
    [
        ("deepseek-ai/DeepSeek-R1-0528", "iq3_kt", 272.527),
        ("Qwen/Qwen3-235B-A22B", "iq4_kss", 114.093),
        ("Qwen/Qwen3-14B", "iq2_kl", 5.141),
        ("Qwen/Qwen3-4B", "iq4_ks_r4", 2.19),
    ],
)
def test_files_of_ik_llama_cpps_own_types_are_near_the_usual_recipe(
    model: str, name: str, published_gib: float
) -> None:
    """The experts have the type of the name, the rest more; the figures are said to be a recipe's."""
    stored = stored_as(resolve(model, offline=True).architecture, precision_of(name))
    assert stored.download_bytes is not None
    assert stored.download_bytes / GIB == pytest.approx(published_gib, rel=0.04)
    assert not stored.exact
    assert any("mixed by hand" in note for note in stored.notes)


def test_an_unknown_rule_is_an_error() -> None:
    """The rule is `old` or `new`."""
    with pytest.raises(UsageError, match="'newest'"):
        store(reference_architecture(), "q4_k_m", gguf_rule="newest")


def test_rows_that_are_no_whole_blocks_fall_back() -> None:
    """A row of 896 values is no whole 256: k-quants become blocks of 32; one of 100 values becomes 16-bit."""
    qwen = published_model("Qwen/Qwen2-0.5B-Instruct")
    assert qwen is not None
    assert {part.format for part in store(qwen, "q4_k_m").tensors} == {"fp32", "q5_0", "q8_0", "q4_k", "q6_k"}
    base = reference_architecture()
    odd = tuple(
        replace(tensor, shape=(*tensor.shape[:-1], 100)) if tensor.role is Role.GATE else tensor
        for tensor in base.tensors
    )
    formats = {part.tensor.role: part.format for part in store(replace(base, tensors=odd), "q4_0").tensors}
    assert formats[Role.GATE] == "fp16"


def test_an_unknown_tokenizer_is_estimated_and_said() -> None:
    """Where the tokenizer is not known the note says so; the header is the vocabulary's at the median rate."""
    strange = replace(reference_architecture(), vocab_size=77777)
    size, note = header_bytes(strange, converted(strange, "old"))
    assert note is not None
    assert "estimated" in note
    assert size == pytest.approx(77777 * 39, rel=0.02)
    known, nothing = header_bytes(reference_architecture(), converted(reference_architecture(), "old"))
    assert nothing is None
    assert known % 32 == 0


def test_an_architecture_that_llama_cpp_does_not_name_is_said() -> None:
    """Tensors are then named by role alone, and the figures are marked."""
    strange = replace(reference_architecture(), model_type="never-heard-of", config={})
    stored = store(strange, "q4_k_m")
    assert not stored.exact
    assert any("never-heard-of" in note for note in stored.notes)
    assert stored.weights_bytes == store(reference_architecture(), "q4_k_m").weights_bytes


@pytest.mark.parametrize("name", sorted(path.stem for path in (DATA / "gguf_configs").glob("*.json")))
def test_names_equal_those_of_gguf(name: str) -> None:
    """Each matrix has the name that gguf's own tensor map gives it, where the map knows the checkpoint's name."""
    import gguf as package

    model = gguf_model(name)
    file = converted(model, "new")
    archs = {value: key for key, value in package.MODEL_ARCH_NAMES.items()}
    names = package.get_tensor_name_map(archs[file.arch], model.num_layers)
    compared = 0
    for part in file.tensors:
        layer = str(part.layers[0]) if part.layers else ""
        source = part.tensor.name.replace("{layer}", layer).removesuffix(".weight")
        expected = names.get_name(source)
        if expected is None or part.tensor.role in (Role.NORM, Role.BIAS, Role.EXPERT_BIAS):
            continue
        assert part.name.replace("{layer}", layer).removesuffix(".weight") == expected
        compared += 1
    assert compared >= 5


GGUF_NAMES = [name for name in all_precisions() if precision_of(name).is_gguf]


@pytest.mark.parametrize("name", GGUF_NAMES)
def test_parts_sum_to_the_file(name: str) -> None:
    """Each tensor's layers are split without loss, the file is tensors, padding and header."""
    for model in (gguf_model("Mixtral-8x7B"), gguf_model("gemma-2-2b"), gguf_model("DeepSeek-V2-Lite")):
        stored = store(model, name, gguf_rule="old")
        elements = sum(part.tensor.total_elements for part in stored.tensors)
        assert elements == file_elements(converted(model, "old"))
        assert stored.weights_bytes == sum(part.size_bytes for part in stored.tensors)
        assert stored.download_bytes is not None
        assert stored.weights_bytes < stored.download_bytes < stored.weights_bytes * 1.02
        for part in stored.tensors:
            assert len(set(part.tensor.layers)) == len(part.tensor.layers)
            assert part.size_bytes >= part.tensor.total_elements * format_of(part.format).block_bytes // (
                format_of(part.format).block_elements
            )


@given(
    st.sampled_from([8, 16, 32]), st.sampled_from([1, 4, 8]), st.sampled_from([256, 512, 896, 1152]), st.integers(2, 40)
)
@settings(max_examples=40, deadline=None)
def test_larger_types_never_need_less(heads: int, groups: int, hidden: int, layers: int) -> None:
    """On any shape the sizes of a family are in the order of their names, by either rule."""
    base = reference_architecture()
    mixer = replace(base.layers[0].mixers[0], heads=heads, kv_heads=max(1, heads // groups))
    every = tuple(range(layers))
    tensors = tuple(
        replace(
            tensor,
            shape=tuple({4096: hidden, 14336: 4 * hidden, 128256: 999}.get(size, size) for size in tensor.shape),
            layers=every if tensor.layers else (),
        )
        for tensor in base.tensors
    )
    model = replace(
        base, tensors=tensors, layers=tuple(replace(base.layers[0], index=i, mixers=(mixer,)) for i in every)
    )
    ladders = (
        ("q2_k_s", "q2_k"), ("q3_k_s", "q3_k_m", "q3_k_l"), ("q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k"),
        ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "fp16", "fp32"), ("iq4_xs", "iq4_nl"),
    )  # fmt: skip
    for rule in ("old", "new"):
        for ladder in ladders:
            sizes = [
                gguf(model, name.upper() if name[0] != "f" else f"F{name[2:]}", rule=rule).weights_bytes
                for name in ladder
            ]
            assert sizes == sorted(sizes), ladder


def test_every_file_type_and_category_is_reachable() -> None:
    """Every file type of the table has a precision that starts from it, or is a plain type of llama.cpp."""
    started = {precision_of(name).ftype for name in all_precisions() if precision_of(name).is_gguf}
    assert set(default_types()) - started <= {"F16", "BF16", "F32", "NVFP4"}
    assert category("blk.0.ffn_down_shexp.weight") == "down"
    assert category("blk.0.attn_v_b.weight") == category("blk.0.ssm_in.weight") == "other"


def test_converters_split_what_they_split() -> None:
    """InternLM2's fused attention becomes query, key and value; Phi-3's stays whole."""
    base = config("gguf_configs", "Llama-3-8B")
    fields = {"model_type": "internlm2", "architectures": ["InternLM2ForCausalLM"], "vocab_size": 92544}
    split = converted(families.build(base | fields, "internlm/internlm2"), "new")
    rows_by_name = {part.name: part.rows for part in split.tensors if "attn" in part.name and part.dims > 1}
    assert rows_by_name == {
        "blk.{layer}.attn_q.weight": 4096,
        "blk.{layer}.attn_k.weight": 1024,
        "blk.{layer}.attn_v.weight": 1024,
        "blk.{layer}.attn_output.weight": 4096,
    }
    whole = converted(gguf_model("Phi-3-mini-4k"), "new")
    assert any("attn_qkv" in part.name for part in whole.tensors)
