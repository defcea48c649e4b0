"""Feed-forward blocks: gated, plain, fused, and mixtures of experts."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.model.architecture import MlpKind, Module, Role, Tensor
from sizer.model.blocks.core import Block, linear

DENSE = Block(mlp=MlpKind.DENSE)
MOE = Block(mlp=MlpKind.MOE)
GATED = ("gate_proj", "up_proj", "down_proj")
ROLES = (Role.GATE, Role.UP, Role.DOWN)
SHARED_ROLES = (Role.SHARED_GATE, Role.SHARED_UP, Role.SHARED_DOWN)


def gated_mlp(
    hidden: int, inner: int, *, prefix: str = "mlp.", names: Sequence[str] = GATED, bias: bool = False,
    down_bias: bool | None = None, roles: Sequence[Role] = ROLES,
) -> Block:  # fmt: skip
    """SwiGLU and its kin: gate and up [inner, hidden], down [hidden, inner]."""
    return (
        DENSE
        + linear(prefix + names[0], inner, hidden, roles[0], bias)
        + linear(prefix + names[1], inner, hidden, roles[1], bias)
        + linear(prefix + names[2], hidden, inner, roles[2], bias if down_bias is None else down_bias)
    )


def fused_mlp(
    hidden: int, inner: int, *, prefix: str = "mlp.", names: Sequence[str] = ("gate_up_proj", "down_proj"),
    bias: bool = False, roles: Sequence[Role] = (Role.GATE_UP, Role.DOWN),
) -> Block:  # fmt: skip
    """A gated MLP whose gate and up are one projection [2 * inner, hidden]."""
    return (
        DENSE
        + linear(prefix + names[0], 2 * inner, hidden, roles[0], bias)
        + linear(prefix + names[1], hidden, inner, roles[1], bias)
    )


def plain_mlp(
    hidden: int, inner: int, *, prefix: str = "mlp.", names: Sequence[str] = ("up_proj", "down_proj"),
    bias: bool = False, down_bias: bool | None = None, module: Module = Module.LINEAR,
    roles: Sequence[Role] = (Role.UP, Role.DOWN),
) -> Block:  # fmt: skip
    """Two projections with an activation between them."""
    return (
        DENSE
        + linear(prefix + names[0], inner, hidden, roles[0], bias, module=module)
        + linear(prefix + names[1], hidden, inner, roles[1], bias if down_bias is None else down_bias, module=module)
    )


def expert_stack(name: str, experts: int, active: int, out: int, into: int, *, role: Role) -> Tensor:
    """The same projection of every expert: [experts, out, in], of which one token uses `active`."""
    return Tensor(name, (experts, out, into), role, Module.EXPERT_STACK, active_experts=active)


def expert_bias(name: str, experts: int, active: int, out: int) -> Tensor:
    """The bias of one projection of every expert: [experts, out]."""
    return Tensor(name, (experts, out), Role.EXPERT_BIAS, Module.EXPERT_STACK, active_experts=active)


def experts(
    hidden: int, inner: int, count: int, active: int, *, prefix: str = "mlp.experts.",
    names: Sequence[str] = GATED, gated: bool = True, bias: bool = False,
) -> Block:  # fmt: skip
    """Routed experts, one stack a projection, whether the checkpoint or the module fuses gate and up or not."""
    stacks = [
        expert_stack(f"{prefix}{names[-2]}.weight", count, active, inner, hidden, role=Role.EXPERT_UP),
        expert_stack(f"{prefix}{names[-1]}.weight", count, active, hidden, inner, role=Role.EXPERT_DOWN),
    ]
    if gated:
        stacks.insert(
            0, expert_stack(f"{prefix}{names[0]}.weight", count, active, inner, hidden, role=Role.EXPERT_GATE)
        )
    if bias:
        stacks += [
            expert_bias(tensor.name.removesuffix("weight") + "bias", count, active, tensor.shape[1])
            for tensor in tuple(stacks)
        ]
    return MOE + Block(tuple(stacks))


def router(
    hidden: int, count: int, *, name: str = "mlp.gate", bias: bool = False, linear_module: bool = False
) -> Block:
    """The router's scores [experts, hidden]. Most are bare parameters of a module of their own, not `nn.Linear`."""
    return linear(
        name, count, hidden, Role.ROUTER, bias, module=Module.LINEAR if linear_module else Module.LINEAR_SUBCLASS
    )


def shared_expert(hidden: int, inner: int, *, prefix: str = "mlp.shared_experts.", bias: bool = False) -> Block:
    """An expert that every token uses, gated."""
    return MOE + gated_mlp(hidden, inner, prefix=prefix, bias=bias, roles=SHARED_ROLES)
