"""The command line: arguments to output and exit code, JSON to its schema, errors to one line."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from clirun import Run

import sizer
from sizer.cli import COMMANDS
from sizer.engine.engines import engines
from sizer.report.wrap import WIDEST

LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"


def estimates(run: Run, *args: str) -> dict[str, Any]:
    """The JSON document of an estimate."""
    result = run("estimate", *args, "--offline", "--json")
    assert result.code == 0, result.err
    document: dict[str, Any] = json.loads(result.out)
    return document


SCHEMA = {
    "model": {"id", "basis", "architecture", "total_params", "active_params", "num_layers", "max_context_tokens"},
    "workload": {"prompt_tokens", "output_tokens", "context_tokens", "batch_size", "kv_precision"},
    "device": {"key", "name", "count", "memory_bytes", "bandwidth_bytes_per_s"},
    "memory": {
        "weights_bytes", "kv_cache_bytes", "activations_bytes", "overhead_bytes", "total_bytes", "available_bytes",
        "fits", "max_context_tokens", "download_bytes", "gpu_layers", "host_bytes",
    },
    "decode": {"tokens_per_s", "low_tokens_per_s", "high_tokens_per_s", "tpot_s", "bytes_per_token", "bound"},
    "prefill": {"tokens_per_s", "low_tokens_per_s", "high_tokens_per_s", "ttft_s"},
    "request": {"tokens_per_s", "latency_s", "throughput_tokens_per_s"},
    "quality": {"kl_divergence"},
}  # fmt: skip


def test_json_has_the_documented_names(run: Run) -> None:
    """Every documented key is there, and the figures of Llama-3-8B are exact."""
    document = estimates(run, LLAMA, "--device", "a100")
    assert document["schema_version"] == 1
    assert document["model"]["total_params"] == document["model"]["active_params"] == 8_030_261_248
    assert document["recommendation"]["precision"]
    for name in ("model", "workload"):
        assert SCHEMA[name] <= set(document[name])
    for item in document["estimates"]:
        for name in ("device", "memory", "decode", "prefill", "request", "quality"):
            assert SCHEMA[name] <= set(item[name])
        memory = item["memory"]
        parts = ("weights_bytes", "kv_cache_bytes", "activations_bytes", "overhead_bytes")
        assert memory["total_bytes"] == sum(memory[part] for part in parts)
    by_precision = {item["precision"]: item for item in document["estimates"]}
    assert by_precision["bf16"]["memory"]["weights_bytes"] == 16_060_522_496
    assert {"bf16", "fp16", "fp8", "int8", "nf4"} <= set(by_precision)
    assert by_precision["bf16"]["device"]["key"] == "a100-80gb-sxm"


def test_table_names_what_matters(run: Run) -> None:
    """The table shows the parameters to the last one, the device, and stays within 100 columns."""
    result = run("estimate", LLAMA, "--device", "a100", "--offline")
    assert result.code == 0
    assert "8,030,261,248" in result.out
    assert "NVIDIA A100-SXM4-80GB" in result.out
    table = result.out.split("\n\n")[1]
    assert max(len(line) for line in table.splitlines()) <= 100
    assert "\x1b[" not in result.out


def test_the_table_of_a_batch_tells_each_and_all(run: Run) -> None:
    """Beside each sequence's tokens/s stands what all make together, as the JSON has it; one sequence has no `all`."""
    asked = (LLAMA, "-d", "rtx-4090", "-p", "q4_k_m", "--batch")
    (told,) = estimates(run, *asked, "8")["estimates"]
    lines = run("estimate", *asked, "8", "--offline").out.splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("precision"))
    each, together = lines[head + 2][lines[head].index("tok/s each") :].split()[0::2][:2]
    assert float(each) == pytest.approx(told["decode"]["tokens_per_s"], rel=0.01)
    assert float(together.replace(",", "")) == pytest.approx(told["request"]["throughput_tokens_per_s"], rel=0.01)
    assert any(line.startswith("Each: decoding of one of the 8 sequences.") for line in lines)
    assert "tok/s each" not in run("estimate", *asked, "1", "--offline").out


