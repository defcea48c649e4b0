"""Mistral's text models: Mistral, Ministral, Mixtral, Mistral 4."""

from __future__ import annotations

from sizer.model.shapes.decoder import Decoder
from sizer.model.shapes.experts import FINE_GRAINED, MIXTRAL, Moe
from sizer.model.shapes.family import Family
from sizer.model.shapes.latent import Mla
from sizer.model.shapes.rules import UNBIASED, Attention
from sizer.model.shapes.windows import one_window

NO_BIAS = Attention(bias=False, windows=one_window)


FAMILIES: dict[str, Family] = {
    "mistral": Decoder(NO_BIAS, UNBIASED),
    "ministral": Decoder(NO_BIAS, UNBIASED),
    "ministral3": Decoder(NO_BIAS, UNBIASED),
    "mixtral": Decoder(
        Attention(bias=False, windows=one_window),
        Moe("num_local_experts", inner="intermediate_size", prefix="block_sparse_moe.", names=MIXTRAL),
    ),
    "mistral4": Decoder(Mla(), FINE_GRAINED),
}
