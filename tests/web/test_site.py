"""The static site answers from the browser alone: from any folder, asking nobody, offline, and from dropped files."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
from browsing import Browsed, answered, answers, served_folder, visit
from clirun import Run
from headerfiles import LLAMA, gguf_bytes, llama_tensors

from sizer.errors import InvalidInputFile, UsageError
from sizer.web.dispatch import reply
from sizer.web.export import POPULAR_DEVICES, POPULAR_MODELS, export, package_archive, popular_pairs

READY = "nothing is sent"
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 128,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 1000,
    "max_position_embeddings": 2048, "tie_word_embeddings": True, "torch_dtype": "bfloat16",
}  # fmt: skip


def wait_for_python(page: Any) -> None:
    """Until the page says that it computes by itself."""
    page.locator("#mode", has_text=READY).wait_for()


def wait_until_kept(page: Any) -> None:
    """Until the service worker keeps the site and answers for it."""
    page.evaluate("navigator.serviceWorker.ready.then(() => undefined)")
    page.wait_for_function("navigator.serviceWorker.controller !== null")


def test_popular_names_are_in_the_tables() -> None:
    """Every stored question names a model and a device that sizer knows."""
    from sizer.device.catalogue import find
    from sizer.model.read.catalogue import find as find_model

    assert [name for name in POPULAR_MODELS if find_model(name) is None] == []
    assert [name for name in POPULAR_DEVICES if find(name).device is None] == []
    assert len(popular_pairs()) == len(POPULAR_MODELS) * len(POPULAR_DEVICES)


def test_site_is_as_light_as_told(site_folder: Path) -> None:
    """The site is no heavier than the README tells: Pyodide 13 MiB, all about 16."""
    sizes = {path: path.stat().st_size for path in site_folder.rglob("*") if path.is_file()}
    assert sum(size for path, size in sizes.items() if path.parent.name == "pyodide") < 13.5 * 2**20
    assert sum(sizes.values()) < 16 * 2**20


def test_stored_answers_are_the_commands(tmp_path: Path, run: Run) -> None:
    """A stored answer is the command's JSON for the question that it is stored under."""
    export(tmp_path / "site", pairs=[("Qwen/Qwen3-8B", "rtx-4090")])
    index = json.loads((tmp_path / "site" / "answers" / "index.json").read_text())
    stored = tmp_path / "site" / index["recommend&model=Qwen/Qwen3-8B&device=rtx-4090"]
    printed = run("recommend", "Qwen/Qwen3-8B", "--device", "rtx-4090", "--offline", "--json")
    assert json.loads(gzip.decompress(stored.read_bytes())) == json.loads(printed.out)


