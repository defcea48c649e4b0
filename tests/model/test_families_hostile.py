"""Configs that lie are refused in one line, or built: quickly, and never into an error of the arithmetic."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hostile import HOSTILE, bases, fault, paths, put
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sizer.errors import InvalidConfig, SizerError
from sizer.model.config import MAX_LAYERS, Config
from sizer.model.families import build
from sizer.model.read.meta_device import describe, on_meta_device

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 256,
}  # fmt: skip


@pytest.mark.parametrize("model_type", sorted({name for name, _ in bases()}))
def test_every_field_of_every_family(model_type: str) -> None:
    """In each field null, which files are full of, and one more value that no model has."""
    draw = Random(model_type)
    for name, fields in bases():
        if name == model_type:
            for path in paths(fields):
                for value in (None, draw.choice(HOSTILE)):
                    wrong = fault(put(fields, path, value))
                    assert not wrong, f"{'.'.join(path)} = {value!r:.80}: {wrong}"


# What JSON can hold, nested, and what it cannot and Python reads all the same.
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**400), 10**400)
    | st.integers(-2, 300)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(HOSTILE),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_values_in_any_fields(data: st.DataObject) -> None:
    """Any values in up to three fields of any config: a refusal of one line, or a model whose figures are finite."""
    _, fields = data.draw(st.sampled_from(bases()))
    changed: dict[str, Any] = fields
    for path in data.draw(st.lists(st.sampled_from(list(paths(fields))), min_size=1, max_size=3)):
        if isinstance(_parent(changed, path), dict):
            changed = put(changed, path, data.draw(values))
    assert not fault(changed)


def _parent(fields: Any, path: tuple[str, ...]) -> Any:
    for name in path[:-1]:
        fields = fields.get(name) if isinstance(fields, dict) else None
        fields = fields[0] if isinstance(fields, list) and fields else fields
    return fields


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"model_type": "gpt_neo", "attention_types": [[[["global"], "local"], 12]]}, "attention_types"),
        ({"model_type": "gpt_neo", "attention_types": [[["global", "local"], 10**9]]}, "attention_types"),
        ({"model_type": "gpt_neo", "attention_types": [[["global"], 2, 3]]}, "attention_types"),
    ],
)
def test_lists_within_lists_are_read_with_care(fields: dict[str, Any], named: str) -> None:
    """GPT-Neo's patterns: what is no name, or repeats beyond any model, names the field."""
    whole = {"hidden_size": 64, "num_layers": 2, "num_heads": 4, "vocab_size": 100, **fields}
    with pytest.raises(InvalidConfig, match=named):
        build(whole, "x")


def test_sizes_that_contradict_each_other_name_the_tensor() -> None:
    """An image smaller than its patch, a vocabulary smaller than its special words: each in range, together none."""
    fields = next(fields for name, fields in bases() if name == "got_ocr2" and "vision_config" in fields)
    with pytest.raises(InvalidConfig, match="rel_pos"):
        build(put(fields, ("vision_config", "image_size"), 2), "x")


@pytest.mark.parametrize(
    ("value", "accepted"),
    [([1, 2], (1, 2)), ([2.0, 1], (2, 1)), (None, ()), ([1], ()), ([1, True], ()), ([1, 0], ()), ([1, "2"], ())],
)
def test_lists_of_sizes(value: Any, accepted: tuple[int, ...]) -> None:
    """`sizes` takes whole numbers in range, as many as asked for; anything else names the field."""
    config = Config({"sizes": value})
    if accepted == ():
        with pytest.raises(InvalidConfig, match="sizes"):
            config.sizes("sizes", count=2)
    else:
        assert config.sizes("sizes", count=2) == accepted
    assert Config({"sizes": None}).sizes("sizes", default=(7,)) == (7,)


def test_ratios_are_bounded() -> None:
    """A side is divided by a ratio and squared: one near nought would overflow, one above one is no reduction."""
    assert Config({"r": 0.5}).ratio("r", default=0.25) == 0.5
    assert Config({}).ratio("r", default=0.25) == 0.25
    for value in (0, -1, 1e-308, 1.5, float("nan"), float("inf"), 10**400, True, [0.5]):
        with pytest.raises(InvalidConfig, match="'r'"):
            Config({"r": value}).ratio("r", default=0.25)


def test_meta_device_is_asked_for_no_more_than_a_model_has() -> None:
    """Counts of layers are checked before transformers makes lists of them, in sub-configs too."""
    pytest.importorskip("transformers")
    lying = {**LLAMA, "num_hidden_layers": 10**8, "per_layer_config": {"0": {"hidden_size": 64}}}
    with pytest.raises(InvalidConfig, match="num_hidden_layers"):
        describe(lying, "x", "config")  # type: ignore[arg-type]
    with pytest.raises(InvalidConfig, match=r"vision_config\.depth"):
        on_meta_device({**LLAMA, "vision_config": {"depth": MAX_LAYERS + 1}}, "x")


@pytest.mark.oracle
def test_meta_device_ends_a_build_of_too_many_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules are counted while they are made: a config that asks for more than any model has ends there."""
    from sizer.errors import UnsupportedArchitecture
    from sizer.model.read import meta_device

    assert on_meta_device(LLAMA, "x") is not None
    monkeypatch.setattr(meta_device, "MAX_MODULES", 10)
    with pytest.raises(UnsupportedArchitecture, match="more than 10 modules"):
        on_meta_device(LLAMA, "x")


@pytest.mark.oracle
@pytest.mark.parametrize(
    "lie",
    [
        {"hidden_size": None},
        {"hidden_size": [64]},
        {"hidden_size": 10**9},
        {"vocab_size": -(10**400)},
        {"num_attention_heads": 0},
        {"rope_theta": float("nan"), "num_key_value_heads": "2"},
    ],
    ids=str,
)
def test_what_transformers_cannot_build_is_one_line(lie: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    """transformers' own words, in one line and cut; a model beyond any published is refused; nothing else is said."""
    with pytest.raises(SizerError) as refused:
        on_meta_device({**LLAMA, **lie}, "x")
    assert "\n" not in refused.value.message
    assert len(refused.value.message) < 400
    assert capfd.readouterr() == ("", "")
