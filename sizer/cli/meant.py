"""What was meant by a command or an option that sizer calls otherwise: read only once something is not known."""

from __future__ import annotations

import re

import click

from sizer.errors import did_you_mean

OPTIONS = {
    "--tps": "--min-speed", "--speed": "--min-speed", "--tokens-per-second": "--min-speed", "--gpu": "--device",
    "--quant": "--precision", "--quantization": "--precision", "--ctx": "--context", "--ctx-size": "--context",
    "--max-model-len": "--context", "--batch-size": "--batch", "--backend": "--engine",
}  # fmt: skip
"""What other tools call an option."""

COMMANDS = {
    "help": "'sizer --help' lists the commands, 'sizer COMMAND --help' tells what one takes.",
    "version": "'sizer --version' tells it.",
    "run serve launch start": "'sizer recommend MODEL' prints the command that runs it, 'sizer chat MODEL' talks.",
    "list ls search find show": "'sizer models TEXT' lists the catalogue, 'sizer installed' what this machine holds.",
    "gpu gpus cpu info system detect scan doctor machine": "'sizer probe' tells what this machine is.",
    "compare diff vs": "'sizer estimate A B' tells two models, 'sizer bench --compare A B' two saved results.",
    "cost costs price prices pricing": (
        "'sizer capacity MODEL -d D' tells what tokens cost, 'sizer hardware MODEL --sort price' what is cheap."
    ),
    "users load throughput concurrency": "'sizer capacity MODEL -d D --users 50' tells what they see.",
    "train training finetune fine-tune lora qlora": "sizer sizes inference alone: what training takes is not told.",
    "quantize quant quants quantization": "'sizer recommend MODEL' tells which, 'sizer precisions' lists all.",
    "memory vram ram size calc calculate predict context kv": "'sizer estimate MODEL' tells memory, context and speed.",
    "pull download install get": "sizer fetches no weights: 'sizer recommend MODEL' prints the command that does.",
    "ui gui page server dashboard api": "'sizer web' serves the page and its API.",
    "update upgrade refresh": "'sizer models update' asks the hub for what is new.",
    "explain why": "'sizer estimate MODEL -p PRECISION --explain' writes out the arithmetic.",
}
"""What people who know other tools call a command, and what to type instead."""

_MODEL = re.compile(r"[\w.-]+/[\w.:-]+|.*\.(?:gguf|safetensors|json)|https?://\S+", re.IGNORECASE)


def command_hint(word: str, known: list[str]) -> str:
    """What to type instead of a command that does not exist: the one that is meant, that a model is estimated, or the
    nearest name."""
    told = next((hint for words, hint in COMMANDS.items() if word.lower() in words.split()), None)
    if told is not None:
        return told
    if _names_a_model(word):
        return f"Did you mean 'sizer estimate {word}'?"
    return did_you_mean(word, known) or "'sizer --help' lists the commands."


def _names_a_model(word: str) -> bool:
    """Whether a word is a model's: a repository, a file, a catalogued name or a size."""
    from sizer.model.read.catalogue import find
    from sizer.model.read.names import parse_name

    return bool(_MODEL.fullmatch(word)) or find(word) is not None or parse_name(word).total_params is not None


def missing_hint(ctx: click.Context, param: click.Parameter) -> str:
    """What to type where an argument is missing: the first example of the command's help, and how to find a model."""
    lines = (line.strip() for line in (ctx.command.help or "").splitlines())
    example = next((line for line in lines if line.startswith(f"{ctx.command_path} ")), None)
    told = f" For example: '{example}'." if example else ""
    return told + (
        " No model in mind? 'sizer fit --device D' lists what D runs." if param.name in ("model", "models") else ""
    )