def test_csv_has_one_row_an_estimate(run: Run) -> None:
    """CSV rows carry the same columns, whether a speed is known or not."""
    result = run("estimate", LLAMA, "-d", "rtx-4090", "-d", "rtx-3060", "-p", "bf16", "-p", "q4_k_m", "--format", "csv",
                 "--offline")  # fmt: skip
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert len(rows) == 4
    assert all(row["memory.weights_bytes"].isdigit() for row in rows)


def test_markdown_is_a_markdown_table(run: Run) -> None:
    """Markdown output has a header rule."""
    assert "|----" in run("estimate", LLAMA, "-d", "a100", "--format", "markdown", "--offline").out


def test_several_models_give_a_list(run: Run) -> None:
    """Two models are two documents."""
    result = run("estimate", LLAMA, "Qwen/Qwen3-8B", "-d", "a100", "-p", "bf16", "--json", "--offline")
    assert [item["model"]["id"] for item in json.loads(result.out)] == [LLAMA, "Qwen/Qwen3-8B"]


def test_explain_tells_what_a_pool_of_sequences_holds(run: Run) -> None:
    """Where a window ends the growth of a cache, what is reserved ahead is told in sequences, and never as no token."""
    told = run(
        "estimate", "mistralai/Mistral-7B-v0.1", "-d", "l40s", "-e", "vllm", "-p", "fp16", "--explain", "--offline"
    )
    [line] = [line for line in told.out.splitlines() if "reserved ahead" in line]
    assert re.search(r"cache for [1-9]\d* sequences of 640 tokens", line)
    told = run("estimate", LLAMA, "-d", "l40s", "-e", "vllm", "-p", "fp16", "--explain", "--offline")
    assert re.search(r"reserved ahead: .*cache for [1-9][\d,]* tokens", told.out)


def test_explain_writes_out_the_sum(run: Run) -> None:
    """The explanation lists the weights by role and the cache by layer kind."""
    result = run("estimate", LLAMA, "-d", "a100", "-p", "bf16", "--explain", "--offline")
    assert "16.000 bits" in result.out
    assert "8 heads x (128 + 128)" in result.out


def test_offload_is_placed_and_said(run: Run) -> None:
    """A model that a card cannot hold splits with the host that --ram describes."""
    document = estimates(run, "meta-llama/Llama-3.1-70B", "-d", "rtx-4090", "--ram", "64GiB", "-p", "q4_k_m")
    memory = document["estimates"][0]["memory"]
    assert memory["fits"] is False
    assert 0 < memory["gpu_layers"] < 80
    assert memory["host_bytes"] > 0
    assert document["estimates"][0]["decode"]["tokens_per_s"] > 0


def test_what_takes_any_context_has_no_longest(run: Run) -> None:
    """A state-space model that states no length has no longest context: null with the reason, `any` in the table; `max`
    leaves the context as it is."""
    asked = ("state-spaces/mamba-130m-hf", "-d", "rtx-4090", "-p", "bf16")
    document = estimates(run, *asked, "--context", "max")
    assert document["workload"]["context_tokens"] == 640
    [item] = document["estimates"]
    assert item["memory"]["max_context_tokens"] is None
    assert any("does not grow with the context" in note for note in item["assumptions"])
    assert " any " in run("estimate", *asked, "--context", "max", "--offline").out


def test_context_max_fills_the_card(run: Run) -> None:
    """--context max takes the longest context that fits."""
    document = estimates(run, "Qwen/Qwen3-8B", "-d", "rtx-4090", "-p", "q8_0", "--context", "max")
    assert document["workload"]["context_tokens"] == document["estimates"][0]["memory"]["max_context_tokens"]
    assert document["estimates"][0]["memory"]["fits"] is True


def test_a_draft_is_weighed(run: Run) -> None:
    """--draft says what speculative decoding gains: more with more acceptance, nothing below break-even."""
    args = ("Qwen/Qwen3-32B", "-d", "rtx-4090", "-p", "q4_k_m", "--draft", "Qwen/Qwen3-0.6B", "--acceptance")
    gains = [estimates(run, *args, text)["estimates"][0]["speculation"]["speedup"] for text in ("0", "0.5", "0.9")]
    assert gains[0] < 1 < gains[2]
    assert gains == sorted(gains)


