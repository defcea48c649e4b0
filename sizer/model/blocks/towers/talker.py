"""Qwen2.5-Omni's voice: a talker over sound codes, a diffusion transformer and a vocoder."""

from __future__ import annotations

from sizer.model.architecture import Module, Role
from sizer.model.blocks.core import embedding, parameter
from sizer.model.blocks.tree import SPLIT_O, Tree
from sizer.model.config import MAX_COUNT, Config

TIMES = 256  # width of the sinusoids that stand for a time, fixed in the class


def numbers(config: Config, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    """A list of positive whole numbers."""
    return config.sizes(name, default=default, maximum=MAX_COUNT)


def widen(tree: Tree, name: str, read: int, out: int, kernel: int) -> None:
    """A transposed convolution, which keeps [in, out, kernel]."""
    weight = parameter(f"{name}.weight", read, out, kernel, role=Role.CONV, module=Module.CONV)
    tree.put(weight, parameter(f"{name}.bias", out, role=Role.BIAS, module=Module.CONV))


def talker(config: Config, tree: Tree) -> None:
    """The talker: a decoder over sound codes that reads the thinker's hidden states."""
    size, read, words = config.size("hidden_size"), config.size("embedding_size"), config.size("vocab_size")
    tree.linear("thinker_to_talker_proj", size, read, bias=True)
    tree.put(embedding("model.embed_tokens", words, read, Role.OTHER))
    layer, head = tree.stack("model.layers", config.layers()), config.size("head_dim")
    width, kv = config.size("num_attention_heads") * head, config.size("num_key_value_heads") * head
    layer.at("self_attn").attention(size, SPLIT_O, bias="qkv", inner=width, kv=kv)
    layer.rms_norm("input_layernorm", "post_attention_layernorm", size=size)
    layer.at("mlp").gated_mlp(size, config.size("intermediate_size"))
    tree.rms_norm("model.norm", size=size)
    tree.linear("codec_head", words, size)


def token2wav(config: Config, tree: Tree) -> None:
    """From codes to sound: a diffusion transformer makes a spectrogram, BigVGAN a wave."""
    _diffusion(config.sub("dit_config"), tree.at("code2wav_dit_model"))
    _vocoder(config.sub("bigvgan_config"), tree.at("code2wav_bigvgan_model"))


def _diffusion(config: Config, tree: Tree) -> None:
    size, mels, codes = config.size("hidden_size"), config.size("mel_dim"), config.size("emb_dim")
    tree.at("time_embed").mlp(TIMES, size, "time_mlp.0 time_mlp.2", out=size)
    tree.put(embedding("text_embed.codec_embed", config.size("num_embeds") + 1, codes, Role.OTHER))
    joined = mels + config.size("enc_dim") + config.size("enc_emb_dim") + codes
    tree.linear("input_embed.proj", size, joined, bias=True)
    _speaker(config, tree.at("input_embed.spk_encoder"))
    block = tree.stack("transformer_blocks", config.layers())
    block.linear("attn_norm.linear", 6 * size, size, bias=True)
    inner = config.size("num_attention_heads") * config.size("head_dim")
    block.at("attn").attention(size, "to_q to_k to_v to_out.0", inner=inner)
    block.mlp(size, config.scaled(size, "ff_mult", default=2.0), "ff.ff.0 ff.ff.3")
    tree.linear("norm_out.linear", 2 * size, size, bias=True)
    tree.linear("proj_out", mels, size, bias=True)


def _speaker(config: Config, tree: Tree) -> None:
    """ECAPA-TDNN (arXiv:2005.07143): squeezed and excited convolutions, then attentive statistics."""
    sizes, kernels = (
        numbers(config, "enc_channels", (256, 256, 256, 256, 768)),
        numbers(config, "enc_kernel_sizes", (5, 3, 3, 3, 1)),
    )
    if len(sizes) != len(kernels):
        raise config.error("enc_kernel_sizes", f"It must have an entry for each of {len(sizes)} enc_channels.")
    scale, squeezed, last = config.size("enc_res2net_scale", maximum=64), config.size("enc_se_channels"), sizes[-1]
    tree.conv("blocks.0.conv", sizes[0], config.size("mel_dim"), kernels[0], bias=True)
    for index in range(1, len(sizes) - 1):
        block, size = tree.at(f"blocks.{index}"), sizes[index]
        block.conv("tdnn1.conv", size, sizes[index - 1], 1, bias=True)
        for part in range(scale - 1):
            split = size // scale
            block.conv(f"res2net_block.blocks.{part}.conv", split, split, kernels[index], bias=True)
        block.conv("tdnn2.conv", size, size, 1, bias=True)
        block.conv("se_block.conv1", squeezed, size, 1, bias=True)
        block.conv("se_block.conv2", size, squeezed, 1, bias=True)
    tree.conv("mfa.conv", last, last, kernels[-1], bias=True)
    attending = config.size("enc_attention_channels")
    tree.conv("asp.tdnn.conv", attending, 3 * last, 1, bias=True)
    tree.conv("asp.conv", last, attending, 1, bias=True)
    tree.conv("fc", config.size("enc_dim"), 2 * last, 1, bias=True)


def _vocoder(config: Config, tree: Tree) -> None:
    """BigVGAN (arXiv:2206.04658): each step halves the channels, then sums residual blocks of several kernels."""
    size = config.size("upsample_initial_channel")
    steps = numbers(config, "upsample_kernel_sizes", (11, 7, 4, 4, 4, 4))
    steps = steps[: len(numbers(config, "upsample_rates", (5, 3, 2, 2, 2, 2)))]
    kernels = numbers(config, "resblock_kernel_sizes", (3, 7, 11))
    tree.conv("conv_pre", size, config.size("mel_dim"), 7, bias=True)
    for step, kernel in enumerate(steps):
        narrow = size // 2
        widen(tree, f"ups.{step}.0", size, narrow, kernel)
        size = narrow
        for index, width in enumerate(kernels):
            block = tree.at(f"resblocks.{step * len(kernels) + index}")
            for name in (f"convs{half}.{place}" for half in (1, 2) for place in range(3)):
                block.conv(name, size, size, width, bias=True)
            snake = block.stack("activations", 6)
            snake.parameter("act.alpha", size)
            snake.parameter("act.beta", size)
    tree.parameter("activation_post.act.alpha", size)
    tree.parameter("activation_post.act.beta", size)
    tree.conv("conv_post", 1, size, 7)
