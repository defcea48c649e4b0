"""The commands: recommend, fit and hardware to their output, JSON and exit codes."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex

import pytest
from clirun import Run

import sizer
from sizer.errors import UsageError

QWEN = "Qwen/Qwen3-8B"


def test_recommend_json_has_the_choice_and_what_it_gives_up(run: Run) -> None:
    """The document names the choice, its reason, its neighbours, every estimate and the command."""
    result = run("recommend", QWEN, "-d", "rtx-3060", "--offline", "--json")
    assert result.code == 0
    document = json.loads(result.out)
    chosen = document["recommendation"]["precision"]
    assert document["estimate"]["precision"] == chosen
    assert document["estimate"]["memory"]["fits"] is True
    assert document["estimate"]["memory"]["total_bytes"] <= document["estimate"]["memory"]["available_bytes"]
    assert chosen in document["recommendation"]["reason"]
    assert document["better"]["memory"]["weights_bytes"] > document["estimate"]["memory"]["weights_bytes"]
    assert document["cheaper"]["memory"]["total_bytes"] < document["estimate"]["memory"]["total_bytes"]
    assert {item["precision"] for item in document["estimates"]} > {chosen}
    assert shlex.split(document["command"])[0] == "llama-server"


def test_what_does_not_run_has_a_record_too(run: Run) -> None:
    """A script that reads JSON gets why nothing was chosen, what was tried and the ways out, beside exit code 4."""
    one = run("recommend", "Qwen/Qwen3-235B-A22B", "-d", "rtx-3060", "--offline", "--json")
    document = json.loads(one.out)
    assert one.code == 4
    assert document["recommendation"]["precision"] is document["estimate"] is document["command"] is None
    assert document["recommendation"]["reason"] in one.err
    assert {way["kind"] for way in document["alternatives"]} == {"smaller model"}
    assert not any(item["memory"]["fits"] for item in document["estimates"])
    both = run("recommend", "Qwen/Qwen3-235B-A22B", "-d", "rtx-3060", "-d", "rtx-3070", "--offline", "--json")
    assert [item["recommendation"]["precision"] for item in json.loads(both.out)] == [None, None]
    for style in (("--emit",), ("--format", "csv"), ()):
        silent = run("recommend", "Qwen/Qwen3-235B-A22B", "-d", "rtx-3060", "--offline", *style)
        assert (silent.code, silent.out) == (4, "")


def test_each_device_asked_for_has_its_answer(run: Run) -> None:
    """Several --device of recommend are answered side by side, as estimate and check do; where there is room for one
    answer alone (a command, a list of models, a record of Python) several are refused, not cut to the first."""
    both = ("-d", "rtx-3060", "-d", "rtx-4090")
    answers = json.loads(run("recommend", QWEN, *both, "--offline", "--json").out)
    assert [answer["estimate"]["device"]["key"] for answer in answers] == ["rtx-3060-12gb", "rtx-4090"]
    page = run("recommend", QWEN, *both, "--offline").out
    assert page.count("Run ") == 2
    rows = list(csv.DictReader(io.StringIO(run("recommend", QWEN, *both, "--offline", "--format", "csv").out)))
    assert {row["device.key"] for row in rows} == {"rtx-3060-12gb", "rtx-4090"}
    one = run("recommend", "Qwen/Qwen3-32B", "-d", "gtx-1060-6gb", "-d", "a100", "--offline", "--json")
    assert (one.code, json.loads(one.out)["estimate"]["device"]["key"]) == (4, "a100-80gb-sxm")
    assert "gtx-1060-6gb: " in one.err
    for args in (("recommend", QWEN, *both, "--emit"), ("fit", *both)):
        refused = run(*args, "--offline")
        assert refused.code == 2
        assert "'rtx-3060 + rtx-4090'" in refused.err
    for ask in (
        lambda: sizer.recommend(QWEN, device=["rtx-3060", "rtx-4090"]),
        lambda: sizer.fit(device=["a10", "l4"]),
    ):
        with pytest.raises(UsageError, match="one device"):
            ask()


@pytest.mark.parametrize(
    ("args", "available_gib"),
    [(("--vram", "24GiB"), 24.0), (("--ram", "64GiB"), 64.0), (("--vram", "12GB"), 12.0)],
)
def test_memory_alone_describes_a_machine(run: Run, args: tuple[str, ...], available_gib: float) -> None:
    """--vram is a GPU with that memory, --ram alone a computer without one."""
    document = json.loads(run("recommend", QWEN, *args, "--offline", "--json").out)
    assert document["estimate"]["memory"]["available_bytes"] == int(available_gib * 2**30)
    assert document["estimate"]["memory"]["fits"]


def test_vram_overrides_a_named_device(run: Run) -> None:
    """--vram says what a named card has left; it is never ignored."""
    document = json.loads(run("recommend", QWEN, "-d", "a100", "--vram", "12GiB", "--offline", "--json").out)
    assert document["estimate"]["device"]["memory_bytes"] == 12 * 2**30


def test_vram_and_ram_together_split(run: Run) -> None:
    """A model too large for the card uses the memory beside it, and says how fast or why not."""
    document = json.loads(
        run("recommend", "meta-llama/Llama-3.1-70B", "-d", "rtx-4090", "--ram", "64GiB", "--offline", "--json").out
    )
    kinds = [way["kind"] for way in document["alternatives"]]
    assert "split" in kinds
    assert "smaller model" in kinds
    assert document["estimate"] == document["alternatives"][0]["estimate"]


def test_emit_prints_the_recipe_alone(run: Run) -> None:
    """What --emit writes can be piped: it is the command of the JSON and nothing else."""
    args = ("recommend", QWEN, "-d", "rtx-4090", "--offline")
    emitted = run(*args, "--emit").out
    assert emitted.rstrip("\n") == json.loads(run(*args, "--json").out)["command"].rstrip("\n")
    assert all(line.startswith("llama-") for line in emitted.splitlines())


def test_a_preferred_engine_emits_its_own_recipe(run: Run) -> None:
    """MLX for Apple, transformers' code for transformers."""
    mlx = run("recommend", QWEN, "-d", "m2-ultra", "-e", "mlx-lm", "--offline", "--emit").out
    assert "mlx_lm.generate" in mlx
    code = run("recommend", QWEN, "-d", "rtx-4090", "-e", "transformers", "--offline", "--emit").out
    compile(code, "recipe", "exec")


