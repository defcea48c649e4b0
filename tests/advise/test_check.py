"""Whether a command starts: the verdict, the exit code, and changes that themselves make it start."""

from __future__ import annotations

import json
import re
import shlex
import time

import pytest
from clirun import Run
from effort import RUNAWAY_S
from verdicts import answer

import sizer
from sizer.api.asked import DeviceAsked
from sizer.api.check import checked, launched
from sizer.engine.scripts import read_launch
from sizer.errors import UnknownEngine, UnknownPrecision, UsageError

STARTS = [
    ("2xh100", "vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 32768"),
    ("rtx-4090", "vllm serve Qwen/Qwen3-8B --max-model-len 16384"),
    ("rtx-4090", "llama-server -hf unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M -c 32768 -ngl 99"),
    ("rtx-3060-12gb", "llama-server -hf unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M"),
    ("rtx-4090", "python -m sglang.launch_server --model-path Qwen/Qwen3-8B"),
    ("h100", "trtllm-serve Qwen/Qwen3-8B --max_seq_len 8192"),
    ("m2-ultra", "mlx_lm.server --model mlx-community/Qwen3-8B-4bit"),
    ("rtx-4060", "transformers chat Qwen/Qwen3-8B --load-in-4bit --bnb_4bit_quant_type nf4"),
    ("rtx-4090", "ollama run qwen3:8b"),
    ("rtx-4090", "llama-bench -m Qwen3-8B-Q4_K_M.gguf -p 512,2048 -n 128 -d 0,16384 -fa 1"),
    (
        "rtx-4090",
        "python main.py --model-name turboderp/gemma-3-27b-it-exl3-4.0bpw --max-seq-len 32768 --cache-mode Q4",
    ),
]
REFUSED = [
    ("rtx-4090", "vllm serve Qwen/Qwen3-8B"),
    ("2xrtx-4090", "vllm serve Qwen/Qwen3-32B --quantization fp8 --tensor-parallel-size 2"),
    ("rtx-4090", "llama-server -hf unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M -c 131072 -ngl 99"),
    ("rtx-3060-12gb", "llama-server -hf unsloth/Qwen3-30B-A3B-GGUF:Q4_K_M -ngl 99"),
    ("4xa100", "vllm serve meta-llama/Llama-3.1-70B"),
    ("rtx-3060-12gb", "llama-bench -m Qwen3-8B-Q8_0.gguf -p 2048 -n 128 -d 65536"),
    ("rtx-4090", "python -m sglang.launch_server --model-path Qwen/Qwen3-14B"),
    ("rtx-4090", "OLLAMA_CONTEXT_LENGTH=40960 ollama run qwen3:32b num_gpu=99"),
]


@pytest.mark.parametrize(("device", "command"), STARTS)
def test_what_starts_says_what_there_is_room_for(device: str, command: str) -> None:
    """A verdict, a reason, no change, and an estimate that fits, with its engine's own words."""
    found = answer(command, device)
    assert found.check.starts, found.check.reason
    assert found.check.reason
    assert found.check.change == ()
    (estimate,) = found.estimates
    assert estimate.decode.tokens_per_s
    assert len(estimate.engine_options) == len(read_launch(shlex.split(command)).options.as_json)


@pytest.mark.parametrize(("device", "command"), REFUSED)
def test_each_change_makes_it_start(device: str, command: str) -> None:
    """What is suggested was tried: the same command with it starts, and so does it with all of them."""
    found = answer(command, device)
    assert not found.check.starts
    assert found.check.change, found.check.reason
    for change in found.check.change:
        assert answer(f"{command} {change}", device).check.starts, change


def test_ranks_heads_and_lengths_are_the_engine_s_own_rules() -> None:
    """More ranks than devices, heads that do not divide, a context beyond the model's: refused in words."""
    ranks = answer("vllm serve Qwen/Qwen3-8B -tp 4 --max-model-len 4096", "2xh100")
    assert ranks.check.reason == "its flags ask for 4 devices, 2 are there."
    heads = answer("vllm serve Qwen/Qwen3-8B -tp 3 --max-model-len 4096", "3xh100")
    assert "32 attention heads are not divided by 3 ranks" in heads.check.reason
    length = answer("vllm serve Qwen/Qwen3-8B --max-model-len 131072", "h100")
    assert "longer than the 40,960" in length.check.reason
    assert all("--max-model-len" in change for change in length.check.change)


