"""What the launch scripts of the public benchmark told its servers, and of which points that is said."""

from __future__ import annotations

import pytest

from sizer.precision.names import canonical
from sizer.serving.points import point, read_rows, run_of
from sizer.serving.scripts import NO_SCRIPT, TABLE, Run, Script, script_of, speaks_of
from sizer.tables import data_path
from sizer.tables import read_rows as table_rows

ROW = {
    "id": "a", "backend": "sglang", "backend_version": "0.5.9", "model_path": "deepseek-ai/DeepSeek-R1",
    "system": "b200_sxm", "isl": "1024", "osl": "1024", "batch_size": "8", "tp_size": "8", "pp_size": "1",
    "attention_dp_size": "", "moe_tp_size": "8", "moe_ep_size": "1", "gemm_quant_mode": "nvfp4",
    "silicon_ttft_ms": "250", "silicon_tpot_ms": "12", "silicon_data_source": "source_file=a.csv; measured=2026-03-25",
}  # fmt: skip
LLAMA = {"backend": "trtllm", "backend_version": "", "model_path": "Llama-3.1-70B", "tp_size": "2", "moe_tp_size": "1"}
TRT = {"backend": "trtllm", "backend_version": "1.2.0rc6.post2"}


def script(**changes: str) -> Script:
    """The script of a point with these columns changed."""
    return point({**ROW, **changes}).script


@pytest.mark.parametrize(
    ("changes", "polled"),
    [
        ({}, 10),
        ({"batch_size": "16"}, 30),
        ({"model_path": "a/Qwen3.5-397B", "gemm_quant_mode": "bf16"}, 10),
        ({"model_path": "a/GLM-5", "gemm_quant_mode": "fp8"}, 0),
        ({"system": "h100_sxm"}, 0),
        ({"backend": "vllm"}, 0),
        ({"requests": "40"}, 0),
        ({"silicon_data_source": "source_file=aic-auto-gap-analysis/x"}, 0),
    ],
)
def test_polls_are_those_of_the_launch_scripts(changes: dict[str, str], polled: int) -> None:
    """Known of the public benchmark's own runs, and of no others; half an interval is waited in the mean."""
    found = script(**changes)
    assert found.poll_steps == polled
    assert found.waited_steps(0.5) == polled / 2


@pytest.mark.parametrize(
    ("changes", "waited"),
    [({}, 20), ({"tp_size": "8"}, 0), ({"osl": "8192"}, 0), ({"isl": "8192"}, 0)],
)
def test_prompts_wait_for_others_where_the_script_says_so(changes: dict[str, str], waited: int) -> None:
    """Llama 70B on fewer than eight devices, 1024 and 1024: twenty steps for one alone, half of them among many."""
    found = script(**{**LLAMA, **changes})
    assert found.waited_steps(0) == waited
    assert found.waited_steps(1e6) == pytest.approx(waited / 2, rel=1e-4)


def test_tokens_of_a_step_follow_the_prompt_where_the_script_says_so() -> None:
    """TensorRT-LLM was given one prompt and a token a user, later 8,192 at the least; vLLM two prompts."""
    assert script(**{**TRT, "backend_version": ""}, batch_size="64").step_tokens == 1024 + 64
    assert script(**TRT, batch_size="64").step_tokens == 8192
    assert script(**TRT, batch_size="64", isl="8192").step_tokens == 8192 + 64
    minimax = {"backend": "vllm", "model_path": "a/MiniMax-M2.5", "gemm_quant_mode": "fp8"}
    assert script(**minimax).step_tokens is None
    dated = {"silicon_data_source": "source_file=a.csv; measured=2026-04-03"}
    assert script(**minimax, **dated).step_tokens == 2048


def test_a_drafter_is_known_by_the_image_that_alone_had_one() -> None:
    """TensorRT-LLM 1.2.0rc6.post3 and the runs of one day; Qwen3.5 over four devices without expert ranks."""
    assert script(**{**TRT, "backend_version": "1.2.0rc6.post3"}).drafted
    assert not script(**TRT).drafted
    dated = {"silicon_data_source": "source_file=a.csv; measured=2026-01-14"}
    assert script(**{**TRT, "backend_version": "1.1.0rc2.post2"}, **dated).drafted
    qwen = {"model_path": "a/Qwen3.5-397B", "gemm_quant_mode": "fp8", "tp_size": "4"}
    assert script(**qwen, moe_tp_size="4").drafted
    assert not script(**qwen, moe_tp_size="1", moe_ep_size="4").drafted


def test_a_server_is_cold_before_warm_ups_and_only_where_its_first_step_is_full() -> None:
    """SGLang of November 2025: sixteen prompts of 1,024 fill a step of 16,384 tokens, eight do not."""
    old = {"silicon_data_source": "source_file=a.csv; measured=2025-11-10", "backend_version": ""}
    assert script(**old, batch_size="16").cold
    assert not script(**old, batch_size="8").cold
    assert not script(batch_size="16").cold


def test_lengths_are_drawn_up_to_the_stated_ones_by_the_public_benchmark_alone() -> None:
    """Between 0.8 and 1 of the stated length there; another's requests have the stated one, drifting apart or not."""
    found = point(ROW).load
    assert (found.prompt_tokens, found.output_tokens) == (922, 922)
    assert found.prompt_tokens * (1 + found.spread) == pytest.approx(1024, rel=1e-3)
    assert found.prompt_tokens * (1 - found.spread) == pytest.approx(0.8 * 1024, rel=2e-3)
    other = {"silicon_data_source": "source_file=aic-auto-gap-analysis/x"}
    assert (point({**ROW, **other}).load.prompt_tokens, point({**ROW, **other}).load.spread) == (1024, 0.0)
    assert point({**ROW, **other, "backend": "vllm"}).load.spread == 0.1
    assert point({**ROW, "requests": "40", "backend": "vllm"}).load.spread == 0.0


def test_users_are_no_more_than_the_source_says() -> None:
    """A square of ranks that is stated as 64 groups of 32 users was asked by 32."""
    square = {"tp_size": "1", "attention_dp_size": "64", "moe_tp_size": "8", "moe_ep_size": "8", "batch_size": "32"}
    told = {"silicon_data_source": "source_file=a.csv; silicon_concurrency=32"}
    assert point({**ROW, **square}).load.users == 2048
    assert point({**ROW, **square, **told}).load.users == 32


def test_weights_that_are_published_alone_are_what_is_served() -> None:
    """gpt-oss is MXFP4 whatever its rows say that products run in; each row is of a model that was measured."""
    assert point({**ROW, "model_path": "openai/GPT-OSS-120b"}).precision == "mxfp4"
    assert point(ROW).precision == "nvfp4"
    measured = {row["model_path"].casefold() for row in read_rows(data_path("serving.csv"))}
    for row in table_rows("served_weights.csv"):
        assert any(row["model"] in model for model in measured)
        assert canonical(row["precision"]) == row["precision"]
        assert row["source"]


def test_every_row_of_the_scripts_speaks_of_a_measured_point() -> None:
    """A rule that no point of the package is under would be untested."""
    points = [(row, point(row)) for row in read_rows(data_path("serving.csv"))]
    runs: list[Run] = [run_of(row, one.engine, one.layout, one.load.users or 0) for row, one in points]
    for row in table_rows(TABLE):
        assert any(speaks_of(row, run) for run in runs), row
    assert script_of(runs[0]._replace(engine="none")) == NO_SCRIPT