def test_drafts_are_told_apart(run: Run) -> None:
    """--draft auto finds one of the family with its arithmetic; one with another vocabulary is refused."""
    args = ("recommend", "Qwen/Qwen3-32B", "-d", "rtx-6000-ada", "--offline")
    document = json.loads(run(*args, "--draft", "auto", "--acceptance", "0.8", "--json").out)
    draft = document["draft"]
    assert draft["model"].startswith("Qwen/Qwen3-")
    assert draft["acceptance"] == 0.8
    cost = draft["verify_cost"] + draft["draft_tokens"] * draft["draft_cost"] + draft["round_cost"]
    assert draft["speedup"] == pytest.approx(draft["tokens_per_step"] / cost)
    refused = run("recommend", "Qwen/Qwen3-32B", "-d", "a100", "--draft", "openai-community/gpt2", "--offline")
    assert refused.code == 2
    assert "50,257" in refused.err


def test_a_smaller_model_is_a_hint_not_an_answer(run: Run) -> None:
    """Where only another model runs, the command fails with the one that would."""
    result = run("recommend", "deepseek-ai/DeepSeek-V3", "-d", "rtx-4060", "--offline")
    assert result.code == 4
    assert "Run deepseek-ai/" in result.err


def test_a_model_that_sees_is_told_how_to(run: Run) -> None:
    """The command for text leaves the projector out, and says what brings it back; a model without one has no such
    note."""
    told = run("recommend", "Qwen/Qwen2.5-VL-7B-Instruct", "-d", "rtx-3060", "--offline").out
    assert "--no-mmproj" in told
    assert "without --no-mmproj it reads images too" in told
    assert "images" not in run("recommend", "Qwen/Qwen3-8B", "-d", "rtx-3060", "--offline").out


def test_what_is_as_published_loses_nothing(run: Run) -> None:
    """Sixteen bits of a checkpoint of sixteen lose nothing, which no words compare with a little."""
    told = " ".join(run("recommend", "meta-llama/Llama-3.1-405B", "-d", "8xa100", "--offline").out.split())
    assert "bf16 loses nothing (gptq-int8: none to notice, KL about" in told
    assert "nothing lost against" not in told


def test_the_table_marks_the_choice(run: Run) -> None:
    """One row is marked, the one that the sentence names, and the command follows."""
    out = run("recommend", QWEN, "-d", "rtx-3060", "--offline").out
    marked = [line.split()[1] for line in out.splitlines() if line.startswith("*")]
    assert len(marked) == 1
    assert f"Run {marked[0]} with llama.cpp." in out
    assert "llama-server" in out.splitlines()[-2]


