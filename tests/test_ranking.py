"""Who is best beyond the noise: against hand counts, SciPy and closed forms."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from synthetic_results import Latent, make

from harness.core.types import Row
from harness.ranking import over_seeds, ranked
from harness.results import ALL_SEEDS, outcomes

NAMES = ("baseline", "twin", "better", "worse")


def clean_only(right, *, seeds=(0,), void=()):
    """Results with clean outcomes alone: model -> (S, N) booleans."""
    models = [Latent(name, name) for name in right]
    made = make(models=models, n=20, attacked=10, seeds=len(seeds), faults=False)
    rows, columns = [], {name: [] for name in outcomes.COLUMNS["clean"]}
    for name, hits in right.items():
        for seed, hit in zip(seeds, np.atleast_2d(hits), strict=True):
            n, share = len(hit), float(hit.mean())
            status = "void" if name in void else "ok"
            rows.append(Row("s", name, name, seed, "clean", "", "accuracy", "harness", share, None, None, n, "higher", status))  # fmt: skip
            parts = (
                np.full(n, name),
                np.full(n, seed),
                np.arange(n),
                np.zeros(n, int),
                np.where(hit, 0, 1),
            )
            for column, part in zip(columns, parts, strict=True):
                columns[column].append(part)
    table = outcomes.table(
        "clean", {name: np.concatenate(parts) for name, parts in columns.items()}
    )
    return replace(made, rows=tuple(rows), outcomes={"clean": table})


def hits(wrong, n=400):
    """(n,) true but for the first `wrong` images."""
    return np.arange(n) >= wrong


def test_the_winner_is_not_marked_alone():
    """Catches bold for the largest number only, and a test that is not paired.

    Nested errors on 400 images: 6 against 0 discordant pairs has p = 0.03 by exact McNemar, 60
    against 0 has p of about 1e-18; a comparison of unpaired intervals would call 94 and 97.5 % apart
    at best.
    """
    found = ranked(clean_only({"baseline": hits(10), "twin": hits(11), "worse": hits(70)}))
    best = {standing.model: standing.best for standing in found.standings}
    assert best == {"baseline": True, "twin": True, "worse": False}
    behind = {standing.model: standing.behind for standing in found.standings}
    assert behind == {
        "baseline": 0.0,
        "twin": pytest.approx(1 / 400),
        "worse": pytest.approx(60 / 400),
    }


def test_holm_is_over_the_column():
    """One discordance of 7 : 0 (p = 0.0156) counts alone, not among eight like it."""
    alone = ranked(clean_only({"baseline": hits(0), "b": hits(7)}))
    assert [s.best for s in alone.standings] == [True, False]
    many = {"baseline": hits(0)} | {f"m{k}": hits(7) for k in range(8)}
    assert all(s.best for s in ranked(clean_only(many)).standings)


def test_contrasts_are_gains_over_the_baseline():
    """Catches baseline minus model, and verdicts in the wrong direction."""
    found = ranked(
        clean_only({"baseline": hits(40), "better": hits(5), "worse": hits(80), "twin": hits(41)})
    )
    got = {c.model: (c.verdict, round(c.gain, 6)) for c in found.contrasts}
    assert got == {
        "better": ("better", 35 / 400),
        "worse": ("worse", -0.1),
        "twin": ("undecided", -1 / 400),
    }
    assert all(c.low < c.gain < c.high for c in found.contrasts)


def test_lower_is_better_where_it_is():
    """Catches a Brier score that is maximised."""
    models = [Latent("baseline", "b", skill=3.0), Latent("sharp", "s", skill=6.0)]
    found = ranked(make(models=models, n=400, attacked=30, faults=False))
    brier = {
        row.model: row.value
        for row in found.rows
        if row.metric == "brier" and row.case == "scaling=none"
    }
    assert brier["sharp"] < brier["baseline"]
    (contrast,) = [c for c in found.contrasts if c.column == "brier"]
    assert contrast.verdict == "better"
    assert contrast.gain == pytest.approx(brier["baseline"] - brier["sharp"])


def test_every_column_of_the_summary_is_ranked():
    found = ranked(
        make(models=[Latent("baseline", "b"), Latent("m", "m")], n=80, attacked=60, faults=False)
    )
    columns = {standing.column for standing in found.standings}
    assert columns == {
        "clean",
        "robust",
        "shift",
        "auroc kmnist",
        "auroc fashion-mnist",
        "ece",
        "rms",
        "brier",
    }
    for column in columns:
        assert any(s.best for s in found.standings if s.column == column)


def test_paired_values_are_those_of_the_rows():
    """Catches a ranking on other numbers than those in the table."""
    found = ranked(
        make(
            models=[Latent("baseline", "b"), Latent("m", "m", skill=4.0)],
            n=200,
            attacked=100,
            faults=False,
        )
    )
    for case, axis, column in (
        ("", "clean", "clean"),
        ("corruption=mean", "shift", "shift"),
        ("attack=worst norm=linf eps=mean", "adversarial", "robust"),
    ):
        values = {
            r.model: r.value
            for r in found.rows
            if (r.case, r.axis) == (case, axis) and r.metric in ("accuracy", "robust_accuracy")
        }
        (gain,) = [c.gain for c in found.contrasts if c.column == column]
        assert gain == pytest.approx(values["m"] - values["baseline"], abs=1e-12)


def test_a_void_number_is_never_ranked():
    """Catches a masked model that wins a column."""
    found = ranked(clean_only({"baseline": hits(40), "better": hits(0)}, void=["better"]))
    assert {standing.model for standing in found.standings} == {"baseline"}
    assert found.contrasts == ()


def test_dominance_needs_every_column():
    first = Latent("good", "g", skill=5.5, radius=0.3, near=4.0, far=4.0)
    last = Latent("bad", "b", skill=2.5, radius=0.02, near=1.0, far=1.0, sharp=0.3)
    found = ranked(make(models=[last, first], n=400, attacked=100, faults=False))
    by = {one.model: one for one in found.dominance}
    assert by["good"].by == ()
    assert by["bad"].by == ("good",)
    assert by["bad"].surely == ("good",)


def test_equal_models_do_not_dominate_each_other():
    """Catches >= without a strict part."""
    found = ranked(clean_only({"baseline": hits(40), "twin": hits(40)}))
    assert all(one.by == () for one in found.dominance)


def test_rows_over_seeds_are_t_intervals():
    """Against SciPy's t interval; catches z in place of t and a standard deviation over n."""
    values = [0.9, 0.93, 0.91]
    row = Row("s", "m", "f", 0, "clean", "", "accuracy", "harness", 0.0, None, None, 500, "higher")
    (mean,) = over_seeds(
        [replace(row, seed=seed, value=value) for seed, value in enumerate(values)]
    )
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean.seed, mean.n) == (ALL_SEEDS, 3)
    assert mean.value == pytest.approx(np.mean(values))
    assert (mean.low, mean.high) == pytest.approx((interval.low, interval.high))


