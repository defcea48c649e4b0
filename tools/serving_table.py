"""Writes the table of five deployments into docs/serving.md: measured points beside the simulation, and capacities.

    python tools/serving_table.py

The measured points are rows of data/serving.csv; their rows also taught the corrections, so this table shows what the
fit looks like, and docs/serving_accuracy.md how far it can be trusted elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import sizer
from sizer.calibrate.load_validation import predict_points
from sizer.report.layout import cells_of, markdown_table
from sizer.serving.points import point, read_rows
from sizer.tables import data_path
from sizer.units import format_seconds

PAGE = Path(__file__).resolve().parent.parent / "docs" / "serving.md"
START, END = "<!-- deployments -->", "<!-- end of deployments -->"
DEPLOYMENTS = (
    ("meta-llama/Llama-3.1-70B", "2xh100", "vllm", "fp8", 1024, 1024),
    ("Qwen/Qwen3-32B", "h100", "tensorrt-llm", "fp8", 1024, 512),
    ("openai/gpt-oss-120b", "2xh100", "vllm", "mxfp4", 1024, 1024),
    ("MiniMaxAI/MiniMax-M2.5", "4xh100", "vllm", "fp8", 1024, 1024),
    ("deepseek-ai/DeepSeek-R1", "8xb200", "sglang", "fp8", 8192, 1024),
)
LIMITS = {"ttft": "2s", "tpot": "50ms"}


Deployment = tuple[str, str, str, str, int, int]


def measured(deployment: Deployment) -> list[dict[str, str]]:
    """The table's rows of one deployment, fewest users first; of several of one case the first."""
    model, device, engine, precision, prompt, output = deployment
    count, _, card = device.rpartition("x")
    found = {}
    for row in read_rows(data_path("serving.csv")):
        one = point(row)
        same = (one.model, one.engine, one.precision, one.devices) == (model, engine, precision, int(count or 1))
        plain = one.layout.attention_groups == 1
        work = (row["isl"], row["osl"]) == (str(prompt), str(output))
        if same and plain and work and card.upper() in one.device.upper():
            found.setdefault(one.load.users or 0, row)
    assert found, f"no measured point is of {deployment}."
    return [found[users] for users in sorted(found)]


def both(measured_s: float | None, predicted_s: float) -> str:
    """`250 ms / 231 ms`: measured, simulated."""
    return f"{format_seconds(measured_s or 0)} / {format_seconds(predicted_s)}"


def main() -> None:
    """Compute and write."""
    cells = []
    for deployment in DEPLOYMENTS:
        model, device, engine, precision, prompt, output = deployment
        kv_precision = "fp8" if precision == "fp8" else "fp16"
        answer = sizer.capacity(
            model, device=device, engine=engine, precision=precision, prompt=prompt, output=output, offline=True,
            replicas=1, kv_precision=kv_precision, parallel="tensor" if "x" in device else None, **LIMITS,
        )  # fmt: skip
        best = next(row for row in answer.serving if row.users == answer.max_users)
        name = f"{model.split('/')[1]} {precision}, {engine}, {device}, {prompt}/{output}"
        for number, seen in enumerate(predict_points(measured(deployment))):
            assert seen.case is not None
            ttft, tpot = seen.predictions
            cells.append(
                {
                    "deployment": "" if number else name,
                    "users": str(seen.case.point.load.users),
                    "TTFT measured / simulated": both(ttft.measured, ttft.predicted),
                    "TPOT measured / simulated": both(tpot.measured, tpot.predicted),
                    "users within 2 s and 50 ms": "" if number else f"{answer.max_users} ({answer.binding})",
                    "$ / M tokens then": "" if number else f"{best.usd_per_million_tokens or 0:.2f}",
                }
            )
    table = cells_of(cells, markdown_table)
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    PAGE.write_text(f"{before}{START}\n\n{table}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
