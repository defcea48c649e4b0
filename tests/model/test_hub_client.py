"""The hub room, with the real client against a server of this machine."""

from __future__ import annotations

import errno
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hubserver import COMMIT, Hub, Repo, point_client_at, serve

from sizer.errors import GatedModel, HubUnreachable, InvalidConfig, ModelError, UnknownModel, UsageError
from sizer.model.read import hub, hub_ask
from sizer.model.read.hub_errors import FileMissing, LocalFault

CONFIG = {"model_type": "llama", "hidden_size": 8}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub with one plain repository; the client points at it, and waits little between attempts."""
    monkeypatch.setattr(hub_ask, "RETRY_WAIT_S", 0.001)
    with serve() as running:
        running.repos["org/plain"] = Repo({"config.json": json.dumps(CONFIG).encode(), "big.gguf": bytes(300_000)})
        point_client_at(monkeypatch, running.url, tmp_path)
        yield running


def test_config_is_read_and_then_cached(server: Hub) -> None:
    """A config answers from the hub, then from the cache without a request."""
    assert hub.load_json("org/plain", "config.json") == CONFIG
    asked = len(server.requests)
    assert hub.load_json("org/plain", "config.json", offline=True) == CONFIG
    assert len(server.requests) == asked


def test_cached_config_answers_when_the_hub_is_down(server: Hub) -> None:
    """A server that fails does not take away what is cached."""
    hub.load_json("org/plain", "config.json")
    server.faults = [503] * 20
    assert hub.load_json("org/plain", "config.json") == CONFIG


def test_offline_environment_is_obeyed(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_HUB_OFFLINE means no request at all, and an error that says so."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnreachable, match="switched off"):
        hub.load_json("org/plain", "config.json")
    with pytest.raises(HubUnreachable, match="switched off"):
        hub.repo_info("org/plain")
    assert server.requests == []


def test_api_tells_sizes_parameters_and_gating(server: Hub) -> None:
    """One question gives the file sizes, the safetensors summary and the commit, of a gated repository too."""
    server.repos["org/gated"] = Repo(
        {"model.safetensors": bytes(99)}, gated="manual", safetensors={"parameters": {"BF16": 40}, "total": 40}
    )
    info = hub.repo_info("org/gated")
    assert info.gated
    assert info.files == {"model.safetensors": 99}
    assert (info.parameters, info.total_params, info.commit) == ({"BF16": 40}, 40, COMMIT)


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (("org/none", "config.json", None), UnknownModel, "'org/none'"),
        (("org/plain", "none.json", None), FileMissing, "'none.json'"),
        (("org/plain", "config.json", "v9"), UnknownModel, "no revision 'v9'"),
        (("org/gated", "config.json", None), GatedModel, "gated"),
        (("org/secret", "config.json", None), UnknownModel, "private"),
        (("a/b/c", "config.json", None), UnknownModel, "'a/b/c'"),
        (("org/--x", "config.json", None), UnknownModel, "'org/--x'"),
    ],
)
def test_each_refusal_has_its_own_error(
    server: Hub, asked: tuple[str, str, str | None], error: type[ModelError], words: str
) -> None:
    """What is missing, gated or private is told apart, quotes the user's text and exits with 3."""
    server.repos["org/gated"] = Repo({"config.json": b"{}"}, gated="auto")
    server.repos["org/secret"] = Repo({"config.json": b"{}"}, private=True)
    with pytest.raises(error, match=words) as caught:
        hub.load_json(*asked)
    assert caught.value.hint
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("token", "error"), [("hf_right", None), ("hf_other", "gated"), ("hf_wrong", r"refuses access .*401")]
)
def test_token_is_sent_and_judged(
    server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str, error: str | None
) -> None:
    """HF_TOKEN opens a gated repository; another one's token, or an invalid one, is told apart."""
    server.repos["org/gated"] = Repo({"config.json": b'{"a": 1}'}, gated="manual")
    point_client_at(monkeypatch, server.url, tmp_path, token)
    if error is None:
        assert hub.load_json("org/gated", "config.json") == {"a": 1}
    else:
        with pytest.raises(GatedModel, match=error):
            hub.load_json("org/gated", "config.json")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "no JSON"),
        (b"[1]", "no JSON object"),
        (b'{"a": "\xff"}', "UTF-8"),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "nested|no JSON"),
    ],
)
def test_malformed_config_is_an_error(server: Hub, body: bytes, words: str) -> None:
    """A config that is no JSON object is InvalidConfig with the reason."""
    server.repos["org/bad"] = Repo({"config.json": body})
    with pytest.raises(InvalidConfig, match=words):
        hub.load_json("org/bad", "config.json")


