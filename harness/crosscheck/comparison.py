"""What two implementations of a metric or a score say of the same arrays.

Lockstep: both are given the same float64 arrays, through the adapter that knows the library's
traps, so they must agree but for rounding. Native: the library is called as its users call it, on
the model's own float32 output, so that its known deviations show.

A comparison is plain data: a job can keep it in its record, and `row` makes a line of the ledger of
it without a library being there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from harness.core.errors import InputError, MissingLibrary
from harness.crosscheck.catalogue import Difference, because, load
from harness.results.verdicts import LedgerRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from harness.core.registry import Plug
    from harness.crosscheck.catalogue import Protocol
    from harness.results.verdicts import LedgerVerdict

    Summary = Callable[[np.ndarray], float]
    Diagnosis = Callable[[Any], str]

Outcome = Literal["ok", "missing", "failed", "not comparable"]
Kind = Literal["calibration", "ood"]
SAME = 1e-6  # of an AUROC: ties in float32 may leave every score where it was, and change this


@dataclass(frozen=True, slots=True)
class Answer:
    """What one implementation says.

    Args:
        implementation: "harness", "netcal", ...
        value: a number, or (N,) scores; None unless ok.
        outcome: "ok", or why there is nothing to compare.
        reason: in words, unless ok.
        seconds: wall time, the import of the library not included once it is loaded.
    """

    implementation: str
    value: float | np.ndarray | None = None
    outcome: Outcome = "ok"
    reason: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers to one question.

    Args:
        what: for people, for example "ECE, 15 bins".
        kind: which table of the report it belongs to.
        concept: of the plugs, for example "ece".
        a: first implementation.
        b: second implementation.
        protocol: lockstep or native.
        n: samples that both were given.
        value_a: the number that a says; for scores their AUROC; None where there is none.
        value_b: the same of b.
        largest: largest absolute difference of the numbers or of the scores.
        agreement: for scores, the share of samples with the same rank; else None.
        tolerance: of `largest`, for "equivalent".
        facts: name from `catalogue.CONDITIONS` -> number of samples that it holds for, if any.
        outcome: "ok", or the reason's kind.
        reason: why it is not ok.
        deviation: id of the catalogue entry that predicts a difference, or "".
        seconds: wall time of (a, b).
        cause: the probable one of a difference that no entry predicts, or "".
    """

    what: str
    kind: Kind
    concept: str
    a: str
    b: str
    protocol: Protocol
    n: int
    value_a: float | None
    value_b: float | None
    largest: float | None
    agreement: float | None
    tolerance: float
    facts: Mapping[str, int] = field(default_factory=dict[str, int])
    outcome: Outcome = "ok"
    reason: str = ""
    deviation: str = ""
    seconds: tuple[float | None, float | None] = (None, None)
    cause: str = ""

    @property
    def agrees(self) -> bool:
        """Whether both answered, and alike; scores must also rank alike, to SAME of AUROC."""
        if self.outcome != "ok" or self.largest is None or self.largest > self.tolerance:
            return False
        return self.agreement is None or abs(self.difference or 0.0) <= SAME

    @property
    def difference(self) -> float | None:
        """value_a - value_b, or None if one is missing."""
        if self.value_a is None or self.value_b is None:
            return None
        return self.value_a - self.value_b


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of two implementations; see `Comparison` for its parts."""

    what: str
    kind: Kind
    concept: str
    protocol: Protocol
    n: int
    tolerance: float
    facts: Mapping[str, int]


def ask(plug: Plug, call: Callable[[], Any]) -> Answer:
    """The answer of a plug; whatever goes wrong in a library is an answer too."""
    started = time.perf_counter()
    try:
        plug.require()
        value = call()
    except MissingLibrary as error:
        return Answer(plug.implementation, outcome="missing", reason=str(error))
    except InputError as error:
        return Answer(plug.implementation, outcome="not comparable", reason=str(error))
    except Exception as error:  # noqa: BLE001 -- a wrapped library raises what it likes
        reason = f"{type(error).__name__}: {error}"
        return Answer(plug.implementation, outcome="failed", reason=reason)
    if not np.isfinite(value).all():
        return Answer(plug.implementation, outcome="failed", reason="its answer is not finite")
    return Answer(plug.implementation, value, seconds=time.perf_counter() - started)


def compare(
    question: Question,
    a: Answer,
    b: Answer,
    *,
    summary: Summary | None = None,
    diagnose: Diagnosis | None = None,
) -> Comparison:
    """Set two answers side by side.

    Args:
        question: what was asked.
        a: first answer.
        b: second answer.
        summary: for scores: one number of them (their AUROC).
        diagnose: the second answer -> the probable cause of a difference, in words.
    """
    bad = next((one for one in (a, b) if one.outcome != "ok"), None)
    one, two = _scores(a), _scores(b)
    found = Comparison(
        what=question.what,
        kind=question.kind,
        concept=question.concept,
        a=a.implementation,
        b=b.implementation,
        protocol=question.protocol,
        n=question.n,
        value_a=_summed_up(one, summary),
        value_b=_summed_up(two, summary),
        largest=None if bad else float(np.abs(one - two).max()),
        agreement=None if bad or summary is None else _same_rank(one, two),
        tolerance=question.tolerance,
        facts={name: count for name, count in question.facts.items() if count},
        outcome=bad.outcome if bad else "ok",
        reason=f"{bad.implementation}: {bad.reason}" if bad else "",
        deviation=_predicted(question, a.implementation, b.implementation),
        seconds=(a.seconds, b.seconds),
    )
    if bad or diagnose is None or found.agrees or found.deviation or b.value is None:
        return found
    return replace(found, cause=diagnose(b.value))


def _scores(answer: Answer) -> np.ndarray:
    """(N,) float64; of length 1 for a number, and 0 for no answer."""
    return np.atleast_1d(np.asarray([] if answer.value is None else answer.value, np.float64))


def _summed_up(scores: np.ndarray, summary: Summary | None) -> float | None:
    if not scores.size:
        return None
    return float(scores[0]) if summary is None else summary(scores)


def _same_rank(one: np.ndarray, two: np.ndarray) -> float:
    """Share of samples that as many others score below, in both."""
    places = [np.searchsorted(np.sort(scores), scores) for scores in (one, two)]
    return float((places[0] == places[1]).mean())


def _predicted(question: Question, a: str, b: str) -> str:
    """Id of the first entry of the catalogue, of either side, that predicts a difference."""
    present = [name for name, count in question.facts.items() if count]
    for one, other in ((b, a), (a, b)):
        seen = Difference(
            concept=question.concept,
            implementation=one,
            other=other,
            protocol=question.protocol,
            effect="value",
            facts=present,
        )
        for entry in load().explain(seen):
            return entry.id
    return ""


def rows(comparisons: Sequence[Comparison], model: str = "") -> list[LedgerRow]:
    """Lines of the ledger.

    A native difference is explained only if the same pair does not differ in lockstep: there the
    causes that we know are taken away, and the difference must go with them.

    Args:
        comparisons: of one model's arrays, lockstep ones among them.
        model: name of the model.
    """
    settled = {
        (one.concept, one.a, one.b)
        for one in comparisons
        if one.protocol == "lockstep" and (one.agrees or one.outcome == "not comparable")
    }
    return [
        _row(
            one,
            model,
            may_explain=one.protocol == "lockstep" or (one.concept, one.a, one.b) in settled,
        )
        for one in comparisons
    ]


def _row(one: Comparison, model: str, *, may_explain: bool) -> LedgerRow:
    verdict, explanation = _verdict(one, may_explain=may_explain)
    return LedgerRow(
        what=one.what,
        kind=one.kind,
        a=one.a,
        b=one.b,
        model=model,
        protocol=one.protocol,
        n=one.n,
        largest=one.largest,
        agreement=one.agreement,
        difference=one.difference,
        low=None,
        high=None,
        p=None,
        verdict=verdict,
        explanation=explanation,
        deviation=one.deviation if verdict == "explained" else "",
        seconds=one.seconds,
    )


def _verdict(one: Comparison, *, may_explain: bool) -> tuple[LedgerVerdict, str]:
    if one.outcome == "ok" and one.largest == 0:
        return "identical", "equal bits"
    if one.agrees:
        return "equivalent", f"within {one.tolerance:g}"
    if one.deviation and may_explain and one.outcome in ("ok", "failed"):
        return "explained", because(load().get(one.deviation), one.facts, one.n)
    if one.outcome != "ok":
        return one.outcome, one.reason
    what = f"{one.b} says {_said(one.value_b)} where {one.a} says {_said(one.value_a)}"
    return "different", what + (f"; probable cause: {one.cause}" if one.cause else "")


def _said(value: float | None) -> str:
    return "nothing" if value is None else f"{value:.6g}"
