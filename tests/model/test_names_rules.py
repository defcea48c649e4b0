"""Each rule by which a name is read, at the edge where it changes its mind."""

from __future__ import annotations

import pytest

from sizer.model.read.names import Confidence, parse_name

B, M = 10**9, 10**6
HIGH, MEDIUM, LOW, NONE = Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW, Confidence.NONE


@pytest.mark.parametrize(
    ("thousands", "tokens"),
    [
        (2, 2048), (8, 8192), (16, 16384), (32, 32768), (128, 131_072), (131, 131_072), (262, 262_144),
        (1024, 2**20), (1048, 2**20), (8192, 2**23), (8388, 2**23),  # powers of two, or what one rounds down to
        (100, 100_000), (200, 200_000), (1000, 1_000_000),  # round in tens
        (96, 96 * 1024), (160, 160 * 1024), (992, 992 * 1024),  # whole 32s
        (1, None), (7, None), (33, None), (48, None), (127, None), (300, None), (955, None), (1056, None),
    ],
)  # fmt: skip
def test_a_context_is_round(thousands: int, tokens: int | None) -> None:
    """A power of two, or round in tens or in 32s below a million; every other number is one of steps."""
    assert parse_name(f"7B-{thousands}k").context_tokens == tokens
    assert parse_name(f"7B-step-{thousands}k").context_tokens is None


@pytest.mark.parametrize(
    ("name", "total", "confidence"),
    [
        ("gemma27b", 27 * B, LOW),  # Gemma 2 7B, or 27B
        ("phi3b", 3 * B, MEDIUM),
        ("smol13b", 13 * B, MEDIUM),  # no version begins with 1
        ("smollm135m", 135 * M, MEDIUM),
        ("llama213b", None, NONE),
        ("model430m", None, NONE),
        ("foo10m", 10 * M, MEDIUM),
        ("foo9m", None, NONE),  # part of the word
        ("foo20m-bar30m", None, NONE),
        ("int4b", None, NONE),
    ],
)
def test_a_size_glued_to_a_word(name: str, total: int | None, confidence: Confidence) -> None:
    """Two digits may begin with a version, three mean nothing then; small millions are part of their word."""
    hints = parse_name(name)
    assert (hints.total_params, hints.confidence) == (total, confidence)
    assert any("glued" in note for note in hints.notes) is (total is not None)


@pytest.mark.parametrize(
    ("name", "total", "active", "experts", "confidence"),
    [
        ("8x7B", 56 * B, None, 8, LOW),
        ("8x7B-13B", 13 * B, None, 8, HIGH),
        ("8x7B-7B", 56 * B, None, 8, LOW),  # one expert
        ("8x7B-56B", 56 * B, None, 8, LOW),  # the product itself
        ("8x7B-13B-20B", 56 * B, None, 8, LOW),
        ("7Bx4", 28 * B, None, 4, LOW),
        ("17Bx16E", None, 17 * B, 16, HIGH),
        ("17B-16E", None, 17 * B, 16, MEDIUM),
        ("17B-18B-16E", None, None, 16, NONE),
        ("16E", None, None, None, NONE),
        ("1b7b", 7 * B, 1 * B, None, HIGH),
        ("A3B", None, 3 * B, None, HIGH),
        ("30B-A3B", 30 * B, 3 * B, None, HIGH),
        ("30B-A30B", 30 * B, 30 * B, None, HIGH),
        ("30B-A31B", None, None, None, NONE),
        ("30B-A0B", None, None, None, NONE),
        ("3B-5B-A1B", None, None, None, NONE),
        ("1T-A32B", 1000 * B, 32 * B, None, HIGH),
        ("E2B", None, 2 * B, None, MEDIUM),
        ("E2B-7B", 7 * B, None, None, HIGH),
        ("moe-7B", 7 * B, None, None, MEDIUM),
    ],
)
def test_names_that_speak_of_experts(
    name: str, total: int | None, active: int | None, experts: int | None, confidence: Confidence
) -> None:
    """Products, pairs, active and effective sizes; more active than there are, or two totals, say nothing."""
    hints = parse_name(name)
    assert (hints.total_params, hints.active_params, hints.experts) == (total, active, experts)
    assert hints.confidence is confidence


