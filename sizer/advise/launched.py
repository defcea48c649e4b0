"""At which precision a command loads its model, and which of an engine's versions does it."""

from __future__ import annotations

from sizer.engine.engines import engines, find_engine
from sizer.engine.ladders import own_precision
from sizer.engine.options import EngineOptions
from sizer.engine.scripts import Launch
from sizer.errors import UnknownPrecision
from sizer.model.read.resolve import Resolved
from sizer.precision.configured import configured_precision
from sizer.precision.names import canonical
from sizer.precision.schemes import dtype_format

DTYPES = {
    "half": "fp16", "float16": "fp16", "fp16": "fp16", "bfloat16": "bf16", "bf16": "bf16", "float": "fp32",
    "float32": "fp32", "fp32": "fp32",
}  # fmt: skip
ONLINE = {"bitsandbytes": "nf4", "modelopt": "fp8", "modelopt_fp8": "fp8", "modelopt_fp4": "nvfp4", "w8a8_fp8": "fp8",
          "fbgemm_fp8": "fp8", "torchao": "torchao-int8", "experts_int8": "int8"}  # fmt: skip
"""Engines' own words for a quantization made while loading, where they are no spelling of a precision."""

PREPARED = frozenset({"awq", "awq_marlin", "gptq", "gptq_marlin", "gptq_bitblas", "compressed-tensors"})
"""Engines' words for a quantization that only files made beforehand have."""


def checkpoint_precision(resolved: Resolved, engine: str) -> str:
    """What the checkpoint is quantized to by its file, its name or its config; empty for plain floats."""
    if resolved.stored is not None:
        return resolved.stored.precision
    architecture = resolved.architecture
    own = resolved.hints.quantization or own_precision(architecture, engine)
    return own or configured_precision(architecture) or ""


def launched_precision(launch: Launch, resolved: Resolved) -> str:
    """The precision that a launch loads the model at.

    What a conversion made or a flag asks for, else what the file, its name or its config says, else the type that the
    engine's users get, else the checkpoint's own float type. Raises UnknownPrecision for a name that nothing has.
    """
    options, architecture = launch.options, resolved.architecture
    if launch.precision:
        return canonical(launch.precision)
    if options.load_bits:
        return _bitsandbytes(options)
    own = checkpoint_precision(resolved, options.engine)
    if own:
        return own
    asked = _online(options.quantization)
    if asked:
        return asked
    usual = find_engine(options.engine).usual_precision
    return usual or DTYPES.get(options.weights_dtype.lower(), "") or dtype_format(architecture)


def _bitsandbytes(options: EngineOptions) -> str:
    if options.load_bits == 8:
        return "int8"
    nested = options.double_quantization and options.four_bit_type == "nf4"
    return "nf4-dq" if nested else options.four_bit_type or "fp4"


def _online(quantization: str) -> str:
    """The precision of `--quantization`; empty for one that only names the checkpoint's own layout."""
    if not quantization:
        return ""
    try:
        return ONLINE.get(quantization) or canonical(quantization)
    except UnknownPrecision:
        return ""


def engine_for(name: str, precision: str) -> str:
    """The engine of a program that loads more than one kind of file: its kin that runs the precision, else itself.

    TabbyAPI loads EXL2 files with exllamav2 and EXL3 files with exllamav3.
    """
    engine = find_engine(name)
    if engine.runs(precision):
        return name
    kin = [other for other in engines().values() if other.flags and other.flags == engine.flags]
    return next((other.name for other in kin if other.runs(precision)), name)
