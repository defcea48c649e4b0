"""Commands as people paste them: other shells, wrappers, prompts, and documents that hold a command."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any

import pytest
from effort import RUNAWAY_S
from hypothesis import given
from hypothesis import strategies as st

from sizer.engine.pasted import shell_text
from sizer.engine.scripts import read_launch
from sizer.errors import SizerError, UsageError

SERVER = "llama-server -m Qwen3-8B-Q8_0.gguf -c 6144"
TEN = {"engine": "llama.cpp", "model": "Qwen3-8B-Q8_0.gguf", "context_tokens": 6144}
VLLM = {"engine": "vllm", "model": "Qwen/Qwen3-8B", "context_tokens": 9216}

COMPOSE = """services:
  webui:
    image: ghcr.io/open-webui/open-webui:main
  llm:
    image: vllm/vllm-openai:v0.12.0
    environment:
      HF_HOME: /cache
    command: >
      --model Qwen/Qwen3-8B
      --max-model-len=9216
    deploy:
      resources: {}
"""
LISTED = """services:
  llm:
    image: "ghcr.io/ggml-org/llama.cpp:server-cuda"
    environment:
      - LLAMA_ARG_N_GPU_LAYERS=99
    command:
      - -m
      - Qwen3-8B-Q8_0.gguf
      - -c
      - "6144"
    volumes:
      - ./models:/models
"""
POD = """spec:
  containers:
    - name: llm
      image: vllm/vllm-openai:v0.12.0
      command: ["vllm", "serve"]
      args:
        - Qwen/Qwen3-8B
        - --max-model-len
        - "9216"
"""
SWAPPED = """healthCheckTimeout: 60
models:
  "small":
    cmd: |
      # comments stand among the lines
      llama-server --port ${PORT}
      -m Qwen3-8B-Q8_0.gguf
      -c 6144
    ttl: 60
"""
UNIT = """[Unit]
Description=a server

[Service]
Environment="LLAMA_ARG_CTX_SIZE=6144" "OTHER=1"
ExecStart=/opt/llama/llama-server \\
  -m Qwen3-8B-Q8_0.gguf
Restart=always
"""
PRESET = """version = 1

[*]
n-gpu-layers = 99

[small]
model = Qwen3-8B-Q8_0.gguf
ctx-size = 6144  ; comment
jinja = true
mmap = false

