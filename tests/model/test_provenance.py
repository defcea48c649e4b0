"""What configs rest on: no silent default in the catalogue, an honest word about those of a user's own file."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from sizer.model.families import build
from sizer.model.read import catalogue
from sizer.model.read.provenance import refused, rule_of
from sizer.model.read.resolve import resolve
from sizer.tables import read_rows

KNOWN = Path(__file__).parent.parent / "data" / "families" / "known_caches.csv"
TOKENS = 32768
BASES = {"published", "rule", "none", "unknown"}
# Authors count embeddings, routers and norms in or out of what is active, and round.
ACTIVE_TOLERANCE = 0.12


def _known() -> list[dict[str, str]]:
    with KNOWN.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("entry", catalogue.entries(), ids=lambda entry: entry.model_id)
def test_no_entry_rests_on_a_silent_default(entry: catalogue.CatalogueEntry) -> None:
    """Window, layer kinds, experts a token, loops, type and context stand in the file or are vouched for by a rule."""
    assert not refused(entry)


def test_a_silent_default_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check can fail: Mistral-Nemo without its null window, type and context is refused for each."""
    entry = catalogue.find("mistralai/Mistral-Nemo-Instruct-2407")
    assert entry is not None
    gone = ("sliding_window", "torch_dtype", "max_position_embeddings")
    partial = {name: value for name, value in catalogue.load(entry).items() if name not in gone}
    monkeypatch.setattr("sizer.model.read.provenance.load", lambda _entry: partial)
    why = refused(entry)
    assert len(why) == 3
    assert "sliding_window" in why[0]


def test_every_told_field_is_in_its_file() -> None:
    """Each row of `data/config_fields.csv` is about a catalogued model, has a basis of the list and a source; the
    unknown ones are told with the model."""
    unknown: dict[str, list[str]] = {}
    for row in read_rows("config_fields.csv"):
        assert row["basis"] in BASES
        assert row["source"]
        entry = catalogue.find(row["id"])
        assert entry is not None
        assert entry.model_id == row["id"]
        if row["basis"] == "unknown":
            unknown.setdefault(row["id"], []).append(row["field"])
    assert unknown == {entry.model_id: list(entry.unknown) for entry in catalogue.entries() if entry.unknown}


def test_every_family_rule_has_a_source_and_a_family() -> None:
    """A rule says where it was read, and is about a model_type that the catalogue holds."""
    types = {entry.model_type for entry in catalogue.entries()}
    for row in read_rows("family_rules.csv"):
        assert row["source"]
        assert row["model_type"] in types


def test_a_rule_is_found_by_family_and_field() -> None:
    """Gemma 2's pattern of windows is its paper's, also of a part of the config; the window itself is no rule."""
    for field in ("layer_types", "text_config.layer_types"):
        assert "2408.00118" in str(rule_of("gemma2", field))
    assert rule_of("gemma2", "sliding_window") is None


@pytest.mark.parametrize("row", _known(), ids=lambda row: row["model"])
def test_known_caches_contexts_and_active_parameters(row: dict[str, str]) -> None:
    """Cache at 32k = layers x (2 x KV heads x head size, or the latent) x 2 bytes over the context or the window, to
    the byte; the context to the token; active parameters as the authors round them."""
    entry = catalogue.find(row["model"])
    assert entry is not None
    built = build(catalogue.load(entry), row["model"])
    if row["full_layers"]:
        per_token = int(row["latent"]) if row["latent"] else 2 * int(row["kv_heads"]) * int(row["head_size"])
        tokens = int(row["full_layers"]) * TOKENS + int(row["window_layers"]) * int(row["window_tokens"] or 0)
        mixers = built.mixer_counts.items()
        kept = sum(count * mixer.kv_elements_per_token * mixer.cached_tokens(TOKENS) for mixer, count in mixers)
        assert 2 * kept == 2 * per_token * tokens
    if row["context"]:
        assert built.max_context_tokens == int(row["context"])
    if row["active_b"]:
        # Some authors count the table of which one row is read, some do not.
        counts = (built.active_params, built.active_params - built.vocab_size * built.hidden_size)
        assert min(abs(count / 1e9 / float(row["active_b"]) - 1) for count in counts) <= ACTIVE_TOLERANCE


