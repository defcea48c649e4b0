"""Recipes: every flag exists in the engine's current version, and no model's name breaks out of one."""

from __future__ import annotations

import ast
import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from advice import model, target
from hypothesis import given, settings
from hypothesis import strategies as st

import sizer
from sizer.advise.draft import Draft, draft
from sizer.advise.recipes import RECIPES, recipe
from sizer.advise.repositories import hub_id
from sizer.answer.estimate import estimate
from sizer.answer.question import Question
from sizer.answer.records import Estimate
from sizer.errors import UsageError
from sizer.model.read.resolve import resolve
from sizer.tables import data_dir
from sizer.workload import Workload

FLAGS = json.loads((Path(__file__).parent.parent / "data" / "recipes" / "flags.json").read_text(encoding="utf-8"))
HOSTILE = "x/y'; rm -rf ~ #\"\n$(id) `id` \\"


def run_of(
    engine: str, precision: str, device: str = "rtx-4090", name: str = "Qwen/Qwen3-8B", ram_gib: float | None = None,
    **work: Any,
) -> Estimate:  # fmt: skip
    """One estimate of a catalogued model."""
    asked = Workload(**{"context_tokens": 4096, **work})
    return estimate(Question(model(name), target(device, None, ram_gib), precision, asked, engine=engine))


def published(engine: str, precision: str, name: str) -> Estimate:
    """One estimate of a model under the name that was asked for."""
    found = resolve(name, offline=True).architecture
    return estimate(Question(found, target("h200"), precision, Workload(), engine=engine))


def drafted() -> Draft:
    """A small draft for the large model."""
    found = draft(run_of("llama.cpp", "q4_k_m", name="Qwen/Qwen3-32B"), model("Qwen/Qwen3-0.6B"))
    assert found is not None
    return found


def commands(text: str) -> Iterator[list[str]]:
    """The commands of a shell text, comments left out; each line is one command."""
    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        if words:
            yield words


def check(words: list[str]) -> dict[str, str]:
    """Parse a command by the flag table of its program; the values by flag."""
    program = max((name for name in FLAGS if words[: len(name.split())] == name.split()), key=len)
    table, rest, found = FLAGS[program], words[len(program.split()) :], {}
    positional = table["positional"]
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            assert positional > 0, f"{program} takes no argument {word!r}"
            positional -= 1
            continue
        assert word in table["flags"], f"{program} has no {word}"
        kind = table["flags"][word]
        if kind == "switch":
            found[word] = ""
            continue
        value = rest.pop(0)
        if kind == "int":
            assert re.fullmatch(r"-?\d+", value), (word, value)
        elif kind == "json":
            json.loads(value)
        elif isinstance(kind, list):
            assert value in kind, (word, value)
        found[word] = value
    assert positional == 0, f"{program} lacks an argument"
    return found


CASES = [
    run_of("llama.cpp", "q4_k_m"),
    run_of("llama.cpp", "q4_k_m", kv_precision="q8_0", batch_size=4, threads=8),
    run_of("llama.cpp", "q4_k_m", "2xrtx-3090", "meta-llama/Llama-3.1-70B"),
    run_of("llama.cpp", "q4_k_m", "rtx-4090", "meta-llama/Llama-3.1-70B", 64),
    run_of("llama.cpp", "q4_k_m", "rtx-4060", "Qwen/Qwen3-30B-A3B", 64),
    run_of("llama.cpp", "q4_k_m", "epyc-7742", ram_gib=64),
    run_of("vllm", "bf16", "a100", batch_size=16),
    run_of("vllm", "fp8", "2xh100", "Qwen/Qwen3-32B", kv_precision="fp8"),
    run_of("vllm", "awq-int4", "a100"),
    run_of("vllm", "nf4", "a100"),
    run_of("vllm", "bf16", "2xa100", parallelism="pipeline"),
    run_of("vllm", "mxfp4", "h100", "openai/gpt-oss-120b"),
    run_of("mlx-lm", "mlx-4bit", "m2-ultra"),
    run_of("mlx-lm", "bf16", "m2-ultra"),
    run_of("mlx-lm", "mlx-5bit", "m2-ultra"),
    run_of("sglang", "fp8", "2xh100", "Qwen/Qwen3-32B", kv_precision="fp8"),
    run_of("sglang", "awq-int4", "a100"),
    run_of("tensorrt-llm", "fp8", "2xh100", "Qwen/Qwen3-32B", kv_precision="fp8"),
    run_of("tensorrt-llm", "bf16", "h100"),
    run_of("llama.cpp", "q5_0", "rtx-3060", "tiiuae/Falcon-H1-7B-Base"),
    run_of("vllm", "q4_k_m", "a100"),
]


