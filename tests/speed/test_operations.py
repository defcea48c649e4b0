"""Operations that a layer launches, against those that transformers dispatches; and what follows from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from metamodels import as_json, config_of, quiet

from sizer.device.catalogue import find
from sizer.device.chip_parts import cpu_part
from sizer.device.kinds import memory_class
from sizer.device.records import Target
from sizer.device.table import all_devices
from sizer.engine.stored import store_for
from sizer.model.architecture import Architecture, Basis
from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.speed.case import HOSTS, SpeedCase, speed_case
from sizer.speed.device_rates import reachable_bytes_per_s
from sizer.speed.launches import (
    LAUNCH_S,
    LAYER_S,
    expert_amounts,
    host_pace,
    layer_count,
    llama_layers,
    quantized_layers,
    unfused_layers,
)
from sizer.speed.law import LAUNCH
from sizer.speed.terms import decode_amounts
from sizer.speed.traffic import decode_traffic
from sizer.tables import matches, read_rows
from sizer.tuning import tuned
from sizer.workload import Workload

EAGER_LLAMA_OPERATIONS = 40
VIEWS = frozenset(
    [
        "view",
        "_unsafe_view",
        "slice",
        "select",
        "transpose",
        "t",
        "permute",
        "expand",
        "unsqueeze",
        "squeeze",
        "detach",
        "alias",
        "split",
        "unbind",
        "as_strided",
        "lift_fresh",
        "split_with_sizes",
    ]
)
SMALL = {
    "hidden_size": 64,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "intermediate_size": 64,
    "vocab_size": 256,
    "max_position_embeddings": 128,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}


def dispatched(model_type: str, class_name: str, **fields: Any) -> tuple[float, Architecture]:
    """Device operations of one decode step of a layer, views left out, and the architecture of such a model."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class Count(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.operations = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.operations += func.__name__.split(".")[0] not in VIEWS
            return func(*args, **(kwargs or {}))

    counts, layers = [], (2, 6)
    for number in layers:
        config = config_of(model_type, SMALL | fields | {"num_hidden_layers": number})
        with quiet() as transformers, torch.no_grad():
            model = getattr(transformers, class_name)._from_config(config).to(torch.bfloat16).eval()
            tokens = torch.arange(3, 11).reshape(1, -1)
            cached = model(tokens, use_cache=True).past_key_values
            with Count() as count:
                model(tokens[:, -1:], past_key_values=cached, use_cache=True)
        counts.append(count.operations)
    architecture = build(as_json(config, class_name), "small", Basis.CONFIG)
    return (counts[1] - counts[0]) / (layers[1] - layers[0]), architecture


@pytest.mark.parametrize(
    ("model_type", "class_name", "fields"),
    [
        ("llama", "LlamaForCausalLM", {}),
        ("qwen2", "Qwen2ForCausalLM", {}),
        ("qwen3", "Qwen3ForCausalLM", {}),
        ("gemma2", "Gemma2ForCausalLM", {"query_pre_attn_scalar": 32}),
        ("gemma3_text", "Gemma3ForCausalLM", {"query_pre_attn_scalar": 32}),
        ("phi3", "Phi3ForCausalLM", {}),
        ("olmo2", "Olmo2ForCausalLM", {}),
        ("granite", "GraniteForCausalLM", {}),
        ("gpt_neox", "GPTNeoXForCausalLM", {}),
        ("glm4", "Glm4ForCausalLM", {}),
    ],
)
def test_a_layer_launches_what_its_matrices_and_norms_tell(model_type, class_name, fields):
    """Within a quarter of what torch dispatches for a layer of the class, as many times as a Llama layer."""
    measured, architecture = dispatched(model_type, class_name, **fields)
    told = EAGER_LLAMA_OPERATIONS * llama_layers(architecture, "eager") / layer_count(architecture)
    assert told == pytest.approx(measured, rel=0.25)


def test_grouped_experts_launch_as_many_operations_as_the_table_says():
    """What a layer of experts dispatches beyond a dense one is what the newest rule adds."""
    dense, _ = dispatched("qwen3", "Qwen3ForCausalLM")
    experts = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "decoder_sparse_step": 1}
    sparse, _ = dispatched("qwen3_moe", "Qwen3MoeForCausalLM", **experts)
    amounts = expert_amounts(case("Qwen/Qwen3-30B-A3B", "transformers"))
    assert [amount.term for amount in amounts] == ["expert_calls"]
    assert amounts[0].nominal_s / LAUNCH_S / 48 == pytest.approx(sparse - dense, abs=4)


