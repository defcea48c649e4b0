"""A version of an engine that is older than a model's code, or than a kind of weights, is told so everywhere."""

from __future__ import annotations

from dataclasses import replace

import pytest

import sizer
from sizer.cli import main
from sizer.device.catalogue import find
from sizer.engine.commands import read_engine
from sizer.engine.first_versions import too_old_for
from sizer.engine.ladders import ladders
from sizer.engine.model_classes import model_code
from sizer.engine.model_code import ModelCode
from sizer.engine.options import EngineOptions, FlagValue
from sizer.engine.releases import version_numbers
from sizer.errors import DoesNotFit, UnknownEngine
from sizer.model.architecture import Architecture
from sizer.model.read.resolve import resolve
from sizer.tables import read_rows, read_tuples

CAME = [
    ("vllm", "Qwen/Qwen3-Next-80B-A3B-Instruct", "0.10.1.1", "", "0.10.2"),
    ("vllm", "openai/gpt-oss-20b", "0.10.0", "0.10.1.0", "0.10.1.1"),
    ("vllm", "google/gemma-2-9b-it", "0.5.0", "0.5.2", "0.5.3"),
    ("sglang", "openai/gpt-oss-20b", "0.4.10", "0.5.0", "0.5.1"),
    ("transformers", "Qwen/Qwen3-8B", "4.50.3", "4.51.0", "4.51.3"),
    ("mlx-lm", "openai/gpt-oss-20b", "0.25.3", "0.26.0", "0.26.4"),
    ("llama.cpp", "Qwen/Qwen3-8B", "b5091", "", "b5092"),  # ggml-org/llama.cpp pull request 12828, 9 April 2025
    ("llama.cpp", "openai/gpt-oss-20b", "b6095", "", "b6096"),  # pull request 15091, 5 August 2025
    ("llama.cpp", "Qwen/Qwen3.5-35B-A3B", "b7486", "b8000", "b8580"),
    ("llama.cpp", "tencent/Hy3", "b9821", "b10000", "b10042"),
    ("llama.cpp", "moonshotai/Kimi-K3", "b10276", "b10400", "b10502"),
    ("mlx-vlm", "tencent/Hy4-preview", "0.7.0", "0.7.2", "0.7.4"),
    ("koboldcpp", "openai/gpt-oss-20b", "1.96.2", "", "1.97.1"),
    ("ik_llama.cpp", "openai/gpt-oss-20b", "b3837", "", "b3838"),
    ("mlc-llm", "Qwen/Qwen3-8B", "0.19.0", "", "0.20.0"),
    ("ollama", "Qwen/Qwen3-8B", "0.6.5", "", "0.6.6"),
    ("exllamav3", "openai/gpt-oss-20b", "0.0.43", "", "1.0.0"),
    ("lmdeploy", "Qwen/Qwen3-8B", "0.7.2", "", "0.7.3"),
]


def _code(architecture: Architecture, engine: str, version: str = "", *flags: tuple[str, FlagValue]) -> ModelCode:
    return model_code(architecture, engine, EngineOptions(engine, version, flags))


@pytest.mark.parametrize(("engine", "model", "without", "unsure", "having"), CAME)
def test_an_older_version_lacks_the_code_and_a_newer_has_it(
    engine: str, model: str, without: str, unsure: str, having: str
) -> None:
    """Before the release that was read last without it: no; from the first with it: yes; between: not known."""
    architecture = resolve(model, offline=True).architecture
    assert f"{engine} {without} has no code" in _code(architecture, engine, without).lacking
    assert not _code(architecture, engine, having).lacking
    assert not _code(architecture, engine, having).unknown
    assert not _code(architecture, engine).lacking
    if unsure:
        assert not _code(architecture, engine, unsure).lacking
        assert "is not known" in _code(architecture, engine, unsure).unknown


def test_a_version_cut_short_stands_for_all_of_its_releases() -> None:
    """vLLM 0.10 may be 0.10.2, which has the code; 0.9 may not."""
    architecture = resolve("openai/gpt-oss-20b", offline=True).architecture
    assert not _code(architecture, "vllm", "0.10").lacking
    assert _code(architecture, "vllm", "0.9").lacking


