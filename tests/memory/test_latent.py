"""MLA of ik_llama.cpp: keys and values expanded from the latent for long steps, against its own buffers on a CPU."""

from __future__ import annotations

import pytest

import sizer
from sizer.memory.graph.decoder import Part, compute_buffers
from sizer.memory.graph.latent import heads_at_once
from sizer.memory.graph.shape import LayerShape, ModelShape, Step
from sizer.model.architecture import Mixer, MixerKind
from sizer.units import MIB

HEADS, WIDTH = 128, 256
COMMAND = "/ik_llama.cpp/llama-server -m DeepSeek-V3-Q4_K_M.gguf -fa -c 32768 -ngl 99 -ot exps=CPU"


def reserved(expands_mib: int | None, cells: int, tokens: int = 512) -> float:
    """MiB that one dense layer of DeepSeek-V3's sizes reserves, as the library does (ik-llama-cpp-python 0.1.5)."""
    mixer = Mixer(MixerKind.MLA, HEADS, 1, 192, 128, latent_elements=576)
    layer = LayerShape(
        mixer=mixer, q_width=HEADS * 192, fused_qkv=False, qk_norm=False, q_rank=1536, ffn_width=18_432,
        gate="parallel", shared_width=0, experts=None, post_norms=False, conv_width=0,
    )  # fmt: skip
    step = Step(tokens, 1, tokens, cells, 0, 1, True, 2, 1, 1, expands_mib=expands_mib)
    return compute_buffers(ModelShape(7168, 129_280, (layer,)), step, Part(0, 1, True, on_host=True)).host_bytes / MIB


@pytest.mark.parametrize(
    ("expands_mib", "logged", "within"),
    [(0, 6304.13, 0.01), (512, 1004.13, 0.01), (256, 576.13, 0.03), (128, 368.13, 0.17), (None, 384.13, 0.05)],
)
def test_the_buffer_is_what_the_library_reserves(expands_mib: int | None, logged: float, within: float) -> None:
    """-mla 3 with no bound and three, and -mla 1, at 32,768 cells."""
    assert reserved(expands_mib, 32_768) == pytest.approx(logged, rel=within)


@pytest.mark.parametrize(
    ("most_mib", "cells", "heads"),
    [(0, 32_768, 128), (512, 32_768, 16), (256, 32_768, 8), (4096, 32_768, 128), (1, 32_768, 1)],
)
def test_heads_are_expanded_by_divisors(most_mib: int, cells: int, heads: int) -> None:
    """4,096 MiB of all heads: as many as the bound leaves room for, none left over."""
    assert heads_at_once(HEADS, cells, WIDTH, most_mib) == heads


def test_flags_bound_what_is_expanded() -> None:
    """-amb takes less, -mla 1 none of it; short steps compute on the latent."""
    sizes = [
        sizer.check(f"{COMMAND} {flags}", device="h200", ram_bytes="1TiB", offline=True).estimates[0].memory.devices[0]
        for flags in ("-mla 3 -amb 2048", "-mla 3 -amb 512", "-mla 3", "-mla 1")
    ]
    taken = [device.compute_bytes for device in sizes]
    assert taken == sorted(taken, reverse=True)
    assert len(set(taken)) == 4
    short = sizer.check(f"{COMMAND} -mla 3 -ub 64", device="h200", ram_bytes="1TiB", offline=True).estimates[0]
    assert short.memory.devices[0].compute_bytes < taken[-1]
