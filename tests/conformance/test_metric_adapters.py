"""Every wrapped metric against ours and against closed forms, where binning and ranking are delicate."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from harness.core.errors import InputError
from harness.core.registry import registry
from harness.metrics import METRICS, fit_temperature, softmax

LIBRARIES = ("netcal", "pytorch_ood", "sklearn", "torchmetrics")
WITNESSES = [plug for plug in registry.plugs("metric") if plug.implementation in LIBRARIES]
CALIBRATION = [plug for plug in WITNESSES if plug.meta["axis"] == "calibration"]
RANKING = [plug for plug in WITNESSES if plug.meta["axis"] == "ood"]
BRIER, NLL = (registry.get("metric", f"sklearn/{name}") for name in ("brier", "nll"))
BINNED = ("ece", "mce", "rms_calibration_error", "ace_average")


def _name(value):
    return getattr(value, "name", str(value))


def _theirs(plug):
    """The wrapped function; skips where its library, an extra, is not installed."""
    if not plug.library.installed:
        pytest.skip(f"{plug.library.module} is not installed")
    return plug.function


def _ours(plug):
    return registry.get("metric", plug.concept).function


def _tolerance(plug):
    return 1e-6 if plug.name in ("torchmetrics/auroc", *TORCH_AP) else 1e-9


TORCH_AP = ("torchmetrics/aupr_out", "torchmetrics/aupr_in")  # float32 curves: O7b


# ------------------------------------------------------------ calibration


def _rows(confidences, classes=40):
    """Rows whose first class has the given confidence, the rest shared equally."""
    confidences = np.asarray(confidences, dtype=np.float64)
    rest = (1 - confidences[:, None]) / (classes - 1)
    return np.concatenate([confidences[:, None], np.repeat(rest, classes - 1, axis=1)], axis=1)


def _drawn(n, classes, seed=0):
    rng = np.random.default_rng(seed)
    probs = rng.dirichlet(np.full(classes, 0.3), n)
    return probs, (rng.random((n, 1)) > probs.cumsum(1)[:, :-1]).sum(1)


def _on_edges(bins):
    edges = np.arange(1, bins + 1) / bins
    conf = np.repeat(edges[edges > 0.05], 3).astype(np.float32).astype(np.float64)
    return _rows(conf), np.arange(len(conf)) % 2


SATURATED = softmax(np.array([[40.0, 0, 0]] * 50 + [[3.0, 0, 0]] * 50))
CASES = {
    "one sample": (_rows([0.7]), np.array([1])),
    "all certain and right": (np.eye(3)[[0, 1, 2, 2]], np.array([0, 1, 2, 2])),
    "confidence 1/K": (np.full((20, 10), 0.1), np.arange(20) % 3),
    "confidence 1, some wrong": (np.eye(4)[np.arange(40) % 4], np.arange(40) // 10),
    "saturated in float64": (SATURATED, np.arange(100) % 3),
    "on the edges of 10 bins": _on_edges(10),
    "on the edges of 15 bins": _on_edges(15),
    "on the edges of 25 bins": _on_edges(25),
    "empty bins": (_rows([0.35] * 7 + [0.95] * 5), np.arange(12) % 2),
    "two classes": _drawn(300, 2),
    "two classes, one label": (_drawn(50, 2)[0], np.zeros(50, dtype=np.int64)),
    "ten classes, two labels": (_drawn(60, 10)[0], np.arange(60) % 2),
    "tied classes": (np.array([[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]), np.array([1, 1])),
    "float32": (_drawn(500, 10)[0].astype(np.float32), _drawn(500, 10)[1]),
    "n = 300,000": _drawn(300_000, 10),
}


def _defined(concept, probs, labels, bins):
    """Calibration errors by their definition, one bin and one sample at a time."""
    gaps = []
    edges = np.linspace(0, 1, bins + 1)
    conf, right = probs.astype(np.float64).max(1), probs.argmax(1) == labels
    for low, high in itertools.pairwise(edges):
        held = (conf >= low) & ((conf < high) | (high == 1))
        if held.any():
            gaps.append((held.mean(), abs(conf[held].mean() - right[held].mean())))
    share, gap = np.array(gaps).T
    return {
        "ece": (share * gap).sum(),
        "mce": gap.max(),
        "rms_calibration_error": np.sqrt((share * gap**2).sum()),
        "ace_average": gap.mean(),
    }[concept]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("bins", [10, 15, 25])
@pytest.mark.parametrize("plug", [p for p in CALIBRATION if p.concept in BINNED], ids=_name)
def test_binned_errors_agree_with_ours_and_with_the_definition(plug, bins, case):
    """Catches (a, b] for [a, b), a dropped or an extra last bin, and float32 on an edge."""
    probs, labels = CASES[case]
    theirs = _theirs(plug)(probs, labels, bins=bins)
    assert theirs == pytest.approx(_defined(plug.concept, probs, labels, bins), abs=1e-9)
    assert theirs == pytest.approx(_ours(plug)(probs, labels, bins=bins), abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_brier_scores_agree(case):
    """Catches a Brier score halved, as scikit-learn's of two classes (C7), or divided by K."""
    assert BRIER.function(*CASES[case]) == pytest.approx(_ours(BRIER)(*CASES[case]), abs=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_log_likelihoods_agree(case):
    """Catches a log of base 2. Where the true class has probability 0 scikit-learn clips (C9)."""
    probs, labels = CASES[case]
    probs = probs.clip(1e-12)
    probs = probs / probs.sum(1, keepdims=True)
    assert NLL.function(probs, labels) == pytest.approx(_ours(NLL)(probs, labels), abs=1e-9)


@pytest.mark.parametrize("n", [1, 99, 100, 199, 200, 250, 1000])
def test_equal_mass_errors_agree_without_ties(n):
    """Catches the last bin dropped, and a remainder in a bin of its own."""
    probs, labels = _drawn(n, 10, seed=n)
    plug = registry.get("metric", "pytorch_ood/rms_equal_mass")
    assert _theirs(plug)(probs, labels) == pytest.approx(_ours(plug)(probs, labels), abs=1e-9)


GOOD = softmax(np.random.default_rng(0).normal(size=(6, 3))), np.arange(6) % 3
BAD = {
    "NaN": (np.full((6, 3), np.nan), GOOD[1]),
    "above 1 by rounding": (np.array([[1.0000001, 0, 0]] * 6), GOOD[1]),
    "logits": (np.log(GOOD[0]), GOOD[1]),
    "sums of 0.9": (0.9 * GOOD[0], GOOD[1]),
    "one column": (np.ones((6, 1)), np.zeros(6, dtype=np.int64)),
    "a vector": (GOOD[0][:, 0], GOOD[1]),
    "no samples": (GOOD[0][:0], GOOD[1][:0]),
    "a label too large": (GOOD[0], np.array([0, 1, 2, 3, 0, 1])),
    "a label below 0": (GOOD[0], np.array([0, 1, 2, -1, 0, 1])),
    "float labels": (GOOD[0], GOOD[1].astype(float)),
    "labels too few": (GOOD[0], GOOD[1][:5]),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.parametrize("plug", CALIBRATION, ids=_name)
def test_what_is_no_probability_is_refused(plug, case):
    """Catches the numbers that netcal and torchmetrics make of anything (C3, C4d, C5c, C5d)."""
    with pytest.raises(ValueError, match=r"prob|label"):
        _theirs(plug)(*BAD[case])


# ------------------------------------------------------------ ranking


def _normal(n, m, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=n), rng.normal(size=m) + 1


SCORES = {
    "continuous": _normal(600, 400),
    "one and one": (np.array([1.0]), np.array([2.0])),
    "one of each, tied": (np.array([1.0]), np.array([1.0])),
    "ties": tuple(scores.round() for scores in _normal(600, 400)),
    "constant": (np.zeros(60), np.zeros(40)),
    "saturated maximum softmax": tuple(
        -softmax(np.c_[40 * s, 0 * s]).max(1) for s in _normal(90, 70)
    ),
    "perfect": (np.arange(5.0), np.arange(5.0, 30.0)),
    "wrong way": (np.arange(5.0, 30.0), np.arange(5.0)),
    "ties at the threshold": (np.array([0.5] * 3 + [0.1]), np.array([0.0] + [0.5] * 19)),
    "large scores": tuple(40 + 1e-3 * scores for scores in _normal(300, 200)),
    "huge scores": tuple(1e12 * scores for scores in _normal(300, 200)),
    "few ID": _normal(3, 5000),
    "n = 300,000": _normal(200_000, 100_000),
}


@pytest.mark.parametrize("case", SCORES)
@pytest.mark.parametrize("plug", [p for p in RANKING if "trapezoid" not in p.name], ids=_name)
def test_rankings_agree_with_ours(plug, case):
    """Catches ID as the positive class, interpolation, ties that win, and a sigmoid on scores."""
    theirs = _theirs(plug)(*SCORES[case])
    assert theirs == pytest.approx(_ours(plug)(*SCORES[case]), abs=_tolerance(plug))


@pytest.mark.parametrize("case", SCORES)
@pytest.mark.parametrize("side", ["in", "out"])
def test_trapezoids_agree_with_one_another(case, side):
    plugs = [plug for plug in RANKING if plug.concept == f"aupr_{side}_trapezoid"]
    one, two = (_theirs(plug)(*SCORES[case]) for plug in plugs)
    assert one == pytest.approx(two, abs=1e-12)


def test_a_trapezoid_is_never_compared_with_average_precision():
    """Catches a concept that groups the two (O2)."""
    ours = {plug.concept for plug in registry.plugs("metric") if plug.library is None}
    assert not {plug.concept for plug in RANKING if "trapezoid" in plug.name} & ours
    trapezoid = registry.get("metric", "pytorch_ood/aupr_out_trapezoid").function
    average = registry.get("metric", "sklearn/aupr_out").function
    assert trapezoid(*SCORES["constant"]) - average(*SCORES["constant"]) == pytest.approx(0.3)


@pytest.mark.parametrize(
    "inside",
    [np.array([]), np.array([0.0, np.nan]), np.array([0.0, np.inf]), np.zeros((3, 1))],
    ids=["empty", "NaN", "infinite", "a matrix"],
)
@pytest.mark.parametrize("plug", RANKING, ids=_name)
def test_what_is_no_score_is_refused(plug, inside):
    """Catches an infinite score that ranks (O1c)."""
    with pytest.raises(ValueError, match="id_scores"):
        _theirs(plug)(inside, np.ones(3))


# ------------------------------------------------------------ all of them


@pytest.mark.parametrize("plug", WITNESSES, ids=_name)
def test_witnesses_say_of_a_metric_what_the_dictionary_says(plug):
    """Catches a witness that calls lower what is higher, or sits on another axis."""
    if plug.concept in METRICS:
        metric = METRICS[plug.concept]
        said = (plug.meta["better"], plug.meta["units"], plug.meta["axis"])
        assert said == (metric.better, metric.unit, metric.axes[0])
    else:
        assert plug.concept.endswith("_trapezoid")


@pytest.mark.parametrize("plug", WITNESSES, ids=_name)
def test_input_is_not_written_to(plug):
    """Catches torch sharing memory with an array that a library clips in place."""
    given = GOOD if plug in CALIBRATION else SCORES["continuous"]
    frozen = [array.copy() for array in given]
    for array in frozen:
        array.setflags(write=False)
    assert isinstance(_theirs(plug)(*frozen), float)


@pytest.mark.parametrize(
    "concept", [*BINNED, "brier", "nll", "auroc", "aupr_out", "aupr_in", "fpr95"]
)
def test_every_figure_of_the_report_has_a_witness(concept):
    """Catches an adapter that is not registered, or under another name than ours."""
    assert any(plug.concept == concept for plug in WITNESSES)


@pytest.mark.parametrize("plug", [p for p in CALIBRATION if p.concept in BINNED], ids=_name)
def test_native_calls_are_near_ours_where_nothing_is_delicate(plug):
    """What a user of the library gets from float32 probabilities; catches another metric or bins."""
    probs, labels = _drawn(2000, 10)
    _theirs(plug)
    theirs = plug.meta["native"](probs.astype(np.float32), labels, bins=10)
    assert theirs == pytest.approx(_ours(plug)(probs, labels, bins=10), abs=1e-5)


def test_the_names_of_metrics_are_known_without_importing_a_library():
    """Catches an import at the top of an adapter, for which every `harness ls` would wait."""
    code = (
        "import sys; from harness.core.registry import registry; "
        "registry.plugs('metric'); registry.plugs('detector'); "
        "print(*{'netcal', 'torchmetrics', 'pytorch_ood', 'sklearn', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# ------------------------------------------------------------ temperature


@pytest.fixture
def temperature():
    plug = registry.get("metric", "netcal/temperature")
    return _theirs(plug)


@pytest.mark.parametrize("scale", [0.3, 1.0, 1.5])
def test_netcal_finds_our_temperature(temperature, scale):
    """Catches netcal's attribute, which is 1/T, and float32, in which it finds 1."""
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(2000, 10))
    labels = np.array([rng.choice(10, p=p) for p in softmax(logits)])
    found = temperature(softmax(scale * logits), labels)
    assert found == pytest.approx(fit_temperature(scale * logits, labels), rel=1e-4)
    assert found == pytest.approx(scale, rel=0.05)


@pytest.mark.parametrize(
    ("logits", "labels"),
    [
        (np.array([[40.0, 0, 0], [0, 1, 0], [0, 0, 1]]), np.array([0, 1, 2])),
        (np.eye(3), np.array([0, 1, 1])),
    ],
    ids=["a range that netcal clips", "two labels"],
)
def test_netcal_is_not_asked_where_it_is_known_to_fail(temperature, logits, labels):
    with pytest.raises(InputError, match="netcal"):
        temperature(softmax(logits), labels)
