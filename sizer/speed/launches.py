"""How many device operations a step launches: layers differ in them, and what engines spend on a layer with them."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

from sizer.device.records import is_cpu
from sizer.engine.engines import operation_costs
from sizer.engine.releases import rule_in_force, rules
from sizer.formats import format_of
from sizer.model.architecture import Architecture, MixerKind, MlpKind, Module, Role, Tensor, Tower
from sizer.speed.case import EAGER, SpeedCase, runtime_rule, standing
from sizer.speed.kernels import names_one, precision_class
from sizer.speed.law import LAUNCH, OVERHEAD, Amount
from sizer.speed.routing import distinct_experts
from sizer.tables import row_of_key
from sizer.tuning import tuned

LAYER_S, LAUNCH_S = 1e-4, 1e-5
"""Seconds that terms of layers and of launches are told in."""
REPLAYED_LAUNCH_S = 2e-6
"""The same of a kernel that a captured graph launches and that has next to nothing to do: two microseconds on an H20,
by the rows that `data/expert_loops.csv` names."""
LLAMA_LAYER = {"base": 1, "linear": 7, "rms_norm": 2}
"""The layer that others are measured in: seven matrices and two norms."""
SERVER_RATING = 2927
"""The rating of a host that counts as it is: of the servers that Hopper cards sit in (`data/usual_hosts.csv`)."""
FLOAT_BITS, EXPERT_MATRICES = 16, 3
"""From how many bits a weight on a matrix is not quantized; and the matrices of an expert: gate, up and down."""
_OF_A_STATE = frozenset({Role.SSM, Role.CONV, Role.SSM_IN, Role.SSM_OUT})
_MULTIPLYING = frozenset({Module.LINEAR, Module.LINEAR_SUBCLASS, Module.CONV1D})


def layer_count(architecture: Architecture) -> float:
    """Decoder layers; for a model known by its name alone, those that models of its size usually have.

    The guess is 32 layers at 7 B, growing with a power of the parameters (24 at 0.5 B to 80 at 70 B), of the
    geometric mean of total and active parameters for a mixture of experts.
    """
    if architecture.layers:
        return float(architecture.num_layers * architecture.passes)
    size: float = (architecture.total_params * architecture.active_params) ** 0.5
    layers: float = 32 * (size / 7e9) ** tuned("layers_power")
    return min(128.0, max(8.0, layers))


@lru_cache(maxsize=256)
def moe_layer_count(architecture: Architecture) -> float:
    """Layers with routed experts."""
    if architecture.layers:
        return float(sum(layer.mlp is MlpKind.MOE for layer in architecture.layers))
    return layer_count(architecture) if architecture.active_params < architecture.total_params else 0.0


@lru_cache(maxsize=256)
def llama_layers(architecture: Architecture, code: str) -> float:
    """The layers of a model in layers of Llama: as many of these launch as many operations.

    `code` says how the engine runs a layer (a row of `data/layer_operations.csv`): `eager` takes eight operations for
    an RMS norm, `kernels` half a one. Expert stacks are not among them: `expert_amounts` counts those. Without a code,
    and where only the model's name is known, all layers count alike.
    """
    layers = layer_count(architecture)
    costs = operation_costs(code)
    if costs is None or not architecture.layers:
        return layers
    parts = _layer_parts(architecture)
    return architecture.passes * _operations(costs, parts) / _operations(costs, LLAMA_LAYER)


def prompt_layers(architecture: Architecture, code: str) -> float:
    """The same for a prompt, by the code's row of its own where it has one."""
    own = f"{code} of a prompt"
    return llama_layers(architecture, code if operation_costs(own) is None else own)


def unfused_layers(case: SpeedCase) -> float:
    """What a release launches beyond those operations for layers with a linear state, in layers of Llama.

    `data/state_graphs.csv` tells it where a runtime first wrote the state's rule as a graph of small operations.
    """
    rule, costs = runtime_rule(case, "state_graphs.csv"), operation_costs(case.engine.layer_operations)
    if rule is None or costs is None:
        return 0.0
    states = sum(n for mixer, n in case.architecture.mixer_counts.items() if mixer.kind is MixerKind.LINEAR)
    return states * int(rule["operations"]) / _operations(costs, LLAMA_LAYER)


@standing
def quantized_layers(case: SpeedCase) -> float:
    """What a runtime launches for its quantized matrices beside the one operation of each, in layers of Llama.

    `data/linear_launches.csv` tells it of kernels that are called through code of many operations.
    """
    launches, costs = _linear_launches(case), operation_costs(case.engine.layer_operations)
    if not launches or costs is None:
        return 0.0
    packed = (part.tensor for part in case.stored.tensors if format_of(part.format).bits_per_weight < FLOAT_BITS)
    matrices = sum(len(one.layers) for one in packed if one.tower is Tower.TEXT and one.module in _MULTIPLYING)
    return case.architecture.passes * matrices * launches / _operations(costs, LLAMA_LAYER)