def case(model: str, engine: str, device: str = "h100", precision: str = "bf16", **kwargs: Any) -> Any:
    entry = catalogue.find(model)
    assert entry is not None
    architecture = build(catalogue.load(entry), entry.model_id, Basis.CATALOGUE)
    workload = kwargs.pop("workload", Workload())
    target = Target(find(device).device, kwargs.pop("count", 1))
    built = kwargs.pop("built", "")
    found = speed_case(architecture, store_for(architecture, precision, engine), target, workload, engine, **kwargs)
    return replace(found, built=built)


def test_a_quantized_matrix_launches_what_its_code_calls():
    """FP8 in transformers: eleven more for each of 7 x 32 matrices, of a layer's forty, and an expert's three."""
    dense = case("meta-llama/Meta-Llama-3-8B", "transformers", precision="fp8")
    assert quantized_layers(dense) == pytest.approx(32 * 7 * 11 / EAGER_LLAMA_OPERATIONS)
    assert quantized_layers(case("meta-llama/Meta-Llama-3-8B", "transformers")) == 0
    assert quantized_layers(case("meta-llama/Meta-Llama-3-8B", "vllm", precision="fp8")) == 0
    model = "Qwen/Qwen3-30B-A3B"
    plain, fp8 = (
        expert_amounts(case(model, "transformers", precision=name, engine_version="4.51.3")) for name in ("bf16", "fp8")
    )
    assert plain[0].nominal_s == pytest.approx(48 * (6 + 128 * 10) * LAUNCH_S)
    assert fp8[0].nominal_s == pytest.approx(48 * (6 + 128 * (10 + 3 * 11)) * LAUNCH_S)


@pytest.mark.parametrize(
    ("precision", "built", "launches"),
    [
        ("awq-int4", "", 2),
        ("gptq-int8", "2024-11-01", 4),
        ("gptq-int4", "", 0),
        ("int8", "2024-04-01", 24),
        ("int8", "", 12),
    ],
)
def test_packages_of_kernels_changed_what_a_matrix_launches(precision: str, built: str, launches: int) -> None:
    """Of kernels beside transformers' own the date tells which code ran: LLM.int8 was twice as many before 0.45."""
    found = quantized_layers(case("meta-llama/Meta-Llama-3-8B", "transformers", precision=precision, built=built))
    assert found == pytest.approx(32 * 7 * launches / EAGER_LLAMA_OPERATIONS)


def test_a_slower_host_launches_each_operation_later() -> None:
    """An A100's server (1922 of 2927) where the host launches: not in captured graphs, nor of a card that no row
    tells of."""
    key, model = "a100-80gb-sxm", "meta-llama/Meta-Llama-3-8B"
    slower = (1922 / 2927) ** tuned("host_power")
    assert slower < 1
    assert host_pace(case(model, "transformers", device=key)) == pytest.approx(slower)
    assert host_pace(case(model, "transformers", device="h100-80gb-sxm")) == 1
    assert host_pace(case(model, "transformers", device="l4")) == 1
    assert host_pace(case(model, "vllm", device=key)) == 1
    of_host, of_other = (launched(case(model, "transformers", device=one)) for one in (key, "h100-80gb-sxm"))
    assert of_host == pytest.approx(of_other / slower)
    experts = [
        expert_amounts(case("Qwen/Qwen3-30B-A3B", "transformers", device=one, engine_version="4.51.3"))
        for one in (key, "h100-80gb-sxm")
    ]
    assert experts[0][0].nominal_s == pytest.approx(experts[1][0].nominal_s / slower)


def test_a_newer_card_has_the_hosts_of_those_before_it() -> None:
    """What an H100's rows say of hosts holds for a B200, too; vLLM, whose host launches nothing, has none."""
    older, newer = (
        {name for level, name in case("meta-llama/Meta-Llama-3-8B", "transformers", device=key).groups.items()
         if level in HOSTS}
        for key in ("h100-80gb-sxm", "b200")
    )  # fmt: skip
    assert older < newer
    assert len(newer) == len(older) + 1 == len(HOSTS)
    assert not set(HOSTS) & case("meta-llama/Meta-Llama-3-8B", "vllm", device="b200").groups.keys()


def launched(asked: SpeedCase) -> float:
    """Nominal seconds of the launches of a step's layers."""
    traffic = decode_traffic(asked.architecture, asked.stored, asked.workload)
    return sum(one.nominal_s for one in decode_amounts(asked, traffic) if one.part == LAUNCH)


