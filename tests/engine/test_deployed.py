"""Commands of clouds and clusters, charts' values, text that is piped in, and engines that are others' kin."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

import sizer
from sizer.cli.check import command as check
from sizer.engine.scripts import read_launch
from sizer.errors import UsageError


@pytest.mark.parametrize(
    ("command", "engine", "model", "settings"),
    [
        ("gcloud run deploy g --image vllm/vllm-openai:v0.11.0 --args=--model=google/gemma-3-4b-it,--max-num-seqs=8",
         "vllm", "google/gemma-3-4b-it", {"version": "0.11.0", "max_sequences": 8}),
        ("gcloud run deploy g --image=x/y --command=vllm --args=^:^serve:Qwen/Qwen3-4B:--max-model-len:4096",
         "vllm", "Qwen/Qwen3-4B", {"context_tokens": 4096}),
        ("kubectl run v --image=vllm/vllm-openai:v0.10.0 --env=A=b --restart=Never -- --model Qwen/Qwen3-32B -tp 8",
         "vllm", "Qwen/Qwen3-32B", {"tensor_parallel": 8}),
        ("kubectl run v --image ubuntu --command -- llama-server -m a-Q4_K_M.gguf -c 8192",
         "llama.cpp", "a-Q4_K_M.gguf", {"context_tokens": 8192}),
        ("az container create -g r -n x --image vllm/vllm-openai --command-line"
         " 'vllm serve Qwen/Qwen3-4B --max-num-seqs 8' --environment-variables A=b C=d",
         "vllm", "Qwen/Qwen3-4B", {"max_sequences": 8}),
        ("docker service create --name x vllm/vllm-openai:v0.9.1 --model Qwen/Qwen3-4B", "vllm", "Qwen/Qwen3-4B", {}),
        ("helm upgrade --install v vllm/vllm-stack --set servingEngineSpec.modelSpec[0].modelURL=Qwen/Qwen3-8B,"
         "servingEngineSpec.modelSpec[0].vllmConfig.maxModelLen=8192", "vllm", "Qwen/Qwen3-8B",
         {"context_tokens": 8192}),
        ("helm install v . --set image.repository=vllm/vllm-openai --set image.tag=v0.10.0"
         " --set 'image.command={vllm,serve,Qwen/Qwen3-8B}' --set-json 'extraArgs=[\"--max-num-seqs\",\"4\"]'",
         "vllm", "Qwen/Qwen3-8B", {"max_sequences": 4}),
        ("aphrodite run Qwen/Qwen3-8B -gmu 0.8 --max-model-len 8192", "vllm", "Qwen/Qwen3-8B",
         {"memory_fraction": 0.8, "context_tokens": 8192}),
        ("python -m mlx_vlm.server --model mlx-community/Qwen2.5-VL-7B-Instruct-4bit --max-kv-size 4096", "mlx-vlm",
         "mlx-community/Qwen2.5-VL-7B-Instruct-4bit", {"context_tokens": 4096}),
        ("vllm-mlx serve mlx-community/Qwen3-8B-4bit --max-num-seqs 16", "vllm-mlx", "mlx-community/Qwen3-8B-4bit",
         {"max_sequences": 16}),
        ("docker run --gpus all ghcr.io/huggingface/text-embeddings-inference:1.8 --model-id BAAI/bge-m3", "candle",
         "BAAI/bge-m3", {"weights_dtype": "float16"}),
        ("infinity_emb v2 --model-id BAAI/bge-m3", "transformers", "BAAI/bge-m3", {"batch_sequences": (32,)}),
        ("python -m tensorrt_llm.commands.serve Qwen/Qwen3-8B --tp_size 2", "tensorrt-llm", "Qwen/Qwen3-8B",
         {"tensor_parallel": 2}),
        ("mlc_llm serve HF://mlc-ai/Qwen3-8B-q4f16_1-MLC --overrides context_window_size=8192;tensor_parallel_shards=2",
         "mlc-llm", "mlc-ai/Qwen3-8B-q4f16_1-MLC", {"context_tokens": 8192, "tensor_parallel": 2}),
        ("python -m dynamo.vllm --model Qwen/Qwen3-0.6B --max-model-len 2048", "vllm", "Qwen/Qwen3-0.6B",
         {"context_tokens": 2048}),
    ],
)  # fmt: skip
def test_what_a_cloud_or_a_kin_starts_is_read(
    command: str, engine: str, model: str, settings: dict[str, object]
) -> None:
    """The engine, the model and the flags of the container that it starts."""
    options = read_launch(command.split() if ";" in command else [command]).options
    assert (options.engine, options.model, options.unknown and options.unknown[0][1]) == (
        engine,
        model,
        options.unknown and "",
    )
    assert {name: getattr(options, name) for name in settings} == settings


def test_values_of_a_chart_lie_in_files_too() -> None:
    """`-f values.yaml` is read where the script writes it, --set wins over it."""
    text = """cat > values.yaml <<EOF
