"""Paired numbers against SciPy, scikit-learn, pandas, brute force and closed forms."""

import itertools

import numpy as np
import pyarrow as pa
import pytest
from made_up_study import joined
from scipy import stats
from sklearn.metrics import roc_auc_score

from harness import metrics
from harness.pairing import Columns, Gap, Samples, on_logits
from harness.pairing.binned import binned_number
from harness.pairing.number import Aligned, align, shared
from harness.pairing.samples import blocks
from harness.pairing.spread import (
    Bounded,
    Covariance,
    Proportions,
    _percentiles,
    mean_draws,
    over_seeds,
    placement_covariance,
    placements,
    resampled,
)
from harness.results import outcomes

N = 2000


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def pair(first, second, count=2):
    """Weights of one model minus another, out of `count`."""
    weights = np.zeros(count)
    weights[first], weights[second] = 1, -1
    return weights


# ---------------------------------------------------------------- tables to blocks


def shift_table(models=("b", "a"), seeds=(1, 0), corruptions=("fog", "zigzag"), n=5):
    rows = list(itertools.product(models, seeds, corruptions, range(n)))
    model, seed, corruption, ids = (list(column) for column in zip(*rows, strict=True))
    right = [hash((m, s, c, i)) % 3 > 0 for m, s, c, i in rows]
    return outcomes.table(
        "shift",
        {"model": model, "seed": seed, "corruption": corruption, "id": ids, "correct": right},
    )


@pytest.mark.parametrize("shuffled", [False, True])
def test_blocks_are_the_groups_of_pandas(rng, shuffled):
    """Catches groups under another's name, and rows that are not sorted by id."""
    table = shift_table()
    if shuffled:
        table = table.take(pa.array(rng.permutation(len(table))))
    found = blocks(table, "model", "seed", "corruption")
    frame = table.to_pandas().astype({"model": str, "corruption": str})
    groups = dict(list(frame.groupby(["model", "seed", "corruption"])))
    assert found.keys() == groups.keys()
    for key, group in groups.items():
        ordered = group.sort_values("id")
        assert found[key]["id"].tolist() == ordered["id"].tolist()
        assert found[key]["correct"].tolist() == ordered["correct"].tolist()


def test_blocks_read_chunks_with_dictionaries_of_their_own():
    """Catches codes of one chunk read in the dictionary of another."""
    table = pa.concat_tables([shift_table(models=("b",)), shift_table(models=("a",))])
    assert table["model"].num_chunks == 2
    found = blocks(table, "model", "seed", "corruption")
    assert found["a", 0, "fog"]["correct"].tolist() == [
        hash(("a", 0, "fog", i)) % 3 > 0 for i in range(5)
    ]


def test_an_empty_table_has_no_blocks():
    assert blocks(shift_table().slice(0, 0), "model", "seed") == {}


# ---------------------------------------------------------------- means


def test_a_difference_of_means_is_the_paired_one_of_scipy(rng):
    """Catches unpaired intervals, which are three times as wide here."""
    common = rng.normal(size=N)
    values = np.stack([common + 0.3 * rng.normal(size=N), common + 0.3 * rng.normal(size=N) + 0.03])
    gap = mean_draws(values).gap(float(values[1].mean() - values[0].mean()), pair(1, 0))
    truth = stats.ttest_rel(values[1], values[0])
    low, high = truth.confidence_interval()
    assert gap.low == pytest.approx(low, abs=0.1 * (high - low))
    assert gap.high == pytest.approx(high, abs=0.1 * (high - low))
    assert gap.p == pytest.approx(truth.pvalue, rel=0.25)


def test_resamples_have_as_many_images_and_are_those_of_every_call(rng):
    """Catches draws without replacement, of another size, or anew a call."""
    sums = resampled(np.ones((50, 1)))
    assert (sums == 1).all()
    columns = rng.normal(size=(50, 2))
    assert resampled(columns)[:, 0] == pytest.approx(resampled(columns[:, :1])[:, 0])
    spread = resampled(columns).std(0)
    assert spread == pytest.approx(columns.std(0) / np.sqrt(50), rel=0.05)


