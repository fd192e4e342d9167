"""Pictures whose out-of-fold score contradicts their label so strongly that a person should look, and the suspicion
that good and bad were swapped as a whole. Names pictures; changes no label and no score."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from weakspot.errors import shown
from weakspot.evaluation.metrics import Labels, Scores, auroc, better_than_chance, checked

CHANCE = 0.05  # p-value: a ranking that chance would give more often says nothing about labels
UPSIDE_DOWN = 0.01  # p-value of a ranking the other way round: rarer still, since it accuses all labels at once
FAR = 5.0  # robust standard deviations above the good pictures' median: no tail of good pictures reaches there
MOST = {0: 0.05, 1: 0.1}  # share of a label that can be doubted: where more contradict it, the two kinds overlap
NAMED = 5  # pictures named in a sentence
LISTED = 20  # pictures of a label that the evidence lists


def label_doubts(
    labels: ArrayLike, scores: ArrayLike, ids: Sequence[str], groups: Sequence[Hashable] | None = None
) -> dict[str, list[Any]]:
    """The pictures that contradict their label, the strongest first, and a sentence for each label that has some.

    A good picture is doubted from FAR above the median of the good ones and the lower quarter of the bad ones. A bad
    picture is doubted below the median of the good ones; bad ones have no common level that it could be far from.
    Where more than MOST of a label, and more than one, look so, none is named. labels: (N,), 1 bad, 0 good; scores:
    (N,), raw, out of fold; groups: (N,), physical parts.
    Gives {"pictures": [{"picture", "label", "raw_score"}], "sentences": [...]}; both are empty without both labels.
    """
    y, s = checked(labels, scores, both=False)
    if not 0 < y.sum() < len(y) or better_than_chance(y, s, groups) >= CHANCE:
        return {"pictures": [], "sentences": []}
    doubted = {label: _contradicting(y, s, label) for label in (0, 1)}
    pictures = [
        {"picture": ids[i], "label": label, "raw_score": float(s[i])}
        for label, places in doubted.items()
        for i in places[:LISTED]
    ]
    sentences = [_sentence(y, label, [ids[i] for i in places]) for label, places in doubted.items() if places]
    return {"pictures": pictures, "sentences": sentences}


def swap_sentence(labels: ArrayLike, scores: ArrayLike, groups: Sequence[Hashable] | None = None) -> str:
    """Why good and bad seem to be swapped, with the way out; empty where nothing says so.

    Two things do: an out-of-fold ranking that is upside down beyond chance, and more bad than good pictures of which
    nothing could be learned, since what is the rule is darkened only where it is labelled good. labels: (N,), 1 bad,
    0 good; scores: (N,), raw, out of fold; groups: (N,), the physical part of each. Of one label alone it says nothing.
    """
    y, s = checked(labels, scores, both=False)
    if not 0 < y.sum() < len(y):
        return ""
    bad, good = int(y.sum()), int((y == 0).sum())
    way_out = "good and bad seem to be swapped: look at both kinds, and swap the labels"
    if better_than_chance(1 - y, s, groups) < UPSIDE_DOWN:
        return f"good pictures score above bad ones {1 - auroc(y, s):.0%} of the time, out of fold; {way_out}"
    if bad > good and better_than_chance(y, s, groups) >= CHANCE:
        return f"{bad:,} pictures are labelled bad and only {good:,} good, and nothing tells them apart; {way_out}"
    return ""


def _contradicting(y: Labels, s: Scores, label: int) -> list[int]:
    good, bad = s[y == 0], s[y == 1]
    middle = float(np.median(good))
    if label:
        places = np.flatnonzero((y == 1) & (s < middle))
    else:
        spread = 1.4826 * float(np.median(np.abs(good - middle)))  # of a normal distribution, the standard deviation
        places = np.flatnonzero((y == 0) & (s > middle + FAR * spread) & (s >= np.quantile(bad, 0.25)))
    falling = places[np.argsort(s[places] if label else -s[places])]
    return falling.tolist() if len(falling) <= max(1, MOST[label] * int((y == label).sum())) else []


def _sentence(y: Labels, label: int, names: list[str]) -> str:
    word, other = ("bad", "good") if label else ("good", "bad")
    more, verb = ", …" if len(names) > NAMED else "", "scores" if len(names) == 1 else "score"
    few = f"{len(names):,} of {int((y == label).sum()):,} {word} pictures {verb} like {other} ones"
    return f"{few}, out of fold: is the label right of {', '.join(map(shown, names[:NAMED]))}{more}?"
