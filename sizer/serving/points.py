"""Measured points of servers under load, in the columns of `data/serving.csv`: what was served, where, to how many."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from math import ceil, isfinite
from pathlib import Path

from sizer.errors import InvalidInputFile
from sizer.frozen import dataclass
from sizer.printable import shown
from sizer.serving.layout import NODE_DEVICES, Layout
from sizer.serving.load import Load
from sizer.serving.rules import reads_prompts_apart
from sizer.serving.scripts import NO_SCRIPT, Run, Script, script_of
from sizer.tables import read_rows as table_rows

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
OTHER_SCRIPTS = "aic-auto-gap-analysis"
"""In the source of rows that another benchmark measured: nothing tells how its servers were started."""
MEASURED, AT_ONCE = re.compile(r"measured=(\d{4}-\d\d-\d\d)"), re.compile(r"silicon_concurrency=(\d+)")
"""The day of a run and its requests at once, in the source of its row."""
LEAST_LENGTH = 0.8
"""Of the stated prompt and output, what the shortest of the benchmark behind most rows have: any length from there to
the stated one is as likely (InferenceX, `--random-range-ratio 0.8` of its benchmark_serving.py)."""
DRIFT = 0.1
"""Requests of one length that all users send at once stay together where the decodes wait for prompts: all are read,
then all decode. Read beside the decodes they drift apart, as lengths within so much of their mean do: 516 such points
err by 22 % in their first token so and by 29 % without it, 78 of SGLang by 13 % without and by 35 % with it."""


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
    date: str = ""
    """The day of the run (ISO); empty where the row does not tell it."""
    script: Script = NO_SCRIPT
    """What the server was told beyond its engine's defaults, where that is known."""
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
    users = _users(row)
    engine = ENGINES.get(row["backend"], row["backend"])
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
        engine=engine,
        engine_version=row.get("backend_version", ""),
        layout=layout,
        load=_load(row, users, engine),
        ttft_s=_seconds(row, "silicon_ttft_ms"),
        tpot_s=_seconds(row, "silicon_tpot_ms"),
        row=row,
        requests=_count(row, "requests", 0) or None,
        engine_flags=row.get("engine_flags", ""),
        date=_date(row),
        script=NO_SCRIPT if row.get("requests") else script_of(run_of(row, engine, layout, users)),
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


def _users(row: Mapping[str, str]) -> int:
    """Requests at once: those of a group times the groups, and no more than the source says of the whole run."""
    users = _count(row, "batch_size") * max(1, _count(row, "attention_dp_size", 1))
    told = AT_ONCE.search(row.get("silicon_data_source", ""))
    return min(users, int(told[1])) if told else users


def _of_benchmark(row: Mapping[str, str]) -> bool:
    """Whether the public benchmark measured a row; a row of one's own counts its `requests`."""
    return not row.get("requests") and OTHER_SCRIPTS not in row.get("silicon_data_source", "")


def _date(row: Mapping[str, str]) -> str:
    told = MEASURED.search(row.get("silicon_data_source", ""))
    return told[1] if told else ""


def run_of(row: Mapping[str, str], engine: str, layout: Layout, users: int) -> Run:
    """The run of a benchmark that a row is of, as its script is chosen by."""
    return Run(
        benchmark="inferencex" if _of_benchmark(row) else "other",
        engine=engine,
        system=row["system"].partition("_")[0],
        model=row["model_path"].casefold(),
        precision=_precision(row),
        version=row.get("backend_version", ""),
        date=_date(row),
        prompt_tokens=_count(row, "isl"),
        output_tokens=_count(row, "osl"),
        devices=layout.devices,
        expert_ranks=layout.expert_parallel,
        users=users,
    )


def _load(row: Mapping[str, str], users: int, engine: str) -> Load:
    """The load of a row: lengths as stated, or of the public benchmark drawn up to the stated ones."""
    drawn, rate = _of_benchmark(row), _number(row, "rate_per_s")
    share = (1 + LEAST_LENGTH) / 2 if drawn else 1.0
    prompt, output = (ceil(share * _count(row, column)) for column in ("isl", "osl"))
    if drawn:
        spread = (1 - LEAST_LENGTH) / (1 + LEAST_LENGTH)
    else:
        spread = 0.0 if row.get("requests") or reads_prompts_apart(engine) else DRIFT
    return Load(prompt, output, users=None if rate else users, rate_per_s=rate, spread=spread)


def _precision(row: Mapping[str, str]) -> str:
    """The weights' precision: that of `data/served_weights.csv`, else what the row says that products run in."""
    for one in table_rows("served_weights.csv"):
        if one["model"] in row["model_path"].casefold():
            return one["precision"]
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
