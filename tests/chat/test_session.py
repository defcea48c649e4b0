"""The conversation's rules, with a model that only echoes: history, commands, what is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from clirun import Run
from hypothesis import given
from hypothesis import strategies as st

from sizer.chat.flags import check_flags, parse_flags
from sizer.chat.session import COMMANDS, Answer, Message, Predicted, Session, speed_line
from sizer.errors import UsageError


class Echo:
    """Answers with the number of messages it was given."""

    name = "echo"

    def __init__(self) -> None:
        self.seen: list[list[Message]] = []
        self.error: BaseException | None = None

    def answer(self, messages: list[Message]) -> Answer:
        """Remember the history; fail where told to."""
        self.seen.append([dict(message) for message in messages])
        if self.error is not None:
            raise self.error
        return Answer(f"answer {len(self.seen)}", len(messages), 11, 0.5, 1.0)

    def predict(self, prompt_tokens: int, output_tokens: int) -> Predicted:
        """Always the same."""
        return Predicted(10.0, 8.0, 12.0, 0.4)


def _session(system: str = "") -> tuple[Session, Echo, list[str]]:
    told: list[str] = []
    model = Echo()
    return Session(model, told.append, system), model, told


def test_history_grows_by_turns():
    """Each request carries the system turn and every turn before it, in order."""
    session, model, _ = _session("be brief")
    session.run(iter(["one", "two"]))
    assert [message["role"] for message in model.seen[-1]] == ["system", "user", "assistant", "user"]
    assert [message["content"] for message in model.seen[-1]] == ["be brief", "one", "answer 1", "two"]


def test_clear_keeps_the_system_turn():
    """/clear forgets the turns and not the system text."""
    session, model, _ = _session("be brief")
    session.run(iter(["one", "/clear", "two"]))
    assert [message["content"] for message in model.seen[-1]] == ["be brief", "two"]


def test_measured_stands_beside_predicted():
    """After each answer comes one line with both speeds."""
    session, _, told = _session()
    session.run(iter(["one"]))
    assert told == ["[11 tokens, 10 tokens/s (predicted 10, 8-12), first after 500 ms (predicted 400 ms)]"]


def test_failed_turn_is_taken_back():
    """A turn that cannot be answered is not in the next request."""
    session, model, told = _session()
    model.error = UsageError("no.", "really.")
    session.run(iter(["bad"]))
    model.error = None
    session.run(iter(["good"]))
    assert [message["content"] for message in model.seen[-1]] == ["good"]
    assert told[0] == "no. really."


def test_exit_ends_and_blank_lines_do_nothing():
    """Nothing after /exit is read; an empty line is no turn."""
    session, model, _ = _session()
    session.run(iter(["", "  ", "/exit", "never"]))
    assert model.seen == []


def test_unknown_command_offers_the_nearest():
    """A misspelt command is no turn for the model."""
    session, model, told = _session()
    session.run(iter(["/clera"]))
    assert "'/clear'" in told[0]
    assert model.seen == []


def test_help_lists_every_command():
    """/help names every command that the session takes."""
    session, _, told = _session()
    session.run(iter(["/help"]))
    assert all(name in told[0] for name in COMMANDS)


def test_save_writes_the_conversation(tmp_path: Path):
    """/save FILE holds the turns as JSON."""
    session, _, told = _session("s")
    session.run(iter(["one", f"/save {tmp_path / 'chat.json'}"]))
    saved = json.loads((tmp_path / "chat.json").read_text(encoding="utf-8"))
    assert saved["schema_version"] == 1
    assert [message["role"] for message in saved["messages"]] == ["system", "user", "assistant"]
    assert saved["decode_tokens_per_s"] == [10.0]
    assert told[-1].startswith("Saved to")


def test_failed_save_goes_on(tmp_path: Path):
    """A place that cannot be written to is told, and the chat continues."""
    session, model, told = _session()
    session.run(iter([f"/save {tmp_path / 'no' / 'such' / 'x.json'}", "one"]))
    assert told[0].startswith("Not saved")
    assert len(model.seen) == 1


def test_stats_total_the_answers():
    """/stats counts answers and tokens; before the first there is nothing to tell."""
    session, _, told = _session()
    session.run(iter(["/stats", "one", "two", "/stats"]))
    assert told[0] == "No answer yet."
    assert told[-1].startswith("2 answers, 22 tokens, median 10 tokens/s")


@pytest.mark.parametrize(
    ("answer", "predicted", "expected"),
    [
        (Answer("", 1, 0, 0.0, 0.0, stopped=True), Predicted(), "[0 tokens, stopped]"),
        (Answer("x", 1, 1, 0.5, 0.0), Predicted(), "[1 token, first after 500 ms]"),
        (
            Answer("x", 1, 3, 0.5, 0.1),
            Predicted(30.0),
            "[3 tokens, 20 tokens/s (predicted 30 at most), first after 500 ms]",
        ),
        (Answer("x", 1, 3, 0.5, 0.1), Predicted(), "[3 tokens, 20 tokens/s (no prediction), first after 500 ms]"),
    ],
)
def test_speed_line_says_only_what_is_known(answer: Answer, predicted: Predicted, expected: str):
    """No speed of a single token, no interval where there is none."""
    assert speed_line(answer, predicted) == expected


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=False", False),
        ("a=true", True),
        ("a=None", None),
        ("a=10", 10),
        ("a=-0.5", -0.5),
        ("a=[1,2]", [1, 2]),
        ("a=static", "static"),
        ("a=x=y", "x=y"),
        ("a=", ""),
    ],
)
def test_flags_have_types(text: str, value: Any):
    """Booleans, None, numbers, lists and text, as `transformers chat` takes them."""
    assert parse_flags([text]) == {"a": value}
    assert type(parse_flags([text])["a"]) is type(value)


@pytest.mark.parametrize("text", ["max_new_tokens", "=3", "a b=3", "--x=3"])
def test_what_is_no_flag_is_said(text: str):
    """Anything but name=value is a usage error that quotes it."""
    with pytest.raises(UsageError, match="no generate flag"):
        parse_flags([text])


def test_unknown_flag_offers_the_nearest():
    """A flag that generate() lacks is found before the model is loaded."""
    with pytest.raises(UsageError, match="max_new_token'") as caught:
        check_flags({"max_new_token": 3}, ["max_new_tokens", "do_sample"])
    assert "'max_new_tokens'" in caught.value.hint


@given(st.text(max_size=50))
def test_no_value_breaks_the_parser(text: str):
    """Whatever stands after the sign, the flag has some value."""
    assert "a" in parse_flags([f"a={text}"])


@pytest.mark.parametrize("error", [ZeroDivisionError("in a template"), RecursionError("deep"), ValueError("a\nb")])
def test_whatever_fails_costs_the_turn_alone(error: Exception):
    """An error of any kind is told on one line; the next turn is answered with the history before it."""
    session, model, told = _session()
    session.ask("one")
    model.error = error
    session.ask("two")
    assert "\n" not in told[-1]
    assert type(error).__name__ in told[-1]
    model.error = None
    session.ask("three")
    assert [message["content"] for message in model.seen[-1]] == ["one", "answer 1", "three"]


def test_exit_with_a_file_saves_on_the_way_out(tmp_path: Path):
    """/exit FILE writes the conversation and leaves; where it cannot, the chat goes on."""
    session, model, _ = _session()
    saved = tmp_path / "chat.json"
    session.run(iter(["one", f"/exit {tmp_path / 'no' / 'x.json'}", "two", f"/exit {saved}", "three"]))
    assert len(model.seen) == 2
    assert len(json.loads(saved.read_text(encoding="utf-8"))["messages"]) == 4


def test_what_ends_the_chat_leaves_the_conversation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A chat that breaks off (the terminal is gone) writes its turns to a file first."""
    monkeypatch.chdir(tmp_path)
    session, model, _ = _session()
    session.ask("one")
    model.error = BrokenPipeError()
    with pytest.raises(BrokenPipeError):
        session.run(iter(["two"]))
    (saved,) = tmp_path.glob("sizer-chat-*.json")
    assert [one["content"] for one in json.loads(saved.read_text(encoding="utf-8"))["messages"]] == ["one", "answer 1"]


