"""sizer: will it fit, and how fast?

>>> import sizer
>>> sizer.estimate("Qwen/Qwen3-8B", device="rtx-4090", precision="q4_k_m", offline=True).estimates[0].memory.fits
True
"""

# The package `sizer.estimate` is bound first: the function takes its name in this namespace afterwards, and importing
# its modules later does not bind it again.
import sizer.estimate  # noqa: F401
from sizer.api import estimate
from sizer.errors import SizerError

__all__ = ["SizerError", "estimate"]
