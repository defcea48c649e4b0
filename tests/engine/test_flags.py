"""Flags as engines read them: every row of the table, every spelling, every convention, and what is not understood."""

from __future__ import annotations

import re
from contextlib import nullcontext, suppress
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sizer
from sizer.engine.asked import engine_asked
from sizer.engine.commands import read_command
from sizer.engine.engines import engines
from sizer.engine.flag_table import PASSED, find_flag, flag_setting, flags_of
from sizer.engine.flag_values import READERS, SEVERAL_FIELDS, WITHOUT_VALUE
from sizer.engine.flag_words import require_word
from sizer.engine.flagged import notes_of
from sizer.engine.flags import options_of, read_flags
from sizer.engine.options import EngineOptions
from sizer.engine.programs import programs
from sizer.engine.started import split_words
from sizer.errors import SizerError, UnknownEngine, UsageError
from sizer.tables import data_path, read_rows

DIALECTS = sorted({row["dialect"] for row in read_rows("engine_flags.csv")})
FIELDS = {field.name for field in fields(EngineOptions)}
EXAMPLES = {
    "text": "x", "int": "3", "stoi": "3", "int?": "3", "int>1": "2", "verified": "4", "tokens": "8k", "float": "0.5",
    "onoff": "on", "onoff?": "on", "offon": "on", "onoffs": "0,1", "nine_tenths": "0.5", "ggml_type": "8",
    "llama_split": "2", "dtype": "half",
    "flag01": "1", "firstint": "3", "layers": "99", "ints": "1,2", "ints+": "1 2", "floats": "3,1", "floats+": "3 1",
    "texts": "CUDA0,CUDA1", "texts+": "a=b", "repeat": "a.gguf", "places": "exps=CPU", "mib": "1024", "gib": "4",
    "bytes": "2GiB", "blocks": "100", "images": "image=1", "kobold_kv": "1", "limits": "0=10GiB,cpu=30GiB",
    "longer": '{"rope_scaling": {"factor": 4.0, "original_max_position_embeddings": 32768}}',
    "compilation": '{"cudagraph_mode": "NONE"}', "speculative": '{"method": "mtp", "num_speculative_tokens": 1}',
    "settings": "x.yaml", "settings!": "x.yaml", "share_or_blocks": "0.5", "gpu_share": "max", "turbomind_kv": "8",
    "exl_cache": "Q4", "mlx_bits": "8", "hf_quant": "bnb-4bit",
    "mlc_overrides": "context_window_size=8192;max_num_sequence=4;prefill_chunk_size=512;tensor_parallel_shards=2;"
    "gpu_memory_utilization=0.8",
    "draft": "3",
    "isq": "4", "device_layers": "0:10;1:20", "gpu_limits": "20,7", "gpu_limits+": "10 3500MiB", "cpu_limit": "30",
    "device_experts": "8", "lightllm_kv": "int8kv", "litgpt_quant": "bnb.nf4", "ranks_told": "2",
    "gguf_type": "DeepSeek-V3-GGUF/Q4_K_M", "gpt4all_device": "gpu", "batch": "8", "words": "normal", "pair": "1 2",
}  # fmt: skip
PUBLIC_FLAGS = {
    "vllm": "--gpu-memory-utilization --max-num-batched-tokens --max-num-seqs --max-model-len --enforce-eager "
    "--kv-cache-dtype --tensor-parallel-size --pipeline-parallel-size --data-parallel-size --enable-expert-parallel "
    "--enable-lora --max-loras --max-lora-rank",
    "sglang": "--mem-fraction-static --kv-cache-dtype --max-running-requests --chunked-prefill-size --tp --dp",
    "llama.cpp": "--cpu-moe --n-cpu-moe -ot --draft -np -ub -fa -ctk -ctv --swa-full --no-kv-offload --tensor-split "
    "--split-mode --mmproj --no-mmproj -ngl --kv-unified -c",
    "ollama": "OLLAMA_NUM_PARALLEL OLLAMA_FLASH_ATTENTION OLLAMA_KV_CACHE_TYPE num_ctx num_gpu",
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_row_is_whole(dialect: str) -> None:
    """A source, a way of reading, fields that exist, and a value that is read into every one of them."""
    programs_own = {own for program in programs() for own in program.dialects}
    programs_own |= {own for row in read_rows("python_calls.csv") for own in row["dialects"].split()}
    assert any(dialect in engine.flags for engine in engines().values()) or dialect in programs_own
    for flag in flags_of(dialect):
        assert flag.source, flag
        if flag.kind == PASSED:
            assert set(flag.sets) <= set(DIALECTS), flag
            continue
        assert flag.kind in {*READERS, *WITHOUT_VALUE, "words", "pair"}, flag
        targets = {target.partition("=")[0] for target in flag.sets}
        assert targets <= FIELDS, flag
        example = next((word for word in flag.words.allowed if not word.startswith(">=")), EXAMPLES.get(flag.kind, ""))
        words = [flag.written] if flag.kind in WITHOUT_VALUE else [flag.written, *example.split("|")]
        if flag.kind in {"ints+", "floats+", "gpu_limits+", "pair"}:
            words = [flag.written, *EXAMPLES[flag.kind].split()]
        elif not flag.written.startswith("-"):
            words = [f"{flag.written}={EXAMPLES[flag.kind]}"]
        read = read_flags((dialect,), words)
        assert read.unknown == [], words
        assert flag.name in read.given
        missing = targets - set(read.fields)
        assert not missing or flag.kind in SEVERAL_FIELDS, (flag, missing)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_no_spelling_has_two_flags(dialect: str) -> None:
    """A spelling stands in one row of a dialect."""
    spelled = [spelling for flag in flags_of(dialect) for spelling in flag.spellings]
    assert len(spelled) == len(set(spelled))


@pytest.mark.parametrize("engine", PUBLIC_FLAGS)
def test_the_flags_that_people_ask_about_set_something(engine: str) -> None:
    """Each is a row that sets a field."""
    for spelling in PUBLIC_FLAGS[engine].split():
        match = find_flag(engines()[engine].flags, spelling)
        assert match is not None, spelling
        assert match.flag.sets, spelling


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("vllm@0.21 --gpu-memory-utilization 0.95 --max-num-seqs 64", {"memory_fraction": 0.95, "max_sequences": 64}),
        ("vllm --max_model_len=8k -tp 2", {"context_tokens": 8000, "tensor_parallel": 2}),
        ("vllm --max-model-len 8K", {"context_tokens": 8192}),
        ("vllm --max-model-len auto", {"context_tokens": -1}),
        ("vllm --enforce-eager --max-num-batched 1M", {"graphs": False, "batch_tokens": 2**20}),
        ("vllm --no-enforce-eager", {"graphs": True}),
        ("vllm --speculative-config.method mtp --speculative-config.num_speculative_tokens 2",
         {"draft_method": "mtp", "draft_tokens": 2}),
        ("sglang --speculative-algorithm EAGLE --speculative-num-steps 3 --speculative-num-draft-tokens 4",
         {"draft_method": "EAGLE", "draft_tokens": 3}),
        ("vllm -O0", {"graphs": False}),
        ("vllm --limit-mm-per-prompt '{\"image\": 0}'", {"images_per_prompt": 0}),
        ("vllm --limit-mm-per-prompt '{ }'", {}),
        ("vllm --cudagraph-capture-sizes 1 2 4 --dtype half", {"graph_sizes": (1, 2, 4), "weights_dtype": "half"}),
        ("llama.cpp -np 4 -ub 2048 -fa off -ctk q8_0",
         {"max_sequences": 4, "prefill_chunk_tokens": 2048, "flash_attention": False, "k_cache_type": "q8_0"}),
        ("llama.cpp -fa -c 32768 -ngl all", {"flash_attention": True, "context_tokens": 32768, "gpu_layers": -1}),
        ("llama.cpp -ngl auto -fa auto -c -1", {"context_tokens": -1}),
        (r"llama.cpp -ot blk\.1\..*=CPU -ot exps=CUDA1,ffn=CPU",
         {"tensor_overrides": ((r"blk\.1\..*", "CPU"), ("exps", "CUDA1"), ("ffn", "CPU"))}),
        ("llama.cpp --cpu-moe --no-kv-offload --no-mmproj",
         {"cpu_moe_layers": -1, "cache_on_host": True, "vision": False}),
        ("llama.cpp --draft mtp", {"draft_method": "mtp"}),
        ("llama.cpp --cache-ram 2048 --fit off", {"host_cache_bytes": 2**31, "fit": False}),
        ("ik_llama.cpp -mla 2 -amb 512 -rtr -np 2",
         {"mla_mode": 2, "attention_buffer_bytes": 2**29, "repacked": True, "max_sequences": 2}),
        ("ollama OLLAMA_NUM_PARALLEL=4 num_ctx=8192 num_gpu=20",
         {"max_sequences": 4, "context_tokens": 8192, "gpu_layers": 20}),
        ("sglang --tp-size 8 --disable-cuda-graph --ep 1",
         {"tensor_parallel": 8, "graphs": False, "expert_parallel": False}),
        ("tensorrt-llm --tp_size 4 --kv-cache-free-gpu-memory-fraction 0.8",
         {"tensor_parallel": 4, "memory_fraction": 0.8}),
        ("exllamav3 --cache-mode 8,4 --gpu-split 20 24",
         {"k_cache_type": "exl-q8", "v_cache_type": "exl-q4", "cache_bits": 8, "tensor_split": (20.0, 24.0)}),
        ("koboldcpp --quantkv 2 --moecpu --gpulayers 40",
         {"k_cache_type": "q4_0", "v_cache_type": "q4_0", "cpu_moe_layers": -1, "gpu_layers": 40}),
        ("transformers --load_in_4bit --bnb-4bit-quant-type nf4 --max-memory 0=10GiB,cpu=30GiB",
         {"load_bits": 4, "four_bit_type": "nf4", "device_memory_limits": (("0", 10 * 2**30), ("cpu", 30 * 2**30))}),
        ("mlx-lm --kv-bits 8 --max-kv-size 4096",
         {"k_cache_type": "mlx-q8", "v_cache_type": "mlx-q8", "cache_bits": 8, "context_tokens": 4096}),
    ],
)  # fmt: skip
def test_flags_are_read_by_the_engine_s_own_conventions(text: str, settings: dict[str, object]) -> None:
    """Dashes and underscores, `=`, short forms, abbreviations, numbers for people, repeats, JSON by parts."""
    options = engine_asked(text)
    assert options.settings == settings
    assert options.unknown == ()


