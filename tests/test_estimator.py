"""The scikit-learn face: scikit-learn's own checks, on images drawn from rows, and what is said of wrong images."""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks
from sklearn.utils.validation import validate_data

from weakspot.errors import DataError, ImageError
from weakspot.estimator import WeakspotClassifier, images_in
from weakspot.settings import TrainSettings

SIDE = 64


@dataclass
class Direction:
    """A model that is a direction in pixel space: what training gives here, in no time."""

    weights: np.ndarray
    offset: float


class Toy:
    """A detector with the face of LoadedDetector."""

    def __init__(self, model: Direction, runtime: Any) -> None:
        self.model, self.runtime = model, runtime

    def inspect(self, image: Any) -> SimpleNamespace:
        pixels = np.asarray(Image.open(image)) if isinstance(image, Path) else image
        if pixels.std() == 0:
            raise ImageError("an image of one value, which is no picture of a part")
        raw = float((pixels.astype(float) * self.model.weights).mean() - self.model.offset)
        return SimpleNamespace(raw_score=raw, bad_from=0.0, heat_map=np.full((SIDE // 8, SIDE // 8), 0.5, np.float32))


def fit_arrays(images: list[np.ndarray], labels: list[int], settings: TrainSettings) -> Toy:
    """Instead of a training: the direction between the classes' means, each pixel by its own spread."""
    X, y = np.stack(images).astype(float), np.array(labels)
    bad, good = X[y == 1].mean(0), X[y == 0].mean(0)
    weights = (bad - good) / (np.stack([X[y == label].std(0) for label in (0, 1)]).mean(0) + 1)
    return Toy(Direction(weights, float(((bad + good) / 2 * weights).mean())), SimpleNamespace(name="toy"))


@pytest.fixture(autouse=True)
def toy_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "weakspot.jobs.passing", SimpleNamespace(fit_arrays=fit_arrays))  # type: ignore[arg-type]
    monkeypatch.setattr("weakspot.inspection.loaded.LoadedDetector", Toy)
    monkeypatch.setattr("weakspot.inspection.runtimes.open_runtime", lambda model, name: SimpleNamespace(name=name))


class RowsAsImages(WeakspotClassifier):
    """Draws each row as stripes, and takes the last class for bad.

    scikit-learn's checks know rows of numbers alone, and classes such as "one" and "two"; they try nothing on others.
    """

    def _images(self, X: Any, reset: bool) -> Any:
        rows = validate_data(self, X, reset=reset)
        stripes = np.round(np.tanh(rows / 2) * 127 + 128).astype(np.uint8)
        images = np.repeat(np.repeat(stripes, -(-SIDE // rows.shape[1]), axis=1)[:, None, :SIDE], SIDE, axis=1)
        images[:, 0, 0], images[:, 0, 1] = 0, 255  # never of one value
        return images_in(images)

    def _positive(self, classes: Any) -> Any:
        return classes[1]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = True, False
        return tags


@parametrize_with_checks([RowsAsImages()])  # all of them apply to images drawn from rows, so none is expected to fail
def test_scikit_learns_own_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def scratched(n: int = 12, channels: int = 1, dtype: Any = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    """n images of noise, every third with a bright line across: (n, 64, 64[, 3]) and labels."""
    rng = np.random.default_rng(0)
    X = rng.integers(90, 110, (n, SIDE, SIDE, channels)).astype(dtype)
    y = (np.arange(n) % 3 == 0).astype(int)
    X[y == 1, 30:33] = 250
    return (X if channels == 3 else X[..., 0]), y


@pytest.mark.parametrize(("channels", "dtype"), [(1, np.uint8), (3, np.uint8), (1, np.uint16)])
def test_images_grey_and_colour_8_and_16_bit_are_told_apart(channels: int, dtype: Any) -> None:
    X, y = scratched(channels=channels, dtype=dtype)
    classifier = WeakspotClassifier().fit(X, y)
    assert classifier.score(X, y) == 1.0
    assert classifier.predict_proba(X).shape == (12, 2)
    assert (classifier.decision_function(X)[y == 1] > classifier.decision_function(X)[y == 0].max()).all()


def test_heat_maps_are_one_per_image() -> None:
    X, y = scratched()
    maps = WeakspotClassifier().fit(X, y).heat_maps(X)
    assert len(maps) == 12
    assert maps[0].shape == (8, 8)
    assert maps[0].dtype == np.float32


def test_paths_are_taken_as_images_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = scratched()
    paths = [str(tmp_path / f"{index}.png") for index in range(len(X))]
    for path, image in zip(paths, X, strict=True):
        Image.fromarray(image).save(path)
    by_path, by_array = WeakspotClassifier().fit(paths, y), WeakspotClassifier().fit(X, y)
    assert np.array_equal(by_path.decision_function(paths), by_array.decision_function(X))


def test_cross_validation_grids_and_clones_work() -> None:
    X, y = scratched(18)
    assert cross_val_score(WeakspotClassifier(), X, y, cv=3, scoring="average_precision").min() == 1.0
    grid = GridSearchCV(WeakspotClassifier(seed=3), {"recipe": ["sharp", "paper"]}, cv=2).fit(X, y)
    assert grid.best_score_ == 1.0
    assert clone(grid.best_estimator_).seed == 3
    assert get_tags(grid.best_estimator_).input_tags.three_d_array


@pytest.mark.parametrize(
    ("X", "error", "said"),
    [
        (np.zeros((4, 64), np.uint8), ValueError, r"shape \(64,\); needed is \(H, W\).*Reshape your data"),
        (
            np.zeros((4, 64, 64)),
            ValueError,
            r"image 0 of X: an array of float64 and shape \(64, 64\); .*uint8 or uint16",
        ),
        (np.zeros((4, 64, 64, 4), np.uint8), ValueError, r"\(64, 64, 4\)"),
        (np.zeros((0, 64, 64), np.uint8), ValueError, "0 sample"),
        ([], ValueError, "0 sample"),
        ("folder/", TypeError, "needed is an array"),
        (7, TypeError, "X is int"),
        ([["a", "b"]] * 4, ValueError, "an array of <U1"),
        (np.zeros((4, 64, 64), bool), ValueError, "an array of bool"),
    ],
)
def test_what_is_no_image_is_refused_in_scikit_learns_way(X: Any, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        WeakspotClassifier().fit(X, [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("y", "said"),
    [
        (None, "target y is None"),
        ([0] * 12, "one class"),
        ([0, 1, 2] * 4, "Only binary classification is supported"),
        ([0, 1], "inconsistent numbers of samples"),
        (["type A", "type B"] * 6, "'type A' and 'type B', of which nobody can tell which means bad; say which with p"),
        (["good", "type B"] * 6, "say which with positive_class, or pass 0 for good and 1 for bad"),
        (["good", "ok"] * 6, "nobody can tell"),
        (["scratch", "dent"] * 6, "nobody can tell"),
        ([1, 2] * 6, "nobody can tell"),
        ([-1, 1] * 6, "nobody can tell"),
        (["positive", "negative"] * 6, "nobody can tell"),
        ([0.1, 0.7, 0.3] * 4, "Unknown label type"),
    ],
)
def test_labels_that_cannot_be_are_refused(y: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WeakspotClassifier().fit(scratched()[0], y)


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ("defect", "no defect"),
        ("crack", "okay"),
        ("damaged", "undamaged"),
        ("bad", "intact"),
        ("NG", "OK"),
        ("n.i.O.", "i.O."),
        ("Schlecht", "Gut"),
        (1, 0),
        (1.0, 0.0),
        (True, False),
        ("1", "0"),
    ],
)
def test_the_label_that_means_bad_is_bad_wherever_it_sorts(bad: Any, good: Any) -> None:
    X, y = scratched()
    labels = [bad if label else good for label in y]
    classifier = WeakspotClassifier().fit(X, labels)
    assert classifier.positive_class_ == bad
    assert (classifier.predict(X) == np.array(labels)).all()
    assert [one.raw_score > 0 for one in classifier.inspect(X)] == [label == 1 for label in y]  # what a saved one says
    assert classifier.classes_.tolist() == sorted([bad, good])
    assert (classifier.classes_[classifier.predict_proba(X).argmax(axis=1)] == np.array(labels)).all()
    assert cross_val_score(WeakspotClassifier(), X, np.array(labels), cv=2, scoring="roc_auc").min() == 1.0


def test_positive_class_says_what_words_do_not() -> None:
    X, y = scratched()
    labels = np.where(y == 1, "A-grade", "B-grade")
    classifier = WeakspotClassifier(positive_class="A-grade").fit(X, labels)
    assert (classifier.predict(X) == labels).all()
    assert WeakspotClassifier(positive_class=0).fit(X, y).positive_class_ == 0
    with pytest.raises(ValueError, match="positive_class 'C' is not in y, which holds 'A-grade' and 'B-grade'"):
        WeakspotClassifier(positive_class="C").fit(X, labels)


def test_the_order_of_channels_is_red_green_blue_unless_said() -> None:
    X, y = scratched(channels=3)
    X[..., 2] //= 3
    rgb, bgr = WeakspotClassifier().fit(X, y), WeakspotClassifier(channels="bgr").fit(X[..., ::-1], y)
    assert np.array_equal(rgb.decision_function(X), bgr.decision_function(X[..., ::-1]))
    assert not np.array_equal(rgb.decision_function(X), rgb.decision_function(X[..., ::-1]))
    with pytest.raises(ValueError, match="channels 'gbr'; needed is rgb, or bgr"):
        WeakspotClassifier(channels="gbr").fit(X, y)  # type: ignore[arg-type]


def test_big_endian_arrays_and_one_channel_are_taken() -> None:
    X, y = scratched(dtype=np.uint16)
    plain = WeakspotClassifier().fit(X, y)
    odd = WeakspotClassifier().fit(X.astype(">u2")[..., None], y)
    assert np.array_equal(plain.decision_function(X), odd.decision_function(X.astype(">u2")))


def test_settings_that_cannot_be_are_a_value_error_in_fit_and_not_before() -> None:
    classifier = WeakspotClassifier(recipe="blunt")
    with pytest.raises(ValueError, match="input should be 'sharp', 'paper', "):
        classifier.fit(*scratched())


def test_too_few_images_to_train_on_are_a_value_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise DataError("1 bad and 5 good pictures to train on; needed are at least 2 of each")

    monkeypatch.setitem(sys.modules, "weakspot.jobs.passing", SimpleNamespace(fit_arrays=refuse))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="at least 2 of each"):
        WeakspotClassifier().fit(*scratched())


@pytest.mark.parametrize("value", [0, 3, 7])
def test_parameters_win_over_the_settings_they_stand_beside(monkeypatch: pytest.MonkeyPatch, value: int) -> None:
    seen: list[TrainSettings] = []
    noted = SimpleNamespace(
        fit_arrays=lambda images, labels, settings: seen.append(settings) or fit_arrays(images, labels, settings)
    )
    monkeypatch.setitem(sys.modules, "weakspot.jobs.passing", noted)  # type: ignore[arg-type]
    beside = TrainSettings(seed=1, folds=1, minutes=2, schedule=0.3)
    WeakspotClassifier(seed=value, folds=value, settings=beside).fit(*scratched())
    assert (seen[0].seed, seen[0].folds, seen[0].minutes, seen[0].schedule) == (value, value, 2, 0.3)
    WeakspotClassifier(settings=beside).fit(*scratched())
    WeakspotClassifier().fit(*scratched())
    assert seen[1:] == [beside, TrainSettings()]


def test_before_fit_it_says_that_it_is_not_fitted() -> None:
    with pytest.raises(NotFittedError):
        WeakspotClassifier().predict(scratched()[0])


def test_an_image_that_must_not_be_judged_is_a_value_error_and_no_prediction() -> None:
    X, y = scratched()
    classifier = WeakspotClassifier().fit(X, y)
    with pytest.raises(ValueError, match="of one value"):
        classifier.predict(np.zeros((1, SIDE, SIDE), np.uint8))


@pytest.mark.slow
def test_a_real_training_tells_scratched_images_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()  # the training itself, short
    X, y = scratched(16)
    classifier = WeakspotClassifier(
        size=(SIDE, SIDE), schedule=0.1, folds=1, settings=TrainSettings(top_fractions=(0.01,), threads=1, pairs=1)
    ).fit(X, y)
    assert classifier.score(X, y) == 1.0
    assert classifier.heat_maps(X)[0].shape == (8, 8)
    assert np.array_equal(copy.deepcopy(classifier).decision_function(X), classifier.decision_function(X))
