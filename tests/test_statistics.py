"""Intervals and tests against SciPy, scikit-learn, exact enumeration, closed forms and naive loops.

How often the intervals hold the truth is measured by tests/simulations/cover.py.
"""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, special, stats
from sklearn.metrics import average_precision_score, roc_auc_score

from harness import metrics, statistics
from harness.core.arrays import top_label
from harness.statistics.bins import CLEAR, Bins, binned, noise_below
from harness.statistics.calibration import (
    ALONE,
    MORE,
    PAIRED,
    _noise,
    _patterns,
    _Search,
    _sums,
)
from harness.statistics.means import _hall, resampled, weights
from harness.statistics.proportions import exact, mcnemar, tango, wilson
from harness.statistics.ranking import _freedom, _Logits, placements

Z = stats.norm.ppf(0.975)


def bools(hits, n):
    return np.arange(n) < hits


def tables(both, wins, losses, neither):
    """Two boolean outcomes with this 2 x 2 table."""
    a = np.repeat([True, True, False, False], [both, wins, losses, neither])
    b = np.repeat([True, False, True, False], [both, wins, losses, neither])
    return a, b


# ------------------------------------------------------------------ proportions


@pytest.mark.parametrize(("hits", "n"), [(0, 1), (1, 1), (7, 10), (0, 1000), (9281, 10_000)])
def test_wilson_and_exact_are_scipys(hits, n):
    """Catches a Wald interval, a continuity correction and one-sided quantiles."""
    test = stats.binomtest(hits, n)
    for ours, method in ((wilson, "wilson"), (exact, "exact")):
        assert ours(hits, n) == pytest.approx(tuple(test.proportion_ci(method=method)), abs=1e-12)


def test_the_figures_that_checks_md_quotes():
    """99.0 % and 92.81 % of 10,000; 1,000 of 1,000 (Wilson, not the rule of three)."""
    for hits, n, low, high in ((9900, 10_000, 0.9879, 0.9918), (9281, 10_000, 0.9229, 0.9330)):
        found = statistics.proportion(bools(hits, n))
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert statistics.proportion(bools(1000, 1000)).low == pytest.approx(0.9962, abs=5e-5)


def test_few_misses_stretch_the_interval_on_both_sides_alike():
    """3 of 1,000 wrong: Wilson alone leaves 1 expected miss out, and covers 92 % there."""
    found = statistics.proportion(bools(997, 1000))
    assert found.low <= exact(997, 1000)[0] + 1e-12
    assert found.high == pytest.approx(exact(997, 1000)[1])
    assert found.high > wilson(997, 1000)[1]
    mirror = statistics.proportion(bools(3, 1000))
    assert (mirror.low, mirror.high) == pytest.approx((1 - found.high, 1 - found.low))
    many = statistics.proportion(bools(980, 1000))
    assert (many.low, many.high) == wilson(980, 1000)


@pytest.mark.parametrize("n", [100, 1000])
def test_coverage_of_a_proportion_by_enumeration_is_never_below_93(n):
    """Every outcome weighed by its probability: no simulation noise."""
    hits = np.arange(n + 1)
    ends = np.array([(e.low, e.high) for e in (statistics.proportion(bools(k, n)) for k in hits)])
    for p in np.linspace(0.0005, 0.5, 400):
        held = (ends[:, 0] <= p) & (p <= ends[:, 1])
        assert stats.binom.pmf(hits[held], n, p).sum() > 0.93


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="hits"):
        statistics.proportion(np.zeros(0, bool))
    for arguments in ((5, 4), (-1, 4), (0, 0)):
        with pytest.raises(ValueError, match="hits"):
            wilson(*arguments)
    with pytest.raises(ValueError, match="one shape"):
        statistics.paired_proportions(np.ones(3, bool), np.ones(4, bool))
    with pytest.raises(ValueError, match="one shape"):
        statistics.paired_proportions(np.ones(0, bool), np.ones(0, bool))


# ------------------------------------------------------------------ paired proportions


def constrained_score(d, wins, losses, n):
    """Tango's statistic with the maximum likelihood found by a numerical search."""

    def minus_likelihood(q):  # q = probability of a loss; of a win q + d
        cells = np.array([q + d, q, 1 - 2 * q - d])
        counts = np.array([wins, losses, n - wins - losses])
        return -special.xlogy(counts, np.maximum(cells, 1e-300)).sum()

    low, high = max(0.0, -d), (1 - d) / 2
    q = optimize.minimize_scalar(
        minus_likelihood, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    return (wins - losses - n * d) / math.sqrt(n * (2 * q + d - d * d))


@pytest.mark.parametrize("table", [(12, 3, 200), (6, 0, 50), (0, 9, 44), (30, 28, 500), (8, 8, 16)])
def test_tango_inverts_the_score_test_at_both_ends(table):
    """Catches a Wald interval, swapped counts and a wrong root of the quadratic."""
    low, high = tango(*table)
    assert constrained_score(low, *table) == pytest.approx(Z, abs=1e-3)
    assert constrained_score(high, *table) == pytest.approx(-Z, abs=1e-3)


@pytest.mark.parametrize(("wins", "losses", "p"), [(6, 0, 0.03125), (5, 0, 0.0625), (35, 0, 2**-34), (0, 0, 1), (4, 4, 1)])  # fmt: skip
def test_exact_mcnemar_by_hand(wins, losses, p):
    """6 : 0 is the smallest sweep that shows; 35 : 0 is the TRADES example of checks.md, p 6e-11."""
    assert mcnemar(wins, losses) == pytest.approx(p)
    found = statistics.paired_proportions(*tables(900, wins, losses, 20))
    assert (found.p, found.wins, found.losses) == (pytest.approx(p), wins, losses)
    assert found.value == (wins - losses) / found.n


@given(st.integers(0, 60), st.integers(0, 60))
def test_exact_mcnemar_is_the_binomial_test(wins, losses):
    expected = stats.binomtest(wins, wins + losses).pvalue if wins + losses else 1.0
    assert mcnemar(wins, losses) == pytest.approx(expected)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 300))
