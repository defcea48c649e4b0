"""Encoders of texts: to the parameter what transformers builds, without cache, without decoding."""

from pathlib import Path

import pytest
from clirun import Run

from sizer.model.families import build

SMALL = {
    "hidden_size": 48,
    "num_hidden_layers": 5,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "vocab_size": 300,
    "max_position_embeddings": 66,
    "pad_token_id": 0,
}
CASES = [
    ("bert", "BertModel", {}),
    ("bert", "BertForSequenceClassification", {"id2label": {"0": "a"}}),
    ("bert", "BertForMaskedLM", {}),
    ("roberta", "RobertaModel", {}),
    ("roberta", "RobertaForSequenceClassification", {}),
    ("xlm-roberta", "XLMRobertaModel", {"type_vocab_size": 1}),
    ("xlm-roberta", "XLMRobertaForSequenceClassification", {"id2label": {"0": "a"}, "type_vocab_size": 1}),
    ("xlm-roberta", "XLMRobertaForMaskedLM", {}),
    ("modernbert", "ModernBertModel", {}),
    ("modernbert", "ModernBertForSequenceClassification", {"id2label": {"0": "a"}}),
    ("modernbert", "ModernBertForMaskedLM", {}),
    ("mpnet", "MPNetModel", {}),
    ("distilbert", "DistilBertModel", {"dim": 48, "n_layers": 5, "n_heads": 4, "hidden_dim": 80}),
]


@pytest.mark.parametrize(
    ("model_type", "name", "more"), CASES, ids=lambda value: value if isinstance(value, str) else ""
)
def test_encoders_count_what_transformers_builds(model_type: str, name: str, more: dict[str, object]) -> None:
    """Each class has the parameters of its meta-device model; none caches and none decodes."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    fields = {"model_type": model_type, "architectures": [name], **SMALL, **more}
    config = transformers.CONFIG_MAPPING[model_type].from_dict(dict(fields))
    with torch.device("meta"):
        oracle = getattr(transformers, name)(config)
    built = build(fields, name)
    assert built.total_params == sum(parameter.numel() for parameter in oracle.parameters())
    assert not built.decodes
    assert all(mixer.cached_tokens(512) == 0 for mixer in built.mixer_counts)


def test_modernbert_is_local_but_on_every_third_layer() -> None:
    """Layers 0, 3, 6 … attend to the whole text, the others to 128 tokens."""
    built = build({"model_type": "modernbert", "architectures": ["ModernBertModel"], **SMALL}, "modern")
    assert [layer.mixers[0].window_tokens for layer in built.layers] == [None, 128, 128, None, 128]


def test_a_bert_that_is_a_decoder_caches() -> None:
    """`is_decoder` makes the attention causal: it caches and decodes."""
    fields = {"model_type": "bert", "architectures": ["BertLMHeadModel"], "is_decoder": True, **SMALL}
    built = build(fields, "decoder")
    assert built.decodes
    assert any(mixer.cached_tokens(512) for mixer in built.mixer_counts)


def test_roberta_positions_begin_behind_the_padding() -> None:
    """Of 8,194 rows two are the padding's: texts have 8,192 tokens at most."""
    fields = {"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"], **SMALL, "pad_token_id": 1}
    assert build({**fields, "max_position_embeddings": 8194}, "bge").max_context_tokens == 8192


def test_a_causal_stack_without_its_head_is_an_embedder() -> None:
    """`MistralModel` is Mistral without its head: it decodes nothing, and keeps its own attention."""
    fields = {"model_type": "mistral", **SMALL, "num_key_value_heads": 2, "sliding_window": None}
    bare = build({**fields, "architectures": ["MistralModel"]}, "embedder")
    whole = build({**fields, "architectures": ["MistralForCausalLM"]}, "chat")
    assert whole.total_params - bare.total_params == 300 * 48
    assert not bare.decodes
    assert bare.mixer_counts == whole.mixer_counts


