"""An evaluation as files: metrics.json for machines, scores.csv for spreadsheets, report.html for people."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from markupsafe import Markup

from weakspot.csv_text import csv_line
from weakspot.data.samples import Sample
from weakspot.durable import make_folder, write_together
from weakspot.errors import OutputError, shown
from weakspot.evaluation.evaluate import Evaluation, ReadMask, Row
from weakspot.evaluation.page import page_of
from weakspot.evaluation.pictures import ReadPixels, select
from weakspot.evaluation.rendering import page_templates, read_template
from weakspot.evaluation.words import does_not_show, headline, rates, shows, standing

SCHEMA_VERSION = 1
MADE_BY = "weakspot evaluation"
STYLES = ("style.css", "report.css", "pictures.css")
NAMES = ("metrics.json", "scores.csv", "report.html")
COLUMNS = (
    *("id", "label", "group", "kind", "decision", "defect_score", "raw_score", "heat_score", "bad_from", "good_below"),
    *("hit", "cell_iou", "regions", "reason", "sha256", "width", "height", "warnings"),
)  # fmt: skip


def write_report(
    output: Path,
    evaluation: Evaluation,
    read_pixels: ReadPixels | None = None,
    read_mask: ReadMask | None = None,
    *,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write metrics.json, scores.csv and report.html into a folder, made where it is missing, and return their paths.

    read_pixels: Sample → (H, W) or (H, W, 3), uint8 or uint16; read_mask: as `evaluate` takes it; both for the page's
    pictures, which it else lacks. overwrite: whether files of an earlier evaluation may be replaced; anything else of
    that name never is. Raises OutputError.
    """
    check_output(output, overwrite)
    targets = tuple(output / name for name in NAMES)
    contents = metrics_json(evaluation), scores_csv(evaluation), report_html(evaluation, read_pixels, read_mask)
    make_folder(output)
    write_together(
        {target: content.encode("utf-8", "backslashreplace") for target, content in zip(targets, contents, strict=True)}
    )
    return targets


def check_output(output: Path, overwrite: bool = False) -> None:
    """Raise OutputError where a report could not be written into `output`; other files may lie there."""
    if output.exists() and not output.is_dir():
        raise OutputError(f"{shown(output)}: is a file; an evaluation needs a folder; choose another name")
    for target in (output / name for name in NAMES):
        if not target.exists() and not target.is_symlink():
            continue
        if not _is_ours(target):
            raise OutputError(f"{shown(target)}: is there and was not made by an evaluation; choose another folder")
        if not overwrite:
            replace = "replace it with --overwrite, or choose another folder"
            raise OutputError(f"{shown(target)}: is of an earlier evaluation; {replace}")


def metrics_json(evaluation: Evaluation) -> str:
    """All figures with their intervals, counts, thresholds and background as JSON; `metrics` holds plain numbers."""
    background = {each.name: getattr(evaluation.background, each.name) for each in fields(evaluation.background)}
    background = {key: value for key, value in background.items() if key not in ("trained_on", "doubted", "drawn")}
    model = evaluation.rows[0].inspection.model
    content = {
        "made_by": MADE_BY,
        "schema_version": SCHEMA_VERSION,
        "created": evaluation.created,
        "model": {"name": model.name, "sha256": model.sha256},
        "thresholds": asdict(evaluation.thresholds),
        "test": standing(evaluation).key == "held_out",
        "headline": headline(evaluation),
        "metrics": evaluation.metrics,
        "intervals": {name: list(bound) for name, bound in evaluation.intervals.items()},
        "counts": evaluation.counts.as_dict(),
        "counts_by_part": evaluation.part_counts.as_dict(),
        "not_inspected": [
            {"id": item.sample.id, "label": item.sample.label, "reason": item.reason} for item in evaluation.refused
        ],
        "rates": [asdict(rate) for rate in rates(evaluation)],
        "promises": evaluation.promises,
        "shows": shows(evaluation),
        "does_not_show": does_not_show(evaluation),
        "not_measured": evaluation.not_measured,
        "seen_in_training": evaluation.seen_in_training,
        "background": background,
    }
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def scores_csv(evaluation: Evaluation) -> str:
    """A row a picture, the refused ones last with their reason: UTF-8, RFC 4180."""
    rows = [_cells(row) for row in evaluation.rows]
    rows += [_about(item.sample) | {"decision": "not inspected", "reason": item.reason} for item in evaluation.refused]
    return csv_line(COLUMNS, "\r\n") + "".join(csv_line(map(row.get, COLUMNS), "\r\n") for row in rows)


def report_html(
    evaluation: Evaluation, read_pixels: ReadPixels | None = None, read_mask: ReadMask | None = None
) -> str:
    """The page, whole: style, script and pictures inside, and a policy that lets the browser fetch nothing."""
    styles, script = "".join(map(read_template, STYLES)), read_template("report.js")
    page = page_of(evaluation, select(evaluation.rows, read_pixels, read_mask), read_pixels)
    allowed = f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"
    inlined = {"style": Markup(styles), "script": Markup(script), "allowed_script": Markup(allowed)}
    return page_templates().get_template("report.html.j2").render(**page, **inlined)


def _is_ours(path: Path) -> bool:
    """Whether a file is what an earlier evaluation wrote, by its first lines."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        start = file.read(1000).decode("utf-8", "replace")
    mark = {
        "metrics.json": f'"made_by": "{MADE_BY}"',
        "scores.csv": ",".join(COLUMNS),
        "report.html": f'content="{MADE_BY}"',
    }
    return mark[path.name] in start


def _about(sample: Sample) -> dict[str, Any]:
    return {"id": sample.id, "label": sample.label, "group": sample.group, "kind": sample.kind}


def _cells(row: Row) -> dict[str, Any]:
    i = row.inspection
    return _about(row.sample) | {
        **{name: getattr(i, name) for name in COLUMNS[COLUMNS.index("decision") : COLUMNS.index("hit")]},
        "hit": None if row.hit is None else int(row.hit),
        "cell_iou": row.cell_iou,
        "regions": len(i.regions),
        "sha256": i.image.sha256,
        "width": i.image.width,
        "height": i.image.height,
        "warnings": "; ".join(i.warnings),
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        return value.item()  # numpy's numbers
    return dict(value) if isinstance(value, Mapping) else list(value)
