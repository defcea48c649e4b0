"""From what the user asks to what the child process runs: which backend, which precision, which weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sizer.benchmark.backends import BACKENDS, LLAMA_CPP, SERVER, TRANSFORMERS, Backend
from sizer.benchmark.records import Spec
from sizer.errors import DoesNotFit, NothingToLoad, UnloadableWeights, UsageError, did_you_mean
from sizer.frozen import dataclass
from sizer.units import format_gib

if TYPE_CHECKING:
    from sizer.answer.records import Estimate
    from sizer.model.read.resolve import Resolved

DEFAULT_MODEL = "Qwen/Qwen3-0.6B"
"""What runs without MODEL: small, catalogued, with random weights."""

DTYPE_PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
TORCH_DEVICES = ("auto", "this", "cpu", "cuda", "gpu", "mps")


@dataclass(frozen=True, slots=True)
class Asked:
    """A benchmark as the user asks for it; `model` empty is the default model, or the server's only one."""

    model: str = ""
    precision: str = ""
    engine: str = ""
    device: str = "auto"
    prompt_tokens: int = 512
    output_tokens: int = 128
    batch_size: int = 1
    repeats: int = 3
    warmups: int = 1
    threads: int | None = None
    device_count: int = 1
    parallelism: str = ""
    gpu_layers: int | None = None
    compiled: bool = False
    random_weights: bool = False
    server_url: str = ""
    concurrency: int = 1
    offline: bool = False
    trust_remote_code: bool = False


def spec_of(asked: Asked, resolved: Resolved | None) -> Spec:
    """What to run. `resolved` is the model, None for a server's whose name says nothing.

    Raises UsageError where the options contradict each other or the model, and for a model that writes no tokens.
    """
    _check(asked)
    if asked.server_url:
        return _server_spec(asked)
    assert resolved is not None
    if not resolved.architecture.decodes:
        raise UsageError(
            f"{resolved.architecture.model_id!r} reads whole texts and writes no tokens: it generates nothing.",
            "'sizer estimate' tells how many texts a second it reads.",
        )
    if is_gguf(asked.model):
        return _spec(asked, LLAMA_CPP, asked.model, _file_precision(asked, resolved), None)
    random_weights = asked.random_weights or not asked.model
    config = _config(resolved) if random_weights else None
    model = resolved.architecture.model_id if random_weights else _repository(asked.model, resolved)
    return _spec(asked, TRANSFORMERS, model, precision_of(asked, resolved), config)


def is_gguf(model: str) -> bool:
    """Whether llama.cpp runs it: a .gguf file, or a hub GGUF (`org/repo-GGUF:Q4_K_M`)."""
    base, _, tag = model.rpartition(":")
    return model.lower().endswith(".gguf") or (bool(tag) and base.lower().endswith("-gguf"))


def precision_of(asked: Asked, resolved: Resolved) -> str:
    """The canonical precision: as asked, else what the repository's own config says it is stored in."""
    from sizer.precision.configured import configured_precision
    from sizer.precision.names import canonical

    if asked.precision:
        return canonical(asked.precision)
    architecture = resolved.architecture
    return configured_precision(architecture) or DTYPE_PRECISIONS.get(architecture.dtype, "bf16")


def refuse_what_cannot_fit(predicted: Estimate | None, asked: Asked) -> None:
    """DoesNotFit where the estimate says that no place here holds the model."""
    if predicted is None or predicted.placement.available_bytes is None or predicted.placement.fits:
        return
    needed, available = predicted.placement.device_bytes, predicted.placement.available_bytes
    raise DoesNotFit(
        f"{predicted.architecture.model_id!r} at {predicted.precision} needs {format_gib(needed)}, and "
        f"{predicted.target.device.name} has {format_gib(available)}.",
        f"'sizer recommend {asked.model or DEFAULT_MODEL}' says what fits; --force tries it all the same.",
    )


