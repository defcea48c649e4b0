"""`sizer chat`: a chat in the terminal, the speed of each answer beside the prediction."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from sizer.answer.records import Estimate
    from sizer.benchmark.plan import Asked


@click.command()
@click.argument("model")
@click.argument("flags", nargs=-1, metavar="[FLAG=VALUE]...")
@click.option("--precision", "-p", default="", metavar="P", help="[default: what recommend chooses for this machine]")
@click.option("--device", "-d", default="auto", show_default=True, metavar="D", help="cpu, cuda, cuda:1, mps or auto.")
@click.option("--system", default="", metavar="TEXT", help="The system turn.")
@click.option("--threads", type=click.IntRange(1, 4096), help="CPU threads.  [default: one a core]")
@click.option("--trust-remote-code", is_flag=True, help="Run code from the model's repository. Read it first.")
@click.option("--offline", is_flag=True, help="Never touch the network.")
def command(model: str, flags: tuple[str, ...], system: str, **options: Any) -> None:
    """Chat with MODEL (a hub id or a directory) in the terminal.

    FLAGs go to generate(), as `do_sample=False max_new_tokens=64`. In the chat, /help lists the commands; Ctrl-C stops
    an answer.

    \b
    sizer chat Qwen/Qwen3-0.6B
    sizer chat ./my-model --precision nf4 --system "Answer in one sentence." max_new_tokens=128
    """
    from sizer.benchmark.plan import Asked, is_gguf, spec_of
    from sizer.chat.choose import choose_precision, estimate_for
    from sizer.chat.flags import parse_flags
    from sizer.chat.session import Session
    from sizer.errors import UsageError
    from sizer.model.read.resolve import resolve

    if is_gguf(model):
        raise UsageError(f"sizer chat runs transformers, not {model!r}.", f"Use: llama-cli -m {model}")
    generate_flags = parse_flags(flags)
    _check_packages()
    resolved = resolve(model, offline=options["offline"])
    asked = Asked(model=model, **options)
    with _of_weights():
        precision, reason = choose_precision(asked, resolved)
    asked = _reached(replace(asked, precision=precision))

    def predictor(prompt_tokens: int, output_tokens: int) -> Estimate | None:
        lengths = replace(asked, prompt_tokens=prompt_tokens, output_tokens=max(2, output_tokens))
        return estimate_for(lengths, resolved)

    _say(f"Loading {model} at {precision} ({reason.rstrip('.')}) ...")
    from sizer.chat.model import ChatModel, typed_lines

    _check_flags(generate_flags)
    with _of_weights():
        chat_model = ChatModel(spec_of(asked, resolved), generate_flags, predictor, _write)
    _say("/help lists the commands; Ctrl-C stops an answer, Ctrl-D leaves.")
    Session(chat_model, _say, system).run(typed_lines())


def _reached(asked: Asked) -> Asked:
    """What is asked for, from the hub's cache where the hub does not answer."""
    from sizer.chat.reach import hub_answers

    if asked.offline or hub_answers(asked.model):
        return asked
    _say("The hub does not answer: what its cache on this machine holds is loaded.")
    return replace(asked, offline=True)


@contextmanager
def _of_weights() -> Iterator[None]:
    """What cannot be loaded is refused as a benchmark refuses it, but random weights have nothing to say in a chat."""
    from sizer.errors import NothingToLoad, UnloadableWeights

    try:
        yield
    except (NothingToLoad, UnloadableWeights) as error:
        hint = "A chat needs a model's weights as safetensors: name a folder or a repository that has them."
        raise type(error)(error.message, hint) from None


def _check_packages() -> None:
    from importlib.util import find_spec

    from sizer.errors import UsageError

    for package in ("torch", "transformers"):
        if find_spec(package) is None:
            raise UsageError(f"A chat needs {package}, which is not installed.", "pip install 'sizer-llm[bench]'")


def _check_flags(flags: dict[str, Any]) -> None:
    from transformers import GenerationConfig

    from sizer.chat.flags import check_flags

    check_flags(flags, [name for name in vars(GenerationConfig()) if not name.startswith("_")])


def _say(text: str) -> None:
    click.echo(text, err=True)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
