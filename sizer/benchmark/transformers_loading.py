"""Models put where transformers runs them: the device, and `from_pretrained` or random weights in a precision."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sizer.benchmark.recipes_transformers import Recipe, recipe
from sizer.benchmark.records import Spec
from sizer.errors import NothingToLoad, UnloadableWeights, UsageError


def pick_device(text: str) -> Any:
    """The torch device of `auto`, `cpu`, `cuda`, `cuda:1` or `mps`; the best there is for `auto`."""
    import os

    import torch

    if text == "auto":
        text = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    device = torch.device(text)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError("torch sees no GPU here.", "Use --device cpu, or install a torch build for your GPU.")
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    return device


def load(spec: Spec, device: Any) -> Any:
    """The model of `spec`, in evaluation mode, on its device or devices."""
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = spec.config if spec.config is not None else repository_config(spec)
    how = recipe(spec.precision, config)
    options = load_options(spec, how, device)
    if spec.config is not None:
        from sizer.benchmark.random_weights import build

        fields = {name: value for name, value in spec.config.items() if name != "quantization_config"}
        if how.stored:
            fields["quantization_config"] = dict(how.stored)
        model = build(fields, options)
    else:
        model = _load_repository(spec, how, options, config)
    model.eval()
    return model


def load_options(spec: Spec, how: Recipe, device: Any) -> dict[str, Any]:
    """The arguments of `from_pretrained` that the precision and the placement ask for."""
    import torch

    options: dict[str, Any] = {"dtype": getattr(torch, how.dtype)}
    if how.bitsandbytes:
        from transformers import BitsAndBytesConfig

        options["quantization_config"] = BitsAndBytesConfig(**how.bitsandbytes)
    if spec.parallelism == "tensor" and spec.device_count > 1:
        try:
            from transformers.distributed import DistributedConfig

            options["distributed_config"] = DistributedConfig(tp_plan="auto", tp_size=spec.device_count)
        except (ImportError, TypeError):  # transformers before its DistributedConfig
            options["tp_plan"] = "auto"
    elif device.type == "cuda" and spec.device == "auto":
        options["device_map"] = "auto"
    else:
        options["device_map"] = {"": device}
    return options


def repository_config(spec: Spec) -> Mapping[str, Any]:
    """The config.json of a directory or hub repository, as it stands."""
    from transformers import PretrainedConfig

    try:
        fields, _ = PretrainedConfig.get_config_dict(
            spec.model, local_files_only=spec.offline, revision=spec.revision or "main"
        )
    except OSError as error:
        raise _unloadable(spec, error) from error
    return dict(fields)


def _load_repository(spec: Spec, how: Recipe, options: dict[str, Any], config: Mapping[str, Any]) -> Any:
    """The model, quantized on the way where the precision asks for it. Raises UsageError where it cannot be made so."""
    from transformers import AutoModelForCausalLM

    if how.stored and not config.get("quantization_config") and how.stored.get("quant_method") in ("gptq", "awq"):
        raise NothingToLoad(
            f"{spec.model!r} is not stored as {spec.precision!r}, and transformers cannot make it so while loading.",
            "Name a repository that is, or add --random-weights.",
        )
    try:
        return AutoModelForCausalLM.from_pretrained(
            spec.model,
            use_safetensors=True,  # a pickle can run code: it is never opened
            trust_remote_code=spec.trust_remote_code,
            local_files_only=spec.offline,
            revision=spec.revision or "main",
            offload_folder=spec.scratch,
            **options,
        )
    except OSError as error:
        raise _unloadable(spec, error) from error


def _unloadable(spec: Spec, error: OSError) -> Exception:
    """The hub's many ways to say that the files are not to be had as one of ours; a full disk stays what it is."""
    if error.errno is not None:
        return error
    said = " ".join(str(error).split())[:300]
    return UnloadableWeights(
        f"The weights of {spec.model!r} cannot be loaded: {said}",
        "They must be safetensors, here or on the hub; --random-weights measures without them.",
    )
