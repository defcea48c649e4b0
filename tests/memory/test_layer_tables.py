"""A table that one layer looks up by n-grams: rows are read, not the table, and it lies where the token table lies."""

from functools import cache

import sizer
from sizer.answer.document import ModelEstimate

MODEL = "Qwen/Qwen3.8-Flash-Next"
TABLE_ELEMENTS = 51_200_245_760
"""SGLang's pull request 37793 tells of the table in FP8: 51,200,245,760 bytes, one an element."""
PUBLISHED_ACTIVE = 6_000_000_000
RAM_BYTES = 128 * 2**30


@cache
def _estimate(device: str) -> ModelEstimate:
    answer = sizer.estimate(
        MODEL, device=device, precision="q4_k_m", engine="llama.cpp", ram_bytes=RAM_BYTES, offline=True
    )
    return answer.estimates[0]


def test_a_token_reads_rows_of_the_table() -> None:
    """What a token reads is a small share of the file: 6 billion parameters and a few rows, not 51 billion more."""
    estimate = _estimate("rtx-pro-6000-ws")
    assert estimate.decode is not None
    assert estimate.decode.bytes_per_token < 0.06 * estimate.memory.weights_bytes


def test_the_table_is_none_of_the_active_parameters() -> None:
    """The model card counts 6 billion of them, without embeddings."""
    model = sizer.estimate(MODEL, device="8xb200", precision="q4_k_m", offline=True).model
    assert model.total_params > TABLE_ELEMENTS
    assert PUBLISHED_ACTIVE < model.active_params < 1.4 * PUBLISHED_ACTIVE


def test_llama_cpp_keeps_the_table_on_the_host() -> None:
    """It is per_layer_token_embd there, an input's tensor: a card of 96 GiB runs every layer of a file of 111 GiB."""
    memory = _estimate("rtx-pro-6000-ws").memory
    assert memory.fits
    assert memory.gpu_layers == 48
    assert memory.host is not None
    assert memory.host.weights_bytes > TABLE_ELEMENTS / 2


def test_experts_go_to_the_host_first() -> None:
    """The table is none of its layer's weights: the states of all layers stay on a card of 32 GiB."""
    split, whole = _estimate("rtx-5090").memory, _estimate("rtx-pro-6000-ws").memory
    assert split.placement == "offload"
    assert split.devices[0].state_bytes == whole.devices[0].state_bytes
