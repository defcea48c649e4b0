"""What safetensors headers mean: exact bytes by tensor; the config's layers, or what names and shapes alone tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeAlias

from sizer.errors import UnsupportedArchitecture
from sizer.model.architecture import Architecture, Basis, Layer, Mixer, MixerKind, MlpKind, Module, Role, Tensor, Tower
from sizer.model.read.beside import refuse_adapter_tensors
from sizer.model.read.headers import Header, HeaderTensor, invalid
from sizer.model.read.headers_quantized import Weight, weights
from sizer.model.read.headers_roles import is_buffer, role_of, template, tower_of
from sizer.model.stored import Stored, StoredTensor

_Key: TypeAlias = "tuple[str, tuple[int, ...], str, bool]"  # name, shape, format, whether it does not run

_FLOATS = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}

ALL_ACTIVE = "how many experts a token uses is not in the header: all are counted as active"


def torch_model(header: Header, model_id: str, config: Mapping[str, Any] | None) -> tuple[Architecture, Stored]:
    """The architecture and the exact bytes of a checkpoint.

    With a config that a family describes, layers and parameters are the family's; the bytes are the header's, and a
    difference between the two is noted. Raises InvalidHeader, InvalidConfig.
    """
    if config is None:
        refuse_adapter_tensors((tensor.name for tensor in header.tensors), model_id)
    described, notes = _described(config, model_id)
    quantization = (described.quantization if described else None) or _quantization(config)
    found = weights(header.tensors, quantization, model_id)
    stored = _stored_tensors(found, described, model_id)
    notes += tuple(sorted({weight.note for weight in found if weight.note}))
    if described is None:
        architecture = _from_inventory(stored, model_id, config or {}, notes)
    else:
        notes = described.notes + notes + _difference(stored, described)
        architecture = replace(described, basis=Basis.HEADER, notes=notes)
    return architecture, Stored(_precision(stored), tuple(stored), header.file_bytes)


def _described(config: Mapping[str, Any] | None, model_id: str) -> tuple[Architecture | None, tuple[str, ...]]:
    """What a family makes of the config, or the reason why none does."""
    from sizer.model.families import build

    if config is None:
        return None, ("no config.json beside the weights: what is not in tensor names and shapes is unknown",)
    try:
        return build(config, model_id, Basis.HEADER), ()
    except UnsupportedArchitecture as error:
        return None, (f"{error.message} Sized by its header",)


def _quantization(config: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    for name in ("quantization_config", "quantization"):
        found = (config or {}).get(name)
        if isinstance(found, Mapping):
            return found
    return None


def _stored_tensors(found: Iterable[Weight], described: Architecture | None, model_id: str) -> list[StoredTensor]:
    """The weights of a checkpoint, layers of the same shape and format together, experts as stacks."""
    owners = _Owners(described)
    sizes: dict[_Key, int] = {}
    copies: dict[_Key, dict[int | None, int]] = {}
    for weight in found:
        name, layer, _ = template(weight.name)
        key = (name, weight.shape, weight.format, owners.apart(name, layer))
        sizes[key] = sizes.get(key, 0) + weight.size_bytes
        of_layers = copies.setdefault(key, {})
        of_layers[layer] = of_layers.get(layer, 0) + 1
    stored = []
    for key, size in sizes.items():
        name, shape, form, apart = key
        layers = tuple(sorted(layer for layer in copies[key] if layer is not None))
        if "{expert}" in name:
            counts = set(copies[key].values())
            if len(counts) > 1:
                raise invalid(model_id, f"{name!r} has {min(counts)} experts in one layer, {max(counts)} in another")
            shape = (max(counts), *shape)
        tensor = owners.describe(name, shape, layers[0] if layers else None)
        stored.append(StoredTensor(replace(tensor, layers=layers, dtype=form, checkpoint_only=apart), form, size))
    return stored


class _Owners:
    """The family's tensors by the names that checkpoints use."""

    def __init__(self, described: Architecture | None) -> None:
        self.described = described
        self.tensors: dict[str, list[Tensor]] = {}
        for tensor in described.tensors if described else ():
            self.tensors.setdefault(tensor.name, []).append(tensor)

    def find(self, name: str, layer: int | None) -> Tensor | None:
        """The family's tensor of a templated name on a layer."""
        named = self.tensors.get(name) or self.tensors.get(name.replace(".{expert}", "")) or ()
        return next((tensor for tensor in named if layer is None or layer in tensor.layers), None)

    def apart(self, name: str, layer: int | None) -> bool:
        """Whether a stored tensor does not run: a buffer, a prediction layer, the head of a tied model."""
        owner = self.find(name, layer)
        if owner is not None:
            return owner.checkpoint_only
        tower = tower_of(name)
        if is_buffer(name) or tower is Tower.MTP or self.described is None:
            return is_buffer(name) or tower is Tower.MTP
        beyond = layer is not None and tower is Tower.TEXT and layer >= self.described.num_layers > 0
        return beyond or (self.described.tied_embeddings and role_of(name, ())[0] is Role.LM_HEAD)

    def describe(self, name: str, shape: tuple[int, ...], layer: int | None) -> Tensor:
        """A tensor as the family describes the same name, else by its name alone."""
        owner = self.find(name, layer)
        if owner is not None:
            # A packed run of values has lost its shape, and the family knows it (an odd count is padded by one).
            if len(shape) == 1 and 0 <= shape[0] - owner.elements <= 1:
                return owner
            if owner.active_experts is None or (shape and shape[0]):
                return replace(owner, shape=shape)
        role, module = role_of(name, shape)
        active = None
        if module is Module.EXPERT_STACK and not (shape and shape[0]):
            module = Module.PARAMETER
        elif module is Module.EXPERT_STACK:
            active = (self.described.active_experts if self.described else None) or shape[0]
        return Tensor(name, shape, role, module, active_experts=active, tower=tower_of(name))


