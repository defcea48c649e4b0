"""What serves models for others and starts an engine itself: clusters, charts, notebooks, images, calls in Python."""

from __future__ import annotations

import pytest

from sizer.advise.planned import lengthened
from sizer.engine.scripts import read_launch
from sizer.errors import SizerError, UsageError
from sizer.model.read.resolve import resolve

RAY = """applications:
- name: llms
  import_path: ray.serve.llm:build_openai_app
  args:
    llm_configs:
    - model_loading_config: {model_id: small, model_source: Qwen/Qwen2.5-7B-Instruct}
      engine_kwargs:
        tensor_parallel_size: 2
        max_model_len: 9216
        enforce_eager: false
"""
KSERVE = """apiVersion: serving.kserve.io/v1beta1
kind: InferenceService
spec:
  predictor:
    model:
      modelFormat: {name: huggingface}
      args: [--model_name=llama3, --model_id=Qwen/Qwen3-8B, --max_model_len=9216]
"""
MODEL_CAR = """spec:
  predictor:
    model:
      modelFormat: {name: vLLM}
      args: ["--max-model-len=9216"]
      storageUri: hf://Qwen/Qwen3-8B
"""
LLM_SERVICE = """apiVersion: serving.kserve.io/v1alpha2
kind: LLMInferenceService
spec:
  model: {uri: "hf://Qwen/Qwen3-8B", name: q}
  parallelism: {tensor: 2, expert: false}
  template:
    containers:
    - name: main
      image: ghcr.io/llm-d/llm-d-cuda:v0.9.0
      env:
      - {name: VLLM_ADDITIONAL_ARGS, value: "--max-model-len 9216"}
"""
STACK = """servingEngineSpec:
  modelSpec:
  - name: llama
    repository: vllm/vllm-openai
    tag: v0.10.2
    modelURL: Qwen/Qwen3-8B
    vllmConfig:
      tensorParallelSize: 2
      maxModelLen: 9216
      extraArgs: ["--kv-cache-dtype", "fp8"]
"""
LLM_D = """modelArtifacts: {uri: "hf://Qwen/Qwen3-8B"}
decode:
  parallelism: {tensor: 2}
  containers:
  - {name: vllm, modelCommand: vllmServe, args: [--max-model-len, "9216"]}
"""
SKY = """resources: {accelerators: "A100:2"}
envs: {MODEL: Qwen/Qwen3-8B}
run: |
  conda activate vllm
  vllm serve $MODEL --max-model-len 9216 -tp $SKYPILOT_NUM_GPUS_PER_NODE
"""
DSTACK = """type: service
env: [HF_TOKEN, MODEL=Qwen/Qwen3-8B]
commands:
- vllm serve $MODEL --max-model-len 9216 -tp $DSTACK_GPUS_NUM
resources: {gpu: "24GB:2"}
"""


@pytest.mark.parametrize(
    ("document", "ranks"),
    [(RAY, 2), (KSERVE, 1), (MODEL_CAR, 1), (LLM_SERVICE, 2), (STACK, 2), (LLM_D, 2), (SKY, 2), (DSTACK, 2)],
)
def test_what_serves_models_for_others_starts_vllm(document: str, ranks: int) -> None:
    """Ray Serve LLM, KServe, llm-d, vLLM's production stack, SkyPilot and dstack: model, context and cards."""
    options = read_launch([document]).options
    assert options.engine == "vllm"
    assert options.model.removesuffix("-Instruct") in {"Qwen/Qwen3-8B", "Qwen/Qwen2.5-7B"}
    assert options.context_tokens == 9216
    assert (options.tensor_parallel or 1) == ranks
    assert not options.unknown


