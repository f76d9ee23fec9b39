"""Seeded draws that keep every class's share. The first n images are never a sample.

(The first 5,000 test images of MNIST, for one, are the harder half: check H64.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.core.errors import InputError
from harness.core.rng import numpy_rng

if TYPE_CHECKING:
    from harness.core.types import Split

Labels = NDArray[np.integer]
Ids = NDArray[np.int64]


def stratified(split: Split, n: int, seed: int) -> Split:
    """`n` images of `split`, each class with its share of them; ids say which, in order.

    A class's count differs from its exact share by less than one. The whole split is returned where
    it has no more than `n` images.

    Args:
        split: with labels, or without (then a plain draw).
        n: images wanted, >= 1.
        seed: equal seeds give equal draws.

    Raises:
        InputError: n is below 1.
    """
    if n < 1:
        raise InputError(f"a draw needs at least 1 image, got n = {n}")
    if n >= len(split):
        return split
    labels = np.zeros(len(split), np.int64) if split.y is None else split.y
    return split.take(drawn(labels, n, numpy_rng(seed, "stratified")))


def held_out(labels: Labels, n: int | None = None) -> tuple[Ids, Ids]:
    """Positions that stay in training, and the `n` held out for validation, stratified.

    The draw is fixed: no seed of a run changes what is trained on. A twelfth is held out unless
    `n` says otherwise: 5,000 of MNIST's 60,000.
    """
    held = drawn(labels, twelfth(len(labels)) if n is None else n, numpy_rng(0, "validation"))
    return np.setdiff1d(np.arange(len(labels)), held), held


def twelfth(count: int) -> int:
    """Images held out of `count` for validation."""
    return count // 12


def drawn(labels: Labels, n: int, rng: np.random.Generator) -> Ids:
    """Sorted positions of a draw of `n` of `labels` that keeps each class's share."""
    classes, counts = np.unique(labels, return_counts=True)
    share = counts * (n / len(labels))
    quota = np.floor(share).astype(int)
    # Largest remainders get what is left; equal ones in random order, or low labels always would.
    shuffled = rng.permutation(len(classes))
    order = shuffled[np.argsort((quota - share)[shuffled], kind="stable")]
    quota[order[: n - quota.sum()]] += 1
    picked = [
        rng.permutation(np.flatnonzero(labels == value))[:count]
        for value, count in zip(classes, quota, strict=True)
    ]
    return np.sort(np.concatenate(picked))
