"""YAML of what serves models: Ray Serve LLM, KServe, llm-d, vLLM's production stack, LocalAI, SkyPilot, dstack.

Each becomes the shell's text of what it starts. Read in the docs of Ray 2.4x to master, KServe's samples and its
python/huggingfaceserver, production-stack's helm/templates, LocalAI's core/config and SkyPilot's and dstack's examples.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

_URI = re.compile(r"^[a-z0-9]+://")
_CAPITAL = re.compile(r"(?<!^)(?=[A-Z])")
_SWITCHES = {"true": "--{}", "false": "--no-{}"}
_HUB = ("hf://", "huggingface://", "hf:")
ENGINES_OF_RAY = {"vllm": "vllm serve", "sglang": "python -m sglang.launch_server --model-path"}
GPU_COUNTS = ("SKYPILOT_NUM_GPUS_PER_NODE", "DSTACK_GPUS_NUM")


def served(part: Mapping[str, Any]) -> list[str]:
    """The commands that a mapping of such a document stands for; empty for any other mapping."""
    return (
        _ray(part)
        or _production_stack(part)
        or _kserve(part)
        or _inference_service(part)
        or _llm_d(part)
        or _localai(part)
        or _task(part)
    )


def _mapping(told: Any) -> Mapping[str, Any]:
    return told if isinstance(told, dict) else {}


def _text(told: Any) -> str:
    return told if isinstance(told, str) else ""


def _listed(told: Any) -> list[str]:
    """The words of a list, or of one text as a shell splits it."""
    if isinstance(told, list):
        return [word for word in told if isinstance(word, str)]
    try:
        return shlex.split(_text(told))
    except ValueError:
        return _text(told).split()


def _flag(name: str, value: Any) -> list[str]:
    """A setting as a long flag: a switch, a value, JSON for what is nested."""
    spelled = name.replace("_", "-")
    if isinstance(value, dict | list):
        return [f"--{spelled}", json.dumps(_typed(value))]
    text = _text(value)
    if text.lower() in _SWITCHES:
        return [_SWITCHES[text.lower()].format(spelled)]
    return [f"--{spelled}", text] if text and text.lower() not in {"null", "~"} else []


def _typed(value: Any) -> Any:
    """Values that stand as text, as JSON has them."""
    if isinstance(value, dict):
        return {name: _typed(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_typed(inner) for inner in value]
    try:
        return json.loads(_text(value))
    except ValueError:
        return value


def _named(uri: str) -> str:
    """The model of a URI: a hub's repository, or the last name of a path; of an image, its tag."""
    for scheme in _HUB:
        if uri.startswith(scheme):
            return uri.removeprefix(scheme)
    if not _URI.match(uri):
        return uri
    last = uri.rstrip("/").rpartition("/")[2]
    return last.partition(":")[2] or last if uri.startswith("oci://") else last


def _command(words: str, *more: str) -> str:
    return f"{words} {shlex.join(more)}"


def _ray(part: Mapping[str, Any]) -> list[str]:
    """An entry of `llm_configs`: its model, and `engine_kwargs` as the engine's flags."""
    loaded = _mapping(part.get("model_loading_config"))
    model = _text(loaded.get("model_source")) or _text(loaded.get("model_id"))
    start = ENGINES_OF_RAY.get((_text(part.get("llm_engine")) or "vllm").lower())
    if not model or start is None:
        return []
    flags = [word for name, value in _mapping(part.get("engine_kwargs")).items() for word in _flag(name, value)]
    return [_command(start, _named(model), *flags)]


def _production_stack(part: Mapping[str, Any]) -> list[str]:
    """An entry of `servingEngineSpec.modelSpec`, whose `vllmConfig` is written in capitals and small letters."""
    model, config = _text(part.get("modelURL")), _mapping(part.get("vllmConfig"))
    if not model:
        return []
    flags = []
    for name, value in config.items():
        if isinstance(value, str) and name != "v0":
            flags += _flag(_CAPITAL.sub("-", name).lower(), value)
    flags += ["--enable-lora"] if _text(part.get("enableLoRA")) == "true" else []
    words = [model, *flags, *_listed(config.get("extraArgs"))]
    image = _text(part.get("repository"))
    if image == "vllm/vllm-openai" and part.get("tag"):
        return [_command("docker run", f"{image}:{part['tag']}", "--model", *words)]
    return [_command("vllm serve", *words)]


