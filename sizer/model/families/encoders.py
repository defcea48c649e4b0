"""BERT's kind, whoever made it: encoders of whole texts, and the causal classes of the same stacks."""

from __future__ import annotations

from dataclasses import replace

from sizer.model.architecture import Role
from sizer.model.blocks.core import Block, Parts, embedding, linear, norm, parameter
from sizer.model.config import MIN_RATIO, Config
from sizer.model.shapes.bert import BERT, ROBERTA, Bert
from sizer.model.shapes.family import Family
from sizer.model.shapes.text_encoder import (
    TextEncoder,
    distilbert,
    gte,
    modernbert,
    modernbert_labelled,
    modernbert_masked,
    mpnet,
    nomic,
)


def _electra_transform(_config: Config, hidden: int, width: int) -> Block:
    dense = linear("generator_predictions.dense", width, hidden, Role.OTHER, True)
    return norm("generator_predictions.LayerNorm", width, True) + dense


def _rembert_transform(config: Config, hidden: int, _width: int) -> Block:
    out = config.size("output_embedding_size")
    dense = linear("cls.predictions.dense", out, hidden, Role.OTHER, True)
    return dense + norm("cls.predictions.LayerNorm", out, True)


def _big_bird_pooler(config: Config) -> Block:
    hidden = config.size("hidden_size")
    return linear("bert.pooler", hidden, hidden, Role.OTHER, True)


def _ernie_tasks(config: Config) -> Block:
    if not config.flag("use_task_id"):
        return Block()
    rows = config.size("task_type_vocab_size")
    return embedding("ernie.embeddings.task_type_embeddings", rows, config.size("hidden_size"))


def _roc_bert_glyphs(config: Config) -> Block:
    """RoCBERT: embeddings of pronunciation and shape, and the projection that joins what is enabled."""
    hidden, prefix = config.size("hidden_size"), "roc_bert.embeddings."
    sound, shape = config.size("pronunciation_embed_dim"), config.size("shape_embed_dim")
    block = embedding(prefix + "pronunciation_embed", config.size("pronunciation_vocab_size"), sound)
    block += embedding(prefix + "shape_embed", config.size("shape_vocab_size"), shape)
    if config.flag("concat_input"):
        into = hidden + (sound if config.flag("enable_pronunciation") else 0)
        into += shape if config.flag("enable_shape") else 0
        block += linear(prefix + "map_inputs_layer", hidden, into, Role.OTHER, True)
    return block


