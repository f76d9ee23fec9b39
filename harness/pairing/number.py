"""Numbers on which models can be compared: each a value a model and seed, and a joint spread."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.pairing.spread import (
    Gap,
    Proportions,
    Spread,
    mean_covariance,
    mean_draws,
    over_seeds,
    placement_covariance,
    placements,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.core.types import Better
    from harness.pairing.samples import Block

Key = Hashable
"""What tells models apart: a name, or (run, name)."""

Found = Mapping[tuple[Key, int], "Block"]
"""(model, seed) -> its outcomes on one question."""


@dataclass(frozen=True, slots=True)
class Number:
    """One number of M models over S seeds.

    Args:
        title: for people, for example "AUROC kmnist".
        better: direction.
        keys: the M models that were measured on every seed.
        single: (S, M) values.
        spread: over images, of the mean over seeds.
        images: how many each value rests on.
    """

    title: str
    better: Better
    keys: tuple[Key, ...] = ()
    single: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    spread: Spread | None = None
    images: int = 0

    def value(self, key: Key) -> float:
        """Value of a model, the mean over seeds."""
        return float(self.single[:, self.keys.index(key)].mean())

    def gap(self, weights: Mapping[Key, float]) -> Gap:
        """A weighted sum over models: {a: 1, b: -1} is their difference.

        With three seeds or more the interval covers the t interval over seeds as well.
        """
        assert self.spread is not None, "a number of no models has no differences"
        vector = np.zeros(len(self.keys))
        for key, weight in weights.items():
            vector[self.keys.index(key)] += weight
        single = self.single @ vector
        return over_seeds(self.spread.gap(float(single.mean()), vector), single)


# ---------------------------------------------------------------- from outcomes to arrays


@dataclass(frozen=True, slots=True)
class Aligned:
    """Outcomes of several models on the same images.

    Args:
        keys: M models.
        ids: (N,) the images.
        columns: name -> (S, M, N).
    """

    keys: tuple[Key, ...]
    ids: np.ndarray
    columns: Mapping[str, np.ndarray]


def align(found: Found, keys: Iterable[Key], seeds: Sequence[int], *names: str) -> Aligned:
    """Columns of the models that have every seed, on the images that all of them have."""
    whole = tuple(key for key in keys if all((key, seed) in found for seed in seeds))
    blocks = [[found[key, seed] for key in whole] for seed in seeds]
    ids = shared([block["id"] for line in blocks for block in line])
    if not len(ids):
        return Aligned((), ids, {})
    columns = {
        name: np.array([[_on(ids, block, name) for block in line] for line in blocks])
        for name in names
    }
    return Aligned(whole, ids, columns)


def shared(ids: Sequence[np.ndarray]) -> np.ndarray:
    """Ids in all of several ascending lists."""
    if not ids:
        return np.zeros(0, np.int64)
    common = ids[0]
    for others in ids[1:]:
        if not np.array_equal(common, others):
            common = np.intersect1d(common, others, assume_unique=True)
    return common


def _on(ids: np.ndarray, block: Block, name: str) -> np.ndarray:
    if len(ids) == len(block["id"]):
        return block[name]
    return block[name][np.searchsorted(block["id"], ids)]


# ---------------------------------------------------------------- kinds of numbers


def mean_number(title: str, better: Better, aligned: Aligned, name: str) -> Number:
    """The mean over images of a column."""
    if not aligned.keys:
        return Number(title, better)
    values = aligned.columns[name].astype(np.float64)
    spread = mean_draws(values.mean(0))
    return Number(title, better, aligned.keys, values.mean(2), spread, values.shape[2])


def proportion_number(title: str, aligned: Aligned, name: str) -> Number:
    """The share of images on which a column of booleans is true."""
    if not aligned.keys:
        return Number(title, "higher")
    hits = aligned.columns[name]
    spread = Proportions(hits[0]) if len(hits) == 1 else mean_covariance(hits.mean(0))
    return Number(title, "higher", aligned.keys, hits.mean(2), spread, hits.shape[2])


def area_number(title: str, inside: Aligned, outside: Aligned) -> Number:
    """AUROC of the scores of two sets; OOD is positive."""
    assert inside.keys == outside.keys, "the same models on both sets"
    if not inside.keys:
        return Number(title, "higher")
    pairs = [
        [placements(mine, theirs) for mine, theirs in zip(line, other, strict=True)]
        for line, other in zip(inside.columns["score"], outside.columns["score"], strict=True)
    ]
    single = np.array([[theirs.mean() for _, theirs in line] for line in pairs])
    within, without = (
        np.mean([[pair[side] for pair in line] for line in pairs], axis=0) for side in (0, 1)
    )
    images = within.shape[1] + without.shape[1]
    return Number(
        title, "higher", inside.keys, single, placement_covariance(within, without), images
    )