def test_a_model_file_of_localai_is_its_command() -> None:
    """Its settings are the engine's; `backend: vllm` makes another of it."""
    told = "context_size: 6144\ngpu_layers: 20\ncache_type_k: q8_0\noptions:\n- parallel:4\n"
    path = "huggingface://Qwen/Qwen3-8B-GGUF/Qwen3-8B-Q4_K_M.gguf"
    options = read_launch([f"name: q\nbackend: llama-cpp\n{told}parameters:\n  model: {path}\n"]).options
    assert (options.engine, options.model) == ("llama.cpp", path.removeprefix("huggingface://"))
    assert (options.context_tokens, options.gpu_layers, options.max_sequences) == (6144, 20, 4)
    assert options.k_cache_type == "q8_0"
    other = read_launch(["name: q\nbackend: vllm\nmax_model_len: 6144\nparameters:\n  model: Qwen/Qwen3-8B\n"]).options
    assert (other.engine, other.model, other.context_tokens) == ("vllm", "Qwen/Qwen3-8B", 6144)


@pytest.mark.parametrize(
    ("command", "longest"),
    [
        ("vllm serve Qwen/Qwen3-32B", 40_960),
        (
            """vllm serve Qwen/Qwen3-32B --rope-scaling '{"factor":4.0,"original_max_position_embeddings":32768}'""",
            131_072,
        ),
        ("""vllm serve Qwen/Qwen3-32B --hf-overrides '{"text_config": {"max_position_embeddings": 65536}}'""", 65_536),
        ("""vllm serve Qwen/Qwen3-32B --hf-overrides '{"rope_parameters": {"factor": 2.0}}'""", 81_920),
        ("VLLM_ALLOW_LONG_MAX_MODEL_LEN=1 vllm serve Qwen/Qwen3-32B --max-model-len 50000", 50_000),
        ("VLLM_ALLOW_LONG_MAX_MODEL_LEN=0 vllm serve Qwen/Qwen3-32B", 40_960),
        ("llama-server -m Qwen3-32B-Q4_K_M.gguf --rope-scaling yarn --rope-scale 4", 163_840),
    ],
)
def test_flags_make_a_models_context_longer(command: str, longest: int) -> None:
    """Another rope, other positions, or an engine that is told to take any length."""
    options = read_launch([command]).options
    assert lengthened(resolve("Qwen/Qwen3-32B", offline=True).architecture, options).max_context_tokens == longest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("!vllm serve Qwen/Qwen3-8B --max-model-len 9216 &", "vllm"),
        ("%env VLLM_USE_V1=1\n!vllm serve Qwen/Qwen3-8B --max-model-len 9216", "vllm"),
        ("%%bash\nvllm serve Qwen/Qwen3-8B --max-model-len 9216", "vllm"),
    ],
)
def test_a_notebooks_commands_are_read(text: str, words: str) -> None:
    """Behind an exclamation mark, and in a cell of a shell."""
    options = read_launch([text]).options
    assert (options.engine, options.model, options.context_tokens) == (words, "Qwen/Qwen3-8B", 9216)


def test_what_is_told_to_a_running_model_counts() -> None:
    """`/set parameter` behind `ollama run`; llama_cpp.server's file of a repository; a job of Ray."""
    options = read_launch(["ollama run qwen3:8b\n>>> /set parameter num_ctx 6144\n"]).options
    assert (options.model, options.context_tokens) == ("qwen3:8b", 6144)
    made = "ollama create my -f - <<EOF\nFROM qwen3:8b\nPARAMETER num_ctx 6144\nEOF\nollama run my\n"
    options = read_launch([made]).options
    assert (options.model, options.context_tokens) == ("qwen3:8b", 6144)
    command = "python3 -m llama_cpp.server --hf_model_repo_id Qwen/Qwen3-8B-GGUF --model '*Q8_0.gguf'"
    assert read_launch([command]).options.model == "Qwen/Qwen3-8B-GGUF:Q8_0"
    assert read_launch(["ray job submit -- vllm serve Qwen/Qwen3-8B"]).options.engine == "vllm"


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("docker run --gpus all nvcr.io/nim/meta/llama-3.3-70b-instruct:latest", "by the card"),
        ("optimum-cli export openvino --model Qwen/Qwen3-8B out", "serves none"),
        ("trtllm-build --checkpoint_dir x --max_batch_size 64", "serves none"),
    ],
)
def test_what_tells_nothing_of_a_model_says_why(command: str, why: str) -> None:
    """Programs that make files, and containers that choose for themselves."""
    with pytest.raises(UsageError, match=why):
        read_launch([command])


