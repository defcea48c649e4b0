"""The llama.cpp backend: `llama-bench` on PATH, or the llama-cpp-python binding where that is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sizer.benchmark.cells import Cell, kept_cells
from sizer.benchmark.death import describe_death, oom_kills
from sizer.benchmark.observe import judge_machine, physical_cores, process_peak_bytes, resource_peak_bytes, snapshot
from sizer.benchmark.records import Caution, Outcome, Run, Spec
from sizer.errors import BenchmarkFailed, UsageError

PROGRAM = "llama-bench"
INSTALL = "Put llama.cpp's llama-bench on PATH, or: pip install llama-cpp-python"
LISTS_INSTALL = "Put llama.cpp's llama-bench on PATH; its Python binding is timed for one prompt and output only."
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


def run_cells(spec: Spec, stage: Callable[[str], None], keep: Callable[[Outcome], None]) -> Outcome:
    """Measure every cell of the spec with one load; `keep` is told what is measured so far."""
    program = shutil.which(PROGRAM)
    cells = [Cell(**values) for values in spec.cells]
    if any(cell.batch_size > 1 for cell in cells):
        raise UsageError("llama.cpp's own benchmark measures one sequence.", "Leave --batch out for a .gguf file.")
    if not program:
        raise BenchmarkFailed(f"{PROGRAM} is not here, which measures lists of a .gguf file.", LISTS_INSTALL)
    before = snapshot()
    seen: list[Mapping[str, Any]] = []

    def outcome(found: Sequence[Mapping[str, Any]]) -> Outcome:
        return replace(_outcome(spec, seen[-1], judge_machine(before, snapshot())), cells=tuple(found))

    timed = _stream(program, spec, cells, stage, seen)
    return outcome(kept_cells(timed, lambda found: keep(outcome(found))))


def _stream(
    program: str, spec: Spec, cells: Sequence[Cell], stage: Callable[[str], None], seen: list[Mapping[str, Any]]
) -> Iterator[tuple[Cell, tuple[Run, ...]]]:
    """Each cell as llama-bench ends it, its line appended to `seen`. Of its lists it runs every combination."""
    depths = (cell.depth_tokens for cell in cells)
    prompts, outputs = (cell.prompt_tokens for cell in cells), (cell.output_tokens for cell in cells)
    asked = ["-p", _listed(prompts), "-n", _listed(outputs), _NO_DEPTH, ",".join(map(str, dict.fromkeys(depths)))]
    stage(f"measuring {len(cells)} cells with llama-bench")
    with (
        tempfile.TemporaryFile("w+") as said,
        subprocess.Popen(  # noqa: S603 - the user's own llama-bench
            [program, *arguments(spec, asked, "jsonl")],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True,
        ) as started,
    ):  # fmt: skip
        for line in started.stdout or ():
            test = parse(f"[{line}]")
            seen.append(test)
            cell = Cell(int(test["n_prompt"]), int(test["n_gen"]), int(test.get("n_depth", 0)))
            if cell in cells:
                stage(f"measured {cell.name}")
                yield cell, tuple(Run(*((one, 0.0) if cell.prompt_tokens else (0.0, one))) for one in _samples_s(test))
        kills_before = oom_kills()
        started.wait()
        said.seek(0)
        _require_success(started.returncode, said.read(), kills_before)


def _listed(tokens: Iterable[int]) -> str:
    """Numbers for a list of llama-bench's; 0 alone where there is none."""
    return ",".join(map(str, dict.fromkeys(filter(None, tokens)))) or "0"


def run_program(program: str, spec: Spec, stage: Callable[[str], None]) -> Outcome:
    """Run llama-bench for the prompt and, with the prompt in the cache, for the output; each warms up once itself."""
    before = snapshot()
    stage("measuring prefill with llama-bench")
    prefill = _bench(program, spec, ["-p", str(spec.prompt_tokens), "-n", "0"])
    stage("measuring decode with llama-bench")
    decode = _bench(program, spec, ["-p", "0", "-n", str(spec.output_tokens), _NO_DEPTH, str(spec.prompt_tokens)])
    cautions = judge_machine(before, snapshot())
    runs = tuple(map(Run, _samples_s(prefill), _samples_s(decode)))
    return replace(_outcome(spec, decode, cautions), runs=runs)


def _outcome(spec: Spec, test: Mapping[str, Any], cautions: Sequence[Caution]) -> Outcome:
    """What a test of llama-bench tells beside its times."""
    peak_bytes = resource_peak_bytes(children=True)
    backend = str(test.get("backends", ""))
    gpu = bool(test.get("n_gpu_layers")) and bool(test.get("gpu_info"))
    return Outcome(
        engine="llama.cpp",
        runs=(),
        warmup_runs=1,
        prompt_tokens=spec.prompt_tokens,
        decode_steps=spec.output_tokens,
        weights_bytes=int(test["model_size"]) if "model_size" in test else None,
        peak_memory_bytes=None if gpu else peak_bytes,  # llama-bench does not tell what it took on a GPU
        memory={"process_peak_bytes": peak_bytes},
        threads=int(test["n_threads"]) if "n_threads" in test else None,
        device="cpu" if not gpu else backend.split(",", maxsplit=1)[0].lower(),
        device_name=str(test.get("gpu_info") if gpu else test.get("cpu_info", "")),
        precision=spec.precision,
        versions={"llama.cpp": str(test.get("build_number", "")), "commit": str(test.get("build_commit", ""))},
        cautions=tuple(cautions),
    )


def arguments(spec: Spec, test: Sequence[str], style: str = "json") -> list[str]:
    """llama-bench's arguments for one test of `spec`."""
    local = Path(spec.model).is_file()
    chosen = ["-m" if local else "-hf", spec.model, *test, "-r", str(spec.repeats), "-o", style]
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
    _require_success(finished.returncode, finished.stderr, kills_before)
    return parse(finished.stdout)


def _require_success(status: int, talk: str, kills_before: int) -> None:
    if status < 0:
        raise describe_death(status, "running llama-bench", oom_kills() > kills_before, talk.splitlines())
    if status != 0:
        said = [line.strip() for line in talk.splitlines() if line.strip()]
        last = said[-1][:300] if said else "nothing"
        raise BenchmarkFailed(f"llama-bench ended with status {status}: {last}", "Run it by hand to see.")


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
