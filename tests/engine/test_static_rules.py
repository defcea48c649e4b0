"""SGLang's mem_fraction_static where no flag says it: hand-computed from the reserves of its server arguments."""

from __future__ import annotations

import pytest

from sizer import estimate
from sizer.engine.static_rules import Card, static_fraction

H100, H200, RTX_4090, A10 = 81_559, 143_771, 24_564, 23_028


def card(memory_mib: int, ranks: int = 1, **said: int) -> Card:
    """A card of that memory, with what flags say of the run."""
    chunk, graphs = said.get("chunk_tokens"), said.get("graph_sequences")
    return Card(memory_mib, ranks, chunk, graphs, latent=bool(said.get("latent")), vision=said.get("vision", 0))


@pytest.mark.parametrize(
    ("version", "shape", "reserve_mib"),
    [
        ("", card(H100), 512 + 8192 * 1.5 + 256 * 2 + 128 + 58 * 8),
        ("", card(H100, 4), 512 + 8192 * 1.5 + 512 * 2 + 4 * 128 + 58 * 8),
        ("", card(H100, 4, latent=1), 512 + 8192 * 1.5 + 512 * 2 + 4 * 128 + 1536),
        ("", card(H100, 1, chunk_tokens=2048, graph_sequences=8), 10_240),  # never less on large cards
        ("", card(RTX_4090), 512 + 4096 * 1.5 + 48 * 2 + 128 + 50 * 8),
        ("0.5.20", card(A10, 4), 512 + 4096 * 1.5 + 160 * 2 + 4 * 128 + 50 * 8),
        ("0.5.19", card(RTX_4090), 512 + 2048 * 1.5 + 24 * 2 + 128 + 42 * 8),  # since 0.5.20 twice the chunk
        ("0.5.12", card(A10, 4), 512 + 2048 * 1.5 + 80 * 2 + 4 * 128 + 42 * 8),
        ("0.5.5", card(H100, 4), 512 + 8192 * 1.5 + 512 * 2 + 4 * 128),
        ("0.5.5", card(A10), 512 + 2048 * 1.5 + 24 * 2 + 128),
        ("0.4.9", card(H100, 4), (9.5 + 4 / 2) * 1024),
        ("0.4.9", card(H200, 8), (12 + 8 / 2) * 1024),
        ("0.4.9", card(A10, 2), (2.8 + 2 / 10) * 1024),
    ],
)
def test_the_reserve_follows_card_ranks_and_chunk(version: str, shape: Card, reserve_mib: float) -> None:
    """(memory - reserve) / memory, to three places, as srt/server_args.py rounds it."""
    expected = round((shape.memory_mib - reserve_mib) / shape.memory_mib, 3)
    assert static_fraction("sglang", version, "", shape) == pytest.approx(expected, abs=0.0011)


@pytest.mark.parametrize(("ranks", "fraction"), [(1, 0.88), (2, 0.87), (4, 0.85), (8, 0.81), (16, 0.79)])
def test_older_versions_went_by_ranks(ranks: int, fraction: float) -> None:
    """0.4.3: the more ranks, the less; 0.4.6 and 0.4.7 reserve 13 and 18 GiB of an H200 instead."""
    for version in ("0.4.3", "0.4.6", "0.4.7"):
        assert static_fraction("sglang", version, "", card(H100, ranks)) == fraction
    assert static_fraction("sglang", "0.4.3", "", card(H200, ranks)) == fraction
    for version, reserve_mib in (("0.4.6", 13 * 1024), ("0.4.7", 18 * 1024)):
        left = static_fraction("sglang", version, "", card(H200, ranks))
        assert left == pytest.approx(1 - reserve_mib / H200, abs=0.0006)
    seen = static_fraction("sglang", "0.4.7", "", card(H100, ranks, vision=1))
    assert seen == pytest.approx(0.9 * fraction)


def test_a_model_that_sees_leaves_more() -> None:
    """ViT-L/14 takes a twentieth; a tower of twice its size a tenth of that more; before 0.5.3 always a tenth."""
    plain = static_fraction("sglang", "0.5.5", "", card(H100))
    assert plain is not None
    tower = 24 * 1024**2
    assert static_fraction("sglang", "0.5.5", "", card(H100, 1, vision=tower)) == pytest.approx(plain * 0.95)
    assert static_fraction("sglang", "0.5.5", "", card(H100, 1, vision=2 * tower)) == pytest.approx(plain * 0.95 * 0.9)
    older = static_fraction("sglang", "0.4.9", "", card(H100))
    assert static_fraction("sglang", "0.4.9", "", card(H100, 1, vision=tower)) == pytest.approx((older or 0) * 0.9)


def test_other_engines_have_no_such_rule() -> None:
    """vLLM's fraction is one number."""
    assert static_fraction("vllm", "", "", card(H100)) is None