def test_percentiles_are_those_of_numpy(rng):
    drawn = rng.normal(size=2000)
    assert _percentiles(drawn) == pytest.approx(np.quantile(drawn, [0.025, 0.975]))


def test_one_image_is_no_difference():
    """Catches an interval of means moved by the draws' own noise: one image of 1000 was enough."""
    values = np.zeros((2, 1000))
    values[0, 17] = 1
    assert mean_draws(values).gap(0.001, pair(0, 1)).low == 0


def test_equal_models_differ_by_nothing_at_all(rng):
    """Catches p values of rounding errors."""
    values = np.repeat(rng.random((1, N)), 3, axis=0)
    family = np.array([1.0, -0.5, -0.5])
    gap = mean_draws(values).gap(float(values.mean(1) @ family), family)
    assert gap == Gap(0.0, 0.0, 0.0, 1.0)


# ---------------------------------------------------------------- proportions


def test_two_shares_are_told_apart_by_mcnemar(rng):
    """Catches a normal approximation where five images differ."""
    first = rng.random(N) < 0.9
    second = first.copy()
    second[np.flatnonzero(first)[:5]] = False
    gap = Proportions(np.stack([first, second])).gap(5 / N, pair(0, 1))
    assert gap.p == pytest.approx(stats.binomtest(5, 5).pvalue)
    assert gap.low < 5 / N < gap.high
    turned = Proportions(np.stack([first, second])).gap(-5 / N, pair(1, 0))
    assert (turned.low, turned.high) == pytest.approx((-gap.high, -gap.low))
    points = Proportions(np.stack([first, second])).gap(500 / N, 100 * pair(0, 1))
    assert (points.low, points.high) == pytest.approx((100 * gap.low, 100 * gap.high))


def test_proportions_refuse_families():
    with pytest.raises(ValueError, match="two proportions"):
        Proportions(np.ones((3, 4), bool)).gap(0.0, np.array([1.0, -0.5, -0.5]))


# ---------------------------------------------------------------- AUROC


def scores(rng, models=3, inside=60, outside=80):
    """Scores with ties, of models that agree somewhat."""
    easy, hard = rng.normal(size=outside), rng.normal(size=inside)
    return (
        np.round(hard + rng.normal(size=(models, inside)), 1),
        np.round(easy + rng.normal(0.8, 1, size=(models, outside)), 1),
    )


def brute_covariance(inside, outside):
    """DeLong's covariance from all pairs of images."""
    wins = (outside[:, None, :] > inside[:, :, None]) + 0.5 * (
        outside[:, None, :] == inside[:, :, None]
    )
    return np.cov(wins.mean(1)) / outside.shape[1] + np.cov(wins.mean(2)) / inside.shape[1]


def test_placements_give_the_auroc_of_scikit_learn(rng):
    """Catches ties that count whole, and ID positive."""
    inside, outside = (part[0] for part in scores(rng))
    labels = np.repeat([0, 1], [len(inside), len(outside)])
    area = roc_auc_score(labels, np.concatenate([inside, outside]))
    assert [part.mean() for part in placements(inside, outside)] == pytest.approx([area, area])


def test_covariance_of_areas_is_delongs(rng):
    """Catches variances without covariances, and the two sets' sizes exchanged."""
    inside, outside = scores(rng)
    places = [placements(a, b) for a, b in zip(inside, outside, strict=True)]
    within, without = (np.stack(part) for part in zip(*places, strict=True))
    expected = brute_covariance(inside, outside)
    assert placement_covariance(within, without).matrix == pytest.approx(expected)


def test_a_normal_interval_is_two_standard_errors(rng):
    matrix = np.array([[4.0, 1.0], [1.0, 9.0]])
    gap = Covariance(matrix).gap(3.0, pair(0, 1))
    error = np.sqrt(4 + 9 - 2)
    assert (gap.low, gap.high) == pytest.approx(stats.norm.interval(0.95, 3, error))
    assert gap.p == pytest.approx(2 * stats.norm.sf(3 / error))


