"""The ledger's lines on metrics and scores: silent where all is well, and right about the cause if not."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
from scipy.special import softmax as softmax_as_given

from harness.core.registry import Library, registry
from harness.core.types import Evidence
from harness.crosscheck import calibration, ood
from harness.crosscheck.comparison import Comparison, rows
from harness.metrics import softmax

FINE = ("identical", "equivalent", "explained", "not comparable")


@pytest.fixture
def break_plug(monkeypatch):
    """Put a broken function in the place of a plug's."""

    def put(kind, name, function):
        plug = registry.get(kind, name)
        monkeypatch.setitem(
            registry._plugs, (kind, name), replace(plug, function=function(plug.function))
        )

    return put


def _logits(n=400, classes=10, scale=3.0, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 2
    labels = np.array([rng.choice(classes, p=p) for p in softmax(logits)])
    return (scale * logits).astype(np.float32), labels


def _calibration(logits, labels, bins=15):
    native = softmax_as_given(logits, axis=1)
    return calibration.comparisons(softmax(logits), labels, native=native, bins=bins)


def _line(lines, concept, a, b, protocol):
    titles = {
        "ece": "ECE",
        "mce": "MCE",
        "temperature": "Temperature",
        "brier": "Brier score",
        "nll": "NLL",
    }
    title = titles.get(concept, concept)
    found = [
        line
        for line in lines
        if line.what.startswith(title) and (line.a, line.b, line.protocol) == (a, b, protocol)
    ]
    assert len(found) == 1
    return found[0]


# ------------------------------------------------------------ calibration


@pytest.mark.parametrize("scale", [0.3, 3.0, 30.0], ids=["soft", "sharp", "saturated"])
@pytest.mark.parametrize("classes", [2, 10])
@pytest.mark.parametrize("seed", range(3))
def test_no_false_alarm(scale, classes, seed):
    """Catches tolerances too tight for float32, and known deviations that are not recognised."""
    lines = rows(_calibration(*_logits(400, classes, scale, seed)), "a model")
    assert {line.verdict for line in lines} <= set(FINE), [
        x for x in lines if x.verdict not in FINE
    ]
    assert not [x for x in lines if x.protocol == "lockstep" and x.verdict == "explained"]


@pytest.mark.parametrize("n", [1, 2, 99])
def test_few_samples_are_compared_too(n):
    logits, labels = _logits(n)
    assert {line.verdict for line in rows(_calibration(logits, labels))} <= set(FINE)


def test_confidences_of_one_are_named_as_the_cause():
    """C2. Catches an explanation without a count, and another entry than the mechanism."""
    logits = np.array([[20.0, 0, 0]] * 50 + [[3.5, 0, 0]] * 50, np.float32)
    labels = np.array([0] * 40 + [1] * 10 + [0] * 50)
    lines = rows(_calibration(logits, labels, bins=10))
    native = _line(lines, "ece", "harness", "torchmetrics", "native")
    assert (native.verdict, native.deviation) == ("explained", "C2")
    assert "confidence-one on 50 of 100" in native.explanation
    assert _line(lines, "ece", "harness", "torchmetrics", "lockstep").verdict == "equivalent"


def test_confidences_on_an_edge_are_named_as_the_cause():
    """C1: float32 confidences of 0.7 and 0.9, of which netcal loses all."""
    native = np.array([[0.7, 0.1, 0.1, 0.1]] * 30 + [[0.9, 0.05, 0.05, 0]] * 30, np.float32)
    labels = np.arange(60) % 3
    found = calibration.comparisons(native.astype(np.float64), labels, native=native, bins=10)
    line = _line(rows(found), "ece", "harness", "netcal", "native")
    assert (line.verdict, line.deviation) == ("explained", "C1")
    assert "on-edge on 60 of 60" in line.explanation


def test_a_probability_above_one_is_named_as_the_cause():
    """C3. Ours are given the same probabilities, as they should be."""
    logits, labels = _logits()
    native = softmax_as_given(logits, axis=1)
    native[0] = 0
    native[0, 0] = np.float32(1.0000001)
    line = _line(
        rows(calibration.comparisons(softmax(logits), labels, native=native)),
        "ece", "harness", "torchmetrics", "native",
    )  # fmt: skip
    assert (line.verdict, line.deviation) == ("explained", "C3")


def test_a_known_crash_is_explained_and_not_a_failure():
    """C5e: two labels of ten classes."""
    logits, labels = _logits()
    line = _line(rows(_calibration(logits, labels % 2)), "ece", "harness", "netcal", "native")
    assert (line.verdict, line.deviation) == ("explained", "C5e")


@pytest.mark.parametrize("scale", [1.5, 30.0], ids=["in range", "out of range"])
def test_a_temperature_of_one_in_float32_is_explained(scale):
    """C6. Catches a line that says different because the lockstep witness cannot be asked."""
    lines = rows(_calibration(*_logits(2000, scale=scale)))
    assert _line(lines, "temperature", "harness", "netcal", "native").deviation == "C6"
    asked = _line(lines, "temperature", "harness", "netcal", "lockstep")
    assert asked.verdict == ("equivalent" if scale < 2 else "not comparable")


def test_two_conventions_of_brier_are_explained():
    line = _line(rows(_calibration(*_logits(classes=2))), "brier", "harness", "sklearn", "native")
    assert (line.verdict, line.deviation) == ("explained", "C7")


FAULTS = {
    "bins (a, b]": lambda f: (
        lambda p, y, **k: f(np.where(p == p.max(1, keepdims=True), np.nextafter(p, 0), p), y, **k)
    ),
    "the last bin dropped": lambda f: (
        lambda p, y, **k: f(p[p.max(1) < 0.9], y[p.max(1) < 0.9], **k)
    ),
    "softmax twice": lambda f: lambda p, y, **k: f(softmax(p), y, **k),
    "one bin more": lambda f: lambda p, y, *, bins: f(p, y, bins=bins + 1),
    "labels shifted": lambda f: lambda p, y, **k: f(p, np.roll(y, 1), **k),
}


@pytest.mark.parametrize("name", [name for name in FAULTS if name != "bins (a, b]"])
@pytest.mark.parametrize("scale", [1.0, 30.0], ids=["calibrated", "saturated"])
def test_a_fault_of_ours_is_found_and_not_explained_away(break_plug, name, scale):
    """The saturated model has every condition of C1c, C2 and C4b: they must not cover for us."""
    break_plug("metric", "ece", FAULTS[name])
    lines = rows(_calibration(*_logits(scale=scale)))
    for witness in ("netcal", "torchmetrics"):
        for protocol in ("lockstep", "native"):
            line = _line(lines, "ece", "harness", witness, protocol)
            assert line.verdict == "different", line
    assert _line(lines, "ece", "netcal", "torchmetrics", "lockstep").verdict in FINE


def test_a_log_of_base_2_is_found_on_a_saturated_model(break_plug):
    """C9 predicts a difference of scikit-learn there; it must not cover for us."""
    break_plug("metric", "nll", lambda f: lambda p, y: f(p, y) / np.log(2))
    lines = rows(_calibration(*_logits(scale=30.0)))
    for protocol in ("lockstep", "native"):
        assert _line(lines, "nll", "harness", "sklearn", protocol).verdict == "different"


def test_bins_closed_on_the_wrong_side_are_found_where_it_matters(break_plug):
    native = np.array([[0.7, 0.3], [0.8, 0.2]] * 20, np.float32)
    labels = np.arange(40) % 2
    break_plug("metric", "mce", FAULTS["bins (a, b]"])
    probs = np.array([[0.5, 0.5], [0.55, 0.45]] * 20)
    found = calibration.comparisons(probs, labels, native=native, bins=10)
    assert _line(rows(found), "mce", "harness", "netcal", "lockstep").verdict == "different"


def test_a_crash_is_a_failure_with_its_exception(break_plug):
    def crash(_):
        def broken(probs, labels, **_):
            raise ZeroDivisionError("by a bin")

        return broken

    break_plug("metric", "netcal/ece", crash)
    line = _line(rows(_calibration(*_logits())), "ece", "harness", "netcal", "lockstep")
    assert line.verdict == "failed"
    assert "ZeroDivisionError: by a bin" in line.explanation
    assert line.largest is None


def test_a_library_that_is_not_there_is_missing(monkeypatch):
    absent = Library("torchmetrics", "no_such_module", "torchmetrics", "1.9.0")
    plug = registry.get("metric", "torchmetrics/ece")
    monkeypatch.setitem(registry._plugs, ("metric", plug.name), replace(plug, library=absent))
    lines = rows(_calibration(*_logits()))
    for protocol in ("lockstep", "native"):
        line = _line(lines, "ece", "harness", "torchmetrics", protocol)
        assert line.verdict == "missing"
        assert "torchmetrics==1.9.0" in line.explanation


# ------------------------------------------------------------ OOD


def _seen(logits):
    logits = np.asarray(logits, np.float32)
    return Evidence(logits, None, np.zeros((len(logits), 1, 1, 1), np.float32), None)


@pytest.fixture(params=[2.0, 10.0], ids=["soft", "saturated"])
def views(request):
    rng = np.random.default_rng(0)
    inside = rng.normal(size=(200, 10)) + 4 * np.eye(10)[np.arange(200) % 10]
    return _seen(request.param * inside), _seen(request.param * rng.normal(size=(150, 10)))


def _scored(inside, outside):
    return rows(ood.score_comparisons(inside, inside, outside, model=None), "a model")


def test_scores_agree_without_a_false_alarm(views):
    lines = _scored(*views)
    assert {line.what for line in lines} == {"scores of msp", "scores of mls"}
    assert {line.verdict for line in lines} <= {"identical", "equivalent", "explained"}
    assert {line.deviation for line in lines} <= {"", "O3"}


@pytest.mark.parametrize("concept", ["msp", "mls"])
def test_a_flipped_sign_is_found(break_plug, views, concept):
    break_plug("detector", concept, lambda f: lambda fit, **k: lambda seen: -f(fit, **k)(seen))
    lines = [line for line in _scored(*views) if line.what == f"scores of {concept}"]
    assert {line.verdict for line in lines} == {"different"}
    assert all(abs(line.difference) > 0.5 for line in lines)


def test_ties_in_float32_that_change_the_auroc_are_explained():
    """O3: every score is within 1e-5 of ours, and yet the ranking is another."""
    gaps = np.r_[np.linspace(20, 30, 100), np.linspace(18, 28, 100)]
    seen = _seen(np.c_[gaps, np.zeros(200)])
    part = [
        Evidence(seen.logits[rows], None, seen.x[rows]) for rows in (slice(100), slice(100, 200))
    ]
    native = next(x for x in _scored(*part) if x.protocol == "native" and x.what == "scores of msp")
    assert native.largest < 1e-5
    assert abs(native.difference) > 0.01
    assert (native.verdict, native.deviation) == ("explained", "O3")


@pytest.mark.parametrize("decimals", [0, 8], ids=["tied", "distinct"])
def test_rankings_agree_and_the_two_auprs_are_kept_apart(decimals):
    rng = np.random.default_rng(0)
    inside, outside = (
        rng.normal(size=300).round(decimals),
        (rng.normal(size=200) + 1).round(decimals),
    )
    lines = rows(ood.metric_comparisons(inside, outside, detector="msp"), "a model")
    assert {line.verdict for line in lines} == {"identical", "equivalent", "not comparable"}
    apart = [line for line in lines if line.verdict == "not comparable"]
    assert [(line.what, line.b) for line in apart] == [
        ("AUPR-out of msp", "pytorch_ood"),
        ("AUPR-in of msp", "pytorch_ood"),
    ]
    assert all("O2" in line.explanation for line in apart)


RANKING_FAULTS = {
    "wrong positive class": lambda f: lambda inside, outside: f(outside, inside),
    "flipped sign": lambda f: lambda inside, outside: f(-inside, -outside),
    "ties broken": lambda f: lambda inside, outside: f(inside, outside + 1e-9),
}


@pytest.mark.parametrize("concept", ["auroc", "aupr_out", "aupr_in", "fpr95"])
@pytest.mark.parametrize("name", RANKING_FAULTS)
def test_a_fault_in_a_ranking_is_found(break_plug, concept, name):
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(size=300).round(1), (rng.normal(size=200) + 1).round(1)
    break_plug("metric", concept, RANKING_FAULTS[name])
    titles = {"auroc": "AUROC", "aupr_out": "AUPR-out", "aupr_in": "AUPR-in", "fpr95": "FPR95"}
    lines = [
        line
        for line in rows(ood.metric_comparisons(inside, outside))
        if line.what == titles[concept] and line.a == "harness" and line.verdict != "not comparable"
    ]
    assert len(lines) >= 2
    assert {line.verdict for line in lines} == {"different"}


# ------------------------------------------------------------ what a job keeps


def test_comparisons_are_plain_data():
    """Catches arrays or NumPy numbers in what goes into a record."""
    found = _calibration(*_logits(50))
    text = json.dumps([asdict(one) for one in found])
    back = [Comparison(**one) for one in json.loads(text)]
    assert rows([replace(one, seconds=()) for one in back]) == rows(
        [replace(one, seconds=()) for one in found]
    )


def test_confidences_that_float32_clips_are_explained():
    """Catches a condition of the catalogue that counts by the precision of ours: scikit-learn's
    log-loss of float32 probabilities is clipped at 1.2e-7, which over-confident models reach."""
    logits, labels = _logits(scale=20)
    lines = rows(_calibration(logits.clip(-9, 9), labels))  # no probability below 1e-9
    nll = [line for line in lines if line.what.startswith("NLL") and "sklearn" in (line.a, line.b)]
    assert {line.protocol for line in nll} == {"lockstep", "native"}
    assert all(line.verdict in FINE for line in nll), nll
    assert "explained" in {line.verdict for line in nll}