def test_the_precision_of_a_chat_weighs_its_prompt():
    """On a CPU, of two 16-bit precisions the one whose whole request is quicker is loaded."""
    from dataclasses import replace

    from sizer.benchmark.plan import Asked
    from sizer.chat.choose import choose_precision, estimate_for
    from sizer.model.read.resolve import resolve

    resolved = resolve("Qwen/Qwen3-0.6B", offline=True)
    asked = Asked(model="Qwen/Qwen3-0.6B", device="cpu", offline=True)
    request_s = {}
    for name in ("bf16", "fp16"):
        estimate = estimate_for(replace(asked, precision=name), resolved)
        assert estimate is not None
        assert estimate.speed is not None
        decode, prefill = estimate.speed.decode, estimate.speed.prefill
        request_s[name] = prefill.ttft_s + estimate.workload.output_tokens / decode.tokens_per_s
    chosen, _ = choose_precision(asked, resolved)
    assert chosen not in request_s or chosen == min(request_s, key=lambda name: request_s[name])


def test_what_a_model_writes_never_steers_the_terminal():
    """Control characters of an answer are shown as text; what is remembered and saved stays as it was written."""
    from sizer.chat.model import _Streamer

    class Tokenizer:
        """Gives back what it is told."""

        def decode(self, tokens: object, **options: object) -> str:
            return "a\x1b[2Jb \n" if tokens else ""

    written: list[str] = []
    streamer = _Streamer(Tokenizer(), written.append)
    streamer.streamer.on_finalized_text("a\x1b[2Jb\n")
    assert written == ["a\\u001b[2Jb\n"]
    assert streamer.text == "a\x1b[2Jb\n"


def test_a_chat_offers_no_random_weights(run: Run, tmp_path: Path) -> None:
    """A folder without weights is refused with what a chat takes, not with an option that only a benchmark has."""
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "vocab_size": 256}
    shape = {"intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": 512}
    (tmp_path / "config.json").write_text(json.dumps(config | shape | {"tie_word_embeddings": False}))
    done = run("chat", str(tmp_path), "--offline")
    assert done.code == 5
    assert "holds no weights" in done.err
    assert "safetensors" in done.err
    assert "--random-weights" not in done.err