@pytest.mark.parametrize("style", ["json", "csv"])
def test_fit_for_scripts(run: Run, style: str) -> None:
    """Raw figures, one row a model, all within the memory, each with its kind and the command that runs it."""
    out = run("fit", "-d", "rtx-3060", "--family", "qwen3", "--format", style).out
    rows = json.loads(out) if style == "json" else list(csv.DictReader(io.StringIO(out)))
    assert rows
    assert all(11 * 2**30 < int(row["available_bytes"]) <= 12 * 2**30 for row in rows)
    assert all(row["kind"] in {"instruct", "reasoning"} and row["command"].split() for row in rows)
    assert all(row["released"][:2] == "20" for row in rows)


def test_fit_lists_what_runs_split_with_the_host(run: Run) -> None:
    """With --ram a mixture too large for the card is listed with its layers, at reading speed; --whole drops it."""
    args = ("fit", "-d", "rtx-4060", "--family", "qwen3 30b", "--json")
    assert run(*args).code == 4
    rows = json.loads(run(*args, "--ram", "32GiB").out)
    assert rows
    for row in rows:
        assert row["fits"] is False
        assert row["host_bytes"] > 0
        assert row["decode_tokens_per_s"] >= 5.3
    assert run(*args, "--ram", "32GiB", "--whole").code == 4
    assert run(*args, "--ram", "32GiB", "--min-speed", "1000").code == 4
    lines = run("fit", "-d", "rtx-4060", "--family", "qwen3 30b", "--ram", "32GiB").out.splitlines()
    assert re.search(r" \d+/48 ", lines[2])
    assert max(map(len, lines)) <= 100


def test_fit_keeps_only_the_licences_asked_for(run: Run) -> None:
    """Every row has a licence that begins as asked; what is not known is left out and said; a typo is told."""
    args = ("fit", "-d", "rtx-4060", "--license")
    rows = json.loads(run(*args, "apache,mit", "--json").out)
    assert {row["license"].split("-")[0] for row in rows} == {"apache", "mit"}
    everything = json.loads(run(*args[:-1], "--json").out)
    assert len(rows) < len(everything)
    assert any(row["license"] is None for row in everything)
    assert "not known are left out" in run(*args, "mit").out
    typo = run(*args, "apach-2.0")
    assert typo.code == 2
    assert "apache-2.0" in typo.err


@pytest.mark.parametrize("order", ["memory", "price", "speed"])
def test_hardware_sorts_as_asked(run: Run, order: str) -> None:
    """Least memory, lowest rent (unpriced last) or most tokens/s first."""
    rows = json.loads(run("hardware", QWEN, "--device", "rtx", "--sort", order, "--offline", "--json").out)
    keys = {
        "memory": [row["memory_bytes"] for row in rows],
        "price": [float("inf") if row["usd_per_hour"] is None else row["usd_per_hour"] for row in rows],
        "speed": [-row["decode_tokens_per_s"] for row in rows],
    }
    assert keys[order] == sorted(keys[order])


def test_engines_are_offered_only_where_they_run(run: Run) -> None:
    """No llama.cpp on a TPU, nothing on a chip that no engine is listed for, vLLM on no Apple chip."""
    rows = json.loads(run("hardware", QWEN, "--device", "tpu", "--offline", "--json").out)
    assert {row["engine"] for row in rows} == {"vllm"}
    assert json.loads(run("hardware", QWEN, "-e", "vllm", "--device", "rtx", "--offline", "--json").out)
    unlisted = run("recommend", QWEN, "-d", "trainium2", "--offline")
    assert unlisted.code == 2
    assert "Trainium2" in unlisted.err
    apple = run("recommend", QWEN, "-d", "m2-ultra", "-e", "vllm", "--offline")
    assert apple.code == 2
    assert "mlx-lm" in apple.err
    assert "sglang" not in apple.err


def test_fit_lists_embedders_with_everything(run: Run) -> None:
    """--all keeps its word: embedders are listed with the texts a second that they read, and called so in the table;
    without it none is."""
    asked = ("fit", "-d", "rtx-4060", "--family", "bge", "--all")
    rows = json.loads(run(*asked, "--json").out)
    assert "BAAI/bge-m3" in {row["model"] for row in rows}
    assert all(row["texts_per_s"] and row["decode_tokens_per_s"] is None for row in rows)
    assert {row["kind"] for row in rows} == {"embedding"}
    assert " texts/s" in run(*asked).out
    none = run("fit", "-d", "rtx-4060", "--family", "bge")
    assert none.code == 4
    assert "--all lists" in none.err


