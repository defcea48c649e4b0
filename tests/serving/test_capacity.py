"""`sizer capacity`: answers, limits, ways to share a machine, costs, refusals."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from clirun import Run

import sizer
from sizer.device.catalogue import find
from sizer.errors import DoesNotFit, UnknownEngine, UsageError
from sizer.serving.prices import price_of, stated_prices
from sizer.serving.rules import scheduler

LLAMA = ["meta-llama/Llama-3.1-8B", "--offline", "--prompt", "1000", "--output", "100"]
ROW_KEYS = {
    "users", "replicas", "ttft_s", "tpot_s", "low_ttft_s", "high_ttft_s", "low_tpot_s", "high_tpot_s",
    "throughput_tokens_per_s", "requests_per_s", "kv_used_fraction", "usd_per_hour", "usd_per_million_tokens", "meets",
}  # fmt: skip
"""What the contract names."""


def test_json_has_the_documented_fields(run: Run) -> None:
    """The JSON holds the documented names, an interval about each median, and percentiles in order."""
    result = run("capacity", *LLAMA, "-d", "h100", "--ttft", "1s", "--tpot", "30ms", "--json")
    assert result.code == 0, result.err
    answer = json.loads(result.out)
    assert {"serving", "max_users", "binding"} <= set(answer)
    assert answer["binding"] in {"ttft", "tpot", "cache", "sequences"}
    for row in answer["serving"]:
        assert set(row) >= ROW_KEYS
        assert row["low_ttft_s"] <= row["ttft_s"]["p50"] <= row["high_ttft_s"]
        assert row["low_tpot_s"] <= row["tpot_s"]["p50"] <= row["high_tpot_s"]
        for times in (row["ttft_s"], row["tpot_s"]):
            assert times["p50"] <= times["p90"] <= times["p99"]
        assert 0 <= row["kv_used_fraction"] <= 1


def test_the_most_users_meet_the_limits_and_more_do_not() -> None:
    """The row of the most users meets both limits at p90; the rows beyond it break the one that binds."""
    answer = sizer.capacity("meta-llama/Llama-3.1-8B", device="h100", ttft=1.0, tpot="20ms", offline=True)
    rows = {row.users: row for row in answer.serving}
    assert rows[answer.max_users].meets
    assert rows[answer.max_users].tpot_s.p90 <= 0.02
    beyond = [row for users, row in rows.items() if users > answer.max_users]
    assert beyond
    assert all(answer.binding in row.fails for row in beyond)


def test_tighter_limits_serve_fewer() -> None:
    """Half the time per token never serves more users, a longer prompt neither."""
    asked = {"device": "h100", "offline": True}
    slow = sizer.capacity("meta-llama/Llama-3.1-8B", tpot="30ms", **asked).max_users
    assert 0 < sizer.capacity("meta-llama/Llama-3.1-8B", tpot="15ms", **asked).max_users < slow
    assert sizer.capacity("meta-llama/Llama-3.1-8B", tpot="30ms", prompt="16k", **asked).max_users < slow


def test_no_limit_means_no_waiting() -> None:
    """Without limits the most users are those that find room at once: cache or places bind."""
    answer = sizer.capacity("meta-llama/Llama-3.1-8B", device="rtx-4090", offline=True)
    assert answer.binding in {"cache", "sequences"}
    assert answer.kv_capacity_tokens is not None
    assert answer.max_users * 1280 <= 1.3 * answer.kv_capacity_tokens


def test_machines_follow_what_is_asked(run: Run) -> None:
    """Ten times the users of one machine take ten, and cost ten times as much an hour."""
    one = sizer.capacity("meta-llama/Llama-3.1-8B", device="h100", tpot="20ms", price=2.0, offline=True)
    many = sizer.capacity(
        "meta-llama/Llama-3.1-8B", device="h100", tpot="20ms", price=2.0, users=10 * one.max_users, offline=True
    )
    assert many.machines == 10
    assert many.serving[0].users == 10 * one.max_users
    assert many.serving[0].usd_per_hour == pytest.approx(20.0)
    assert many.serving[0].meets


def test_a_rate_is_served_within_the_limits() -> None:
    """500 requests a second get enough machines that the row of that rate meets the limits."""
    answer = sizer.capacity(
        "meta-llama/Llama-3.1-8B", device="8xh100", rps=500, ttft="1s", tpot="50ms", prompt=1000, output=100,
        offline=True,
    )  # fmt: skip
    row = answer.serving[0]
    assert answer.max_requests_per_s is not None
    assert answer.machines * answer.max_requests_per_s >= 500
    assert (answer.machines - 1) * answer.max_requests_per_s < 500
    assert row.meets
    assert row.requests_per_s == pytest.approx(500, rel=0.15)


def test_price_is_a_row_with_its_date_or_the_users() -> None:
    """A known device has a dated offer; a stated price wins; an unknown device has none."""
    from sizer.device.catalogue import find

    offer = price_of(find("4xh100"))
    assert offer is not None
    assert offer.date
    assert offer.source
    assert offer.lowest <= offer.usd_per_device_hour <= offer.highest
    stated = price_of(find("4xh100"), stated_prices(["h100=2.10"]))
    assert stated is not None
    assert stated.usd_per_device_hour == pytest.approx(2.10)
    assert price_of(find("raspberry pi 5")) is None


def test_cost_of_tokens_adds_up() -> None:
    """What input and output tokens cost together is what the machine costs."""
    answer = sizer.capacity("meta-llama/Llama-3.1-8B", device="h100", tpot="20ms", price=3.6, offline=True)
    row = answer.serving[-1]
    assert row.usd_per_million_input_tokens is not None
    assert row.usd_per_million_output_tokens is not None
    inputs_per_s = row.throughput_tokens_per_s * answer.prompt_tokens / answer.output_tokens
    paid = (
        row.usd_per_million_input_tokens * inputs_per_s
        + row.usd_per_million_output_tokens * row.throughput_tokens_per_s
    )
    assert paid / 1e6 * 3600 == pytest.approx(3.6, rel=0.02)


def test_a_day_of_arrivals(tmp_path: Path, run: Run) -> None:
    """A day's peak decides the machines; following the hours takes fewer machine hours."""
    day = tmp_path / "day.csv"
    day.write_text("hour,requests\n" + "".join(f"{hour},{(1 + hour % 12) * 900_000}\n" for hour in range(24)))
    result = run("capacity", *LLAMA, "-d", "8xh100", "--ttft", "1s", "--arrivals", str(day), "--json")
    assert result.code == 0, result.err
    found = json.loads(result.out)["day"]
    assert found["requests"] == pytest.approx(sum((1 + hour % 12) * 900_000 for hour in range(24)))
    assert found["peak_machines"] == max(hour["machines"] for hour in found["hours"])
    assert found["machine_hours"] < 24 * found["peak_machines"]
    bad = tmp_path / "bad.csv"
    bad.write_text("hour,requests\n0,-5\n")
    assert run("capacity", *LLAMA, "-d", "h100", "--arrivals", str(bad)).code == 2