def test_described_device(run: Run) -> None:
    """A device may be given by its figures alone."""
    document = estimates(run, LLAMA, "--bandwidth", "936GB/s", "--memory", "24GiB", "-p", "q4_k_m")
    device = document["estimates"][0]["device"]
    assert device["memory_bytes"] == 24 * 2**30
    assert device["bandwidth_bytes_per_s"] == 936e9


def test_a_bare_size_answers_by_name(run: Run) -> None:
    """A size alone answers every field but the class, in intervals as wide as models of one size differ."""
    document = estimates(run, "8B", "-d", "rtx-4090", "-p", "q4_k_m")
    assert document["model"]["basis"] == "name"
    assert document["model"]["architecture"] is None
    (one,) = document["estimates"]
    memory, decode = one["memory"], one["decode"]
    assert memory["kv_cache_bytes"] > 0
    assert memory["fits"] is True
    assert memory["max_context_tokens"] > 0
    assert memory["low_total_bytes"] < memory["total_bytes"] < memory["high_total_bytes"]
    known = estimates(run, LLAMA, "-d", "rtx-4090", "-p", "q4_k_m")["estimates"][0]["decode"]
    width, own = (rate["high_tokens_per_s"] / rate["low_tokens_per_s"] for rate in (decode, known))
    assert width > 1.5 * own
    assert one["assumptions"]


ERRORS = [
    (("estimate", "no-such/model", "-d", "a100", "--offline"), 3, "no-such/model"),
    (("estimate", LLAMA, "-d", "rtx-4091", "--offline"), 2, "rtx-4091"),
    (("estimate", LLAMA, "-d", "a100", "-p", "q4_k_n", "--offline"), 2, "q4_k_n"),
    (("estimate", LLAMA, "-d", "a100", "-e", "vlm", "--offline"), 2, "vlm"),
    (("estimate", LLAMA, "--bandwidth", "936", "--offline"), 2, "936"),
    (("estimate", LLAMA, "-d", "a100", "--context", "100", "--offline"), 2, "100"),
    (("estimate", LLAMA, "-d", "a100", "--kv-precision", "q9", "--offline"), 2, "q9"),
    (("estimate", LLAMA, "-d", "a100", "--gpu-layers", "some", "--offline"), 2, "some"),
    (("estimate", LLAMA, "-d", "a100", "--prompt", "-5", "--offline"), 2, "prompt is -5"),
    (("estimate", LLAMA, "-d", "a100", "--memory", "24", "--offline"), 2, "24GiB"),
    (("estimate", LLAMA, "-d", "a100", "--acceptance", "nan", "--offline"), 2, "nan"),
    (("estimate", LLAMA, "-d", "a100", "--json", "--format", "csv"), 2, "--format csv"),
    (("estimate",), 2, "MODEL"),
    (("estimat", LLAMA), 2, "estimate"),
    (("models", "zzzzqqq"), 3, "zzzzqqq"),
]


@pytest.mark.parametrize(("args", "code", "named"), ERRORS)
def test_errors_are_one_line_with_the_users_text(run: Run, args: tuple[str, ...], code: int, named: str) -> None:
    """An error names what was typed, exits with the documented code and prints no traceback and no data."""
    result = run(*args)
    assert result.code == code
    assert named in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert result.out == ""


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(run: Run, name: str) -> None:
    """Each command's help loads, shows how it is called, and fits a terminal, examples too."""
    result = run(name, "--help")
    assert result.code == 0
    assert f"sizer {name}" in result.out
    assert [line for line in result.out.splitlines() if len(line) > WIDEST] == []


def test_no_command_shows_the_help(run: Run) -> None:
    """`sizer` alone is no error: it shows what there is, on stdout."""
    result = run()
    assert (result.code, result.err) == (0, "")
    assert result.out == run("--help").out


