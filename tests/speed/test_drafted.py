"""What drafts for a model: layers that it has, one drafter where --draft and an engine's own flags both name one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from clirun import Run

import sizer
from sizer.errors import SizerError, UsageError
from sizer.model.predicting import predicts_further
from sizer.model.read.resolve import resolve

MTP = "vllm --speculative-config.method mtp --speculative-config.num_speculative_tokens 3"
QWEN, OSS = "Qwen/Qwen3.5-27B", "openai/gpt-oss-20b"


@pytest.mark.parametrize(
    ("model", "has"),
    [
        (QWEN, True),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", True),
        ("deepseek-ai/DeepSeek-R1", True),
        ("zai-org/GLM-4.5", True),
        ("MiniMaxAI/MiniMax-M2", True),
        (OSS, False),
        ("google/gemma-3n-E4B-it", False),
        ("moonshotai/Kimi-K2-Instruct", False),
        ("google/gemma-4-31B-it", None),
        ("8B", None),
    ],
)
def test_a_models_files_or_config_tell_whether_it_predicts(model: str, has: bool | None) -> None:
    """Tensors, or a count in the config (0 says none); a type whose configs do not count them tells nothing."""
    assert predicts_further(resolve(model, offline=True).architecture) is has


@pytest.mark.parametrize(
    "asked",
    [
        ("estimate", OSS, "--draft", "mtp"),
        ("estimate", OSS, "-e", MTP),
        ("capacity", OSS, "--draft", "mtp"),
        ("capacity", OSS, "-e", MTP),
    ],
)
def test_layers_that_a_model_has_not_draft_nothing(run: Run, asked: tuple[str, ...]) -> None:
    """Every command says so in one line, with what does draft."""
    done = run(*asked, "-d", "h100", "--offline")
    assert done.code == UsageError.exit_code
    assert f"{OSS} has no layers that predict further tokens" in done.err
    assert "ngram needs nothing" in done.err


def test_a_command_that_drafts_so_is_refused() -> None:
    """`sizer check` reads it out of the command."""
    with pytest.raises(UsageError, match="no layers that predict"):
        sizer.check(MTP.replace("vllm", f"vllm serve {OSS}"), device="h100", offline=True)


def test_of_several_methods_that_counts_which_the_model_can() -> None:
    """llama.cpp takes several: of `draft-mtp,ngram-mod` a model without such layers has the second."""
    engine = "llama.cpp --spec-type draft-mtp,ngram-mod"
    for model, name in ((OSS, "ngram"), (QWEN, "mtp")):
        answer = sizer.estimate(model, device="h100", precision="q8_0", engine=engine, offline=True).estimates[0]
        assert any(note.startswith(f"{name} drafts") for note in answer.assumptions)


def test_where_it_is_not_known_it_is_said() -> None:
    """Of a bare size nothing tells; a model with such layers needs no words."""
    for model, said in (("8B", True), (QWEN, False)):
        answer = sizer.estimate(model, device="h100", precision="fp8", draft="mtp", offline=True).estimates[0]
        assert any("is not known: told as if it did" in note for note in answer.assumptions) is said


def test_flags_alone_draft() -> None:
    """An estimate tells what the engine's own flags draft with, as `--draft` with the same numbers does."""
    options = {"device": "h100", "precision": "fp8", "offline": True}
    flagged = sizer.estimate(QWEN, engine=MTP, **options).estimates[0]  # type: ignore[arg-type]
    asked = sizer.estimate(QWEN, engine="vllm", draft="mtp", draft_tokens=3, **options).estimates[0]  # type: ignore[arg-type]
    assert flagged.speculation == asked.speculation is not None
    again = sizer.estimate(QWEN, engine=MTP, draft="mtp", **options).estimates[0]  # type: ignore[arg-type]
    assert again.speculation == flagged.speculation


@pytest.mark.parametrize("flag", ["-md Qwen3-0.6B-Q8_0.gguf", "-hfd Qwen/Qwen3-0.6B-GGUF:Q8_0"])
def test_a_file_of_the_draft_is_the_draft(flag: str) -> None:
    """Flags that name a quantized file of what --draft names contradict nothing; those of another model do."""
    asked = {"device": "h100", "precision": "q8_0", "draft": "Qwen/Qwen3-0.6B", "offline": True}
    told = sizer.estimate("Qwen/Qwen3-8B", engine=f"llama.cpp {flag}", **asked).estimates[0]  # type: ignore[arg-type]
    assert told.speculation is not None
    with pytest.raises(UsageError, match="contradicts the engine's"):
        sizer.estimate("Qwen/Qwen3-8B", engine=f"llama.cpp {flag.replace('0.6B', '1.7B')}", **asked)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ask",
    [
        lambda **more: sizer.estimate(QWEN, precision="fp8", **more),
        lambda **more: sizer.capacity(QWEN, precision="fp8", users=1, **more),
    ],
)
@pytest.mark.parametrize(
    "more", [{"draft": "eagle"}, {"draft": "Qwen/Qwen3.5-0.8B"}, {"draft": "mtp", "draft_tokens": 2}]
)
def test_flags_and_the_question_may_not_disagree(ask: Callable[..., object], more: dict[str, object]) -> None:
    """Another method, a model beside a method, another number of tokens: none of the two is dropped in silence."""
    with pytest.raises(UsageError, match="contradicts the engine's"):
        ask(device="h100", engine=MTP, offline=True, **more)


@pytest.mark.parametrize(
    ("draft", "engine", "words"),
    [("mtp", "vllm", "is no draft model"), ("auto", MTP.replace("mtp", "ngram"), "the engine's own flags")],
)
def test_a_recommendation_weighs_draft_models(draft: str, engine: str, words: str) -> None:
    """A method is an estimate's question; flags that draft already leave nothing to choose."""
    with pytest.raises(SizerError, match=words):
        sizer.recommend("Qwen/Qwen3-32B", device="h100", engine=engine, draft=draft, offline=True)