@pytest.mark.parametrize(
    "wrong",
    [
        ["--users", "0"], ["--users", "-4"], ["--rps", "-1"], ["--rps", "nan"], ["--rps", "inf"], ["--rps", "1e30"],
        ["--users", "1", "--rps", "1"], ["--ttft", "0s"], ["--ttft", "soon"], ["--tpot", "-5ms"], ["--replicas", "3"],
        ["--replicas", "0"], ["--price", "cheap"], ["--price", "h100=-1"], ["--price", "h100=nan"],
        ["--users", "99999999999"], ["--prompt", "0"], ["--output", "99999999999"], ["--prefix-hit", "2"],
        ["--machines", "-1"], ["--arrivals", "/nonexistent.csv"], ["--plot", "x.txt"],
    ],
)  # fmt: skip
def test_bad_input_is_one_line(run: Run, wrong: list[str]) -> None:
    """What cannot be served is refused with exit code 2 and one line, without a traceback."""
    result = run("capacity", *LLAMA, "-d", "4xh100", *wrong)
    assert result.code == 2, result
    assert len(result.err.strip().splitlines()) == 1
    assert "Traceback" not in result.err


def test_what_does_not_fit_says_so(run: Run) -> None:
    """A model that the devices do not hold ends with exit code 4 and names the room that is missing."""
    result = run("capacity", "meta-llama/Llama-3.1-70B", "-d", "h100", "-p", "bf16", "--offline")
    assert result.code == 4
    assert "cache" in result.err
    with pytest.raises(DoesNotFit):
        sizer.capacity("meta-llama/Llama-3.1-70B", device="rtx-4060", precision="bf16", offline=True)


