"""What lies on the host in a step of several tokens, and what a window's layer keeps and each step weighs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from drawn import LAYERS, MIXER, SLIDING, TOKEN_BYTES, model, stored
from drawncases import CARD, asked, split

from sizer import estimate
from sizer.device.catalogue import find
from sizer.device.records import Device, Target
from sizer.speed.attended import attended_tokens, weighed_tokens
from sizer.speed.case import PromptReading, SpeedCase
from sizer.speed.device_rates import cpu_flops_per_s
from sizer.speed.law import Amount
from sizer.speed.terms import decode_amounts, step_traffic
from sizer.speed.traffic import decode_traffic
from sizer.tuning import tuned
from sizer.workload import Workload

HOST = Device("ryzen-7-7700", "Host", "amd", "cpu", None, 5e10)
CROSSING = ("llama.cpp", 64), ("transformers", 1), ("vllm", 1)


def beside_a_host(engine: str, sequences: int, least: float = 1) -> SpeedCase:
    """A quarter of the drawn model on the host, over a link of 20 GB/s; chunks of `least` tokens cross it."""
    target = Target(CARD, host=HOST, host_link_bytes_per_s=2e10)
    held = split(3 * 10**5, 10**5, experts=False)
    found = asked(workload=Workload(100, 28, 128, batch_size=sequences), engine=engine, target=target, placement=held)
    return replace(found, reading=PromptReading(512, False, least))


def amounts(case: SpeedCase) -> dict[str, Amount]:
    """The amounts of a step by term."""
    return {one.term: one for one in decode_amounts(case, step_traffic(case))}


@pytest.mark.parametrize(("engine", "sequences"), CROSSING)
def test_weights_cross_the_link_where_the_host_computes_nothing(engine: str, sequences: int) -> None:
    """Copied for each pass, in large batches, or by an engine that never computes there: no faster than the link, and
    of pages that are not pinned no faster than a core copies them."""
    case = beside_a_host(engine, sequences, 32 if engine == "llama.cpp" else 1)
    found = amounts(case)
    hosted = step_traffic(case).weight_bytes / 4
    rate = 2e10 if engine == "vllm" else tuned("pageable_bytes_per_s")
    assert found["host_link"].nominal_s == pytest.approx(hosted / rate)
    assert found["host_link"].least_s == pytest.approx(hosted / 2e10)
    assert not {"host", "host_products"} & found.keys()


@pytest.mark.parametrize(("engine", "sequences", "term"), [("llama.cpp", 1, "host"), ("llama.cpp", 64, "host"),
                         ("transformers", 1, "host_link")])  # fmt: skip
def test_a_cache_on_the_host_is_read_there(engine: str, sequences: int, term: str) -> None:
    """Three quarters of the cache at the host's bandwidth, by its cores; over the link where they compute nothing. What
    the card keeps is read from the card, and rows of cards that keep all of it say nothing of the case."""
    case = beside_a_host(engine, sequences, 32 if engine == "llama.cpp" else 1)
    whole = replace(case, placement=None)
    held = split(4 * 10**5, 0, experts=False)
    assert held.host is not None
    shares = (held.shares[0]._replace(kv_cache_bytes=1000, state_bytes=0),)
    host = held.host._replace(kv_cache_bytes=3000, state_bytes=0)
    found = amounts(replace(case, placement=replace(held, shares=shares, host=host)))
    read = 0.75 * step_traffic(case).cache_bytes
    rate = HOST.bandwidth_bytes_per_s if term == "host" else tuned("pageable_bytes_per_s")
    assert rate is not None
    assert found[term].nominal_s == pytest.approx(read / rate)
    assert found["cache"].nominal_s == pytest.approx(amounts(whole)["cache"].nominal_s / 4)
    assert found["weights"] == amounts(whole)["weights"]
    assert {"host", "host_link", "host_products"} & found.keys() == {term}


def test_no_step_reads_a_cache_on_the_host_faster_than_its_memory() -> None:
    """Of Qwen3-8B 32k tokens are 4.8 GB: 67 tokens/s were told beside an RTX 4090, whichever held them."""
    asked_for = {"device": "rtx-4090", "host": "ryzen-7-7700", "prompt": 32640, "context": 32768, "offline": True}
    for engine, precision in (("llama.cpp --no-kv-offload", "q8_0"), ("transformers --cache-implementation offloaded",
                                                                      "bf16")):  # fmt: skip
        one = estimate("Qwen/Qwen3-8B", engine=engine, precision=precision, **asked_for).estimates[0]
        bandwidth = find("ryzen-7-7700").device.bandwidth_bytes_per_s
        assert bandwidth is not None
        assert one.memory.host.kv_cache_bytes == one.memory.kv_cache_bytes
        assert one.decode.tokens_per_s is not None
        assert one.decode.tokens_per_s < bandwidth / one.memory.kv_cache_bytes


@pytest.mark.parametrize("sequences", [1, 4, 31])
def test_the_hosts_cores_multiply_several_tokens(sequences: int) -> None:
    """Few tokens are multiplied where the weights lie: read once, at the host's peak; one token at its bandwidth."""
    case = beside_a_host("llama.cpp", sequences, 32)
    traffic, found = step_traffic(case), amounts(case)
    assert found["host"].nominal_s == pytest.approx(traffic.weight_bytes / 4 / 5e10)
    assert "host_link" not in found
    if sequences == 1:
        assert "host_products" not in found
        return
    products = (traffic.flops - traffic.stage("kv").flops) / 4
    assert found["host_products"].nominal_s == pytest.approx(products / cpu_flops_per_s(HOST))
    told = replace(case.target, host=replace(HOST, peak_flops_per_s={"fp32": 5e12}), host_count=2)
    of_two = amounts(replace(case, target=told))["host_products"]
    assert of_two.nominal_s == pytest.approx(products / 1e13)  # the table's peak where it tells one, of both sockets


