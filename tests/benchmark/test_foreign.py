"""Other tools' files as measured rows: each format as its tool documents it, with figures made up here."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from clirun import Run

from sizer.benchmark.foreign.files import Told, rows_of
from sizer.benchmark.foreign.found import Values
from sizer.benchmark.foreign.llama_cpp import backend_of, engine_flags, type_precision
from sizer.benchmark.save import COLUMNS, OPTIONAL, append_all
from sizer.errors import InvalidInputFile, UsageError

BENCH: dict[str, Any] = {
    "build_commit": "abc1234", "build_number": 6210, "cpu_info": "AMD Ryzen 9 7950X 16-Core Processor",
    "gpu_info": "NVIDIA GeForce RTX 4090", "backends": "CUDA", "model_filename": "models/Qwen3-8B-Q4_K_M.gguf",
    "model_type": "qwen3 8B Q4_K - Medium", "model_size": 5027783488, "model_n_params": 8190735360, "n_batch": 2048,
    "n_ubatch": 512, "n_threads": 16, "type_k": "f16", "type_v": "f16", "n_gpu_layers": 99, "n_cpu_moe": 0,
    "split_mode": "layer", "n_prompt": 0, "n_gen": 128, "n_depth": 0, "test_time": "2026-10-03T10:11:12Z",
    "avg_ts": 120.0, "stddev_ts": 0.5, "samples_ts": [119.5, 120.0, 120.5],
}  # fmt: skip

TABLE = """ggml_cuda_init: found 2 CUDA devices:
  Device 0: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes
  Device 1: NVIDIA GeForce RTX 3090, compute capability 8.6, VMM: yes
| model                          |       size |     params | backend    | ngl |            test |                  t/s |
| ------------------------------ | ---------: | ---------: | ---------- | --: | --------------: | -------------------: |
| llama 8B Q4_K - Medium         |   4.58 GiB |     8.03 B | CUDA       |  99 |           pp512 |      3000.50 ± 12.31 |
| llama 8B Q4_K - Medium         |   4.58 GiB |     8.03 B | CUDA       |  99 |   tg128 @ d4096 |         91.25 ± 0.11 |

build: 0badf00d (5555)
"""

BATCHED = """main: n_kv_max = 8192, n_batch = 2048

