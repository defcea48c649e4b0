"""Formats against what the packages that write them store: tests/data/precision/packages.json, and transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sizer.errors import UnknownPrecision
from sizer.formats import format_of
from sizer.model.families import build
from sizer.precision.store import store_as_configured

RECORDED = json.loads((Path(__file__).parent.parent / "data" / "precision" / "packages.json").read_text())
LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def compressed_model(hidden_size: int, quantization: dict[str, Any]) -> dict[str, Any]:
    """The config of a recorded compressed-tensors model."""
    sizes = {"hidden_size": hidden_size, "intermediate_size": {384: 640, 512: 1024}[hidden_size]}
    return {**LLAMA, **sizes, "quantization_config": quantization}


@pytest.mark.parametrize(
    "row", RECORDED["compressed_tensors"]["models"], ids=lambda row: f"{row['preset']}-{row['hidden_size']}"
)
def test_models_of_compressed_tensors_to_the_byte(row: dict[str, Any]) -> None:
    """Each preset that an engine runs, from its config alone: packed integers, zero points, floats and their scales."""
    stored = store_as_configured(build(compressed_model(row["hidden_size"], row["quantization_config"]), "model"))
    assert stored.weights_bytes == row["weights_bytes"]
    assert stored.exact


@pytest.mark.parametrize("bits", [2, 3, 6])
def test_a_width_that_no_row_has_is_an_error(bits: int) -> None:
    """Integers of another width are not guessed."""
    weights = {"num_bits": bits, "type": "int", "strategy": "group", "group_size": 128}
    quantization = {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": weights}}}
    with pytest.raises(UnknownPrecision, match=f"{bits}-bit int"):
        store_as_configured(build(compressed_model(384, quantization), "model"))


@pytest.mark.parametrize("block", [64, True, "128", [64, 64], {"a": 1}])
def test_an_unknown_block_of_fp8_is_an_error(block: object) -> None:
    """Blocks of fp8 are [128, 128]; anything else, lists or not, is refused with its text."""
    quantization = {"quant_method": "fp8", "weight_block_size": block}
    with pytest.raises(UnknownPrecision, match="weight_block_size"):
        store_as_configured(build(compressed_model(384, quantization), "model"))


@pytest.mark.parametrize(
    "row",
    RECORDED["hqq"]["matrices"],
    ids=lambda row: f"{row['bits']}bit-g{row['group']}-{row['rows']}x{row['columns']}",
)
def test_matrices_of_hqq_to_the_byte(row: dict[str, int]) -> None:
    """Packed values, scales and zeros of HQQLinear; 3 bits packs the same value of ten groups in a word."""
    key = f"hqq-{row['bits']}bit" + ("" if row["group"] == 64 else f"-g{row['group']}")
    assert format_of(key).matrix_bytes(row["rows"], row["columns"]) == row["bytes"]


@pytest.mark.parametrize("row", RECORDED["aqlm"]["matrices"], ids=lambda row: f"{row['rows']}x{row['columns']}")
def test_matrices_of_aqlm_to_the_byte(row: dict[str, int]) -> None:
    """Codes, codebook and scales of a 1x16 QuantizedLinear."""
    assert format_of("aqlm-2bit").matrix_bytes(row["rows"], row["columns"]) == row["bytes"]


@pytest.mark.parametrize(
    ("bits", "trellis_words"),
    [(3, 48), (4, 64), (6, 96)],
)
def test_exl3_is_its_trellis_and_two_vectors(bits: int, trellis_words: int) -> None:
    """int16 [in/16, out/16, 16 x bits], fp16 suh [in] and svh [out], and the 32-bit mark of the codebook."""
    rows, columns = 1024, 640
    words = (columns // 16) * (rows // 16) * trellis_words
    assert format_of(f"exl3-{bits}.00bpw").matrix_bytes(rows, columns) == 2 * words + 2 * (rows + columns) + 4


def module_bytes(module: Any) -> int:
    """Bytes of everything that a module would save."""
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


@pytest.mark.oracle
@pytest.mark.parametrize(("rows", "columns"), [(256, 512), (320, 640), (200, 300)])
def test_block_fp8_and_bitnet_modules_of_transformers(rows: int, columns: int) -> None:
    """FP8Linear keeps a 32-bit scale for each 128 x 128, parts of blocks too; BitLinear four rows in a byte."""
    torch = pytest.importorskip("torch")
    fp8 = pytest.importorskip("transformers.integrations.finegrained_fp8")
    bitnet = pytest.importorskip("transformers.integrations.bitnet")
    block = fp8.FP8Linear(columns, rows, block_size=(128, 128))
    assert module_bytes(block) == format_of("fp8-block").matrix_bytes(rows, columns)
    ternary = bitnet.BitLinear(columns, rows, bias=False, device="cpu", dtype=torch.bfloat16)
    assert module_bytes(ternary) == format_of("bitnet").matrix_bytes(rows, columns)
