"""Activations against what transformers really holds: every storage of a forward pass followed on the meta device."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
from publishedmodels import catalogued

from sizer.device.records import Device, Target
from sizer.engine.memory_rules import LAYER_CODES, EngineMemory, engine_memory
from sizer.memory.activations import activation_values_per_token
from sizer.memory.case import Case
from sizer.memory.footprint import footprint, kv_cache_bytes
from sizer.model.architecture import Architecture
from sizer.model.families import build
from sizer.precision.store import store
from sizer.units import GIB
from sizer.workload import Split, Workload

SMALL: dict[str, Any] = {
    "hidden_size": 512,
    "intermediate_size": 2048,
    "num_hidden_layers": 3,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "vocab_size": 1024,
    "max_position_embeddings": 65536,
}
ROUTED: dict[str, Any] = {
    "num_experts": 16,
    "num_local_experts": 16,
    "num_experts_per_tok": 4,
    "moe_intermediate_size": 512,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaForCausalLM", {}),
    "qwen2": ("Qwen2ForCausalLM", {}),
    "qwen3": ("Qwen3ForCausalLM", {}),
    "mistral": ("MistralForCausalLM", {"sliding_window": 256}),
    "phi3": ("Phi3ForCausalLM", {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}),
    "gemma2": ("Gemma2ForCausalLM", {"sliding_window": 256}),
    "starcoder2": ("Starcoder2ForCausalLM", {"hidden_act": "gelu"}),
    "mixtral": ("MixtralForCausalLM", ROUTED),
    "qwen3_moe": ("Qwen3MoeForCausalLM", ROUTED),
    "olmoe": ("OlmoeForCausalLM", ROUTED | {"intermediate_size": 512, "num_key_value_heads": 8}),
}
SHORT, LONG = 1024, 4096


def plain_case(architecture: Architecture, memory: EngineMemory, work: Workload) -> Case:
    """A model in bf16 on one card."""
    card = Target(Device("card", "Card", "maker", "gpu", 80 * GIB, 1e12))
    return Case(architecture, store(architecture, "bf16"), work, card, memory, Split.LAYER, False, False)


class LiveBytes:
    """Follows the storages that operations return, and the most that were alive at once."""

    def __init__(self, model: Any) -> None:
        self.known = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
        self.alive: dict[int, int] = {}
        self.peak_bytes = 0

    def add(self, storage: Any) -> None:
        """Counts a storage until it is collected."""
        key = storage._cdata
        if key in self.known or key in self.alive:
            return
        self.alive[key] = storage.nbytes()
        self.peak_bytes = max(self.peak_bytes, sum(self.alive.values()))
        weakref.finalize(storage, self.alive.pop, key, None)


def forward_bytes(config: dict[str, Any], prompt_tokens: int) -> tuple[int, int]:
    """(peak, left at the end) of one prefill without a copy of scores, as fused attention kernels run it."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    def fused(_module: Any, query: Any, _key: Any, value: Any, *_rest: Any, **_options: Any) -> tuple[Any, None]:
        return torch.empty_like(query.transpose(1, 2)[..., : value.shape[-1]]), None

    transformers.AttentionInterface.register("fused", fused)
    transformers.AttentionMaskInterface.register("fused", lambda *_args, **_options: None)
    described = transformers.AutoConfig.for_model(**config)
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(
            described, attn_implementation="fused", dtype=torch.bfloat16
        ).eval()
    live = LiveBytes(model)

    class Following(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for leaf in tree_leaves(out):
                if isinstance(leaf, torch.Tensor):
                    live.add(leaf.untyped_storage())
            return out

    with torch.no_grad(), Following():
        output = model(torch.zeros(1, prompt_tokens, dtype=torch.long, device="meta"), logits_to_keep=1)
    left_bytes = sum(live.alive.values())
    del output
    return live.peak_bytes, left_bytes


@pytest.mark.oracle
@pytest.mark.parametrize("model_type", MODELS)
def test_a_layer_holds_what_transformers_holds(model_type: str) -> None:
    """What a longer prompt adds to the peak, above the cache, is our values a token within 5 %."""
    name, special = MODELS[model_type]
    config = SMALL | special | {"model_type": model_type, "architectures": [name]}
    short, long = forward_bytes(config, SHORT), forward_bytes(config, LONG)
    grown = (long[0] - long[1]) - (short[0] - short[1])
    measured_values = grown / (LONG - SHORT) / 2
    ours = activation_values_per_token(build(config, "model"), LAYER_CODES["stacked modules"])
    assert ours == pytest.approx(measured_values, rel=0.05)


@pytest.mark.oracle
def test_a_window_holds_the_whole_prompt_until_the_next_step() -> None:
    """What transformers leaves after reading a prompt is the cache of every token, in layers with a window too."""
    config = SMALL | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 256}
    left_bytes = forward_bytes(config, LONG)[1] - forward_bytes(config, SHORT)[1]
    full = build(config | {"sliding_window": None}, "model")
    memory = engine_memory("transformers")
    assert memory is not None
    sizes = [kv_cache_bytes(plain_case(full, memory, Workload(context_tokens=tokens))) for tokens in (SHORT, LONG)]
    assert left_bytes == sizes[1] - sizes[0]


@pytest.mark.parametrize(
    ("model_id", "version", "prompt_tokens", "measured_gib"),
    [
        ("Qwen/Qwen1.5-0.5B-Chat", "4.37.2", 1, 1.46),
        ("Qwen/Qwen1.5-0.5B-Chat", "4.37.2", 30720, 30.04),
        ("Qwen/Qwen2-7B-Instruct", "4.38.2", 1, 14.92),
        ("Qwen/Qwen2-7B-Instruct", "4.38.2", 14336, 27.71),
        ("Qwen/Qwen2.5-7B-Instruct", "4.46.0", 14336, 16.91),
    ],
)
def test_published_peaks_by_version(model_id: str, version: str, prompt_tokens: int, measured_gib: float) -> None:
    """Qwen's own tables (docs/source/benchmark of QwenLM/Qwen3), bf16, 2048 new tokens, allocator's peak: within 2 %.

    Before 4.45 each layer held cosines and sines for 32768 positions and the prompt's logits stood in memory; before
    4.42 the cache was there twice while a step ran.
    """
    architecture = catalogued(model_id)
    memory = engine_memory("transformers", version)
    assert memory is not None
    asked = Workload(prompt_tokens, 2048, prompt_tokens + 2048)
    needed = footprint(plain_case(architecture, memory, asked))
    allocated = needed.total_bytes - needed.overhead.size_bytes
    assert allocated == pytest.approx(measured_gib * GIB, rel=0.02)


def test_an_engine_of_its_own_numbers_its_own_versions() -> None:
    """Version 0.8 of an engine that allocates like another is not the other's version 0.8."""
    assert engine_memory("candle", "0.8") == engine_memory("candle")
    assert engine_memory("transformers", "4.30") != engine_memory("transformers")
