"""What engines printed of their memory beside what is predicted: the table of docs/memory.md.

python benchmarks/engine_logs.py            the table: quantity, engine, facts, median and 90th percentile
python benchmarks/engine_logs.py --rows     each fact
"""

from __future__ import annotations

import argparse
import csv
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from sizer.api.asked import DeviceAsked
from sizer.api.targets import targets
from sizer.device.records import Target
from sizer.engine.engines import find_engine
from sizer.engine.flagged import with_options
from sizer.engine.flags import options_of, read_flags
from sizer.engine.graph_rules import graph_rule
from sizer.engine.memory_rules import engine_memory
from sizer.engine.stored import store_for
from sizer.errors import SizerError
from sizer.memory.capacity import room_bytes_of
from sizer.memory.case import Case
from sizer.memory.own_estimate import own_estimate
from sizer.memory.placement import place
from sizer.memory.records import Footprint, Placement
from sizer.memory.working import graphs_bytes, layers_bytes, profile_bytes
from sizer.model.read.resolve import resolve
from sizer.model.stored import text_of
from sizer.precision.names import canonical
from sizer.units import GB, GIB, MIB
from sizer.workload import Workload

FACTS = Path(__file__).parent.parent / "tests" / "data" / "memory" / "engine_logs.csv"
UNITS = {"MiB": MIB, "GiB": GIB, "GB": GB, "B": 1, "tokens": 1, "layers": 1, "x": 1}
NOT_COMPARED = ("(other use)", "(flags not told)")
"""Logs that count other programs' memory, or whose figures show flags that they do not print."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One fact and its prediction; `predicted` None where there is none, with the reason."""

    row: dict[str, str]
    predicted: float | None
    reason: str = ""

    @property
    def error(self) -> float | None:
        """Predicted over printed, less one."""
        return None if self.predicted is None else self.predicted / float(self.row["value"]) - 1


def facts() -> list[dict[str, str]]:
    """The facts, one a line that an engine printed."""
    return list(csv.DictReader(FACTS.read_text(encoding="utf-8").splitlines()))


def case_of(row: dict[str, str]) -> Case:
    """The case that a fact is about."""
    architecture = resolve(row["model"], offline=True).architecture
    engine, precision = find_engine(row["engine"]), canonical(row["precision"])
    sequences, context = int(row["parallel"] or 1), int(row["context"] or 2048)
    given = read_flags(engine.flags, re.sub(r"\([^)]*\)", "", row["flags"]).split(), version=row["version"])
    rule = graph_rule(engine.name, row["version"], row["date"])
    if rule is not None and rule.slot_context == "each":
        context //= sequences  # a log shows what all slots have together
    options = replace(
        options_of(engine.name, row["version"], given, engine.flags),
        context_tokens=context if engine.runtime == "llama.cpp" else None,
        prefill_chunk_tokens=int(row["ubatch"]) if row["ubatch"] and engine.runtime == "llama.cpp" else None,
        flash_attention=row["flash_attention"] == "1" if row["flash_attention"] else None,
        logits_all=True if "(all rows)" in row["flags"] else None,
        backend="vulkan" if "(Vulkan)" in row["device"] else "",
    )
    if engine.runtime == "llama.cpp" and sequences > 1:
        options = replace(options, max_sequences=sequences)
    if engine.runtime == "vllm" and row["ubatch"] not in {"", "2048"}:
        options = replace(options, batch_tokens=int(row["ubatch"]))
    prompt = context if engine.runtime == "mlx-lm" else 512
    work = Workload(prompt, 0 if prompt >= context else 128, context, 1, row["kv_precision"])
    stored, memory = store_for(architecture, precision, engine.name), with_options(_memory(engine.name, row), options)
    return Case(
        architecture=architecture,
        stored=text_of(stored) if memory.text_alone else stored,
        workload=work,
        target=_target(row),
        engine=memory,
        parallelism=engine.split(None),
        can_offload=bool(engine.offload),
        experts_first="experts" in engine.offload,
        options=options,
        engine_date=row["date"],
    )


def _memory(name: str, row: dict[str, str]):  # type: ignore[no-untyped-def]
    found = engine_memory(name, row["version"], row["date"])
    assert found is not None
    return found


def _target(row: dict[str, str]) -> Target:
    count = int(row["device_count"] or 1)
    name = row["stands_for"]
    if name == "cpu":
        (target,) = targets(DeviceAsked(names=("cpu",), memory_bytes=512 * GIB))
        return target
    free = re.search(r"\(([\d.]+) GiB free\)", row["device"])
    (target,) = targets(
        DeviceAsked(
            names=(f"{count}x{name}" if count > 1 else name,),
            ram_bytes=1024 * GIB,
            memory_bytes=int(float(free[1]) * GIB) if free else None,
        )
    )
    return target


