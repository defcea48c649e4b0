"""The llama.cpp backend: `llama-bench` on PATH, or the llama-cpp-python binding where that is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sizer.benchmark.death import describe_death, oom_kills
from sizer.benchmark.observe import judge_machine, physical_cores, process_peak_bytes, resource_peak_bytes, snapshot
from sizer.benchmark.records import Outcome, Run, Spec
from sizer.errors import BenchmarkFailed

PROGRAM = "llama-bench"
INSTALL = "Put llama.cpp's llama-bench on PATH, or: pip install llama-cpp-python"
_NO_DEPTH = "-d"


def run(spec: Spec, stage: Callable[[str], None]) -> Outcome:
    """Measure a GGUF file (or `org/repo:TYPE`, which llama-bench fetches itself)."""
    program = shutil.which(PROGRAM)
    if program:
        return run_program(program, spec, stage)
    from importlib.util import find_spec

    if find_spec("llama_cpp"):
        return run_binding(spec, stage)
    raise BenchmarkFailed("llama.cpp is not here: neither llama-bench nor its Python binding was found.", INSTALL)


def run_program(program: str, spec: Spec, stage: Callable[[str], None]) -> Outcome:
    """Run llama-bench for the prompt and, with the prompt in the cache, for the output; each warms up once itself."""
    before = snapshot()
    stage("measuring prefill with llama-bench")
    prefill = _bench(program, spec, ["-p", str(spec.prompt_tokens), "-n", "0"])
    stage("measuring decode with llama-bench")
    decode = _bench(program, spec, ["-p", "0", "-n", str(spec.output_tokens), _NO_DEPTH, str(spec.prompt_tokens)])
    cautions = judge_machine(before, snapshot())
    peak_bytes = resource_peak_bytes(children=True)
    backend = str(decode.get("backends", ""))
    gpu = bool(decode.get("n_gpu_layers")) and bool(decode.get("gpu_info"))
    return Outcome(
        engine="llama.cpp",
        runs=tuple(
            Run(prefill_s, decode_s)
            for prefill_s, decode_s in zip(_samples_s(prefill), _samples_s(decode), strict=True)
        ),
        warmup_runs=1,
        prompt_tokens=spec.prompt_tokens,
        decode_steps=spec.output_tokens,
        weights_bytes=int(decode["model_size"]) if "model_size" in decode else None,
        peak_memory_bytes=None if gpu else peak_bytes,  # llama-bench does not tell what it took on a GPU
        memory={"process_peak_bytes": peak_bytes},
        threads=int(decode["n_threads"]) if "n_threads" in decode else None,
        device="cpu" if not gpu else backend.split(",", maxsplit=1)[0].lower(),
        device_name=str(decode.get("gpu_info") if gpu else decode.get("cpu_info", "")),
        precision=spec.precision,
        versions={"llama.cpp": str(decode.get("build_number", "")), "commit": str(decode.get("build_commit", ""))},
        cautions=tuple(cautions),
    )


def arguments(spec: Spec, test: Sequence[str]) -> list[str]:
    """llama-bench's arguments for one test of `spec`."""
    local = Path(spec.model).is_file()
    chosen = ["-m" if local else "-hf", spec.model, *test, "-r", str(spec.repeats), "-o", "json"]
    if spec.threads:
        chosen += ["-t", str(spec.threads)]
    if spec.gpu_layers is not None or spec.device == "cpu":
        chosen += ["-ngl", str(spec.gpu_layers or 0)]
    return chosen


