"""Worlds of models that are wrong about themselves, and the truth about their errors.

A world is a population of images: how sure the model is of each, and how likely it is right. The
interval of the ECE was chosen on DEVELOPMENT, in the end also on rows of HELD_OUT, and is judged on FRESH;
that of a difference was chosen on DEVELOPMENT_PAIRS and is judged on PAIRS and FRESH_PAIRS. Those that
judge have other confidences and other ways of being wrong.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import optimize, special

from harness import metrics

BINS = 15
IMAGES = 20_000
CLASSES = 10
Way = Callable[[np.ndarray, float], np.ndarray]
"""Chance to be right, of (N,) confidences and by how much it is off; by 0 it is the confidence."""
Plan = tuple[tuple[str, str, float, tuple[int, ...]], ...]
"""Confidences, way of being wrong, true ECE, sample sizes."""
Pairs = tuple[tuple[str, str, tuple[str, float], tuple[str, float], tuple[int, ...]], ...]
"""Confidences, kinship, way of being wrong and true ECE of either, sample sizes."""


@dataclass(frozen=True, slots=True)
class World:
    """All images that there are.

    Args:
        name: for the table.
        confidence: (N,) of each image.
        right: (N,) chance that the top label is right.
        n: images in a sample.
    """

    name: str
    confidence: np.ndarray
    right: np.ndarray
    n: int

    def error(self, kind: str) -> float:
        """True error: labels are not drawn but summed over."""
        index, n = metrics.bin_index(self.confidence, BINS), len(self.confidence)
        gap = np.bincount(index, self.confidence - self.right, minlength=BINS) / n
        share = np.bincount(index, minlength=BINS) / n
        if kind == "ece":
            return float(np.abs(gap).sum())
        assert kind == "rms_calibration_error", kind
        return math.sqrt((gap[share > 0] ** 2 / share[share > 0]).sum())

    @property
    def boundary(self) -> bool:
        """No error at all, or fewer than five mistakes expected."""
        accuracy = float(self.right.mean())
        calibrated = np.array_equal(self.confidence, self.right)
        return calibrated or self.n * accuracy * (1 - accuracy) < 5

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(n, 10) probabilities whose first class is the top one, and (n,) labels."""
        drawn = rng.integers(0, len(self.confidence), self.n)
        confidence = self.confidence[drawn]
        probs = np.repeat((1 - confidence)[:, None] / (CLASSES - 1), CLASSES, 1)
        probs[:, 0] = confidence
        return probs, np.where(rng.random(self.n) < self.right[drawn], 0, 1)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models on the same images.

    Args:
        first: without n in its name.
        second: the same.
        kinship: of KINSHIPS: how much they have in common.
    """

    first: World
    second: World
    kinship: str

    @property
    def name(self) -> str:
        """Both errors and ways of being wrong."""
        kind = "" if self.kinship == "relatives" else f", {self.kinship}"
        return f"{self.first.name} against {self.second.name}{kind}, n = {self.first.n}"

    def truth(self, kind: str) -> float:
        """First minus second."""
        return self.first.error(kind) - self.second.error(kind)

    @property
    def boundary(self) -> bool:
        """Where either is."""
        return self.first.boundary or self.second.boundary

    def sample(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(2, n) confidences and whether the top label was right."""
        both, n = (self.first, self.second), self.first.n
        drawn, luck = rng.integers(0, IMAGES, n), rng.random(n)
        other = np.where(rng.random(n) < KINSHIPS[self.kinship][1], luck, rng.random(n))
        confidence = np.stack([one.confidence[drawn] for one in both])
        chance = np.stack([one.right[drawn] for one in both])
        return confidence, np.stack([luck, other]) < chance


KINSHIPS = {"relatives": (0.9, 0.7), "twins": (0.995, 0.97), "strangers": (0.0, 0.0)}
"""Correlation of the logits of two models, and share of the images that both get right by the same luck."""


def _as_said(c: np.ndarray, _: float) -> np.ndarray:
    return c


def _squeezed(c: np.ndarray, by: float) -> np.ndarray:
    return special.expit(special.logit(c) / (1 + by))


def _stretched(c: np.ndarray, by: float) -> np.ndarray:
    return special.expit(special.logit(c) * (1 + by))


def _place(c: np.ndarray) -> np.ndarray:
    """Place of each among the others, 0 to 1."""
    return (np.argsort(np.argsort(c, kind="stable"), kind="stable") + 0.5) / len(c)


