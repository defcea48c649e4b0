"""The library's front door: names and options in, typed records out. The command line and the page are thin callers.

Importing it imports nothing heavy: each function brings what it needs when it is called.
"""

from sizer.api.advice import fit, hardware, recommend
from sizer.api.asked import DeviceAsked, WorkAsked
from sizer.api.estimates import DEFAULT_PRECISIONS, estimate, estimates, precisions_of, targets
from sizer.api.machine import bench, probe

__all__ = [
    "DEFAULT_PRECISIONS",
    "DeviceAsked",
    "WorkAsked",
    "bench",
    "estimate",
    "estimates",
    "fit",
    "hardware",
    "precisions_of",
    "probe",
    "recommend",
    "targets",
]
