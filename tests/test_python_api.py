"""The library's front door: the page that shows it runs as written, and its records are the commands' JSON."""

from __future__ import annotations

import doctest
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from benchserver import fake_server
from clirun import Run
from tinymodels import write_config

import sizer
from sizer.errors import SizerError, UsageError
from sizer.plain_json import to_json

ROOT = Path(__file__).parent.parent


def test_the_page_of_examples_runs_as_written() -> None:
    """Every example of docs/python-api.md prints what it shows."""
    failed, tried = doctest.testfile(
        str(ROOT / "docs" / "python-api.md"), module_relative=False, optionflags=doctest.ELLIPSIS
    )
    assert tried > 10
    assert failed == 0


@pytest.mark.parametrize(
    ("command", "call"),
    [
        (
            ("estimate", "Qwen/Qwen3-8B", "-d", "rtx-4090", "-p", "q4_k_m"),
            lambda: sizer.estimate("Qwen/Qwen3-8B", device="rtx-4090", precision="q4_k_m", offline=True),
        ),
        (
            ("recommend", "Qwen/Qwen3-32B", "-d", "rtx-4090"),
            lambda: sizer.recommend("Qwen/Qwen3-32B", device="rtx-4090", offline=True),
        ),
        (
            ("fit", "-d", "rtx-4060", "--family", "qwen3"),
            lambda: sizer.fit(device="rtx-4060", family="qwen3", offline=True),
        ),
        (
            ("hardware", "Qwen/Qwen3-8B", "--device", "rtx", "--limit", "5"),
            lambda: sizer.hardware("Qwen/Qwen3-8B", text="rtx", limit=5, offline=True),
        ),
    ],
    ids=["estimate", "recommend", "fit", "hardware"],
)
def test_records_are_the_json_of_the_commands(run: Run, command: tuple[str, ...], call: object) -> None:
    """The function's record, written as JSON, is what the command prints."""
    printed = json.loads(run(*command, "--json").out)
    assert printed == json.loads(json.dumps(to_json(call())))  # type: ignore[operator]


def test_importing_the_package_imports_no_function_yet() -> None:
    """`import sizer` is nearly free; a name that it lacks is an AttributeError, as of any module."""
    code = "import sys, sizer; print([m for m in sys.modules if m.startswith('sizer.')]); sizer.nonsense"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]"
    assert "AttributeError: module 'sizer' has no attribute 'nonsense'" in done.stderr


def test_public_names_are_all_there() -> None:
    """What `__all__` names can be had."""
    for name in sizer.__all__:
        assert getattr(sizer, name) is not None


def test_no_module_takes_a_function_s_name() -> None:
    """A public function stays one whatever is imported: no package or module at the top has its name."""
    here = {path.stem for path in (ROOT / "sizer").iterdir()}
    assert not here & set(sizer.__all__)
    importlib.import_module("sizer.benchmark.runner")
    assert callable(sizer.bench)


