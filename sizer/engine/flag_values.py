"""How the values of flags are read: one function a kind of `data/engine_flags.csv`, from text to what it sets."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sizer.engine.flag_numbers import bad, layers, number, numbers, on_off, parts, texts, tokens, whole, whole_numbers
from sizer.engine.json_values import compilation, document, images, longer_context, speculative
from sizer.errors import InvalidQuantity, UsageError
from sizer.regex import outside_pattern
from sizer.units import GIB, MIB, parse_bytes

BLOCK_TOKENS = 16
"""Tokens of a block of vLLM's cache, unless --block-size says another number."""
KOBOLD_CACHE_TYPES = {"0": "f16", "1": "q8_0", "2": "q4_0"}
GGML_TYPES = {"0": "f32", "1": "f16", "2": "q4_0", "3": "q4_1", "6": "q5_0", "7": "q5_1", "8": "q8_0", "30": "bf16"}
"""Types of the cache by their number (ggml/include/ggml.h), or by their constant's name: GGML_TYPE_Q8_0."""
LLAMA_SPLITS = {"0": "none", "1": "layer", "2": "row"}
LLAMA_SPLIT_WORDS = ("none", "layer", "row", "tensor", "graph", "attn")
"""llama.cpp's --split-mode and ik_llama.cpp's two more."""
DTYPE_WORDS = ("auto", "half", "float16", "fp16", "f16", "bfloat16", "bf16", "float", "float32", "fp32", "f32")
"""What --dtype takes: no engine has all of them, none has another."""
LONGEST_SHORT_FLAG = 3
"""Letters of llama.cpp's short flags where text-generation-webui is given none of the dashes (its
modules/llama_cpp_server.py)."""
MLX_BITS = (2, 3, 4, 5, 6, 8)
"""Widths that mlx_lm.convert --q-bits takes."""
TURBOMIND_BLOCK_TOKENS = 64
"""lmdeploy's --cache-block-seq-len (lmdeploy/messages.py TurbomindEngineConfig: cache_block_seq_len)."""
TURBOMIND_CACHE_TYPES = {
    "0": "", "none": "", "4": "tm-int4", "int4": "tm-int4", "8": "tm-int8", "int8": "tm-int8", "16": "fp8", "17": "fp8",
    "fp8_e5m2": "fp8",
}  # fmt: skip
"""lmdeploy's --quant-policy (lmdeploy/messages.py QuantPolicy)."""
HOST_EXPERT_BITS = {"AMXINT4": 4, "MOE_INT4": 4, "AMXINT8": 8, "MOE_INT8": 8}
"""Bits of the experts that KTransformers' --kt-method quantizes for the CPU (kt-kernel/python/experts.py); its other
methods compute what the checkpoint stores."""
LIGHTLLM_CACHE_TYPES = {
    "none": "", "int8kv": "int8-g8", "int4kv": "int4-g8", "fp8kv_sph": "fp8", "fp8kv_spt": "fp8",
    "fp8kv_dsa": "fp8_ds_mla",
}  # fmt: skip
"""LightLLM's --llm_kv_type (lightllm/server/api_cli.py)."""
LITGPT_QUANTIZATIONS = {
    "bnb.nf4": (4, "nf4", False), "bnb.nf4-dq": (4, "nf4", True), "bnb.fp4": (4, "fp4", False),
    "bnb.fp4-dq": (4, "fp4", True), "bnb.int8": (8, "", False),
}  # fmt: skip
"""litgpt's --quantize (litgpt/deploy/serve.py)."""
LITGPT_PRECISIONS = {"bf16": "bfloat16", "16": "float16", "32": "float32"}
GGUF_TYPE = re.compile(r"(?<![a-z0-9])((?:UD-)?I?Q\d(?:_[A-Z0-9]+){0,2}|BF16|F16|MXFP4)(?![a-z0-9])", re.IGNORECASE)
NINE_TENTHS = 0.9
"""TGI leaves a tenth of its share free: TGI_WIGGLE_ROOM."""
BNB = {"bnb-4bit": (4, "nf4", True), "bnb-8bit": (8, "", False)}
"""What `transformers serve --quantization` takes: bits, the 4-bit type, whether scales are quantized too."""


