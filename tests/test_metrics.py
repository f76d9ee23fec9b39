"""Metrics against libraries, closed forms and loops that were not written for them."""

import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import optimize, special, stats

from harness import metrics
from harness.core.registry import registry
from harness.metrics import METRICS
from harness.metrics.binned import mass_index

rng = np.random.default_rng(11)


def two_class(confidence, correct):
    """Probabilities and labels whose top label has these confidences (>= 0.5) and hits."""
    confidence = np.asarray(confidence, float)
    probs = np.stack([confidence, 1 - confidence], 1)
    return probs, np.where(np.asarray(correct, bool), 0, 1)


def problem(n=2000, classes=10, sharpness=3.0, seed=0):
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(n, classes)) * sharpness
    labels = np.array([draw.choice(classes, p=p) for p in special.softmax(logits / 1.7, axis=1)])
    return special.softmax(logits, axis=1), labels


def saturated_problem(n=3000):
    """What a float32 network on MNIST shows: most confidences are exactly 1."""
    draw = np.random.default_rng(3)
    logits = np.zeros((n, 10), np.float32)
    logits[:, 0] = draw.normal(18, 6, n)
    with np.errstate(under="ignore"):
        probs = special.softmax(logits, axis=1)
    return probs, np.where(draw.random(n) < 0.98, 0, 4)


# ------------------------------------------------------------------ bins


@pytest.mark.parametrize("bins", [1, 2, 7, 10, 15, 20, 25, 100])
def test_every_edge_opens_its_own_bin_and_one_closes_the_last(bins):
    """Catches right-closed bins, an extra bin for 1.0 and a bin -1 for 0.0."""
    edges = metrics.bin_edges(bins)
    assert metrics.bin_index(edges, bins).tolist() == [*range(bins), bins - 1]
    below = np.nextafter(edges[1:], 0)
    assert metrics.bin_index(below, bins).tolist() == [*range(bins)]


@pytest.mark.parametrize("bins", [0, -1, 2.5, True])
def test_a_wrong_number_of_bins_is_refused(bins):
    probs, labels = problem(20)
    with pytest.raises(ValueError, match="bins must be a whole number"):
        metrics.ece(probs, labels, bins=bins)
    with pytest.raises(ValueError, match="bins must be a whole number"):
        metrics.ace(probs, labels, bins=bins)


def test_float32_confidences_are_binned_by_their_value_and_not_by_a_float32_edge():
    """Catches netcal's lost samples: ECE 0 where 0.7 is right."""
    confidence = np.full(10, 0.7, np.float32)
    assert metrics.ece(*two_class(confidence, np.zeros(10)), bins=10) == pytest.approx(0.7)


def test_on_edge_counts_inner_edges_in_float32():
    values = np.array([0.0, 1.0, 0.2, 0.4, 0.5], np.float32)
    assert metrics.on_edge(values, bins=5) == 2
    assert metrics.on_edge(np.array([0.7]), bins=10) == 1
    assert metrics.on_edge(np.array([np.nextafter(np.float32(0.7), 1)]), bins=10) == 0


def test_saturated_counts_what_float32_rounds_to_one():
    assert metrics.saturated(np.array([1.0, 1 - 1e-9, 1 - 1e-6, 0.5])) == 0.5


def test_bins_of_equal_mass_keep_ties_together_whatever_the_order():
    """Catches np.array_split of the sorted samples, where the order decides who is in which bin."""
    values = np.array([0.1, 0.9, 0.9, 0.9, 0.9, 0.95])
    assert mass_index(values, 3).tolist() == [0, 0, 0, 0, 0, 2]
    assert mass_index(np.arange(9.0), 3).tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]


# ------------------------------------------------------------------ calibration, by hand


