"""A small client of the OpenAI HTTP interface: lists models, streams completions, notes when each event came."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sizer.errors import BenchmarkFailed, UsageError
from sizer.frozen import dataclass

MAX_LINE_BYTES, MAX_BODY_BYTES = 2**20, 2**24
"""Of one event, and of an answer that is no stream: a server gone wild must not fill the memory."""
# An event of one token takes some 300 bytes, with the logarithms of twenty others 4,000.
MAX_BYTES_PER_TOKEN, MAX_BYTES_BESIDE_TOKENS = 2**14, 2**20
IDLE_TIMEOUT_S, LIST_TIMEOUT_S, REFUSAL_TIMEOUT_S = 300.0, 30.0, 2.0
"""Without a token, however many comments keep the connection alive; for the whole list of models; for what a server
that refuses says of it."""
MOST_COUNTED = 10**9
"""A count of tokens beyond this is damaged."""
_HTTP_OK = 200
_NOT_READY = 503
_MISSING = (404, 405, 501)
_REFUSED_FIELDS = (400, 422)


Content = str | Sequence[Mapping[str, Any]]
"""A prompt: a text, or the messages of a chat."""


class ServerGone(Exception):
    """The connection was refused, reset or closed before the answer was whole."""


@dataclass(frozen=True, slots=True)
class Token:
    """One event of a stream: its text (empty for bookkeeping), when it came, the usage report if any, and whether it
    says that the answer is whole."""

    text: str
    at_s: float
    usage: Mapping[str, Any] | None = None
    finished: bool = False

    def counted(self, name: str) -> int:
        """A count of the usage report; 0 where it has none, or one that no server counts to."""
        count = (self.usage or {}).get(name)
        return count if type(count) is int and 0 < count <= MOST_COUNTED else 0


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
        # By connection, because a connection lets go of its socket when the answer is to end with it.
        self._live: dict[http.client.HTTPConnection, socket.socket] = {}

    def again(self) -> Server:
        """The same server with connections of its own, and with what it was found to understand."""
        fresh = Server(self.url)
        fresh._chat, fresh._plain = self._chat, self._plain
        return fresh

    def abandon(self) -> None:
        """Break off every stream that still runs: what follows is not to share the server with it."""
        for live in list(self._live.values()):
            with contextlib.suppress(OSError):
                live.shutdown(socket.SHUT_RDWR)

    def models(self) -> list[Mapping[str, Any]]:
        """What `/v1/models` lists; empty where the server has no such list."""
        connection = self._connect()
        try:
            response = self._send(connection, "GET", "/v1/models", None)
            body = _body(response, LIST_TIMEOUT_S)
            if response.status == _NOT_READY:
                raise BenchmarkFailed(
                    f"The server at {self.url!r} is not ready.", "Wait until it has loaded its model."
                )
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
            self._live.pop(connection, None)
            connection.close()
        return [model for model in listed if isinstance(model, Mapping)] if isinstance(listed, list) else []

    def stream(self, model: str, content: Content, output_tokens: int) -> Iterator[Token]:
        """The events of one completion as they come. Raises ServerGone where the stream breaks off."""
        connection = self._connect()
        try:
            with self._open(connection, model, content, output_tokens) as response:
                yield from _events(response, output_tokens)
        except (OSError, http.client.HTTPException) as error:
            raise ServerGone(_reason(error)) from error
        finally:
            self._live.pop(connection, None)
            connection.close()

    def _open(
        self, connection: http.client.HTTPConnection, model: str, content: Content, tokens: int
    ) -> http.client.HTTPResponse:
        """Ask, stepping down to what the server understands: the chat route, and no fields beyond the standard's."""
        while True:
            path, body = request_body(model, content, tokens, chat=self._chat, plain=self._plain)
            response = self._send(connection, "POST", path, json.dumps(body))
            if response.status == _HTTP_OK:
                return response
            self._live[connection].settimeout(REFUSAL_TIMEOUT_S)
            said = _said(response)
            if response.status in _MISSING and not self._chat:
                self._chat = True
            elif response.status in _REFUSED_FIELDS and not self._plain:
                self._plain = True
            else:
                raise BenchmarkFailed(f"The server refused ({response.status}): {said[:300]}", "Look at its log.")
            connection.close()

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
        self._live[connection] = connection.sock
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.request(method, self._base + path, body, headers)
        return connection.getresponse()