def test_fit_says_what_it_leaves_out(run: Run) -> None:
    """The table names the floor of quality and whose ratings it shows; no line is wider than a terminal."""
    out = run("fit", "-d", "rtx-3060", "--family", "qwen3", "--limit", "5").out
    assert "--max-loss" in out
    assert "LMArena" in out
    assert max(map(len, out.splitlines())) <= 100


def test_hardware_for_people_and_scripts(run: Run) -> None:
    """The table fits a terminal; the JSON has memory, speed and price, and each row reaches the speed."""
    args = ("hardware", "meta-llama/Llama-3.1-70B", "--min-speed", "10", "--device", "rtx", "--offline")
    assert max(map(len, run(*args).out.splitlines()[3:])) <= 100
    rows = json.loads(run(*args, "--json").out)
    assert rows
    assert all(row["decode_tokens_per_s"] >= 10 for row in rows)
    assert {"device", "count", "instance", "link", "memory_bytes", "price_usd_launch", "precision"} <= set(rows[0])


@pytest.mark.parametrize(
    ("args", "code", "words"),
    [
        (("recommend", "deepseek-ai/DeepSeek-V3", "-d", "rtx-4060", "--offline"), 4, "does not run"),
        (("recommend", QWEN, "-d", "rtx-4090", "--min-speed", "100000", "--offline"), 4, "100000"),
        (("fit", "-d", "rtx-4090", "--family", "qwen3", "--min-speed", "100000"), 4, "RTX 4090"),
        (("hardware", QWEN, "--device", "rtx-30", "--min-speed", "1e9", "--offline"), 4, QWEN),
        (("recommend", QWEN, "-d", "rtx-9999", "--offline"), 2, "rtx-9999"),
        (("recommend", QWEN, "-d", "rtx-4090", "-e", "lama.cpp", "--offline"), 2, "lama.cpp"),
        (("recommend", QWEN, "-d", "rtx-4090", "-e", "mlx-lm", "--offline"), 2, "mlx-lm"),
        (("recommend", QWEN, "--vram", "lots", "--offline"), 2, "lots"),
        (("recommend", QWEN, "--vram", "12", "--offline"), 2, "12GiB"),
        (("recommend", QWEN, "--vram", "12GiB", "--memory", "8GiB", "--offline"), 2, "--memory"),
        (("recommend", QWEN, "-d", "rtx-4090", "--max-loss", "nan", "--offline"), 2, "nan"),
        (("fit", "-d", "rtx-4090", "--family", "zzzz"), 3, "zzzz"),
        (("fit", "-d", "rtx-4090", "--prefer", "beauty"), 2, "beauty"),
        (("hardware", QWEN, "-p", "q4_k_n", "--offline"), 2, "q4_k_n"),
        (("recommend", "nobody/nothing-at-all", "-d", "rtx-4090", "--offline"), 3, "nothing-at-all"),
    ],
)
def test_errors_quote_the_text_and_exit_with_their_code(run: Run, args: tuple[str, ...], code: int, words: str) -> None:
    """What does not fit exits with 4, bad input with 2, an unknown model with 3; nothing is written to stdout."""
    result = run(*args)
    assert result.code == code, result.err
    assert words in result.err
    assert result.out == ""


@pytest.mark.parametrize("args", [("fit", "-d", "rtx-4060", "--ram", "32GiB"), ("fit", "-d", "b200"), ("devices",)])
def test_lists_fit_a_terminal_and_cut_no_figure(run: Run, args: tuple[str, ...]) -> None:
    """Names give way where a table would be wider than 100 columns; figures are whole."""
    lines = run(*args).out.splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(".." in cell and cell.strip(".")[:1].isdigit() for line in lines for cell in line.split("  "))


@pytest.mark.parametrize("command", ["estimate", "recommend", "check"])
def test_every_command_with_a_device_takes_vram(run: Run, command: str) -> None:
    """--vram is the memory of a named card wherever a device is asked for; beside --memory it is refused."""
    rest = ["--", "llama-server", "-hf", "unsloth/Qwen3-8B-GGUF:Q4_K_M"] if command == "check" else [QWEN]
    asked = run(command, "-d", "rtx-4090", "--vram", "12GiB", "--json", *rest)
    assert asked.code in {0, 4}
    plain = run(command, "-d", "rtx-4090", "--memory", "12GiB", "--json", *rest)
    assert asked.out == plain.out
    both = run(command, "-d", "rtx-4090", "--vram", "12GiB", "--memory", "8GiB", *rest)
    assert both.code == 2
    assert "--memory" in both.err