def test_by_hand():
    """0.95 right, 0.95 wrong, 0.55 right: two bins of ten."""
    probs, labels = two_class([0.95, 0.95, 0.55], [1, 0, 1])
    assert metrics.ece(probs, labels, bins=10) == pytest.approx((2 * 0.45 + 0.45) / 3)
    assert metrics.overconfidence(probs, labels) == pytest.approx((0.95 + 0.95 + 0.55 - 2) / 3)
    probs, labels = two_class([0.95, 0.95, 0.65], [1, 0, 1])
    gaps = np.array([0.45, 0.35])
    assert metrics.ece(probs, labels, bins=10) == pytest.approx(gaps @ [2, 1] / 3)
    assert metrics.mce(probs, labels, bins=10) == pytest.approx(0.45)
    assert metrics.ace_average(probs, labels, bins=10) == pytest.approx(gaps.mean())
    rms = math.sqrt(gaps**2 @ [2, 1] / 3)
    assert metrics.rms_calibration_error(probs, labels, bins=10) == pytest.approx(rms)


@pytest.mark.parametrize(("hit", "expected"), [(1, 0.0), (0, 1.0)])
def test_confidence_of_exactly_one_and_zero(hit, expected):
    probs, labels = two_class(np.ones(50), np.full(50, hit))
    for name in ("ece", "mce", "rms_calibration_error", "rms_equal_mass", "ace", "ace_average"):
        assert registry.get("metric", name).function(probs, labels) == expected, name
    assert metrics.overconfidence(probs, labels) == expected
    assert metrics.brier(probs, labels) == 2 * expected


@pytest.mark.parametrize("classes", [2, 3, 10, 15, 1000])
def test_uniform_probabilities_fall_on_one_confidence_of_1_over_k(classes):
    """Catches a bin lost at the edge 1 / K, and argmax ties that go to the last class."""
    probs = np.full((60, classes), 1 / classes)
    labels = np.arange(60) % 2
    gap = 0.5 - 1 / classes
    assert metrics.accuracy(probs, labels) == 0.5
    assert metrics.ece(probs, labels) == pytest.approx(gap)
    assert metrics.overconfidence(probs, labels) == pytest.approx(-gap)
    assert metrics.nll(probs, labels) == pytest.approx(math.log(classes))
    assert metrics.brier(probs, labels) == pytest.approx(1 - 1 / classes)


def test_one_sample():
    probs, labels = np.array([[0.2, 0.7, 0.1]]), np.array([2])
    for name in ("ece", "mce", "rms_calibration_error", "rms_equal_mass", "ace_average"):
        assert registry.get("metric", name).function(probs, labels) == pytest.approx(0.7), name
    assert metrics.ace(probs, labels) == pytest.approx((0.2 + 0.7 + 0.9) / 3)


def test_reliability_curve_has_every_bin_and_nan_where_none_is():
    probs, labels = two_class([0.55, 0.95, 0.95, 1.0], [0, 1, 0, 1])
    curve = metrics.reliability_curve(probs, labels, bins=10)
    assert curve.edges.tolist() == metrics.bin_edges(10).tolist()
    assert curve.count.tolist() == [0] * 5 + [1, 0, 0, 0, 3]
    assert curve.confidence[[5, 9]] == pytest.approx([0.55, 2.9 / 3])
    assert curve.accuracy[[5, 9]] == pytest.approx([0, 2 / 3])
    assert np.isnan(curve.confidence[:5]).all()
    assert np.isnan(curve.accuracy[6:9]).all()
    held = curve.count > 0
    gap = np.abs(curve.confidence - curve.accuracy)[held]
    assert metrics.ece(probs, labels, bins=10) == pytest.approx(gap @ curve.count[held] / 4)


def test_300000_samples_keep_their_digits():
    """Catches float32 sums, which drift from the fourth digit on."""
    confidence = np.full(300_000, 0.9)
    hits = np.arange(300_000) % 10 != 0
    probs, labels = two_class(confidence, hits)
    assert metrics.ece(probs, labels) == pytest.approx(0, abs=1e-10)
    assert metrics.nll(probs, labels) == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))


