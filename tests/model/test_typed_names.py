"""Names as people type them: each is read as the model that it means, or as none; nothing is read as something else."""

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sizer.errors import UnknownModel
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.resolve import resolve
from sizer.model.read.typed_names import read
from sizer.tables import read_rows

NAMES = Path(__file__).parent.parent / "data" / "names"


def _rows(name: str) -> list[dict[str, str]]:
    with (NAMES / name).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


def _shape(model: Architecture) -> tuple[object, ...]:
    return model.architecture, model.total_params, model.max_context_tokens


def _published(name: str) -> Architecture:
    entry = catalogue.find(name)
    assert entry is not None, name
    return build(catalogue.load(entry), name)


@pytest.mark.parametrize("row", _rows("typed.csv"), ids=lambda row: row["text"])
def test_typed_names(row: dict[str, str]) -> None:
    """Each name of the list is read as the shape of the model it means, at the quantization it names; `?` as none."""
    try:
        found = resolve(row["text"], offline=True)
    except UnknownModel:
        assert row["model"] == "?"
        return
    if row["model"] == "?":
        assert found.basis is Basis.NAME
        return
    assert found.basis is Basis.CATALOGUE
    assert _shape(found.architecture) == _shape(_published(row["model"]))
    assert (found.hints.quantization or "") == row["quantization"]


def test_the_list_is_long_and_has_what_must_stay_unread() -> None:
    """The list has 250 names or more, and names that nothing published means."""
    rows = _rows("typed.csv")
    assert len({row["text"] for row in rows}) >= 250
    assert sum(row["model"] == "?" for row in rows) >= 12


@pytest.mark.parametrize("row", _rows("names.csv"), ids=lambda row: row["name"])
def test_published_names_are_not_read_as_others(row: dict[str, str]) -> None:
    """A hub name whose repository nobody catalogued is read as a model of its published size, or as none."""
    if catalogue.find(row["name"]) is not None:
        return
    entry = read(row["name"].rsplit("/", 1)[-1]).entry
    assert entry is None or (entry.reference_params or 0) / 1e9 == pytest.approx(float(row["total_b"]), rel=0.05)


def test_what_stays_unclear_lists_three_commands() -> None:
    """A family alone names no model: the error says which three to type."""
    with pytest.raises(UnknownModel) as caught:
        resolve("qwen", offline=True)
    assert caught.value.hint.count("`sizer estimate Qwen/") == 3


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40))
def test_any_text_can_be_read(text: str) -> None:
    """Whatever is typed is read as some name or none: no text raises."""
    read(text)


@pytest.mark.parametrize(
    "name",
    ["ChatGPT", "gpt-4o mini", "GPT 5", "claude 3.5 sonnet", "Gemini 2.5 Pro", "qwen-max",
     "openai/gpt-4.1", "anthropic/claude-sonnet-4", "google/gemini-2.5-flash", "x-ai/grok-4", "openrouter/openai/o3"]
)  # fmt: skip
def test_what_its_maker_alone_serves_is_said_to_be_closed(name: str) -> None:
    """A closed model is named as such, with an open one of its maker or the list of what runs, also as services that
    pass requests on write it; gpt2 is not one."""
    with pytest.raises(UnknownModel, match="weights are not published") as refused:
        resolve(name, offline=True)
    assert "sizer" in refused.value.hint
    assert resolve("gpt2", offline=True).architecture.total_params == 124_439_808


def test_an_open_model_instead_of_a_closed_one_is_catalogued() -> None:
    """Each model that is offered instead of a closed one can be sized."""
    offered = [row["instead"] for row in read_rows("closed_models.csv") if row["instead"]]
    assert all(catalogue.find(name) is not None for name in offered)
    assert len(offered) > 2


def test_anothers_repository_may_bear_a_closed_models_name() -> None:
    """Who fine-tunes something and calls it by a closed model's name is not taken for that model's maker."""
    with pytest.raises(UnknownModel) as refused:
        resolve("somebody/claude-at-home", offline=True)
    assert "weights are not published" not in refused.value.message
    assert resolve("somebody/gpt-4-like-7B", offline=True).architecture.total_params == 7_000_000_000


@pytest.mark.parametrize(
    "name",
    ["stable diffusion xl", "FLUX dev", "whisper large v3", "sam2", "CLIP ViT large", "openai/whisper-large-v3",
     "distil-whisper-756M", "Wan-AI/Wan2.2-T2V-A14B", "Qwen/Qwen-Image-20B", "hexgrad/Kokoro-82M", "esm2 650M"]
)  # fmt: skip
def test_what_is_no_language_model_is_said_to_be_none(name: str) -> None:
    """A model of images or speech is named as such, also where its name tells a size or an organisation; no language
    model that shares a word like `large` is offered."""
    with pytest.raises(UnknownModel, match="not a language model") as refused:
        resolve(name, offline=True)
    assert "Which one?" not in refused.value.hint
    assert "Did you mean" not in refused.value.hint


@pytest.mark.parametrize("text", ["12", "7 b", "7.5 B", "405"])
def test_a_bare_number_is_told_how_a_size_is_written(text: str) -> None:
    """A number without its unit, or apart from it, says what to type."""
    with pytest.raises(UnknownModel, match="bare number") as refused:
        resolve(text, offline=True)
    assert f"{text.split(maxsplit=1)[0]}B" in refused.value.hint


@pytest.mark.parametrize(
    "name",
    ["nosuch/model", "lab/Zzyzx-dev", "me/my-instruct-model", "x/base-hf",
     "someone/foo", "someone/x-401", "abc", "someone/moonbeam"],
)  # fmt: skip
def test_what_has_no_word_of_a_published_name_is_near_none(name: str) -> None:
    """No model is offered for the words that any name has (`model`, `dev`, `instruct`), nor for a few like letters."""
    with pytest.raises(UnknownModel) as refused:
        resolve(name, offline=True)
    assert "Which one?" not in refused.value.hint
    assert "Did you mean" not in refused.value.hint


def test_words_that_many_names_have_offer_nothing() -> None:
    """`jamba 1.5 large` is near other Jambas alone, not near whatever is large."""
    near = read("jamba 1.5 large").nearest
    assert near
    assert all("jamba" in name.lower() for name in near)
    assert read("some large thing").nearest == ()


@pytest.mark.parametrize("name", ["google/embeddinggemma-300m", "qwen3-reranker 4b", "gte-Qwen2-7B-instruct"])
def test_an_embedder_known_by_its_size_writes_nothing(name: str) -> None:
    """A name that says embedding or ranking is no chat model, also where its size alone is known."""
    architecture = resolve(name, offline=True).architecture
    assert not architecture.decodes
    assert any("writes no tokens" in note for note in architecture.notes)
    assert resolve("somebody-7B", offline=True).architecture.decodes


@pytest.mark.parametrize(
    ("typed", "near"),
    [
        ("Qwen9-8B", "Qwen/Qwen3-8B"), ("gpt-oss-40b", "openai/gpt-oss-120b"),
        ("gemma-5-12b-it", "google/gemma-4-12B-it"),
        ("Llama-5-70B", "meta-llama/Llama-3.3-70B-Instruct"), ("phi-6", "microsoft/Phi-4-mini-instruct"),
    ],
)  # fmt: skip
def test_what_comes_nearest_has_no_words_that_nobody_typed(typed: str, near: str) -> None:
    """A plain model of the family and size stands before its vision, guard and fine-tuned kin."""
    assert read(typed).nearest[0] == near
