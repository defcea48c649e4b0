"""Every door (Python, command line, rows of a sweep) refuses the same values, and with the same words."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from clirun import Run
from effort import RUNAWAY_S
from hypothesis import given, settings
from hypothesis import strategies as st

import sizer
from sizer.api.asked import DeviceAsked, WorkAsked, split_options
from sizer.errors import SizerError, UsageError
from sizer.workload import Split, Workload

MODEL, DEVICE = "Qwen/Qwen3-8B", "rtx-4090"
BAD = [
    # option of Python, option of the command line, column of a sweep, value, what the message names
    ("batch", "--batch", "batch", 0, "0"),
    ("batch", "--batch", "batch", -1, "-1"),
    ("batch", "--batch", "batch", 10**7, "10000000"),
    ("prompt", "--prompt", "prompt_tokens", -5, "-5"),
    ("output", "--output", "output_tokens", -1, "-1"),
    ("context", "--context", None, "long", "long"),
    ("parallel", "--parallel", "parallelism", "foo", "foo"),
    ("kv_precision", "--kv-precision", None, "fp3", "fp3"),
    ("precision", "--precision", "precision", "q99", "q99"),
    ("engine", "--engine", "engine", "nope", "nope"),
    ("device", "--device", "device", "Foo 9", "Foo 9"),
    ("threads", "--threads", "threads", 10**6, "1000000"),
]


def _python(option: str, value: object) -> str:
    options = {"device": DEVICE, "precision": "q4_k_m", "offline": True, option: value}
    with pytest.raises(SizerError) as refused:
        sizer.estimate(MODEL, **options)  # type: ignore[arg-type]
    assert refused.value.exit_code == 2
    return refused.value.message


@pytest.mark.parametrize("case", BAD, ids=lambda case: f"{case[0]}={case[3]}")
def test_doors_refuse_alike(run: Run, tmp_path: Path, case: tuple[str, str, str | None, object, str]) -> None:
    """Python, the command line and a sweep's row name what was given, in one line and the same words."""
    option, flag, column, value, named = case
    told = _python(option, value)
    assert named in told
    device = [] if option == "device" else ["-d", DEVICE]
    typed = run("estimate", MODEL, *device, "--offline", f"{flag}={value}")
    assert typed.code == 2
    assert told.rstrip(".") in typed.err
    assert typed.err.count("\n") == 1
    if column is None:
        return
    row = {"model": MODEL, "device": DEVICE, "precision": "q4_k_m", "engine": "llama.cpp", column: value}
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    swept = json.loads(run("sweep", str(path), "--json").out)
    assert named in swept[0]["reason"]
    assert swept[0]["predicted_decode_tokens_per_s"] is None


@given(
    st.one_of(
        st.integers(max_value=0),
        st.integers(min_value=65_537),
        st.floats(),
        st.text(max_size=5),
        st.none(),
        st.booleans(),
        st.lists(st.integers(), max_size=2),
    )
)
@settings(max_examples=200, deadline=None)
def test_no_bad_batch_makes_a_workload(value: object) -> None:
    """Whatever is no whole number from 1 to 65,536 is refused where a workload is made."""
    with pytest.raises(UsageError, match="batch"):
        Workload(batch_size=value)  # type: ignore[arg-type]


@given(st.one_of(st.floats(max_value=0), st.just(float("nan")), st.just(float("inf")), st.text(max_size=3)))
def test_no_bad_bandwidth_describes_a_device(value: object) -> None:
    """A bandwidth that is not positive and finite is refused where the question is made."""
    with pytest.raises(UsageError, match="bandwidth"):
        DeviceAsked(bandwidth_bytes_per_s=value)  # type: ignore[arg-type]


def test_splits_have_one_meaning() -> None:
    """A split works within layers, by whole layers, or is a copy on each device: one of the three."""
    for split in Split:
        assert split.within_layers + split.whole_layers + (split is Split.DATA) == 1


def test_unknown_option_names_the_nearest() -> None:
    """A misspelt keyword is a TypeError that offers the one meant."""
    with pytest.raises(TypeError, match="batch"):
        split_options({"bacth": 4})


def test_context_shorter_than_the_work_is_refused_where_it_is_made() -> None:
    """Prompt and output must fit the context."""
    with pytest.raises(UsageError, match="shorter"):
        WorkAsked(prompt_tokens=1000, context_tokens=1001)


def test_text_is_read_as_the_command_line_reads_it() -> None:
    """Sizes and counts may be text in Python too."""
    devices, work, _ = split_options({"memory_bytes": "24GiB", "bandwidth_bytes_per_s": "936GB/s", "context": "32k"})
    assert devices.memory_bytes == 24 * 2**30
    assert devices.bandwidth_bytes_per_s == 936e9
    assert work.workload().context_tokens == 32_768


@pytest.mark.parametrize("command", ["check", "capacity", "recommend", "hardware", "fit"])
@pytest.mark.parametrize("option", ["prompt", "output"])
def test_no_command_takes_fewer_tokens_than_none(run: Run, command: str, option: str) -> None:
    """A negative number of tokens is refused by every command that takes one, and named."""
    devices = [] if command == "hardware" else ["-d", DEVICE]
    what = {"check": ["--", "vllm", "serve", MODEL], "fit": []}.get(command, [MODEL])
    refused = run(command, *devices, f"--{option}=-5", *what)
    assert refused.code == 2
    assert f"{option} is -5" in refused.err