@pytest.mark.parametrize("item", CASES, ids=lambda item: f"{item.engine}-{item.precision}-{item.target.device.key}")
def test_every_flag_is_the_engine_s(item: Estimate) -> None:
    """Commands split into words as a shell does, and each flag and value is in the program's table."""
    found = list(commands(recipe(item)))
    assert found
    for words in found:
        check(words)


@pytest.mark.parametrize("engine", ["llama.cpp", "vllm", "mlx-lm"])
def test_a_draft_s_flags_are_the_engine_s(engine: str) -> None:
    """A draft adds known flags to the commands that run the model and to no others."""
    precision = {"llama.cpp": "q4_k_m", "vllm": "bf16", "mlx-lm": "mlx-4bit"}[engine]
    device = "m2-ultra" if engine == "mlx-lm" else "a100"
    plain, with_draft = (recipe(run_of(engine, precision, device), draft=one) for one in (None, drafted()))
    for before, after in zip(commands(plain), commands(with_draft), strict=True):
        added = set(check(after)) - set(check(before))
        assert bool(added) == (after[0] in {"llama-server", "llama-cli", "vllm", "mlx_lm.generate"})


def server_of(item: Estimate) -> list[str]:
    """The command that serves, after those that make the file."""
    return next(words for words in commands(recipe(item)) if words[0] == "llama-server")


def test_the_figures_of_the_estimate_are_in_the_command() -> None:
    """Context times sequences, layers on the device, cache types and cards are those that were estimated."""
    server = check(next(commands(recipe(CASES[1]))))
    assert (server["-c"], server["-np"], server["-t"]) == ("16384", "4", "8")
    assert (server["-ctk"], server["-ctv"], server["-fa"]) == ("q8_0", "q8_0", "on")
    split = CASES[3]
    assert check(server_of(split))["-ngl"] == str(split.placement.gpu_layers + 1)
    experts = CASES[4]
    assert experts.placement.host_experts
    on_host = experts.architecture.num_layers - experts.placement.gpu_layers
    assert check(next(commands(recipe(experts))))["-ncmoe"] == str(on_host)
    assert check(next(commands(recipe(CASES[7]))))["--tensor-parallel-size"] == "2"
    assert check(next(commands(recipe(CASES[10]))))["--pipeline-parallel-size"] == "2"


def test_a_quantized_copy_is_one_that_is_published() -> None:
    """AWQ weights are another repository's; where none is known, a comment says that it has to be made."""
    assert next(commands(recipe(CASES[8])))[2] == "Qwen/Qwen3-8B-AWQ"
    unknown = recipe(run_of("vllm", "awq-int4", "a100", "tiiuae/falcon-mamba-7b"))
    assert unknown.startswith("# no copy of 'tiiuae/falcon-mamba-7b' in awq-int4 is known")
    assert next(commands(unknown))[2] == "./falcon-mamba-7b-awq-int4"