|    PP |     TG |    B |   N_KV |   T_PP s | S_PP t/s |   T_TG s | S_TG t/s |      T s |    S t/s |
|-------|--------|------|--------|----------|----------|----------|----------|----------|----------|
|   128 |    128 |    4 |   1024 |    0.400 |  1280.00 |    6.400 |    80.00 |    6.800 |   150.59 |
|   128 |    128 |    4 |    640 |    0.100 |  1280.00 |    6.400 |    80.00 |    6.500 |    98.46 |
"""

VLLM: dict[str, Any] = {
    "date": "20261003-101112", "endpoint_type": "vllm", "model_id": "Qwen/Qwen3-8B", "num_prompts": 64,
    "request_rate": "inf", "max_concurrency": 16, "duration": 60.0, "completed": 64, "total_input_tokens": 65536,
    "total_output_tokens": 16384, "request_throughput": 1.07, "output_throughput": 273.0, "median_ttft_ms": 400.0,
    "median_tpot_ms": 20.0,
}  # fmt: skip

SGLANG: dict[str, Any] = {
    "backend": "sglang", "dataset_name": "random", "request_rate": 4.0, "max_concurrency": None, "duration": 100.0,
    "completed": 400, "total_input_tokens": 409600, "total_output_tokens": 102400, "output_throughput": 1024.0,
    "median_ttft_ms": 90.0, "median_tpot_ms": 10.0, "concurrency": 11.6, "accept_length": None,
}  # fmt: skip


def _spread(mean: float, median: float) -> dict[str, Any]:
    return {"successful": {"mean": mean, "median": median}, "total": {"mean": 7 * mean, "median": 7 * median}}


GUIDELLM: dict[str, Any] = {
    "args": {"model": "Qwen/Qwen3-8B"},
    "benchmarks": [
        {
            "config": {"strategy": {"type_": kind}},
            "metrics": {
                "inter_token_latency_ms": _spread(21.0, tpot),
                "time_to_first_token_ms": _spread(60.0, 50.0),
                "prompt_token_count": _spread(500.0, 500.0),
                "output_token_count": _spread(100.0, 100.0),
                "request_concurrency": _spread(users, users),
            },
        }
        for kind, tpot, users in (("synchronous", 10.0, 1.0), ("concurrent", 20.0, 7.9), ("concurrent", 0.0, 64.0))
    ],
}


def _rows(tmp_path: Path, content: Any, **told: str) -> list[dict[str, str]]:
    file = tmp_path / "result"
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    rows = rows_of(file, Told(**told))
    assert all(tuple(row) == COLUMNS for row in rows)
    assert len({row["id"] for row in rows}) == len(rows)
    return rows


def test_llama_bench_object(tmp_path: Path):
    """Model, file type, device, build and depth come from the file; an aggregate of one is its rate."""
    (row,) = _rows(tmp_path, [{**BENCH, "n_depth": 4096}])
    assert row["model"] == "Qwen3-8B"
    assert (row["precision"], row["engine"], row["engine_version"]) == ("q4_k_m", "llama.cpp", "b6210")
    assert (row["device"], row["device_count"], row["backend"]) == ("NVIDIA GeForce RTX 4090", "1", "cuda")
    assert (row["prompt_tokens"], row["context_tokens"], row["output_tokens"]) == ("", "4096", "128")
    assert (row["decode_tokens_per_s"], row["prefill_tokens_per_s"], row["flags"]) == ("120.0", "", "")
    assert row["source_date"] == "2026-10-03"
    assert float(row["model_file_gib"]) == pytest.approx(5027783488 / 2**30, abs=1e-4)


def test_llama_bench_lines_say_the_same_as_its_json(tmp_path: Path):
    """JSONL and CSV hold the same rows as the list."""
    tests = [BENCH, {**BENCH, "n_prompt": 512, "n_gen": 0, "avg_ts": 9000.0}]
    flat = [{name: value for name, value in test.items() if name != "samples_ts"} for test in tests]
    out = io.StringIO()
    writer = csv.DictWriter(out, flat[0])
    writer.writeheader()
    writer.writerows(flat)
    texts = (json.dumps(tests), "\n".join(map(json.dumps, tests)), out.getvalue())
    seen = [[{**row, "id": ""} for row in _rows(tmp_path, text)] for text in texts]
    assert seen[0] == seen[1] == seen[2]
    assert [row["prefill_tokens_per_s"] for row in seen[0]] == ["", "9000.0"]


def test_prompt_and_output_in_one_test_is_a_request(tmp_path: Path):
    """pp512+tg128 at 640 tokens/s in all takes one second, in which 128 tokens were generated."""
    (row,) = _rows(tmp_path, [{**BENCH, "n_prompt": 512, "n_gen": 128, "avg_ts": 640.0}])
    assert (row["metric"], row["decode_tokens_per_s"]) == ("request", "128.0")


@pytest.mark.parametrize(
    ("changed", "flags"),
    [
        ({"n_gpu_layers": 20}, "offload"),
        ({"n_gpu_layers": 37}, ""),
        ({"n_gpu_layers": -1}, ""),
        ({"n_cpu_moe": 4}, "offload"),
        ({"type_k": "q8_0", "type_v": "q8_0"}, "kv_q8_0"),
    ],
)
def test_what_is_not_the_device_alone_is_flagged(tmp_path: Path, changed: dict[str, Any], flags: str):
    """Layers or experts on the host keep a row from being scored; all of the model's layers do not."""
    (row,) = _rows(tmp_path, [{**BENCH, **changed}])
    assert row["flags"] == flags


def test_llama_bench_on_a_processor_names_it(tmp_path: Path):
    """Without a GPU backend the processor and its threads are the device."""
    (row,) = _rows(tmp_path, [{**BENCH, "backends": "CPU", "gpu_info": "", "n_gpu_layers": 99}])
    assert (row["device"], row["threads"], row["backend"]) == (BENCH["cpu_info"], "16", "cpu")


def test_llama_bench_table_with_what_stands_around_it(tmp_path: Path):
    """The Markdown table is read with the devices above and the build below it."""
    prompt, output = _rows(tmp_path, TABLE)
    assert (prompt["prefill_tokens_per_s"], prompt["prompt_tokens"], prompt["precision"]) == ("3000.5", "512", "q4_k_m")
    assert (output["decode_tokens_per_s"], output["context_tokens"]) == ("91.25", "4096")
    assert (output["device"], output["device_count"]) == ("NVIDIA GeForce RTX 3090", "2")
    assert (output["engine_version"], output["total_params_b"]) == ("b5555", "8.03")