def test_every_usual_host_is_of_cards_of_the_table() -> None:
    """A pattern that no device's key matches tells nothing."""
    keys = [device.key for device in all_devices()]
    for table in ("usual_hosts.csv", "reading_units.csv"):
        patterns = [one for row in read_rows(table) for one in row["devices"].split()]
        assert [one for one in patterns if not any(matches(one, key) for key in keys)] == []


@pytest.mark.parametrize(
    ("engine", "version", "precision", "built", "launches"),
    [
        ("sglang", "0.4.6.post1", "gptq-int4", "2025-05-20", 2),
        ("sglang", "0.4.6.post1", "bf16", "2025-05-20", 0),
        ("sglang", "0.4.10", "gptq-int4", "", 0),
        ("sglang", "", "awq-int4", "", 0),
        ("vllm", "0.7.2", "awq-int4", "", 2),
        ("vllm", "", "awq-int4", "2025-02-01", 2),
        ("vllm", "0.7.3", "awq-int4", "", 0),
        ("llama.cpp", "", "q4_k_m", "", 0),
    ],
)
def test_a_kernel_of_one_expert_is_launched_for_every_one(engine, version, precision, built, launches):
    """For each of 48 layers' 128 experts, chosen or not, as many launches of two microseconds as its loop makes."""
    asked = case("Qwen/Qwen3-30B-A3B", engine, precision=precision, engine_version=version, built=built)
    found = {amount.term: amount.nominal_s for amount in expert_amounts(asked)}
    assert found.get("looped_experts", 0.0) == pytest.approx(48 * 128 * launches * 2e-6)


@pytest.mark.parametrize(
    ("engine", "backend", "version", "built", "launches"),
    [
        ("llama.cpp", "cuda", "b4800", "", 6),
        ("llama.cpp", "cuda", "b6000", "", 0),
        ("ollama", "cuda", "0.6.2", "2025-03-18", 6),
        ("ik_llama.cpp", "cuda", "dcdfad2", "2025-03-18", 0),
        ("llama.cpp", "sycl", "b8840", "", 6),
        ("llama.cpp", "sycl", "b9039", "", 0),
        ("llama.cpp", "vulkan", "b4800", "", 0),
    ],
)
def test_a_kernel_of_one_expert_is_launched_for_the_chosen_ones(engine, backend, version, built, launches):
    """For each of 48 layers' eight chosen experts, whatever the precision, where a release had no kernel of several."""
    model = case("Qwen/Qwen3-30B-A3B", engine, precision="q4_k_m", engine_version=version, built=built)
    found = {amount.term: amount.nominal_s for amount in expert_amounts(replace(model, backend=backend))}
    assert found.get("looped_experts", 0.0) == pytest.approx(48 * 8 * launches * 2e-6)


@pytest.mark.parametrize(
    ("version", "built", "calls"),
    [
        ("4.38.2 (torch 2.1)", "", 128),
        ("4.51.3", "", 128),
        ("4.57.1", "", 8),
        ("5.23.0", "", 0),
        ("", "2024-11", 128),
        ("", "2025-10-02", 8),
        ("", "", 0),
    ],
)
def test_transformers_calls_the_experts_that_its_release_does(version, built, calls):
    """All experts, the active ones, or none by itself: by version, else by the date of the row, else as today."""
    found = case("Qwen/Qwen3-30B-A3B", "transformers", engine_version=version, built=built)
    launches = expert_amounts(found)[0].nominal_s / LAUNCH_S / 48
    fixed, each = {128: (6, 10), 8: (9, 12), 0: (17, 0)}[calls]
    assert launches == pytest.approx(fixed + each * calls)


def test_a_batch_calls_more_experts_but_never_all_of_them_twice():
    """The experts that some sequence is routed to are called one by one, each once."""

    def launches(batch: int) -> float:
        found = case("Qwen/Qwen3-30B-A3B", "transformers", engine_version="4.57", workload=Workload(batch_size=batch))
        return expert_amounts(found)[0].nominal_s / LAUNCH_S / 48

    assert launches(1) < launches(4) < launches(64) <= 9 + 12 * 128


def test_layers_count_alike_where_an_engine_has_no_code_or_the_model_no_layers():
    """Without a rule a layer is a layer; with own kernels Gemma 3 counts more, for its further norms."""
    found = case("google/gemma-3-4b-it", "vllm").architecture
    assert llama_layers(found, "") == layer_count(found) == 34
    assert llama_layers(found, "kernels") > llama_layers(found, "")


