"""Writes data/config_defaults/<model_type>.json: what each transformers config class takes for fields a file omits.

Run with the transformers version of the test extra: python tools/config_defaults.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# Fields that say nothing about sizes: leaving them out keeps the files small.
SILENT = (
    "_name_or_path", "transformers_version", "architectures", "id2label", "label2id", "problem_type", "return_dict",
    "output_attentions", "output_hidden_states", "chunk_size_feed_forward", "bos_token_id", "eos_token_id",
    "pad_token_id", "sep_token_id", "initializer_range", "use_cache", "torchscript", "pruned_heads", "dtype",
    "task_specific_params", "finetuning_task", "_attn_implementation", "_attn_implementation_internal",
)  # fmt: skip


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items() if key not in SILENT}
    return value


def main() -> None:
    """Write one file for each model type; name on stderr those whose class cannot be built from nothing."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    folder = Path(__file__).resolve().parent.parent / "data" / "config_defaults"
    folder.mkdir(parents=True, exist_ok=True)
    for model_type, config_class in CONFIG_MAPPING.items():
        try:
            fields = _plain(config_class().to_dict())
            text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        except Exception as error:
            print(f"{model_type}: {type(error).__name__}: {error}"[:160], file=sys.stderr)
            continue
        (folder / f"{model_type}.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
