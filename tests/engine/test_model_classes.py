"""An engine is offered for the models that it has code for, and refuses the rest in one line."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace

import pytest

import sizer
from sizer.device.catalogue import find
from sizer.engine.engines import engines
from sizer.engine.ladders import ladders
from sizer.engine.model_classes import model_code
from sizer.engine.options import EngineOptions
from sizer.errors import UnknownEngine
from sizer.model.read.catalogue import entries
from sizer.model.read.catalogue import find as catalogue_entry
from sizer.model.read.resolve import resolve
from sizer.tables import read_rows

ENGINES = ("llama.cpp", "ik_llama.cpp", "exllamav2", "exllamav3", "mlx-lm", "lmdeploy", "mistral.rs", "tensorrt-llm")
LOADED = {
    "meta-llama/Meta-Llama-3-8B-Instruct": "yyyyyyyy",
    "mistralai/Mistral-7B-Instruct-v0.3": "yyyyyyyy",
    "mistralai/Mixtral-8x7B-Instruct-v0.1": "yyyyyyyy",
    "Qwen/Qwen2.5-7B-Instruct": "yyyyyyyy",
    "Qwen/Qwen3-8B": "yyyyyyyy",
    "Qwen/Qwen3-30B-A3B": "yyyyyyyy",
    "Qwen/Qwen2.5-VL-7B-Instruct": "yyyyyyyy",
    "Qwen/Qwen1.5-MoE-A2.7B": "yynnyyny",
    "google/gemma-2-9b-it": "yyyyyyyn",
    "google/gemma-3-27b-it": "yyyyyyyy",
    "google/gemma-3n-E4B-it": "ynnnynyn",
    "google/gemma-7b-it": "yyynyyyn",
    "microsoft/Phi-3.5-mini-instruct": "yyyyyyyy",
    "microsoft/Phi-3.5-MoE-instruct": "ynnnyyyn",
    "microsoft/phi-2": "yynnynyn",
    "openai/gpt-oss-20b": "yynyyyyy",
    "deepseek-ai/DeepSeek-V3": "yynyyyyy",
    "deepseek-ai/DeepSeek-V2-Lite": "yynnyyyn",
    "zai-org/GLM-4.5-Air": "yynyyyyy",
    "ibm-granite/granite-3.3-8b-instruct": "yyynynnn",
    "ibm-granite/granite-4.0-h-small": "ynnnynyn",
    "tiiuae/Falcon-H1-7B-Instruct": "ynnnynnn",
    "tiiuae/falcon-7b": "yynnnnnn",
    "CohereLabs/c4ai-command-r-v01": "yyyyynnn",
    "allenai/OLMo-2-1124-7B-Instruct": "ynnnynnn",
    "facebook/opt-6.7b": "nnnnnnnn",
    "EleutherAI/gpt-neo-2.7B": "nnnnnnnn",
    "EleutherAI/gpt-j-6b": "nnnnnnnn",
    "EleutherAI/pythia-6.9b": "yynnynnn",
    "bigscience/bloom-7b1": "yynnnnnn",
    "openai-community/gpt2": "yyynynnn",
    "bigcode/starcoder2-7b": "yyynyyyy",
    "state-spaces/mamba-2.8b-hf": "yynnynnn",
    "LiquidAI/LFM2-1.2B": "ynnnynyn",
    "HuggingFaceTB/SmolLM3-3B": "yynyynyn",
    "nvidia/Llama-3_3-Nemotron-Super-49B-v1": "yynyynny",
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2": "ynnyynny",
    "internlm/internlm2_5-7b-chat": "yyynyynn",
    "THUDM/chatglm3-6b": "yynnnnnn",
    "LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct": "ynnnynnn",
    "LGAI-EXAONE/EXAONE-4.0-32B": "ynnyynny",
    "MiniMaxAI/MiniMax-M2": "yynyynny",
    "moonshotai/Kimi-K2-Instruct": "yynyyyyy",
    "meta-llama/Llama-3.2-11B-Vision-Instruct": "nnnnnyyy",
    "meta-llama/Llama-4-Scout-17B-16E-Instruct": "yynnyyyy",
    "mosaicml/mpt-7b": "yynnnnnn",
    "arcee-ai/AFM-4.5B": "ynnynnnn",
    "swiss-ai/Apertus-8B-Instruct-2509": "ynnyynnn",
    "ByteDance-Seed/Seed-OSS-36B-Instruct": "yynyynny",
    "BAAI/bge-m3": "yynnnnnn",
}
"""By the lists of each engine's source: does it load the model? One letter an engine of ENGINES, y or n."""


