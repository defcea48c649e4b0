"""One error tree. Each error says what the user typed and what to type next; the CLI maps it to an exit code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sizer.printable import shortened


class SizerError(Exception):
    """Base of every error that sizer raises on purpose.

    `message` names the user's own text, `hint` is what to type next, `exit_code` is the process's exit code.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = shortened(message)
        self.hint = shortened(hint)

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class UsageError(SizerError):
    """An argument that cannot be understood, or that contradicts another one."""

    exit_code = 2


class InvalidQuantity(UsageError):
    """Text that is no byte count, rate or parameter count."""


class UnknownDevice(UsageError):
    """A device name that no row or alias matches."""


class UnknownPrecision(UsageError):
    """A precision name that no format, scheme or GGUF mixture has."""


class UnknownEngine(UsageError):
    """An engine name that the engine table lacks, or an engine that cannot run what is asked."""


class InvalidInputFile(UsageError):
    """A CSV or JSON Lines file that cannot be read as rows."""


class NothingToLoad(UsageError):
    """A model that names no weights, or none of the precision asked for; a benchmark may take random ones."""


class ModelError(SizerError):
    """The model cannot be resolved: not found, gated, offline, malformed or of an unknown architecture."""

    exit_code = 3


class UnknownModel(ModelError):
    """No file, catalogue entry, hub repository or size in the name."""


class GatedModel(ModelError):
    """The repository exists, but its files need an access request or a token."""


class HubUnreachable(ModelError):
    """The hub did not answer, or the network is switched off."""


class InvalidConfig(ModelError):
    """A config.json whose field is missing, negative, absurd or contradicts another."""


class InvalidHeader(ModelError):
    """A safetensors or GGUF header that cannot be trusted."""


class UnsupportedArchitecture(ModelError):
    """An architecture that no family describes."""


class DoesNotFit(SizerError):
    """The command was asked for something that fits, and nothing does."""

    exit_code = 4


class BenchmarkFailed(SizerError):
    """The benchmark's child process failed, was killed or was interrupted."""

    exit_code = 5


class UnloadableWeights(BenchmarkFailed):
    """Weights that are missing or in a form that is never opened; a benchmark may take random ones."""


def nearest(text: str, names: Iterable[str], count: int = 3) -> Sequence[str]:
    """The `count` names nearest to `text`, best first: what an error offers instead."""
    import difflib

    by_folded = {name.lower(): name for name in names}
    return [by_folded[match] for match in difflib.get_close_matches(text.lower(), by_folded, n=count, cutoff=0.5)]


def did_you_mean(text: str, names: Iterable[str]) -> str:
    """`Did you mean 'a', 'b' or 'c'?`, or nothing when no name is near."""
    matches = [repr(name) for name in nearest(text, names)]
    if not matches:
        return ""
    listed = matches[0] if len(matches) == 1 else f"{', '.join(matches[:-1])} or {matches[-1]}"
    return f"Did you mean {listed}?"
