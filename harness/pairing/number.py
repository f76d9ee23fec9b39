"""Numbers on which models can be compared: each a value a model and seed, and a joint spread."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from harness.core.rng import numpy_rng
from harness.metrics import bin_index
from harness.pairing.spread import (
    BiasedDraws,
    Gap,
    Proportions,
    Spread,
    mean_covariance,
    mean_draws,
    over_seeds,
    placement_covariance,
    placements,
    resampled,
)
from harness.statistics.means import TAILS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.core.types import Better
    from harness.pairing.samples import Block

NULL_DRAWS = 1000

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


def binned_numbers(titles: tuple[str, str], aligned: Aligned, bins: int) -> tuple[Number, Number]:
    """Expected and root-mean-square calibration error of the top label, on the same resamples.

    Args:
        titles: of the two.
        aligned: columns `confidence` and `correct`.
        bins: equal-width bins of the confidence.
    """
    if not aligned.keys:
        return Number(titles[0], "lower"), Number(titles[1], "lower")
    confidence, correct = aligned.columns["confidence"], aligned.columns["correct"]
    seeds = [_binned(*one, bins) for one in zip(confidence, correct, strict=True)]
    errors, floors = (np.stack(part, axis=-2) for part in zip(*seeds, strict=True))
    ece, rms = (
        Number(title, "lower", aligned.keys, error[0], _floored(error, floor), correct.shape[-1])
        for title, error, floor in zip(titles, errors, floors, strict=True)
    )
    return ece, rms


def _binned(
    confidence: np.ndarray, correct: np.ndarray, bins: int
) -> tuple[np.ndarray, np.ndarray]:
    """Both errors of M models, and what they would be at most if the models were calibrated.

    Returns:
        (2, 1 + R, M) on the images as they are, then on each resample; (2, M) 97.5 % quantiles.
    """
    models, images = confidence.shape
    inside = bin_index(confidence, bins)[..., None] == np.arange(bins)  # (M, N, B)
    excess = inside * (correct - confidence)[..., None]
    columns = np.concatenate([inside, excess]).transpose(1, 0, 2).reshape(images, -1)
    means = np.concatenate([columns.mean(0)[None], resampled(columns)])
    shares, gaps = means.reshape(len(means), 2, models, bins).swapaxes(0, 1)
    spread = np.sqrt((inside * (confidence * (1 - confidence))[..., None]).sum(1)) / images
    null = numpy_rng(0, "calibrated").normal(size=(NULL_DRAWS, models, bins)) * spread
    return _errors(shares, gaps), np.quantile(_errors(shares[0], null), TAILS[1], axis=1)


def _errors(shares: np.ndarray, gaps: np.ndarray) -> np.ndarray:
    """ECE and RMS error from the (..., B) shares of the bins and sums of their gaps over N."""
    squares = gaps**2 / np.where(shares > 0, shares, 1)
    return np.stack([np.abs(gaps).sum(-1), np.sqrt(squares.sum(-1))])


def _floored(error: np.ndarray, floor: np.ndarray) -> BiasedDraws:
    """The spread of an error (1 + R, S, M), given what calibrated models would show (S, M).

    What is left of an error that does not show is not known to be there: it may be nothing.
    """
    value, draws = error[0], error[1:]
    bias = draws.mean(0) - value
    slack = np.where(value <= floor, np.maximum(value - bias, 0), 0)
    return BiasedDraws(draws.mean(1), bias.mean(0), slack.mean(0))
