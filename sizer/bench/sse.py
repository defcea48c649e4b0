"""A small client of the OpenAI HTTP interface: lists models, streams completions, notes when each event came."""

from __future__ import annotations

import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sizer.errors import BenchmarkFailed, UsageError

MAX_LINE_BYTES = 2**20
MAX_BODY_BYTES = 2**24
IDLE_TIMEOUT_S = 300.0
_HTTP_OK = 200
_MISSING = (404, 405, 501)
_REFUSED_FIELDS = (400, 422)


class ServerGone(Exception):
    """The connection was refused, reset or closed before the answer was whole."""


@dataclass(frozen=True, slots=True)
class Token:
    """One event of a stream: its text (empty for bookkeeping), when it came, and the usage report if any."""

    text: str
    at_s: float
    usage: Mapping[str, Any] | None = None


class Server:
    """An OpenAI-compatible server at a base URL, with or without its `/v1`. OPENAI_API_KEY is sent if it is set."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"--server {url!r} is no address.", "Write it as http://localhost:8000/v1")
        self.url = url
        self._secure = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._base = parts.path.rstrip("/").removesuffix("/v1")
        self._chat = False
        self._plain = False

    def models(self) -> list[Mapping[str, Any]]:
        """What `/v1/models` lists; empty where the server has no such list."""
        connection = self._connect()
        try:
            response = self._send(connection, "GET", "/v1/models", None)
            body = response.read(MAX_BODY_BYTES)
            if response.status != _HTTP_OK:
                return []
            listed = json.loads(body).get("data", [])
        except (OSError, http.client.HTTPException) as error:
            raise BenchmarkFailed(
                f"No server answers at {self.url!r} ({_reason(error)}).", "Start it, or correct --server."
            ) from error
        except (ValueError, AttributeError):
            return []
        finally:
            connection.close()
        return [model for model in listed if isinstance(model, Mapping)]

    def stream(self, model: str, prompt: str, output_tokens: int) -> Iterator[Token]:
        """The events of one completion as they come. Raises ServerGone where the stream breaks off."""
        connection = self._connect()
        try:
            yield from self._events(self._open(connection, model, prompt, output_tokens))
        except (OSError, http.client.HTTPException) as error:
            raise ServerGone(_reason(error)) from error
        finally:
            connection.close()

    def _open(
        self, connection: http.client.HTTPConnection, model: str, prompt: str, tokens: int
    ) -> http.client.HTTPResponse:
        """Ask, stepping down to what the server understands: the chat route, and no fields beyond the standard's."""
        while True:
            path, body = request_body(model, prompt, tokens, chat=self._chat, plain=self._plain)
            response = self._send(connection, "POST", path, json.dumps(body))
            if response.status == _HTTP_OK:
                return response
            said = response.read(4096).decode("utf-8", "replace").strip()
            if response.status in _MISSING and not self._chat:
                self._chat = True
            elif response.status in _REFUSED_FIELDS and not self._plain:
                self._plain = True
            else:
                raise BenchmarkFailed(f"The server refused ({response.status}): {said[:300]}", "Look at its log.")
            connection.close()

    def _events(self, response: http.client.HTTPResponse) -> Iterator[Token]:
        while True:
            line = response.readline(MAX_LINE_BYTES)
            at_s = time.perf_counter()
            if not line:
                raise ServerGone("the stream ended before its end mark")
            text = line.decode("utf-8", "replace").strip()
            if not text.startswith("data:"):
                continue
            payload = text[5:].strip()
            if payload == "[DONE]":
                return
            yield _token(payload, at_s)

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        return kind(self._host, self._port, timeout=IDLE_TIMEOUT_S)

    def _send(
        self, connection: http.client.HTTPConnection, method: str, path: str, body: str | None
    ) -> http.client.HTTPResponse:
        headers = {"Content-Type": "application/json", "Accept": "text/event-stream, application/json"}
        if key := os.environ.get("OPENAI_API_KEY"):
            headers["Authorization"] = f"Bearer {key}"
        connection.connect()
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.request(method, self._base + path, body, headers)
        return connection.getresponse()


def request_body(model: str, prompt: str, tokens: int, *, chat: bool, plain: bool) -> tuple[str, dict[str, Any]]:
    """Path and JSON of a request for exactly `tokens` greedy tokens; `plain` leaves out what only some servers know."""
    body: dict[str, Any] = {"model": model, "max_tokens": tokens, "temperature": 0, "stream": True}
    if not plain:
        body |= {"stream_options": {"include_usage": True}, "ignore_eos": True, "min_tokens": tokens}
    if chat:
        return "/v1/chat/completions", {**body, "messages": [{"role": "user", "content": prompt}]}
    return "/v1/completions", {**body, "prompt": prompt}


def _token(payload: str, at_s: float) -> Token:
    try:
        event = json.loads(payload)
    except ValueError as error:
        raise BenchmarkFailed(f"The server streamed no JSON: {payload[:100]!r}.", "Is it OpenAI-compatible?") from error
    if not isinstance(event, Mapping):
        raise BenchmarkFailed(f"The server streamed {payload[:100]!r}.", "Is it OpenAI-compatible?")
    if event.get("error"):
        raise BenchmarkFailed(f"The server failed while streaming: {str(event['error'])[:300]}", "Look at its log.")
    choices = event.get("choices") or [{}]
    choice = choices[0] if isinstance(choices[0], Mapping) else {}
    delta = choice.get("delta") or {}
    # Reasoning models stream their thoughts apart; they are generated tokens all the same.
    text = choice.get("text") or delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or ""
    usage = event.get("usage")
    return Token(str(text), at_s, usage if isinstance(usage, Mapping) else None)


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
