"""Commands for GGUF files: llama-server, llama-cli and `ollama run`, and the lines that make a file."""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Any

from sizer.advise.draft import Draft
from sizer.advise.recipe_parts import Recipe, asked_flags
from sizer.advise.repositories import file_name, gguf_file, hub_id, is_local
from sizer.answer.records import Estimate
from sizer.engine.engines import find_engine
from sizer.engine.flag_text import written_all
from sizer.engine.ladders import own_precision
from sizer.memory.offload import even_split
from sizer.memory.projector import PROJECTOR_TOWERS
from sizer.model.read.published import gguf_repository, ollama_tag
from sizer.precision.gguf_store import NEEDS_IMATRIX
from sizer.precision.names import precision_of

GGML_CACHE_TYPES = {"fp16": "f16", "bf16": "bf16", "fp32": "f32"}
GGUF_TYPE_OF = {"mxfp4": "MXFP4_MOE"}
MATRIX_TYPES = NEEDS_IMATRIX | {"IQ3_XS", "Q2_K_S"}
"""Types that cannot be made without an importance matrix (tensor_requires_imatrix in llama.cpp's src/llama-quant.cpp);
IQ3_XS has IQ3_XXS in its attention."""
CALIBRATION_TEXT = "calibration.txt"
CALIBRATION_REMARK = f"# {CALIBRATION_TEXT}: a few hundred kilobytes of text like what the model will read"


def _llama_flags(estimate: Estimate) -> list[str]:
    """The flags that llama-server and llama-cli share."""
    work, placement = estimate.workload, estimate.placement
    layers = estimate.architecture.num_layers
    fields: dict[str, Any] = {"context_tokens": work.context_tokens * work.batch_size}
    if placement.host_experts:
        fields |= {"gpu_layers": 99, "cpu_moe_layers": layers - placement.gpu_layers}
        fields["tensor_split"] = _dealt_evenly(estimate, layers - placement.gpu_layers)
    elif placement.gpu_layers:
        # The output layer counts as one, and goes to the card first: all layers alone are not everything.
        fields["gpu_layers"] = 99 if placement.host is None else placement.gpu_layers + 1
    kind = _cache_kind(estimate)
    if kind != "f16":
        fields |= {"flash_attention": True, "k_cache_type": kind, "v_cache_type": kind}
    asked = work.parallelism
    mode = asked.value if asked is not None and asked.within_layers else "layer"
    fields |= {"threads": work.threads, "split_mode": mode if estimate.target.count > 1 else ""}
    return [*asked_flags(estimate, fields), *([] if placement.gpu_layers or placement.host_experts else ["-ngl", "0"])]


def _cache_kind(estimate: Estimate) -> str:
    """ggml's name of the cache's format."""
    kind = find_engine(estimate.engine).own_cache(estimate.workload.kv_precision)
    return GGML_CACHE_TYPES.get(kind, kind)


def _dealt_evenly(estimate: Estimate, cpu_moe_layers: int) -> tuple[int, ...]:
    """How many layers each device gets where the first layers' experts lie on the host: their number alone would not
    do."""
    options = replace(estimate.case.options, cpu_moe_layers=cpu_moe_layers)
    return even_split(replace(estimate.case, options=options), estimate.footprint)


def _gguf(estimate: Estimate) -> tuple[tuple[str, ...], list[str]]:
    """Lines that make the file where none is published, and the flag that names it."""
    precision, name = estimate.precision, estimate.architecture.model_id
    if name.lower().endswith(".gguf"):
        return (), ["-m", name if not name.startswith("-") else f"./{name}"]
    published = gguf_repository(hub_id(estimate), precision)
    if published is not None:
        return (), ["-hf", f"{published}:{precision.upper()}"]
    if "gguf" in name.lower().partition(":")[0] and "/" in name and not name.startswith("-"):
        return (), ["-hf", name if ":" in name else f"{name}:{precision.upper()}"]
    return _conversion(estimate), ["-m", gguf_file(estimate)]


