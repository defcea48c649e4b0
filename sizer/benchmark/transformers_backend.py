"""The transformers backend: any precision it runs, eager or compiled, on CPU or GPU, in one rank or several."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sizer.benchmark.cells import kept_cells, time_cells
from sizer.benchmark.launch import over_ranks
from sizer.benchmark.observe import judge_machine, process_peak_bytes, snapshot
from sizer.benchmark.observe_gpu import held_down_ns, judge_gpus
from sizer.benchmark.recipes_transformers import DTYPES, is_bitsandbytes
from sizer.benchmark.records import Caution, Outcome, Run, Spec
from sizer.benchmark.run_warnings import Warn
from sizer.benchmark.torch_memory import (
    gpus_in_use,
    gpus_of,
    memory_peaks,
    resident_weight_bytes,
    synchronize,
    used_by_now,
    uuids,
    without_holes,
)
from sizer.benchmark.transformers_loading import load, pick_device
from sizer.errors import BenchmarkFailed
from sizer.frozen import dataclass

PROMPT_SEED = 1
"""The same prompt in every run: timings of two runs compare."""


def run(spec: Spec, stage: Callable[[str], None]) -> Outcome:
    """Load, warm up, time `spec.repeats` generations; the weights' bytes are counted before the first of them."""
    loaded = _load(spec, stage)
    generate = Generation(loaded.model, spec, loaded.device)
    runs, cautions = _timed(generate, spec, stage, uuids(gpus_in_use(loaded.model)))
    return replace(_outcome(spec, loaded), runs=runs, cautions=_cautions(spec, loaded, cautions))


def run_cells(spec: Spec, stage: Callable[[str], None], keep: Callable[[Outcome], None]) -> Outcome:
    """Load once and time every cell of the spec; `keep` is told what is measured so far."""
    loaded = _load(spec, stage)
    gpus = uuids(gpus_in_use(loaded.model))
    before, held_down = snapshot(), held_down_ns(gpus)

    def outcome(cells: Sequence[Mapping[str, Any]]) -> Outcome:
        after = snapshot()
        seen = [*judge_machine(before, after), *judge_gpus(gpus, held_down, after.wall_s - before.wall_s)]
        return replace(_outcome(spec, loaded), cells=tuple(cells), cautions=_cautions(spec, loaded, seen))

    timed = time_cells(spec, lambda one: Generation(loaded.model, one, loaded.device), stage)
    return outcome(kept_cells(timed, lambda cells: keep(outcome(cells))))


@dataclass(frozen=True)
class _Loaded:
    """A model in place, and what was seen while it was loaded."""

    model: Any
    device: Any
    load_s: float
    load_peak_bytes: int | None
    weights_bytes: int
    foreign_bytes: Any


def _load(spec: Spec, stage: Callable[[str], None]) -> _Loaded:
    stage("importing torch")
    import torch

    if spec.threads and not spec.parallelism:
        torch.set_num_threads(spec.threads)
    device = pick_device(spec.device)
    foreign_bytes = used_by_now(gpus_of(device))
    stage(f"loading {spec.model}")
    start = time.perf_counter()
    with without_holes():
        model = load(spec, device)
        synchronize(device)
        load_s = time.perf_counter() - start
    load_peak_bytes = process_peak_bytes()
    (weights_bytes,) = over_ranks([resident_weight_bytes(model)])
    return _Loaded(model, device, load_s, load_peak_bytes, weights_bytes, foreign_bytes)


def _outcome(spec: Spec, loaded: _Loaded) -> Outcome:
    """What is known beside the runs: counted after them, for the peaks of memory are theirs."""
    import torch

    memory = {**memory_peaks(loaded.foreign_bytes), "load_peak_bytes": loaded.load_peak_bytes}
    device, on_gpu = loaded.device, loaded.device.type == "cuda"
    precision = precision_loaded(spec, loaded.model)
    return Outcome(
        engine="transformers",
        runs=(),
        warmup_runs=spec.warmups,
        prompt_tokens=spec.prompt_tokens,
        decode_steps=spec.output_tokens - 1,
        load_s=loaded.load_s,
        weights_bytes=loaded.weights_bytes,
        peak_memory_bytes=memory["device_peak_bytes" if on_gpu else "process_peak_bytes"],
        memory=memory,
        threads=None if on_gpu else torch.get_num_threads() * (spec.device_count if spec.parallelism else 1),
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if on_gpu else "",
        device_count=max(spec.device_count, len(gpus_in_use(loaded.model))),
        precision=precision,
        versions=_versions(precision),
    )


def _cautions(spec: Spec, loaded: _Loaded, seen: Sequence[Caution]) -> tuple[Caution, ...]:
    precision = precision_loaded(spec, loaded.model)
    return (*seen, *_spilled(loaded.model), *_dequantized(spec, precision))