def test_weights_that_an_engine_does_not_load_do_not_start() -> None:
    """MLX files under vLLM: the memory is not what is wrong."""
    found = answer("vllm serve mlx-community/Qwen3-8B-4bit --max-model-len 4096", "h100")
    assert found.check.reason == "vllm does not load mlx-4bit weights."
    assert found.check.change == ()


@pytest.mark.parametrize(
    ("command", "starts"),
    [
        ("vllm serve Qwen/Qwen3-32B --quantization awq", False),
        ("vllm serve Qwen/Qwen3-32B --quantization fp8", True),
        ("vllm serve Qwen/Qwen3-32B-AWQ --quantization awq_marlin", True),
        ("python -m sglang.launch_server --model-path Qwen/Qwen3-32B --quantization gptq", False),
    ],
)
def test_weights_made_beforehand_are_not_made_while_loading(command: str, starts: bool) -> None:
    """AWQ and GPTQ are read from files that are so: the flag does not make them of plain floats, as fp8's does."""
    found = answer(command, "h100").check
    assert found.starts is starts, found.reason
    assert starts or "are not quantized" in found.reason


def test_a_script_of_another_program_is_not_likened_to_main_py() -> None:
    """What starts no engine is answered with what does, not with a script's name that happens to be near."""
    with pytest.raises(UsageError, match="vllm serve") as caught:
        sizer.check("python train.py --lr 1e-4", device="h100", offline=True)
    assert "main.py" not in str(caught.value)


def test_an_engine_that_does_not_run_there_is_an_error() -> None:
    """No flag mends it: vLLM on a Mac, and a command that names no model, are refused as such."""
    with pytest.raises(UnknownEngine, match="vllm does not run on"):
        answer("vllm serve Qwen/Qwen3-8B", "m2-ultra")
    with pytest.raises(UsageError, match="names no model"):
        answer("vllm serve --max-model-len 4096", "h100")


def test_a_name_without_a_count_is_the_kind_of_card() -> None:
    """`-d h100` with two ranks is two of them, and says so."""
    found = answer("vllm serve Qwen/Qwen3-32B -tp 2 --max-model-len 8192", "h100")
    assert found.estimates[0].device.count == 2
    assert any("taken 2 times" in note for note in found.estimates[0].assumptions)


def test_a_benchmark_s_context_is_what_it_measures() -> None:
    """llama-bench reserves depth, prompt and output, all layers on the card."""
    found = answer("llama-bench -m Qwen3-8B-Q4_K_M.gguf -p 512,2048 -n 64,128 -d 0,16384", "rtx-4090")
    assert found.workload.context_tokens == 16384 + 2048 + 128
    assert found.estimates[0].memory.gpu_layers == 36


def test_flags_reach_the_estimate() -> None:
    """A larger share of the memory holds more cache, a denser cache twice the tokens."""
    usual = answer("vllm serve Qwen/Qwen3-8B --max-model-len 8192", "h100").estimates[0].memory
    small = (
        answer("vllm serve Qwen/Qwen3-8B --max-model-len 8192 --gpu-memory-utilization 0.5", "h100").estimates[0].memory
    )
    dense = answer("vllm serve Qwen/Qwen3-8B --max-model-len 8192 --kv-cache-dtype fp8", "h100").estimates[0].memory
    assert usual.kv_capacity_tokens is not None
    assert (small.kv_capacity_tokens or 0) < 0.6 * usual.kv_capacity_tokens
    assert dense.kv_capacity_tokens == pytest.approx(2 * usual.kv_capacity_tokens, rel=0.01)