def _conversion(estimate: Estimate) -> tuple[str, ...]:
    """Downloading, converting and quantizing: for a type that nobody has published."""
    folder, model = file_name(estimate), hub_id(estimate)
    source = model if is_local(estimate) else folder
    target = gguf_file(estimate)
    kind = precision_of(estimate.precision)
    plain = {"fp16": "f16", "bf16": "bf16", "fp32": "f32", "q8_0": "q8_0"}.get(estimate.precision)
    whole = target if plain else f"{folder}-BF16.gguf"
    download = ["hf", "download", model, "--local-dir", folder]
    convert = ["python", "convert_hf_to_gguf.py", source, "--outfile", whole, "--outtype", plain or "bf16"]
    name = GGUF_TYPE_OF.get(estimate.precision) or kind.ftype or estimate.precision.upper()
    lines = [*([] if is_local(estimate) else [shlex.join(download)]), shlex.join(convert)]
    matrix: list[str] = []
    if name in MATRIX_TYPES:
        measured = f"{folder}-imatrix.gguf"
        matrix = ["--imatrix", measured]
        lines += [
            CALIBRATION_REMARK,
            shlex.join(["llama-imatrix", "-m", whole, "-f", CALIBRATION_TEXT, "-o", measured]),
        ]
    if not plain:
        lines.append(shlex.join(["llama-quantize", *matrix, whole, target, name]))
    return tuple(lines)


def _without_projector(estimate: Estimate) -> list[str]:
    """What keeps llama-server from loading the projector beside a hub's file, where the estimate has none of it."""
    towers = {tensor.tower for tensor in estimate.architecture.tensors}
    told = estimate.options.vision is not None or estimate.options.vision_file
    return [] if told or not towers & PROJECTOR_TOWERS else written_all(("llama.cpp",), {"vision": False})


def ranks(estimate: Estimate) -> bool:
    """Whether an encoder scores its texts: its class has a head for that."""
    return estimate.architecture.architecture.endswith("ForSequenceClassification")


def llama_cpp(estimate: Estimate) -> Recipe:
    """`llama-server` for serving and `llama-cli` for the terminal, with what makes the file where none is published; an
    encoder, and several sequences at once, are served alone."""
    work = estimate.workload
    setup, model = _gguf(estimate)
    blind = _without_projector(estimate) if model[0] == "-hf" else []
    shared = [*model, *_llama_flags(estimate), *blind]
    parallel = ["-np", str(work.batch_size)]  # by itself the server starts four slots
    if not estimate.architecture.decodes:
        return Recipe(setup, (("llama-server", *shared, *parallel, "--rerank" if ranks(estimate) else "--embedding"),))
    server = ("llama-server", *shared, *parallel)
    chat = ("llama-cli", *shared, "-n", str(work.output_tokens))
    return Recipe(setup, (server, chat) if work.batch_size == 1 else (server,))


def ollama(estimate: Estimate) -> Recipe:
    """`ollama run` of the library's tag or of a published file, by a Modelfile that sets the context."""
    work, placement = estimate.workload, estimate.placement
    source, setup = _ollama_source(estimate)
    lines = [f"FROM {source}", f"PARAMETER num_ctx {work.context_tokens}"]
    if placement.host is not None:
        lines.append(f"PARAMETER num_gpu {placement.gpu_layers + 1}")
    if work.threads:
        lines.append(f"PARAMETER num_thread {work.threads}")
    served = {"max_sequences": work.batch_size if work.batch_size > 1 else None}
    kind = _cache_kind(estimate)
    if kind != "f16":
        served |= {"flash_attention": True, "k_cache_type": kind, "v_cache_type": kind}  # type: ignore[dict-item]
    environment = asked_flags(estimate, served)
    serve = (shlex.join([*environment, "ollama", "serve"]) + " &",) if environment else ()
    tag = f"{file_name(estimate).lower()}:{estimate.precision}"
    make = ("cat > Modelfile <<'EOF'", *lines, "EOF", *serve, shlex.join(["ollama", "create", tag, "-f", "Modelfile"]))
    return Recipe((*setup, *make), (("ollama", "run", tag),))


def _ollama_source(estimate: Estimate) -> tuple[str, tuple[str, ...]]:
    """What a Modelfile starts from: a tag, a published file on the hub, or a file made by the lines returned."""
    tag = ollama_tag(hub_id(estimate))
    # A tag holds the model's own format where that is published in fewer bits (gpt-oss), else the library's usual type.
    held = own_precision(estimate.architecture, "ollama") or find_engine("ollama").usual_precision
    if tag is not None and estimate.precision == held:
        return tag, ()
    setup, (flag, name) = _gguf(estimate)
    return (f"hf.co/{name}" if flag == "-hf" else f"./{name.removeprefix('./')}"), setup


def llama_draft(draft: Draft) -> list[str]:
    published = gguf_repository(hub_id(draft.estimate), draft.estimate.precision)
    named = f"{published}:{draft.estimate.precision.upper()}" if published else gguf_file(draft.estimate)
    return ["-hfd" if published else "-md", named, "--spec-draft-n-max", str(draft.draft_tokens)]
