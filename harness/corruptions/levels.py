"""Images as the published generator sees them: 8-bit levels, one function a corruption.

A corruption here is a function of levels (N, C, H, W) uint8; `corruption` makes a plug of it, which
takes and returns float32 images in [0, 1]. Levels are what the generator reads and writes: an image
that is not on the grid k/255 is rounded to it on the way in, and results are truncated on the way
out, as the published files are. Colour channels see the same draw (a grey image stored in three
equal channels stays grey) except under the two noises, where each value has its own.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import InputError
from harness.core.registry import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Images = NDArray[np.float32]
Levels = NDArray[np.uint8]

P = ParamSpec("P")
T = TypeVar("T")

TOP = np.float32(255)  # the white level
SMALLEST = 8  # pixels a side: below that, strokes and swaps have no room
BATCH = 2**20  # pixel values worked on at once: 1,337 MNIST images, 8 MB in float64


def corruption(
    name: str, *, batch: int = BATCH
) -> Callable[[Callable[Concatenate[Levels, P], Levels]], Callable[Concatenate[Images, P], Images]]:
    """Decorator: register a function of levels as the corruption `name` of images.

    Images are worked on in order, `batch` pixel values at a time, all drawing from the one stream
    that the caller passes. What an image meets therefore depends on its place in the array: equal
    arrays and equal streams give equal results, half an array does not give half of them.

    Args:
        name: its name in a suite.
        batch: pixel values worked on at once; bounds the memory. Part of what fixes the draw.
    """

    def decorate(
        function: Callable[Concatenate[Levels, P], Levels],
    ) -> Callable[Concatenate[Images, P], Images]:
        @functools.wraps(function)
        def corrupted(x: Images, *args: P.args, **kwargs: P.kwargs) -> Images:
            _check(name, x)
            out = np.empty_like(x, dtype=np.float32)
            size = max(1, batch // max(1, x[:1].size))
            for start in range(0, len(x), size):
                part = slice(start, start + size)
                out[part] = to_images(function(to_levels(x[part]), *args, **kwargs))
            return out

        return registry.register("corruption", name)(corrupted)

    return decorate


def to_levels(x: Images) -> Levels:
    """(...) nearest 8-bit level of each value in [0, 1]."""
    return np.rint(x * TOP).astype(np.uint8)


def to_images(levels: Levels) -> Images:
    """(...) float32 k/255 of each level k."""
    return np.divide(levels, TOP, dtype=np.float32)


def cut(values: NDArray[np.floating[Any]], through: type[np.floating[Any]] = np.float32) -> Levels:
    """Levels of values in [0, 1] as the generator stores them: truncated, mostly from float32.

    The detour matters where weights add up to a little less than 1: what should be white stays 255
    and is not cut to 254.
    """
    return (np.clip(values, 0, 1) * 255).astype(through).astype(np.uint8)


def setting(severity: int, table: Sequence[T]) -> T:
    """The generator's setting for `severity`, counted from 1.

    Raises:
        InputError: the table has no such severity.
    """
    if not 1 <= severity <= len(table):
        raise InputError(f"severity must be 1 to {len(table)}, got {severity}")
    return table[severity - 1]


def _check(name: str, x: Images) -> None:
    if x.ndim != 4 or x.shape[1] not in (1, 3) or min(x.shape[2:]) < SMALLEST:
        raise InputError(
            f"corruption {name!r} takes images (N, 1 or 3, H, W) of at least"
            f" {SMALLEST} x {SMALLEST} pixels, got shape {x.shape}"
        )
    if x.size and not (x.min() >= 0 and x.max() <= 1):  # NaN fails both
        raise InputError(f"corruption {name!r} takes values in [0, 1], got {x.min()} to {x.max()}")