def test_intervals_over_seeds_stay_in_range_and_are_no_narrower_than_over_images():
    """Catches 117 % of two seeds that differ, and certainty of two that agree by chance."""
    row = Row("s", "m", "f", 0, "clean", "", "accuracy", "harness", 0.9, 0.87, 0.93, 500, "higher")
    (apart,) = over_seeds([row, replace(row, seed=1, value=0.8, low=0.77, high=0.83)])
    assert (apart.low, apart.high) == (pytest.approx(0.85 - 12.7062 * 0.05, abs=1e-4), 1.0)
    (alike,) = over_seeds([row, replace(row, seed=1)])
    assert (alike.low, alike.high) == pytest.approx((0.87, 0.93))
    versus = [
        replace(row, case="versus=b", seed=seed, value=value)
        for seed, value in enumerate((0.1, 0.2))
    ]
    (difference,) = over_seeds(versus)
    assert difference.low < 0
    (error,) = over_seeds([replace(one, case="", metric="ece") for one in versus])
    assert error.low == 0


def test_a_seed_that_failed_leaves_no_mean():
    """Catches a mean over the seeds that happened to work."""
    row = Row("s", "m", "f", 0, "clean", "", "accuracy", "harness", 0.5, None, None, 500, "higher")
    failed = replace(row, seed=1, value=None, status="failed", note="crash")
    (mean,) = over_seeds([row, failed])
    assert (mean.value, mean.status, mean.note) == (None, "failed", "crash")


def test_one_seed_is_left_alone():
    row = Row("s", "m", "f", 0, "clean", "", "accuracy", "harness", 0.5, None, None, 500, "higher")
    assert over_seeds([row]) == []


def test_ranking_again_changes_nothing():
    """Catches rows over seeds that are summed up once more, and a draw that is not seeded."""
    once = ranked(
        make(
            models=[Latent("baseline", "b"), Latent("m", "m")],
            n=60,
            attacked=40,
            seeds=2,
            faults=False,
        )
    )
    again = ranked(once)
    assert again.rows == once.rows
    assert again.standings == once.standings
    assert again.contrasts == once.contrasts