@pytest.mark.parametrize("model", LOADED)
def test_engines_load_what_their_source_lists(model: str) -> None:
    """Fifty models by eight engines: each answer is that of the engine's own list of classes."""
    architecture = resolve(model, offline=True).architecture
    told = "".join("n" if model_code(architecture, engine).lacking else "y" for engine in ENGINES)
    assert told == LOADED[model], model


def test_the_table_names_engines_and_no_model_twice() -> None:
    """A row about an engine that nobody knows, or a class both there and gone, is a slip."""
    rows = list(read_rows("engine_models.csv"))
    names: dict[str, list[str]] = defaultdict(list)
    for row in read_rows("engine_model_names.csv"):
        names[row["list"]].append(row["name"])
    assert set(names) == {row["list"] for row in rows}
    assert all(len(listed) == len(set(listed)) for listed in names.values())
    assert {engine for row in rows for engine in row["engines"].split()} <= set(engines())
    assert {row["by"] for row in rows} == {"class", "model_type"}
    assert all(row["source"] for row in rows)
    closed = {name for row in rows if row["as_of"] for name in row["engines"].split()}
    handing_on = {name for row in rows if row["otherwise"] for name in row["engines"].split()}
    assert closed.isdisjoint(handing_on)
    assert closed | handing_on == {name for row in rows for name in row["engines"].split()}
    for name in engines():
        own = [row for row in rows if name in row["engines"].split() and row["by"] == "class"]
        newest = {model for row in own if not row["until"] for model in names[row["list"]]}
        gone = [model for row in own if row["until"] for model in names[row["list"]]]
        assert not newest & set(gone)
        assert len(gone) == len(set(gone))


@pytest.mark.parametrize("device", ["rtx-4090", "h100-80gb-sxm", "m3-max-40c"])
def test_no_ladder_offers_an_engine_without_code_for_the_model(device: str) -> None:
    """What `recommend` and `fit` choose from loads the model: one of each catalogued class, on cards and Macs."""
    chip = find(device).device
    one_a_class = {(entry.architecture, entry.model_type): entry.model_id for entry in entries()}
    for model in one_a_class.values():
        architecture = resolve(model, offline=True).architecture
        if architecture.layers:
            for rungs in ladders(architecture, chip):
                assert not model_code(architecture, rungs[0].engine).lacking, f"{model} with {rungs[0].engine}"


def test_an_engine_asked_for_that_has_no_code_is_refused_with_those_that_have() -> None:
    """`recommend -e exllamav2` of a model that it does not read says so, and which engines do."""
    with pytest.raises(UnknownEngine, match="exllamav2 has no code for OPTForCausalLM") as caught:
        sizer.recommend("facebook/opt-6.7b", device="rtx-4090", engine="exllamav2")
    assert "transformers" in caught.value.hint


def test_a_list_older_than_the_model_does_not_refuse_it() -> None:
    """K2-Horizon came after the lists were read: asked for, an engine is told with a note; not asked for, one that is
    known to load it is taken. OPT is older than the lists, and refused with their date."""
    newer = resolve("IFM/K2-Horizon-7B", offline=True).architecture
    older = resolve("facebook/opt-6.7b", offline=True).architecture
    for engine in ("llama.cpp", "exllamav2", "tensorrt-llm", "mlx-lm"):
        assert not model_code(newer, engine).lacking
        assert "is not known" in model_code(newer, engine).unknown
        assert re.search(r" as of \d{4}-\d\d-\d\d\.$", model_code(older, engine).lacking)
        assert not model_code(older, engine).unknown
    told = sizer.recommend("IFM/K2-Horizon-7B", device="rtx-4090", engine="llama.cpp").estimate
    assert model_code(newer, "llama.cpp").unknown in told.assumptions
    listed = sizer.fit(device="rtx-4090", engine="llama.cpp", family="k2-horizon", everything=True, offline=True)
    assert {row.model for row in listed} >= {"IFM/K2-Horizon-7B"}
    assert {row.code_unknown for row in listed} == {model_code(newer, "llama.cpp").unknown}
    assert not any(model_code(newer, rungs[0].engine).unknown for rungs in ladders(newer, find("rtx-4090").device))