def test_intervals_on_logits_stay_below_one():
    """Catches an AUROC of 0.999 whose interval ends at 1.002."""
    gap = on_logits(Gap(0.999, 0.996, 1.002, 0.0))
    assert 0.98 < gap.low < 0.999 < gap.high < 1
    slope = 0.003 / (0.999 * 0.001)
    assert np.log(gap.high / (1 - gap.high)) == pytest.approx(np.log(999) + slope)
    assert on_logits(Gap(1.0, 1.0, 1.0, 0.0)) == Gap(1.0, 1.0, 1.0, 0.0)


# ---------------------------------------------------------------- seeds


def test_three_seeds_widen_an_interval_to_that_of_t():
    """Catches a normal quantile in place of t's, and seeds that narrow an interval."""
    single = np.array([0.01, 0.02, 0.06])
    gap = over_seeds(Gap(0.03, 0.029, 0.031, 1e-9), single)
    interval = stats.t.interval(0.95, 2, single.mean(), stats.sem(single))
    assert (gap.low, gap.high) == pytest.approx(interval)
    assert gap.p == pytest.approx(stats.ttest_1samp(single, 0).pvalue)
    wide = Gap(0.03, -1.0, 1.0, 0.9)
    assert over_seeds(wide, single) == wide
    assert over_seeds(Gap(0.03, 0.029, 0.031, 1e-9), single[:2]).low == 0.029
    alike = np.full(3, 0.03)
    assert over_seeds(Gap(0.03, 0.029, 0.031, 1e-9), alike).p == 1e-9


# ---------------------------------------------------------------- columns of a run


def block(ids, **columns):
    return {"id": np.asarray(ids), **{name: np.asarray(value) for name, value in columns.items()}}


def test_models_meet_on_the_images_that_all_have():
    """Catches rows paired by position where one model saw other images."""
    found = {
        ("a", 0): block([1, 2, 3, 5], v=[10, 20, 30, 50]),
        ("b", 0): block([2, 3, 4, 5], v=[2, 3, 4, 5]),
    }
    aligned = align(found, ["a", "b", "c"], [0], "v")
    assert aligned.keys == ("a", "b")
    assert aligned.ids.tolist() == [2, 3, 5]
    assert aligned.columns["v"].tolist() == [[[20, 30, 50], [2, 3, 5]]]
    assert shared([np.array([1]), np.array([2])]).size == 0
    apart = {("a", 0): block([1], v=[1]), ("b", 0): block([2], v=[1])}
    assert align(apart, ["a", "b"], [0], "v").keys == ()


def tables(rng, models, n=400, k=5):
    """Outcomes of calibrated and other models, with the probabilities behind them."""
    made, probs_of = {name: [] for name in outcomes.COLUMNS}, {}
    labels = rng.integers(0, k, n)
    for place, name in enumerate(models):
        logits = rng.normal(size=(n, k)) * (1 + place)
        logits[np.arange(n), labels] += 2
        probs = metrics.softmax(logits)
        probs_of[name] = probs
        common = {"model": name, "seed": 0, "id": np.arange(n)}
        right = probs.argmax(1) == labels
        made["calibration"].append({**common, "scaling": "none", "confidence": probs.max(1), "correct": right, "brier": metrics.sample_brier(probs, labels), "nll": metrics.sample_nll(probs, labels)})  # fmt: skip
        made["clean"].append({**common, "label": labels, "prediction": probs.argmax(1)})
        broken = rng.choice([0.0, 0.1, 0.2, 0.3, np.inf], n)
        made["adversarial"].append({**common, "norm": "linf", "attack": "worst", "first_broken": broken, "largest": 0.3})  # fmt: skip
        for corruption in ("fog", "stripe"):
            made["shift"].append(
                {**common, "corruption": corruption, "correct": rng.random(n) < 0.8}
            )
        for part, shift in (("id", 0), ("letters", 1)):
            made["ood"].append({**common, "detector": "msp", "set": part, "score": np.round(rng.normal(shift, 1, n), 2)})  # fmt: skip
    return {name: joined(name, parts) for name, parts in made.items()}, probs_of, labels


