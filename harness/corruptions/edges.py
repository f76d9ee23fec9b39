"""Canny edges, all images at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from harness.corruptions.levels import Levels, corruption

SIGMA, LOW, HIGH = 1.0, 0.1, 0.2  # scikit-image's defaults for images in [0, 1]
LUMA = (0.2125, 0.7154, 0.0721)  # scikit-image's rgb2gray (ITU-R BT.709)
TOUCHING = np.zeros((3, 3, 3), bool)  # pixels of one image that touch, corners included
TOUCHING[1] = True

Planes = NDArray[np.float64]


@corruption("canny_edges", batch=2**18)
def canny_edges(levels: Levels, *, rng: np.random.Generator) -> Levels:
    """Edges in white on black, as scikit-image's Canny finds them; nothing is random.

    A colour image gives the edges of its luma in all channels.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py; Canny 1986; the steps
    and constants are those of scikit-image's skimage.feature.canny.
    """
    del rng
    grey = levels[:, 0] / 255 if levels.shape[1] == 1 else np.tensordot(LUMA, levels, (0, 1)) / 255
    down, across = _gradients(_smoothed(grey))
    strength = np.hypot(down, across)
    weak = _ridges(strength, down, across)
    edges = _joined(weak, weak & (strength >= HIGH))
    return np.repeat(edges[:, None] * np.uint8(255), levels.shape[1], axis=1)


def _smoothed(grey: Planes) -> Planes:
    """Gaussian blur that takes nothing from outside the image."""

    def blur(planes: Planes) -> Planes:
        return ndimage.gaussian_filter(planes, SIGMA, mode="constant", axes=(1, 2))

    return blur(grey) / (blur(np.ones_like(grey[:1])) + np.finfo(float).eps)


def _gradients(planes: Planes) -> tuple[Planes, Planes]:
    """Sobel derivatives down the rows and across the columns."""

    def sobel(axis: int, other: int) -> Planes:
        return ndimage.correlate1d(ndimage.correlate1d(planes, [-1, 0, 1], axis), [1, 2, 1], other)

    return sobel(1, 2), sobel(2, 1)


def _ridges(strength: Planes, down: Planes, across: Planes) -> NDArray[np.bool_]:
    """Pixels of strength >= LOW that are no weaker than both neighbours along the gradient.

    A neighbour is read between the two pixels next to the gradient's direction, one beside (or
    above) and one diagonal. The border of an image never counts.
    """
    out = np.zeros(strength.shape, bool)
    out[:, 1:-1, 1:-1] = strength[:, 1:-1, 1:-1] >= LOW
    at = np.flatnonzero(out)
    width = strength.shape[2]
    flat, rise, run = strength.ravel(), down.ravel()[at], across.ravel()[at]
    steep = np.abs(rise) >= np.abs(run)
    falling = np.where(rise * run >= 0, width, -width)  # one row on, to the right of the pixel
    beside, diagonal = np.where(steep, falling, 1), falling + 1
    share = np.minimum(np.abs(rise), np.abs(run)) / np.maximum(np.abs(rise), np.abs(run))
    here = flat[at]
    ahead = flat[at + diagonal] * share + flat[at + beside] * (1 - share)
    behind = flat[at - diagonal] * share + flat[at - beside] * (1 - share)
    out.ravel()[at] = (ahead <= here) & (behind <= here)
    return out


def _joined(weak: NDArray[np.bool_], strong: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Weak pixels connected to a strong one (hysteresis)."""
    labels = np.empty(weak.shape, np.int32)
    ndimage.label(weak, TOUCHING, output=labels)
    kept = np.zeros(labels.max(initial=0) + 1, bool)
    kept[labels[strong]] = True
    return kept[labels]