@pytest.mark.parametrize(
    ("text", "engine", "model", "precision"),
    [
        (
            "cat > Modelfile <<'EOF'\nFROM hf.co/Qwen/Qwen3-8B-GGUF:Q8_0\nPARAMETER num_ctx 8192\nEOF\n"
            "OLLAMA_KV_CACHE_TYPE=q8_0 ollama serve &\nollama create mine -f Modelfile && ollama run mine",
            "ollama",
            "Qwen/Qwen3-8B",
            "q8_0",
        ),
        (
            "hf download Qwen/Qwen3-8B --local-dir Qwen3-8B\n"
            "python convert_hf_to_gguf.py Qwen3-8B --outfile Qwen3-8B-BF16.gguf --outtype bf16\n"
            "llama-quantize Qwen3-8B-BF16.gguf Qwen3-8B-IQ4_XS.gguf IQ4_XS\n"
            "llama-server -m Qwen3-8B-IQ4_XS.gguf -c 4096 \\\n  -ngl 99",
            "llama.cpp",
            "Qwen/Qwen3-8B",
            "iq4_xs",
        ),
        (
            "mlx_lm.convert --hf-path Qwen/Qwen3-8B -q --q-bits 6 --mlx-path mine\n"
            "mlx_lm.generate --model mine --prompt 'one, two' --max-tokens 64",
            "mlx-lm",
            "Qwen/Qwen3-8B",
            "mlx-6bit",
        ),
        (
            "import torch\nfrom transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig\n"
            "quantized = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type='nf4',"
            " bnb_4bit_use_double_quant=True)\ntokenizer = AutoTokenizer.from_pretrained('Qwen/Qwen3-8B')\n"
            "model = AutoModelForCausalLM.from_pretrained('Qwen/Qwen3-8B', quantization_config=quantized,"
            " device_map='auto')\n",
            "transformers",
            "Qwen/Qwen3-8B",
            "nf4-dq",
        ),
        (
            "from vllm import LLM\nname = 'Qwen/Qwen3-8B'\nllm = LLM(model=name, max_model_len=4096)\n",
            "vllm",
            "Qwen/Qwen3-8B",
            "bf16",
        ),
    ],
    ids=["modelfile", "conversion", "mlx", "python", "vllm"],
)
def test_whole_scripts_are_read(text: str, engine: str, model: str, precision: str) -> None:
    """Conversions are followed to what they are made from; Python is read, not run."""
    device = "m2-ultra" if engine == "mlx-lm" else "rtx-4090"
    found = answer(text, device)
    assert found.check.starts, found.check.reason
    estimate = found.estimates[0]
    assert (estimate.engine, estimate.precision) == (engine, precision)
    assert model in found.model.id


def test_the_command_line_has_the_exit_codes_of_its_help(run: Run) -> None:
    """0 where it starts, 4 where it does not, 2 for what is no command; JSON is the contract's."""
    yes = run("check", "--offline", "-d", "rtx-4090", "--json", "--", *STARTS[1][1].split())
    assert yes.code == 0
    document = json.loads(yes.out)
    assert document["check"] == {"starts": True, "reason": document["check"]["reason"], "change": []}
    assert document["estimates"][0]["engine_options"] == {"max-model-len": 16384}
    no = run("check", "--offline", "-d", "rtx-4090", "--", *REFUSED[0][1].split())
    assert no.code == 4
    assert "It does not start" in no.out
    assert "--max-model-len" in no.out
    assert run("check", "--offline", "-d", "rtx-4090", "--", "ls", "-l").code == 2
    several = run("check", "--offline", "-d", "rtx-4090", "-d", "h100", "--json", "--", *STARTS[1][1].split())
    assert [item["check"]["starts"] for item in json.loads(several.out)] == [True, True]


def test_a_model_file_of_this_machine_is_not_opened_for_others() -> None:
    """Where files are not allowed, a Modelfile must be pasted."""
    with pytest.raises(UsageError, match="no Modelfile"):
        read_launch(["ollama create x -f /etc/passwd\nollama run x"], files_allowed=False)


def test_words_and_text_are_one() -> None:
    """A command as words and as one text has one verdict."""
    words = shlex.split(STARTS[2][1])
    asked = DeviceAsked(("rtx-4090",))
    (one,) = checked(launched(words, asked, offline=True))
    (other,) = checked(launched([STARTS[2][1]], asked, offline=True))
    assert (one.starts, one.reason) == (other.starts, other.reason)
    assert one.estimate.placement == other.estimate.placement


def test_one_change_of_a_kind_is_named() -> None:
    """Where 0.95 of the memory is enough, 0.97 is no further advice."""
    found = answer("vllm serve openai/gpt-oss-120b", "h100").check
    kinds = [tuple(word for word in change.split() if word.startswith("-")) for change in found.change]
    assert kinds
    assert len(set(kinds)) == len(kinds)


