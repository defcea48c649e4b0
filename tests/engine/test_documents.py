"""Documents that hold a command, and files of settings that a command names."""

from __future__ import annotations

import builtins
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.engine.documents import MOST_MACRO_CHARACTERS, document_command
from sizer.engine.scripts import read_launch
from sizer.engine.yaml_text import read_yaml
from sizer.errors import SizerError, UsageError

MERGED = """x-common: &common
  image: vllm/vllm-openai:v0.11.0
  runtime: nvidia
services:
  llm:
    <<: *common
    command: ["--model", "Qwen/Qwen3-8B", "--max-model-len", "9216"]
"""
SHELL_IN_A_POD = """apiVersion: apps/v1
kind: Deployment
spec:
  template:
    spec:
      containers:
      - name: llm
        image: vllm/vllm-openai:latest
        command: ["/bin/sh", "-c"]
        args: [
          "vllm serve Qwen/Qwen3-8B --max-model-len 9216"
        ]
        env:
        - name: TOKEN
          valueFrom: {secretKeyRef: {name: hf, key: token}}
        - name: VLLM_USE_V1
          value: "1"
"""
MACROS = """macros:
  server: llama-server --port ${PORT} -ngl 99
models:
  small:
    cmd: |
      ${server}
      -m Qwen3-8B-Q8_0.gguf
      -c 6144
"""
TABBY = """network:
  host: 0.0.0.0
model:
  model_dir: models
  model_name: Qwen3-8B-exl3-4.0bpw
  max_seq_len: 32768
  cache_mode: 8,8
  draft: null
"""
CONFIG = """cat > config.yaml <<'EOF'
# settings
model: Qwen/Qwen3-8B
max-model-len: 9216
gpu_memory_utilization: 0.85
enforce-eager: true
enable-prefix-caching: false
speculative-config:
  method: ngram
  num_speculative_tokens: 4
EOF
"""
NESTED = """cat <<EOF > extra.yml
max_batch_size: 8
kv_cache_config:
  dtype: fp8
  free_gpu_memory_fraction: 0.5
cuda_graph_config:
  enable_padding: true
speculative_config:
  decoding_type: MTP
  num_nextn_predict_layers: 3
EOF
trtllm-serve Qwen/Qwen3-8B --max_batch_size 64 --extra_llm_api_options extra.yml
"""
KCPPS = """cat > my.kcpps <<EOF
{"model_param": "Qwen3-8B-Q8_0.gguf", "contextsize": 8192, "gpulayers": 99, "flashattention": true, "quantkv": 0,
 "usecuda": ["normal", "0", "mmq"], "tensor_split": null, "threads": 7}
EOF
koboldcpp --config my.kcpps --contextsize 4096
"""
EAGER = {"engine": "vllm", "model": "Qwen/Qwen3-8B", "context_tokens": 9216, "memory_fraction": 0.85, "graphs": False}
READ: list[tuple[str, dict[str, Any]]] = [
    (MERGED, {"engine": "vllm", "version": "0.11.0", "model": "Qwen/Qwen3-8B", "context_tokens": 9216}),
    (SHELL_IN_A_POD, {"engine": "vllm", "model": "Qwen/Qwen3-8B", "context_tokens": 9216}),
    (MACROS, {"engine": "llama.cpp", "model": "Qwen3-8B-Q8_0.gguf", "context_tokens": 6144, "gpu_layers": 99}),
    (TABBY, {"engine": "exllamav3", "model": "Qwen3-8B-exl3-4.0bpw", "context_tokens": 32768, "cache_bits": 8}),
    (f"{CONFIG}vllm serve --config config.yaml", EAGER | {"draft_method": "ngram", "draft_tokens": 4}),
    (f"{CONFIG}vllm serve Qwen/Qwen3-14B --config ./config.yaml --max-model-len 4096",
     EAGER | {"model": "Qwen/Qwen3-14B", "context_tokens": 4096}),
    (f"{CONFIG}python -m vllm.entrypoints.openai.api_server --config=config.yaml", EAGER),
    (NESTED, {"engine": "tensorrt-llm", "max_sequences": 8, "k_cache_type": "fp8", "memory_fraction": 0.5,
              "draft_method": "mtp", "draft_tokens": 3}),
    (KCPPS, {"engine": "koboldcpp", "model": "Qwen3-8B-Q8_0.gguf", "context_tokens": 4096, "gpu_layers": 99}),
    (f"cat > compose.yml <<EOF\n{MERGED}EOF\ndocker compose -f compose.yml up -d", {"model": "Qwen/Qwen3-8B"}),
    ("llama-server -m Qwen3-8B-Q8_0.gguf -c $((6 * 1024))", {"context_tokens": 6144}),
    ("bash -c 'cd /app && vllm serve Qwen/Qwen3-8B --max-model-len 9216'", {"context_tokens": 9216}),
    ("docker run a/b sh -c 'bash x.sh leader; X=1 python3 -m vllm.entrypoints.openai.api_server --model m/Qwen3-8B'",
     {"engine": "vllm", "model": "m/Qwen3-8B"}),
    ("docker run nvcr.io/nvidia/vllm:25.10-py3 vllm serve m/Qwen3-8B", {"engine": "vllm", "version": ""}),
    ("vllm serve m/Qwen3-8B \\  # a comment\n  --max-model-len 9216", {"context_tokens": 9216}),
    ("from lmdeploy import pipeline, TurbomindEngineConfig\n"
     "p = pipeline('m/Qwen3-8B', backend_config=TurbomindEngineConfig(tp=2, session_len=9216))",
     {"engine": "lmdeploy", "model": "m/Qwen3-8B", "tensor_parallel": 2, "context_tokens": 9216}),
    ("from tensorrt_llm import LLM\nfrom tensorrt_llm.llmapi import KvCacheConfig\n"
     "llm = LLM(model='m/Qwen3-8B', kv_cache_config=KvCacheConfig(free_gpu_memory_fraction=0.5))",
     {"engine": "tensorrt-llm", "memory_fraction": 0.5}),
    ("`vllm serve Qwen/Qwen3-8B`", {"engine": "vllm", "model": "Qwen/Qwen3-8B"}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "wanted"), READ, ids=lambda value: str(value)[:30] if isinstance(value, str) else "")
