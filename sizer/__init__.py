"""sizer: will it fit, and how fast?

>>> import sizer
>>> sizer.estimate("Qwen/Qwen3-8B", device="rtx-4090", precision="q4_k_m", offline=True).estimates[0].memory.fits
True

Each function's module is imported when the function is first asked for: the command line pays only for what it runs.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as `typing` has it, which takes longer to load than all that stands here
if TYPE_CHECKING:
    from typing import Any

    from sizer.api.benchmarks import bench
    from sizer.api.capacity import capacity
    from sizer.api.check import check
    from sizer.api.estimates import estimate
    from sizer.api.fit import fit
    from sizer.api.hardware import hardware
    from sizer.api.machine import probe
    from sizer.api.recommend import recommend
    from sizer.errors import SizerError

_PLACES = {
    "SizerError": "sizer.errors",
    "bench": "sizer.api.benchmarks",
    "capacity": "sizer.api.capacity",
    "check": "sizer.api.check",
    "estimate": "sizer.api.estimates",
    "fit": "sizer.api.fit",
    "hardware": "sizer.api.hardware",
    "probe": "sizer.api.machine",
    "recommend": "sizer.api.recommend",
}

__all__ = ["SizerError", "bench", "capacity", "check", "estimate", "fit", "hardware", "probe", "recommend"]


def __getattr__(name: str) -> Any:
    """The public name, imported now (PEP 562)."""
    if name == "__version__":
        from sizer.version import package_version

        return package_version()
    if name not in _PLACES:
        raise AttributeError(f"module 'sizer' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(_PLACES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
