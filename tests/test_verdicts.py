"""From two runs to a verdict, and Holm over the ledger."""

from dataclasses import replace

import numpy as np
import pytest

from harness.crosscheck.attacks import Ran
from harness.crosscheck.verdicts import Subject, behind, envelope, pairs, settle

N = 256
RNG = np.random.default_rng(0)
IMAGES = RNG.random((N, 1, 4, 4)).astype(np.float32)


def ran(
    name: str, success: np.ndarray, shift: float = 0.0, distance: np.ndarray | None = None
) -> Ran:
    far = np.full(N, 0.1) if distance is None else distance
    return Ran(
        name, "ok", x_adv=IMAGES + np.float32(shift), success=success, distance=far, seconds=1.0
    )


def subject(**changes) -> Subject:
    known = {
        "concept": "nothing-known",
        "what": "it",
        "model": "m",
        "protocol": "lockstep",
        "norm": "linf",
    }
    return Subject(**(known | changes))


def one(a: Ran, b: Ran, **changes):
    (row,) = settle(pairs(subject(**changes), [a, b]))
    return row


HALF = np.arange(N) % 2 == 0


def test_equal_bits_are_identical():
    row = one(ran("a", HALF), ran("b", HALF))
    assert (row.verdict, row.largest, row.agreement) == ("identical", 0.0, 1.0)


def test_rounding_is_equivalent_and_no_more():
    """Catches a tolerance that lets a wrong step through."""
    assert one(ran("a", HALF), ran("b", HALF, 3e-7)).verdict == "equivalent"
    row = one(ran("a", HALF), ran("b", HALF, 1e-3))
    assert row.verdict == "different"
    assert "images differ by up to 0.001" in row.explanation


def test_natively_rounding_is_equivalent_too_and_survivors_prove_nothing():
    """Catches two AutoAttacks with one seed that are undecided, and rows that both left alone as proof."""
    row = one(ran("a", HALF), ran("b", HALF, 3e-7), protocol="native")
    assert (row.verdict, row.explanation) == ("equivalent", "images within 1e-06")
    few = ran("b", HALF)
    images = few.x_adv.copy()
    images[:20] += np.float32(0.01)
    row = one(ran("a", HALF), replace(few, x_adv=images), norm="l2", protocol="native")
    assert row.explanation != one(ran("a", HALF), replace(few, x_adv=images), norm="l2").explanation


def test_what_only_our_projection_made_equal_is_different():
    """Catches an attack that leaves the ball, and looks sound once it is brought back."""
    outside = replace(ran("b", HALF), violations=9)
    row = one(ran("a", HALF), outside)
    assert row.verdict == "different"
    assert "left by b on 9 of 256 images" in row.explanation
    assert one(ran("a", HALF), outside, protocol="native").verdict == "identical"


def test_a_probable_cause_is_told_only_of_a_difference():
    """Catches a cause that stands beside a row that chance explains, and one that gets lost."""
    weak = replace(ran("b", HALF & (np.arange(N) > 99), 0.1), cause="half the steps")
    told = one(ran("a", HALF), weak, protocol="native")
    assert told.verdict == "different"
    assert told.explanation.endswith("probable cause: b: half the steps")
    hardly = replace(ran("b", HALF & (np.arange(N) > 7), 0.1), cause="half the steps")
    open_ = one(ran("a", HALF), hardly, protocol="native")
    assert (open_.verdict, open_.explanation) == ("undecided", "too few samples to tell")


def test_in_l2_rounding_of_a_few_rows_is_equivalent_and_a_missing_step_is_not():
    few = ran("b", HALF)
    images = few.x_adv.copy()
    images[:20] += np.float32(0.01)
    grown = Ran("b", "ok", x_adv=images, success=HALF, distance=few.distance)
    assert one(ran("a", HALF), grown, norm="l2").verdict == "equivalent"
    assert one(ran("a", HALF), ran("b", HALF, 0.01), norm="l2").verdict == "different"