@pytest.mark.parametrize("engine", ["vllm", "sglang", "transformers"])
def test_a_tag_of_a_library_becomes_the_instruct_repository(engine: str) -> None:
    """No server of hub checkpoints is sent to ollama.com, or to the base model of an instruct tag."""
    from sizer.model.read.resolve import resolve

    for tag, repository in (
        ("llama3.3", "meta-llama/Llama-3.3-70B-Instruct"),
        ("llama3.1:8b", "meta-llama/Llama-3.1-8B-Instruct"),
    ):
        found = resolve(tag, offline=True).architecture
        text = recipe(estimate(Question(found, target("4xh100"), "bf16", Workload(), engine=engine)))
        assert repository in text
        assert "ollama.com" not in text


def modelfile(text: str) -> list[tuple[str, str]]:
    """Instructions and arguments of the Modelfile that a script writes."""
    body = text.partition("cat > Modelfile <<'EOF'\n")[2].partition("\nEOF\n")[0]
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in body.splitlines()]


@pytest.mark.parametrize("ram_gib", [None, 64.0])
def test_the_modelfile_has_known_instructions(ram_gib: float | None) -> None:
    """FROM comes first and names what exists, every PARAMETER is one of ollama's, and its value is a number."""
    name = "meta-llama/Llama-3.1-70B" if ram_gib else "Qwen/Qwen3-8B"
    lines = modelfile(recipe(run_of("ollama", "q4_k_m", name=name, ram_gib=ram_gib, threads=8)))
    assert lines[0] == ("FROM", "./Llama-3.1-70B-Q4_K_M.gguf" if ram_gib else "qwen3")
    other = recipe(run_of("ollama", "q8_0", kv_precision="q8_0", batch_size=2))
    assert modelfile(other)[0] == ("FROM", "hf.co/unsloth/Qwen3-8B-GGUF:Q8_0")
    assert "OLLAMA_NUM_PARALLEL=2 OLLAMA_FLASH_ATTENTION=on OLLAMA_KV_CACHE_TYPE=q8_0 ollama serve &" in other
    assert {instruction for instruction, _ in lines[1:]} == {"PARAMETER"}
    parameters = dict(argument.split(" ") for _, argument in lines[1:])
    assert set(parameters) <= set(FLAGS["ollama"]["parameters"])
    assert all(value.isdigit() for value in parameters.values())
    assert ("num_gpu" in parameters) == (ram_gib is not None)


def test_transformers_recipes_are_python() -> None:
    """The code parses, and asks for the model, the dtype and the quantization that were estimated."""
    for precision in ("fp32", "fp16", "bf16", "int8", "nf4", "nf4-dq", "fp4"):
        tree = ast.parse(recipe(run_of("transformers", precision)))
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
        assert "pipeline" in names
        assert ("BitsAndBytesConfig" in names) == (precision in {"int8", "nf4", "nf4-dq", "fp4"})


@pytest.mark.parametrize(
    ("precision", "needs"), [("iq2_m", True), ("iq3_xs", True), ("q2_k_s", True), ("iq3_s", False)]
)
def test_a_type_that_needs_an_importance_matrix_gets_one(precision: str, needs: bool) -> None:
    """llama-quantize refuses the lowest types without a matrix: the script measures one first, and its lines are read
    back as the same file."""
    text = recipe(run_of("llama.cpp", precision, name="Qwen/Qwen3-1.7B"))
    made = [words for words in commands(text) if words[0] in {"llama-imatrix", "llama-quantize"}]
    assert [words[0] for words in made] == [*(["llama-imatrix"] if needs else []), "llama-quantize"]
    assert ("--imatrix" in made[-1]) == needs
    assert not needs or made[-1][2] == made[0][made[0].index("-o") + 1]
    assert sizer.check(text, device="rtx-4090", offline=True).estimates[0].precision == precision


def test_no_recipe_is_an_error_that_says_which_there_are() -> None:
    """An engine or precision without a recipe is named, with those that have one."""
    with pytest.raises(UsageError, match="exllamav2"):
        recipe(run_of("exllamav2", "exl2-4.00bpw"))
    with pytest.raises(UsageError, match="fp8"):
        recipe(run_of("transformers", "fp8", name="tiiuae/falcon-mamba-7b"))
    with pytest.raises(UsageError, match="ollama"):
        recipe(run_of("ollama", "q4_k_m"), draft=drafted())


