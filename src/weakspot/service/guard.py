"""What every request passes first: which host it means, whether a foreign page sent it, and headers on each answer."""

from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from weakspot.service.answers import refusal
from weakspot.service.problems import SAFE, Problem

HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src-attr 'unsafe-inline'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",  # style-src-attr: places on scales, in per cent
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # with no-referrer a form of our own would come with `Origin: null`
    "Cross-Origin-Resource-Policy": "same-origin",
}


UPLOADS = ("/v1/inspections", "/v1/models")  # they bound what they read themselves
MOST_BYTES = 65_536  # of any other request


class Guard:
    """Refuses hosts that are not ours (DNS rebinding) and changes that another site's page asks for."""

    def __init__(self, app: ASGIApp, hosts: Collection[str]) -> None:
        self._app, self._hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, as ASGI has it."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        problem = self._refusal(scope, Headers(scope=scope)) or _too_much(scope)
        app = self._app if problem is None else refusal(Request(scope), problem)
        await app(scope, receive, send_guarded)

    def _refusal(self, scope: Scope, headers: Headers) -> Problem | None:
        host, address = headers.get("host", ""), (scope.get("server") or ("",))[0]
        if _name(host) not in {*self._hosts, address}:  # the address that was called: no foreign name leads to it
            return Problem(421, "host", "this is another host; start it with --allow-host NAME if that is its name")
        if scope["method"] in SAFE:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        foreign = origin is not None and urlsplit(origin).netloc.lower() != host.lower()
        if foreign or site not in ("same-origin", "none"):
            return Problem(403, "foreign", "a page of another site may not change anything here")
        return None


def _too_much(scope: Scope) -> Problem | None:
    """Before any of it is read: what is no picture and no model file is small, and says its length."""
    headers = Headers(scope=scope)
    if scope["method"] in SAFE or scope["path"] in UPLOADS:
        return None
    if "transfer-encoding" in headers:
        return Problem(411, "length", "say the length of what is sent: Content-Length")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MOST_BYTES:
        return Problem(
            413, "too-large", f"more than {MOST_BYTES:,} bytes, which no request but a picture or a model needs"
        )
    return None


def _name(host: str) -> str:
    """A Host header without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""
