"""What the package is called where packages are installed from, and which version of it runs."""

from __future__ import annotations

DISTRIBUTION = "sizer-llm"
"""The command and the package are `sizer`; that name and `llm-sizer` belong to others on the package index."""


def package_version() -> str:
    """The installed version; `0` in a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0"