def renamed(item: Estimate, name: str) -> Estimate:
    """The estimate of a model with another name."""
    return replace(item, architecture=replace(item.architecture, model_id=name))


def words_of(text: str) -> list[list[str]]:
    return list(commands(text))


KNOWN_FLAGS = {flag for table in FLAGS.values() for flag in table.get("flags", {})} | {"-n"}


@settings(max_examples=60, deadline=None)
@given(name=st.one_of(st.just(HOSTILE), st.text(min_size=1, max_size=40)), which=st.sampled_from(range(len(CASES))))
def test_no_name_breaks_out_of_a_command(name: str, which: int) -> None:
    """Whatever a model is called, its commands have no other programs and flags, and the name stays one word."""
    try:
        hostile = recipe(renamed(CASES[which], name))
    except UsageError:
        return
    lines = list(shell_lines(hostile))
    assert lines
    for words in lines:
        assert words[0] in {"llama-server", "llama-cli", "llama-quantize", "llama-imatrix", "vllm", "mlx_lm.convert",
                            "mlx_lm.generate", "python", "trtllm-serve", "hf"}  # fmt: skip
        assert {word for word in words if word.startswith("-")} <= KNOWN_FLAGS


def shell_lines(text: str) -> Iterator[list[str]]:
    """The commands of a script whose quoted words may hold line breaks."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="\n")
    lexer.whitespace, lexer.whitespace_split = " \t\r", True
    words: list[str] = []
    for word in lexer:
        if word and set(word) == {"\n"}:
            yield from [words] if words else []
            words = []
        else:
            words.append(word)
    yield from [words] if words else []


@settings(max_examples=60, deadline=None)
@given(name=st.one_of(st.just(HOSTILE), st.text(min_size=1, max_size=40)))
def test_no_name_breaks_out_of_a_modelfile_or_of_python(name: str) -> None:
    """A name stays one string of the code, and adds no instruction to a Modelfile."""
    code = ast.parse(recipe(renamed(run_of("transformers", "bf16"), name)))
    strings = [node.value for node in ast.walk(code) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    assert {name, f"./{name}"} & set(strings) or hub_id(renamed(CASES[0], name)) in strings
    assert len(code.body) == 6
    hostile = recipe(renamed(run_of("ollama", "q4_k_m"), name))
    assert [line[0] for line in modelfile(hostile)] == ["FROM", "PARAMETER"]
    last = hostile.rstrip("\n").splitlines()[-1]
    assert len(shlex.split(last)) == 3


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("Qwen/Qwen3-8B-AWQ", "Qwen/Qwen3-8B"),
        ("mlx-community/meta-llama-3.1-8b-instruct-4bit", "meta-llama/Meta-Llama-3.1-8B-Instruct"),
        ("Qwen/Qwen3.8-27B-FP8", "Qwen/Qwen3.8-27B"),  # of the shape of Qwen3.6-27B
        ("Qwen/Qwen3-235B-A22B-FP8", "Qwen/Qwen3-235B-A22B-FP8"),  # catalogued itself
    ],
)
def test_other_formats_are_made_of_what_a_copy_was_made_of(name: str, original: str) -> None:
    """A converter reads 16 bits: a copy in fewer is named where its own format is run, and nowhere else."""
    assert hub_id(published("llama.cpp", "q6_k", name)) == original
    assert "-AWQ" not in recipe(published("transformers", "bf16", "Qwen/Qwen3-8B-AWQ"))
    assert "Qwen/Qwen3-8B-AWQ" in recipe(published("vllm", "awq-int4", "Qwen/Qwen3-8B-AWQ"))


def test_a_copy_stored_in_bitsandbytes_own_format_is_loaded_as_it_is() -> None:
    """Its config says how it is quantized: nothing more is told."""
    code = recipe(published("transformers", "nf4-dq", "unsloth/Qwen3-8B-bnb-4bit"))
    assert "'unsloth/Qwen3-8B-bnb-4bit'" in code
    assert "BitsAndBytesConfig" not in code


def test_every_engine_of_the_ladders_default_has_a_recipe() -> None:
    """What is recommended without an engine asked for can be run by a command."""
    from sizer.tables import read_rows

    assert {row["engine"] for row in read_rows("ladders.csv") if row["default"] == "yes"} <= set(RECIPES)


def test_a_recipe_names_the_engine_s_own_cache() -> None:
    """Eight bits of mlx-lm are its --kv-bits from the first token on; what an engine has not got is no recipe."""
    question = Question(model("Qwen/Qwen3-8B"), target("m4-max"), "mlx-4bit", Workload(kv_precision="q8_0"), "mlx-lm")
    assert "--kv-bits 8 --quantized-kv-start 0" in recipe(estimate(question))
    question = Question(model("Qwen/Qwen3-8B"), target("h100"), "bf16", Workload(kv_precision="q8_0"), "vllm")
    with pytest.raises(UsageError, match="vllm has no q8_0 cache") as error:
        recipe(estimate(question))
    assert "--kv-precision fp32, fp16, bf16, fp8" in error.value.hint


def test_several_sequences_are_served_alone() -> None:
    """llama-cli talks with one person: for more sequences only the server is told, with a cache for all of them."""
    alone = recipe(run_of("llama.cpp", "q4_k_m"))
    assert [words[0] for words in commands(alone)] == ["llama-server", "llama-cli"]
    (server,) = commands(recipe(run_of("llama.cpp", "q4_k_m", batch_size=4)))
    assert server[0] == "llama-server"
    assert server[server.index("-c") + 1] == "16384"


def test_a_chip_whose_gpu_is_left_alone_is_told_no_layers() -> None:
    """llama.cpp computes on the CPU of a Snapdragon X: no layer lies on its GPU, in the figures and in the command."""
    found = run_of("llama.cpp", "q4_k_m", "snapdragon-x-elite")
    assert found.placement.gpu_layers == 0
    (server, chat) = commands(recipe(found))
    assert server[server.index("-ngl") + 1] == chat[chat.index("-ngl") + 1] == "0"


def test_a_checkpoint_that_the_device_does_not_run_loads_as_floats() -> None:
    """transformers unpacks fp8 on an A100 and MXFP4 on a Mac by itself; where it runs them it does not."""
    assert "torch.bfloat16" in recipe(run_of("transformers", "bf16", "a100", "Qwen/Qwen3-30B-A3B-FP8"))
    assert "torch.bfloat16" in recipe(run_of("transformers", "bf16", "m3-max", "openai/gpt-oss-20b"))
    with pytest.raises(UsageError, match="in fp8 alone"):
        recipe(run_of("transformers", "bf16", "h100", "Qwen/Qwen3-30B-A3B-FP8"))


@pytest.mark.parametrize("named", ["", "config.json"])
def test_a_folder_of_this_machine_is_not_downloaded(named: str, tmp_path: Path) -> None:
    """The folder is converted where it lies, also where its config.json was named."""
    folder = tmp_path / "my-model"
    folder.mkdir()
    shape = (data_dir() / "configs" / "Qwen--Qwen3-8B.json").read_text(encoding="utf-8")
    (folder / "config.json").write_text(shape, encoding="utf-8")
    architecture = resolve(str(folder / named), offline=True).architecture
    found = estimate(Question(architecture, target("rtx-4090"), "q4_k_m", Workload(), engine="llama.cpp"))
    lines = recipe(found)
    assert "hf download" not in lines
    assert f"convert_hf_to_gguf.py {folder} --outfile my-model-" in lines
