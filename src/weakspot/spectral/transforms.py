"""The constant matrices that carry tiles and kernel to frequencies and back.

With X a tile's spectrum and W the kernel's, the layer (which correlates, as all networks do) is the inverse transform
of X · conj(W). A complex number is two rows or two columns of a matrix, its real part first. What is summed over next
leads, images and channels come last: so hardly anything is ever transposed.

The frequencies across a tile come in pairs: 1, -1, 2, -2, …, then 0 and, where there is one, the half. The kernel is
real, so one product gives both of a pair, and a frequency that stands alone, its own negative, stays real until the
rows are transformed.
"""

import numpy as np
from numpy.typing import NDArray

from weakspot.spectral.tiles import Tiling

Matrix = NDArray[np.float64]


def tile_cells(tiling: Tiling) -> NDArray[np.int64]:
    """Which cell of the padded map, counted row by row, stands where in which tile: (rows, columns, down, across).

    Tiles reach past the end where steps don't divide the map: there the last cell stands in, and its answer is cut.
    """
    t = tiling
    height, width = t.height + t.kernel - 1, t.width + t.kernel - 1
    row = np.arange(t.rows)[:, None] + t.row_step * np.arange(t.down)
    column = np.arange(t.columns)[:, None] + t.column_step * np.arange(t.across)
    row, column = np.minimum(row, height - 1), np.minimum(column, width - 1)
    return np.asarray(row[:, None, :, None] * width + column[None, :, None, :], dtype=np.int64)


def rows_in(tiling: Tiling) -> Matrix:
    """A tile's rows → their frequencies: (2 half, rows)."""
    cosine, sine = _down(tiling, tiling.rows)
    return _interleaved(cosine, -sine)


def columns_in(tiling: Tiling) -> Matrix:
    """Columns of complex numbers → (re, -im, im, re) of each frequency: (4 columns, 2 columns).

    The four are the rows of [[re, -im], [im, re]]: with it a complex product is a real one.
    """
    cosine, sine = _across(tiling, tiling.columns)
    real, imaginary = np.hstack([cosine, sine]), np.hstack([-sine, cosine])
    return _interleaved(real, -imaginary, imaginary, real)


def tiled_rows_in(tiling: Tiling) -> Matrix:
    """`rows_in` for all tiles above one another, cut as well: (2 half · down, rows of the padded map)."""
    return _placed(rows_in(tiling), tiling.down, tiling.row_step, tiling.height + tiling.kernel - 1)


def tiled_columns_in(tiling: Tiling) -> Matrix:
    """`columns_in` for all tiles beside one another, cut too: (4 columns · across, 2 · columns of the padded map)."""
    t = tiling
    parts = np.hsplit(columns_in(t), 2)
    return np.hstack([_placed(part, t.across, t.column_step, t.width + t.kernel - 1) for part in parts])


def kernel_columns_in(tiling: Tiling) -> Matrix:
    """The kernel's columns → their frequencies, conjugate: (columns, kernel).

    Real and imaginary part of the first of each pair, then the real part of those that stand alone.
    """
    (cosine, sine), paired = _across(tiling, tiling.kernel), 2 * tiling.pairs
    return np.vstack([_interleaved(cosine[:paired:2], sine[:paired:2]), cosine[paired:]])


def kernel_rows_in(tiling: Tiling) -> Matrix:
    """Rows of complex numbers → conj(W) at a pair's first frequency and, below, at its negative: (4 half, 2 kernel)."""
    cosine, sine = _down(tiling, tiling.kernel)
    first = _interleaved(np.hstack([cosine, -sine]), np.hstack([sine, cosine]))
    return np.vstack([first, _interleaved(np.hstack([cosine, sine]), np.hstack([sine, -cosine]))])


def kernel_rows_alone_in(tiling: Tiling) -> Matrix:
    """Rows of real numbers → conj(W) at a frequency that stands alone: (2 half, kernel)."""
    return _interleaved(*_down(tiling, tiling.kernel))