def test_layers_on_the_host_need_no_described_host(run: Run) -> None:
    """--gpu-layers is never dropped silently: a usual host is assumed and said, an engine that cannot split says so."""
    split = ("estimate", LLAMA, "-d", "rtx-3060", "-p", "q4_k_m", "--gpu-layers")
    document = estimates(run, *split[1:], "10")
    assert document["estimates"][0]["memory"]["gpu_layers"] == 9  # and the output layer, which llama.cpp sends first
    assert any("--ram" in note for note in document["estimates"][0]["assumptions"])
    everything = estimates(run, *split[1:], "99")
    assert everything["estimates"][0]["memory"]["gpu_layers"] == 32
    assert everything["estimates"][0]["memory"]["host_bytes"] < document["estimates"][0]["memory"]["host_bytes"]
    whole = estimates(run, LLAMA, "-d", "a100", "-e", "vllm", "-p", "bf16", "--gpu-layers", "10", "--ram", "64GiB")
    assert whole["estimates"][0]["memory"]["gpu_layers"] == 32
    assert any("--gpu-layers is not used" in note for note in whole["estimates"][0]["assumptions"])


def test_a_context_beyond_the_model_s_own_is_said(run: Run) -> None:
    """A cache longer than the model was made for is counted, and a note names the model's own length."""
    (found,) = estimates(run, LLAMA, "-d", "a100", "-p", "bf16", "--context", "100k")["estimates"]
    assert any("8,192" in note for note in found["assumptions"])
    (within,) = estimates(run, LLAMA, "-d", "a100", "-p", "bf16", "--context", "8192")["estimates"]
    assert not any("made for" in note for note in within["assumptions"])


def test_help_is_a_table_of_contents(run: Run) -> None:
    """The top help lists every command."""
    result = run("--help")
    assert all(name in result.out for name in COMMANDS)


def test_python_answers_as_the_command(run: Run) -> None:
    """The library's records hold what the JSON holds."""
    document = estimates(run, "Qwen/Qwen3-8B", "-d", "rtx-4090", "-p", "q4_k_m")
    answer = sizer.estimate("Qwen/Qwen3-8B", device="rtx-4090", precision="q4_k_m", offline=True)
    assert answer.model.total_params == document["model"]["total_params"]
    assert answer.estimates[0].memory.weights_bytes == document["estimates"][0]["memory"]["weights_bytes"]
    assert answer.estimates[0].decode.tokens_per_s == document["estimates"][0]["decode"]["tokens_per_s"]


def test_the_function_outlives_its_packages_imports() -> None:
    """`sizer.estimate` stays the function though a package has the same name."""
    import sizer.speed.predict

    assert callable(sizer.estimate)


def test_plot_is_drawn(run: Run, tmp_path: Path) -> None:
    """--plot writes a picture; an ending that cannot be drawn is an error."""
    picture = tmp_path / "out.png"
    args = ("estimate", "Qwen/Qwen3-8B", "-d", "rtx-4090", "-p", "q8_0", "-p", "q4_k_m", "--offline", "--plot")
    assert run(*args, str(picture)).code == 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert run(*args, str(tmp_path / "out.doc")).code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_accepts_offline(run: Run, name: str) -> None:
    """--offline stands in the help of every command."""
    assert "--offline" in run(name, "--help").out


def test_the_hub_s_time_can_be_set(run: Run) -> None:
    """--timeout takes seconds, and nothing else."""
    assert run("estimate", LLAMA, "-d", "a100", "--offline", "--timeout", "5").code == 0
    refused = run("estimate", LLAMA, "-d", "a100", "--timeout", "soon")
    assert refused.code == 2
    assert "soon" in refused.err


def test_must_fit_exits_with_4(run: Run) -> None:
    """The table is printed all the same, and the exit code says that nothing fits."""
    refused = run("estimate", "meta-llama/Llama-3.1-70B", "-d", "rtx-3060", "--must-fit", "--offline")
    assert refused.code == 4
    assert "Llama-3.1-70B" in refused.out
    assert run("estimate", LLAMA, "-d", "rtx-4090", "--must-fit", "--offline").code == 0


def test_at_most_five_notes_stand_below_a_table(run: Run) -> None:
    """The rest is counted, and --explain has all of them."""
    args = ("estimate", "8x7B", "--bandwidth", "936GB/s", "--memory", "24GiB")
    lines = run(*args).out.splitlines()
    notes = [line for line in lines if line.startswith("- ")]
    assert len(notes) <= 6
    assert "--explain" in notes[-1]


