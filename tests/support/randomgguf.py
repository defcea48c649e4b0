"""A GGUF file of made-up weights that llama.cpp really runs: a Qwen3 of any size, with a vocabulary of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

BYTES = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
"""The bytes that a byte-level vocabulary writes as themselves; the others follow from 256 on."""


@dataclass(frozen=True)
class Size:
    """The dimensions of a Qwen3: those of Qwen3-0.6B by default."""

    layers: int = 28
    hidden: int = 1024
    intermediate: int = 3072
    heads: int = 16
    kv_heads: int = 8
    head: int = 128
    vocabulary: int = 151_936
    context: int = 40_960


TINY = Size(layers=2, hidden=64, intermediate=128, heads=4, kv_heads=2, head=32, vocabulary=512, context=2048)


def write_gguf(path: Path, size: Size = TINY, seed: int = 0) -> Path:
    """The file, its matrices in Q8_0."""
    import gguf
    import numpy as np

    random = np.random.default_rng(seed)
    writer = gguf.GGUFWriter(str(path), "qwen3")
    writer.add_context_length(size.context)
    writer.add_embedding_length(size.hidden)
    writer.add_block_count(size.layers)
    writer.add_feed_forward_length(size.intermediate)
    writer.add_head_count(size.heads)
    writer.add_head_count_kv(size.kv_heads)
    writer.add_key_length(size.head)
    writer.add_value_length(size.head)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_rope_freq_base(1e6)
    writer.add_file_type(7)  # mostly Q8_0
    _add_vocabulary(writer, size.vocabulary)
    for name, shape in _tensors(size):
        if len(shape) == 1:
            writer.add_tensor(name, np.ones(shape, np.float32))
            continue
        values = random.standard_normal((shape[0] * shape[1] // 32, 32), np.float32) * 0.02
        scale = np.abs(values).max(axis=1, keepdims=True) / 127
        packed = np.concatenate(
            [scale.astype(np.float16).view(np.uint8), np.round(values / scale).astype(np.int8).view(np.uint8)], axis=1
        )
        rows = packed.reshape(shape[0], -1)
        writer.add_tensor(name, rows, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_vocabulary(writer: Any, count: int) -> None:
    """Single bytes, made-up words, and an end that is never likely."""
    shown = {byte: chr(byte) for byte in BYTES}
    rest = [byte for byte in range(256) if byte not in shown]
    shown.update({byte: chr(256 + index) for index, byte in enumerate(rest)})
    tokens = [shown[byte] for byte in range(256)]
    tokens += [f"Ġw{index}" for index in range(256, count - 1)] + ["<end>"]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types([1] * (count - 1) + [3])
    writer.add_token_merges([f"{shown[ord('t')]} {shown[ord('h')]}"])
    writer.add_eos_token_id(count - 1)
    writer.add_chat_template("{% for message in messages %}{{ message['content'] }}{% endfor %}")


def _tensors(size: Size) -> Iterator[tuple[str, tuple[int, ...]]]:
    yield "token_embd.weight", (size.vocabulary, size.hidden)
    yield "output_norm.weight", (size.hidden,)
    for layer in range(size.layers):
        block = f"blk.{layer}"
        yield f"{block}.attn_norm.weight", (size.hidden,)
        yield f"{block}.ffn_norm.weight", (size.hidden,)
        yield f"{block}.attn_q_norm.weight", (size.head,)
        yield f"{block}.attn_k_norm.weight", (size.head,)
        yield f"{block}.attn_q.weight", (size.heads * size.head, size.hidden)
        yield f"{block}.attn_k.weight", (size.kv_heads * size.head, size.hidden)
        yield f"{block}.attn_v.weight", (size.kv_heads * size.head, size.hidden)
        yield f"{block}.attn_output.weight", (size.hidden, size.heads * size.head)
        yield f"{block}.ffn_gate.weight", (size.intermediate, size.hidden)
        yield f"{block}.ffn_up.weight", (size.intermediate, size.hidden)
        yield f"{block}.ffn_down.weight", (size.hidden, size.intermediate)