def test_the_oracle_is_large() -> None:
    """Two hundred models or more have a known cache, and forty known active parameters."""
    rows = _known()
    assert sum(bool(row["full_layers"]) for row in rows) >= 200
    assert sum(bool(row["active_b"]) for row in rows) >= 40


MISTRAL = {
    "architectures": ["MistralForCausalLM"], "model_type": "mistral", "hidden_size": 5120, "intermediate_size": 14336,
    "num_hidden_layers": 40, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 131072,
    "max_position_embeddings": 131072, "torch_dtype": "bfloat16", "tie_word_embeddings": False,
}  # fmt: skip
GRANITE = {
    "architectures": ["GraniteMoeForCausalLM"], "model_type": "granitemoe", "hidden_size": 1024, "vocab_size": 49155,
    "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 8, "intermediate_size": 512,
    "num_local_experts": 32, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "max_position_embeddings": 131072,
}  # fmt: skip


def _notes(config: dict[str, Any], folder: Path) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(config), encoding="utf-8")
    return "\n".join(resolve(str(path), offline=True).architecture.notes)


def test_a_users_config_is_told_its_default_and_what_it_would_change(tmp_path: Path) -> None:
    """A Mistral without a window field, a Granite mixture without experts a token: the default, and the other value."""
    notes = _notes(MISTRAL, tmp_path)
    assert "no sliding_window: 4096 is taken" in notes
    assert "5.00 GiB instead of 0.62" in notes
    notes = _notes(GRANITE, tmp_path)
    assert "no num_experts_per_tok: 2 is taken" in notes
    assert "0.43B parameters are active instead of 0.20B" in notes


def test_a_whole_config_is_told_nothing(tmp_path: Path) -> None:
    """Where the file says it, or all real configs agree, there is nothing to say."""
    assert _notes({**MISTRAL, "sliding_window": None}, tmp_path) == ""
    llama = {**MISTRAL, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    assert _notes(llama, tmp_path) == ""


def test_a_file_without_a_type_is_told_so(tmp_path: Path) -> None:
    """float32 is taken, and half of it is what most checkpoints are."""
    assert "names no torch_dtype" in _notes({k: v for k, v in MISTRAL.items() if k != "torch_dtype"}, tmp_path)


SHAPING_NOTES = [
    ({"num_key_value_heads": ...}, ("one for each attention head is taken", "5.00 GiB instead of 20.00")),
    ({"tie_word_embeddings": ...}, ("no tie_word_embeddings: False is taken", "parameters instead of")),
    ({"max_position_embeddings": ...}, ("tells no context", "2,048 tokens are taken")),
]


@pytest.mark.parametrize(("changes", "said"), SHAPING_NOTES, ids=lambda value: next(iter(value)))
def test_what_a_file_leaves_to_its_class_is_said(
    changes: dict[str, Any], said: tuple[str, ...], tmp_path: Path
) -> None:
    """Key/value heads, tying and the context, which parameters reveal in the catalogue but to nobody in a user's own
    file: the default that was taken, and what the published others would change."""
    whole = {**MISTRAL, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}
    assert _notes(whole, tmp_path) == ""
    notes = _notes({name: value for name, value in whole.items() if changes.get(name) is not ...}, tmp_path)
    assert all(words in notes for words in said)


def test_an_absent_text_model_is_said(tmp_path: Path) -> None:
    """A wrapper whose text_config is missing or null is its class's own defaults, and says so."""
    wrapper: dict[str, Any] = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3"}
    for config in (wrapper, {**wrapper, "text_config": None}):
        assert "The file has no text_config: the sizes are the class's own defaults." in _notes(config, tmp_path)


def test_a_default_is_compared_under_its_class_s_name(tmp_path: Path) -> None:
    """Qwen3-MoE files spell `num_experts` what their class calls otherwise: what published files say is found."""
    config = {
        **GRANITE, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "moe_intermediate_size": 768,
        "num_experts_per_tok": 8,
    }  # fmt: skip
    del config["num_local_experts"]
    assert "128 is taken, the default of its class" in _notes(config, tmp_path)