def _classes(c: np.ndarray, by: float) -> np.ndarray:
    """Half of the classes promise too much, the others too little; the former are the surer ones."""
    first = (np.arange(len(c)) * 0.618034) % 1 < 0.2 + 0.6 * _place(c)
    return special.expit(special.logit(c) + np.where(first, -by, by))


def _sigmoid(c: np.ndarray, by: float) -> np.ndarray:
    """Too much promised above the middle, too little below."""
    return special.expit(special.logit(c) - by * np.tanh(4 * (_place(c) - 0.5)))


def _mixture(c: np.ndarray, by: float) -> np.ndarray:
    """Every fifth image is of a kind that the model knows badly."""
    bad = np.arange(len(c)) % 5 == 0
    return np.where(bad, special.expit(special.logit(c) - 10 * by), c)


def _hard(c: np.ndarray, by: float) -> np.ndarray:
    """The tenth that the model is least sure of, and a few others, are harder than it says."""
    hard = (_place(c) < 0.1) | (np.arange(len(c)) % 33 == 0)
    return np.where(hard, special.expit(special.logit(c) - by), c)


HELD_OUT_WAYS: dict[str, Way] = {
    "power, over": lambda c, by: c ** (1 + by),
    "power, under": lambda c, by: c ** (1 / (1 + by)),
    "temperature, over": _squeezed,
    "temperature, under": _stretched,
    "by class": _classes,
    "sigmoid": _sigmoid,
    "mixture": _mixture,
    "noisy labels": lambda c, by: c * (1 - by),
}

HELD_OUT_CONFIDENCES = {
    "0.75": (1.75, 1.9),
    "0.90": (3.7, 2.3),
    "0.97": (6.1, 2.7),
    "0.99": (8.5, 3.1),
    "0.999": (12.5, 3.1),
}
"""Accuracy if calibrated, mean and spread of the logits of the confidences."""

HELD_OUT: Plan = (
    ("0.75", "calibrated", 0.0, (200, 2000, 10_000)),
    ("0.90", "calibrated", 0.0, (500, 10_000)),
    ("0.97", "calibrated", 0.0, (200, 2000)),
    ("0.99", "calibrated", 0.0, (500, 10_000)),
    ("0.999", "calibrated", 0.0, (2000, 10_000)),
    ("0.75", "power, over", 0.15, (200, 10_000)),
    ("0.75", "temperature, under", 0.03, (500, 10_000)),
    ("0.75", "sigmoid", 0.03, (500, 2000, 10_000)),
    ("0.75", "mixture", 0.1, (200, 2000)),
    ("0.90", "power, under", 0.02, (500, 2000)),
    ("0.90", "temperature, over", 0.01, (2000, 10_000)),
    ("0.90", "temperature, over", 0.05, (200, 500, 2000)),
    ("0.90", "by class", 0.02, (2000, 10_000)),
    ("0.90", "noisy labels", 0.05, (500, 10_000)),
    ("0.97", "temperature, under", 0.01, (500, 2000, 10_000)),
    ("0.97", "sigmoid", 0.01, (2000, 10_000)),
    ("0.97", "mixture", 0.02, (500, 2000)),
    ("0.97", "noisy labels", 0.02, (500, 2000)),
    ("0.99", "power, over", 0.003, (2000, 10_000)),
    ("0.99", "temperature, over", 0.01, (500, 2000, 10_000)),
    ("0.99", "temperature, under", 0.004, (2000, 10_000)),
    ("0.99", "by class", 0.002, (10_000,)),
    ("0.99", "noisy labels", 0.01, (2000, 10_000)),
    ("0.999", "temperature, over", 0.002, (2000, 10_000)),
    ("0.999", "noisy labels", 0.003, (2000, 10_000)),
)


FRESH_WAYS: dict[str, Way] = {
    "shifted, over": lambda c, by: special.expit(special.logit(c) - by),
    "shifted, under": lambda c, by: special.expit(special.logit(c) + by),
    "flat": lambda c, by: c + by * (float(c.mean()) - c),
    "middle": lambda c, by: c - by * ((c > 0.55) & (c < 0.85)),
    "every second bin": lambda c, by: c - by * (metrics.bin_index(c, BINS) % 2),
    "hard images": lambda c, by: _hard(c, by),
    "surest": lambda c, by: c - by * (_place(c) > 0.6),
}

FRESH_CONFIDENCES = {
    "0.82": (3.3, 0.72),
    "0.94": (4.0, 0.26),
    "0.985": (6.0, 0.09),
    "0.996": (8.0, 0.032),
}
"""Accuracy if calibrated, and the two parameters of a beta distribution."""

