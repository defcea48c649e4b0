"""The edge to the outside through which a machine is looked at: files, commands, the registry, NVML, the environment.

It is one record, so that in tests a whole machine is one fixture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import Any

from sizer.frozen import dataclass

COMMAND_TIMEOUT_S = 10
"""A tool that answers no sooner is taken to know nothing."""
# More than any of these commands prints; a tool gone wild must not fill the memory.
LONGEST_ANSWER = 4_000_000
# No figure of a machine has more bits.
LARGEST_NUMBER = 2**63
# One of these is there with any NVIDIA driver on Linux (the last is Windows's): without, the library is not loaded.
NVIDIA_DRIVER = ("/dev/nvidiactl", "/proc/driver/nvidia", "/dev/nvhost-gpu", "/dev/nvmap", "/dev/dxg")
# WSL keeps Windows' NVIDIA tools here, outside the path of many shells.
WSL_TOOLS = "/usr/lib/wsl/lib"

Subkeys = Mapping[str, Mapping[str, object]]


def run_command(command: list[str]) -> str:
    """What a command prints, empty where it is missing, fails or takes too long. Asked once in a process: what is
    asked for does not change."""
    return _run_once(tuple(command))


@lru_cache(maxsize=64)
def _run_once(command: tuple[str, ...]) -> str:
    """What a command prints; nothing where it is not there, fails or takes too long."""
    import os
    import shutil
    import subprocess

    program = shutil.which(command[0]) or shutil.which(command[0], path=WSL_TOOLS)
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - our own fixed commands
            [program, *command[1:]],
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout[:LONGEST_ANSWER].decode("utf-8", "replace").lstrip("\ufeff") if done.returncode == 0 else ""


def load_nvml() -> Any | None:
    """NVIDIA's management library, initialised; None without one or without a driver."""
    if _system() == "Linux" and not any(Path(place).exists() for place in NVIDIA_DRIVER):
        return None
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:
        # NVML raises its own tree, the loader OSError; whatever it is, there is no NVIDIA GPU to speak to.
        return None
    return pynvml


def read_registry(path: str) -> Subkeys:
    """The subkeys of a key below HKEY_LOCAL_MACHINE, each with its values; empty elsewhere than on Windows."""
    try:
        import winreg as _winreg
    except ImportError:
        return {}
    registry: Any = _winreg  # its names exist on Windows alone
    found: dict[str, dict[str, object]] = {}
    try:
        with registry.OpenKey(registry.HKEY_LOCAL_MACHINE, path) as key:
            for number in range(registry.QueryInfoKey(key)[0]):
                name = registry.EnumKey(key, number)
                try:
                    with registry.OpenKey(key, name) as subkey:
                        count = registry.QueryInfoKey(subkey)[1]
                        pairs = (registry.EnumValue(subkey, place)[:2] for place in range(count))
                        found[name] = dict(pairs)
                except OSError:  # `Properties` needs more rights than a user has
                    continue
    except OSError:
        return found
    return found


def system_memory() -> tuple[int | None, int | None]:
    """Bytes of memory in all and what is free of them, by psutil."""
    try:
        import psutil

        memory = psutil.virtual_memory()
    except (ImportError, OSError, RuntimeError):
        return None, None
    return int(memory.total), int(memory.available)


def processors() -> tuple[int | None, int | None]:
    """Physical cores and logical CPUs, by psutil."""
    try:
        import psutil

        return psutil.cpu_count(logical=False), psutil.cpu_count()
    except (ImportError, OSError, RuntimeError):
        return None, None


def read_file(path: Path) -> str:
    """A file's text without what pads it, empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except (OSError, ValueError):  # a name that no file system has
        return ""


def is_there(path: Path) -> bool:
    """Whether there is such a file or folder."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _system() -> str:
    import platform

    # Python 3.13 and later call Termux's system by its own name; its kernel files are Linux's.
    system = platform.system()
    return "Linux" if system == "Android" else system


def _architecture() -> str:
    import platform

    return platform.machine()


def _environment() -> Mapping[str, str]:
    import os

    return os.environ


@dataclass(frozen=True, slots=True)
class Edge:
    """Everything outside that detection looks at: files under `root`, commands, the registry, NVML, the environment.

    `registry` gives the subkeys of a key below HKEY_LOCAL_MACHINE with their values; `memory` the bytes in all and the
    free ones, `processors` physical cores and logical CPUs, as the system counts them.
    """

    root: Path = Path("/")
    system: str = field(default_factory=_system)
    run: Callable[[list[str]], str] = run_command
    nvml: Callable[[], Any | None] = load_nvml
    environment: Mapping[str, str] = field(default_factory=_environment)
    registry: Callable[[str], Subkeys] = read_registry
    memory: Callable[[], tuple[int | None, int | None]] = system_memory
    processors: Callable[[], tuple[int | None, int | None]] = processors
    architecture: str = field(default_factory=_architecture)
    read_file: Callable[[Path], str] = read_file
    is_there: Callable[[Path], bool] = is_there

    def read(self, path: str) -> str:
        """A file's text, empty where it cannot be read."""
        return self.read_file(self.root / path.lstrip("/"))

    def exists(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        return self.is_there(self.root / path.lstrip("/"))

    def target(self, path: str) -> str:
        """What a link points at, all links followed, as text; the path itself where it is none."""
        try:
            return str((self.root / path.lstrip("/")).resolve())
        except (OSError, RuntimeError):
            return path

    def glob(self, pattern: str) -> list[Path]:
        """Paths below the root, sorted."""
        try:
            return sorted(self.root.glob(pattern.lstrip("/")))
        except OSError:
            return []

    def number(self, path: str) -> int | None:
        """A file that holds one number, None for any other."""
        return whole_number(self.read(path))

    def json(self, command: list[str]) -> Any:
        """What a command prints as JSON, None where it prints none; words before the first bracket are passed over."""
        text = self.run(command)
        starts = [place for place in (text.find("{"), text.find("[")) if place >= 0]
        try:
            return json.loads(text[min(starts) :]) if starts else None
        except (ValueError, RecursionError):
            return None


def whole_number(value: object) -> int | None:
    """A whole number of a number, or of text in digits or hexadecimal; None for anything else, and beyond 64 bits."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float):
        return int(value) if abs(value) < LARGEST_NUMBER else None  # NaN compares with nothing
    text = str(value).strip() if isinstance(value, str) else ""
    try:
        number = int(text, 16) if text[:2].lower() == "0x" else int(text) if text.lstrip("-").isdigit() else None
    except ValueError:  # digits of another script's powers, or too many of them
        return None
    return number if number is None or abs(number) < LARGEST_NUMBER else None


def records(value: object) -> list[dict[str, Any]]:
    """The objects of a JSON list; PowerShell writes a list of one as the object itself."""
    listed = value if isinstance(value, list) else [value]
    return [item for item in listed if isinstance(item, dict)]
