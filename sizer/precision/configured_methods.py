"""The quantization methods that a config.json can name: each is read into a `Configured`.

Every method of transformers that stores fewer bits is a row of `data/methods.csv`; an unknown one is an error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cache
from typing import Any

from sizer.errors import InvalidConfig, UnknownPrecision
from sizer.formats import ORDER_SUFFIX, ZERO_SUFFIX
from sizer.frozen import dataclass
from sizer.methods import Method, methods
from sizer.precision.names import precision_of
from sizer.precision.patterns import Names, bare

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Configured:
    """What a config asks for: the precision's name, the format of what it quantizes, and its exceptions.

    `scheme` is one of `schemes.SCHEMES` where the format goes by the scheme's own rule; else every projection that
    `ignored` does not list has `format`, or the one `chosen` gives its module.
    """

    precision: str
    format: str
    ignored: Names = field(default_factory=Names)
    chosen: Callable[[str], str | None] | None = None
    scheme: str = ""
    notes: tuple[str, ...] = ()
    exact: bool = True


def method_name(settings: Settings) -> str | None:
    """The method of a quantization_config; MLX, modelopt and others write configs that do not name theirs."""
    value = settings.get("quant_method")
    for method in methods().values():
        for name, marks, before in method.config_marks:
            if (before or value is None) and all(settings.get(mark) not in (None, False, "", {}) for mark in marks):
                return name
    return None if value is None else str(value).lower().replace("_", "-")


def _whole(settings: Settings, field: str, default: int) -> int:
    value = settings.get(field, default)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidConfig(f"quantization_config field {field!r} is {value!r:.80}.", "It must be a whole number.")
    return value


def _ignored(settings: Settings, *fields: str) -> Names:
    """The modules that any of `fields` lists."""
    names: tuple[str, ...] = ()
    for name in fields:
        names += Names.of(settings.get(name), name).entries
    return Names(names)


def _grouped(base: str, group: int) -> tuple[str, str]:
    """Precision and format of a base precision at a group size; -1 and 0 are one group a row."""
    row = precision_of(f"{base}-g{group if group > 0 else -1}")
    return row.name, row.format


def _gptq(settings: Settings) -> Configured:
    """GPTQ and AutoRound. Files of AutoGPTQ (2023) carry a zero bias for every matrix; newer ones name their format."""
    bits = _whole(settings, "bits", 4)
    precision, key = _grouped(f"gptq-int{bits}", _whole(settings, "group_size", 128))
    if "checkpoint_format" not in settings and "meta" not in settings:
        key += "+bias"
    dynamic = settings.get("dynamic")
    rules = tuple(dynamic) if isinstance(dynamic, Mapping) else ()
    skipped = Names.of([f"re:{rule[2:]}" for rule in rules if str(rule).startswith("-:")], "dynamic")
    mixed = any(not str(rule).startswith("-:") for rule in rules)
    note = ("Modules with their own bits or group are counted at the common ones.",) if mixed else ()

    def head(module: str) -> str | None:
        return key if module == "lm_head" else None

    chosen = head if settings.get("lm_head") is True else None
    return Configured(precision, key, skipped, chosen, notes=note, exact=not mixed)


def _auto_round(settings: Settings) -> Configured:
    """AutoRound: GPTQ or AWQ packing, as it says."""
    packing = str(settings.get("packing_format", "auto_round:auto_gptq"))
    return _awq(settings) if "awq" in packing else _gptq({**settings, "checkpoint_format": "gptq"})


def _awq(settings: Settings) -> Configured:
    bits = _whole(settings, "bits", 4)
    precision, key = _grouped(f"awq-int{bits}", _whole(settings, "group_size", 128))
    return Configured(precision, key, _ignored(settings, "modules_to_not_convert"))


def _bitsandbytes(settings: Settings) -> Configured:
    ignored = _ignored(settings, "llm_int8_skip_modules")
    if settings.get("load_in_8bit") or settings.get("_load_in_8bit"):
        return Configured("int8", "bnb-int8", ignored, scheme="bitsandbytes")
    kind = str(settings.get("bnb_4bit_quant_type", "fp4"))
    nested = kind == "nf4" and bool(settings.get("bnb_4bit_use_double_quant"))
    row = precision_of("nf4-dq" if nested else kind)
    return Configured(row.name, row.format, ignored, scheme="bitsandbytes")


def _fp8(settings: Settings) -> Configured:
    """DeepSeek-V3's layout: a scale for each 128 x 128 where `weight_block_size` is set, else one a tensor."""
    block = settings.get("weight_block_size")
    if block is not None and block != [128, 128]:
        raise UnknownPrecision(f"weight_block_size {block!r:.80} is not known.", "fp8 blocks are [128, 128].")
    key = "fp8-block" if block is not None else "fp8-tensor"
    return Configured("fp8", key, _ignored(settings, "modules_to_not_convert", "ignored_layers"))


