"""Loops over pixels, compiled by Numba at their first call and kept on disk for the next process.

PyTorch makes a maximum over 2 x 2 windows of a dozen operations, each of which carries a whole layer
to memory and back. Here a window is read once: its maximum goes out, and a byte that says where it
stood.

Numbers in bfloat16 are the 16 bits that they are (uint16), the upper half of a float32. Layers are
(N, H, W, C) and contiguous, but images of few channels (N, C, H, W). Every kernel works through its
images on one thread, without Python's lock, so that others climb beside it (`crew`).

Imported inside functions only: Numba is needed at the top.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import numba
import numpy as np
from numba.extending import overload

if TYPE_CHECKING:
    from collections.abc import Callable

Given = ParamSpec("Given")
Number = TypeVar("Number", np.floating, np.signedinteger)

LANES = 8  # numbers that a processor works on at once: filters come in multiples of it
MANY = 2 * LANES  # channels that are better gone through four times in step than once one by one
NOWHERE = 4  # in place of a maximum's position: the ReLU let nothing through
# Sums may be taken in any order, and products joined to them; what is not finite stays so.
ORDER = {"reassoc", "contract", "nsz", "arcp"}


def compiled(function: Callable[Given, None]) -> Callable[Given, None]:
    """`function` in machine code, kept beside this file or, if that can't be written, at home."""
    options = {"nogil": True, "fastmath": ORDER, "error_model": "numpy"}
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # neither can be: every process compiles its own
        return numba.njit(**options)(function)


@numba.njit
def _half(value: np.float32) -> np.uint16:
    """The nearest bfloat16; of two as near, the even one."""
    bits = np.float32(value).view(np.uint32)
    odd = (bits >> np.uint32(16)) & np.uint32(1)
    return np.uint16((bits + np.uint32(0x7FFF) + odd) >> np.uint32(16))


@numba.njit
def _whole(bits: np.uint16) -> np.float32:
    """A bfloat16 in float32."""
    return np.uint32(np.uint32(bits) << np.uint32(16)).view(np.float32)


def _number(value: np.float32 | np.uint16) -> np.float32:
    """A float32 as it is, a bfloat16 in float32: inside kernels, by the type of their arrays."""
    raise NotImplementedError


@overload(_number)
def _number_by_type(value):  # noqa: ANN001, ANN202  # pyright: ignore[reportMissingParameterType]
    if isinstance(value, numba.types.Float):
        return lambda value: value
    return lambda value: _whole(value)


@numba.njit
def _ordered(bits: np.signedinteger, width: int) -> np.signedinteger:
    """`width` bits in the order of their numbers, the negative ones turned round; twice: again."""
    return bits ^ ((bits >> (width - 1)) & ((1 << (width - 1)) - 1))


@numba.njit
def _largest(
    first: Number, second: Number, third: Number, fourth: Number
) -> tuple[Number, np.uint8]:
    """The largest of four, and which it is; of equal ones the first."""
    most, position = first, np.uint8(0)
    if second > most:
        most, position = second, np.uint8(1)
    if third > most:
        most, position = third, np.uint8(2)
    if fourth > most:
        most, position = fourth, np.uint8(3)
    return most, position


