"""An engine is one record: it answers where it runs, how it splits, what it runs, and refuses what it has not got."""

from __future__ import annotations

import re

import pytest

import sizer
from sizer.advise.recipes import RECIPES
from sizer.cache_formats import cache_formats
from sizer.device.catalogue import find, search
from sizer.engine.engines import default_engine, engines, find_engine
from sizer.engine.releases import rules
from sizer.engine.stored import store_for
from sizer.errors import UnknownEngine, UsageError
from sizer.precision.names import all_precisions, engines_of, precision_of
from sizer.precision.schemes import SCHEMES
from sizer.precision.store import store
from sizer.tables import data_dir, matches, read_rows
from sizer.workload import Split
from tests.support.speedcases import case_of

LLAMA = "meta-llama/Meta-Llama-3-8B-Instruct"
NAMING = ("engine", "engines", "runtime", "runtimes")
"""Columns that name engines, of any table."""
OTHERS_TOO = {"speculation.csv", "verify.csv", "draft_rounds.csv"}
"""Tables with measured rows of programs that are no engine of the table, or with one of all."""


@pytest.mark.parametrize("name", engines())
def test_every_engine_answers_everything(name: str) -> None:
    """Where it runs, what it runs, how it takes memory, its ladder or why it has none: no place is forgotten."""
    engine = engines()[name]
    assert engine.backends, f"{name}: no backends in data/engines.csv"
    has_precisions = bool(engine.precisions())
    assert has_precisions != bool(engine.no_precisions), f"{name}: precisions in data/methods.csv, or a reason"
    assert engine.memory().allocates, f"{name}: no memory rule in data/engine_memory.csv"
    assert engine.source, f"{name}: no source in data/engines.csv"
    has_ladder = name in rules("ladders.csv", "engine")
    assert has_ladder != bool(engine.no_ladder), f"{name}: a ladder in data/ladders.csv, or the reason in no_ladder"
    for precision in engine.precisions():
        stored = engine.stored_precision(precision)
        assert stored.name == precision
        assert stored.scheme in SCHEMES or stored.is_gguf


def test_every_engine_with_flags_has_a_command_and_every_recipe_is_read() -> None:
    """An engine whose flags are known is started by a row of data/engine_commands.csv; what is written can be read."""
    started = {row["engine"] for row in read_rows("engine_commands.csv")}
    assert {name for name, engine in engines().items() if engine.flags} <= started
    assert started <= set(engines())
    forks = {engine.name: engine.called_as for engine in engines().values() if engine.called_as}
    assert set(forks.values()) <= started
    assert all(engines()[fork].flags[1:] == engines()[original].flags for fork, original in forks.items())
    assert {name for name in RECIPES if not engines()[name].flags} == set()


def test_every_table_of_engines_names_engines() -> None:
    """A row about an engine that no table of engines knows is a slip; an empty name stands for all."""
    for path in sorted(data_dir().glob("*.csv")):
        if path.name not in OTHERS_TOO:
            for row in read_rows(path.name):
                told = {name for column in NAMING if column in row for name in names_in(column, row[column])}
                assert told <= {"", *engines()}, (path.name, row)


def names_in(column: str, cell: str) -> list[str]:
    """The names of a cell: one, which may have a blank in it, or a list of them."""
    return cell.split() if column.endswith("s") else [cell]


def test_likeness_is_stated_once() -> None:
    """An engine stores a precision as the one whose kernels it shares: mxfp4 is one size on every MLX engine."""
    from sizer.model.read.resolve import resolve

    model = resolve("Qwen/Qwen3-8B", offline=True).architecture
    for engine in engines().values():
        own = {row["kind"] for row in read_rows("engine_precisions.csv") if row["engine"] == engine.name}
        for precision in ("fp16", "mxfp4", "nvfp4"):
            if precision_of(precision).kind not in own:
                alike = store_for(model, precision, engine.runtime).weights_bytes
                assert store_for(model, precision, engine.name).weights_bytes == alike, (engine.name, precision)
    assert store_for(model, "mxfp4", "omlx").weights_bytes < store(model, "mxfp4").weights_bytes


