"""Measured points of servers under load, in the columns of `data/serving.csv`: what was served, where, to how many."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path

from sizer.errors import InvalidInputFile
from sizer.frozen import dataclass
from sizer.printable import shown
from sizer.serving.layout import NODE_DEVICES, Layout
from sizer.serving.load import Load

COLUMNS = ("backend", "model_path", "system", "isl", "osl", "batch_size", "silicon_ttft_ms", "silicon_tpot_ms")
ENGINES = {"trtllm": "tensorrt-llm"}
SYSTEMS = {"h100_sxm": "NVIDIA H100 SXM 80GB"}
"""Systems that the device table knows under another name; the others are a device's name and its form (`b200_sxm`)."""
PRECISIONS = {
    "fp8": "fp8",
    "fp8_block": "fp8",
    "nvfp4": "nvfp4",
    "fp4": "nvfp4",
    "int4_wo": "w4a16-int4",
    "int4": "w4a16-int4",
    "mxfp4": "mxfp4",
}
KV_PRECISIONS = {"fp8": "fp8", "nvfp4": "fp8"}
"""The cache's format where no column tells. The public launch scripts of the benchmark that most rows come from set an
8-bit cache beside FP8 and NVFP4 weights (SGLang's `--kv-cache-dtype fp8_e4m3`, TensorRT-LLM's `kv_cache_config: dtype:
fp8`) and leave it to the engine beside others (`auto`: 16 bits). The first tokens agree where the cache binds: they err
by 20 to 40 % so, and by 50 to 140 % with 16 bits.
"""
SENT_EVERY = (
    ("sglang", "b200", "deepseek", "nvfp4", 10),
    ("sglang", "b200", "", "", 30),
)
"""Engine, system, a word of the model and the precision (empty: any) of rows whose server was told to send so many
tokens at a time: `--stream-interval` in the same launch scripts (InferenceX, single node, from November 2025 to April
2026). The first are made and not sent. Other engines send a first token at once whatever their interval."""
OTHER_SCRIPTS = "aic-auto-gap-analysis"
"""In the source of rows that another benchmark measured: nothing tells how its servers sent."""
SPREAD = 0.1
"""Prompts and outputs of the benchmark behind most rows lie within a tenth of their mean."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured point: `users` requests at once, their mean time to the first token and time per output token."""

    id: str
    model: str
    device: str
    devices: int
    precision: str
    kv_precision: str
    engine: str
    engine_version: str
    layout: Layout
    load: Load
    ttft_s: float | None
    tpot_s: float | None
    row: Mapping[str, str]
    requests: int | None = None
    """How many requests the means are of; None: ten a user, as the benchmark behind most rows sends."""
    engine_flags: str = ""
    unsent_steps: int = 0
    """Decode steps after the first whose tokens the server was told to hold back; 0 where nothing tells of any."""
    total_params_b: float | None = None
    active_params_b: float | None = None
    flags: frozenset[str] = frozenset()


