"""A fine-tune whose name holds a published model's has its shape; a misspelt name is told the published one."""

from __future__ import annotations

import pytest

from sizer.errors import UnknownModel
from sizer.model.architecture import Basis
from sizer.model.read.built_on import built_on, shares_line
from sizer.model.read.misspelt import meant
from sizer.model.read.name_only import named
from sizer.model.read.name_parts import parts_of
from sizer.model.read.names import parse_name
from sizer.model.read.resolve import resolve

MADE_OF = [
    ("someone/Roleplay-Llama-3-8B", "meta-llama/Meta-Llama-3-8B-Instruct"),
    ("someone/dolphin-2.9.4-llama3.1-8b", "meta-llama/Llama-3.1-8B-Instruct"),
    ("someone/My-Gemma-2-9B", "google/gemma-2-9b-it"),
    ("someone/Qwen3-30B-A3B-Roleplay", "Qwen/Qwen3-30B-A3B"),
    ("someone/Story-Mixtral-8x7B", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
]
NOT_MADE_OF = [
    "someone/llama-3-8b-to-13b",  # two sizes
    "someone/Qwen-14B-Roleplay",  # which Qwen?
    "someone/Qwen2.5-VL-7B-Roleplay",  # a tower beside it
    "someone/gemma3n-roleplay-4b",  # another line
    "someone/Llama-3-Mistral-8B",  # two lines
    "someone/Euryale-L3.3-70B",
    "8B",
]


@pytest.mark.parametrize(("name", "model"), MADE_OF)
def test_a_fine_tune_has_the_shape_that_its_name_tells(name: str, model: str) -> None:
    """Parameters, layers and cache are those of the model in the name; the basis stays the name, and it is said."""
    found, base = resolve(name, offline=True).architecture, resolve(model).architecture
    assert built_on(name) == model
    assert found.basis is Basis.NAME
    assert found.total_params == base.total_params
    assert found.active_params == base.active_params
    assert found.mixer_counts == base.mixer_counts
    assert found.max_context_tokens == base.max_context_tokens
    assert any(model in note for note in found.notes)


@pytest.mark.parametrize("name", NOT_MADE_OF)
def test_what_a_name_leaves_open_is_not_guessed(name: str) -> None:
    """No version, two sizes or lines, another kind: the size alone is used, as before."""
    assert built_on(name) is None


@pytest.mark.parametrize(
    ("typed", "model"),
    [
        ("lama3", "meta-llama/Meta-Llama-3-8B-Instruct"),
        ("deepsek r1", "deepseek-ai/DeepSeek-R1"),
        ("gema 3 27b", "google/gemma-3-27b-it"),
        ("mixtrall", "mistralai/Mixtral-8x7B-Instruct-v0.1"),
    ],
)
def test_a_misspelt_name_is_told_the_published_one(typed: str, model: str) -> None:
    """One letter more or less: the error, or the note of a size, names the model that was meant."""
    assert model in meant(typed)
    try:
        told = " ".join(resolve(typed, offline=True).notes)
    except UnknownModel as error:
        told = error.hint
    assert model in told


@pytest.mark.parametrize("size", ["8B", "70b", "8x7B", "30B-A3B", "0.5b"])
def test_a_size_alone_is_near_to_no_name(size: str) -> None:
    """A bare size names no model, so none is offered as the nearest."""
    assert not any("nearest in the catalogue" in note for note in resolve(size).notes)


@pytest.mark.parametrize(
    ("name", "published", "shared"),
    [
        ("Llama-3.3-8B-Instruct-NVFP4", "meta-llama/Meta-Llama-3-8B-Instruct", True),
        ("Llama-3.3-8B-Instruct-NVFP4", "meta-llama/Llama-2-7b-chat-hf", False),
        ("org/blossom-v3_1-yi-34b-AWQ", "01-ai/Yi-34B-Chat", True),
        ("DeepSeek-R1-Distill-Qwen-2B", "Qwen/Qwen1.5-1.8B-Chat", False),
        ("", "01-ai/Yi-34B-Chat", False),
    ],
)
def test_a_line_is_its_words_and_the_first_number_of_its_version(name: str, published: str, shared: bool) -> None:
    """The version is that of the line, and not of another word of the name."""
    assert shares_line(name, published) is shared


@pytest.mark.parametrize(
    ("name", "vocabulary"), [("org/Llama-3.3-8B-Instruct", 128256), ("org/blossom-v9-yi-34b-AWQ", 64000)]
)
def test_a_name_that_says_a_line_has_its_vocabulary(name: str, vocabulary: int) -> None:
    """What is known by its name alone is shaped like the models of that line and size, not like those of others."""
    assert named(name, parse_name(name)).vocab_size == vocabulary


def test_a_version_before_a_size_is_no_part_of_it() -> None:
    """`llama2_70b` is Llama 2 of 70B, `Refact-1_6B` one of 1.6B, `qwen2_5_7b` Qwen 2.5 of 7B."""
    assert parts_of("llama2_70b_chat").sizes == {"70b"}
    assert parts_of("llama2_70b_chat").owned == (("llama", "2"),)
    assert parts_of("Refact-1_6B").sizes == {"1.6b"}
    assert (parts_of("qwen2_5_7b").sizes, parts_of("qwen2_5_7b").numbers) == ({"7b"}, ("2.5",))


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("Llama-3.3-8B", 131_072),  # the context of Llama 3.1, whose version is nearest
        ("Llama-3-9B", 8192),
        ("Qwen3-9B", 40_960),
        ("gemma-2-10b", 8192),
        ("some-9B-32k", 32_768),
    ],
)
def test_a_name_s_line_tells_its_context(name: str, context: int) -> None:
    """The nearest version of the line that a name says, whatever the catalogue calls it; a name's own number first."""
    assert named(name, parse_name(name)).max_context_tokens == context


def test_a_bare_size_has_the_usual_context_of_its_size() -> None:
    """No shorter than half of the recent models of that size have, and the answer says so."""
    nine = named("9B", parse_name("9B"))
    assert (nine.max_context_tokens or 0) >= 32_768
    assert any("usual longest of recent models" in note for note in nine.notes)
