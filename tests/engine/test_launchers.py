"""Programs that start others' engines: which engine they choose, their own flags, and what they hand on."""

from __future__ import annotations

from typing import Any

import pytest

import sizer
from sizer.device.catalogue import find
from sizer.device.usable import usable_memory_bytes
from sizer.engine.commands import read_command
from sizer.engine.flag_table import find_flag, passing_flag
from sizer.engine.flag_text import written_all
from sizer.engine.programs import programs
from sizer.engine.scripts import read_launch
from sizer.engine.started import split_words, started
from sizer.errors import UsageError
from sizer.model.read.published import library_model
from sizer.model.read.resolve import resolve
from sizer.tables import read_rows
from sizer.units import GIB

COMPOSED = """services:
  app:
    image: my/app
    models: [llm]
models:
  llm:
    model: ai/qwen3
    context_size: 8192
    runtime_flags: ["-ctk", "q8_0"]
"""


@pytest.mark.parametrize(
    ("command", "engine", "model", "settings"),
    [
        ("ramalama serve -c 8192 --ngl 20 granite", "llama.cpp", "ibm-granite/granite-3.3-8b-instruct-GGUF",
         {"context_tokens": 8192, "gpu_layers": 20}),
        ("ramalama --nocontainer --runtime vllm serve hf://Qwen/Qwen3-8B --ctx-size 4096", "vllm", "Qwen/Qwen3-8B",
         {"context_tokens": 4096}),
        ("ramalama run --runtime=mlx hf://mlx-community/Qwen3-8B-4bit", "mlx-lm", "mlx-community/Qwen3-8B-4bit", {}),
        ("ramalama run ollama://llama3.1:8b --runtime-args \"-ctk q8_0 -fa on\" tell me", "llama.cpp", "llama3.1:8b",
         {"k_cache_type": "q8_0", "flash_attention": True}),
        ("docker model run ai/gemma3:4B-Q4_K_M hi", "llama.cpp", "gemma3:4B-Q4_K_M", {"gpu_layers": 999}),
        ("docker model configure --context-size 8192 ai/smollm2 -- -ub 1024", "llama.cpp",
         "HuggingFaceTB/SmolLM2-360M-Instruct:Q4_K_M", {"context_tokens": 8192, "prefill_chunk_tokens": 1024}),
        ("docker model run hf.co/Qwen/Qwen3-0.6B", "vllm", "hf.co/Qwen/Qwen3-0.6B", {}),
        ("docker model run hf.co/bartowski/Qwen2.5-14B-Instruct-GGUF", "llama.cpp",
         "hf.co/bartowski/Qwen2.5-14B-Instruct-GGUF", {}),
        ("python server.py --model unsloth_Qwen3-32B-GGUF --loader llama.cpp", "llama.cpp", "unsloth/Qwen3-32B-GGUF",
         {"prefill_chunk_tokens": 1024, "max_sequences": 1, "fit_context_tokens": 8192, "context_tokens": None}),
        ("python server.py --model x-Q4_K_M.gguf --n-gpu-layers 40 --extra-flags n-cpu-moe=4,jinja", "llama.cpp",
         "x-Q4_K_M.gguf", {"context_tokens": 8192, "gpu_layers": 40, "cpu_moe_layers": 4, "fit": False}),
        ("./start_linux.sh --model turboderp_Qwen3-8B-exl3_4.0bpw --cache-type q8", "exllamav3",
         "turboderp/Qwen3-8B-exl3_4.0bpw", {"k_cache_type": "exl-q8"}),
        ("python server.py --model mistralai_Mistral-7B-v0.1 --load-in-4bit --gpu-memory 10 8GiB --cpu-memory 30",
         "transformers", "mistralai/Mistral-7B-v0.1",
         {"load_bits": 4, "device_memory_limits": (("0", 10 * GIB), ("1", 8 * GIB), ("cpu", 30 * GIB))}),
        ("mistralrs serve --isq 4 -m Qwen/Qwen3-8B --pa-memory-fraction 0.8", "mistral.rs", "Qwen/Qwen3-8B",
         {"quantization": "4", "memory_fraction": 0.8}),
        ("./mistralrs-server --port 1234 --isq Q4K --no-paged-attn plain -m org/M -n 0:10;1:20", "mistral.rs", "org/M",
         {"quantization": "q4k", "cache_pooled": False, "gpu_layers": 30}),
        ("mistralrs run --from-uqff q4k-0.uqff -m org/M", "mistral.rs", "org/M", {"quantization": "q4k"}),
        ("python3 -m fastchat.serve.vllm_worker --model-path lmsys/vicuna-13b-v1.5 --num-gpus 2 --max-model-len 4096",
         "vllm", "lmsys/vicuna-13b-v1.5", {"tensor_parallel": 2, "context_tokens": 4096, "memory_fraction": 0.9}),
        ("python3 -m fastchat.serve.model_worker --model-path lmsys/vicuna-7b-v1.5 --load-8bit", "transformers",
         "lmsys/vicuna-7b-v1.5", {"load_bits": 8, "weights_dtype": "float16"}),
        ("docker run --gpus all -e CONTEXT_SIZE=4096 localai/localai:latest-gpu-nvidia-cuda-12 qwen3-8b", "llama.cpp",
         "qwen3-8b", {"context_tokens": 4096}),
        ("jan serve unsloth/Qwen3.5-9B-GGUF --fit", "llama.cpp", "unsloth/Qwen3.5-9B-GGUF",
         {"fit": True, "context_tokens": -1}),
        ("trtllm-bench --model org/M throughput --tp 4 --concurrency 64", "tensorrt-llm", "org/M",
         {"tensor_parallel": 4, "batch_sequences": (64,)}),
        ("python -m sglang.bench_one_batch --model-path org/M --batch-size 1 16 --input-len 256 512", "sglang", "org/M",
         {"batch_sequences": (1, 16), "prompt_tokens": (256, 512), "output_tokens": (16,)}),
    ],
)  # fmt: skip
def test_a_launcher_s_command_is_its_engine_s(
    command: str, engine: str, model: str, settings: dict[str, object]
) -> None:
    """The engine is the one that its flags or its model's files choose; both's flags are read."""
    options = read_command(split_words(command))
    assert (options.engine, options.model) == (engine, model)
    assert {name: options.settings.get(name) for name in settings} == settings
    assert [note for note, _ in options.unknown if note.startswith("-")] == []


