"""A model at a precision: every tensor's format and bytes, resident and on disk."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from sizer.errors import UnknownPrecision
from sizer.formats import format_of
from sizer.methods import methods
from sizer.model.architecture import Architecture, Tensor
from sizer.model.stored import Stored, StoredTensor
from sizer.precision import configured, saved
from sizer.precision.names import Precision, precision_of
from sizer.precision.schemes import SCHEMES, TensorFormat, copy_bytes, dtype_format


def configured_precision(architecture: Architecture) -> str | None:
    """The precision that the checkpoint is stored in by its config, or None for plain floats.

    Raises UnknownPrecision for a quantization that no scheme here describes.
    """
    return configured.configured_precision(architecture)


def store(
    architecture: Architecture,
    precision: str,
    *,
    imatrix: bool = False,
    gguf_rule: str = "auto",
) -> Stored:
    """A model at a precision, whatever it was published in.

    Engines that store the same name differently are asked by `sizer.engine.stored.store_for`. `imatrix` and
    `gguf_rule` choose among GGUF files of one name: `old` is llama.cpp before pull request 19770, as most published
    files, `new` since then, and `auto` the tensors of a file made today beside the size of the published one. A model
    whose config already stores `precision` is answered as its config says. Sources: `data/precisions.csv`,
    `data/formats.csv`.

    Raises UnknownPrecision.
    """
    return stored_as(architecture, precision_of(precision), imatrix=imatrix, gguf_rule=gguf_rule)


def stored_as(architecture: Architecture, row: Precision, *, imatrix: bool = False, gguf_rule: str = "auto") -> Stored:
    """`store` for the row of a precision."""
    if architecture.is_lump:
        return _lump(architecture, row, imatrix, gguf_rule)
    if row.is_gguf:
        from sizer.precision.gguf_store import store_gguf

        return store_gguf(architecture, row, imatrix=imatrix, rule=gguf_rule)
    if _is_configured(architecture, row.name):
        return store_as_configured(architecture)
    stored = stored_by(architecture, row.name, SCHEMES[row.scheme](architecture, row.format), row.kind)
    if not methods()[row.kind].made_at_load:
        return stored
    note = f"Quantized while it loads, the download is the checkpoint's own: {_own_bytes(architecture):,} bytes."
    return replace(stored, notes=(*stored.notes, note))


@lru_cache(maxsize=512)
def bits_per_weight(row: Precision, *, imatrix: bool = False, rule: str = "auto") -> float:
    """Bits per weight of Llama-3-8B at a precision: scales, and the tensors that a scheme leaves alone, included."""
    from sizer.precision.reference import reference_architecture

    model = reference_architecture()
    return stored_as(model, row, imatrix=imatrix, gguf_rule=rule).weights_bytes * 8 / model.total_params


def _own_bytes(architecture: Architecture) -> int:
    """Bytes of the tensors that are published: quantized as the config says, else in the checkpoint's float type."""
    try:
        if configured.configured_precision(architecture) is not None:
            return sum(tensor.size_bytes for tensor in store_as_configured(architecture).tensors)
    except UnknownPrecision:
        pass
    elements = sum(tensor.total_elements for tensor in architecture.tensors)
    return elements * format_of(dtype_format(architecture)).block_bytes


def _is_configured(architecture: Architecture, name: str) -> bool:
    """Whether the checkpoint is stored in this precision; one that no scheme describes is stored in none of them."""
    try:
        return configured.configured_precision(architecture) == name
    except UnknownPrecision:
        return False


def store_as_configured(architecture: Architecture) -> Stored:
    """The model as its config stores it: `quantization_config` with its exceptions, else its own float type.

    Raises UnknownPrecision for a quantization that no scheme here describes.
    """
    name = configured.configured_precision(architecture)
    if name is not None and precision_of(name).is_gguf:
        return stored_as(architecture, precision_of(name))
    plan = configured.plan(architecture)
    if plan is None:
        row = precision_of(dtype_format(architecture))
        return stored_by(architecture, row.name, SCHEMES[row.scheme](architecture, row.format), row.kind)
    stored = stored_by(architecture, plan.precision, plan.tensor_format, plan.kind, plan.expand)
    return replace(stored, exact=stored.exact and plan.exact, notes=(*stored.notes, *plan.notes))


def stored_by(
    architecture: Architecture,
    precision: str,
    tensor_format: TensorFormat,
    kind: str,
    expand: TensorFormat | None = None,
) -> Stored:
    """A model whose tensors each get the format that `tensor_format` chooses.

    Where the format depends on the layer, `expand` is asked once a layer instead, with a one-layer tensor.
    """
    tensors: list[StoredTensor] = []
    for tensor in architecture.tensors:
        if expand is not None and tensor.layers:
            tensors.extend(_by_layer(tensor, expand))
        else:
            tensors.append(stored_tensor(tensor, tensor_format(tensor)))
    result = tuple(tensors)
    reason = methods()[kind].unchecked
    return Stored(
        precision,
        result,
        saved.saved_bytes(result, kind),
        exact=not reason,
        notes=(reason,) if reason else (),
    )


def stored_tensor(tensor: Tensor, key: str) -> StoredTensor:
    """All copies of a tensor in one format."""
    return StoredTensor(tensor, key, tensor.copies * copy_bytes(tensor, key))


def _by_layer(tensor: Tensor, tensor_format: TensorFormat) -> list[StoredTensor]:
    """A tensor split into the layers that share a format."""
    layers: dict[str, list[int]] = {}
    for layer in tensor.layers:
        single = replace(tensor, name=tensor.name.replace("{layer}", str(layer)), layers=(layer,))
        layers.setdefault(tensor_format(single), []).append(layer)
    return [stored_tensor(replace(tensor, layers=tuple(indices)), key) for key, indices in layers.items()]


def _lump(architecture: Architecture, row: Precision, imatrix: bool, rule: str) -> Stored:
    """A model known by its name alone: its parameters at the bits per weight of a usual model of that precision."""
    bits = bits_per_weight(row, imatrix=imatrix, rule=rule)
    tensors = tuple(
        StoredTensor(tensor, row.format or row.name, round(tensor.total_elements * bits / 8))
        for tensor in architecture.tensors
    )
    note = "Bits per weight are those of Llama-3-8B at the same precision: the name alone tells no tensors."
    total = sum(stored.size_bytes for stored in tensors)
    return Stored(row.name, tensors, total, exact=False, notes=(note,))
