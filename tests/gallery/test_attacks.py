"""Planted faults in attacks: each is different in lockstep, and the ledger names the right cause.

The faults are those that users and papers report; the attack is PGD by its textbook formula, with
one part changed (`faulty.pgd`). What is asserted is the verdict and words of the explanation.
"""

import contextlib

import pytest
import small_nets
import torch
from gallery import faulty

from harness.checks import CHECKS
from harness.core.registry import registry
from harness.core.threat import Threat
from harness.crosscheck import attacks, diagnosis
from harness.crosscheck.verdicts import Subject, pairs

N, STEPS = 32, 5
SPEC = {"steps": STEPS, "queries": 50}
SHUFFLED = torch.randperm(N, generator=torch.Generator().manual_seed(1))
ROWS = torch.arange(N).view(-1, 1, 1, 1)


def ledger_row(plug, model=None, eps=0.1, *, norm="linf", random_start=True):
    """The row of ours against `plug`, and what the suspect did, as the cross-check makes them."""
    model = model or small_nets.standard()
    x, y = small_nets.held_out(N)
    threat, plugs = Threat(norm, eps), [registry.get("attack", "pgd"), plug]
    ran = attacks.lockstep(plugs, model, x, y, threat, spec=SPEC, seed=0, random_start=random_start)
    subject = Subject("pgd", "PGD", "m", "lockstep", norm)
    case = diagnosis.lockstep_case(
        model, x, y, threat, concept="pgd", spec=SPEC, seed=0, random_start=random_start
    )
    found = diagnosis.diagnosed(subject, ran, plugs, case)
    (row,) = pairs(subject, found)
    return row, found[1]