# ------------------------------------------------------------------ calibration, against libraries

CASES = {
    "smooth": problem(),
    "two classes": problem(500, 2),
    "three": problem(300, 3),
    "saturated": saturated_problem(),
    "large": problem(20_000, 4, seed=5),
}


@pytest.mark.parametrize("bins", [5, 10, 15, 20])
@pytest.mark.parametrize("case", CASES)
def test_netcal_agrees(case, bins):
    """Catches wrong bins, weights and gaps; float64, as facts C1 demands."""
    from netcal.metrics import ACE, ECE, MCE

    probs, labels = CASES[case]
    probs = probs.astype(np.float64)
    top = probs.max(1), (probs.argmax(1) == labels).astype(int)
    for ours, theirs in ((metrics.ece, ECE), (metrics.mce, MCE), (metrics.ace_average, ACE)):
        assert ours(probs, labels, bins=bins) == pytest.approx(theirs(bins).measure(*top), abs=1e-9)


@pytest.mark.parametrize("bins", [10, 15])
@pytest.mark.parametrize("case", CASES)
def test_torchmetrics_agrees_below_one(case, bins):
    """Float64 in its binary form, confidences of 1 moved below it (facts C2 to C4)."""
    import torch
    from torchmetrics.functional.classification import binary_calibration_error

    probs, labels = CASES[case]
    confidence = np.minimum(probs.astype(np.float64).max(1), np.nextafter(1, 0))
    hits = torch.from_numpy((probs.argmax(1) == labels).astype(int))
    for ours, norm in (
        (metrics.ece, "l1"),
        (metrics.mce, "max"),
        (metrics.rms_calibration_error, "l2"),
    ):
        theirs = binary_calibration_error(
            torch.from_numpy(confidence), hits, n_bins=bins, norm=norm
        )
        assert ours(probs, labels, bins=bins) == pytest.approx(float(theirs), abs=1e-9)


def test_scikit_learn_agrees_on_proper_scores_and_accuracy():
    from sklearn.metrics import accuracy_score, brier_score_loss, log_loss

    for probs, labels in (CASES["smooth"], CASES["two classes"], CASES["large"]):
        every = list(range(probs.shape[1]))
        theirs = brier_score_loss(labels, probs, labels=every, scale_by_half=False)
        assert metrics.brier(probs, labels) == pytest.approx(theirs, rel=1e-12)
        theirs = log_loss(labels, probs, labels=every)
        assert metrics.nll(probs, labels) == pytest.approx(theirs, rel=1e-9)
        assert metrics.accuracy(probs, labels) == accuracy_score(labels, probs.argmax(1))


def test_adaptive_error_is_nixons_double_mean_where_no_values_tie():
    """Loops over classes and equal ranges; catches top-label ACE and a missing 1 / K."""
    probs, labels = problem(600, 5)
    total = 0.0
    for k in range(5):
        for rows in np.array_split(np.argsort(probs[:, k]), 15):
            total += abs((labels[rows] == k).mean() - probs[rows, k].mean())
    assert metrics.ace(probs, labels) == pytest.approx(total / (5 * 15), rel=1e-12)


def test_hendrycks_rms_takes_hundreds_and_counts_the_last_bin():
    """Catches range(len(bins) - 1), which leaves out the most confident samples."""
    probs, labels = problem(1030)
    order = np.argsort(probs.max(1))
    hits, confidence = (probs.argmax(1) == labels)[order], probs.max(1)[order]
    cuts = [*range(0, 1000, 100), 1030]
    squares = [
        (b - a) / 1030 * (hits[a:b].mean() - confidence[a:b].mean()) ** 2
        for a, b in itertools.pairwise(cuts)
    ]
    assert metrics.rms_equal_mass(probs, labels) == pytest.approx(math.sqrt(sum(squares)))
    few = problem(30)
    assert metrics.rms_equal_mass(*few) == pytest.approx(abs(metrics.overconfidence(*few)))
    with pytest.raises(ValueError, match="bin_size"):
        metrics.rms_equal_mass(*few, bin_size=0)


