"""How often nominal 95 % intervals hold the truth, in worlds where the truth is known.

    python tests/simulations/cover.py --draws 200 auroc       one kind, roughly
    python tests/simulations/cover.py --write auroc ece       these kinds, 2,000 draws a case, into README.md
    python tests/simulations/cover.py --write                 every kind: README.md is what this prints
    python tests/simulations/cover.py --bootstrap brier       percentile bootstraps in the same worlds

Prints Markdown. A case passes if 93 to 97 % of the intervals that are printed hold the truth; more
is allowed at a boundary: a true error of 0, or fewer than five expected exceptions (n p (1 - p) < 5).
"""

from __future__ import annotations

import argparse
import itertools
import math
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import calibrated
import numpy as np
from calibrated import Pair, World
from scipy import special, stats

from harness import metrics, statistics
from harness.pairing.binned import binned_number
from harness.pairing.number import Aligned
from harness.statistics import BinnedKind, Difference, Estimate, ranking

Rng = np.random.Generator
Ends = Estimate | Difference
LOW, HIGH = 0.93, 0.97
ASIDE = "-development"  # looked at while an interval was made: shows nothing by itself
RMS: BinnedKind = "rms_calibration_error"


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
    for n in (300, 1000, 3000):
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
                    return ranking._average_precision(*map(np.sort, sample(rng)))

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
                    return ranking._fpr95(*map(np.sort, sample(rng)))

                yield Case(
                    "FPR95", f"{fpr}, OOD spread {spread:g}, {n} : {m}", fpr, draw,
                    n * fpr * (1 - fpr) < 5, sample, metrics.fpr95,
                )  # fmt: skip


# ---------------------------------------------------------------- calibration


def ece() -> Iterator[Case]:
    return binned("ece", "ECE", calibrated.held_out())


def ece_fresh() -> Iterator[Case]:
    return binned("ece", "ECE", calibrated.fresh())


def ece_development() -> Iterator[Case]:
    return binned("ece", "ECE", calibrated.development())


def ece_difference() -> Iterator[Case]:
    return differences("ece", "ECE difference", calibrated.pairs())


def ece_difference_development() -> Iterator[Case]:
    return differences("ece", "ECE difference", calibrated.development_pairs())


def rms_difference() -> Iterator[Case]:
    """Every third of the pairs of the ECE."""
    some = itertools.islice(calibrated.pairs(), 1, None, 3)
    return differences(RMS, "RMS difference", some)


def rms_difference_development() -> Iterator[Case]:
    return differences(RMS, "RMS difference", calibrated.development_pairs())


def differences(kind: BinnedKind, title: str, pairs: Iterable[Pair]) -> Iterator[Case]:
    for pair in pairs:

        def draw(rng: Rng, pair: Pair = pair) -> Ends:
            confidence, correct = pair.sample(rng)
            columns = {"confidence": confidence[None], "correct": correct[None]}
            aligned = Aligned(("a", "b"), np.arange(correct.shape[1]), columns)
            gap = binned_number(title, kind, aligned, calibrated.BINS).gap({"a": 1, "b": -1})
            return Estimate(gap.value, gap.low, gap.high, correct.shape[1], "square-and-add")

        yield Case(title, pair.name, pair.truth(kind), draw, pair.boundary)


def rms() -> Iterator[Case]:
    """Every third of the worlds of the ECE."""
    worlds = itertools.islice(calibrated.held_out(), 0, None, 3)
    return binned(RMS, "RMS calibration error", worlds)


def rms_development() -> Iterator[Case]:
    return binned(RMS, "RMS calibration error", calibrated.development())


def binned(metric: BinnedKind, title: str, worlds: Iterable[World]) -> Iterator[Case]:
    for world in worlds:

        def draw(rng: Rng, world: World = world) -> Ends:
            return statistics.binned_error(*world.sample(rng), metric)

        yield Case(
            title, world.name, world.error(metric), draw, world.boundary,
            world.sample, getattr(metrics, metric),
        )  # fmt: skip


def brier() -> Iterator[Case]:
    return proper("Brier score", metrics.sample_brier, lambda v: statistics.mean(v, largest=2.0))


def nll() -> Iterator[Case]:
    return proper("NLL", metrics.sample_nll, statistics.mean_nll)


