"""Robust accuracy: each attack at each budget, the per-sample worst, and the attacks held out.

Robust accuracy is the share of all test images that stay right on every point tried: an upper bound
on the true one. The headline at a budget is the per-sample worst over the suite's headline attacks;
averages over attacks are never taken (check H47).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.axes.view import Measured, View, absent, row, versus
from harness.statistics import mean_difference, mean_over_cases, paired_proportions, proportion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.axes.view import Who
    from harness.suite import AttackSpec, Suite

WORST, UNSEEN, MEAN = "worst", "unseen", "mean"


@dataclass(frozen=True)
class Outcomes:
    """What one attack did to one model.

    Args:
        attack: as in the suite.
        eps: (B,) budgets, ascending.
        broken: (N, B) bool, wrong at each budget.
        clean: (N,) bool, right without an attack.
        ids: (N,) positions in the published test split.
    """

    attack: AttackSpec
    eps: tuple[float, ...]
    broken: np.ndarray
    clean: np.ndarray
    ids: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """(N,) smallest budget at which each image fell: 0 if wrong clean, infinity if it never did."""
        order = np.array([*self.eps, np.inf])
        fallen = np.concatenate([self.broken, np.ones((len(self.broken), 1), bool)], axis=1)
        return np.where(self.clean, order[fallen.argmax(1)], 0.0)

    def at(self, eps: float) -> np.ndarray:
        """(N,) bool, wrong at one of the budgets."""
        return self.broken[:, self.eps.index(eps)]

    def among(self, ids: np.ndarray) -> Outcomes:
        """The same on some of its images, in the order of `ids`."""
        place = {one: index for index, one in enumerate(self.ids.tolist())}
        rows = [place[one] for one in ids.tolist()]
        return replace(self, broken=self.broken[rows], clean=self.clean[rows], ids=ids)


def alike(found: Sequence[Outcomes]) -> list[Outcomes]:
    """Outcomes of several attacks on the images that all of them met: a suite may give some fewer."""
    shared = set.intersection(*(set(one.ids.tolist()) for one in found))
    order = min(found, key=lambda one: len(one.ids)).ids
    ids = order[np.isin(order, list(shared))]
    return [one.among(ids) for one in found]


def headline_budgets(suite: Suite) -> tuple[float, ...]:
    """L-inf budgets of the headline, ascending: those that models were trained at, else the middle one."""
    trained = {model.training_budget for model in suite.models if model.training_budget}
    middle = suite.middle_budget
    return tuple(sorted(trained)) or ((middle,) if middle else ())


def outcomes(view: View, who: Who, attack: AttackSpec) -> Outcomes | None:
    """What `attack` did to a model, or None if there is no record."""
    arrays = view.arrays("attack", who, f"{attack.name} {attack.norm}")
    if arrays is None:
        return None
    eps = tuple(arrays["eps"].tolist())
    return Outcomes(attack, eps, arrays["broken"], arrays["clean"], arrays["ids"])


def worst(view: View, who: Who, norm: str) -> Outcomes | None:
    """The per-sample worst over the headline attacks of a norm, at the budgets and images that all met.

    None if one of them has no record: a worst case that lacks an attack would flatter the model.
    """
    specs = [a for a in view.suite.attacks if a.headline and a.norm == norm and a.eps != "training"]
    found = [outcomes(view, who, attack) for attack in specs]
    known = [one for one in found if one is not None]
    if not known or len(known) < len(specs):
        return None
    known = alike(known)
    eps = tuple(sorted(set.intersection(*(set(one.eps) for one in known))))
    fallen = np.logical_or.reduce([np.stack([one.at(e) for e in eps], axis=1) for one in known])
    broken = np.logical_or.accumulate(fallen, axis=1)  # a ball holds the smaller ones
    return replace(known[0], eps=eps, broken=broken)


def measure(view: View) -> Measured:
    """Rows of every attack, of the worst case, of the headline and of its gap to the seen attack."""
    measured = Measured()
    norms = tuple(dict.fromkeys(attack.norm for attack in view.suite.attacks))
    for who in view.everyone():
        for attack in view.suite.attacks:
            _attack(view, who, attack, measured)
        for norm in norms:
            _worst(view, who, norm, measured)
        _headline(view, who, measured)
    return measured


def _attack(view: View, who: Who, attack: AttackSpec, measured: Measured) -> None:
    found = outcomes(view, who, attack)
    case = {"attack": attack.name, "norm": attack.norm}
    if found is None:
        record = view.record("attack", who, f"{attack.name} {attack.norm}")
        measured.rows.append(
            absent(view, who, "adversarial", "robust_accuracy", record, **case, eps="all")
        )
        return
    _curve(view, who, found, attack.name, measured)
    _outcome(who, found, attack.name, measured)


def _outcome(who: Who, found: Outcomes, name: str, measured: Measured) -> None:
    measured.outcome(
        "adversarial", who, norm=found.attack.norm, attack=name, id=found.ids,
        first_broken=found.first, largest=max(found.eps),
    )  # fmt: skip


def _curve(view: View, who: Who, found: Outcomes, name: str, measured: Measured) -> None:
    """Robust accuracy at each budget, and the paired difference to the baseline."""
    norm = found.attack.norm
    job = view.digest("attack", who, f"{found.attack.name} {norm}")
    baseline = view.baseline(who)
    theirs = None
    if baseline is not None:
        theirs = (
            worst(view, baseline, norm) if name == WORST else outcomes(view, baseline, found.attack)
        )
    for eps in found.eps:
        stood = ~found.at(eps)
        one = row(
            view, who, "adversarial", "robust_accuracy", proportion(stood),
            job=job, attack=name, norm=norm, eps=eps,
        )  # fmt: skip
        measured.rows.append(one)
        if theirs is not None and eps in theirs.eps:
            base = ~theirs.at(eps)
            measured.rows.append(versus(one, paired_proportions(stood, base)))


def _worst(view: View, who: Who, norm: str, measured: Measured) -> None:
    found = worst(view, who, norm)
    if found is None:
        return
    _curve(view, who, found, WORST, measured)
    _outcome(who, found, WORST, measured)


def survived(view: View, who: Who, name: str = WORST) -> np.ndarray | None:
    """(B, N) bool: stood at each budget of the headline, against the worst case or one attack by name.

    N are the images that all headline attacks met.
    """
    found = reference = worst(view, who, "linf")
    if name != WORST and reference is not None:
        specs = [a for a in view.suite.attacks if a.name == name and a.norm == "linf"]
        alone = outcomes(view, who, specs[0]) if specs else None
        whole = alone is not None and set(reference.ids.tolist()) <= set(alone.ids.tolist())
        found = alone.among(reference.ids) if alone is not None and whole else None
    budgets = headline_budgets(view.suite)
    if found is None or not budgets or not set(budgets) <= set(found.eps):
        return None
    return np.stack([~found.at(eps) for eps in budgets])


def _headline(view: View, who: Who, measured: Measured) -> None:
    """Mean over the budgets of the headline, per image, of the worst case; and the gap to the attack seen."""
    stood = survived(view, who)
    if stood is None:
        return
    job = view.digest("attack", who, f"{view.suite.attacks[0].name} linf")
    case = {"norm": "linf", "eps": MEAN}
    found = row(
        view,
        who,
        "adversarial",
        "robust_accuracy",
        mean_over_cases(stood),
        job=job,
        attack=WORST,
        **case,
    )
    measured.rows.append(found)
    baseline = view.baseline(who)
    theirs = survived(view, baseline) if baseline else None
    if theirs is not None:
        measured.rows.append(versus(found, mean_difference(stood, theirs)))
    seen = survived(view, who, trained_on(who)) if trained_on(who) else None
    if seen is not None:
        gap = mean_difference(seen, stood).estimate
        measured.rows.append(
            row(view, who, "adversarial", "robust_gap", gap, job=job, attack=UNSEEN, **case)
        )


def trained_on(who: Who) -> str:
    """Name of the attack that a model was trained on, or ""."""
    return next((step.name for step in who.spec.train if "eps" in step.params), "")