@pytest.mark.parametrize("n", [1000, 1030, 30])
def test_pytorch_ood_agrees_on_hendrycks_rms_without_ties(n):
    """pytorch-ood 0.4.0 counts the last bin too; with ties it depends on the order, ours does not."""
    import torch
    from pytorch_ood.metrics.functional import calibration_error

    probs, labels = problem(n)
    hits = torch.from_numpy(probs.argmax(1) == labels)
    theirs = calibration_error(torch.from_numpy(probs.max(1)), hits)
    assert metrics.rms_equal_mass(probs, labels) == pytest.approx(theirs, abs=1e-12)


@st.composite
def predictions(draw):
    """Confidences with ties, edges and ends, and whether each was right."""
    n = draw(st.integers(1, 60))
    grid = st.sampled_from([0.5, 0.6, 2 / 3, 0.7, 0.8, 0.9, 0.95, 1.0])
    confidence = draw(st.lists(grid | st.floats(0.5, 1), min_size=n, max_size=n))
    return two_class(confidence, draw(st.lists(st.booleans(), min_size=n, max_size=n)))


@settings(max_examples=60)
@given(predictions(), st.integers(1, 30), st.randoms(use_true_random=False))
def test_order_never_matters_and_the_errors_keep_their_order(given_, bins, random):
    """|overconfidence| <= ECE <= RMS <= MCE, and shuffled samples give the same."""
    probs, labels = given_
    order = np.array(random.sample(range(len(labels)), len(labels)))
    ece, rms, mce = (
        f(probs, labels, bins=bins)
        for f in (metrics.ece, metrics.rms_calibration_error, metrics.mce)
    )
    assert abs(metrics.overconfidence(probs, labels)) <= ece + 1e-12
    assert ece <= rms + 1e-12
    assert rms <= mce + 1e-12
    for f in (metrics.ece, metrics.ace, metrics.mce):
        shuffled = f(probs[order], labels[order], bins=bins)
        assert shuffled == pytest.approx(f(probs, labels, bins=bins), abs=1e-12)
    shuffled = metrics.rms_equal_mass(probs[order], labels[order], bin_size=7)
    assert shuffled == pytest.approx(metrics.rms_equal_mass(probs, labels, bin_size=7), abs=1e-12)


@pytest.mark.parametrize(
    ("probs", "labels"),
    [
        (np.array([[3.0, -1.0]]), [0]),
        (np.array([[0.5, 0.4]]), [0]),
        (np.array([[np.nan, 0.5]]), [0]),
        (np.array([[0.5, 0.5]]), [2]),
        (np.array([[0.5, 0.5]]), [0.0]),
        (np.array([0.5, 0.5]), [0, 1]),
        (np.zeros((0, 2)), []),
    ],
)
def test_what_are_no_probabilities_is_refused_and_never_guessed(probs, labels):
    """Catches an automatic softmax; logits are named in the message."""
    for name in ("ece", "ace", "nll", "brier", "accuracy"):
        with pytest.raises(ValueError, match=r"probs|labels"):
            registry.get("metric", name).function(probs, np.array(labels))
    with pytest.raises(ValueError, match="softmax first"):
        metrics.ece(np.array([[3.0, -1.0]]), np.array([0]))


# ------------------------------------------------------------------ softmax, temperature


def test_softmax_is_float64_where_float32_rounds_to_one():
    logits = np.array([[20.0, 0.0], [-1000.0, 1000.0]], np.float32)
    probs = metrics.softmax(logits)
    assert probs.dtype == np.float64
    assert probs[0, 0] < 1
    assert probs[0, 1] == pytest.approx(math.exp(-20), rel=1e-6)
    assert metrics.log_softmax(logits)[1, 0] == -2000
    assert metrics.nll(probs, np.array([1, 0])) == pytest.approx((20 + 744.44) / 2, abs=0.01)