def test_the_engine_s_flags_are_the_launcher_s_only_where_it_hands_them_on() -> None:
    """`-ctk` is no flag of ramalama: it stands behind --runtime-args."""
    options = read_command(split_words("ramalama serve -ctk q8_0 tiny"))
    assert [name for name, _ in options.unknown] == ["-ctk"]
    assert not options.k_cache_type


def test_unknown_words_behind_the_launcher_s_flag_are_named() -> None:
    """With the nearest that the engine knows."""
    options = read_command(split_words("ramalama serve tiny --runtime-args='--flash-atn on'"))
    assert options.unknown == (("--flash-atn", "--flash-attn"),)


def test_a_change_is_written_as_the_launcher_takes_it() -> None:
    """Its own flag where it has one, else the engine's, all of them in the flag that hands them on."""
    dialects = ("ramalama-llama.cpp", "ramalama")
    fields = {"context_tokens": 4096, "k_cache_type": "q8_0", "v_cache_type": "q8_0"}
    assert written_all(dialects, fields) == ["-c", "4096", "--runtime-args", "-ctk q8_0 -ctv q8_0"]
    docker = ("docker-model-llama.cpp", "docker-model")
    assert written_all(docker, fields) == ["--context-size", "4096", "--", "-ctk", "q8_0", "-ctv", "q8_0"]


