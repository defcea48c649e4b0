"""`sizer check`: will this engine command start?"""

from __future__ import annotations

import sys
from typing import Any

import click

from sizer.cli.common import TOKENS, device_options, output_options, show, talk
from sizer.cli.estimate import devices_asked

DOES_NOT_START = 4
"""The exit code where the command does not start."""


def _piped() -> str:
    """The text that is piped in, one byte more than is read at most. Raises UsageError where there is none."""
    from sizer.engine.scripts import MOST_CHARACTERS
    from sizer.errors import UsageError

    piped = sys.stdin.buffer.read(MOST_CHARACTERS + 1) if sys.stdin is not None else b""  # closed: None
    text = piped.decode(errors="replace")
    if not text.strip():
        raise UsageError("nothing is piped in.", "As in: sizer check -d h100 - < run.sh")
    return f"{text.strip()}\n"


@click.command(context_settings={"allow_interspersed_args": False})
@device_options
@click.option("--prompt", type=TOKENS, metavar="TOKENS", default="512", show_default=True, help="Prompt tokens.")
@click.option("--output", type=TOKENS, metavar="TOKENS", default="128", show_default=True, help="Generated tokens.")
@output_options
@click.option("--offline", is_flag=True, help="Never touch the network.")
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.pass_context
def command(ctx: click.Context, /, words: tuple[str, ...], style: str, offline: bool, **options: Any) -> None:
    """Will this engine command start on --device, what it takes, how fast, and which flag to change.

    COMMAND is what you are about to type: vllm serve, llama-server, ollama run, python -m sglang.launch_server,
    trtllm-serve, mlx_lm.server, transformers serve, docker run ... Nothing is run. A whole script, a Modelfile or
    Python code is read from one quoted text, or with - from what is piped in. The exit code is 0 where it starts, 4
    where it does not.

    \b
    sizer check -d h100 -- vllm serve Qwen/Qwen3-32B --tensor-parallel-size 2 --max-model-len 32768
    sizer check -d 4090 -- llama-server -hf unsloth/Qwen3-8B-GGUF:Q4_K_M -c 32768 -ctk q8_0 -ctv q8_0
    sizer check -d m2-ultra -- OLLAMA_NUM_PARALLEL=4 ollama run llama3.1:8b
    sizer check -d 4xh100 - < compose.yaml
    """
    from sizer.api.check import checked, launched
    from sizer.report.check import check_document

    if words == ("-",):
        words = (_piped(),)
    plans = launched(words, devices_asked(options), options["prompt"], options["output"], offline=offline, say=talk)
    found = checked(plans)
    show(check_document(found), style)
    if not all(item.starts for item in found):
        ctx.exit(DOES_NOT_START)