ALONE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from sizer.web.browser import answer
import sizer
assert sizer.__file__.startswith(sys.argv[1]), sizer.__file__
asked = json.loads(sys.argv[2])
print(json.dumps({name: json.loads(answer(name, json.dumps(query))) for name, query in asked.items()}))
"""
PAIR = [["model", "Qwen/Qwen3-8B"], ["device", "rtx-4090"]]
QUESTIONS = {
    "estimate": PAIR,
    "recommend": [["model", "meta-llama/Llama-3.1-8B-Instruct"], ["device", "rtx-4090"]],
    "curves": [*PAIR, ["precision", "q4_k_m"]],
    "explain": [*PAIR, ["precision", "q4_k_m"]],
    "capacity": PAIR,
    "fit": [["device", "rtx-4060"], ["family", "qwen3"], ["limit", "3"]],
    "hardware": [["model", "Qwen/Qwen3-8B"], ["min-speed", "30"], ["limit", "3"]],
    "check": [["command", "vllm serve Qwen/Qwen3-8B --max-model-len 8192"], ["device", "rtx-4090"]],
    "models": [["text", "qwen3 8b"]],
    "devices": [["text", "rtx 4090"]],
    "precisions": [["text", "gguf"]],
}


def test_the_archive_alone_answers_everything(tmp_path: Path) -> None:
    """What the browser unpacks is enough for every command, and answers as the whole package does."""
    with zipfile.ZipFile(io.BytesIO(package_archive())) as archive:
        archive.extractall(tmp_path)
    words = [sys.executable, "-c", ALONE, str(tmp_path), json.dumps(QUESTIONS)]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = subprocess.run(words, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
    for name, found in json.loads(run.stdout).items():
        assert found == json.loads(reply(name, [(key, value) for key, value in QUESTIONS[name]]).body), name
        assert "error" not in found, found


def test_export_is_the_same_twice_and_keeps_out_of_other_folders(tmp_path: Path) -> None:
    """The same package makes the same bytes; a folder with anything else is left alone, a wrong Pyodide is refused."""
    first, second = tmp_path / "a", tmp_path / "b"
    for folder in (first, second, second):
        export(folder, pairs=[("8B", "a100-80gb-sxm")])
    files = {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert files == {path.relative_to(second) for path in second.rglob("*") if path.is_file()}
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="other files"):
        export(tmp_path / "mine", pairs=[])
    with pytest.raises(InvalidInputFile, match=r"pyodide\.mjs"):
        export(tmp_path / "c", tmp_path / "mine", [])


def test_stored_answer_stands_before_python(browser: Browsed, site: str) -> None:
    """A stored answer does not wait for Python, which answers the next question; nothing outside is asked for."""
    with browser.page(f"{site}?model=Qwen/Qwen3-8B&device=rtx-4090") as page:
        first_ms = page.evaluate("performance.getEntriesByName('answered')[0].startTime")
        assert "Q6_K" in page.locator("#verdict").inner_text()
        wait_for_python(page)
        assert first_ms < page.evaluate("performance.now()")
        before = answers(page)
        page.locator("#range-context").press("ArrowRight")
        answered(page, before + 1)
        assert [url for url in page.asked if not url.startswith((site, "blob:"))] == []


def test_reload_offline(browser: Browsed, site_folder: Path) -> None:
    """Once seen, the site answers with its server gone: the stored answer at once, others when Python is there."""
    with served_folder(site_folder.parent.parent) as (address, server):
        url = f"{address}some/where/?model=Qwen/Qwen3-8B&device=rtx-4090"
        with browser.page(url) as page:
            wait_for_python(page)
            wait_until_kept(page)
            server.shutdown()
            server.server_close()
            page.reload()
            answered(page)
            assert "Q6_K" in page.locator("#verdict").inner_text()
            wait_for_python(page)
            visit(page, "?model=Qwen/Qwen3-4B&device=rtx-3090")
            assert "Qwen3-4B" in page.locator(".about").inner_text()


DROP = """(files) => {
    const data = new DataTransfer();
    for (const [name, text] of files) {
        data.items.add(new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], name));
    }
    window.dispatchEvent(new DragEvent("drop", {dataTransfer: data, bubbles: true, cancelable: true}));
}"""


def drop(page: Any, *paths: Path) -> None:
    """Drop files on the page and wait for the answer about them."""
    import base64

    before = answers(page)
    page.evaluate(DROP, [[path.name, base64.b64encode(path.read_bytes()).decode()] for path in paths])
    answered(page, before + 1)


ASK = "async (query) => (await import('./api.js')).ask('estimate', query)"


def test_dropped_files_are_read_here(browser: Browsed, site: str, tmp_path: Path, run: Run) -> None:
    """A dropped config.json or .gguf is answered as the command answers the file; nothing is sent anywhere."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "tiny.gguf").write_bytes(gguf_bytes(LLAMA, llama_tensors()))
    with browser.page(site) as page:
        wait_for_python(page)
        wait_until_kept(page)
        asked = len(page.asked)
        for path in (tmp_path / "config.json", tmp_path / "tiny.gguf"):
            drop(page, path)
            assert path.name in page.locator(".about").inner_text()
            told = page.evaluate(ASK, [["model", path.name], ["device", "rtx-4090"]])
            printed = json.loads(run("estimate", str(path), "-d", "rtx-4090", "--json").out)
            assert told["model"]["total_params"] == printed["model"]["total_params"]
            assert told["estimates"][0]["memory"] == printed["estimates"][0]["memory"]
        assert [url for url in page.asked[asked:] if not url.startswith(site)] == []
        assert page.sent == []


def test_hub_models_are_read_by_the_browser(browser: Browsed, site: str) -> None:
    """A model of the hub that the catalogue lacks is read by its config; one that is not there is said not to be."""
    asked: list[str] = []

    def hub(route: Any) -> None:
        asked.append(route.request.url)
        headers = {"Access-Control-Allow-Origin": "*", "Content-Type": "application/json"}
        files = [{"rfilename": "config.json", "size": 300}]
        if "/api/models/someone/tiny?" in route.request.url:
            route.fulfill(status=200, headers=headers, body=json.dumps({"sha": "0" * 40, "siblings": files}))
        elif route.request.url.endswith("/someone/tiny/resolve/main/config.json"):
            route.fulfill(status=200, headers=headers, body=json.dumps(CONFIG))
        else:
            route.fulfill(status=404, headers=headers, body="{}")

    with browser.page(site) as page:
        page.context.route("https://huggingface.co/**", hub)
        wait_for_python(page)
        told = page.evaluate(ASK, [["model", "someone/tiny"], ["device", "rtx-4090"], ["precision", "bf16"]])
        assert told["model"]["basis"] == "hub"
        assert told["model"]["num_layers"] == 2
        assert told["estimates"][0]["memory"]["weights_bytes"] == 2 * told["model"]["total_params"]
        missing = page.evaluate(ASK, [["model", "someone/nothing"], ["device", "rtx-4090"]])
        assert "someone/nothing" in missing["error"]["message"]
        assert missing["error"]["exit_code"] == 3
        assert asked
