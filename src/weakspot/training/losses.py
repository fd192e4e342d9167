"""The losses on picture labels and on cells that are known, as plain functions of tensors."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from weakspot.network.detector import Logits, top_means


class Target(NamedTuple):
    """What the answers of one step are held against."""

    labels: Tensor  # (B,), 1 bad, 0 good
    known_cells: Tensor | None  # (S, 1, h, w), of the answer's last S rows, on which defects were marked or drawn
    fractions: tuple[float, ...]  # shares of the cells that a defect may cover
    pairs: int  # of a bad and a good picture in the step; the bad ones may be missing
    step: int  # of the stage, from 0
    iterations: int  # of the stage
    alpha: float  # weight of the good pictures in the weak loss, where it begins
    ignored: Tensor | None = None  # (B + S, 1, h, w) bool, cells that are in no loss


def weak_loss(heat: Tensor, labels: Tensor, alpha: float) -> Tensor:
    """Darken good pictures and leave bad ones undecided (Xu et al. 2020, eq. 5, without the square).

    heat: logits (B, 1, h, w); labels: (B,), 1 bad, 0 good; alpha: weight of good images, > 0. Of pairs the mean, of a
    picture by itself its own. Lower is better.
    """
    mean_heat = heat.sigmoid().mean((1, 2, 3)).clamp(1e-6, 1 - 1e-6)
    good = -torch.log1p(-mean_heat)
    bad = mean_heat * mean_heat.log() + (1 - mean_heat) * torch.log1p(
        -mean_heat
    )  # negative entropy: least where half the map is lit
    return torch.where(labels > 0, bad, alpha * good).sum() / max(1, len(labels) / 2)


def cosine_alpha(step: int, iterations: int, initial: float = 8.0, hold: int = 30) -> float:
    """Weight of the good pictures at a step (Xu et al. 2020, eq. 6): from `initial` down to half of it at mid-training
    and back.

    hold: iterations for which it stays the same (the paper's n).
    """
    return initial * (math.cos(2 * math.pi * (step // hold) / max(1, round(iterations / hold))) + 3) / 4


def search_loss(
    heat: Tensor, labels: Tensor, fractions: tuple[float, ...], pairs: int, ignored: Tensor | None = None
) -> Tensor:
    """Some cells of a bad picture are bad; every cell of a good one is good.

    heat: logits (B, 1, h, w); labels: (B,); fractions: shares of the cells that a defect may cover, each with its own
    term, since nobody knows how large defects are; pairs: B / 2, or more where bad pictures are missing; ignored:
    (B, 1, h, w) bool, cells that are left out. Of all pairs the mean over the good plus the mean over the bad.
    """
    top = top_means(heat, fractions, ignored)
    dark = F.softplus(heat.float())
    every_cell = dark.mean((1, 2, 3)) if ignored is None else _mean_where(dark.flatten(1), ~ignored.flatten(1))
    bad, good = F.softplus(-top).mean(1), every_cell + F.softplus(top).mean(1)
    return torch.where(labels > 0, bad, good).sum() / pairs


def synthetic_loss(heat: Tensor, known_cells: Tensor, fraction: float, ignored: Tensor | None = None) -> Tensor:
    """Cell by cell, where a defect was drawn or marked and elsewhere.

    heat: logits (S, 1, h, w); known_cells: (S, 1, h, w) of 0 and 1; fraction: share of the cells that count as the
    hottest; ignored: (S, 1, h, w) bool, cells that are left out. Bad cells, good cells and the hottest good ones weigh
    1, 1 and 1/2, whatever their number. Mean over the pictures.
    """
    bad_cells = known_cells > 0
    good_cells = ~bad_cells if ignored is None else ~(bad_cells | ignored)
    bad_cells = bad_cells if ignored is None else bad_cells & ~ignored
    z, is_bad_cell = heat.float().flatten(1), bad_cells.flatten(1)
    on_bad = _mean_where(F.softplus(-z), is_bad_cell)
    on_good = _mean_where(F.softplus(z), good_cells.flatten(1))
    darkened = heat.float().masked_fill(bad_cells, -30.0)
    hottest_good = F.softplus(top_means(darkened, (fraction,), ignored)[:, 0])
    return (on_bad + on_good + hottest_good / 2).mean()


def decision_loss(raw_scores: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy on the decision's logits (Xu et al. 2020, eq. 1, with its minus). raw_scores, labels:
    (B,)."""
    return F.binary_cross_entropy_with_logits(raw_scores.float(), labels.float())


def cells_loss(heat: Tensor, labels: Tensor, known_cells: Tensor | None) -> Tensor:
    """Cross-entropy over the cells of good pictures, all of which are good, and of those whose cells are known.

    heat: logits (B + S, 1, h, w); labels: (B,), 1 bad, 0 good; known_cells: (S, 1, h, w) of 0 and 1, or None.
    """
    is_good = labels == 0
    z, cells = heat[: len(labels)][is_good], torch.zeros_like(heat[: len(labels)][is_good])
    if known_cells is not None:
        z, cells = torch.cat([z, heat[len(labels) :]]), torch.cat([cells, known_cells])
    return F.binary_cross_entropy_with_logits(z.float(), cells.float())


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    return (values * chosen).sum(1) / chosen.sum(1).clamp(min=1)


def _synthetic(answer: Logits, target: Target) -> Tensor:
    assert target.known_cells is not None, "the term is for pictures whose cells are known"
    ignored = None if target.ignored is None else target.ignored[len(target.labels) :]
    return synthetic_loss(answer.heat[len(target.labels) :], target.known_cells, min(target.fractions), ignored)


def _search(answer: Logits, target: Target) -> Tensor:
    pictures = len(target.labels)
    ignored = None if target.ignored is None else target.ignored[:pictures]
    return search_loss(answer.heat[:pictures], target.labels, target.fractions, target.pairs, ignored)


def _all_labels(target: Target) -> Tensor:
    """The labels (B + S,) of all rows: where a defect was marked or drawn the picture is bad."""
    known = target.known_cells
    return target.labels if known is None else torch.cat([target.labels, known.amax((1, 2, 3))])


CAN_IGNORE = frozenset({"search", "synthetic"})  # terms that leave ignored cells out
TERMS: dict[str, Callable[[Logits, Target], Tensor]] = {  # by the names that stages have for them
    "weak": lambda answer, to: weak_loss(answer.heat, to.labels, cosine_alpha(to.step, to.iterations, to.alpha)),
    "weak, alpha fixed": lambda answer, to: weak_loss(answer.heat, to.labels, to.alpha),
    "search": _search,
    "synthetic": _synthetic,
    "decide": lambda answer, to: decision_loss(answer.raw_score, _all_labels(to)),
    "cells": lambda answer, to: cells_loss(answer.heat, to.labels, to.known_cells),
}