def test_huge_config_is_refused_before_it_is_read(server: Hub) -> None:
    """A config.json that claims 500 MB is refused by its HEAD: no GET is sent."""
    server.repos["org/huge"] = Repo({"config.json": b"{}"}, claimed_bytes={"config.json": 500_000_000})
    with pytest.raises(InvalidConfig, match="500000000 bytes"):
        hub.load_json("org/huge", "config.json")
    assert [method for method, _, _ in server.requests] == ["HEAD"]


def test_passing_faults_are_asked_again(server: Hub) -> None:
    """Two faults of the server are survived; the third attempt answers."""
    server.faults = [503, 500]
    assert hub.repo_info("org/plain").files["big.gguf"] == 300_000
    assert len(server.requests) == 3


@pytest.mark.parametrize(("status", "words"), [(500, "HTTP 500"), (429, "rate"), (418, "HTTP 418"), (403, "HTTP 403")])
def test_lasting_faults_end_in_a_clear_error(server: Hub, status: int, words: str) -> None:
    """A server that keeps failing is given up after a bounded number of attempts."""
    server.faults = [status] * 50
    with pytest.raises((HubUnreachable, GatedModel), match=words):
        hub.repo_info("org/plain")
    assert len(server.requests) <= hub_ask.ATTEMPTS


def test_a_long_retry_after_is_not_waited_for(server: Hub) -> None:
    """A server that asks to wait an hour gets no second request."""
    server.faults = [429] * 5
    server.fault_headers = {"Retry-After": "3600"}
    with pytest.raises(HubUnreachable, match="rate"):
        hub.repo_info("org/plain")
    assert len(server.requests) == 1