def _bench(program: str, spec: Spec, test: Sequence[str]) -> Mapping[str, Any]:
    kills_before = oom_kills()
    finished = subprocess.run(  # noqa: S603 - the user's own llama-bench
        [program, *arguments(spec, test)], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if finished.returncode < 0:
        killed = oom_kills() > kills_before
        raise describe_death(finished.returncode, "running llama-bench", killed, finished.stderr.splitlines())
    if finished.returncode != 0:
        said = [line.strip() for line in finished.stderr.splitlines() if line.strip()]
        last = said[-1][:300] if said else "nothing"
        raise BenchmarkFailed(f"llama-bench ended with status {finished.returncode}: {last}", "Run it by hand to see.")
    return parse(finished.stdout)


def parse(text: str) -> Mapping[str, Any]:
    """The one test in llama-bench's JSON (a list of tests with `samples_ns`, nanoseconds a repetition)."""
    try:
        tests = json.loads(text)
        test: Mapping[str, Any] = tests[-1]
        if not test["samples_ns"] or min(test["samples_ns"]) <= 0:
            raise ValueError("no samples")
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise BenchmarkFailed(
            f"llama-bench's answer cannot be read ({error}).", "Update llama.cpp: its '-o json' must list samples_ns."
        ) from error
    return test


def _samples_s(test: Mapping[str, Any]) -> list[float]:
    return [nanoseconds / 1e9 for nanoseconds in test["samples_ns"]]


def run_binding(spec: Spec, stage: Callable[[str], None]) -> Outcome:
    """Measure with llama-cpp-python: the prompt in one evaluation, then one token after the other, greedily."""
    import llama_cpp  # type: ignore[import-not-found, unused-ignore]

    if not Path(spec.model).is_file():
        raise BenchmarkFailed(f"{spec.model!r} is no local GGUF file.", "Download it first, or install llama-bench.")
    stage(f"loading {spec.model}")
    layers = 0 if spec.device == "cpu" else -1 if spec.gpu_layers is None else spec.gpu_layers
    on_cpu = not layers or not llama_cpp.llama_supports_gpu_offload()
    threads = spec.threads or physical_cores()
    start = time.perf_counter()
    model = _load_binding(llama_cpp, spec, layers, threads)
    load_s = time.perf_counter() - start
    for index in range(spec.warmups):
        stage(f"warming up ({index + 1} of {spec.warmups})")
        _time_binding(model, spec)
    before = snapshot()
    runs = []
    for index in range(spec.repeats):
        stage(f"measuring (run {index + 1} of {spec.repeats})")
        runs.append(_time_binding(model, spec))
    peak_bytes = process_peak_bytes()
    return Outcome(
        engine="llama.cpp",
        runs=tuple(runs),
        warmup_runs=spec.warmups,
        prompt_tokens=spec.prompt_tokens,
        decode_steps=spec.output_tokens,
        load_s=load_s,
        weights_bytes=int(llama_cpp.llama_model_size(model.model)),
        peak_memory_bytes=peak_bytes if on_cpu else None,  # nor does the binding tell what it took on a GPU
        memory={"process_peak_bytes": peak_bytes},
        threads=threads,
        device="cpu" if on_cpu else "gpu",
        precision=spec.precision,
        versions={"llama-cpp-python": str(getattr(llama_cpp, "__version__", ""))},
        cautions=tuple(judge_machine(before, snapshot())),
    )


def _load_binding(llama_cpp: Any, spec: Spec, layers: int, threads: int) -> Any:
    return llama_cpp.Llama(
        model_path=spec.model,
        n_ctx=spec.prompt_tokens + spec.output_tokens,
        n_batch=min(spec.prompt_tokens, 2048),
        n_threads=threads,
        n_threads_batch=threads,
        n_gpu_layers=layers,
        verbose=False,
    )


def _time_binding(model: Any, spec: Spec) -> Run:
    vocabulary = model.n_vocab()
    prompt = [(7919 * index + 1) % vocabulary for index in range(spec.prompt_tokens)]
    model.reset()
    start = time.perf_counter()
    model.eval(prompt)
    token = model.sample(temp=0.0)  # reads the logits, so the evaluation is over
    first = time.perf_counter()
    for _ in range(spec.output_tokens):
        model.eval([token])
        token = model.sample(temp=0.0)
    return Run(prefill_s=first - start, decode_s=time.perf_counter() - first)