def test_the_engines_own_flags_are_heard() -> None:
    """A flag that bounds the sequences bounds the users; one that asks for ranks leaves the rest to replicas."""
    asked = {"device": "4xh100", "offline": True, "prompt": 1000, "output": 100}
    few = sizer.capacity("Qwen/Qwen3-8B", engine="vllm@0.21 --max-num-seqs 8", **asked)
    assert few.max_users == 8 * few.replicas
    two = sizer.capacity("Qwen/Qwen3-8B", engine="vllm --tensor-parallel-size 2", **asked)
    assert (two.replicas, two.parallelism) == (2, "TP 2")


def test_what_writes_no_tokens_is_refused(run: Run) -> None:
    """An encoder has no users who wait for tokens; a model known by its size alone must still fit."""
    assert run("capacity", "BAAI/bge-m3", "-d", "h100", "--offline").code == 2
    assert run("capacity", "8x7B", "-d", "rtx-4090", "-p", "bf16", "--offline").code == 4


def test_several_nodes_are_arithmetic() -> None:
    """A model over two nodes is told by arithmetic, and says so."""
    answer = sizer.capacity("deepseek-ai/DeepSeek-R1", device="16xh100", precision="fp8", offline=True)
    assert answer.basis == "arithmetic"
    assert any("Arithmetic only" in note for note in answer.assumptions)


def test_other_engines_and_machines_answer() -> None:
    """llama.cpp's slots, TGI, LMDeploy, TensorRT-LLM and SGLang answer, each by its own rules."""
    slots = sizer.capacity("Qwen/Qwen3-8B", device="rtx-4090", engine="llama.cpp", precision="q4_k_m", offline=True)
    assert slots.max_users == 4
    assert slots.binding == "sequences"
    for engine in ("sglang", "tensorrt-llm", "tgi", "lmdeploy", "vllm"):
        assert sizer.capacity("Qwen/Qwen3-8B", device="a100", engine=engine, offline=True).max_users > 8
    with pytest.raises(UsageError, match="serves many users is not known"):
        sizer.capacity("Qwen/Qwen3-8B", device="rtx-4090", engine="exllamav2", offline=True)


def test_limits_that_nothing_meets_are_exit_4(run: Run) -> None:
    """Not one user within a millisecond: the table is told, no number of machines is, and the command fails."""
    ask = ("capacity", "Qwen/Qwen3-8B", "-d", "h100", "--offline", "--prompt", "512", "--output", "32")
    none = run(*ask, "--ttft", "1ms", "--users", "40", "--json")
    told = json.loads(none.out)
    assert (none.code, told["max_users"], told["machines"], told["met"]) == (4, 0, 0, False)
    assert told["serving"][0]["meets"] is False
    assert "No user is served" in run(*ask, "--ttft", "1ms").out
    few = run(*ask, "--ttft", "1s", "--users", "5000", "--machines", "1", "--json")
    assert (few.code, json.loads(few.out)["met"]) == (4, False)
    enough = run(*ask, "--ttft", "1s", "--users", "40", "--json")
    assert (enough.code, json.loads(enough.out)["met"]) == (0, True)
    assert run(*ask).code == 0