def test_documents_and_files_of_settings_are_read(text: str, wanted: dict[str, Any]) -> None:
    """The engine, its model and what is set; what the command says itself wins but in TensorRT-LLM; nothing is left."""
    options = read_launch([text]).options
    assert {name: getattr(options, name) for name in wanted} == wanted
    assert not options.unknown


def test_a_file_of_this_machine_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name, where files may be read; a Compose file of the folder too."""
    (tmp_path / "own.yaml").write_text("model: Qwen/Qwen3-8B\nmax-model-len: 32k\n", encoding="utf-8")
    (tmp_path / "docker-compose.yml").write_text(MERGED, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert read_launch(["vllm", "serve", "--config", "own.yaml"]).options.context_tokens == 32_000
    assert read_launch(["docker", "compose", "up"]).options.context_tokens == 9216
    with pytest.raises(UsageError, match=r"no file for --config own\.yaml"):
        read_launch(["vllm", "serve", "--config", "own.yaml"], files_allowed=False)


def test_a_file_that_is_not_there_is_named() -> None:
    """The rest of the command counts."""
    options = read_launch(["vllm", "serve", "Qwen/Qwen3-8B", "--config", "away.yaml"]).options
    assert options.model == "Qwen/Qwen3-8B"
    assert "--config away.yaml is left out" in options.unknown[0][0]


def test_what_only_a_shell_tells_is_named() -> None:
    """A value that a substitution gives is left out, and the answer says so."""
    options = read_launch(["llama-server -m Qwen3-8B-Q8_0.gguf -t $(nproc) -c 6144"]).options
    assert options.context_tokens == 6144
    assert options.threads is None
    assert "-t $(...)" in options.unknown[0][0]


@pytest.mark.parametrize(
    "text",
    [
        "services:\n  a:\n\timage: vllm/vllm-openai",
        "services:\n  a:\n    image: [x\n    command: y",
        "cat > c.yaml <<EOF\n- a\n- b\nEOF\nvllm serve --config c.yaml",
        "cat > c.yaml <<EOF\na: !!python/object/apply:os.system [ls]\nEOF\nvllm serve m --config c.yaml",
    ],
)
def test_what_is_no_settings_is_one_clear_line(text: str) -> None:
    """Tabs, open brackets, lists and tags that would make objects are refused in words."""
    with pytest.raises(UsageError) as caught:
        read_launch([text])
    assert "\n" not in caught.value.message


def test_without_pyyaml_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the command reader works without it."""
    imported = builtins.__import__

    def lacking(name: str, *rest: Any, **named: Any) -> Any:
        if name == "yaml":
            raise ImportError(name)
        return imported(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", lacking)
    with pytest.raises(UsageError, match="PyYAML"):
        read_launch([MERGED])
    assert read_launch(["vllm serve Qwen/Qwen3-8B"]).options.model == "Qwen/Qwen3-8B"


DOUBLING = "a0: &a0 {k: v}\n" + "".join(f"a{n}: &a{n}\n  <<: [*a{n - 1}, *a{n - 1}]\n  k{n}: v\n" for n in range(1, 40))
LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))