FRESH: Plan = (
    ("0.82", "calibrated", 0.0, (300, 4000)),
    ("0.94", "calibrated", 0.0, (1000,)),
    ("0.985", "calibrated", 0.0, (500, 5000)),
    ("0.996", "calibrated", 0.0, (10_000,)),
    ("0.82", "shifted, over", 0.02, (500, 3000)),
    ("0.82", "shifted, under", 0.06, (300, 3000)),
    ("0.82", "flat", 0.04, (1000, 8000)),
    ("0.82", "middle", 0.02, (1000, 8000)),
    ("0.82", "every second bin", 0.04, (500, 4000)),
    ("0.82", "surest", 0.03, (700, 5000)),
    ("0.94", "shifted, over", 0.02, (500, 5000)),
    ("0.94", "flat", 0.02, (1000, 6000)),
    ("0.94", "every second bin", 0.02, (1000, 6000)),
    ("0.94", "hard images", 0.03, (500, 3000)),
    ("0.94", "surest", 0.015, (1000, 6000)),
    ("0.985", "shifted, over", 0.006, (1000, 10_000)),
    ("0.985", "shifted, under", 0.005, (2000, 10_000)),
    ("0.985", "hard images", 0.008, (1000, 6000)),
    ("0.985", "flat", 0.005, (3000,)),
    ("0.996", "shifted, over", 0.003, (3000, 10_000)),
    ("0.996", "hard images", 0.003, (10_000,)),
)

SEEN: Plan = (("0.75", "power, over", 0.05, (500, 2000)),)
"""Held out at first; the upper end was mended after these two had been seen, and no others."""

PAIRS: Pairs = (
    ("0.97", "relatives", ("calibrated", 0.0), ("calibrated", 0.0), (500, 2000)),
    ("0.97", "relatives", ("temperature, over", 0.02), ("calibrated", 0.0), (500, 2000)),
    ("0.97", "relatives", ("temperature, over", 0.02), ("temperature, under", 0.01), (500, 2000)),
    ("0.97", "relatives", ("temperature, over", 0.04), ("temperature, over", 0.02), (500, 2000)),
    ("0.97", "relatives", ("temperature, over", 0.005), ("temperature, over", 0.005), (500, 2000)),
    ("0.90", "relatives", ("power, over", 0.05), ("mixture", 0.02), (500, 2000)),
    ("0.90", "relatives", ("sigmoid", 0.02), ("temperature, over", 0.02), (500, 2000)),
    ("0.90", "relatives", ("temperature, over", 0.1), ("temperature, over", 0.1), (500, 2000)),
    ("0.75", "relatives", ("temperature, over", 0.1), ("temperature, over", 0.05), (500, 2000)),
    ("0.99", "relatives", ("temperature, over", 0.01), ("noisy labels", 0.003), (2000, 5000)),
)
"""Judged on since the first interval of a difference, which fell short on two of them."""

FRESH_PAIRS: Pairs = (
    ("0.75", "relatives", ("sigmoid", 0.03), ("power, over", 0.03), (300, 10_000)),
    ("0.75", "relatives", ("mixture", 0.05), ("calibrated", 0.0), (300, 10_000)),
    ("0.90", "relatives", ("by class", 0.03), ("noisy labels", 0.03), (300, 10_000)),
    ("0.97", "relatives", ("mixture", 0.02), ("by class", 0.01), (1000,)),
    ("0.99", "relatives", ("noisy labels", 0.01), ("temperature, under", 0.004), (10_000,)),
    ("0.999", "relatives", ("calibrated", 0.0), ("temperature, over", 0.002), (2000,)),
    ("0.999", "relatives", ("noisy labels", 0.003), ("temperature, over", 0.002), (10_000,)),
    ("0.90", "twins", ("temperature, over", 0.05), ("temperature, over", 0.05), (500, 2000)),
    ("0.97", "twins", ("noisy labels", 0.02), ("temperature, under", 0.01), (1000,)),
    ("0.90", "strangers", ("sigmoid", 0.04), ("temperature, under", 0.02), (300, 2000)),
    ("0.97", "strangers", ("temperature, over", 0.02), ("power, under", 0.02), (1000,)),
)
"""Not looked at before the interval by square-and-add was settled."""

DEVELOPMENT_WAYS: dict[str, Way] = {
    "over": lambda z, by: _top(z / (1 + by)),
    "under": lambda z, by: _top(z * (1 + by)),
    "top bin": lambda z, by: _top(z) - by * (_top(z) >= 1 - 1 / BINS),
    "low half": lambda z, by: _top(z) - by * (_top(z) < 0.7),
    "wave": lambda z, by: _top(z) - by * _top(z) * (1 - _top(z)) * np.sin((_top(z) - 0.4) * 10.5),
    "fifth": lambda z, by: np.where(np.arange(len(z)) % 5 == 0, _top(z) - by, _top(z)),
}