def test_batched_bench(tmp_path: Path):
    """Rates are those of all sequences; a prompt that all share is none of each."""
    alone, shared = _rows(tmp_path, BATCHED, model="Qwen/Qwen3-8B", device="rtx-4090", precision="q8_0")
    assert (alone["batch"], alone["decode_tokens_per_s"], alone["prefill_tokens_per_s"]) == ("4", "80.0", "1280.0")
    assert (shared["decode_tokens_per_s"], shared["prefill_tokens_per_s"]) == ("80.0", "")
    line = {"n_kv_max": 2048, "is_pp_shared": 0, "n_gpu_layers": 99, "n_threads": 8, "pp": 128, "tg": 128, "pl": 4,
            "n_kv": 1024, "t_pp": 0.4, "speed_pp": 1280.0, "t_tg": 6.4, "speed_tg": 80.0}  # fmt: skip
    (told,) = _rows(tmp_path, json.dumps(line), model="Qwen/Qwen3-8B", device="rtx-4090", precision="q8_0")
    assert {**told, "id": ""} == {**alone, "id": ""}


def test_vllm_bench_serve(tmp_path: Path):
    """16 users, each with a token every 20 ms: 800 tokens/s. A first token that waited tells no prefill speed."""
    (row,) = _rows(tmp_path, VLLM, device="2xh100")
    assert (row["batch"], row["decode_tokens_per_s"], row["prefill_tokens_per_s"]) == ("16", "800.0", "")
    assert (row["prompt_tokens"], row["output_tokens"], row["precision"]) == ("1024", "256", "bf16")
    assert (row["engine"], row["device_count"], row["source_date"]) == ("vllm", "2", "2026-10-03")
    (alone,) = _rows(tmp_path, {**VLLM, "max_concurrency": 1}, device="h100")
    assert alone["prefill_tokens_per_s"] == "2560.0"


def test_a_load_of_unknown_size_is_not_scored(tmp_path: Path):
    """Where nothing tells how many ran at once, the throughput is kept, flagged, and the batch is empty."""
    (row,) = _rows(tmp_path, {**VLLM, "max_concurrency": None}, device="h100")
    assert (row["batch"], row["flags"], row["decode_tokens_per_s"]) == ("", "max_load", "273.0")


def test_sglang(tmp_path: Path):
    """The mean number of requests at once is the batch; drafts are flagged."""
    lines = json.dumps(SGLANG) + "\n" + json.dumps({**SGLANG, "accept_length": 2.7, "request_rate": float("inf")})
    plain, drafted = _rows(tmp_path, lines, model="Qwen/Qwen3-8B", device="h100")
    assert (plain["batch"], plain["decode_tokens_per_s"], plain["engine"]) == ("12", "1200.0", "sglang")
    assert (plain["flags"], drafted["flags"]) == ("", "speculative")


def test_guidellm(tmp_path: Path):
    """A row a rate, of the successful requests; a rate at which none succeeded has no row."""
    alone, eight = _rows(tmp_path, GUIDELLM, device="h100", engine="vllm", precision="bf16")
    assert (alone["batch"], alone["decode_tokens_per_s"], alone["prefill_tokens_per_s"]) == ("1", "100.0", "10000.0")
    assert (eight["batch"], eight["decode_tokens_per_s"], eight["prefill_tokens_per_s"]) == ("8", "400.0", "")


@pytest.mark.parametrize(
    ("content", "told", "named"),
    [
        (VLLM, {}, "device"),
        (SGLANG, {"device": "h100"}, "model"),
        (GUIDELLM, {"device": "h100"}, "engine"),
        (BATCHED, {"device": "h100", "model": "Qwen/Qwen3-8B"}, "precision"),
    ],
)
def test_what_nobody_tells_is_asked_for(tmp_path: Path, content: Any, told: dict[str, str], named: str):
    """A file that does not tell a row's case is refused with the option that does: nothing is filled in silently."""
    with pytest.raises(UsageError, match=f"--{named}"):
        _rows(tmp_path, content, **told)


