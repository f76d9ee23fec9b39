"""Calibration metrics of one model: ours against every library that has them."""

from __future__ import annotations

from functools import partial
from itertools import combinations, groupby
from typing import TYPE_CHECKING

import numpy as np

from harness.core.registry import Plug, registry
from harness.crosscheck import diagnosis
from harness.crosscheck.comparison import Answer, Comparison, Question, ask, compare
from harness.metrics import METRICS, fit_temperature, on_edge

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from harness.crosscheck.catalogue import Protocol

EXACT = 1e-9  # of what is computed in float64
ROUNDED = 1e-5  # of what is computed from float32 probabilities
FITTED = 1e-3  # of a temperature, which two optimisers stop near
SUM_32 = 10_000  # from so many samples on, a sum in float32 may be off by more than ROUNDED
CLIPPED = float(np.finfo(np.float64).eps)


def comparisons(
    probs: np.ndarray,
    labels: np.ndarray,
    *,
    native: np.ndarray | None = None,
    bins: int = 15,
    protocols: Collection[Protocol] = ("lockstep", "native"),
    without: Collection[str] = (),
) -> list[Comparison]:
    """Each pair of implementations of each calibration metric, in lockstep and natively.

    Args:
        probs: (N, K) float64 probabilities.
        labels: (N,) integers in [0, K).
        native: (N, K) float32 probabilities, as the library's users have them: the softmax of
            float32 logits; None: `probs` rounded.
        bins: of the binned metrics.
        protocols: those that are asked for.
        without: concepts that are left out.
    """
    native = probs.astype(np.float32) if native is None else native
    found: list[Comparison] = []
    for concept, plugs in _concepts():
        if concept in without:
            continue
        if "lockstep" in protocols:
            found += _lockstep(concept, plugs, probs, labels, bins)
        if "native" in protocols:
            found += _native(concept, plugs, (probs, native), labels, bins)
    return found


def _concepts() -> Iterator[tuple[str, list[Plug]]]:
    """Calibration metrics that some library has, with their plugs, ours first."""
    plugs = [plug for plug in registry.plugs("metric") if plug.meta["axis"] == "calibration"]
    plugs.append(OUR_TEMPERATURE)
    ordered = sorted(plugs, key=lambda plug: (plug.concept, plug.library is not None, plug.name))
    for concept, group in groupby(ordered, key=lambda plug: plug.concept):
        members = list(group)
        if len(members) > 1:
            yield concept, members


def _lockstep(
    concept: str, plugs: list[Plug], probs: np.ndarray, labels: np.ndarray, bins: int
) -> Iterator[Comparison]:
    probs, labels = _comparable(concept, probs, labels)
    facts = conditions(probs, labels, bins=bins, native=None)
    question = _question(concept, "lockstep", probs, bins, facts)
    answers = [_ask(plug, plug.function, probs, labels, bins) for plug in plugs]
    for a, b in combinations(answers, 2):
        why = partial(diagnosis.calibration, concept, probs=probs, labels=labels, bins=bins)
        yield compare(question, a, b, diagnose=why)


def _comparable(
    concept: str, probs: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What all implementations of a concept read alike: no zeros for a log, no ties for a sort."""
    probs = np.asarray(probs, np.float64).clip(CLIPPED, 1)  # C9
    if concept == "rms_equal_mass":  # C11
        first = np.sort(np.unique(probs.max(1), return_index=True)[1])
        return probs[first], labels[first]
    return probs, labels


def _native(
    concept: str,
    plugs: list[Plug],
    given: tuple[np.ndarray, np.ndarray],
    labels: np.ndarray,
    bins: int,
) -> Iterator[Comparison]:
    probs, native = given
    callable_natively = [plug for plug in plugs if "native" in plug.meta]
    if plugs[0].library is not None or not callable_natively:
        return
    facts = conditions(probs, labels, bins=bins, native=native)
    question = _question(concept, "native", probs, bins, facts)
    ours = _ask(plugs[0], plugs[0].function, probs, labels, bins)
    for plug in callable_natively:
        yield compare(question, ours, _ask(plug, plug.meta["native"], native, labels, bins))


def _ask(
    plug: Plug, function: Callable[..., float], probs: np.ndarray, labels: np.ndarray, bins: int
) -> Answer:
    binned = any(parameter.name == "bins" for parameter in plug.parameters)
    given = {"bins": bins} if binned else {}
    return ask(plug, lambda: function(probs, labels, **given))


def _question(
    concept: str, protocol: Protocol, probs: np.ndarray, bins: int, facts: Mapping[str, int]
) -> Question:
    title = METRICS[concept].title if concept in METRICS else concept
    binned = concept in ("ece", "mce", "rms_calibration_error", "ace_average")
    what = f"{title}, {bins} bins" if binned else title
    tolerance = FITTED if concept == "temperature" else {"lockstep": EXACT}.get(protocol, ROUNDED)
    return Question(what, "calibration", concept, protocol, len(probs), tolerance, facts)


def conditions(
    probs: np.ndarray, labels: np.ndarray, *, bins: int, native: np.ndarray | None
) -> dict[str, int]:
    """Condition of the catalogue -> number of samples that it holds for.

    Args:
        probs: (N, K) float64 probabilities.
        labels: (N,) integers.
        bins: of equal width.
        native: (N, K) float32 probabilities where a library is called on these, else None.
    """
    given = probs if native is None else native
    confidence = given.max(1).astype(np.float32)
    extreme = (given.min(1) < np.finfo(given.dtype).eps) | (confidence >= 1)
    n = len(given)
    return {
        "float32": n if native is not None else 0,
        "on-edge": on_edge(confidence, bins),
        "confidence-one": int((confidence == 1).sum()),
        "over-one": int((given > 1).any(1).sum()),
        "saturated": int(extreme.sum()),
        "two-classes": n if given.shape[1] == 2 else 0,
        "two-labels": n if len(np.unique(labels)) <= 2 else 0,
        "large": n if n >= SUM_32 else 0,
        "ties": n - len(np.unique(confidence)),
    }


def _temperature(probs: np.ndarray, labels: np.ndarray) -> float:
    """Our temperature, of the logits that log-probabilities are."""
    return fit_temperature(np.log(probs.clip(np.finfo(np.float64).tiny)), labels)


OUR_TEMPERATURE = Plug("metric", "temperature", _temperature, None, ())
