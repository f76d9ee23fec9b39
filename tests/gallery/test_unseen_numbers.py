"""Planted faults in numbers and scores that came after the diagnosis stood, and coincidences.

One number agrees with many faults. A suspect that can be asked again is held against each of them on
other arrays; of one that cannot, all that remain are named.
"""

import itertools

import numpy as np
import pytest
from gallery import test_numbers, test_unseen
from gallery.test_numbers import BROKEN, EDGES, INSIDE, LABELS, LOGITS, OUTSIDE, PROBS, ece
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from harness import metrics
from harness.core.registry import Plug, registry
from harness.core.types import Evidence
from harness.crosscheck import calibration, diagnosis, ood
from harness.crosscheck.comparison import rows
from harness.crosscheck.direction import planted
from harness.crosscheck.ood import every_score

SCORE_RANKS = ("auroc", "fpr95", "aupr_out")
N = len(LABELS)


def cause(concept, function, *arrays, again=True, bins=15):
    """What is said of a suspect's number, and whether it could be asked of other arrays."""
    value, more = float(function(*arrays)), {"again": function} if again else {}
    if concept in SCORE_RANKS:
        return diagnosis.ranking(concept, value, *arrays, **more)
    return diagnosis.calibration(concept, value, *arrays, bins=bins, **more)


# ---------------------------------------------------------------- calibration


def binned(confidence, hits, edges=EDGES):
    """(weight, gap) of each bin that holds samples."""
    index = np.digitize(confidence, edges[1:-1])
    inside = [index == b for b in np.unique(index)]
    return np.array([(one.mean(), (confidence - hits)[one].mean()) for one in inside]).T


def top(p, y):
    return p.max(1), p.argmax(1) == y


def gaps(p, y):
    return binned(*top(p, y))


def of_confidence(confidence, hits, edges=EDGES):
    weights, gap = binned(confidence, hits, edges)
    return weights @ np.abs(gap)


def own(p, y):
    return p[np.arange(len(y)), y]


def one_hot(p, y):
    return np.eye(p.shape[1])[y]


def brier(p, y):
    return ((p - one_hot(p, y)) ** 2).sum(1).mean()


def nll(p, y):
    return -np.log(own(p, y)).mean()


def mean_of_batches(metric, size):
    return lambda p, y: np.mean([metric(p[i : i + size], y[i : i + size]) for i in range(0, len(y), size)])  # fmt: skip


def padded(size):
    """The last row fills up the last batch, and is counted each time."""

    def error(p, y):
        more = -len(y) % size
        return ece(np.r_[p, p[-1:].repeat(more, 0)], np.r_[y, y[-1:].repeat(more)])

    return error


def wrapped(p, y):
    """The last batch of 64 is filled up with the first rows."""
    rows_ = np.arange(len(y) + -len(y) % 64) % len(y)
    return ece(p[rows_], y[rows_])


def centred(p):
    return np.log(p) - np.log(p).mean(1, keepdims=True)


def rounded(p, y):
    """Bins of a confidence rounded, not cut."""
    index, (confidence, hits) = np.round(p.max(1) * 15), top(p, y)
    return sum(abs((confidence - hits)[index == b].sum()) for b in np.unique(index)) / len(y)


def full_bins(p, y):
    """The largest gap of bins with 20 samples or more."""
    weights, gap = gaps(p, y)
    return np.abs(gap[weights * len(y) > 19.5]).max()


def minimises_ece(p, y):
    return min(np.linspace(0.5, 5, 91), key=lambda t: ece(metrics.softmax(np.log(p) / t), y))