def test_what_runs_through_transformers_is_said_to_be_in_doubt() -> None:
    """A plain decoder without a class of its own went through transformers from vLLM 0.7 on; states and mixtures did
    not, and a flag for it leaves the list aside."""
    plain = resolve("Qwen/Qwen3-8B", offline=True).architecture
    assert not _code(plain, "vllm", "0.8.0").lacking
    assert "through transformers" in _code(plain, "vllm", "0.8.0").unknown
    assert _code(plain, "vllm", "0.6.6").lacking
    mixture = resolve("Qwen/Qwen3-30B-A3B", offline=True).architecture
    assert _code(mixture, "vllm", "0.8.0").lacking
    assert not _code(mixture, "vllm", "0.8.0", ("model-impl", "transformers")).lacking


def test_a_class_that_no_release_has_needs_one_that_hands_it_on() -> None:
    """SGLang runs Olmo 3 through transformers since 0.4.9; an older one cannot."""
    architecture = resolve("allenai/Olmo-3-1125-32B", offline=True).architecture
    assert "nor for running it through transformers" in _code(architecture, "sglang", "0.4.3").lacking
    assert not _code(architecture, "sglang", "0.4.9").lacking


def test_a_repositorys_own_code_stands_in_for_transformers() -> None:
    """transformers runs a class that it has not where the repository brings it and is trusted."""
    architecture = resolve("Qwen/Qwen3-8B", offline=True).architecture
    assert not _code(architecture, "transformers", "4.40", ("trust-remote-code", True)).lacking
    own = replace(architecture, config={**architecture.config, "auto_map": {"AutoModelForCausalLM": "modeling.Qwen"}})
    assert not _code(own, "transformers", "4.40").lacking


def test_an_older_version_has_fewer_precisions() -> None:
    """A ladder of a version holds what that version loads."""
    assert "does not load fp8" in too_old_for("fp8", "vllm", "0.2.7")
    assert not too_old_for("fp8", "vllm", "0.4.3")
    assert not too_old_for("fp8", "vllm", "")
    llama, card = resolve("meta-llama/Meta-Llama-3-8B-Instruct", offline=True).architecture, find("h100").device
    old = [rung.precision for rung in ladders(llama, card, "vllm", read_engine("vllm@0.2.7"))[0]]
    new = [rung.precision for rung in ladders(llama, card, "vllm")[0]]
    assert "fp8" in new
    assert old == [name for name in new if name != "fp8"]


def test_every_decision_goes_by_the_version_asked_for() -> None:
    """recommend and hardware refuse in one line, fit leaves out, estimate and check say it."""
    model, engine = "openai/gpt-oss-20b", "vllm@0.9.2"
    with pytest.raises(UnknownEngine, match="has no code for GptOssForCausalLM"):
        sizer.recommend(model, device="h100", engine=engine, offline=True)
    with pytest.raises(UnknownEngine, match="has no code for GptOssForCausalLM"):
        sizer.hardware(model, engine=engine, offline=True, text="h100")
    assert sizer.fit(device="h100", family="gpt-oss", engine="vllm", everything=True, offline=True)
    with pytest.raises(DoesNotFit):
        sizer.fit(device="h100", family="gpt-oss", engine=engine, everything=True, offline=True)
    told = sizer.estimate(model, device="h100", engine=engine, offline=True).estimates[0].assumptions
    assert any("vllm 0.9.2 has no code" in note for note in told)


def test_check_refuses_an_image_that_is_too_old(capsys: pytest.CaptureFixture[str]) -> None:
    """The tag of an image is the version that the command starts."""
    words = "check -d h100 --offline -- docker run vllm/vllm-openai:v0.9.2 --model openai/gpt-oss-20b"
    with pytest.raises(SystemExit) as ended:
        main(words.split())
    assert ended.value.code == 4
    assert "vllm 0.9.2 has no code" in " ".join(capsys.readouterr().out.split())


def test_releases_are_told_in_order() -> None:
    """A name stands in one release of an engine, and the last read without it is the older one."""
    for table in ("engine_model_releases.csv", "engine_precision_releases.csv"):
        for row in read_rows(table):
            assert version_numbers(row["after"]) < version_numbers(row["version"]), row
    releases = {(row["engine"], row["version"]) for row in read_rows("engine_model_releases.csv")}
    named = list(read_tuples("engine_release_names.csv", ("engine", "version", "name")))
    assert {(engine, version) for engine, version, _ in named} == releases
    assert len({(engine, name) for engine, _, name in named}) == len(named)
