"""Working memory of each kind of engine: a reserved graph, a profile run, or the widest step of the workload."""

from __future__ import annotations

from collections import defaultdict

from sizer.engine.cuda_overheads import cuda_overhead
from sizer.engine.engines import find_engine
from sizer.engine.model_types import model_types
from sizer.memory.activations import activation_values_per_token
from sizer.memory.cache import CachePlan
from sizer.memory.case import Case
from sizer.memory.encoder import NO_ENCODER, encoder_run
from sizer.memory.graph.decoder import PIPELINE_COPIES, Buffers, Part, compute_buffers
from sizer.memory.graph.shape import ModelShape, Step, model_shape, without_latents
from sizer.memory.profile_run import profile_run
from sizer.model.architecture import MixerKind, Module, Role, Tower
from sizer.units import MIB

STAGED_COPIES = 4
MEASURED_PROFILES = frozenset({"by card", "whole length"})
"""Profiles of engines that measure what a run takes, libraries included."""
SCAN_BYTES = 8
"""A pair's decay and its product with the states' likeness, in 32 bits each: mlx_lm/models/ssm.py ssm_attn."""
LEAST_EXPANDING_MODE = 2
"""ik_llama.cpp's -mla 2 and 3 expand the latent for long steps."""


def graph_buffers(case: Case, plan: CachePlan, part: Part) -> Buffers:
    """What an engine on ggml reserves on a device and on the host for one part of a model."""
    model = model_shape(case.architecture)
    model = without_latents(model) if plan.expands_latent else model
    return compute_buffers(model, graph_step(case, plan, model), part)


def whole_buffer_bytes(case: Case) -> int:
    """The buffer of the whole model where it runs: on the host for a CPU, else on each device."""
    buffers = graph_buffers(case, case.plan, whole_part(case))
    return buffers.host_bytes if case.on_cpu else buffers.device_bytes


