"""A model as a GGUF file: every tensor's type and bytes, and the size of the file."""

from __future__ import annotations

from dataclasses import replace

from sizer.errors import UsageError
from sizer.formats import format_of
from sizer.frozen import dataclass
from sizer.model.architecture import Architecture
from sizer.model.stored import Stored, StoredTensor
from sizer.precision.gguf_by_hand import BY_HAND_NOTE, is_by_hand
from sizer.precision.gguf_header import ALIGNMENT, header_bytes
from sizer.precision.gguf_mixtures import LOW_BIT, RULES, Position, Traits, base_type, category, positions, tensor_type
from sizer.precision.gguf_tensors import GgufModel, GgufTensor, gguf_model
from sizer.precision.identity_cache import IdentityCache
from sizer.precision.names import Precision
from sizer.precision.schemes import EXPERT_ROLES, half_format

# llama-quantize refuses these without an importance matrix.
NEEDS_IMATRIX = LOW_BIT | {"IQ3_XXS"}

WORTH_A_NOTE = 0.001
"""Two sizes of a file that differ by more than a thousandth are both told."""
PUBLISHED_NOTE = (
    "The download is a file of 2024 or 2025, {size:,} bytes; llama-quantize makes one of {ours:,} bytes today "
    "(pull request 19770 and importance matrices change the types of some tensors)."
)

# Types that `_L` and `_XL` files use for the embeddings and the output matrix.
LARGE_TYPE = "q8_0"

DYNAMIC_NOTE = (
    "The publisher chose each tensor's type by hand: no config tells them. "
    "These are the bytes of {base}, the type that the name starts from; eleven known files are 6 % smaller "
    "to 9 % larger."
)


@dataclass(frozen=True)
class _Prepared:
    """A model's GGUF tensors, and the layers at each position: the same for every file type."""

    model: GgufModel
    parts: tuple[tuple[GgufTensor, tuple[tuple[Position, GgufTensor], ...]], ...]
    header_bytes: int
    header_note: str | None


_CACHE: IdentityCache[Architecture, _Prepared] = IdentityCache(32)
_MODELS: IdentityCache[Architecture, GgufModel] = IdentityCache(32)
_FUSED: IdentityCache[Architecture, bool] = IdentityCache(32)


def _model(architecture: Architecture, rule: str) -> GgufModel:
    """The tensors of the model's file, kept: what is fused and what is prepared both ask."""
    return _MODELS.get(architecture, rule, lambda: gguf_model(architecture, rule))


def _prepare(architecture: Architecture, rule: str) -> _Prepared:
    model = _model(architecture, rule)
    places = positions(model)
    parts = []
    for part in model.tensors:
        split = tuple((place, _with_layers(part, layers)) for place, layers in places.get(part.name, ()) if part.layers)
        if len(split) < 2 or sum(len(piece.layers) for _, piece in split) != len(part.layers):
            split = _split_shared_name(part, split)
        parts.append((part, split))
    header, note = header_bytes(architecture, model)
    return _Prepared(model, tuple(parts), header, note)


def _split_shared_name(
    part: GgufTensor, split: tuple[tuple[Position, GgufTensor], ...]
) -> tuple[tuple[Position, GgufTensor], ...]:
    """The split of a tensor whose name other tensors share (layers of several shapes): its own layers only."""
    if not split:
        return ((Position(), part),)
    own = set(part.layers)
    kept = []
    for place, piece in split:
        layers = tuple(layer for layer in piece.layers if layer in own)
        if layers:
            kept.append((place, _with_layers(part, layers)))
    return tuple(kept)


def store_gguf(architecture: Architecture, row: Precision, *, imatrix: bool, rule: str) -> Stored:
    """The model as a GGUF file of this type, by the older rule, the newer, or `auto`.

    `auto` gives the tensors that `llama-quantize` makes today, and the file that is most likely on the hub: made by the
    older rule, and with an importance matrix where the type cannot be made without. Raises UsageError for another rule.
    """
    if rule == "auto":
        return _today_and_published(architecture, row, imatrix)
    if rule not in RULES:
        raise UsageError(f"unknown GGUF rule {rule!r}.", f"It is one of auto, {', '.join(RULES)}.")
    return _by_rule(architecture, row, imatrix, rule)


