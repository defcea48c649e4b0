"""What lies beside or instead of a config.json: quantizations in files of their own, adapters, others' formats."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from headerfiles import safetensors_bytes
from hubserver import Hub, Repo

import sizer
from sizer.errors import InvalidConfig, UnknownModel
from sizer.model.read.resolve import resolve

CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
    "num_hidden_layers": 32, "vocab_size": 128256, "num_attention_heads": 32, "num_key_value_heads": 8,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "max_position_embeddings": 8192,
}  # fmt: skip
BESIDE = [
    ("hf_quant_config.json", {"producer": {"name": "modelopt"}, "quantization": {
        "quant_algo": "NVFP4", "kv_cache_quant_algo": "FP8", "group_size": 16, "exclude_modules": ["lm_head"]}},
     "nvfp4"),
    ("quantize_config.json", {"bits": 4, "group_size": 128, "desc_act": False}, "gptq-int4"),
    ("quant_config.json", {"zero_point": True, "q_group_size": 128, "w_bit": 4, "version": "GEMM"}, "awq-int4"),
]  # fmt: skip
LORA = {"base_model_name_or_path": "meta-llama/Llama-3.1-8B-Instruct", "peft_type": "LORA", "r": 16}


def _write(folder: Path, files: Mapping[str, Any]) -> str:
    for name, content in files.items():
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        (folder / name).write_bytes(data)
    return str(folder)


@pytest.mark.parametrize(("name", "content", "precision"), BESIDE, ids=[name for name, _, _ in BESIDE])
def test_a_quantization_beside_the_config_counts(
    tmp_path: Path, server: Hub, name: str, content: Mapping[str, Any], precision: str
) -> None:
    """modelopt's, AutoGPTQ's and AutoAWQ's own files tell what a config does not: by folder, by path and on the hub,
    the model is stored as they say, and not in four times the bytes."""
    folder = tmp_path / "model"
    folder.mkdir()
    text = _write(folder, {"config.json": CONFIG, name: content})
    server.repos["org/new"] = Repo({key: path.read_bytes() for key in ("config.json", name) for path in [folder / key]})
    for asked in (text, f"{text}/config.json", "org/new"):
        [item] = sizer.estimate(asked, device="b200", precision=precision).estimates
        first = sizer.estimate(asked, device="b200").estimates[0]
        assert first.precision == item.precision == precision
        assert first.memory.weights_bytes < 6.1e9


def test_the_cache_is_read_as_the_hub_is(tmp_path: Path, server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offline, what the client kept of a repository is read like the repository: a quantization beside the config
    counts, an adapter is refused with its base."""
    snapshots = {
        "org--kept": {"config.json": CONFIG, "hf_quant_config.json": BESIDE[0][1]},
        "org--lora": {"adapter_config.json": LORA},
    }
    for name, files in snapshots.items():
        folder = tmp_path / "hub" / f"models--{name}"
        (folder / "snapshots" / "abc").mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text("abc", encoding="utf-8")
        _write(folder / "snapshots" / "abc", files)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    assert (resolve("org/kept", offline=True).architecture.quantization or {})["quant_algo"] == "NVFP4"
    with pytest.raises(UnknownModel, match="adapter") as refused:
        resolve("org/lora", offline=True)
    assert "sizer estimate meta-llama/Llama-3.1-8B-Instruct" in refused.value.hint
    assert "Which one?" not in refused.value.hint
    assert "Did you mean" not in refused.value.hint
    assert server.requests == []


def test_what_the_config_itself_says_comes_first(tmp_path: Path) -> None:
    """A file beside a config that tells its quantization changes nothing; one that tells of the cache alone neither."""
    own = {**CONFIG, "quantization_config": {"quant_method": "fp8", "activation_scheme": "dynamic"}}
    found = resolve(_write(tmp_path, {"config.json": own, "quantize_config.json": {"bits": 4}})).architecture
    assert found.quantization == own["quantization_config"]
    of_cache = {"quantization": {"quant_algo": None, "kv_cache_quant_algo": "FP8"}}
    files = {"config.json": CONFIG, "hf_quant_config.json": of_cache, "quantize_config.json": {"method": "?"}}
    assert resolve(_write(tmp_path, files)).architecture.quantization is None


def test_junk_beside_the_config_is_refused(tmp_path: Path) -> None:
    """A file that is no JSON object is named: the bytes cannot be told without it."""
    text = _write(tmp_path, {"config.json": CONFIG, "hf_quant_config.json": b"["})
    with pytest.raises(InvalidConfig, match="hf_quant_config"):
        resolve(text)


def test_mlx_configs_without_the_newer_name(tmp_path: Path) -> None:
    """MLX wrote `quantization` alone for long: such a config is quantized; another's field of that name is not read."""
    text = _write(tmp_path, {"config.json": {**CONFIG, "quantization": {"group_size": 64, "bits": 4}}})
    item = sizer.estimate(text, device="m3-max").estimates[0]
    assert (item.precision, item.engine) == ("mlx-4bit", "mlx-lm")
    text = _write(tmp_path, {"config.json": {**CONFIG, "quantization": {"scheme": "mine"}}})
    assert resolve(text).architecture.quantization is None


@pytest.mark.parametrize("weights", [False, True], ids=["config alone", "with weights"])
def test_an_adapter_is_no_model(tmp_path: Path, server: Hub, weights: bool) -> None:
    """A LoRA is not told as a model of its few parameters: its base is named, by folder, by path and on the hub."""
    folder = tmp_path / "lora"
    folder.mkdir()
    tensors = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": ("BF16", (16, 64))}
    files = {
        "adapter_config.json": LORA,
        **({"adapter_model.safetensors": safetensors_bytes(tensors)} if weights else {}),
    }
    text = _write(folder, files)
    server.repos["org/lora"] = Repo({path.name: path.read_bytes() for path in folder.iterdir()})
    for asked in (text, f"{text}/adapter_config.json", "org/lora"):
        with pytest.raises(UnknownModel, match="adapter") as refused:
            resolve(asked)
        assert "sizer estimate meta-llama/Llama-3.1-8B-Instruct" in refused.value.hint
    if weights:
        with pytest.raises(UnknownModel, match="adapter"):
            resolve(f"{text}/adapter_model.safetensors")


@pytest.mark.parametrize("base", [None, 7, "", " "])
def test_an_adapter_that_names_no_base(tmp_path: Path, base: object) -> None:
    """It is an adapter all the same."""
    with pytest.raises(UnknownModel, match="adapter"):
        resolve(_write(tmp_path, {"adapter_config.json": {"base_model_name_or_path": base}}))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("model_index.json", {"_class_name": "FluxPipeline"}, "diffusers"),
        ("params.json", {"dim": 4096, "n_layers": 32}, "params.json is not read"),
        ("config.json", {"_class_name": "FluxTransformer2DModel"}, "diffusers"),
    ],
)
def test_others_formats_are_named(tmp_path: Path, name: str, content: Mapping[str, Any], words: str) -> None:
    """A folder of another kind says which, and not only what it lacks."""
    with pytest.raises((UnknownModel, InvalidConfig)) as refused:
        resolve(_write(tmp_path, {name: content}))
    assert words in refused.value.hint
