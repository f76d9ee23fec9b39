"""Stripe, dotted line and zigzag: drawn over the image."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.corruptions.levels import Levels, corruption, cut

if TYPE_CHECKING:
    from collections.abc import Callable

Plane = NDArray[np.float64]
FADE = 2.3  # a line's brightness is 1 + log(1 - d / FADE) at distance d, nothing from 1.45 on
TEETH = 2.0  # half a tooth of the zigzag is as wide and as high as this, in pixels


@corruption("stripe")
def stripe(levels: Levels, *, rng: np.random.Generator) -> Levels:
    """The left and the right quarter of the columns inverted; nothing is random.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    del rng
    out = levels.copy()
    quarter = levels.shape[-1] // 4
    for side in (slice(None, quarter), slice(-quarter, None)) if quarter else ():
        out[..., side] = 255 - levels[..., side]
    return out


@corruption("dotted_line")
def dotted_line(levels: Levels, *, rng: np.random.Generator) -> Levels:
    """A white line from side to side between two random rows, every other two columns of it.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    count, _, height, width = levels.shape
    start, end = rng.integers(height - 1, size=(2, count))
    seen = np.arange(width) // 2 % 2 == 1

    def line(drop: int) -> Plane:
        return _line((0, 0), (width - 1, drop), height, width) * seen

    return _overlaid(levels, start, end - start, line)


@corruption("zigzag")
def zigzag(levels: Levels, *, rng: np.random.Generator) -> Levels:
    """A white zigzag from side to side along a line that is nearly level.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    count, _, height, width = levels.shape
    start = rng.integers(height - 1, size=count)
    drop = rng.integers(-5, 5, size=count)
    return _overlaid(levels, start, drop, lambda drop: _teeth(drop, height, width))


def _overlaid(
    levels: Levels,
    start: NDArray[np.int64],
    drop: NDArray[np.int64],
    draw: Callable[[int], Plane],
) -> Levels:
    """`levels` with a figure that begins in row `start` and falls by `drop` rows.

    `draw(drop)` gives it with room: (2 H, W), the row H of which is the row `start`. So a figure
    is drawn once for all the images that share its slope.
    """
    height = levels.shape[-2]
    rows = np.arange(height) + (height - start)[:, None]
    out = np.empty_like(levels)
    for value in np.unique(drop):
        chosen = np.flatnonzero(drop == value)
        figure = draw(int(value))[rows[chosen]]
        out[chosen] = cut(levels[chosen] / 255 + figure[:, None])
    return out


def _line(begin: tuple[float, float], end: tuple[float, float], height: int, width: int) -> Plane:
    """(2 H, W) brightness of a line between two points (x, y), y counted from row H.

    Distance is measured down the column; the column of the right end stays empty.
    """
    (x0, y0), (x1, y1) = begin, end
    if x0 == x1:
        return np.zeros((2 * height, width))
    x, y = np.arange(width), np.arange(-height, height)[:, None]
    distance = np.abs(y - (y0 + (y1 - y0) / (x1 - x0) * (x - x0)))
    bright = np.clip(1 + np.log(1 - np.minimum(distance, FADE - 1e-10) / FADE), 0, 1)
    return bright * ((x >= math.floor(x0)) & (x < math.ceil(x1)))


def _teeth(drop: int, height: int, width: int) -> Plane:
    left, right = 2, width - 3
    angle = math.atan(drop / (right - left))
    length = (right - left) / math.cos(angle)
    whole = int((length - TEETH) // (2 * TEETH)) + 1
    teeth = [((2 * tooth + 1) * TEETH, (-1) ** tooth * TEETH) for tooth in range(whole)]
    corners = [(0.0, 0.0), *teeth]
    rest = length - 2 * TEETH * (length // (2 * TEETH))
    if rest:  # the generator's own way to the end of the line
        corners.append((length, corners[-1][1] / (2 * rest)))
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    points = np.array(corners) @ turn.T + [left, 0]
    total = np.zeros((2 * height, width))
    for begin, end in itertools.pairwise(points):
        total += _line(tuple(begin), tuple(end), height, width)
    return total