def test_an_unknown_flag_is_named_with_the_nearest_and_an_idle_one_is_silent() -> None:
    """What is not understood stands in the assumptions; what changes nothing does not."""
    answer = sizer.estimate(
        "Qwen/Qwen3-8B", device="rtx-4090", precision="bf16", offline=True,
        engine="vllm@0.21 --max-modl-len 4096 --served-model-name x y --port 80 --gpu-memory-utilization 0.95",
    )  # fmt: skip
    (estimate,) = answer.estimates
    assert sum("no flag" in note for note in estimate.assumptions) == 1
    assert "'--max-modl-len' is no flag of vllm that sizer knows" in estimate.assumptions[0]
    assert "--max-model-len" in estimate.assumptions[0]
    assert estimate.engine == "vllm"
    assert estimate.engine_options["version"] == "0.21"
    assert estimate.engine_options["gpu-memory-utilization"] == 0.95


def test_a_flag_that_a_version_has_not_got_is_told() -> None:
    """Versions are told apart where the table knows them."""
    options = engine_asked("vllm@0.21 --swap-space 4")
    assert options.unknown == (("--swap-space is not there from 0.13 on", ""),)
    assert engine_asked("vllm@0.9 --swap-space 4").unknown == ()


def test_defaults_follow_the_version() -> None:
    """The newest where none is asked for."""
    flag = flag_setting(("vllm",), "memory_fraction")
    assert flag is not None
    assert [flag.default_at(version) for version in ("", "0.20", "0.19")] == ["0.92", "0.92", "0.9"]