@pytest.mark.parametrize(
    ("name", "total"), [("BAAI/bge-m3", 567_754_752), ("nomic-ai/nomic-embed-text-v1.5", 136_731_648)]
)
def test_an_encoder_answers_without_cache_and_decoding(name: str, total: int) -> None:
    """By name: published parameters, no cache, decode null, texts a second that grow with a batch."""
    import sizer

    one, many = (
        sizer.estimate(name, device="rtx-4090", precision="fp16", prompt=512, batch=batch) for batch in (1, 32)
    )
    assert one.model.total_params == total
    for answer in (one, many):
        estimate = answer.estimates[0]
        assert estimate.memory.kv_cache_bytes == 0
        assert estimate.decode is None
        assert estimate.request.tokens_per_s is None
    first, second = one.estimates[0].prefill.texts_per_s, many.estimates[0].prefill.texts_per_s
    assert first is not None
    assert second is not None
    assert second > first


def test_mpnet_positions_begin_behind_the_padding() -> None:
    """Of all-mpnet-base-v2's 514 rows two are the padding's."""
    from sizer.model.read.resolve import resolve

    assert resolve("sentence-transformers/all-mpnet-base-v2", offline=True).architecture.max_context_tokens == 512


def test_advice_on_an_encoder_counts_texts() -> None:
    """`recommend` and `hardware` rank an encoder by the texts that it reads, and start no chat with it."""
    import sizer

    advice = sizer.recommend("BAAI/bge-m3", device="rtx-4090", offline=True)
    assert "texts/s" in advice.recommendation.reason
    assert "tokens/s" not in advice.recommendation.reason
    assert advice.command is not None
    assert "--embedding" in advice.command
    assert "llama-cli" not in advice.command
    prefill = advice.estimate.prefill
    assert prefill.low_texts_per_s is not None
    assert prefill.texts_per_s is not None
    assert prefill.high_texts_per_s is not None
    assert prefill.low_texts_per_s < prefill.texts_per_s < prefill.high_texts_per_s
    rows = sizer.hardware("BAAI/bge-reranker-v2-m3", text="rtx-40", offline=True)
    assert rows
    assert all(row.decode_tokens_per_s is None and row.texts_per_s for row in rows)


def test_the_arithmetic_of_an_encoder_is_reading(run: Run, tmp_path: Path) -> None:
    """`--explain` writes out the reading of texts and no decoding; plots of it are drawn."""
    args = ("estimate", "BAAI/bge-m3", "-d", "rtx-4090", "-p", "fp16", "--offline")
    told = run(*args, "--explain").out
    assert "Reading: " in told
    assert "texts/s" in told
    assert "Decode:" not in told
    assert "Request:" not in told
    pytest.importorskip("matplotlib")
    assert run(*args, "--plot", str(tmp_path / "bge.png")).code == 0


def test_an_encoder_of_short_texts_is_not_asked_for_more(run: Run) -> None:
    """A model of 512 tokens reads the usual prompt of 512: no note says that the context is too long, and the line
    above the table tells of texts without a cache. A prompt that is too long is told."""
    args = ("estimate", "mxbai-embed-large", "-d", "rtx-4090", "-p", "fp16", "--offline")
    told = run(*args).out
    assert "Texts of 512 tokens" in told
    assert "no cache" in told
    assert "longer than" not in told
    assert "longer than the 512 tokens" in run(*args, "--prompt", "600").out


def test_an_encoder_generates_nothing_to_measure() -> None:
    """`bench` and `chat` say that it writes no tokens, before anything is loaded."""
    from sizer.benchmark.plan import Asked, spec_of
    from sizer.errors import UsageError
    from sizer.model.read.resolve import resolve

    with pytest.raises(UsageError, match="writes no tokens"):
        spec_of(Asked(model="BAAI/bge-m3"), resolve("BAAI/bge-m3", offline=True))


@pytest.mark.parametrize(
    ("engine", "why"), [("ollama", "there is no command for this"), ("mlx-lm", "has no code for XLMRobertaModel")]
)
def test_an_engine_that_only_writes_has_no_command_for_an_encoder(engine: str, why: str, run: Run) -> None:
    """`ollama run` would write, and mlx-lm has no such model: no command is given, and why is said."""
    device = "m3-max" if engine == "mlx-lm" else "rtx-4090"
    told = run("recommend", "BAAI/bge-m3", "-d", device, "-e", engine, "--offline", "--emit")
    assert (told.code, told.out) == (2, "")
    assert why in told.err
