"""Measures one GPU with transformers on made-up weights, beside what sizer predicts. Nothing is downloaded.

    python3 benchmarks/gpu_check.py OUT            # at most 8 minutes
    python3 benchmarks/gpu_check.py OUT --tiny     # seconds, on a CPU too: does the script itself run?

It needs torch and transformers; sizer is taken from the tree that this file lies in, where it can be imported, and
bitsandbytes where it is installed. OUT/rows.csv holds a row a cell in the columns of data/measurements.csv, written as
they come, and OUT/check.json the machine, its probe, every cell with its runs and prediction, and what was left out.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import gc
import importlib.metadata
import importlib.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"
MIXTURE = "Qwen/Qwen3-30B-A3B"
CASES = (  # name, catalogued config, precision, batches, prompts, seconds that it may need
    ("llama-bf16", LLAMA, "bf16", (1, 4, 16), (512, 4096), 60),
    ("mixture-bf16", MIXTURE, "bf16", (1, 4, 16), (512, 4096), 120),
    ("llama-nf4", LLAMA, "nf4", (1, 16), (512, 4096), 90),
    ("llama-int8", LLAMA, "int8", (1, 16), (512, 4096), 90),
    ("llama-bf16-static", LLAMA, "bf16", (1,), (512,), 150),
)
OUTPUT_TOKENS, RUNS = 48, 3
SHARE_OF_MEMORY = 0.62
"""Weights may take this share of a card; a mixture's layers are cut until they do."""


def columns() -> list[str]:
    """The columns of data/measurements.csv."""
    with (ROOT / "data" / "measurements.csv").open(encoding="utf-8") as lines:
        return lines.readline().strip().split(",")


class Check:
    """The run: where it writes, when it must end, and what it found."""

    def __init__(self, out: Path, budget_s: float, tiny: bool) -> None:
        import torch

        self.out, self.tiny, self.started, self.budget_s = out, tiny, time.monotonic(), budget_s
        self.cuda = torch.cuda.is_available()
        self.device = "cuda" if self.cuda else "cpu"
        self.found: dict[str, Any] = {"machine": machine(self.cuda), "cells": [], "left_out": []}
        out.mkdir(parents=True, exist_ok=True)
        with (out / "rows.csv").open("w", encoding="utf-8", newline="") as lines:
            csv.DictWriter(lines, columns(), lineterminator="\n").writeheader()

    def left_s(self) -> float:
        """Seconds until the run must have ended."""
        return self.budget_s - (time.monotonic() - self.started)

    def say(self, text: str) -> None:
        """A line of progress."""
        print(f"{time.monotonic() - self.started:6.1f} s  {text}", file=sys.stderr, flush=True)

    def leave_out(self, what: str, why: str) -> None:
        """Note what was not measured, and why."""
        self.say(f"left out: {what}: {why}")
        self.found["left_out"].append({"what": what, "why": why[:500]})
        self.save()

    def add(self, cell: dict[str, Any]) -> None:
        """Keep a cell: a line of the CSV, and the JSON anew."""
        number = len(self.found["cells"]) + 1
        row = {name: "" if cell.get(name) is None else cell[name] for name in columns()}
        row.update(id=f"gpu-check-{number:04d}", source_date=date.today().isoformat(), metric="decode")
        with (self.out / "rows.csv").open("a", encoding="utf-8", newline="") as lines:
            csv.DictWriter(lines, columns(), lineterminator="\n").writerow(row)
        self.found["cells"].append({**cell, "id": row["id"]})
        self.save()

    def save(self) -> None:
        """Write OUT/check.json."""
        self.found["seconds"] = round(time.monotonic() - self.started, 1)
        (self.out / "check.json").write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")