def test_a_paired_interval_is_antisymmetric_and_agrees_with_the_test_on_sweeps(wins, losses, rest):
    """Swapping the two turns the interval round; what cannot be significant does not exclude 0."""
    n = wins + losses + rest
    if n == 0:
        return
    low, high = tango(wins, losses, n)
    assert tango(losses, wins, n) == pytest.approx((-high, -low), abs=1e-9)
    assert -1 <= low <= (wins - losses) / n <= high <= 1
    if mcnemar(wins, losses) <= 0.05:
        assert low > 0 or high < 0
    if wins + losses < 6:
        assert low <= 0 <= high


def test_concordant_pairs_of_either_kind_are_equal():
    """Whether both are right or both wrong says nothing about the difference."""
    one = statistics.paired_proportions(*tables(90, 7, 2, 1))
    other = statistics.paired_proportions(*tables(1, 7, 2, 90))
    assert one == other


# ------------------------------------------------------------------ means


def test_a_mean_of_symmetric_values_has_nearly_the_t_interval():
    values = np.clip(np.random.default_rng(0).normal(0.5, 0.1, 4000), 0, 1)
    found = statistics.mean(values, largest=1.0)
    half = Z * values.std(ddof=1) / math.sqrt(4000)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half), abs=2e-5)  # fmt: skip


def test_halls_interval_undoes_his_cubic():
    """The transformed statistic at each end is -z and z; catches a wrong sign of the skewness."""
    values = np.random.default_rng(1).exponential(size=300)
    n, spread = len(values), values.std(ddof=1)
    g = np.mean(((values - values.mean()) / spread) ** 3)
    for end, expected in zip(_hall(values), (Z, -Z), strict=True):
        w = (values.mean() - end) / spread
        cubic = math.sqrt(n) * (w + g * w**2 / 3 + g**2 * w**3 / 27 + g / (6 * n))
        assert cubic == pytest.approx(expected, rel=1e-9)


def test_skewness_moves_both_ends_to_the_heavy_side():
    values = np.random.default_rng(2).exponential(size=200)
    found = statistics.mean(values)
    assert found.high - found.value > found.value - found.low
    mirror = statistics.mean(values.max() - values, largest=values.max())
    again = statistics.mean(values, largest=values.max())
    ends = (values.max() - mirror.high, values.max() - mirror.low)
    assert (again.low, again.high) == pytest.approx(ends)


def test_where_nothing_is_wrong_the_unseen_image_bounds_the_mean():
    """Catches [1, 1]: 3.69 / n is what a gamma variable with one event has at 97.5 %."""
    found = statistics.mean_over_cases(np.ones((15, 500), bool))
    assert (found.value, found.high) == (1, 1)
    assert found.low == pytest.approx(1 - stats.gamma.ppf(0.975, 1) / 500)


def test_a_skewed_mean_is_no_wider_than_the_gamma_bound():
    """9 of 1,000 images are wrong everywhere: Hall's upper end alone lies beyond, and holds 97.5 %."""
    right = np.ones((15, 1000), bool)
    right[:, :9] = False
    right[0, 9:12] = False
    found = statistics.mean_over_cases(right)
    wrong = 1 - right.mean(0)
    total, square = wrong.sum() + 1, (wrong**2).sum() + 1
    bound = stats.gamma.ppf(0.975, total**2 / square, scale=square / total) / 1000
    assert 1 - found.low == pytest.approx(bound)
    assert _hall(wrong)[1] > bound


def test_cases_are_not_samples():
    """15 copies of one outcome say no more than one: catches 150,000 independent predictions."""
    right = np.random.default_rng(3).random(1000) < 0.9
    once = statistics.mean_over_cases(right[None])
    often = statistics.mean_over_cases(np.tile(right, (15, 1)))
    assert (once.low, once.high, once.n) == pytest.approx((often.low, often.high, often.n))
    alone = statistics.proportion(right)
    assert (once.low, once.high) == pytest.approx((alone.low, alone.high), abs=1e-3)


@pytest.mark.parametrize("values", [[], [-0.1, 0.5], [0.5, 1.1], [[0.5]], [math.nan]])
def test_a_mean_refuses_what_its_bound_excludes(values):
    with pytest.raises(ValueError, match="values must be"):
        statistics.mean(np.array(values), largest=1.0)


def test_one_sample_and_equal_samples():
    assert statistics.mean(np.array([0.3])).low is None
    found = statistics.mean(np.full(100, math.log(10)))
    assert (found.low, found.high) == pytest.approx((math.log(10), math.log(10)))
    assert statistics.mean(np.zeros(50)).high == 0  # nothing seen, nothing known to bound it


def test_nll_has_no_interval_before_five_surprises_are_expected():
    """500 samples of which each expects 1 % are five; how many there were does not matter."""
    few, enough = (np.full(n, -math.log(0.99)) for n in (499, 501))
    for surprises in (0, 4, 20):
        assert statistics.mean_nll(np.r_[few, np.full(surprises, 3.0)]).low is None
        found = statistics.mean_nll(np.r_[enough, np.full(surprises, 3.0)])
        assert found.low <= found.value <= found.high
    assert statistics.mean_nll(few).value == pytest.approx(-math.log(0.99))


# ------------------------------------------------------------------ differences of means


@settings(max_examples=50)
@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 60), st.integers(0, 60))
def test_a_difference_of_one_case_is_the_paired_proportion(both, wins, losses, neither):
    """Effective counts of 0s and 1s are the counts; from FEWER discordant pairs on, to the digit."""
    a, b = tables(both, wins, losses, neither)
    if wins + losses < 4:
        return
    mean, paired = statistics.mean_difference(a, b), statistics.paired_proportions(a, b)
    assert (mean.low, mean.high) == pytest.approx((paired.low, paired.high), abs=1e-9)
    assert mean.p == pytest.approx(paired.p)
    assert (mean.wins, mean.losses, mean.n) == (wins, losses, len(a))


def test_many_small_differences_have_the_paired_t_interval():
    draw = np.random.default_rng(4)
    a, b = draw.exponential(size=(2, 5000))
    found = statistics.mean_difference(a, b)
    test = stats.ttest_rel(a, b)
    interval = test.confidence_interval()
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=2e-3)
    assert found.p == pytest.approx(test.pvalue, abs=0.02)


