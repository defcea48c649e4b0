"""sizer: will it fit, and how fast?

>>> import sizer
>>> sizer.estimate("Qwen/Qwen3-8B", device="rtx-4090", precision="q4_k_m", offline=True).estimates[0].memory.fits
True
"""

from sizer.api import bench, estimate, fit, hardware, probe, recommend
from sizer.errors import SizerError

__all__ = ["SizerError", "bench", "estimate", "fit", "hardware", "probe", "recommend"]
