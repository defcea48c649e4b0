"""Writes data/config_defaults/<model_type>.json: what each transformers config class takes for fields a file omits.

Raw field defaults, not `Config().to_dict()`: the latter holds values that `__post_init__` derives from other fields
(`head_dim = hidden_size // heads`), which are right for the class's own default sizes only. Run with the transformers
version of the test extra: python tools/config_defaults.py
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

# Fields that say nothing about sizes: leaving them out keeps the files small.
SILENT = {
    "transformers_version", "architectures", "id2label", "label2id", "problem_type", "return_dict", "output_attentions",
    "output_hidden_states", "chunk_size_feed_forward", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id",
    "decoder_start_token_id", "forced_eos_token_id", "initializer_range", "use_cache", "dtype", "rms_norm_eps",
    "layer_norm_eps", "layer_norm_epsilon", "norm_eps", "rope_parameters", "task_specific_params",
    "begin_suppress_tokens", "suppress_tokens",
}  # fmt: skip


# Encoders of texts that have no causal class.
ENCODERS = ("modernbert", "mpnet", "distilbert")

# Old names of fields that a class's __post_init__ moves to the new name: they are aliases too.
RENAMED = {
    "bloom": {"n_embed": "hidden_size"},
    "falcon": {"n_embed": "hidden_size"},
    "deepseek_v32": {"num_experts": "n_routed_experts"},
    "glm_moe_dsa": {"num_experts": "n_routed_experts"},
    "dots3_note_text": {"moe_shared_expert_intermediate_size": "shared_experts_intermediate_size"},
}


def _plain(value: Any) -> Any:
    """`value` as JSON holds it; None where JSON cannot."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (bool, int, float, str)) else None


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return None if field.default_factory is dataclasses.MISSING else field.default_factory()


def describe(config_class: Any) -> dict[str, Any]:
    """Field defaults, aliases (`attribute_map`) and sub-config classes of one config class."""
    subs = {
        key: {
            "model_type": spec.model_type,
            # A concrete class is built whatever model_type the file gives; AutoConfig follows the file.
            "fixed": hasattr(spec.config_class, "default_config_fields"),
            "optional": spec.optional,
            "init": _plain(spec.init_kwargs),
        }
        for key, spec in config_class.sub_configs_defaults.items()
    }
    # A field that is itself an alias is stored under the name that the alias leads to, as attribute access does.
    defaults = {
        config_class.attribute_map.get(field.name, field.name): _plain(_default(field))
        for field in dataclasses.fields(config_class)
        if field.name not in SILENT and field.name not in subs
    }
    return {
        "fields": defaults,
        "aliases": {**config_class.attribute_map, **RENAMED.get(config_class.model_type, {})},
        "sub_configs": subs,
    }


def reached() -> dict[str, Any]:
    """Config classes of the text-generating mappings, with their sub-configs, by model_type."""
    from transformers.models.auto import modeling_auto as auto
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    names = [
        *auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
        *auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
        *auto.MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES,
        *auto.MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
        *ENCODERS,
    ]
    found: dict[str, Any] = {}
    waiting = [(name, CONFIG_MAPPING[name]) for name in dict.fromkeys(names)]
    while waiting:
        model_type, config_class = waiting.pop()
        if not model_type or model_type in found:  # some sub-configs are classes without a name
            continue
        found[model_type] = config_class
        for spec in config_class.sub_configs_defaults.values():
            fixed = hasattr(spec.config_class, "default_config_fields")
            sub_class = spec.config_class if fixed else CONFIG_MAPPING[spec.model_type]
            waiting.append((spec.model_type, sub_class))
    return found


def main() -> None:
    """Write one file for each model type, into the folder of the first argument where there is one."""
    stored = Path(__file__).resolve().parent.parent / "data" / "config_defaults"
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else stored
    folder.mkdir(parents=True, exist_ok=True)
    for model_type, config_class in reached().items():
        text = json.dumps(describe(config_class), sort_keys=True, separators=(",", ":"))
        (folder / f"{model_type}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
