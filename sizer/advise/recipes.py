"""Ready-to-paste code and commands that run an estimate's model as estimated.

Commands are written from the rows of `data/engine_flags.csv` that `sizer check` reads them by.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

from sizer.advise.draft import Draft
from sizer.advise.older_commands import as_older
from sizer.advise.recipe_parts import Recipe, asked_flags
from sizer.advise.recipes_gguf import llama_cpp, llama_draft, ollama, ranks
from sizer.advise.repositories import file_name, hub_id, is_own_format, quantized
from sizer.answer.records import Estimate
from sizer.engine.engines import find_engine
from sizer.engine.ladders import own_precision
from sizer.errors import UsageError
from sizer.frozen import NamedTuple
from sizer.model.read.published import gguf_repository, quantized_copy
from sizer.precision.configured import configured_precision
from sizer.precision.names import precision_of
from sizer.workload import Split

BITSANDBYTES_CONFIGS = {
    "int8": ("load_in_8bit=True",),
    "nf4": ("load_in_4bit=True", 'bnb_4bit_quant_type="nf4"', "bnb_4bit_compute_dtype=torch.bfloat16"),
    "nf4-dq": (
        "load_in_4bit=True",
        'bnb_4bit_quant_type="nf4"',
        "bnb_4bit_use_double_quant=True",
        "bnb_4bit_compute_dtype=torch.bfloat16",
    ),
    "fp4": ("load_in_4bit=True", 'bnb_4bit_quant_type="fp4"', "bnb_4bit_compute_dtype=torch.bfloat16"),
}
TORCH_DTYPES = {"fp32": "torch.float32", "fp16": "torch.float16", "bf16": "torch.bfloat16"}
UNPACKED_WITHOUT_KERNELS = frozenset({"fp8", "mxfp4"})
"""What transformers says that it loads as bf16 where the device does not run it (its quantizers, 5.9.0)."""
SERVED_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}
ONLINE_QUANTIZATION = {"fp8": "fp8", "nf4": "bitsandbytes"}
"""What servers make of a 16-bit checkpoint while they load it (--quantization)."""
PLAIN_CACHES = frozenset({"fp16", "bf16"})


def _ranks(estimate: Estimate) -> dict[str, Any]:
    """The ranks of each kind over several devices."""
    count, asked = estimate.target.count, estimate.workload.parallelism
    if count == 1:
        return {}
    if asked is Split.DATA:
        return {"data_parallel": count}
    return {"pipeline_parallel" if estimate.placement.kind == "layer" else "tensor_parallel": count}


def _cache(estimate: Estimate, eight_bits: str) -> dict[str, Any]:
    kind = find_engine(estimate.engine).own_cache(estimate.workload.kv_precision)
    name = "" if kind in PLAIN_CACHES else eight_bits if kind == "fp8" else kind
    return {"k_cache_type": name, "v_cache_type": name}


def _require_loadable(estimate: Estimate) -> None:
    """Raises UsageError for a float type that a checkpoint published in fewer bits has not got."""
    model = estimate.architecture
    own = configured_precision(model) if model.quantization is not None else None
    made_while_loading = estimate.precision in SERVED_DTYPES or estimate.precision in BITSANDBYTES_CONFIGS
    if own is not None and own != estimate.precision and made_while_loading:
        engine, device = find_engine(estimate.engine), estimate.target.device
        runs = own_precision(model, engine.name) is not None and engine.has_kernels(own, device)
        other = f"{engine.name} does not run that on {device.name}: name another engine, or the model it was made of."
        raise UsageError(
            f"{model.model_id} is published in {own} alone.", f"Ask for --precision {own}." if runs else other
        )


def _loads_as_floats(estimate: Estimate) -> bool:
    """Whether transformers makes plain floats of the checkpoint by itself, as the device has no kernels for it."""
    own = configured_precision(estimate.architecture)
    runs = own is None or find_engine(estimate.engine).has_kernels(own, estimate.target.device)
    return not runs and own in UNPACKED_WITHOUT_KERNELS and estimate.precision in TORCH_DTYPES


def _stored_in_fewer_bits(estimate: Estimate) -> bool:
    """Whether the model that was named is a checkpoint in fewer than 16 bits: nothing more is made of it in loading."""
    return estimate.architecture.quantization is not None or is_own_format(estimate)


def transformers(estimate: Estimate) -> Recipe:
    """Python that loads the model with transformers' `pipeline` and answers one chat turn; an encoder reads one text.

    Raises UsageError for a precision that neither the checkpoint nor transformers' own quantization gives.
    """
    if not _loads_as_floats(estimate):
        _require_loadable(estimate)
    config = None if is_own_format(estimate) else BITSANDBYTES_CONFIGS.get(estimate.precision)
    named = quantized(estimate) if config is None and estimate.precision not in TORCH_DTYPES else None
    model_id = hub_id(estimate) if named is None else named.name
    dtype = TORCH_DTYPES.get(estimate.precision, "torch.bfloat16" if config else '"auto"')
    if dtype == '"auto"' and named is not None and named.comment:
        known = ", ".join([*TORCH_DTYPES, *BITSANDBYTES_CONFIGS])
        raise UsageError(f"no recipe for {estimate.precision!r} with transformers.", f"There are recipes for {known}.")
    imports = "BitsAndBytesConfig, pipeline" if config else "pipeline"
    arguments = "".join(f"        {argument},\n" for argument in config or ())
    extra = f'    model_kwargs={{"quantization_config": BitsAndBytesConfig(\n{arguments}    )}},\n' if config else ""
    call, task, use = _pipeline_use(estimate)
    needs_torch = "import torch\n" if "torch." in dtype + extra else ""
    code = (
        f"{needs_torch}from transformers import {imports}\n\n"
        f"{call} = pipeline(\n"
        f'    "{task}",\n'
        f"    model={model_id!r},\n"
        f"    dtype={dtype},\n"
        '    device_map="auto",\n'
        f"{extra}"
        ")\n"
        f"{use}"
    )
    return Recipe((code,))


def _pipeline_use(estimate: Estimate) -> tuple[str, str, str]:
    """How a pipeline is called, its task, and the lines that use it."""
    text = "Will it fit, and how fast?"
    if not estimate.architecture.decodes:
        task = "text-classification" if ranks(estimate) else "feature-extraction"
        return "read", task, f'print(read("{text}"))'
    tokens = estimate.workload.output_tokens
    use = (
        f'messages = [{{"role": "user", "content": "{text}"}}]\n'
        f"answer = generate(messages, max_new_tokens={tokens})\n"
        'print(answer[0]["generated_text"][-1]["content"])'
    )
    return "generate", "text-generation", use


def _served(estimate: Estimate, start: tuple[str, ...], eight_bits: str, *, online: bool = True) -> Recipe:
    """A server that loads a hub repository: the model itself, quantized while it loads, or a published copy."""
    _require_loadable(estimate)
    setup, model, fields = "", hub_id(estimate), dict[str, Any]()
    if estimate.precision in SERVED_DTYPES:
        fields["weights_dtype"] = SERVED_DTYPES[estimate.precision] if online else ""
    elif online and estimate.precision in ONLINE_QUANTIZATION and not _stored_in_fewer_bits(estimate):
        fields["quantization"] = ONLINE_QUANTIZATION[estimate.precision]
    else:
        named = quantized(estimate)
        setup, model = named.comment.rstrip("\n"), named.name
    work = estimate.workload
    limits = {"context_tokens": work.context_tokens, "max_sequences": work.batch_size}
    flags = asked_flags(estimate, {**limits, **fields, **_ranks(estimate), **_cache(estimate, eight_bits)})
    return Recipe((setup,) if setup else (), ((*start, model, *flags),))


def vllm(estimate: Estimate) -> Recipe:
    """`vllm serve` with the context, the cache precision and the number of devices of the estimate."""
    if precision_of(estimate.precision).is_gguf:
        name = gguf_repository(hub_id(estimate), estimate.precision)
        if name is None:
            raise UsageError(
                f"no published {estimate.precision} file of {hub_id(estimate)} is known.", "Use llama.cpp."
            )
        work = estimate.workload
        limits = {"context_tokens": work.context_tokens, "max_sequences": work.batch_size}
        flags = asked_flags(estimate, {**limits, **_ranks(estimate), **_cache(estimate, "fp8")})
        model = f"{name}:{estimate.precision.upper()}"
        return Recipe((), (("vllm", "serve", model, "--tokenizer", hub_id(estimate), *flags),))
    return _served(estimate, ("vllm", "serve"), "fp8")


def sglang(estimate: Estimate) -> Recipe:
    """`python -m sglang.launch_server`."""
    return _served(estimate, ("python", "-m", "sglang.launch_server", "--model-path"), "fp8_e4m3")


def tensorrt_llm(estimate: Estimate) -> Recipe:
    """`trtllm-serve`: it loads checkpoints as they are published."""
    return _served(estimate, ("trtllm-serve",), "fp8", online=False)


def mlx_lm(estimate: Estimate) -> Recipe:
    """The published MLX copy, else a conversion at the precision's bits; then generate."""
    setup, name = _mlx_model(estimate)
    run = ["mlx_lm.generate", "--model", name, "--prompt", "Will it fit, and how fast?"]
    kind = find_engine("mlx-lm").own_cache(estimate.workload.kv_precision)
    bits = ("--kv-bits", kind.removeprefix("mlx-q"), "--quantized-kv-start", "0") if kind.startswith("mlx-q") else ()
    return Recipe(setup, ((*run, "--max-tokens", str(estimate.workload.output_tokens), *bits),))


