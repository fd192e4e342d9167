"""The judged pictures of a service, to compare two models on: each is asked anew, whatever was answered before."""

from functools import partial
from pathlib import Path

from weakspot.errors import StoreError
from weakspot.jobs.compare import Judged
from weakspot.service.backup import snapshot
from weakspot.service.export import judged
from weakspot.service.files import Files
from weakspot.service.serve import PICTURES, store_url


def reviewed_pictures(data: Path, store: str | None) -> list[Judged]:
    """Each picture whose verdict in force is good or bad, once, by the id of its last such inspection.

    One that was judged both ways, or that retention removed, is left out. Raises StoreError where there is no store.
    """
    files = Files(data / PICTURES, ours=False)
    with snapshot(store_url(data, store)) as connection:
        rows = judged(connection)
    said: dict[str, set[str]] = {}
    for row in rows:
        said.setdefault(row.picture_sha256, set()).add(row.verdict)
    once = {row.picture_sha256: row for row in rows if len(said[row.picture_sha256]) == 1}
    return [
        Judged(
            id=row.id, label=int(row.verdict == "bad"), part=row.part, sha256=digest,
            content=partial(_content, files, digest),
        )
        for digest, row in once.items()
        if files.path(digest).exists()
    ]  # fmt: skip


def _content(files: Files, digest: str) -> bytes:
    content = files.get(digest)
    if content is None:
        raise StoreError(f"picture {digest[:12]} was removed meanwhile; compare again")
    return content
