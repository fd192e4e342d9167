"""The choice of the decision good / review / bad: thresholds from scores of pictures that the scoring detector had not
seen, with the evidence for them."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from weakspot.errors import MetricError
from weakspot.evaluation.label_doubts import label_doubts
from weakspot.evaluation.metrics import checked
from weakspot.evaluation.threshold_evidence import evidence_of
from weakspot.evaluation.threshold_rules import WITHOUT_BAD, thresholds_by
from weakspot.inspection.inspection import Thresholds
from weakspot.settings import ThresholdSettings


@dataclass(frozen=True, kw_only=True)
class ThresholdChoice:
    """The thresholds, and what the pictures that chose them say."""

    thresholds: Thresholds
    evidence: dict[str, Any]  # counts, exact intervals, promises, sentences, doubted labels; plain values only


def choose_thresholds(
    labels: ArrayLike,
    scores: ArrayLike,
    settings: ThresholdSettings,
    groups: Sequence[Hashable] | None = None,
    ids: Sequence[str] | None = None,
    chosen_on: str = "out-of-fold scores of the training pictures",
    held_out: bool = True,
) -> ThresholdChoice:
    """Two thresholds on raw scores by the rule of `settings`.

    labels: (N,), 1 bad, 0 good; scores: (N,), raw; groups: (N,), the physical part of each; ids: (N,), names for the
    evidence; chosen_on: in words, kept with the thresholds; held_out: whether the scores come from detectors that had
    not seen the picture, else they promise nothing and doubt no label. Raises MetricError where there is no good
    picture, or no bad one and the rule needs some.
    """
    y, s = checked(labels, scores, both=False)
    for what, given in (("groups", groups), ("ids", ids)):
        if given is not None and len(given) != len(y):
            raise MetricError(f"{len(given)} {what} for {len(y)} pictures; needed is one for each")
    _refuse_missing_kinds(int(y.sum()), len(y), settings.rule)
    good_below, bad_from = thresholds_by(y, s, settings)
    thresholds = Thresholds(bad_from=bad_from, good_below=good_below, rule=settings.rule, chosen_on=chosen_on)
    names = [f"picture {i}" for i in range(len(y))] if ids is None else [str(each) for each in ids]
    evidence = evidence_of(y, s, groups, names, thresholds, settings)
    if held_out:
        evidence["label_doubts"] = label_doubts(y, s, names, groups)
    else:
        evidence |= {"promised": {}, "label_doubts": {"pictures": [], "sentences": []}}
    return ThresholdChoice(thresholds=thresholds, evidence=evidence)


def _refuse_missing_kinds(bad: int, pictures: int, rule: str) -> None:
    if bad == pictures:
        raise MetricError(f"{bad} bad pictures and no good one: thresholds need good pictures; add some")
    if bad == 0 and rule not in WITHOUT_BAD:
        way_out = 'add some, or set rule = "limits", which then holds false alarms alone to a limit'
        raise MetricError(f"rule {rule} needs bad pictures, and there is none among {pictures}; {way_out}")
