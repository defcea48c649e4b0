"""The API answers what the command line prints, refuses what it cannot answer, and reads nothing that it should not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from clirun import Run

pytest.importorskip("starlette")
pytest.importorskip("httpx")

from starlette.testclient import TestClient

from sizer.web.app import application
from sizer.web.dispatch import Rules, reply
from sizer.web.parameters import available, parameters

HERE = "http://127.0.0.1:8471"


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    """The application, asked as a browser on this machine would."""
    with TestClient(application(Rules(offline=True)), base_url=HERE, raise_server_exceptions=False) as found:
        yield found


PATHS = ("/etc/passwd", "~/.ssh/config", "./pyproject.toml", "../x.gguf", "{path}", "{folder}")
CASES = [
    ("estimate", ["Qwen/Qwen3-8B"], {"device": "rtx-4090", "precision": "q4_k_m"}),
    ("estimate", ["8B", "8x7B"], {"bandwidth": "936GB/s", "memory": "24GiB", "context": "max", "precision": "q4_k_m"}),
    ("recommend", ["Qwen/Qwen3-32B"], {"device": "2xrtx-3090", "context": "32k", "prefer": "speed"}),
    ("fit", [], {"device": "rtx-4060", "family": "qwen3", "limit": "3"}),
    ("hardware", ["Qwen/Qwen3-8B"], {"min-speed": "30", "limit": "3"}),
]


@pytest.mark.parametrize(("name", "models", "options"), CASES)
def test_answers_are_the_commands_json(
    client: TestClient, run: Run, name: str, models: list[str], options: dict[str, str]
) -> None:
    """The same question by HTTP and by the command line has the same JSON, byte for byte."""
    query = [("model", model) for model in models] + list(options.items())
    answered = client.get(f"/api/{name}", params=query)
    flags = [f"--{key}={value}" for key, value in options.items()]
    offline = ["--offline"] if any(item.name == "offline" for item in parameters(name)) else []
    printed = run(name, *models, *flags, *offline, "--json")
    assert printed.code == 0
    assert answered.status_code == 200
    assert answered.text == printed.out.rstrip("\n")


def test_lists_search_by_words(client: TestClient) -> None:
    """`text` is the words that `sizer models` and `sizer devices` take."""
    rows = client.get("/api/models", params={"text": "qwen3 8b"}).json()
    assert "Qwen/Qwen3-8B" in {row["model"] for row in rows}
    assert {row["key"] for row in client.get("/api/devices", params={"text": "rtx 4090"}).json()} >= {"rtx-4090"}


@pytest.mark.parametrize(
    ("path", "status", "word"),
    [
        ("/api/estimate", 400, "model"),
        ("/api/estimate?model=8B&modle=x", 400, "modle"),
        ("/api/estimate?model=8B&device=rtx-999999", 400, "rtx-999999"),
        ("/api/estimate?model=8B&batch=two", 400, "two"),
        ("/api/estimate?model=8B&context=" + "9" * 900, 400, "999"),
        ("/api/estimate?model=8B&device=--debug", 400, "--debug"),
        ("/api/estimate?model=8B&plot=x.png", 400, "plot"),
        ("/api/estimate?model=8B&device=a&device=b&device=c&device=d&device=e", 400, "device"),
        ("/api/recommend?model=" + "x" * 1001, 400, "1000"),
        ("/api/recommend?model=no/such-model-anywhere&device=a100", 404, "no/such-model-anywhere"),
        ("/api/recommend?model=meta-llama/Llama-3.1-70B&device=rtx-4060", 422, "70B"),
        ("/api/nothing", 404, "nothing"),
        ("/../sizer/errors.py", 404, "errors.py"),
    ],
)
def test_refusals_name_what_was_asked(client: TestClient, path: str, status: int, word: str) -> None:
    """What cannot be answered is one JSON error that names it, never a traceback."""
    answered = client.get(path)
    assert answered.status_code == status
    assert word in answered.json()["error"]["message"]
    assert "Traceback" not in answered.text


@pytest.mark.parametrize(
    "text", ["/etc/passwd", "~/.ssh/config", "./pyproject.toml", "../x.gguf", "{path}", "{folder}"]
)
def test_models_name_no_files(text: str, tmp_path: Path) -> None:
    """A MODEL that is a path of this machine is answered as if nothing were there, unless files are allowed."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"model_type": "llama", "secret": 1}))
    asked = text.format(path=path, folder=tmp_path)
    found = reply("estimate", [("model", asked), ("device", "a100"), ("offline", "true")])
    assert found.status == 404
    allowed = reply("estimate", [("model", asked), ("device", "a100")], Rules(files=True, offline=True))
    if text.startswith("{"):
        assert "there is no file" not in allowed.body