@pytest.mark.parametrize(
    "call",
    [
        lambda: sizer.estimate(None, device="h100"),  # type: ignore[arg-type]
        lambda: sizer.estimate(5, device="h100"),  # type: ignore[arg-type]
        lambda: sizer.estimate("Qwen/Qwen3-8B", device=5),  # type: ignore[arg-type]
        lambda: sizer.estimate("Qwen/Qwen3-8B", device="h100", precision=[4]),  # type: ignore[list-item]
        lambda: sizer.check(None, device="h100"),  # type: ignore[arg-type]
        lambda: sizer.check([5], device="h100"),  # type: ignore[list-item]
        lambda: sizer.recommend("8B", device="h100", draft=5),  # type: ignore[arg-type]
        lambda: sizer.recommend("8B", device="h100", draft="auto", draft_tokens=0),
        lambda: sizer.recommend("8B", device="h100", min_speed=10**400),
        lambda: sizer.fit(device="h100", family=5),  # type: ignore[arg-type]
        lambda: sizer.fit(device="h100", since=2025),  # type: ignore[arg-type]
        lambda: sizer.fit(device="h100", rated_for=[1]),  # type: ignore[arg-type]
        lambda: sizer.fit(device="h100", licenses=[5]),  # type: ignore[list-item]
        lambda: sizer.fit(device="h100", licenses=5),  # type: ignore[arg-type]
        lambda: sizer.fit(device="h100", limit="x"),  # type: ignore[arg-type]
        lambda: sizer.hardware("8B", limit=1.5),  # type: ignore[arg-type]
        lambda: sizer.hardware("8B", text=5),  # type: ignore[arg-type]
        lambda: sizer.hardware("8B", prices=[None]),  # type: ignore[list-item]
        lambda: sizer.capacity("8B", device="h100", rps=10**400),
        lambda: sizer.capacity("8B", device="h100", arrivals=5),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_text_is_refused_as_the_commands_refuse(call: Callable[[], object]) -> None:
    """A model, device, precision or command that is no text is a SizerError, not Python's own error from inside."""
    with pytest.raises(sizer.SizerError):
        call()


def test_a_bound_is_written_out() -> None:
    """A size out of bounds is told its bounds in digits."""
    with pytest.raises(sizer.SizerError, match="is a number from 1,048,576 to"):
        sizer.estimate("Qwen/Qwen3-8B", device="h100", memory_bytes=-1)


def test_the_version_is_the_command_s(run: Run) -> None:
    """`sizer.__version__` is what `sizer --version` prints."""
    assert run("--version").out.strip().endswith(sizer.__version__)


def test_lists_and_loads_answer_as_the_command_does(run: Run, tmp_path: Path) -> None:
    """Of a server with known steps, `sizer.bench` and the command have the same fields; so have cells of one load."""
    with fake_server() as server:
        words = ("--users", "1,2", "--duration", "0.4s", "--output", "4", "--prompt", "9-12")
        told = json.loads(run("bench", "--server", server.url, *words, "--json").out)
        test = sizer.bench(server_url=server.url, users=[1, 2], duration_s=0.4, output_tokens=4, prompt_tokens="9-12")
    record = to_json(test)
    assert record.keys() == told.keys()
    assert record["serving"][1].keys() == told["serving"][1].keys()
    assert [load.users for load in test.serving] == [1, 2]
    assert test.serving[0].ttft_s.p50 >= server.first_s
    folder = write_config(tmp_path / "tiny")
    cells = sizer.bench(
        str(folder),
        prompt_tokens=[8, 16],
        output_tokens=[4],
        random_weights=True,
        device="cpu",
        repeats=1,
        offline=True,
    )
    assert [one.measurement.name for one in cells] == ["pp8", "pp16", "tg4"]
    assert set(to_json(cells[0])) == {"schema_version", "measurement", "estimate", "residual"}


def test_a_draft_is_asked_for_as_the_command_line_asks(run: Run) -> None:
    """The same figures as `sizer estimate --draft`, and the same words for what cannot be."""
    options = {"device": "h100", "precision": "bf16", "engine": "vllm", "offline": True}
    plain = sizer.estimate("Qwen/Qwen3-32B", **options).estimates[0]
    drafted = sizer.estimate("Qwen/Qwen3-32B", draft="Qwen/Qwen3-0.6B", acceptance=0.8, **options).estimates[0]
    assert plain.speculation is None
    assert drafted.speculation is not None
    assert drafted.memory.total_bytes > plain.memory.total_bytes
    told = ["estimate", "Qwen/Qwen3-32B", "-d", "h100", "-p", "bf16", "-e", "vllm", "--offline", "--json"]
    printed = run(*told, "--draft", "Qwen/Qwen3-0.6B", "--acceptance", "0.8").out
    assert json.loads(printed)["estimates"][0]["speculation"] == json.loads(json.dumps(to_json(drafted.speculation)))
    for wrong in ({"draft": "mtp", "draft_tokens": 0}, {"draft": "mtp", "acceptance": 1.5}, {"draft": 5}):
        with pytest.raises(UsageError, match=r"draft|acceptance"):
            sizer.estimate("Qwen/Qwen3-32B", **options, **wrong)


def test_layers_on_the_device_may_be_left_to_sizer() -> None:
    """`auto` is what no number is, as on the command line; other text is refused in its words."""
    options = {"device": "rtx-4090", "precision": "q4_k_m", "offline": True}
    told, left = (sizer.estimate("Qwen/Qwen3-8B", gpu_layers=layers, **options) for layers in ("auto", None))
    assert told.estimates[0].memory == left.estimates[0].memory
    with pytest.raises(SizerError, match="no number of layers"):
        sizer.estimate("Qwen/Qwen3-8B", gpu_layers="all", **options)


def test_each_estimate_tells_the_context_of_its_figures(run: Run) -> None:
    """With a context of `max` every precision has its own, and the table tells no one context and cache of them all."""
    answer = sizer.estimate(
        "Qwen/Qwen3-8B", device="rtx-3060", precision=["bf16", "q4_k_m"], context="max", offline=True
    )
    plain, quantized = answer.estimates
    assert not plain.memory.fits
    assert plain.context_tokens < quantized.context_tokens == quantized.memory.max_context_tokens
    table = run("estimate", "Qwen/Qwen3-8B", "-d", "rtx-3060", "-p", "bf16", "-p", "q4_k_m", "--context", "max").out
    assert "each row's own longest context" in table
    one = run("estimate", "Qwen/Qwen3-8B", "-d", "rtx-3060", "-p", "q4_k_m", "--context", "max").out
    assert f"context {quantized.context_tokens:,}, batch 1, fp16 cache (" in one


def test_nothing_to_read_and_to_write_is_sized_too() -> None:
    """A pool of pages holds sequences of at least one token: no division by nothing."""
    options = {"device": "h100", "precision": "bf16", "engine": "vllm", "prompt": 0, "output": 0, "offline": True}
    (found,) = sizer.estimate("google/gemma-3-4b-it", **options).estimates
    assert found.memory.fits
    assert found.memory.kv_capacity_tokens > 0


def test_a_draft_of_another_vocabulary_is_said(run: Run) -> None:
    """Its gain is told as if it had the model's own words, with a note; one of the family's needs none."""
    told = ("estimate", "Qwen/Qwen3-32B", "-d", "h100", "-p", "bf16", "-e", "vllm", "--offline", "--draft")
    assert "engines refuse such a draft" in " ".join(run(*told, "meta-llama/Llama-3.2-1B-Instruct").out.split())
    for fitting in ("Qwen/Qwen3-0.6B", "eagle"):
        answer = " ".join(run(*told, fitting).out.split())
        assert "engines refuse such a draft" not in answer
        assert re.search(r", the round itself 0\.\d", answer)


@pytest.mark.parametrize(("ram", "server"), [(128, False), (256, False), (512, True), (1024, True)])
def test_a_host_of_more_memory_than_a_desktop_takes_is_a_server(ram: int, server: bool) -> None:
    """Half a tebibyte stands in no two channels: the host that nobody named is one that holds it."""
    answer = sizer.estimate(
        "Qwen/Qwen3-235B-A22B", device="rtx-3090", precision="q4_k_m", ram_bytes=ram * 2**30, offline=True
    )
    said = " ".join(answer.estimates[0].assumptions)
    assert ("Xeon" in said) is server
    assert ("Ryzen" in said) is not server
