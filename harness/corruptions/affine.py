"""Shear, scale, rotate, translate: bilinear resampling about the centre, black outside.

A map is a 2 x 3 matrix that takes the (x, y, 1) of a pixel of the result to the (x, y) it is read
from. Angles and factors fit any size; translations are in pixels.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from harness.corruptions.levels import Levels, corruption, cut, setting

if TYPE_CHECKING:
    from collections.abc import Sequence

Matrix = NDArray[np.float64]
ANGLES = (0.2, 0.4, 0.6, 0.8, 1.0)  # radians, by severity, of shear and of rotate


@corruption("shear")
def shear(levels: Levels, *, severity: int = 2, rng: np.random.Generator) -> Levels:
    """Sheared by an angle to the left or to the right, centre kept.

    The matrix is that of scikit-image 0.14, which the published files were made with: the other
    axis shrinks by the cosine. Later versions of that library changed it.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    angle = setting(severity, ANGLES)
    linear = [np.array([[1, -math.sin(a)], [0, math.cos(a)]]) for a in (angle, -angle)]
    return _one_of(levels, [_about_centre(part, levels.shape) for part in linear], rng)


@corruption("rotate")
def rotate(levels: Levels, *, severity: int = 2, rng: np.random.Generator) -> Levels:
    """Rotated by an angle, one way or the other, about the centre.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    angle = setting(severity, ANGLES)
    cos, sin = math.cos(angle), math.sin(angle)
    linear = [np.array([[cos, -s], [s, cos]]) for s in (sin, -sin)]
    return _one_of(levels, [_about_centre(part, levels.shape) for part in linear], rng)


@corruption("scale")
def scale(levels: Levels, *, severity: int = 3, rng: np.random.Generator) -> Levels:
    """Shrunk about the centre; nothing is random.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    factor = 1 / setting(severity, (0.9, 0.8, 0.7, 0.6, 0.5))
    return _one_of(levels, [_about_centre(np.eye(2) * factor, levels.shape)], rng)


@corruption("translate")
def translate(levels: Levels, *, severity: int = 3, rng: np.random.Generator) -> Levels:
    """Moved by `severity` pixels, either way, on each axis.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    step = setting(severity, (1, 2, 3, 4, 5))
    moves = itertools.product((-step, step), repeat=2)
    return _one_of(levels, [np.column_stack([np.eye(2), move]) for move in moves], rng)


def _about_centre(linear: Matrix, shape: tuple[int, ...]) -> Matrix:
    centre = np.array([shape[-1] - 1, shape[-2] - 1]) / 2
    return np.column_stack([linear, centre - linear @ centre])


def _one_of(levels: Levels, maps: Sequence[Matrix], rng: np.random.Generator) -> Levels:
    """Each image through one of `maps`, drawn evenly."""
    drawn = rng.integers(len(maps), size=len(levels))
    out = np.empty_like(levels)
    for index, matrix in enumerate(maps):
        chosen = drawn == index
        out[chosen] = _warp(levels[chosen], matrix)
    return out


def _warp(levels: Levels, matrix: Matrix) -> Levels:
    height, width = levels.shape[-2:]
    resample = _bilinear(matrix, height, width)
    pixels = np.ascontiguousarray(levels.reshape(-1, height * width).T) / 255
    return cut(resample @ pixels).T.reshape(levels.shape)


def _bilinear(matrix: Matrix, height: int, width: int) -> sparse.csr_array:
    """(H * W, H * W) weights of the four pixels round the place that each pixel is read from."""
    rows, columns = np.indices((height, width)).reshape(2, -1)
    x, y = matrix @ np.stack([columns, rows, np.ones_like(rows)])
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    entries: list[tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]] = []
    for column, row in itertools.product((left, left + 1), (top, top + 1)):
        weight = (1 - abs(x - column)) * (1 - abs(y - row))
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height) & (weight > 0)
        target = np.flatnonzero(inside)
        entries.append((weight[target], target, row[target] * width + column[target]))
    weights, targets, sources = (np.concatenate(part) for part in zip(*entries, strict=True))
    return sparse.csr_array((weights, (targets, sources)), shape=(height * width,) * 2)
