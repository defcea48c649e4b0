"""The conversation: its turns, its commands, and the loop around them. Knows no model: it is given one to ask."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import field
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Protocol

from sizer.errors import SizerError, did_you_mean
from sizer.frozen import dataclass
from sizer.printable import MOST_SHOWN, one_line
from sizer.units import format_rate, format_seconds

COMMANDS = {
    "/clear": "forget the conversation (the system text stays)",
    "/save": "write the conversation as JSON: /save [FILE]",
    "/stats": "tokens and speeds so far",
    "/exit": "leave (also Ctrl-D, or Ctrl-C at the prompt); /exit FILE saves the conversation first",
    "/help": "this list",
}

Message = dict[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its text, its tokens and times. `stopped` says that the user broke it off."""

    text: str
    prompt_tokens: int
    output_tokens: int
    ttft_s: float
    decode_s: float
    stopped: bool = False

    @property
    def tokens_per_s(self) -> float | None:
        """Decode speed: the tokens after the first over their time."""
        return (self.output_tokens - 1) / self.decode_s if self.output_tokens > 1 and self.decode_s > 0 else None


@dataclass(frozen=True, slots=True)
class Predicted:
    """What the estimator says of one answer; None where it cannot tell."""

    tokens_per_s: float | None = None
    low_tokens_per_s: float | None = None
    high_tokens_per_s: float | None = None
    ttft_s: float | None = None


class Model(Protocol):
    """What a session asks: an answer to a history (streamed by the model itself), and a prediction for it."""

    name: str

    def answer(self, messages: list[Message]) -> Answer:
        """Answer the last turn, writing the text as it comes."""

    def predict(self, prompt_tokens: int, output_tokens: int) -> Predicted:
        """The prediction for a prompt and an answer of these lengths."""


@dataclasses.dataclass
class Session:
    """A conversation with a model. `say` writes talk (stats, help): the answers' text is the model's to write."""

    model: Model
    say: Callable[[str], None]
    system: str = ""
    turns: list[Message] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def messages(self) -> list[Message]:
        """The history with the system turn first, where there is one."""
        return ([{"role": "system", "content": self.system}] if self.system else []) + self.turns

    def run(self, lines: Iterator[str]) -> None:
        """Take lines until they end or one is /exit. What ends it otherwise does not take the conversation along."""
        try:
            self._take(lines)
        except BaseException:
            if self.turns:
                self.save("")
            raise

    def _take(self, lines: Iterator[str]) -> None:
        for line in lines:
            text = line.strip()
            if not text:
                continue
            if text.startswith("/"):
                if not self.command(text):
                    return
            else:
                # Ctrl-C stops an answer; one that comes a moment too late must not end the chat.
                with contextlib.suppress(KeyboardInterrupt):
                    self.ask(text)

    def ask(self, text: str) -> None:
        """One user turn and its answer. A turn that fails is taken back, so that the next is not answered with it.

        Whatever fails in the model, its template or its streaming, the turn is lost and not the conversation.
        """
        self.turns.append({"role": "user", "content": text})
        try:
            answer = self.model.answer(self.messages)
        except SizerError as error:
            self.turns.pop()
            self.say(str(error))
            return
        except OSError:  # the terminal or the pipe that the answer is written to
            self.turns.pop()
            raise
        except Exception as error:
            self.turns.pop()
            self.say(f"The turn is lost: {type(error).__name__}: {one_line(str(error))[:MOST_SHOWN]}")
            return
        except BaseException:
            self.turns.pop()
            raise
        self.turns.append({"role": "assistant", "content": answer.text})
        self.answers.append(answer)
        self.say(speed_line(answer, self._predicted(answer)))

    def _predicted(self, answer: Answer) -> Predicted:
        try:
            return self.model.predict(answer.prompt_tokens, max(1, answer.output_tokens))
        except (SizerError, ValueError, ArithmeticError):
            return Predicted()

    def command(self, text: str) -> bool:
        """Obey a /command; False where it ends the session."""
        name, _, argument = text.partition(" ")
        if name in ("/exit", "/quit"):
            return bool(argument.strip()) and not self.save(argument.strip())
        if name == "/clear":
            self.turns.clear()
            self.say("The conversation is forgotten.")
        elif name == "/save":
            self.save(argument.strip())
        elif name == "/stats":
            self.say(stats_text(self.answers, len(self.turns)))
        elif name == "/help":
            self.say("\n".join(f"{command:8} {meaning}" for command, meaning in COMMANDS.items()))
        else:
            self.say(f"No such command {name!r}. {did_you_mean(name, COMMANDS) or '/help lists them.'}")
        return True

    def save(self, name: str) -> bool:
        """Write the conversation; a failure is told (and False), and the conversation goes on."""
        now = datetime.now(timezone.utc)
        path = Path(name or f"sizer-chat-{now:%Y%m%d-%H%M%S}.json").expanduser()
        speeds = [answer.tokens_per_s for answer in self.answers]
        document = {
            "schema_version": 1,
            "model": self.model.name,
            "saved": now.isoformat(timespec="seconds"),
            "messages": self.messages,
            "decode_tokens_per_s": speeds,
        }
        try:
            write_whole(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        except OSError as error:
            self.say(f"Not saved to {str(path)!r}: {error.strerror or error}.")
            return False
        self.say(f"Saved to {path}.")
        return True


def write_whole(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as out:
            out.write(text)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def speed_line(answer: Answer, predicted: Predicted) -> str:
    """`[37 tokens, 18.9 tokens/s (predicted 19.2, 17.1-21.4); first after 212 ms (predicted 190 ms)]`."""
    rate = answer.tokens_per_s
    pieces = [f"{answer.output_tokens} token{'s' if answer.output_tokens != 1 else ''}"]
    if rate is not None:
        pieces.append(f"{format_rate(rate)} tokens/s{_beside(predicted)}")
    first = f" (predicted {format_seconds(predicted.ttft_s)})" if predicted.ttft_s else ""
    if answer.output_tokens:
        pieces.append(f"first after {format_seconds(answer.ttft_s)}{first}")
    if answer.stopped:
        pieces.append("stopped")
    return f"[{', '.join(pieces)}]"


def _beside(predicted: Predicted) -> str:
    if predicted.tokens_per_s is None:
        return " (no prediction)"
    if predicted.low_tokens_per_s is None or predicted.high_tokens_per_s is None:
        return f" (predicted {format_rate(predicted.tokens_per_s)} at most)"
    interval = f"{format_rate(predicted.low_tokens_per_s)}-{format_rate(predicted.high_tokens_per_s)}"
    return f" (predicted {format_rate(predicted.tokens_per_s)}, {interval})"


def stats_text(answers: list[Answer], turns: int) -> str:
    """Totals and medians of the session so far."""
    if not answers:
        return "No answer yet."
    rates = [answer.tokens_per_s for answer in answers if answer.tokens_per_s is not None]
    speed = f"median {format_rate(median(rates))} tokens/s" if rates else "no speed yet"
    first = format_seconds(median(answer.ttft_s for answer in answers))
    tokens = sum(answer.output_tokens for answer in answers)
    return (
        f"{len(answers)} answers, {tokens} tokens, {speed}, median first token after {first}; "
        f"{turns} turns in the history, the last prompt had {answers[-1].prompt_tokens} tokens."
    )