def places(text: str) -> tuple[tuple[str, str], ...]:
    """llama.cpp's `PATTERN=BUFFER,...`: which tensors lie where."""
    found = []
    for part in text.split(","):
        pattern, sign, place = part.rpartition("=")
        if not sign or not pattern or not place:
            raise bad(text, "PATTERN=BUFFER, as exps=CPU")
        try:
            outside_pattern(pattern)
        except ValueError as error:
            raise UsageError(f"{pattern!r:.80} is no pattern of tensors: {error}.", "As in exps=CPU.") from None
        found.append((pattern, place))
    return tuple(found)


def _exl_cache(text: str) -> dict[str, Any]:
    """TabbyAPI's and ExLlama's cache mode: FP16, Q8, or bits of keys and values (`4`, `8,4`)."""
    lowered = text.strip().lower()
    if lowered in {"fp16", "fp8"}:
        return {"k_cache_type": lowered, "v_cache_type": lowered}
    bits = whole_numbers(lowered.replace("q", ""))
    if not 1 <= len(bits) <= 2 or not all(2 <= width <= 8 for width in bits):
        raise bad(text, "FP16, Q8, Q6, Q4 or bits of keys and values")
    return {"k_cache_type": f"exl-q{bits[0]}", "v_cache_type": f"exl-q{bits[-1]}", "cache_bits": max(bits)}


def _mlx_bits(text: str) -> dict[str, Any]:
    """mlx-lm's --kv-bits."""
    bits = whole(text)
    if bits not in MLX_BITS:
        raise bad(text, f"one of {', '.join(map(str, MLX_BITS))}")
    return {"k_cache_type": f"mlx-q{bits}", "v_cache_type": f"mlx-q{bits}", "cache_bits": bits}


def _hf_quantization(text: str) -> dict[str, Any]:
    """`transformers serve --quantization bnb-4bit`."""
    if text.lower() not in BNB:
        raise bad(text, f"one of {', '.join(BNB)}")
    bits, kind, nested = BNB[text.lower()]
    return {"load_bits": bits, "four_bit_type": kind, "double_quantization": nested}


def _limits(text: str) -> tuple[tuple[str, int], ...]:
    """accelerate's max_memory: `0=10GiB,cpu=30GiB` or a JSON object."""
    if text.lstrip().startswith("{"):
        pairs = [(str(place), str(size)) for place, size in document(text).items()]
    else:
        split = [part.partition("=") for part in texts(text)]
        pairs = [(place, size) for place, _, size in split]
    return tuple((place, parse_bytes(size)) for place, size in pairs)


def _gpu_limits(text: str) -> tuple[tuple[str, int], ...]:
    """text-generation-webui's --gpu-split and --gpu-memory: what each GPU may hold, in GiB where no unit stands."""
    sizes = [f"{part}GiB" if re.fullmatch(r"[\d.]+", part) else part for part in parts(text)]
    return tuple((str(place), parse_bytes(size)) for place, size in enumerate(sizes))


def _share_or_blocks(text: str) -> dict[str, Any]:
    """lmdeploy's --cache-max-entry-count: a share of what is free, or a number of blocks of 64 tokens."""
    count = number(text)
    return {"memory_fraction": count} if count < 1 else {"cache_tokens": int(count) * TURBOMIND_BLOCK_TOKENS}


def _one_of(text: str, words: Sequence[str]) -> str:
    """The text, one of the words that an engine's parser takes. Raises UsageError for another."""
    word = text.strip()
    if word.lower() not in words:
        raise bad(text, f"one of {', '.join(words)}")
    return word


def _named(text: str, names: Mapping[str, str]) -> str:
    """What one of an engine's words names. Raises UsageError for another."""
    return names[_one_of(text, tuple(names)).lower()]


def _gpu_share(text: str) -> dict[str, Any]:
    """LM Studio's --gpu: off, max, or the share of the layers."""
    told = {"off": 0.0, "max": 1.0}.get(text.strip().lower())
    share = number(text) if told is None else told
    if not 0 <= share <= 1:
        raise bad(text, "off, max or a number from 0 to 1")
    return {"gpu_layers": -1 if share == 1 else 0} if share in {0, 1} else {"gpu_layers_share": share}