def test_models_of_a_compose_file_are_served() -> None:
    """Docker Model Runner's, where no service starts an engine."""
    options = read_launch([COMPOSED]).options
    assert (options.engine, options.model, options.context_tokens) == ("llama.cpp", "qwen3", 8192)
    assert options.k_cache_type == "q8_0"


def test_quotes_that_do_not_close_are_refused() -> None:
    """One line that names what was typed."""
    with pytest.raises(UsageError):
        read_command(["ramalama", "serve", "tiny", "--runtime-args", "-a 'b"])


def test_every_launcher_s_patterns_can_hold_and_end_in_an_engine() -> None:
    """A program with conditions has a last row without, and its own flags hand on to an engine that has rows."""
    conditional = {program.words for program in programs() if program.when}
    assert conditional <= {program.words for program in programs() if not program.when}
    for program in programs():
        passing = passing_flag(program.dialects)
        reached = () if passing is None else passing.sets
        assert passing is None or find_flag(reached, "--model") or find_flag(reached, "-m"), program


@pytest.mark.parametrize("row", list(read_rows("library_names.csv")), ids=lambda row: f"{row['library']} {row['name']}")
def test_names_of_a_library_are_models(row: dict[str, str]) -> None:
    """Each name is one of a library that a command takes, and means a model that is known or told by its name."""
    assert row["library"] in {program.library for program in programs()}
    assert row["source"]
    assert resolve(library_model(row["library"], row["name"]), offline=True).architecture.total_params


def test_options_may_stand_before_a_command_s_word() -> None:
    """And are read as if behind it."""
    start = started(split_words("ramalama --debug --runtime vllm serve Qwen/Qwen3-8B"))
    assert (start.program.engine, start.words) == ("vllm", ("--debug", "--runtime", "vllm", "Qwen/Qwen3-8B"))


def test_a_benchmark_s_own_lengths_are_told() -> None:
    """The prompt, the output and the sequences at once that it measures, no more than the pool holds."""
    command = "vllm bench latency --model Qwen/Qwen3-8B --input-len 1024 --output-len 64 --batch-size 32"
    work = sizer.check(command, device="h100", offline=True).workload
    assert (work.prompt_tokens, work.output_tokens, work.batch_size) == (1024, 64, 32)
    throughput = "vllm bench throughput --model Qwen/Qwen3-8B --random-input-len 1000 --random-output-len 100 "
    answer = sizer.check(throughput + "--num-prompts 5000", device="h100", offline=True)
    assert 256 < answer.workload.batch_size < 1024
    assert answer.estimates[0].memory.fits


def test_mistral_rs_takes_a_pool_on_cuda_alone() -> None:
    """Nine tenths of the card less the weights; elsewhere, or without paged attention, the cache grows as it fills."""
    command = "mistralrs serve --isq 4 -m Qwen/Qwen3-8B"
    pooled = sizer.check(command, device="rtx-4090", offline=True).estimates[0].memory
    assert pooled.kv_capacity_tokens is not None
    assert pooled.kv_capacity_tokens > 90_000
    for text, device in ((command, "m4-max"), (f"{command} --paged-attn off", "rtx-4090")):
        assert sizer.check(text, device=device, offline=True).estimates[0].memory.kv_capacity_tokens is None
    told = sizer.check(f"{command} --pa-context-len 16384", device="rtx-4090", offline=True)
    assert told.estimates[0].memory.kv_capacity_tokens == 16384


