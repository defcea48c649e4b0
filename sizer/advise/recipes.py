"""Ready-to-paste code and commands that run an estimate's model as estimated."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable

from sizer.advise.draft import Draft
from sizer.answer.records import Estimate
from sizer.errors import UsageError

BITSANDBYTES_CONFIGS = {
    "int8": "BitsAndBytesConfig(load_in_8bit=True)",
    "nf4": 'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16)',
    "nf4-dq": (
        'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, '
        "bnb_4bit_compute_dtype=torch.bfloat16)"
    ),
    "fp4": 'BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="fp4", bnb_4bit_compute_dtype=torch.bfloat16)',
}
TORCH_DTYPES = {"fp32": "torch.float32", "fp16": "torch.float16", "bf16": "torch.bfloat16"}
LLAMA_CPP_CACHE_TYPES = {"fp16": "f16", "bf16": "bf16", "fp32": "f32"}
VLLM_ONLINE_QUANTIZATION = {"fp8": "fp8", "int8": "bitsandbytes", "nf4": "bitsandbytes"}


COPY_SUFFIXES = {"awq": "AWQ", "gptq": "GPTQ", "w8a8": "quantized.w8a8", "w4a16": "quantized.w4a16", "nvfp4": "NVFP4"}


def file_name(estimate: Estimate) -> str:
    """The model's own name, fit for a file, a tag or a Modelfile: what could end a word or a line is replaced."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", estimate.architecture.model_id.rsplit("/", 1)[-1]).lstrip("-.") or "model"


def gguf_file(estimate: Estimate) -> str:
    """The usual file name of the model at this GGUF type: `Qwen3-8B-Q4_K_M.gguf`."""
    return f"{file_name(estimate)}-{estimate.precision.upper()}.gguf"


def model_argument(estimate: Estimate) -> str:
    """The model's id or path as an argument: one that starts with a dash is written as a path, not taken as a flag."""
    model_id = estimate.architecture.model_id
    return f"./{model_id}" if model_id.startswith("-") else model_id


def repository(estimate: Estimate) -> tuple[str, str]:
    """The repository to load, and a comment where it is a quantized copy whose name is only the usual one."""
    model_id = model_argument(estimate)
    suffix = COPY_SUFFIXES.get(estimate.precision.split("-", 1)[0])
    if suffix is None or estimate.architecture.quantization is not None:
        return model_id, ""
    return f"{model_id}-{suffix}", f"# a copy of {model_id!r} in {estimate.precision}; its name may differ\n"


def transformers(estimate: Estimate) -> str:
    """Python that loads the model with transformers' `pipeline` and answers one chat turn.

    Raises UsageError for a precision that neither the checkpoint nor transformers' own quantization gives.
    """
    model_id, comment = repository(estimate)
    quantized = BITSANDBYTES_CONFIGS.get(estimate.precision)
    dtype = TORCH_DTYPES.get(estimate.precision, "torch.bfloat16" if quantized else '"auto"')
    if dtype == '"auto"' and not comment and estimate.architecture.quantization is None:
        known = ", ".join([*TORCH_DTYPES, *BITSANDBYTES_CONFIGS])
        raise UsageError(f"no recipe for {estimate.precision!r} with transformers.", f"There are recipes for {known}.")
    imports = "BitsAndBytesConfig, pipeline" if quantized else "pipeline"
    extra = f'    model_kwargs={{"quantization_config": {quantized}}},\n' if quantized else ""
    needs_torch = "import torch\n" if "torch." in dtype + extra else ""
    return (
        f"{needs_torch}from transformers import {imports}\n\n"
        f"{comment}"
        "generate = pipeline(\n"
        '    "text-generation",\n'
        f"    model={model_id!r},\n"
        f"    dtype={dtype},\n"
        '    device_map="auto",\n'
        f"{extra}"
        ")\n"
        'messages = [{"role": "user", "content": "Will it fit, and how fast?"}]\n'
        f"answer = generate(messages, max_new_tokens={estimate.workload.output_tokens})\n"
        'print(answer[0]["generated_text"][-1]["content"])\n'
    )


def vllm(estimate: Estimate) -> str:
    """`vllm serve` with the context, the cache precision and the number of devices of the estimate."""
    model_id, comment = repository(estimate)
    command = ["vllm", "serve", model_id]
    command += ["--max-model-len", str(estimate.workload.context_tokens)]
    command += ["--max-num-seqs", str(estimate.workload.batch_size)]
    if estimate.precision in {"bf16", "fp16", "fp32"}:
        command += ["--dtype", {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}[estimate.precision]]
    elif estimate.precision in VLLM_ONLINE_QUANTIZATION and not estimate.architecture.quantization:
        command += ["--quantization", VLLM_ONLINE_QUANTIZATION[estimate.precision]]
    if estimate.target.count > 1:
        kind = "pipeline" if estimate.placement.kind == "layer" else "tensor"
        command += [f"--{kind}-parallel-size", str(estimate.target.count)]
    if estimate.workload.kv_precision == "fp8":
        command += ["--kv-cache-dtype", "fp8"]
    return f"{comment}{shlex.join(command)}\n"


