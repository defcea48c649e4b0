"""What an engine leaves free of a card by default, of a case: the traits that `data/static_reserves.csv` goes by."""

from __future__ import annotations

from sizer.device.usable import usable_memory_bytes
from sizer.engine.static_rules import Card, static_chunk_tokens, static_fraction
from sizer.memory.case import Case
from sizer.model.architecture import Tower
from sizer.units import MIB

TOWER_LAYERS, TOWER_HIDDEN = 24, 1024
"""What SGLang takes of a vision tower whose config names its sizes otherwise (Qwen2.5-VL's `depth`)."""
WHOLE_PROMPT_TOKENS = 16_384
"""Tokens of a step where `--chunked-prefill-size -1` cuts no prompt: --max-prefill-tokens, by default."""


def fraction_by_card(case: Case) -> float | None:
    """The default of an engine that leaves a reserve free, for the smallest card of the target."""
    card = _smallest_card(case)
    return static_fraction(case.engine.engine, case.options.version, case.engine_date, card) if card else None


def default_chunk_tokens(case: Case) -> int | None:
    """Tokens of a prompt that such an engine reads at once by default; None for one without such a rule."""
    card = _smallest_card(case)
    return static_chunk_tokens(case.engine.engine, case.options.version, case.engine_date, card) if card else None


def _smallest_card(case: Case) -> Card | None:
    """The smallest card of the target with what flags and model say of the run; None where a memory is not known."""
    shown = [usable_memory_bytes(device) for device in case.devices]
    known = [size for size in shown if size]
    if len(known) < len(shown):
        return None
    options = case.options
    chunk = options.prefill_chunk_tokens
    return Card(
        memory_mib=min(known) / MIB,
        ranks=case.ranks * case.stages,
        chunk_tokens=chunk if chunk is None or chunk > 0 else options.batch_tokens or WHOLE_PROMPT_TOKENS,
        graph_sequences=options.graph_max_sequences,
        latent=any(mixer.latent_elements for mixer in case.architecture.mixer_counts),
        vision=_vision(case),
        groups=case.replicas if options.attention_data_parallel else 1,
        drafts=_drafts(case),
        verified_tokens=1 + (options.draft_tokens or 0),
        sequences=options.max_sequences,
        traits=_traits(case),
        architecture=case.architecture.architecture,
        phase=options.served_phase,
    )


def _vision(case: Case) -> int:
    """Layers of the vision tower times its squared hidden size, as SGLang reads them off the config."""
    tower = case.architecture.config.get("vision_config")
    if not isinstance(tower, dict):
        return 0
    layers = tower.get("num_hidden_layers", TOWER_LAYERS)
    hidden = tower.get("hidden_size", TOWER_HIDDEN)
    return layers * hidden**2 if isinstance(layers, int) and isinstance(hidden, int) else 0


def _drafts(case: Case) -> str:
    """Whether flags draft with a model of its own, with layers, or not at all (n-grams take nothing)."""
    method = case.options.draft_method.lower()
    if method == "standalone":
        return "model"
    return "layers" if method and method != "ngram" else ""


def _traits(case: Case) -> frozenset[str]:
    """The words of `data/prompt_graphs.csv` that hold."""
    options, mixers = case.options, case.architecture.mixer_counts
    text = case.architecture.config.get("text_config")
    linear = (text if isinstance(text, dict) else case.architecture.config).get("linear_attn_config")
    exchange = options.expert_exchange.lower()
    said = {
        "multimodal": any(tensor.tower in (Tower.VISION, Tower.AUDIO) for tensor in case.architecture.tensors),
        "pipeline": case.stages > 1,
        "latent": any(mixer.latent_elements and not mixer.indexer_elements for mixer in mixers),
        "kda": isinstance(linear, dict) and bool(linear.get("kda_layers")),
        "drafts": bool(options.draft_method),
        "groups": bool(options.attention_data_parallel),
        "lora": bool(options.lora or options.lora_files),
        "exchange": exchange not in ("", "none"),
        "deepep": exchange == "deepep",
        "eager": options.graphs is False,
        "no prompts": options.prompt_graphs is False,
    }
    return frozenset(word for word, holds in said.items() if holds)
