"""Glass blur and motion blur, with the batch as the last axis.

Both do a different thing to each image. With the batch last, one NumPy call does a step for all
images (a swap of two pixels) or for all of one kind (a shift), on contiguous memory.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from harness.corruptions.levels import Levels, corruption, cut, setting

if TYPE_CHECKING:
    from numpy.typing import NDArray

QUANTUM = 257  # ImageMagick works on 16 bits: 8-bit level k is 257 k


@corruption("glass_blur", batch=2**23)
def glass_blur(levels: Levels, *, severity: int = 1, rng: np.random.Generator) -> Levels:
    """Blurred, neighbours swapped at random, blurred again.

    The generator's Gaussian blurs run down the columns only: it calls a grey image multichannel, so
    that its second axis is taken for colours. Every channel of a colour image gets the same here.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    settings = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
    sigma, reach, rounds = setting(severity, settings)
    batch_last = np.ascontiguousarray(np.moveaxis(levels, 0, -1))
    pixels = _blur_columns(batch_last, sigma, np.float64)  # it stores this blur without the detour
    for _ in range(rounds):
        _swap_neighbours(pixels, reach, rng)
    return np.moveaxis(_blur_columns(pixels, sigma, np.float32), -1, 0)


def _blur_columns(pixels: Levels, sigma: float, through: type[np.floating[Any]]) -> Levels:
    out = np.empty_like(pixels)
    for channel, blurred in zip(pixels, out, strict=True):
        for column in range(pixels.shape[2]):  # a column at a time stays in the cache
            values = ndimage.gaussian_filter1d(channel[:, column] / 255, sigma, 0, mode="nearest")
            blurred[:, column] = cut(values, through)
    return out


def _swap_neighbours(pixels: Levels, reach: int, rng: np.random.Generator) -> None:
    """Swap pixels (C, H, W, N) in place, from the lower right corner backwards.

    Each pixel, with probability 1/2, changes places with one at -reach to reach - 1 from it on each
    axis, drawn evenly: the generator's upper end is exclusive, so that it also may stay.
    """
    _, height, width, count = pixels.shape
    shifts = list(itertools.product(range(-reach, reach), repeat=2))
    for row in range(height - reach, reach, -1):
        drawn = rng.integers(2 * len(shifts), size=(width, count), dtype=np.uint8)
        for column in range(width - reach, reach, -1):
            here = pixels[:, row, column]
            for index, (down, right) in enumerate(shifts):
                if (down, right) != (0, 0):
                    there = pixels[:, row + down, column + right]
                    _swap(here, there, drawn[column] == index)


def _swap(here: Levels, there: Levels, chosen: NDArray[np.bool_]) -> None:
    """Exchange two planes in place where `chosen`: the exclusive-or trick, without a branch."""
    difference = (here ^ there) * chosen
    here ^= difference
    there ^= difference


@corruption("motion_blur")
def motion_blur(levels: Levels, *, severity: int = 1, rng: np.random.Generator) -> Levels:
    """Smeared along a line at an angle within 45 degrees of the horizontal.

    As ImageMagick does it: half a Gaussian of 2 radius + 1 taps along the line, each read at the
    nearest pixel (edges repeated), rounded to 16 bits and then truncated to 8.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py; ImageMagick,
    MotionBlurImage, as observed in its output.
    """
    radius, sigma = setting(severity, ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15)))
    count, channels, height, width = levels.shape
    distance = np.arange(2 * radius + 1)
    weights = np.exp(-(distance**2) / (2 * sigma**2))
    weights /= weights.sum()
    # In order of their angles, the images that read a tap at the same place are neighbours.
    angles = np.deg2rad(np.sort(rng.uniform(-45, 45, count)))
    order = rng.permutation(count)
    reach = 2 * radius
    padding = ((0, 0), (reach, reach), (0, reach), (0, 0))
    padded = np.pad(np.moveaxis(levels[order], 0, -1).astype(np.float64), padding, mode="edge")
    total = np.zeros((channels, height, width, count))
    for tap, weight in zip(distance, weights, strict=True):
        right = np.ceil(tap * np.cos(angles) - 0.5).astype(int)
        down = np.ceil(tap * np.sin(angles) - 0.5).astype(int) + reach
        for start, stop in _runs(right, down):
            rows = slice(down[start], down[start] + height)
            columns = slice(right[start], right[start] + width)
            total[..., start:stop] += weight * padded[:, rows, columns, start:stop]
    out = np.empty_like(levels)
    out[order] = np.moveaxis(np.rint(total * QUANTUM).astype(np.uint16) // QUANTUM, -1, 0)
    return out


def _runs(*keys: NDArray[np.int_]) -> list[tuple[int, int]]:
    """[start, stop) of each run of neighbours that agree in all keys."""
    changes = np.any([np.diff(key) != 0 for key in keys], axis=0)
    edges = [0, *(np.flatnonzero(changes) + 1).tolist(), len(keys[0])]
    return list(itertools.pairwise(edges))
