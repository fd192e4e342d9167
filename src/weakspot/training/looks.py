"""How a stage looks at its pictures: whole ones through the whole network, or the features of parts that are frozen."""

from collections.abc import Callable

import torch
from torch import Tensor

from weakspot.network.detector import DecisionNetwork, Logits, heat_score
from weakspot.training.batches import View, Views
from weakspot.training.stages import Stage
from weakspot.training.state import Training

MOST_KEPT, MOST_KEPT_SMALL = 2**31, 2**28  # bytes of attended features; where memory is to be spared

Look = Callable[[Views], Logits]


def look_of(training: Training, stage: Stage) -> Look:
    """Views → their logits, in order."""
    return _look_at_features(training) if stage.trains == ("decision",) else _look_at_images(training, stage)


def _look_at_images(training: Training, stage: Stage) -> Look:
    def look(views: Views) -> Logits:
        with training.machine.autocast():
            return _logits(training, training.images.seen(views, training.machine.device), stage)

    return look


def _logits(training: Training, images: Tensor, stage: Stage) -> Logits:
    """The decision is computed only where it learns."""
    detector = training.detector
    if "decision" in stage.trains:
        return detector(images)  # type: ignore[no-any-return]
    heat = detector.heat(detector.features(images))
    score = heat_score(heat, detector.settings.top_fractions)
    return Logits(score, score, heat)


def _look_at_features(training: Training) -> Look:
    """Frozen parts answer the same each time, so what they give for a view is kept when it is first drawn."""
    kept: dict[View, tuple[Tensor, Tensor, Tensor]] = {}
    detector, machine, decision = training.detector, training.machine, training.detector.decision
    assert isinstance(decision, DecisionNetwork)

    @torch.no_grad()
    def frozen(view: View) -> tuple[Tensor, Tensor, Tensor]:
        if view in kept:
            return kept[view]
        with machine.autocast():
            features = detector.features(training.images.seen((view,), machine.device))
            heat = detector.heat(features)
            maps = decision.attended(features, heat), heat, heat_score(heat, detector.settings.top_fractions)
        if (len(kept) + 1) * maps[0].nbytes <= (MOST_KEPT_SMALL if machine.small else MOST_KEPT):
            kept[view] = maps
        return maps

    def look(views: Views) -> Logits:
        attended, heat, score = (torch.cat(maps) for maps in zip(*map(frozen, views), strict=True))
        with machine.autocast():
            return Logits(decision.decide(attended, heat), score, heat)

    return look
