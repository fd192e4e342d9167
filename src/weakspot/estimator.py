"""The detector as a scikit-learn classifier of images: for grids, cross-validation and pipelines made there. Trains and
judges through jobs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from weakspot.errors import DataError, ImageError, SettingsError
from weakspot.settings import TrainSettings, read_settings

if TYPE_CHECKING:
    from weakspot.inspection.inspection import Inspection

Images = Sequence[NDArray[Any] | Path]
GOOD_WORDS = {
    "good",
    "ok",
    "normal",
    "negative",
    "pass",
    "passed",
}  # labels that, sorted after another word, would pass for the defect


class WeakspotClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Good or bad, by images: X (n, h, w) or (n, h, w, 3), uint8 or uint16; a list of such arrays of any sizes; or a
    list of paths.

    y has two values; the greater one is bad (1 of 0 and 1). After fit: classes_, and detector_, which `save` writes as
    a model file.

    The parameters are those of TrainSettings that one would search over; `settings`, a TrainSettings, gives all others.
    """

    def __init__(
        self,
        *,
        recipe: str = "sharp",
        size: tuple[int, int] | None = None,
        seed: int = 0,
        device: str = "auto",
        schedule: float = 1.0,
        folds: int = 3,
        settings: TrainSettings | None = None,
    ) -> None:
        self.recipe = recipe
        self.size = size
        self.seed = seed
        self.device = device
        self.schedule = schedule
        self.folds = folds
        self.settings = settings

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Train. Raises ValueError for images or labels that cannot be, TypeError for what is no image."""
        from weakspot.jobs.train import fit_arrays  # here, since it brings torch

        images = self._images(X, reset=True)
        self.classes_, labels = _labels(y, len(images))
        try:
            settings = self._settings()
            self.detector_ = fit_arrays([_pixels(image, settings) for image in images], labels, settings)
        except (DataError, ImageError, SettingsError) as error:
            raise ValueError(str(error)) from error
        return self

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        """Raw score less the threshold `bad_from`: (n,), in logits, above 0 for bad."""
        return np.array([inspection.raw_score - inspection.bad_from for inspection in self.inspect(X)])

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,), classes_[1] where the decision is bad. What a model would give to a person for review counts as
        classes_[0] here."""
        bad = self.decision_function(X) >= 0
        return self.classes_[bad.astype(int)]  # type: ignore[no-any-return]

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, 2), the sigmoid of decision_function: half at the threshold. It ranks; it is not calibrated."""
        bad = 1 / (1 + np.exp(-np.clip(self.decision_function(X), -700, 700)))
        return np.stack([1 - bad, bad], axis=1)

    def heat_maps(self, X: Any) -> list[NDArray[np.float32]]:
        """For each image (h / 8, w / 8) cells in [0, 1] of the size that was trained on: where a defect is likely to
        be."""
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
        own = {key: value for key, value in self.get_params(deep=False).items() if key != "settings"}
        if self.settings is None:
            return read_settings(TrainSettings, **own)
        defaults = type(self)().get_params(deep=False)
        return read_settings(
            TrainSettings, **vars(self.settings) | {key: value for key, value in own.items() if value != defaults[key]}
        )

    def _images(self, X: Any, reset: bool) -> Images:
        """The images in X, one by one. reset: whether this is fit, which may remember what X looked like."""
        return images_in(X)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array, tags.input_tags.three_d_array = False, True
        tags.classifier_tags.multi_class = False
        return tags


def images_in(X: Any) -> Images:
    """X as a sequence of (h, w) or (h, w, 3) arrays or of paths. Raises TypeError or ValueError where it is none."""
    if hasattr(X, "toarray"):
        raise TypeError(
            "Sparse data was passed, but images are dense; pass an array (n, h, w), a list of arrays, or a list of paths"
        )
    if isinstance(X, str | Path) or not hasattr(X, "__len__"):
        raise TypeError(
            f"X is {type(X).__name__}; needed is an array (n, h, w) or (n, h, w, 3), a list of such images, or a list of paths"
        )
    if len(X) == 0:
        raise ValueError("Found array with 0 sample(s) (images) while a minimum of 1 is required.")
    if isinstance(X, np.ndarray) and X.ndim > 1:
        return [_checked(image) for image in X]
    return [Path(image) if isinstance(image, str | Path) else _checked(np.asarray(image)) for image in X]


def _checked(image: NDArray[Any]) -> NDArray[Any]:
    if image.ndim == 2 or (image.ndim == 3 and image.shape[2] in (1, 3)):
        if image.dtype in (np.uint8, np.uint16):
            return image.squeeze(2) if image.ndim == 3 and image.shape[2] == 1 else image
        raise ValueError(
            f"an image of {image.dtype}; needed is uint8 or uint16: values are scaled by their depth, never by what they look like"
        )
    raise ValueError(
        f"an image of shape {image.shape}; needed is (h, w) or (h, w, 3). Reshape your data to (n, h, w) if its rows are flat images"
    )


def _labels(y: ArrayLike, n: int) -> tuple[NDArray[Any], list[int]]:
    """classes_ and the labels as 0 good, 1 bad."""
    if y is None:
        raise ValueError("requires y to be passed, but the target y is None")
    check_classification_targets(y)
    if type_of_target(y) == "multiclass":
        raise ValueError("Only binary classification is supported. The type of the target is multiclass.")
    column = column_or_1d(y, warn=True)
    check_consistent_length(range(n), column)
    classes, labels = np.unique(column, return_inverse=True)
    names = [str(name) for name in classes]
    if len(classes) != 2:
        raise ValueError(f"y holds one class, {names[0]}; needed are images of two classes, good and bad")
    if names[1].lower() in GOOD_WORDS:
        raise ValueError(
            f"y holds {names[0]!r} and {names[1]!r}, of which the greater would pass for the defect; pass 0 for good and 1 for bad"
        )
    return classes, labels.tolist()


def _pixels(image: NDArray[Any] | Path, settings: TrainSettings) -> NDArray[Any]:
    if isinstance(image, np.ndarray):
        return image
    from weakspot.data.reading import read_image

    return read_image(image, settings.read).pixels
