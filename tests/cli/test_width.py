"""What people read fits a terminal: no line is wider than 100 columns, and what is typed stays typeable."""

from __future__ import annotations

import re
import shlex

import pytest
from clirun import Run

from sizer.report.wrap import WIDEST, page_width, typed, wrapped

SAMPLE = """
estimate meta-llama/Llama-3.1-70B-Instruct -d rtx-4090 --ram 64GiB
estimate openai/gpt-oss-20b deepseek-ai/DeepSeek-V3 -d h100 -d m2-ultra -p all
estimate 8x7B -d 2xrtx-3090 --explain
estimate Qwen/Qwen3-8B -d rtx-4090 -e "vllm@0.21 --gpu-memory-utilization 0.95 --max-num-seqs 64 --foo 3"
estimate Qwen/Qwen3-30B-A3B-Instruct-2507 -d aws:p5.48xlarge --context 128k --batch 32 --draft eagle
estimate meta-llama/Llama-3.1-405B-Instruct -d strix-halo --batch 32 -p all
estimate Qwen/Qwen3-8B --bandwidth 936GB/s --memory 24GiB --explain
estimate BAAI/bge-m3 -d rtx-4090
recommend meta-llama/Llama-3.1-70B-Instruct -d m2-ultra
recommend Qwen/Qwen3-32B -d rtx-3060 --ram 32GiB
recommend Qwen/Qwen3-32B -d rtx-4090 --draft auto
recommend Qwen/Qwen3-8B -d rtx-4090 -e transformers --max-loss 0.2 --prefer memory
recommend deepseek-ai/DeepSeek-V3 -d 8xh100
recommend mistralai/Mixtral-8x7B-Instruct-v0.1 -d consumer-cpu --ram 32GiB
recommend google/gemma-3n-E4B-it -d raspberry-pi-5
fit -d rtx-3060 --family qwen
fit -d rtx-4060 --ram 32GiB --all --family llama --limit 60 --license apache
hardware meta-llama/Llama-3.1-70B-Instruct --device h100 --limit 90
hardware nvidia/Llama-3_1-Nemotron-Ultra-253B-v1 --users 16 --device aws --price h100=2.10
check -d h100 -- vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 32768
check -d rtx-4090 -- llama-server -hf unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M -c 65536 -ctk q8_0 -ctv q8_0
check -d m2-ultra -- OLLAMA_NUM_PARALLEL=4 ollama run llama3.1:70b
capacity Qwen/Qwen3-32B -d 4xh100 --prompt 8k --output 500 --users 100 --ttft 1s --tpot 50ms
capacity Qwen/Qwen3-32B -d 2xh100 --users 50 --tpot 50ms
capacity Qwen/Qwen3-8B -d 2xrtx-3090 --users 20000
capacity Qwen/Qwen3-8B -d 8xh200 --rps 5000
capacity Qwen/Qwen3-8B -d raspberry-pi-5 -e llama.cpp -p q4_k_m
measured meta-llama/Llama-3.1-70B-Instruct
devices nvidia
models llama
precisions
""".strip().splitlines()


@pytest.mark.parametrize("line", SAMPLE)
def test_no_line_passes_a_hundred_columns(line: str, run: Run) -> None:
    """Whatever is asked, each line that people read has 100 columns at most, none is empty of what it said, and no row
    of a table goes on below itself."""
    answer = run(*shlex.split(line), "--offline") if not line.startswith("check") else run(*shlex.split(line))
    assert answer.out
    assert [text for text in answer.out.splitlines() if len(text) > WIDEST] == []
    assert [text for text in answer.out.splitlines() if re.fullmatch(r"  +-+( +-+)*", text)] == []


def test_a_long_line_goes_on_under_itself() -> None:
    """Notes go on two columns in, comments as comments; a word that nothing can break stays whole."""
    assert wrapped("- a note of some words", 12) == "- a note of\n  some words"
    assert wrapped("# of a few words", 10) == "# of a few\n# words"
    assert wrapped("    deep and long", 13) == "    deep and\n    long"
    assert wrapped("x" * 30, 12) == "x" * 30
    assert wrapped("short\n\nlines", 12) == "short\n\nlines"


@pytest.mark.parametrize("width", [30, 50, 80])
def test_a_broken_command_is_the_same_command(width: int) -> None:
    """A shell reads the same words out of what was broken by backslashes; options keep their values."""
    command = (
        "llama-server -hf 'org/a name' -c 8192 -ngl 99 -np 1 --speculative-config '{\"method\": \"draft\"}' --jinja"
    )
    broken = typed(command, width)
    assert shlex.split(broken.replace("\\\n", " ")) == shlex.split(command)
    assert len(broken.splitlines()) > 1
    assert "-c 8192" in broken
    assert typed("ollama run x", width) == "ollama run x"


def test_an_emitted_command_is_not_broken(run: Run) -> None:
    """What --emit prints is for a file: one command a line, as JSON has it."""
    emitted = run("recommend", "Qwen/Qwen3-32B", "-d", "rtx-4090", "--emit", "--offline").out
    assert "\\\n" not in emitted


def test_a_pipe_is_as_wide_as_a_page() -> None:
    """Where no terminal tells its columns, a line has a hundred."""
    assert page_width() == WIDEST