def _today_and_published(architecture: Architecture, row: Precision, imatrix: bool) -> Stored:
    """Tensors by the newer rule, the file's size by the older; a note where they are far apart."""
    today = _by_rule(architecture, row, imatrix, "new")
    needs_matrix = row.ftype in NEEDS_IMATRIX and not imatrix
    if not needs_matrix and not any(_fused(architecture, rule) for rule in RULES):
        return today
    published = _by_rule(architecture, row, imatrix or needs_matrix, "old")
    if today.download_bytes is None or published.download_bytes is None:
        return today
    notes = today.notes
    if abs(published.download_bytes / today.download_bytes - 1) > WORTH_A_NOTE:
        notes += (PUBLISHED_NOTE.format(size=published.download_bytes, ours=today.download_bytes),)
    return replace(today, download_bytes=published.download_bytes, notes=notes)


def _fused(architecture: Architecture, rule: str) -> bool:
    """Whether the rules may differ: the file has fused attention matrices."""

    def look() -> bool:
        return any(category(part.name) in ("qkv", "kv_b") for part in _model(architecture, rule).tensors)

    return _FUSED.get(architecture, rule, look)


def _by_rule(architecture: Architecture, row: Precision, imatrix: bool, rule: str) -> Stored:
    """The file by one rule."""
    prepared = _CACHE.get(architecture, rule, lambda: _prepare(architecture, rule))
    model, half = prepared.model, half_format(architecture)
    traits = Traits(
        falcon=model.arch == "falcon",
        tied=model.tied,
        is_70b=model.is_70b,
        eight_experts=model.experts == 8,
        four_experts=model.experts >= 4,
        grouped=model.kv_groups >= 4,
        imatrix=imatrix or row.kind == "gguf-dynamic",
        new=rule == "new",
    )
    large = row.kind == "gguf-large"
    tensors: list[StoredTensor] = []
    padded = 0
    for part, pieces in prepared.parts:
        merged: dict[str, list[GgufTensor]] = {}
        for place, piece in pieces:
            if model.native_experts and piece.stacked and piece.tensor.role in EXPERT_ROLES:
                key = model.native_experts
            elif large and _is_table(part, half):
                key = LARGE_TYPE
            else:
                key = tensor_type(piece, place, row.ftype, traits, half)
            merged.setdefault(key, []).append(piece)
        for key, same in merged.items():
            whole = same[0] if len(same) == 1 else _joined(part, same)
            one = part.rows * format_of(key).matrix_bytes(1, part.ne0)
            copies = len(whole.layers) or 1
            padded += copies * -(-one // ALIGNMENT) * ALIGNMENT
            tensors.append(StoredTensor(whole.tensor, key, copies * one))
    notes, exact = _notes(row, prepared)
    return Stored(row.name, tuple(tensors), padded + prepared.header_bytes, exact=exact, notes=notes)


def _is_table(part: GgufTensor, half: str) -> bool:
    """Whether `_L` files raise this tensor: the embedding table and the output matrix."""
    quantized = base_type(part.name, part.dims, half) is None
    return quantized and part.name in ("token_embd.weight", "output.weight") and category(part.name) != "other"


def _joined(part: GgufTensor, same: list[GgufTensor]) -> GgufTensor:
    """Pieces of one tensor that have the same type, as one."""
    layers = tuple(sorted(layer for piece in same for layer in piece.layers))
    return _with_layers(part, layers)


def _with_layers(part: GgufTensor, layers: tuple[int, ...]) -> GgufTensor:
    """The tensor of these layers alone."""
    return part if layers == part.layers else part._replace(tensor=replace(part.tensor, layers=layers))


def _notes(row: Precision, prepared: _Prepared) -> tuple[tuple[str, ...], bool]:
    """What a reader must know of the figures, and whether they are exact."""
    notes = list(prepared.model.notes)
    exact = True
    if not prepared.model.known:
        notes.append(
            f"llama.cpp's converter for {prepared.model.arch!r} is not known; tensors are named by their roles."
        )
        exact = False
    if prepared.header_note is not None:
        notes.append(prepared.header_note)
    if row.kind == "gguf-dynamic":
        notes.append(DYNAMIC_NOTE.format(base=row.ftype))
        exact = False
    if is_by_hand(row.ftype):
        notes.append(BY_HAND_NOTE)
        exact = False
    return tuple(notes), exact
