"""A local OpenAI-compatible server for tests, which streams tokens at a known pace or misbehaves on request."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ENDLESS = {
    "comments": b": still here\n\n",
    "empty": b'data: {"choices": [{"text": ""}]}\n\n',
    "flood": b'data: {"choices": [{"text": "' + b"x" * 60_000 + b'"}]}\n\n',
    "line": b"data: " + b"x" * 60_000,
    "drip": b"d",
}
"""Behaviours of a server that never stops, with what it sends each time."""
UNMISTAKABLE_S = 0.5
"""A time between tokens that a client in another process sees as one, however busy the machine is."""


class Handler(BaseHTTPRequestHandler):
    """Answers /v1/models and the two completion routes as the server's `behaviour` says."""

    server: FakeServer
    protocol_version = "HTTP/1.1"
    held = b""

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""

    def do_GET(self) -> None:
        """List the models."""
        if self.path != "/v1/models":
            self.send_error(404)
            return
        self._json({"data": [{"id": name, "owned_by": self.server.owner} for name in self.server.models]})

    def do_POST(self) -> None:
        """Stream a completion."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        if self.server.behaviour == "chat-only" and self.path != "/v1/chat/completions":
            self.send_error(404)
        elif self.server.behaviour == "strict" and "ignore_eos" in body:
            self.send_error(400, "unknown field ignore_eos")
        elif self.server.behaviour == "hang":
            self.server.stop.wait()
        elif self.server.behaviour == "redirect":
            self.send_response(302)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()
        elif self.server.behaviour == "busy" and len(self.server.bodies) % 3 == 0:
            self.send_error(503, "no free slot")
        else:
            self._stream(body)

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        if self.server.behaviour in ENDLESS:
            self._go_on()
            return
        held_back = self._held_back()
        self.server.meet()
        time.sleep(self.server.first_s)
        count = body["max_tokens"] if self.server.behaviour != "early" else body["max_tokens"] // 2
        for index in range(count):
            if self.server.behaviour == "vanish" and index == 2:
                self.connection.close()
                return
            if index:
                time.sleep(self.server.gap_s)
            self._event({"choices": [self._choice("x ")]}, held_back=held_back)
        words = len(str(body.get("prompt") or body["messages"][-1]["content"]).split())
        if "stream_options" in body:
            usage: dict[str, Any] = {"prompt_tokens": words + 3, "completion_tokens": count}
            wrong = {"prompt_tokens": "many", "completion_tokens": 10**30}
            self._event({"choices": [], "usage": wrong if self.server.behaviour == "wrong-usage" else usage})
        self.wfile.write(self.held + b"data: [DONE]\n\n")
        self.held = b""
        self.close_connection = True

    def _go_on(self) -> None:
        """Send without end what is no token: comments, empty events, or one line that never ends."""
        try:
            while not self.server.stop.wait(0.002):
                self.wfile.write(ENDLESS[self.server.behaviour])
                self.wfile.flush()
        except OSError:
            self.close_connection = True

    def _choice(self, text: str) -> dict[str, Any]:
        return {"delta": {"content": text}} if "chat" in self.path else {"text": text}

    def _held_back(self) -> bool:
        """Whether this answer comes in one piece, as through a proxy that buffers: each one, or every second."""
        behaviour = self.server.behaviour
        return behaviour == "one-piece" or (behaviour == "now-and-then-one-piece" and len(self.server.bodies) % 2 == 0)

    def _event(self, event: dict[str, Any], *, held_back: bool = False) -> None:
        self.held += f"data: {json.dumps(event)}\n\n".encode()
        if not held_back:
            self.wfile.write(self.held)
            self.wfile.flush()
            self.held = b""

    def _json(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class FakeServer(ThreadingHTTPServer):
    """The server, with what it was asked (`bodies`) and how it behaves."""

    daemon_threads = True

    def __init__(self, behaviour: str = "", owner: str = "vllm", models: tuple[str, ...] = ("m",)) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.behaviour = behaviour
        self.owner = owner
        self.models = models
        self.first_s = 0.03
        self.gap_s = 0.03
        self.bodies: list[dict[str, Any]] = []
        self.stop = threading.Event()
        self.together = 0
        self._came = threading.Condition()

    def meet(self) -> None:
        """Answer nobody before `together` questions after the warm-up's have come."""
        with self._came:
            self._came.notify_all()
            warms_up = len(self.bodies) == 1
            if not self._came.wait_for(lambda: warms_up or len(self.bodies) > self.together, 150):
                raise OSError("the others did not come")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, *_: Any) -> None:
        """A client that leaves is no error here."""


@contextmanager
def fake_server(behaviour: str = "", **options: Any) -> Iterator[FakeServer]:
    """A running server, closed at the end."""
    server = FakeServer(behaviour, **options)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stop.set()
        server.shutdown()
        server.server_close()
        thread.join()