def _roformer_positions(config: Config) -> Block:
    """RoFormer: its sinusoidal table is a parameter."""
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    rows = config.size("max_position_embeddings")
    return embedding("roformer.encoder.embed_positions", rows, hidden // heads, Role.POSITION)


def _xmod_adapters(config: Config) -> Block:
    """X-MOD: an adapter for each language in each layer; its norm where it has one of its own."""
    hidden = config.size("hidden_size")
    factor = config.number("adapter_reduction_factor", default=2)
    if factor < MIN_RATIO:
        raise config.error("adapter_reduction_factor", f"It must be at least {MIN_RATIO:g}.")
    inner = int(hidden // factor)
    languages = config.sequence("languages", str) or ()
    if not languages:
        raise config.error("languages", "It must list the names of the adapters.")
    block = norm("output.adapter_layer_norm", hidden, True) if config.flag("adapter_layer_norm") else Block()
    for language in languages:
        prefix = f"output.adapter_modules.{language}."
        block += linear(prefix + "dense1", inner, hidden, Role.OTHER, True)
        block += linear(prefix + "dense2", hidden, inner, Role.OTHER, True)
    return block


def _xmod_final(config: Config) -> Block:
    return norm("roberta.encoder.LayerNorm", config.size("hidden_size"), True) if config.flag("pre_norm") else Block()


def _adapters(config: Config) -> Block:
    """Jina's: for each task a low-rank pair beside every table and matrix, all kept in memory (arXiv:2409.10173)."""
    hidden, inner = config.size("hidden_size"), config.size("intermediate_size")
    tasks, rank = len(config.sequence("lora_adaptations", str) or ()), config.size("lora_rank", default=4)
    beside = [(config.size("vocab_size"), hidden), (config.size("type_vocab_size"), hidden), (hidden, hidden)]
    beside += [(hidden, 3 * hidden), (hidden, hidden), (hidden, inner), (inner, hidden)] * config.layers()
    block = Block()
    for number, (into, out) in enumerate(beside if tasks else ()):
        block += parameter(f"lora.{number}.lora_A", tasks, rank, into)
        block += parameter(f"lora.{number}.lora_B", tasks, out, rank)
    return block


def _xlm_roberta(config: Config) -> Parts:
    """XLM-RoBERTa with a pooler; Jina's code turns queries and keys where the config says so, and has adapters."""
    if config.text("position_embedding_type") != "rotary":
        return TextEncoder(ROBERTA)(config)
    return TextEncoder(replace(ROBERTA, positions=False, plus=_adapters))(config)


WITH_POOLER, LABELLED = TextEncoder(BERT), TextEncoder(BERT, "pooled-classifier")
ROBERTA_LABELLED, MASKED = TextEncoder(ROBERTA, "dense-classifier"), TextEncoder(ROBERTA, "lm")

FAMILIES: dict[str, Family] = {
    # Classes that read whole texts, under their own names.
    "BertModel": WITH_POOLER,
    "BertForSequenceClassification": LABELLED,
    "BertForMaskedLM": TextEncoder(BERT, "lm"),
    "RobertaModel": TextEncoder(ROBERTA),
    "RobertaForSequenceClassification": ROBERTA_LABELLED,
    "RobertaForMaskedLM": MASKED,
    "XLMRobertaModel": _xlm_roberta,
    "XLMRobertaForSequenceClassification": ROBERTA_LABELLED,
    "XLMRobertaForMaskedLM": MASKED,
    "CamembertModel": TextEncoder(ROBERTA),
    "CamembertForMaskedLM": MASKED,
    "modernbert": modernbert,
    "ModernBertForSequenceClassification": modernbert_labelled,
    "ModernBertForMaskedLM": modernbert_masked,
    "mpnet": mpnet,
    "distilbert": distilbert,
    "nomic_bert": nomic,
    "new": gte,
    "bert": BERT,
    "bert-generation": Bert(types=False, decoder="lm_head.decoder"),
    "big_bird": replace(BERT, bias="use_bias", plus=_big_bird_pooler),
    "ernie": replace(BERT, base="ernie", plus=_ernie_tasks),
    "megatron-bert": replace(BERT, norms=("attention.ln", "ln"), final="encoder.ln", embed_norm=False),
    "roc_bert": replace(BERT, base="roc_bert", plus=_roc_bert_glyphs),
    "roformer": replace(BERT, base="roformer", positions=False, width="embedding_size", plus=_roformer_positions),
    "electra": Bert(
        "electra", width="embedding_size", head=_electra_transform, bare_bias=False, decoder="generator_lm_head"
    ),
    "rembert": Bert(
        "rembert",
        width="input_embedding_size",
        project="encoder.embedding_hidden_mapping_in",
        head=_rembert_transform,
        bare_bias=False,
        tying=False,
    ),
    "roberta": ROBERTA,
    "camembert": ROBERTA,
    "xlm-roberta": ROBERTA,
    "data2vec-text": replace(ROBERTA, base="data2vec_text"),
    "roberta-prelayernorm": replace(
        ROBERTA,
        base="roberta_prelayernorm",
        norms=("attention.LayerNorm", "intermediate.LayerNorm"),
        final="LayerNorm",
    ),
    "xlm-roberta-xl": replace(
        ROBERTA,
        norms=("attention.self_attn_layer_norm", "LayerNorm"),
        final="encoder.LayerNorm",
        embed_norm=False,
    ),
    "xmod": replace(ROBERTA, plus=_xmod_final, layer_plus=_xmod_adapters),
}
