"""A model of which only the count of parameters is known: one lump, without layers."""

from __future__ import annotations

from math import gcd

from sizer.errors import UnknownModel
from sizer.model.architecture import Architecture, Basis, Module, Role, Tensor
from sizer.model.read.names import NameHints


def named(text: str, hints: NameHints) -> Architecture:
    """A model of which the name tells the size: a lump of parameters, without layers.

    Where active parameters are told, the lump is a stack of equal parts of which a token uses as many as give exactly
    the active count. Raises UnknownModel where the name tells no total.
    """
    total, active = hints.total_params, hints.active_params
    if total is None:
        raise UnknownModel(f"the name {text!r} tells no size.", "Write one as 8B, 8x7B or 30B-A3B.")
    return lump(text, total, active if active is not None and active < total else None, hints)


def lump(model_id: str, total: int, active: int | None, hints: NameHints, basis: Basis = Basis.NAME) -> Architecture:
    """A model of `total` parameters of which only the count is known."""
    if active is None:
        tensor = Tensor("model", (total,), Role.OTHER, Module.LINEAR)
    else:
        part = gcd(total, active)
        tensor = Tensor(
            "model", (total // part, part), Role.EXPERT_UP, Module.EXPERT_STACK, active_experts=active // part
        )
    return Architecture(
        model_id=model_id,
        architecture="unknown",
        model_type="",
        basis=basis,
        tensors=(tensor,),
        layers=(),
        hidden_size=0,
        vocab_size=0,
        max_context_tokens=hints.context_tokens,
        tied_embeddings=False,
        dtype="bfloat16",
        experts=hints.experts,
    )
