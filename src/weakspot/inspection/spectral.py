"""A large convolution as overlap-save: how a map is cut into tiles, and the constant matrices that carry tiles and
kernel to frequencies and back.

A tile's discrete Fourier transform, a product per frequency and the way back give the same numbers as the plain sum
over the kernel, for 15 × 15 with a thirtieth of the multiplications. Tiles this small need no fast transform: every
step is a product with a small constant matrix, in real numbers, which any runtime does well. Numbers only:
`spectral_graph` writes them as ONNX nodes, `network.large_kernel` as torch.

Layout, everywhere: what is summed over next leads, images and channels come last, so that hardly anything is ever
transposed.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

# of a number moved to or from memory, in multiply-adds; fits what OpenVINO and ONNX Runtime took for 30 tilings within
# 15 %
MEMORY_COST = 14
# multiply-adds of a plain convolution in the time of one of the many small products here, in the same measurements
PLAIN_RATE = 1.5
LARGEST_TILE = 64  # cells; the kernel's spectrum grows with the tile's area (64 -> 512 channels, 48 × 48 cells: 315 MB)


@dataclass(frozen=True)
class Tiling:
    """How a map of height × width cells is cut: tiles of rows × columns cells of the padded map, which overlap by
    kernel - 1."""

    height: int
    width: int
    kernel: int
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
        """Frequencies down a tile: a real signal's other half is their mirror image."""
        return self.rows // 2 + 1

    @property
    def frequencies(self) -> int:
        """Frequencies of a tile that are computed."""
        return self.half * self.columns

    @property
    def pairs(self) -> int:
        """Frequencies across a tile, each with its negative, which a real kernel gives together; the others, one or
        two, are their own negative."""
        return (self.columns - 1) // 2

    @property
    def across_frequencies(self) -> NDArray[np.int64]:
        """The frequencies across a tile in the order that everything here keeps them in: 1, -1, 2, -2, …, then 0 and,
        where it exists, the half."""
        paired = np.arange(1, self.pairs + 1)
        alone = [0] if self.columns % 2 else [0, self.columns // 2]
        return np.concatenate([np.stack([paired, -paired], axis=1).ravel(), alone])


class Transforms:
    """The constant matrices of a tiling, float64; a complex number is two rows or columns of a matrix, real part first.

    With X a tile's spectrum and W the kernel's, the layer (which correlates, as all networks do) is the inverse
    transform of X · conj(W); of each inverse tile the first row_step × column_step cells are the answer, the others are
    wrapped around and never computed.
    """

    def __init__(self, tiling: Tiling) -> None:
        self.tiling = tiling

    @cached_property
    def rows_in(self) -> Matrix:
        """(2 half, rows): a tile's rows to their frequencies."""
        shape = np.arange(self.tiling.half), self.tiling.rows, self.tiling.rows
        return _stack(_cosine(*shape), -_sine(*shape))

    @cached_property
    def columns_in(self) -> Matrix:
        """(4 columns, 2 columns): columns of complex numbers to (re, -im, im, re) of each frequency.

        The four are the two rows of a 2 × 2 matrix: a complex product X · conj(W) becomes the real one [[re, -im], [im,
        re]] @ [w_re, w_im].
        """
        cosine, sine = self._across(self.tiling.columns)
        real, imaginary = np.hstack([cosine, sine]), np.hstack([-sine, cosine])
        return _stack(real, -imaginary, imaginary, real)

    @cached_property
    def tiled_rows_in(self) -> Matrix:
        """(2 half · down, all rows of the padded map): `rows_in` for all tiles above one another, which it cuts as
        well."""
        t = self.tiling
        return _placed(self.rows_in, t.down, t.row_step, t.height + t.kernel - 1)

    @cached_property
    def tiled_columns_in(self) -> Matrix:
        """(4 columns · across, 2 · all columns of the padded map): `columns_in` for all tiles beside one another, which
        it cuts as well."""
        t = self.tiling
        real, imaginary = np.hsplit(self.columns_in, 2)
        return np.hstack([_placed(part, t.across, t.column_step, t.width + t.kernel - 1) for part in (real, imaginary)])

    @cached_property
    def columns_out(self) -> Matrix:
        """(2 column_step, columns): column frequencies to cosine and sine sums of the answer's columns; `rows_out` puts
        them together."""
        cosine, sine = self._across(self.tiling.column_step)
        return _stack(cosine.T, sine.T) / self.tiling.columns

    @cached_property
    def rows_out(self) -> Matrix:
        """(row_step, 4 half): (cosine or sine sum, row frequency, re or im) to the answer's rows; frequencies with a
        mirror image count twice."""
        rows, half = self.tiling.rows, self.tiling.half
        weight = np.full(half, 2.0)
        weight[0] = 1
        if rows % 2 == 0:
            weight[-1] = 1
        cosine, sine = (wave(np.arange(self.tiling.row_step), half, rows) * weight / rows for wave in (_cosine, _sine))
        of_cosine_sum, of_sine_sum = np.stack([cosine, -sine], axis=2), np.stack([-sine, -cosine], axis=2)
        return np.concatenate([of_cosine_sum, of_sine_sum], axis=1).reshape(self.tiling.row_step, 4 * half)

    @cached_property
    def kernel_columns_in(self) -> Matrix:
        """(columns, kernel): the kernel's columns to their frequencies, conjugate: re and im of one of each pair, re of
        the others, whose im is 0."""
        (cosine, sine), paired = self._across(self.tiling.kernel), 2 * self.tiling.pairs
        return np.vstack([_stack(cosine[:paired:2], sine[:paired:2]), cosine[paired:]])

    @cached_property
    def kernel_rows_in(self) -> Matrix:
        """(4 half, 2 kernel): rows of a pair's (re, im) to (re, im) of conj(W) at its frequency and, below, at the
        negative one."""
        cosine, sine = self._kernel_rows
        return np.vstack(
            [
                _stack(np.hstack([cosine, -sine]), np.hstack([sine, cosine])),
                _stack(np.hstack([cosine, sine]), np.hstack([sine, -cosine])),
            ]
        )

    @cached_property
    def kernel_rows_alone_in(self) -> Matrix:
        """(2 half, kernel): rows of real numbers, the frequencies that are their own negative, to (re, im) of
        conj(W)."""
        return _stack(*self._kernel_rows)

    @property
    def _kernel_rows(self) -> tuple[Matrix, Matrix]:
        shape = np.arange(self.tiling.half), self.tiling.kernel, self.tiling.rows
        return _cosine(*shape), _sine(*shape)

    def _across(self, length: int) -> tuple[Matrix, Matrix]:
        """Cosine and sine of `across_frequencies`, (columns, length) each."""
        shape = self.tiling.across_frequencies, length, self.tiling.columns
        return _cosine(*shape), _sine(*shape)

    def tile_cells(self) -> NDArray[np.int64]:
        """(rows, columns, down, across): which cell of the padded map, counted row by row, stands where in which tile.

        Tiles reach past the end where the steps don't divide the map; the last cell stands there, and what it gives is
        cut off.
        """
        t = self.tiling
        margin = t.kernel - 1
        row = np.arange(t.rows)[:, None] + t.row_step * np.arange(t.down)
        column = np.arange(t.columns)[:, None] + t.column_step * np.arange(t.across)
        row, column = np.minimum(row, t.height + margin - 1), np.minimum(column, t.width + margin - 1)
        return np.asarray(row[:, None, :, None] * (t.width + margin) + column[None, :, None, :], dtype=np.int64)


def kernel_spectrum(kernel: NDArray[np.float32], transforms: Transforms) -> NDArray[np.float32]:
    """conj of the kernel's spectrum, (columns, half, 2 · in, out) float32, real parts of all input channels first;
    kernel: (out, in, k, k)."""
    t = transforms.tiling
    outputs, inputs, k, _ = kernel.shape
    taps = np.ascontiguousarray(kernel.transpose(3, 2, 1, 0)).reshape(k, -1)
    matrices = transforms.kernel_columns_in, transforms.kernel_rows_in, transforms.kernel_rows_alone_in
    columns_in, rows_in, alone_in = (matrix.astype(np.float32) for matrix in matrices)
    spectrum = np.empty((t.columns, 2 * t.half, inputs * outputs), np.float32)
    for pair in range(
        t.pairs
    ):  # one at a time: what lies between the two products would be half as large as the spectrum
        columns = slice(2 * pair, 2 * pair + 2)
        np.matmul(
            rows_in, (columns_in[columns] @ taps).reshape(2 * k, -1), out=spectrum[columns].reshape(4 * t.half, -1)
        )
    np.matmul(
        alone_in, (columns_in[2 * t.pairs :] @ taps).reshape(-1, k, inputs * outputs), out=spectrum[2 * t.pairs :]
    )
    return spectrum.reshape(t.columns, t.half, 2 * inputs, outputs)


def choose_tiling(
    height: int, width: int, kernel: int, channels: tuple[int, int], images: int = 1, *, learns: bool = False
) -> Tiling:
    """The tiling that costs least for these shapes, by count of multiply-adds and of numbers moved.

    height, width: of the map, in cells; channels: in, out; learns: the kernel's spectrum is made, and its gradient
    brought back, at every use.
    """
    candidates = [
        Tiling(height, width, kernel, rows, columns)
        for rows in _tile_lengths(height, kernel)
        for columns in _tile_lengths(width, kernel)
    ]
    return min(candidates, key=lambda tiling: spectral_cost(tiling, channels, images, learns=learns))


class Work(NamedTuple):
    """What the spectral form does for one batch: multiply-adds of the constant matrices and of the products per
    frequency, and numbers moved."""

    transforms: float
    products: float
    moved: float


def spectral_work(tiling: Tiling, channels: tuple[int, int], images: int = 1, *, learns: bool = False) -> Work:
    """The work of a tiling. learns: as in `choose_tiling`."""
    t, (inputs, outputs) = tiling, channels
    tiles = images * t.down * t.across
    spectrum, answer = 2 * t.frequencies * inputs * outputs, 2 * t.frequencies * tiles * outputs
    sums = 4 * t.column_step * t.half * tiles * outputs  # what `columns_out` leaves to `rows_out`
    into = tiles * inputs * (2 * t.half * t.rows * t.columns + 8 * t.half * t.columns**2)
    transforms = into + 2 * answer * t.column_step + sums * t.row_step
    moved = 2 * spectrum + 2 * answer + 2 * sums + tiles * outputs * t.row_step * t.column_step
    if learns:
        between = t.columns * t.kernel * inputs * outputs  # columns transformed, rows not yet
        transforms += between * (t.kernel + 4 * t.half)
        moved += spectrum + 2 * between
    return Work(transforms, 2 * tiles * spectrum, moved)


def spectral_cost(tiling: Tiling, channels: tuple[int, int], images: int = 1, *, learns: bool = False) -> float:
    """What the spectral form costs, in multiply-adds, traffic included."""
    work = spectral_work(tiling, channels, images, learns=learns)
    return work.transforms + work.products + MEMORY_COST * work.moved


def plain_cost(height: int, width: int, kernel: int, channels: tuple[int, int], images: int = 1) -> float:
    """What the plain sum over the kernel costs, in the same unit."""
    return images * height * width * kernel**2 * channels[0] * channels[1] / PLAIN_RATE


def _tile_lengths(length: int, kernel: int) -> list[int]:
    """Tile lengths worth looking at: for each number of tiles the shortest that covers the map."""
    steps = {-(-length // count) for count in range(1, length + 1)}
    return sorted(step + kernel - 1 for step in steps if step + kernel - 1 <= LARGEST_TILE)


def _cosine(frequencies: NDArray[np.int64], length: int, period: int) -> Matrix:
    return np.cos(_angle(frequencies, length, period))


def _sine(frequencies: NDArray[np.int64], length: int, period: int) -> Matrix:
    return np.sin(_angle(frequencies, length, period))


def _angle(frequencies: NDArray[np.int64], length: int, period: int) -> Matrix:
    turns = np.outer(frequencies, np.arange(length)) % period  # in whole steps, so that no large angle loses digits
    return 2 * np.pi * turns / period


def _stack(*parts: Matrix) -> Matrix:
    """Rows of equally shaped matrices, taken in turn: all parts of row 0, all parts of row 1, and so on."""
    return np.stack(parts, axis=1).reshape(-1, parts[0].shape[1])


def _placed(matrix: Matrix, tiles: int, step: int, length: int) -> Matrix:
    """(m, tile) → (m · tiles, length): the matrix once for each tile, where the tile lies; beyond the end it meets
    zeros."""
    placed = np.zeros((len(matrix), tiles, (tiles - 1) * step + matrix.shape[1]))
    for tile in range(tiles):
        placed[:, tile, tile * step : tile * step + matrix.shape[1]] = matrix
    whole = np.zeros((len(matrix) * tiles, max(length, placed.shape[2])))
    whole[:, : placed.shape[2]] = placed.reshape(len(whole), -1)
    return whole[:, :length]