def _mlx_model(estimate: Estimate) -> tuple[tuple[str, ...], str]:
    precision = estimate.precision
    bits = precision.removeprefix("mlx-").partition("bit")[0] if precision.startswith("mlx-") else ""
    mode = precision if precision in {"mxfp4", "nvfp4"} else ""
    if not (bits or mode):
        _require_loadable(estimate)
        return (), hub_id(estimate)
    if is_own_format(estimate):
        return (), quantized(estimate).name
    copy = quantized_copy(hub_id(estimate), precision, "mlx-lm")
    if copy is not None:
        return (), copy
    folder = f"{file_name(estimate)}-{bits + 'bit' if bits else mode}"
    how = ["--q-bits", bits] if bits else ["--q-mode", mode]
    convert = ["mlx_lm.convert", "--hf-path", hub_id(estimate), "-q", *how, "--mlx-path", folder]
    return (shlex.join(convert),), folder


def _vllm_draft(draft: Draft) -> list[str]:
    config = {"method": "draft_model", "model": hub_id(draft.estimate)}
    return ["--speculative-config", json.dumps({**config, "num_speculative_tokens": draft.draft_tokens})]


def _mlx_draft(draft: Draft) -> list[str]:
    return ["--draft-model", _mlx_model(draft.estimate)[1], "--num-draft-tokens", str(draft.draft_tokens)]


