"""How a map is cut into tiles, and whether the spectral form pays: a count of multiply-adds and of numbers moved.

Nothing is measured while it runs, so the same shapes always get the same tiles and a training repeats to the bit.
"""

from dataclasses import dataclass
from typing import NamedTuple

SMALLEST_KERNEL = 7  # cells a side; below it the plain form won at every size tried
LARGEST_TILE = 64  # cells a side; the kernel's spectrum grows with the tile's area (48 × 48 cells: 315 MB)
# Of a number moved to or from memory, in multiply-adds: fits the times of 30 tilings on two runtimes within 15 %.
MEMORY_COST = 14
# Multiply-adds of a plain convolution in the time of one of the small products here, in the same measurements.
PLAIN_RATE = 1.5


@dataclass(frozen=True)
class Tiling:
    """A map of height × width cells, and the tiles of rows × columns cells that its padded form is cut into."""

    height: int
    width: int
    kernel: int  # cells a side; the padded map is larger than the map by kernel - 1
    rows: int
    columns: int

    @property
    def row_step(self) -> int:
        """Rows of the answer that one tile gives."""
        return self.rows - self.kernel + 1

    @property
    def column_step(self) -> int:
        """Columns of the answer that one tile gives."""
        return self.columns - self.kernel + 1

    @property
    def down(self) -> int:
        """Tiles above one another."""
        return -(-self.height // self.row_step)

    @property
    def across(self) -> int:
        """Tiles beside one another."""
        return -(-self.width // self.column_step)

    @property
    def half(self) -> int:
        """Frequencies down a tile that are computed: a real signal's other half is their mirror image."""
        return self.rows // 2 + 1

    @property
    def frequencies(self) -> int:
        """Frequencies of a tile that are computed."""
        return self.half * self.columns

    @property
    def pairs(self) -> int:
        """Frequencies across a tile that come with their negative; the others, one or two, are their own negative."""
        return (self.columns - 1) // 2


class Work(NamedTuple):
    """What the spectral form does for one batch."""

    transforms: float  # multiply-adds with the constant matrices
    products: float  # multiply-adds with the kernel's spectrum
    moved: float  # numbers

    @property
    def cost(self) -> float:
        """All of it, in multiply-adds."""
        return self.transforms + self.products + MEMORY_COST * self.moved


def choose_tiling(
    height: int, width: int, kernel: int, channels: tuple[int, int], images: int = 1, *, learns: bool = False
) -> Tiling:
    """The tiling that costs least.

    height, width: of the map, in cells; channels: in, out; learns: the kernel's spectrum is made, and its gradient
    brought back, at every use.
    """
    candidates = [
        Tiling(height, width, kernel, rows, columns)
        for rows in _tile_lengths(height, kernel)
        for columns in _tile_lengths(width, kernel)
    ]
    return min(candidates, key=lambda tiling: spectral_work(tiling, channels, images, learns=learns).cost)


def gain(tiling: Tiling, channels: tuple[int, int], images: int = 1, *, learns: bool = False) -> float:
    """How many times as much the plain sum over the kernel would cost. Arguments as in `choose_tiling`."""
    cells = images * tiling.height * tiling.width
    plain = cells * tiling.kernel**2 * channels[0] * channels[1] / PLAIN_RATE
    return plain / spectral_work(tiling, channels, images, learns=learns).cost


def spectral_work(tiling: Tiling, channels: tuple[int, int], images: int = 1, *, learns: bool = False) -> Work:
    """The work of a tiling. Arguments as in `choose_tiling`."""
    t, (inputs, outputs) = tiling, channels
    tiles = images * t.down * t.across
    spectrum, answer = 2 * t.frequencies * inputs * outputs, 2 * t.frequencies * tiles * outputs
    sums = 4 * t.column_step * t.half * tiles * outputs  # columns transformed back, rows not yet
    into = tiles * inputs * (2 * t.half * t.rows * t.columns + 8 * t.half * t.columns**2)
    transforms = into + 2 * answer * t.column_step + sums * t.row_step
    moved = 2 * spectrum + 2 * answer + 2 * sums + tiles * outputs * t.row_step * t.column_step
    if learns:
        between = t.columns * t.kernel * inputs * outputs  # the kernel's columns transformed, its rows not yet
        transforms += between * (t.kernel + 4 * t.half)
        moved += spectrum + 2 * between
    return Work(transforms, 2 * tiles * spectrum, moved)


def _tile_lengths(length: int, kernel: int) -> list[int]:
    """Tile lengths worth looking at: for each number of tiles the shortest that covers the map."""
    steps = {-(-length // count) for count in range(1, length + 1)}
    return sorted(step + kernel - 1 for step in steps if step + kernel - 1 <= LARGEST_TILE)