def test_a_default_may_go_by_memory() -> None:
    """Ollama's context since 0.15.5 is that of the devices' memory."""
    flag = flag_setting(("ollama",), "context_tokens")
    assert flag is not None
    sizes = [flag.default_with("", gib * 2**30) for gib in (8, 22, 24, 46, 48)]
    assert sizes == ["4096", "4096", "32768", "32768", "262144"]
    assert [flag.default_with(version, 2**36) for version in ("0.15", "0.6.1", "0.5")] == ["4096", "4096", "2048"]


@pytest.mark.parametrize("name", [name for name, engine in engines().items() if engine.flags])
def test_defaults_are_those_that_memory_counts_with(name: str) -> None:
    """A default that a memory rule also has is one figure, release by release."""
    engine = engines()[name]
    pairs = {
        "memory_fraction": "device_fraction",
        "prefill_chunk_tokens": "prefill_chunk_tokens",
        "cache_block_tokens": "kv_block_tokens",
    }
    for version in ("", *engine.releases()):
        for field, rule in pairs.items():
            flag = flag_setting(engine.flags, field)
            default = flag.default_at(version) if flag is not None else ""
            counted = getattr(engine.memory(version), rule)
            if default and counted is not None and re.fullmatch(r"[\d.]+", default):
                assert float(default) == counted, (version, field)


