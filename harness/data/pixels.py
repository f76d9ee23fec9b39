"""From stored pixels to a split: what is refused, and how one shape becomes another.

ID and OOD images go the same way: 8-bit levels k become float32 k/255 (N, C, H, W), and whatever is
resized is resized by the same filter and rounded to 8 bits again (check H82).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import DataError
from harness.core.types import Split, array_digest

Images = NDArray[np.float32]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's mode L


def split_of(
    name: str,
    pixels: np.ndarray,
    labels: np.ndarray | None,
    classes: tuple[str, ...],
    file: str,
    ids: NDArray[np.int64] | None = None,
) -> Split:
    """A checked split of stored arrays.

    Args:
        name: for example "mnist/test".
        pixels: (N, H, W) or (N, H, W, 1 or 3), uint8 or floats in [0, 1].
        labels: (N,) or (N, 1) integers in [0, K), or None.
        classes: names of the K classes.
        file: what an error calls the source.
        ids: positions to keep, or None for all.

    Raises:
        DataError: images or labels are not as above, or their numbers differ.
    """
    if labels is not None and len(labels) != len(pixels):
        raise DataError(f"{file}: {len(pixels)} images but {len(labels)} labels")
    if len(pixels) == 0:
        raise DataError(f"{file}: no images")
    y = None if labels is None else checked_labels(labels, len(classes), file)
    if ids is not None:
        pixels, y = pixels[ids], None if y is None else y[ids]
    x = as_images(pixels, file)
    return Split(name, x, y, array_digest(x, y), classes if y is not None else (), ids)


def as_images(pixels: np.ndarray, file: str) -> Images:
    """(N, C, H, W) float32 in [0, 1] of stored pixels, as in `split_of`."""
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        raise DataError(
            f"{file}: images must be (N, H, W) or (N, H, W, 1 or 3), got {pixels.shape};"
            " move the axis of the channels to the end"
        )
    channels_first = np.moveaxis(pixels, 3, 1)
    if pixels.dtype == np.uint8:
        return np.divide(channels_first, np.float32(255), dtype=np.float32, order="C")
    if not np.issubdtype(pixels.dtype, np.floating):
        raise DataError(
            f"{file}: images are {pixels.dtype}; store uint8 (0 to 255) or floats in [0, 1]"
        )
    _check_range(pixels, file)
    return np.ascontiguousarray(channels_first, np.float32)


def _check_range(pixels: np.ndarray, file: str) -> None:
    excess = np.maximum(pixels - 1, -pixels)  # NaN stays NaN
    if not excess.max() <= 0:
        worst = np.unravel_index(int(np.argmax(excess)), excess.shape)  # a NaN counts as largest
        raise DataError(
            f"{file}: image {worst[0]} holds {pixels[worst]}, outside [0, 1];"
            " store uint8 (0 to 255), or floats divided by 255"
        )


def checked_labels(labels: np.ndarray, classes: int, file: str) -> NDArray[np.int64]:
    """(N,) int64 labels, once they are integers in [0, K).

    Raises:
        DataError: they are not; the message names the worst.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or not np.issubdtype(labels.dtype, np.integer):
        raise DataError(
            f"{file}: labels must be one integer an image, got {labels.dtype}{labels.shape}"
        )
    low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
    if low < 0 or high >= classes:
        worst = low if low < 0 else high
        raise DataError(
            f"{file}: label {worst} is outside 0 to {classes - 1}; number the classes from 0"
        )
    return labels.astype(np.int64)


def fit_shape(split: Split, shape: tuple[int, ...]) -> Split:
    """`split` in the shape (C, H, W) of another: itself where it has it already.

    Colour becomes grey by its luma (ITU-R BT.601), grey becomes colour in three equal channels.
    Sizes change by the triangle filter, which widens when shrinking (Pillow's BILINEAR), and the
    result is rounded to 8 bits, as the images of the other set were.

    Raises:
        DataError: either has neither one channel nor three.
    """
    channels, height, width = shape
    if split.x.shape[1:] == tuple(shape):
        return split
    for count in (channels, split.x.shape[1]):
        if count not in (1, 3):
            raise DataError(f"{split.name}: images have 1 or 3 channels, got {count}")
    x = split.x
    if channels < x.shape[1]:
        x = np.tensordot(x, LUMA, (1, 0))[:, None]
    x = eight_bit(resized(x, height, width))
    if channels > x.shape[1]:
        x = np.repeat(x, channels, axis=1)
    return Split(split.name, x, split.y, array_digest(x, split.y), split.classes, split.ids)


def eight_bit(x: NDArray[np.floating]) -> Images:
    """The nearest k/255 of each value in [0, 1]."""
    levels = np.rint(np.clip(x, 0, 1) * np.float32(255))
    return np.divide(levels, np.float32(255), dtype=np.float32)


def resized(x: Images, height: int, width: int) -> NDArray[np.floating]:
    """(..., H, W) images at another size, by the triangle filter on each axis."""
    down, across = _triangle(x.shape[-2], height), _triangle(x.shape[-1], width)
    return down @ x @ across.T


def _triangle(size: int, target: int) -> NDArray[np.float32]:
    """(target, size) weights: linear interpolation, or a wider triangle when shrinking."""
    scale = size / target
    centre = (np.arange(target)[:, None] + 0.5) * scale
    distance = np.abs(np.arange(size) + 0.5 - centre) / max(scale, 1.0)
    weights = np.maximum(1 - distance, 0)
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)