def is_serving_table(path: Path) -> bool:
    """Whether a CSV file has the columns of points under load."""
    if path.suffix.lower() in {".json", ".jsonl", ".ndjson"} or not path.is_file():
        return False
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            header = next(csv.reader(lines), [])
    except (UnicodeDecodeError, csv.Error):
        return False
    return {"model_path", "system", "batch_size"} <= set(header)


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of a table of points. Raises InvalidInputFile where a column is missing or it is no CSV file."""
    if not path.is_file():
        raise InvalidInputFile(
            f"{shown(str(path))} is no file.", "Give a CSV file with the columns of data/serving.csv."
        )
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InvalidInputFile(
                    f"{str(path)!r} has no column {missing[0]!r}.", "Its columns are those of data/serving.csv."
                )
            yield from ({key: value or "" for key, value in row.items() if key} for row in reader)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInputFile(f"{str(path)!r} is not a table of text: {error}.") from None


def point(row: Mapping[str, str]) -> Point:
    """One row as a point. Raises InvalidInputFile naming what is wrong with it."""
    ranks, groups = _ranks(row)
    experts = _count(row, "moe_ep_size", 1) > 1
    users = _count(row, "batch_size") * max(1, _count(row, "attention_dp_size", 1))
    rate = _number(row, "rate_per_s")
    spread = 0.0 if row.get("requests") else SPREAD
    wide = ranks == 1 and groups > NODE_DEVICES
    layout = Layout(ranks, groups, max(1, _count(row, "pp_size", 1)), expert_parallel=experts or wide, in_flight=True)
    system = row["system"]
    return Point(
        id=row.get("id", ""),
        model=row["model_path"],
        device=SYSTEMS.get(system) or system.replace("_sxm", "").replace("_", " "),
        devices=layout.devices,
        precision=_precision(row),
        kv_precision=row.get("kvcache_quant_mode") or KV_PRECISIONS.get(_precision(row), "fp16"),
        engine=ENGINES.get(row["backend"], row["backend"]),
        engine_version=row.get("backend_version", ""),
        layout=layout,
        load=Load(
            _count(row, "isl"), _count(row, "osl"), users=None if rate else users, rate_per_s=rate, spread=spread
        ),
        ttft_s=_seconds(row, "silicon_ttft_ms"),
        tpot_s=_seconds(row, "silicon_tpot_ms"),
        row=row,
        requests=_count(row, "requests", 0) or None,
        engine_flags=row.get("engine_flags", ""),
        unsent_steps=_unsent_steps(row),
        total_params_b=_number(row, "total_params_b"),
        active_params_b=_number(row, "active_params_b"),
        flags=frozenset(filter(None, map(str.strip, row.get("flags", "").split("|")))),
    )


def _ranks(row: Mapping[str, str]) -> tuple[int, int]:
    """Tensor ranks and groups of data-parallel attention.

    Sources of such rows count one group of devices twice where attention or experts are split in two ways: a square of
    expert ranks (`moe_tp_size` = `moe_ep_size`, their product being all ranks) is that many devices, and so are as
    many tensor as data ranks. (The same measurement stands in the table under both spellings.) More tensor ranks than a
    node has devices are wide expert parallelism, whose attention is data-parallel: 72 ranks do not part 128 heads.
    """
    tensor, groups = max(1, _count(row, "tp_size", 1)), max(1, _count(row, "attention_dp_size", 1))
    stated = row.get("attention_dp_size", "") not in {"", "0"}
    moe_tensor, moe_experts = _count(row, "moe_tp_size", 1), _count(row, "moe_ep_size", 1)
    if stated and moe_tensor == moe_experts > 1 and moe_tensor * moe_experts == tensor * groups:
        return (1, moe_tensor) if groups > 1 else (moe_tensor, 1)
    if tensor > NODE_DEVICES:
        return 1, tensor * groups
    if groups > 1 and tensor == groups:
        return (1, groups) if moe_experts > 1 else (tensor, 1)
    return tensor, groups


def _unsent_steps(row: Mapping[str, str]) -> int:
    """Of the public benchmark's rows, whose launch scripts are known; a row of one's own counts its `requests`."""
    if row.get("requests") or OTHER_SCRIPTS in row.get("silicon_data_source", ""):
        return 0
    case = (row["backend"], row["system"].partition("_")[0], row["model_path"].casefold(), _precision(row))
    for backend, system, word, precision, tokens in SENT_EVERY:
        if case[:2] == (backend, system) and word in case[2] and precision in {"", case[3]}:
            return tokens - 1
    return 0


def _precision(row: Mapping[str, str]) -> str:
    if "gpt-oss" in row["model_path"]:
        return "mxfp4"  # its published weights, whatever the products run in
    for column in ("gemm_quant_mode", "precision"):
        if row.get(column):
            return PRECISIONS.get(row[column], row[column])
    return "bf16"


def _count(row: Mapping[str, str], column: str, default: int | None = None) -> int:
    text = row.get(column, "")
    if not text and default is not None:
        return default
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or number != int(number) or not 0 <= number <= 10**9:
        raise InvalidInputFile(f"{column} {text!r} is no count.")
    return int(number)


def _seconds(row: Mapping[str, str], column: str) -> float | None:
    milliseconds = _number(row, column)
    return None if milliseconds is None else milliseconds / 1000


def _number(row: Mapping[str, str], column: str) -> float | None:
    """A figure above 0; None where the cell is empty or 0."""
    text = row.get(column, "")
    if not text:
        return None
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number) or number < 0:
        raise InvalidInputFile(f"{column} {text!r} is no figure.")
    return number or None
