"""The ledger's lockstep on real attacks: equal bits where the arithmetic allows, and why where not."""

from itertools import combinations

import pytest
import torch
from small_nets import Net, held_out, robust, saturated, standard

from harness import models
from harness.core.registry import registry
from harness.core.threat import Threat
from harness.crosscheck import attacks
from harness.crosscheck.verdicts import Subject, pairs, settle

LIBRARIES = ("harness", "art", "foolbox", "torchattacks")
ROWS = 32  # a power of two: mean and sum of a loss then differ by an exact factor


def ensemble():
    return models.Ensemble([standard(), robust()])


NETS = {"baseline": standard, "adversarially trained": robust, "ensemble": ensemble}


def ledger(model, x, y, concept, *, norm="linf", eps=0.15, steps=10, start=False, plugs=None):
    threat = Threat(norm, eps)
    plugs = plugs or attacks.implementations(concept, norm)
    spec = {"steps": steps}
    ran = list(attacks.lockstep(plugs, model, x, y, threat, spec=spec, seed=0, random_start=start))
    held = attacks.conditions(model, x, y, ran)
    subject = Subject(concept, concept, "m", "lockstep", norm, facts=held)
    return settle(pairs(subject, ran))


def identical(rows):
    assert [(row.a, row.b) for row in rows] == list(combinations(LIBRARIES, 2))
    assert {(row.verdict, row.largest) for row in rows} == {("identical", 0.0)}


@pytest.mark.parametrize("start", [False, True], ids=["at x", "random start"])
@pytest.mark.parametrize("concept", ["fgsm", "pgd"])
@pytest.mark.parametrize("net", NETS)
def test_linf_is_equal_bit_for_bit_among_all_four(net, concept, start):
    """Catches any other start, step, projection, order, batch or last step on either side."""
    identical(ledger(NETS[net](), *held_out(ROWS), concept, start=start))


@pytest.mark.data
@pytest.mark.parametrize("start", [False, True], ids=["at x", "random start"])
@pytest.mark.parametrize("concept", ["fgsm", "pgd"])
@pytest.mark.parametrize("net", ["clntrained", "advtrained", "ensemble"])
def test_linf_is_equal_bit_for_bit_on_mnist(data_dir, net, concept, start):
    """The published weights, on the first test images."""
    mnist = registry.get("data", "mnist").function(data_dir).test
    x, y = torch.from_numpy(mnist.x[:ROWS]), torch.from_numpy(mnist.y[:ROWS])
    members = [
        models.brought(
            "harness.models:advertorch_lenet5",
            data_dir / "weights" / f"mnist_lenet5_{name}.pt",
            num_classes=10,
            in_shape=(1, 28, 28),
        )
        for name in (["clntrained", "advtrained"] if net == "ensemble" else [net])
    ]
    model = models.Ensemble(members) if net == "ensemble" else members[0]
    identical(ledger(model, x, y, concept, eps=0.3, start=start))


def test_a_step_of_one_per_cent_less_is_different():
    """Catches a ledger that compares outcomes only."""
    x, y = held_out(ROWS)
    plugs = attacks.implementations("pgd", "linf")
    ours, theirs = (
        next(
            attacks.lockstep([plug], robust(), x, y, Threat("linf", eps), spec={"steps": 10}, seed=0, random_start=False)
        )
        for plug, eps in zip(plugs[:2], (0.15, 0.1485), strict=True)
    )  # fmt: skip
    (row,) = settle(pairs(Subject("pgd", "PGD", "m", "lockstep", "linf"), [ours, theirs]))
    assert row.verdict == "different"


@pytest.mark.parametrize("start", [False, True], ids=["at x", "random start"])
def test_pgd_l2_has_equal_robust_accuracy_and_each_difference_its_reason(start):
    """ART clips before it projects (A5); of the others only rounding is left."""
    rows = ledger(robust(), *held_out(ROWS), "pgd", norm="l2", eps=1.5, steps=20, start=start)
    assert {row.difference for row in rows} == {0.0}
    for row in rows:
        if "art" in (row.a, row.b):
            assert (row.verdict, row.deviation) == ("explained", "A5"), row
        else:
            assert row.verdict in ("identical", "equivalent") or row.deviation in ("F5", "T9b"), row


def test_rows_without_a_gradient_are_counted_and_explained():
    """Saturated rows: a mean underflows sooner than a sum (T17). Catches a cause without a count."""
    x, y = held_out(128)
    plugs = [p for p in attacks.implementations("pgd", "linf") if p.implementation in ("harness", "torchattacks")]  # fmt: skip
    (row,) = ledger(saturated(), x, y, "pgd", eps=0.3, plugs=plugs)
    assert (row.verdict, row.deviation) == ("explained", "T17")
    held = attacks.conditions(saturated(), x, y, [])
    assert 0 < held["zero-gradient"] < 128
    assert f"zero-gradient on {held['zero-gradient']} of 128" in row.explanation


def test_what_holds_is_counted():
    """Catches a condition that is true of every model."""
    x, y = held_out(ROWS)
    held = attacks.conditions(standard(), x, y, [])
    with torch.no_grad():
        wrong = int((standard()(x).argmax(1) != y).sum())
    assert held["misclassified"] == wrong
    assert held["zero-gradient"] == 0
    assert held["odd-batch"] == 0
    assert attacks.conditions(standard(), x[:3], y[:3], [])["odd-batch"] == 3


def test_a_library_without_a_start_of_ours_is_not_comparable():
    plugs = attacks.implementations("bim", "linf")
    x, y = held_out(4)
    found = attacks.lockstep(
        plugs, Net(standard().module), x, y, Threat("linf", 0.1), spec={"steps": 2}, seed=0, random_start=True
    )  # fmt: skip
    outcomes = {one.implementation: one.outcome for one in found}
    assert outcomes["harness"] == "ok"
    assert "not comparable" in outcomes.values()
