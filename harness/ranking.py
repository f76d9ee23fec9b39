"""Who is best, beyond the noise: what only paired tests on per-sample outcomes can say.

results = ranked(results)     # standings, contrasts with the baseline, dominance, rows over seeds
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

from harness.pairing import Columns, Number, Samples
from harness.results import ALL_SEEDS, Contrast, Dominance, Standing
from harness.results.summary import columns, headline
from harness.statistics import holm

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness.core.types import Row
    from harness.pairing import Gap
    from harness.results import Results
    from harness.results.run import Run
    from harness.results.summary import Column

LEVEL = 0.05
BINS = 15
AREA = "auroc "
VERSUS = "versus="  # in the case of a difference between models
ANY = (-math.inf, math.inf)
RANGES = {
    **dict.fromkeys(("accuracy", "robust_accuracy", "auroc", "aupr_in", "aupr_out", "fpr95", "ece", "mce", "ace", "ace_average", "rms_calibration_error", "rms_equal_mass"), (0.0, 1.0)),
    **dict.fromkeys(("nll", "relative_error", "temperature"), (0.0, math.inf)),
    "brier": (0.0, 2.0), "overconfidence": (-1.0, 1.0),
}  # fmt: skip


def ranked(results: Results) -> Results:
    """`results` with rows over seeds, standings, contrasts and dominance filled in.

    A column is ranked on the models that have its outcomes on every seed and whose number no check
    voids.
    """
    rows = tuple(row for row in results.rows if row.seed != ALL_SEEDS)
    whole = replace(results, rows=(*rows, *over_seeds(rows)))
    found = races(whole)
    baseline, models = results.run["baseline"], [model["name"] for model in results.run["models"]]
    return replace(
        whole,
        standings=tuple(one for race in found for one in _standings(race)),
        contrasts=tuple(one for race in found for one in _contrasts(race, baseline)),
        dominance=_dominance(models, found),
    )


# ---------------------------------------------------------------- seeds


def over_seeds(rows: Iterable[Row]) -> list[Row]:
    """One row more for every number that has several seeds: mean, t interval, n = seeds.

    The interval is no narrower than the mean one over images, which seeds that agree by chance would
    make it, and ends where the metric does. A number that is not ok on some seed is not ok over all.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(
            (row.model, row.axis, row.case, row.metric, row.implementation), []
        ).append(row)
    return [_mean(group) for group in groups.values() if len(group) > 1]


def _mean(group: Sequence[Row]) -> Row:
    worst = next((row for row in group if row.status != "ok"), None)
    first = replace(group[0], seed=ALL_SEEDS, n=len(group))
    if worst is not None:
        return replace(
            first,
            value=None,
            low=None,
            high=None,
            status=worst.status,
            flags=worst.flags,
            note=worst.note,
        )
    values = np.array([row.value for row in group], dtype=np.float64)
    half = float(stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values)))
    mean = float(values.mean())
    ends = [(row.low, row.high) for row in group if row.low is not None and row.high is not None]
    low, high = np.mean(ends, axis=0) if len(ends) == len(group) else (mean, mean)
    least, most = (-math.inf, math.inf) if VERSUS in first.case else RANGES.get(first.metric, ANY)
    flags = tuple(sorted({flag for row in group for flag in row.flags}))
    return replace(
        first,
        value=mean,
        low=max(min(mean - half, float(low)), least),
        high=min(max(mean + half, float(high)), most),
        flags=flags,
    )


# ---------------------------------------------------------------- columns


@dataclass(frozen=True, slots=True)
class Race:
    """A ranked column of the summary with its paired number.

    Args:
        column: which.
        number: its paired number.
        names: models that take part, in the order of the report.
    """

    column: Column
    number: Number
    names: tuple[str, ...]

    @property
    def sign(self) -> int:
        """1 where higher is better."""
        return 1 if self.column.better == "higher" else -1

    def worth(self, name: str) -> float:
        """The number of a model, higher = better."""
        return self.sign * self.number.value(name)

    def gain(self, name: str, other: str) -> Gap:
        """How much better `name` is than `other`."""
        return self.number.gap({name: self.sign, other: -self.sign})


def races(results: Results) -> list[Race]:
    """Every ranked column that has outcomes."""
    run, rows = results.run, headline(results.rows)
    names = [model["name"] for model in run["models"]]
    maker = Columns(Samples({"": results.outcomes}), names, run["seeds"])
    ranked_columns = [column for column in columns(run, rows) if column.ranked]
    numbers = _numbers(run, maker, [column.id for column in ranked_columns])
    found = []
    for column in ranked_columns:
        number = numbers[column.id]
        fine = {row.model for row in rows if column.matches(row) and row.status == "ok"}
        takers = tuple(name for name in names if name in fine and name in number.keys)
        if takers:
            found.append(Race(column, number, takers))
    return found


def _numbers(run: Run, maker: Columns, wanted: Sequence[str]) -> dict[str, Number]:
    """Id of a column -> its paired number."""
    made = {
        "clean": maker.clean(),
        "robust": maker.robust(run["headline_budgets"]),
        "shift": maker.shift(run["corruptions"]),
        "brier": maker.brier(),
    }
    made["ece"], made["rms"] = maker.binned(BINS)
    for column in wanted:
        if column.startswith(AREA):
            made[column] = maker.auroc(run["headline_detector"], column.removeprefix(AREA))
    return made


def _standings(race: Race) -> list[Standing]:
    """How far each model is behind the best, and whether that is more than noise."""
    best = max(race.names, key=race.worth)
    others = [name for name in race.names if name != best]
    gaps = [race.gain(best, name) for name in others]
    made = {
        best: Standing(race.column.id, best, best=True, behind=0.0, low=None, high=None, p=None)
    }
    for name, gap, p in zip(others, gaps, holm(np.array([gap.p for gap in gaps])), strict=True):
        made[name] = Standing(
            race.column.id, name, bool(p >= LEVEL), gap.value, gap.low, gap.high, float(p)
        )
    return [made[name] for name in race.names]


def _contrasts(race: Race, baseline: str) -> list[Contrast]:
    """Each model against the baseline."""
    if baseline not in race.names:
        return []
    others = [name for name in race.names if name != baseline]
    gaps = [race.gain(name, baseline) for name in others]
    corrected = holm(np.array([gap.p for gap in gaps]))
    return [
        Contrast(race.column.id, name, gap.value, gap.low, gap.high, float(p), _verdict(gap, p))
        for name, gap, p in zip(others, gaps, corrected, strict=True)
    ]


def _verdict(gap: Gap, p: float) -> Literal["better", "worse", "undecided"]:
    if p >= LEVEL:
        return "undecided"
    return "better" if gap.value > 0 else "worse"


# ---------------------------------------------------------------- dominance


def _dominance(models: Sequence[str], found: Sequence[Race]) -> tuple[Dominance, ...]:
    """Who is beaten everywhere; only models with a number in every column take part."""
    whole = [name for name in models if found and all(name in race.names for race in found)]
    worth = {name: np.array([race.worth(name) for race in found]) for name in whole}
    made = []
    for name in whole:
        by = [other for other in whole if _beats(worth[other], worth[name])]
        surely = [other for other in by if all(race.gain(other, name).low > 0 for race in found)]
        made.append(Dominance(name, tuple(by), tuple(surely)))
    return tuple(made)


def _beats(one: np.ndarray, other: np.ndarray) -> bool:
    return bool((one >= other).all() and (one > other).any())