def predictions(
    case: Case, needed: Footprint, placement: Placement, *, samples: bool
) -> dict[str, Callable[[], float | None]]:
    """What is predicted of each quantity, in bytes, tokens or layers; `samples`: the rank has the sampler."""
    share = placement.shares[-1]
    places = (*placement.shares, *([placement.host] if placement.host else []))
    graph = case.graph is not None
    host_compute = placement.host.compute_bytes if placement.host else placement.host_compute_bytes
    on_host = share.weights_bytes if case.on_cpu else placement.host_tables_bytes
    own = own_estimate(case)
    activation = profile_bytes(case) if samples else layers_bytes(case)
    room = room_bytes_of(case, share) + (0 if samples else profile_bytes(case) - activation)
    return {
        "weights": lambda: float(share.weights_bytes),
        "weights_rank": lambda: float(share.weights_bytes),
        "weights_gpu": lambda: float(share.weights_bytes),
        "weights_host": lambda: float(on_host),
        "kv": lambda: float(sum(item.cache_bytes for item in places)),
        "kv_attn": lambda: float(sum(item.kv_cache_bytes for item in places)),
        "kv_state": lambda: float(sum(item.state_bytes for item in places)),
        "compute": lambda: float(share.compute_bytes) if graph else None,
        "graph_ollama": lambda: float(own.graph_bytes) if own else None,
        "total_ollama": lambda: float(own.total_bytes) if own else None,
        "layers_offloaded": lambda: own.gpu_layers if own else None,
        "compute_few_outputs": lambda: float(_few_outputs(case)),
        "compute_host": lambda: float(host_compute),
        "activation": lambda: float(activation),
        "graphs": lambda: float(_graphs(case)),
        "nontorch": lambda: float(needed.overhead.part("device context") // len(placement.shares)),
        "kv_gib": lambda: float(room),
        "kv_tokens": lambda: placement.kv_capacity_tokens,
        "total": lambda: float(share.total_bytes),
        "peak": lambda: float(needed.total_bytes - needed.overhead.size_bytes),
        "file_size": lambda: case.stored.download_bytes,
        "params": lambda: case.architecture.total_params / 1e9,
    }


def _graphs(case: Case) -> int:
    """Graphs of the sizes that the version captures, at the newest rule's bytes: older ones reserve none."""
    newest = engine_memory(case.engine.engine)
    assert newest is not None
    each = {"graph_bytes": newest.graph_bytes, "expert_graph_bytes": newest.expert_graph_bytes}
    return graphs_bytes(replace(case, engine=case.engine._replace(**each)))


def _few_outputs(case: Case) -> int:
    few = replace(case, options=replace(case.options, logits_all=False))
    return place(few)[1].shares[-1].compute_bytes


def compared(row: dict[str, str]) -> Compared:
    """One fact beside its prediction."""
    try:
        case = case_of(row)
        needed, placement = place(case)
        known = predictions(case, needed, placement, samples="(rank without sampler)" not in row["flags"])
        if row["quantity"] not in known:
            return Compared(row, None, f"{row['quantity']} is not predicted")
        value = known[row["quantity"]]()
    except SizerError as error:
        return Compared(row, None, error.message)
    if value is None:
        return Compared(row, None, "not predicted for this engine")
    return Compared(row, value / UNITS.get(row["unit"], 1) if row["quantity"] != "params" else value)


def table(found: list[Compared]) -> Iterator[tuple[str, str, int, float, float, float]]:
    """Quantity, engine, facts, median error, 90th percentile and bias, by quantity and engine."""
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for item in found:
        if item.error is not None and not any(mark in item.row["flags"] for mark in NOT_COMPARED):
            groups[item.row["quantity"], item.row["engine"]].append(item.error)
    for (quantity, engine), errors in sorted(groups.items()):
        sizes = sorted(abs(error) for error in errors)
        middle = (sizes[(len(sizes) - 1) // 2] + sizes[len(sizes) // 2]) / 2
        p90 = sizes[min(len(sizes) - 1, int(0.9 * len(sizes)))]
        yield quantity, engine, len(sizes), middle, p90, sorted(errors)[len(errors) // 2]


def main() -> None:
    """Print the table, or each fact."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", action="store_true")
    parser.add_argument("--quantity", default="")
    asked = parser.parse_args()
    found = [compared(row) for row in facts() if asked.quantity in {"", row["quantity"]}]
    if asked.rows:
        for item in found:
            row = item.row
            shown = f"  - {item.reason[:60]}"
            if item.error is not None:
                shown = f"{item.predicted:12.2f} {item.error:+8.1%}"
            print(
                f"{row['id']} {row['quantity']:14} {row['engine']:12} {row['version'] or row['date']:10} "
                f"{row['model'].split('/')[-1][:26]:26} {row['context']:>7} np{row['parallel'] or 1} ub{row['ubatch']} "
                f"fa{row['flash_attention']} {row['flags']:14} {float(row['value']):12.2f} {shown}"
            )
        return
    print("| quantity | engine | facts | median error | p90 | bias |\n| --- | --- | --- | --- | --- | --- |")
    for quantity, engine, count, middle, p90, bias in table(found):
        print(f"| {quantity} | {engine} | {count} | {middle:.1%} | {p90:.1%} | {bias:+.1%} |")


if __name__ == "__main__":
    main()
