"""Which pictures show the same: by a perceptual hash in which what most pictures share counts for nothing, mirrored and
turned copies included.

Pictures of machined parts are all alike at a glance, so an ordinary hash calls every part a copy of the others. Here
each picture is reduced to 32 × 32, its broad light is taken away and its contrast evened out; then whatever can be
composed from a few dozen *other* pictures of the set is taken away as well, and the signs of what remains are the hash
of 1024 bits. Two views of one part agree in at least 85 % of them (KolektorSDD's kos38 and kos39: 92 to 97 %), two
parts in about half (there: at most 60 %). A view that is shifted by 1 % of the picture may be missed.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from weakspot.data.reading import as_grey

SIDE = 32  # of the reduced picture; its 1024 values give the hash's bits
BITS = SIDE * SIDE
LIMIT = 154  # bits in which two pictures of the same may differ: 15 %
LIMIT_OF_FEW = (
    4  # the same pixels in another file; different parts come as near as 8 bits where what they share cannot be told
)
FEWEST = 12  # pictures from which on it can be told
BROAD = 2.0  # σ in reduced pixels: what is wider is light, not surface
OTHERS = 64  # pictures whose common content is taken away, at most
ABOVE_BULK = 0.25  # agreement (1: all bits, 0: half of them) by which a pair must exceed nine tenths of all pairs
BLOCK = 512
TURNS = (
    "",
    "mirrored left–right",
    "turned by 90°",
    "mirrored left–right and turned by 90°",
    "turned by 180°",
    "mirrored top–bottom",
    "turned by 270°",
    "mirrored left–right and turned by 270°",
)


@dataclass(frozen=True)
class Likeness:
    """Pictures number `first` < `second`, the bits of 1024 in which they differ, and what was done to the first to get
    the second (clockwise)."""

    first: int
    second: int
    distance: int
    turn: str


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """(H, W) or (H, W, 3), uint8 or uint16 → (32, 32) float32, block means in units of 8-bit grey.

    In float, since the means of large blocks of an even surface differ by less than a grey level.
    """
    grey = as_grey(pixels).astype(np.float32) / np.float32(1 if pixels.dtype == np.uint8 else 257)
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX))


def near_pairs(thumbnails: np.ndarray) -> list[Likeness]:
    """Pairs that show the same, from thumbnails (N, 32, 32), in order; pictures without any texture are like nothing.

    Work grows with N²: 3,000 pictures take some seconds.
    """
    surfaces = _surfaces(thumbnails)
    textured = np.flatnonzero(surfaces.any(axis=(1, 2)))
    backgrounds = _backgrounds(textured)
    seen: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    with threadpool_limits(
        1, "blas"
    ):  # on a busy machine, threads that wait for each other take ten times as long as one
        for background in backgrounds:
            for first, second, turn, agreement in _agreeing(surfaces, np.setdiff1d(textured, background), background):
                seen[first, second, turn].append(agreement)
    needed = min(2, len(backgrounds))
    best: dict[tuple[int, int], tuple[float, int]] = {}
    for (first, second, turn), agreements in seen.items():
        if len(agreements) >= needed:
            best[first, second] = max(best.get((first, second), (-1.0, 0)), (sorted(agreements)[-needed], turn))
    return [
        Likeness(*pair, round((1 - agreement) * BITS / 2), TURNS[turn])
        for pair, (agreement, turn) in sorted(best.items())
    ]


def _surfaces(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails without broad light and with even contrast, each of norm 1 (or 0 where there is nothing)."""
    space = (0, BROAD, BROAD)
    fine = thumbnails - gaussian_filter(thumbnails, space, mode="nearest")
    contrast = np.sqrt(gaussian_filter(fine**2, (0, 2 * BROAD, 2 * BROAD), mode="nearest"))
    even = fine / (contrast + contrast.mean(axis=(1, 2), keepdims=True) / 2 + 1e-6)
    even -= even.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((even**2).sum(axis=(1, 2), keepdims=True))
    return np.where(norm > 1e-3, even / np.maximum(norm, 1e-3), 0).astype(np.float32)


def _backgrounds(textured: np.ndarray) -> list[np.ndarray]:
    """Draws of pictures such that every pair, and most small families of copies, lie outside at least two of them."""
    if len(textured) < FEWEST:
        return [textured[:0]]
    draws = 6 if len(textured) <= 1200 else 4
    size = min(OTHERS, len(textured) // draws)
    order = np.random.default_rng(0).permutation(textured)
    single = [order[draw * size : (draw + 1) * size] for draw in range(draws)]
    return (
        single if size == OTHERS else [np.concatenate(two) for two in combinations(single, 2)]
    )  # of few pictures, more are needed


def _agreeing(
    surfaces: np.ndarray, chosen: np.ndarray, background: np.ndarray
) -> Iterator[tuple[int, int, int, float]]:
    """Pairs among `chosen` whose hashes agree enough: first < second, turn of the second, agreement.

    A turn is tried in the first picture's frame and in the second's, and the lower agreement counts: what pictures
    share is known only of the way up in which most of them lie.
    """
    basis = np.linalg.qr(surfaces[background].reshape(len(background), BITS).T)[0]
    hashes = {turn: _hashes(_turned(surfaces[chosen], turn), basis) for turn in range(8)}
    least = _least_agreement(hashes[0], len(background))
    for turn, start in product(range(8), range(0, len(chosen), BLOCK)):
        rows = slice(start, start + BLOCK)
        agreement = hashes[0][rows] @ hashes[turn][start:].T
        if turn:
            np.minimum(agreement, hashes[_inverse(turn)][rows] @ hashes[0][start:].T, out=agreement)
        for row, column in np.argwhere(np.triu(agreement, 1) >= least):
            yield int(chosen[start + row]), int(chosen[start + column]), turn, float(agreement[row, column])


def _least_agreement(hashes: np.ndarray, background: int) -> float:
    if not background:
        return 1 - 2 * LIMIT_OF_FEW / BITS
    bulk = float(np.quantile(hashes[:BLOCK] @ hashes.T, 0.9))
    return max(1 - 2 * LIMIT / BITS, bulk + ABOVE_BULK)


def _hashes(surfaces: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """(n, 1024) signs of what the basis cannot compose, scaled so that a product of two is their agreement: 1 all bits,
    0 half, −1 none."""
    flat = surfaces.reshape(len(surfaces), BITS)
    rest = flat - (flat @ basis) @ basis.T
    told = (rest**2).sum(axis=1, keepdims=True) > 1e-4  # else rounding errors would be compared
    return np.where(told, np.sign(rest), 0).astype(np.float32) / SIDE


def _turned(surfaces: np.ndarray, turn: int) -> np.ndarray:
    turned = np.rot90(surfaces, turn // 2, axes=(1, 2))
    return turned[:, :, ::-1] if turn % 2 else turned


def _inverse(turn: int) -> int:
    """Mirrored turns undo themselves; plain ones are undone by turning back."""
    return turn if turn % 2 else -turn % 8
