"""Planted faults in the native protocol, where images need not agree and only outcomes tell."""

from dataclasses import replace

import pytest
import small_nets
from gallery import faulty

from harness.core.registry import registry
from harness.core.threat import Threat
from harness.crosscheck import attacks, diagnosis
from harness.crosscheck.verdicts import Subject, pairs, settle

N, SPEC = 300, {"steps": 10, "queries": 50}
SUBJECT = Subject("pgd", "PGD", "m", "native", "linf")


def ledger_row(plug, eps=0.1):
    """The row of ours against `plug` after Holm, as the cross-check makes it."""
    model, threat = small_nets.standard(), Threat("linf", eps)
    x, y = small_nets.held_out(N)
    plugs = [registry.get("attack", "pgd"), plug]
    ran = list(attacks.native(plugs, model, x, y, threat, spec=SPEC, shared={}, seed=0))
    found = diagnosis.explained(SUBJECT, ran, plugs, model, x, y, threat, seed=0)
    (row,) = settle(pairs(SUBJECT, found))
    return row


def for_its_users(**settings):
    """Sound PGD, whose users get other settings."""
    plug = faulty.pgd()
    return replace(plug, meta=plug.meta | {"native": settings})


def elsewhere(model, x, y):
    """Gradients of another network."""
    return faulty.ascent(small_nets.robust(), x, y)


PGD = faulty.pgd
PLANTED = {
    "settings of its own": (for_its_users(steps=1, step_size=0.03), "its users get steps=1, step_size=0.03"),
    "half the radius": (PGD(eps=lambda e: e / 2), "half the radius"),
    "a quarter of the step": (PGD(size=lambda s: s / 4), "step_size=0.00625 instead of 0.025, and without a random start"),
    "few steps": (PGD(steps=lambda n: 1), "steps=1 instead of 10, of the same length"),
    "another network": (PGD(gradient=elsewhere), "no known cause"),
}  # fmt: skip


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_has_its_probable_cause(fault):
    """Catches a native row that says that two differ and not why, or guesses."""
    plug, words = PLANTED[fault]
    row = ledger_row(plug)
    assert row.verdict == "different"
    assert words in row.explanation.partition("probable cause: broken: ")[2], row.explanation


def test_what_does_not_differ_needs_no_cause():
    """Catches a diagnosis of noise: textbook PGD without a start against ours with one."""
    row = ledger_row(PGD())
    assert row.verdict in ("equivalent", "undecided")
    assert "probable cause" not in row.explanation
