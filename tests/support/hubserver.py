"""A small server that speaks the hub's protocol, for the real client: API, resolve, redirects, ranges, errors."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LFS = (".gguf", ".safetensors", ".bin")


@dataclass
class Repo:
    """One repository: its files, who may read it, and what its API answer adds."""

    files: dict[str, bytes] = field(default_factory=dict)
    gated: str | bool = False
    private: bool = False
    token: str = "hf_right"
    revisions: tuple[str, ...] = ("main",)
    safetensors: dict[str, Any] | None = None
    # A size that HEAD and the API claim instead of the true one, by file.
    claimed_bytes: dict[str, int] = field(default_factory=dict)


@dataclass
class Hub:
    """The hub's state: what it serves, what it was asked, and the faults that it plays."""

    repos: dict[str, Repo] = field(default_factory=dict)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent_bytes: int = 0
    # Status codes to answer the next requests with, first come first served; None answers properly.
    faults: list[int | None] = field(default_factory=list)
    fault_headers: dict[str, str] = field(default_factory=dict)
    serve_ranges: bool = True
    api_body: bytes | None = None
    hang: threading.Event | None = None
    # Seconds between the bytes of every body.
    drip_s: float = 0.0
    # A body that goes on for so many bytes, whatever its headers say.
    endless_bytes: int = 0
    etag: bool = True
    url: str = ""
    port: int = 0


