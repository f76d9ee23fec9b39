"""Intervals of AUROC, average precision and FPR95."""

from __future__ import annotations

import numpy as np
from scipy import stats
from scipy.special import expit, logit

from harness import metrics
from harness.statistics.estimates import Difference, Estimate, Z
from harness.statistics.means import weights
from harness.statistics.proportions import wilson

DRAWS = 200  # of the stratified bootstrap; its standard deviation is used, not its tails


def _placements(inside: np.ndarray, outside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Structural components of AUROC: (N,) for ID and (M,) for OOD, each with mean AUROC.

    Source: Sun and Xu 2014, "Fast implementation of DeLong's algorithm", by mid-ranks.
    """
    n, m = len(inside), len(outside)
    ranks = stats.rankdata(np.concatenate([outside, inside]))
    of_outside = (ranks[:m] - stats.rankdata(outside)) / n
    of_inside = 1 - (ranks[m:] - stats.rankdata(inside)) / m
    return of_inside, of_outside


def auroc_interval(id_scores: np.ndarray, ood_scores: np.ndarray) -> Estimate:
    """AUROC with DeLong's interval on the logit scale; higher scores = more OOD.

    At 0 or 1 the variance is 0: the interval then comes from the smaller sample, as if it were a
    proportion of hits.

    Source: DeLong, DeLong and Clarke-Pearson 1988.
    """
    value = metrics.auroc(id_scores, ood_scores)
    n = len(id_scores) + len(ood_scores)
    inside, outside = _placements(id_scores, ood_scores)
    error = float(np.sqrt(_variance(inside) + _variance(outside)))
    if value in (0.0, 1.0) or error == 0:
        fewer = min(len(id_scores), len(ood_scores))
        low, high = wilson(value * fewer, fewer)
        return Estimate(value, low, high, n, "wilson of the smaller sample")
    half = Z * error / (value * (1 - value))
    low, high = expit(logit(value) - half), expit(logit(value) + half)
    return Estimate(value, float(low), float(high), n, "delong, logit")


def _variance(components: np.ndarray) -> float:
    return float(components.var(ddof=1) / len(components)) if len(components) > 1 else 0.0


def auroc_difference(
    id_a: np.ndarray, ood_a: np.ndarray, id_b: np.ndarray, ood_b: np.ndarray
) -> Difference:
    """AUROC of a minus AUROC of b on the same samples, by DeLong's covariance.

    Args:
        id_a: (N,) scores of a on ID samples.
        ood_a: (M,) scores of a on OOD samples.
        id_b: (N,) scores of b on the same ID samples.
        ood_b: (M,) scores of b on the same OOD samples.
    """
    inside_a, outside_a = _placements(id_a, ood_a)
    inside_b, outside_b = _placements(id_b, ood_b)
    inside, outside = inside_a - inside_b, outside_a - outside_b
    value = float(metrics.auroc(id_a, ood_a) - metrics.auroc(id_b, ood_b))
    error = float(np.sqrt(_variance(inside) + _variance(outside)))
    n = len(inside) + len(outside)
    wins, losses = int((outside > 0).sum()), int((outside < 0).sum())
    if error == 0:
        return Difference(value, None, None, None, n, wins, losses, "no spread")
    p = float(2 * stats.norm.sf(abs(value) / error))
    return Difference(value, value - Z * error, value + Z * error, p, n, wins, losses, "delong")


def ranking_intervals(id_scores: np.ndarray, ood_scores: np.ndarray) -> dict[str, Estimate]:
    """aupr_out, aupr_in and fpr95 with intervals: ID and OOD resampled apart, on the logit scale.

    Returns:
        Name of the metric -> estimate; FPR95 of exactly 0 or 1 has Wilson's interval, an AUPR of
        exactly 1 none.
    """
    inside, outside = id_scores.astype(np.float64), ood_scores.astype(np.float64)
    draws = _draws(inside, outside)
    values = {
        "aupr_out": metrics.aupr_out(inside, outside),
        "aupr_in": metrics.aupr_in(inside, outside),
        "fpr95": metrics.fpr95(inside, outside),
    }
    n = len(inside) + len(outside)
    found = {name: _on_logits(value, draws[name], n) for name, value in values.items()}
    if values["fpr95"] in (0.0, 1.0):
        low, high = wilson(values["fpr95"] * len(inside), len(inside))
        found["fpr95"] = Estimate(values["fpr95"], low, high, n, "wilson")
    return found


def _on_logits(value: float, draws: np.ndarray, n: int) -> Estimate:
    spread = float(draws.std(ddof=1))
    if not 0 < value < 1 or spread == 0:
        return Estimate(value, None, None, n, "no spread")
    half = Z * spread / (value * (1 - value))
    low, high = expit(logit(value) - half), expit(logit(value) + half)
    return Estimate(value, float(low), float(high), n, "bootstrap, logit")


def _draws(inside: np.ndarray, outside: np.ndarray) -> dict[str, np.ndarray]:
    """(DRAWS,) of each metric, from cumulative weights over scores sorted once."""
    scores = np.concatenate([inside, outside])
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    negative = np.zeros((DRAWS, len(scores)), np.float32)
    positive = np.zeros_like(negative)
    negative[:, : len(inside)] = weights(len(inside), DRAWS, "id")
    positive[:, len(inside) :] = weights(len(outside), DRAWS, "ood")
    false = np.cumsum(negative[:, order], axis=1, dtype=np.float32)[:, ends].astype(np.float64)
    true = np.cumsum(positive[:, order], axis=1, dtype=np.float32)[:, ends].astype(np.float64)
    reached = (true >= 0.95 * len(outside) - 1e-9).argmax(1)
    return {
        "aupr_out": _average_precision(true, false),
        "aupr_in": _average_precision(_reversed(false, len(inside)), _reversed(true, len(outside))),
        "fpr95": false[np.arange(DRAWS), reached] / len(inside),
    }


def _reversed(counts: np.ndarray, total: int) -> np.ndarray:
    """Cumulative counts from the other end of the order."""
    before = np.concatenate([np.zeros((len(counts), 1)), counts[:, :-1]], axis=1)
    return (total - before)[:, ::-1]


def _average_precision(true: np.ndarray, false: np.ndarray) -> np.ndarray:
    gained = np.diff(true, axis=1, prepend=0.0)
    precision = true / np.maximum(true + false, 1e-12)
    return (gained * precision).sum(1) / true[:, -1]
