"""A measured load as a row in the columns of `data/serving.csv`: `validate` scores it and `calibrate` reads it."""

from __future__ import annotations

from sizer.benchmark.load.beside import Deployed
from sizer.benchmark.load.figures import MeasuredLoad
from sizer.benchmark.save import ROW_FORMAT, flags_of
from sizer.device.naming import name_of
from sizer.engine.flag_text import flags_text
from sizer.serving.layout import Layout
from sizer.version import package_version

COLUMNS = (
    "id",
    "silicon_data_source",
    "backend",
    "backend_version",
    "model_path",
    "system",
    "precision",
    "mode",
    "isl",
    "osl",
    "gemm_quant_mode",
    "moe_quant_mode",
    "batch_size",
    "tp_size",
    "pp_size",
    "attention_dp_size",
    "moe_tp_size",
    "moe_ep_size",
    "silicon_ttft_ms",
    "silicon_tpot_ms",
    "kvcache_quant_mode",
    "engine_flags",
    "rate_per_s",
    "requests",
    "source_date",
    "total_params_b",
    "active_params_b",
    "flags",
)
"""Those of `data/serving.csv`, then what a measurement of one's own knows beside them (docs/bench.md)."""


def row(measured: MeasuredLoad, one: Deployed, name: str, measured_on: str) -> dict[str, str]:
    """One load; `batch_size` counts the users of one group of data-parallel attention, or those in flight at a rate."""
    layout = one.choice.replica.served.layout
    users = measured.users or max(1, round(measured.mean_in_flight))
    options = one.served.options
    figures: dict[str, object] = {
        "id": name,
        "silicon_data_source": f"sizer bench {package_version()}, row format {ROW_FORMAT}",
        "backend": one.served.engine,
        "backend_version": options.version if options else "",
        "model_path": one.served.architecture.model_id,
        "system": name_of(one.served.target),
        "precision": one.served.stored.precision,
        "mode": "agg",
        "isl": round(measured.prompt_tokens or 0) or one.choice.replica.served.memory.workload.prompt_tokens,
        "osl": round(measured.output_tokens),
        "batch_size": max(1, round(users / (one.choice.replicas * layout.attention_groups))),
        "silicon_ttft_ms": round(measured.mean_ttft_s * 1000, 4),
        "silicon_tpot_ms": round(measured.mean_tpot_s * 1000, 4),
        "kvcache_quant_mode": one.kv_precision,
        "engine_flags": flags_text(options) if options else "",
        "rate_per_s": "" if measured.rate_per_s is None else measured.rate_per_s / one.choice.replicas,
        "requests": measured.requests,
        "source_date": measured_on[:10],
        "total_params_b": one.served.architecture.total_params / 1e9,
        "active_params_b": one.served.architecture.active_params / 1e9,
        "flags": flags_of(measured.warnings),
        **_ranks(layout),
    }
    return {name: str(figures.get(name, "")) for name in COLUMNS}


def _ranks(layout: Layout) -> dict[str, object]:
    return {
        "tp_size": layout.tensor_ranks,
        "pp_size": layout.stages,
        "attention_dp_size": layout.attention_groups,
        "moe_tp_size": 1 if layout.expert_parallel else layout.expert_ranks,
        "moe_ep_size": layout.expert_ranks if layout.expert_parallel else 1,
    }