@pytest.mark.parametrize(
    "text",
    ["vllm --max-num-seqs many", "vllm --max-num-seqs", "vllm --gpu-memory-utilization nan", "llama.cpp -ot nothing",
     "llama.cpp -ub some", "vllm --max-num-seqs --enforce-eager", "vllm --speculative-config {broken",
     "vllm --max-model-len 99999999999999999999", "vllm --rope-scaling '{\"factor\":1e999}'",
     "vllm --hf-overrides '{\"factor\":NaN,\"original_max_position_embeddings\":9}'"],
)  # fmt: skip
def test_a_value_that_cannot_be_is_an_error(text: str) -> None:
    """One line that names the flag."""
    with pytest.raises(UsageError) as refused:
        engine_asked(text)
    assert text.split()[1] in refused.value.message


def test_an_unknown_engine_is_named() -> None:
    """With the nearest, flags or not."""
    with pytest.raises(UnknownEngine, match="vlm"):
        engine_asked("vlm --max-num-seqs 4")


@pytest.mark.parametrize(
    ("command", "engine", "model", "version"),
    [
        ("vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2", "vllm", "Qwen/Qwen3-32B", ""),
        ("python -m vllm.entrypoints.openai.api_server --model Qwen/Qwen3-8B", "vllm", "Qwen/Qwen3-8B", ""),
        ("python3 -u -m sglang.launch_server --model-path Qwen/Qwen3-8B", "sglang", "Qwen/Qwen3-8B", ""),
        ("docker run --gpus all -p 8000:8000 -e A=b --ipc=host vllm/vllm-openai:v0.11.2 --model Qwen/Qwen3-8B",
         "vllm", "Qwen/Qwen3-8B", "0.11.2"),
        ("docker run -it --rm ghcr.io/ggml-org/llama.cpp:server-cuda-b7406 -hf Qwen/Qwen3-8B-GGUF:Q4_K_M -c 4096",
         "llama.cpp", "Qwen/Qwen3-8B-GGUF:Q4_K_M", "b7406"),
        ("docker run lmsysorg/sglang:v0.5.6-cu129 python3 -m sglang.launch_server --model-path Qwen/Qwen3-8B",
         "sglang", "Qwen/Qwen3-8B", "0.5.6"),
        ("docker run --device=/dev/kfd rocm/vllm:rocm6.3.1_mi300_py3.12_vllm_0.6.6 vllm serve Qwen/Qwen3-8B -tp 8",
         "vllm", "Qwen/Qwen3-8B", "0.6.6"),
        ("llama-bench -m a.gguf -fa 0,1 -p 512,1024 -ts 1/1 -mmp 0", "llama.cpp", "a.gguf", ""),
        ("./llama-cli --model X/DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf -no-cnv --prio 2", "llama.cpp",
         "X/DeepSeek-R1-UD-IQ1_S-00001-of-00003.gguf", ""),
        ("CUDA_VISIBLE_DEVICES=0 ./build/bin/llama-server.exe -m ./Qwen3-8B-Q4_K_M.gguf",
         "llama.cpp", "./Qwen3-8B-Q4_K_M.gguf", ""),
        ("llama-cli -hf Qwen/Qwen3-8B-GGUF -hff qwen3-8b-q8_0.gguf", "llama.cpp",
         "Qwen/Qwen3-8B-GGUF/qwen3-8b-q8_0.gguf", ""),
        ("llama-bench -m Qwen3-8B-Q4_K_M.gguf -p 512 -n 128 -fa 1", "llama.cpp", "Qwen3-8B-Q4_K_M.gguf", ""),
        ("/src/ik_llama.cpp/build/bin/llama-server -m a.gguf", "ik_llama.cpp", "a.gguf", ""),
        ("llama-server -m a.gguf -mla 3", "ik_llama.cpp", "a.gguf", ""),
        ("python koboldcpp.py --model a.gguf --usecublas normal 0", "koboldcpp", "a.gguf", ""),
        ("./koboldcpp-linux-x64 a.gguf --contextsize 4096", "koboldcpp", "a.gguf", ""),
        ("OLLAMA_NUM_PARALLEL=2 ollama run llama3.1:8b", "ollama", "llama3.1:8b", ""),
        ("mlx_lm.server --model mlx-community/Qwen3-8B-4bit", "mlx-lm", "mlx-community/Qwen3-8B-4bit", ""),
        ("python -m mlx_lm generate --model a --prompt hi", "mlx-lm", "a", ""),
        ("trtllm-serve Qwen/Qwen3-8B --tp_size 2", "tensorrt-llm", "Qwen/Qwen3-8B", ""),
        ("trtllm-serve serve Qwen/Qwen3-8B", "tensorrt-llm", "Qwen/Qwen3-8B", ""),
        ("python main.py --model-name a --max-seq-len 8192", "exllamav3", "a", ""),
        ("transformers serve Qwen/Qwen3-8B --quantization bnb-4bit", "transformers", "Qwen/Qwen3-8B", ""),
        ("bash -c 'vllm serve Qwen/Qwen3-8B'", "vllm", "Qwen/Qwen3-8B", ""),
        ("uv run vllm serve Qwen/Qwen3-8B", "vllm", "Qwen/Qwen3-8B", ""),
    ],
)  # fmt: skip
def test_commands_are_read(command: str, engine: str, model: str, version: str) -> None:
    """Programs, modules, containers and shells lead to the engine and the model."""
    options = read_command(split_words(command))
    assert (options.engine, options.model, options.version) == (engine, model, version)
    assert options.unknown == ()