@pytest.mark.parametrize(
    ("name", "total", "active", "confidence"),
    [
        ("1B-1.9B", None, None, NONE),
        ("1B-2B", 2 * B, 1 * B, HIGH),
        ("1B-12B", 12 * B, 1 * B, HIGH),
        ("1B-13B", None, None, NONE),
        ("1B-x-12B", None, None, NONE),  # not side by side
        ("7B-139B", None, None, NONE),
        ("7B-140B", 7 * B, None, MEDIUM),  # 20 tokens a parameter
        ("7B-x-140B", 7 * B, None, MEDIUM),
        ("7B-7B", None, None, NONE),
        ("7B-x-7B", 7 * B, None, HIGH),
        ("1B-2B-3B", None, None, NONE),
        ("7B-10M", 7 * B, None, HIGH),
        ("7B-11M", None, None, NONE),
        ("7B-0.01B", 7 * B, None, HIGH),
        ("900M-10M", 900 * M, None, HIGH),
        ("900M-9M", None, None, NONE),
        ("7B-2T", 7 * B, None, HIGH),
        ("300b-tokens-x-7B", 7 * B, None, HIGH),
        ("7B-x-tok-300b", 7 * B, None, HIGH),
    ],
)
def test_two_sizes(name: str, total: int | None, active: int | None, confidence: Confidence) -> None:
    """Side by side two to twelve times apart they are active and total, twenty times the second counts tokens."""
    hints = parse_name(name)
    assert (hints.total_params, hints.active_params, hints.confidence) == (total, active, confidence)


@pytest.mark.parametrize(
    ("name", "total", "context", "confidence"),
    [
        ("1M", 1 * M, None, HIGH),
        ("10M-x", None, None, NONE),
        ("1M-7B", 7 * B, 1_000_000, HIGH),
        ("10M-7B", 7 * B, 10_000_000, HIGH),
        ("1M-2M-7B", 7 * B, 2_000_000, HIGH),
        ("3M-7B", 7 * B, None, HIGH),
        ("1.5M-7B", 7 * B, None, HIGH),
        ("1T", 1000 * B, None, MEDIUM),
        ("x-1T", 1000 * B, None, MEDIUM),
        ("x-y-1T", None, None, NONE),
        ("1T-2T", None, None, NONE),
    ],
)
def test_lone_millions_and_trillions(name: str, total: int | None, context: int | None, confidence: Confidence) -> None:
    """A million beside a size is a context, alone it is a size, among words it is either; trillions likewise."""
    hints = parse_name(name)
    assert (hints.total_params, hints.context_tokens, hints.confidence) == (total, context, confidence)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("8x7B", "share attention"),
        ("7B-lora", "adapter"),
        ("A3B-lora", "adapter"),
        ("my-lora", None),
        ("medusa-7B", "drafts for"),
        ("E2B", "effective"),
        ("17Bx16E", "routed to"),
        ("x-1M", "a context or a size"),
        ("x-y-1T", "parameters or training tokens"),
        ("1B-1.9B", "several sizes"),
        ("7B-2T", "training tokens"),
        ("moe-7B", "mixture"),
        ("Qwen-1_8B", "decimal point"),
        ("phi-1_5b-A9B", None),
        ("7B", None),
        ("llama_2_7b", None),
    ],
)
def test_a_lower_confidence_has_its_reason(name: str, words: str | None) -> None:
    """What was left out or doubted is told once; a name that is read plainly, or not at all, is told nothing."""
    notes = parse_name(name).notes
    if words == "routed to":
        words = "what one token uses"
    assert (
        (len(notes) == 1 and words in notes[0])
        if words
        else not any("glued" in one or "decimal" in one for one in notes)
    )


def test_an_adapter_carries_its_bases_size() -> None:
    """Roughly: low confidence, whatever else the name says well."""
    assert parse_name("llama-7B-qlora").confidence is LOW
    assert parse_name("llama-7B").confidence is HIGH
    assert parse_name("my-lora").confidence is NONE


def test_what_is_too_long_is_no_name() -> None:
    """400 characters are read, 401 are not."""
    assert parse_name("7B" + "-" * 398).total_params == 7 * B
    assert parse_name("7B" + "-" * 399).total_params is None


@pytest.mark.parametrize(("name", "total"), [("2b7", 2.7), ("2p7b", 2.7), ("1_5b", 1.5), ("0.5B", 0.5), ("1000M", 1.0)])
def test_spellings_of_a_decimal(name: str, total: float) -> None:
    """A letter or an underscore in the place of the point."""
    assert parse_name(name).total_params == total * B