WIDE = "a: &a {" + ",".join(f"k{n}: 1" for n in range(900)) + "}\n"
WIDE += (
    "b: &b {" + ",".join(f"k{n}: *a" for n in range(900)) + "}\nc: {" + ",".join(f"k{n}: *b" for n in range(900)) + "}"
)


@pytest.mark.parametrize(
    "bomb",
    [
        DOUBLING,
        f"{LAUGHS}services:\n  s:\n    image: x\n    command: *a59\n",
        f"{LAUGHS}compilation-config: {{x: *a59}}",
        f"{LAUGHS}max-model-len: !!pairs [a: *a59]",
        WIDE,
        "image: &a [*a]",
    ],
)
def test_aliases_that_multiply_are_refused(bomb: str) -> None:
    """Merges of merges, lists of lists and mappings of mappings are refused before they are written out."""
    with pytest.raises(UsageError):
        read_yaml(bomb)
    with pytest.raises(UsageError):
        read_launch([f"cat > c.yaml <<EOF\n{bomb}\nEOF\nvllm serve Qwen/Qwen3-8B --config c.yaml"])


def test_macros_that_multiply_are_bounded() -> None:
    """Macros of macros put in no more than a bound, in one command and in all of a file."""
    macros = "macros:\n  a: " + "x" * 90 + "\n  b: '" + "${a}" * 1000 + "'\n  c: '" + "${b}" * 5000 + "'\n"
    many = "".join(f"  m{n}:\n    cmd: llama-server -m x.gguf ${{c}} ${{b}}\n" for n in range(500))
    assert len(document_command(f"{macros}models:\n{many}")) < 5 * MOST_MACRO_CHARACTERS


def test_numbers_too_long_to_write_out_are_one_clear_line() -> None:
    """Python writes out no whole number of more than 4,300 digits."""
    with pytest.raises(UsageError, match="too many digits"):
        read_launch([f"cat > c.yaml <<EOF\nmax-model-len: 0x{'f' * 9000}\nEOF\nvllm serve --config c.yaml"])


@pytest.mark.parametrize(
    "text", ["docker compose -f nowhere.yml up", "cat > a <<EOF\ndocker compose -f a up\nEOF\ndocker compose -f a up"]
)
def test_a_document_that_starts_nothing_is_named(text: str) -> None:
    """One that is not there, and one that starts itself, are refused by their name."""
    with pytest.raises(UsageError, match="is not there, or starts no engine"):
        read_launch([text], files_allowed=False)


def test_a_file_longer_than_is_read_is_refused(tmp_path: Path) -> None:
    """Never is half of it taken for the whole."""
    file = tmp_path / "settings.yaml"
    file.write_text("max-model-len: 4096\n" * 6000)
    with pytest.raises(UsageError, match="is too long"):
        read_launch(["vllm", "serve", "Qwen/Qwen3-8B", "--config", str(file)])


@pytest.mark.parametrize(
    "command",
    [
        "lmdeploy serve api_server Qwen/Qwen3-8B --quant-policy 9",
        "vllm serve Qwen/Qwen2.5-VL-7B-Instruct --limit-mm-per-prompt image=-2",
        "vllm serve Qwen/Qwen2.5-VL-7B-Instruct --limit-mm-per-prompt '[9]'",
        """vllm serve Qwen/Qwen2.5-VL-7B-Instruct --limit-mm-per-prompt '{"image": -2}'""",
    ],
)
def test_values_that_cannot_be_are_refused_by_the_flag_typed(command: str) -> None:
    """The message names the flag and its value, not what they would have set."""
    with pytest.raises(UsageError, match=r"^--(quant-policy|limit-mm-per-prompt): .*(9|-2)"):
        read_launch([command])


@pytest.mark.parametrize("pattern", ["[", "(a+)+", "a{99999999999}"])
def test_patterns_of_tensors_are_checked(pattern: str) -> None:
    """What is no expression, or could match without end, is refused where the flag is read."""
    with pytest.raises(UsageError, match="is no pattern of tensors"):
        read_launch([f"llama-server -m Qwen3-8B-Q8_0.gguf -ot '{pattern}=CPU'"])


@given(st.text(alphabet="\n  -:&*<>{}[]'\"ax|!?#imagecmd", max_size=80))
def test_no_yaml_breaks_the_reader(text: str) -> None:
    """Whatever stands in a document is read or refused."""
    with suppress(SizerError):
        read_launch([f"services:\n  a:\n    image: vllm/vllm-openai\n{text}"], files_allowed=False)
