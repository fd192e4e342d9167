"""From a request to the picture in it: a raw body or a form, within a limit of bytes and a deadline.

A file name that a client gives is not looked at, and no part of a body is put on a disk before it is a whole picture.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from unicodedata import category

from fastapi import Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from weakspot.errors import quoted
from weakspot.service.asked import refuse_names
from weakspot.service.limits import Limits
from weakspot.service.problems import Problem
from weakspot.service.records import Sent

RAW = ("image/png", "image/jpeg", "image/bmp", "image/tiff", "application/octet-stream")
PICTURE = "picture"  # the field of a form that is a file
FIELDS = ("part", "station", "line")
MOST_FIELDS = 20  # of a form that is read at all; what is too much or unknown is then named
MOST_LETTERS = 200
HOW = f"curl --data-binary @0001.png -H 'Content-Type: image/png' …, or curl -F {PICTURE}=@0001.png …"
DRAINED = 1 << 20  # bytes of a refused request that are read away, so that its sender reads the refusal


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 40  # never on disk; the body's own limit holds


async def sent_picture(request: Request, limits: Limits) -> Sent:
    """What a client sent. Raises Problem for too much, too slow, or of another kind."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Problem(415, "encoding", "compressed requests are not taken; send the picture as it is")
    if kind != "multipart/form-data" and kind not in RAW:
        found = f"{quoted(kind, 60)}: " if kind else "no Content-Type: "
        raise Problem(415, "content-type", f"{found}needed is multipart/form-data or {', '.join(RAW)}, as by {HOW}")
    body = await whole_body(request, limits.body_bytes, limits.receive_seconds)
    if kind == "multipart/form-data":
        picture, said = await _of_form(request, body)
    else:
        picture, said = body, dict(request.query_params)
    texts = {name: _text(name, said.get(name)) for name in FIELDS}
    key = _text("Idempotency-Key", request.headers.get("idempotency-key"))
    return Sent(picture, texts["part"], texts["station"] or "", texts["line"], key)


async def whole_body(request: Request, most: int, seconds: float) -> bytes:
    """A request's body. Raises Problem as soon as it is too large or has taken too long."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise _too_large(most)
    body = bytearray()
    try:
        async with asyncio.timeout(seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise _too_large(most)
    except TimeoutError:
        raise Problem(
            408, "too-slow", f"the request took more than {seconds:g} s to arrive", headers={"Connection": "close"}
        ) from None
    return bytes(body)


async def read_away(request: Request) -> None:
    """Read what little is left of a request that will be refused: a connection closed before loses the refusal."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) <= DRAINED:
        with suppress(TimeoutError, ClientDisconnect):  # what is said is why it is refused
            async with asyncio.timeout(1.0):
                async for _ in request.stream():
                    pass  # kept nowhere: the refused are without number


async def _of_form(request: Request, body: bytes) -> tuple[bytes, dict[str, str]]:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    if request.query_params:
        name = next(iter(request.query_params))
        raise Problem(
            422, "unknown", f"{quoted(name, 60)}: in the address, though a form was sent; put it into the form"
        )
    try:
        form: FormData = await _InMemory(
            request.headers, stream(), max_files=MOST_FIELDS, max_fields=MOST_FIELDS, max_part_size=4096
        ).parse()
    except (MultiPartException, ValueError, KeyError) as error:
        raise Problem(400, "form", _why_no_form(error)) from None
    names = [name for name, _ in form.multi_items()]
    refuse_names("the form", names, (PICTURE, *FIELDS))
    picture = form.get(PICTURE)
    if not isinstance(picture, UploadFile):
        found = "it is text" if PICTURE in form else "the form has none"
        raise Problem(422, "no-picture", f"{PICTURE}: {found}; needed is a file, as by curl -F {PICTURE}=@0001.png")
    texts = {name: value for name, value in form.items() if isinstance(value, str)}
    if files := set(FIELDS) & set(names) - set(texts):
        raise Problem(422, "text", f"{min(files)}: is a file; needed is text, as by curl -F {min(files)}=4711")
    return await picture.read(), texts


def _text(name: str, value: str | None) -> str | None:
    if value is None or value == "":
        return None
    if len(value) > MOST_LETTERS or not all(letter.isprintable() or category(letter) == "Zs" for letter in value):
        raise Problem(422, "text", f"{name}: needed are up to {MOST_LETTERS} printable characters")
    return value


def _why_no_form(error: Exception) -> str:
    said = str(error)
    if "Too many" in said:
        return f"the form has more than {MOST_FIELDS} fields or files; needed are {PICTURE} and what is known of it"
    if "exceeded" in said:
        return f"a field of the form is longer than 4,096 bytes; up to {MOST_LETTERS} characters are taken"
    return f"the form cannot be read; send it as curl -F {PICTURE}=@0001.png does, with its boundary in Content-Type"


def _too_large(most: int) -> Problem:
    return Problem(
        413, "too-large", f"more than {most / 1e6:g} MB; send a smaller picture", headers={"Connection": "close"}
    )
