"""Values of flags that are JSON: limits of images, compilation, speculation, what makes a context longer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sizer.engine.flag_numbers import MOST, bad, texts, whole
from sizer.errors import UsageError


def document(text: str) -> Mapping[str, Any]:
    """A JSON object. Raises UsageError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise bad(text, "a JSON object") from None
    if not isinstance(value, Mapping):
        raise bad(text, "a JSON object")
    return value


LIMITED = {"image": "images_per_prompt", "video": "videos_per_prompt"}


def images(text: str) -> dict[str, Any]:
    """Images and videos a prompt of vLLM's `{"image": 2}` or `image=2,video=0`; nothing of what is not limited."""
    whole_object = text.lstrip().startswith("{")
    told: Mapping[str, Any] = document(text) if whole_object else {}
    counts = {name: told.get(kind) for kind, name in LIMITED.items()}
    counts = {name: count.get("count") if isinstance(count, Mapping) else count for name, count in counts.items()}
    pairs = {} if whole_object else dict(part.split("=", 1) for part in texts(text) if "=" in part)
    counts |= {LIMITED[kind]: whole(count) for kind, count in pairs.items() if kind in LIMITED}
    negative = any(isinstance(count, int) and count < 0 for count in counts.values())
    if negative or not (whole_object or pairs):
        raise bad(text, 'counts from 0 up, as {"image": 2}')
    return {name: count for name, count in counts.items() if isinstance(count, int) and not isinstance(count, bool)}


def compilation(text: str) -> dict[str, Any]:
    """vLLM's compilation level (0 and 1 capture no graphs before 0.11) or its JSON."""
    if re.fullmatch(r"\d", text.strip()):
        return {"graphs": False} if text.strip() == "0" else {}
    given = document(text)
    found: dict[str, Any] = {}
    mode = str(given.get("cudagraph_mode", "")).upper()
    if mode == "NONE" or given.get("use_cudagraph") is False:
        found["graphs"] = False
    sizes = given.get("cudagraph_capture_sizes")
    if isinstance(sizes, list) and all(isinstance(size, int) for size in sizes):
        found["graph_sizes"] = tuple(sizes)
        found |= {} if sizes else {"graphs": False}
    most = given.get("max_cudagraph_capture_size")
    return found | ({"graph_max_sequences": most} if isinstance(most, int) else {})


def speculative(text: str) -> dict[str, Any]:
    """vLLM's and TensorRT-LLM's speculative_config: method, draft model, tokens a step."""
    given = document(text)
    found = {field: given[name] for name, (field, kind) in SPECULATIVE.items() if isinstance(given.get(name), kind)}
    return found | ({"draft_method": found["draft_method"].lower()} if "draft_method" in found else {})


SPECULATIVE = {
    "method": ("draft_method", str), "model": ("draft_model", str), "num_speculative_tokens": ("draft_tokens", int),
    "decoding_type": ("draft_method", str), "speculative_model": ("draft_model", str),
    "speculative_model_dir": ("draft_model", str), "max_draft_len": ("draft_tokens", int),
    "num_nextn_predict_layers": ("draft_tokens", int),
}  # fmt: skip
"""Keys of vLLM (the first row) and of TensorRT-LLM's DecodingBaseConfig, what they set and their type."""


def longer_context(text: str) -> dict[str, Any]:
    """A model's context as an override of its config makes it: of positions, or of a rope scaled by a factor.

    vLLM's `--rope-scaling` and `--hf-overrides`, SGLang's `--json-model-override-args`; nothing of what says no length.
    Raises UsageError for a factor that none can be.
    """
    try:
        told = document(text)
    except UsageError:
        return {}  # `llama3`, or a name of a function
    longest, factor = 0, 0.0
    for part in _mappings(told):
        scaled, original = part.get("factor"), part.get("original_max_position_embeddings")
        positions = part.get("max_position_embeddings")
        longest = max(longest, positions if isinstance(positions, int) else 0)
        if isinstance(scaled, int | float) and not abs(scaled) < MOST:
            raise bad(str(scaled), "a factor that can be")
        if isinstance(scaled, int | float) and isinstance(original, int):
            longest = max(longest, round(scaled * original))
        elif isinstance(scaled, int | float):
            factor = float(scaled)
    found: dict[str, Any] = {"longest_tokens": longest} if longest else {}
    return found | ({"context_factor": factor} if factor and not longest else {})


def _mappings(told: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield told
    for inner in told.values():
        if isinstance(inner, Mapping):
            yield from _mappings(inner)
