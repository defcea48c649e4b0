"""Traffic of a step: exact counts, and the properties that any counting must have."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sizer.model.architecture import Architecture, Mixer, MixerKind
from sizer.model.families import build
from sizer.precision.store import store
from sizer.speed.attended import attended_tokens, causal_attended_tokens, copied_cache_bytes
from sizer.speed.routing import distinct_experts
from sizer.speed.traffic import decode_traffic, prefill_traffic
from sizer.workload import Workload

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 100,
    "max_position_embeddings": 256, "tie_word_embeddings": False, "rms_norm_eps": 1e-6, "torch_dtype": "bfloat16",
}  # fmt: skip
MIXTRAL = {
    **LLAMA, "model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "num_local_experts": 8,
    "num_experts_per_tok": 2,
}  # fmt: skip


def _model(config: dict[str, object] = LLAMA, **changes: object) -> Architecture:
    return build({**config, **changes}, "test/model")


def test_decode_reads_every_weight_but_the_embedding_table() -> None:
    """A dense untied model reads all its weights less the table, of which it reads one row."""
    model = _model()
    stored = store(model, "bf16")
    table = next(part for part in stored.tensors if part.tensor.role.value == "embedding")
    traffic = decode_traffic(model, stored, Workload(prompt_tokens=8, output_tokens=0, context_tokens=8))
    assert traffic.weight_bytes == stored.weights_bytes - table.size_bytes + 64 * 2


def test_decode_reads_keys_and_values_of_the_whole_context() -> None:
    """The cache read is 2 x layers x KV heads x head_dim x bytes x context."""
    model = _model()
    traffic = decode_traffic(model, store(model, "bf16"), Workload(10, 0, 10))
    assert traffic.stage("kv").cache_bytes == 2 * 3 * 2 * 16 * 2 * 10


def test_decode_flops_are_two_a_weight_and_the_attention() -> None:
    """2 FLOPs a multiplied weight (no norm, no table), and 2 x heads x (qk + v) x context for attention."""
    model = _model()
    matrices = 3 * (64 * (64 + 32 + 32 + 64) + 3 * 64 * 96) + 64 * 100
    traffic = decode_traffic(model, store(model, "bf16"), Workload(10, 0, 10))
    assert traffic.flops == 2 * matrices + 3 * 2 * 4 * (16 + 16) * 10


def test_tied_table_is_read_once_as_the_head() -> None:
    """A tied model reads its table once, for the head, and one row more for the token."""
    model = _model(tie_word_embeddings=True)
    stored = store(model, "bf16")
    traffic = decode_traffic(model, stored, Workload(1, 0, 1))
    assert traffic.weight_bytes == stored.weights_bytes + 64 * 2
    assert traffic.stage("lm_head").weight_bytes == 100 * 64 * 2


@pytest.mark.parametrize(("kv_heads", "repeats"), [(4, 0), (2, 2), (1, 4)])
def test_concatenated_cache_is_copied_and_repeated_for_every_head(kv_heads: int, repeats: int) -> None:
    """Concatenation reads and writes the cache; heads that share it are written out, and read, once each."""
    workload = Workload(prompt_tokens=700, output_tokens=1)
    model = _model(num_key_value_heads=kv_heads)
    cached = decode_traffic(model, store(model, "bf16"), workload).cache_bytes
    assert copied_cache_bytes(model, workload, repeats=True) == 2 * cached + 2 * repeats * cached


def test_quantized_cache_reads_fewer_bytes() -> None:
    """q8_0 stores 34 bytes for 32 values: the cache read shrinks by that ratio."""
    model = _model()
    stored = store(model, "bf16")
    plain = decode_traffic(model, stored, Workload(64, 0, 64)).cache_bytes
    packed = decode_traffic(model, stored, Workload(64, 0, 64, kv_precision="q8_0")).cache_bytes
    assert packed * 64 == plain * 34


@given(experts=st.integers(1, 512), active=st.integers(1, 64), tokens=st.integers(1, 4096))
def test_distinct_experts_lie_between_one_tokens_and_all(experts: int, active: int, tokens: int) -> None:
    """Never fewer than one token's experts, never more than there are, nor than all tokens could ask for."""
    touched = distinct_experts(experts, active, tokens)
    assert min(active, experts) - 1e-9 <= touched <= min(experts, tokens * active) + 1e-9


@given(tokens=st.integers(2, 512), correlation=st.floats(0, 1))
def test_correlated_routing_touches_fewer_experts(tokens: int, correlation: float) -> None:
    """Tokens that are routed alike touch no more experts than independent ones."""
    assert distinct_experts(128, 8, tokens, correlation) <= distinct_experts(128, 8, tokens) + 1e-9


