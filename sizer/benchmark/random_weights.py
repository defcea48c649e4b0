"""Builds a model from its config with made-up weights of the true shapes, types and bytes, and no download.

The weights go through transformers' own loader as a checkpoint whose tensors are made when they are asked for: so
quantization, device maps and tensor parallelism are exactly those of a real load, and one tensor at a time is in memory
besides the model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sizer.errors import BenchmarkFailed, UnsupportedArchitecture

# A prime number of values is drawn once and repeated: much faster than drawing all, and because no matrix width
# divides it, no two rows are alike (equal rows would send every token to the same experts).
TILE_ELEMENTS = 1_048_573
SEED = 0
SCALE = 0.02 * math.sqrt(3)  # uniform on +-SCALE has the standard deviation 0.02 of the usual initializer
MINIMUM_TRANSFORMERS = 5
"""The major release whose weight loading the random model goes through."""


class MadeTensor:
    """A tensor of a checkpoint that exists only as a shape and a dtype until it is read, as safetensors' slices do."""

    def __init__(self, name: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype

    def get_shape(self) -> list[int]:
        """Shape, as safetensors' slices give it."""
        return list(self.shape)

    def get_dtype(self) -> str:
        """Type name, as safetensors' slices give it."""
        import torch

        names = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
        return names.get(self.dtype, "F8_E4M3" if self.is_floating_point() else "I32")

    def is_floating_point(self) -> bool:
        """Whether its values are floats."""
        return bool(self.dtype.is_floating_point)

    def __getitem__(self, index: Any) -> Any:
        """The values; a part of them makes only that part."""
        import torch

        shape = torch.empty(self.shape, dtype=torch.uint8, device="meta")[index].shape
        return made_values(self.name, tuple(shape), self.dtype)


def made_values(name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    """A tensor of repeated random values: ones for norms, zeros for biases, small floats, or whole-range integers."""
    import torch

    values = torch.empty(shape, dtype=dtype)
    if len(shape) <= 1 and dtype.is_floating_point:
        return values.fill_(0.0 if name.endswith("bias") else 1.0)
    flat = values.view(-1)
    tile = _tile(dtype)
    whole = flat.numel() // TILE_ELEMENTS
    flat[: whole * TILE_ELEMENTS].view(whole, TILE_ELEMENTS).copy_(tile.expand(whole, TILE_ELEMENTS))
    flat[whole * TILE_ELEMENTS :].copy_(tile[: flat.numel() - whole * TILE_ELEMENTS])
    return values


def _tile(dtype: Any) -> Any:
    import torch

    generator = torch.Generator().manual_seed(SEED)
    if dtype.is_floating_point:
        tile = torch.empty(TILE_ELEMENTS).uniform_(-SCALE, SCALE, generator=generator)
        return tile.to(dtype)
    if dtype == torch.bool:
        return torch.zeros(TILE_ELEMENTS, dtype=dtype)
    info = torch.iinfo(dtype)
    return torch.randint(info.min, info.max, (TILE_ELEMENTS,), dtype=dtype, generator=generator)


def build(config_fields: Mapping[str, Any], load_options: Mapping[str, Any]) -> Any:
    """A model of `config_fields` (a config.json) with made-up weights, loaded by transformers with `load_options`."""
    import torch
    import transformers

    if int(transformers.__version__.split(".")[0]) < MINIMUM_TRANSFORMERS:
        raise BenchmarkFailed(
            f"--random-weights needs transformers {MINIMUM_TRANSFORMERS}, and {transformers.__version__} is installed.",
            "Upgrade it: pip install -U transformers",
        )
    config = model_config(config_fields)
    with torch.device("meta"):
        skeleton = _skeleton(config, load_options.get("dtype"))
    state = {
        name: MadeTensor(name, tuple(tensor.shape), tensor.dtype)
        for name, tensor in skeleton.state_dict(keep_vars=True).items()
        if not _is_tied_copy(name, skeleton)
    }
    return type(skeleton).from_pretrained(None, config=config, state_dict=state, **load_options)


def model_config(fields: Mapping[str, Any]) -> Any:
    """transformers' config object of a config.json; UnsupportedArchitecture where it has no class for it."""
    from transformers import CONFIG_MAPPING

    model_type = fields.get("model_type", "")
    if model_type not in CONFIG_MAPPING:
        raise UnsupportedArchitecture(
            f"transformers has no model type {model_type!r}.", "Upgrade transformers, or choose another model."
        )
    # auto_map points at code in the repository, which random weights need nothing of.
    return CONFIG_MAPPING[model_type].from_dict({name: value for name, value in fields.items() if name != "auto_map"})


def _skeleton(config: Any, dtype: Any) -> Any:
    """The model on the meta device, its linear layers already replaced where the config brings its own quantization."""
    from transformers import AutoModelForCausalLM

    try:
        skeleton = AutoModelForCausalLM.from_config(config, dtype=dtype)
    except ValueError as error:
        raise UnsupportedArchitecture(
            f"transformers has no causal language model for {type(config).__name__}.", "Choose another model."
        ) from error
    own = getattr(config, "quantization_config", None)
    if own:
        from transformers.quantizers import AutoHfQuantizer

        quantizer = AutoHfQuantizer.from_config(own, pre_quantized=True)
        quantizer.validate_environment(device_map=None, dtype=dtype)  # where it also chooses its kernels
        quantizer.preprocess_model(model=skeleton, dtype=dtype, device_map=None, checkpoint_files=None)
    return skeleton


def _is_tied_copy(name: str, model: Any) -> bool:
    return name in (getattr(model, "all_tied_weights_keys", None) or {})