@pytest.mark.parametrize("logits", [np.zeros(3), np.zeros((0, 3)), np.array([[0, -np.inf]])])
def test_what_are_no_logits_is_refused(logits):
    with pytest.raises(ValueError, match="logits must be"):
        metrics.softmax(logits)
    with pytest.raises(ValueError, match="logits must be"):
        metrics.fit_temperature(logits, np.zeros(len(logits), int))


def scaled(true, n=4000, seed=1):
    """Logits that are `true` times those that made the labels."""
    draw = np.random.default_rng(seed)
    logits = draw.normal(size=(n, 10)) * 4
    labels = np.array([draw.choice(10, p=p) for p in special.softmax(logits, axis=1)])
    return logits * true, labels


@pytest.mark.parametrize("true", [0.01, 0.3, 1, 3, 30, 1000])
def test_temperature_is_found_also_where_the_softmax_saturates(true):
    """Catches float32, clipping at 2e-16 (T = 15 for 30) and a search up to 5 only."""
    logits, labels = scaled(true)
    found = metrics.fit_temperature(logits.astype(np.float32), labels)
    assert found / true == pytest.approx(1, abs=0.05)
    best = optimize.minimize(
        lambda b: -special.log_softmax(logits * b[0], 1)[np.arange(len(labels)), labels].mean(),
        [1 / true],
        method="Nelder-Mead",
        options={"xatol": 1e-9 / true, "fatol": 1e-14},
    )
    assert found == pytest.approx(1 / best.x[0], rel=1e-4)


def test_temperature_equals_netcals_inverse():
    """netcal's attribute is 1 / T, and it wants float64 probabilities (facts C6)."""
    from netcal.scaling import TemperatureScaling

    logits, labels = scaled(2.0, n=1500)
    scaling = TemperatureScaling()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        scaling.fit(special.softmax(logits / 4, axis=1), labels)
    theirs = 1 / float(np.asarray(scaling.temperature).item())
    assert metrics.fit_temperature(logits / 4, labels) == pytest.approx(theirs, rel=1e-3)


def test_temperature_is_one_where_the_images_say_nothing():
    """Catches T at a bound: all right drives it to 0, and then one error costs everything."""
    logits = rng.normal(size=(50, 3))
    assert metrics.fit_temperature(logits, logits.argmax(1)) == 1
    assert metrics.fit_temperature(np.ones((4, 3)), np.array([0, 1, 2, 0])) == 1


def test_temperature_of_logits_that_are_mostly_wrong_is_large_and_finite():
    logits = np.tile([5.0, 0.0, 0.0], (30, 1))
    found = metrics.fit_temperature(logits, np.arange(30) % 2 + 1)
    assert 1e3 < found < 1e8


@pytest.mark.parametrize(
    ("logits", "labels", "said"),
    [
        (np.array([[0.25, 0.75]]), [0], "these are probabilities"),
        (np.array([[2.0, 1.0]]), [2], "labels must lie"),
        (np.array([[2.0, 1.0]]), [-1], "labels must lie"),
        (np.array([[2.0, 1.0]]), [0, 1], "labels must be"),
        (np.array([[2.0, 1.0]]), [0.0], "labels must be"),
    ],
)
def test_temperature_refuses(logits, labels, said):
    with pytest.raises(ValueError, match=said):
        metrics.fit_temperature(logits, np.array(labels))


# ------------------------------------------------------------------ ranking


def score_pairs():
    draw = np.random.default_rng(7)
    a, b = draw.normal(size=600), draw.normal(1.2, 1.3, 400)
    yield "continuous", a, b
    yield "ties", np.round(a), np.round(b)
    yield "constant", np.zeros(60), np.zeros(40)
    yield "separate", a, b + 100
    yield "reversed", b + 100, a
    yield "saturated", np.minimum(a, 0.3), np.minimum(b, 0.3)
    yield "one each", np.array([1.0]), np.array([2.0])
    yield "one against many", np.array([0.5]), b