@standing
def host_pace(case: SpeedCase) -> float:
    """How many times as fast as a server of 2023 the usual host of a card launches operations, where each is launched
    by itself: with the rating of one thread of its core (`data/usual_hosts.csv`), to the power `host_power`."""
    if case.engine.layer_operations != EAGER or is_cpu(case.device):
        return 1.0
    told = row_of_key("usual_hosts.csv", case.device.key)
    return float((float(told["rating"]) / SERVER_RATING) ** tuned("host_power")) if told else 1.0


def _linear_launches(case: SpeedCase) -> int:
    """Operations of a quantized matrix beside its own; 0 where no row tells of its kernel. The kernels are of packages
    beside the runtime, whose versions no case tells: the date decides."""
    kernel = precision_class(case.stored.precision)[0]
    told = rules("linear_launches.csv", "runtime").get(case.engine.runtime, ())
    rows = [row for row in told if kernel in row["kernels"].split()]
    return int(rule_in_force(rows, date=case.built)["launches"]) if rows else 0


def _operations(costs: dict[str, float], parts: dict[str, int]) -> float:
    return sum(costs[part] * count for part, count in parts.items())


def _layer_parts(architecture: Architecture) -> dict[str, int]:
    """What the decoder's layers are made of beside expert stacks: matrices, norms by kind, and what else they hold."""
    running = [tensor for tensor in architecture.tensors if tensor.tower is Tower.TEXT and not tensor.checkpoint_only]
    biases = {tensor.name for tensor in running if tensor.role is Role.BIAS or tensor.name.endswith(".bias")}
    parts: Counter[str] = Counter(base=architecture.num_layers)
    for tensor in running:
        if tensor.name not in biases and tensor.module is not Module.EXPERT_STACK:
            parts[_part(tensor, biases)] += len(tensor.layers)
    return parts


def _part(tensor: Tensor, biases: set[str]) -> str:
    if tensor.module is Module.NORM:
        return "layer_norm" if tensor.name.removesuffix("weight") + "bias" in biases else "rms_norm"
    if tensor.module in _MULTIPLYING:
        return "linear"
    if tensor.role in _OF_A_STATE:
        return "state"
    return "mixing" if len(tensor.shape) > 1 else "vector"


def expert_amounts(case: SpeedCase) -> list[Amount]:
    """What routed experts cost beside their bytes and FLOPs: launches where an engine's code calls them one by one.

    `data/expert_calls.csv` tells how many experts a release of such an engine calls, and its device operations for each
    and for a layer beyond those of a dense one. Elsewhere a layer with experts costs what routing and sorting take, and
    what a kernel that is launched for each of them does.
    """
    layers, experts = moe_layer_count(case.architecture), case.architecture.experts or 0
    rule = _expert_calls_rule(case)
    if rule is None:
        looped = layers * _loop_launches(case, experts) * REPLAYED_LAUNCH_S
        found = [Amount("moe_layers", OVERHEAD, layers * LAYER_S)]
        return [*found, Amount("looped_experts", OVERHEAD, looped)] if looped else found
    calls = {"every": experts, "chosen": _chosen_experts(case, experts), "none": 0}[rule["calls"]]
    each = int(rule["launches_per_call"]) + EXPERT_MATRICES * _linear_launches(case)
    launches = int(rule["launches_per_layer"]) + each * calls
    return [Amount("expert_calls", LAUNCH, layers * launches * LAUNCH_S / host_pace(case))]


def _loop_launches(case: SpeedCase, experts: int) -> float:
    """Kernels that a release launches for the experts of a layer, where one of its kernel of the precision holds but
    one expert's products: for every expert, or for those that tokens chose (`data/expert_loops.csv`)."""
    rule = runtime_rule(case, "expert_loops.csv")
    if rule is None or not names_one(rule["kernels"], {precision_class(case.stored.precision)[0]}):
        return 0.0
    chosen = rule["experts"] == "chosen"
    looped = _chosen_experts(case, experts) if chosen else experts
    return looped * int(rule["launches"])


def _chosen_experts(case: SpeedCase, experts: int) -> float:
    return distinct_experts(experts, case.architecture.active_experts or 0, case.workload.batch_size)


def _expert_calls_rule(case: SpeedCase) -> dict[str, str] | None:
    """The rule of an engine's version; where it is not known or another runtime's, that of its date."""
    return case.engine.expert_calls(case.engine_version, case.built)
