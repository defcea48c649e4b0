"""Writes down a tower as the module tree that it is: scopes under name prefixes, one call a torch module."""

from __future__ import annotations

from collections.abc import Iterable

from sizer.model.architecture import Module, Role, Tensor, Tower
from sizer.model.blocks import core
from sizer.model.blocks.core import Block

SPLIT = "q_proj k_proj v_proj out_proj"
SPLIT_O = "q_proj k_proj v_proj o_proj"
GATED = "gate_proj up_proj down_proj"


class Tree:
    """Collects the tensors of a module tree, for towers that are no decoder and so need no layers or mixers.

    `prefix` goes before every name, `layers` are the indices that each hold a copy (none: one copy), `tower` is the
    part of the model. `at` and `stack` open narrower scopes that add to the same list. Names are transformers' own,
    with `{layer}` for the index; shapes are PyTorch's.
    """

    def __init__(self, prefix: str = "", layers: Iterable[int] = (), tower: Tower = Tower.VISION) -> None:
        self.prefix = prefix
        self.layers = core.within_reason(prefix, layers)
        self.tower = tower
        self.tensors: list[Tensor] = []

    def at(self, name: str, layers: Iterable[int] | None = None, tower: Tower | None = None) -> Tree:
        """A scope under `name`, with this one's layers and tower unless others are given."""
        scope = Tree(f"{self.prefix}{name}.", self.layers if layers is None else layers, tower or self.tower)
        scope.tensors = self.tensors
        return scope

    def stack(self, name: str, count: int) -> Tree:
        """A scope for `count` like layers, numbered from nought."""
        return self.at(f"{name}.{{layer}}", range(count))

    def put(self, *blocks: Block) -> None:
        """The tensors of blocks, in this scope; nothing where the scope's layers are none."""
        if "{layer}" in self.prefix and not self.layers:
            return
        for block in blocks:
            self.tensors += core.on_layers(self.prefix, block, self.layers, self.tower)

    def parameter(self, name: str, *shape: int, role: Role = Role.OTHER) -> None:
        """A bare `nn.Parameter`, by its full name."""
        self.put(core.parameter(name, *shape, role=role))

    def linear(self, name: str, out: int, into: int, role: Role = Role.OTHER, *, bias: bool = False) -> None:
        """An `nn.Linear`."""
        self.put(core.linear(name, out, into, role, bias))

    def conv(self, name: str, *shape: int, bias: bool = False) -> None:
        """A convolution: weight of `shape` ([out, in / groups, kernel…]) and, where asked, its bias [out]."""
        self.put(core.parameter(f"{name}.weight", *shape, role=Role.CONV, module=Module.CONV))
        if bias:
            self.put(core.parameter(f"{name}.bias", shape[0], role=Role.BIAS, module=Module.CONV))

    def rms_norm(self, *names: str, size: int) -> None:
        """Norms with a weight alone."""
        self.put(*(core.norm(name, size) for name in names))

    def layer_norm(self, *names: str, size: int) -> None:
        """Norms with weight and bias."""
        self.put(*(core.norm(name, size, bias=True) for name in names))

    def positions(self, name: str, rows: int, size: int) -> None:
        """A learned position table [rows, size]."""
        self.put(core.embedding(name, rows, size, Role.POSITION))

    def attention(
        self, size: int, names: str = SPLIT, *, bias: str = "qkvo", inner: int | None = None, kv: int | None = None
    ) -> None:
        """Four projections of an encoder's attention, named in the order q, k, v, o.

        `bias` has a letter for each projection that has one. `inner` is the width of all heads together, `kv` that
        of the key and value heads; both are `size` unless given.
        """
        inner = size if inner is None else inner
        kv = inner if kv is None else kv
        *inputs, output = names.split()
        for name, letter, width, role in zip(inputs, "qkv", (inner, kv, kv), (Role.Q, Role.K, Role.V), strict=True):
            self.linear(name, width, size, role, bias=letter in bias)
        self.linear(output, size, inner, Role.O, bias="o" in bias)

    def fused_attention(self, size: int, names: str = "qkv proj", *, bias: str = "qo") -> None:
        """One projection for q, k and v (`q` in `bias`), one for the output (`o`)."""
        qkv, output = names.split()
        self.linear(qkv, 3 * size, size, Role.QKV, bias="q" in bias)
        self.linear(output, size, size, Role.O, bias="o" in bias)

    def mlp(self, size: int, inner: int, names: str = "fc1 fc2", *, bias: bool = True, out: int | None = None) -> None:
        """Two matrices with an activation between them; `out` is the last one's size where it is not `size`."""
        up, down = names.split()
        self.linear(up, inner, size, Role.UP, bias=bias)
        self.linear(down, size if out is None else out, inner, Role.DOWN, bias=bias)

    def gated_mlp(
        self, size: int, inner: int, names: str = GATED, *, bias: bool = False, out: int | None = None
    ) -> None:
        """A gated MLP of three matrices; `out` is the last one's size where it is not `size`."""
        gate, up, down = names.split()
        self.linear(gate, inner, size, Role.GATE, bias=bias)
        self.linear(up, inner, size, Role.UP, bias=bias)
        self.linear(down, size if out is None else out, inner, Role.DOWN, bias=bias)
