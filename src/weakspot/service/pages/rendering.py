"""Pages from templates, with the report's marks and colours; styles and script under names that change with them."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from fastapi import Request
from starlette.responses import HTMLResponse

from weakspot.errors import shown
from weakspot.evaluation.rendering import page_templates, read_template
from weakspot.service.accounts import SESSION, Scope, Who, csrf_of

PACKAGE = "weakspot.service.pages"
ASSETS: Mapping[str, tuple[str, str]] = {  # name: type and text
    "style.css": ("text/css", read_template("style.css")),
    "pages.css": ("text/css", read_template("pages.css", PACKAGE)),
    "icon.svg": ("image/svg+xml", read_template("icon.svg", PACKAGE)),
    **{name: ("text/javascript", read_template(name, PACKAGE)) for name in ("pages.js", "inspect.js", "review.js")},
}
NAVIGATION: tuple[tuple[str, str, Scope], ...] = (  # of each page: its address, name, and the scope its answers need
    ("/inspect", "Inspect", "inspect"),
    ("/stream", "Stream", "review"),
    ("/review", "Review", "review"),
    ("/today", "Today", "review"),
    ("/models", "Models", "review"),
    ("/train", "Train", "admin"),
)


def page(request: Request, name: str, who: Who | None, status: int = 200, **values: Any) -> HTMLResponse:
    """A template as a page, with the navigation that this person may use."""
    pages = [(path, title) for path, title, scope in NAVIGATION if who is not None and who.may(scope)]
    token = request.cookies.get(SESSION)
    frame = {"pages": pages, "here": request.url.path, "who": who, "csrf": csrf_of(token) if token else ""}
    text = _TEMPLATES.get_template(name).render(**frame, **values)
    return HTMLResponse(text, status, {"Cache-Control": "no-store"})


def _asset(name: str) -> str:
    """Where a browser finds a style or script; another one has another address."""
    return f"/static/{name}?{sha256(ASSETS[name][1].encode()).hexdigest()[:12]}"


def _time(text: str) -> str:
    """RFC 3339 as people read it, in UTC."""
    return f"{text[:19].replace('T', ' ')} UTC"


_TEMPLATES = page_templates(PACKAGE)
_TEMPLATES.globals["asset"] = _asset
_TEMPLATES.filters |= {"time": _time, "shown": shown}
