"""One piece of very many pictures: read, judged, and its results as Parquet. Knows no cluster and writes nothing."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pyarrow as pa
import pyarrow.parquet as pq

from weakspot.data.reading import MOST_BYTES
from weakspot.errors import ImageError, shown
from weakspot.inspection import storage
from weakspot.inspection.ahead import read_ahead
from weakspot.inspection.folder import judged
from weakspot.inspection.inspection import Inspection, NotInspected
from weakspot.inspection.loaded import LoadedDetector
from weakspot.inspection.picture_tables import rows
from weakspot.inspection.pieces import Done, Piece, Plan, Told, keep
from weakspot.inspection.preparation import Prepared


def _texts(*names: str) -> list[tuple[str, Any]]:
    return [(name, pa.string()) for name in names]


_REGION = pa.struct([(name, pa.int64()) for name in ("x", "y", "width", "height", "cells")] + [("score", pa.float64())])
# docs/inspection.schema.json, without milliseconds: two workers that judge the same must write the same bytes.
SCHEMA = pa.schema([
    ("schema_version", pa.int64()), ("id", pa.string()),
    ("image", pa.struct([*_texts("path", "sha256"), ("width", pa.int64()), ("height", pa.int64())])),
    ("model", pa.struct(_texts("name", "sha256"))), ("decision", pa.string()), ("reason", pa.string()),
    *((name, pa.float64()) for name in ("defect_score", "raw_score", "bad_from", "good_below")),
    ("regions", pa.list_(_REGION)), ("warnings", pa.list_(pa.string())),
    ("ignore_mask_sha256", pa.string()), ("time", pa.string()),
])  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One picture: its path or address, and its file's content where a table holds it."""

    path: str
    content: bytes | None = None


def do_piece(detector: LoadedDetector, output: str, plan: Plan, piece: Piece) -> Done:
    """Judge a piece and put its results where they belong. Raises StorageError, and OutputError where none fit."""
    start, found, told = perf_counter(), [], Told()
    for number, (source, prepared) in enumerate(read_ahead(_reader(detector), sources(piece))):
        entry = _named_by_plan(judged(detector, source.path, prepared), plan, piece, number)
        told.add(entry)
        found.append(entry.as_dict())
    return keep(output, plan, piece, as_parquet(found, plan, piece), told, perf_counter() - start)


def as_parquet(results: list[dict[str, Any]], plan: Plan, piece: Piece) -> bytes:
    """Published results as a Parquet file; the same ones give the same bytes."""
    about = {"weakspot.plan": plan.sha256, "weakspot.piece": str(piece.number)}
    table = pa.Table.from_pylist(results, schema=SCHEMA).replace_schema_metadata(about)
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def sources(piece: Piece) -> Iterator[Source]:
    """The pictures of a piece in order. Raises DataError for a table that is damaged."""
    if not piece.table:
        yield from map(Source, piece.images)
        return
    found = rows(piece.table, piece.row_group, piece.first_row, piece.end_row)
    for row, (path, content) in enumerate(found, start=piece.first_row):
        yield _source(piece, row, path, content)


def _source(piece: Piece, row: int, path: str | None, content: bytes | None) -> Source:
    where = f"{piece.table}#{piece.row_group}.{row}"
    if content is not None:
        return Source(path or where, content)
    return Source(storage.joined(storage.parent(piece.table), path)) if path else Source(where, b"")


def _reader(detector: LoadedDetector) -> Any:
    def prepare(source: Source) -> Prepared:
        if source.content is not None:
            return detector.prepare(source.content, path=source.path)
        if storage.is_remote(source.path):
            return detector.prepare(_fetched(source.path), path=source.path)
        return detector.prepare(source.path)

    return prepare


def _fetched(address: str) -> bytes:
    """A picture's file from storage. Raises ImageError where there is none or too large a one."""
    try:
        if storage.size(address) > MOST_BYTES:
            raise ImageError(f"{shown(address)}: larger than {MOST_BYTES >> 30} GB; take a smaller picture")
        return storage.read(address)
    except FileNotFoundError:
        raise ImageError(f"{shown(address)}: no such object; put it there again") from None


def _named_by_plan(
    entry: Inspection | NotInspected, plan: Plan, piece: Piece, number: int
) -> Inspection | NotInspected:
    """With an id and a time that are the same whoever judges it, and however often."""
    return replace(entry, id=str(uuid5(NAMESPACE_URL, f"{plan.sha256}/{piece.number}/{number}")), time=plan.time)
