"""Does `sizer bench` measure what a plain loop measures? Both time the same model in one run, turn by turn.

    python benchmarks/bench_vs_plain.py [PRECISION...] [--model M] [--prompt N] [--output N] [--rounds N]

The plain loop is what one would write by hand: a forward pass over the prompt, then one token after the other with the
cache, greedily. Prints tokens/s and the ratio of the best runs, which other work on the machine disturbs least (1.00 is
agreement), with the prediction; exits 1 where a ratio is off by more than a tenth.
"""

from __future__ import annotations

import argparse
import sys
import time
from statistics import median
from typing import Any

from sizer.benchmark.child import measure
from sizer.benchmark.plan import DEFAULT_MODEL, Asked, spec_of
from sizer.benchmark.predict import predict
from sizer.benchmark.records import Spec
from sizer.model.read.resolve import resolve

MAX_DIFFERENCE = 0.10


def plain_loop(model: Any, prompt: Any, output_tokens: int) -> tuple[float, float]:
    """Seconds of the prompt, and seconds of each token after the first."""
    import torch

    with torch.inference_mode():
        start = time.perf_counter()
        result = model(prompt, use_cache=True, logits_to_keep=1)
        token = result.logits[:, -1:].argmax(-1)
        first = time.perf_counter()
        for _ in range(output_tokens - 1):
            result = model(token, past_key_values=result.past_key_values, use_cache=True, logits_to_keep=1)
            token = result.logits[:, -1:].argmax(-1)
        return first - start, (time.perf_counter() - first) / (output_tokens - 1)


def compare(spec: Spec, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds per decoded token, of the bench's runs and of the plain loop's, taken in turns."""
    import torch

    from sizer.benchmark.transformers_loading import load, pick_device

    model = load(spec, pick_device("cpu"))
    prompt = torch.randint(0, model.config.get_text_config().vocab_size, (1, spec.prompt_tokens))
    plain_loop(model, prompt, spec.output_tokens)
    bench, plain = [], []
    for _ in range(rounds):
        outcome = measure(spec, 600)
        bench += [run.decode_s / outcome.decode_steps for run in outcome.runs]
        plain += [plain_loop(model, prompt, spec.output_tokens)[1] for _ in outcome.runs]
    return bench, plain


def main() -> int:
    """Compare each precision; 1 where one differs by more than a tenth."""
    import logging
    import warnings

    # bitsandbytes says at every product that it casts: thousands of lines that hide the table.
    warnings.filterwarnings("ignore", message="MatMul8bitLt")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("precisions", nargs="*", default=["bf16", "int8", "nf4"])
    parser.add_argument("--model", default=DEFAULT_MODEL)
    parser.add_argument("--prompt", type=int, default=64)
    parser.add_argument("--output", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    resolved = resolve(chosen.model, offline=True)
    print("precision  bench best (median)  plain best (median)  ratio of bests  predicted tokens/s")
    worst = 0.0
    for precision in chosen.precisions:
        asked = Asked(
            model=chosen.model,
            precision=precision,
            device="cpu",
            prompt_tokens=chosen.prompt,
            output_tokens=chosen.output,
            random_weights=True,
        )
        spec = spec_of(asked, resolved)
        bench, plain = compare(spec, chosen.rounds)
        estimate = predict(asked, spec, resolved, "transformers")
        predicted = f"{estimate.speed.decode.tokens_per_s:.1f}" if estimate and estimate.speed else "-"
        ratio = min(plain) / min(bench)
        worst = max(worst, abs(ratio - 1))
        print(f"{precision:9}  {_rates(bench):>19}  {_rates(plain):>19}  {ratio:14.3f}  {predicted:>18}", flush=True)
    return int(worst > MAX_DIFFERENCE)


def _rates(seconds: list[float]) -> str:
    return f"{1 / min(seconds):.2f} ({1 / median(seconds):.2f})"


if __name__ == "__main__":
    sys.exit(main())