@pytest.mark.parametrize("command", ["", "ls -l", "vlm serve x", "docker ps", "docker run", "python", "python -m"])
def test_a_command_that_starts_no_engine_is_refused(command: str) -> None:
    """With what is read instead."""
    with pytest.raises(UsageError):
        read_command(split_words(command))


@given(
    st.lists(st.text(max_size=12), max_size=8),
    st.sampled_from(["vllm serve", "llama-server", "docker run", "ollama run"]),
)
def test_no_command_breaks_the_reader(words: list[str], program: str) -> None:
    """Whatever is typed is read or refused in words."""
    with suppress(SizerError):
        assert read_command([*program.split(), *words]).engine


def test_the_document_counts_the_flags_that_there_are() -> None:
    """docs/check.md tells how many flags of each dialect are known."""
    text = (data_path("").parent / "docs" / "check.md").read_text(encoding="utf-8")
    for dialect in DIALECTS:
        flags = flags_of(dialect)
        spellings, setting = sum(len(flag.spellings) for flag in flags), sum(bool(flag.sets) for flag in flags)
        assert f"| {dialect} | {len(flags)} | {spellings} | {setting} |" in text


def test_flags_name_the_backend() -> None:
    """Vulkan by koboldcpp's and Ollama's own switches; Ollama's turned off names nothing."""
    assert options_of("koboldcpp", "", read_flags(("koboldcpp",), ["--usevulkan", "0"])).backend == "vulkan"
    assert options_of("ollama", "", read_flags(("ollama",), ["OLLAMA_VULKAN=1"])).backend == "vulkan"
    assert not options_of("ollama", "", read_flags(("ollama",), ["OLLAMA_VULKAN=0"])).backend


def test_a_connectors_memory_is_said_to_be_left_out() -> None:
    """LMCache and its kin keep buffers of their own on the devices."""
    words = ["vllm", "serve", "Qwen/Qwen3-8B"]
    told = read_command([*words, "--kv-transfer-config", '{"kv_connector": "LMCacheConnectorV1"}'])
    assert any("connector" in note for note in notes_of(told))
    assert not notes_of(read_command(words))


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (["--decode-context-parallel-size", "8"], "Context-parallel"),
        (["--kv-offloading-size", "100"], "host's memory"),
    ],
)
def test_what_flags_move_and_no_rule_counts_is_said(flags: list[str], word: str) -> None:
    """Ranks that share a sequence's cache, and caches kept on the host; one rank alone is no news."""
    words = ["vllm", "serve", "Qwen/Qwen3-8B"]
    assert any(word in note for note in notes_of(read_command([*words, *flags])))
    assert not notes_of(read_command([*words, "--decode-context-parallel-size", "1"]))


