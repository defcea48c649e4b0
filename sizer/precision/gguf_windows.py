"""Which GGUF architectures keep attention windows as windows: llama.cpp has no such rule for the rest."""

from __future__ import annotations

from functools import lru_cache

from sizer.model.architecture import Architecture, Basis
from sizer.precision.gguf_tensors import gguf_archs
from sizer.tables import read_rows


@lru_cache(maxsize=1)
def _tables() -> tuple[dict[str, str], frozenset[str]]:
    """GGUF architectures by model_type, and those that `data/gguf_windows.csv` has."""
    archs = {model_type: arch for model_type, (arch, _) in gguf_archs().items()}
    return archs, frozenset(row["architecture"] for row in read_rows("gguf_windows.csv"))


def gguf_arch(architecture: Architecture) -> str:
    """llama.cpp's name for the architecture; the model_type itself where no converter is known for it."""
    return _tables()[0].get(architecture.model_type, architecture.model_type)


def keeps_windows(architecture: Architecture) -> bool:
    """Whether llama.cpp and its kin cut the cache of a layer with a window to it.

    Mistral 7B v0.1 becomes a `llama`, Phi-3 a `phi3`, StarCoder2 a `starcoder2`: of these, the whole context is kept.
    What no converter is known for is left as its config says; a file's header says it itself.
    """
    archs, windowed = _tables()
    arch = archs.get(architecture.model_type)
    return architecture.basis is Basis.HEADER or arch is None or arch in windowed