def _timed(
    generate: Callable[[], Run], spec: Spec, stage: Callable[[str], None], gpus: Sequence[str]
) -> tuple[tuple[Run, ...], list[Caution]]:
    """The measured runs after the warm-ups, and what the machine did meanwhile."""
    for index in range(spec.warmups):
        stage(f"warming up ({index + 1} of {spec.warmups})")
        generate()
    before, held_down = snapshot(), held_down_ns(gpus)
    runs = []
    for index in range(spec.repeats):
        stage(f"measuring (run {index + 1} of {spec.repeats})")
        runs.append(generate())
    after = snapshot()
    on_gpus = judge_gpus(gpus, held_down, after.wall_s - before.wall_s)
    return tuple(runs), [*judge_machine(before, after), *on_gpus]


class Generation:
    """One timed generation of exactly `output_tokens` tokens from a fixed random prompt; EOS never stops it."""

    def __init__(self, model: Any, spec: Spec, device: Any) -> None:
        import torch

        self.model = model
        self.device = model.device if model.device.type != "meta" else device
        vocabulary = model.get_input_embeddings().weight.shape[0]
        generator = torch.Generator().manual_seed(PROMPT_SEED)
        self.depth_tokens = spec.depth_tokens
        shape = (spec.batch_size, spec.depth_tokens + spec.prompt_tokens)
        self.prompt = torch.randint(0, vocabulary, shape, generator=generator).to(self.device)
        self.config = _generation_config(spec)
        # generate() fills what is unset from the model's own settings, EOS among them.
        model.generation_config = self.config

    def __call__(self) -> Run:
        """Time to the first token, and from there to the last, the device synchronised at each."""
        import torch

        clock = _TokenClock(self.device, self.config.max_new_tokens)
        cached = self._cached()
        synchronize(self.device)
        start = time.perf_counter()
        with torch.inference_mode():
            output = self.model.generate(
                self.prompt,
                attention_mask=torch.ones_like(self.prompt),
                generation_config=self.config,
                stopping_criteria=[clock],
                **cached,
            )
        synchronize(self.device)
        made = output.shape[1] - self.prompt.shape[1]
        if made != self.config.max_new_tokens:
            raise BenchmarkFailed(f"The model stopped after {made} of {self.config.max_new_tokens} tokens.")
        return Run(prefill_s=clock.first - start, decode_s=clock.last - clock.first)

    def _cached(self) -> dict[str, Any]:
        """A cache of the first `depth_tokens` tokens, made anew for each run: states cannot be cut back."""
        import torch

        if not self.depth_tokens:
            return {}
        with torch.inference_mode():
            read = self.model(self.prompt[:, : self.depth_tokens], use_cache=True)
        return {"past_key_values": read.past_key_values}


class _TokenClock:
    """A stopping criterion that never stops: it notes when the first and the last of `tokens` tokens were there."""

    def __init__(self, device: Any, tokens: int) -> None:
        self.device = device
        self.left = tokens
        self.first = 0.0
        self.last = 0.0

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        import torch

        self.left -= 1
        if not self.first or not self.left:
            synchronize(self.device)
        self.last = time.perf_counter()
        self.first = self.first or self.last
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


def _generation_config(spec: Spec) -> Any:
    """Exactly as many tokens as asked for, the likeliest ones: no end of text, no sampling."""
    from transformers import GenerationConfig

    config = GenerationConfig(
        max_new_tokens=spec.output_tokens,
        min_new_tokens=spec.output_tokens,
        do_sample=False,
        use_cache=True,
        pad_token_id=0,
        eos_token_id=None,
    )
    if spec.compiled:
        from transformers import CompileConfig

        config.cache_implementation = "static"
        config.compile_config = CompileConfig()
        config.compile_config._compile_all_devices = True  # else CPUs silently stay eager
    else:
        config.disable_compile = True
    return config


def precision_loaded(spec: Spec, model: Any) -> str:
    """What really runs: the spec's precision, or the plain type where transformers undid a quantization."""
    quantized = getattr(model.config, "quantization_config", None) is not None
    if quantized or spec.precision in DTYPES:
        return spec.precision
    by_dtype = {dtype: precision for precision, dtype in DTYPES.items()}
    return by_dtype.get(str(model.dtype).removeprefix("torch."), spec.precision)


def _dequantized(spec: Spec, precision: str) -> list[Caution]:
    if precision == spec.precision:
        return []
    return [Warn.DEQUANTIZED.caution(f"transformers has no {spec.precision} kernels for this device.")]


def _spilled(model: Any) -> list[Caution]:
    places = getattr(model, "hf_device_map", None) or {}
    away = [name for name, place in places.items() if str(place) in ("cpu", "disk")]
    if not away or len(away) == len(places):
        return []
    return [Warn.SPILLED.caution(f"{len(away)} of {len(places)} modules lie outside the GPU.")]


def _versions(precision: str) -> dict[str, str]:
    from importlib import metadata

    names = {"torch", "transformers", "accelerate"} | ({"bitsandbytes"} if is_bitsandbytes(precision) else set())
    present = {str(item.metadata["Name"]).lower(): item.version for item in metadata.distributions()}
    return {name: present[name] for name in sorted(names) if name in present}