@pytest.fixture
def run(rng):
    made, probs, labels = tables(rng, ["one", "two"])
    return Columns(Samples({"": made}), ["one", "two"], [0]), made, probs, labels


def test_numbers_are_those_of_the_metrics(run):
    """Catches other bins, other edges and another normalisation than the table's."""
    columns, _, probs, labels = run
    ece, rms = columns.binned(15)
    for name, values in probs.items():
        assert columns.clean().value(name) == pytest.approx(metrics.accuracy(values, labels))
        assert ece.value(name) == pytest.approx(metrics.ece(values, labels))
        assert rms.value(name) == pytest.approx(metrics.rms_calibration_error(values, labels))
        assert columns.brier().value(name) == pytest.approx(metrics.brier(values, labels))
    assert (ece.better, rms.better, columns.brier().better) == ("lower", "lower", "lower")


def test_numbers_of_tables_are_those_of_pandas(run):
    """Catches a budget at which an image fell counted as survived, and means of means."""
    columns, made, _, _ = run
    attacked, shift = (made[name].to_pandas() for name in ("adversarial", "shift"))
    for name in ("one", "two"):
        mine = attacked[attacked.model == name]
        share = np.mean([(mine.first_broken > eps).mean() for eps in (0.1, 0.3)])
        assert columns.robust([0.1, 0.3]).value(name) == pytest.approx(share)
        right = shift[shift.model == name].groupby("corruption", observed=True).correct.mean()
        assert columns.shift(["fog", "stripe"]).value(name) == pytest.approx(right.mean())
        assert columns.corrupted("fog").value(name) == pytest.approx(right["fog"])
        assert columns.across(name, ["fog", "stripe"]).value("stripe") == pytest.approx(
            right["stripe"]
        )
        scored = made["ood"].to_pandas()
        parts = [
            scored[(scored.model == name) & (scored["set"] == part)].score
            for part in ("id", "letters")
        ]
        assert columns.auroc("msp", "letters").value(name) == pytest.approx(
            metrics.auroc(*map(np.array, parts))
        )


def test_budgets_beyond_the_largest_attacked_are_not_measured(run):
    """Catches an image that never fell taken for one that stood at a budget never tried."""
    columns = run[0]
    assert columns.robust([0.1, 0.4]).keys == ()
    assert columns.robust([]).keys == ()
    assert columns.shift([]).keys == ()
    assert columns.auroc("msp", "nowhere").keys == ()


def test_errors_that_show_differ_as_a_plain_bootstrap_has_it(rng):
    """Clear gaps alone, so that nothing is biased; catches a lost covariance (twice as wide) and its sign."""
    confidence = np.repeat(rng.choice([0.55, 0.75, 0.95], 4000)[None], 2, axis=0)
    luck = rng.random(4000)
    right = luck < confidence - np.array([0.2, 0.15])[:, None]
    for kind, metric in (("ece", metrics.ece), ("rms_calibration_error", metrics.rms_calibration_error)):  # fmt: skip
        drawn = []
        for _ in range(600):
            rows = rng.integers(0, 4000, 4000)
            drawn.append(np.subtract(*(metric(*told(confidence[k, rows], right[k, rows])) for k in (0, 1))))  # fmt: skip
        gap = two(kind, confidence, right).gap({"a": 1, "b": -1})
        low, high = np.quantile(drawn, [0.025, 0.975])
        assert (gap.low, gap.high) == pytest.approx((low, high), abs=0.15 * (high - low))
        assert gap.low < 0.05 < gap.high


def told(confidence, right):
    """Probabilities and labels that say the same."""
    return np.stack([confidence, 1 - confidence], 1), np.where(right, 0, 1)


