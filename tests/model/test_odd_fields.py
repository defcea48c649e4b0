"""Fields that real files write otherwise than their class: lists by layer, nested contexts, loops, flat files."""

from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.precision.store import store
from sizer.speed.traffic import decode_traffic
from sizer.workload import Workload

HUNYUAN = {
    "architectures": ["HunYuanMoEV1ForCausalLM"],
    "model_type": "hunyuan_v1_moe",
    "hidden_size": 4096,
    "intermediate_size": 3072,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "attention_head_dim": 128,
    "head_dim": 128,
    "vocab_size": 128167,
    "num_experts": 64,
    "use_mixed_mlp_moe": True,
    "use_qk_norm": True,
    "tie_word_embeddings": True,
}


def _cache_gib(name: str, tokens: int) -> float:
    entry = catalogue.find(name)
    assert entry is not None
    mixers = build(catalogue.load(entry), name).mixer_counts
    values = sum(count * mixer.kv_elements_per_token * mixer.cached_tokens(tokens) for mixer, count in mixers.items())
    return 2 * values / 2**30


def test_sizes_of_experts_in_lists_of_one_value_a_layer() -> None:
    """Hunyuan-A13B as published: 80.4B, of which 12.7B run; scalars give the same."""
    lists = {"moe_topk": [8] * 32, "moe_intermediate_size": [3072] * 32, "num_shared_expert": [1] * 32}
    scalars = {"moe_topk": 8, "moe_intermediate_size": 3072, "num_shared_expert": 1}
    for more in (lists, scalars):
        built = build({**HUNYUAN, **more}, "hunyuan")
        assert (built.total_params, built.active_params) == (80_393_183_232, 12_747_448_320)


def test_a_list_may_differ_by_layer() -> None:
    """A layer that routes to four experts instead of eight has fewer active parameters than its neighbours."""
    lists = {"moe_topk": [4] + [8] * 31, "moe_intermediate_size": [3072] * 32, "num_shared_expert": [1] * 32}
    built = build({**HUNYUAN, **lists}, "hunyuan")
    assert 12_747_448_320 - built.active_params == 4 * 3 * 4096 * 3072


def test_the_context_of_an_omni_model_lies_two_levels_down() -> None:
    """`thinker_config.text_config.max_position_embeddings` is the context."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 90}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    text = {"model_type": "qwen2_5_omni_text", **sizes, **heads, "max_position_embeddings": 32768}
    config = {
        "model_type": "qwen2_5_omni",
        "architectures": ["Qwen2_5OmniForConditionalGeneration"],
        "thinker_config": {"model_type": "qwen2_5_omni_thinker", "text_config": text},
    }
    assert build(config, "omni").max_context_tokens == 32768


def test_looped_layers_cache_and_read_once_a_pass() -> None:
    """Ouro runs its 24 layers four times: four caches, four times the layers' weights read, one copy stored."""
    assert _cache_gib("ByteDance/Ouro-1.4B", 32768) == 24.0
    assert _cache_gib("Nanbeige/Nanbeige4.2-3B", 32768) == 5.5
    entry = catalogue.find("ByteDance/Ouro-1.4B")
    assert entry is not None
    config = catalogue.load(entry)
    four, one = build(config, "four"), build({**config, "total_ut_steps": 1}, "one")
    assert four.total_params == one.total_params
    read = [
        decode_traffic(model, store(model, "bf16"), Workload()).stage("dense_mlp").weight_bytes for model in (four, one)
    ]
    assert read[0] == 4 * read[1]


def test_a_wrapper_without_a_text_config_has_its_text_on_top() -> None:
    """Step-3.7: 12 whole layers and 33 windows of 512, as the flat file says."""
    assert round(_cache_gib("stepfun-ai/Step-3.7-Flash", 32768), 3) == 1.564


def test_doge_slides_where_its_config_has_a_window() -> None:
    """transformers gives every layer of Doge the window that the config names; published files name none."""
    sizes = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "vocab_size": 90}
    config = {"model_type": "doge", "architectures": ["DogeForCausalLM"], **sizes, "num_attention_heads": 4}
    for window, cached in ((16, 16), (None, 100)):
        (mixer,) = build({**config, "num_key_value_heads": 2, "sliding_window": window}, "doge").mixer_counts
        assert mixer.cached_tokens(100) == cached
