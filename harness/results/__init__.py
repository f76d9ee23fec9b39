"""What the folder of a finished run holds: the contract between those who measure and those who tell.

    results.csv          rows, sorted, fixed float format: equal byte for byte between two runs
    run.json             how they were made (harness.results.run), the only place with times
    outcomes/*.parquet   per-sample outcomes (harness.results.outcomes)
    evidence/*.json      exhibits, findings, ledger, standings, contrasts, dominance
    evidence/*.npz       example images

Vocabulary of the rows (axis; case; metric). An eps stands in `case` as Python's `repr` of the float.

    clean        ``                                        accuracy
    adversarial  `attack=pgd norm=linf eps=0.1`            robust_accuracy   every attack of the suite
                 `attack=worst norm=linf eps=0.1`          robust_accuracy   worst per image over the headline attacks
                 `attack=worst norm=linf eps=mean`         robust_accuracy   the headline: mean over run["headline_budgets"]
                 `attack=unseen norm=linf eps=mean`        robust_gap        accuracy under the attack trained on, minus the
                                                                             headline, same budgets (only models trained on one)
                 `attack=square norm=linf eps=0.1`         robust_accuracy   its own column, not in worst
    shift        `corruption=fog`, `corruption=mean`       accuracy
                 `corruption=mean`                         relative_error    mean of err(model) / err(baseline)
    ood          `set=kmnist detector=msp`                 auroc, aupr_out, aupr_in, fpr95
    calibration  `scaling=none`, `scaling=temperature`     ece, mce, rms_calibration_error, brier, nll, ... (each metric
                                                           of the suite; implementation = "harness", "netcal", ...)
                 `scaling=none`, `scaling=temperature`     ece_floor (what a calibrated model would show: value is the
                                                           null's mean, high its 96.5 % quantile),
                                                           overconfidence (mean confidence - accuracy, signed)
    training     ``                                        whatever the training reports; listed, not ranked

Metric names and their `better` are those of the metric dictionary (harness.metrics). Several seeds:
one row a seed; `harness.ranking.over_seeds` adds the rows of seed ALL_SEEDS.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness.core.types import Row
from harness.results.exhibits import Exhibits, no_exhibits
from harness.results.gallery import Gallery
from harness.results.run import Run
from harness.results.verdicts import Contrast, Dominance, Finding, LedgerRow, Part, Standing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa

ALL_SEEDS = -1
"""Seed of a row that sums up all seeds: value is their mean, the interval is a t interval, n = seeds."""


@dataclass(frozen=True, slots=True)
class Results:
    """Everything a report needs, and nothing that only the store holds.

    Args:
        rows: the numbers; order does not matter.
        run: how they were made.
        outcomes: per-sample tables by name, see harness.results.outcomes.COLUMNS; a table may be
            absent.
        exhibits: binned curves for figures.
        galleries: example images; the report shows them in this order.
        ledger: the cross-check.
        findings: the claims, in the order of the study.
        standings: filled by `harness.ranking.ranked`.
        contrasts: filled by `harness.ranking.ranked`.
        dominance: filled by `harness.ranking.ranked`.
    """

    rows: tuple[Row, ...]
    run: Run
    outcomes: Mapping[str, pa.Table] = field(default_factory=dict)
    exhibits: Exhibits = field(default_factory=no_exhibits)
    galleries: tuple[Gallery, ...] = ()
    ledger: tuple[LedgerRow, ...] = ()
    findings: tuple[Finding, ...] = ()
    standings: tuple[Standing, ...] = ()
    contrasts: tuple[Contrast, ...] = ()
    dominance: tuple[Dominance, ...] = ()

    def write(self, folder: Path) -> None:
        """Write the folder; files of an earlier run in the same places are replaced."""
        from harness.results.folder import write

        write(self, folder)

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read a folder that `write` made; outcomes are read when first asked for.

        Raises:
            InputError: the folder holds no results, or a file of it is damaged.
        """
        from harness.results.folder import read

        return read(folder)


__all__ = [
    "ALL_SEEDS",
    "Contrast",
    "Dominance",
    "Exhibits",
    "Finding",
    "Gallery",
    "LedgerRow",
    "Part",
    "Results",
    "Row",
    "Run",
    "Standing",
]