DEVELOPMENT_CONFIDENCES = {
    "0.79": (2.6, 2.5),
    "0.86": (4.0, 3.6),
    "0.98": (9.0, 3.6),
    "0.997": (12.0, 3.6),
}
"""Accuracy if calibrated, mean and spread of the margin between the two largest of ten logits."""

DEVELOPMENT: Plan = (
    ("0.79", "calibrated", 0.0, (500, 10_000)),
    ("0.86", "calibrated", 0.0, (300, 4000)),
    ("0.98", "calibrated", 0.0, (300, 1000, 4000)),
    ("0.997", "calibrated", 0.0, (1000,)),
    ("0.98", "over", 0.003, (300, 1000, 5000)),
    ("0.98", "over", 0.01, (300, 1000, 5000)),
    ("0.98", "over", 0.03, (1000,)),
    ("0.98", "under", 0.003, (1000, 5000)),
    ("0.98", "top bin", 0.003, (1000, 5000)),
    ("0.98", "top bin", 0.008, (1000,)),
    ("0.98", "fifth", 0.01, (1500,)),
    ("0.86", "over", 0.01, (400, 1500)),
    ("0.86", "over", 0.03, (400, 1500, 6000)),
    ("0.86", "under", 0.04, (1500,)),
    ("0.86", "wave", 0.01, (1500,)),
    ("0.86", "wave", 0.04, (1500,)),
    ("0.86", "low half", 0.03, (1500, 6000)),
    ("0.86", "fifth", 0.03, (1500, 6000)),
    ("0.86", "top bin", 0.03, (1500, 6000)),
    ("0.79", "over", 0.12, (400,)),
    ("0.997", "over", 0.004, (1500,)),
)

DEVELOPMENT_PAIRS: Pairs = (
    ("0.98", "relatives", ("calibrated", 0.0), ("calibrated", 0.0), (300, 2000)),
    ("0.86", "relatives", ("over", 0.04), ("calibrated", 0.0), (400, 2000)),
    ("0.98", "relatives", ("calibrated", 0.0), ("over", 0.01), (1000,)),
    ("0.98", "relatives", ("over", 0.01), ("top bin", 0.004), (1000, 5000)),
    ("0.98", "relatives", ("over", 0.02), ("under", 0.005), (600, 3000)),
    ("0.98", "relatives", ("over", 0.004), ("over", 0.004), (1000, 10_000)),
    ("0.86", "relatives", ("over", 0.06), ("fifth", 0.02), (500, 2000)),
    ("0.86", "relatives", ("wave", 0.03), ("over", 0.03), (500, 2000, 6000)),
    ("0.86", "relatives", ("low half", 0.04), ("under", 0.03), (500, 2000)),
    ("0.86", "relatives", ("over", 0.1), ("over", 0.1), (500,)),
    ("0.86", "relatives", ("over", 0.02), ("over", 0.01), (2000, 10_000)),
    ("0.79", "relatives", ("over", 0.12), ("over", 0.06), (400, 2000)),
    ("0.79", "relatives", ("wave", 0.02), ("top bin", 0.02), (2000,)),
    ("0.997", "relatives", ("over", 0.003), ("over", 0.001), (3000,)),
    ("0.997", "relatives", ("over", 0.004), ("top bin", 0.002), (10_000,)),
)


def held_out(plan: Plan = HELD_OUT) -> Iterator[World]:
    """Worlds on which the first interval of the ECE was judged; rows of them helped to choose today's."""
    for base, way, ece, sizes in plan:
        confidence = _confidences(*HELD_OUT_CONFIDENCES[base])
        make = functools.partial(HELD_OUT_WAYS.get(way, _as_said), confidence)
        yield from _worlds(base, way, ece, sizes, confidence, make)


def pairs() -> Iterator[Pair]:
    """Worlds on which the interval of a difference was judged."""
    for base, kinship, *both, sizes in (*PAIRS, *FRESH_PAIRS):
        bases = _pair_of_confidences(*HELD_OUT_CONFIDENCES[base], kinship)
        ways = [
            functools.partial(HELD_OUT_WAYS.get(way, _as_said), confidence)
            for (way, _), confidence in zip(both, bases, strict=True)
        ]
        yield from _pairs(base, kinship, both, sizes, list(bases), ways)