def _llama_flags(estimate: Estimate) -> list[str]:
    """The flags that llama-server and llama-cli share."""
    workload, placement = estimate.workload, estimate.placement
    flags = ["-m", gguf_file(estimate), "-c", str(workload.context_tokens * workload.batch_size)]
    layers = estimate.architecture.num_layers
    if placement.host_experts:
        flags += ["-ngl", "99", "--n-cpu-moe", str(layers - placement.gpu_layers)]
    elif placement.gpu_layers:
        # All layers without the output head are not everything: only 99 takes it too.
        flags += ["-ngl", "99" if placement.host is None else str(placement.gpu_layers + 1)]
    else:
        flags += ["-ngl", "0"]
    cache_type = LLAMA_CPP_CACHE_TYPES.get(workload.kv_precision, workload.kv_precision)
    if cache_type != "f16":
        flags += ["-fa", "on", "-ctk", cache_type, "-ctv", cache_type]
    if workload.threads:
        flags += ["-t", str(workload.threads)]
    if estimate.target.count > 1:
        flags += ["-sm", "layer"]
    return flags


def llama_cpp(estimate: Estimate) -> str:
    """`llama-server` for serving and `llama-cli` for the terminal."""
    parallel = ["-np", str(estimate.workload.batch_size)] if estimate.workload.batch_size > 1 else []
    server = ["llama-server", *_llama_flags(estimate), *parallel]
    cli = ["llama-cli", *_llama_flags(estimate), "-n", str(estimate.workload.output_tokens)]
    return f"{shlex.join(server)}\n{shlex.join(cli)}\n"


def ollama(estimate: Estimate) -> str:
    """A Modelfile, and the two commands that create and run it."""
    name = file_name(estimate).lower()
    lines = [f"FROM ./{gguf_file(estimate)}", f"PARAMETER num_ctx {estimate.workload.context_tokens}"]
    if estimate.placement.host is not None:
        lines.append(f"PARAMETER num_gpu {estimate.placement.gpu_layers + 1}")
    if estimate.workload.threads:
        lines.append(f"PARAMETER num_thread {estimate.workload.threads}")
    tag = f"{name}:{estimate.precision}"
    return "\n".join([*lines, "", f"# ollama create {tag} -f Modelfile && ollama run {tag}", ""])


def mlx_name(estimate: Estimate) -> str:
    """The folder that a conversion writes, or the model itself where its precision needs no conversion."""
    bits = _mlx_bits(estimate)
    return f"{file_name(estimate)}-{bits}bit" if bits else model_argument(estimate)


def _mlx_bits(estimate: Estimate) -> str:
    bits = estimate.precision.removeprefix("mlx-").removesuffix("bit")
    return bits if bits.isdigit() else ""


def mlx_lm(estimate: Estimate) -> str:
    """Convert once at the precision's bits, then generate."""
    bits, name = _mlx_bits(estimate), mlx_name(estimate)
    convert = ["mlx_lm.convert", "--hf-path", model_argument(estimate), "-q", "--q-bits", bits]
    run = ["mlx_lm.generate", "--model", name, "--prompt", "Will it fit, and how fast?"]
    run += ["--max-tokens", str(estimate.workload.output_tokens)]
    commands = [[*convert, "--mlx-path", name], run] if bits else [run]
    return "".join(shlex.join(command) + "\n" for command in commands)


def _llama_draft(draft: Draft) -> list[str]:
    return ["-md", gguf_file(draft.estimate), "--spec-draft-n-max", str(draft.draft_tokens)]


def _vllm_draft(draft: Draft) -> list[str]:
    config = {"method": "draft_model", "model": model_argument(draft.estimate)}
    return ["--speculative-config", json.dumps({**config, "num_speculative_tokens": draft.draft_tokens})]


def _mlx_draft(draft: Draft) -> list[str]:
    return ["--draft-model", mlx_name(draft.estimate), "--num-draft-tokens", str(draft.draft_tokens)]


RUNNERS = ("llama-server ", "llama-cli ", "vllm serve ", "mlx_lm.generate ")
DRAFT_FLAGS: dict[str, Callable[[Draft], list[str]]] = {
    "llama.cpp": _llama_draft,
    "vllm": _vllm_draft,
    "mlx-lm": _mlx_draft,
}

RECIPES: dict[str, Callable[[Estimate], str]] = {
    "transformers": transformers,
    "vllm": vllm,
    "llama.cpp": llama_cpp,
    "ollama": ollama,
    "mlx-lm": mlx_lm,
}


def recipe(estimate: Estimate, engine: str | None = None, draft: Draft | None = None) -> str:
    """The text that runs this estimate with its engine (or another one), with a draft model where one is given.

    UsageError where there is no recipe, or none with a draft.
    """
    wanted = engine or estimate.engine
    if wanted not in RECIPES:
        raise UsageError(f"no recipe for the engine {wanted!r}.", f"There are recipes for {', '.join(RECIPES)}.")
    text = RECIPES[wanted](estimate)
    if draft is None:
        return text
    if wanted not in DRAFT_FLAGS:
        raise UsageError(f"no recipe with a draft for {wanted!r}.", f"There are such for {', '.join(DRAFT_FLAGS)}.")
    flags = shlex.join(DRAFT_FLAGS[wanted](draft))
    lines = text.splitlines()
    # A conversion comes before the command that runs the model: only the latter takes a draft.
    return "".join(f"{line} {flags}\n" if line.startswith(RUNNERS) else f"{line}\n" for line in lines)