def test_batch_reads_weights_once_and_the_cache_of_each_sequence() -> None:
    """Dense weights are read once a step whatever the batch; caches and FLOPs grow with it."""
    model = _model()
    stored = store(model, "bf16")
    one, four = (decode_traffic(model, stored, Workload(16, 0, 16, batch_size=size)) for size in (1, 4))
    assert four.stage("dense_mlp").weight_bytes == one.stage("dense_mlp").weight_bytes
    assert four.cache_bytes == 4 * one.cache_bytes
    assert four.flops == 4 * one.flops


def test_experts_touched_follow_the_batch() -> None:
    """One token reads 2 of 8 experts; many sequences read nearly all of them, once."""
    model = _model(MIXTRAL)
    stored = store(model, "bf16")
    one, many = (decode_traffic(model, stored, Workload(1, 0, 1, batch_size=size)) for size in (1, 512))
    assert many.stage("experts").weight_bytes == pytest.approx(4 * one.stage("experts").weight_bytes, rel=1e-6)
    assert many.stage("router").weight_bytes == one.stage("router").weight_bytes


def test_verification_of_a_mixture_reads_more_experts_than_one_token() -> None:
    """Checking five tokens at once is nearly free for a dense model and costs experts for a mixture."""
    dense, mixture = _model(), _model(MIXTRAL)
    work = Workload(1, 0, 1)
    ratios = []
    for model in (dense, mixture):
        stored = store(model, "bf16")
        once = decode_traffic(model, stored, work).weight_bytes
        ratios.append(decode_traffic(model, stored, work, tokens_per_sequence=5).weight_bytes / once)
    assert ratios[0] < 1.05
    assert ratios[1] > 1.5


def test_expanded_latent_attention_costs_more_flops_than_absorbed() -> None:
    """Rebuilding keys and values from the latent costs FLOPs for every cached token, and reads the same cache."""
    from sizer.speed.attended import attention_flops, expansion_flops

    mixer = Mixer(MixerKind.MLA, heads=16, qk_head_dim=192, v_head_dim=128, latent_elements=576)
    absorbed = attention_flops(mixer, 1000)
    assert attention_flops(mixer, 1000, expanded=True) + expansion_flops(mixer, 1000) > absorbed


@given(window=st.integers(1, 64), prompt=st.integers(1, 128), cached=st.integers(0, 128))
def test_causal_attention_counts_each_token_and_what_it_sees(window: int, prompt: int, cached: int) -> None:
    """The sum over tokens of the entries that each sees, itself included, within the window."""
    mixer = Mixer(MixerKind.SLIDING, heads=1, kv_heads=1, qk_head_dim=8, v_head_dim=8, window_tokens=window)
    expected = sum(min(window, cached + token) for token in range(1, prompt + 1))
    assert causal_attended_tokens(mixer, prompt, cached) == expected


def test_window_bounds_what_a_decoded_token_reads() -> None:
    """A sliding layer reads its window, however long the context."""
    mixer = Mixer(MixerKind.SLIDING, heads=1, kv_heads=1, qk_head_dim=8, v_head_dim=8, window_tokens=32)
    assert attended_tokens(mixer, 10_000) == 32


@given(prompt=st.integers(1, 300), chunk=st.integers(1, 300))
def test_chunked_prefill_does_the_same_work_and_reads_weights_once_a_chunk(prompt: int, chunk: int) -> None:
    """FLOPs do not depend on the chunk; dense weights are read once for each chunk."""
    model = _model()
    stored = store(model, "bf16")
    work = Workload(prompt, 1, prompt + 1)
    whole = prefill_traffic(model, stored, work)
    parts = prefill_traffic(model, stored, work, chunk_tokens=chunk)
    chunks = -(-prompt // min(chunk, prompt))
    assert parts.stage("dense_mlp").weight_bytes == chunks * whole.stage("dense_mlp").weight_bytes
    assert parts.stage("dense_mlp").flops == pytest.approx(whole.stage("dense_mlp").flops, abs=chunks)


def test_prefill_runs_the_head_for_the_last_token_only() -> None:
    """The head's FLOPs are those of one token a sequence."""
    model = _model()
    traffic = prefill_traffic(model, store(model, "bf16"), Workload(50, 1, 51, batch_size=3))
    assert traffic.stage("lm_head").flops == 3 * 2 * 64 * 100


def test_vision_towers_are_not_read_at_decode() -> None:
    """A tower beside the text model adds nothing to a decoded token."""
    from sizer.model.architecture import Module, Role, Tensor, Tower

    model = _model()
    tower = Tensor("vision", (1000, 1000), Role.OTHER, Module.LINEAR, tower=Tower.VISION)
    seeing = replace(model, tensors=(*model.tensors, tower))
    work = Workload(4, 0, 4)
    assert decode_traffic(seeing, store(seeing, "bf16"), work) == decode_traffic(model, store(model, "bf16"), work)