def test_a_weaker_attack_is_different():
    """Catches eps read in another unit, a flipped sign, a missing step: fewer samples fall."""
    weak = HALF & (np.arange(N) < N // 2)
    row = one(ran("a", HALF), ran("b", weak, 0.05), protocol="native")
    assert row.verdict == "different"
    assert "b finds less than a" in row.explanation
    assert row.difference == pytest.approx(-0.25)
    assert row.high < 0


def test_a_few_discordant_samples_do_not_decide():
    few = HALF.copy()
    few[:6:2] = False
    assert one(ran("a", HALF), ran("b", few, 0.05), protocol="native").verdict == "undecided"


def test_holm_counts_the_whole_ledger():
    """Catches each pair judged by its own 95 %: of many pairs, some differ by chance."""
    seven = HALF.copy()
    seven[:14:2] = False  # 7 : 0 has p = 0.016 by itself
    alone = pairs(subject(protocol="native"), [ran("a", HALF), ran("b", seven, 0.05)])
    assert settle(alone)[0].verdict == "different"
    others = [
        row
        for _ in range(5)
        for row in pairs(subject(protocol="native"), [ran("a", HALF), ran("b", HALF, 0.05)])
    ]
    (among, *_) = settle([*alone, *others])
    assert among.verdict == "undecided"
    assert among.p > alone[0].p


def test_inside_the_margin_is_equivalent():
    many = 40_000
    success = np.zeros(many, bool)
    images = np.zeros((many, 1, 1, 1), np.float32)

    def large(name: str, shift: float) -> Ran:
        return Ran(
            name, "ok", x_adv=images + np.float32(shift), success=success, distance=np.zeros(many)
        )

    row = one(large("a", 0), large("b", 0.1), protocol="native")
    assert row.verdict == "equivalent"
    assert "inside 0.01" in row.explanation


@pytest.mark.parametrize("outcome", ["missing", "failed", "not comparable"])
def test_what_did_not_run_has_no_numbers(outcome):
    """Catches a crash that counts as agreement."""
    row = one(ran("a", HALF), Ran("b", outcome, "why"))
    assert (row.verdict, row.n, row.difference) == (outcome, 0, None)
    assert "b: why" in row.explanation


def test_envelope_is_the_strongest_outcome_per_sample():
    a, b = ran("a", np.arange(N) < 100), ran("b", np.arange(N) >= 60)
    best = envelope([a, b], minimise=False)
    assert best is not None
    assert best.all()
    assert behind(a, best, minimise=False) == pytest.approx((N - 100) / N)
    assert behind(b, best, minimise=False) == pytest.approx(60 / N)


def test_smallest_perturbations_compare_distances():
    every = np.ones(N, bool)
    near = RNG.random(N) + 1
    a, b = ran("a", every, 0.0, near), ran("b", every, 0.1, near * 1.3)
    row = one(a, b, minimise=True, norm="l2", protocol="native")
    assert row.verdict == "different"
    assert row.envelope == (0.0, 1.0)
    same = ran("b", every, 0.1, near * 1.001)
    assert one(a, same, minimise=True, norm="l2", protocol="native").verdict == "equivalent"


def test_a_sample_that_nobody_broke_puts_nobody_behind():
    """Catches infinity compared with infinity."""
    none = np.zeros(N, bool)
    a, b = ran("a", none), ran("b", none)
    assert behind(a, envelope([a, b], minimise=True), minimise=True) == 0.0


def test_natively_a_known_deviation_explains_only_what_is_beyond_chance():
    """Catches `explained` for two random starts that happened to differ by a sample (F2 of Foolbox)."""
    few, weak = HALF.copy(), HALF & (np.arange(N) < N // 2)
    few[:6:2] = False
    chance, real = (
        one(ran("harness", HALF), ran("foolbox", success, 0.05), concept="mifgsm", protocol="native")
        for success in (few, weak)
    )  # fmt: skip
    assert (chance.verdict, chance.deviation) == ("undecided", "")
    assert "F2 would predict it" in chance.explanation
    assert (real.verdict, real.deviation) == ("explained", "F2")


def test_another_algorithm_explains_before_rounding_does():
    """ART against Foolbox in L2: A5 and F5 both predict other images. Catches the first in the file."""
    row = one(ran("art", HALF), ran("foolbox", HALF, 0.05), concept="pgd", norm="l2")
    assert (row.verdict, row.deviation) == ("explained", "A5")
    other = one(ran("harness", HALF), ran("foolbox", HALF, 0.05), concept="pgd", norm="l2")
    assert other.deviation == "F5"
