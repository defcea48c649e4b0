"""What mlx-lm's versions hold while they read a prompt."""

from __future__ import annotations

import pytest

import sizer
from sizer.units import GB


def activations(model: str, version: str, prompt: int) -> float:
    """Gigabytes of working memory of a 4-bit model on an M3 Ultra."""
    answer = sizer.estimate(
        model, device="apple-m3-ultra", precision="mlx-4bit", engine=f"mlx-lm@{version}", prompt=prompt
    )
    return answer.estimates[0].memory.activations_bytes / GB


def test_old_versions_give_logits_for_the_last_chunk() -> None:
    """Before 0.27 each token of a prompt's last chunk (2,048) had logits in 16 bits: 0.53 GB of Llama-3.2-3B's."""
    new, old = (activations("meta-llama/Llama-3.2-3B-Instruct", version, 2048) for version in ("0.32", "0.26.3"))
    assert old - new == pytest.approx(0.53 - 0.16, abs=0.06)
    assert activations("meta-llama/Llama-3.2-3B-Instruct", "0.26.3", 64) < old - 0.45


@pytest.mark.parametrize(("version", "tokens"), [("0.32", 256), ("0.28.3", 2048), ("0.27", 0)])
def test_a_state_space_layer_compares_tokens_at_once(version: str, tokens: int) -> None:
    """Granite-4.0-H-Small's 128 heads: 8 bytes for each pair of 256 tokens, of the whole chunk from 0.28 to 0.28.3."""
    plain = activations("ibm-granite/granite-4.0-h-small", "0.27", 2048)
    assert activations("ibm-granite/granite-4.0-h-small", version, 2048) - plain == pytest.approx(
        128 * tokens**2 * 8 / GB, abs=0.01
    )