class Writer(NamedTuple):
    """What writes an engine's commands: `run` those of an estimate, `draft` the flags for a draft model beside it (None
    where it takes none). `reads_texts`: they serve a model that reads texts and writes none, too."""

    run: Callable[[Estimate], Recipe]
    draft: Callable[[Draft], list[str]] | None = None
    reads_texts: bool = False


RECIPES = {
    "transformers": Writer(transformers, reads_texts=True),
    "vllm": Writer(vllm, _vllm_draft, reads_texts=True),
    "sglang": Writer(sglang, reads_texts=True),
    "tensorrt-llm": Writer(tensorrt_llm),
    "llama.cpp": Writer(llama_cpp, llama_draft, reads_texts=True),
    "ollama": Writer(ollama),
    "mlx-lm": Writer(mlx_lm, _mlx_draft),
}


def engines_with_recipes(estimate: Estimate) -> tuple[str, ...]:
    """The engines that there is a command for, for this kind of model."""
    decodes = estimate.architecture.decodes
    return tuple(engine for engine, writer in RECIPES.items() if decodes or writer.reads_texts)


def engines_with_drafts() -> tuple[str, ...]:
    """The engines that there is a command with a draft model for."""
    return tuple(engine for engine, writer in RECIPES.items() if writer.draft)


def recipe(estimate: Estimate, engine: str | None = None, draft: Draft | None = None) -> str:
    """The text that runs this estimate with its engine (or another one), with a draft model where one is given.

    UsageError where there is no recipe, or none with a draft.
    """
    wanted = engine or estimate.engine
    known = engines_with_recipes(estimate)
    if wanted not in known:
        reads = "" if estimate.architecture.decodes else ", which would read texts and write nothing"
        raise UsageError(f"no recipe for the engine {wanted!r}{reads}.", f"There are recipes for {', '.join(known)}.")
    kind, caches = estimate.workload.kv_precision, find_engine(wanted).caches
    if not find_engine(wanted).own_cache(kind):
        raise UsageError(f"{wanted} has no {kind} cache.", f"Ask for --kv-precision {', '.join(caches)}.")
    writer = RECIPES[wanted]
    made = writer.run(estimate)
    version = estimate.options.version if estimate.options.engine == wanted else ""
    if draft is None:
        return as_older(made.text(), wanted, version)
    if writer.draft is None:
        raise UsageError(
            f"no recipe with a draft for {wanted!r}.", f"There are such for {', '.join(engines_with_drafts())}."
        )
    return as_older(made.text(tuple(writer.draft(draft))), wanted, version)