def two(kind, confidence, right):
    """The number of models a and b."""
    columns = {"confidence": confidence[None], "correct": right[None]}
    return binned_number("E", kind, Aligned(("a", "b"), np.arange(right.shape[1]), columns), 15)


@pytest.mark.parametrize("kind", ["ece", "rms_calibration_error"])
def test_a_difference_to_a_calibrated_model_is_covered(kind):
    """Catches square-and-add with the arm of an error that may be nothing squared: it misses 10 %."""
    missed = []
    for seed in range(80):
        rng = np.random.default_rng(seed)
        confidence = 1 - 0.9 * rng.beta(0.5, 4, (2, 500))
        right = rng.random(500) < confidence - np.array([0.0, 0.03])[:, None]
        gap = two(kind, confidence, right).gap({"b": 1, "a": -1})
        missed.append(not gap.low <= 0.03 <= gap.high)
    assert sum(missed) <= 5


def test_equal_outcomes_have_the_same_error_however_small(rng):
    """Catches a run that differs from itself because its error may be nothing, and rounding."""
    confidence = np.repeat(1 - 0.9 * rng.beta(0.5, 4, (1, 500)), 3, axis=0)
    right = np.repeat(rng.random((1, 500)) < confidence[0], 3, axis=0)
    right[2, :30] = ~right[2, :30]
    aligned = Aligned(("a", "b", "c"), np.arange(500), {"confidence": confidence[None], "correct": right[None]})  # fmt: skip
    number = binned_number("E", "ece", aligned, 15)
    assert number.gap({"a": 1, "b": -1}) == Gap(0.0, 0.0, 0.0, 1.0)
    # another machine
    confidence[1] += rng.normal(0, 1e-7, 500)
    assert two("ece", confidence[:2], right[:2]).gap({"a": 1, "b": -1}).high < 1e-6
    # a is in both families: b and c against a and b is c against a
    whole, half = number.gap({"c": 1, "a": -1}), number.gap({"c": 0.5, "b": 0.5, "a": -1})
    assert (2 * half.low, 2 * half.high) == pytest.approx((whole.low, whole.high))


def test_a_saturated_model_that_is_always_right_can_be_compared(rng):
    """Catches a correlation with an error that no image moves: 0 / 0."""
    confidence = np.stack([np.ones(400), rng.uniform(0.5, 1, 400)])
    right = np.stack([np.full(400, True), rng.random(400) < 0.4])
    gap = two("ece", confidence, right).gap({"a": 1, "b": -1})
    assert gap.low < gap.value < gap.high < -0.2


def test_three_seeds_stand_apart_in_an_error(rng):
    """The mean over seeds that share no luck is the surer; catches seeds that count as one."""
    confidence = np.full((3, 2, 2000), 0.8)
    right = rng.random((3, 2, 2000)) < np.array([0.6, 0.7])[:, None]
    width = []
    for seeds in (1, 3):
        columns = {"confidence": confidence[:seeds], "correct": right[:seeds]}
        number = binned_number("E", "ece", Aligned(("a", "b"), np.arange(2000), columns), 15)
        assert number.spread is not None
        gap = number.spread.gap(0.1, pair(0, 1))
        width.append(gap.high - gap.low)
    assert width[1] * np.sqrt(3) == pytest.approx(width[0], rel=0.1)


# ---------------------------------------------------------------- square-and-add


def bounded(centre, low, high, correlation=0.0):
    matrix = np.full((len(centre),) * 2, correlation)
    np.fill_diagonal(matrix, 1.0)
    return Bounded(*map(np.array, (centre, low, high)), matrix, np.arange(len(centre)))


