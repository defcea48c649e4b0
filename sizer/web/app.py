"""The server: the page's files from memory, and the API, a command's JSON at each address.

No state, nothing written. Each answer is computed in one of a few threads within a time; more requests wait, too many
are refused.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path

import anyio
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from sizer.plain_json import dumps
from sizer.web.dispatch import STRICTEST, Reply, Rules, refusal, reply
from sizer.web.files import page_files
from sizer.web.guard import Guard, json_response
from sizer.web.names import names
from sizer.web.openapi import EXTRA, document
from sizer.web.parameters import COMMANDS

THREADS = 2
"""Answers made at once, questions that wait for one, and the longest that one may take."""
MOST_WAITING = 32
LONGEST_ANSWER_S = 60.0
CACHE = "private, max-age=300"
"""A catalogue's answers change with the package alone; a hub's may within minutes."""
REVALIDATE = "no-cache"
TYPES = {".js": "text/javascript", ".webmanifest": "application/manifest+json", ".svg": "image/svg+xml"}

Endpoint = Callable[[Request], Awaitable[Response]]


def application(rules: Rules = STRICTEST, host: str = "127.0.0.1", hosts: Iterable[str] = ()) -> Starlette:
    """The ASGI application; `host` is where it listens and `hosts` are further names that it may be called by."""
    files = page_files()
    searched = dumps(names(rules.files)).encode()
    routes = [Route(f"/{name}", _fixed(data, content_type(name))) for name, data in files.items()]
    routes += [
        Route("/", _fixed(files["index.html"], "text/html")),
        Route("/names.json", _fixed(searched, "application/json")),
        Route("/api/openapi.json", _fixed(dumps(document()).encode(), "application/json")),
    ]
    api = _Api(rules)
    routes += [Route(f"/api/{name}", partial(api.answer, name)) for name in (*COMMANDS, *EXTRA)]
    guarded = Middleware(Guard, host=host, names=tuple(hosts))
    packed = Middleware(GZipMiddleware, minimum_size=1024, compresslevel=4)
    missing = {404: _missing, 500: _failed}
    return Starlette(routes=routes, middleware=[guarded, packed], exception_handlers=missing)


def content_type(name: str) -> str:
    """The media type of a page's file."""
    return TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"


def _fixed(data: bytes, media_type: str) -> Endpoint:
    """Answers one file, compressed once; a browser that has it is told so."""
    tag, packed = _tag(data), gzip.compress(data, mtime=0)

    async def send(request: Request) -> Response:
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
            return _tagged(request, Response(packed, headers=headers, media_type=media_type), tag, REVALIDATE)
        return _tagged(request, Response(data, media_type=media_type), tag, REVALIDATE)

    return send


def _tag(data: bytes) -> str:
    return f'W/"{hashlib.sha256(data).hexdigest()[:24]}"'


def _tagged(request: Request, response: Response, tag: str, cache: str) -> Response:
    """The response with its tag, or that the browser's copy still holds."""
    if response.status_code == 200 and tag in request.headers.get("if-none-match", ""):
        response = Response(status_code=304)
    response.headers.update({"ETag": tag, "Cache-Control": cache})
    return response


class _Api:
    """Answers of the commands, a few at once."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.threads = anyio.CapacityLimiter(THREADS)

    async def answer(self, name: str, request: Request) -> Response:
        """One command's answer to the query."""
        query = [(key, value) for key, value in request.query_params.multi_items()]
        found = await self._computed(name, query)
        here = not {"device"} & {key for key, _ in query} or ("device", "this") in query
        cache = CACHE if found.status == 200 and not here else REVALIDATE
        return _tagged(request, json_response(found.status, found.body), _tag(found.body.encode()), cache)

    async def _computed(self, name: str, query: list[tuple[str, str]]) -> Reply:
        if self.threads.statistics().tasks_waiting >= MOST_WAITING:
            return refusal(503, "too many requests at once.", "Ask again in a few seconds.")
        found: Reply | None = None
        with anyio.move_on_after(LONGEST_ANSWER_S):
            found = await anyio.to_thread.run_sync(
                reply, name, query, self.rules, limiter=self.threads, abandon_on_cancel=True
            )
        return found or refusal(503, f"no answer within {LONGEST_ANSWER_S:g} s.", "Ask for less at once.")


async def _missing(request: Request, _error: Exception) -> Response:
    body = refusal(404, f"there is nothing at {request.url.path[:200]!r}.", "The page is at /.").body
    return json_response(404, body)


async def _failed(_request: Request, _error: Exception) -> Response:
    return json_response(500, refusal(500, "internal error.", "The server's terminal shows where.", 1).body)