def test_other_sites_cannot_ask(client: TestClient) -> None:
    """A foreign Origin, a request that another site caused and a rebound host name are refused; so is writing."""
    ask = "/api/models?text=qwen3"
    assert client.get(ask, headers={"Origin": "https://example.org"}).status_code == 403
    assert client.get(ask, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.get(ask, headers={"Host": "rebound.example.org:8471"}).status_code == 421
    assert client.get(ask, headers={"Host": ""}).status_code == 421
    assert client.post(ask).status_code == 405
    assert client.get(ask, headers={"Origin": HERE, "Sec-Fetch-Site": "same-origin"}).status_code == 200
    assert client.get(f"/api/models?text={'x' * 20_000}").status_code == 414


def test_every_answer_carries_the_policy(client: TestClient) -> None:
    """Page, API and refusals alike: scripts of our own alone, no frames, no sniffing, no foreign reads."""
    for path in ("/", "/app.js", "/api/models?text=qwen3", "/api/nothing"):
        headers = client.get(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "'unsafe-inline'" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_answers_are_kept_by_their_tag(client: TestClient) -> None:
    """The same answer asked with its ETag is 304; answers about this machine are asked again each time."""
    first = client.get("/api/estimate?model=8B&device=a100")
    again = client.get("/api/estimate?model=8B&device=a100", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert "max-age" in first.headers["Cache-Control"]
    assert client.get("/api/devices?text=this").headers["Cache-Control"] == "no-cache"


def test_document_tells_every_address(client: TestClient) -> None:
    """The OpenAPI document lists each command that this version answers, with its own options."""
    document = client.get("/api/openapi.json").json()
    for name in available():
        told = {item["name"] for item in document["paths"][f"/api/{name}"]["get"]["parameters"]}
        assert told == {item.name for item in parameters(name)}


def test_explanation_and_curves(client: TestClient) -> None:
    """The arithmetic is the command's text; the curves are estimates, point by point."""
    asked = {"model": "Qwen/Qwen3-8B", "device": "rtx-4090", "precision": "q4_k_m"}
    text = client.get("/api/explain", params=asked).json()["explanation"]
    assert "Weights:" in text
    assert "Decode:" in text
    found = client.get("/api/curves", params=asked).json()
    one = client.get("/api/estimate", params={**asked, "batch": "8"}).json()["estimates"][0]
    point = next(item for item in found["by_users"] if item["users"] == 8)
    assert point["throughput_tokens_per_s"] == one["request"]["throughput_tokens_per_s"]
    assert point["total_bytes"] == one["memory"]["total_bytes"]
    speeds = [item["tokens_per_s"] for item in found["by_context"]]
    assert speeds == sorted(speeds, reverse=True)


def test_curves_are_those_of_one_model(client: TestClient) -> None:
    """Two models are refused in one line, as any other wrong parameter."""
    answer = client.get("/api/curves", params=[("model", "8B"), ("model", "14B"), ("device", "rtx-4090")])
    assert answer.status_code == 400
    assert "one model" in answer.json()["error"]["message"]


def test_an_encoder_has_curves(client: TestClient) -> None:
    """The curves of a model that writes nothing are the tokens that it reads."""
    asked = {"model": "BAAI/bge-m3", "device": "rtx-4090", "precision": "fp16"}
    answer = client.get("/api/curves", params=asked)
    assert answer.status_code == 200
    found = answer.json()
    assert all(item["tokens_per_s"] > 0 for item in found["by_context"])
    assert found["by_users"][-1]["throughput_tokens_per_s"] >= found["by_users"][0]["throughput_tokens_per_s"] > 0


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("estimate", [("model", "Qwen/Qwen3-8B"), ("precision", "q4_k_m")]),
        ("recommend", [("model", "Qwen/Qwen3-8B")]),
        ("capacity", [("model", "Qwen/Qwen3-8B"), ("users", "1")]),
        ("check", [("command", "vllm serve Qwen/Qwen3-8B")]),
    ],
)
def test_several_devices_have_the_form_that_the_document_tells(name: str, more: list[tuple[str, str]]) -> None:
    """An answer for two devices is an object or a list, and the document says which of them it may be."""
    from sizer.web.openapi import document

    found = json.loads(reply(name, [*more, ("device", "l4"), ("device", "a100")], Rules(offline=True)).body)
    told = document()["paths"][f"/api/{name}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert {dict: "object", list: "array"}[type(found)] in told["type"]
    assert isinstance(found, list) == (name != "estimate")