def test_a_class_that_no_dated_model_has_is_not_refused() -> None:
    """Nobody told when it came out: it may be newer than any list; an engine that hands on what it lacks takes it."""
    one = resolve("facebook/opt-6.7b", offline=True).architecture
    unheard = replace(one, architecture="UnheardForCausalLM", model_type="unheard")
    assert not model_code(unheard, "exllamav2").lacking
    assert "UnheardForCausalLM is not known" in model_code(unheard, "exllamav2").unknown
    assert not model_code(unheard, "vllm").unknown


def test_versions_and_flags_say_which_classes_there_are() -> None:
    """vLLM dropped classes; an older version has them, as has what runs the model through transformers."""
    gone = sizer.check("vllm serve meta-llama/Llama-3.2-11B-Vision-Instruct", device="h100").check
    assert not gone.starts
    assert gone.reason == "vllm had code for MllamaForConditionalGeneration until 0.10.2."
    architecture = resolve("meta-llama/Llama-3.2-11B-Vision-Instruct", offline=True).architecture
    assert not model_code(architecture, "vllm", EngineOptions("vllm", "0.9.1")).lacking
    assert model_code(architecture, "vllm", EngineOptions("vllm", "0.11.0")).lacking
    through_transformers = EngineOptions("vllm", given=(("model-impl", "transformers"),))
    assert not model_code(architecture, "vllm", through_transformers).lacking
    usual = sizer.check("trtllm-serve ibm-granite/granite-3.3-8b-instruct", device="h100").check
    assert usual.reason == "tensorrt-llm has no code for GraniteForCausalLM as of 2026-07-31."
    auto = sizer.check("trtllm-serve ibm-granite/granite-3.3-8b-instruct --backend _autodeploy", device="h100")
    assert auto.check.starts
    assert not any("has no code" in note for note in auto.estimates[0].assumptions)
    alone = sizer.estimate("ibm-granite/granite-3.3-8b-instruct", device="h100", engine="tensorrt-llm")
    assert f"{usual.reason[:-1]}: told as if it had." in alone.estimates[0].assumptions


def test_what_no_list_names_runs_where_there_is_none() -> None:
    """A model that llama.cpp lacks and vLLM does not name is offered with transformers, not with vLLM's fallback."""
    mpnet = resolve("sentence-transformers/all-mpnet-base-v2", offline=True).architecture
    assert {rungs[0].engine for rungs in ladders(mpnet, find("rtx-4090").device)} == {"transformers"}


def test_no_model_with_a_published_file_is_refused() -> None:
    """What publishers converted, llama.cpp loads; a tag of the Ollama library Ollama; what mlx-community converted, one
    of MLX's two programs."""
    published = [(row["model"], ("llama.cpp",)) for row in read_rows("gguf_repositories.csv")]
    published += [(row["model"], ("ollama",)) for row in read_rows("ollama_tags.csv")]
    copies = [row["model"] for row in read_rows("quantized_copies.csv") if row["precision"].startswith("mlx")]
    published += [(model, ("mlx-lm", "mlx-vlm")) for model in copies]
    catalogued = {pair for pair in published if catalogue_entry(pair[0]) is not None}
    assert len(catalogued) > 900
    for model, engines_of_it in catalogued:
        architecture = resolve(model, offline=True).architecture
        assert any(not model_code(architecture, engine).lacking for engine in engines_of_it), model


def test_methods_that_an_engine_gave_up_are_told_by_version() -> None:
    """vLLM has neither HQQ nor AQLM any more; GGUF and bitsandbytes came out of its tree: their plugins are named."""
    for engine, told in (("vllm", True), ("vllm@0.10.2", False), ("transformers", False)):
        found = sizer.estimate("Qwen/Qwen3-8B", device="h100", precision="hqq-4bit", engine=engine)
        gone = "vllm 0.22 loads hqq-4bit weights no more." in found.estimates[0].assumptions
        assert gone is told, engine
    for model, plugin in (("unsloth/Qwen3-8B-GGUF:Q4_K_M", "gguf"), ("unsloth/Qwen3-8B-bnb-4bit", "bnb")):
        found = sizer.check(f"vllm serve {model}", device="h100", offline=True)
        assert found.check.starts
        assert any(f"pip install vllm-{plugin}-plugin" in note for note in found.estimates[0].assumptions)
        image = f"docker run vllm/vllm-openai:v0.22.0 --model {model}"
        older = sizer.check(image, device="h100", offline=True)
        assert not any("plugin" in note for note in older.estimates[0].assumptions)
