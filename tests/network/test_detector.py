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


@pytest.fixture(scope="module")
def narrow() -> Detector:
    torch.manual_seed(0)
    return Detector(NetworkSettings(body="narrow", decision="heat"), mean=120, std=40).eval()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("body", ["small", "narrow"])
def test_any_picture_gives_an_eighth_of_its_size(body: str, size: tuple[int, int], request: pytest.FixtureRequest):
    with torch.no_grad():
        answer = request.getfixturevalue(body)(torch.rand(2, 1, *size) * 255)
    assert answer.heat.shape == (2, 1, -(-size[0] // 8), -(-size[1] // 8))
    assert answer.raw_score.shape == answer.heat_score.shape == (2,)
    assert all(values.isfinite().all() for values in answer)


def test_the_printed_network_has_as_many_weights_as_the_tables_say():
    detector = Detector(NetworkSettings())
    count = sum(weight.numel() for weight in detector.parameters())
    assert 8.6e6 < count < 8.9e6
    assert detector.localization[2][0].weight.numel() == 64 * 512 * 15 * 15


def test_the_narrow_network_takes_7_4_giga_multiply_adds_at_the_papers_size(narrow: Detector):
    counted: list[int] = []

    def count(layer: torch.nn.Conv2d, _: object, maps: torch.Tensor) -> None:
        counted.append(layer.weight.numel() * maps.shape[-2] * maps.shape[-1])

    layers = [layer for layer in narrow.modules() if isinstance(layer, torch.nn.Conv2d)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        narrow(torch.zeros(1, 1, 1408, 512))
    for hook in hooks:
        hook.remove()
    assert sum(counted) / 1e9 == pytest.approx(7.4, abs=0.05)


def test_a_narrow_cell_sees_64_pixels_a_side(narrow: Detector):
    image = torch.rand(1, 1, 192, 192, requires_grad=True)
    (gradient,) = torch.autograd.grad(narrow(image).heat[0, 0, 12, 12], image)
    rows = gradient[0, 0].abs().sum(1).nonzero()
    assert rows.max() - rows.min() + 1 <= 64


def test_an_odd_size_is_extended_by_its_edge(narrow: Detector):
    image = torch.rand(1, 1, 127, 95)
    with torch.no_grad():
        extended = torch.nn.functional.pad(image, (0, 1, 0, 1), mode="replicate")
        assert narrow(image).heat.shape == narrow(extended).heat.shape == (1, 1, 16, 12)
        blind = Detector(NetworkSettings(body="narrow", decision="heat")).eval()
        assert torch.equal(blind(image).heat, blind(extended).heat)


def test_where_nothing_decides_the_raw_score_is_the_heats(narrow: Detector):
    with torch.no_grad():
        answer = narrow(torch.rand(2, 1, 80, 64) * 255)
    assert torch.equal(answer.raw_score, answer.heat_score) and not list(narrow.decision.parameters())


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


@pytest.mark.parametrize("settings", [{"attention": "mask_only"}, {"decision_pooling": "lse"}, {"third_kernel": 9}])
def test_every_open_point_can_be_set(settings: dict):
    detector = Detector(NetworkSettings(**{"third_kernel": 7, **settings})).eval()
    with torch.no_grad():
        assert detector(torch.rand(1, 1, 64, 64)).raw_score.isfinite().all()


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