def _mxfp4(settings: Settings) -> Configured:
    return Configured("mxfp4", "mxfp4", _ignored(settings, "modules_to_not_convert"), scheme="mxfp4")


def _mlx(settings: Settings) -> Configured:
    """MLX: bits and group of every matrix; a module listed by name has its own, or false for none."""
    mode = str(settings.get("mode", "affine"))
    if mode in ("mxfp4", "nvfp4"):
        return Configured(mode, "nvfp4-mlx" if mode == "nvfp4" else "mxfp4", scheme="mlx")
    precision, key = _grouped(f"mlx-{_whole(settings, 'bits', 4)}bit", _whole(settings, "group_size", 64))
    own = {bare(name): value for name, value in settings.items() if isinstance(value, (Mapping, bool)) and "." in name}
    skipped = Names(tuple(name for name, value in own.items() if value is False))
    mixed = any(isinstance(value, Mapping) for value in own.values())
    note = ("Modules with their own bits are counted at the common ones.",) if mixed else ()
    return Configured(precision, key, skipped, scheme="mlx", notes=note, exact=not mixed)


def _simple(precision: str, *fields: str) -> Callable[[Settings], Configured]:
    """A method with one format and a list of exceptions."""

    def read(settings: Settings) -> Configured:
        row = precision_of(precision)
        return Configured(row.name, row.format, _ignored(settings, *fields), scheme=row.scheme)

    return read


def _by_bits(prefix: str, bits_field: str) -> Callable[[Settings], Configured]:
    """A method whose config states its bits (EXL2, EXL3, HQQ, quanto)."""

    def read(settings: Settings) -> Configured:
        value = settings.get(bits_field)
        inner = settings.get("quant_config")
        if value is None and isinstance(inner, Mapping):
            inner = inner.get("weight_quant_params", inner)
            value = inner.get("nbits") if isinstance(inner, Mapping) else None
        text = f"{value}bpw" if prefix.startswith("exl") else f"{value}bit" if prefix == "hqq" else str(value)
        row = precision_of(f"{prefix}-{text}")
        return Configured(row.name, row.format, _ignored(settings, "modules_to_not_convert"), scheme=row.scheme)

    return read


def _torchao(settings: Settings) -> Configured:
    text = str(settings.get("quant_type")).lower()
    names = {"int8": "torchao-int8", "float8": "torchao-fp8", "int4": "torchao-int4", "intx": "torchao-intx-int4"}
    found = next((name for part, name in names.items() if part in text), None)
    if found is None:
        raise UnknownPrecision(f"torchao type {text[:60]!r} is not known.", "Name a --precision instead.")
    return _simple(found, "modules_to_not_convert")(settings)


def weight_format(weights: Settings, packing: str, activations: Settings | None = None) -> tuple[str, str]:
    """Precision and format of a compressed-tensors weight scheme (bits, type, strategy, group).

    `packing` is the checkpoint's format: integers that it does not pack take a byte whatever their width. Activations
    quantized by a fixed scale (`activations`, not dynamic) store it beside the weights.
    """
    bits, kind = _whole(weights, "num_bits", 0), str(weights.get("type", "int"))
    group = _whole(weights, "group_size", 0)
    if kind == "float" and bits in (4, 8):
        return _float_format(weights, bits, group, activations)
    if kind != "int" or bits not in (4, 8):
        raise UnknownPrecision(f"a {bits}-bit {kind} weight scheme is not known.", "Name a --precision instead.")
    if "pack" not in packing and (bits == 8 or packing):
        return _grouped("w8a8-int8", group) if group > 0 else ("w8a8-int8", "w8a8-int8")
    precision, key = _grouped(f"w{bits}a16-int{bits}", group)
    key += ZERO_SUFFIX if weights.get("symmetric") is False else ""
    return precision, key + (ORDER_SUFFIX if weights.get("actorder") == "group" else "")


