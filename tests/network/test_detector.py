"""The network has the paper's layers, takes any picture from 64 × 64 up, and knows its own normalization."""

import pytest
import torch

from weakspot.network.blocks import mirror
from weakspot.network.detector import Detector
from weakspot.settings import NetworkSettings

SIZES = [(64, 64), (65, 91), (100, 64), (128, 200), (123, 77)]


@pytest.fixture(scope="module")
def small() -> Detector:
    torch.manual_seed(0)
    return Detector(NetworkSettings(third_kernel=7), mean=120, std=40).eval()


@pytest.mark.parametrize("size", SIZES)
def test_any_picture_gives_an_eighth_of_its_size(small: Detector, size: tuple[int, int]):
    with torch.no_grad():
        answer = small(torch.rand(2, 1, *size) * 255)
    assert answer.heat.shape == (2, 1, -(-size[0] // 8), -(-size[1] // 8))
    assert answer.raw_score.shape == answer.heat_score.shape == (2,)
    assert all(values.isfinite().all() for values in answer)


def test_the_printed_network_has_as_many_weights_as_the_tables_say():
    detector = Detector(NetworkSettings())
    count = sum(weight.numel() for weight in detector.parameters())
    assert 8.6e6 < count < 8.9e6
    assert detector.localization[2][0].weight.numel() == 64 * 512 * 15 * 15


def test_colour_pictures_have_three_channels():
    detector = Detector(NetworkSettings(channels=3, third_kernel=7)).eval()
    with torch.no_grad():
        assert detector(torch.rand(1, 3, 64, 72)).heat.shape == (1, 1, 8, 9)


def test_normalization_is_inside(small: Detector):
    torch.manual_seed(0)
    plain = Detector(NetworkSettings(third_kernel=7)).eval()
    image = torch.rand(1, 1, 64, 64) * 255
    with torch.no_grad():
        assert torch.allclose(small(image).heat, plain((image - 120) / 40).heat, atol=1e-5)


def test_a_picture_normalized_by_itself_answers_alike_in_any_light():
    torch.manual_seed(0)
    detector = Detector(NetworkSettings(normalization="picture", third_kernel=7), mean=120, std=40).eval()
    image = torch.rand(2, 1, 64, 64) * 100
    detector.std.fill_(0)  # what is added to a picture's own deviation
    with torch.no_grad():
        assert torch.allclose(detector(image).heat, detector(image * 1.7 + 30).heat, atol=1e-4)
        assert torch.allclose(detector(image).heat[:1], detector(image[:1]).heat, atol=1e-5), (
            "each by itself, whatever came along"
        )


def test_a_blank_picture_normalized_by_itself_stays_finite():
    detector = Detector(NetworkSettings(normalization="picture", third_kernel=7), mean=120, std=40).eval()
    with torch.no_grad():
        assert detector(torch.full((1, 1, 64, 64), 77.0)).heat.isfinite().all()


@pytest.mark.parametrize(
    "settings", [{"attention": "mask_only"}, {"decision_pooling": "lse"}, {"decision": "correct"}, {"third_kernel": 9}]
)
def test_every_open_point_can_be_set(settings: dict):
    detector = Detector(NetworkSettings(**{"third_kernel": 7, **settings})).eval()
    with torch.no_grad():
        assert detector(torch.rand(1, 1, 64, 64)).raw_score.isfinite().all()


def test_a_correction_moves_the_heats_score_by_no_more_than_a_logit():
    detector = Detector(NetworkSettings(third_kernel=7, decision="correct")).eval()
    with torch.no_grad():
        detector.decision.dense[2].bias.fill_(50.0)
        answer = detector(torch.rand(3, 1, 64, 64))
    moved = answer.raw_score - answer.heat_score
    assert torch.allclose(moved, torch.full_like(moved, detector.decision.CORRECTION), atol=1e-3)


def test_the_mask_only_attention_shuts_out_what_is_dark():
    detector = Detector(NetworkSettings(third_kernel=7, attention="mask_only")).eval()
    features, dark = torch.rand(1, 128, 8, 8), torch.full((1, 1, 8, 8), -60.0)
    with torch.no_grad():
        assert torch.allclose(
            detector.decision(features, dark), detector.decision(torch.zeros_like(features), dark), atol=1e-5
        )


def test_mirror_padding_mirrors_and_extends_what_is_too_small_to_mirror():
    row = torch.tensor([[[[1.0, 2.0, 3.0]]]]).repeat(1, 1, 3, 1)
    assert mirror(row, 1)[0, 0, 1].tolist() == [2, 1, 2, 3, 2]
    assert mirror(torch.ones(1, 1, 1, 1), 1).shape == (1, 1, 3, 3)
    assert mirror(torch.ones(1, 1, 4, 9), 7).shape == (1, 1, 18, 23)