def proper(
    title: str, score: Callable[..., np.ndarray], interval: Callable[[np.ndarray], Ends]
) -> Iterator[Case]:
    """Margins of 9 and 12, calibrated or over-confident by a temperature of 1.4."""
    for margin, temperature in ((9.0, 1.0), (9.0, 1.4), (12.0, 1.0), (12.0, 1.4)):
        z = logits(np.random.default_rng(2), 50_000, margin)
        probs, true = special.softmax(z, axis=1), special.softmax(z / temperature, axis=1)
        values = np.stack([score(probs, np.full(len(z), k)) for k in range(z.shape[1])], 1)
        sums = true.cumsum(1)
        truth, error = float((true * values).sum(1).mean()), float(1 - true[:, 0].mean())
        for n in (500, 1000, 10_000):

            def sample(
                rng: Rng, n: int = n, values: np.ndarray = values, sums: np.ndarray = sums
            ) -> np.ndarray:
                rows = rng.integers(0, len(values), n)
                labels = (sums[rows] < rng.random((n, 1))).sum(1)
                return values[rows, np.minimum(labels, values.shape[1] - 1)]

            def draw(rng: Rng, sample: Callable[[Rng], np.ndarray] = sample) -> Ends:
                return interval(sample(rng))

            name = f"{truth:.4f}, {100 * error:.1f} % errors, n = {n}"
            yield Case(title, name, truth, draw, n * error * (1 - error) < 5, sample, lambda v: float(v.mean()))  # fmt: skip


def logits(rng: Rng, n: int, margin: float) -> np.ndarray:
    """(N, 10) logits with the confidences of a network on MNIST: nine in ten above 0.97."""
    top = np.abs(rng.normal(margin, 3.6, n))
    rest = -np.abs(rng.normal(3, 2, (n, 8)))
    return np.concatenate([top[:, None], np.zeros((n, 1)), rest], 1)


KINDS: dict[str, Callable[[], Iterator[Case]]] = {
    "proportion": proportions,
    "paired": paired,
    "auroc": aurocs,
    "auroc-difference": auroc_differences,
    "aupr": precisions,
    "fpr95": false_positives,
    "mean": cases_mean,
    "mean-difference": cases_difference,
    "ratio": ratios,
    "brier": brier,
    "nll": nll,
    "ece": ece,
    "ece-fresh": ece_fresh,
    "ece-development": ece_development,
    "ece-difference": ece_difference,
    "ece-difference-development": ece_difference_development,
    "rms": rms,
    "rms-development": rms_development,
    "rms-difference": rms_difference,
    "rms-difference-development": rms_difference_development,
}


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


# ---------------------------------------------------------------- the table


RULE = "|---|---|---|---|---|---|---|---|"
HEAD = "| interval | truth and sample | covered % | truth below % | truth above % | mean width | printed % | |"
README = Path(__file__).with_name("README.md")


def table(kind: str, draws: int, *, bootstrap: bool = False) -> Iterator[tuple[Case, Found]]:
    """Prints a kind row by row."""
    print(f"{HEAD}\n{RULE}")
    for case in KINDS[kind]():
        if bootstrap and case.sample is None:
            continue
        found = run(bootstrapped(case) if bootstrap else case, draws)
        print(line(case, found), flush=True)
        yield case, found


def line(case: Case, found: Found) -> str:
    return f"| {case.kind} | {case.name} | {found.cells()} | {found.note(case)} |"


def section(rows: Sequence[tuple[Case, Found]], draws: int, seconds: float) -> str:
    """A kind as it stands in README.md: ranges, then every row."""
    inner, edge = (
        [100 * found.covered for case, found in rows if found.printed and case.boundary == side]
        for side in (False, True)
    )
    ranges = f"{min(inner):.1f} to {max(inner):.1f} %" if inner else "none printed"
    at_edge = f", at the boundary {min(edge):.1f} to {max(edge):.1f} %" if edge else ""
    outside = sum(not found.passes(case) for case, found in rows)
    told = f"{len(rows)} worlds, {draws:,} draws, {seconds:.0f} s. Covered: {ranges}{at_edge}; {outside} rows outside."
    return "\n".join([told, "", HEAD, RULE, *(line(*row) for row in rows)])


def written(text: str, kind: str, body: str) -> str:
    """README.md with the section of a kind replaced."""
    start, end = f"<!-- {kind} -->\n", f"\n<!-- end of {kind} -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}{body}{end}{after}"


def summary(text: str) -> str:
    """One line a kind, from the first lines of their sections."""
    told = r"<!-- ([\w-]+) -->\n(\d+) worlds, .* draws, (\d+) s\. Covered: (.*); (\d+) rows outside"
    lines = ["| kind | worlds | covered | rows outside | seconds |", "|---|---|---|---|---|"]
    for kind, worlds, seconds, covered, outside in re.findall(told, text):
        lines.append(f"| {kind} | {worlds} | {covered} | {outside} | {seconds} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)  # fmt: skip
    parser.add_argument("kinds", nargs="*", metavar="kind", help=f"of {', '.join(KINDS)}; default all")  # fmt: skip
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--bootstrap", action="store_true")
    parser.add_argument("--write", action="store_true", help="put the tables into README.md")
    chosen = parser.parse_args()
    failed = 0
    for kind in chosen.kinds or [kind for kind in KINDS if not kind.endswith(ASIDE)]:
        start = time.process_time()
        rows = list(table(kind, chosen.draws, bootstrap=chosen.bootstrap))
        failed += sum(not found.passes(case) for case, found in rows)
        if chosen.write:
            body = section(rows, chosen.draws, time.process_time() - start)
            text = written(README.read_text(), kind, body)
            README.write_text(written(text, "summary", summary(text)))
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