@pytest.mark.parametrize(
    ("device", "engine", "said"),
    [
        ("rtx-4060", "llama.cpp", "--ram or --host"),
        ("rtx-4060", "vllm", "vllm is taken to keep all of it on the devices"),
        ("m2", "llama.cpp", "the system's memory is all that there is"),
    ],
)
def test_a_host_is_offered_where_it_helps(run: Run, device: str, engine: str, said: str) -> None:
    """What does not fit is told of --ram by engines that split layers, on devices with a host beside them, alone."""
    text = run("estimate", "Qwen/Qwen3-32B", "-d", device, "-e", engine, "-p", "bf16", "--offline").out
    assert said in text
    assert ("--ram" in text) == (said == "--ram or --host")


def test_the_memory_that_can_be_used_stands_beside_the_label(run: Run) -> None:
    """A T4 is sold with 16 GiB, of which 14.67 hold a model: the line says both; a size as given is told once."""
    text = run("estimate", "Qwen/Qwen3-8B", "-d", "t4", "-p", "q4_k_m", "--offline").out
    assert "16.00 GiB (14.67 usable)" in text
    text = run("estimate", "Qwen/Qwen3-8B", "--memory", "16GiB", "--bandwidth", "320GB/s", "--offline").out
    assert "16.00 GiB, 320 GB/s" in text


def test_a_cache_of_some_hundred_tokens_has_no_line_of_its_own(run: Run) -> None:
    """Speeds with an empty and a full cache are told where the context is long enough for them to matter."""
    args = ("estimate", "Qwen/Qwen3-14B", "-d", "rtx-3060", "-p", "nf4", "--offline")
    assert " -> " not in run(*args).out
    assert "-> " in run(*args, "--context", "8192").out


def test_a_checkpoint_that_is_quantized_is_downloaded_as_it_is(run: Run) -> None:
    """The download of what is quantized again while it loads is the published FP8, not its 16-bit size."""
    model = "meta-llama/Meta-Llama-3.1-405B-Instruct-FP8"
    text = run("estimate", model, "-d", "8xh100", "-e", "vllm", "-p", "nf4", "--offline").out
    assert "download is the checkpoint's own: 487," in text


def test_an_encoder_holds_no_number_of_sequences(run: Run) -> None:
    """What keeps nothing of a text has no sequences to count: null, and no sentinel."""
    found = json.loads(run("estimate", "BAAI/bge-m3", "-d", "rtx-4090", "-p", "fp16", "--offline", "--json").out)
    assert found["estimates"][0]["memory"]["max_sequences"] is None


@pytest.mark.parametrize(
    ("device", "engine", "precision"), [("m4-pro", "mlx", "mlx-4bit"), ("rtx-4090", "exllamav3", "exl3")]
)
def test_an_engine_with_formats_of_its_own_shows_them(run: Run, device: str, engine: str, precision: str) -> None:
    """Where an engine runs none of the usual quantizations, the table has those that its users choose from."""
    rows = estimates(run, "Qwen/Qwen3-8B", "-d", device, "-e", engine)["estimates"]
    names = [row["precision"] for row in rows]
    assert names[0] == "bf16"
    assert any(name.startswith(precision) for name in names)


def test_a_projector_in_a_file_of_its_own_is_not_said_to_be_loaded(run: Run) -> None:
    """A GGUF leaves the vision tower out and says so; transformers loads it and says that."""
    args = ("estimate", "google/gemma-3-12b-it", "-d", "rtx-4090", "--offline")
    gguf = run(*args, "-p", "q4_k_m").out
    assert "a file of its own" in gguf
    assert "towers are loaded" not in gguf
    assert "towers are loaded" in run(*args, "-p", "nf4").out


def test_words_of_one_model_want_quotes(run: Run) -> None:
    """Words that are a model together and none alone: one line says to quote them, with the exit code of names."""
    told = run("estimate", "llama", "3.1", "8b", "--offline")
    assert (told.code, told.out) == (3, "")
    assert "Quote" in told.err
    assert "'llama 3.1 8b'" in told.err
    sized = run("estimate", "qwen3", "8b", "--offline")
    assert (sized.code, sized.out) == (3, "")
    assert "'qwen3 8b'" in sized.err
    assert run("estimate", "Qwen/Qwen3-8B", "8B", "-d", "rtx-4090", "-p", "q4_k_m", "--offline").code == 0
    assert "Quote" not in run("estimate", "no-such", "model", "--offline").err
    assert "Quote" in run("recommend", "llama", "3.1", "8b", "--offline").err