@pytest.mark.parametrize(
    ("command", "device", "flag", "exact", "more"),
    [
        ("vllm serve meta-llama/Llama-3.1-8B-Instruct --gpu-memory-utilization 0.5", "l40s",
         "--gpu-memory-utilization", "0.73", "0.72"),
        ("vllm serve Qwen/Qwen3-32B", "h100", "--max-num-seqs", "16", "32"),
        ("vllm serve Qwen/Qwen3-32B", "h100", "--max-model-len", "32256", "32512"),
        ("text-generation-launcher --model-id meta-llama/Llama-3.1-8B-Instruct --max-total-tokens 65536", "l4",
         "--max-total-tokens", "30208", "30720"),
    ],
)  # fmt: skip
def test_a_change_is_the_nearest_that_starts(command: str, device: str, flag: str, exact: str, more: str) -> None:
    """The least share of the memory, the most sequences, the longest context: with a step more it does not start."""
    found = answer(command, device).check
    assert f"{flag} {exact}" in found.change
    words = command.split()
    if flag in words:
        words[words.index(flag) + 1] = more
    else:
        words += [flag, more]
    assert not answer(" ".join(words), device).check.starts


@pytest.mark.parametrize(
    ("flags", "starts"),
    [("-fa off -ctv q4_0", False), ("-fa off -ctk q4_0", True), ("-fa on -ctk q4_0 -ctv q4_0", True),
     ("-ctv q8_0", True), ("-fa off -ctv f16", True)],
)  # fmt: skip
def test_quantized_values_need_flash_attention(flags: str, starts: bool) -> None:
    """llama.cpp makes no context with quantized values where flash attention is off; keys alone it takes."""
    found = answer(f"llama-server -m Qwen3-8B-Q4_K_M.gguf -c 8192 -ngl 99 {flags}", "rtx-3090").check
    assert found.starts is starts, found.reason
    assert starts or "flash attention" in found.reason


def test_a_micro_batch_is_no_larger_than_its_batch() -> None:
    """llama.cpp takes the smaller of -b and -ub: buffers and prompts follow it."""
    command = "llama-server -m Qwen3-8B-Q4_K_M.gguf -c 8192 -ngl 99"
    small, capped, large = (
        answer(f"{command} {flags}", "rtx-3090").estimates[0]
        for flags in ("-ub 256", "-b 256 -ub 4096", "-b 4096 -ub 4096")
    )
    assert small.memory == capped.memory
    assert small.memory.devices[0].compute_bytes < large.memory.devices[0].compute_bytes
    assert small.prefill is not None
    assert small.prefill == capped.prefill


def test_a_version_that_is_none_is_said() -> None:
    """A word without a number is no version: the newest rules would be taken silently."""
    with pytest.raises(UsageError, match="no version of vllm"):
        sizer.estimate("Qwen/Qwen3-8B", device="h100", engine="vllm@banana", offline=True)
    assert sizer.estimate("Qwen/Qwen3-8B", device="h100", engine="vllm@latest", offline=True).estimates


def test_the_sentence_says_what_of_the_total_is_the_host_s() -> None:
    """The device's part stands beside the host's, of which the table's total has no buffer; a Mac's memory is one."""
    command = "llama-server -hf Qwen/Qwen3-14B-GGUF:Q4_K_M"
    found = answer(command, "rtx-3060")
    held = found.estimates[0].memory
    device, host = (f"{size / 2**30:.2f} GiB" for size in (held.devices[0].total_bytes, held.host.total_bytes))
    assert f"it takes {device} at" in found.check.reason
    assert f"and {host} of the host's memory" in found.check.reason
    assert held.total_bytes == held.devices[0].total_bytes + held.host.weights_bytes
    assert "the host's memory" not in answer(command, "m3-max").check.reason


@pytest.mark.parametrize(
    ("model", "device", "flags"),
    [
        ("openai/gpt-oss-120b", "h100", ""),
        ("google/gemma-3-27b-it", "a100-40gb", "--quantization fp8"),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", "4xh100", "--tensor-parallel-size 4"),
    ],
)
def test_what_is_told_as_longest_starts(model: str, device: str, flags: str) -> None:
    """Pages shared by unlike layers hold less than their bytes: the longest told starts, a tenth more does not."""
    longest = answer(f"vllm serve {model} {flags}", device).estimates[0].memory.max_context_tokens
    assert longest
    own = sizer.estimate(model, device=device, engine="vllm").model.max_context_tokens or 0
    assert answer(f"vllm serve {model} {flags} --max-model-len {longest}", device).check.starts
    if longest < own:
        assert not answer(
            f"vllm serve {model} {flags} --max-model-len {min(own, longest * 11 // 10)}", device
        ).check.starts