class Handler(BaseHTTPRequestHandler):
    """Answers as huggingface.co does, down to the header names."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: Any) -> None:
        """Silence: the tests look at `Hub.requests`."""

    def do_HEAD(self) -> None:
        """Metadata of a file."""
        self._answer()

    def do_GET(self) -> None:
        """A file, a range of it, or an API answer."""
        self._answer()

    def _answer(self) -> None:
        hub = self.hub
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/") and not path.startswith("/api/models/"):
            self._send(404, b"no such page")  # what the client asks once a day for itself is no question of sizer's
            return
        hub.requests.append((self.command, path, {key.title(): value for key, value in self.headers.items()}))
        if hub.hang is not None:
            hub.hang.wait(10)
            return
        if hub.faults:
            fault = hub.faults.pop(0)
            if fault is not None:
                self._send(fault, b'{"error": "played"}', hub.fault_headers)
                return
        if path.startswith("/api/models/"):
            self._api(path[len("/api/models/") :])
        elif match := re.fullmatch(r"/cdn/([^/]+/[^/]+)/(.+)", path):
            self._file(hub.repos[match[1]].files[match[2]], {})
        elif match := re.fullmatch(r"/([^/]+(?:/[^/]+)?)/resolve/([^/]+)/(.+)", path):
            self._resolve(match[1], match[2], match[3])
        else:
            self._send(404, b"no such page")

    def _refusal(self, name: str, revision: str) -> tuple[int, str, str] | None:
        """Status, error code and message where the repository may not be read."""
        repo = self.hub.repos.get(name)
        sent = self.headers.get("Authorization")
        if sent and sent not in (f"Bearer {repo.token if repo else 'hf_right'}", "Bearer hf_other"):
            return 401, "", "Invalid credentials in Authorization header"
        if repo is None or (repo.private and sent != f"Bearer {repo.token}"):
            return (404, "RepoNotFound", "Repository not found") if sent else (401, "RepoNotFound", "Invalid username")
        if revision not in (*repo.revisions, COMMIT):
            return 404, "RevisionNotFound", f"Invalid rev id: {revision}"
        return None

    def _api(self, rest: str) -> None:
        match = re.fullmatch(r"(.+?)(?:/revision/(.+))?", rest)
        assert match
        name, revision = match[1], match[2] or "main"
        if refusal := self._refusal(name, revision):
            self._error(*refusal)
            return
        if self.hub.api_body is not None:
            self._send(200, self.hub.api_body, {"Content-Type": "application/json"})
            return
        repo = self.hub.repos[name]
        siblings = [
            {"rfilename": file, "size": repo.claimed_bytes.get(file, len(data))} for file, data in repo.files.items()
        ]
        answer: dict[str, Any] = {"id": name, "sha": COMMIT, "gated": repo.gated, "siblings": siblings}
        if repo.safetensors is not None:
            answer["safetensors"] = repo.safetensors
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _resolve(self, name: str, revision: str, file: str) -> None:
        if refusal := self._refusal(name, revision):
            self._error(*refusal)
            return
        repo = self.hub.repos[name]
        if repo.gated and self.headers.get("Authorization") != f"Bearer {repo.token}":
            self._error(403 if self.headers.get("Authorization") else 401, "GatedRepo", f"Access to {name} is gated")
            return
        if file not in repo.files:
            self._error(404, "EntryNotFound", "Entry not found")
            return
        data = repo.files[file]
        tag = hashlib.sha1(data).hexdigest() if self.hub.etag else ""
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{tag}"'}
        if file.endswith(LFS):
            size = repo.claimed_bytes.get(file, len(data))
            headers |= {"X-Linked-Size": str(size), "X-Linked-ETag": headers["ETag"]}
            # Another host name: the client must not send its token there.
            headers["Location"] = f"http://localhost:{self.hub.port}/cdn/{name}/{file}"
            self._send(302, b"", headers)
        else:
            self._file(data, headers, repo.claimed_bytes.get(file))

    def _file(self, data: bytes, headers: dict[str, str], claimed: int | None = None) -> None:
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)?", self.headers.get("Range") or "")
        if wanted and self.hub.serve_ranges:
            begin, end = int(wanted[1]), min(int(wanted[2] or len(data)), len(data) - 1)
            if begin >= len(data):
                self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            headers["Content-Range"] = f"bytes {begin}-{end}/{len(data)}"
            self._send(206, data[begin : end + 1], headers)
        else:
            self._send(200, data, headers, claimed)

    def _error(self, status: int, code: str, message: str) -> None:
        headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
        self._send(status, json.dumps({"error": message}).encode(), headers)

    def _send(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, claimed: int | None = None
    ) -> None:
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        if not self.hub.endless_bytes or self.command == "HEAD":
            self.send_header("Content-Length", str(len(body) if claimed is None else claimed))
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            try:
                for index in range(len(body) if self.hub.drip_s else 0):
                    self.wfile.write(body[index : index + 1])
                    self.wfile.flush()
                    time.sleep(self.hub.drip_s)
                if not self.hub.drip_s:
                    self.wfile.write(body)
                piece = b" " * 2**20
                for _ in range(self.hub.endless_bytes // len(piece)):
                    self.wfile.write(piece)
                    self.hub.sent_bytes += len(piece)
            except OSError:  # the client closed the line: it had what it wanted
                return
            self.hub.sent_bytes += len(body)


@contextmanager
def serve() -> Iterator[Hub]:
    """A running hub on a free port of this machine."""
    hub = Hub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.port = server.server_address[1]
    hub.url = f"http://127.0.0.1:{hub.port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        if hub.hang is not None:
            hub.hang.set()
        server.shutdown()
        server.server_close()
        thread.join()


def point_client_at(monkeypatch: Any, url: str, home: Any, token: str | None = None) -> None:
    """Makes the client in this process use `url` and a cache under `home`: it reads the environment when imported."""
    import huggingface_hub.file_download  # noqa: F401 - its modules must be there to be pointed elsewhere

    settings = {
        "ENDPOINT": url,
        "HUGGINGFACE_CO_URL_TEMPLATE": url + "/{repo_id}/resolve/{revision}/{filename}",
        "HF_HUB_CACHE": str(home / "hub"),
        "HF_HUB_OFFLINE": False,
        "HF_TOKEN_PATH": str(home / "token"),
    }
    modules = [module for name, module in list(sys.modules.items()) if name.startswith("huggingface_hub")]
    for module in modules:
        for name in settings.keys() & vars(module).keys():
            monkeypatch.setattr(module, name, settings[name])
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    if token is not None:
        monkeypatch.setenv("HF_TOKEN", token)
