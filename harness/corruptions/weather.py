"""Brightness, fog and spatter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.corruptions.levels import Levels, corruption, cut, setting

Map = NDArray[np.floating[Any]]  # of heights, float32 in fact
MUD = 63 / 255  # the colour of spatter
TOGETHER = 64  # plasma maps made at once: 1 MB, so that they stay in the cache
APART = 4  # the extremes of a map are taken over every fourth point; see `_plasma`


@corruption("brightness")
def brightness(levels: Levels, *, severity: int = 5, rng: np.random.Generator) -> Levels:
    """Value (of hue, saturation and value) raised and clipped; nothing is random.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    del rng
    raised = setting(severity, (0.1, 0.2, 0.3, 0.4, 0.5))
    value = np.arange(256) / 255
    lifted = np.minimum(value + raised, 1)
    if levels.shape[1] == 1:
        return cut(lifted)[levels]
    top = levels.max(axis=1, keepdims=True)
    ratio = np.divide(levels, top, out=np.ones(levels.shape), where=top > 0)
    return cut(ratio * lifted[top])


@corruption("fog")
def fog(levels: Levels, *, severity: int = 5, rng: np.random.Generator) -> Levels:
    """A plasma fractal laid over the image, then both dimmed to keep the image's maximum.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    settings = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
    weight, decay = setting(severity, settings)
    count, _, height, width = levels.shape
    out = np.empty_like(levels)
    for start in range(0, count, TOGETHER):
        part = levels[start : start + TOGETHER] / 255
        top = part.max(axis=(1, 2, 3), keepdims=True)
        mist = _plasma(len(part), height, width, decay, rng)[:, None]
        out[start : start + TOGETHER] = cut((part + weight * mist) * (top / (top + weight)))
    return out


def _plasma(count: int, height: int, width: int, decay: float, rng: np.random.Generator) -> Map:
    """(N, H, W) upper left corner of diamond-square maps, each map scaled to [0, 1].

    The generator makes maps of 256 x 256 (here more for larger images), of which only the corner
    is seen; of the rest just the extremes matter. They are taken over every fourth point on each
    axis and the corner: a pixel of the fog then differs by 0.04 levels of 255 on average from what
    the whole map would give (at most 1.3 in 200 maps), at a tenth of the cost.
    """
    side = max(256, 1 << (max(height, width) - 1).bit_length())
    amplitude = 1e4
    points = np.zeros((1, 1, count), np.float32)
    while len(points) < side // APART:
        points = _refined(points, amplitude, rng)
        amplitude /= decay**2
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    margin = 2  # coarse points beyond the corner: maps are periodic, this window is not
    rows = np.arange(-margin, -(-height // APART) + margin)
    columns = np.arange(-margin, -(-width // APART) + margin)
    window = np.take(np.take(points, rows, 0, mode="wrap"), columns, 1, mode="wrap")
    for _ in range(APART.bit_length() - 1):
        window = _refined(window, amplitude, rng)
        amplitude /= decay**2
    inset = margin * APART
    corner = window[inset : inset + height, inset : inset + width]
    low = np.minimum(low, corner.min(axis=(0, 1)))
    high = np.maximum(high, corner.max(axis=(0, 1)))
    return np.moveaxis((corner - low) / (high - low), -1, 0)


def _refined(points: Map, amplitude: float, rng: np.random.Generator) -> Map:
    """(2 H, 2 W, N) map whose even points are `points` (H, W, N), one diamond-square step on.

    A new point is the mean of its four nearest plus a uniform draw within +- `amplitude`: first
    the middles of the squares, then the middles of their sides. Borders wrap round.
    """
    height, width, count = points.shape
    out = np.empty((height, 2, width, 2, count), np.float32)
    across = points + np.roll(points, -1, axis=1)
    middles = _wobbled(across + np.roll(across, -1, axis=0), amplitude, rng)
    down = points + np.roll(points, -1, axis=0)
    out[:, 0, :, 0] = points
    out[:, 1, :, 1] = middles
    out[:, 0, :, 1] = _wobbled(across + middles + np.roll(middles, 1, axis=0), amplitude, rng)
    out[:, 1, :, 0] = _wobbled(down + middles + np.roll(middles, 1, axis=1), amplitude, rng)
    return out.reshape(2 * height, 2 * width, count)


def _wobbled(total: Map, amplitude: float, rng: np.random.Generator) -> Map:
    draw = rng.random(total.shape, dtype=np.float32)
    draw -= np.float32(0.5)
    draw *= np.float32(2 * amplitude)
    total *= np.float32(0.25)
    total += draw
    return total


@corruption("spatter")
def spatter(levels: Levels, *, severity: int = 4, rng: np.random.Generator) -> Levels:
    """Dark grey stains with soft, cut edges.

    A Gaussian field is blurred and thresholded; that mask is blurred, and cut where it is thin.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    settings = (
        (0.65, 0.3, 4.0, 0.69, 0.6),
        (0.65, 0.3, 3.0, 0.68, 0.6),
        (0.65, 0.3, 2.0, 0.68, 0.5),
        (0.65, 0.3, 1.0, 0.65, 1.5),
        (0.67, 0.4, 1.0, 0.65, 1.5),
    )
    mean, deviation, grain, threshold, soft = setting(severity, settings)
    count, _, height, width = levels.shape
    field = rng.standard_normal((count, height, width), dtype=np.float32)
    field *= np.float32(deviation)
    field += np.float32(mean)
    wet = _blurred(field, grain) > threshold
    mask = _blurred(wet.astype(np.float32), soft)
    mask[mask < 0.8] = 0
    mask = mask[:, None]
    return cut(levels * ((1 - mask) / np.float32(255)) + np.float32(MUD) * mask)


def _blurred(planes: Map, sigma: float) -> Map:
    out = np.empty_like(planes)
    ndimage.gaussian_filter(planes, sigma, output=out, mode="nearest", axes=(1, 2))
    return out
