"""Find the bytes of tokenizer and metadata in GGUF files of known header size: the figures of data/gguf_tokenizers.csv.

    python tools/gguf_tokenizer_bytes.py

A header is 24 bytes, metadata, tokenizer and the list of tensors; the list follows from the model, the rest is left.
Reads the files that the tests know to the byte and the models they are of.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

from sizer.model import families
from sizer.precision.gguf_header import FIXED_BYTES, tensor_list_bytes
from sizer.precision.gguf_tensors import gguf_model

DATA = Path(__file__).resolve().parent.parent / "tests" / "data" / "precision"


def main() -> None:
    """Print model, vocabulary and bytes of each file whose model is described."""
    known = json.loads((DATA / "published_models.json").read_text(encoding="utf-8"))
    print(f"{'file':44} {'arch':10} {'vocabulary':>10} {'bytes':>9} {'a token':>8}")
    with (DATA / "gguf_exact_file_bytes.csv").open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            entry = known.get(row["hf_model_id"])
            if entry is None:
                continue
            config = json.loads((DATA / "gguf_configs" / f"{entry['config']}.json").read_text(encoding="utf-8"))
            model = families.build(config | entry["change"], row["hf_model_id"])
            file = gguf_model(model, "old")
            left = int(row["header_bytes"]) - FIXED_BYTES - tensor_list_bytes(file)
            rate = left / model.vocab_size
            name = f"{row['model']} {row['quant']}"[:44]
            print(f"{name:44} {file.arch:10} {model.vocab_size:10} {left:9} {rate:8.2f}")


if __name__ == "__main__":
    main()
