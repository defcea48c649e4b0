"""Window rules: the mixer kind and window of each layer, as transformers decides them from a config."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sizer.frozen import dataclass
from sizer.model.architecture import MixerKind
from sizer.model.config import Config

Window = tuple[MixerKind, int | None]
WindowRule = Callable[[Config, int], Sequence[Window]]
FULL: Window = (MixerKind.FULL, None)


def window_of(config: Config, name: str, window: int | None) -> Window:
    """Mixer kind and window of one entry of `layer_types`."""
    if name == "sliding_attention" and window is not None:
        return MixerKind.SLIDING, window
    if name == "chunked_attention":
        return MixerKind.CHUNKED, config.size("attention_chunk_size")
    if name in ("full_attention", "sliding_attention"):
        return FULL
    raise config.error("layer_types", f"{name!r:.40} is no attention layer of this family.")


def no_windows(_config: Config, count: int) -> Sequence[Window]:
    """Full attention on every layer."""
    return (FULL,) * count


def one_window(config: Config, count: int) -> Sequence[Window]:
    """`sliding_window` on every layer (Mistral); `layer_types` where the file adds them."""
    window = config.optional_size("sliding_window")
    return tuple(
        window_of(config, name, window) for name in config.layer_types(count) or ("sliding_attention",) * count
    )


def typed_windows(config: Config, count: int) -> Sequence[Window]:
    """`layer_types` where it is given; else full attention on every layer."""
    window = config.optional_size("sliding_window")
    return tuple(window_of(config, name, window) for name in config.layer_types(count) or ("full_attention",) * count)


@dataclass(frozen=True)
class EveryNth:
    """`layer_types` where it is given; else sliding on all layers but every nth, n from `field` or `every`.

    `last_full` counts from one (layers n, 2n … are full, Gemma 3); else from nought (layers 0, n … are full).
    """

    every: int
    field: str | None = None
    last_full: bool = True

    def __call__(self, config: Config, count: int) -> Sequence[Window]:
        window = config.optional_size("sliding_window")
        types = config.layer_types(count)
        if types is None:
            every = config.size(self.field, default=self.every) if self.field else self.every
            shift = 1 if self.last_full else 0
            types = tuple("sliding_attention" if (i + shift) % every else "full_attention" for i in range(count))
        return tuple(window_of(config, name, window) for name in types)


def max_window_layers(config: Config, count: int) -> Sequence[Window]:
    """Qwen2 and Qwen3: windows only with `use_sliding_window`, from layer `max_window_layers` on."""
    window = config.optional_size("sliding_window") if config.flag("use_sliding_window") else None
    types = config.layer_types(count)
    if types is None:
        first = config.size("max_window_layers", default=count, minimum=0)
        types = tuple("sliding_attention" if i >= first else "full_attention" for i in range(count))
    return tuple(window_of(config, name, window) for name in types)