def test_a_rate_takes_the_way_that_serves_most_requests(run: Run) -> None:
    """Of the ways to share eight devices, the one chosen for a rate has the highest, not the most users."""
    done = run("capacity", "Qwen/Qwen3-32B", "-d", "4xh100", "--offline", "--rps", "60", "--ttft", "2s", "--json")
    told = json.loads(done.out)
    tried = next(note for note in told["assumptions"] if note.startswith("Ways tried"))
    rates = [float(rate) for rate in re.findall(r"([0-9.e+]+) requests a second", tried)]
    assert len(rates) > 1
    assert told["max_requests_per_s"] == pytest.approx(max(rates), rel=0.01)
    assert told["machines"] == -(-60 // told["max_requests_per_s"])


@pytest.mark.parametrize(
    ("device", "version", "date", "tokens", "sequences"),
    [
        ("b200", "", "", 16384, 1024), ("b200", "0.27", "", 8192, 1024), ("b200", "", "2026-03-25", 8192, 1024),
        ("gb10", "0.33", "", 2048, 256), ("gb10", "0.32", "", 8192, 1024), ("a100", "", "", 2048, 256),
        ("h100", "", "", 8192, 1024), ("h100", "0.7.3", "", 2048, 256), ("tpu-v6e", "", "", 1024, 256),
    ],
)  # fmt: skip
def test_a_step_of_users_goes_by_card_and_release(
    device: str, version: str, date: str, tokens: int, sequences: int
) -> None:
    """vLLM schedules what it profiles (`data/profile_runs.csv`), for the date of a run where no version tells."""
    found = scheduler("vllm", find(device).device, version, date=date)
    assert (found.step_tokens, found.max_sequences) == (tokens, sequences)


@pytest.mark.parametrize(
    ("device", "tokens"), [("rtx-3060", 2048), ("rtx-4090", 4096), ("l40s", 4096), ("h100", 8192), ("b200", 16384)]
)
def test_a_chunk_of_users_is_what_the_engine_reserves_for(device: str, tokens: int) -> None:
    """SGLang's chunks go by card in `data/static_reserves.csv`, for many users as for one prompt."""
    assert scheduler("sglang", find(device).device).step_tokens == tokens


def test_each_rank_of_data_parallel_attention_has_its_own_places() -> None:
    """vLLM's and TensorRT-LLM's ranks are schedulers of their own; SGLang divides one budget over them."""
    device = find("h100").device
    for engine, times in (("vllm", 8), ("tensorrt-llm", 8), ("sglang", 1)):
        one = scheduler(engine, device)
        ranks = one.over_ranks(8)
        assert (ranks.max_sequences, ranks.step_tokens) == (times * one.max_sequences, times * one.step_tokens)


@pytest.mark.parametrize(
    ("model", "device", "engine", "precision"),
    [
        ("8B", "rtx-3060", "llama.cpp", "q8_0"),
        ("Qwen/Qwen3-8B", "rtx-3090", "ollama", "q8_0"),
        ("Qwen/Qwen3-8B-AWQ", "rtx-3090", "llama.cpp", "q8_0"),
        ("Qwen/Qwen3-8B-AWQ", "rtx-3090", "vllm", "awq-int4"),
        ("8B", "m2-ultra", "mlx-lm", "bf16"),
        ("8B", "rtx-3060", "sglang", "awq-int4"),
    ],
)
def test_a_precision_nobody_named_is_one_that_the_engine_loads(
    model: str, device: str, engine: str, precision: str
) -> None:
    """GGUF engines serve GGUF types, whatever the device; a checkpoint's own format only where the engine loads it."""
    assert sizer.capacity(model, device=device, engine=engine, offline=True).precision == precision


def test_an_engine_that_does_not_run_there_serves_nobody() -> None:
    """As estimate and check say it: vLLM has no backend on a Mac's GPU."""
    with pytest.raises(UnknownEngine, match="vllm does not run on"):
        sizer.capacity("8B", device="m2-ultra", engine="vllm", offline=True)


@pytest.mark.parametrize(("model", "device"), [("8B", "l4"), ("Qwen/Qwen3-8B", "m2-ultra"), ("70B", "4xa100")])
def test_no_interval_is_faster_than_the_bandwidth(model: str, device: str) -> None:
    """A token takes at least what its weights take at the devices' nominal bandwidth, at the interval's end too."""
    served = sizer.capacity(model, device=device, users=1, replicas=1, offline=True)
    plain = sizer.estimate(model, device=device, engine=served.engine, precision=served.precision, offline=True)
    one = plain.estimates[0]
    assert one.decode is not None
    rate = (one.device.bandwidth_bytes_per_s or 0) * one.device.count
    for row in served.serving:
        assert one.decode.bytes_per_token / rate * 0.98 <= row.low_tpot_s <= row.tpot_s.p50


@pytest.mark.parametrize("device", ["h100", "l40s", "rtx-4090", "RTX A6000", "b200"])
def test_one_of_a_device_costs_what_each_of_two_does(device: str) -> None:
    """A device's name is no instance of a cloud that calls it so: one is priced as several of them are, and as
    `hardware` prices it."""
    one, two = price_of(find(device)), price_of(find(f"2x{device}"))
    assert one is not None
    assert one == two
    rows = sizer.hardware("Qwen/Qwen3-0.6B", text=find(device).device.key, offline=True)
    [row] = [row for row in rows if (row.device, row.count) == (find(device).device.key, 1)]
    assert row.usd_per_hour == pytest.approx(one.usd_per_device_hour)


def test_an_instance_has_its_own_price() -> None:
    """A cloud's instance costs what that cloud asks for it, with the cloud's name before it or without."""
    for text in ("aws:g5.xlarge", "g5.xlarge"):
        price = price_of(find(text))
        assert price is not None
        assert (price.cloud, price.instance) == ("aws", "g5.xlarge")


def test_a_rate_beyond_the_machines_is_not_served(run: Run) -> None:
    """A thousand requests a second on two machines that serve a few is exit 4 and said, without any limit of time."""
    asked = ("capacity", *LLAMA, "-d", "a10g", "--rps", "1000")
    result = run(*asked, "--machines", "2")
    assert result.code == 4
    assert "More requests are asked for than is served by 2 machines" in " ".join(result.out.split())
    assert run(*asked).code == 0


def test_fewer_bits_are_told_where_memory_binds() -> None:
    """Llama-3.3-70B in bf16 leaves two H100s room for a few users: what fp8 serves is told, as by asking for it.
    Nothing is told where a precision was asked for."""
    model = "meta-llama/Llama-3.3-70B-Instruct"
    asked = {"device": "2xh100", "users": 50, "ttft": "1s", "offline": True}
    told = [re.match(r"In fp8 it is (\d+) users", note) for note in sizer.capacity(model, **asked).assumptions]
    [users] = [int(found[1]) for found in told if found]
    assert users == sizer.capacity(model, **asked, precision="fp8").max_users
    assert not any(
        "users a machine: -p" in note for note in sizer.capacity(model, **asked, precision="bf16").assumptions
    )


def test_open_and_closed_loops_are_told_apart() -> None:
    """Where a rate is asked for, one note says that rows of users ask again at once; without a rate there is none."""
    asked = {"device": "2xa100", "offline": True}
    by_rate = sizer.capacity("meta-llama/Llama-3.3-70B-Instruct", rps=1.0, **asked).assumptions
    assert sum("open loop" in note and "closed loop" in note for note in by_rate) == 1
    by_users = sizer.capacity("meta-llama/Llama-3.3-70B-Instruct", **asked).assumptions
    assert not any("open loop" in note for note in by_users)


@pytest.mark.parametrize("device", ["l4", "h100", "a100", "rtx-4090"])
def test_one_user_differs_from_the_estimate_only_with_a_note(device: str) -> None:
    """One user's time per token is the estimate's within a tenth, or a note has the estimate's figure."""
    work = {"device": device, "engine": "vllm", "precision": "fp8" if device == "rtx-4090" else "bf16", "offline": True}
    served = sizer.capacity("meta-llama/Llama-3.1-8B", prompt=1000, output=100, **work)
    alone = sizer.estimate("meta-llama/Llama-3.1-8B", prompt=1000, output=100, **work).estimates[0]
    one = next(row for row in served.serving if row.users == 1)
    assert alone.decode is not None
    told = [note for note in served.assumptions if "one user alone" in note]
    if told:
        assert f"{alone.decode.tokens_per_s:.3g} tokens/s" in told[0]
    else:
        assert one.tpot_s.p50 * alone.decode.tokens_per_s == pytest.approx(1, abs=0.13)


def test_eager_steps_serve_slower() -> None:
    """A server that may not capture graphs writes a small model's tokens slower."""
    asked = {"device": "h100", "precision": "bf16", "offline": True}
    times = [
        next(
            row.tpot_s.p50 for row in sizer.capacity("Qwen/Qwen3-0.6B", engine=flags, **asked).serving if row.users == 1
        )
        for flags in ("vllm", "vllm --enforce-eager")
    ]
    assert times[1] > 1.2 * times[0]


@pytest.mark.parametrize(
    "wrong",
    [{"arrivals": [1]}, {"arrivals": "x"}, {"arrivals": [("a", "b")]}, {"ttft": []}, {"prefix_hit": "24GiB"},
     {"prefix_hit": None}],
    ids=str,
)  # fmt: skip
def test_what_is_no_number_is_refused(wrong: dict[str, object]) -> None:
    """From Python too: values of other types are one clear line, no TypeError."""
    with pytest.raises(UsageError):
        sizer.capacity("8B", device="h100", offline=True, **wrong)  # type: ignore[arg-type]


def test_a_model_known_by_its_name_alone_is_told_as_such(run: Run) -> None:
    """What the estimate says of a model is said of its capacity too: that a size alone was known, whose shape was
    taken, and that the intervals do not count it; of a catalogued model nothing of the kind is said."""
    named = run("capacity", "70B", "-d", "4xl40s", "--users", "1", "--offline").out
    known = run("capacity", "Qwen/Qwen3-8B", "-d", "l40s", "--users", "1", "--offline").out
    for words in ("known by its name alone", "The intervals here do not count what the name leaves open"):
        assert words in " ".join(named.split())
        assert words not in " ".join(known.split())


@pytest.mark.parametrize(
    ("model", "device", "engine", "precision"),
    [
        ("meta-llama/Llama-3.1-8B", "2x a100-80gb-sxm", "llama.cpp", "q4_k_m"),
        ("Qwen/Qwen3-14B", "4x l40s", "vllm", "bf16"),
        ("Qwen/Qwen3-30B-A3B", "rtx-4090", "ollama", "q4_k_m"),
        ("openai/gpt-oss-20b", "mi300x", "vllm", "mxfp4"),
    ],
)
def test_no_user_is_served_faster_beside_more_or_with_a_longer_prompt(
    model: str, device: str, engine: str, precision: str
) -> None:
    """On one machine, shared in one way, more users make each wait no less, for the first token and for the others, and
    longer prompts neither: to 2 %, which percentiles of a few hundred requests move by."""
    asked = {
        "device": device, "engine": engine, "precision": precision, "machines": 1, "replicas": 1, "output": 64,
        "offline": True,
    }  # fmt: skip

    def medians(users: int, prompt: int) -> tuple[float, float]:
        row = sizer.capacity(model, users=users, prompt=prompt, **asked).serving[0]
        return row.ttft_s.p50, row.tpot_s.p50

    for seen in ([medians(users, 512) for users in (1, 4, 8, 12, 16, 24)], [medians(8, 2**n) for n in (8, 10, 12, 13)]):
        for fewer, more in pairwise(seen):
            assert more[0] > 0.98 * fewer[0]
            assert more[1] > 0.98 * fewer[1]


@pytest.mark.parametrize("device", ["p40", "mi50-32gb"])
def test_a_card_that_no_server_has_kernels_for_is_served_by_llama_cpp(device: str) -> None:
    """vLLM is built for newer chips: where nobody asks for it, what runs there serves, at eight bits if they fit."""
    found = sizer.capacity("Qwen/Qwen3-8B", device=device, users=2, offline=True)
    assert (found.engine, found.precision) == ("llama.cpp", "q8_0")
    assert found.max_users >= 2
