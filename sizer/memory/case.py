"""What placement looks at, in one record, and how the engine of a case runs it: slots, micro-batch, cache."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property, lru_cache

from sizer.cache_formats import CacheFormat, cache_format
from sizer.device.records import Device, Target, is_cpu, shares_memory
from sizer.device.usable import free_memory_bytes
from sizer.engine.engines import find_engine
from sizer.engine.flagged import attention_groups, cache_type
from sizer.engine.graph_rules import GraphRule, graph_rule
from sizer.engine.memory_rules import EngineMemory
from sizer.engine.model_types import model_types
from sizer.engine.options import NO_OPTIONS, EngineOptions
from sizer.frozen import NamedTuple, dataclass
from sizer.memory.cache import CELL_PADDING, CachePlan
from sizer.memory.ggml_choices import automatic_batch, batch_without_flash_attention, has_flash_kernels, heads_of
from sizer.model.architecture import Architecture, Layer
from sizer.model.stored import Stored
from sizer.precision.gguf_windows import keeps_windows
from sizer.workload import Split, Workload

LEAST_OFFLOADED_TOKENS = 32
"""Tokens of a step from which on a device multiplies by the host's weights (min_batch_size of ggml's backends)."""
GROUPED_CACHE = "mlx-q"
"""Groups of 64 values with a 16-bit scale and offset: MLX's layout, and that of transformers' QuantizedCache."""
SPARSE_LATENT_FP8 = "fp8_ds_mla"
"""What an fp8 cache is where sparse attention reads latents: vllm/model_executor/models/config.py of 0.11.2 (read)."""
TYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


class DraftBeside(NamedTuple):
    """A model that drafts beside another, and its stored tensors."""

    architecture: Architecture
    stored: Stored


@dataclass(frozen=True)
class Case:
    """Everything that placement looks at, in one record; `options` are what the engine's own flags said.

    `engine_date` (ISO) says which release ran where no version does. `draft` drafts beside the model, on the same
    devices.
    """

    architecture: Architecture
    stored: Stored
    workload: Workload
    target: Target
    engine: EngineMemory
    parallelism: Split
    can_offload: bool
    experts_first: bool
    options: EngineOptions = NO_OPTIONS
    engine_date: str = ""
    draft: DraftBeside | None = None

    @cached_property
    def cached(self) -> Architecture:
        """The model with every layer that keeps a cache: those of a draft, and of its own that predict, too."""
        if not self.pools:
            return self.architecture
        layers = self.draft.architecture.layers if self.draft is not None else _predicting(self)
        return _with_layers(self.architecture, layers) if layers else self.architecture

    @property
    def pools(self) -> bool:
        """Whether the engine allocates a pool for the cache ahead, which a draft shares."""
        return self.engine.allocates != "as_needed"

    @cached_property
    def drafts_by_itself(self) -> bool:
        """Whether flags draft with the layers of the checkpoint that predict further tokens."""
        method = self.options.draft_method.lower()
        return any(word in method for word in ("mtp", "nextn", "eagle")) and not self.options.draft_model

    @cached_property
    def devices(self) -> tuple[Device, ...]:
        """All devices of the target, equal ones repeated, unlike ones after them."""
        return (self.target.device,) * self.target.count + self.target.others

    @property
    def on_cpu(self) -> bool:
        """Whether a CPU runs the model, out of the system's memory: of a chip too whose GPU the engine leaves alone."""
        device = self.target.device
        return is_cpu(device) or (shares_memory(device) and self.backend == "cpu")

    @cached_property
    def ranks(self) -> int:
        """Devices that share each layer's attention."""
        if (self.options.tensor_parallel or 0) > 0 or self.replicas > 1:
            tensor = min(max(1, self.options.tensor_parallel or 1), len(self.devices))
            return max(1, tensor // self.replicas) if self.options.attention_data_parallel else tensor
        return len(self.devices) // self.stages if self.parallelism.within_layers else 1

    @cached_property
    def stages(self) -> int:
        """Stages of a pipeline that flags ask for beside a split within layers."""
        return max(1, min(self.options.pipeline_parallel or 1, len(self.devices)))

    @cached_property
    def replicas(self) -> int:
        """Groups with sequences of their own: each keeps the attention and a cache, all share the experts."""
        return max(1, min(attention_groups(self.options), len(self.devices)))

    @cached_property
    def graph(self) -> GraphRule | None:
        """How the engine reserves ggml's buffers, None where it has none."""
        return graph_rule(self.engine.engine, self.options.version, self.engine_date)

    @property
    def shape_known(self) -> bool:
        """Whether more than the model's name is known: its layers and their width."""
        return bool(self.architecture.layers and self.architecture.hidden_size)

    @property
    def reserves_graph(self) -> bool:
        """Whether the engine reserves ggml's buffers and it is known for what."""
        return self.graph is not None and self.shape_known

    @property
    def sequences(self) -> int:
        """Sequences that the run makes room for."""
        return self.options.max_sequences or self.workload.batch_size

    @cached_property
    def backend(self) -> str | None:
        """The backend that runs the device: as flags name it (`--device Vulkan0`), else the engine's usual one."""
        return find_engine(self.engine.engine).backend(self.target.device, self.options.backend_told)

    @cached_property
    def flash_attention(self) -> bool:
        """Whether attention keeps no scores: as the flags say, else the engine's default for the model and device."""
        asked, rule = self.options.flash_attention, self.graph
        if rule is None:
            return True if asked is None else asked
        mixers = [mixer for mixer in self.architecture.mixer_counts if mixer.kv_heads]
        narrow = rule.flash_attention in {"equal", "listed"}
        if narrow and any(mixer.qk_head_dim != mixer.v_head_dim for mixer in mixers):
            return False
        if asked is not None:
            return asked
        if rule.flash_attention == "listed":
            return bool(self.architecture.model_types & model_types("flash_attention", rule.engine))
        if rule.flash_attention in {"auto", "equal"}:
            expands = expands_latent(self)
            return has_flash_kernels(self.backend, (heads_of(mixer, expands_latent=expands) for mixer in mixers))
        return rule.flash_attention == "yes"

    @property
    def writes_scores(self) -> bool:
        """Whether attention writes its scores to memory: engines on ggml do without flash attention."""
        return self.graph is not None and not self.flash_attention

    @property
    def streams_from_tokens(self) -> float:
        """From how many tokens a pass on the device multiplies by the host's weights, which are copied there.

        Engines on ggml leave fewer than 32 to the host, or 32 an expert (ggml_backend_cuda_device_offload_op, which
        ik_llama.cpp has changed to count an expert's tokens), and all where flags say so.
        """
        if self.options.operations_offload is False:
            return math.inf
        if self.graph is None:
            return 1
        experts, active = self.architecture.experts or 1, self.architecture.active_experts or 1
        return LEAST_OFFLOADED_TOKENS * (experts / active if self.graph.offloads == "by expert" else 1)

    @cached_property
    def step_tokens(self) -> int:
        """Tokens of one step while prompts are read (llama.cpp's micro-batch)."""
        rule, asked = self.graph, self.options.prefill_chunk_tokens
        if asked is None and rule is not None and rule.batch == "by context" and not self.on_cpu:
            return _batch_by_context(self)
        tokens = asked or self.engine.prefill_chunk_tokens or self.workload.prompt_tokens
        whole = self.options.batch_tokens if rule is not None else None  # a micro-batch is no larger than its batch
        return max(1, min(tokens, whole) if whole and whole > 0 else tokens)

    @cached_property
    def plan(self) -> CachePlan:
        """How the run keeps its cache."""
        return _cache_plan(self)


def _predicting(case: Case) -> tuple[Layer, ...]:
    """The checkpoint's layers that predict, where flags draft with them: each keeps what the last layer does."""
    if not case.drafts_by_itself or not case.architecture.layers:
        return ()
    numbers = {layer for entry in case.stored.tensors if entry.tensor.checkpoint_only for layer in entry.tensor.layers}
    return (case.architecture.layers[-1],) * len(numbers)


def predicting_architecture(case: Case) -> Architecture:
    """The checkpoint's layers that predict further tokens, alone."""
    return _with_layers(replace(case.architecture, layers=()), _predicting(case))


@lru_cache(maxsize=64)
def _with_layers(architecture: Architecture, more: tuple[Layer, ...]) -> Architecture:
    """An architecture with further layers behind its own."""
    count = len(architecture.layers)
    added = tuple(replace(layer, index=count + number) for number, layer in enumerate(more))
    return replace(architecture, layers=(*architecture.layers, *added))


def _batch_by_context(case: Case) -> int:
    """Ollama's micro-batch: by the context of all slots, and what its rough prediction leaves of the devices' memory.

    Its prediction is the file and two values of 16 bits for each hidden value of the KV heads (PredictServerVRAM).
    """
    work, architecture = case.workload, case.architecture
    context = max(case.options.context_tokens or 0, work.context_tokens * work.batch_size)
    if case.options.flash_attention is False and case.target.device.vendor == "nvidia":
        return batch_without_flash_attention(context, case.target.device.memory_bytes)
    free = [free_memory_bytes(case.target, device) for device in case.devices]
    mixers = [mixer for mixer in architecture.mixer_counts if mixer.kv_heads]
    kv_heads = min((1 if mixer.latent_elements else mixer.kv_heads for mixer in mixers), default=1)
    width = architecture.hidden_size // max((mixer.heads for mixer in mixers), default=1)
    predicted = sum(entry.size_bytes for entry in case.stored.tensors if not entry.tensor.checkpoint_only)
    predicted += 2 * architecture.num_layers * kv_heads * width * context * 2
    known = [size for size in free if size is not None]
    return automatic_batch(context, predicted, sum(known) if len(known) == len(free) else None)


def formats(case: Case) -> tuple[CacheFormat, CacheFormat]:
    """The formats of keys and values: as the flags say, else the workload's."""
    usual = cache_format(case.workload.kv_precision)
    if case.options.cache_kind == "quantized":
        return (cache_format(f"{GROUPED_CACHE}{case.options.cache_bits or 4}"),) * 2
    k_name, v_name = case.options.k_cache_type, case.options.v_cache_type
    k_format, v_format = _format(k_name, usual), _format(v_name, usual)
    sparse = any(mixer.indexer_elements and mixer.latent_elements for mixer in case.architecture.mixer_counts)
    if sparse and case.engine.indexer == "fp8" and k_format.key == "fp8":
        return (cache_format(SPARSE_LATENT_FP8),) * 2
    return k_format, v_format


def _format(name: str, usual: CacheFormat) -> CacheFormat:
    known = cache_type(name)
    return cache_format(known) if known else usual


def _cache_plan(case: Case) -> CachePlan:
    """How the cache is laid out: as slots share it where the engine reserves a graph, else one for all sequences."""
    rule = case.graph
    return _whole_plan(case) if rule is None else _slotted_plan(case, rule)


def _whole_plan(case: Case) -> CachePlan:
    """One cache for all sequences, in the engine's blocks."""
    k_format, v_format = formats(case)
    conv_bytes, state_bytes = state_widths(case)
    count = (case.options.max_sequences if case.engine.cache_grows else None) or case.workload.batch_size
    tokens = blocks(case.workload.context_tokens, case.options.cache_block_tokens or case.engine.kv_block_tokens)
    return CachePlan(
        count, count, tokens, case.step_tokens, k_format, v_format, window_cache(case), state_bytes, conv_bytes,
        case.engine.conv_columns == "kernel-1", case.engine.cache_copies, scales_indexer=case.engine.indexer == "fp8",
    )  # fmt: skip


def _slotted_plan(case: Case, rule: GraphRule) -> CachePlan:
    """Slots with a cache each (streams), or one that they share, in cells."""
    work, options = case.workload, case.options
    k_format, v_format = formats(case)
    conv_bytes, state_bytes = state_widths(case)
    sequences = options.max_sequences or work.batch_size
    unified = rule.unified if options.unified_cache is None else options.unified_cache
    total = work.context_tokens * work.batch_size
    if options.context_tokens and rule.slot_context == "each":
        total = work.context_tokens * sequences
    elif options.context_tokens == work.context_tokens:
        total = work.context_tokens  # the flag is the whole cache, which the slots share
    streams = 1 if unified or sequences == 1 else sequences
    tokens = blocks(math.ceil(total / streams), CELL_PADDING)
    return CachePlan(
        sequences, streams, tokens, min(case.step_tokens, tokens * streams), k_format, v_format,
        _slots_windows(case, rule), state_bytes, conv_bytes, True, expands_latent=expands_latent(case),
    )  # fmt: skip


def _slots_windows(case: Case, rule: GraphRule) -> str:
    """What layers with a window keep in slots: the whole context by a flag, or where ggml knows no window of them."""
    whole = case.options.whole_window_cache or not keeps_windows(case.architecture)
    return "whole" if whole else rule.window_cache


def kept_beside_window(case: Case) -> float:
    """Tokens that a layer with a window keeps beside it once a prompt is read: in slots a chunk's, over whose cells the
    next chunk is written, or the whole context (infinite); elsewhere none."""
    if case.graph is None:
        return 0
    return {"whole": math.inf, "cells": case.step_tokens, "window": 0}[_slots_windows(case, case.graph)]


def expands_latent(case: Case) -> bool:
    """Whether MLA's heads are cached instead of its latent: by a flag, or by the engine's version."""
    return case.options.mla_mode == 0 or (case.graph is not None and not case.graph.latent_cache)


def window_cache(case: Case) -> str:
    """What layers with a window keep: some engines cut the cache for some model types alone."""
    if case.engine.window_cache != "rotating":
        return case.engine.window_cache
    known = model_types("rotating_cache", case.engine.like or case.engine.engine)
    return "window" if case.architecture.model_types & known else "whole"


def blocks(tokens: int, block_tokens: int) -> int:
    """Tokens rounded up to whole blocks."""
    return -(-tokens // block_tokens) * block_tokens


def state_widths(case: Case) -> tuple[int, int]:
    """Bytes of a convolution's value and of a recurrent state's: the engine's rule, the flags or the config say."""
    width = case.engine.state_bytes_per_value
    if case.engine.state_type == "fp32":
        return width, 4
    config = case.architecture.config
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    named = case.options.state_dtype or (text or config).get("mamba_ssm_dtype")
    if case.engine.state_type == "config" and named:
        return width, TYPE_BYTES.get(str(named).removeprefix("torch."), width)
    return width, width
