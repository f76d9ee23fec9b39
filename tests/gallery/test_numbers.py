"""Planted faults in metrics, detectors and records: the ledger or a check names the right cause."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from harness import metrics
from harness.checks import CHECKS
from harness.checks.relations import Relations
from harness.core.registry import Library, Plug, registry
from harness.core.types import Evidence
from harness.crosscheck import diagnosis
from harness.crosscheck.calibration import OUR_TEMPERATURE
from harness.crosscheck.comparison import Question, ask, compare, rows
from harness.jobs.score import FITTED, NOISE, _neighbours, _seen

BROKEN = Library("broken", "numpy", "numpy", "0")
RNG = np.random.default_rng(3)
LOGITS = 4 * RNG.standard_normal((777, 10))
LABELS = np.where(RNG.random(777) < 0.7, LOGITS.argmax(1), RNG.integers(0, 10, 777))
PROBS = metrics.softmax(LOGITS)
INSIDE, OUTSIDE = RNG.normal(0, 1, 410), RNG.normal(1.2, 1, 333)


def ece(probs, labels, edges=None, *, power=1, weigh=True):
    """The expected calibration error by its formula; bins are closed on the right."""
    edges = np.linspace(0, 1, 16) if edges is None else edges
    confidence, right = probs.max(1), probs.argmax(1) == labels
    total = counted = 0.0
    for low, high in itertools.pairwise(edges):
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean()) ** power
            total += gap * (inside.mean() if weigh else 1)
            counted += 1
    return total if weigh else total / counted


EDGES = np.linspace(0, 1, 16)
CALIBRATION = {
    "off-by-one bins": (lambda p, y: ece(p, y, np.linspace(0, 1, 15)), "14 bins instead of 15"),
    "last bin dropped": (lambda p, y: ece(p, y, EDGES[:-1]), "last bin is dropped"),
    "unweighted": (lambda p, y: ece(p, y, weigh=False), "without their weights"),
    "in percent": (lambda p, y: 100 * ece(p, y), "in percent"),
    "one-based labels": (lambda p, y: ece(p, (y + 1) % 10), "counted from one"),
    "softmax twice": (lambda p, y: ece(metrics.softmax(p), y), "softmax is taken twice"),
    "last batch dropped": (lambda p, y: ece(p[:768], y[:768]), "last batch is dropped"),
    "labels of other rows": (lambda p, y: ece(p, np.roll(y, 1)), "do not match"),
    "temperature": (lambda p, y: ece(metrics.softmax(2 * np.log(p)), y), "a temperature"),
    "gaps with signs": (
        lambda p, y: abs(p.max(1).mean() - (p.argmax(1) == y).mean()),
        "not taken as absolute",
    ),
}
RANKING = {
    "wrong positive class": (
        lambda a, b: roc_auc_score(np.repeat([1, 0], [len(a), len(b)]), np.r_[a, b]),
        "wrong positive class",
    ),
    "in percent": (lambda a, b: 100 * metrics.auroc(a, b), "in percent"),
    "last batch dropped": (lambda a, b: metrics.auroc(a[:400], b[:300]), "last batch is dropped"),
}


def verdict(concept, function, *arrays, **given):
    """The row of ours against `function`, given the same arrays."""
    plug = Plug("metric", f"broken/{concept}", function, BROKEN, ())
    ours = OUR_TEMPERATURE if concept == "temperature" else registry.get("metric", concept)
    why = diagnosis.ranking if concept in ("auroc", "fpr95", "aupr_out") else diagnosis.calibration
    question = Question(concept, "ood", concept, "lockstep", len(arrays[0]), 1e-9, {})
    found = compare(
        question, ask(ours, lambda: ours.function(*arrays, **given)), ask(plug, lambda: function(*arrays)),
        diagnose=lambda value: why(concept, value, *arrays, **given),
    )  # fmt: skip
    (row,) = rows([found])
    return row


@pytest.mark.parametrize("fault", CALIBRATION)
def test_a_fault_in_ece(fault):
    """Catches a ledger that sees another number and does not know why."""
    function, words = CALIBRATION[fault]
    row = verdict("ece", function, PROBS, LABELS, bins=15)
    assert row.verdict == "different"
    assert words in row.explanation.partition("probable cause: ")[2]


@pytest.mark.parametrize("fault", RANKING)
def test_a_fault_in_auroc(fault):
    """Catches the same for rankings."""
    function, words = RANKING[fault]
    row = verdict("auroc", function, INSIDE, OUTSIDE)
    assert row.verdict == "different"
    assert words in row.explanation.partition("probable cause: ")[2]


def test_sound_metrics_raise_no_alarm():
    assert verdict("ece", ece, PROBS, LABELS, bins=15).verdict in ("identical", "equivalent")
    assert verdict("auroc", metrics.auroc, INSIDE, OUTSIDE).verdict == "identical"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: -s, "sign of the score is flipped"),
        (lambda s: np.roll(s, 1), "another order than the samples"),
        (lambda s: 2 * s + 1, "2 times ours + 1"),
        (np.exp, "our order on another scale"),
        (lambda s: s[:-5], "samples are dropped"),
        (lambda s: 0 * s, "all its scores are equal"),
        (lambda s: s + 3 * np.random.default_rng(0).standard_normal(len(s)), "only in part"),
    ],
)
def test_scores_that_differ(change, words):
    """Catches a detector whose scores are not what ours are."""
    assert words in diagnosis.scores(INSIDE, change(INSIDE))


# ---------------------------------------------------------------- detectors


def evidence(count, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((count, 4)).astype(np.float32) + np.float32(offset)
    return Evidence(features, features, features.reshape(count, 1, 2, 2))


@pytest.mark.parametrize(
    ("noise", "sets", "level", "words"),
    [
        (0.03, {"far": 0.1, "near": 0.2}, "FAIL", "sign is flipped"),
        (0.03, {"far": 0.9, "near": 0.2}, "WARN", "looks familiar"),  # a flipped sign flips all
        (0.03, {"far": 0.1, "near": 0.48}, "FAIL", "sign is flipped"),
        (0.03, {"near": 0.48}, "WARN", "looks familiar"),  # below chance by chance
        (0.48, {"far": 0.1}, "", ""),
    ],
)
def test_a_flipped_sign(noise, sets, level, words):
    """H81: noise and every OOD set look more familiar than the test set, beyond chance."""
    n = {"id": 500, "noise": 200, "far": 300, "near": 300}
    facts = {"detector": "msp", "noise_auroc": noise, "auroc": sets, "n": n}
    found = CHECKS["H81"](facts)
    assert [one.level for one in found] == ([level] if level else [])
    assert all(words in one.message for one in found)


def test_a_detector_fitted_on_the_test_set():
    """H82 by the images it was given, H86 by scores that lean on their neighbours."""
    test = evidence(200)
    (leak,) = CHECKS["H82"]({"seen": _seen({FITTED: test, "id": test, NOISE: evidence(9, seed=1)})})
    assert "test data leaked" in leak.message

    def transductive(seen):
        return np.abs(seen.features - seen.features.mean(0)).sum(1)

    noise = evidence(100, seed=2)
    facts = {"neighbours": _neighbours(transductive, noise, transductive(noise))}
    (leaning,) = CHECKS["H86"](facts)
    assert "fitted on test data" in leaning.message
    plain = {
        "neighbours": _neighbours(lambda seen: seen.features.sum(1), noise, noise.features.sum(1))
    }
    assert CHECKS["H86"](plain) == []


def test_unscaled_ood_images():
    """H82: told apart by their range alone."""
    (complaint,) = CHECKS["H82"]({"ranges": {"far": (0.0, 255.0), "near": (0.0, 1.0)}})
    assert "told apart by its scale" in complaint.message


# ---------------------------------------------------------------- records


def test_a_stale_record_of_another_model():
    """H53: the prediction job and the attack did not see the same model."""
    clean = np.ones(100, bool)
    facts = Relations(
        n=100, clean=clean, eps=0.1, broken={"pgd": clean}, kinds={}, classes=10,
        strangers={"pgd linf": 12},
    )  # fmt: skip
    (complaint,) = CHECKS["H53"](facts)
    assert "stale cache" in complaint.message