def _kserve(part: Mapping[str, Any]) -> list[str]:
    """An InferenceService's predictor: KServe's own server, or vLLM where the format or the runtime is vLLM's."""
    form = _text(_mapping(part.get("modelFormat")).get("name")).lower()
    if form not in {"huggingface", "vllm"}:
        return []
    words, model = _listed(part.get("args")), _named(_text(part.get("storageUri")))
    if form == "vllm" or "vllm" in _text(part.get("runtime")).lower():
        return [_command("vllm serve", *([model] if model else []), *words)]
    named = any(word.startswith(("--model_id", "--model-id")) for word in words)
    return [_command("huggingfaceserver", *([] if named or not model else [f"--model_id={model}"]), *words)]


def _inference_service(part: Mapping[str, Any]) -> list[str]:
    """An LLMInferenceService: `vllm serve` of its model, with its parallelism and what its first container adds."""
    if part.get("kind") != "LLMInferenceService":
        return []
    spec = _mapping(part.get("spec"))
    model, template = _mapping(spec.get("model")), _mapping(spec.get("template"))
    uri = _text(model.get("uri"))
    name = _named(uri) if uri.startswith(_HUB) else _text(model.get("name")) or _named(uri)
    return [_vllm_of(name, spec, template)] if name else []


def _llm_d(part: Mapping[str, Any]) -> list[str]:
    """Values of llm-d's model service: what decodes, else what prefills."""
    artifacts = _mapping(part.get("modelArtifacts"))
    name = _named(_text(artifacts.get("uri"))) or _text(artifacts.get("name"))
    role = _mapping(part.get("decode")) or _mapping(part.get("prefill"))
    return [_vllm_of(name, role, role)] if name and role else []


def _vllm_of(model: str, parallel: Mapping[str, Any], template: Mapping[str, Any]) -> str:
    ranks = _mapping(parallel.get("parallelism"))
    words = [model]
    for name in ("tensor", "data", "pipeline"):
        if ranks.get(name):
            words += [f"--{name}-parallel-size", _text(ranks[name])]
    words += ["--enable-expert-parallel"] if ranks.get("expert") == "true" else []
    containers = template.get("containers")
    for container in containers[:1] if isinstance(containers, list) else ():
        for entry in container.get("env") or () if isinstance(container, dict) else ():
            if isinstance(entry, dict) and entry.get("name") == "VLLM_ADDITIONAL_ARGS":
                words += _listed(entry.get("value"))
        words += _listed(_mapping(container).get("args"))
    return _command("vllm serve", *words)


def _localai(part: Mapping[str, Any]) -> list[str]:
    """A LocalAI model file: its settings before the program, as it reads them from there too."""
    model = _text(_mapping(part.get("parameters")).get("model"))
    known = {"backend", "context_size", "name", "gpu_layers", "f16", "mmap"}
    if not model or not known & part.keys():
        return []
    told = [
        f"{name}={value}" for name, value in part.items() if isinstance(value, str) and name not in {"backend", "name"}
    ]
    backend = [f"--backend={part['backend']}"] if _text(part.get("backend")) else []
    slots = [option.partition(":")[2] for option in _listed(part.get("options")) if option.startswith("parallel:")]
    told += [f"LLAMACPP_PARALLEL={count}" for count in slots]
    model = _named(model) if model.startswith(_HUB) else model
    return [_command("env", *told, "local-ai", "run", *backend, model)]


def _task(part: Mapping[str, Any]) -> list[str]:
    """A SkyPilot task (`run`) or a dstack service (`commands`): its variables, GPUs counted, then its commands."""
    if "resources" not in part and "envs" not in part and "env" not in part:
        return []
    run, commands = _text(part.get("run")), part.get("commands")
    lines = run or "\n".join(_listed(commands) if isinstance(commands, list) else [])
    if not lines:
        return []
    told = {**_mapping(part.get("envs")), **_mapping(part.get("env"))}
    pairs = [f"{name}={value}" for name, value in told.items() if isinstance(value, str)]
    pairs += [entry for entry in _listed(part.get("env")) if "=" in entry] if isinstance(part.get("env"), list) else []
    count = _gpus(_mapping(part.get("resources")))
    pairs += [f"{name}={count}" for name in GPU_COUNTS]
    return [*(f"export {shlex.quote(pair)}" for pair in pairs), lines]


def _gpus(resources: Mapping[str, Any]) -> str:
    """How many GPUs a task's resources ask for: the first they name (`A100:8`, `{H100: 4}`, `count: 2`), else one."""
    told = resources.get("accelerators", resources.get("gpu"))
    if isinstance(told, list):
        told = next(iter(told), "")
    if isinstance(told, dict):
        first, count = next(iter(told.items()), ("", None))
        told = f":{told['count']}" if "count" in told else f"{first}:{count or ''}"
    counts = [word for word in _text(told).split(":")[1:] if word.isdigit()]
    return counts[0] if counts else "1"