def _check(asked: Asked) -> None:
    """Raises UsageError for what cannot be measured, whatever the model turns out to be."""
    if asked.output_tokens < 2:
        raise UsageError(f"--output {asked.output_tokens} is too short to time decoding.", "Ask for two or more.")
    own = [backend.name for backend in BACKENDS.values() if backend.starts]
    if asked.engine and asked.engine not in own and not asked.server_url:
        raise UsageError(
            f"sizer bench cannot start the engine {asked.engine!r} itself.",
            did_you_mean(asked.engine, own) or f"Start it, and measure it with --server URL --engine {asked.engine}.",
        )
    if asked.server_url and (asked.random_weights or asked.compiled or asked.parallelism):
        raise UsageError("--server measures a server as it runs.", "Leave --random-weights, --compile, --parallel out.")
    if not asked.server_url and asked.concurrency > 1:
        raise UsageError("--concurrency is for --server.", "Use --batch for several sequences at once.")
    if not asked.server_url and asked.device.split(":")[0] not in TORCH_DEVICES:
        raise UsageError(
            f"sizer bench runs on this machine, not on {asked.device!r}.",
            "Use --device auto, cpu, cuda, cuda:1 or mps; 'sizer estimate --device' is for other machines.",
        )
    if asked.device_count > 1 and asked.parallelism != "tensor":
        raise UsageError(f"--devices {asked.device_count} needs --parallel tensor.", "Or leave --devices out.")


def _server_spec(asked: Asked) -> Spec:
    from sizer.precision.names import canonical

    return _spec(asked, SERVER, asked.model, canonical(asked.precision) if asked.precision else "", None)


def _spec(asked: Asked, backend: Backend, model: str, precision: str, config: Mapping[str, Any] | None) -> Spec:
    """What the child is to do. Raises UsageError for options that the backend has not got."""
    if asked.engine and backend.starts and asked.engine != backend.name:
        raise UsageError(
            f"{asked.engine} does not run {model!r}.", "transformers runs safetensors, llama.cpp runs .gguf files."
        )
    unasked = Asked()
    if any(getattr(asked, name) != getattr(unasked, name) for name in backend.lacks):
        raise UsageError(
            "--compile, --parallel, --batch and --random-weights are for transformers.",
            "Leave them out for a .gguf file.",
        )
    return Spec(
        backend=backend.name,
        model=model,
        precision=precision,
        config=config,
        prompt_tokens=asked.prompt_tokens,
        output_tokens=asked.output_tokens,
        batch_size=asked.batch_size,
        repeats=asked.repeats,
        warmups=asked.warmups,
        threads=asked.threads,
        device={"this": "auto", "gpu": "cuda"}.get(asked.device, asked.device),
        device_count=asked.device_count,
        parallelism=asked.parallelism if asked.device_count > 1 else "",
        compiled=asked.compiled,
        gpu_layers=asked.gpu_layers,
        server_url=asked.server_url,
        concurrency=asked.concurrency,
        offline=asked.offline,
        trust_remote_code=asked.trust_remote_code,
        revision=asked.model.partition("@")[2] if backend.takes_revisions and not Path(asked.model).exists() else "",
    )


def _config(resolved: Resolved) -> Mapping[str, Any]:
    """The config.json to build random weights from."""
    config = resolved.architecture.config
    if not config.get("model_type"):
        raise UsageError(
            f"{resolved.text!r} has no config.json to build random weights from.",
            "Name a catalogued model ('sizer models'), a directory or a config.json.",
        )
    return dict(config)


def _repository(model: str, resolved: Resolved) -> str:
    """What transformers loads: a directory, or a hub id."""
    path = Path(model).expanduser()
    if path.is_dir():
        _check_folder(path)
        return str(path)
    if path.is_file():
        folder = path.resolve().parent
        _check_folder(folder)
        return str(folder)
    name = model.partition("@")[0]
    if "/" in name:
        return name
    if "/" in resolved.architecture.model_id:
        return resolved.architecture.model_id
    raise NothingToLoad(
        f"{model!r} is a size, and there is nothing to load.",
        "Name a model, or a catalogued one with --random-weights.",
    )


def _check_folder(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
        raise UnloadableWeights(
            f"{str(folder)!r} holds pickled weights, which can run code; sizer does not open them.",
            "Convert them to safetensors, or add --random-weights.",
        )
    raise UnloadableWeights(f"{str(folder)!r} holds no weights.", "Add --random-weights to measure without them.")


def _file_precision(asked: Asked, resolved: Resolved) -> str:
    """The GGUF type, which the file (or the name's tag) decides."""
    from sizer.precision.names import canonical

    told = resolved.stored.precision if resolved.stored else (resolved.hints.quantization or "")
    if asked.precision and told and canonical(asked.precision) != told:
        raise UsageError(f"The file is stored as {told}, not as {asked.precision!r}.", "Leave --precision out.")
    return told
