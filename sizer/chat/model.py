"""The model behind a chat: transformers' TextGenerationPipeline over the tokenizer's chat template, streamed."""

from __future__ import annotations

import _thread
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sizer.benchmark.death import is_memory_talk
from sizer.benchmark.records import Spec
from sizer.chat.session import Answer, Message, Predicted
from sizer.errors import ModelError, SizerError, UsageError
from sizer.printable import MOST_SHOWN, one_line, printable
from sizer.signals import handled

if TYPE_CHECKING:
    from sizer.answer.records import Estimate

DEFAULT_NEW_TOKENS = 1024
"""Of one answer, unless asked otherwise."""
TEMPLATE_LIMIT_S = 10.0
"""How long a chat template may take for a prompt: those that end take milliseconds."""

Predictor = Callable[[int, int], "Estimate | None"]


class ChatModel:
    """A loaded model and its tokenizer. `predictor` estimates a prompt and an answer of given lengths."""

    def __init__(self, spec: Spec, flags: dict[str, Any], predictor: Predictor, write: Callable[[str], None]) -> None:
        from transformers import TextGenerationPipeline
        from transformers.utils import logging

        from sizer.benchmark.transformers_loading import load, pick_device

        logging.set_verbosity_error()
        logging.disable_progress_bar()
        self.name = spec.model
        self.flags = flags
        self.predictor = predictor
        self.write = write
        self.tokenizer = load_tokenizer(spec)
        model = load(spec, pick_device(spec.device))
        if "max_new_tokens" not in flags and "max_length" not in flags:
            self.flags = {"max_new_tokens": model.generation_config.max_new_tokens or DEFAULT_NEW_TOKENS, **flags}
        self.max_context_tokens = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        self.pipeline = TextGenerationPipeline(model=model, tokenizer=self.tokenizer)

    def answer(self, messages: list[Message]) -> Answer:
        """Stream the answer to `write`. Ctrl-C stops it after the current token; what was said stays in the history."""
        prompt_tokens = self._prompt_tokens(messages)
        if self.max_context_tokens and prompt_tokens >= self.max_context_tokens:
            raise UsageError(
                f"The history has {prompt_tokens} tokens, and the model takes {self.max_context_tokens}.",
                "/clear forgets it.",
            )
        streamer = _Streamer(self.tokenizer, self.write)
        start = time.perf_counter()
        with _interruptible(streamer):
            try:
                self.pipeline(
                    messages,
                    streamer=streamer.streamer,
                    stopping_criteria=[streamer],
                    return_full_text=False,
                    **self.flags,
                )
            except KeyboardInterrupt:
                streamer.stopped = True
            except (MemoryError, RuntimeError) as error:
                if not (isinstance(error, MemoryError) or is_memory_talk(f"{type(error).__name__}: {error}")):
                    raise
                raise SizerError(
                    "The memory did not suffice for this answer.", "/clear shortens the history."
                ) from error
        self.write("\n")
        return Answer(
            text=streamer.text,
            prompt_tokens=prompt_tokens,
            output_tokens=streamer.tokens,
            ttft_s=streamer.first_s - start if streamer.tokens else 0.0,
            decode_s=streamer.last_s - streamer.first_s,
            stopped=streamer.stopped,
        )

    def predict(self, prompt_tokens: int, output_tokens: int) -> Predicted:
        """The estimator's word on such an answer; nothing where it has none."""
        try:
            estimate = self.predictor(prompt_tokens, output_tokens)
        except SizerError:
            return Predicted()
        if estimate is None or estimate.speed is None:
            return Predicted()
        decode, prefill = estimate.speed.decode, estimate.speed.prefill
        return Predicted(decode.tokens_per_s, decode.low_tokens_per_s, decode.high_tokens_per_s, prefill.ttft_s)

    def _prompt_tokens(self, messages: list[Message]) -> int:
        try:
            with _ended_after(TEMPLATE_LIMIT_S):
                tokens = self.tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        except TimeoutError:
            raise UsageError(
                f"The model's chat template did not end within {TEMPLATE_LIMIT_S:g} s.", "/clear shortens the history."
            ) from None
        except Exception as error:  # a template is a program of somebody else: it may raise anything
            roles = ", ".join(dict.fromkeys(message["role"] for message in messages))
            raise UsageError(
                f"The model's chat template does not take these turns ({roles}): {one_line(str(error))[:MOST_SHOWN]}.",
                "Many templates have no system turn: leave --system out.",
            ) from error
        return len(tokens["input_ids"])