def test_unreachable_hub(server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A port where nothing listens is HubUnreachable, and names the endpoint."""
    point_client_at(monkeypatch, "http://127.0.0.1:9", tmp_path)
    with pytest.raises(HubUnreachable, match=r"127\.0\.0\.1:9 cannot be reached"):
        hub.load_json("org/plain", "config.json")


def test_silent_hub_times_out(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that accepts and says nothing is given up."""
    monkeypatch.setattr(hub_ask, "TIMEOUT_S", 0.05)
    monkeypatch.setattr(hub_ask, "ATTEMPTS", 1)
    server.hang = threading.Event()
    with pytest.raises(HubUnreachable, match="did not answer"):
        hub.repo_info("org/plain")


@pytest.mark.parametrize("body", [b"<html>log in</html>", b"[]", b"{}", b'{"id": 1, "siblings": [{}]}'])
def test_an_answer_that_is_not_the_hubs(server: Hub, body: bytes) -> None:
    """A login page, or JSON of another shape, is HubUnreachable and no traceback."""
    server.api_body = body
    with pytest.raises(HubUnreachable, match="not the hub's"):
        hub.repo_info("org/plain")


def test_remote_file_reads_ranges_and_no_more(server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ranges come back exact, reading ahead is bounded, and the token stays with the hub's own host."""
    data = bytes(range(256)) * 40_000
    server.repos["org/plain"].files["w.gguf"] = data
    point_client_at(monkeypatch, server.url, tmp_path, "hf_right")
    remote = hub.RemoteFile("org/plain", "w.gguf", None)
    assert remote.size_bytes == len(data)
    assert remote.read(0, 8) == data[:8]
    assert remote.read(5, 200_000) == data[5:200_005]
    assert remote.read(len(data) - 3, 10) == data[-3:]
    assert server.sent_bytes < 1_000_000
    cdn = [headers for _, path, headers in server.requests if path.startswith("/cdn/")]
    assert cdn
    assert not any("Authorization" in headers for headers in cdn)
    assert any("Authorization" in headers for _, path, headers in server.requests if "/resolve/" in path)


def test_a_server_that_ignores_ranges(server: Hub) -> None:
    """Without ranges the file's start is still read, only so far; the middle is a clear error."""
    server.repos["org/plain"].files["w.gguf"] = bytes(30_000_000)
    server.serve_ranges = False
    remote = hub.RemoteFile("org/plain", "w.gguf", None)
    assert remote.read(0, 8) == bytes(8)
    assert len(remote._piece) <= 200_000
    with pytest.raises(HubUnreachable, match="ranges"):
        remote.read(20_000_000, 8)


def test_revision_is_asked_for(server: Hub) -> None:
    """`@v2` reaches the server in every request."""
    server.repos["org/plain"].revisions = ("main", "v2")
    hub.repo_info("org/plain", "v2")
    hub.load_json("org/plain", "config.json", "v2")
    assert len(server.requests) >= 2
    assert all("v2" in path for _, path, _ in server.requests)


def test_a_dripping_hub_is_given_up_in_time(server: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then never looks silent to the client: the whole answer has a deadline."""
    monkeypatch.setenv("SIZER_HUB_TIMEOUT", "0.5")
    server.drip_s = 2.0
    started = time.monotonic()
    with pytest.raises(HubUnreachable, match=r"did not finish an answer within 0\.5 s.*--timeout"):
        hub.repo_info("org/plain")
    assert time.monotonic() - started < 120


def test_a_config_without_end_is_cut_before_it_reaches_the_disk(server: Hub, tmp_path: Path) -> None:
    """A server that says 40 bytes and sends gigabytes fills neither memory nor cache."""
    server.endless_bytes = 2**30
    with pytest.raises(InvalidConfig, match="are allowed"):
        hub.load_json("org/plain", "config.json", limit_bytes=2**20)
    assert server.sent_bytes < 64 * 2**20
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 2**20


@pytest.mark.parametrize("junk", [b"", b"<html>", b"[1]", b"\xff\xfe"])
def test_a_junk_file_in_the_cache_is_fetched_anew(server: Hub, tmp_path: Path, junk: bytes) -> None:
    """What the cache holds is not believed for ever: the hub is up, so it is asked again, and the cache is mended."""
    expected = hub.load_json("org/plain", "config.json")
    (cached,) = tmp_path.rglob("config.json")
    cached.write_bytes(junk)
    assert hub.load_json("org/plain", "config.json") == expected
    assert hub.load_json("org/plain", "config.json", offline=True) == expected


def test_a_junk_file_in_the_cache_is_named_where_the_hub_is_off(server: Hub, tmp_path: Path) -> None:
    """Offline, the message names the file."""
    hub.load_json("org/plain", "config.json")
    (cached,) = tmp_path.rglob("config.json")
    cached.write_bytes(b"{")
    with pytest.raises(InvalidConfig, match=r"config\.json"):
        hub.load_json("org/plain", "config.json", offline=True)


def test_a_home_that_is_no_folder_is_named(server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """HF_HOME that is a file is a local fault, with its path and errno, and no word of the network."""
    home = tmp_path / "file"
    home.write_text("no folder")
    point_client_at(monkeypatch, server.url, home)
    with pytest.raises(LocalFault, match=r"file/token.*errno 20") as refused:
        hub.load_json("org/plain", "config.json")
    assert "network" not in str(refused.value)


def test_a_cache_that_cannot_be_written_answers(server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full or read-only cache keeps nothing, and the answer is there all the same."""

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert hub.load_json("org/plain", "config.json")["model_type"]
    assert not list(tmp_path.rglob("config.json"))


def test_a_token_that_no_header_can_carry_is_named(
    server: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A token with other letters is told as such, and not as a fault of the network."""
    monkeypatch.setenv("HF_TOKEN", "hf_\u043a\u043b\u044e\u0447")
    with pytest.raises(GatedModel, match="HF_TOKEN"):
        hub.repo_info("org/plain")


def test_an_empty_etag_is_no_fault(server: Hub) -> None:
    """Some mirrors send none: the file is read all the same."""
    server.etag = False
    assert hub.load_json("org/plain", "config.json")["model_type"]


def test_one_passing_fault_on_the_file_itself_is_asked_again(server: Hub) -> None:
    """A transient 500 for the body is retried as one for its metadata is."""
    server.faults = [None, 500]
    assert hub.load_json("org/plain", "config.json")["model_type"]


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "1e9"])
def test_a_timeout_is_a_number_of_seconds(server: Hub, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """What is no time is refused."""
    monkeypatch.setenv("SIZER_HUB_TIMEOUT", text)
    with pytest.raises(UsageError, match="SIZER_HUB_TIMEOUT"):
        hub.repo_info("org/plain")
