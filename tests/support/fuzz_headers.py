"""Fuzzes the header parsers for as long as asked: `python tests/support/fuzz_headers.py 200000 [SEED]`.

A case is a valid file with faults. A parser may read it or refuse it with a SizerError; anything else is a bug, and the
case is written to `fuzz-failure.bin`.
"""

from __future__ import annotations

import random
import sys
import time
import tracemalloc
from pathlib import Path

from headerfiles import LLAMA, BytesSource, data_bytes, gguf_bytes, llama_tensors, mutate, safetensors_bytes

from sizer.errors import SizerError
from sizer.model.read.headers import Header
from sizer.model.read.headers_gguf import parse as parse_gguf
from sizer.model.read.headers_gguf_model import gguf_model
from sizer.model.read.headers_safetensors import parse as parse_safetensors
from sizer.model.read.headers_safetensors import parse_index
from sizer.model.read.headers_torch_model import torch_model

CHECKPOINT = {
    "model.embed_tokens.weight": ("BF16", (10, 8)),
    "model.layers.0.self_attn.q_proj.qweight": ("I32", (1, 8)),
    "model.layers.0.self_attn.q_proj.scales": ("F16", (1, 8)),
    "model.layers.0.self_attn.q_proj.qzeros": ("I32", (1, 1)),
    "model.layers.0.self_attn.k_proj.weight": ("F8_E4M3", (8, 8)),
    "model.layers.0.self_attn.k_proj.weight_scale_inv": ("F32", (1, 1)),
    "model.layers.0.mlp.experts.0.w1.weight": ("U8", (32, 1)),
    "model.layers.0.mlp.experts.0.w1.weight.absmax": ("F32", (1,)),
    "model.layers.0.mlp.experts.gate_up_proj_blocks": ("U8", (2, 4, 1, 16)),
    "model.layers.0.mlp.experts.gate_up_proj_scales": ("U8", (2, 4, 1)),
    "lm_head.weight": ("U32", (4, 8)),
    "lm_head.scales": ("BF16", (4, 1)),
    "lm_head.biases": ("BF16", (4, 1)),
}
MIXTRAL = LLAMA | {"llama.expert_count": 4, "llama.expert_used_count": 2}
SEEDS = (
    ("gguf", gguf_bytes(LLAMA, llama_tensors())),
    ("gguf", gguf_bytes(MIXTRAL, llama_tensors(4))),
    ("safetensors", safetensors_bytes(CHECKPOINT)),
    ("index", b'{"metadata": {}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors"}}'),
)


def run(kind: str, data: bytes) -> bool:
    """Reads one file to the end; False where it was refused. Raises whatever is a bug."""
    source = BytesSource("fuzzed", data)
    try:
        if kind == "index":
            parse_index(source)
            return True
        header = parse_gguf(source) if kind == "gguf" else parse_safetensors(source)
        check(header, data)
        if kind == "gguf":
            gguf_model(header, "fuzzed")
        else:
            torch_model(header, "fuzzed", None)
    except SizerError:
        return False
    return True


def check(header: Header, data: bytes) -> None:
    """What an accepted header promises: its tensors fit into the file, under one name each."""
    if data_bytes(header) > len(data) or any(tensor.size_bytes < 0 for tensor in header.tensors):
        raise AssertionError("tensors are larger than their file")
    if len({tensor.name for tensor in header.tensors}) != len(header.tensors):
        raise AssertionError("two tensors have one name")


def main(cases: int, seed: int) -> None:
    """Runs the cases and prints the figures."""
    chance = random.Random(seed)
    accepted = 0
    tracemalloc.start()
    started = time.perf_counter()
    for _ in range(cases):
        kind, data = chance.choice(SEEDS)
        mutated = mutate(data, chance)
        try:
            accepted += run(kind, mutated)
        except Exception:
            Path("fuzz-failure.bin").write_bytes(mutated)
            print(f"{kind} case written to fuzz-failure.bin", file=sys.stderr)
            raise
    peak = tracemalloc.get_traced_memory()[1]
    print(f"{cases} cases, {accepted} accepted, {time.perf_counter() - started:.0f} s, peak {peak / 2**20:.1f} MiB")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, int(sys.argv[2]) if len(sys.argv) > 2 else 0)