WRONG_KINDS: list[tuple[str, dict[str, object]]] = [
    ("estimate", {"engine": 5}),
    ("estimate", {"host": 3}),
    ("estimate", {"context": 1.5}),
    ("estimate", {"context": ["8k"]}),
    ("estimate", {"device": 4090}),
    ("hardware", {"min_speed": "fast"}),
    ("recommend", {"max_loss": "little"}),
    ("capacity", {"rps": "many", "device": DEVICE}),
]


@pytest.mark.parametrize(("function", "options"), WRONG_KINDS, ids=str)
def test_values_of_another_kind_are_refused_in_python(function: str, options: dict[str, object]) -> None:
    """A value of a kind that its option has not is sizer's own error, and names what was given."""
    value = next(iter(options.values()))
    with pytest.raises(SizerError) as refused:
        getattr(sizer, function)(MODEL, offline=True, **options)
    assert refused.value.exit_code == 2
    assert (str(value) if not isinstance(value, list) else "8k") in refused.value.message


@pytest.mark.parametrize("text", ["q4" + " " * 90_000 + "x", "q4 " * 30_000, "x" * 90_000], ids=lambda text: text[:4])
@pytest.mark.parametrize("option", ["model", "device", "precision", "engine"])
def test_endless_names_are_refused_at_once(option: str, text: str) -> None:
    """A name far longer than any is refused, in time that does not grow with its square."""
    asked = {"model": MODEL, "device": DEVICE, "precision": "q4_k_m", "offline": True, option: text}
    start = time.process_time()
    with pytest.raises(SizerError) as refused:
        sizer.estimate(asked.pop("model"), **asked)
    assert refused.value.exit_code in {2, 3}
    assert time.process_time() - start < RUNAWAY_S


FLAGGED = [
    ("llama.cpp", "-ngl 99", 1),
    ("llama.cpp", "-ngl 20 -ub 1024", 1),
    ("llama.cpp", "-c 32768 -np 4 -fa off", 1),
    ("llama.cpp", "-dev Vulkan0", 1),
    ("llama.cpp", "-dev CUDA0", 2),
    ("koboldcpp", "--gpulayers 99 --usevulkan", 1),
    ("vllm", "--tensor-parallel-size 2 --enforce-eager", 4),
    ("vllm", "--gpu-memory-utilization 0.5", 1),
    ("vllm", """--speculative-config '{"model": "Qwen/Qwen3-4B", "num_speculative_tokens": 3}'""", 1),
]


@pytest.mark.parametrize(("engine", "flags", "count"), FLAGGED)
def test_flags_of_a_swept_row_mean_what_they_mean_to_an_estimate(
    run: Run, tmp_path: Path, engine: str, flags: str, count: int
) -> None:
    """Speeds are the same to the digit, whole devices hold the same verdict: backend, devices, context and layers."""
    precision = "q4_k_m" if engine != "vllm" else "bf16"
    table = tmp_path / "rows.jsonl"
    row = {"model": MODEL, "device": DEVICE, "device_count": count, "precision": precision, "engine": engine,
           "engine_flags": flags, "prompt_tokens": 512, "output_tokens": 128}  # fmt: skip
    table.write_text(json.dumps(row), encoding="utf-8")
    (swept,) = json.loads(run("sweep", str(table), "--json").out)
    (told,) = sizer.estimate(
        MODEL, device=f"{count}x{DEVICE}", precision=precision, engine=f"{engine} {flags}", offline=True
    ).estimates
    assert swept["predicted_fits"] in {None, told.memory.fits}
    if told.memory.fits:
        assert swept["predicted_decode_tokens_per_s"] == pytest.approx(told.decode.tokens_per_s)
        assert swept["predicted_prefill_tokens_per_s"] == pytest.approx(told.prefill.tokens_per_s)


def test_a_backend_that_flags_name_sets_the_speed_too() -> None:
    """Vulkan on a GeForce has constants of its own: the prompt is not read at CUDA's rate."""
    cuda, vulkan = (
        sizer.estimate(MODEL, device=DEVICE, precision="q4_k_m", engine=engine, offline=True).estimates[0]
        for engine in ("llama.cpp", "llama.cpp --device Vulkan0")
    )
    assert vulkan.prefill.tokens_per_s != cuda.prefill.tokens_per_s


def test_all_layers_asked_for_are_no_split() -> None:
    """`--gpu-layers 99` beside a named host, and one more than the layers (the output): as fast as without a word."""
    plain, *asked = (
        sizer.estimate(MODEL, device=DEVICE, precision="q4_k_m", ram_bytes="64GiB", offline=True, **layers).estimates[0]
        for layers in ({}, {"gpu_layers": 99}, {"gpu_layers": 37})
    )
    for found in asked:
        assert found.decode.tokens_per_s == plain.decode.tokens_per_s
        assert found.memory == plain.memory
