"""The records and single tensors that every block is made of."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from sizer.errors import InvalidConfig
from sizer.frozen import dataclass
from sizer.model.architecture import Layer, Mixer, MixerKind, MlpKind, Module, Role, Tensor, Tower
from sizer.model.config import MAX_LAYERS


@dataclass(frozen=True)
class Block:
    """Part of a layer, or of a model: its tensors, its token mixers and its MLP kind. Blocks add up."""

    tensors: tuple[Tensor, ...] = ()
    mixers: tuple[Mixer, ...] = ()
    mlp: MlpKind = MlpKind.NONE

    def __add__(self, other: Block) -> Block:
        mlp = other.mlp if self.mlp is MlpKind.NONE else self.mlp
        if MlpKind.MOE in (self.mlp, other.mlp):
            mlp = MlpKind.MOE
        return Block(self.tensors + other.tensors, self.mixers + other.mixers, mlp)


NO_TOKENS = "It reads whole texts and writes no tokens: texts of the prompt's length a second are told."


@dataclass(frozen=True)
class Parts:
    """What a family makes of a config: the figures of an Architecture that only the family knows.

    `families.build` adds the rest (dtype, quantization, experts, context) and checks the whole. A family sets
    `max_context_tokens` only where the usual config fields do not say it.
    """

    tensors: tuple[Tensor, ...]
    layers: tuple[Layer, ...]
    hidden_size: int
    vocab_size: int
    tied: bool
    max_context_tokens: int | None = None
    notes: tuple[str, ...] = ()
    decodes: bool = True
    passes: int = 1

    def looped(self, passes: int) -> Parts:
        """These parts where each token runs through the layers `passes` times, every pass with a cache of its own."""
        layers = tuple(replace(layer, mixers=layer.mixers * passes) for layer in self.layers)
        note = f"Its layers run {passes} times for each token, each time with a cache of their own."
        return self if passes == 1 else replace(self, layers=layers, passes=passes, notes=(*self.notes, note))

    def as_encoder(self) -> Parts:
        """These parts with attention over the whole text, which keeps no cache and writes no tokens."""

        def both_ways(layer: Layer) -> Layer:
            return replace(layer, mixers=tuple(replace(mixer, kind=MixerKind.BIDIRECTIONAL) for mixer in layer.mixers))

        return replace(self, layers=tuple(both_ways(layer) for layer in self.layers), decodes=False, notes=(NO_TOKENS,))

    def with_notes(self, *notes: str) -> Parts:
        """These parts with more notes."""
        return replace(self, notes=self.notes + notes)


def linear(name: str, out: int, into: int, role: Role, bias: bool = False, *, module: Module = Module.LINEAR) -> Block:
    """A projection: weight [out, in] (transformers' Conv1D stores [in, out]) and, with `bias`, a bias [out]."""
    shape = (into, out) if module is Module.CONV1D else (out, into)
    weight = Tensor(f"{name}.weight", shape, role, module)
    if not bias:
        return Block((weight,))
    return Block((weight, Tensor(f"{name}.bias", (out,), Role.BIAS, module)))


def norm(name: str, size: int, bias: bool = False) -> Block:
    """A norm's weight [size], with its bias for a LayerNorm that has one."""
    weight = Tensor(f"{name}.weight", (size,), Role.NORM, Module.NORM)
    if not bias:
        return Block((weight,))
    return Block((weight, Tensor(f"{name}.bias", (size,), Role.NORM, Module.NORM)))


def embedding(name: str, rows: int, size: int, role: Role = Role.EMBEDDING) -> Block:
    """An embedding table [rows, size]; position tables have the role POSITION."""
    return Block((Tensor(f"{name}.weight", (rows, size), role, Module.EMBEDDING),))


def parameter(name: str, *shape: int, role: Role = Role.OTHER, module: Module = Module.PARAMETER) -> Block:
    """A bare parameter, by its full name."""
    return Block((Tensor(name, shape, role, module),))


def prefixed(prefix: str, block: Block, tower: Tower | None = None, checkpoint_only: bool = False) -> Block:
    """`block` with `prefix` before each tensor's name, moved to a tower where one is given."""
    tensors = tuple(
        replace(
            tensor,
            name=prefix + tensor.name,
            tower=tower or tensor.tower,
            checkpoint_only=checkpoint_only or tensor.checkpoint_only,
        )
        for tensor in block.tensors
    )
    return Block(tensors, block.mixers, block.mlp)


def within_reason(prefix: str, layers: Iterable[int]) -> tuple[int, ...]:
    """The layer indices as a tuple; InvalidConfig for more layers than any model has, before memory is taken."""
    if isinstance(layers, range) and len(layers) > MAX_LAYERS:
        raise InvalidConfig(f"the config asks for {len(layers)} layers of {prefix!r}.", f"At most {MAX_LAYERS} are.")
    return tuple(layers)


def on_layers(prefix: str, block: Block, layers: Iterable[int], tower: Tower = Tower.TEXT) -> tuple[Tensor, ...]:
    """The tensors of `block`, one copy on each of `layers`; `prefix` holds `{layer}`."""
    indices = within_reason(prefix, layers)
    return tuple(
        Tensor(
            prefix + tensor.name,
            tensor.shape,
            tensor.role,
            tensor.module,
            indices,
            tensor.active_experts,
            tower if tensor.tower is Tower.TEXT else tensor.tower,
            tensor.checkpoint_only,
        )
        for tensor in block.tensors
    )


Kind = TypeVar("Kind", bound=Hashable)


def stack(
    prefix: str, kinds: Sequence[Kind], make: Callable[[Kind], Block], tower: Tower = Tower.TEXT
) -> tuple[tuple[Tensor, ...], tuple[Layer, ...]]:
    """Layers of a few kinds: `kinds[i]` is all that layer i depends on, `make` builds each distinct kind once.

    Returns the tensors (one object for all layers of a kind) and the layers. `prefix` is `model.layers.{layer}.`.
    """
    indices: dict[Kind, list[int]] = {}
    for index, kind in enumerate(kinds):
        indices.setdefault(kind, []).append(index)
    blocks = {kind: make(kind) for kind in indices}
    tensors = tuple(
        tensor for kind, block in blocks.items() for tensor in on_layers(prefix, block, indices[kind], tower)
    )
    layers = tuple(Layer(index, blocks[kind].mixers, blocks[kind].mlp) for index, kind in enumerate(kinds))
    return tensors, layers
