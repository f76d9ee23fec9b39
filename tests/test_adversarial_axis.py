"""The worst case over attacks: on the images that all met, in one order."""

from types import SimpleNamespace

import numpy as np

from harness.axes.adversarial import Outcomes, alike, headline_budgets
from harness.core.types import Use
from harness.suite import AttackSpec, Suite

PGD = AttackSpec(name="pgd", use=Use("pgd"), norm="linf", eps=(0.1, 0.2))


def outcomes(ids: list[int], seed: int = 0) -> Outcomes:
    rng = np.random.default_rng(seed)
    broken = rng.random((len(ids), 2)) < 0.5
    return Outcomes(PGD, (0.1, 0.2), broken, rng.random(len(ids)) < 0.8, np.array(ids))


def test_attacks_on_fewer_images_are_compared_image_by_image():
    """Catches a worst case that pairs rows by position, or that fails where a suite gives one attack fewer."""
    some, all_ = outcomes([7, 3, 9]), outcomes([1, 3, 5, 7, 9], seed=1)
    first, second = alike([all_, some])
    assert first.ids.tolist() == second.ids.tolist() == [7, 3, 9]
    assert (first.broken == all_.broken[[3, 1, 4]]).all()
    assert (first.clean == all_.clean[[3, 1, 4]]).all()
    assert (second.broken == some.broken).all()


def test_the_first_budget_that_broke_an_image():
    """Catches 0 for an image that never fell, or a budget for one that was wrong without an attack."""
    broken = np.array([[False, True], [True, True], [False, False], [True, True]])
    clean = np.array([True, True, True, False])
    found = Outcomes(PGD, (0.1, 0.2), broken, clean, np.arange(4))
    assert found.first.tolist() == [0.2, 0.1, np.inf, 0.0]


def test_a_suite_without_adversarial_training_has_a_headline_too():
    """Catches a summary without a robust column where no model was trained on an attack."""
    plain = SimpleNamespace(models=[SimpleNamespace(training_budget=None)], attacks=[PGD])
    plain.middle_budget = Suite.middle_budget.fget(plain)
    assert headline_budgets(plain) == (0.2,)
    trained = SimpleNamespace(models=[SimpleNamespace(training_budget=0.1)], attacks=[PGD])
    trained.middle_budget = Suite.middle_budget.fget(trained)
    assert headline_budgets(trained) == (0.1,)
