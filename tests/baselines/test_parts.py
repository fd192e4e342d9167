"""What rivals are made of, each held against a slow or a plain form of it."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from tests.training.toys import toy_images
from weakspot.baselines.patchcore import STEEPNESS, WIDTH, MemoryBank, coreset, patchcore, remember, smoothed
from weakspot.baselines.pooling import SHARPNESS, LogMeanExp
from weakspot.baselines.resnet import resnet18_cam
from weakspot.baselines.segdec import SegDecDecision, segdec
from weakspot.network.detector import Detector
from weakspot.settings import NetworkSettings
from weakspot.training.batches import TrainingImages, View
from weakspot.training.losses import cells_loss
from weakspot.training.train import scores

IMAGES = toy_images()


def test_known_cells_are_those_of_good_pictures_and_of_marked_ones():
    heat, marked = torch.randn(3, 1, 2, 2), torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    labels = torch.tensor([1.0, 0.0])  # a bad one of which nobody knows where, a good one; then the marked one
    of_good = F.softplus(heat[1]).sum()
    of_marked = F.softplus(heat[2]).sum() - heat[2, 0, 0, 0]
    assert cells_loss(heat, labels, marked).item() == pytest.approx(((of_good + of_marked) / 8).item(), rel=1e-5)
    assert cells_loss(heat[:2], labels, None).item() == pytest.approx((of_good / 4).item(), rel=1e-5)


def test_the_decision_network_teaches_neither_features_nor_heat():
    features, heat = torch.randn(2, 4, 16, 16, requires_grad=True), torch.randn(2, 1, 8, 8, requires_grad=True)
    decision = SegDecDecision(4, cell=2)
    answer = decision(features, heat)
    answer.sum().backward()
    assert answer.shape == (2,) and features.grad is None and heat.grad is None
    assert decision.dense.weight.grad.abs().sum() > 0


def test_what_the_decision_network_looks_at_is_each_cells_largest_features_and_its_heat():
    features, heat = torch.randn(1, 3, 4, 6), torch.randn(1, 1, 2, 3)
    seen = SegDecDecision(3, cell=2).attended(features, heat)
    assert torch.equal(seen[0, :3, 1, 2], features[0, :, 2:4, 4:6].amax((1, 2))) and torch.equal(seen[:, 3:], heat)


def test_the_segmentation_sees_what_the_published_one_sees():
    """Its features at 1/8 with 1,024 channels (Tabernik et al. 2019, table 1)."""
    shared, _, _ = segdec(NetworkSettings(body="segdec"))
    with torch.no_grad():
        assert shared.eval()(torch.zeros(1, 1, 64, 72)).shape == (1, 1024, 8, 9)


def test_log_mean_exp_lies_between_the_mean_and_the_largest_and_is_what_numpy_says():
    heat = torch.randn(3, 1, 5, 7) * 40
    pooled = LogMeanExp()(torch.zeros(0), heat)
    flat = heat.flatten(1).double().numpy()
    assert np.allclose(pooled.numpy(), np.logaddexp.reduce(SHARPNESS * flat, 1) / SHARPNESS - np.log(35) / SHARPNESS)
    assert (heat.flatten(1).mean(1) < pooled).all() and (pooled <= heat.amax((1, 2, 3))).all()


def test_the_class_activation_map_has_the_mean_that_the_classifier_gives():
    torch.manual_seed(0)
    shared, classifier, _ = (part.eval() for part in resnet18_cam(NetworkSettings(body="resnet18")))
    with torch.no_grad():
        features = shared(torch.randn(1, 1, 96, 64))
        small = features.reshape(1, 512, 3, 4, 2, 4).mean((3, 5))  # of each 4 × 4 cells that were one place
        by_mean = F.linear(small.mean((2, 3)), classifier[0].weight[:, :, 0, 0], classifier[0].bias)
        assert classifier(features).mean().item() == pytest.approx(by_mean.item(), rel=1e-4)


def test_a_coreset_covers_what_a_random_choice_leaves_out():
    rng = torch.Generator().manual_seed(0)
    cells = torch.cat([torch.randn(500, 3, generator=rng), torch.randn(3, 3, generator=rng) + 100])
    chosen = coreset(cells, 20)
    farthest = [torch.cdist(cells, cells[some]).amin(1).max() for some in (chosen, torch.arange(20))]
    assert len(set(chosen.tolist())) == 20 and 20 * farthest[0] < farthest[1]
    assert coreset(cells[:2], 4).shape == (4,), "again, from too few"


def memory_of(images: TrainingImages) -> Detector:
    torch.manual_seed(0)
    detector = Detector(NetworkSettings(body="narrow"), images.mean, images.std, patchcore).eval()
    remember(detector, images, seed=0)
    return detector


def test_the_heat_is_the_squared_distance_to_the_nearest_remembered_cell():
    detector = memory_of(IMAGES)
    memory = detector.localization
    assert isinstance(memory, MemoryBank)
    with torch.no_grad():
        features = detector.features(IMAGES.seen((View(0),)))
        cells = smoothed(features)[0].flatten(1).T - memory.middle
        plain = torch.cdist(cells.double(), memory.bank.double()).amin(1).square()
        expected = STEEPNESS * (plain / memory.largest - 1)
        assert torch.allclose(memory(features).flatten().double(), expected, atol=1e-3)
    assert memory.bank.shape[1] == WIDTH


def test_good_pictures_alone_are_remembered_and_bad_ones_are_farther_from_them():
    said = scores(memory_of(IMAGES), IMAGES).raw
    assert said[IMAGES.labels == 1].min() > said[IMAGES.labels == 0].max()


def test_good_pictures_that_are_all_alike_give_a_finite_heat():
    alike = TrainingImages(np.repeat(IMAGES.pixels[-1:], 3, axis=0), np.zeros(3, int))
    assert np.isfinite(scores(memory_of(alike), alike).raw).all()
