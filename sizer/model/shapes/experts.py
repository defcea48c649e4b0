"""Rules for mixtures of experts, and the layers beyond the model (multi-token prediction)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.frozen import dataclass
from sizer.model.architecture import Role, Tensor, Tower
from sizer.model.blocks.core import Block, embedding, linear, norm, on_layers, parameter
from sizer.model.blocks.mlp import MOE, experts, gated_mlp, router, shared_expert
from sizer.model.config import MAX_LAYERS, Config
from sizer.model.shapes.rules import UNBIASED, Flag, Mlp, flag

SparseRule = Callable[[Config, int], Sequence[bool]]


def every_layer(_config: Config, count: int) -> Sequence[bool]:
    """Experts on every layer."""
    return (True,) * count


@dataclass(frozen=True)
class FirstDense:
    """`mlp_layer_types` where given (if `typed`); else dense on the first layers and experts on the rest.

    How many come first is `field` where the config has it (None: it never has), else `first`; of the rest, with
    `every`, only the layers whose index is a multiple of that field.
    """

    field: str | None = "first_k_dense_replace"
    first: int = 0
    typed: bool = True
    every: str | None = None

    def __call__(self, config: Config, count: int) -> Sequence[bool]:
        types = config.layer_types(count, "mlp_layer_types") if self.typed else None
        if types is not None:
            return tuple(kind == "sparse" for kind in types)
        first = config.size(self.field, default=self.first, minimum=0) if self.field else self.first
        step = config.size(self.every, default=1) if self.every else 1
        return tuple(index >= first and index % step == 0 for index in range(count))


def sparse_step(config: Config, count: int) -> Sequence[bool]:
    """Qwen-MoE: experts on every `decoder_sparse_step`th layer that is not in `mlp_only_layers`."""
    step = config.size("decoder_sparse_step", default=1)
    dense = config.sequence("mlp_only_layers", int) or ()
    some = config.size("num_experts", minimum=0) > 0
    return tuple(some and index not in dense and (index + 1) % step == 0 for index in range(count))


@dataclass(frozen=True)
class Moe:
    """Routed experts on the layers that `sparse` names, `dense` on the others. Strings name config fields.

    `shared` is how wide the expert that every token uses is: a field, or (field, factor field) for their product.
    `plus` gives what else the module holds. Names are the checkpoint's: `prefix` + `stack` + `names`.
    """

    experts: str = "num_experts"
    active: str = "num_experts_per_tok"
    inner: str = "moe_intermediate_size"
    sparse: SparseRule = every_layer
    dense: Mlp = UNBIASED
    dense_inner: str = "intermediate_size"
    shared: str | tuple[str, str] | None = None
    shared_name: str = "shared_experts."
    shared_bias: Flag = False
    shared_optional: bool = False
    prefix: str = "mlp."
    stack: str = "experts."
    names: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    bias: Flag = False
    router: str = "gate"
    router_bias: Flag = False
    router_linear: bool = False
    plus: Callable[[Config, int], Block] | None = None

    def __call__(self, config: Config, count: int) -> Sequence[Block]:
        sparse = self.sparse(config, count)
        routed = self.block(config) if any(sparse) else Block()
        plain = Block() if all(sparse) else self.dense.block(config, config.size(self.dense_inner))
        return [routed if is_sparse else plain for is_sparse in sparse]

    def counts(self, config: Config) -> tuple[int, int]:
        """Experts, and how many of them a token uses: all of them where the config leaves that open."""
        count = config.size(self.experts)
        active = config.optional_size(self.active) or count
        if active > count:
            raise config.error(self.active, f"There are only {count} experts ({self.experts}).")
        return count, active

    def shared_inner(self, config: Config) -> int:
        """Rows of the shared expert, nought where there is none."""
        if self.shared is None:
            return 0
        if isinstance(self.shared, str):
            return config.size(self.shared, minimum=0, default=0 if self.shared_optional else None)
        field, factor = self.shared
        return config.size(field) * config.size(factor, minimum=0, default=0 if self.shared_optional else None)

    def block(self, config: Config) -> Block:
        """The module of a layer with experts."""
        hidden = config.size("hidden_size")
        count, active = self.counts(config)
        block = router(
            hidden,
            count,
            name=self.prefix + self.router,
            bias=flag(config, self.router_bias),
            linear_module=self.router_linear,
        )
        block += experts(
            hidden,
            config.size(self.inner),
            count,
            active,
            prefix=self.prefix + self.stack,
            names=self.names,
            bias=flag(config, self.bias),
        )
        inner = self.shared_inner(config)
        if inner:
            bias = flag(config, self.shared_bias)
            block += shared_expert(hidden, inner, prefix=self.prefix + self.shared_name, bias=bias)
        return block if self.plus is None else block + self.plus(config, count)


FINE_GRAINED = Moe(
    "n_routed_experts", sparse=FirstDense(typed=False), shared=("moe_intermediate_size", "n_shared_experts")
)
"""DeepSeek-MoE's small experts behind a few dense layers, beside shared ones (arXiv:2401.06066)."""


TYPED_FINE_GRAINED = replace(FINE_GRAINED, sparse=FirstDense())
"""The same where `mlp_layer_types` may say which layers are dense."""


@dataclass(frozen=True)
class Mtp:
    """Multi-token prediction as DeepSeek-V3 stores it: `num_nextn_predict_layers` more layers of the last kind.

    Each has norms of the hidden state and the embedding, the projection that joins them, and, with `tables`, its own
    copies of embedding and head (arXiv:2412.19437, section 2.2). Only a file that states the field has them.
    """

    field: str = "num_nextn_predict_layers"
    tables: bool = True

    def __call__(self, config: Config, last: Block, count: int) -> tuple[Tensor, ...]:
        if config.fields.get(self.field) is None:
            return ()
        more = config.size(self.field, minimum=0, maximum=MAX_LAYERS)
        hidden, vocab = config.size("hidden_size"), config.size("vocab_size")
        block = last + linear("eh_proj", hidden, 2 * hidden, Role.OTHER)
        block += norm("enorm", hidden) + norm("hnorm", hidden) + norm("shared_head.norm", hidden)
        if self.tables:
            block += embedding("embed_tokens", vocab, hidden)
            block += linear("shared_head.head", vocab, hidden, Role.LM_HEAD)
        stored = Block(tuple(replace(tensor, checkpoint_only=True) for tensor in block.tensors))
        return on_layers("model.layers.{layer}.", stored, range(count, count + more), Tower.MTP) if more else ()


def shared_gate(config: Config, _experts: int) -> Block:
    """Qwen2-MoE: one scalar gate on the shared expert."""
    return linear("mlp.shared_expert_gate", 1, config.size("hidden_size"), Role.ROUTER)


def shared_mlp(config: Config, inner: int, prefix: str) -> Block:
    """A gated MLP that every token uses beside the experts."""
    roles = (Role.SHARED_GATE, Role.SHARED_UP, Role.SHARED_DOWN)
    return MOE + gated_mlp(config.size("hidden_size"), inner, prefix=prefix, roles=roles)


MIXTRAL = ("w1", "w3", "w2")


def each_expert(name: str) -> Callable[[Config, int], Block]:
    """One learned number for each expert, under `name` (a parameter in these families, a buffer elsewhere)."""
    return lambda _config, experts: parameter(name, experts)


def active_experts(config: Config, field: str, count: int) -> int:
    active = config.size(field)
    if active > count:
        raise config.error(field, f"There are only {count} experts.")
    return active