@pytest.mark.parametrize("name", engines())
def test_an_engine_is_asked_for_its_own_splits_alone(name: str) -> None:
    """Every way to split is either the engine's or refused with those that it has."""
    engine = engines()[name]
    own = set(engine.parallelism)
    taken = own | ({Split.LAYER, Split.PIPELINE} if any(way.whole_layers for way in own) else set())
    if {Split.TENSOR, Split.PIPELINE} <= own:
        taken.add(Split.TENSOR_AND_PIPELINE)
    assert {engine.split(split) for split in taken} == taken
    for split in set(Split) - taken:
        with pytest.raises(UsageError, match=f"does not split a model by {re.escape(split.value)}") as refused:
            engine.split(split)
        assert all(way.value in refused.value.hint for way in own)


@pytest.mark.parametrize(("engine", "split"), [("mlx-lm", "tensor"), ("llama.cpp", "data"), ("exllamav2", "expert")])
def test_an_estimate_refuses_a_split_that_the_engine_has_not_got(engine: str, split: str) -> None:
    """The refusal reaches the user, with the engine's name."""
    device = "2xm2-ultra" if engine == "mlx-lm" else "2xrtx-4090"
    with pytest.raises(UsageError, match=engine):
        sizer.estimate(LLAMA, device=device, engine=engine, parallel=split, offline=True)


def test_backends_are_those_of_the_engine_on_the_device() -> None:
    """`gpu` and nothing mean the usual one, others the engine has there are taken, all else is refused."""
    llama, card, mac = find_engine("llama.cpp"), find("rtx-4090").device, find("m2-ultra").device
    assert llama.backend_asked("", card) == llama.backend_asked("gpu", card) == "cuda"
    assert llama.backend_asked("vulkan", card) == "vulkan"
    assert llama.backend_asked("cpu+cuda", card) == "cpu+cuda"
    assert llama.backend_asked("cpu", mac) == "cpu"
    for backend in ("metal", "nonsense", "cuda+metal"):
        with pytest.raises(UsageError, match="cuda") as refused:
            llama.backend_asked(backend, card)
        assert repr(backend) in refused.value.message


@pytest.mark.parametrize("device", ["m2-ultra", "ryzen-ai-max-plus-395"])
def test_a_chip_asked_for_its_cpu_computes_with_it(device: str) -> None:
    """`cpu` on a chip with a GPU is its cores, and not a word that is ignored."""
    case, usual = (case_of(LLAMA, device, "llama.cpp", "q4_k_m", backend=name) for name in ("cpu", "gpu"))
    assert (case.backend, case.device.kind) == ("cpu", "cpu")
    assert usual.device == find(device).device
    assert usual.backend != "cpu"


@pytest.mark.parametrize(
    ("engine", "device"), [("llama.cpp", "tpu-v5e"), ("llama.cpp", "inferentia2"), ("mlx-lm", "rtx-4090")]
)
def test_an_engine_that_cannot_run_on_a_device_is_refused(engine: str, device: str) -> None:
    """The refusal names the engine, whatever the door, instead of figures that nobody could measure."""
    with pytest.raises(UnknownEngine, match=f"{engine} does not run on"):
        sizer.estimate(LLAMA, device=device, precision="bf16", engine=engine, offline=True)


def test_defaults_leave_out_what_nothing_runs() -> None:
    """A TPU's table has no GGUF types; weights made for MLX are refused on a GeForce, whoever's engine runs them."""
    answer = sizer.estimate(LLAMA, device="tpu-v5e", offline=True)
    assert {item.engine for item in answer.estimates} == {"vllm"}
    assert not any(precision_of(item.precision).is_gguf for item in answer.estimates)
    with pytest.raises(UnknownEngine, match="mlx-4bit"):
        default_engine("mlx-4bit", find("rtx-4090").device)
    assert default_engine("mlx-4bit", find("m2-ultra").device) == "mlx-lm"


