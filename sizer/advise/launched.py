"""At which precision a command loads its model, and which of an engine's versions does it."""

from __future__ import annotations

from sizer.engine.engines import engines, find_engine
from sizer.engine.ladders import own_precision
from sizer.engine.options import EngineOptions
from sizer.engine.quantizations import made_online
from sizer.engine.scripts import Launch
from sizer.errors import UsageError, did_you_mean
from sizer.methods import methods
from sizer.model.architecture import Architecture
from sizer.model.read.name_quantization import unsized_error
from sizer.model.read.resolve import Resolved, tag_of
from sizer.precision.configured import configured_precision
from sizer.precision.configured_methods import method_name
from sizer.precision.names import all_precisions, canonical, precision_of
from sizer.precision.schemes import dtype_format

DTYPES = {
    "half": "fp16", "float16": "fp16", "fp16": "fp16", "f16": "fp16", "bfloat16": "bf16", "bf16": "bf16",
    "float": "fp32", "float32": "fp32", "fp32": "fp32", "f32": "fp32",
}  # fmt: skip
WRITTEN_BESIDES = {
    "fp8": ("compressed-tensors", "modelopt"), "nvfp4": ("compressed-tensors",), "awq": ("compressed-tensors",),
}  # fmt: skip
"""By kind: further methods whose files hold it (their own kinds are others)."""


def checkpoint_precision(resolved: Resolved, engine: str) -> str:
    """What the checkpoint is quantized to by its file, its name or its config; empty for plain floats."""
    if resolved.stored is not None:
        return resolved.stored.precision
    architecture = resolved.architecture
    own = resolved.hints.quantization or own_precision(architecture, engine) or configured_precision(architecture)
    return own or resolved.hints.as_many_bits or ""


def launched_precision(launch: Launch, resolved: Resolved) -> str:
    """The precision that a launch loads the model at.

    What a conversion made or a flag asks for, else what the file, its name or its config says, else the type that the
    engine's users get, else the checkpoint's own float type. Raises UnknownPrecision for a name that nothing has,
    UsageError for a name that tells a kind of files without their bits.
    """
    options, architecture = launch.options, resolved.architecture
    if launch.precision:
        return canonical(launch.precision)
    own = checkpoint_precision(resolved, options.engine)
    found = flagged_precision(options, own) or own
    if found:
        return found
    if resolved.hints.unsized:
        raise unsized_error(options.model, resolved.hints.unsized, "Name a copy of another kind, or the model itself.")
    if resolved.hints.lacks_bits:
        name = options.model.rstrip("/")
        raise UsageError(
            f"{name!r} does not say the bits per weight of its files.", f"Write them into the name: {name}-4.0bpw."
        )
    engine, stored = find_engine(options.engine), dtype_format(architecture)
    if (tag := tag_of(options.model)) and ("gguf" in options.model.lower() or "hf.co/" in options.model.lower()):
        known = [name for name in all_precisions() if precision_of(name).is_gguf]
        raise UsageError(
            f"{tag!r:.80} in {options.model!r:.200} is no type of GGUF files that is known.",
            did_you_mean(tag.lower(), known) or "Write one, as Q4_K_M: 'sizer precisions' lists them.",
        )
    if not engine.usual_precision and "gguf" in options.model.lower():
        raise UsageError(
            f"{options.model!r:.200} holds files of several types, and {engine.name} takes one.",
            f"Name it: {options.model.rstrip('/'):.200}:Q4_K_M.",
        )
    return engine.usual_precision or (engine.float32_as if stored == "fp32" else "") or stored


def flagged_precision(options: EngineOptions, own: str) -> str:
    """At which precision the flags load files of `own` (empty: plain floats); empty where none speaks of precision.

    Quantized files keep their own, except where transformers is told to quantize them.
    """
    if options.load_bits:
        return _bitsandbytes(options)
    online = made_online(options.engine, options.quantization) if options.quantization else ""
    dtype = DTYPES.get(options.weights_dtype.lower(), "")
    return (own or online or dtype) if options.quantization or dtype else ""


def _bitsandbytes(options: EngineOptions) -> str:
    """What bitsandbytes makes; of four bits the commands take NF4 (ChatArguments, ServeArguments), the class FP4."""
    if options.load_bits == 8:
        return "int8"
    kind = options.four_bit_type or "nf4"
    return "nf4-dq" if options.double_quantization and kind == "nf4" else kind


def checkpoint_methods(architecture: Architecture, own_precision: str) -> frozenset[str]:
    """The methods that a quantized checkpoint may be of: its config's, else those that make a precision of that kind.

    A name alone says FP8, which four methods write; integers of their own kind have one.
    """
    if architecture.quantization:
        name = method_name(architecture.quantization)
        return frozenset({name} if name else ())
    if not own_precision:
        return frozenset()
    kind = precision_of(own_precision).kind
    return frozenset({kind, *(name for name, _ in methods()[kind].config), *WRITTEN_BESIDES.get(kind, ())})


def engine_for(name: str, precision: str) -> str:
    """The engine of a program that loads more than one kind of file: its kin that runs the precision, else itself.

    TabbyAPI loads EXL2 files with exllamav2 and EXL3 files with exllamav3.
    """
    engine = find_engine(name)
    if engine.runs(precision):
        return name
    kin = [other for other in engines().values() if other.flags and other.flags == engine.flags]
    return next((other.name for other in kin if other.runs(precision)), name)