def on_start(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
    start = z = (x + noise).clamp(0, 1)
    for _ in range(steps):
        z = faulty.project(start, z + step_size * faulty.ascent(model, z, y).sign(), threat.eps)
    return z


def in_l2(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
    z, ball = (x + noise).clamp(0, 1), Threat("l2", threat.eps)
    for _ in range(steps):
        z = ball.project(x, z + step_size * ball.steepest(faulty.ascent(model, z, y)))
    return z


def round_iterate(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
    z = (x + noise).clamp(0, 1)
    for _ in range(steps):
        z = faulty.project(z, z + step_size * faulty.ascent(model, z, y).sign(), threat.eps)
    return z


def from_cache(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
    """Images that an earlier run made for another network."""
    other, z = small_nets.robust(), (x + noise).clamp(0, 1)
    for _ in range(steps):
        z = faulty.project(x, z + step_size * faulty.ascent(other, z, y).sign(), threat.eps)
    return z


def swallowed(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
    """A crash, caught by someone who meant well."""
    with contextlib.suppress(ZeroDivisionError):
        return x + 1 / 0
    return x


def logits_times(factor):
    return faulty.of(lambda z: z * factor)


def seen_as(change):
    return faulty.of(lambda z: z, change)


PGD = faulty.pgd
PLANTED = {
    "eps read as 0-255": (PGD(eps=lambda e: 255 * e, size=lambda s: 255 * s), "eps is 255"),
    "eps divided by 255": (PGD(eps=lambda e: e / 255, size=lambda s: s / 255), "eps is 1/255"),
    "eps too small": (PGD(eps=lambda e: 0.7 * e), "eps is 0.7 times"),
    "sign flipped": (PGD(gradient=lambda m, x, y: -faulty.ascent(m, x, y)), "sign is flipped"),
    "last step missing": (PGD(steps=lambda n: n - 1), "one step is missing: 4 instead of 5"),
    "steps halved": (PGD(steps=lambda n: n // 2), "half the steps"),
    "step size halved": (PGD(size=lambda s: s / 2), "another step size: 0.5 times"),
    "no projection": (PGD(keep=lambda x, z, e: z.clamp(0, 1)), "no projection"),
    "round the current iterate": (faulty.plug(round_iterate), "round the current iterate"),
    "round another row": (
        PGD(keep=lambda x, z, e: faulty.project(x.roll(1, 0), z, e)),
        "projected round the wrong image",
    ),
    "round the start": (faulty.plug(on_start), "projected round the start"),
    "box not clipped": (
        PGD(keep=lambda x, z, e: x + (z - x).clamp(-e, e)),
        "not clipped to the box",
    ),
    "clipped to [-1, 1]": (
        PGD(keep=lambda x, z, e: (x + (z - x).clamp(-e, e)).clamp(-1, 1)),
        "not clipped to the box [0, 1] but to [-1, 1]",
    ),
    "labels leak": (PGD(labels=lambda m, x, y: m(x).argmax(1)), "labels leak"),
    "labels one-based": (PGD(labels=lambda m, x, y: (y + 1) % 10), "labels counted from one"),
    "labels of other rows": (PGD(labels=lambda m, x, y: y.roll(1)), "rows and labels do not match"),
    "wrong norm": (faulty.plug(in_l2), "wrong norm: l2"),
    "normalised twice": (PGD(gradient=seen_as(lambda x: (x - 0.2) / 0.3)), "normalised twice"),
    "renormalised by the batch": (
        PGD(gradient=seen_as(lambda x: (x - x.mean()) / x.std())),
        "normalised twice",
    ),
    "softmax as logits": (
        PGD(gradient=faulty.of(lambda z: z.softmax(1))),
        "softmax is taken twice",
    ),
    "temperature": (PGD(gradient=logits_times(1000)), "a temperature"),
    "quantised view": (
        PGD(gradient=seen_as(lambda x: x + ((x * 15).round() / 15 - x).detach())),
        "shown images quantised",
    ),
    "shifted view": (PGD(gradient=seen_as(lambda x: x.roll(1, 3))), "shifted by a pixel"),
    "half precision": (PGD(ending=lambda x, z: z.half().float()), "rounded to float16"),
    "images of 8 bits": (PGD(ending=lambda x, z: (z * 255).round() / 255), "quantised to 8 bits"),
    "gradient detached": (
        PGD(gradient=lambda m, x, y: 0 * faulty.ascent(m, x, y)),
        "gradients are zero",
    ),
    "clean images": (faulty.plug(swallowed), "crashed silently"),
    "stale cache": (faulty.plug(from_cache), "a stale cache"),
    "order shuffled": (PGD(ending=lambda x, z: z[SHUFFLED]), "in another order"),
    "rows duplicated": (PGD(ending=lambda x, z: z[: N // 2].repeat(2, 1, 1, 1)), "duplicated"),
    "last batch dropped": (PGD(ending=lambda x, z: torch.where(ROWS < 24, z, x)), "dropped last"),
    "shifted by a pixel": (PGD(ending=lambda x, z: z.roll(1, 3)), "returned shifted by a pixel"),
    "returned as 0-255": (PGD(ending=lambda x, z: 255 * z), "in units of 0-255"),
    "returned in [-1, 1]": (PGD(ending=lambda x, z: 2 * z - 1), "returned in [-1, 1]"),
    "start ignored": (PGD(begin=lambda x, start: x), "ignores the start"),
}


@pytest.mark.parametrize("fault", PLANTED)
def test_a_planted_fault_is_found_and_named(fault):
    """Catches a diagnosis that sees a difference and blames something else."""
    plug, words = PLANTED[fault]
    row, _ = ledger_row(plug)
    assert row.verdict == "different"
    assert words in row.explanation.partition("probable cause: broken: ")[2]


def test_averaged_loss_on_saturated_logits():
    """Catches rows that stand still because the mean over the batch underflows."""
    row, _ = ledger_row(PGD(gradient=faulty.averaged), small_nets.saturated())
    assert row.verdict == "different"
    assert "averaged over the batch: gradients of saturated rows underflow" in row.explanation


def test_training_mode():
    """Catches dropout that is active while the attack looks."""
    module = faulty.Dropping(small_nets.standard().module).eval().requires_grad_(False)
    row, _ = ledger_row(PGD(gradient=faulty.in_training_mode), small_nets.Net(module))
    assert row.verdict == "different"
    assert "training mode" in row.explanation


def test_a_crash_is_a_crash():
    """Catches an exception that is counted as robustness."""

    def crash(model, x, y, threat, *, step_size=None, rng, noise=None, steps=STEPS):
        raise MemoryError("no")

    row, _ = ledger_row(faulty.plug(crash))
    assert (row.verdict, row.difference) == ("failed", None)
    assert "MemoryError" in row.explanation


def test_textbook_pgd_is_ours():
    """Without a fault the textbook attack has our bits: the faults above are what is found."""
    for model in (small_nets.standard(), small_nets.robust()):
        for random_start in (True, False):
            row, _ = ledger_row(PGD(), model, random_start=random_start)
            assert row.verdict == "identical", row.explanation


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("returned as 0-255", "units of 0-255"),
        ("no projection", "no projection"),
        ("clipped to [-1, 1]", "not clipped to the box"),
        ("order shuffled", "rows in another order"),
    ],
)
def test_a_violation_names_its_cause_without_a_second_implementation(fault, words):
    """Check H20, for attacks that nobody else has."""
    from harness.attacks import run_attack

    x, y = small_nets.held_out(N)
    params = {"steps": STEPS, "step_size": 0.05}
    noise = torch.zeros_like(x)
    found = run_attack(
        PLANTED[fault][0], params, small_nets.standard(), x, y, Threat("linf", 0.1),
        seed=0, noise=noise,
    )  # fmt: skip
    facts = {
        "violations": found.violations, "worst_violation": found.worst, "unboxed": found.unboxed,
        "astray": found.astray, "reach": found.reach,
    }  # fmt: skip
    (complaint,) = CHECKS["H20"](facts)
    assert complaint.level == "FAIL"
    assert words in complaint.message
