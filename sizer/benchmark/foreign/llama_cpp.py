"""llama.cpp's own tools: llama-bench (JSON, JSONL, CSV, Markdown) and llama-batched-bench (JSONL, Markdown)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from sizer.benchmark.foreign.found import Found, Values
from sizer.engine.flagged import SPLIT_MODES
from sizer.errors import InvalidInputFile, UnknownPrecision
from sizer.units import GIB

NOT_ON_THE_GPU = ("cpu", "blas", "rpc", "accelerate")
WHOLE_MODEL_LAYERS = 99
"""What people write for 'all layers': no model of llama.cpp's has as many on one device and fewer in all."""

FLASH_ATTENTION = {"1": "on", "true": "on", "on": "on", "0": "off", "false": "off", "off": "off"}

_TEST = re.compile(r"(?:pp(\d{1,9}))?\+?(?:tg(\d{1,9}))?(?: @ d(\d{1,9}))?$")
_RATE = re.compile(r"([0-9.]+)\s*(?:±.*)?$")
_DEVICE_LINE = re.compile(r"^\s*Device \d+: ([^,\n]{1,200}),", re.MULTILINE)
_BUILD_LINE = re.compile(r"^build: (\w{1,40})(?: \((\d{1,9})\))?", re.MULTILINE)
_ACTIVE = re.compile(r"\b\d+(?:\.\d+)?B\.A(\d+(?:\.\d+)?)B\b")
_SIZE_WORD = re.compile(r"\?B\b|\b\d+(?:x\d+)?(?:\.\d+)?[BMK](?:\.A\d+(?:\.\d+)?B)?\b")
_MIXTURE = {"small": "s", "medium": "m", "large": "l"}


def bench_object(values: Values) -> Iterator[Found]:
    """One test of llama-bench's JSON, JSONL or CSV: prompt (`n_prompt`), output (`n_gen`) or both, behind `n_depth`."""
    layers = _layers(values, "n_gpu_layers")
    backend = backend_of(values.text("backends") or values.text("backend"))
    on_cpu = backend == "cpu"
    devices = [name.strip() for name in values.text("gpu_info").split(",") if name.strip()]
    device = values.text("cpu_info") if on_cpu or not devices else devices[0]
    mode = values.text("split_mode")
    count = len(devices) if not on_cpu and devices and mode != "none" else 1
    build = values.text("build_number")
    file = values.text("model_filename")
    found = Found(
        engine=values.text("engine") or "llama.cpp",
        engine_version=f"b{build}" if build else values.text("build_commit"),
        backend=backend,
        device=device,
        device_count=count,
        parallelism=SPLIT_MODES[mode].value if count > 1 and mode in SPLIT_MODES else "",
        threads=values.whole("n_threads") if on_cpu else None,
        total_params_b=(values.number("model_n_params") or 0) / 1e9 or None,
        model_file_gib=(values.number("model_size") or 0) / GIB or None,
        date=values.text("test_time")[:10],
        flags=_flags(values, on_cpu=on_cpu, layers=layers),
        engine_flags=engine_flags(values),
    )
    found = _named(found, file, values.text("model_type"))
    if own := values.text("precision"):  # sizer's own export tells it
        found = replace(found, model=file, precision=own)
    rate = values.rate("avg_ts")
    yield timed(found, values.whole("n_prompt") or 0, values.whole("n_gen") or 0, values.whole("n_depth") or 0, rate)


def bench_line(values: Values) -> Iterator[Found]:
    """One line of llama-bench's Markdown table; the devices and the build stand in the lines around it, if at all."""
    test = _TEST.fullmatch(values.text("test"))
    rate = _RATE.fullmatch(values.text("t/s"))
    if test is None or rate is None or not (test[1] or test[2]):
        raise InvalidInputFile(f"{values.text('test')!r} with {values.text('t/s')!r} t/s is no test of llama-bench.")
    backend = backend_of(values.text("backend"))
    devices = _DEVICE_LINE.findall(values.around) if backend != "cpu" else []
    build = _BUILD_LINE.search(values.around)
    size = re.fullmatch(r"([0-9.]{1,20}) (GiB|MiB)", values.text("size"))
    params = re.fullmatch(r"([0-9.]{1,20}) (B|M)", values.text("params"))
    found = Found(
        engine="llama.cpp",
        engine_version="" if build is None else f"b{build[2]}" if build[2] else build[1],
        backend=backend,
        device=devices[0] if devices else "",
        device_count=len(devices) or 1,
        parallelism="layer" if len(devices) > 1 else "",
        threads=values.whole("threads") if backend == "cpu" else None,
        total_params_b=float(params[1]) / (1 if params[2] == "B" else 1000) if params else None,
        model_file_gib=float(size[1]) / (1 if size[2] == "GiB" else 1024) if size else None,
        flags=_flags(values, on_cpu=backend == "cpu", layers=_layers(values, "ngl")),
        engine_flags=engine_flags(values),
    )
    speed = Values({"t/s": rate[1]}).rate("t/s")
    yield timed(_named(found, "", values.text("model")), int(test[1] or 0), int(test[2] or 0), int(test[3] or 0), speed)


