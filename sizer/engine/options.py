"""What the user told an engine with its own flags: one frozen record, read by memory, speed and the answer.

Every field is None (or empty) where no flag said anything: the engine's own default of that version holds then, which
`sizer.engine.memory_rules` knows. Names are sizer's, one for a thing that engines call differently; `given` keeps the
engine's own words. Which flag sets which field is a row of `data/engine_flags.csv`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any

from sizer.frozen import dataclass

FlagValue = bool | int | float | str | tuple[str, ...]
"""What one flag holds: true for a switch, a number, a text, or the texts of a flag that repeats."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """An engine, its version and what its flags set; `dialects` are those that the flags were read by.

    Tokens and sequences
        `context_tokens` is the longest sequence, or llama.cpp's whole `-c`, shared by its slots (0: the model's own).
        `max_sequences` are the slots or the sequences of one step. `batch_tokens` is what one step schedules (vLLM's
        max_num_batched_tokens, llama.cpp's logical batch), `prefill_chunk_tokens` the prompt's part of it (llama.cpp's
        ubatch, SGLang's chunk). A benchmark's own lengths are `prompt_tokens`, `output_tokens`, `depth_tokens`, and
        `batch_sequences` how many sequences it runs at once.
    Memory
        `memory_fraction` is of the device (vLLM, SGLang) or of what is free (TensorRT-LLM); `cache_bytes` and
        `cache_tokens` set the pool outright, `cache_pooled` whether there is one (mistral.rs' --paged-attn).
        `k_cache_type` and `v_cache_type` are the engine's own spellings.
        `window_pool_ratio` and `state_pool_ratio` divide SGLang's pool.
        `cache_on_host` is llama.cpp's --no-kv-offload, `host_cache_bytes` its prompt cache, `host_swap_bytes` a swap
        or hierarchical cache a device, `weights_offload_bytes` weights kept on the host (vLLM's --cpu-offload-gb).
    Splits
        Ranks of each kind; `expert_parallel` shards experts over the tensor and data ranks, `experts_over_data` are
        data ranks that do so unasked (vLLM docs serving/data_parallel_deployment). `split_mode` is none,
        layer, row or tensor, `tensor_split` its proportions; `attention_data_parallel` SGLang's --enable-dp-attention,
        `expert_exchange` what carries tokens between its experts, `served_phase` prefill or decode of a server that
        does that alone.
        `devices_used` are llama.cpp's own names (Vulkan0), `backend` what a flag names by itself (koboldcpp's
        --usevulkan).
    Host
        `gpu_layers` counts the output layer as llama.cpp does (-1: all; None: not said, `fit` may choose),
        `gpu_layers_share` is LM Studio's share of the layers.
        `tensor_overrides` are (pattern, place) in their order; `cpu_moe_layers` the first N layers' experts, -1:
        all. `device_experts` are those of each layer that stay on the devices while the host computes the others, in
        `host_expert_bits` a weight (SGLang's --kt-num-gpu-experts and --kt-method).
    """

    engine: str
    version: str = ""
    given: tuple[tuple[str, FlagValue], ...] = ()
    unknown: tuple[tuple[str, str], ...] = ()
    dialects: tuple[str, ...] = ()

    model: str = ""
    hub_file: str = ""
    hub_repository: str = ""
    weights_dtype: str = ""
    quantization: str = ""

    context_tokens: int | None = None
    max_sequences: int | None = None
    batch_tokens: int | None = None
    prefill_chunk_tokens: int | None = None
    prompt_tokens: tuple[int, ...] = ()
    output_tokens: tuple[int, ...] = ()
    depth_tokens: tuple[int, ...] = ()
    batch_sequences: tuple[int, ...] = ()

    memory_fraction: float | None = None
    cache_bytes: int | None = None
    cache_tokens: int | None = None
    cache_block_tokens: int | None = None
    cache_pooled: bool | None = None
    k_cache_type: str = ""
    v_cache_type: str = ""
    state_dtype: str = ""
    cache_on_host: bool | None = None
    host_cache_bytes: int | None = None
    kv_connector: str = ""
    host_swap_bytes: int | None = None
    weights_offload_bytes: int | None = None
    unified_cache: bool | None = None
    whole_window_cache: bool | None = None
    window_pool_ratio: float | None = None
    state_pool_ratio: float | None = None
    context_checkpoints: int | None = None

    tensor_parallel: int | None = None
    pipeline_parallel: int | None = None
    data_parallel: int | None = None
    context_parallel: int | None = None
    expert_parallel: bool | None = None
    attention_data_parallel: bool | None = None
    experts_over_data: int | None = None
    expert_exchange: str = ""
    served_phase: str = ""
    split_mode: str = ""
    tensor_split: tuple[float, ...] = ()
    main_device: int | None = None
    device_memory_limits: tuple[tuple[str, int], ...] = ()
    devices_used: tuple[str, ...] = ()
    backend: str = ""

    gpu_layers: int | None = None
    gpu_layers_share: float | None = None
    cpu_moe_layers: int | None = None
    device_experts: int | None = None
    host_expert_bits: int | None = None
    tensor_overrides: tuple[tuple[str, str], ...] = ()
    operations_offload: bool | None = None
    fit: bool | None = None
    fit_margin_bytes: int | None = None
    fit_context_tokens: int | None = None
    memory_mapped: bool | None = None
    repacked: bool | None = None

    flash_attention: bool | None = None
    graphs: bool | None = None
    graphs_reserved: bool | None = None
    prompt_graphs: bool | None = None
    graph_max_sequences: int | None = None
    graph_sizes: tuple[int, ...] = ()
    attention_backend: str = ""
    mla_mode: int | None = None
    attention_buffer_bytes: int | None = None
    fused_moe: bool | None = None
    in_process: bool | None = None
    logits_all: bool | None = None
    threads: int | None = None

    longest_tokens: int | None = None
    context_factor: float | None = None
    longer_allowed: bool | None = None

    vision: bool | None = None
    vision_file: str = ""
    vision_on_device: bool | None = None
    images_per_prompt: int | None = None
    videos_per_prompt: int | None = None

    lora: bool | None = None
    lora_slots: int | None = None
    lora_rank: int | None = None
    lora_host_slots: int | None = None
    lora_files: tuple[str, ...] = ()

    draft_model: str = ""
    draft_method: str = ""
    draft_tokens: int | None = None
    draft_gpu_layers: int | None = None
    draft_context_tokens: int | None = None
    draft_k_cache_type: str = ""
    draft_v_cache_type: str = ""

    load_bits: int | None = None
    four_bit_type: str = ""
    double_quantization: bool | None = None
    device_map: str = ""
    cache_kind: str = ""
    cache_bits: int | None = None
    compiled: bool | None = None

    def said(self, field: str) -> bool:
        """Whether a flag set the field."""
        return getattr(self, field) not in (None, "", ())

    def at_version(self, version: str) -> EngineOptions:
        """The same of a version that is told beside them; one that they name themselves stands."""
        return self if self.version or not version else replace(self, version=version)

    def graphs_of(self, sequences: int) -> bool | None:
        """Whether a step of so many sequences may be replayed from a captured graph; None where flags do not say."""
        largest = self.graph_max_sequences or max(self.graph_sizes, default=sequences)
        return False if largest < sequences else self.graphs

    @property
    def backend_told(self) -> str:
        """The backend that flags name (`--usevulkan`, `--device Vulkan0`); empty where none does."""
        return self.backend or "".join(self.devices_used[:1]).rstrip("0123456789").lower()

    @property
    def caches_on_host(self) -> bool:
        """Whether a flag leaves the cache to the host, by itself or by the kind of cache (`offloaded_static`)."""
        return bool(self.cache_on_host) or self.cache_kind.startswith("offloaded")

    @property
    def uses_host(self) -> bool:
        """Whether a flag puts experts, tensors, a part of the weights or the cache on the host."""
        told = (self.cpu_moe_layers, self.tensor_overrides, self.weights_offload_bytes, self.caches_on_host)
        return any(told) or self.device_experts is not None

    @property
    def settings(self) -> dict[str, Any]:
        """What flags set, by field, without the engine, its words and its version."""
        own = {"engine", "version", "given", "unknown", "dialects", "in_process"}
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name not in own
                and self.said(field.name)}  # fmt: skip

    @property
    def as_json(self) -> dict[str, FlagValue]:
        """The version, where one was named, and each flag by the engine's own name."""
        version: dict[str, FlagValue] = {"version": self.version} if self.version else {}
        return {**version, **dict(self.given)}


NO_OPTIONS = EngineOptions("")
"""No engine's flags: every default holds."""


def sets_aside(unless: Iterable[str], given: Mapping[str, Any]) -> bool:
    """Whether a flag makes an engine leave a rule aside that names it: `backend=tensorrt`."""
    return any(str(given.get(flag.partition("=")[0], "")) == flag.partition("=")[2] for flag in unless)