def test_every_precision_of_an_engine_names_it() -> None:
    """`runs` and `precisions` are the same question as a precision's own list of engines."""
    for precision in all_precisions():
        for name in engines_of(precision):
            assert precision in engines()[name].precisions()


def test_releases_are_those_of_its_rules() -> None:
    """The versions at which transformers' memory or its experts changed."""
    assert set(find_engine("transformers").releases()) == {"5.0", "4.53", "4.45", "4.42"}
    assert find_engine("transformers").memory("4.40") != find_engine("transformers").memory()
    calls = find_engine("transformers").expert_calls("4.51")
    assert calls is not None
    assert calls["calls"] == "every"


@pytest.mark.parametrize("device", ["trainium2", "inferentia2", "aws:inf2.xlarge", "core-ultra-7-258v npu"])
def test_a_device_that_nothing_runs_on_is_refused(device: str) -> None:
    """Estimates, all precisions and capacities alike say that no engine is known, in one error; none is empty."""
    for ask in (
        lambda: sizer.estimate(LLAMA, device=device, offline=True),
        lambda: sizer.estimate(LLAMA, device=device, precision="all", offline=True),
        lambda: sizer.capacity(LLAMA, device=device, offline=True),
    ):
        with pytest.raises(UnknownEngine, match="no known engine"):
            ask()


def test_the_npu_of_a_chip_runs_only_its_makers_engine() -> None:
    """An engine for the NPUs of one maker runs on no other maker's, and what runs on a chip's GPU not on its NPU."""
    found = {device: {name for name, engine in engines().items() if engine.backend(find(device).device)}
             for device in ("rk3588 npu", "rk3576 npu", "snapdragon-x-elite npu", "ryzen-ai-9-hx-370 npu")}  # fmt: skip
    assert found == {
        "rk3588 npu": {"rknn-llm"},
        "rk3576 npu": {"rknn-llm"},
        "snapdragon-x-elite npu": {"qualcomm npe"},
        "ryzen-ai-9-hx-370 npu": set(),
    }
    answer = sizer.estimate(LLAMA, device="rk3588 npu", offline=True)
    assert {item.engine for item in answer.estimates} == {"rknn-llm"}


def test_a_cache_of_another_engine_is_said_or_taken_as_its_own() -> None:
    """vLLM has no Q8_0 cache; eight bits of mlx-lm and ExLlamaV3 take as much as Q8_0; an unknown engine has any."""
    assert {name for engine in engines().values() for name in engine.caches} <= set(cache_formats())
    assert all(set(engine.smaller_caches) <= set(engine.caches) for engine in engines().values())
    assert find_engine("vllm").own_cache("q8_0") == ""
    assert find_engine("vllm").own_cache("fp8_e5m2") == "fp8"
    assert find_engine("mlx-lm").own_cache("q8_0") == "mlx-q8"
    assert find_engine("exllamav3").own_cache("q4_0") == "exl-q4"
    assert find_engine("candle").own_cache("q8_0") == "q8_0"
    notes = {
        engine: " ".join(sizer.estimate(LLAMA, device="h100", engine=engine, precision=precision, kv_precision="q8_0")
                         .estimates[0].assumptions)
        for engine, precision in (("vllm", "bf16"), ("llama.cpp", "q4_k_m"), ("exllamav3", "exl3-4.00bpw"))
    }  # fmt: skip
    assert "vllm has no q8_0 cache: told as if it had. It has fp32, fp16, bf16, fp8" in notes["vllm"]
    assert "cache: told" not in notes["llama.cpp"] + notes["exllamav3"]


@pytest.mark.parametrize("device", ["gaudi3", "qualcomm-ai100", "tpu-v5e", "trainium2"])
def test_what_is_no_gpu_is_not_told_as_one(device: str) -> None:
    """A maker's GPUs and CPUs say nothing of its accelerators of another kind: engines on ggml run on none of these."""
    ggml = [engine for engine in engines().values() if engine.runtime == "llama.cpp"]
    assert ggml
    assert not [engine.name for engine in ggml if engine.backend(find(device).device)]
    assert [engine for engine in ggml if engine.backend(find("arc-b580").device)]