def timed(found: Found, prompt: int, output: int, depth: int, rate: float) -> Found:
    """The cell of a test: reading `prompt` tokens, making `output`, or both, behind `depth` cached tokens.

    Of both together llama-bench counts prompt and output in one rate; a request's rate counts the output alone. Its
    columns have no place for a depth beside a prompt: such a row is kept out of what is scored (`suspect`).
    """
    if prompt and output:
        return replace(
            found,
            metric="request",
            prompt_tokens=depth + prompt,
            context_tokens=depth + prompt,
            output_tokens=output,
            decode_tokens_per_s=rate * output / (prompt + output),
            flags=found.flags | ({"suspect"} if depth else set()),
        )
    if output:
        return replace(found, context_tokens=depth, output_tokens=output, decode_tokens_per_s=rate)
    return replace(found, prompt_tokens=prompt, context_tokens=depth, prefill_tokens_per_s=rate)


def batched_object(values: Values) -> Iterator[Found]:
    """One line of llama-batched-bench's JSONL."""
    sequences = values.whole("pl") or 1
    alone = not values.whole("is_pp_shared") or sequences == 1
    layers = _layers(values, "n_gpu_layers")
    yield Found(
        engine="llama.cpp",
        backend="cpu" if layers == 0 else "",
        threads=values.whole("n_threads") if layers == 0 else None,
        batch=sequences,
        prompt_tokens=values.whole("pp"),
        context_tokens=values.whole("pp"),
        output_tokens=values.whole("tg"),
        # One prompt read for all is no prompt of each.
        prefill_tokens_per_s=values.number("speed_pp") or None if alone else None,
        decode_tokens_per_s=values.rate("speed_tg"),
        engine_flags=engine_flags(values),
    )


def batched_line(values: Values) -> Iterator[Found]:
    """One line of llama-batched-bench's Markdown table. A shared prompt shows in the cache: PP + B x TG tokens."""
    prompt, output, sequences = (values.whole(name) or 0 for name in ("PP", "TG", "B"))
    shared = sequences > 1 and values.whole("N_KV") == prompt + sequences * output
    yield Found(
        engine="llama.cpp",
        batch=sequences,
        prompt_tokens=prompt,
        context_tokens=prompt,
        output_tokens=output,
        prefill_tokens_per_s=None if shared else values.number("S_PP t/s") or None,
        decode_tokens_per_s=values.rate("S_TG t/s"),
    )


def backend_of(text: str) -> str:
    """The backend that computes, of a list as `Metal,BLAS`."""
    names = [name.strip().lower() for name in text.split(",") if name.strip()]
    first = next((name for name in names if name not in NOT_ON_THE_GPU), "cpu" if names else "")
    return {"mtl": "metal"}.get(first, first)


def engine_flags(values: Values) -> str:
    """Flash attention and batches as llama.cpp's own flags; what is left to the engine (-1, auto) is not told."""
    words: list[str] = []
    for name in ("flash_attn", "fa"):
        if (told := FLASH_ATTENTION.get(values.text(name).lower())) is not None:
            words += ["-fa", told]
            break
    for flag, name in (("-b", "n_batch"), ("-ub", "n_ubatch")):
        if tokens := values.whole(name):
            words += [flag, str(tokens)]
    return " ".join(words)


def _flags(values: Values, *, on_cpu: bool, layers: int | None) -> frozenset[str]:
    """What makes the row no measure of the device alone, and the cache's format where it is not 16 bit."""
    found = {f"kv_{kind.lower()}" for kind in (values.text("type_k"), values.text("type_v")) if kind not in _PLAIN}
    split = layers is not None and 0 <= layers < WHOLE_MODEL_LAYERS and not _whole(values, layers)
    if not on_cpu and (split or values.whole("n_cpu_moe")):
        found.add("offload")
    return frozenset(found)


_PLAIN = ("", "f16", "bf16")


def _layers(values: Values, name: str) -> int | None:
    """Layers on the GPU; None where the file does not tell, or says -1 (all of them)."""
    return None if values.text(name) == "-1" else values.whole(name)


def _whole(values: Values, layers: int) -> bool:
    """Whether so many layers are the whole of a model that the catalogue has."""
    from sizer.model.families import build
    from sizer.model.read import catalogue

    model = _file_stem(values.text("model_filename"))
    entry = catalogue.find(model) if model else None
    return entry is not None and build(catalogue.load(entry), entry.model_id).num_layers <= layers


def _file_stem(file: str) -> str:
    """The model's name of a file's, without its quantization."""
    from sizer.model.read.name_quantization import quantization_in

    return "-".join(quantization_in(file.replace("\\", "/")).rest.split()).strip("-_.")


def _named(found: Found, file: str, model_type: str) -> Found:
    """With the model and the precision of the file's name, or of `model_type` (`qwen3 8B Q4_K - Medium`)."""
    from sizer.model.read.name_quantization import quantization_in

    size = _SIZE_WORD.search(model_type)
    printed = model_type[size.end() :].strip() if size else ""
    active = _ACTIVE.search(model_type)
    return replace(
        found,
        model=_file_stem(file) or (model_type[: size.end()] if size else model_type),
        precision=(quantization_in(file.replace("\\", "/")).precision if file else None) or type_precision(printed),
        precision_as_printed=printed or model_type,
        active_params_b=float(active[1]) if active else None,
    )


def type_precision(printed: str) -> str:
    """The canonical precision of llama.cpp's name of a file type, as `Q4_K - Medium`; empty for one not known."""
    from sizer.precision.names import canonical

    kind, _, mixture = printed.lower().removeprefix("all ").partition(" - ")
    kind = kind.split(" ")[0] if kind else ""
    if kind.endswith("_k") and mixture in _MIXTURE and kind != "q2_k":
        kind = f"{kind}_{_MIXTURE[mixture]}"
    try:
        return canonical({"f16": "fp16", "f32": "fp32"}.get(kind, kind)) if kind else ""
    except UnknownPrecision:
        return ""