def test_a_difference_scales_and_turns_round():
    draw = np.random.default_rng(5)
    a, b = draw.exponential(size=(2, 400))
    once, tenfold = statistics.mean_difference(a, b), statistics.mean_difference(10 * a, 10 * b)
    assert (tenfold.low, tenfold.high) == pytest.approx((10 * once.low, 10 * once.high))
    back = statistics.mean_difference(b, a)
    assert (back.low, back.high, back.p) == pytest.approx((-once.high, -once.low, once.p))


def test_equal_outcomes_differ_by_what_was_not_seen():
    same = np.ones((3, 200))
    found = statistics.mean_difference(same, same, largest=1.0)
    assert (found.low, found.high) == pytest.approx(tango(0, 0, 200))
    assert (found.value, found.p, found.wins) == (0, 1, 0)
    assert statistics.mean_difference(same, same).high == 0


def test_few_images_leave_room_for_one_more():
    """2 of 300 images differ, in 1 of 15 cases: another one could differ in all 15."""
    a = np.ones((15, 300))
    b = a.copy()
    b[0, :2] = 0
    bounded, seen = (statistics.mean_difference(a, b, largest=w) for w in (1.0, math.inf))
    assert bounded.high > Z / 300
    assert bounded.low < 0 < seen.high < bounded.high


def test_unpaired_shapes_are_refused():
    with pytest.raises(ValueError, match="one shape"):
        statistics.mean_difference(np.ones((3, 5)), np.ones((3, 6)))
    with pytest.raises(ValueError, match="one shape"):
        statistics.mean_difference(np.ones((3, 0)), np.ones((3, 0)))


# ------------------------------------------------------------------ ratios, draws, seeds


def test_bootstrap_weights_are_counts_of_draws_and_equal_for_every_caller():
    found = weights(50)
    assert found.shape == (2000, 50)
    assert set(found.sum(1)) == {50}
    assert found.mean() == 1
    assert np.array_equal(found, weights(50))
    assert not found.flags.writeable


def test_resampled_means_are_means_of_resamples(monkeypatch):
    """Both ways of drawing have the mean and the standard error of the sample."""
    values = np.random.default_rng(6).exponential(size=(400, 2))
    whole = resampled(values)
    monkeypatch.setattr("harness.statistics.means.CHUNK", 0)
    sliced = resampled(values)
    for draws in (whole, sliced):
        assert draws.mean(0) == pytest.approx(values.mean(0), abs=0.01)
        assert draws.std(0) == pytest.approx(values.std(0) / 20, rel=0.08)


def test_relative_error_by_hand():
    """Errors 0.1 / 0.2 and 0.3 / 0.1: the mean of the ratios, not the ratio of the means."""
    a = np.stack([~bools(100, 1000), ~bools(300, 1000)])
    b = np.stack([~bools(200, 1000), ~bools(100, 1000)])
    found = statistics.relative_error(a, b)
    assert found.value == pytest.approx((0.5 + 3) / 2)
    assert found.low < found.value < found.high
    same = statistics.relative_error(a, a)
    assert (same.value, same.low, same.high) == pytest.approx((1, 1, 1))


def test_relative_error_without_errors_of_the_baseline():
    perfect, one, some = (np.array([~bools(k, 100)]) for k in (0, 1, 20))
    assert statistics.relative_error(some, perfect).value == math.inf
    assert statistics.relative_error(perfect, perfect).value == 1
    assert statistics.relative_error(some, one).low is None  # absent from a third of the resamples