HANDED_ON = {
    "attention_backend", "context_checkpoints", "device_map", "fused_moe", "lora_host_slots", "main_device",
    "memory_mapped", "repacked",
}  # fmt: skip
"""What changes nothing that is counted: it is only written into the commands that are recommended."""


def test_each_field_is_read_or_handed_on() -> None:
    """A flag's field that no rule reads would be accepted and forgotten: it is one of those that change nothing."""
    package = Path(sizer.__file__).parent
    code = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    read = {name for name in FIELDS if re.search(rf"\.{name}\b", code)}
    assert FIELDS - read == HANDED_ON


def test_words_of_flags_belong_to_flags() -> None:
    """Each row of words is of a flag that its dialect has, once, and the engine's default is among them."""
    seen = set()
    for row in read_rows("flag_words.csv"):
        match = find_flag((row["dialect"],), row["flag"].split(".")[0])
        assert match is not None, row
        assert row["source"]
        assert (row["dialect"], row["flag"]) not in seen, row
        seen.add((row["dialect"], row["flag"]))
        default = match.flag.default_at().split(" ")[0]
        if default and "." not in row["flag"]:
            require_word(row["words"].split(), default, row["flag"])


@pytest.mark.parametrize(
    ("words", "value", "taken"),
    [
        (("ray", "*.*"), "my.module.Executor", True),
        (("ray", "*.*"), "foo", False),
        ((">=1",), "1", True),
        ((">=1",), "0", False),
        (("FLASH_ATTN",), "flash_attn", True),
    ],
)
def test_words_may_be_patterns_and_numbers(words: tuple[str, ...], value: str, *, taken: bool) -> None:
    """A star stands for anything, >= for numbers, and the case of letters is left to the engine."""
    with nullcontext() if taken else pytest.raises(UsageError):
        require_word(words, value, "--flag")


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("vllm serve Qwen/Qwen3-8B --tokenizer-mode foo", "mistral"),
        ("vllm serve Qwen/Qwen3-8B --tool-call-parser foo", "hermes"),
        ("sglang serve --model-path Qwen/Qwen3-8B --speculative-algorithm FOO", "EAGLE3"),
        ("text-generation-launcher --model-id Qwen/Qwen3-8B --kv-cache-dtype fp8", "fp8_e5m2"),
        ("transformers serve Qwen/Qwen3-8B --attn-implementation foo", "flash_attention_2"),
        ("llama-server -hf Qwen/Qwen3-8B-GGUF:Q4_K_M --spec-type draft-foo", "draft-mtp"),
        ("llama-bench -hf Qwen/Qwen3-8B-GGUF:Q4_K_M -sm foo", "layer"),
        ("llama-server -hf Qwen/Qwen3-8B-GGUF:Q9_X", "iq4_xs"),
        ("ollama run hf.co/unsloth/Qwen3-8B-GGUF:IQ2_XXX", "iq2_xxs"),
        ("vllm serve Qwen/Qwen3-8B --seed foo", "whole number"),
        ("sglang serve --model-path Qwen/Qwen3-8B --hicache-ratio foo", "a number"),
        ("llama-server -hf Qwen/Qwen3-8B-GGUF:Q4_K_M --port foo", "whole number"),
    ],
)
def test_words_and_numbers_that_an_engine_refuses_are_refused(command: str, names: str) -> None:
    """A word that no version takes, a number that is none and a type that no file has: one line with what is taken."""
    with pytest.raises(UsageError) as refused:
        sizer.check(command.split(), device="h100", offline=True)
    assert names in f"{refused.value.message} {refused.value.hint}"


@pytest.mark.parametrize(
    "command",
    [
        "vllm serve Qwen/Qwen3-8B --tool-call-parser mine --tool-parser-plugin mine.py",
        "vllm serve Qwen/Qwen3-8B --port $PORT --seed <seed>",
        "llama-server -hf Qwen/Qwen3-8B-GGUF:Q4_K_M --spec-type draft-mtp,ngram-mod --port {{port}}",
        "transformers serve Qwen/Qwen3-8B --attn-implementation kernels-community/flash-attn3",
        "llama-server -hf ggml-org/Qwen3-8B-GGUF:latest",
    ],
)
def test_what_another_tells_is_not_refused(command: str) -> None:
    """A plugin's own words, a shell's variables, placeholders, several words between commas, kernels of the hub."""
    assert sizer.check(command.split(), device="h100", offline=True).check.starts