@pytest.mark.parametrize(
    "command",
    ["vllm bench serve --model Qwen/Qwen3-8B", "lms server start", "python -m sglang.bench_serving --backend vllm",
     "python3 benchmarks/benchmark_serving.py --model Qwen/Qwen3-8B"],
)  # fmt: skip
def test_what_asks_a_server_is_said_to_load_nothing(command: str) -> None:
    """A client's numbers are not a server's flags."""
    with pytest.raises(UsageError, match="loads no model: it works with a server"):
        read_launch([command])


IMAGE_FILES = {
    "its own server": (
        "# syntax=docker/dockerfile:1\nARG V=1\nFROM --platform=linux/amd64 vllm/vllm-openai:v0.10.2\n"
        "ENV HF_HOME=/models \\\n  X=y\n"
        'CMD ["--model", "Qwen/Qwen3-8B", "--max-model-len", "9216"]\n'
    ),
    "another's": (
        'FROM vllm/vllm-openai:v0.10.2\nENTRYPOINT ["vllm", "serve"]\n'
        'CMD ["Qwen/Qwen3-8B", "--max-model-len", "9216"]\n'
    ),
    "a line": "FROM ubuntu\nRUN pip install vllm\nCMD vllm serve Qwen/Qwen3-8B --max-model-len 9216\n",
}


@pytest.mark.parametrize("name", IMAGE_FILES)
def test_a_dockerfile_starts_what_its_container_does(name: str) -> None:
    """Its entry point and what it is given; a Modelfile begins alike and is none."""
    options = read_launch([IMAGE_FILES[name]]).options
    assert (options.engine, options.model, options.context_tokens) == ("vllm", "Qwen/Qwen3-8B", 9216)
    assert options.version == ("" if name == "a line" else "0.10.2")
    assert read_launch(["FROM qwen3:8b\nPARAMETER num_ctx 6144\n"]).options.engine == "ollama"


@pytest.mark.parametrize("text", ["FROM \nCMD x", "FROM --platform=x\nCMD x", "FROM a/b\nCMD " + "[" * 90_000])
def test_a_dockerfile_that_is_none_is_refused(text: str) -> None:
    """No image, or a list in lists without end."""
    with pytest.raises(SizerError):
        read_launch([text])


def test_a_pods_variables_are_put_in() -> None:
    """`$(NAME)` of Kubernetes, in arguments and in a shell's text."""
    text = (
        "kind: Pod\nspec:\n  containers:\n  - image: vllm/vllm-openai:latest\n    command: [/bin/sh, -c]\n"
        '    args: ["vllm serve $(MODEL) --max-model-len $(LEN)"]\n'
        "    env:\n    - {name: MODEL, value: Qwen/Qwen3-8B}\n    - {name: LEN, value: '9216'}\n"
    )
    options = read_launch([text]).options
    assert (options.model, options.context_tokens) == ("Qwen/Qwen3-8B", 9216)


def test_a_call_without_its_import_is_known_by_its_name() -> None:
    """One line of a notebook; a job of Slurm's is read too."""
    options = read_launch(['llm = LLM(model="Qwen/Qwen3-8B", max_model_len=9216)']).options
    assert (options.engine, options.context_tokens) == ("vllm", 9216)
    job = read_launch(['sbatch --gres=gpu:8 --wrap "vllm serve Qwen/Qwen3-8B --max-model-len 9216"']).options
    assert (job.engine, job.context_tokens) == ("vllm", 9216)


def test_unsloth_quantizes_to_nf4_twice() -> None:
    """Its loader's own configuration, not BitsAndBytesConfig's defaults."""
    code = "from unsloth import FastLanguageModel\nm, t = FastLanguageModel.from_pretrained('unsloth/Qwen3-14B', MORE)"
    options = read_launch([code.replace("MORE", "load_in_4bit=True")]).options
    assert (options.four_bit_type, options.double_quantization) == ("nf4", True)
