"""What stands before every answer of the server: who may ask, how much, and what a browser may do with the reply."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from sizer.web.dispatch import refusal

LONGEST_QUERY = 16_384
"""Characters of a query; a question of the page has some hundreds."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def is_loopback(host: str) -> bool:
    """Whether an address to listen at is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses what another site or a renamed host asks, anything but GET and HEAD, and queries without bound.

    A page of another site can make a browser send requests here; it cannot forge `Host`, `Origin` or
    `Sec-Fetch-Site`. A name that resolves here but is not ours (DNS rebinding) fails at `Host`.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", names: Iterable[str] = ()) -> None:
        self.app = app
        self.open = not is_loopback(host)
        own = {socket.gethostname().lower()} if self.open else set()
        self.names = LOOPBACK | {host.lower()} | own | {name.lower() for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a refusal, or let the request through with the headers that every answer carries."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = self._refused(scope)
        await (refused or self.app)(scope, receive, send_guarded)

    def _refused(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if not self._is_ours(headers.get("host", "")):
            return json_response(*_error(421, "the Host header names another server.", "Open the printed address."))
        if scope["method"] not in {"GET", "HEAD"}:
            status, body = _error(405, f"{scope['method'][:20]} is not answered.", "Only GET is.")
            return json_response(status, body, {"Allow": "GET, HEAD"})
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
            return json_response(*_error(403, "another site may not ask.", "Open the page itself."))
        if scope["path"].startswith("/api/") and headers.get("sec-fetch-site", "none") not in {"same-origin", "none"}:
            return json_response(*_error(403, "another site may not ask.", "Open the page itself."))
        if len(scope["query_string"]) > LONGEST_QUERY:
            return json_response(*_error(414, f"a query may have {LONGEST_QUERY} bytes.", "Ask for less at once."))
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            name = (urlsplit(f"//{host}").hostname or "").lower()
        except ValueError:
            return False
        if name in self.names:
            return True
        try:  # a number cannot be rebound to another server, as a name can
            return self.open and bool(ipaddress.ip_address(name))
        except ValueError:
            return False


def _error(status: int, message: str, hint: str) -> tuple[int, str]:
    return status, refusal(status, message, hint).body


def json_response(status: int, body: str, headers: dict[str, str] | None = None) -> Response:
    """A JSON text as a response."""
    return Response(body, status, headers, media_type="application/json")