def test_exl_files_without_their_bits_are_asked_for_them() -> None:
    """A name that says EXL2 or EXL3 alone is not taken as 16 bits; with its bits, in any case, it is read."""
    for name in ("Llama-3.1-8B-Instruct-exl2", "turboderp/Llama-3.1-8B-Instruct-exl3"):
        with pytest.raises(UsageError, match="bits per weight") as error:
            answer(f"tabbyapi --model-name {name}", "rtx-3060")
        assert f"{name}-4.0bpw" in error.value.hint
    found = answer("tabbyAPI --model-name Llama-3.1-8B-Instruct-exl2-4.0bpw --max-seq-len 60000", "rtx-2080-ti")
    assert found.estimates[0].precision == "exl2-4.00bpw"
    assert [change for change in found.check.change if "cache" in change] == ["--cache-mode Q8"]


def test_four_bits_of_bitsandbytes_are_the_caller_s_own_default() -> None:
    """`transformers chat` and `serve` take NF4 unless told, BitsAndBytesConfig FP4."""
    chat = "transformers chat Qwen/Qwen3-8B --load_in_4bit"
    assert answer(chat, "h100").estimates[0].precision == "nf4"
    assert answer(f"{chat} --bnb_4bit_quant_type fp4", "h100").estimates[0].precision == "fp4"
    code = (
        "from transformers import AutoModelForCausalLM, BitsAndBytesConfig\n"
        "AutoModelForCausalLM.from_pretrained('Qwen/Qwen3-8B', quantization_config=BitsAndBytesConfig({}))"
    )
    assert answer(code.format("load_in_4bit=True"), "h100").estimates[0].precision == "fp4"
    told = "load_in_4bit=True, bnb_4bit_quant_type='nf4'"
    assert answer(code.format(told), "h100").estimates[0].precision == "nf4"


@pytest.mark.parametrize(("text", "read"), [("32k", 32), ("32768", None), ("1M", 1), ("-1", None)])
def test_a_number_that_llama_cpp_cuts_is_said(text: str, read: int | None) -> None:
    """std::stoi stops at the first letter: what the engine itself reads is told beside what is taken."""
    notes = answer(f"llama-cli -hf Qwen/Qwen3-8B-GGUF:Q4_K_M -c {text}", "h100").estimates[0].assumptions
    said = [note for note in notes if "std::stoi" in note]
    assert bool(said) == (read is not None)
    assert read is None or f"reads {read} " in said[0]


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("OLLAMA_CONTEXT_LENGTH=8192 ollama serve", "'ollama run MODEL'"),
        ("llama-server -c 8192", "-m MODEL"),
        ("vllm serve --max-model-len 8192", "'vllm serve MODEL'"),
    ],
)
def test_a_command_without_a_model_is_told_how_to_name_it(command: str, hint: str) -> None:
    """The next thing to type is the engine's own: its flag, or the program that takes a model."""
    with pytest.raises(UsageError, match="names no model") as error:
        answer(command, "h100")
    assert hint in error.value.hint


def test_an_old_card_gets_changes_beside_the_other_type() -> None:
    """bfloat16 on a T4 that is also too small: half stands in each change, and with each it starts."""
    found = answer("vllm serve Qwen/Qwen3-8B --dtype bfloat16", "t4")
    assert found.check.change
    assert all("--dtype half" in change for change in found.check.change)
    for change in found.check.change:
        assert answer(f"vllm serve Qwen/Qwen3-8B {change}", "t4").check.starts, change


@pytest.mark.parametrize(
    "text",
    [
        "[a]\n" + "\n" * 3000 + "x",
        "[a]\n" + ";x\n" * 3000 + "y",
        "  image: a\n" * 5000,
        "a@a " * 20000,
        "$env:A = " + "a " * 40000,
        "\n" * 200 + "version = 1 " + " \n" * 2000 + "[x]",
    ],
    ids=["blank", "comments", "services", "prompts", "variables", "version"],
)
def test_long_pastes_are_answered_at_once(text: str) -> None:
    """What repeats a document's beginnings is refused in time that grows with its length, not with its square."""
    started = time.process_time()
    with pytest.raises(UsageError):
        read_launch([text])
    assert time.process_time() - started < RUNAWAY_S