def test_a_row_split_costs_a_gather_for_every_further_card():
    """Eight cards gather seven times what two do; a split by layers gathers nothing."""

    def rows(count: int, parallelism: str) -> list[float]:
        found = case("meta-llama/Llama-2-70b-hf", "llama.cpp", "a100", "q4_0", count=count,
                     workload=Workload(parallelism=parallelism))  # fmt: skip
        amounts = decode_amounts(found, decode_traffic(found.architecture, found.stored, found.workload))
        return [amount.nominal_s for amount in amounts if amount.term == "rows"]

    assert rows(4, "layer") == []
    assert rows(8, "row")[0] == pytest.approx(7 * rows(2, "row")[0])


def test_ollama_leaves_an_integrated_intel_gpu_alone():
    """Its CPU is told, with the key of the chip; llama.cpp takes the GPU by SYCL."""
    chip = find("core-ultra-7-258v").device
    left = case("meta-llama/Llama-3.2-1B", "ollama", "core-ultra-7-258v", "q4_k_m")
    used = case("meta-llama/Llama-3.2-1B", "llama.cpp", "core-ultra-7-258v", "q4_k_m")
    assert (left.backend, left.device.kind, left.device.key) == ("cpu", "cpu", chip.key)
    assert (used.backend, used.device) == ("sycl", chip)


def test_wide_cpus_reach_less_of_what_their_specification_says():
    """Of a server CPU less counts than of a desktop one, of a desktop GPU all."""
    narrow, wide, gpu = (find(name).device for name in ("ryzen-9-7950x", "epyc-9654", "rtx-4090"))
    shares = [
        (reachable_bytes_per_s(device) or 0) / (device.bandwidth_bytes_per_s or 1) for device in (narrow, wide, gpu)
    ]
    assert shares[0] > shares[1]
    assert shares[2] == 1


def test_an_apple_chip_made_for_its_gpu_gives_its_cores_less():
    """An M1 Max's cores read 243 of its 400 GB/s, a plain chip's nearly all."""
    plain, wide = (replace(cpu_part(find(name).device), cores=None) for name in ("apple-m2", "apple-m2-max"))
    nominal = (wide.bandwidth_bytes_per_s or 0) / (plain.bandwidth_bytes_per_s or 1)
    reached = (reachable_bytes_per_s(wide) or 0) / (reachable_bytes_per_s(plain) or 1)
    assert reached == pytest.approx((0.61 * nominal) ** tuned("cpu_bandwidth_power"))


def test_few_cores_reach_less_of_a_servers_memory():
    """A slice of 16 of a socket's 48 cores reads less than the socket, two threads more than one, less than twice,
    and no number of them more than the memory gives."""
    socket, part = (find(f"Intel Xeon Platinum 8488C {cores}-core").device for cores in (48, 16))
    whole, slice_of_it = (reachable_bytes_per_s(device) or 0 for device in (socket, part))
    assert 0.7 < slice_of_it / whole < 0.95
    few = [reachable_bytes_per_s(socket, threads) or 0 for threads in (1, 2, 4, 48, 96)]
    assert few == sorted(few)
    assert few[1] / few[0] == pytest.approx(2 ** (tuned("core_bytes_power") * tuned("cpu_bandwidth_power")), rel=0.02)
    assert few[3] == few[4] == whole


def test_a_laptops_lpddr_is_a_laptops_for_x86_alone():
    """Owners of x86 laptops often have slower DIMMs than the table's LPDDR; Arm chips have what is soldered on."""
    intel, arm = (cpu_part(find(name).device) for name in ("core-ultra-7-258v", "snapdragon-x-elite"))
    assert (memory_class(intel), memory_class(arm)) == ("laptop", "dimm")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Intel Core i7-8550U CPU @ 1.80GHz", "laptop"), ("13th Gen Intel Core i9-13980HX", "laptop"),
        ("11th Gen Intel Core i7-1165G7 @ 2.80GHz", "laptop"), ("Intel Core i7-3720QM CPU @ 2.60GHz", "laptop"),
        ("AMD Ryzen 7 7730U", "laptop"), ("AMD Ryzen AI Max+ 395 CPU", "laptop"), ("i7-13700k", "dimm"),
        ("Intel Core i7-7700T CPU @ 2.90GHz", "dimm"), ("AMD Ryzen 7 5700X3D 8-Core Processor", "dimm"),
        ("AMD Ryzen Threadripper 2970WX", "dimm"), ("Intel Xeon CPU E5-2697 v2", "dimm"), ("epyc-9654", "dimm"),
    ],
)  # fmt: skip
def test_a_part_number_tells_a_laptop(name: str, kind: str) -> None:
    """Makers end the numbers of laptops' parts in letters that no desktop's and no server's has."""
    assert memory_class(find(name).device) == kind