[large]
model = other.gguf
"""

PASTED: list[tuple[str, dict[str, Any]]] = [
    (f"$ {SERVER}", TEN),
    (f"> {SERVER}", TEN),
    (f"me@box:~/models$ {SERVER}", TEN),
    (f"PS C:\\llm> {SERVER}", TEN),
    (f"C:\\llm> {SERVER}", TEN),
    (f"```bash\n{SERVER}\n```", TEN),
    (f"# comment\n{SERVER}  # another", TEN),
    (f"nohup {SERVER} > server.log 2>&1 &", TEN),
    (f"{SERVER} &>> log.txt", TEN),
    ("llama-server `\n  -m Qwen3-8B-Q8_0.gguf `\n  -c 6144", TEN),
    ("llama-server ^\n  -m Qwen3-8B-Q8_0.gguf ^\n  -c 6144", TEN),
    ("llama-server \\\n  -m Qwen3-8B-Q8_0.gguf \\\n  -c 6144", TEN),
    (".\\llama-server.exe -m C:\\models\\Qwen3-8B-Q8_0.gguf -c 6144", TEN | {"model": "C:/models/Qwen3-8B-Q8_0.gguf"}),
    ("llama-server -m Qwen3-8B-Q8_0.gguf –ctx-size 6144", {"engine": "llama.cpp", "context_tokens": 6144}),  # noqa: RUF001
    (f"sudo -u llm taskset -c 0-7 {SERVER}", TEN),
    (f"numactl --interleave=all ./build/bin/{SERVER}", TEN),
    (f"systemd-run --user --scope -p MemoryMax=40G {SERVER}", TEN),
    (f"tmux new-session -d -s llm '{SERVER}'", TEN),
    (f"screen -dmS llm {SERVER}", TEN),
    (f"srun --gres=gpu:1 --mem=32G {SERVER}", TEN),
    (f'ssh box "{SERVER}"', TEN),
    (f"cmd /c {SERVER}", TEN),
    (f'powershell -Command "{SERVER}"', TEN),
    (f"wsl -d Ubuntu {SERVER}", TEN),
    (f"distrobox enter llm -- {SERVER}", TEN),
    (f"toolbox run -c llm {SERVER}", TEN),
    (f"timeout 60 {SERVER}", TEN),
    (f"env GGML_CUDA_NO_PINNED=1 {SERVER}", TEN),
    (f"conda activate llm && {SERVER}", TEN),
    (f"conda run -n llm {SERVER}", TEN),
    ("CTX=6144; llama-server -m Qwen3-8B-Q8_0.gguf -c $CTX", TEN),
    ('FILE="Qwen3-8B-Q8_0.gguf"\nllama-server -m "${FILE}" -c ${CTX:-6144}', TEN),
    ("export LLAMA_ARG_CTX_SIZE=6144\nllama-server -m Qwen3-8B-Q8_0.gguf", TEN),
    ("$env:LLAMA_ARG_CTX_SIZE = '6144'\nllama-server -m Qwen3-8B-Q8_0.gguf", TEN),
    ("set LLAMA_ARG_CTX_SIZE=6144\nllama-server -m Qwen3-8B-Q8_0.gguf", TEN),
    ("set LLAMA_ARG_CTX_SIZE=6144 && llama-server -m Qwen3-8B-Q8_0.gguf", TEN),
    ("podman run --rm ghcr.io/ggerganov/llama.cpp:server-cuda -m Qwen3-8B-Q8_0.gguf -c 6144", TEN),
    ("uv run --with vllm vllm serve Qwen/Qwen3-8B --max-model-len 9216", VLLM),
    ("uvx --from vllm vllm serve Qwen/Qwen3-8B --max-model-len 9216", VLLM),
    ("singularity exec --nv llm.sif vllm serve Qwen/Qwen3-8B --max-model-len 9216", VLLM),
    ("apptainer run --nv docker://vllm/vllm-openai:v0.12.0 --model Qwen/Qwen3-8B --max-model-len 9216", VLLM),
    ("docker run -d -e OLLAMA_CONTEXT_LENGTH=8192 ollama/ollama", {"engine": "ollama", "context_tokens": 8192}),
    (
        'curl localhost:11434/api/generate -d \'{"model": "qwen3:8b", "options": {"num_ctx": 8192}}\'',
        {"engine": "ollama", "model": "qwen3:8b", "context_tokens": 8192},
    ),
    (COMPOSE, VLLM | {"version": "0.12.0"}),
    (LISTED, TEN | {"gpu_layers": 99}),
    (POD, VLLM),
    (SWAPPED, TEN),
    (UNIT, TEN),
    (PRESET, TEN | {"gpu_layers": 99}),
    (
        "llama-server --gpt-oss-20b-default",
        {"context_tokens": 262144, "max_sequences": 2, "prefill_chunk_tokens": 2048},
    ),
    ("mlx_lm.benchmark --model mlx-community/Qwen3-8B-4bit --batch-size 4", {"engine": "mlx-lm", "max_sequences": 4}),
    ("koboldcpp -fa -ncmoe 10 --model x.gguf --no-kv-offload", {"engine": "koboldcpp", "cpu_moe_layers": 10}),
    ("CUDA_VISIBLE_DEVICES=0,2 llama-server -m x.gguf", {"devices_used": ("0", "2")}),
]


@pytest.mark.parametrize(
    ("text", "wanted"), PASTED, ids=lambda value: str(value)[:40] if isinstance(value, str) else ""
)
def test_what_people_paste_is_read(text: str, wanted: dict[str, Any]) -> None:
    """The engine, its model and what the flags set, whatever stands around the command; nothing is left unknown."""
    options = read_launch([text]).options
    assert {name: getattr(options, name) for name in wanted} == wanted
    assert not options.unknown


def test_words_of_a_wrapper_are_stepped_over_too() -> None:
    """As a shell has split them: `sizer check -- taskset -c 0-7 llama-server ...`."""
    assert read_launch(["taskset", "-c", "0-7", *SERVER.split()]).options.context_tokens == 6144


@pytest.mark.parametrize(
    "text",
    ["numactl -H", "docker compose up -d", "curl localhost:11434/api/tags", "[Unit]\nDescription=x\n", "ssh box"],
)
def test_what_starts_no_engine_is_one_clear_line(text: str) -> None:
    """Text that is no command of an engine is refused by an error of sizer, never by one of Python."""
    with pytest.raises(SizerError):
        read_launch([text])


SPACES = " " * 120_000
LONG = [
    f"$env:A=a{SPACES}b",
    f"set A=a{SPACES}b",
    f'set "A={SPACES}"b',
    f"[m]\nctx-size = a{SPACES}b",
    "A=xxxxxxxxxx\n" + "".join(f"{chr(66 + at)}=" + f"${chr(65 + at)}" * 3 + "\n" for at in range(20)),
]


@pytest.mark.parametrize("text", LONG, ids=("powershell", "cmd", "cmd quoted", "preset", "values that multiply"))
def test_long_text_takes_no_longer_than_it_is(text: str) -> None:
    """A line of spaces, or variables that hold each other, do not run away (minutes), and grow no more than twofold."""
    start = time.process_time()
    assert len(shell_text(text)) < 250_000
    assert time.process_time() - start < RUNAWAY_S


ENDLESS = {
    "spaces": " " * 99_000 + "x y",
    "parameters": "/set parameter a b\n" * 5000,
    "creations": "ollama create " * 7000 + "x",
    "files": "cat > f <<A\n" * 8000,
}


@pytest.mark.parametrize("name", ENDLESS)
def test_a_long_script_that_starts_nothing_is_refused_at_once(name: str) -> None:
    """What repeats itself does not run away (a minute) before it is refused."""
    start = time.process_time()
    with pytest.raises(SizerError):
        read_launch([ENDLESS[name]])
    assert time.process_time() - start < RUNAWAY_S


def test_a_parameter_of_a_running_model_is_taken_as_it_is_written() -> None:
    """A backslash in its value is no reference to what was found before."""
    with pytest.raises(UsageError, match=r"num_ctx: .* is not a whole number"):
        read_launch(["ollama run llama3.1:8b\n/set parameter num_ctx 8192\\d"])


@given(st.text(alphabet="\n \t-:=[]{}'\"$^`\\>|#imagecodExSt.", max_size=120))
def test_no_text_breaks_the_reader(text: str) -> None:
    """Whatever is pasted becomes text, and is read or refused."""
    assert isinstance(shell_text(text), str)
    with suppress(SizerError):
        read_launch([f"x {text}"], files_allowed=False)


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_shells_plain_words_stay_as_they_are(engine: str) -> None:
    """JSON, patterns and quotes pass unchanged."""
    text = f"{engine} serve m -ot '\\.(1|2)\\.exps=CPU' --x '{{\"a\": 1}}' \"b c\""
    assert shell_text(text) == text