def test_spread_over_seeds_is_the_t_interval():
    values = np.array([0.93, 0.90, 0.92])
    found = statistics.over_seeds(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert statistics.over_seeds(values[:1]).low is None


# ------------------------------------------------------------------ AUROC


def pairs_of(seed=0, n=60, m=40, step=0.0):
    draw = np.random.default_rng(seed)
    pair = draw.normal(size=n), draw.normal(1.2, 1.5, m)
    return tuple(np.round(s / step) * step for s in pair) if step else pair


def naive_delong(a, b):
    """AUROC and variance by all pairs, as the paper writes them."""
    wins = (a[:, None] < b) + 0.5 * (a[:, None] == b)
    variance = wins.mean(1).var(ddof=1) / len(a) + wins.mean(0).var(ddof=1) / len(b)
    return wins.mean(), variance


@pytest.mark.parametrize("step", [0.0, 0.5, 2.0])
def test_delong_is_that_of_all_pairs_on_the_logit_scale(step):
    """Catches ties that count 0 or 1, a Wald interval, and ID and OOD swapped."""
    a, b = pairs_of(step=step)
    value, variance = naive_delong(a, b)
    found = statistics.auroc_interval(a, b)
    half = Z * math.sqrt(variance) / (value * (1 - value))
    expected = special.expit(special.logit(value) + np.array([-half, half]))
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx(tuple(expected))
    labels = np.repeat([0, 1], [len(a), len(b)])
    assert found.value == pytest.approx(roc_auc_score(labels, np.concatenate([a, b])))


def test_placements_keep_the_order_of_the_samples():
    a, b = pairs_of(n=5, m=4)
    inside, outside = placements(a, b)
    assert inside == pytest.approx((a[:, None] < b).mean(1))
    assert outside == pytest.approx((a[:, None] < b).mean(0))


def naive_joint(a, b, c, d):
    first, second = ((x[:, None] < y) + 0.5 * (x[:, None] == y) for x, y in ((a, b), (c, d)))
    gap = first - second
    return gap.mean(1).var(ddof=1) / len(a) + gap.mean(0).var(ddof=1) / len(b)


def logit_error(a, b, c, d):
    """Standard error of the difference of logits, by all pairs."""
    ways = [(x[:, None] < y) + 0.5 * (x[:, None] == y) for x, y in ((a, b), (c, d))]
    slopes = [1 / (way.mean() * (1 - way.mean())) for way in ways]
    gap = slopes[0] * ways[0] - slopes[1] * ways[1]
    return math.sqrt(gap.mean(1).var(ddof=1) / len(a) + gap.mean(0).var(ddof=1) / len(b))


def detectors(n=300, m=200, noise=0.3, lift=0.0):
    """Two detectors on the same samples, the second a noisy copy of the first, OOD `lift` higher."""
    a, b = pairs_of(n=n, m=m)
    draw = np.random.default_rng(9)
    return a, b, a + noise * draw.normal(size=n), b + noise * draw.normal(size=m) + lift


def test_paired_delong_is_that_of_all_pairs():
    """Catches a sum of the two variances (unpaired), which is far larger here."""
    a, b, c, d = detectors()
    found = statistics.auroc_difference(a, b, c, d)
    assert found.value == pytest.approx(metrics.auroc(a, b) - metrics.auroc(c, d))
    gap = special.logit(metrics.auroc(a, b)) - special.logit(metrics.auroc(c, d))
    p = 2 * stats.norm.sf(abs(gap) / logit_error(a, b, c, d))
    assert found.p == pytest.approx(p, rel=0.05)  # a t quantile makes it a little larger
    assert found.p > p
    error = math.sqrt(naive_joint(a, b, c, d))
    assert found.high - found.low == pytest.approx(2 * Z * error, rel=0.05)
    unpaired = math.sqrt(naive_delong(a, b)[1] + naive_delong(c, d)[1])
    assert error < unpaired / 2


def test_a_paired_auroc_interval_has_the_quantiles_of_drawn_logits():
    """Two million normal pairs of logits; catches a wrong conditional mean, and swapped quantiles."""
    a, b, c, d = detectors(lift=1.5)
    pair = _Logits.of(placements(a, b), placements(c, d))
    errors = np.array([pair.error_a, pair.error_b])
    cross = pair.correlation * errors.prod()
    covariance = np.array([[errors[0] ** 2, cross], [cross, errors[1] ** 2]])
    drawn = np.random.default_rng(1).multivariate_normal([pair.a, pair.b], covariance, 2_000_000)
    expected = np.quantile(special.expit(drawn) @ [1, -1], [0.025, 0.975])
    assert [pair.quantile(q) for q in (0.025, 0.975)] == pytest.approx(expected, abs=2e-4)


def test_a_paired_auroc_interval_is_skewed_where_the_areas_are():
    """Catches symmetric ends, which miss 0.99 against 0.995 in 7 % of samples, on one side."""
    ends = special.logit([0.99, 0.995])
    pair, back = _Logits(*ends, 0.4, 0.5, 0.5), _Logits(*ends[::-1], 0.5, 0.4, 0.5)
    low, high = pair.quantile(0.025), pair.quantile(0.975)
    assert -0.005 - low > 1.2 * (high + 0.005)
    assert [back.quantile(0.975), back.quantile(0.025)] == pytest.approx([-low, -high], abs=2e-4)


@pytest.mark.parametrize("lift", [0.0, 0.15, 0.2, 0.3, 1.5])
def test_p_and_interval_of_a_paired_auroc_agree(lift):
    """p below 0.05 if and only if 0 is outside; catches a p value made on another scale."""
    found = statistics.auroc_difference(*detectors(lift=lift))
    assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_few_deciding_samples_widen_like_t():
    """8 of 500 decide: 16 degrees of freedom; a normal sample has as many as samples."""
    few = np.r_[np.ones(8), np.zeros(492)]
    assert _freedom([few, np.zeros(300)]) == pytest.approx(2 * 8, rel=0.1)
    normal = np.random.default_rng(0).normal(size=20_000)
    assert _freedom([normal]) == pytest.approx(20_000, rel=0.05)
    assert _freedom([np.zeros(5)]) == math.inf


@pytest.mark.parametrize("n", [1, 2, 50, 300])
def test_a_perfect_auroc_is_not_certain(n):
    """Variance 0 at 1 must not give [1, 1]; 0 mirrors it."""
    low, high = np.zeros(n), np.ones(2 * n)
    best, worst = statistics.auroc_interval(low, high), statistics.auroc_interval(high, low)
    assert (best.value, best.high) == (1, 1)
    assert best.low == pytest.approx(n / (n + Z**2))
    assert (worst.value, worst.low, worst.high) == pytest.approx((0, 0, 1 - best.low))


def test_constant_scores_are_a_coin_but_not_a_certain_one():
    found = statistics.auroc_interval(np.zeros(200), np.zeros(100))
    assert found.value == 0.5
    assert 0.4 < found.low < 0.5 < found.high < 0.6
    same = statistics.auroc_difference(np.zeros(9), np.ones(9), np.zeros(9), np.ones(9))
    assert same.low < 0 < same.high
    none = statistics.auroc_difference(np.zeros(90), np.zeros(90), np.zeros(90), np.zeros(90))
    assert (none.value, none.low, none.p) == (0, None, None)


def test_near_one_hanley_and_mcneils_variance_is_the_least():
    """One OOD image of 300 in wrong order: DeLong alone does not see that it is one by chance."""
    inside, outside = np.arange(300.0), np.arange(1000.0, 1300)
    outside[0] = 150.5
    found = statistics.auroc_interval(inside, outside)
    value = found.value
    others = 299
    variance = value * (1 - value) / 300**2
    variance *= 1 + others * ((1 - value) / (2 - value) + value / (1 + value))
    delong = naive_delong(inside, outside)[1]
    half = Z * math.sqrt(max(variance, delong)) / (value * (1 - value))
    assert found.low == pytest.approx(special.expit(special.logit(value) - half))


def test_a_difference_near_one_does_not_trust_a_variance_of_nothing():
    """1 against 0.995: the perfect one contributes uncertainty although its variance is 0."""
    inside, perfect = np.arange(300.0), np.arange(1000.0, 1300)
    worse = perfect.copy()
    worse[:3] = 100.5
    found = statistics.auroc_difference(inside, perfect, inside, worse)
    assert found.value == pytest.approx(0.00664, abs=1e-4)
    assert found.high - found.low > 2 * Z * math.sqrt(naive_joint(inside, perfect, inside, worse))
    assert found.wins == 3
    with pytest.raises(ValueError, match="same samples"):
        statistics.auroc_difference(inside, perfect, inside[1:], worse)


# ------------------------------------------------------------------ AUPR, FPR95


def weighted_precision(negative, positive, weight_n, weight_p):
    labels = np.repeat([0, 1], [len(negative), len(positive)])
    scores = np.concatenate([negative, positive])
    return average_precision_score(labels, scores, sample_weight=np.concatenate([weight_n, weight_p]))  # fmt: skip


@pytest.mark.parametrize("step", [0.0, 0.5])
def test_influences_are_derivatives_of_scikit_learns_weighted_precision(step):
    """Each sample's weight is nudged in turn: the variance is the sum of squares of what happens."""
    a, b = pairs_of(step=step)
    ones = np.ones(len(a)), np.ones(len(b))
    influence = []
    for side, size in enumerate((len(a), len(b))):
        moved = []
        for k in range(size):
            ends = []
            for nudge in (1e-4, -1e-4):
                nudged = [w.copy() for w in ones]
                nudged[side][k] += nudge
                ends.append(weighted_precision(a, b, *nudged))
            moved.append((ends[0] - ends[1]) / 2e-4)
        moved = np.array(moved)
        influence.append(((moved - moved.mean()) ** 2).sum() * size / (size - 1))
    value = weighted_precision(a, b, *ones)
    found = statistics.ranking_intervals(a, b)["aupr_out"]
    half = Z * math.sqrt(sum(influence)) / (value * (1 - value))
    assert found.value == pytest.approx(value)
    assert found.low == pytest.approx(special.expit(special.logit(value) - half), rel=1e-4)
    assert found.high == pytest.approx(special.expit(special.logit(value) + half), rel=1e-4)


@pytest.mark.parametrize("step", [0.0, 0.5])
def test_ranking_values_are_those_of_the_metrics_room(step):
    a, b = pairs_of(n=137, m=59, step=step)
    found = statistics.ranking_intervals(a, b)
    for name, estimate in found.items():
        assert estimate.value == pytest.approx(getattr(metrics, name)(a, b), abs=1e-12), name
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert estimate.n == 196
    mirrored = statistics.ranking_intervals(-b, -a)
    for one, other in (("aupr_out", "aupr_in"), ("fpr95", "fpr95_id_positive")):
        ends = mirrored[other]
        assert (found[one].low, found[one].high) == pytest.approx((ends.low, ends.high))


def test_fpr95_has_the_ends_of_a_drawn_bootstrap():
    """ID and OOD resampled apart, 4,000 times; summed in closed form it must be as wide."""
    a, b = pairs_of(n=1500, m=800)
    draw = np.random.default_rng(3)
    drawn = [metrics.fpr95(draw.choice(a, len(a)), draw.choice(b, len(b))) for _ in range(4000)]
    found = statistics.ranking_intervals(a, b)["fpr95"]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.008)  # fmt: skip