def development_pairs() -> Iterator[Pair]:
    """Worlds on which the interval of a difference was chosen."""
    for base, kinship, *both, sizes in DEVELOPMENT_PAIRS:
        z = _pair_of_logits(*DEVELOPMENT_CONFIDENCES[base], kinship)
        ways = [
            functools.partial(DEVELOPMENT_WAYS.get(way, lambda z, _: _top(z)), one)
            for (way, _), one in zip(both, z, strict=True)
        ]
        yield from _pairs(base, kinship, both, sizes, [_top(one) for one in z], ways)


def fresh() -> Iterator[World]:
    """Worlds on which the interval of the ECE is judged: none of them had a part in choosing it."""
    for base, way, ece, sizes in FRESH:
        confidence = _beta(*FRESH_CONFIDENCES[base])
        make = functools.partial(FRESH_WAYS.get(way, _as_said), confidence)
        yield from _worlds(base, way, ece, sizes, confidence, make)


def _pairs(
    base: str,
    kinship: str,
    both: Sequence[tuple[str, float]],
    sizes: tuple[int, ...],
    confidences: Sequence[np.ndarray],
    ways: Sequence[Callable[[float], np.ndarray]],
) -> Iterator[Pair]:
    models = [
        _worlds(base, way, ece, sizes, confidence, make)
        for (way, ece), confidence, make in zip(both, confidences, ways, strict=True)
    ]
    for pair in zip(*models, strict=True):
        first, second = (replace(one, name=one.name.rpartition(", n")[0]) for one in pair)
        yield Pair(first, second, kinship)


def development() -> Iterator[World]:
    """Worlds on which the interval of the ECE was chosen."""
    for base, way, ece, sizes in DEVELOPMENT:
        z = _logits(*DEVELOPMENT_CONFIDENCES[base])
        make = functools.partial(DEVELOPMENT_WAYS.get(way, lambda z, _: _top(z)), z)
        yield from _worlds(base, way, ece, sizes, _top(z), make)
    yield from held_out(SEEN)


def _worlds(
    base: str,
    way: str,
    ece: float,
    sizes: tuple[int, ...],
    confidence: np.ndarray,
    make: Callable[[float], np.ndarray],
) -> Iterator[World]:
    right = np.clip(make(_by(confidence, make, ece)), 0.0, 1.0) if ece else confidence
    for n in sizes:
        yield World(f"{ece:g}, {way}, like {base}, n = {n}", confidence, right, n)


def _by(confidence: np.ndarray, make: Callable[[float], np.ndarray], ece: float) -> float:
    """How far off a model must be for this true ECE."""

    def lacking(by: float) -> float:
        return World("", confidence, np.clip(make(by), 0.0, 1.0), 1).error("ece") - ece

    far = float(next(by for by in np.geomspace(0.001, 50, 100) if lacking(by) > 0))
    found = optimize.brentq(lacking, 0.0, far, xtol=1e-6)
    return float(found)  # pyright: ignore[reportArgumentType] -- a float unless full_output


@functools.cache
def _confidences(mean: float, spread: float) -> np.ndarray:
    drawn = np.random.default_rng(7).normal(mean, spread, IMAGES)
    return np.maximum(special.expit(drawn), 1 / CLASSES)


@functools.cache
def _beta(a: float, b: float) -> np.ndarray:
    drawn = np.random.default_rng(11).beta(a, b, IMAGES)
    return np.clip(drawn, 1 / CLASSES, 1 - 1e-9)


@functools.cache
def _pair_of_confidences(mean: float, spread: float, kinship: str) -> np.ndarray:
    """(2, N)."""
    return np.maximum(special.expit(mean + spread * _related(3, kinship)), 1 / CLASSES)


def _related(seed: int, kinship: str) -> np.ndarray:
    """(2, N) standard normal numbers that correlate as the kinship says."""
    common = KINSHIPS[kinship][0]
    shared, own = np.random.default_rng(seed).normal(size=(2, IMAGES))
    return np.stack([shared, common * shared + math.sqrt(1 - common**2) * own])


@functools.cache
def _logits(margin: float, spread: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    top = np.abs(rng.normal(margin, spread, IMAGES))
    rest = -np.abs(rng.normal(3, 2, (IMAGES, CLASSES - 2)))
    return np.concatenate([top[:, None], np.zeros((IMAGES, 1)), rest], 1)


@functools.cache
def _pair_of_logits(margin: float, spread: float, kinship: str) -> np.ndarray:
    """(2, N, K)."""
    both = np.stack([_logits(margin, spread)] * 2)
    both[:, :, 0] = np.abs(margin + spread * _related(5, kinship))
    return both


def _top(z: np.ndarray) -> np.ndarray:
    return special.softmax(z, axis=1)[:, 0]
