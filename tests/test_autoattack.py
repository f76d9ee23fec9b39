"""AutoAttack through the harness is the official AutoAttack, and its namesakes are not."""

from pathlib import Path

import numpy as np
import pytest
import torch
from small_nets import held_out, robust, saturated, standard

from harness.attacks import run_attack
from harness.core.registry import registry
from harness.core.rng import global_state
from harness.core.threat import Threat
from harness.crosscheck import attacks
from harness.crosscheck.verdicts import Subject, pairs, settle
from harness.plan import expand
from harness.suite import load

pyautoattack = pytest.importorskip("pyautoattack")
NETS = {"baseline": standard, "PGD-trained": robust}


def through_the_harness(model, x, y, threat, **params):
    plug = registry.get("attack", "autoattack/autoattack")
    return run_attack(plug, params, model, x, y, threat, seed=5)


def by_hand(model, x, y, threat, *, seed, batch_size):
    """The official evaluation, as its README says, on the network itself."""
    with global_state(0):
        attack = pyautoattack.AutoAttack(
            model.module, eps=threat.eps, norm="Linf", seed=seed, version="standard", device="cpu"
        )
        found, labels = attack.run_standard_evaluation(x.clone(), y.clone(), batch_size=batch_size)
    return found, (labels != y).numpy()


@pytest.fixture
def undisturbed(monkeypatch):
    """The library's checks switch the tracer off and count calls for ever."""
    monkeypatch.setattr("pyautoattack.checks.check_dynamic", lambda *_, **__: None)


@pytest.mark.slow
@pytest.mark.parametrize("net", NETS)
def test_it_equals_the_official_one_run_by_hand(undisturbed, net):
    """Same seed, batch size and standard version: same images, so same outcomes, per sample.

    Catches a restart, target or query fewer, a batch cut elsewhere, another seed a batch, and
    images that were projected on the way.
    """
    (x, y), threat, model = held_out(24), Threat("linf", 0.1), NETS[net]()
    ours = through_the_harness(model, x, y, threat, seed=3, batch_size=16)
    images, broken = by_hand(model, x, y, threat, seed=3, batch_size=16)
    assert 0 < broken.sum() < 24
    assert torch.equal(ours.x_adv, images)
    np.testing.assert_array_equal(ours.success, broken)
    np.testing.assert_array_equal(ours.claimed, broken)
    assert ours.violations == 0


def test_another_batch_size_is_another_result(undisturbed):
    """What the test above rests on: P5. Catches a comparison that cannot fail."""
    (x, y), threat = held_out(24), Threat("linf", 0.1)
    one, two = (
        through_the_harness(
            robust(), x, y, threat, seed=3, batch_size=size, attacks=["apgd-ce"], steps=5
        )
        for size in (8, 16)
    )
    assert not torch.equal(one.x_adv, two.x_adv)


class Stretched:
    """A random direction that is scaled as torchattacks scales it: (eps t) / max, not eps (t / max)."""

    def __init__(self, direction):
        self.direction, self.largest = direction, direction.abs().flatten(1).amax(1)

    @classmethod
    def __torch_function__(cls, _function, _types, args, _options=None):
        eps, self = args
        return eps * self.direction / self.largest.view(-1, 1, 1, 1)


def rounded_as_torchattacks(monkeypatch, *names):
    """Mend the official attack by T1b (its start) or T1d (its targeted loss)."""
    base = pytest.importorskip("pyautoattack.autopgd_base")
    loss = pytest.importorskip("torchattacks").APGDT.dlr_loss_targeted
    mended = {
        "T1b": (base.APGDAttack, "normalize", lambda _, direction: Stretched(direction)),
        "T1d": (
            base.APGDAttack_targeted,
            "dlr_loss_targeted",
            lambda self, z, y: loss(self, z, y, self.y_target),
        ),
    }
    for name in names:
        monkeypatch.setattr(*mended[name])


@pytest.mark.slow
@pytest.mark.parametrize("mended", [("T1b", "T1d"), ("T1d",)], ids="-".join)
def test_torchattacks_differs_by_what_the_catalogue_says_and_by_nothing_else(
    undisturbed, monkeypatch, mended
):
    """With its steps (T1), schedule (T1c), start and loss it is the official one, bit for bit.

    Catches a deviation that the catalogue does not know, and a comparison that cannot fail: without
    the start (T1b) images differ. T1d alone seldom turns a sign. The rows are saturated, so that
    many stand up to the cross-entropy and meet the targeted loss.
    """
    (x, y), threat, model = held_out(16), Threat("linf", 0.1), saturated()
    params = {"steps": 8, "queries": 20, "seed": 3}
    rounded_as_torchattacks(monkeypatch, *mended)
    official = through_the_harness(model, x, y, threat, **params)
    plug = registry.get("attack", "torchattacks/autoattack")
    theirs = run_attack(plug, {**params, "rescale": False}, model, x, y, threat, seed=5)
    assert torch.equal(theirs.x_adv, official.x_adv) == ("T1b" in mended)
    assert 0 < official.success.sum() < 16


def compared(params, shared):
    """Verdicts on three AutoAttacks, natively; `params` makes them short."""
    x, y = held_out(8)
    plugs, threat = attacks.implementations("autoattack", "linf"), Threat("linf", 0.1)
    ran = list(attacks.native(plugs, robust(), x, y, threat, spec=params, shared=shared, seed=0))
    held = attacks.conditions(robust(), x, y, ran)
    return ran, settle(pairs(Subject("autoattack", "it", "m", "native", "linf", facts=held), ran))


@pytest.mark.slow
def test_a_namesake_keeps_its_own_settings_unless_all_share_them():
    """Catches a native row in which torchattacks was quietly mended, and T1 cited where it was."""
    budget = {"steps": 12, "queries": 20, "deepfool_steps": 3}
    ran, _ = compared(budget, {})
    theirs = next(one for one in ran if one.implementation == "torchattacks")
    assert theirs.own
    assert (theirs.params["steps"], theirs.params["rescale"]) == (10, True)
    official = next(one for one in ran if one.implementation == "autoattack")
    assert not official.own
    assert official.params["steps"] == 12
    ran, rows = compared(budget, {"steps": 12, "rescale": False, "step_size": 0.2})
    assert not any(one.own for one in ran)
    assert all(row.deviation not in ("T1", "T1c") for row in rows)


def test_its_cost_is_told_in_minutes():
    """A job of the shipped suite took 280 to 1,440 seconds of a core. Catches one told by its steps."""
    plan = expand(
        load(Path(__file__).parent.parent / "suites" / "autoattack.yaml"),
        fingerprint=lambda use: use.name,
        size=lambda _use, part: {"train": 1200, "val": 97, "test": 500}[part],
        classes=tuple("0123456789"),
    )
    told = [job.cost for job in plan.jobs if job.kind == "crosscheck"]
    assert len(told) == 4
    assert all(300 < seconds < 1500 for seconds in told)
    assert 2000 < sum(told) < 4500  # 3,000 it took
