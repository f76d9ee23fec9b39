"""The study's twenty claims, each decided by paired comparisons on a finished run's outcomes.

    found = findings(suite, results.outcomes, results.rows)

A claim is a sentence, a rule and a function (harness.findings.claims); the functions speak of roles
(harness.findings.matrix: the baseline, ensembles by size, purely adversarially trained models by
budget, ...) that are read off the suite, and of measures (harness.findings.measure) that say
better, by far or alike of two models; verdicts of parts become verdicts of claims in
harness.findings.logic.

With one seed the verdicts speak of these checkpoints. With several, every difference is the mean
over seeds, image by image; from three seeds on its interval also covers the t interval of the
differences of single seeds, so that a part holds only if it does over images and over seeds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.findings import adversarial, calibration, ood, shift, tradeoff
from harness.findings.claims import CLAIMS, Claim
from harness.findings.evidence import Evidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pyarrow as pa

    from harness.core.types import Row
    from harness.results.verdicts import Finding
    from harness.suite import Suite

CHAPTERS = (adversarial, shift, ood, calibration, tradeoff)


def claims() -> tuple[Claim, ...]:
    """All claims in the order of the study: R1 to T2."""
    order = [chapter.__name__ for chapter in CHAPTERS]
    return tuple(sorted(CLAIMS, key=lambda one: (order.index(one.decide.__module__), one.id)))


def findings(
    suite: Suite, tables: Mapping[str, pa.Table], rows: Iterable[Row] = ()
) -> tuple[Finding, ...]:
    """All claims, as one run has them.

    Args:
        suite: what was asked, resolved.
        tables: per-sample outcomes, see `harness.results.outcomes`.
        rows: the run's rows, for void numbers and for why a number is missing.
    """
    evidence = Evidence(suite, tables, rows)
    return tuple(claim.finding(evidence) for claim in claims())


__all__ = ["Claim", "Evidence", "claims", "findings"]
