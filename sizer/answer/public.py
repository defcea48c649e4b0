"""The public records of estimates: `answer` and what it is made of."""

from __future__ import annotations

from collections.abc import Sequence

from sizer.answer.document import (
    SCHEMA_VERSION,
    Answer,
    CheckAnswer,
    CheckVerdict,
    DecodeSpeed,
    DeviceMemory,
    DeviceUsed,
    HostMemory,
    Memory,
    Model,
    ModelEstimate,
    PartSize,
    PrefillSpeed,
    Quality,
    Recommendation,
    RequestSpeed,
    WorkloadAsked,
)
from sizer.answer.known_by_size import memory_range
from sizer.answer.measured import measured_rows
from sizer.answer.records import Estimate
from sizer.device.records import Target
from sizer.device.usable import usable_memory_bytes
from sizer.memory.records import Part, Share
from sizer.model.architecture import Basis
from sizer.workload import Workload

ANY_CONTEXT = "No context is too long: what it keeps does not grow with the context, and it states no longest."
NO_DECODING = DecodeSpeed(None, None, None, None, None, None, None, None, None, ())


def check_answer(estimate: Estimate, starts: bool, reason: str, change: Sequence[str]) -> CheckAnswer:
    """The public record of a command's verdict."""
    found = answer([estimate])
    verdict = CheckVerdict(starts, reason, tuple(change))
    return CheckAnswer(found.schema_version, found.model, found.workload, found.estimates, verdict)


def answer(estimates: Sequence[Estimate], recommendation: Recommendation | None = None) -> Answer:
    """The public records of one model's estimates (at least one)."""
    first = estimates[0]
    model = first.architecture
    return Answer(
        schema_version=SCHEMA_VERSION,
        model=Model(
            id=model.model_id,
            basis=model.basis.value,
            architecture=None if model.basis is Basis.NAME else model.architecture,
            total_params=model.total_params,
            active_params=model.active_params,
            checkpoint_params=model.checkpoint_params,
            num_layers=model.num_layers or None,
            max_context_tokens=model.max_context_tokens,
            notes=model.notes,
        ),
        workload=_workload(first.workload),
        estimates=tuple(model_estimate(estimate) for estimate in estimates),
        recommendation=recommendation,
    )


def _workload(workload: Workload) -> WorkloadAsked:
    return WorkloadAsked(
        workload.prompt_tokens,
        workload.output_tokens,
        workload.context_tokens,
        workload.batch_size,
        workload.kv_precision,
    )


def model_estimate(estimate: Estimate) -> ModelEstimate:
    """One estimate's public record."""
    return ModelEstimate(
        device=_device(estimate.target),
        engine=estimate.engine,
        engine_options=estimate.options.as_json,
        precision=estimate.precision,
        context_tokens=estimate.workload.context_tokens,
        memory=_memory(estimate),
        decode=_decode(estimate),
        prefill=_prefill(estimate),
        request=_request(estimate),
        quality=_quality(estimate),
        speculation=estimate.speculation,
        assumptions=estimate.assumptions + ((ANY_CONTEXT,) if estimate.takes_any_context else ()),
    )


def _device(target: Target) -> DeviceUsed:
    device = target.device
    return DeviceUsed(
        key=device.key,
        name=device.name,
        count=target.count,
        memory_bytes=device.memory_bytes,
        bandwidth_bytes_per_s=device.bandwidth_bytes_per_s,
        usable_memory_bytes=usable_memory_bytes(device, target.host_memory_bytes if device.kind == "apu" else None),
    )


def _quality(estimate: Estimate) -> Quality:
    from sizer.answer.loss import quality_of, recovery_pct

    loss = quality_of(estimate)
    disagreement = loss.top_token_disagreement
    recovery = recovery_pct(estimate)
    return Quality(loss.kl_divergence, loss.low, loss.high, loss.basis, disagreement, recovery, loss.words)


