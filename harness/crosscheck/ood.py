"""OOD scores of one model, and the metrics that rank them: ours against every library."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import combinations, groupby
from typing import TYPE_CHECKING

import numpy as np

from harness.core.registry import Plug, registry
from harness.crosscheck import diagnosis
from harness.crosscheck.comparison import Answer, Comparison, Question, ask, compare
from harness.metrics import METRICS, auroc

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import torch

    from harness.core.types import Classifier, Evidence
    from harness.crosscheck.catalogue import Protocol

EXACT = 1e-9  # of what is computed in float64
CURVE_32 = 1e-6  # of areas under torchmetrics' curves, which are float32 (O7b)
ROUNDED = 1e-5  # of scores computed from float32 logits, relative to the largest
AREAS = {"aupr_out": "aupr_out_trapezoid", "aupr_in": "aupr_in_trapezoid"}
"""Two numbers that bear one name, AUPR: average precision and the trapezoid (O2)."""


def metric_comparisons(
    id_scores: np.ndarray, ood_scores: np.ndarray, *, detector: str = ""
) -> list[Comparison]:
    """Each pair of implementations of each ranking metric, on one detector's scores.

    Args:
        id_scores: (N,) higher = more OOD.
        ood_scores: (M,) higher = more OOD.
        detector: whose scores they are, for the title.
    """
    scores = np.concatenate([id_scores, ood_scores])
    ties = len(scores) - len(np.unique(scores))
    found: list[Comparison] = []
    answers: dict[str, list[Answer]] = {}
    for concept, plugs in _grouped(
        [p for p in registry.plugs("metric") if p.meta["axis"] == "ood"]
    ):
        call = [ask(plug, partial(plug.function, id_scores, ood_scores)) for plug in plugs]
        answers[concept] = call
        for a, b in combinations(call, 2):
            off = CURVE_32 if "torchmetrics" in (a.implementation, b.implementation) else EXACT
            question = _question(concept, detector, len(scores), off, {"ties": ties})
            why = partial(diagnosis.ranking, concept, id_scores=id_scores, ood_scores=ood_scores)
            found.append(compare(question, a, b, diagnose=why))
    return found + list(_other_areas(answers, detector, len(scores)))


def on_set(one: Comparison, name: str) -> Comparison:
    """A comparison that says which OOD set it was made on."""
    return replace(one, what=f"{one.what} on {name}")


def _grouped(plugs: Sequence[Plug]) -> Iterator[tuple[str, list[Plug]]]:
    """Concepts that some library has, with their plugs, ours first."""
    ordered = sorted(plugs, key=lambda plug: (plug.concept, plug.library is not None, plug.name))
    for concept, group in groupby(ordered, key=lambda plug: plug.concept):
        members = list(group)
        if any(plug.library for plug in members):
            yield concept, members


def _question(
    concept: str, detector: str, n: int, tolerance: float, facts: dict[str, int]
) -> Question:
    title = METRICS[concept].title if concept in METRICS else concept.replace("_", " ")
    what = f"{title} of {detector}" if detector else title
    return Question(what, "ood", concept, "lockstep", n, tolerance, facts)


def _other_areas(answers: dict[str, list[Answer]], detector: str, n: int) -> Iterator[Comparison]:
    """Lines that say why average precision is not compared with pytorch-ood's AUPR."""
    for concept, trapezoid in AREAS.items():
        ours = next(
            (one for one in answers.get(concept, ()) if one.implementation == "harness"), None
        )
        for other in answers.get(trapezoid, ()):
            if ours is None or other.implementation != "pytorch_ood":
                continue
            reason = "its AUPR is the trapezoid, which is not average precision (O2)"
            why = Answer(other.implementation, outcome="not comparable", reason=reason)
            yield compare(_question(concept, detector, n, EXACT, {}), ours, why)


def score_comparisons(
    fit: Evidence,
    inside: Evidence,
    outside: Evidence,
    *,
    model: Classifier,
    rng: torch.Generator | None = None,
) -> list[Comparison]:
    """Each pair of implementations of each detector that we have too, per sample.

    Args:
        fit: training data that detectors are fitted on.
        inside: in-distribution samples.
        outside: OOD samples.
        model: whose view they are.
        rng: for detectors that draw.
    """
    found: list[Comparison] = []
    known = partial(every_score, fit, inside, outside, model=model, rng=rng)
    for concept, plugs in _grouped(registry.plugs("detector")):
        if plugs[0].library is not None:
            continue
        answers = [
            ask(plug, partial(_scores, plug, fit, inside, outside, model, rng)) for plug in plugs
        ]
        for a, b in combinations(answers, 2):
            found.append(_scored(concept, "lockstep", a, b, inside, outside, known()))
        for plug in plugs[1:]:
            if plug.meta.get("native"):
                native = ask(plug, partial(_native_scores, plug, inside, outside))
                found.append(_scored(concept, "native", answers[0], native, inside, outside, known()))  # fmt: skip
    return found


def every_score(
    fit: Evidence,
    inside: Evidence,
    outside: Evidence,
    *,
    model: Classifier,
    rng: torch.Generator | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """Name and scores of every detector that runs here, computed when asked for.

    Args: as of `score_comparisons`.
    """
    for plug in registry.plugs("detector"):
        answer = ask(plug, partial(_scores, plug, fit, inside, outside, model, rng))
        if answer.value is not None:
            yield plug.name, np.asarray(answer.value, np.float64)


def _scores(
    plug: Plug,
    fit: Evidence,
    inside: Evidence,
    outside: Evidence,
    model: Classifier,
    rng: torch.Generator | None,
) -> np.ndarray:
    scorer = plug.function(fit, model=model, **plug.complete({}), rng=rng)
    return np.concatenate([scorer(inside), scorer(outside)])


def _native_scores(plug: Plug, inside: Evidence, outside: Evidence) -> np.ndarray:
    return np.concatenate([plug.meta["native"](inside), plug.meta["native"](outside)])


def _scored(
    concept: str,
    protocol: Protocol,
    a: Answer,
    b: Answer,
    inside: Evidence,
    outside: Evidence,
    known: Iterable[tuple[str, np.ndarray]],
) -> Comparison:
    count, logits = len(inside.logits), np.concatenate([inside.logits, outside.logits])
    gap = np.diff(np.partition(logits, -2, axis=1)[:, -2:], axis=1)
    facts = {
        "float32": len(logits) if protocol == "native" else 0,
        "saturated": int((np.exp(-gap) < np.finfo(np.float32).eps).sum()),
        "ties": 0 if b.value is None else len(logits) - len(np.unique(b.value)),
    }
    scale = 1.0 if a.value is None else max(1.0, float(np.abs(a.value).max()))
    tolerance = scale * (EXACT if protocol == "lockstep" else ROUNDED)
    question = Question(
        f"scores of {concept}", "ood", concept, protocol, len(logits), tolerance, facts
    )
    return compare(
        question,
        a,
        b,
        summary=lambda scores: auroc(scores[:count], scores[count:]),
        diagnose=partial(diagnosis.scores, np.asarray(a.value), logits=logits, others=known),
    )
