"""Python that starts an engine: what `sizer check` reads of it, without running it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from verdicts import answer

import sizer
from sizer.engine.scripts import read_launch
from sizer.errors import UsageError


def test_a_python_script_is_read_where_it_lies(tmp_path: Path) -> None:
    """`python FILE.py`, through a launcher too, and `python -c CODE` are what the code loads; a page reads no files."""
    code = "from vllm import LLM\nllm = LLM(model='Qwen/Qwen3-8B', quantization='fp8', max_model_len=4096)\n"
    file = tmp_path / "serve.py"
    file.write_text(code, encoding="utf-8")
    for words in (["python3", str(file)], ["CUDA_VISIBLE_DEVICES=0", "torchrun", str(file)], ["python", "-c", code]):
        item = sizer.check(words, device="h100", offline=True).estimates[0]
        assert (item.engine, item.precision) == ("vllm", "fp8")
    with pytest.raises(UsageError, match="no script that can be read here"):
        read_launch(["python3", str(file)], files_allowed=False)
    for name in ("\0.py", "x" * 5000 + ".py", str(tmp_path / "absent.py"), str(tmp_path) + "/.py"):
        with pytest.raises(UsageError):
            read_launch(["python3", name])


ARGUMENTS = """
import argparse
from vllm import LLM
p = argparse.ArgumentParser()
p.add_argument("--model-id", default="Qwen/Qwen3-8B")
p.add_argument("--length", "-l", default=2048)
a = p.parse_args()
llm = LLM(a.model_id, max_model_len=a.length)
"""
LLAMA_CALL = "Llama(model_path='Qwen3-8B-Q4_K_M.gguf', n_gpu_layers=-1, n_ctx=8192)"
PATTERN_CALL = "Llama.from_pretrained(repo_id='Qwen/Qwen3-8B-GGUF', filename='*Q8_0.gguf')"
VLLM_CALL = "vllm.AsyncEngineArgs(model='Qwen/Qwen3-8B', max_model_len=4096, enforce_eager=False)"
UNSLOTH_CALL = "FastLanguageModel.from_pretrained('unsloth/Qwen3-8B')"
OLLAMA_CALL = "ollama.chat(model='qwen3:8b', messages=[], options={'num_ctx': 16384})"
PYTHON = [
    (f"from llama_cpp import Llama\nllm = {LLAMA_CALL}", "llama.cpp", "q4_k_m", 8192),
    (f"from llama_cpp import Llama\nllm = {PATTERN_CALL}", "llama.cpp", "q8_0", 512),
    (f"import vllm\nargs = {VLLM_CALL}", "vllm", "bf16", 4096),
    (f"from unsloth import FastLanguageModel\nmodel, t = {UNSLOTH_CALL}", "transformers", "nf4-dq", 640),
    (f"import ollama\n{OLLAMA_CALL}", "ollama", "q4_k_m", 16384),
    (ARGUMENTS, "vllm", "bf16", 2048),
]


@pytest.mark.parametrize(("code", "engine", "precision", "context_tokens"), PYTHON)
def test_python_of_each_library_is_read(code: str, engine: str, precision: str, context_tokens: int) -> None:
    """Calls of the libraries that people load models with: their own defaults, patterns, nested options, arguments."""
    found = sizer.check(code, device="h100", offline=True)
    item = found.estimates[0]
    assert (item.engine, item.precision, found.workload.context_tokens) == (engine, precision, context_tokens)
    assert not any("no flag" in note for note in item.assumptions)


def test_python_that_only_running_tells_names_the_code() -> None:
    """A model out of the program's own arguments or functions is no model: the line says which code tells it."""
    with pytest.raises(UsageError, match=r"sys\.argv\[1\]"):
        read_launch(["from vllm import LLM\nimport sys\nllm = LLM(model=sys.argv[1])"])


def test_llama_cpp_python_keeps_layers_on_the_host_unless_told() -> None:
    """Its n_gpu_layers is 0 and its n_ctx 512 (a server's 2,048), where llama.cpp's own programs take the card."""
    bare = read_launch(["from llama_cpp import Llama\nllm = Llama(model_path='Qwen3-8B-Q8_0.gguf')"]).options
    assert (bare.gpu_layers, bare.context_tokens, bare.flash_attention) == (0, 512, False)
    typed = "from llama_cpp import Llama\nllm = Llama('Qwen3-8B-Q8_0.gguf', type_k=8, offload_kqv=False, split_mode=2)"
    options = read_launch([typed]).options
    assert (options.k_cache_type, options.cache_on_host, options.split_mode) == ("q8_0", True, "row")
    server = read_launch(
        shlex.split("python3 -m llama_cpp.server --model Qwen3-8B-Q8_0.gguf --n_gpu_layers 20")
    ).options
    assert (server.gpu_layers, server.context_tokens) == (20, 2048)


@pytest.mark.parametrize(
    ("model", "flags"),
    [
        ("Qwen/Qwen3-8B-GGUF:Q8_0", "-nkvo"),
        ("unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M", "-ncmoe 40"),
        ("unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M", "-ot exps=CPU"),
    ],
)
def test_layers_and_what_else_stays_on_the_host_add_up(model: str, flags: str) -> None:
    """`-ngl 20` beside flags that leave weights or cache to the host: both hold, neither takes the other's place."""

    def host_bytes(words: str) -> int:
        host = answer(f"llama-server -hf {model} -c 4096 {words}", "rtx-4090").estimates[0].memory.host
        return host.weights_bytes + host.kv_cache_bytes

    layers, beside, both = host_bytes("-ngl 20"), host_bytes(f"-ngl 99 {flags}"), host_bytes(f"-ngl 20 {flags}")
    assert max(layers, beside) < both <= layers + beside


