"""Kept inspections as the pages show them: the values of templates, no markup."""

import json
import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row

from weakspot.errors import shown


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One inspection."""

    id: str
    seq: int
    decision: str
    inspected: bool
    score: str
    at: float  # of the defect score and of both thresholds on the scale from 0 to 1, in per cent
    good_below: float
    bad_from: float
    thresholds: tuple[str, str]
    raw: tuple[float, float]  # both as raw scores
    width: int
    height: int
    regions: tuple[dict[str, Any], ...]
    time: str
    model: str
    model_sha256: str
    part: str
    station: str
    line: str
    verdict: str
    reason: str
    milliseconds: str
    warnings: tuple[str, ...]

    @property
    def name(self) -> str:
        """What people call it."""
        return f"part {self.part}" if self.part else f"{self.time[:19].replace('T', ' ')} UTC"

    @property
    def ratio(self) -> float:
        """Width over height."""
        return round(self.width / self.height, 4)


def seen(row: Row[Any]) -> Seen:
    """A row of inspections with the verdict in force."""
    answer = json.loads(row.answer)
    inspected = answer["decision"] != "not inspected"
    limits = (answer["good_below"], answer["bad_from"]) if inspected else (0.0, 0.0)
    return Seen(
        id=row.id,
        seq=row.seq,
        decision=answer["decision"],
        inspected=inspected,
        score=f"{answer['defect_score']:.2f}" if inspected else "",
        at=100 * answer["defect_score"] if inspected else 0.0,
        good_below=100 * _defect_score(limits[0]),
        bad_from=100 * _defect_score(limits[1]),
        thresholds=(f"{_defect_score(limits[0]):.2f}", f"{_defect_score(limits[1]):.2f}"),
        raw=limits,
        width=answer["image"]["width"] or 1,
        height=answer["image"]["height"] or 1,
        regions=tuple(answer.get("regions") or ()),
        time=row.time,
        model=shown(answer["model"]["name"]),
        model_sha256=row.model_sha256,
        part=shown(row.part or ""),
        station=shown(row.station),
        line=shown(row.line or ""),
        verdict=row.verdict if row.verdict not in (None, "withdrawn") else "",
        reason=shown(answer.get("reason") or ""),
        milliseconds=f"{answer['milliseconds']['total']:.0f} ms" if answer.get("milliseconds") else "",
        warnings=tuple(shown(each) for each in answer.get("warnings") or ()),
    )


def _defect_score(raw: float) -> float:
    """A raw score (a logit) on the scale from 0 to 1."""
    return 1 / (1 + math.exp(-min(max(raw, -500.0), 500.0)))