def machine(cuda: bool) -> dict[str, Any]:
    """What the figures are of: card, driver, versions, processor."""
    import torch

    versions = {}
    for name in ("torch", "transformers", "accelerate", "bitsandbytes", "triton"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    found: dict[str, Any] = {"python": platform.python_version(), "versions": versions, "kernel": platform.release()}
    found["processor"] = next(
        (line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), ""
    )
    if cuda:
        properties = torch.cuda.get_device_properties(0)
        found |= {"device": properties.name, "memory_bytes": properties.total_memory}
        found |= {"multiprocessors": properties.multi_processor_count, "cuda": torch.version.cuda}
        query = ["nvidia-smi", "--query-gpu=driver_version,power.limit,clocks.max.sm,clocks.max.mem", "--format=csv"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=False)
            found["nvidia_smi"] = told.stdout.strip()
    else:
        found |= {"device": found["processor"], "memory_bytes": None}
    return found


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def sync(check: Check) -> None:
    """Wait for the card."""
    import torch

    if check.cuda:
        torch.cuda.synchronize()


def timed(check: Check, work: Callable[[], object], runs: int) -> list[float]:
    """Seconds of each run, after one to warm up."""
    found = []
    for _ in range(runs + 1):
        sync(check)
        start = time.perf_counter()
        work()
        sync(check)
        found.append(time.perf_counter() - start)
    return found[1:]


def probe(check: Check) -> dict[str, float]:
    """Bandwidth of copying and of reading, rate of a bf16 matrix product, and the time of one small operation."""
    import torch

    size = 2**20 if check.tiny else 2**30
    width = 256 if check.tiny else 8192
    source = torch.ones(size, dtype=torch.uint8, device=check.device)
    target = torch.empty_like(source)
    halves = source.view(torch.bfloat16)
    matrix = torch.randn(width, width, device=check.device, dtype=torch.bfloat16)
    small = torch.ones(16, device=check.device)

    def many() -> None:
        for _ in range(1000):
            small.add_(1)

    return {
        "copy_bytes_per_s": 2 * size / min(timed(check, lambda: target.copy_(source), 5)),
        "read_bytes_per_s": size / min(timed(check, lambda: torch.sum(halves), 5)),
        "bf16_flops_per_s": 2 * width**3 / min(timed(check, lambda: torch.mm(matrix, matrix), 5)),
        "small_operation_s": min(timed(check, many, 3)) / 1000,
    }


def config_of(check: Check, model: str) -> dict[str, Any]:
    """The catalogued config.json; shrunk for --tiny, and a mixture cut to the layers that the card holds."""
    fields = catalogued(model)
    if check.tiny:
        small = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "vocab_size": 512, "head_dim": 16}
        small |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 8192}
        if "num_experts" in fields:
            small |= {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
        return {**fields, **small}
    memory_bytes = check.found["machine"]["memory_bytes"] or 2**34
    while bf16_bytes(fields) > SHARE_OF_MEMORY * memory_bytes:
        fields["num_hidden_layers"] -= 2
    return fields


def bf16_bytes(fields: dict[str, Any]) -> int:
    """About the bytes of a model's weights in bf16, to know how many layers fit."""
    hidden, layers = fields["hidden_size"], fields["num_hidden_layers"]
    mlp = fields.get("num_experts", 0) * fields.get("moe_intermediate_size", 0) or fields["intermediate_size"]
    return int(2 * (layers * (3 * hidden * mlp + 4 * hidden * hidden) + 2 * hidden * fields["vocab_size"]))


@contextlib.contextmanager
def loaded(check: Check, fields: dict[str, Any], precision: str) -> Iterator[Any]:
    """The model with random weights made on the device itself; gone from memory afterwards."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = CONFIG_MAPPING[fields["model_type"]].from_dict(fields)
    if precision == "bf16":
        with torch.device(check.device):
            model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    else:
        model = quantized(check, config, precision)
    model.eval()
    try:
        yield model
    finally:
        del model
        gc.collect()
        if check.cuda:
            torch.cuda.empty_cache()


def quantized(check: Check, config: Any, precision: str) -> Any:
    """The model with bitsandbytes' linear layers, each made and quantized on the device before the next."""
    import bitsandbytes as bnb
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    for name, part in list(model.named_modules()):
        if not isinstance(part, torch.nn.Linear) or name.endswith("lm_head"):
            continue
        # Made on the device, a hundred times as fast; bitsandbytes quantizes what it moves there from the host.
        values = (torch.randn(part.weight.shape, dtype=torch.bfloat16, device=check.device) * 0.02).cpu()
        if precision == "nf4":
            new: Any = bnb.nn.Linear4bit(
                part.in_features, part.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4"
            )
            new.weight = bnb.nn.Params4bit(values, requires_grad=False, quant_type="nf4")
        else:
            new = bnb.nn.Linear8bitLt(part.in_features, part.out_features, bias=False, has_fp16_weights=False)
            new.weight = bnb.nn.Int8Params(values, requires_grad=False, has_fp16_weights=False)
        parent, _, last = name.rpartition(".")
        setattr(model.get_submodule(parent), last, new.to(check.device))
    for part in list(model.modules()):
        for name, parameter in list(part.named_parameters(recurse=False)):
            if parameter.is_meta:
                made = torch.ones if parameter.ndim == 1 else torch.randn
                scale = 1.0 if parameter.ndim == 1 else 0.02
                values = made(parameter.shape, dtype=torch.bfloat16, device=check.device) * scale
                setattr(part, name, torch.nn.Parameter(values, requires_grad=False))
    with torch.device(check.device):  # buffers made in the constructor alone: the rotary tables
        fresh = type(model.model.rotary_emb)(config=config)
    model.model.rotary_emb = fresh
    return model


def cell(check: Check, model: Any, batch: int, prompt: int, cache: str | None) -> dict[str, Any]:
    """Prefill and decode of one batch and prompt: generate() of one token, and of more, and the peak of memory."""
    import torch

    output = 4 if check.tiny else OUTPUT_TOKENS
    tokens = torch.randint(5, 500, (batch, prompt), device=check.device)
    options: dict[str, Any] = {"do_sample": False, "eos_token_id": None, "pad_token_id": 0}
    options |= {"attention_mask": torch.ones_like(tokens)} | ({"cache_implementation": cache} if cache else {})

    def answer(count: int) -> None:
        with torch.inference_mode():
            model.generate(tokens, max_new_tokens=count, min_new_tokens=count, **options)

    if check.cuda:
        torch.cuda.reset_peak_memory_stats()
    first_s = timed(check, lambda: answer(1), RUNS)
    whole_s = timed(check, lambda: answer(1 + output), RUNS)
    decode_s = [(whole - median(first_s)) / output for whole in whole_s]
    found: dict[str, Any] = {"batch": batch, "prompt_tokens": prompt, "context_tokens": prompt, "output_tokens": output}
    found |= {"first_token_s": first_s, "whole_s": whole_s, "step_s": decode_s}
    found["prefill_tokens_per_s"] = round(batch * prompt / median(first_s), 2)
    # On a busy machine a tiny model's longer run can come out the shorter: then nothing was measured.
    found["decode_tokens_per_s"] = round(batch / median(decode_s), 3) if median(decode_s) > 0 else None
    if check.cuda:
        found["peak_bytes"] = torch.cuda.max_memory_allocated()
        found["reserved_bytes"] = torch.cuda.max_memory_reserved()
        found["memory_gib"] = round(found["reserved_bytes"] / 2**30, 3)
    return found


def predicted(check: Check, fields: dict[str, Any], precision: str, seen: dict[str, Any]) -> dict[str, Any]:
    """What sizer says of the same cell; the reason where it says nothing."""
    folder = check.out / "config"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    try:
        import sizer

        machine_name = check.found["machine"]["device"] if check.cuda else "consumer-cpu"
        answer: Any = sizer.estimate(
            str(folder),
            device=machine_name,
            precision=precision,
            engine="transformers",
            prompt=seen["prompt_tokens"],
            output=seen["output_tokens"],
            batch=seen["batch"],
            offline=True,
        )
        one = answer["estimates"][0] if isinstance(answer, dict) else answer.estimates[0]
        return plain(one)
    except Exception as error:
        return {"reason": f"{type(error).__name__}: {error}"[:300]}


def plain(one: Any) -> dict[str, Any]:
    """Decode, prefill and memory of an estimate, whether it came as a record or as a map."""

    def read(*names: str) -> Any:
        value = one
        for name in names:
            value = value.get(name) if isinstance(value, dict) else getattr(value, name, None)
            if value is None:
                return None
        return value

    found = {}
    for part in ("decode", "prefill"):
        for name in ("tokens_per_s", "low_tokens_per_s", "high_tokens_per_s"):
            found[f"{part}_{name}"] = read(part, name)
    return found | {name: read("memory", name) for name in ("weights_bytes", "total_bytes")}


def run_case(check: Check, case: tuple[Any, ...]) -> None:
    """All cells of one model and precision; what fails is noted, and the rest goes on."""
    name, model_id, precision, batches, prompts, needed_s = case
    if check.left_s() < needed_s and not check.tiny:
        return check.leave_out(name, f"{check.left_s():.0f} s left of the budget, {needed_s} s wanted")
    if precision in {"nf4", "int8"} and importlib.util.find_spec("bitsandbytes") is None:
        return check.leave_out(name, "bitsandbytes is not installed")
    fields = config_of(check, model_id)
    cache = "static" if name.endswith("static") else None
    if cache and check.tiny:
        return check.leave_out(name, "--tiny compiles nothing")
    check.say(f"{name}: {fields['num_hidden_layers']} layers")
    try:
        with loaded(check, fields, precision) as model:
            if check.cuda:
                import torch

                sync(check)
                check.found.setdefault("weights_bytes", {})[name] = torch.cuda.memory_allocated()
            for prompt in (16, 32) if check.tiny else prompts:
                for batch in (1, 2) if check.tiny else batches:
                    if check.left_s() < 15:
                        return check.leave_out(f"{name} batch {batch} prompt {prompt}", "the budget is spent")
                    one_cell(check, (name, model_id, precision, cache), fields, model, (batch, prompt))
    except Exception as error:
        check.leave_out(name, f"{type(error).__name__}: {error}")
    return None


def one_cell(check: Check, case: tuple[Any, ...], fields: dict[str, Any], model: Any, size: tuple[int, int]) -> None:
    """One cell measured, predicted and saved; out of memory is noted."""
    import torch

    name, model_id, precision, cache = case
    batch, prompt = size
    try:
        seen = cell(check, model, batch, prompt, cache)
    except torch.OutOfMemoryError:
        gc.collect()
        torch.cuda.empty_cache()
        return check.leave_out(f"{name} batch {batch} prompt {prompt}", "out of memory")
    seen |= {"case": name, "model": model_id, "layers": fields["num_hidden_layers"], "precision": precision}
    seen |= {"engine": "transformers", "engine_version": check.found["machine"]["versions"].get("transformers", "")}
    seen |= {"backend": check.device, "device": check.found["machine"]["device"], "device_count": 1}
    seen["total_params_b"] = round(sum(part.numel() for part in model.parameters()) / 1e9, 4)
    seen["flags"] = "|".join(["random_weights", *(["aggregate"] if batch > 1 else []), *([cache] if cache else [])])
    if seen["layers"] < catalogued(model_id)["num_hidden_layers"]:
        seen["flags"] += "|cut_layers"
    seen["predicted"] = predicted(check, fields, precision, seen)
    check.add(seen)
    told = seen["predicted"].get("decode_tokens_per_s")
    check.say(
        f"  batch {batch:2d}, prompt {prompt:5d}: decode {seen['decode_tokens_per_s'] or 0:.1f} tok/s"
        + (f" (told {told * batch:.1f})" if told else "")
        + f", prefill {seen['prefill_tokens_per_s']:.0f} tok/s"
    )
    return None


def catalogued(model_id: str) -> dict[str, Any]:
    """The config.json of a catalogued model."""
    path = ROOT / "data" / "configs" / f"{model_id.replace('/', '--')}.json"
    fields: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return fields


def quiet() -> None:
    """Keep the libraries' advice out of the progress."""
    import logging
    import warnings

    import transformers

    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def main() -> int:
    """Runs the check; 0 where at least one cell was measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for rows.csv and check.json")
    parser.add_argument("--seconds", type=float, default=450, help="time budget of the whole run (default 450)")
    parser.add_argument("--tiny", action="store_true", help="tiny models, to test the script itself")
    parser.add_argument("--only", action="append", metavar="CASE", help=f"of {', '.join(one[0] for one in CASES)}")
    asked = parser.parse_args()
    quiet()
    check = Check(asked.out, asked.seconds, asked.tiny)
    if not check.cuda and not check.tiny:
        print("no CUDA or ROCm device is visible to torch: --tiny tests the script itself.", file=sys.stderr)
        return 2
    check.found["probe"] = probe(check)
    check.say("probe: " + ", ".join(f"{name} {value:.4g}" for name, value in check.found["probe"].items()))
    for case in CASES:
        if not asked.only or case[0] in asked.only:
            run_case(check, case)
    check.save()
    check.say(f"{len(check.found['cells'])} cells in {check.out}")
    return 0 if check.found["cells"] else 1


if __name__ == "__main__":
    sys.exit(main())