def graph_step(case: Case, plan: CachePlan, model: ModelShape) -> Step:
    """The step that the engine reserves for: a whole micro-batch over a full cache, whatever the prompt."""
    rule = case.graph
    assert rule is not None
    tokens = min(plan.step_tokens, plan.tokens * plan.streams)
    tokens = -(-tokens // plan.sequences) * plan.sequences
    windows = [layer.mixer for layer in model.layers if layer.mixer and layer.mixer.window_tokens is not None]
    mixers = [layer.mixer for layer in model.layers if layer.mixer and not layer.mixer.latent_elements]
    widths = [mixer.kv_heads * mixer.v_head_dim for mixer in mixers]
    slots = rule.logits == "slots" if case.options.logits_all is None else not case.options.logits_all
    return Step(
        tokens=tokens,
        sequences=plan.sequences,
        outputs=min(tokens, plan.sequences) if slots else tokens,
        cells=plan.tokens,
        window_cells=max((plan.layer_tokens(mixer) for mixer in windows), default=0),
        streams=plan.streams,
        flash_attention=case.flash_attention,
        mask_bytes=rule.mask_bytes if case.flash_attention else 4,
        embedding_inputs=rule.embedding_inputs,
        value_ids=max(widths, default=1) if rule.value_ids else 1,
        rotates_keys=rule.rotates and plan.k_format.block_values > 1,
        rotates_values=rule.rotates and plan.v_format.block_values > 1,
        gated_inplace=rule.gated == "inplace",
        key_bytes=plan.k_format.block_bytes / plan.k_format.block_values,
        value_bytes=plan.v_format.block_bytes / plan.v_format.block_values,
        expands_mib=_expanded_mib(case) if rule.long_latent == "expanded" else None,
    )


def _expanded_mib(case: Case) -> int | None:
    """How much of MLA's latent is expanded at once (-amb), by flags or the engine's default; None with -mla 0 and 1."""
    from sizer.engine.flag_table import flag_setting

    if case.options.mla_mode is not None and case.options.mla_mode < LEAST_EXPANDING_MODE:
        return None
    if case.options.attention_buffer_bytes is not None:
        return case.options.attention_buffer_bytes // MIB
    flag = flag_setting(find_engine(case.engine.engine).flags, "attention_buffer_bytes", case.options.version)
    return int(flag.default_at(case.options.version) or 0) if flag is not None else 0


def whole_part(case: Case) -> Part:
    """The whole model on one kind of place: the CPU alone, or a device."""
    return part_of(case, copies=pipeline_copies(case), on_host=case.on_cpu)


def part_of(case: Case, *, copies: int = 1, on_host: bool = False) -> Part:
    """All layers and the output on the case's backend."""
    reorders = not on_host and case.graph is not None and case.backend in case.graph.reordered_on
    return Part(0, case.architecture.num_layers, True, copies=copies, on_host=on_host, reorders=reorders)


def split_part(case: Case, plan: CachePlan, host_layers: int, *, host_experts: bool) -> Part:
    """The whole model where the host has the first layers, or routed experts.

    The device multiplies whole prompts by the host's weights: each is copied there in its turn. The host does it itself
    where flags say so and for small steps (`Case.streams_from_tokens`).
    """
    part, rule = part_of(case), case.graph
    assert rule is not None
    if not host_layers and not host_experts:
        return part
    if plan.step_tokens < case.streams_from_tokens:
        return part._replace(host_layers=host_layers, host_experts=host_experts)
    value_bytes = matrix_value_bytes(case) if host_layers else 0
    return part._replace(
        host_layers=host_layers, host_expert_bytes=largest_expert_bytes(case), host_value_bytes=value_bytes
    )


def pipeline_copies(case: Case) -> int:
    """How often inputs are kept where whole layers lie on several devices that work as a pipeline."""
    many = len(case.devices) > 1 and case.parallelism.whole_layers
    return PIPELINE_COPIES if many and not case.options.caches_on_host and not case.options.tensor_overrides else 1


def largest_expert_bytes(case: Case) -> int:
    """The largest expert stack of one layer; 0 without experts."""
    stored = (one for one in case.stored.tensors if one.tensor.module is Module.EXPERT_STACK)
    return max((one.size_bytes // one.tensor.copies for one in stored if len(one.tensor.shape) > 2), default=0)


def matrix_value_bytes(case: Case) -> float:
    """Bytes of a value in the matrices of the layers, experts aside: their mean."""
    linear = (one for one in case.stored.tensors if one.tensor.module is Module.LINEAR and one.tensor.layers)
    text = [one for one in linear if one.tensor.tower is Tower.TEXT and not one.tensor.checkpoint_only]
    return sum(one.size_bytes for one in text) / max(1, sum(one.tensor.total_elements for one in text))


def profile_bytes(case: Case) -> int:
    """The peak of the profile run on one rank: the widest layer over all tokens, or the sampler over all sequences.

    Where the engine keeps what experts compute in, it stands beside the sampler; images that are encoded before stay.
    """
    run = profile_run(case)
    sampler = run.sequences * case.architecture.vocab_size * case.engine.sampler_bytes_per_value
    sampler += min(run.sequences, case.engine.sampler_buffer_rows) * case.architecture.vocab_size * 4
    hidden = run.tokens * case.architecture.hidden_size * case.engine.activation_bytes_per_value
    hidden += matmul_workspace_bytes(case)
    text_bytes = max(layers_bytes(case), sampler + hidden + workspace_bytes(case))
    encoder = encoder_run(case, run.tokens) if case.engine.profile == "by card" else NO_ENCODER
    return max(encoder.peak_bytes, text_bytes + encoder.output_bytes)


def layers_bytes(case: Case) -> int:
    """The widest layer over all tokens of the profile run, on one rank: what a rank that does not sample takes."""
    values = activation_values_per_token(case.architecture, case.engine.layer_code, case.ranks)
    values += _expert_values(case) + _staged_values(case)
    layer_bytes = profile_run(case).tokens * values * case.engine.activation_bytes_per_value
    return layer_bytes + _expanded_bytes(case) + matmul_workspace_bytes(case)


def _expanded_bytes(case: Case) -> int:
    """A layer's experts in 16 bits on one rank, where the engine expands them before it multiplies."""
    if not case.stored.expands_experts:
        return 0
    by_layer: dict[int, int] = defaultdict(int)
    for part in case.stored.tensors:
        if part.tensor.active_experts is not None:
            for layer in part.tensor.layers:
                by_layer[layer] += part.tensor.elements * case.engine.activation_bytes_per_value
    return -(-max(by_layer.values(), default=0) // case.ranks)


def matmul_workspace_bytes(case: Case) -> int:
    """What torch keeps for cuBLAS, where the engine measures it."""
    measured = case.engine.profile in MEASURED_PROFILES
    return cuda_overhead(case.target.device.key).matmul_workspace_bytes if measured else 0


def context_bytes(case: Case) -> int:
    """What a process takes of each device beside torch: the driver's context, or by card where the engine measures."""
    measured = case.engine.profile in MEASURED_PROFILES
    return cuda_overhead(case.target.device.key).context_bytes if measured else case.engine.context_overhead_bytes


def workspace_bytes(case: Case) -> int:
    """The two workspaces of fused experts that stay once they were made (vLLM's fused_moe workspace_shapes); else 0.

    For each token and active expert: the product's width or the hidden size, and gate and up or the hidden size.
    Kernels that work in tiles have workspaces of their own, which do not stay.
    """
    active, hidden = case.architecture.active_experts or 0, case.architecture.hidden_size
    tiled = case.stored.precision in case.engine.tiled_precisions
    if not case.engine.keeps_workspace or not case.architecture.experts or tiled:
        return 0
    widths = [layer.experts.width for layer in model_shape(case.architecture).layers if layer.experts]
    width = -(-max(widths, default=0) // case.ranks)
    values = max(width, hidden) + max(2 * width, hidden)
    return _tokens_of_experts(case) * active * values * case.engine.activation_bytes_per_value


def _tokens_of_experts(case: Case) -> int:
    """Tokens that the experts of one device see at once: those of every replica whose experts they share."""
    tokens = profile_run(case).tokens * case.replicas
    return min(tokens, case.engine.expert_chunk_tokens or tokens)


def scores_bytes(case: Case, tokens: int) -> int:
    """Scores that stand in memory for a chunk of `tokens`: of attention where the engine's kernels cannot cap them, or
    of each pair of tokens that a state-space layer compares at once."""
    config = case.architecture.config
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else config
    by_kind = bool(case.architecture.model_types & model_types("capped_scores"))
    scanned = min(tokens, case.engine.scanned_tokens)
    scans = (mixer.heads for mixer in case.architecture.mixer_counts if mixer.kind is MixerKind.SSM)
    scan_bytes = max(scans, default=0) * scanned**2 * SCAN_BYTES
    if not case.engine.capped_score_bytes or not (text or config).get("attn_logit_softcapping", by_kind):
        return scan_bytes
    heads = max((mixer.heads for mixer in case.architecture.mixer_counts), default=0)
    return max(scan_bytes, int(heads * tokens * case.workload.context_tokens * case.engine.capped_score_bytes))


def _expert_values(case: Case) -> int:
    """Values a token that a fused expert kernel holds beside its product: one hidden vector for each active expert."""
    active = case.architecture.active_experts or 0
    return active * case.architecture.hidden_size if case.architecture.experts else 0


def _staged_values(case: Case) -> int:
    """Values a token that a stage of a pipeline holds besides: hidden vector and residual, received and to be sent.

    Read in vLLM's gpu_model_runner.py (make_empty_intermediate_tensors, IntermediateTensors).
    """
    staged = case.stages > 1 and case.engine.profile in MEASURED_PROFILES
    return STAGED_COPIES * case.architecture.hidden_size if staged else 0


def graphs_bytes(case: Case) -> int:
    """What is reserved of one device for captured graphs: by layer and captured size; none in eager mode."""
    if case.options.graphs is False or case.options.graphs_reserved is False or case.on_cpu:
        return 0
    if case.backend and case.backend not in case.engine.graph_backends:
        return 0
    each = case.engine.expert_graph_bytes if case.architecture.experts else case.engine.graph_bytes
    return each * _layers_of_stage(case) * _captured_sizes(case) if each else 0


def _layers_of_stage(case: Case) -> int:
    """Layers that one device runs: those of its stage."""
    stages = len(case.devices) if case.parallelism.whole_layers and case.ranks == 1 else case.stages
    return -(-case.architecture.num_layers // max(1, stages))


def _captured_sizes(case: Case) -> int:
    """How many batch sizes are captured: 1, 2, 4 and each 8th, from 256 on each 16th or 8th or none, by version.

    The largest is twice the sequences (times what a step verifies of each), no more than 512 or 1,024 by card.
    """
    if case.options.graph_sizes:
        return len(case.options.graph_sizes)
    step = 1 + (case.options.draft_tokens or 0)
    largest = cuda_overhead(case.target.device.key).largest_graph
    if case.engine.captured == "8th to 256":  # whole models, whatever was profiled
        largest = case.options.graph_max_sequences or min(case.options.max_sequences or 256, 256)
        return sum(size <= largest for size in (1, 2, 4)) + largest // 8
    most = case.options.graph_max_sequences or min(2 * profile_run(case).sequences * step, largest)
    small = sum(size <= most for size in (1, 2, 4))
    if case.engine.captured == "8th":
        return small + most // 8
    return small + min(most, 255) // 8 + max(0, (most - 256) // 16 + 1)


def rotary_bytes(case: Case) -> int:
    """Cosines and sines of every position in 16 bits, one table for each kind of attention."""
    positions = case.architecture.max_context_tokens or case.options.context_tokens or 0
    dims = {mixer.qk_head_dim for mixer in case.architecture.mixer_counts if mixer.kv_heads}
    return sum(positions * dim * 2 for dim in dims)


def padded_bytes(case: Case) -> int:
    """What kernels that work in tiles pad experts by: the hidden size to whole tiles, their width to half tiles.

    gpt-oss-120b on vLLM then loads 65.9 GiB, which is what it prints (65.97).
    """
    tile, hidden, precision = case.engine.expert_tile, case.architecture.hidden_size, case.stored.precision
    if not hidden or precision not in case.engine.tiled_precisions:
        return 0
    extra = 0
    for entry in case.stored.tensors:
        tensor = entry.tensor
        if tensor.module is not Module.EXPERT_STACK or len(tensor.shape) < 3 or not entry.format.startswith(precision):
            continue
        width = tensor.shape[-1] if tensor.role is Role.EXPERT_DOWN else tensor.shape[-2]
        halves = 2 if tensor.role is Role.EXPERT_GATE_UP else 1
        padded = _whole_tiles(hidden, tile) * _whole_tiles(width // halves, tile // 2) * halves
        extra += int(entry.size_bytes * (padded / (hidden * width) - 1))
    return extra


def _whole_tiles(size: int, tile: int) -> int:
    return -(-size // tile) * tile
