"""Which tensors a quantization scheme touches, and what it leaves alone: that is part of the scheme.

A scheme gives each tensor the key of its format. What it leaves alone stays in the checkpoint's own 16-bit type, or in
the type that the engine loads (`bitsandbytes` keeps the checkpoint's type, 32-bit too).
"""

from __future__ import annotations

from collections.abc import Callable

from sizer.formats import bits_hundredths, format_of
from sizer.model.architecture import Architecture, Module, Role, Tensor, Tower

TensorFormat = Callable[[Tensor], str]
"""The key of the format that a tensor is stored in."""
Scheme = Callable[[Architecture, str], TensorFormat]

DTYPE_FORMATS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16", "float64": "fp64"}

EXPERT_ROLES = frozenset({Role.EXPERT_GATE, Role.EXPERT_UP, Role.EXPERT_GATE_UP, Role.EXPERT_DOWN})

# The projections inside the layers: what calibrated schemes quantize. Routers, gates of one row, convolutions, state
# matrices and what stands outside the layers are not among them.
PROJECTION_ROLES = EXPERT_ROLES | {
    Role.Q, Role.K, Role.V, Role.QKV, Role.O, Role.Q_A, Role.Q_B, Role.KV_A, Role.KV_B, Role.GATE, Role.UP,
    Role.GATE_UP, Role.DOWN, Role.SHARED_GATE, Role.SHARED_UP, Role.SHARED_GATE_UP, Role.SHARED_DOWN, Role.SSM_IN,
    Role.SSM_OUT, Role.INDEXER,
}  # fmt: skip

MATRIX_MODULES = frozenset({Module.LINEAR, Module.LINEAR_SUBCLASS, Module.CONV1D, Module.EXPERT_STACK})

# exllamav2 and exllamav3 store the head at 6 bits, and at 8 in files of 8 bits.
EXL_HEAD_BITS, EXL_WIDE_BITS = 6, 8


def dtype_format(architecture: Architecture) -> str:
    """The format of the checkpoint's own float type; bf16 where nothing says it."""
    return DTYPE_FORMATS.get(architecture.dtype, "bf16")


def half_format(architecture: Architecture) -> str:
    """The 16-bit type that quantizers leave the rest in: fp16 for a float16 checkpoint, else bf16."""
    return "fp16" if architecture.dtype == "float16" else "bf16"


def is_projection(tensor: Tensor) -> bool:
    """Whether a tensor is a projection of a text layer that runs: matrices and expert stacks, heads and tables not."""
    return (
        tensor.role in PROJECTION_ROLES
        and tensor.module in MATRIX_MODULES
        and len(tensor.shape) >= 2
        and tensor.tower in (Tower.TEXT, Tower.ENCODER)
        and not tensor.checkpoint_only
    )


def matrix_shape(tensor: Tensor) -> tuple[int, int, int]:
    """(matrices, rows, columns) of a tensor: the experts of a stack apart, columns the input dimension."""
    shape = tensor.shape
    if len(shape) == 1:
        return 1, 1, shape[0]
    if tensor.module is Module.CONV1D:
        return 1, shape[1], shape[0]
    if tensor.module is Module.EXPERT_STACK and len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, tensor.elements // max(1, shape[-1]), shape[-1]


def copy_bytes(tensor: Tensor, key: str) -> int:
    """Bytes of one copy of a tensor in a format, scales included; each expert of a stack has its own."""
    if not tensor.shape:
        return format_of(key).block_bytes
    matrices, rows, columns = matrix_shape(tensor)
    return matrices * format_of(key).matrix_bytes(rows, columns)


def floats(_architecture: Architecture, key: str) -> TensorFormat:
    """Every tensor in one float type."""
    return lambda _tensor: key


def linears(architecture: Architecture, key: str) -> TensorFormat:
    """The projections of the text layers, experts too (GPTQ, AWQ, fp8, compressed-tensors, NVFP4, HQQ, AQLM)."""
    rest = half_format(architecture)
    return lambda tensor: key if is_projection(tensor) else rest


def modules(architecture: Architecture, key: str) -> TensorFormat:
    """`nn.Linear` and its subclasses except the head, as torchao and quanto replace them; fused experts are none."""
    rest = half_format(architecture)
    kinds = (Module.LINEAR, Module.LINEAR_SUBCLASS)
    return lambda tensor: key if _replaced(tensor, kinds) else rest