@pytest.mark.parametrize("device", ["trainium2", "mlu370-x8"])
def test_an_error_promises_no_engine_where_there_is_none(device: str) -> None:
    """Where no engine of the table runs on a device, the error does not say to name one."""
    with pytest.raises(UnknownEngine, match="no known engine") as caught:
        sizer.recommend(LLAMA, device=device, offline=True)
    assert "-e" not in str(caught.value).split()
    assert "another device" in caught.value.hint


@pytest.mark.parametrize(
    ("engine", "precision", "device", "built"),
    [
        ("vllm", "fp16", "mi50-32gb", False),
        ("vllm", "bf16", "mi100", False),
        ("vllm", "awq-int4", "rx-6800-xt", False),
        ("vllm", "bf16", "mi300x", True),
        ("vllm", "bf16", "rx-7900-xtx", True),
        ("vllm", "fp8", "rx-7900-xtx", False),
        ("vllm", "fp8", "ryzen-ai-max-plus-395", False),
        ("vllm", "fp8", "rx-9070-xt", True),
        ("vllm", "bf16", "epyc-9654", True),  # AMD's chips are its GPUs: a CPU runs vLLM's own backend
        ("vllm", "awq-int4", "epyc-9654", True),
        ("vllm", "fp8", "epyc-9654", False),
        ("vllm", "fp8", "raspberry-pi-5", False),
        ("vllm", "q4_k_m", "xeon-platinum-8480", False),
        ("vllm", "fp8", "t4", True),
        ("sglang", "bf16", "mi210", False),
        ("sglang", "fp8", "rx-7900-xtx", False),
        ("sglang", "fp8", "rx-9070-xt", True),
        ("sglang", "fp8", "mi300x", True),
        ("sglang", "fp8", "t4", False),
        ("sglang", "fp8", "a100", True),
        ("tgi", "bf16", "rx-7900-xtx", False),
        ("llama.cpp", "q4_k_m", "mi50-32gb", True),
        ("vllm", "bf16", "rtx-4090", True),
    ],
)
def test_kernels_are_built_for_some_chips_of_a_maker(engine: str, precision: str, device: str, built: bool) -> None:
    """What an engine's documentation or build lists of AMD's chips; other makers' have no such rows."""
    assert find_engine(engine).has_kernels(precision, find(device).device) is built


def test_chips_of_an_engine_are_devices_of_the_table() -> None:
    """Each pattern of `data/engine_chips.csv` fits a device of its maker, and each row names its source."""
    keys: dict[str, list[str]] = {}
    for device in search():
        keys.setdefault(device.vendor, []).append(device.key)
    for row in read_rows("engine_chips.csv"):
        assert row["source"]
        assert find_engine(row["engine"]).name == row["engine"]
        for pattern in row["devices"].split():
            assert any(matches(pattern, key) for key in keys[row["vendor"]]), pattern


@pytest.mark.parametrize("device", ["mi50-32gb", "ryzen-7-7840u", "consumer-cpu", "p40"])
def test_mxfp4_is_llama_cpps_where_no_server_has_it(device: str) -> None:
    """Where neither vLLM nor SGLang multiplies MXFP4, people run llama.cpp, which is several times as fast as
    transformers."""
    assert default_engine("mxfp4", find(device).device) == "llama.cpp"


def test_an_error_names_what_runs_on_the_device_instead() -> None:
    """Of a precision that no engine of a device runs, the next thing to type is one that does."""
    device = find("gaudi3").device
    with pytest.raises(UnknownEngine, match="no known engine runs 'q4_k_m'") as caught:
        default_engine("q4_k_m", device)
    offered = [word.strip(",") for word in caught.value.hint.split(" -p ")[1:]]
    assert offered
    assert all(default_engine(name.split()[0].strip(","), device) for name in offered)