def test_what_no_flag_mends_has_a_way_on(run: Run) -> None:
    """Where no flag makes a command start, the commands that tell what else would do are printed, and they answer."""
    result = run("check", "-d", "rtx-4090", "--", "vllm", "serve", "Qwen/Qwen3-32B", "--max-model-len", "32768")
    assert result.code == 4
    offered = [line.strip() for line in result.out.splitlines() if line.startswith("  sizer ")]
    assert offered == ["sizer recommend Qwen/Qwen3-32B -d rtx-4090", "sizer hardware Qwen/Qwen3-32B"]
    for command in offered:
        assert run(*shlex.split(command)[1:], "--offline").code == 0
    started = run("check", "-d", "rtx-4090", "--", "ollama", "run", "qwen3:8b")
    assert "sizer recommend" not in started.out


@pytest.mark.parametrize(
    ("device", "command", "change"),
    [
        ("rtx-4090", "vllm serve Qwen/Qwen3-8B-AWQ --kv-cache-dtype q8_0", ("--kv-cache-dtype fp8",)),
        ("h100", "python -m sglang.launch_server --model-path Qwen/Qwen3-8B --kv-cache-dtype int8", None),
        ("rtx-4090", "llama-server -hf Qwen/Qwen3-8B-GGUF:Q4_K_M -ctk fp8 -fa on", None),
        ("rtx-4090", "OLLAMA_KV_CACHE_TYPE=q5_1 OLLAMA_FLASH_ATTENTION=1 ollama run qwen3:8b", None),
    ],
)
def test_a_cache_that_the_engine_has_not_got_does_not_start(
    device: str, command: str, change: tuple[str, ...] | None
) -> None:
    """Formats of another engine's cache are refused by name, with one of its own that makes it start."""
    found = answer(command, device)
    assert not found.check.starts
    assert re.search(r"has no \w+ cache: it has", found.check.reason)
    assert found.check.change, "one of its own starts"
    assert change is None or found.check.change == change


@pytest.mark.parametrize(
    ("command", "named"),
    [
        ("vllm serve Qwen/Qwen3-8B --dtype int3", "--dtype: 'int3' is not one of auto, half"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -sm rows", "-sm: 'rows' is not one of none, layer, row"),
        ("vllm serve Qwen/Qwen3-8B --kv-cache-dtype fp9", "unknown cache type 'fp9' of vllm."),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf -fa on -ctv q9_0", "unknown cache type 'q9_0' of llama.cpp."),
        ("vllm serve Qwen/Qwen3-8B --load-format foo", "--load-format: 'foo' is not one of auto, hf, dummy"),
        ("vllm serve Qwen/Qwen3-8B --tensor-parallel-size 0", "--tensor-parallel-size: '0' is less than 1."),
        ("vllm serve Qwen/Qwen3-8B --max-num-seqs=-1", "--max-num-seqs: '-1' is less than 1."),
        ("vllm serve Qwen/Qwen3-8B -O3 --attention-backend FLASHH", "--attention-backend: 'FLASHH' is not one of"),
        (
            'vllm serve Qwen/Qwen3-8B --speculative-config \'{"method": "foo", "num_speculative_tokens": 3}\'',
            "--speculative-config method: 'foo' is not one of ngram",
        ),
        (
            "vllm serve Qwen/Qwen3-8B --speculative-config.method foo",
            "--speculative-config method: 'foo' is not one of",
        ),
        ("sglang serve Qwen/Qwen3-8B --quantization foo", "--quantization: 'foo' is not one of awq, fp8"),
        ("sglang serve Qwen/Qwen3-8B --moe-a2a-backend foo", "--moe-a2a-backend: 'foo' is not one of none, deepep"),
        ("trtllm-serve Qwen/Qwen3-8B --backend foo", "--backend: 'foo' is not one of pytorch, tensorrt"),
        ("lmdeploy serve api_server Qwen/Qwen3-8B --model-format q4", "--model-format: 'q4' is not one of hf, awq"),
        ("text-generation-launcher --model-id Qwen/Qwen3-8B --quantize q4", "--quantize: 'q4' is not one of awq"),
        ("llama-server -m Qwen3-8B-Q4_K_M.gguf --numa foo", "--numa: 'foo' is not one of distribute"),
        ("mistralrs serve -m Qwen/Qwen3-8B --isq q9", "--isq: 'q9' is not one of 2, 3, 4"),
    ],
)
def test_a_word_that_a_flag_does_not_take_is_an_error(command: str, named: str) -> None:
    """The flag or the engine is named, as its own parser does, with the words it takes, never an option of sizer's."""
    with pytest.raises((UsageError, UnknownPrecision)) as error:
        answer(command, "rtx-4090")
    assert error.value.message.startswith(named)