def bitsandbytes(architecture: Architecture, key: str) -> TensorFormat:
    """Exactly `nn.Linear` and `Conv1D`, except the head: transformers' replace_with_bnb_linear.

    The head, tied weights and fused experts keep the type that the checkpoint is loaded in.
    """
    rest = dtype_format(architecture)
    kinds = (Module.LINEAR, Module.CONV1D)
    return lambda tensor: key if _replaced(tensor, kinds) else rest


def _with_experts(scheme: Scheme) -> Scheme:
    """A scheme that reaches experts too: servers have a method for their stacks, or they are modules of their own."""

    def wider(architecture: Architecture, key: str) -> TensorFormat:
        matrices = scheme(architecture, key)
        return lambda tensor: key if _is_expert(tensor) else matrices(tensor)

    return wider


def experts(architecture: Architecture, key: str) -> TensorFormat:
    """The experts alone; in a model without experts, nothing."""
    rest = half_format(architecture)
    return lambda tensor: key if _is_expert(tensor) else rest


def _is_expert(tensor: Tensor) -> bool:
    return tensor.role in EXPERT_ROLES and is_projection(tensor)


def _replaced(tensor: Tensor, kinds: tuple[Module, ...]) -> bool:
    """Whether module replacement in transformers reaches a tensor."""
    return (
        tensor.module in kinds
        and len(tensor.shape) == 2
        and tensor.role not in (Role.LM_HEAD, Role.EMBEDDING, Role.POSITION)
        and not tensor.checkpoint_only
    )


def mxfp4(architecture: Architecture, key: str) -> TensorFormat:
    """gpt-oss: the experts alone; in a model without experts, every projection."""
    some = any(tensor.role in EXPERT_ROLES for tensor in architecture.tensors)
    return (experts if some else linears)(architecture, key)


def mlx(architecture: Architecture, key: str) -> TensorFormat:
    """Every matrix whose rows divide into groups: embeddings, head and routers too (mlx.nn.quantize)."""
    rest = half_format(architecture)
    group = format_of(key).group_elements or format_of(key).block_elements

    def choose(tensor: Tensor) -> str:
        text = tensor.tower is Tower.TEXT and not tensor.checkpoint_only
        table = tensor.module is Module.EMBEDDING or tensor.module in MATRIX_MODULES or tensor.role is Role.ROUTER
        whole = len(tensor.shape) >= 2 and matrix_shape(tensor)[2] % group == 0
        return key if text and table and whole else rest

    return choose


def exl(_architecture: Architecture, key: str) -> TensorFormat:
    """EXL2 and EXL3: projections at the stated bits, the head at 6 (8 from 8 bits on), fp16 embeddings."""
    family, _, bits = key.partition("-")
    head_bits = EXL_WIDE_BITS if bits_hundredths(bits) >= 100 * EXL_WIDE_BITS else EXL_HEAD_BITS
    head = f"{family}{'-head' if family == 'exl2' else ''}-{head_bits:.2f}bpw"

    def choose(tensor: Tensor) -> str:
        if tensor.role is Role.LM_HEAD and len(tensor.shape) == 2:
            return head
        return key if is_projection(tensor) else "fp16"

    return choose


def everything(_architecture: Architecture, key: str) -> TensorFormat:
    """Every matrix, embeddings and head too; norms and biases in 32 bits (calm)."""
    return lambda tensor: key if len(tensor.shape) >= 2 and tensor.role is not Role.NORM else "fp32"


def in_situ(architecture: Architecture, key: str) -> TensorFormat:
    """mistral.rs' in-situ quantization: every linear and the head in one ggml type, embeddings in 16 bits."""
    rest = half_format(architecture)
    kinds = MATRIX_MODULES

    def choose(tensor: Tensor) -> str:
        linear = tensor.module in kinds and len(tensor.shape) >= 2 and tensor.role is not Role.ROUTER
        fits = linear and format_of(key).fits(matrix_shape(tensor)[2])
        return key if fits and not tensor.checkpoint_only else rest

    return choose


SCHEMES: dict[str, Scheme] = {
    "float": floats,
    "linears": linears,
    "modules": modules,
    "bitsandbytes": bitsandbytes,
    "bitsandbytes-experts": _with_experts(bitsandbytes),
    "modules-experts": _with_experts(modules),
    "experts": experts,
    "mxfp4": mxfp4,
    "mlx": mlx,
    "exl2": exl,
    "all": everything,
    "in-situ": in_situ,
}