@pytest.mark.parametrize(
    ("command", "typed", "meant"),
    [("hardware", "--tps", "--min-speed"), ("estimate", "--gpu", "--device"), ("recommend", "--quant", "--precision")],
)
def test_other_tools_words_for_an_option_name_ours(run: Run, command: str, typed: str, meant: str) -> None:
    """An option as others call it is answered with its name here, and only where the command has it."""
    told = run(command, "Qwen/Qwen3-8B", typed, "1")
    has = meant in run(command, "--help").out
    assert told.code == 2
    assert (f"'{meant}'" in told.err) is has


def test_a_table_that_nobody_asked_more_of_has_engines_that_people_run(run: Run) -> None:
    """FP8, which a demonstration alone runs on a Mac, is not offered there unasked; asked for, it is estimated."""
    usual = estimates(run, "Qwen/Qwen3-8B", "-d", "m3-max")["estimates"]
    assert "fp8" not in {row["precision"] for row in usual}
    assert {"bf16", "q4_k_m"} <= {row["precision"] for row in usual}
    assert not [row["engine"] for row in usual if engines()[row["engine"]].no_ladder]
    assert estimates(run, "Qwen/Qwen3-8B", "-d", "m3-max", "-p", "fp8")["estimates"][0]["precision"] == "fp8"
    assert "fp8" in {row["precision"] for row in estimates(run, "Qwen/Qwen3-8B", "-d", "h100")["estimates"]}


@pytest.mark.parametrize(
    ("model", "device", "start"),
    [
        ("Qwen/Qwen3-8B-GGUF", "rtx-4090", ("q", "iq")),
        ("turboderp/Qwen3-32B-exl3", "rtx-4090", ("exl3-",)),
        ("mlx-community/Qwen3-8B-mlx", "m3-max", ("mlx-",)),
    ],
)
def test_a_copy_that_tells_no_bits_shows_its_format(run: Run, model: str, device: str, start: tuple[str, ...]) -> None:
    """A repository whose name tells a format alone holds no bf16: its table has what that format has."""
    told = json.loads(run("estimate", model, "-d", device, "--offline", "--json").out)
    precisions = [item["precision"] for item in told["estimates"]]
    assert len(precisions) > 3
    assert all(name.startswith(start) for name in precisions)


def test_kinds_of_plot_without_a_plot_are_refused(run: Run) -> None:
    """`--plot-kind` alone would draw nothing: one line says what to add."""
    told = run("estimate", "8B", "-d", "a100", "-p", "q4_k_m", "--plot-kind", "memory", "--offline")
    assert (told.code, told.out) == (2, "")
    assert "Add --plot FILE" in told.err


@pytest.mark.parametrize("words", [["recommend", "Qwen/Qwen3-8B"], ["hardware", "Qwen/Qwen3-8B"], ["fit"]])
def test_help_tells_the_context_that_advice_is_given_for(run: Run, words: list[str]) -> None:
    """What is not asked for is 8,192 tokens, as the help of each command that advises says."""
    assert "8192, more where prompt" in run(words[0], "--help").out
    table = run(*words, "--device", "rtx-4090", "--offline").out
    assert "context 8,192" in table or "-c 8192" in table


def test_copies_of_a_mixture_are_not_an_engine_s_data_ranks(run: Run) -> None:
    """Whole copies are told as such where the engine's own flag shares the experts out; a dense model has none."""
    told = ("-d", "4xh100", "-e", "vllm", "-p", "fp8", "--parallel", "data", "--offline")
    assert "share a mixture's experts" in " ".join(run("estimate", "Qwen/Qwen3-30B-A3B", *told).out.split())
    assert "share a mixture's experts" not in " ".join(run("estimate", "Qwen/Qwen3-8B", *told).out.split())