def _said(response: http.client.HTTPResponse) -> str:
    """The start of a refusal, as far as it comes soon: a body without an end is not waited for."""
    with response, contextlib.suppress(OSError, http.client.HTTPException):
        return response.read1(4096).decode("utf-8", "replace").strip()
    return "no reason"


def _events(response: http.client.HTTPResponse, output_tokens: int) -> Iterator[Token]:
    """The tokens of a stream, until its end mark; bounded by bytes, and by the time since the last token.

    Some servers (transformers serve) close it without a mark after the event that has a `finish_reason`.
    """
    last_s, finished = time.perf_counter(), False
    for at_s, lines in _lines(response, MAX_BYTES_BESIDE_TOKENS + MAX_BYTES_PER_TOKEN * output_tokens):
        for line in lines:
            text = line.decode("utf-8", "replace").strip()
            if not text.startswith("data:"):
                continue
            payload = text[5:].strip()
            if payload == "[DONE]":
                return
            token = _token(payload, at_s)
            last_s = at_s if token.text else last_s
            finished = finished or token.finished
            yield token
        if at_s - last_s > IDLE_TIMEOUT_S:
            raise ServerGone(f"no token came for {IDLE_TIMEOUT_S:g} s")
    if not finished:
        raise ServerGone("the stream ended before its end mark")


def _lines(response: http.client.HTTPResponse, limit_bytes: int) -> Iterator[tuple[float, list[bytes]]]:
    """What each arrival completes, and when it came; an arrival that ends no line has none."""
    rest, taken = b"", 0
    while chunk := response.read1(2**16):
        at_s = time.perf_counter()
        taken += len(chunk)
        *lines, rest = (rest + chunk).split(b"\n")
        if taken > limit_bytes or len(rest) > MAX_LINE_BYTES:
            raise BenchmarkFailed(
                f"The server streamed {taken:,} bytes, far more than the tokens asked for.", "Is it OpenAI-compatible?"
            )
        yield at_s, lines


def _body(response: http.client.HTTPResponse, seconds: float) -> bytes:
    """A short answer, whole within some seconds. Raises TimeoutError."""
    deadline, body = time.monotonic() + seconds, b""
    while chunk := response.read1(MAX_BODY_BYTES - len(body)):
        body += chunk
        if time.monotonic() > deadline:
            raise TimeoutError(f"its answer took more than {seconds:g} s")
        if len(body) >= MAX_BODY_BYTES:
            break
    return body


def request_body(model: str, content: Content, tokens: int, *, chat: bool, plain: bool) -> tuple[str, dict[str, Any]]:
    """Path and JSON of a request for exactly `tokens` greedy tokens; `plain` leaves out what only some servers know."""
    body: dict[str, Any] = {"model": model, "max_tokens": tokens, "temperature": 0, "stream": True}
    if not plain:
        body |= {"stream_options": {"include_usage": True}, "ignore_eos": True, "min_tokens": tokens}
    if chat or not isinstance(content, str):
        messages = [{"role": "user", "content": content}] if isinstance(content, str) else list(content)
        return "/v1/chat/completions", {**body, "messages": messages}
    return "/v1/completions", {**body, "prompt": content}


def _token(payload: str, at_s: float) -> Token:
    try:
        event = json.loads(payload)
    except ValueError as error:
        raise BenchmarkFailed(f"The server streamed no JSON: {payload[:100]!r}.", "Is it OpenAI-compatible?") from error
    if not isinstance(event, Mapping):
        raise BenchmarkFailed(f"The server streamed {payload[:100]!r}.", "Is it OpenAI-compatible?")
    if event.get("error"):
        raise BenchmarkFailed(f"The server failed while streaming: {str(event['error'])[:300]}", "Look at its log.")
    choices = event.get("choices")
    choice = _mapping(choices[0]) if isinstance(choices, list) and choices else {}
    delta = _mapping(choice.get("delta"))
    # Reasoning models stream their thoughts apart; they are generated tokens all the same.
    text = choice.get("text") or delta.get("content") or delta.get("reasoning_content") or delta.get("reasoning") or ""
    return Token(str(text), at_s, _mapping(event.get("usage")) or None, bool(choice.get("finish_reason")))


def _mapping(value: Any) -> Mapping[str, Any]:
    """An object of a server's JSON; empty where it sends something else."""
    return value if isinstance(value, Mapping) else {}


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error or type(error).__name__)
