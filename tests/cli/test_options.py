"""What stands behind an option: what cannot be meant is refused in the words typed, never read as no wish at all."""

from __future__ import annotations

import json

import pytest
from clirun import Run

QWEN = ("Qwen/Qwen3-8B", "-d", "rtx-4090", "-p", "q4_k_m")


@pytest.mark.parametrize(
    ("option", "typed"),
    [
        ("--acceptance", "1e400"),
        ("--acceptance", "１２"),  # noqa: RUF001 - digits that are numbers too
        ("--timeout", "99999999999999999999999"),
        ("--memory", "99999999999999999999999"),
        ("--ram", "99999999999999999999999"),
    ],
)
def test_a_number_out_of_range_is_named_as_typed(run: Run, option: str, typed: str) -> None:
    """The message repeats the text that was typed, not the float that it was read as."""
    done = run("estimate", *QWEN, f"{option}={typed}")
    assert (done.code, done.out) == (2, "")
    assert repr(typed) in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("option", ["--min-speed", "--max-loss"])
def test_a_threshold_without_end_is_refused(run: Run, option: str) -> None:
    """`1e400` is read as infinity by Python, and is no speed and no loss."""
    done = run("recommend", *QWEN[:3], f"{option}=1e400")
    assert done.code == 2
    assert "'1e400'" in done.err


def test_a_words_end_is_cut_in_clicks_messages_too(run: Run) -> None:
    """A text of 5,000 characters for an option with choices is repeated as far as a line can show."""
    done = run("estimate", *QWEN, f"--format={'a' * 5000}")
    assert done.code == 2
    assert len(done.err) < 500


@pytest.mark.parametrize("blank", ["", " ", "🙂"])
@pytest.mark.parametrize(
    "command",
    [
        ("fit", "-d", "rtx-4090", "--family"),
        ("fit", "-d", "rtx-4090", "--since"),
        ("fit", "-d", "rtx-4090", "--for"),
        ("fit", "-d", "rtx-4090", "--license"),
        ("hardware", "Qwen/Qwen3-8B", "--device"),
        ("recommend", *QWEN[:3], "--draft"),
    ],
    ids=" ".join,
)
def test_a_filter_without_a_word_is_refused(run: Run, command: tuple[str, ...], blank: str) -> None:
    """A script's unset variable (`--license "$L"`) or a sign alone must not silently keep all."""
    done = run(*command, blank)
    assert (done.code, done.out) == (2, "")
    assert command[-1] in done.err
    assert "no letter" in done.err


@pytest.mark.parametrize("text", ["🙂", "--", "()"])
def test_signs_alone_name_no_device(run: Run, text: str) -> None:
    """A text without letters and digits is in no device's name; no text at all lists them."""
    done = run("devices", "--", text)
    assert done.code == 2
    assert text in done.err
    assert run("devices", "rtx - 4090").code == 0


@pytest.mark.parametrize(("device", "taken"), [("i7-12700k", True), ("strix halo", True), ("rtx-4090", False)])
def test_the_memory_of_a_cpu_is_as_fast_as_it_is_said_to_be(run: Run, device: str, taken: bool) -> None:
    """`--ram-bandwidth` describes the system's memory: the device's own or the host's."""
    done = run("estimate", "Qwen/Qwen3-8B", "-d", device, "-p", "q4_k_m", "--ram-bandwidth", "50GB/s", "--json")
    (found,) = json.loads(done.out)["estimates"]
    assert (found["device"]["bandwidth_bytes_per_s"] == 5e10) is taken
    assert any("bandwidth as given" in note for note in found["assumptions"]) is taken


def test_an_estimate_names_who_finds_a_draft(run: Run) -> None:
    """`--draft auto` is `recommend`'s: an estimate says so, instead of looking for a model called auto."""
    done = run("estimate", *QWEN, "--draft", "auto", "--offline")
    assert (done.code, done.out) == (2, "")
    assert "sizer recommend MODEL --draft auto" in done.err