def test_a_hosts_cores_are_known_by_their_instructions() -> None:
    """Only where they hold a part: elsewhere a card's rows have nothing of its host's."""
    assert beside_a_host("llama.cpp", 1).groups["instructions"] == "instructions: amd avx512"
    assert "instructions" not in asked(target=Target(CARD, host=HOST)).groups


@pytest.mark.parametrize(
    ("context", "beside", "weighed"), [(20, 0, 20), (100, 0, 30), (100, 40, 70), (50, 40, 50), (100, float("inf"), 100)]
)
def test_a_window_is_weighed_with_what_its_layer_keeps(context: int, beside: float, weighed: int) -> None:
    """A window of 30: the last chunk's cells beside it, all of a short context, and the whole of an endless one."""
    assert weighed_tokens(SLIDING, context, beside) == weighed
    assert attended_tokens(SLIDING, context) == min(context, 30)
    assert weighed_tokens(MIXER, context, beside) == context


def test_a_step_reads_what_windows_keep() -> None:
    """Three of four layers slide: 40 tokens more of each, for each of two sequences."""
    drawn, work = model(MIXER, SLIDING), Workload(100, 1, 101, batch_size=2)
    plain, kept = (decode_traffic(drawn, stored(drawn), work, beside_window=beside) for beside in (0, 40))
    assert kept.cache_bytes - plain.cache_bytes == 2 * (LAYERS - 1) * 40 * TOKEN_BYTES
    assert kept.stage("kv").flops > plain.stage("kv").flops


def test_cells_beside_a_window_are_those_of_a_chunk() -> None:
    """llama.cpp keeps the micro-batch's cells beside a window: a larger one makes deep steps slower, not shallow ones;
    vLLM's steps read windows alone."""

    def speed(engine: str, prompt: int) -> float:
        one = estimate(
            "google/gemma-3-4b-it", device="gb10", precision="q4_k_m", engine=engine, prompt=prompt, offline=True
        )
        decode = one.estimates[0].decode
        assert decode is not None
        assert decode.tokens_per_s is not None
        return decode.tokens_per_s

    assert speed("llama.cpp -ub 4096 -b 4096", 16384) < speed("llama.cpp", 16384)
    assert speed("llama.cpp -ub 4096 -b 4096", 256) == pytest.approx(speed("llama.cpp", 256))