def test_arms_are_squared_and_added():
    """By hand, 0.5 - 0.3 with arms 0.03, 0.05 and 0.04, 0.06; catches each bound on the wrong side."""
    gap = bounded([0.5, 0.3], [0.47, 0.26], [0.55, 0.36], 0.5).gap(0.2, pair(0, 1))
    assert gap.low == pytest.approx(0.2 - np.sqrt(0.03**2 + 0.06**2 - 0.03 * 0.06))
    assert gap.high == pytest.approx(0.2 + np.sqrt(0.05**2 + 0.04**2 - 0.05 * 0.04))
    turned = bounded([0.5, 0.3], [0.47, 0.26], [0.55, 0.36], 0.5).gap(-0.2, pair(1, 0))
    assert (turned.low, turned.high) == pytest.approx((-gap.high, -gap.low))


def test_what_is_known_of_normal_estimates_is_left_as_it_is(rng):
    """Symmetric bounds are the normal approximation, of families as well."""
    root = rng.normal(size=(4, 4))
    matrix = root @ root.T
    error, weights = np.sqrt(np.diag(matrix)), np.array([0.5, 0.5, -0.7, -0.3])
    centre = 100 + rng.normal(size=4)
    half = stats.norm.ppf(0.975) * error
    made = Bounded(centre, centre - half, centre + half, matrix / np.outer(error, error), np.arange(4))  # fmt: skip
    value = float(weights @ centre)
    expected, found = Covariance(matrix).gap(value, weights), made.gap(value, weights)
    assert (found.low, found.high, found.p) == pytest.approx((expected.low, expected.high, expected.p))  # fmt: skip


def test_an_error_that_may_be_nothing_is_added_whole():
    """The lower bound 0 is sure: a - 0 has the upper end of a; catches squares, which fall short."""
    gap = bounded([0.5, 0.02], [0.45, 0.0], [0.56, 0.05]).gap(0.48, pair(0, 1))
    assert gap.high == pytest.approx(0.56)
    assert gap.low == pytest.approx(0.48 - np.sqrt(0.05**2 + 0.03**2))


@pytest.mark.parametrize("centre", [0.062, 0.066, 0.067, 0.4])
def test_p_is_below_the_level_where_the_interval_is_beyond_zero(centre):
    """Catches a p value of another test than the interval's: worse, and zero inside."""
    for turn in (1, -1):
        gap = bounded([centre, 0.03], [centre - 0.03, 0.0], [centre + 0.05, 0.05])
        found = gap.gap(turn * (centre - 0.03), turn * pair(0, 1))
        assert (
            (found.p < 0.05) == (found.low > 0 or found.high < 0) == (centre > 0.0661)
        )  # 0.03 + the root of 0.03**2 + 0.02**2


def test_an_error_that_may_be_nothing_is_not_the_larger_one():
    """Catches a p value that takes its distance from 0 for noise, and has it significant."""
    found = bounded([0.05, 0.0], [0.0, 0.0], [0.06, 0.005]).gap(0.05, pair(0, 1))
    assert found.low < 0
    assert found.p == 1.0


def test_an_estimate_on_the_other_side_of_zero_shows_nothing():
    """Noise turned it round: the interval holds the value, and p is 1."""
    gap = bounded([0.5, 0.3], [0.48, 0.28], [0.52, 0.32]).gap(-0.01, pair(0, 1))
    assert (gap.low, gap.p) == (-0.01, 1.0)
    assert gap.high > 0.2


def test_families_are_compared_by_their_means(run):
    """Catches weights that are lost where a model stands on both sides."""
    number = run[0].shift(["fog", "stripe"])
    one, two = number.value("one"), number.value("two")
    assert number.gap({"one": 0.5, "two": -0.5}).value == pytest.approx((one - two) / 2)


def test_several_runs_stand_side_by_side(run, rng):
    """Catches one run's outcomes under the other's name."""
    other = tables(rng, ["one"])[0]
    samples = Samples({"a": run[1], "b": other}, lambda label, model: (label, model))
    columns = Columns(samples, [("a", "one"), ("b", "one")], [0])
    number = columns.shift(["fog"])
    assert number.value(("a", "one")) == pytest.approx(run[0].corrupted("fog").value("one"))
    assert number.keys == (("a", "one"), ("b", "one"))