CALIBRATION = {
    "all classes flattened": ("ece", lambda p, y: of_confidence(p.ravel(), one_hot(p, y).ravel()), "of all classes are flattened"),
    "sum over classes": ("ece", lambda p, y: sum(of_confidence(p[:, k], y == k) for k in range(10)), "of every class by itself, and their sum"),
    "over-confidence alone": ("ece", lambda p, y: (lambda w, g: w @ g.clip(0))(*gaps(p, y)), "only over-confidence"),
    "bins from 1 / K": ("ece", lambda p, y: of_confidence(*top(p, y), np.linspace(0.1, 1, 16)), "from 1 / K to 1"),
    "bins from min to max": ("ece", lambda p, y: ece(p, y, np.linspace(p.max(1).min() - 1e-12, p.max(1).max(), 16)), "from the smallest confidence to the largest"),
    "weights squared": ("ece", lambda p, y: (lambda w, g: w**2 @ np.abs(g))(*gaps(p, y)), "weights of bins are squared"),
    "times accuracy": ("ece", lambda p, y: ece(p, y) * (p.argmax(1) == y).mean(), "times the accuracy"),
    "sigmoid": ("ece", lambda p, y: of_confidence(expit(centred(p)).max(1), p.argmax(1) == y), "the sigmoid of the logits"),
    "batches of 64": ("ece", mean_of_batches(ece, 64), "the mean over batches, not of all samples at once (batches of 64)"),
    "batches of 100": ("ece", mean_of_batches(ece, 100), "(batches of 100)"),
    "last batch padded": ("ece", padded(64), "filled up with its last row (batches of 64)"),
    "last batch wrapped": ("ece", wrapped, "filled up with the first rows (batches of 64)"),
    "top 2": ("ece", lambda p, y: of_confidence(p.max(1), (np.argsort(-p, 1)[:, :2] == y[:, None]).any(1)), "among the top 2"),
    "30 bins": ("ece", lambda p, y: ece(p, y, np.linspace(0, 1, 31)), "30 bins instead of 15"),
    "7 bins": ("ece", lambda p, y: ece(p, y, np.linspace(0, 1, 8)), "7 bins instead of 15"),
    "rounded bins": ("ece", rounded, "rounded to the nearest edge"),
    "a chosen temperature": ("ece", lambda p, y: ece(metrics.softmax(np.log(p) / 1.5), y), "divided by 1.5: a temperature"),
    "a fitted temperature": ("nll", lambda p, y: nll(metrics.softmax(np.log(p) / 1.23), y), "divided by 1.23: a temperature"),
    "the least likely class": ("ece", lambda p, y: of_confidence(p.max(1), p.argmin(1) == y), "least likely class"),
    "nine classes": ("ece", lambda p, y: of_confidence(p[:, :9].max(1), p[:, :9].argmax(1) == y), "last class is left out"),
    "cut confidences": ("ece", lambda p, y: of_confidence(p.max(1).clip(0.01, 0.99), p.argmax(1) == y), "cut to [0.01, 0.99]"),
    "labels in random order": ("ece", lambda p, y: ece(p, np.random.default_rng(0).permutation(y)), "labels in random order"),
    "rms without weights": ("rms_calibration_error", lambda p, y: np.sqrt((gaps(p, y)[1] ** 2).mean()), "without their weights"),
    "rms of squared weights": ("rms_calibration_error", lambda p, y: np.sqrt((np.prod(gaps(p, y), 0) ** 2).sum()), "weights of bins are squared"),
    "ece for rms": ("rms_calibration_error", ece, "it is ECE"),
    "ece for mce": ("mce", ece, "it is ECE"),
    "mce for ece": ("ece", lambda p, y: np.abs(gaps(p, y)[1]).max(), "the largest gap of a bin"),
    "mce with weights": ("mce", lambda p, y: np.abs(np.prod(gaps(p, y), 0)).max(), "weighted before"),
    "mce of the least gap": ("mce", lambda p, y: np.abs(gaps(p, y)[1]).min(), "the smallest gap"),
    "mce of full bins": ("mce", full_bins, "few samples are left out"),
    "brier of roots": ("brier", lambda p, y: np.sqrt(((p - one_hot(p, y)) ** 2).sum(1)).mean(), "root of each sample's distance"),
    "brier of the prediction": ("brier", lambda p, y: brier(p, p.argmax(1)), "predicted class is taken for the label"),
    "brier skill": ("brier", lambda p, y: 1 - brier(p, y) / 0.9, "the skill"),
    "brier of smoothed labels": ("brier", lambda p, y: ((p - 0.9 * one_hot(p, y) - 0.01) ** 2).sum(1).mean(), "labels are smoothed by 0.1"),
    "brier of smoothed probabilities": ("brier", lambda p, y: brier(0.95 * p + 0.005, y), "probabilities are smoothed by 0.05"),
    "brier of logits": ("brier", lambda p, y: brier(100 * np.log(p) - np.log(p).min() + y.mean(), y), "outside [0, 2]"),
    "errors for brier": ("brier", lambda p, y: (p.argmax(1) != y).mean(), "one minus Accuracy"),
    "nll of base 10": ("nll", lambda p, y: -np.log10(own(p, y)).mean(), "decimal logarithms"),
    "perplexity": ("nll", lambda p, y: np.exp(nll(p, y)), "perplexity"),
    "entropy": ("nll", lambda p, y: -(p * np.log(p)).sum(1).mean(), "the entropy"),
    "log of the mean": ("nll", lambda p, y: -np.log(own(p, y).mean()), "logarithm of the mean"),
    "log1p": ("nll", lambda p, y: -np.log1p(own(p, y)).mean(), "log(1 + p)"),
    "offset": ("nll", lambda p, y: -np.log(own(p, y) + 1e-3).mean(), "log(p + 0.001)"),
    "smoothed labels": ("nll", lambda p, y: 0.9 * nll(p, y) - 0.1 * np.log(p).mean(), "labels are smoothed by 0.1"),
    "classes alike": ("nll", lambda p, y: np.mean([nll(p[y == k], y[y == k]) for k in range(10)]), "classes count alike"),
    "binary cross-entropy": ("nll", lambda p, y: -np.log(np.where(one_hot(p, y) > 0, p, 1 - p)).sum(1).mean(), "binary cross-entropy"),
    "focal loss": ("nll", lambda p, y: -((1 - own(p, y)) ** 2 * np.log(own(p, y))).mean(), "focal"),
    "temperature on other rows": ("temperature", lambda p, y: metrics.fit_temperature(np.log(p), (y + 1) % 10), "counted from one"),
    "temperature of half": ("temperature", lambda p, y: metrics.fit_temperature(np.log(p[::2]), y[::2]), "every second sample"),
    "temperature of ECE": ("temperature", minimises_ece, "T minimises the ECE"),
    "temperature of Brier": ("temperature", lambda p, y: minimize_scalar(lambda t: brier(metrics.softmax(np.log(p) / t), y), bounds=(0.01, 9)).x, "T minimises the Brier"),
    "temperature that stays": ("temperature", lambda p, y: 1.01, "not fitted: it is 1.01 whatever the samples"),
    "no temperature": ("temperature", lambda p, y: 1.0, "not fitted: it stays at 1"),
}  # fmt: skip