PAIRS = {name: (a, b) for name, a, b in score_pairs()}


@pytest.mark.parametrize("name", PAIRS)
def test_scikit_learn_agrees_on_rankings(name):
    """Catches trapezoids, interpolation, ties broken by order and the wrong positive class."""
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    a, b = PAIRS[name]
    both, ood = np.concatenate([a, b]), np.repeat([0, 1], [len(a), len(b)])
    assert metrics.auroc(a, b) == pytest.approx(roc_auc_score(ood, both), abs=1e-12)
    assert metrics.aupr_out(a, b) == pytest.approx(average_precision_score(ood, both), abs=1e-12)
    inverse = average_precision_score(1 - ood, -both)
    assert metrics.aupr_in(a, b) == pytest.approx(inverse, abs=1e-12)
    for labels, scores, ours in (
        (ood, both, metrics.fpr95),
        (1 - ood, -both, metrics.fpr95_id_positive),
    ):
        fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
        assert ours(a, b) == pytest.approx(fpr[np.argmax(tpr >= 0.95)], abs=1e-12)


@pytest.mark.parametrize("name", PAIRS)
def test_pytorch_ood_agrees_where_it_defines_the_same(name):
    """AUROC and FPR95; its AUPR is the trapezoid (facts O2)."""
    import torch
    from pytorch_ood.metrics import AUROC, FPRAtTPR

    a, b = (torch.from_numpy(scores) for scores in PAIRS[name])
    scores, labels = torch.cat([a, b]), torch.cat([torch.ones(len(a)), -torch.ones(len(b))])
    for theirs, ours in ((AUROC(), metrics.auroc), (FPRAtTPR(), metrics.fpr95)):
        theirs.update(scores, labels)
        (found,) = theirs.compute().values()
        assert ours(*PAIRS[name]) == pytest.approx(found, abs=1e-9)


def test_constant_scores_by_hand():
    """Everything at one threshold: precision is the prevalence, and all ID images are flagged."""
    a, b = PAIRS["constant"]
    assert metrics.auroc(a, b) == 0.5
    assert metrics.aupr_out(a, b) == pytest.approx(0.4)
    assert metrics.aupr_in(a, b) == pytest.approx(0.6)
    assert metrics.fpr95(a, b) == metrics.fpr95_id_positive(a, b) == 1
    assert metrics.tied_scores(a, b) == 1


def test_the_two_directions_of_fpr95_differ():
    """By hand: 20 OOD, so one may be missed; 4 ID, so none may be flagged."""
    ood = np.arange(1, 21.0)
    inside = np.array([0.5, 1.5, 2.0, 30.0])
    assert metrics.fpr95(inside, ood) == 0.5  # threshold 2: 2.0 and 30.0
    assert metrics.fpr95_id_positive(inside, ood) == 1  # all up to 30 pass