@pytest.mark.parametrize(
    ("command", "engine", "model", "told"),
    [
        (
            "xinference launch --model-engine vLLM -n qwen3 -s 8 -f gptq -q Int4 --max_model_len 8192",
            "vllm",
            "JunHowie/Qwen3-8B-GPTQ-Int4",
            {"context_tokens": 8192, "memory_fraction": 0.9, "max_sequences": 256},
        ),
        (
            "xinference launch -en llama.cpp -n qwen2.5-instruct -s 7 -f ggufv2 -q q4_k_m --n_ctx 8192",
            "llama.cpp",
            "Qwen/Qwen2.5-7B-Instruct-GGUF:q4_k_m",
            {"context_tokens": 8192},
        ),
        (
            "xinference launch -en transformers -n qwen2.5-instruct -s 0_5 -f pytorch",
            "transformers",
            "Qwen/Qwen2.5-0.5B-Instruct",
            {},
        ),
        (
            "xinference launch -en sglang -n x --model-path /models/Qwen3-8B --n-gpu 2",
            "sglang",
            "/models/Qwen3-8B",
            {"tensor_parallel": 2},
        ),
        (
            "openllm serve deepseek:r1-671b",
            "vllm",
            "deepseek-ai/deepseek-r1",
            {"context_tokens": 4096, "tensor_parallel": 8},
        ),
        ("openllm serve llama3.2:1b", "vllm", "meta-llama/llama-3.2-1b-instruct", {"tensor_parallel": 1}),
        (
            "python -m lightllm.server.api_server --model_dir Qwen/Qwen3-8B --tp 2 --max_total_token_num 120000"
            " --llm_kv_type int8kv",
            "lightllm",
            "Qwen/Qwen3-8B",
            {"tensor_parallel": 2, "cache_tokens": 120_000, "k_cache_type": "int8-g8"},
        ),
        (
            "litgpt chat microsoft/phi-2 --quantize bnb.nf4-dq --precision bf16-true",
            "litgpt",
            "microsoft/phi-2",
            {"load_bits": 4, "four_bit_type": "nf4", "double_quantization": True, "weights_dtype": "bfloat16"},
        ),
        (
            "python ktransformers/server/main.py --model_path deepseek-ai/DeepSeek-V3 --gguf_path /x/Q4_K_M"
            " --cache_lens 32768 --cpu_infer 64",
            "ktransformers",
            "deepseek-ai/DeepSeek-V3",
            {"quantization": "q4_k_m", "context_tokens": 32768, "threads": 64},
        ),
        (
            "lemonade-server run Qwen3-8B-GGUF",
            "llama.cpp",
            "unsloth/Qwen3-8B-GGUF:Q4_1",
            {"context_tokens": 4096, "max_sequences": 4},
        ),
        (
            'lemonade load Qwen3-8B-GGUF --llamacpp vulkan --llamacpp-args "-ctk q8_0 -np 2"',
            "llama.cpp",
            "unsloth/Qwen3-8B-GGUF:Q4_1",
            {"context_tokens": None, "backend": "vulkan", "k_cache_type": "q8_0", "max_sequences": 2},
        ),
        (
            "docker run --gpus all tabbyml/tabby serve --model TabbyML/StarCoder2-3B --device cuda --parallelism 4",
            "llama.cpp",
            "nold/starcoder2-3b-GGUF/starcoder2-3b_Q8_0.gguf",
            {"gpu_layers": -1, "max_sequences": 4, "backend": "cuda"},
        ),
        (
            "tabby serve --model StarCoder2-3B",
            "llama.cpp",
            "nold/starcoder2-3b-GGUF/starcoder2-3b_Q8_0.gguf",
            {"gpu_layers": 0},
        ),
        (
            "nexa infer Qwen/Qwen3-8B-GGUF:Q8_0 --nctx 16384 -n 20",
            "llama.cpp",
            "Qwen/Qwen3-8B-GGUF:Q8_0",
            {"context_tokens": 16384, "gpu_layers": 20},
        ),
        ("nexa infer mlx-community/Qwen3-8B-4bit-MLX", "mlx-lm", "mlx-community/Qwen3-8B-4bit-MLX", {}),
        (
            "kt run Qwen/Qwen3-30B-A3B --gpu-experts 8 --cpu-threads 32 --tp 2",
            "sglang",
            "Qwen/Qwen3-30B-A3B",
            {"device_experts": 8, "threads": 32, "tensor_parallel": 2, "cache_tokens": 40_000, "host_expert_bits": 4,
             "memory_fraction": 0.98},
        ),
    ],
)  # fmt: skip
def test_launchers_of_libraries_and_rare_engines(command: str, engine: str, model: str, told: dict[str, Any]) -> None:
    """A name, a size and a format of a launcher's library are one model, started with the library's own flags."""
    options = read_command(split_words(command))
    assert (options.engine, options.model) == (engine, model)
    assert {name: getattr(options, name) for name in told} == told
    assert not [text for text, _ in options.unknown if text.startswith("-")]