def test_the_pool_is_what_sglang_printed_on_four_h100() -> None:
    """Qwen3-235B in FP8, --mem-fraction-static 0.93: 367,404 tokens; and less without the flag."""

    def tokens(flags: str) -> int:
        answer = estimate(
            "Qwen/Qwen3-235B-A22B", device="4xh100", precision="fp8", engine=f"sglang@0.4.9 {flags}".strip(),
            parallel="tensor", offline=True, context=8192,
        )  # fmt: skip
        return answer.estimates[0].memory.kv_capacity_tokens or 0

    assert tokens("--mem-fraction-static 0.93") == pytest.approx(367_404, rel=0.03)
    assert tokens("") < 0.8 * 367_404


@pytest.mark.parametrize(
    ("version", "said", "more_mib"),
    [
        ("", {"groups": 4}, 512 * 4 * 3 * 1.5),
        ("0.5.5", {"groups": 4}, 512 * 4 * 3 * 1.5),
        ("0.5.2", {"groups": 4}, 4096),
        ("", {"drafts": "layers"}, 0),
        ("0.5.10", {"drafts": "layers"}, 4096),
        ("0.5.5", {"drafts": "layers"}, 2048),
        ("0.5.10", {"drafts": "model"}, 6144),
        ("", {"graph_sequences": 0}, -512 * 2),
    ],
)
def test_groups_drafts_and_graphs_change_the_reserve(version: str, said: dict[str, object], more_mib: float) -> None:
    """Data-parallel attention, drafts by version and no graphs: what each adds to the reserve of four H100."""
    plain = card(H100, 4)
    more = static_fraction("sglang", version, "", plain._replace(**said))  # type: ignore[arg-type]
    fraction = static_fraction("sglang", version, "", plain)
    assert fraction is not None
    assert more == pytest.approx(fraction - more_mib / H100, abs=0.0011)


PROMPTS = 58 * 8
"""MiB of captured prompts up to 8,192 tokens."""


@pytest.mark.parametrize(
    ("version", "said", "more_mib"),
    [
        ("", {"sequences": 64}, -(512 - 64) * 2),  # --max-running-requests caps the largest graph since 0.5.22
        ("0.5.21", {"sequences": 64}, 0),
        ("", {"traits": {"pipeline"}}, -PROMPTS),
        ("0.5.19", {"traits": {"pipeline"}}, 0),
        ("", {"traits": {"multimodal"}}, -PROMPTS),
        ("", {"traits": {"multimodal"}, "architecture": "Qwen3_5MoeForConditionalGeneration"}, 0),
        ("0.5.12", {"traits": {"multimodal"}, "architecture": "Qwen3_5MoeForConditionalGeneration"}, -PROMPTS),
        ("", {"latent": True, "traits": {"latent"}}, 1536 - PROMPTS),
        ("0.5.19", {"latent": True, "traits": {"latent"}}, -PROMPTS),
        ("", {"traits": {"eager"}}, -PROMPTS - 512 * 2),
        ("0.5.12", {"traits": {"eager"}}, 0),  # --disable-cuda-graph changed nothing of the reserve
        ("", {"traits": {"no prompts"}}, -PROMPTS),
        ("", {"traits": {"deepep", "exchange"}}, 2048),
        ("0.5.12", {"traits": {"deepep", "exchange"}}, -PROMPTS),
        ("", {"phase": "prefill"}, -512 * 2),
        ("", {"phase": "decode"}, (2048 - 8192) * 1.5 - PROMPTS),
        ("", {"phase": "decode", "sequences": 1024, "verified_tokens": 4}, (4096 - 8192) * 1.5 - PROMPTS),
        ("0.5.12", {"phase": "decode"}, 0),
    ],
)
def test_what_is_not_captured_is_not_reserved(version: str, said: dict[str, object], more_mib: float) -> None:
    """Traits of model and flags, of four H200 at 8,192 tokens a chunk: by hand from memory_hook.py."""
    plain = card(H200, 4, chunk_tokens=8192)
    said = {name: frozenset(value) if isinstance(value, set) else value for name, value in said.items()}
    more = static_fraction("sglang", version, "", plain._replace(**said))  # type: ignore[arg-type]
    fraction = static_fraction("sglang", version, "", plain)
    assert fraction is not None
    floored = max(fraction * H200 - more_mib, 0)
    assert more == pytest.approx(min(floored / H200, 1 - (10_240 / H200)), abs=0.0011)


def test_flags_of_the_command_change_the_pool() -> None:
    """A whole prompt at a step reserves 16,384 tokens, a server that only decodes 10 GiB, the least of a large card."""

    def tokens(flags: str) -> int:
        answer = estimate(
            "Qwen/Qwen3-32B", device="2xh100", engine=f"sglang@0.5.23 {flags}".strip(), parallel="tensor",
            offline=True, context=8192,
        )  # fmt: skip
        return answer.estimates[0].memory.kv_capacity_tokens or 0

    # 256 KiB of cache a token, half of it a rank; the fraction is of what context and communicators leave of a card.
    plain, token_mib = tokens(""), 128 / 1024
    assert plain - tokens("--chunked-prefill-size -1") == pytest.approx((8192 * 1.5 + 16 * 8) / token_mib, rel=0.05)
    assert tokens("--disaggregation-mode decode") - plain == pytest.approx(
        (512 + 8192 * 1.5 + 256 * 2 + 256 + PROMPTS - 10_240) / token_mib, rel=0.05
    )
