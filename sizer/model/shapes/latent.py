"""Multi-head latent attention (DeepSeek-V2), dense or over what an indexer selects, and hyper-connections."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from sizer.frozen import dataclass
from sizer.model.architecture import Role
from sizer.model.blocks.attention import mla
from sizer.model.blocks.core import Block, linear, norm, parameter
from sizer.model.config import Config
from sizer.model.shapes.decoder import Decoder
from sizer.model.shapes.experts import FINE_GRAINED, Mtp
from sizer.model.shapes.rules import Flag, flag


@dataclass(frozen=True)
class Mla:
    """Multi-head latent attention on every layer, its ranks and head sizes from the config's usual fields."""

    bias: Flag = "attention_bias"
    plus: Callable[[Config], Block] | None = None

    def __call__(self, config: Config, count: int) -> Sequence[Block]:
        block = self.block(config)
        return (block if self.plus is None else block + self.plus(config),) * count

    def block(self, config: Config) -> Block:
        """The attention of a layer."""
        hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
        v_head_dim = config.optional_size("v_head_dim")
        if v_head_dim is None:
            if hidden % heads:
                raise config.error("num_attention_heads", f"It must divide hidden_size ({hidden}).")
            v_head_dim = hidden // heads
        return mla(
            hidden,
            heads,
            q_lora_rank=config.optional_size("q_lora_rank"),
            kv_lora_rank=config.size("kv_lora_rank"),
            nope=config.size("qk_nope_head_dim"),
            rope=config.size("qk_rope_head_dim", minimum=0),
            v_head_dim=v_head_dim,
            bias=flag(config, self.bias),
        )


def indexer(config: Config) -> Block:
    """DeepSeek sparse attention's lightning indexer (DeepSeek-V3.2): picks `index_topk` tokens of the context."""
    heads, size = config.size("index_n_heads"), config.size("index_head_dim")
    hidden = config.size("hidden_size")
    prefix = "self_attn.indexer."
    return (
        linear(prefix + "wq_b", heads * size, config.size("q_lora_rank"), Role.INDEXER)
        + linear(prefix + "wk", size, hidden, Role.INDEXER)
        + norm(prefix + "k_norm", size, bias=True)
        + linear(prefix + "weights_proj", heads, hidden, Role.INDEXER)
    )


def sparse_mla(attention: Block, config: Config, *, indexed: bool) -> Block:
    """`attention` reading only the tokens that an indexer selects; `indexed` layers have the indexer and its cache."""
    mixer = replace(
        attention.mixers[0],
        selected_tokens=config.size("index_topk"),
        indexer_elements=config.size("index_head_dim") if indexed else 0,
    )
    block = replace(attention, mixers=(mixer,))
    return block + indexer(config) if indexed else block


def latent_attention(config: Config) -> Block:
    return mla(
        config.size("hidden_size"),
        config.size("num_attention_heads"),
        q_lora_rank=config.optional_size("q_lora_rank"),
        kv_lora_rank=config.size("kv_lora_rank"),
        nope=config.size("qk_nope_head_dim"),
        rope=config.size("qk_rope_head_dim"),
        v_head_dim=config.size("v_head_dim"),
        bias=config.flag("attention_bias"),
    )


def indexed_layers(config: Config, attention: Block, shared: Sequence[bool]) -> list[Block]:
    """Sparse latent attention on every layer; layers that share their selection have no indexer."""
    blocks = {flag: sparse_mla(attention, config, indexed=not flag) for flag in set(shared)}
    return [blocks[flag] for flag in shared]


def indexer_types(config: Config, count: int) -> tuple[str, ...] | None:
    return config.layer_types(count, "indexer_types")


DEEPSEEK_V3 = Decoder(Mla(), FINE_GRAINED, beyond=Mtp())


def shared_selections(config: Config, count: int) -> list[bool]:
    """GLM-5's layers without an indexer: `indexer_types`, a pattern of F and S, or all but every nth of a period."""
    kinds: Sequence[str] | None = indexer_types(config, count)
    if kinds is None:
        pattern = config.first("index_topk_pattern")[1]
        if pattern is not None:
            if (
                not isinstance(pattern, (str, list, tuple))
                or len(pattern) != count
                or any(letter not in ("F", "S", "full", "shared") for letter in pattern)
            ):
                raise config.error("index_topk_pattern", f"It must have an F or S for each of {count} layers.")
            kinds = ["shared" if letter in ("S", "shared") else "full" for letter in pattern]
        else:
            every = config.size("index_topk_freq", default=1, minimum=0) or 1
            offset = config.size("index_skip_topk_offset", default=2, minimum=0)
            kinds = ["shared" if max(i - offset + 1, 0) % every else "full" for i in range(count)]
    return [kind == "shared" for kind in kinds]


def hyper_connection(config: Config, name: str, rows: int, scales: int) -> Block:
    """Hyper-connections: the mixing matrix between `hc_mult` residual streams (arXiv:2409.19606)."""
    width = config.size("hc_mult") * config.size("hidden_size")
    return parameter(f"{name}.fn", rows, width) + parameter(f"{name}.base", rows) + parameter(f"{name}.scale", scales)


def hyper_head(config: Config, prefix: str = "model.hc_head.hc_") -> Block:
    streams = config.size("hc_mult")
    return (
        parameter(prefix + "fn", streams, streams * config.size("hidden_size"))
        + parameter(prefix + "base", streams)
        + parameter(prefix + "scale", 1)
    )