def test_rankings_at_the_ends_and_with_constants():
    perfect = statistics.ranking_intervals(np.zeros(200), np.ones(300))
    assert (perfect["fpr95"].value, perfect["fpr95"].low) == (0, 0)
    assert 0.001 < perfect["fpr95"].high < 0.03
    assert (perfect["aupr_out"].value, perfect["aupr_out"].high) == (1, 1)
    assert perfect["aupr_out"].low == pytest.approx(200 / (200 + Z**2))
    constant = statistics.ranking_intervals(np.zeros(60), np.zeros(40))
    assert constant["fpr95"].value == 1
    assert constant["fpr95"].low > 0.9
    assert constant["aupr_out"].value == pytest.approx(0.4)
    assert constant["aupr_out"].low < 0.4 < constant["aupr_out"].high


# ------------------------------------------------------------------ binned calibration errors


def two_class(confidence, correct):
    confidence = np.asarray(confidence, float)
    return np.stack([confidence, 1 - confidence], 1), np.where(correct, 0, 1)


def calibrated(n, seed=0, by=0.0):
    """Confidences like MNIST's and labels that follow them, less `by`."""
    draw = np.random.default_rng(seed)
    confidence = np.maximum(special.expit(draw.normal(6, 3, n)), 0.5)
    return two_class(confidence, draw.random(n) < confidence - by)


KINDS = ("ece", "rms_calibration_error")
LOWER, UPPER = ALONE["ece"]


@pytest.mark.parametrize("kind", [*KINDS, "mce"])
def test_the_value_is_that_of_the_metric(kind):
    probs, labels = calibrated(700, by=0.03)
    for bins in (5, 15):
        found = statistics.binned_error(probs, labels, kind, bins=bins)
        assert found.value == pytest.approx(getattr(metrics, kind)(probs, labels, bins=bins))
        assert found.n == 700


def test_a_maximum_has_no_interval():
    found = statistics.binned_error(*calibrated(500), "mce")
    assert (found.low, found.high) == (None, None)
    assert "maximum" in found.method


@pytest.mark.parametrize("kind", KINDS)
def test_a_calibrated_model_reaches_down_to_zero_and_a_wrong_one_does_not(kind):
    """Catches the percentile bootstrap, whose lower end is above 0 for every calibrated model."""
    low = [statistics.binned_error(*calibrated(400, seed), kind).low for seed in range(30)]
    assert np.mean(np.array(low) == 0) > 0.85
    wrong = statistics.binned_error(*calibrated(2000, by=0.1), kind)
    assert 0.05 < wrong.low < 0.1 < wrong.high < 0.16


def test_one_bin_has_the_interval_of_its_mean_gap():
    """|0.7 - accuracy| of 800 images: both ends by exact binomial tails, 4 % and 2 %."""
    found = statistics.binned_error(*two_class(np.full(800, 0.7), bools(500, 800)), "ece")
    assert found.value == pytest.approx(0.7 - 500 / 800)
    most = optimize.brentq(lambda p: stats.binom.cdf(500, 800, p) - LOWER, 0.01, 0.99)
    least = optimize.brentq(lambda p: stats.binom.sf(499, 800, p) - UPPER, 0.01, 0.99)
    assert (found.low, found.high) == pytest.approx((0.7 - most, 0.7 - least), abs=0.003)


def test_a_steady_small_gap_is_seen_although_the_error_is_below_its_floor():
    """Every bin a little over-confident: the sum shows it; catches the sum of absolute gaps alone."""
    found, above = [], 0
    for seed in range(40):
        probs, labels = spread_out(1500, seed, by=0.03)
        found.append(statistics.binned_error(probs, labels, "ece").low > 0)
        above += metrics.ece(probs, labels) > statistics.floor(probs, labels).high
    assert np.mean(found) > above / 40 + 0.2


def test_patterns_are_all_those_with_so_few_changes():
    """Against all 2**6 sign patterns, up to their sign."""
    for changes in (0, 1, 2):
        every = {
            signs
            for signs in itertools.product((1, -1), repeat=6)
            if signs[0] == 1 and np.count_nonzero(np.diff(signs)) <= changes
        }
        assert {tuple(signs) for signs in _patterns(6, changes).tolist()} == every


