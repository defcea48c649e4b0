"""The hub's own environment variables, in a process of its own, because the client reads them when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from hubserver import Repo, serve

SCRIPT = """
import sys
from sizer.errors import SizerError
from sizer.model.read.resolve import resolve
try:
    found = resolve(sys.argv[1])
    print(found.basis.value, found.architecture.total_params)
except SizerError as error:
    print(type(error).__name__)
"""
CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 96,
    "num_hidden_layers": 1, "vocab_size": 50, "num_attention_heads": 4, "num_key_value_heads": 2,
    "tie_word_embeddings": True,
}  # fmt: skip


def test_environment_of_the_client_is_obeyed(tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE are obeyed, and nothing else is printed."""
    with serve() as hub:
        hub.repos["org/gated"] = Repo({"config.json": json.dumps(CONFIG).encode()}, gated="auto")
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS"))
        }
        online = kept | {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "NO_PROXY": "*"}

        def answer(**changes: str) -> str:
            done = subprocess.run(
                [sys.executable, "-c", SCRIPT, "org/gated"],
                env=online | changes,
                capture_output=True,
                text=True,
                check=True,
                timeout=300,
            )
            assert done.stderr == ""
            return done.stdout.strip()

        assert answer() == "GatedModel"
        told = answer(HF_TOKEN="hf_right")
        assert told.startswith("hub ")
        asked = len(hub.requests)
        assert answer(HF_HUB_OFFLINE="1") == told
        assert len(hub.requests) == asked
        assert (tmp_path / "hub" / "models--org--gated").is_dir()
