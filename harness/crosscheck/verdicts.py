"""From two runs to a verdict.

identical       equal bits
equivalent      images within the stated tolerance; native: or the interval of the paired difference lies
                inside the margin
explained       differs (natively: beyond chance, after Holm), and an entry of the catalogue predicts it
different       no entry predicts it, and in lockstep the images differ by more than the tolerance; native:
                the paired interval lies outside zero after Holm over the ledger
undecided       neither
not comparable  with the reason
missing         the library is not installed
failed          it crashed, with the exception

In lockstep two that are equal only since our projection brought one of them back into ball and box
are neither identical nor equivalent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import stats

from harness.crosscheck.catalogue import Difference as Seen
from harness.crosscheck.catalogue import because, load
from harness.results.verdicts import LedgerRow
from harness.statistics import holm, paired_proportions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness.core.threat import Norm
    from harness.crosscheck.attacks import Ran
    from harness.crosscheck.catalogue import Deviation, Effect, Protocol
    from harness.results.verdicts import LedgerVerdict

MARGIN = 0.01  # of robust accuracy: one point
TOLERANCE = 1e-6  # of pixels, in lockstep: what float32 rounds
ROUNDING_ROWS = 1e-5  # of the median row in l2, where rounding grows from step to step
AGREED = 0.99  # of the outcomes, beside it
DISTANCE_MARGIN = (
    0.05  # of the median distance, for attacks that look for the smallest perturbation
)
ALPHA = 0.05
OPEN: LedgerVerdict = "undecided"
FEW = "too few samples to tell"
PROBABLE = "probable cause: "


@dataclass(frozen=True, slots=True)
class Subject:
    """What two implementations are compared on.

    Args:
        concept: of the plugs, for example "pgd".
        what: for people, for example "PGD linf eps=0.1, 10 steps, random start".
        model: name of the model.
        protocol: "lockstep" or "native".
        norm: of the threat.
        minimise: whether the attacks look for the smallest perturbation.
        facts: name from `catalogue.CONDITIONS` -> number of samples that it holds for.
    """

    concept: str
    what: str
    model: str
    protocol: Protocol
    norm: Norm
    minimise: bool = False
    facts: Mapping[str, int] = field(default_factory=dict[str, int])


def pairs(subject: Subject, ran: Sequence[Ran]) -> list[LedgerRow]:
    """A row for each pair of implementations; verdicts that need Holm are left open.

    Args:
        subject: what they were compared on.
        ran: one entry an implementation.
    """
    best = envelope(ran, minimise=subject.minimise)
    return [_pair(subject, a, b, best) for place, a in enumerate(ran) for b in ran[place + 1 :]]


def settle(rows: Iterable[LedgerRow]) -> list[LedgerRow]:
    """Decide what was left open: Holm over the ledger."""
    known = list(rows)
    tested = [place for place, row in enumerate(known) if row.p is not None]
    adjusted = holm(np.array([known[place].p for place in tested], float))
    for place, p in zip(tested, adjusted, strict=True):
        row = replace(known[place], p=float(p))
        if row.verdict == OPEN and p < ALPHA:
            row = replace(row, verdict="explained" if row.deviation else "different")
            row = row if row.deviation else replace(row, explanation=_unexplained(row))
        elif row.verdict == OPEN and row.explanation.startswith(PROBABLE):
            row = replace(row, explanation=FEW)
        elif row.verdict == OPEN and row.deviation:
            known_as = f"{FEW}; {row.deviation} would predict it: {row.explanation}"
            row = replace(row, explanation=known_as, deviation="")
        known[place] = row
    return known


def envelope(ran: Sequence[Ran], *, minimise: bool) -> np.ndarray | None:
    """(N,) the strongest outcome over implementations, or None if none ran.

    For a fixed budget bool, whether any of them broke the sample; else the smallest distance at
    which any of them did.
    """
    done = [one for one in ran if one.outcome == "ok"]
    if not done:
        return None
    if minimise:
        return np.min([np.where(one.success, one.distance, np.inf) for one in done], axis=0)
    return np.any([one.success for one in done], axis=0)


def behind(one: Ran, best: np.ndarray | None, *, minimise: bool) -> float | None:
    """Distance of an implementation from the envelope: the share of samples on which it is behind.

    In the fixed budget, samples that only others broke; else samples that another broke at a
    distance more than one percent smaller.
    """
    if best is None or one.outcome != "ok":
        return None
    if minimise:
        own = np.where(one.success, one.distance, np.inf)
        return float((own > best * 1.01 + 1e-9).mean())
    return float((best & ~one.success).mean())


# ---------------------------------------------------------------- one pair


def _pair(subject: Subject, a: Ran, b: Ran, best: np.ndarray | None) -> LedgerRow:
    row = LedgerRow(
        what=subject.what,
        kind="attack",
        a=a.implementation,
        b=b.implementation,
        model=subject.model,
        protocol=subject.protocol,
        n=len(a.success) or len(b.success),
        largest=None,
        agreement=None,
        difference=None,
        low=None,
        high=None,
        p=None,
        verdict=OPEN,
        seconds=_spent(a, b, "seconds"),
        forwards=_spent(a, b, "forwards"),
        backwards=_spent(a, b, "backwards"),
        envelope=(
            behind(a, best, minimise=subject.minimise),
            behind(b, best, minimise=subject.minimise),
        ),
    )
    for one in (a, b):
        if one.outcome != "ok":
            return replace(
                row, verdict=one.outcome, explanation=f"{one.implementation}: {one.reason}", n=0
            )
    measured = _distances(row, a, b) if subject.minimise else _outcomes(row, a, b)
    return _verdict(subject, measured, a, b)


def _spent(a: Ran, b: Ran, what: str) -> tuple[float | None, float | None]:
    first, second = (getattr(one, what) if one.outcome == "ok" else None for one in (a, b))
    return first, second


def _outcomes(row: LedgerRow, a: Ran, b: Ran) -> LedgerRow:
    """Paired difference of robust accuracy, a minus b."""
    difference = paired_proportions(~a.success, ~b.success)
    return replace(
        row,
        largest=float(np.abs(a.x_adv - b.x_adv).max()),
        agreement=float((a.success == b.success).mean()),
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        p=difference.p,
    )


def _distances(row: LedgerRow, a: Ran, b: Ran) -> LedgerRow:
    """Median paired difference of distances over samples that both broke, a minus b."""
    both = a.success & b.success
    agreement = float((a.success == b.success).mean())
    largest = float(np.abs(a.x_adv - b.x_adv).max())
    row = replace(row, agreement=agreement, largest=largest)
    gaps = np.sort((a.distance - b.distance)[both])
    if len(gaps) < 6:
        return replace(row, explanation=f"both broke only {len(gaps)} samples")
    rank = int(stats.binom.ppf(ALPHA / 2, len(gaps), 0.5))
    p = float(stats.wilcoxon(gaps)[1]) if gaps.any() else 1.0  # pyright: ignore[reportArgumentType]
    return replace(
        row,
        difference=float(np.median(gaps)),
        low=float(gaps[max(rank - 1, 0)]),
        high=float(gaps[min(len(gaps) - rank, len(gaps) - 1)]),
        p=p,
    )


def _verdict(subject: Subject, row: LedgerRow, a: Ran, b: Ran) -> LedgerRow:
    lockstep = subject.protocol == "lockstep"
    outside = [one for one in (a, b) if one.violations] if lockstep else []
    if not outside and np.array_equal(a.x_adv, b.x_adv):
        return replace(row, verdict="identical", explanation="equal bits")
    if not outside and (close := _close(subject, a, b)):
        return replace(row, verdict="equivalent", explanation=close)
    if not lockstep and (inside := _inside(subject, row, b)):
        return replace(row, verdict="equivalent", explanation=inside)
    known = _predicted(subject, row, a, b)
    if known is not None:
        why = because(known, subject.facts, row.n)
        settled = "explained" if lockstep else OPEN  # natively Holm decides
        return replace(row, verdict=settled, explanation=why, deviation=known.id)
    if lockstep:
        said = "; ".join([_difference(row, outside), *_causes(a, b)])
        return replace(row, verdict="different", explanation=said)
    return replace(row, explanation=row.explanation or "; ".join(_causes(a, b)) or FEW)


def _difference(row: LedgerRow, outside: Sequence[Ran]) -> str:
    """What was seen; images that left the ball were projected, and may be equal since."""
    left = ", ".join(
        f"{one.implementation} on {one.violations} of {row.n} images" for one in outside
    )
    if left and row.largest is not None and row.largest <= TOLERANCE:
        return f"images are equal only once they are projected: ball or box was left by {left}"
    return f"images differ by up to {row.largest:.3g} where every step was the same"


def _causes(a: Ran, b: Ran) -> list[str]:
    """What the diagnosis said of either."""
    return [f"{PROBABLE}{one.implementation}: {one.cause}" for one in (a, b) if one.cause]


def _inside(subject: Subject, row: LedgerRow, b: Ran) -> str:
    """Why a paired difference is too small to matter, or ""."""
    margin = DISTANCE_MARGIN * float(np.median(b.distance)) if subject.minimise else MARGIN
    if row.low is None or row.high is None or max(-row.low, row.high) > margin:
        return ""
    return f"paired interval inside {margin:.3g}"


def _close(subject: Subject, a: Ran, b: Ran) -> str:
    """Why two sets of images are equal but for rounding, or ""."""
    rows = np.abs(a.x_adv - b.x_adv).reshape(len(a.x_adv), -1).max(1)
    if rows.max() <= TOLERANCE:
        return f"images within {TOLERANCE:g}"
    same = subject.protocol == "lockstep" and bool((a.success == b.success).all())
    if subject.norm == "l2" and same and float(np.median(rows)) <= ROUNDING_ROWS:
        return (
            f"same outcomes, median row within {ROUNDING_ROWS:g}: rounding grows from step to step"
        )
    return ""


def _predicted(subject: Subject, row: LedgerRow, a: Ran, b: Ran) -> Deviation | None:
    """The entry of the catalogue, of either side, that predicts what was seen.

    Of several, one that allows for other outcomes before one that is rounding only.
    """
    found: list[Deviation] = []
    present = [name for name, count in subject.facts.items() if count]
    for one, other in ((b, a), (a, b)):
        seen = Seen(
            concept=subject.concept,
            implementation=one.implementation,
            other=other.implementation,
            protocol=subject.protocol,
            effect=_effect(row, weaker=one is b, minimise=subject.minimise),
            norm=subject.norm,
            facts=[*present, "own-settings"] if one.own else present,
        )
        found += load().explain(seen)
    return min(found, key=lambda entry: _only_images(entry, subject.concept), default=None)


def _only_images(entry: Deviation, concept: str) -> bool:
    shown = [one for one in entry.shows if concept in one.concepts]
    return all(one.predicts == "images" for one in shown)


def _effect(row: LedgerRow, *, weaker: bool, minimise: bool) -> Effect:
    """What was measured, from the side of b (`weaker`) or of a.

    `difference` is a minus b of robust accuracy or of distance: negative when b is the weaker one.
    """
    value = row.difference or 0.0
    margin = 0.0 if minimise else MARGIN
    if abs(value) <= margin or math.isnan(value):
        return "images"
    return "weaker" if (value < 0) == weaker else "stronger"


def _unexplained(row: LedgerRow) -> str:
    weak, strong = (row.b, row.a) if (row.difference or 0) < 0 else (row.a, row.b)
    said = f"{weak} finds less than {strong}, and no known deviation predicts it"
    return f"{said}; {row.explanation}" if row.explanation.startswith(PROBABLE) else said
