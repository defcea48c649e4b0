"""How a checkpoint says that it is stored: `quantization_config`, applied to each tensor.

What a config lists as not converted stays in 16 bits, layer by layer where it says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sizer.errors import UnknownPrecision
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture, Tensor, Tower
from sizer.precision.identity_cache import IdentityCache
from sizer.precision.names import precision_of
from sizer.precision.schemes import (
    EXPERT_ROLES,
    MATRIX_MODULES,
    PROJECTION_ROLES,
    SCHEMES,
    TensorFormat,
    dtype_format,
    half_format,
)

if TYPE_CHECKING:
    from sizer.precision.configured_methods import Configured


@dataclass(frozen=True)
class Plan:
    """A configured precision ready to be applied; `expand` is set where layers differ."""

    precision: str
    kind: str
    tensor_format: TensorFormat
    expand: TensorFormat | None = None
    exact: bool = True
    notes: tuple[str, ...] = ()


_CACHE: IdentityCache[Architecture, Configured | None] = IdentityCache(32)


def configured_precision(architecture: Architecture) -> str | None:
    """The precision that the checkpoint is stored in by its config, or None for plain floats.

    Raises UnknownPrecision for a method that no scheme describes.
    """
    method = _CACHE.get(architecture, "method", lambda: _method(architecture))
    return None if method is None else method.precision


def plan(architecture: Architecture) -> Plan | None:
    """How each tensor is stored by the config, or None for plain floats. Raises UnknownPrecision, InvalidConfig."""
    method = _CACHE.get(architecture, "method", lambda: _method(architecture))
    if method is None:
        return None
    kind = precision_of(method.precision).kind
    if method.scheme:
        choose = SCHEMES[method.scheme](architecture, method.format)
        rest = dtype_format(architecture) if method.scheme == "bitsandbytes" else half_format(architecture)
    else:
        rest = half_format(architecture)
        choose = _projections(method, rest)
    ignored = method.ignored
    # DeepSeek-V4 stores its experts in 4-bit floats with an 8-bit scale for 32, whatever the rest.
    four_bit_experts = architecture.config.get("expert_dtype") == "fp4" and method.format.startswith("fp8")

    def tensor_format(tensor: Tensor) -> str:
        key = choose(tensor)
        if four_bit_experts and tensor.role in EXPERT_ROLES and key == method.format:
            key = "mxfp4"
        return rest if key != rest and _module(tensor) in ignored else key

    by_layer = ignored.by_layer or method.chosen is not None
    return Plan(method.precision, kind, tensor_format, tensor_format if by_layer else None, method.exact, method.notes)


def _module(tensor: Tensor) -> str:
    """The module that owns a tensor, as exception lists name it."""
    return tensor.name.removesuffix(".weight")


def _projections(method: Configured, rest: str) -> TensorFormat:
    """The method's format for every projection, draft layers included, or what it chooses for the module."""

    def choose(tensor: Tensor) -> str:
        if tensor.module not in MATRIX_MODULES or len(tensor.shape) < 2:
            return rest
        own = method.chosen(_module(tensor)) if method.chosen is not None else None
        if own is not None:
            return own
        text = tensor.tower in (Tower.TEXT, Tower.ENCODER, Tower.MTP)
        return method.format if text and tensor.role in PROJECTION_ROLES and method.format else rest

    return choose


def _method(architecture: Architecture) -> Configured | None:
    settings = architecture.quantization
    if not settings:
        return None
    from sizer.precision.configured_methods import method_name, readers

    name = method_name(settings)
    if name is None:
        return None
    read = readers().get(name)
    if read is None:
        known = ", ".join(sorted(readers()))
        raise UnknownPrecision(
            f"the config's quantization method {name!r:.80} is not known.",
            f"Known: {known}. Name a --precision instead.",
        )
    return read(settings)
