"""The losses say what the paper's equations and our recipe say, on maps small enough to follow by hand."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from weakspot.network.detector import Logits, heat_score, top_means
from weakspot.training.losses import (
    TERMS,
    Target,
    cosine_alpha,
    decision_loss,
    search_loss,
    synthetic_loss,
    weak_loss,
)


def logit(p: float) -> float:
    return math.log(p / (1 - p))


def maps(*heats: float) -> torch.Tensor:
    """One 2 × 2 map of even heat for each picture."""
    return torch.tensor([logit(heat) for heat in heats]).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)


def test_the_weak_loss_of_a_pair_is_equation_5():
    q_bad, q_good, alpha = 0.3, 0.1, 8.0
    expected = q_bad * math.log(q_bad) + (1 - q_bad) * math.log(1 - q_bad) - alpha * math.log(1 - q_good)
    assert weak_loss(maps(q_bad, q_good), torch.tensor([1.0, 0.0]), alpha).item() == pytest.approx(expected, rel=1e-5)


def test_a_bad_picture_costs_least_when_half_of_it_is_lit():
    costs = [weak_loss(maps(q), torch.tensor([1.0]), 8.0).item() for q in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert min(costs) == costs[2]


def test_a_good_picture_costs_more_the_more_of_it_is_lit():
    costs = [weak_loss(maps(q), torch.tensor([0.0]), 8.0).item() for q in (0.1, 0.5, 0.9)]
    assert costs == sorted(costs)


def test_alpha_falls_to_half_at_mid_training_and_returns():
    assert cosine_alpha(0, 750) == pytest.approx(8)
    assert min(cosine_alpha(step, 750) for step in range(750)) == pytest.approx(4, abs=0.05)
    assert cosine_alpha(720, 750) > 7.7
    assert cosine_alpha(31, 750) == cosine_alpha(59, 750), "it holds for 30 iterations"


def test_the_search_wants_one_hot_place_on_a_bad_picture_and_none_on_a_good_one():
    hot_spot = torch.full((1, 1, 10, 10), -4.0)
    hot_spot[0, 0, 3, 3] = 6.0
    dark = torch.full((1, 1, 10, 10), -4.0)
    bad, good = torch.tensor([1.0]), torch.tensor([0.0])
    assert search_loss(hot_spot, bad, (0.01,), 1) < search_loss(dark, bad, (0.01,), 1)
    assert search_loss(dark, good, (0.01,), 1) < search_loss(hot_spot, good, (0.01,), 1)


def test_in_the_search_a_good_picture_weighs_the_same_with_and_without_a_bad_one_beside_it():
    heat, labels = torch.randn(4, 1, 8, 8), torch.tensor([1.0, 0.0, 1.0, 0.0])
    bad, good = (search_loss(heat[labels == label], labels[labels == label], (0.1,), 2) for label in (1, 0))
    assert torch.allclose(search_loss(heat, labels, (0.1,), 2), bad + good)


def test_a_drawn_picture_costs_its_bad_cells_the_others_and_half_the_hottest_other():
    heat = torch.tensor([[2.0, -1.0], [0.5, -3.0]]).view(1, 1, 2, 2)
    cells = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).view(1, 1, 2, 2)
    softplus = [math.log1p(math.exp(z)) for z in (-2.0, -1.0, 0.5, -3.0)]
    expected = softplus[0] + sum(softplus[1:]) / 3 + softplus[2] / 2
    assert synthetic_loss(heat, cells, 0.25).item() == pytest.approx(expected, rel=1e-5)
    nowhere = synthetic_loss(heat, torch.zeros(1, 1, 2, 2), 0.25).item()
    softplus[0] = math.log1p(math.exp(2.0))
    assert nowhere == pytest.approx(sum(softplus) / 4 + softplus[0] / 2, rel=1e-5), "as a good picture's"


def test_the_search_looks_at_pairs_alone_and_the_synthetic_term_at_drawn_pictures_alone():
    heat, labels, cells = torch.randn(5, 1, 8, 8), torch.tensor([1.0, 0.0]), torch.zeros(3, 1, 8, 8)
    cells[:, :, 2:4, 5] = 1
    answer, target = Logits(heat[:, 0, 0, 0], heat[:, 0, 0, 0], heat), Target(labels, cells, (0.1,), 1, 0, 100, 8.0)
    assert TERMS["search"](answer, target) == search_loss(heat[:2], labels, (0.1,), 1)
    assert TERMS["synthetic"](answer, target) == synthetic_loss(heat[2:], cells, 0.1)


def test_the_search_asks_for_every_share_of_the_cells_alike():
    heat, labels = torch.randn(4, 1, 8, 8), torch.tensor([1.0, 0.0, 1.0, 0.0])
    each = [search_loss(heat, labels, (share,), 2) for share in (0.01, 0.1, 0.4)]
    assert torch.allclose(search_loss(heat, labels, (0.01, 0.1, 0.4), 2), torch.stack(each).mean())


def test_known_cells_reward_heat_on_them_and_on_no_other():
    known, there, elsewhere = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), -4.0), torch.full((1, 1, 8, 8), -4.0)
    known[0, 0, 2, 2], there[0, 0, 2, 2], elsewhere[0, 0, 5, 5] = 1, 6.0, 6.0
    assert synthetic_loss(there, known, 0.02) < 0.2
    assert synthetic_loss(elsewhere, known, 0.02) > 4


def test_several_pairs_weigh_as_much_as_one():
    heat, labels, cells = torch.randn(2, 1, 8, 8), torch.tensor([1.0, 0.0]), torch.eye(8).expand(2, 1, 8, 8)
    twice = heat.repeat(2, 1, 1, 1), labels.repeat(2)
    assert torch.allclose(search_loss(*twice, (0.1,), 2), search_loss(heat, labels, (0.1,), 1))
    assert torch.allclose(weak_loss(*twice, 8.0), weak_loss(heat, labels, 8.0))
    assert torch.allclose(synthetic_loss(twice[0], cells.repeat(2, 1, 1, 1), 0.1), synthetic_loss(heat, cells, 0.1))


def test_the_decision_loss_is_cross_entropy_with_its_minus():
    loss = decision_loss(torch.tensor([2.0, -1.0]), torch.tensor([1.0, 0.0])).item()
    assert loss == pytest.approx((math.log(1 + math.exp(-2)) + math.log(1 + math.exp(-1))) / 2, rel=1e-5)


@settings(deadline=None)
@given(st.integers(1, 60), st.floats(0.001, 1.0), st.integers(0, 99))
def test_the_top_mean_is_the_mean_of_the_largest(cells: int, fraction: float, seed: int):
    heat = torch.randn(1, 1, 1, cells, generator=torch.Generator().manual_seed(seed))
    count = sum(rank < fraction * cells for rank in range(cells))
    largest = sorted(heat.flatten().tolist(), reverse=True)[:count]
    assert top_means(heat, (fraction,)).item() == pytest.approx(sum(largest) / count, abs=1e-5)
    assert heat_score(heat, (fraction, 1.0)).item() == pytest.approx(
        (sum(largest) / count + heat.mean().item()) / 2, abs=1e-5
    )
