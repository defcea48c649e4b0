"""Qwen3-Omni's voice: a talker with experts, a code predictor and a vocoder."""

from __future__ import annotations

from sizer.model.architecture import Role
from sizer.model.blocks.core import embedding
from sizer.model.blocks.mlp import experts, router, shared_expert
from sizer.model.blocks.towers.talker import numbers, widen
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.config import Config


def _attention(config: Config, layer: Tree, *, norms: bool) -> None:
    """A layer's attention and norms."""
    size, heads = config.size("hidden_size"), config.size("num_attention_heads")
    head = config.optional_size("head_dim") or size // heads
    bias = "qkvo" if config.flag("attention_bias") else ""
    kv = (config.optional_size("num_key_value_heads") or heads) * head
    layer.at("self_attn").attention(size, SPLIT_O, bias=bias, inner=heads * head, kv=kv)
    if norms:
        layer.rms_norm("self_attn.q_norm", "self_attn.k_norm", size=head)
    layer.rms_norm("input_layernorm", "post_attention_layernorm", size=size)


def moe_talker(config: Config, tree: Tree) -> None:
    """The talker: experts on every layer, projections of the thinker's text and states, and the code predictor."""
    text, read = config.sub("text_config"), config.size("thinker_hidden_size")
    size, inner, words = text.size("hidden_size"), text.size("intermediate_size"), text.size("vocab_size")
    layer = tree.stack("model.layers", text.layers())
    _attention(text, layer, norms=True)
    count, active = text.size("num_experts", "num_local_experts"), text.size("num_experts_per_tok")
    layer.put(router(size, count), experts(size, text.size("moe_intermediate_size"), count, active))
    layer.put(shared_expert(size, text.size("shared_expert_intermediate_size"), prefix="mlp.shared_expert."))
    layer.linear("mlp.shared_expert_gate", 1, size, Role.ROUTER)
    tree.rms_norm("model.norm", size=size)
    tree.put(embedding("model.codec_embedding", words, size, Role.OTHER))
    for name in ("text_projection", "hidden_projection"):
        tree.at(name).mlp(read, inner, "linear_fc1 linear_fc2", out=size)
    tree.linear("codec_head", words, size)
    _predictor(config.sub("code_predictor_config"), tree.at("code_predictor"))


def _predictor(config: Config, tree: Tree) -> None:
    """A small decoder with a table and a head for every group of codes after the first."""
    size, words, further = (
        config.size("hidden_size"),
        config.size("vocab_size"),
        config.size("num_code_groups", maximum=1024) - 1,
    )
    layer = tree.stack("model.layers", config.layers())
    _attention(config, layer, norms=True)
    layer.at("mlp").gated_mlp(size, config.size("intermediate_size"))
    tree.rms_norm("model.norm", size=size)
    for group in range(further):
        tree.put(embedding(f"model.codec_embedding.{group}", words, size, Role.OTHER))
        tree.linear(f"lm_head.{group}", words, size)


def code2wav(config: Config, tree: Tree) -> None:
    """The vocoder: a small transformer over all codes, two upsamplings, and convolutions that halve the channels."""
    size = config.size("hidden_size")
    layer = tree.stack("pre_transformer.layers", config.layers())
    _attention(config, layer, norms=False)
    layer.at("mlp").gated_mlp(size, config.size("intermediate_size"))
    layer.parameter("self_attn_layer_scale.scale", size)
    layer.parameter("mlp_layer_scale.scale", size)
    tree.rms_norm("pre_transformer.norm", size=size)
    codes = config.size("codebook_size") * config.size("num_quantizers")
    tree.put(embedding("code_embedding", codes, size, Role.OTHER))
    for step, factor in enumerate(numbers(config, "upsampling_ratios", (2, 2))):
        widen(tree, f"upsample.{step}.0.conv", size, size, factor)
        block = tree.at(f"upsample.{step}.1")
        block.conv("dwconv.conv", size, 1, 7, bias=True)
        block.layer_norm("norm", size=size)
        block.mlp(size, 4 * size, "pwconv1 pwconv2")
        block.parameter("gamma", size)
    _decoder(config, tree.at("decoder"), size)


def _decoder(config: Config, tree: Tree, read: int) -> None:
    width, rates = config.size("decoder_dim"), numbers(config, "upsample_rates", (8, 5, 4, 3))
    tree.conv("0.conv", width, read, 7, bias=True)
    for step, rate in enumerate(rates, start=1):
        narrow = width // 2
        _snake(tree, f"{step}.block.0", width)
        widen(tree, f"{step}.block.1.conv", width, narrow, 2 * rate)
        for index in range(2, 5):
            unit = tree.at(f"{step}.block.{index}")
            _snake(unit, "act1", narrow)
            _snake(unit, "act2", narrow)
            unit.conv("conv1.conv", narrow, narrow, 7, bias=True)
            unit.conv("conv2.conv", narrow, narrow, 1, bias=True)
        width = narrow
    _snake(tree, f"{len(rates) + 1}", width)
    tree.conv(f"{len(rates) + 2}.conv", 1, width, 7, bias=True)


def _snake(tree: Tree, name: str, size: int) -> None:
    """A periodic activation with two learned vectors."""
    tree.parameter(f"{name}.alpha", size)
    tree.parameter(f"{name}.beta", size)