@pytest.mark.parametrize("fault", CALIBRATION)
def test_a_calibration_metric(fault):
    """Catches a metric with another quantity, other bins, weights, rows or units, and a wrong name for it."""
    concept, function, words = CALIBRATION[fault]
    said = cause(concept, function, PROBS, LABELS)
    assert words in said, said
    assert ", or " not in said, said


# ---------------------------------------------------------------- rankings


def truth(a, b):
    return np.repeat([0, 1], [len(a), len(b)]), np.r_[a, b]


def interpolated(a, b):
    """The area under the envelope of the precision-recall curve."""
    precision, recall, _ = precision_recall_curve(*truth(a, b))
    return -(np.diff(recall) * np.maximum.accumulate(precision)[:-1]).sum()


def best_f1(a, b):
    precision, recall, _ = precision_recall_curve(*truth(a, b))
    return (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max()


def above_chance(a, b):
    rate = len(b) / (len(a) + len(b))
    return (average_precision_score(*truth(a, b)) - rate) / (1 - rate)


def unit(s):
    return (s - s.min()) / np.ptp(s)


def by_batch(s, size):
    parts = [s[i : i + size] for i in range(0, len(s), size)]
    return np.concatenate([(one - one.mean()) / one.std() for one in parts])


def auroc(a, b):
    return roc_auc_score(*truth(a, b))


def either(a, b):
    return max(auroc(a, b), 1 - auroc(a, b))


RANKINGS = {
    "partial": ("auroc", lambda a, b: roc_auc_score(*truth(a, b), max_fpr=0.1), "partial AUROC up to FPR 0.1 (standardised)"),
    "one point": ("auroc", lambda a, b: auroc(a > 0.5, b > 0.5), "0 or 1 at 0.5"),
    "absolute": ("auroc", lambda a, b: auroc(abs(a), abs(b)), "absolute value"),
    "rounded": ("auroc", lambda a, b: auroc(a.round(1), b.round(1)), "rounded to 0.1"),
    "scaled": ("auroc", lambda a, b: auroc(unit(a), unit(b)), "scaled to [0, 1] by themselves"),
    "standardised": ("auroc", lambda a, b: auroc((a - a.mean()) / a.std(), (b - b.mean()) / b.std()), "standardised by themselves"),
    "standardised in batches": ("auroc", lambda a, b: auroc(by_batch(a, 64), by_batch(b, 64)), "batch by batch (batches of 64)"),
    "cut to one size": ("auroc", lambda a, b: auroc(a[: len(b)], b[: len(a)]), "as many samples as the smaller"),
    "mean of batches": ("auroc", lambda a, b: np.mean([auroc(a[i : i + 100], b[i : i + 100]) for i in range(0, min(len(a), len(b)) - 99, 100)]), "(batches of 100, the last one dropped)"),
    "OOD in ID": ("auroc", lambda a, b: auroc(np.r_[a, b], b), "the OOD set is contained in the ID set"),
    "ID in OOD": ("auroc", lambda a, b: auroc(a, np.r_[a, b]), "the ID set is contained in the OOD set"),
    "aupr for auroc": ("auroc", lambda a, b: average_precision_score(*truth(a, b)), "it is AUPR-out"),
    "sets mixed up": ("auroc", lambda a, b: auroc(*np.split(np.random.default_rng(1).permutation(np.r_[a, b]), [len(a)])), "the sets are mixed up"),
    "swapped": ("auroc", lambda a, b: auroc(b, a), "the wrong positive class"),
    "auroc for aupr": ("aupr_out", auroc, "it is AUROC"),
    "interpolated": ("aupr_out", interpolated, "precision is interpolated"),
    "best F1": ("aupr_out", best_f1, "the best F1"),
    "above chance": ("aupr_out", above_chance, "above that of chance"),
    "TPR at FPR 5": ("fpr95", lambda a, b: (b >= np.quantile(a, 0.95)).mean(), "the TPR at an FPR of 5 %"),
    "FNR at FPR 5": ("fpr95", lambda a, b: (b < np.quantile(a, 0.95)).mean(), "one minus the TPR at an FPR of 5 %"),
    "pooled": ("fpr95", lambda a, b: (a >= np.quantile(np.r_[a, b], 0.05)).mean(), "a quantile of both sets"),
    "detection error": ("fpr95", lambda a, b: 0.025 + metrics.fpr95(a, b) / 2, "the detection error"),
    "TPR 95.5": ("fpr95", lambda a, b: metrics.fpr_at_tpr(a, b, tpr=0.955), "at 95.5 % instead of 95 %"),
    "TNR": ("fpr95", lambda a, b: 1 - metrics.fpr95(a, b), "the share that is left alone"),
    "normal": ("fpr95", lambda a, b: (a >= b.mean() - 1.645 * b.std()).mean(), "as if scores were normal (1.645"),
}  # fmt: skip


@pytest.mark.parametrize("fault", RANKINGS)
def test_a_ranking(fault):
    """Catches another number of the same name, scores that were changed, and sets that were mixed."""
    concept, function, words = RANKINGS[fault]
    said = cause(concept, function, INSIDE, OUTSIDE)
    assert words in said, said
    assert ", or " not in said, said


def test_the_larger_of_auroc_and_one_minus_it():
    """Catches max(A, 1 - A), which is not a swapped class: above 0.5 it says what we say."""
    assert "the larger of AUROC" in cause("auroc", either, OUTSIDE, INSIDE)
    assert "wrong positive class" in cause("auroc", lambda a, b: auroc(b, a), OUTSIDE, INSIDE)


# ---------------------------------------------------------------- coincidences


def from_one_in_ten(p, y):
    return of_confidence(*top(p, y), np.linspace(0.1, 1, 16))


def test_a_coincidence_is_not_a_cause():
    """Catches "10 bins instead of 15" for bins from 1 / K to 1, which give the same number here."""
    ten = ece(PROBS, LABELS, np.linspace(0, 1, 11))
    assert ten == pytest.approx(from_one_in_ten(PROBS, LABELS), rel=1e-12)
    said = cause("ece", from_one_in_ten, PROBS, LABELS)
    assert "1 / K" in said
    assert "10 bins" not in said
    said = cause("ece", lambda p, y: ece(p, y, np.linspace(0, 1, 11)), PROBS, LABELS)
    assert said == "10 bins instead of 15"


def test_a_suspect_that_cannot_be_asked_again():
    """Catches one cause that is named where several give the number."""
    said = cause("ece", from_one_in_ten, PROBS, LABELS, again=False).split(", or ")
    assert "10 bins instead of 15" in said
    assert any("1 / K" in one for one in said)
    said = cause("auroc", either, OUTSIDE, INSIDE, again=False)
    assert "wrong positive class" in said
    assert "the larger of AUROC" in said
    said = cause("temperature", minimises_ece, PROBS, LABELS, again=False)
    assert "it stays at 1" in said
    assert "minimises the ECE" in said


NAMELESS = {
    "a number out of the air": ("ece", lambda p, y: 0.123456),
    "a weight of its own": ("brier", lambda p, y: 1.2345 * brier(p, y)),
    "some rows": ("nll", lambda p, y: nll(p[5::7], y[5::7])),
    "a threshold of its own": ("fpr95", lambda a, b: (a >= np.sort(b)[37]).mean()),
    "a power": ("auroc", lambda a, b: auroc(a, b) ** 0.7),
}


@pytest.mark.parametrize("fault", NAMELESS)
@pytest.mark.parametrize("seed", range(3))
def test_what_has_no_name_gets_none(fault, seed):
    """Catches causes that are found because there are many."""
    concept, function = NAMELESS[fault]
    rng = np.random.default_rng(seed)
    if concept in SCORE_RANKS:
        arrays = rng.normal(0, 1, 410), rng.normal(1.2, 1, 333)
    else:
        logits = 4 * rng.standard_normal((N, 10))
        arrays = metrics.softmax(logits), np.where(rng.random(N) < 0.7, logits.argmax(1), LABELS)
    assert cause(concept, function, *arrays) == ""


GALLERY = {
    **{f"ece {name}": ("ece", *row) for name, row in test_numbers.CALIBRATION.items()},
    **{f"auroc {name}": ("auroc", *row) for name, row in test_numbers.RANKING.items()},
    **test_unseen.METRICS,
    **test_unseen.RANKINGS,
}


@pytest.mark.parametrize("fault", GALLERY)
@pytest.mark.parametrize("again", [True, False])
def test_the_causes_of_the_gallery(fault, again):
    """Catches a cause that was found, and is lost or preceded by another now."""
    concept, function, words = GALLERY[fault]
    tied = test_unseen.TIED if fault in test_unseen.RANKINGS else (INSIDE, OUTSIDE)
    said = cause(concept, function, *(tied if concept in SCORE_RANKS else (PROBS, LABELS)), again=again)  # fmt: skip
    assert words in said, said


def test_a_library_is_asked_again(monkeypatch):
    """Catches a ledger that has the suspect at hand and does not ask it."""
    registry.get("metric", "ece")  # loads all others first
    plug = Plug("metric", "broken/ece", from_one_in_ten, BROKEN, (), {"axis": "calibration"})
    monkeypatch.setitem(registry._plugs, ("metric", "broken/ece"), plug)
    found = calibration.comparisons(PROBS, LABELS, protocols=("lockstep",))
    (row,) = (one for one in rows(found) if {one.a, one.b} == {"harness", "broken"})
    assert row.verdict == "different"
    assert row.explanation.endswith("cause: bins go from 1 / K to 1, not from 0")


@pytest.mark.parametrize("seed", range(3))
def test_sound_numbers(seed):
    """Catches a library whose number is ours and that is blamed, with confident models as with others."""
    rng = np.random.default_rng(seed)
    logits = (1, 4, 12)[seed] * rng.standard_normal((400, 5))
    labels = np.where(rng.random(400) < 0.7, logits.argmax(1), rng.integers(0, 5, 400))
    found = calibration.comparisons(metrics.softmax(logits), labels, protocols=("lockstep",))
    found += ood.metric_comparisons(rng.normal(0, 1, 210), rng.normal(1, 1, 150))
    assert [one.what for one in rows(found) if one.verdict in ("different", "failed")] == []
    assert [one.cause for one in found if one.cause] == []


@pytest.mark.parametrize("concept", ["ece", "nll", "brier", "mce", "temperature"])
def test_few_samples(concept):
    """Catches a diagnosis that fails where parts would be empty."""
    probs, labels = PROBS[:6], LABELS[:6]
    assert isinstance(cause(concept, lambda p, y: 0.3, probs, labels), str)
    assert isinstance(cause("auroc", lambda a, b: 0.3, INSIDE[:2], OUTSIDE[:2]), str)


# ---------------------------------------------------------------- scores


MSP, ENERGY = -PROBS.max(1), -np.asarray(logsumexp(LOGITS, 1))
HEAD = np.arange(N) < 400


def entropy(z):
    p = metrics.softmax(z)
    return -(p * np.log(p)).sum(1)


SCORES = {
    "last batch of zeros": (MSP, np.where(np.arange(N) < 768, MSP, 0), "the last 9 of 777 scores are not ours: all are 0"),
    "last batch repeats": (MSP, np.r_[MSP[:768], MSP[:9]], "they repeat the first ones"),
    "last batch is the one before": (MSP, np.r_[MSP[:768], MSP[759:768]], "they repeat those before them"),
    "OOD flipped": (MSP, np.where(HEAD, MSP, -MSP), "the last 377 of 777 scores are not ours: their sign is flipped"),
    "OOD scaled": (MSP, np.where(HEAD, MSP, 3 * MSP + 1), "the last 377 of 777 scores are not ours: they are 3 times ours + 1"),
    "standardised by set": (MSP, np.r_[2 * MSP[:400] + 1, 3 * MSP[400:]], "in the first 400 rows and"),
    "some rows of others": (MSP, np.where(np.arange(N) % 50 == 3, -0.123, MSP), "16 of 777 scores are not ours (rows 3, 53"),
    "one without a value": (MSP, np.where(np.arange(N) == 5, np.nan, MSP), "not finite: row 5"),
    "cut from below": (MSP, MSP.clip(-0.9), "cut at -0.9 from below"),
    "cut from above": (MSP, MSP.clip(None, -0.4), "cut at -0.4 from above"),
    "cut at both ends": (MSP, MSP.clip(-0.9, -0.4), "cut to [-0.9, -0.4]"),
    "half precision": (MSP, MSP.astype(np.float16).astype(float), "half precision"),
    "three decimals": (MSP, MSP.round(3), "rounded to 0.001"),
    "by batch": (MSP, by_batch(MSP, 64), "batch by batch (batches of 64)"),
    "row before": (MSP, np.roll(MSP, 1), "each is that of the row before"),
    "reversed": (MSP, MSP[::-1], "(reversed)"),
    "one minus": (MSP, MSP + 1, "its scores are ours + 1: a constant is added"),
    "mean of exp": (ENERGY, ENERGY + np.log(10), "log(10): a mean of so many"),
    "root": (-ENERGY, np.sqrt(-ENERGY), "the root of ours"),
    "ranks": (MSP, np.argsort(np.argsort(MSP)).astype(float), "the ranks of ours"),
    "energy for msp": (MSP, ENERGY, "another score: the energy"),
    "largest logit for msp": (MSP, -LOGITS.max(1), "another score: the largest logit"),
    "entropy for msp": (MSP, entropy(LOGITS), "another score: the entropy"),
    "margin for msp": (MSP, -np.diff(np.sort(PROBS, 1)[:, -2:])[:, 0], "another score: the margin of the two largest prob"),
    "second for msp": (MSP, -np.sort(PROBS, 1)[:, -2], "another score: the second largest probability"),
    "wrong axis": (MSP, -metrics.softmax(LOGITS.T).T.max(1), "softmax over samples"),
    "energy of probabilities": (ENERGY, -np.asarray(logsumexp(PROBS, 1)), "of the probabilities, not of the logits"),
    "energy without log": (ENERGY, -np.exp(LOGITS).sum(1), "the energy's logarithm is missing"),
    "energy at T = 10": (ENERGY, -10 * logsumexp(LOGITS / 10, 1), "divided by 10: the energy"),
    "msp at T = 1000": (MSP, -metrics.softmax(LOGITS / 1000).max(1), "divided by 1000: the largest softmax"),
    "msp at another T": (MSP, -metrics.softmax(LOGITS / 1.73).max(1), "divided by 1.73: the largest softmax"),
    "of the label": (MSP, -own(PROBS, LABELS), "those of another class (the label?)"),
}  # fmt: skip


@pytest.mark.parametrize("fault", SCORES)
def test_scores(fault):
    """Catches scores that are ours but for some rows, digits or batches, and those that are another's."""
    ours, theirs, words = SCORES[fault]
    said = diagnosis.scores(ours, theirs, logits=LOGITS)
    assert words in said, said


def evidence(count, seed):
    rng = np.random.default_rng(seed)
    x = rng.random((count, 1, 3, 4), dtype=np.float32)
    logits, features = (rng.standard_normal((count, k)).astype(np.float32) for k in (3, 12))
    return Evidence(logits, features, x, rng.integers(0, 3, count))


def test_the_score_of_another_detector():
    """Catches a plug that is wired to another method of the same library."""
    seen = [evidence(count, seed) for seed, count in enumerate((300, 90, 60))]
    known = dict(every_score(*seen, model=planted()))
    assert {"msp", "mls", "pytorch_ood/knn", "pytorch_ood/mahalanobis"} <= set(known)
    for name in ("pytorch_ood/knn", "pytorch_ood/mahalanobis"):
        said = diagnosis.scores(known["msp"], -2 * known[name], others=known.items())
        assert said == f"it is the score {name}, and the sign is flipped"
    for one, other in itertools.permutations(("msp", "pytorch_ood/vim"), 2):
        assert other in diagnosis.scores(known[one], known[other], others=known.items())


def test_sound_scores():
    """Catches rounding that is taken for a fault."""
    for ours in (MSP, ENERGY, entropy(LOGITS)):
        assert diagnosis.scores(ours, ours, logits=LOGITS) == ""
        near = ours.astype(np.float32).astype(float)
        assert diagnosis.scores(ours, near, logits=LOGITS) == ""
