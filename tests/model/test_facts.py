"""Releases and kinds of the catalogued names."""

import re

import pytest

from sizer.model.read import catalogue
from sizer.model.read.facts import KINDS, facts
from sizer.model.read.resolve import resolve
from sizer.tables import read_rows


def test_every_published_name_has_facts() -> None:
    """Each model and each alias has a row, with a kind of the list, a source for it, and a date with one or none."""
    for name, _ in catalogue.published():
        found = facts(name)
        assert found is not None, name
        assert found.kind in KINDS
        assert found.kind_source
        assert bool(found.released) == bool(found.released_source)
        assert found.released is None or re.fullmatch(r"20[12]\d-[01]\d(-[0-3]\d)?", found.released), name
    assert len({row["model"].lower() for row in read_rows("model_facts.csv")}) == len(catalogue.published())


def test_the_hub_placeholder_is_no_date() -> None:
    """2022-03-02 is the hub's date for everything older: it is never told as a release."""
    assert not [row["model"] for row in read_rows("model_facts.csv") if row["released"] == "2022-03-02"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Qwen/Qwen3-8B", "instruct"),
        ("Qwen/Qwen3-8B-Base", "base"),
        ("Qwen/Qwen2.5-7B", "base"),
        ("Qwen/Qwen2.5-7B-Instruct", "instruct"),
        ("meta-llama/Llama-3.1-8B", "base"),
        ("meta-llama/Llama-2-7b-hf", "base"),
        ("meta-llama/Llama-2-7b-chat-hf", "instruct"),
        ("mistralai/Mistral-7B-v0.1", "base"),
        ("google/gemma-3-27b-it", "instruct"),
        ("google/gemma-3-27b-pt", "base"),
        ("Qwen/Qwen2.5-Coder-32B-Instruct", "code"),
        ("mistralai/Codestral-22B-v0.1", "code"),
        ("Qwen/Qwen2.5-VL-7B-Instruct", "vision"),
        ("deepseek-ai/DeepSeek-R1", "reasoning"),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507", "reasoning"),
        ("openai/gpt-oss-20b", "reasoning"),
        ("deepseek-ai/DeepSeek-V3", "instruct"),
        ("zai-org/GLM-4.5-Air", "instruct"),
        ("microsoft/phi-2", "base"),
        ("microsoft/phi-4", "instruct"),
        ("EleutherAI/pythia-6.9b", "base"),
    ],
)
def test_kinds_of_well_known_names(name: str, kind: str) -> None:
    """The kind is what the maker's model card calls the model."""
    found = facts(name)
    assert found is not None
    assert found.kind == kind


def test_a_general_model_that_sees_is_marked_apart() -> None:
    """Gemma 3 is an instruct model with a tower for images: both are told."""
    found = facts("google/gemma-3-27b-it")
    assert found is not None
    assert found.images
    assert not facts("Qwen/Qwen3-8B").images  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "name", ["GSAI-ML/LLaDA-8B-Instruct", "Dream-org/Dream-v0-Instruct-7B", "inclusionAI/LLaDA2.0-mini"]
)
def test_diffusion_models_are_told_as_such(name: str) -> None:
    """Their speed is not that of one token after the other, and the answer says so."""
    assert any("diffusion" in note for note in resolve(name, offline=True).architecture.notes)
