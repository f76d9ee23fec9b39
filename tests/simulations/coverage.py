"""How often nominal 95 % intervals hold the truth, in worlds where the truth is known.

    python tests/simulations/coverage.py                       the five main kinds, 2,000 draws a case
    python tests/simulations/coverage.py --all                 every kind
    python tests/simulations/coverage.py --draws 200 auroc     one kind, roughly
    python tests/simulations/coverage.py --bootstrap           percentile bootstraps in the same worlds

Prints Markdown. A case passes if 93 to 97 % of the intervals that are printed hold the truth; more
is allowed at a boundary: a true error of 0, or fewer than five expected exceptions (n p (1 - p) < 5).
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy import optimize, special, stats

from harness import metrics, statistics
from harness.statistics import BinnedKind, Difference, Estimate

Rng = np.random.Generator
Ends = Estimate | Difference
LOW, HIGH = 0.93, 0.97
BINS = 15


@dataclass(frozen=True)
class Case:
    """A world: how to draw a sample of it, what its interval is, and the truth."""

    kind: str
    name: str
    truth: float
    draw: Callable[[Rng], Ends]
    boundary: bool = False
    sample: Callable[[Rng], object] | None = None
    statistic: Callable[..., float] | None = None


@dataclass(frozen=True)
class Found:
    """What came of a case."""

    printed: float
    covered: float
    above: float
    below: float
    width: float

    def passes(self, case: Case) -> bool:
        """Whether what is printed covers; what is never printed cannot fail."""
        if not self.printed:
            return True
        return self.covered >= LOW and (self.covered <= HIGH or case.boundary)

    def note(self, case: Case) -> str:
        words = "" if self.passes(case) else "**no**", "boundary" if case.boundary else ""
        return "not printed" if not self.printed else " ".join(filter(None, words))

    def cells(self) -> str:
        """Cells of the table: covered, truth below, truth above, width, printed."""
        if not self.printed:
            return "| | | | 0"
        shares = " | ".join(f"{100 * one:.1f}" for one in (self.covered, self.above, self.below))
        return f"{shares} | {self.width:.2g} | {100 * self.printed:.0f}"


def run(case: Case, draws: int) -> Found:
    rng = np.random.default_rng(list(f"{case.kind} {case.name}".encode()))
    found = [case.draw(rng) for _ in range(draws)]
    ends = np.array([(one.low, one.high) for one in found if one.low is not None], float)
    if not len(ends):
        return Found(0.0, math.nan, math.nan, math.nan, math.nan)
    above, below = ends[:, 0] > case.truth + 1e-12, ends[:, 1] < case.truth - 1e-12
    covered = 1 - above.mean() - below.mean()
    width = float((ends[:, 1] - ends[:, 0]).mean())
    return Found(len(ends) / draws, covered, above.mean(), below.mean(), width)


# ---------------------------------------------------------------- shares


def proportions() -> Iterator[Case]:
    for n in (300, 500, 1000, 10_000):
        for p in (0.5, 0.9, 0.99, 0.999):
            yield Case(
                "proportion",
                f"accuracy {p}, n = {n}",
                p,
                lambda rng, n=n, p=p: statistics.proportion(rng.random(n) < p),
                n * p * (1 - p) < 5,
            )


def paired() -> Iterator[Case]:
    """Wins and losses among n images; a loss rate of 0 is a nested pair of attacks."""
    rates = [(0.02, 0.02), (0.05, 0.02), (0.006, 0.003), (0.035, 0), (0.005, 0.005), (0.001, 0.001), (0.0005, 0)]  # fmt: skip
    for n in (300, 1000, 10_000):
        for wins, losses in rates:

            def draw(rng: Rng, n: int = n, wins: float = wins, losses: float = losses) -> Ends:
                u = rng.random(n)
                right = rng.random(n) < 0.5  # of the concordant pairs; does not matter
                return statistics.paired_proportions(
                    (u < wins) | (right & (u >= wins + losses)),
                    ((u >= wins) & (u < wins + losses)) | (right & (u >= wins + losses)),
                )

            boundary = n * (wins + losses - (wins - losses) ** 2) < 5
            name = f"{100 * wins:g} % won, {100 * losses:g} % lost, n = {n}"
            yield Case("paired difference", name, wins - losses, draw, boundary)


# ---------------------------------------------------------------- means over cases


def outcomes(rng: Rng, n: int, accuracies: np.ndarray, image: np.ndarray, own: float) -> np.ndarray:
    """(B, N) outcomes: `image` is the difficulty of each image, shared by models and cases."""
    latent = math.sqrt(own) * rng.normal(size=n) + image
    rest = rng.standard_normal((len(accuracies), n), np.float32)
    bar = (stats.norm.ppf(accuracies)[:, None] + latent).astype(np.float32)
    return rest > -bar / np.float32(math.sqrt(1 - own - 0.5))


def cases_mean() -> Iterator[Case]:
    spread = np.array([0.984, 0.946, 0.957, 0.938, 0.978, 0.941, 0.933, 0.985, 0.612, 0.885, 0.979, 0.978, 0.981, 0.9, 0.714])  # fmt: skip
    for name, accuracy in [("MNIST-C", spread), *((f"{p}", np.full(15, p)) for p in (0.9, 0.99, 0.999))]:  # fmt: skip
        for n in (300, 1000, 10_000):
            for own in (0.1, 0.45):
                truth = float(accuracy.mean())

                def draw(
                    rng: Rng, n: int = n, acc: np.ndarray = accuracy, own: float = own
                ) -> Ends:
                    return statistics.mean_over_cases(sample(rng, n, acc, own))

                def sample(
                    rng: Rng, n: int = n, acc: np.ndarray = accuracy, own: float = own
                ) -> np.ndarray:
                    return outcomes(rng, n, acc, math.sqrt(0.5) * rng.normal(size=n), own)

                title = f"15 corruptions at {name}, images correlate {0.5 + own:g}, n = {n}"
                yield Case(
                    "mean over corruptions", title, truth, draw, n * truth * (1 - truth) < 5,
                    lambda rng, f=sample: f(rng).mean(0), lambda v: float(v.mean()),
                )  # fmt: skip


def cases_difference() -> Iterator[Case]:
    for n in (300, 1000, 10_000):
        for a, b in ((0.95, 0.9), (0.97, 0.97), (0.99, 0.97), (0.995, 0.995), (0.999, 0.995)):

            def draw(rng: Rng, n: int = n, a: float = a, b: float = b) -> Ends:
                image = math.sqrt(0.5) * rng.normal(size=n)
                first, second = (outcomes(rng, n, np.full(15, p), image, 0.2) for p in (a, b))
                return statistics.mean_difference(first, second, largest=1.0)

            boundary = n * max(a, b) * (1 - max(a, b)) < 5
            title = f"15 corruptions, {a} against {b}, n = {n}"
            yield Case("difference of means over corruptions", title, a - b, draw, boundary)


def ratios() -> Iterator[Case]:
    easy, hard = np.linspace(0.98, 0.9, 15), np.linspace(0.97, 0.85, 15)
    for n in (300, 500, 1000, 10_000):
        for name, mine, theirs in (("half the errors", easy, hard), ("as many", hard, hard), ("twice", hard, easy)):  # fmt: skip
            truth = float(((1 - mine) / (1 - theirs)).mean())

            def draw(
                rng: Rng, n: int = n, mine: np.ndarray = mine, theirs: np.ndarray = theirs
            ) -> Ends:
                image = math.sqrt(0.5) * rng.normal(size=n)
                return statistics.relative_error(
                    outcomes(rng, n, mine, image, 0.2), outcomes(rng, n, theirs, image, 0.2)
                )

            yield Case("relative error", f"{name}, n = {n}", truth, draw, n * (1 - theirs.max()) < 5)  # fmt: skip


# ---------------------------------------------------------------- rankings


def shift(auroc: float, spread: float) -> float:
    """Mean of OOD scores N(mean, spread) that has this AUROC against ID scores N(0, 1)."""
    return math.sqrt(1 + spread**2) * float(stats.norm.ppf(auroc))


def rounded_auroc(mean: float, spread: float, step: float) -> float:
    edges = np.arange(-60, 61) * step
    inside, outside = (
        np.diff(stats.norm.cdf(edges + step / 2, *ms)) for ms in ((0, 1), (mean, spread))
    )
    return float(outside @ (np.cumsum(inside) - inside / 2))


def scores(
    rng: Rng, n: int, m: int, mean: float, spread: float, step: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    pair = rng.normal(size=n), rng.normal(mean, spread, m)
    return tuple(np.round(s / step) * step for s in pair) if step else pair  # pyright: ignore


SIZES = ((500, 500), (1000, 300), (2000, 2000))


def aurocs() -> Iterator[Case]:
    for n, m in SIZES:
        for auroc in (0.7, 0.9, 0.97, 0.99, 0.997, 0.999):
            for spread, step in ((1.0, 0.0), (2.0, 0.0), (1.0, 0.5)):
                mean = shift(auroc, spread)
                truth = rounded_auroc(mean, spread, step) if step else auroc
                tied = ", ties" if step else ""

                def draw(rng: Rng, args: tuple[float, ...] = (n, m, mean, spread, step)) -> Ends:
                    return statistics.auroc_interval(*scores(rng, *args))  # pyright: ignore

                yield Case(
                    "AUROC", f"{truth:.4f}, OOD spread {spread:g}{tied}, {n} : {m}", truth, draw,
                    min(n, m) * truth * (1 - truth) < 5,
                )  # fmt: skip


def auroc_differences() -> Iterator[Case]:
    for n, m in SIZES:
        for a, b in ((0.9, 0.92), (0.97, 0.97), (0.97, 0.98), (0.99, 0.99), (0.99, 0.995), (0.997, 0.999)):  # fmt: skip
            for spread, shared in ((1.0, 0.7), (2.0, 0.9)):

                def draw(
                    rng: Rng,
                    n: int = n,
                    m: int = m,
                    means: tuple[float, float] = (shift(a, spread), shift(b, spread)),
                    spread: float = spread,
                    shared: float = shared,
                ) -> Ends:
                    inside, outside = (
                        math.sqrt(shared) * rng.normal(size=size)
                        + math.sqrt(1 - shared) * rng.normal(size=(2, size))
                        for size in (n, m)
                    )
                    outside = outside * spread + np.array(means)[:, None]
                    return statistics.auroc_difference(inside[0], outside[0], inside[1], outside[1])

                worst = max(a, b)
                yield Case(
                    "AUROC difference", f"{a} against {b}, OOD spread {spread:g}, {n} : {m}", a - b, draw,
                    min(n, m) * worst * (1 - worst) < 5,
                )  # fmt: skip


def true_precision(mean: float, spread: float, prevalence: float) -> float:
    x = np.linspace(-15, mean + 15 * spread, 400_001)
    caught, false = prevalence * stats.norm.sf(x, mean, spread), (1 - prevalence) * stats.norm.sf(x)
    precision = caught / np.maximum(caught + false, 1e-300)
    return float(np.trapezoid(precision * stats.norm.pdf(x, mean, spread), x))


def precisions() -> Iterator[Case]:
    for n, m in (*SIZES, (300, 1000)):
        for auroc in (0.7, 0.9, 0.97, 0.99, 0.999):
            for spread in (1.0, 2.0):
                mean = shift(auroc, spread)
                truth = true_precision(mean, spread, m / (n + m))

                def sample(
                    rng: Rng, args: tuple[float, ...] = (n, m, mean, spread)
                ) -> tuple[np.ndarray, ...]:
                    return scores(rng, *args)  # pyright: ignore

                def draw(rng: Rng, sample: Callable[..., tuple[np.ndarray, ...]] = sample) -> Ends:
                    return statistics.ranking_intervals(*sample(rng))["aupr_out"]

                yield Case(
                    "AUPR", f"{truth:.4f}, OOD spread {spread:g}, {n} : {m}", truth, draw,
                    min(n, m) * truth * (1 - truth) < 5, sample, metrics.aupr_out,
                )  # fmt: skip


def false_positives() -> Iterator[Case]:
    for n, m in (*SIZES, (300, 1000)):
        for fpr in (0.9, 0.5, 0.2, 0.05, 0.01, 0.002):
            for spread in (1.0, 2.0):
                mean = float(stats.norm.isf(fpr) + stats.norm.ppf(0.95) * spread)

                def sample(
                    rng: Rng, args: tuple[float, ...] = (n, m, mean, spread)
                ) -> tuple[np.ndarray, ...]:
                    return scores(rng, *args)  # pyright: ignore

                def draw(rng: Rng, sample: Callable[..., tuple[np.ndarray, ...]] = sample) -> Ends:
                    return statistics.ranking_intervals(*sample(rng))["fpr95"]

                yield Case(
                    "FPR95", f"{fpr}, OOD spread {spread:g}, {n} : {m}", fpr, draw,
                    n * fpr * (1 - fpr) < 5, sample, metrics.fpr95,
                )  # fmt: skip


# ---------------------------------------------------------------- calibration


def logits(rng: Rng, n: int, margin: float = 9.0) -> np.ndarray:
    """(N, 10) logits with the confidences of a network on MNIST: nine in ten above 0.97."""
    top = np.abs(rng.normal(margin, 3.6, n))
    rest = -np.abs(rng.normal(3, 2, (n, 8)))
    return np.concatenate([top[:, None], np.zeros((n, 1)), rest], 1)


def labels_of(rng: Rng, probs: np.ndarray) -> np.ndarray:
    drawn = (np.cumsum(probs, 1) < rng.random((len(probs), 1))).sum(1)
    return np.minimum(drawn, probs.shape[1] - 1)


@dataclass(frozen=True)
class Population:
    """All images that there are: confidence of each, and how likely it is right."""

    confidence: np.ndarray
    right: np.ndarray

    def errors(self) -> dict[str, float]:
        """ECE and RMS error: labels are not drawn but summed over."""
        index, n = metrics.bin_index(self.confidence, BINS), len(self.confidence)
        gap = np.bincount(index, self.confidence - self.right, minlength=BINS) / n
        share = np.bincount(index, minlength=BINS) / n
        held = share > 0
        rms = math.sqrt((gap[held] ** 2 / share[held]).sum())
        return {"ece": float(np.abs(gap).sum()), "rms_calibration_error": rms}

    def sample(self, rng: Rng, n: int) -> tuple[np.ndarray, np.ndarray]:
        """(N, 10) probabilities whose first class is the top one, and labels."""
        drawn = rng.integers(0, len(self.confidence), n)
        confidence = self.confidence[drawn]
        probs = np.repeat((1 - confidence)[:, None] / 9, 10, 1)
        probs[:, 0] = confidence
        return probs, np.where(rng.random(n) < self.right[drawn], 0, 1)


def population(margin: float, kind: str, by: float) -> Population:
    """Images of a model that is wrong about itself in one way, by so much.

    "over" and "under": a temperature everywhere; "top bin": only where it is most confident.
    """
    z = logits(np.random.default_rng(1), 50_000, margin)
    confidence = special.softmax(z, axis=1)[:, 0]
    if kind == "top bin":
        return Population(confidence, confidence - by * (confidence >= 1 - 1 / BINS))
    scale = 1 / (1 + by) if kind == "over" else 1 + by
    return Population(confidence, special.softmax(z * scale, axis=1)[:, 0])


def with_ece(margin: float, kind: str, ece: float) -> Population:
    """The population of which this is the true ECE."""

    def excess(by: float) -> float:
        return population(margin, kind, by).errors()["ece"] - ece

    by = optimize.brentq(excess, 0.0, 0.9 if kind == "top bin" else 9.0, xtol=1e-4) if ece else 0.0
    return population(margin, kind, float(by))  # pyright: ignore[reportArgumentType]


WORLDS = (
    ("MNIST", 9.0, "over", 0.0, (300, 1000, 10_000)),
    ("MNIST", 9.0, "over", 0.005, (300, 1000, 10_000)),
    ("MNIST", 9.0, "over", 0.05, (300, 1000, 10_000)),
    ("MNIST", 9.0, "top bin", 0.005, (1000, 3000)),
    ("MNIST", 9.0, "under", 0.005, (1000, 3000)),
    ("CIFAR", 4.0, "over", 0.0, (1000, 3000)),
    ("CIFAR", 4.0, "over", 0.02, (10_000,)),
    ("CIFAR", 4.0, "over", 0.1, (300, 3000)),
    ("CIFAR", 4.0, "under", 0.03, (3000,)),
    ("0.99", 11.0, "over", 0.005, (300, 1000, 10_000)),
    ("0.99", 11.0, "under", 0.003, (1000,)),
)
"""Like which confidences, their margin, how wrong, true ECE, sample sizes."""


def ece() -> Iterator[Case]:
    return binned("ece", "ECE")


def rms() -> Iterator[Case]:
    return binned("rms_calibration_error", "RMS calibration error")


def binned(metric: BinnedKind, title: str) -> Iterator[Case]:
    for name, margin, kind, wanted, sizes in WORLDS:
        people = with_ece(margin, kind, wanted)
        truth, accuracy = people.errors()[metric], float(people.right.mean())
        if not wanted:
            people, truth = Population(people.confidence, people.confidence), 0.0
        for n in sizes:

            def sample(
                rng: Rng, people: Population = people, n: int = n
            ) -> tuple[np.ndarray, np.ndarray]:
                return people.sample(rng, n)

            def draw(
                rng: Rng, sample: Callable[[Rng], tuple[np.ndarray, np.ndarray]] = sample
            ) -> Ends:
                return statistics.binned_error(*sample(rng), metric)

            where = f"{truth:.4f}, {kind}" if wanted else "0"
            yield Case(
                title, f"{where}, accuracy {accuracy:.3f}, like {name}, n = {n}", truth, draw,
                not wanted, sample, getattr(metrics, metric),
            )  # fmt: skip


def proper() -> Iterator[Case]:
    for margin, temperature in ((9.0, 1.0), (9.0, 1.4), (12.0, 1.0), (12.0, 1.4)):
        z = logits(np.random.default_rng(2), 2_000_000, margin)
        probs, true = special.softmax(z, axis=1), special.softmax(z / temperature, axis=1)
        error = float(1 - true[:, 0].mean())
        truths = {
            "brier": float((np.square(probs).sum(1) + (true * (1 - 2 * probs)).sum(1)).mean()),
            "nll": float(-(true * special.log_softmax(z, axis=1)).sum(1).mean()),
        }
        for n in (500, 1000, 10_000):
            for name, truth in truths.items():

                def sample(rng: Rng, n: int = n, margin: float = margin, temperature: float = temperature, name: str = name) -> np.ndarray:  # fmt: skip
                    z = logits(rng, n, margin)
                    labels = labels_of(rng, special.softmax(z / temperature, axis=1))
                    probs = special.softmax(z, axis=1)
                    return getattr(metrics, f"sample_{name}")(probs, labels)

                def draw(rng: Rng, sample: Callable[..., np.ndarray] = sample, name: str = name) -> Ends:  # fmt: skip
                    values = sample(rng)
                    return statistics.mean_nll(values) if name == "nll" else statistics.mean(values, largest=2.0)  # fmt: skip

                title = f"{truth:.4f}, {100 * error:.1f} % errors, n = {n}"
                yield Case({"brier": "Brier score", "nll": "NLL"}[name], title, truth, draw, n * error < 5, sample, lambda v: float(v.mean()))  # fmt: skip


KINDS: dict[str, Callable[[], Iterator[Case]]] = {
    "proportion": proportions,
    "paired": paired,
    "auroc": aurocs,
    "auroc-difference": auroc_differences,
    "aupr": precisions,
    "fpr95": false_positives,
    "ece": ece,
    "rms": rms,
    "mean": cases_mean,
    "mean-difference": cases_difference,
    "ratio": ratios,
    "proper": proper,
}


MAIN = ("proportion", "paired", "auroc", "mean", "ece")


# ---------------------------------------------------------------- what is not used


def bootstrapped(case: Case, resamples: int = 400) -> Case:
    """The same world with the percentile bootstrap over samples."""
    assert case.sample is not None
    assert case.statistic is not None

    def draw(rng: Rng) -> Ends:
        data = case.sample(rng)  # pyright: ignore
        parts = data if isinstance(data, tuple) else (data,)
        apart = case.kind in ("AUPR", "FPR95")
        drawn = []
        for _ in range(resamples):
            rows = [rng.integers(0, len(part), len(part)) for part in parts]  # pyright: ignore
            rows = rows if apart else [rows[0]] * len(parts)
            drawn.append(case.statistic(*(part[at] for part, at in zip(parts, rows, strict=True))))  # pyright: ignore
        low, high = np.quantile(drawn, [0.025, 0.975])
        return Estimate(math.nan, float(low), float(high), 0, "percentile")

    return Case(case.kind, case.name, case.truth, draw, case.boundary)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("kinds", nargs="*", metavar="kind", help=f"of {', '.join(KINDS)}; default {', '.join(MAIN)}")  # fmt: skip
    parser.add_argument("--all", action="store_true", help="every kind")
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--bootstrap", action="store_true")
    chosen = parser.parse_args()
    print(
        "| interval | truth and sample | covered % | truth below % | truth above % | mean width | printed % | |"
    )
    print("|---|---|---|---|---|---|---|---|")
    failed = 0
    for kind in chosen.kinds or (KINDS if chosen.all else MAIN):
        for case in KINDS[kind]():
            if chosen.bootstrap and case.sample is None:
                continue
            found = run(bootstrapped(case) if chosen.bootstrap else case, chosen.draws)
            failed += not found.passes(case)
            print(
                f"| {case.kind} | {case.name} | {found.cells()} | {found.note(case)} |", flush=True
            )
    return failed and 1


if __name__ == "__main__":
    sys.exit(main())