def test_noise_of_the_search_has_the_moments_of_binomial_counts():
    """Bins of 3 to 5,000 images, nearly always right to half and half; catches a lost skewness."""
    count = np.array([3, 40, 900, 5000])
    accuracy = np.array([0.5, 0.9, 0.995, 0.9])
    bins = Bins(int(count.sum()), count, accuracy, count * accuracy)
    drawn = _Search(bins, "ece", np.zeros((1, 4)), PAIRED["ece"])._drawn(np.zeros(4)) * bins.n
    exact = stats.binom(count, 1 - accuracy)
    assert drawn.mean(0) == pytest.approx(np.zeros(4), abs=0.06)
    assert drawn.std(0) == pytest.approx(exact.std(), rel=0.06)  # whole counts: 1/12 more variance
    assert stats.skew(drawn)[1:] == pytest.approx(exact.stats("s")[1:], abs=0.12)


def test_the_floor_is_that_of_labels_drawn_from_the_confidences():
    """A loop over 4,000 draws; catches labels drawn from the accuracy, or from uniform classes."""
    probs, labels = calibrated(600, by=0.2)
    draw = np.random.default_rng(8)
    confidence = probs.max(1)
    drawn = [
        metrics.ece(*two_class(confidence, draw.random(600) < confidence)) for _ in range(4000)
    ]
    found = statistics.floor(probs, labels)
    assert found.mean == pytest.approx(np.mean(drawn), rel=0.05)
    assert found.high == pytest.approx(np.quantile(drawn, 0.965), rel=0.1)
    flipped = statistics.floor(probs, 1 - labels)
    assert flipped == found  # the labels at hand do not matter


def spread_out(n, seed=0, by=0.1):
    """Confidences in every bin from 0.4 to 1, of which 1,000 show an ECE of 0.024 if calibrated."""
    draw = np.random.default_rng(seed)
    confidence = draw.uniform(0.4, 1, n)
    probs = np.repeat((1 - confidence)[:, None] / 9, 10, 1)
    probs[:, 0] = confidence
    return probs, np.where(draw.random(n) < confidence - by, 0, 1)


