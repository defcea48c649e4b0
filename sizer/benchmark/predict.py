"""The prediction that a measurement is set beside: the estimator, asked for exactly what is run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sizer.benchmark.backends import BACKENDS, SERVER
from sizer.benchmark.plan import Asked
from sizer.benchmark.records import Spec

if TYPE_CHECKING:
    from sizer.answer.records import Estimate
    from sizer.model.read.resolve import Resolved


def predict(asked: Asked, spec: Spec, resolved: Resolved | None, engine: str) -> Estimate | None:
    """The estimate of `spec` on this machine; None for a server whose model, precision or device is not known."""
    from sizer.api.asked import DeviceAsked, WorkAsked
    from sizer.api.estimates import estimates
    from sizer.api.targets import targets

    if resolved is None or not spec.precision:
        return None
    device = asked.device if asked.device != "auto" else "this"
    if spec.server_url and device == "this":
        return None  # the server's machine is its own: --device says which
    work = WorkAsked(
        precisions=(spec.precision,),
        engine=engine,
        prompt_tokens=spec.prompt_tokens,
        output_tokens=spec.output_tokens,
        batch_size=spec.batch_size * spec.concurrency,
        kv_precision=_kv_precision(spec, engine),
        parallelism=spec.parallelism or None,
        gpu_layers=spec.gpu_layers,
        threads=spec.threads,
    )
    if spec.device_count > 1 and not spec.server_url and device not in ("cpu", "this"):
        device = f"{spec.device_count}x{device}"
    (target,) = targets(DeviceAsked(names=(device,)))
    (found,) = estimates(resolved, target, work)
    return found


def _kv_precision(spec: Spec, engine: str) -> str:
    """The type that the model computes in, which plain weights tell: transformers keeps its cache in it."""
    if spec.precision in {"fp32", "fp16"}:
        return spec.precision
    return BACKENDS.get(engine, SERVER).kv_precision
