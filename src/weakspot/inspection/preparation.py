"""From a picture of any kind to what a detector looks at: read, found fit to be judged, brought to its size."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from weakspot.data.large import LARGE, Target, fit_large, read_large
from weakspot.data.reading import ImageFile, array_pixels, decode_image, fit_image, read_image
from weakspot.errors import ImageError, SettingsError, shown
from weakspot.inspection.drift import figures, unlike
from weakspot.inspection.ignore_mask import blanked, check_proportions
from weakspot.inspection.inspection import ImageInfo
from weakspot.inspection.manifest import Manifest
from weakspot.inspection.refusals import check_channels, check_contrast, check_size, level_warnings
from weakspot.settings import Size

# a file, its content, what was read of it elsewhere, or (H, W), (H, W, 1) or (H, W, 3) raw pixels
Picture = Path | str | bytes | ImageFile | NDArray[Any]
Channels = Literal["rgb", "bgr"]  # the order in an array of colour; files say theirs themselves


@dataclass(frozen=True, eq=False)
class Prepared:
    """A picture that was read, found fit to be judged, and brought to the detector's size."""

    info: ImageInfo
    pixels: NDArray[Any]  # for people, (H, W) or (H, W, 3): as read, or of a large picture a smaller one
    image: NDArray[Any]  # (C, h, w), as the detector sees it
    warnings: tuple[str, ...]
    milliseconds: float
    figures: dict[str, float]  # by which it is compared with the training pictures; none where the model keeps none
    unlike: tuple[str, ...] = ()  # those in which it is unlike them

    @property
    def decoded_bytes(self) -> int:
        """What its pixels take at their own size, or at the detector's where that is larger; a large TIFF takes less.

        `pixels` may be a smaller view.
        """
        channels = self.pixels.shape[2] if self.pixels.ndim == 3 else 1
        own = (self.info.height or 0) * (self.info.width or 0) * channels * self.pixels.itemsize
        return max(own, self.image.nbytes)

    @property
    def name(self) -> str:
        """How messages call it."""
        return "picture" if self.info.path is None else shown(self.info.path)


class Preparation:
    """How pictures are prepared for one model. Usable from several threads."""

    def __init__(self, manifest: Manifest, masks: tuple[Size, ...], ignored: NDArray[np.bool_] | None) -> None:
        """masks: height and width of those by which parts are ignored, whose proportions pictures need.

        ignored: pixels (h, w) at the detector's size that show nothing to it.
        """
        self._manifest, self._masks, self._ignored = manifest, masks, ignored

    def prepare(self, picture: Picture, channels: Channels, path: str | None) -> Prepared:
        """As LoadedDetector.prepare. Raises ImageError where the picture cannot be read or must not be judged."""
        start = perf_counter()
        info, pixels, image, warnings = self._fitted(picture, channels, path)
        image = image if self._ignored is None else blanked(image, self._ignored)
        name = "picture" if info.path is None else shown(info.path)
        check_contrast(name, image, self._manifest)
        if self._manifest.channels == 3 and pixels.ndim == 2:
            warnings += ("a grey picture for a detector that was trained in colour",)
        warnings += level_warnings(image, self._manifest)
        usual = self._manifest.usual
        found = {} if usual is None else figures(image, np.array(usual.layout))
        differs = () if usual is None else unlike(found, usual)
        if differs:
            warnings += (f"unlike the training pictures: {'; '.join(differs)}",)
        return Prepared(info, pixels, image, warnings, milliseconds_since(start), found, differs)

    def _fitted(
        self, picture: Picture, channels: Channels, path: str | None
    ) -> tuple[ImageInfo, NDArray[Any], NDArray[Any], tuple[str, ...]]:
        """Which picture, its pixels for people, the picture as the detector sees it (C, h, w), and warnings."""
        seen = self._manifest
        target = Target(seen.size, seen.channels, seen.bit_depth, seen.fit)
        large = None
        if isinstance(picture, Path | str):
            name = shown(picture)
            large = read_large(Path(picture), seen.read, target, lambda *size: self._check_size(name, *size))
        if large is not None:
            info = ImageInfo(str(picture), large.sha256, large.width, large.height)
            self._check_kind(info, large.view)
            return info, large.view, large.image, large.warnings
        info, pixels, warnings = self._read(picture, channels, path)
        self._check_kind(info, pixels)
        if pixels.shape[0] * pixels.shape[1] >= LARGE:
            large = fit_large(pixels, target)
            return info, large.view, large.image, warnings
        return info, pixels, fit_image(pixels, seen.size, seen.channels, seen.bit_depth, seen.fit), warnings

    def _check_kind(self, info: ImageInfo, pixels: NDArray[Any]) -> None:
        """Refuse a size or colours unlike the training's."""
        name = "picture" if info.path is None else shown(info.path)
        self._check_size(name, info.height or 0, info.width or 0)
        check_channels(name, pixels, self._manifest)

    def _check_size(self, name: str, height: int, width: int) -> None:
        check_size(name, height, width, self._manifest)
        for mask in self._masks:
            check_proportions(name, height, width, mask, self._manifest.size, self._manifest.fit)

    def _read(
        self, picture: Picture, channels: Channels, path: str | None
    ) -> tuple[ImageInfo, NDArray[Any], tuple[str, ...]]:
        if isinstance(picture, np.ndarray):
            pixels = array_pixels(picture, "picture", channels)
            return ImageInfo(None, sha256(pixels.tobytes()).hexdigest(), pixels.shape[1], pixels.shape[0]), pixels, ()
        if channels != "rgb":
            raise SettingsError(f"channels {shown(channels)!r}: for arrays alone; a file says itself which is which")
        if isinstance(picture, ImageFile):
            file = picture
        elif isinstance(picture, bytes):
            file = decode_image(picture, shown(path or "picture"), self._manifest.read, Path(path) if path else None)
        elif isinstance(picture, Path | str):
            file, path = read_image(Path(picture), self._manifest.read), str(picture)
        else:
            raise ImageError(
                f"a {type(picture).__name__} is no picture; needed is a path, bytes, or an array (numpy.asarray)"
            )
        info = ImageInfo(path, file.sha256, file.pixels.shape[1], file.pixels.shape[0])
        return info, file.pixels, tuple(file.warnings)


def milliseconds_since(start: float) -> float:
    """What has passed since perf_counter said `start`."""
    return (perf_counter() - start) * 1000