def _difference(stored: Iterable[StoredTensor], described: Architecture) -> tuple[str, ...]:
    """A note where the files and the config's family count differently: biases of zeros, cut experts, or a doubt."""
    counts = [(part.tensor.total_elements, part.tensor.checkpoint_only) for part in stored]
    running = sum(count for count, apart in counts if not apart)
    if running == described.total_params:
        return ()
    return (
        f"the files hold {running:,} parameters that run, the config's family describes {described.total_params:,}:"
        " bytes are the files', layers the family's",
    )


def _precision(stored: Iterable[StoredTensor]) -> str:
    """The precision whose format takes the most bytes."""
    from sizer.tables import read_rows

    sizes: dict[str, int] = {}
    for part in stored:
        sizes[part.format] = sizes.get(part.format, 0) + part.size_bytes
    quantized = {form: size for form, size in sizes.items() if form not in _FLOATS and form not in ("i8", "i32", "i64")}
    largest = max(quantized or sizes, key=lambda form: sizes[form])
    base, _, group = largest.rpartition("-g")
    suffix = f"-g{group}" if base and group.lstrip("-").isdecimal() else ""
    wanted = base if suffix else largest
    return next((row["name"] + suffix for row in read_rows("precisions.csv") if row["format"] == wanted), largest)