@pytest.mark.parametrize(
    "content",
    [
        "", "hello", "{", "[1]", "[[]]", '{"a": 1}', "[" * 100_000, "| a | b |\n|---|---|\n| 1 | 2 |",
        [{**BENCH, "avg_ts": "nan"}], [{**BENCH, "avg_ts": 0}], [{**BENCH, "n_gen": 1e300}], [{**BENCH, "n_gen": -5}],
        [{**BENCH, "avg_ts": True}], {"benchmarks": []}, {"benchmarks": 3}, {**VLLM, "median_tpot_ms": {}},
        {**VLLM, "completed": []}, TABLE.replace("3000.50", "3.0.0"), TABLE.replace("pp512", "xx"),
    ],
)  # fmt: skip
def test_what_is_no_result_is_refused(tmp_path: Path, content: Any):
    """Unknown, damaged or absurd files are one clear error, never a row."""
    with pytest.raises(InvalidInputFile):
        _rows(tmp_path, content, device="h100", model="Qwen/Qwen3-8B", engine="vllm", precision="bf16")


def test_file_types_of_llama_cpp():
    """Names of mixtures are read, those of bits are left out, an unknown one is empty."""
    names = ("Q4_K - Medium", "Q3_K - Large", "Q2_K - Medium", "IQ4_XS - 4.25 bpw", "F16", "all F32", "Q9_Z", "")
    assert [type_precision(name) for name in names] == ["q4_k_m", "q3_k_l", "q2_k", "iq4_xs", "fp16", "fp32", "", ""]
    assert [backend_of(name) for name in ("MTL,BLAS", "BLAS", "CUDA", "")] == ["metal", "cpu", "cuda", ""]


def test_the_command_prints_appends_and_validate_scores(run: Run, tmp_path: Path):
    """Rows go to stdout as CSV or to a file's end, twice imported once, and validate scores each."""
    file, saved = tmp_path / "qwen.json", tmp_path / "mine.csv"
    file.write_text(json.dumps([BENCH, {**BENCH, "n_prompt": 512, "n_gen": 0, "avg_ts": 9000.0}]), encoding="utf-8")
    printed = run("import", str(file))
    assert printed.code == 0, printed.err
    assert len(list(csv.DictReader(io.StringIO(printed.out)))) == 2
    for _ in range(2):
        assert run("import", str(file), "--output", str(saved)).code == 0
    assert len(saved.read_text(encoding="utf-8").splitlines()) == 3
    scored = json.loads(run("validate", str(saved), "--json").out)
    assert (scored["scored"], scored["skipped"]) == (2, [])
    refused = run("import", str(tmp_path))
    assert (refused.code, refused.out, len(refused.err.strip().splitlines())) == (2, "", 1)


def test_a_device_that_is_none_is_refused_first(run: Run, tmp_path: Path):
    """A misspelt --device does not become a row that validate will skip."""
    file = tmp_path / "served.json"
    file.write_text(json.dumps(VLLM), encoding="utf-8")
    refused = run("import", str(file), "--device", "h1000x")
    assert (refused.code, refused.out) == (2, "")
    assert "h1000x" in refused.err


def test_flash_attention_and_batches_are_kept():
    """llama-bench's own settings become the engine's flags; what it leaves to the engine is not told."""
    told = {"flash_attn": True, "n_batch": 2048, "n_ubatch": 256}
    assert engine_flags(Values(told)) == "-fa on -b 2048 -ub 256"
    assert engine_flags(Values({"flash_attn": 0})) == "-fa off"
    assert engine_flags(Values({"flash_attn": -1, "fa": "1"})) == "-fa on"
    assert engine_flags(Values({})) == ""


def test_rows_with_flags_need_the_column(tmp_path: Path):
    """A file from before the column takes rows without flags, and refuses those with them: nothing is dropped."""
    old = tmp_path / "old.csv"
    old.write_text(",".join(name for name in COLUMNS if name not in OPTIONAL) + "\n", encoding="utf-8")
    plain = {**dict.fromkeys(COLUMNS, ""), "id": "a"}
    assert append_all(old, [plain], once=True) == 1
    assert append_all(old, [plain], once=True) == 0
    with pytest.raises(InvalidInputFile, match="engine_flags"):
        append_all(old, [{**plain, "id": "b", "engine_flags": "-fa on"}])
    assert len(old.read_text(encoding="utf-8").splitlines()) == 2