def test_mistakes_of_unequal_coins_have_the_variance_of_their_sum():
    """Half the images at 0.94, half at 1.0 in one bin: one binomial of the mean is 3 % too wide."""
    n = 4000
    confidence = np.repeat([0.94, 1.0], n // 2)
    deviation = math.sqrt(n / 2 * 0.94 * 0.06) / n
    found = statistics.floor(*two_class(confidence, np.full(n, True)))
    assert found.mean == pytest.approx(deviation * math.sqrt(2 / math.pi), rel=0.05)
    assert found.high == pytest.approx(deviation * stats.norm.ppf(0.9825), rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_the_upper_end_is_where_the_test_turns(kind):
    """Labels drawn anew with the gaps of the end show so small an error in about 2 % of cases."""
    probs, labels = calibrated(800, by=0.08)
    bins = binned(*top_label(probs, labels), 15)
    found = statistics.binned_error(probs, labels, kind)
    gaps = bins.gaps * found.high / found.value  # another path to the same error
    right = np.random.default_rng(2).binomial(bins.count, bins.accuracy(gaps), (4000, len(gaps)))
    drawn = bins.measure(bins.share * bins.confidence - right / bins.n, kind)
    assert UPPER / 8 < (drawn <= found.value).mean() < 5 * UPPER


def test_noise_alone_does_not_shape_the_upper_end():
    """Gaps no larger than noise start from none; catches those seen, to which noise would add again."""
    probs, labels = spread_out(1500, seed=6, by=0.0)
    bins = binned(*top_label(probs, labels), 15)
    assert np.square(bins.gaps / bins.error).sum() < len(bins.gaps)
    found = statistics.binned_error(probs, labels, "ece")
    even = np.where(bins.gaps >= 0, 1, -1) * bins.error * found.high / bins.error.sum()
    right = np.random.default_rng(3).binomial(bins.count, bins.accuracy(even), (8000, len(even)))
    drawn = bins.measure(bins.share * bins.confidence - right / bins.n, "ece")
    assert (drawn <= found.value).mean() == pytest.approx(UPPER, abs=0.007)


def test_the_lower_end_of_a_steady_error_is_that_of_the_mean_gap():
    """Over-confident in every bin, clearly: 4 % of a normal mean; noise of single bins is no matter."""
    probs, labels = spread_out(10_000)
    found = statistics.binned_error(probs, labels, "ece")
    gaps = probs.max(1) - (labels == 0)
    end = gaps.mean() + stats.norm.ppf(LOWER) * gaps.std() / 100
    assert found.low == pytest.approx(end, abs=0.001)


def bins_with(deviations, n=400):
    """Bins of n images each, at confidences about 0.7, whose gaps are so many standard errors."""
    deviations = np.asarray(deviations, float)
    count = np.full(len(deviations), n)
    right = count * 0.7
    bins = Bins(int(count.sum()), count, np.full(len(count), 0.7), right)
    for _ in range(20):  # standard errors follow from what is right
        bins = replace(bins, right=count * 0.7 - deviations * bins.error * bins.n)
    return bins


def lowest(bins):
    drawn = np.random.default_rng(0).binomial(bins.count, bins.confidence, (4000, len(bins.count)))
    null = bins.share * bins.confidence - drawn / bins.n
    return _Search(bins, "ece", null, ALONE["ece"]).low()


def test_noise_of_unclear_gaps_is_that_of_cut_normal_numbers():
    """Against SciPy's truncated normal distribution."""
    cut = stats.truncnorm(-CLEAR, CLEAR)
    fourth = cut.moment(4)
    expected = cut.moment(2), math.sqrt(fourth - cut.moment(2) ** 2)
    assert noise_below(CLEAR) == pytest.approx(expected, rel=1e-6)


def test_gaps_that_are_more_than_noise_together_are_all_kept():
    """Twelve bins at two standard errors, one of them at four; catches the clear bin as all that is real."""
    spread = bins_with([4] + [2.0] * 11)
    assert spread.unclear[0] > MORE
    kept = lowest(spread)
    total = np.abs(spread.gaps).sum()
    # Signs are known by the pattern, so that little but the noise of the sum is taken off.
    noise = math.sqrt(np.square(spread.error).sum())
    assert kept == pytest.approx(total + stats.norm.ppf(LOWER) * noise, abs=0.4 * noise)


def test_one_clear_bin_among_noise_keeps_its_own_end():
    """Eleven bins that lean a little to the same side; catches their noise taken for real."""
    single = bins_with([9] + [0.9] * 11)
    assert single.unclear[0] < MORE
    assert lowest(single) == pytest.approx(single.gaps[0], rel=0.01)
    # All of them real, the end would be that of their sum, as far again above that of the bin.
    noise = math.sqrt(np.square(single.error).sum())
    assert single.gaps.sum() + stats.norm.ppf(LOWER) * noise > 1.3 * single.gaps[0]


def test_what_is_usual_is_taken_off_the_sums():
    """Nine bins too sure, three too unsure; catches sums held against one another as multiples of
    what is usual: that of all gaps, in which a third cancels, would then decide."""
    both = bins_with([12.0] * 9 + [-12.0] * 3)
    noise = math.sqrt(np.square(both.error).sum())
    end = np.abs(both.gaps).sum() + stats.norm.ppf(LOWER) * noise
    assert lowest(both) == pytest.approx(end, abs=0.4 * noise)


def test_a_share_of_the_unclear_gaps_is_real():
    """By hand: twelve gaps of two standard errors, of which 0.911 each is noise's."""
    excess, share = bins_with([4] + [2.0] * 12).unclear
    assert share == pytest.approx(1 - 0.9113 / 4, abs=2e-4)
    assert excess == pytest.approx(12 * (4 - 0.9113) / (1.1611 * math.sqrt(12)), rel=1e-3)
    spread = bins_with([4] + [2.0] * 12)
    kept = _Search(spread, "ece", np.zeros((1, 13)), ALONE["ece"])._real(spread.gaps)
    assert kept == pytest.approx(spread.gaps * np.array([1] + [share] * 12))


@pytest.mark.parametrize("bins", [1, 2, 3, 8])
def test_sums_are_the_largest_over_all_patterns(bins):
    """Against every pattern of signs, one after another."""
    gaps = np.random.default_rng(bins).normal(size=(200, bins))
    turned = np.abs(gaps @ _patterns(bins, 2 if bins > 2 else bins - 1).T).max(1)
    expected = np.stack([np.abs(gaps.sum(1)), turned], 1)
    assert _sums(gaps) == pytest.approx(expected, abs=1e-12)


def test_two_sums_are_one_test():
    """Calibrated labels: the end is above 0 for about LOWER of them; catches a test for either sum."""
    rng, above = np.random.default_rng(4), 0
    count = np.full(12, 400)
    for _ in range(600):
        right = rng.binomial(count, 0.7).astype(float)
        above += lowest(Bins(int(count.sum()), count, np.full(12, 0.7), right)) > 0
    assert above / 600 < LOWER + 0.013


@pytest.mark.parametrize("wrong", [0, 1, 2, 6])
def test_few_mistakes_have_the_exact_upper_end_of_their_number(wrong):
    """1,500 images at 0.9985: Clopper and Pearson, by SciPy; catches the path alone, which ends at
    half of it where two mistakes are made of the two that are expected, and one side of two."""
    confidence = np.full(1500, 0.9985)
    found = statistics.binned_error(*two_class(confidence, np.arange(1500) >= wrong), "ece")
    exact = stats.binomtest(1500 - wrong, 1500).proportion_ci(1 - 2 * UPPER, "exact")
    end = max(0.9985 - exact.low, exact.high - 0.9985)
    assert found.high >= end - 1e-12
    if wrong == 2:
        assert found.high == pytest.approx(end)


def test_a_model_that_is_right_more_often_than_it_says_has_an_end_too():
    """One image at 0.5 among 300 sure ones: it may have been right all the same."""
    confidence = np.full(300, 0.9999)
    confidence[:8] = 0.5
    found = statistics.binned_error(*two_class(confidence, np.full(300, True)), "ece")
    assert found.value == pytest.approx(8 * 0.5 / 300 + 292 * 0.0001 / 300)
    assert found.value <= found.high < 3 * found.value


def test_a_little_more_than_noise_is_not_real():
    """Eleven gaps a little larger than noise's, one clear; catches a share of any excess kept."""
    bins = bins_with([9] + [1.05] * 11)
    excess, share = bins.unclear
    assert 0 < excess < MORE
    assert share > 0.1
    kept = _Search(bins, "ece", np.zeros((1, 12)), ALONE["ece"])._real(bins.gaps)
    assert kept == pytest.approx(np.where(np.arange(12) == 0, bins.gaps, 0))


def test_gaps_of_the_other_sign_do_not_add_to_the_sum_of_all():
    """Eight bins at two standard errors, four the other way at a third of one; catches a pattern
    that fits each of them, where the sum of all gaps decides."""
    mixed = bins_with([2.0] * 8 + [-0.3] * 4)
    noise = math.sqrt(np.square(mixed.error).sum())
    end = mixed.gaps.sum() + stats.norm.ppf(LOWER) * noise
    assert lowest(mixed) == pytest.approx(end, abs=0.25 * noise)


def test_noise_of_the_search_is_even():
    """Each draw has its opposite, so that no sum leans to a side."""
    noise = _noise(7)
    half = len(noise) // 2
    assert np.array_equal(noise[:half], -noise[half:])
    assert noise.std(0) == pytest.approx(np.ones(7), abs=0.01)


def test_errors_that_cancel_are_not_lost():
    """Too sure above 0.7, too unsure below: the sum is 0; catches the mean gap as only bound."""
    probs, labels = spread_out(10_000, by=0.0)
    confidence, draw = probs[:, 0], np.random.default_rng(1)
    labels = np.where(
        draw.random(10_000) < confidence + np.where(confidence > 0.7, -0.1, 0.1), 0, 1
    )
    found = statistics.binned_error(probs, labels, "ece")
    assert abs(metrics.overconfidence(probs, labels)) < 0.02
    assert 0.07 < found.low < 0.1 < found.high < 0.12


@pytest.mark.parametrize("n", [1, 2, 7])
@pytest.mark.parametrize("hit", [True, False])
def test_few_samples_and_unanimous_bins(n, hit):
    for confidence in (0.5, 0.9, 1.0):
        probs, labels = two_class(np.full(n, confidence), np.full(n, hit))
        for kind in KINDS:
            found = statistics.binned_error(probs, labels, kind)
            assert 0 <= found.low <= found.value <= found.high <= 1
    saturated = statistics.binned_error(*two_class(np.ones(500), np.full(500, True)), "ece")
    assert (saturated.value, saturated.low) == (0, 0)
    assert 0.003 < saturated.high < 0.012  # 3.7 mistakes of 500 may have been missed


def term(probs, labels, kind="ece"):
    return statistics.binned_term(*top_label(probs, labels), kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_term_is_the_error_with_bounds_about_its_centre(kind):
    """Catches the tails of an interval that stands alone, and a centre outside of its bounds."""
    for seed, by in ((0, 0.0), (1, 0.02), (2, 0.1)):
        probs, labels = calibrated(800, seed, by)
        found, alone = term(probs, labels, kind), statistics.binned_error(probs, labels, kind)
        assert found.value == pytest.approx(alone.value)
        assert found.low <= found.centre <= found.value <= found.high
        assert found.low <= alone.low
        assert alone.value < found.high < alone.high


@pytest.mark.parametrize("kind", KINDS)
def test_the_centre_of_a_term_is_without_most_of_the_noise(kind):
    """Calibrated models; catches an error compared as measured."""
    found = [term(*spread_out(500, seed, by=0.0), kind) for seed in range(30)]
    noise = np.mean([one.value for one in found])
    assert np.mean([one.centre for one in found]) < 0.6 * noise


@pytest.mark.parametrize("kind", KINDS)
def test_pulls_are_what_moves_an_error(kind):
    """Leaving out each image in turn; catches the wrong sign, and shares of bins that stand still."""
    probs, labels = spread_out(900, by=0.2)
    pull = term(probs, labels, kind).pull
    metric = getattr(metrics, kind)
    without = [metric(*(np.delete(part, k, 0) for part in (probs, labels))) for k in range(900)]
    assert np.corrcoef(pull, -np.array(without))[0, 1] > 0.9995


def test_mistakes_in_a_thin_bin_hardly_show_an_rms_error():
    """Catches the lower end of the RMS error alone, which four images of 2,000 lift to ten times as much."""
    confidence = np.full(2000, 0.9999)
    confidence[:4], confidence[10:20] = 0.93, np.linspace(0.5, 0.98, 10)
    thin, clear = (two_class(confidence, np.arange(2000) >= wrong) for wrong in (4, 100))
    lower = [statistics.binned_error(*thin, kind).low for kind in KINDS]
    assert 0 < lower[1] < 2 * lower[0]
    assert statistics.binned_error(*clear, "rms_calibration_error").low > 0.03


def test_equal_records_give_equal_intervals():
    probs, labels = calibrated(500, by=0.05)
    assert statistics.binned_error(probs, labels, "ece") == statistics.binned_error(
        probs, labels, "ece"
    )


# ------------------------------------------------------------------ families, power, gates


def naive_holm(p):
    order = sorted(range(len(p)), key=lambda k: p[k])
    adjusted, worst = [0.0] * len(p), 0.0
    for step, k in enumerate(order):
        worst = max(worst, (len(p) - step) * p[k])
        adjusted[k] = min(1.0, worst)
    return adjusted


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holm_steps_down(p):
    """Catches Bonferroni, Benjamini-Hochberg, a lost order and a lost running maximum."""
    assert statistics.holm(np.array(p)).tolist() == pytest.approx(naive_holm(p))


def test_holm_leaves_out_what_was_not_tested():
    found = statistics.holm(np.array([0.01, math.nan, 0.04]))
    assert found[[0, 2]].tolist() == [0.02, 0.04]
    assert math.isnan(found[1])


@pytest.mark.parametrize(("n", "discordance"), [(200, 0.1), (1000, 0.05), (10_000, 0.004)])
def test_the_detectable_difference_has_the_power_that_it_promises(n, discordance):
    """By simulation of the exact test; catches one-sided power and the unpaired formula."""
    gap = statistics.detectable_difference(n, discordance)
    draw = np.random.default_rng(0)
    wins, losses = (discordance + gap) / 2, (discordance - gap) / 2
    found = draw.multinomial(n, [wins, losses, 1 - wins - losses], 4000)[:, :2]
    kinds, count = np.unique(found, axis=0, return_counts=True)
    seen = sum(c for pair, c in zip(kinds, count, strict=True) if mcnemar(*map(int, pair)) <= 0.05)
    assert seen / 4000 == pytest.approx(0.8, abs=0.025)
    assert gap == pytest.approx(2.8 * math.sqrt(discordance / n), rel=0.2)  # the rule of thumb


@pytest.mark.parametrize("discordance", [0.02, 0.05, 0.3, 1.0])
def test_too_few_discordant_pairs_detect_nothing(discordance):
    """Where a difference can first be seen, from both sides; catches a count that is off by one."""
    n = statistics.least_samples(discordance)
    assert statistics.detectable_difference(n, discordance) <= discordance
    assert statistics.detectable_difference(n - 1, discordance) == math.inf
    share = statistics.least_discordance(n)
    assert share <= discordance + 1e-12
    assert statistics.detectable_difference(n, min(1.0, share * 1.001)) <= 1
    assert statistics.detectable_difference(n, share * 0.999) == math.inf


def test_gates_at_every_position_of_the_interval():
    """The bound decides, not the value."""
    ends = [-0.03, -0.015, -0.005, 0.01]
    verdicts = {
        (low, high): statistics.gate(low, high, 0.01)
        for low, high in itertools.combinations(ends, 2)
    }
    assert verdicts == {
        (-0.03, -0.015): "regression", (-0.03, -0.005): "undecided", (-0.03, 0.01): "undecided",
        (-0.015, -0.005): "undecided", (-0.015, 0.01): "undecided", (-0.005, 0.01): "no regression",
    }  # fmt: skip
    assert statistics.gate(None, None, 0.01) == "undecided"
    assert statistics.gate(-0.01, 0.0, 0.01) == "undecided"


def test_a_difference_is_an_estimate_of_its_own():
    found = statistics.paired_proportions(*tables(50, 9, 1, 40))
    assert found.estimate == statistics.Estimate(
        found.value, found.low, found.high, found.n, found.method
    )
