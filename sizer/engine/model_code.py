"""Whether an engine has code for a model: what is told of it."""

from __future__ import annotations

from sizer.frozen import NamedTuple


class ModelCode(NamedTuple):
    """`lacking` says in one sentence why a version of an engine cannot load a model, `unknown` why nobody can tell
    whether it can. Both are empty where it can."""

    lacking: str = ""
    unknown: str = ""

    @property
    def certain(self) -> bool:
        """Whether the engine is known to load the model."""
        return not self.lacking and not self.unknown