def _from_inventory(
    stored: Iterable[StoredTensor], model_id: str, config: Mapping[str, Any], notes: tuple[str, ...]
) -> Architecture:
    """A model of which only the tensors are known. Its layers are given where keys and values tell them, else none."""
    merged: dict[tuple[str, tuple[int, ...]], Tensor] = {}
    sizes: dict[str, int] = {}
    for part in stored:
        tensor = part.tensor
        sizes[part.format] = sizes.get(part.format, 0) + part.size_bytes
        if is_buffer(tensor.name):
            continue
        before = merged.get((tensor.name, tensor.shape))
        if before is not None:
            tensor = replace(before, layers=tuple(sorted({*before.layers, *tensor.layers})), dtype=None)
        merged[tensor.name, tensor.shape] = tensor
    tensors = tuple(merged.values())
    layers, unsure = _layers(tensors)
    experts = max((tensor.experts or 0 for tensor in tensors), default=0) or None
    if experts:
        unsure += (ALL_ACTIVE,)
    table = next((tensor for tensor in tensors if tensor.role is Role.EMBEDDING and len(tensor.shape) == 2), None)
    named = config.get("architectures")
    return Architecture(
        model_id=model_id,
        architecture=str(named[0]) if isinstance(named, list) and named else "unknown",
        model_type=str(config.get("model_type", "")),
        basis=Basis.HEADER,
        tensors=tensors,
        layers=layers,
        hidden_size=table.shape[-1] if table else _hidden_size(tensors),
        vocab_size=table.shape[0] if table else 0,
        max_context_tokens=None,
        tied_embeddings=all(tensor.role is not Role.LM_HEAD for tensor in tensors),
        dtype=_FLOATS[max(_FLOATS, key=lambda form: sizes.get(form, 0))],
        experts=experts,
        active_experts=experts,
        quantization=_quantization(config),
        notes=notes + unsure,
        config=config,
    )


def _hidden_size(tensors: Iterable[Tensor]) -> int:
    """The residual's width where no table tells it: what down projections write to, or queries read from; else 0."""
    sizes = [
        tensor.shape[-2] for tensor in tensors if tensor.role in {Role.DOWN, Role.EXPERT_DOWN} and tensor.shape[1:]
    ]
    sizes += [tensor.shape[-1] for tensor in tensors if tensor.role is Role.Q and tensor.shape[1:]]
    return sizes[0] if sizes else 0


def inventory(
    tensors: Iterable[HeaderTensor], model_id: str, config: Mapping[str, Any], notes: tuple[str, ...]
) -> Architecture:
    """The architecture of which only the tensors are known."""
    stored = _stored_tensors(weights(tensors, None, model_id), None, model_id)
    return _from_inventory(stored, model_id, config, notes)


def _layers(tensors: Iterable[Tensor]) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Layers as far as the rows of key and value projections tell what they cache; no layers where one does not."""
    by_layer: dict[int, dict[Role, Tensor]] = {}
    for tensor in tensors:
        if tensor.tower is Tower.TEXT and not tensor.checkpoint_only:
            for index in tensor.layers:
                by_layer.setdefault(index, {}).setdefault(tensor.role, tensor)
    layers = []
    for index, roles in sorted(by_layer.items()):
        mixer = _mixer(roles)
        if mixer is None:
            return (), ("the attention of its layers cannot be told from tensor names: no KV cache is counted",)
        routed = any(tensor.active_experts is not None for tensor in roles.values())
        dense = bool(roles.keys() & {Role.UP, Role.DOWN, Role.GATE_UP})
        layers.append(Layer(index, (mixer,), MlpKind.MOE if routed else MlpKind.DENSE if dense else MlpKind.NONE))
    if not layers:
        return (), ("its tensors name no layers: no KV cache is counted",)
    return tuple(layers), ("the KV cache is that of full attention in every layer; windows and heads are unknown",)


def _mixer(roles: Mapping[Role, Tensor]) -> Mixer | None:
    """What a layer caches, by the rows of its projections: keys and values, or a latent; None if neither."""
    shapes = {role: roles[role].shape for role in (Role.Q, Role.K, Role.V, Role.KV_A) if role in roles}
    if any(len(shape) != 2 or not shape[0] for shape in shapes.values()):
        return None
    rows = {role: shape[0] for role, shape in shapes.items()}
    if Role.KV_A in rows:
        return Mixer(MixerKind.MLA, heads=1, kv_heads=1, latent_elements=rows[Role.KV_A])
    if len(rows) < 3:
        return None
    heads = max(rows[Role.Q] // rows[Role.K], 1)
    return Mixer(MixerKind.FULL, heads=heads, kv_heads=1, qk_head_dim=rows[Role.K], v_head_dim=rows[Role.V])