def _float_format(weights: Settings, bits: int, group: int, activations: Settings | None) -> tuple[str, str]:
    """Precision and format of 4- and 8-bit floats: NVFP4's global scales are 32-bit, those of fp8 the model's type."""
    fixed = activations is not None and activations.get("dynamic") in (False, "local")
    strategy = str(weights.get("strategy") or "")
    if bits == 4:
        return ("mxfp4", "mxfp4") if group == 32 else ("nvfp4", "nvfp4-linear" if fixed else "nvfp4-linear-weight")
    if strategy == "group" and group == 32:
        return "mxfp8", "mxfp8"
    of_tensor = "fp8-tensor-16bit" if fixed else "fp8-tensor-16bit-weight"
    return "fp8", {"block": "fp8-block-16bit", "group": "fp8-block-16bit", "channel": "fp8-channel"}.get(
        strategy, of_tensor
    )


def _compressed_tensors(settings: Settings) -> Configured:
    """compressed-tensors: one or more groups, each with its targets and its weight scheme."""
    groups = settings.get("config_groups")
    if not isinstance(groups, Mapping) or not groups:
        raise InvalidConfig("quantization_config field 'config_groups' is missing.", "compressed-tensors needs it.")
    packing = str(settings.get("format", ""))
    found: list[tuple[Names, str, str]] = []
    for group in groups.values():
        if isinstance(group, Mapping) and isinstance(group.get("weights"), Mapping):
            inputs = group.get("input_activations")
            precision, key = weight_format(
                group["weights"], str(group.get("format") or packing), inputs if isinstance(inputs, Mapping) else None
            )
            found.append((Names.of(group.get("targets") or ["Linear"], "targets"), precision, key))
    if not found:
        raise UnknownPrecision("the config quantizes no weights.", "Name a --precision instead.")
    ignored = _ignored(settings, "ignore")
    common = next((entry for entry in found if "Linear" in entry[0].entries), found[0])
    if len(found) == 1 and "Linear" in common[0].entries:
        return Configured(common[1], common[2], ignored)

    def chosen(module: str) -> str | None:
        return next((key for targets, _, key in found if module in targets), None)

    rest = common[2] if "Linear" in common[0].entries else ""
    return Configured(common[1], rest, ignored, chosen)


def _modelopt(settings: Settings) -> Configured:
    """NVIDIA modelopt: one algorithm with exceptions, or an algorithm a layer (MIXED_PRECISION)."""
    algorithms = {
        "NVFP4": ("nvfp4", "nvfp4-linear"), "W4A16_NVFP4": ("nvfp4", "nvfp4-linear"), "FP8": ("fp8", "fp8-tensor"),
        "MXFP8": ("mxfp8", "mxfp8"), "W4A16_AWQ": ("awq-int4", "awq-int4"), "MXFP4": ("mxfp4", "mxfp4"),
        "FP8_PB_WO": ("fp8", "fp8-block"), "W8A8_SQ_PER_CHANNEL": ("w8a8-int8", "w8a8-int8"),
        "FP8_PER_CHANNEL_PER_TOKEN": ("fp8", "fp8-channel"), "NVFP4_AWQ": ("nvfp4", "nvfp4-linear"),
    }  # fmt: skip
    ignored = _ignored(settings, "exclude_modules", "ignore")
    name = str(settings.get("quant_algo") or "MIXED_PRECISION")
    layers = settings.get("quantized_layers")
    if name == "MIXED_PRECISION" or layers:
        # What is not listed keeps the checkpoint's block fp8 where the config also has it, else 16 bits.
        rest = "fp8-block" if settings.get("weight_block_size") else ""
        return _mixed(layers if isinstance(layers, Mapping) else {}, algorithms, ignored, rest)
    if name not in algorithms:
        raise UnknownPrecision(f"modelopt algorithm {name!r} is not known.", f"Known: {', '.join(algorithms)}.")
    precision, key = algorithms[name]
    return Configured(precision, key, ignored)