MLC_OVERRIDES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "context_window_size": ("context_tokens", whole), "max_num_sequence": ("max_sequences", whole),
    "prefill_chunk_size": ("prefill_chunk_tokens", whole), "tensor_parallel_shards": ("tensor_parallel", whole),
    "gpu_memory_utilization": ("memory_fraction", number),
}  # fmt: skip


def _mlc_overrides(text: str) -> dict[str, Any]:
    """MLC's --overrides, `context_window_size=8192;tensor_parallel_shards=2`; other names set nothing here."""
    told = [part.partition("=") for part in text.split(";") if part.strip()]
    if not all(sign for _, sign, _ in told):
        raise bad(text, "NAME=VALUE;..., as context_window_size=8192")
    known = [(*MLC_OVERRIDES[name.strip()], value) for name, _, value in told if name.strip() in MLC_OVERRIDES]
    return {field: read(value.strip()) for field, read, value in known}


def _tabby_device(text: str) -> dict[str, Any]:
    """Tabby's --device: no layer leaves a CPU, all go to another."""
    word = text.strip().lower()
    return {"gpu_layers": 0} if word == "cpu" else {"gpu_layers": -1, "backend": word}


def _device_experts(text: str) -> dict[str, Any]:
    """SGLang's --kt-num-gpu-experts: the CPU computes the experts that are not on the devices."""
    count = whole(text)
    if count < 0:
        raise bad(text, "a number of experts from 0 up")
    return {"device_experts": count, "backend": "cpu+cuda"}


def _litgpt_quantization(text: str) -> dict[str, Any]:
    """litgpt's --quantize, a word of bitsandbytes'."""
    bits, kind, nested = LITGPT_QUANTIZATIONS.get(text.strip().lower(), (0, "", False))
    return {"load_bits": bits, "four_bit_type": kind, "double_quantization": nested} if bits else {}


def _gguf_type(text: str) -> str:
    """The type that the name of a GGUF file or of its folder tells; empty where it tells none."""
    found = GGUF_TYPE.search(text)
    return found[1].lower() if found else ""


def _draft(text: str) -> dict[str, Any]:
    """llama.cpp's --draft: tokens a step, or a method (`mtp`)."""
    plain = text.strip()
    return {"draft_tokens": whole(plain)} if re.fullmatch(r"\d+", plain) else {"draft_method": plain.lower()}


def _mib(text: str) -> int:
    first = parts(text)[0] if parts(text) else text
    count = whole(first)
    return count * MIB if count >= 0 else -1


def _bytes(text: str) -> int:
    return int(text) if text.strip().isdigit() else parse_bytes(text)


def passed_words(text: str) -> list[str]:
    """The words that a launcher passes on: a shell's, or `flag=value,flag` without dashes.

    Raises UsageError for quotes that do not close.
    """
    plain = text.strip()
    if plain and not plain.startswith("-"):
        pairs = [part.strip().partition("=") for part in plain.split(",") if part.strip()]
        dashes = {name: "-" if len(name) <= LONGEST_SHORT_FLAG else "--" for name, _, _ in pairs}
        return [f"{dashes[name]}{name}{sign}{value}" for name, sign, value in pairs]
    try:
        return shlex.split(plain)
    except ValueError as error:
        raise bad(text, f"words of a command ({error})") from None