def columns_out(tiling: Tiling) -> Matrix:
    """Column frequencies → cosine and sine sums of the answer's columns: (2 column_step, columns)."""
    cosine, sine = _across(tiling, tiling.column_step)
    return _interleaved(cosine.T, sine.T) / tiling.columns


def rows_out(tiling: Tiling) -> Matrix:
    """(cosine or sine sum, row frequency, re or im) → the answer's rows: (row_step, 4 half).

    A frequency whose mirror image is not computed counts twice.
    """
    rows, half, step = tiling.rows, tiling.half, tiling.row_step
    weight = np.full((half, 1), 2.0)
    weight[0] = 1
    if rows % 2 == 0:
        weight[-1] = 1
    cosine, sine = ((wave * weight / rows).T for wave in _down(tiling, step))
    of_cosine_sum, of_sine_sum = np.stack([cosine, -sine], axis=2), np.stack([-sine, -cosine], axis=2)
    return np.concatenate([of_cosine_sum, of_sine_sum], axis=1).reshape(step, 4 * half)


def _down(tiling: Tiling, length: int) -> tuple[Matrix, Matrix]:
    return _waves(np.arange(tiling.half), length, tiling.rows)


def _across(tiling: Tiling, length: int) -> tuple[Matrix, Matrix]:
    first = np.arange(1, tiling.pairs + 1)
    alone = [0] if tiling.columns % 2 else [0, tiling.columns // 2]
    return _waves(np.append(np.stack([first, -first], axis=1), alone), length, tiling.columns)


def kernel_spectrum(kernel: NDArray[np.float32], t: Tiling) -> NDArray[np.float32]:
    """The conjugate of a kernel's spectrum, real parts of all input channels first.

    kernel: (out, in, k, k) → (columns, half, 2 · in, out).
    """
    outputs, inputs, k, _ = kernel.shape
    taps = np.ascontiguousarray(kernel.transpose(3, 2, 1, 0)).reshape(k, -1)
    columns_in, pair_in, alone_in = (
        matrix(t).astype(np.float32) for matrix in (kernel_columns_in, kernel_rows_in, kernel_rows_alone_in)
    )
    spectrum, paired = np.empty((t.columns, 2 * t.half, inputs * outputs), np.float32), 2 * t.pairs
    for first in range(0, paired, 2):  # a pair at a time: all transformed columns take half as much as the spectrum
        pair = slice(first, first + 2)
        np.matmul(pair_in, (columns_in[pair] @ taps).reshape(2 * k, -1), out=spectrum[pair].reshape(4 * t.half, -1))
    np.matmul(alone_in, (columns_in[paired:] @ taps).reshape(-1, k, inputs * outputs), out=spectrum[paired:])
    return spectrum.reshape(t.columns, t.half, 2 * inputs, outputs)


def _waves(frequencies: NDArray[np.int64], length: int, period: int) -> tuple[Matrix, Matrix]:
    """Cosine and sine of frequencies at the first cells: (frequencies, length) each."""
    turns = np.outer(frequencies, np.arange(length)) % period  # so that no large angle loses digits
    return np.cos(2 * np.pi * turns / period), np.sin(2 * np.pi * turns / period)


def _interleaved(*parts: Matrix) -> Matrix:
    """Rows of equally shaped matrices in turn: row 0 of each, row 1 of each, and so on."""
    return np.stack(parts, axis=1).reshape(-1, parts[0].shape[1])


def _placed(matrix: Matrix, tiles: int, step: int, length: int) -> Matrix:
    """The matrix once for each tile, where the tile lies: (m, tile) → (m · tiles, length)."""
    rows, tile = matrix.shape
    placed = np.zeros((rows, tiles, max(length, (tiles - 1) * step + tile)))
    for number in range(tiles):
        placed[:, number, number * step : number * step + tile] = matrix
    return placed.reshape(rows * tiles, -1)[:, :length]  # what reaches past the map meets zeros