@contextmanager
def _ended_after(seconds: float) -> Iterator[None]:
    """TimeoutError where the body still runs then; it must run in the main thread, which alone can be interrupted."""
    late = threading.Event()

    def interrupt() -> None:
        late.set()
        _thread.interrupt_main()

    timer = threading.Timer(seconds, interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        if late.is_set():
            raise TimeoutError from None
        raise
    finally:
        timer.cancel()


def load_tokenizer(spec: Spec) -> Any:
    """The tokenizer, which must have a chat template. ModelError says what is missing."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(
            spec.model,
            local_files_only=spec.offline,
            trust_remote_code=spec.trust_remote_code,
            revision=spec.revision or "main",
        )
    except (OSError, ValueError) as error:
        said = str(error).splitlines()[0][:300]
        raise ModelError(f"The tokenizer of {spec.model!r} cannot be loaded: {said}", "A chat needs one.") from error
    if not tokenizer.chat_template:
        raise ModelError(
            f"{spec.model!r} has no chat template: it is a base model, which continues text but takes no turns.",
            "Choose its instruction-tuned sibling (-Instruct, -it, -chat).",
        )
    return tokenizer


class _Streamer:
    """Writes text as its tokens come, notes their times, and stops generation when asked to."""

    def __init__(self, tokenizer: Any, write: Callable[[str], None]) -> None:
        from transformers import TextStreamer

        owner = self

        class Streamer(TextStreamer):  # type: ignore[misc, unused-ignore]
            """transformers' streamer, which decodes whole words, with a clock."""

            def put(self, value: Any) -> None:
                """Take the prompt first, then one token at a time."""
                if not self.next_tokens_are_prompt:
                    owner.note()
                super().put(value)

            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                """Write a piece of text that no later token changes."""
                owner.text += text
                write(printable(text))  # what a model writes never steers the terminal

        self.streamer = Streamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.text = ""
        self.tokens = 0
        self.first_s = 0.0
        self.last_s = 0.0
        self.stopped = False

    def note(self) -> None:
        """A token is there."""
        self.last_s = time.perf_counter()
        self.first_s = self.first_s or self.last_s
        self.tokens += 1

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:
        """transformers' stopping criterion."""
        import torch

        return torch.full((input_ids.shape[0],), self.stopped, dtype=torch.bool, device=input_ids.device)


@contextmanager
def _interruptible(streamer: _Streamer) -> Iterator[None]:
    """While answering, the first Ctrl-C asks generation to stop; a second one breaks it off at once."""

    def ask_to_stop(_number: int, _frame: object) -> None:
        if streamer.stopped:
            raise KeyboardInterrupt
        streamer.stopped = True

    with handled(ask_to_stop):
        yield


def typed_lines(prompt: str = "> ") -> Iterator[str]:
    """Lines from the terminal with editing and history, or from a pipe; ends at Ctrl-D, and at Ctrl-C."""
    if sys.stdin.isatty():
        import contextlib

        with contextlib.suppress(ImportError):
            import readline  # noqa: F401 - input() edits lines once it is imported
    yield from iter(lambda: _typed_line(prompt), None)


def _typed_line(prompt: str) -> str | None:
    try:
        return input(prompt if sys.stdin.isatty() else "")
    except (EOFError, KeyboardInterrupt):
        return None