READERS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "int": whole,
    "stoi": whole,
    "int?": whole,
    "int>1": lambda text: whole(text) > 1,
    "verified": lambda text: whole(text) - 1,
    "tokens": tokens,
    "float": number,
    "nine_tenths": lambda text: NINE_TENTHS * number(text),
    "onoff": on_off,
    "onoff?": on_off,
    "offon": lambda text: on_off(text) is False,
    "onoffs": lambda text: None if not parts(text) else all(on_off(part) is not False for part in parts(text)),
    "flag01": lambda text: on_off(parts(text)[0] if parts(text) else text),
    "firstint": lambda text: (whole_numbers(text) or (0,))[-1],
    "layers": layers,
    "ints": whole_numbers,
    "ints+": whole_numbers,
    "floats": numbers,
    "floats+": numbers,
    "texts": texts,
    "texts+": lambda text: tuple(text.split("\0")),
    "repeat": lambda text: (text,),
    "places": places,
    "pair": str,
    "settings": str,
    "settings!": str,
    "words": str,
    "mib": _mib,
    "gib": lambda text: round(number(text) * GIB),
    "bytes": _bytes,
    "blocks": lambda text: whole(text) * BLOCK_TOKENS,
    "images": images,
    "kobold_kv": lambda text: KOBOLD_CACHE_TYPES.get(text.strip(), text.strip()),
    "ggml_type": lambda text: GGML_TYPES.get(text.strip(), text.strip().upper().removeprefix("GGML_TYPE_").lower()),
    "llama_split": lambda text: LLAMA_SPLITS.get(text.strip()) or _one_of(text, LLAMA_SPLIT_WORDS),
    "dtype": lambda text: _one_of(text, DTYPE_WORDS),
    "limits": _limits,
    "gpu_limits": _gpu_limits,
    "gpu_limits+": _gpu_limits,
    "cpu_limit": lambda text: (("cpu", round(number(text) * GIB)),),
    "compilation": compilation,
    "speculative": speculative,
    "longer": longer_context,
    "exl_cache": _exl_cache,
    "mlx_bits": _mlx_bits,
    "share_or_blocks": _share_or_blocks,
    "gpu_share": _gpu_share,
    "turbomind_kv": lambda text: _named(text, TURBOMIND_CACHE_TYPES),
    "hf_quant": _hf_quantization,
    "mlc_overrides": _mlc_overrides,
    "draft": _draft,
    "device_experts": _device_experts,
    "tabby_device": _tabby_device,
    "usual_or": lambda text: "" if text.strip().lower() in {"auto", "system"} else text.strip().lower(),
    "lightllm_kv": lambda text: _named(text, LIGHTLLM_CACHE_TYPES),
    "litgpt_quant": _litgpt_quantization,
    "litgpt_precision": lambda text: LITGPT_PRECISIONS.get(text.strip().split("-")[0], ""),
    "gguf_type": _gguf_type,
    "ranks_told": lambda text: whole(text) if text.strip().isdigit() else None,
    "kt_method": lambda text: HOST_EXPERT_BITS.get(text.strip().upper()),
    "gpt4all_device": lambda text: 0 if text.strip().lower() == "cpu" else -1,
    "batch": lambda text: {"max_sequences": whole(text), "batch_sequences": (whole(text),)},
    "isq": lambda text: re.sub(r"(-\d+)?\.uqff$", "", text.split(";")[0].strip().lower()),
    "device_layers": lambda text: sum(whole(part.rpartition(":")[2]) for part in text.split(";") if part.strip()),
}
"""By the kind of a row. A mapping sets the fields that it names; any other value goes to every field of the row."""
SEVERAL_FIELDS = frozenset(
    {"compilation", "speculative", "exl_cache", "mlx_bits", "hf_quant", "draft", "share_or_blocks", "gpu_share",
     "images", "batch", "longer", "mlc_overrides", "device_experts", "litgpt_quant", "tabby_device"}
)  # fmt: skip
JSON_KINDS = frozenset({"compilation", "speculative", "images", "longer"})
"""Kinds whose value is a JSON object: their parts may be given one by one, as `--speculative-config.method mtp`."""
WITHOUT_VALUE = frozenset({"switch", "toggle", "not"})
SEVERAL_WORDS = frozenset({"ints+", "floats+", "texts+", "gpu_limits+"})
OPTIONAL_VALUE = frozenset({"int?", "onoff?"})
SETTINGS_FILES = frozenset({"settings", "settings!"})
"""Kinds whose value names a file of settings (`sizer.engine.config_files`)."""
GATHERED = frozenset({"tensor_overrides", "lora_files", "devices_used", "device_memory_limits"})
"""Fields that a flag given twice adds to."""


def read_value(kind: str, text: str, flag: str) -> Any:
    """The value of a flag's text. Raises UsageError naming the flag."""
    try:
        return READERS[kind](text)
    except (UsageError, InvalidQuantity) as error:
        raise UsageError(f"{flag}: {error.message}", error.hint) from None
