"""The detector as a scikit-learn classifier of images, for grids, cross-validation and pipelines made there."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from weakspot.data.labels import stated_label
from weakspot.data.reading import array_pixels, read_image
from weakspot.errors import DataError, ImageError, SettingsError, shown
from weakspot.settings import TrainSettings, read_settings

if TYPE_CHECKING:
    from weakspot.inspection.inspection import Inspection

Images = Sequence[NDArray[Any] | Path]


class WeakspotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Good or bad, by images.

    X: (n, h, w) or (n, h, w, 3), uint8 or uint16; a list of such arrays of any sizes; or a list of paths. y: two
    values, of which one means bad: 1 of 0 and 1, True of False and True, or words such as "defect" and "no defect";
    for any others, positive_class says which. channels: the order of colour arrays, "rgb", or "bgr" as OpenCV reads
    files; of files the order is known.

    After fit: classes_, sorted; positive_class_, the one that means bad; detector_, which its `save` writes to a file.
    The other parameters are those of TrainSettings that one would search over. One that is given wins over `settings`,
    a TrainSettings; None leaves it to `settings`, or to the defaults of TrainSettings.
    """

    def __init__(
        self,
        *,
        recipe: str | None = None,
        size: tuple[int, int] | None = None,
        seed: int | None = None,
        device: str | None = None,
        schedule: float | None = None,
        folds: int | None = None,
        settings: TrainSettings | None = None,
        positive_class: Any = None,
        channels: Literal["rgb", "bgr"] = "rgb",
    ) -> None:
        self.recipe = recipe
        self.size = size
        self.seed = seed
        self.device = device
        self.schedule = schedule
        self.folds = folds
        self.settings = settings
        self.positive_class = positive_class
        self.channels = channels

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Train. Raises ValueError for images or labels that cannot be, TypeError for what is no image."""
        from weakspot.jobs.passing import fit_arrays  # here, since it brings torch

        images = self._images(X, reset=True)
        classes, values = _classes(y, len(images))
        self.positive_class_ = self._positive(classes)
        self.classes_ = classes
        try:
            settings = self._settings()
            pixels = [read_image(image, settings.read).pixels if isinstance(image, Path) else image for image in images]
            self.detector_ = fit_arrays(pixels, (values == self.positive_class_).astype(int).tolist(), settings)
        except (DataError, ImageError, SettingsError) as error:
            raise ValueError(str(error)) from error
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """How far each image is on the side of classes_[1]: (n,), in logits, above 0 for classes_[1].

        Where that class means bad, it is the raw score less the threshold `bad_from`; else the same turned over.
        """
        distance = np.array([inspection.raw_score - inspection.bad_from for inspection in self.inspect(X)])
        return distance if self.positive_class_ == self.classes_[1] else -distance

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,), positive_class_ where the decision is bad. What a model would give to a person counts as the other."""
        bad = np.array([inspection.raw_score >= inspection.bad_from for inspection in self.inspect(X)])
        return self.classes_[(bad == (self.positive_class_ == self.classes_[1])).astype(int)]  # type: ignore[no-any-return]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, 2), the sigmoid of decision_function: half at the threshold. It ranks; it is not calibrated."""
        second = 1 / (1 + np.exp(-np.clip(self.decision_function(X), -700, 700)))
        return np.stack([1 - second, second], axis=1)

    def heat_maps(self, X: Any) -> list[NDArray[np.float32]]:
        """For each image its cells (h, w) in [0, 1], 8 × 8 pixels at the size trained at: where a defect is likely."""
        return [inspection.heat_map for inspection in self.inspect(X)]

    def inspect(self, X: Any) -> "list[Inspection]":
        """The whole answer for each image. Raises ValueError naming an image that cannot be judged."""
        check_is_fitted(self, "detector_")
        try:
            return [self.detector_.inspect(image) for image in self._images(X, reset=False)]
        except ImageError as error:
            raise ValueError(str(error)) from error

    def __getstate__(self) -> dict[str, Any]:
        """For copies in other processes: the model file's content instead of the runtime that has it open."""
        state = dict(super().__getstate__())
        if detector := state.pop("detector_", None):
            state["opened_"] = detector.model, detector.runtime.name
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        from weakspot.inspection.loaded import LoadedDetector
        from weakspot.inspection.runtimes import open_runtime

        if opened := state.pop("opened_", None):
            state["detector_"] = LoadedDetector(opened[0], open_runtime(*opened))
        super().__setstate__(state)

    def _settings(self) -> TrainSettings:
        not_settings = ("settings", "positive_class", "channels")
        given = {
            key: value
            for key, value in self.get_params(deep=False).items()
            if key not in not_settings and value is not None
        }
        return read_settings(TrainSettings, **vars(self.settings or TrainSettings()) | given)

    def _positive(self, classes: NDArray[Any]) -> Any:
        """The class that means bad. Raises ValueError where nothing says which it is."""
        named = " and ".join(repr(name) for name in classes.tolist())
        if self.positive_class is not None:
            if self.positive_class not in classes.tolist():
                raise ValueError(f"positive_class {self.positive_class!r} is not in y, which holds {named}")
            return self.positive_class
        meanings = [stated_label(str(name)) for name in classes.tolist()]
        if sorted(meanings, key=str) != [0, 1]:
            way_out = "say which with positive_class, or pass 0 for good and 1 for bad"
            raise ValueError(f"y holds {named}, of which nobody can tell which means bad; {way_out}")
        return classes[meanings.index(1)]

    def _images(self, X: Any, reset: bool) -> Images:
        """The images in X, one by one. reset: whether this is fit, which may remember what X looked like."""
        return images_in(X, self.channels)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.classifier_tags.multi_class = False
        return tags


def images_in(X: Any, channels: Literal["rgb", "bgr"] = "rgb") -> Images:
    """X as (h, w) or (h, w, 3) arrays in RGB, or paths. Raises TypeError or ValueError where it is neither."""
    if hasattr(X, "toarray"):
        needed = "pass an array (n, h, w), a list of arrays, or a list of paths"
        raise TypeError(f"Sparse data was passed, but images are dense; {needed}")
    if isinstance(X, str | Path) or not hasattr(X, "__len__"):
        needed = "an array (n, h, w) or (n, h, w, 3), a list of such images, or a list of paths"
        raise TypeError(f"X is {type(X).__name__}; needed is {needed}")
    if len(X) == 0:
        raise ValueError("Found array with 0 sample(s) (images) while a minimum of 1 is required.")
    return [
        Path(each) if isinstance(each, str | Path) else _pixels(each, place, channels) for place, each in enumerate(X)
    ]


def _pixels(image: Any, place: int, channels: Literal["rgb", "bgr"]) -> NDArray[Any]:
    try:
        return array_pixels(np.asarray(image), f"image {place} of X", channels)
    except (ImageError, SettingsError) as error:
        raise ValueError(f"{error}. Reshape your data to (n, h, w) if its rows are flat images") from None


def _classes(y: ArrayLike, n: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """The two classes, sorted, and y as an array (n,)."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    check_classification_targets(y)
    if type_of_target(y) == "multiclass":
        raise ValueError("Only binary classification is supported. The type of the target is multiclass.")
    column = column_or_1d(y, warn=True)
    check_consistent_length(range(n), column)
    classes = np.unique(column)
    if len(classes) != 2:
        raise ValueError(f"y holds one class, {shown(classes[0])}; needed are images of two classes, good and bad")
    return classes, column