def test_a_pool_of_lightllm_is_what_its_source_says() -> None:
    """mem_manager.py profile_size: what is free once the weights are loaded, less a fifth of the card, over a token."""
    found = sizer.check("python -m lightllm.server.api_server --model_dir Qwen/Qwen3-8B", device="a100-80gb-sxm")
    memory = found.estimates[0].memory
    assert found.check.starts
    held = memory.devices[0]
    pool = (
        int(0.8 * (usable_memory_bytes(find("a100-80gb-sxm").device) or 0)) - held.weights_bytes - held.overhead_bytes
    )
    token_bytes = 2 * 36 * 8 * 128 * 2
    assert memory.kv_capacity_tokens == pytest.approx(pool / token_bytes, rel=0.01)
    eight = sizer.check(
        "python -m lightllm.server.api_server --model_dir Qwen/Qwen3-8B --llm_kv_type int8kv", device="a100-80gb-sxm"
    )
    ratio = (eight.estimates[0].memory.kv_capacity_tokens or 0) / (memory.kv_capacity_tokens or 1)
    assert ratio == pytest.approx(16 / 10, rel=0.01)


def test_experts_that_the_host_computes_leave_the_card() -> None:
    """SGLang with KTransformers' kernels: of 128 experts a layer 8 stay, the rest is the host's, in its own bits."""
    command = "python -m sglang.launch_server --model Qwen/Qwen3-30B-A3B --kt-num-gpu-experts 8 --kt-method {}"
    plain, four = (
        sizer.check(command.format(method), device="rtx-4090", ram_bytes=256 * GIB, offline=True).estimates[0].memory
        for method in ("BF16", "AMXINT4")
    )
    experts = 48 * 128 * 3 * 2048 * 768 * 2
    assert plain.host.weights_bytes == pytest.approx(experts * 120 / 128, rel=1e-6)
    assert four.host.weights_bytes == pytest.approx(experts * 120 / 128 / 4, rel=1e-6)
    assert plain.devices[0].weights_bytes == four.devices[0].weights_bytes
    assert plain.devices[0].weights_bytes < 8e9


@pytest.mark.parametrize(
    ("command", "says", "instead"),
    [
        ("exo run llama-3.1-8b", "loads no model when it starts", "sizer estimate"),
        ("gpustack start --server-url http://x", "loads no model when it starts", "Paste what starts the engine"),
        ("docker run -p 80:80 gpustack/gpustack", "loads no model when it starts", "Paste what starts the engine"),
        ("nexa serve", "works with a server", "Paste the command"),
        ("lemonade-server serve", "works with a server", "Paste the command"),
        ("lemonade run Qwen2.5-0.5B-Instruct-CPU", "no GGUF file", "Name a GGUF model"),
        ("nexa infer NexaAI/OmniNeural-4B", "no GGUF file", "Name a GGUF model"),
        ("openllm start facebook/opt-1.3b", "older releases", "openllm serve"),
        ("max serve --model Qwen/Qwen3-8B", "has not read", "sizer estimate"),
        ("flm run llama3.2:1b", "has not read", "sizer estimate"),
    ],
)
def test_a_command_that_tells_nothing_says_what_to_paste(command: str, says: str, instead: str) -> None:
    """No default in silence, and no other engine's command as what was meant."""
    with pytest.raises(UsageError) as refused:
        read_command(split_words(command))
    assert says in refused.value.message
    assert instead in refused.value.hint