def test_fpr95_needs_no_more_than_95_of_100():
    """Catches ceil(0.95 * 20), which is 20 if 0.95 * 20 rounds up, and > instead of >=."""
    for n in (20, 40, 60, 100, 300, 10_000):
        ood = np.arange(n, dtype=float)
        edge = ood[n // 20]  # 95 % of the scores are at least this
        assert metrics.fpr95(np.array([edge, edge - 0.5]), ood) == 0.5
    assert metrics.fpr_at_tpr(np.array([1.0, 3.0]), np.array([1.0, 2.0]), tpr=1) == 1
    for tpr in (0, 1.01, math.nan):
        with pytest.raises(ValueError, match="tpr"):
            metrics.fpr_at_tpr(np.ones(2), np.ones(2), tpr=tpr)


def test_auroc_of_gaussians_is_the_closed_form():
    draw = np.random.default_rng(0)
    found = metrics.auroc(draw.normal(size=200_000), draw.normal(2, size=200_000))
    assert found == pytest.approx(stats.norm.cdf(math.sqrt(2)), abs=0.001)


@pytest.mark.parametrize(
    "bad", [np.array([]), np.array([np.nan]), np.array([np.inf, 1]), np.ones((2, 2))]
)
def test_scores_that_are_none_are_refused(bad):
    for name in ("auroc", "aupr_out", "aupr_in", "fpr95", "fpr95_id_positive"):
        metric = registry.get("metric", name).function
        for pair in ((bad, np.ones(3)), (np.ones(3), bad)):
            with pytest.raises(ValueError, match="finite"):
                metric(*pair)
    with pytest.raises(ValueError, match="finite"):
        metrics.tied_scores(bad, np.ones(2))


values = arrays(float, st.integers(1, 30), elements=st.integers(-4, 4).map(float))


@settings(max_examples=80)
@given(values, values)
def test_rankings_see_only_the_order(a, b):
    """Swapping and negating both keeps AUROC, which turns round when one of the two is done."""
    assert metrics.auroc(a, b) + metrics.auroc(b, a) == pytest.approx(1)
    assert metrics.auroc(a, b) == pytest.approx(metrics.auroc(-b, -a))
    pairs = (a[:, None] < b).mean() + (a[:, None] == b).mean() / 2
    assert metrics.auroc(a, b) == pytest.approx(pairs)
    for f in (metrics.aupr_out, metrics.aupr_in, metrics.fpr95, metrics.fpr95_id_positive):
        assert f(a, b) == pytest.approx(f(np.exp(a), np.exp(b)))
    assert metrics.fpr95_id_positive(a, b) == metrics.fpr95(-b, -a)
    assert 0 <= metrics.aupr_out(a, b) <= 1


def test_tied_scores_looks_across_both_sets():
    assert metrics.tied_scores(np.array([1, 2, 2]), np.array([1, 5])) == pytest.approx(0.8)


# ------------------------------------------------------------------ the dictionary

ROWS = "accuracy robust_accuracy robust_gap asr relative_error auroc aupr_out aupr_in fpr95 fpr95_id_positive \
ece ece_floor mce rms_calibration_error rms_equal_mass ace ace_average brier nll overconfidence temperature seconds"  # fmt: skip


def test_the_dictionary_has_what_rows_carry_and_each_entry_is_whole():
    assert set(ROWS.split()) <= set(METRICS)
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.title
        assert metric.axes
        assert metric.definition.endswith("."), name
        assert metric.range[0] < metric.range[1]


def test_direction_follows_the_name():
    """scikit-learn's law: errors and losses are lower, scores higher."""
    for name, metric in METRICS.items():
        if name.endswith("_error") or name.startswith(("rms", "fpr", "ece", "mce", "ace")):
            assert metric.better in ("lower", "none"), name
        if name.startswith(("accuracy", "robust_accuracy", "au")):
            assert metric.better == "higher", name


def test_our_plugs_are_the_functions_of_the_dictionary():
    ours = [plug for plug in registry.plugs("metric") if plug.library is None]
    assert {plug.name for plug in ours} == {
        "accuracy", "nll", "brier", "ece", "mce", "rms_calibration_error", "rms_equal_mass", "ace",
        "ace_average", "overconfidence", "auroc", "aupr_out", "aupr_in", "fpr95", "fpr95_id_positive",
    }  # fmt: skip
    for plug in ours:
        metric, (low, high) = METRICS[plug.name], METRICS[plug.name].range
        assert plug.meta == {"better": metric.better, "units": metric.unit, "axis": metric.axes[0]}
        arguments = PAIRS["ties"] if plug.meta["axis"] == "ood" else CASES["smooth"]
        found = plug.function(*arguments, **plug.complete({}))
        assert isinstance(found, float)
        assert low <= found <= high
