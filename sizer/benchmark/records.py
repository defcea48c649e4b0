"""The records of a benchmark: what to run, one timed run, what came back, and the measurement made of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, field, fields
from typing import Any

from sizer.benchmark.backends import tokens_of_prefill
from sizer.frozen import dataclass

SCHEMA_VERSION = 1
LARGEST_FILE_BYTES = 64 * 2**20
"""Of a file of results or requests: no longer one is read."""
SPEC_FILE = "spec.json"
"""The spec's file in the scratch folder: a command line has room for 32,767 characters on Windows, a config more."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What the child process runs. It crosses the process boundary as JSON.

    `model` is what the backend loads: a directory, a hub id, a GGUF file or a server's model name. `config` is set
    where the weights are to be random: the model is then built from it and nothing is read. `precision` is
    canonical, or empty where the repository's own storage (or the server) decides. `cells` (fields of
    `sizer.benchmark.cells.Cell`) are measured in one load, until `ends_s` (seconds since 1970); `depth_tokens` lie in
    the cache before the prompt is read. `device` is `auto`, `cpu`, `cuda`,
    `cuda:1` or `mps`.
    """

    backend: str
    model: str
    precision: str = ""
    config: Mapping[str, Any] | None = None
    prompt_tokens: int = 512
    output_tokens: int = 128
    batch_size: int = 1
    repeats: int = 3
    warmups: int = 1
    threads: int | None = None
    device: str = "auto"
    device_count: int = 1
    parallelism: str = ""
    compiled: bool = False
    gpu_layers: int | None = None
    server_url: str = ""
    concurrency: int = 1
    offline: bool = False
    trust_remote_code: bool = False
    revision: str = ""
    scratch: str = ""
    depth_tokens: int = 0
    cells: tuple[Mapping[str, int], ...] = ()
    ends_s: float | None = None

    @property
    def random_weights(self) -> bool:
        """Whether the weights are made up."""
        return self.config is not None

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Spec:
        """The record that `to_json` wrote."""
        values = json.loads(text)
        return cls(**{**values, "cells": tuple(values.get("cells", ()))})


@dataclass(frozen=True, slots=True)
class Run:
    """One timed request: seconds to the first token, and seconds for the tokens after it."""

    prefill_s: float
    decode_s: float


@dataclass(frozen=True, slots=True)
class Caution:
    """A warning of the closed list (`sizer.benchmark.run_warnings`): what was seen, and what to do about it."""

    code: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Outcome:
    """What a backend hands back from the child process.

    `decode_steps` is how many tokens one `decode_s` covers (per sequence), `prompt_tokens` the true count where the
    engine tells it, `model` the name that a server gives it. `wall_s` is the time of all measured runs together, where
    they overlap (a server at a concurrency). Bytes are None where the engine does not tell them.
    """

    engine: str
    runs: tuple[Run, ...]
    warmup_runs: int
    prompt_tokens: int
    decode_steps: int
    load_s: float | None = None
    weights_bytes: int | None = None
    peak_memory_bytes: int | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)
    threads: int | None = None
    device: str = ""
    device_name: str = ""
    device_count: int = 1
    precision: str = ""
    model: str = ""
    wall_s: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    cautions: tuple[Caution, ...] = ()
    cells: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Outcome:
        """The record that `to_dict` wrote."""
        made = {
            **values,
            "runs": tuple(Run(**run) for run in values["runs"]),
            "cautions": tuple(Caution(**caution) for caution in values.get("cautions", ())),
            "cells": tuple(values.get("cells", ())),
        }
        return cls(**{name: made[name] for name in (item.name for item in fields(cls)) if name in made})


@dataclass(frozen=True)
class Measurement:
    """A benchmark's figures: raw runs, and the medians derived from them.

    `decode_tokens_per_s` is one sequence's; `prefill_tokens_per_s` counts the prompts of the whole batch;
    `throughput_tokens_per_s` is all sequences together, prefill included. A spread is the sample standard deviation
    over the median, None with one run.
    """

    engine: str
    precision: str
    prompt_tokens: int
    output_tokens: int
    batch_size: int
    decode_tokens_per_s: float
    prefill_tokens_per_s: float
    ttft_s: float
    tpot_s: float
    weights_bytes: int | None
    peak_memory_bytes: int | None
    load_s: float | None
    random_weights: bool
    threads: int | None
    runs: tuple[Run, ...]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    warnings: tuple[Caution, ...]
    model: str = ""
    backend: str = ""
    device: str = ""
    device_name: str = ""
    device_count: int = 1
    parallelism: str = ""
    concurrency: int = 1
    compiled: bool = False
    warmup_runs: int = 0
    decode_best_tokens_per_s: float | None = None
    decode_spread: float | None = None
    prefill_spread: float | None = None
    throughput_tokens_per_s: float | None = None
    memory: Mapping[str, Any] = field(default_factory=dict)
    measured_on: str = ""

    @property
    def decode_steps(self) -> int:
        """Tokens of one sequence that `decode_s` covers."""
        return self.output_tokens - tokens_of_prefill(self.backend)
