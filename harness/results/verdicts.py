"""What was concluded from the numbers: findings, the ledger, the ranking and the trade-offs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Health = Literal["ok", "FAIL", "note"]
Verdict = Literal["holds", "does not hold", "undecided", "not measured"]
LedgerVerdict = Literal[
    "identical",
    "equivalent",
    "explained",
    "different",
    "undecided",
    "not comparable",
    "missing",
    "failed",
]


@dataclass(frozen=True, slots=True)
class Part:
    """One comparison of a finding.

    Args:
        what: for people, for example "PGD 0.1 against baseline, kmnist".
        effect: how far it goes in the claimed direction: positive supports the claim (but signed,
            first minus second, where the claim is that two are alike); None if it could not be
            measured.
        low: lower end of its 95 % interval.
        high: upper end.
        verdict: of this part alone.
        p: two-sided p value, or None where the rule uses the interval only.
        unit: of effect and interval; "" for that of the finding.
    """

    what: str
    effect: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    p: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One claim of the study, as measured here.

    Args:
        id: "R1" to "T2".
        axis: "adversarial", "shift", "ood", "calibration" or "trade-off".
        claim: the sentence of the study.
        verdict: "not measured" where the run lacks what the rule needs.
        rule: how the parts decide, one sentence.
        effect: of the part that decides: the weakest of those needed.
        low: lower end of its 95 % interval.
        high: upper end.
        unit: of effect and interval: "points", "AUROC", "ECE", ...
        parts: every comparison made.
        note: what the reader must know, or "".
    """

    id: str
    axis: str
    claim: str
    verdict: Verdict
    rule: str
    effect: float | None
    low: float | None
    high: float | None
    unit: str
    parts: tuple[Part, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One line of the cross-check: two implementations of the same thing.

    Args:
        what: for people, for example "PGD L-inf eps=0.1, 40 steps" or "ECE, 15 bins".
        kind: "attack", "calibration", "ood" or "metric".
        a: implementation A ("harness").
        b: implementation B ("foolbox").
        model: model that it was seen on, or "" for arrays.
        protocol: "lockstep" or "native".
        n: samples compared.
        largest: largest absolute difference of the outputs; None where not comparable.
        agreement: share of samples with the same outcome in [0, 1], or None.
        difference: paired difference a - b of the headline quantity (for attacks: robust accuracy).
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided p value after Holm over the ledger, or None.
        verdict: see the design's section 5.
        explanation: one or two sentences.
        deviation: id of the catalogue entry that explains it, or "".
        seconds: wall time of (a, b), None where not measured.
        forwards: images passed forward per sample by (a, b), None where not counted.
        backwards: gradients taken per sample by (a, b), None where not counted.
        envelope: distance of (a, b) from the per-sample strongest outcome, None where none.
    """

    what: str
    kind: str
    a: str
    b: str
    model: str
    protocol: str
    n: int
    largest: float | None
    agreement: float | None
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    verdict: LedgerVerdict
    explanation: str = ""
    deviation: str = ""
    seconds: tuple[float | None, float | None] = (None, None)
    forwards: tuple[float | None, float | None] = (None, None)
    backwards: tuple[float | None, float | None] = (None, None)
    envelope: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True, slots=True)
class Examined:
    """One examination of `harness doctor`.

    Args:
        part: which kind, for example "closed form".
        what: what was examined.
        expected: what is known beforehand, in words or figures.
        seen: what this installation gives.
        status: "ok", "FAIL", or "note" where there is nothing to fail.
        seconds: wall time.
    """

    part: str
    what: str
    expected: str
    seen: str
    status: Health
    seconds: float


@dataclass(frozen=True, slots=True)
class Standing:
    """Where one model stands in one column of the summary (made by `harness.ranking`).

    Args:
        column: id of the column, for example "robust" or "auroc kmnist".
        model: name of the model.
        best: not worse than the best of the column after Holm (the best itself included).
        behind: how far behind the best, >= 0 in the metric's unit; None for a void number.
        low: lower end of the 95 % interval of `behind`, None where it was not tested.
        high: upper end.
        p: two-sided p value of `behind`, Holm-corrected over the column; None for the best.
    """

    column: str
    model: str
    best: bool
    behind: float | None
    low: float | None
    high: float | None
    p: float | None


@dataclass(frozen=True, slots=True)
class Contrast:
    """One model against the baseline in one column of the summary (made by `harness.ranking`).

    Args:
        column: id of the column.
        model: name of the model; never the baseline itself.
        gain: paired difference in the column's better direction: > 0 is better than the baseline.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided p value, Holm-corrected over the column.
        verdict: "better" or "worse" where p < 0.05, else "undecided".
    """

    column: str
    model: str
    gain: float
    low: float
    high: float
    p: float
    verdict: Literal["better", "worse", "undecided"]


@dataclass(frozen=True, slots=True)
class Dominance:
    """Whether some model is at least as good on every axis and better on one (point estimates).

    Args:
        model: name of the model.
        by: models that dominate it, in the order of the report; empty: on the Pareto front.
        surely: those of `by` that are better on every axis beyond the interval of the difference.
    """

    model: str
    by: tuple[str, ...]
    surely: tuple[str, ...] = ()
