"""Architectures that no family describes are built by transformers on the meta device, or refused with the remedy."""

import sys
from collections.abc import Mapping
from typing import Any

import pytest

from sizer.errors import UnsupportedArchitecture
from sizer.model.architecture import Basis, Role
from sizer.model.read.meta_device import describe

LONG_T5 = {
    "model_type": "longt5", "architectures": ["LongT5ForConditionalGeneration"], "d_model": 64, "d_ff": 128, "d_kv": 16,
    "num_heads": 4, "num_layers": 2, "num_decoder_layers": 3, "vocab_size": 96, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.oracle
def test_an_unknown_family_is_built_on_the_meta_device() -> None:
    """The count is the one of the module that transformers builds, and the basis says where it came from."""
    import torch
    from transformers import LongT5Config, LongT5ForConditionalGeneration

    model = describe(LONG_T5, "tiny-long-t5", Basis.CONFIG)
    with torch.device("meta"):
        built = LongT5ForConditionalGeneration(LongT5Config.from_dict(LONG_T5))
    assert model.total_params == sum(parameter.numel() for parameter in built.parameters())
    assert model.basis is Basis.META_DEVICE
    assert any(tensor.role is Role.EMBEDDING for tensor in model.tensors)
    assert any("meta device" in note for note in model.notes)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "nobody-has-this", "architectures": ["NobodyForCausalLM"]},
        {"architectures": ["NobodyForCausalLM"], "auto_map": {"AutoModelForCausalLM": "modeling.NobodyForCausalLM"}},
    ],
)
def test_what_nobody_knows_is_refused_with_the_remedy(config: Mapping[str, Any]) -> None:
    """Nothing is guessed and no code of a repository is run: the error says what to give instead."""
    with pytest.raises(UnsupportedArchitecture) as caught:
        describe(config, "x", Basis.CONFIG)
    assert "safetensors" in caught.value.hint


def test_without_torch_the_answer_is_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch is not installed, an unknown family is refused, and the error names the extra that helps."""
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnsupportedArchitecture, match="LongT5"):
        describe(LONG_T5, "tiny-long-t5", Basis.CONFIG)
