"""Which pictures show the same, compressed, darker, mirrored and turned copies included: by a hash of their surface.

Pictures of machined parts are all alike at a glance. An ordinary perceptual hash calls every part a copy of the others.
So what the parts have in common is taken away first:

1. Each picture is reduced to 32 × 32. Broad light is taken away and contrast evened out.
2. Whatever a few dozen *other* pictures of the set can compose is taken away.
3. The signs of the rest are the hash, 1024 bits.

Two views of one part agree in at least 85 % of the bits (KolektorSDD's kos38 and kos39: 92 to 97 %), two parts in about
half of them (there: at most 60 %). A view that is shifted by 1 % of the picture may be missed.
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
FEWEST = 12  # pictures, below which what parts have in common is not known, and different ones come as near as 8 bits
LIMIT_OF_FEW = 4  # bits, for so few pictures: the same pixels in another file
BROAD = 2.0  # σ in reduced pixels: what is wider is light, not surface
OTHERS = 64  # pictures whose common content is taken away, at most
ABOVE_BULK = 0.25  # agreement (1: all bits, 0: half of them) by which a pair must exceed nine tenths of all pairs
BLOCK = 512
TURNS = (  # an odd number mirrors, each two more turn by 90°
    "", "mirrored left–right", "turned by 90°", "mirrored left–right and turned by 90°",
    "turned by 180°", "mirrored top–bottom", "turned by 270°", "mirrored left–right and turned by 270°",
)  # fmt: skip


@dataclass(frozen=True)
class Likeness:
    """Two pictures that show the same.

    first < second: their numbers; distance: bits of 1024 in which they differ; turn: what was done to the first to get
    the second, clockwise.
    """

    first: int
    second: int
    distance: int
    turn: str


def thumbnail(pixels: np.ndarray) -> np.ndarray:
    """What is compared of a picture: the mean grey of each block, (32, 32) float32, 255 for white.

    pixels: (H, W) or (H, W, 3), uint8 or uint16. In float, since blocks of an even surface differ by less than a grey
    level.
    """
    grey = as_grey(pixels).astype(np.float32) / np.float32(1 if pixels.dtype == np.uint8 else 257)
    return np.asarray(Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BOX))


def near_pairs(thumbnails: np.ndarray) -> list[Likeness]:
    """Pairs that show the same, in order. thumbnails: (N, 32, 32). Pictures without texture are like no other.

    Every pair is compared several times, without what different draws of other pictures can compose. Two of these must
    find it, and the second best says how near it is. Work grows with N²: 3,000 pictures take some seconds.
    """
    surfaces = _surfaces(thumbnails)
    textured = np.flatnonzero(surfaces.any(axis=(1, 2)))
    backgrounds = _backgrounds(textured)
    seen: dict[tuple[int, int, int], list[float]] = defaultdict(list)
    with threadpool_limits(1, "blas"):  # on a busy machine, threads that wait for each other take ten times as long
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
    """Thumbnails without broad light, contrast evened out, each of norm 1; all 0 where there is no texture."""
    space = (0, BROAD, BROAD)
    fine = thumbnails - gaussian_filter(thumbnails, space, mode="nearest")
    contrast = np.sqrt(gaussian_filter(fine**2, (0, 2 * BROAD, 2 * BROAD), mode="nearest"))
    even = fine / (contrast + contrast.mean(axis=(1, 2), keepdims=True) / 2 + 1e-6)
    even -= even.mean(axis=(1, 2), keepdims=True)
    norm = np.sqrt((even**2).sum(axis=(1, 2), keepdims=True))
    return np.where(norm > 1e-3, even / np.maximum(norm, 1e-3), 0).astype(np.float32)


def _backgrounds(textured: np.ndarray) -> list[np.ndarray]:
    """Draws of pictures that stand for what all have in common.

    textured: numbers (n,). Every pair, and most small families of copies, lie outside at least two draws: a picture
    whose copy is in the draw would be taken away whole.
    """
    if len(textured) < FEWEST:
        return [textured[:0]]
    draws = 6 if len(textured) <= 1200 else 4
    size = min(OTHERS, len(textured) // draws)
    order = np.random.default_rng(0).permutation(textured)
    single = [order[draw * size : (draw + 1) * size] for draw in range(draws)]
    if size == OTHERS:
        return single
    return [np.concatenate(two) for two in combinations(single, 2)]  # of few pictures, more draws are needed


def _agreeing(
    surfaces: np.ndarray, chosen: np.ndarray, background: np.ndarray
) -> Iterator[tuple[int, int, int, float]]:
    """Pairs among `chosen` whose hashes agree enough: first < second, turn of the second, agreement from −1 to 1.

    What pictures have in common is known only for the way up in which most of them lie. So a turn is tried on the
    second picture, then turned back on the first, and the lower agreement counts.
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
    """From which agreement on two pictures show the same: a fixed one, or more where all pictures agree that much."""
    if not background:
        return 1 - 2 * LIMIT_OF_FEW / BITS
    bulk = float(np.quantile(hashes[:BLOCK] @ hashes.T, 0.9))
    return max(1 - 2 * LIMIT / BITS, bulk + ABOVE_BULK)


def _hashes(surfaces: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """The signs of what the basis cannot compose, (n, 1024).

    Scaled so that the product of two is their agreement: 1 where all bits are the same, 0 for half, −1 for none.
    """
    flat = surfaces.reshape(len(surfaces), BITS)
    rest = flat - (flat @ basis) @ basis.T
    is_more_than_rounding = (rest**2).sum(axis=1, keepdims=True) > 1e-4
    return np.where(is_more_than_rounding, np.sign(rest), 0).astype(np.float32) / SIDE


def _turned(surfaces: np.ndarray, turn: int) -> np.ndarray:
    turned = np.rot90(surfaces, turn // 2, axes=(1, 2))
    return turned[:, :, ::-1] if turn % 2 else turned


def _inverse(turn: int) -> int:
    """The turn that undoes one: a mirrored one undoes itself, a plain one is turned back."""
    return turn if turn % 2 else -turn % 8