@pytest.mark.parametrize(
    ("model", "kernels"),
    [
        # eight, a matrix each, half a norm; of llama.cpp's Gemma 4 mixture two vectors a layer, one operation each
        ("google/gemma-4-26B-A4B-it", 30 * 8 + 235 + 270 / 2 + 60),
        # the sinks of attention are a vector
        ("openai/gpt-oss-20b", 24 * 8 + 120 + 48 / 2 + 24),
        # a state's three tensors take five each
        ("Qwen/Qwen3.6-35B-A3B", 40 * 8 + 390 + 130 / 2 + 90 * 5),
    ],
)
def test_a_vector_takes_an_operation_and_a_states_tensor_several(model, kernels):
    """What engines of own kernels launch for a layer, counted on paper."""
    found = case(model, "llama.cpp", precision="q4_k_m").architecture
    assert llama_layers(found, "kernels") == pytest.approx(kernels / (8 + 7 + 2 / 2))


def test_outside_captured_graphs_the_host_launches_every_operation():
    """vLLM 0.4 captured steps up to 8,192 tokens; beyond, and where its flags forbid graphs, the host sets the pace."""

    def launching(context_tokens: int, **kwargs: Any) -> set[str]:
        found = case("Qwen/Qwen3-8B", "vllm", workload=Workload(context_tokens=context_tokens), **kwargs)
        amounts = decode_amounts(found, decode_traffic(found.architecture, found.stored, found.workload))
        return {amount.term for amount in amounts if amount.part == LAUNCH}

    assert launching(4096, engine_version="0.4.2") == {"launch"}
    assert launching(16384, engine_version="0.4.2") == {"eager_launch"}
    assert launching(16384, engine_version="0.9") == {"launch"}
    assert launching(4096, engine_version="0.9", graphs=False) == {"eager_launch"}


@pytest.mark.parametrize(
    ("version", "built", "operations"),
    [
        ("b9000", "2026-05", 0),
        ("b8000", "2026-02", 22),
        ("b7423", "2025-12-15", 60),
        ("", "2025-12-31", 22),
        ("", "2025-11-30", 60),
        ("", "", 0),
    ],
)
def test_llama_cpp_wrote_a_linear_state_as_a_graph_before_it_had_an_operation_for_it(version, built, operations):
    """Qwen3-Next of December 2025 launched some sixty small operations a layer with a linear state (36 of its 48)."""
    model = "Qwen/Qwen3-Next-80B-A3B-Instruct"
    found = case(model, "llama.cpp", precision="q4_k_m", engine_version=version, built=built)
    assert unfused_layers(found) == pytest.approx(36 * operations / (8 + 7 + 2 / 2))
    terms = {
        one.term: one for one in decode_amounts(found, decode_traffic(found.architecture, found.stored, found.workload))
    }
    whole = llama_layers(found.architecture, "kernels") + 36 * operations / 16
    assert terms["launch"].nominal_s == pytest.approx(whole * LAYER_S)


def test_a_model_without_a_linear_state_launches_as_much_in_every_build():
    """Attention and mamba's scan are operations of their own since before."""
    dense, mamba = ("Qwen/Qwen3-8B", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16")
    found = [
        case(model, "llama.cpp", precision="q4_k_m", engine_version="b7423", built="2025") for model in (dense, mamba)
    ]
    assert [unfused_layers(one) for one in found] == [0, 0]


@pytest.mark.parametrize(
    ("device", "backend", "precision", "own"),
    [
        ("rx-7900-xtx", "vulkan", "bf16", "own kernel: llama.cpp vulkan bf16"),
        ("rx-7900-xtx", "vulkan", "q4_k_m", None),
        ("rtx-4090", "cuda", "bf16", None),
    ],
)
def test_a_kernel_of_its_own_is_a_group_where_a_backend_has_one(device, backend, precision, own):
    """Vulkan's bf16 is not its fp16; CUDA's is."""
    assert case("Qwen/Qwen3-8B", "llama.cpp", device, precision, backend=backend).groups.get("own kernel") == own
