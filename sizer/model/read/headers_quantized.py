"""Which tensors of a checkpoint are one quantized weight: data and scales grouped, the logical shape found.

Each scheme stores a weight as several tensors with suffixes of its own (`qweight`, `qzeros`, `scales`, `g_idx`;
`weight_packed`, `weight_scale`; `weight.absmax`; `*_blocks`, `*_scales` ...). The logical shape follows from their
shapes; what shapes leave open comes from the config's `quantization_config`, else a note says what was assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import prod
from typing import Any, TypeAlias

from sizer.frozen import dataclass
from sizer.model.read.headers import HeaderTensor, invalid

PLAIN_FORMATS = {
    "F64": "fp64", "F32": "fp32", "F16": "fp16", "BF16": "bf16", "I64": "i64", "U64": "i64", "I32": "i32", "U32": "i32",
    "I16": "i16", "U16": "i16", "I8": "i8", "U8": "i8", "BOOL": "i8", "F8_E4M3": "fp8-tensor", "F8_E5M2": "fp8-tensor",
    "F8_E4M3FNUZ": "fp8-tensor", "F8_E5M2FNUZ": "fp8-tensor", "F8_E8M0": "i8",
}  # fmt: skip

# Longest first: the first suffix that fits decides to which weight a tensor belongs, and as what.
_SUFFIXES = (
    ".weight.quant_state.bitsandbytes__nf4", ".weight.quant_state.bitsandbytes__fp4", ".weight.nested_quant_map",
    ".weight.nested_absmax", ".weight.quant_map", ".weight.absmax", ".weight_format", ".weight_global_scale",
    ".input_global_scale", ".weight_zero_point", ".weight_scale_inv", ".weight_scale_2", ".weight_packed",
    ".weight_scale", ".weight_shape", ".weight_g_idx", ".input_zero_point", ".input_scale", ".output_scale", ".qweight",
    ".qzeros", ".scales", ".biases", ".g_idx", ".SCB", ".q_scale_max", ".q_group_map", ".q_invperm", ".q_weight",
    ".q_groups", ".q_scale", ".q_perm", ".trellis", ".suh", ".svh", ".mcg", ".mul1", ".W_q", ".codebooks", ".codes",
    ".weight", "_scale_inv", "_blocks", "_scales",
)  # fmt: skip
Parts = Mapping[str, HeaderTensor]
# Logical shape, format and note; None where the parts are not of this scheme.
Seen: TypeAlias = "tuple[tuple[int, ...], str, str] | None"


@dataclass(frozen=True, slots=True)
class Weight:
    """One logical weight: its name (`....weight`), its shape before quantization, how it is stored, all its bytes."""

    name: str
    shape: tuple[int, ...]
    format: str
    size_bytes: int
    note: str = ""


def weights(tensors: Iterable[HeaderTensor], quantization: Mapping[str, Any] | None, source: str) -> list[Weight]:
    """The logical weights of a checkpoint's tensors, in the file's order.

    Raises InvalidHeader where the parts of a quantized weight contradict each other.
    """
    groups: dict[str, dict[str, HeaderTensor]] = {}
    for tensor in tensors:
        suffix = next((suffix for suffix in _SUFFIXES if tensor.name.endswith(suffix)), "")
        base = tensor.name.removesuffix(suffix)
        groups.setdefault(base, {})[suffix] = tensor
    hints = Hints(quantization or {})
    found = []
    for base, parts in groups.items():
        found.extend(_group(base, parts, hints, source))
    return found


class Hints:
    """What `quantization_config` says that shapes leave open: bits and group, or nothing."""

    def __init__(self, quantization: Mapping[str, Any]) -> None:
        self.method = str(quantization.get("quant_method", ""))
        self.bits = self._number(quantization, "bits")
        self.group = self._number(quantization, "group_size")
        schemes = quantization.get("config_groups")
        for scheme in schemes.values() if isinstance(schemes, Mapping) else ():
            of_weights = scheme.get("weights") if isinstance(scheme, Mapping) else None
            if isinstance(of_weights, Mapping):
                self.bits = self.bits or self._number(of_weights, "num_bits")

    @staticmethod
    def _number(fields: Mapping[str, Any], key: str) -> int | None:
        value = fields.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 4096 else None


def _group(base: str, parts: dict[str, HeaderTensor], hints: Hints, source: str) -> list[Weight]:
    """The weights of one group of tensors: one quantized weight, or each tensor for itself."""
    for marks, read in _SCHEMES:
        if all(mark in parts for mark in marks):
            try:
                seen = read(parts, hints)
            except (IndexError, ZeroDivisionError):
                raise invalid(source, f"the tensors of {base!r} do not fit together") from None
            if seen is not None:
                shape, form, note = seen
                size = sum(part.size_bytes for part in parts.values())
                name = base if marks[-1].startswith("_") else f"{base}.weight"
                return [Weight(name, shape, form, size, note)]
    return [
        Weight(part.name, part.shape, PLAIN_FORMATS.get(part.dtype, part.dtype.lower()), part.size_bytes)
        for part in parts.values()
    ]


def _grouped(name: str, columns: int, groups: int, default: int) -> str:
    """A format's key with its group size, where that is not the usual one."""
    size = -(-columns // groups) if groups > 1 else columns
    return name if size == default else f"{name}-g{-1 if groups == 1 else size}"


def _gptq_or_awq(parts: Parts, hints: Hints) -> Seen:
    """GPTQ packs along the input dimension ([in * bits / 32, out]), AWQ along the output ([in, out * bits / 32])."""
    packed, scales = parts[".qweight"].shape, parts[".scales"].shape
    groups, out = scales[-2], scales[-1]
    if packed[-1] != out:
        bits = packed[-1] * 32 // out
        return (*packed[:-2], out, packed[-2]), _grouped(f"awq-int{bits}", packed[-2], groups, 128), ""
    zeros = parts.get(".qzeros")
    bits = hints.bits or (zeros.shape[-1] * 32 // out if zeros and zeros.shape[-1] else 4)
    columns = packed[-2] * 32 // bits
    note = "" if hints.bits or zeros else "bits per weight are not in the header: 4 are assumed"
    return (*packed[:-2], out, columns), _grouped(f"gptq-int{bits}", columns, groups, 128), note


def _compressed(parts: Parts, hints: Hints) -> Seen:
    """compressed-tensors: integers packed in 32-bit words, or NVFP4 in bytes with an fp8 scale for 16 values."""
    packed, scale = parts[".weight_packed"], parts[".weight_scale"]
    if packed.dtype == "U8":
        shape = (*packed.shape[:-1], packed.shape[-1] * 2)
        return shape, "nvfp4-linear" if scale.dtype.startswith("F8_E4M3") else "mxfp4", ""
    bits = hints.bits or 4
    columns = packed.shape[-1] * 32 // bits
    note = "" if hints.bits else "bits per weight are not in the header: 4 are assumed"
    if bits == 8:
        return (*packed.shape[:-1], columns), "w8a16-int8", note
    return (*packed.shape[:-1], columns), _grouped(f"w{bits}a16-int{bits}", columns, scale.shape[-1], 128), note


def _bitsandbytes_4bit(parts: Parts, _: Hints) -> Seen:
    """Two values a byte in one run; the shape is in the data, not in the header: a flat one stands for it."""
    if any(part.endswith("fp4") for part in parts):
        form = "bnb-fp4"
    else:
        form = "bnb-nf4-dq" if ".weight.nested_absmax" in parts else "bnb-nf4"
    return (2 * prod(parts[".weight"].shape),), form, ""


def _bitsandbytes_int8(parts: Parts, _: Hints) -> Seen:
    return parts[".weight"].shape, "bnb-int8", ""


def _scaled(parts: Parts, hints: Hints) -> Seen:
    """`weight` with `weight_scale` or `weight_scale_inv`: fp8, int8, NVFP4, MXFP4 or two-bit BitNet, by their types."""
    weight = parts[".weight"]
    scale = parts.get(".weight_scale_inv") or parts.get(".weight_scale")
    if scale is None:
        return None
    if weight.dtype in ("U8", "F4"):
        return _scaled_4bit(weight, scale, hints)
    if weight.dtype == "I8":
        return weight.shape, "w8a8-int8", ""
    if not weight.dtype.startswith("F8_E"):
        return None
    one_scale = prod(scale.shape) <= 1
    blocks = ".weight_scale_inv" in parts and len(scale.shape) == 2
    return weight.shape, "fp8-block" if blocks else "fp8-tensor" if one_scale else "fp8-channel", ""


def _scaled_4bit(weight: HeaderTensor, scale: HeaderTensor, hints: Hints) -> Seen:
    shape = (*weight.shape[:-1], weight.shape[-1] * (2 if weight.dtype == "U8" else 1))
    if scale.dtype.startswith("F8_E4M3"):
        return shape, "nvfp4-linear", ""
    if scale.dtype in ("U8", "F8_E8M0"):
        return shape, "mxfp4", ""
    if hints.method == "bitnet":
        return (4 * weight.shape[0], *weight.shape[1:]), "bitnet", ""
    return None


def _microscaled(parts: Parts, _: Hints) -> Seen:
    """gpt-oss: blocks [experts, out, in / 32, 16 bytes] and scales [experts, out, in / 32]."""
    blocks = parts["_blocks"].shape
    return (*blocks[:-2], blocks[-2] * blocks[-1] * 2), "mxfp4", ""


def _fused_fp8(parts: Parts, _: Hints) -> Seen:
    """Fused experts in fp8: a bare `gate_up_proj` [experts, ...] and its `gate_up_proj_scale_inv`."""
    return parts[""].shape, "fp8-block", ""


def _aqlm(parts: Parts, _: Hints) -> Seen:
    """AQLM: codes [out / g, in / h, books] into codebooks [books, size, g, h]."""
    codes, books = parts[".codes"].shape, parts[".codebooks"].shape
    return (codes[0] * books[2], codes[1] * books[3]), "aqlm-2bit", ""


def _mlx(parts: Parts, hints: Hints) -> Seen:
    """MLX: words of 32 bits, a scale (and a bias) a group; bits x group = 32 x words / groups."""
    weight, groups = parts[".weight"], parts[".scales"].shape[-1]
    if weight.dtype != "U32" or not groups:
        return None
    words = weight.shape[-1]
    if ".biases" not in parts:
        return (*weight.shape[:-1], words * 8), "mxfp4", ""
    group = hints.group or 64
    note = "" if hints.group else "the group size is not in the header: MLX's usual 64 is assumed"
    bits = 32 * words // (groups * group)
    return (*weight.shape[:-1], groups * group), f"mlx-{bits}bit" + ("" if group == 64 else f"-g{group}"), note


def _exl2(parts: Parts, _: Hints) -> Seen:
    packed = parts[".q_weight"].shape
    columns = parts[".q_invperm"].shape[0]
    return (packed[1], columns), f"exl2-{packed[0] * 32 / columns:.2f}bpw", ""


def _exl3(parts: Parts, _: Hints) -> Seen:
    tiles = parts[".trellis"].shape
    return (16 * tiles[1], 16 * tiles[0]), f"exl3-{tiles[2] / 16:.2f}bpw", ""


_SCHEMES: tuple[tuple[tuple[str, ...], Callable[[Parts, Hints], Seen]], ...] = (
    ((".qweight", ".scales"), _gptq_or_awq),
    ((".weight_packed", ".weight_scale"), _compressed),
    ((".weight", ".weight.absmax"), _bitsandbytes_4bit),
    ((".weight", ".SCB"), _bitsandbytes_int8),
    ((".weight", ".scales"), _mlx),
    ((".weight",), _scaled),
    (("_blocks", "_scales"), _microscaled),
    (("", "_scale_inv"), _fused_fp8),
    ((".codes", ".codebooks"), _aqlm),
    ((".q_weight", ".q_invperm"), _exl2),
    ((".trellis",), _exl3),
)