def test_python_code_profiles_more_tokens_than_a_server() -> None:
    """vLLM's LLM batches 8,192 tokens where its server batches 2,048, on an H100 16,384; an argument decides."""
    code = "from vllm import LLM\nllm = LLM('Qwen/Qwen3-8B', max_model_len=4096MORE)\n"
    layer = (3 * 4096 + 3 * 12_288) * 2
    for device, more, tokens, kept in (("l40s", "", 8192, 8_519_680), ("h100", ", max_num_seqs=8", 16_384, 2**25),
                                       ("l40s", ", max_num_batched_tokens=16384", 16_384, 8_519_680)):  # fmt: skip
        found = sizer.check(code.replace("MORE", more), device=device, offline=True).estimates[0].memory
        assert found.devices[0].compute_bytes == tokens * layer + kept


LOADED = (
    "from transformers import AutoModelForCausalLM, {name}\nm = AutoModelForCausalLM.from_pretrained('Qwen/Qwen3-8B', "
)


@pytest.mark.parametrize(
    ("config", "precision"),
    [
        ("HqqConfig(nbits=4)", "hqq-4bit"),
        ("HqqConfig(8)", "hqq-8bit"),
        ("QuantoConfig(weights='int4')", "quanto-int4"),
        ("QuantoConfig('int4')", "quanto-int4"),
        ("TorchAoConfig('int8_weight_only')", "torchao-int8"),
        ("TorchAoConfig(quant_type=Int4WeightOnlyConfig(group_size=128))", "torchao-int4"),
        ("TorchAoConfig('float8_weight_only')", "torchao-fp8"),
        ("FineGrainedFP8Config()", "fp8-block"),
        ("FineGrainedFP8Config(dequantize=True)", "bf16"),
        ("AwqConfig(bits=4, group_size=64)", "awq-int4-g64"),
        ("AwqConfig()", "awq-int4"),
        ("HqqConfig(nbits=4, group_size=128)", "hqq-4bit-g128"),
        ("EetqConfig()", "int8"),
        ("Mxfp4Config(dequantize=True)", "bf16"),
        ("GPTQConfig(bits=4, group_size=32)", "gptq-int4-g32"),
        ("{'load_in_8bit': True}", "int8"),
        ("BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4')", "nf4"),
    ],
)
def test_what_code_quantizes_to_is_told(config: str, precision: str) -> None:
    """Each configuration of transformers is its precision, never the checkpoint's floats without a word."""
    code = LOADED.format(name="BitsAndBytesConfig") + f"quantization_config={config})\n"
    assert sizer.check(code, device="rtx-4090", offline=True).estimates[0].precision == precision


def test_a_configuration_that_is_not_known_is_refused() -> None:
    """A class that sizer does not know is named: what the model takes then is not told."""
    with pytest.raises(UsageError, match=r"AwqConfig\(bits=8, group_size=128\) names no precision"):
        read_launch([LOADED.format(name="AwqConfig") + "quantization_config=AwqConfig(bits=8))\n"])
    with pytest.raises(UsageError, match="BitNetConfig"):
        read_launch([LOADED.format(name="BitNetConfig") + "quantization_config=BitNetConfig())\n"])


@pytest.mark.parametrize("config", ["GPTQConfig(bits=n)", "HqqConfig(n)", "GPTQConfig(bits=4, group_size=n)"])
def test_a_width_that_only_running_tells_is_refused(config: str) -> None:
    """No class's default stands in for an argument that is no literal."""
    with pytest.raises(UsageError, match=r"running the code alone|names no precision"):
        read_launch([LOADED.format(name="HqqConfig") + f"quantization_config={config})\n"])


def test_arguments_of_the_command_line_win_over_their_defaults(tmp_path: Path) -> None:
    """`python serve.py --tp 4` gives the code 4, whatever default its parser has."""
    code = (
        "import argparse\nfrom vllm import LLM\np = argparse.ArgumentParser()\n"
        "p.add_argument('--tp', type=int, default=2)\na = p.parse_args()\n"
        "llm = LLM('Qwen/Qwen3-8B', tensor_parallel_size=a.tp)\n"
    )
    file = tmp_path / "serve.py"
    file.write_text(code, encoding="utf-8")
    assert read_launch(["python", str(file)]).options.tensor_parallel == 2
    assert read_launch(["python", str(file), "--tp", "4"]).options.tensor_parallel == 4
    assert read_launch(["python", str(file), "--tp=8"]).options.tensor_parallel == 8


@pytest.mark.parametrize(
    ("code", "engine", "precision"),
    [
        ("from awq import AutoAWQForCausalLM as A\nm = A.from_quantized('TheBloke/Mistral-7B-Instruct-v0.2-AWQ')",
         "autoawq", "awq-int4"),
        ("import mii\npipe = mii.pipeline('mistralai/Mistral-7B-v0.1')", "deepspeed-mii", "bf16"),
    ],
)  # fmt: skip
def test_other_libraries_load_with_their_own_engine(code: str, engine: str, precision: str) -> None:
    """A call is its module's, not transformers' of the same name."""
    item = sizer.check(code, device="rtx-4090", offline=True).estimates[0]
    assert (item.engine, item.precision) == (engine, precision)


def test_what_runs_on_a_server_names_the_model() -> None:
    """`ollama serve & ollama run MODEL` of a container's shell is what the second loads."""
    words = ["docker", "run", "ollama/ollama", "sh", "-c", "ollama serve & sleep 5 && ollama run qwen3:14b"]
    assert read_launch(words).options.model == "qwen3:14b"
