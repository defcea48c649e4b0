"""Families whose code ships with their weights hit the parameter counts that were published for them."""

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from publishedmodels import published

from sizer.errors import InvalidConfig, SizerError
from sizer.model.architecture import Role, Tower
from sizer.model.families import build
from sizer.model.read import catalogue

DATA = Path(__file__).parent.parent / "data" / "remote"


def _config(model: str) -> Mapping[str, Any]:
    path = DATA / f"{model.replace('/', '--')}.json"
    if path.is_file():
        config: dict[str, Any] = json.loads(path.read_bytes())
        return config
    entry = catalogue.find(model)
    assert entry is not None, model
    return catalogue.load(entry)


@pytest.mark.parametrize("row", published(DATA), ids=lambda row: row["model"])
def test_published_counts(row: dict[str, str]) -> None:
    """To the parameter, but for buffers that the hub counts, which the row names."""
    model = build(_config(row["model"]), row["model"])
    expected = int(row["published_params"]) - int(row["counted_beside"])
    assert expected in (model.total_params, model.checkpoint_params)
    assert bool(row["counted_what"]) == (int(row["counted_beside"]) > 0)


@pytest.mark.parametrize("row", published(DATA), ids=lambda row: row["model"])
def test_the_inventory_is_whole(row: dict[str, str]) -> None:
    """Every layer is listed, every text layer with tensors of its own, each name once, and active is at most total."""
    model = build(_config(row["model"]), row["model"])
    assert [layer.index for layer in model.layers] == list(range(model.num_layers))
    names = [tensor.name for tensor in model.tensors]
    kinds = {(tensor.name, layer) for tensor in model.tensors for layer in tensor.layers or (-1,)}
    assert len(kinds) == sum(tensor.copies for tensor in model.tensors), names
    covered = {layer for tensor in model.tensors if tensor.tower is Tower.TEXT for layer in tensor.layers}
    assert covered == set(range(model.num_layers))
    assert 0 < model.active_params <= model.total_params
    assert any(tensor.role is Role.EMBEDDING for tensor in model.tensors)


def test_mimo_stores_a_prediction_layer_that_does_not_run() -> None:
    """MiMo-7B's multi-token prediction layer is in the checkpoint alone."""
    model = build(_config("XiaomiMiMo/MiMo-7B-Base"), "mimo")
    assert model.checkpoint_params - model.total_params == 210_790_400
    assert {tensor.tower for tensor in model.tensors if tensor.checkpoint_only} == {Tower.MTP}


def test_decilm_layers_without_attention_keep_no_cache() -> None:
    """A layer whose attention is a no-op has no mixer; the others keep the KV heads that their entry names."""
    config = _config("nvidia/Llama-3_3-Nemotron-Super-49B-v1")
    model = build(config, "super")
    for layer, entry in zip(model.layers, config["block_configs"], strict=True):
        assert bool(layer.mixers) != entry["attention"]["no_op"]
        if layer.mixers:
            assert layer.mixers[0].kv_heads == 64 // entry["attention"]["n_heads_in_group"]


def test_hunyuan_layers_share_keys_and_values() -> None:
    """With a share factor of two, every second layer reads its neighbour's cache and stores none."""
    model = build(_config("mlx-community/Hunyuan-A52B-Instruct-3bit"), "hunyuan")
    assert [layer.mixers[0].shares_kv for layer in model.layers[:4]] == [False, True, False, True]
    assert model.total_params == pytest.approx(389e9, rel=0.002)  # Hunyuan-Large's report: 389B, 52B of them active
    assert model.active_params == pytest.approx(52e9, rel=0.02)


@pytest.mark.parametrize(
    ("model", "change", "field"),
    [
        ("Qwen/Qwen-7B-Chat", {"intermediate_size": 11009}, "intermediate_size"),
        ("THUDM/chatglm3-6b-base", {"num_layers": -1}, "num_layers"),
        ("THUDM/chatglm3-6b-base", {"multi_query_group_num": "two"}, "multi_query_group_num"),
        ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", {"block_configs": []}, "block_configs"),
        ("OpenGVLab/InternVL2-2B", {"downsample_ratio": 0}, "downsample_ratio"),
        ("openbmb/MiniCPM-V-2_6", {"version": 9}, "version"),
        ("ModelCloud/EXAONE-3.0-7.8B-Instruct-gptq-4bit", {"num_layers": None}, "num_layers"),
    ],
)
def test_a_bad_field_is_named(model: str, change: dict[str, Any], field: str) -> None:
    """A config that cannot be trusted is an error that quotes the file's own field."""
    with pytest.raises(InvalidConfig, match=field):
        build({**_config(model), **change}, model)


WRONG = (-1, 0, None, "x", [], {}, 10**12, 1.5, float("nan"), [1], {"a": 1})


def _one_of_each_family() -> list[str]:
    seen: dict[str, str] = {}
    for row in published(DATA):
        seen.setdefault(str(_config(row["model"]).get("model_type")), row["model"])
    return sorted(seen.values())


@pytest.mark.parametrize("model", _one_of_each_family())
def test_no_damaged_field_is_a_crash(model: str) -> None:
    """Whatever a field holds, the answer is an architecture or an error of sizer's own."""
    config = {name: value for name, value in _config(model).items() if name != "quantization_config"}
    places = [(config, name) for name in config]
    places += [(value, name) for value in config.values() if isinstance(value, dict) for name in value]
    for place, name in places:
        right = place[name]
        for wrong in WRONG:
            place[name] = wrong
            with suppress(SizerError):
                build(config, model)
        place[name] = right


def _rounded() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads((DATA / "rounded.json").read_bytes())
    return rows


@pytest.mark.parametrize("row", _rounded(), ids=lambda row: row["model"])
def test_rounded_counts(row: dict[str, Any]) -> None:
    """Where only rounded figures were published: the total within 1 %, the text's active ones within 9 %.

    Makers leave embeddings out of the active figure, or not.
    """
    model = build(row["config"], row["model"])
    text = sum(t.active_elements for t in model.tensors if t.tower is Tower.TEXT and not t.checkpoint_only)
    table = sum(t.total_elements for t in model.tensors if t.role is Role.EMBEDDING)
    assert model.total_params == pytest.approx(row["total_b"] * 1e9, rel=0.01)
    assert any(abs(count / row["active_b"] / 1e9 - 1) < 0.09 for count in (text, text - table, model.active_params))