@functools.cache
def convolve(depth: int, height: int, width: int, *, half: bool, relu: bool) -> Callable[..., None]:
    """A convolution of few channels, its maximum over 2 x 2, and ReLU.

    A pooled value sees a patch one pixel larger than the filter, in which each of the four places
    of its window has the filter's size. Filters are taken side by side; to the compiler, the taps
    of one are a known number, and it writes them out.

    Args:
        depth: input channels.
        height: of a filter.
        width: of a filter.
        half: whether `out` has bfloat16.
        relu: whether the positive part is taken.

    Returns:
        kernel(x, out, place, weights, bias): padded images (N, C, H, W) float32; the pooled layer
        (N, R, Q, F); of each maximum the position in its window, or NOWHERE, uint8; the filters
        (C * h * w, F') and (F',) float32, F' a multiple of LANES.
    """
    high, wide = height + 1, width + 1
    pixels = depth * high * wide

    @compiled
    def kernel(
        x: np.ndarray, out: np.ndarray, place: np.ndarray, weights: np.ndarray, bias: np.ndarray
    ) -> None:
        images, rows, columns, filters = out.shape
        patch = np.empty(pixels, np.float32)
        most, where = np.empty_like(bias), np.empty(len(bias), np.uint8)
        for n in range(images):
            for r in range(rows):
                for q in range(columns):
                    for c in range(depth):
                        for i in range(high):
                            for j in range(wide):
                                patch[(c * high + i) * wide + j] = x[n, c, 2 * r + i, 2 * q + j]
                    for f in range(len(bias)):
                        first = second = third = fourth = bias[f]
                        for line in range(depth * height):
                            for j in range(width):
                                u = (line // height * high + line % height) * wide + j
                                weight = weights[line * width + j, f]
                                first += weight * patch[u]
                                second += weight * patch[u + 1]
                                third += weight * patch[u + wide]
                                fourth += weight * patch[u + wide + 1]
                        most[f], where[f] = _largest(first, second, third, fourth)
                        if relu and most[f] <= 0:
                            most[f], where[f] = 0, NOWHERE
                    for f in range(filters):
                        out[n, r, q, f] = _half(most[f]) if half else most[f]
                        place[n, r, q, f] = where[f]

    return kernel


@functools.cache
def convolve_back(depth: int, height: int, width: int) -> Callable[..., None]:
    """The gradient of `convolve`, with respect to its images.

    Returns:
        kernel(above, place, to, weights): the gradient of the pooled layer; where its maxima stood;
        padded images, to which their gradient is added; (4 * F, C * (h + 1) * (w + 1)) float32, the
        filters at each of the four places of a patch.
    """
    high, wide = height + 1, width + 1
    pixels = depth * high * wide

    @compiled
    def kernel(above: np.ndarray, place: np.ndarray, to: np.ndarray, weights: np.ndarray) -> None:
        images, rows, columns, filters = above.shape
        patch = np.empty(pixels, np.float32)
        lit, value = np.empty(filters + 3, np.int64), np.empty(filters + 3, np.float32)
        for n in range(images):
            for r in range(rows):
                for q in range(columns):
                    count = 0  # of the filters that let something through: they come first
                    for f in range(filters):
                        value[count] = _number(above[n, r, q, f])
                        lit[count] = place[n, r, q, f] * filters + f
                        count += place[n, r, q, f] != NOWHERE
                    lit[count : count + 3], value[count : count + 3] = 0, 0
                    patch[:] = 0
                    for f in range(0, count, 4):  # four at once fetch the patch a quarter as often
                        one, two, three, four = lit[f], lit[f + 1], lit[f + 2], lit[f + 3]
                        for u in range(pixels):
                            patch[u] += (
                                value[f] * weights[one, u]
                                + value[f + 1] * weights[two, u]
                                + value[f + 2] * weights[three, u]
                                + value[f + 3] * weights[four, u]
                            )
                    for c in range(depth):
                        for i in range(high):
                            for j in range(wide):
                                to[n, c, 2 * r + i, 2 * q + j] += patch[(c * high + i) * wide + j]

    return kernel


@numba.njit
def _by_place(
    above: np.ndarray, place: np.ndarray, lit: np.ndarray, value: np.ndarray, count: np.ndarray
) -> None:
    """Filters and their gradients, by the place where their maximum stood."""
    count[:] = 0
    for f in range(len(above)):
        position = place[f]
        seen = count[position]
        lit[position, seen], value[position, seen] = f, _number(above[f])
        count[position] = seen + 1


@compiled
def maxima_back(
    above: np.ndarray,
    place: np.ndarray,
    to: np.ndarray,
    weights: np.ndarray,
    padding: tuple[int, int],
) -> None:
    """The gradient of a convolution, its maximum over 2 x 2, and ReLU: from the maxima alone.

    Of four outputs of the convolution at most one has a gradient, and behind a ReLU about every
    second maximum: of the products of the whole convolution, eight in nine are with 0.

    A filter is one row of numbers with a column of zeros at its right. At the other three places of
    a patch it is the same row begun further on, since the zeros stand for the next line's left.

    Args:
        above: (N, R, Q, F), the gradient of the pooled layer.
        place: where its maxima stood.
        to: (N, H, W, C) float32, written.
        weights: (F, h, w + 1, C), the filters; in bfloat16 they come faster from the cache.
        padding: rings of zeros above and left of the images.
    """
    images, rows, columns, filters = above.shape
    _, height, width, depth = to.shape
    (top, left), (_, high, wide, _) = padding, weights.shape
    line, run = wide * depth, (high * wide - 1) * depth
    numbers = weights.reshape(filters, high * line)
    image = np.empty((height + 2 * top, (width + 2 * left) * depth), np.float32)
    patch = np.empty((high + 1) * line, np.float32)
    lit, value = np.empty((5, filters), np.int64), np.empty((5, filters), np.float32)
    count = np.empty(5, np.int64)  # of the filters at each place, and NOWHERE
    for n in range(images):
        image[:] = 0
        for r in range(rows):
            for q in range(columns):
                _by_place(above[n, r, q], place[n, r, q], lit, value, count)
                patch[:] = 0
                for position in range(4):
                    begin, many = position // 2 * line + position % 2 * depth, count[position]
                    there = patch[begin : begin + run]
                    for k in range(0, many - 1, 2):  # two at once fetch the patch half as often
                        first, second = value[position, k], value[position, k + 1]
                        one, two = numbers[lit[position, k]], numbers[lit[position, k + 1]]
                        for u in range(run):
                            there[u] += first * _number(one[u]) + second * _number(two[u])
                    if many % 2:
                        first, one = value[position, many - 1], numbers[lit[position, many - 1]]
                        for u in range(run):
                            there[u] += first * _number(one[u])
                for i in range(high + 1):
                    under = image[2 * r + i, 2 * q * depth : 2 * q * depth + line]
                    for u in range(line):
                        under[u] += patch[i * line + u]
        for i in range(height):
            for j in range(width):
                for c in range(depth):
                    to[n, i, j, c] = image[top + i, (left + j) * depth + c]


@functools.cache
def largest(*, relu: bool) -> Callable[..., None]:
    """The maximum over 2 x 2, and ReLU, of numbers whose bits are taken as signed integers.

    Positive numbers have the order of their bits, and a ReLU makes nothing of the others; without
    one, negative numbers are turned round for the comparison.

    Returns:
        kernel(x, out, place): (N, H, W, C) and (N, R, Q, C) int16 or int32; of each maximum the
        position in its window, of equal ones the first, or NOWHERE, uint8.
    """

    @compiled
    def kernel(x: np.ndarray, out: np.ndarray, place: np.ndarray) -> None:
        width = 8 * x.itemsize
        images, rows, columns, channels = out.shape
        for n in range(images):
            for r in range(rows):
                for q in range(columns):
                    for c in range(channels):
                        first, second = x[n, 2 * r, 2 * q, c], x[n, 2 * r, 2 * q + 1, c]
                        third, fourth = x[n, 2 * r + 1, 2 * q, c], x[n, 2 * r + 1, 2 * q + 1, c]
                        if not relu:
                            first, second = _ordered(first, width), _ordered(second, width)
                            third, fourth = _ordered(third, width), _ordered(fourth, width)
                        most, position = _largest(first, second, third, fourth)
                        out[n, r, q, c] = max(most, 0) if relu else _ordered(most, width)
                        place[n, r, q, c] = NOWHERE if relu and most <= 0 else position

    return kernel


@compiled
def largest_back(above: np.ndarray, place: np.ndarray, to: np.ndarray) -> None:
    """The gradient of `largest`: that of each maximum where it stood in its window, 0 elsewhere.

    Args:
        above: (N, R, Q, C), of the maxima; bits, or numbers.
        place: where they stood.
        to: (N, H, W, C), written but for an odd last row or column.
    """
    images, rows, columns, channels = above.shape
    for n in range(images):
        for r in range(rows):
            if channels < MANY:
                to[n, 2 * r : 2 * r + 2] = 0
            for q in range(columns):
                if channels < MANY:
                    for c in range(channels):
                        position = place[n, r, q, c]
                        if position != NOWHERE:
                            i, j = 2 * r + position // 2, 2 * q + position % 2
                            to[n, i, j, c] = above[n, r, q, c]
                else:
                    for position in range(4):
                        i, j = 2 * r + position // 2, 2 * q + position % 2
                        for c in range(channels):
                            here = place[n, r, q, c] == position
                            to[n, i, j, c] = above[n, r, q, c] if here else 0