servingEngineSpec:
  modelSpec:
  - name: a
    modelURL: Qwen/Qwen3-8B
    vllmConfig:
      maxModelLen: 4096
      tensorParallelSize: 2
EOF
helm install v vllm/vllm-stack -f values.yaml --set servingEngineSpec.modelSpec[0].vllmConfig.maxModelLen=16384
"""
    options = read_launch([text]).options
    assert (options.model, options.context_tokens, options.tensor_parallel) == ("Qwen/Qwen3-8B", 16384, 2)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("docker run foo/bar:1 --model Qwen/Qwen3-8B", "'foo/bar:1' is no image"),
        ("gcloud run deploy g --args=--model=a/b", "names no image"),
        ("helm install x ./chart", "no value of the chart"),
        ("helm install x ./chart --set a", "'a' is no setting"),
        ("helm install x ./chart --set a[5000]=1", "no path"),
        ("helm install x ./chart --set [0]=1", "no path"),
        ("helm install x ./chart -f nowhere.yaml --set image=vllm/vllm-openai", "'nowhere.yaml', the chart's values"),
        ("torchrun --nproc_per_node=8 nowhere.py", "'nowhere.py' is no script"),
    ],
)
def test_what_starts_nothing_known_is_named(command: str, said: str) -> None:
    """The part that is missing stands in the message."""
    with pytest.raises(UsageError, match=re.escape(said)):
        read_launch([command])


def test_a_command_may_be_piped_in() -> None:
    """`sizer check - < FILE` reads the text; nothing there is one line and exit code 2."""
    words = ["-d", "h100", "--offline", "-"]
    read = CliRunner().invoke(check, words, input="export N=2\nvllm serve Qwen/Qwen3-8B \\\n  -tp $N\n")
    assert (read.exit_code, "2 x NVIDIA H100" in read.output) == (0, True), read.output
    with pytest.raises(UsageError, match="nothing is piped in"):
        CliRunner().invoke(check, words, input=" \n", catch_exceptions=False)


def test_torchrun_starts_a_module() -> None:
    """`torchrun OPTIONS -m MODULE` is read as `python -m MODULE`."""
    options = read_launch(["torchrun --nproc_per_node 2 -m sglang.launch_server --model-path Qwen/Qwen3-14B"]).options
    assert (options.engine, options.model) == ("sglang", "Qwen/Qwen3-14B")


def test_a_repository_of_many_files_must_name_one() -> None:
    """vLLM loads one GGUF file: a repository alone tells no type, and is no 16-bit checkpoint."""
    with pytest.raises(UsageError, match=r"names? it: TheBloke/Llama-2-13B-chat-GGUF:Q4_K_M|takes one"):
        sizer.check("vllm serve TheBloke/Llama-2-13B-chat-GGUF", device="rtx-4090", offline=True)
    named = sizer.check("vllm serve TheBloke/Llama-2-13B-chat-GGUF:Q4_K_M", device="rtx-4090", offline=True)
    assert named.estimates[0].precision == "q4_k_m"


def test_a_card_before_ampere_needs_half_alone() -> None:
    """Where another type is all that is missing, nothing else is proposed beside it."""
    told = sizer.check("vllm serve Qwen/Qwen2.5-3B-Instruct --dtype bfloat16", device="rtx-2080-ti", offline=True)
    assert told.check.change == ("--dtype half",)


@pytest.mark.parametrize("tag", ["gpt-oss:120b-cloud", "glm-4.6:cloud"])
def test_what_runs_on_ollamas_servers_is_said(tag: str) -> None:
    """A cloud tag is the model it names, and the answer says that nothing of it is loaded here."""
    told = sizer.estimate(tag, device="8xh100", precision="q4_k_m", offline=True)
    assert told.model.basis == "catalogue"
    assert any("Ollama's servers" in note for note in told.estimates[0].assumptions)