def _memory(estimate: Estimate) -> Memory:
    """What the answer tells of memory; `fits` is of all places where a part on the host was asked for, else of the
    devices."""
    footprint, placement = estimate.footprint, estimate.placement
    between = memory_range(footprint.total_bytes, estimate.architecture)
    asked_split = estimate.workload.gpu_layers is not None or estimate.options.uses_host
    fits = placement.fits if asked_split else placement.whole
    return Memory(
        weights_bytes=footprint.weights.size_bytes,
        kv_cache_bytes=footprint.kv_cache.size_bytes if footprint.kv_known else None,
        activations_bytes=footprint.activations.size_bytes,
        overhead_bytes=footprint.overhead.size_bytes,
        total_bytes=footprint.total_bytes,
        low_total_bytes=between.low_bytes if between else None,
        high_total_bytes=between.high_bytes if between else None,
        available_bytes=placement.available_bytes,
        fits=None if placement.available_bytes is None else fits,
        shortfall_bytes=placement.shortfall_bytes,
        max_context_tokens=None if estimate.takes_any_context else estimate.max_context_tokens,
        download_bytes=estimate.stored.download_bytes,
        gpu_layers=placement.gpu_layers,
        host_bytes=placement.host_bytes,
        placement=placement.kind,
        reserved_bytes=placement.reserved_bytes,
        kv_capacity_tokens=placement.kv_capacity_tokens,
        max_sequences=placement.max_sequences,
        devices=tuple(_share(share) for share in placement.shares),
        host=_host(estimate),
        parts=tuple(_part(part) for part in footprint.parts),
    )


def _share(share: Share) -> DeviceMemory:
    return DeviceMemory(
        device=share.place,
        layers=share.layers,
        weights_bytes=share.weights_bytes,
        kv_cache_bytes=share.kv_cache_bytes,
        state_bytes=share.state_bytes,
        compute_bytes=share.compute_bytes,
        graphs_bytes=share.graphs_bytes,
        overhead_bytes=share.overhead_bytes,
        total_bytes=share.total_bytes,
        available_bytes=share.available_bytes,
    )


def _host(estimate: Estimate) -> HostMemory:
    """The host's part: layers that the devices do not hold, tables that stay there, and its compute buffer."""
    held, available_bytes = estimate.placement.beside, estimate.target.host_memory_bytes
    return HostMemory(held.weights_bytes, held.cache_bytes, held.compute_bytes, held.total_bytes, available_bytes)


def _part(part: Part) -> PartSize:
    return PartSize(part.name, part.size_bytes, tuple(_part(child) for child in part.parts))


def _decode(estimate: Estimate) -> DecodeSpeed | None:
    """None for an encoder, which writes no tokens."""
    if not estimate.architecture.decodes:
        return None
    if estimate.speed is None:
        return NO_DECODING
    decode = estimate.speed.decode
    depth = decode.depth
    return DecodeSpeed(
        decode.tokens_per_s,
        decode.low_tokens_per_s,
        decode.high_tokens_per_s,
        decode.tpot_s,
        decode.bytes_per_token,
        decode.bound,
        depth.empty_tokens_per_s if depth else None,
        depth.full_tokens_per_s if depth else None,
        depth.full_context_tokens if depth else None,
        measured_rows(estimate, "decode"),
    )


def _prefill(estimate: Estimate) -> PrefillSpeed:
    if estimate.speed is None:
        return PrefillSpeed(None, None, None, None, None, ())
    prefill = estimate.speed.prefill
    texts = None if estimate.architecture.decodes else estimate.pace
    return PrefillSpeed(
        prefill.tokens_per_s,
        prefill.low_tokens_per_s,
        prefill.high_tokens_per_s,
        prefill.ttft_s,
        prefill.bound,
        measured_rows(estimate, "prefill"),
        *((texts.rate, texts.low, texts.high) if texts else ()),
    )


def _request(estimate: Estimate) -> RequestSpeed:
    if estimate.speed is None:
        return RequestSpeed(None, None, None)
    request = estimate.speed.request
    if not estimate.architecture.decodes:
        return RequestSpeed(None, estimate.speed.prefill.ttft_s, None)
    return RequestSpeed(request.tokens_per_s, request.latency_s, request.throughput_tokens_per_s)