def _mixed(layers: Settings, algorithms: dict[str, tuple[str, str]], ignored: Names, rest: str) -> Configured:
    """modelopt's MIXED_PRECISION: each listed module, or the experts of its layer, has its own algorithm."""
    own: dict[str, tuple[str, str]] = {}
    counts: dict[str, int] = {}
    for module, value in layers.items():
        algorithm = algorithms.get(str(value.get("quant_algo"))) if isinstance(value, Mapping) else None
        if algorithm is None:
            raise UnknownPrecision(
                f"modelopt algorithm {value!r:.80} of {module!r:.80} is not known.", "Name a --precision."
            )
        name = bare(str(module))
        before, found, _ = name.partition(".experts")
        key = before.rpartition(".")[0] + ".experts" if found else name
        if key not in own:
            counts[algorithm[0]] = counts.get(algorithm[0], 0) + (100 if found else 1)
        own[key] = algorithm
    if not own:
        raise UnknownPrecision("the config's MIXED_PRECISION lists no layers.", "Name a --precision instead.")

    def chosen(module: str) -> str | None:
        before, found, _ = bare(module).partition(".experts")
        algorithm = own.get(before.rpartition(".")[0] + ".experts" if found else bare(module))
        return None if algorithm is None else algorithm[1]

    return Configured(max(counts, key=lambda name: counts[name]), rest, ignored, chosen)


def _quark(settings: Settings) -> Configured:
    """AMD quark: the weight scheme of its global config."""
    whole = settings.get("global_quant_config")
    weights = whole.get("weight") if isinstance(whole, Mapping) else None
    if not isinstance(weights, Mapping):
        raise UnknownPrecision("the quark config states no weight scheme.", "Name a --precision instead.")
    kinds = {
        ("fp8_e4m3", "per_tensor"): ("fp8", "fp8-tensor"),
        ("fp8_e4m3", "per_channel"): ("fp8", "fp8-channel"),
        ("fp4", "per_group"): ("mxfp4", "mxfp4"),
        ("int8", "per_channel"): ("w8a8-int8", "w8a8-int8"),
    }
    found = kinds.get((str(weights.get("dtype")), str(weights.get("qscheme"))))
    if found is None:
        raise UnknownPrecision(f"quark type {weights.get('dtype')!r:.80} is not known.", "Name a --precision instead.")
    return Configured(*found, _ignored(settings, "exclude"))


def _gguf(settings: Settings) -> Configured:
    """A GGUF file's own type: its header has the bytes; from the config's side it is a name."""
    row = precision_of(str(settings.get("type")))
    return Configured(row.name, row.format, scheme=row.scheme)


READERS: dict[str, Callable[[Settings], Configured]] = {
    "gptq": _gptq,
    "awq": _awq,
    "auto_round": _auto_round,
    "bitsandbytes": _bitsandbytes,
    "fp8": _fp8,
    "compressed_tensors": _compressed_tensors,
    "modelopt": _modelopt,
    "mxfp4": _mxfp4,
    "mlx": _mlx,
    "quark": _quark,
    "torchao": _torchao,
    "gguf": _gguf,
}
"""By the name in `data/methods.csv`: configs that one precision and a list of exceptions do not tell."""


@cache
def readers() -> dict[str, Callable[[Settings], Configured]]:
    """Every method that a config can name, and how its settings are read."""
    return {name: _reader(method, how) for method in methods().values() for name, how in method.config}


def _reader(method: Method, how: str) -> Callable[[Settings], Configured]:
    rule, _, argument = how.partition(":")
    if rule == "plain":
        return _simple(argument, "modules_to_not_convert")
    return _by_bits(method.name, argument) if rule == "bits" else READERS[how]