ANSWERING = (
    "estimate recommend fit hardware check capacity measured devices models precisions installed bench probe sweep"
)


@pytest.mark.parametrize("command", [*ANSWERING.split(), "validate"])
def test_commands_answer_in_json_and_offline(run: Run, command: str) -> None:
    """Each command that answers takes --json and --offline; those that take a device take --ram and --vram too."""
    told = run(command, "--help").out
    assert "--json" in told
    assert "--offline" in told
    if "--bandwidth" in told:
        assert "--ram " in told
        assert "--vram " in told


def test_a_bare_size_has_no_command(run: Run) -> None:
    """Nothing can be downloaded by a size alone; a repository's name is a command even where no table has it."""
    assert json.loads(run("recommend", "70B", "--vram", "48GiB", "--json").out)["command"] is None
    told = run("recommend", "70B", "--vram", "48GiB", "--emit")
    assert told.code == 2
    assert "hf download" not in run("recommend", "70B", "--vram", "48GiB").out
    assert "hf download org/Unheard-9B" in run("recommend", "org/Unheard-9B", "-d", "rtx-3090", "--offline").out


def test_fit_says_what_it_took_for_granted(run: Run) -> None:
    """Why no speed is told, and which of several memory sizes was taken, as `estimate` does."""
    assert "No speeds: the bandwidth of a GPU of 6 GiB is not known" in run("fit", "--vram", "6GiB").out
    assert "the largest is assumed" in run("fit", "-d", "m3-max", "--limit", "2").out


def test_a_format_that_the_engine_does_not_load_is_said(run: Run) -> None:
    """An answer for a combination that nobody can run says so."""
    told = run("estimate", "Qwen/Qwen3-8B", "-d", "rtx-3090", "-e", "llama.cpp", "-p", "awq-int4").out
    assert "llama.cpp is not known to load awq-int4" in told
    assert "not known to load" not in run("estimate", "Qwen/Qwen3-8B", "-d", "rtx-3090").out


def test_the_longest_context_is_the_model_s_own(run: Run) -> None:
    """--context max reserves what the model was made for in each command that advises, not prompt and output alone."""
    for command in ("recommend", "hardware"):
        assert "context 40,960, batch 1" in run(command, QWEN, "--context", "max", *RTX.get(command, ())).out
    models = json.loads(run("fit", "-d", "h200", "--context", "max", "--family", "qwen3-8b", "--json").out)
    assert models
    assert all(" -c 640" not in (row["command"] or "") for row in models)
    speeds = [
        json.loads(run("hardware", QWEN, "--device", "h100-80gb-sxm", *rest, "--json").out)[0]["decode_tokens_per_s"]
        for rest in ((), ("--context", "max"))
    ]
    assert speeds[1] < speeds[0]


RTX = {"recommend": ("-d", "rtx-3090", "--offline")}


def test_rows_of_another_cache_are_told(run: Run) -> None:
    """Where the choice needs a smaller cache than was asked for, the table says which rows have which."""
    told = run("recommend", QWEN, "-d", "gtx-1660-super", "--offline").out
    assert "q4_0 cache (" in told or "q8_0 cache (" in told
    assert "the other rows with what was asked for: a fp16 cache, a context of 8,192." in told
    assert "the other rows" not in run("recommend", QWEN, "-d", "rtx-4090", "--offline").out


@pytest.mark.parametrize("command", [("recommend", QWEN), ("fit",)])
@pytest.mark.parametrize(("device", "says"), [(("-d", "epyc-9654"), "--ram"), (("--bandwidth", "400GB/s"), "--memory")])
def test_an_unknown_memory_is_asked_for(run: Run, command: tuple[str, ...], device: tuple[str, ...], says: str) -> None:
    """Where nobody told how much memory there is, nothing is said to run or not to run: the option is named."""
    result = run(*command, *device, "--offline")
    assert (result.code, result.out) == (2, "")
    assert "is not known" in result.err
    assert f"{says} 64GiB" in result.err


def test_a_verdict_on_an_unknown_memory_is_conditional(run: Run) -> None:
    """`check` says what a command takes of a memory that nobody told, `capacity` that it is taken to suffice."""
    result = run(
        "check", "-d", "epyc-9654", "--offline", "--", "llama-server", "-hf", f"{QWEN}-GGUF:Q4_K_M", "-c", "4096"
    )
    assert result.code == 0
    assert "GiB, if AMD EPYC 9654 has them: --ram says what it has." in result.out
    assert "taken to suffice" in run("capacity", QWEN, "-d", "epyc-9654", "--offline").out
