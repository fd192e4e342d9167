"""Labels by cell that the search itself gives: where the pixels lie that made a bad picture's hottest cells light up.
No mask is read here.

After the search the heat may sit beside the defect, for its loss only asks that some cells light up; the pixels that
lit them lie on the defect (LOG.md has the figures).
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.ndimage import binary_dilation, gaussian_filter
from torch import Tensor

from weakspot.network.detector import Detector, top_means
from weakspot.settings import CELL
from weakspot.training.batches import TrainingImages, View

COPIES = 4  # slightly noisy copies of a picture, whose gradients are averaged
NOISE = 0.1  # deviations, of what pictures are normalized by
SMOOTHING = 4.0  # pixels, one deviation of the Gaussian
SHARE_OF_MAXIMUM = 0.35  # cells above it are bad; they are then grown by one cell


def bad_cells(
    detector: Detector, images: TrainingImages, fraction: float, seed: int, autocast: Callable[[], torch.autocast]
) -> Tensor:
    """For every picture the cells that the search holds for bad → (n, 1, h, w) uint8; all 0 for good pictures."""
    detector.eval()
    noise = torch.Generator().manual_seed(seed)
    device = detector.mean.device
    cells: list[Tensor] = []
    for index, label in enumerate(images.labels):
        image = images.seen((View(index),), device)
        height, width = (-(-side // CELL) for side in image.shape[-2:])
        if label:
            found = _attributed_cells(_attribution(detector, image, fraction, noise, autocast))
        else:
            found = np.zeros((height, width), np.uint8)
        cells.append(torch.from_numpy(found)[None])
    return torch.stack(cells)


def _attribution(
    detector: Detector, image: Tensor, fraction: float, noise: torch.Generator, autocast: Callable[[], torch.autocast]
) -> np.ndarray:
    """|gradient × input| of the hottest cells' mean with respect to the pixels, averaged over noisy copies: (1, C, H,
    W) → (H, W)."""
    total = torch.zeros(image.shape[-2:], device=image.device)
    mean, deviation = detector.statistics(image)
    for _ in range(COPIES):
        copy = image + NOISE * deviation * torch.randn(image.shape, generator=noise).to(image.device)
        copy.requires_grad_(True)
        with autocast():
            heat = detector.heat(detector.features(copy))
        (gradient,) = torch.autograd.grad(top_means(heat, (fraction,)).sum(), copy)
        total += (gradient * (copy - mean)).abs().sum((0, 1)).detach()
    return total.cpu().numpy()


def _attributed_cells(attribution: np.ndarray) -> np.ndarray:
    """(H, W) of any scale → (⌈H/8⌉, ⌈W/8⌉) of 0 and 1; the strongest cell is always 1."""
    smooth = gaussian_filter(attribution, SMOOTHING)
    height, width = smooth.shape
    padded = np.pad(smooth, ((0, -height % CELL), (0, -width % CELL)), mode="edge")
    by_cell = padded.reshape(padded.shape[0] // CELL, CELL, padded.shape[1] // CELL, CELL).mean((1, 3))
    strong = by_cell >= SHARE_OF_MAXIMUM * by_cell.max()
    return np.asarray(binary_dilation(strong, np.ones((3, 3), bool)), np.uint8)
