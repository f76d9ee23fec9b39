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
from harness.pairing.number import Aligned, align, binned_numbers, shared
from harness.pairing.samples import blocks
from harness.pairing.spread import (
    BiasedDraws,
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


def test_bias_moves_the_interval_and_never_leaves_the_value_outside(rng):
    """Catches a percentile interval that takes the bootstrap's bias for the truth."""
    noise = rng.normal(0, 0.1, size=2000)
    draws, nothing = np.stack([1 + 0.05 + noise, np.zeros(2000)], axis=1), np.zeros(2)
    gap = BiasedDraws(draws, np.array([0.05, 0.0]), nothing).gap(1.0, pair(0, 1))
    assert (gap.low, gap.high) == pytest.approx((0.804, 1.196), abs=0.03)
    far = BiasedDraws(draws, np.array([0.5, 0.0]), nothing).gap(1.0, pair(0, 1))
    assert far.low < 0.5 < far.high == far.value
    assert far.p == pytest.approx(2 * stats.norm.sf(5), rel=0.9)


def test_slack_widens_downwards_only(rng):
    """Catches an error that may be nothing made larger as well."""
    draws, slack = rng.normal(1, 0.1, size=(2000, 2)), np.array([0.3, 0.0])
    plain = BiasedDraws(draws, np.zeros(2), np.zeros(2)).gap(0.0, pair(0, 1))
    first = BiasedDraws(draws, np.zeros(2), slack).gap(0.0, pair(0, 1))
    second = BiasedDraws(draws, np.zeros(2), slack).gap(0.0, pair(1, 0))
    assert (first.low, first.high) == pytest.approx((plain.low - 0.3, plain.high))
    assert (second.low, second.high) == pytest.approx((-plain.high, -plain.low + 0.3))


def test_slack_does_not_part_equal_outcomes(rng):
    """Catches a run that differs from itself because its error may be nothing."""
    draws = np.repeat(rng.normal(1, 0.1, size=(2000, 1)), 2, axis=1)
    same = BiasedDraws(draws, np.zeros(2), np.full(2, 0.3)).gap(0.0, pair(0, 1))
    assert same == Gap(0.0, 0.0, 0.0, 1.0)


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


def test_differences_of_binned_errors_are_those_of_a_plain_bootstrap(run):
    """Catches counts of one model under the sums of another, and bins that do not move."""
    columns, _, probs, labels = run
    rng = np.random.default_rng(1)

    def errors(metric, rows):
        return [metric(values[rows], labels[rows]) for values in probs.values()]

    for number, metric in zip(
        columns.binned(15), (metrics.ece, metrics.rms_calibration_error), strict=True
    ):
        drawn = [np.subtract(*errors(metric, rng.integers(0, 400, 400))) for _ in range(1000)]
        value = np.subtract(*errors(metric, np.arange(400)))
        low, high = np.quantile(drawn, [0.025, 0.975]) - (np.mean(drawn) - value)
        gap = number.gap({"one": 1, "two": -1})
        assert gap.value == pytest.approx(value)
        assert (gap.low, gap.high) == pytest.approx((low, high), abs=0.12 * (high - low))


def test_an_error_that_a_calibrated_model_shows_too_may_be_nothing(rng):
    """Catches an interval that takes the bias of bins for an error: it covered 83 % of the time."""
    covered = []
    for _ in range(40):
        confidence = 1 - 0.9 * rng.beta(0.5, 4, (1, 2, 500))
        right = rng.random(500) < confidence - np.array([0.0, 0.03])[:, None]
        aligned = Aligned(
            ("calibrated", "sure"), np.arange(500), {"confidence": confidence, "correct": right}
        )
        gap = binned_numbers(("ECE", "RMS"), aligned, 15)[0].gap({"sure": 1, "calibrated": -1})
        covered.append(gap.low <= 0.03 <= gap.high)
    assert np.mean(covered) > 0.93


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
