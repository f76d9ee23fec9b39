"""The twenty claims: worlds in which each holds, fails and stays open, and the logic between."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from made_up_study import (
    ATTACKED,
    BLEND,
    COMBINED,
    ENSEMBLES,
    HOLES,
    MIXED_FIRST,
    STEEP,
    SUITE,
    TABLES,
    holding,
    suite,
    tables,
)

from harness.core.types import Row
from harness.findings import Evidence, claims, findings
from harness.findings.logic import (
    at_least,
    beyond,
    every,
    judged,
    needed,
    some,
    told,
    unmeasured,
    within,
)
from harness.findings.matrix import Matrix
from harness.results.verdicts import Part

CLAIMS = {claim.id: claim for claim in claims()}
EVERYONE = tuple(holding())


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return suite(tmp_path_factory.mktemp("suite"))


NEEDED = {"R": ("adversarial",), "S": ("shift",), "O": ("ood",), "C": ("calibration",), "T": TABLES}


def found(study, name, world, seeds=(0,), rows=()):
    evidence = Evidence(study, tables(world, seeds, NEEDED[name[0]]), rows)
    return CLAIMS[name].finding(evidence)


def changed(*changes):
    """The world in which all claims hold, with some models' numbers changed."""
    world = holding()
    for names, fields in changes:
        for name in names if isinstance(names, tuple) else (names,):
            latent = fields(world[name]) if callable(fields) else replace(world[name], **fields)
            world[name] = latent
    return world


def under(**corruptions):
    """A change of single corruptions."""
    return lambda latent: replace(latent, corruptions={**latent.corruptions, **corruptions})


# ---------------------------------------------------------------- all twenty


def test_all_claims_hold_in_the_world_of_the_study(study):
    """Catches a claim that is left out, told in another order, or decided the wrong way round."""
    told_ = findings(study, tables(holding()))
    counts = {"R": 4, "S": 6, "O": 5, "C": 3, "T": 2}
    names = [f"{axis}{place + 1}" for axis, count in counts.items() for place in range(count)]
    assert [finding.id for finding in told_] == names
    assert {finding.id: finding.verdict for finding in told_} == dict.fromkeys(names, "holds")


def test_parts_are_those_of_the_table(study):
    """Catches a comparison that is forgotten or made twice."""
    counts = {one.id: len(one.parts) for one in findings(study, tables(holding()))}
    corruptions, sets, metrics = 5, 2, 3
    assert counts == {
        "R1": 2, "R2": 6 + 1, "R3": 3, "R4": 8 * 11,
        "S1": 25, "S2": 3 + 2, "S3": 1, "S4": 6 + 4, "S5": 6 * corruptions, "S6": 4,
        "O1": 25, "O2": (3 + 2) * sets, "O3": sets, "O4": 6 * sets, "O5": (3 + 3 + 4) * sets,
        "C1": 2 * 23 * metrics, "C2": (3 * 22 + 2) * metrics, "C3": 19 * metrics,
        "T1": 3 * 7, "T2": 25 + 14,
    }  # fmt: skip


CASES = [
    # -- robustness
    ("R1", "does not hold", (*ENSEMBLES, "Wide"), {"robust": 0.1}),
    ("R1", "undecided", (*ENSEMBLES, "Wide", "Plain", *HOLES, *BLEND), {"robust": 0.3}),
    ("R1", "does not hold", ATTACKED, {"robust": 0.25}),
    ("R1", "holds", "Sign 0.3", {"robust": 0.05}),
    ("R2", "does not hold", "Holes 1x8", {"robust": 0.35}),
    ("R2", "undecided", "Holes 1x8", {"robust": 0.3}),
    ("R2", "does not hold", HOLES, {"robust": 0.1}),
    ("R2", "undecided", HOLES, {"robust": 0.15}),
    ("R3", "holds", "Sign 0.2", {"robust": 0.92}),
    ("R3", "undecided", "Sign 0.2", {"robust": 0.9}),
    ("R3", "does not hold", "Sign 0.2", {"robust": 0.5}),
    ("R3", "does not hold", "Climb 0.2", {"robust": 0.5}),
    ("R4", "does not hold", "ClimbBlend", {"robust": 0.31}),
    ("R4", "undecided", "ClimbBlend", {"robust": 0.33}),
    # -- shift
    ("S1", "holds", EVERYONE[:12], under(fog=0.7)),
    ("S1", "does not hold", EVERYONE[:13], under(fog=0.7)),
    ("S1", "does not hold", EVERYONE[:13], under(impulse_noise=0.7)),
    ("S1", "undecided", EVERYONE[:13], under(impulse_noise=0.5, stripe=0.5)),
    ("S2", "does not hold", "Committee 3", {"shift": 0.85}),
    ("S2", "does not hold", "Committee 10", {"shift": 0.93}),
    ("S2", "undecided", "Committee 10", {"shift": 0.94}),
    ("S3", "does not hold", "Wide", {"shift": 0.95}),
    ("S3", "undecided", "Wide", {"shift": 0.9}),
    ("S4", "does not hold", "Sign 0.1", {"shift": 0.99}),
    ("S4", "does not hold", "Climb 0.2", {"shift": 0.7}),
    ("S4", "undecided", "Sign 0.2", {"shift": 0.83}),
    ("S5", "does not hold", ATTACKED, {"corruptions": {"fog": 0.2, "impulse_noise": 0.2, "stripe": 0.4}}),
    ("S5", "undecided", ATTACKED, {"corruptions": STEEP}),
    ("S5", "undecided", ATTACKED, {"corruptions": {**STEEP, "stripe": 0.507}}),
    ("S5", "holds", ATTACKED, {"corruptions": {**STEEP, "stripe": 0.52}}),
    ("S6", "holds", "BlendSign", {"shift": 0.84}),
    ("S6", "undecided", "BlendSign", {"shift": 0.825}),
    ("S6", "does not hold", "BlendSign", {"shift": 0.6}),
    # -- out of distribution
    ("O1", "holds", EVERYONE[:6], {"near": 0.85}),
    ("O1", "does not hold", EVERYONE[:7], {"near": 0.85}),
    ("O1", "does not hold", EVERYONE[:7], {"far": 0.85}),
    ("O1", "undecided", EVERYONE[:7], {"near": 0.9}),
    ("O2", "does not hold", "Committee 3", {"far": 0.93}),
    ("O2", "does not hold", "Committee 10", {"near": 0.955}),
    ("O2", "undecided", "Committee 3", {"far": 0.96}),
    ("O3", "does not hold", "Wide", {"far": 0.957}),
    ("O3", "does not hold", "Wide", {"near": 0.9}),
    ("O3", "undecided", "Wide", {"far": 0.95}),
    ("O4", "does not hold", "Climb 0.2", {"near": 0.9}),
    ("O4", "does not hold", "Climb 0.2", {"near": 0.985}),
    ("O4", "undecided", "Climb 0.2", {"near": 0.94}),
    ("O5", "does not hold", "Blend 1", {"near": 0.97}),
    ("O5", "does not hold", "Holes 4x6", {"far": 0.95}),
    ("O5", "does not hold", "HolesClimb", {"near": 0.94}),
    ("O5", "undecided", "Holes 4x6", {"far": 0.96}),
    ("O5", "holds", ("BlendSign", "SignBlend"), {"near": 0.9}),
    # -- calibration
    ("C1", "does not hold", "SignBlend", {"gap": 0.15}),
    ("C1", "does not hold", MIXED_FIRST, {"gap": 0.072}),
    ("C1", "does not hold", MIXED_FIRST, {"brier": 0.032}),
    ("C1", "undecided", MIXED_FIRST, {"brier": 0.035}),
    ("C1", "undecided", MIXED_FIRST, {"gap": 0.081}),
    ("C2", "does not hold", "Wide", {"brier": 0.001}),
    ("C2", "does not hold", "Wide", {"gap": 0.03}),
    ("C2", "undecided", "Committee 10", {"gap": 0.048}),
    ("C3", "holds", "Holes 4x6", {"gap": 0.04}),
    ("C3", "does not hold", ("Wide", "Holes 4x6"), {"gap": 0.04}),
    ("C3", "does not hold", ("Wide", "Holes 4x6"), {"brier": 0.01}),
    ("C3", "undecided", ("Wide", "Holes 4x6"), {"brier": 0.02}),
    # -- trade-offs
    ("T1", "does not hold", "Committee 3", {"robust": 0.25}),
    ("T1", "does not hold", "Committee 3", {"shift": 0.85}),
    ("T1", "does not hold", "Committee 3", {"near": 0.94}),
    ("T1", "does not hold", "Committee 3", {"far": 0.94}),
    ("T1", "does not hold", "Committee 3", {"gap": 0.08}),
    ("T1", "does not hold", "Committee 3", {"brier": 0.03}),
    ("T1", "undecided", "Committee 3", {"robust": 0.3}),
    ("T2", "does not hold", "Committee 10", {"robust": 0.99}),
    ("T2", "holds", (*ATTACKED, "HolesSign"), {"robust": 0.75}),
    ("T2", "does not hold", (*ATTACKED, "HolesSign", "SignHoles"), {"robust": 0.75}),
    ("T2", "undecided", (*ATTACKED, "HolesSign", "SignHoles"), {"robust": 0.83}),
    ("T2", "does not hold", (*ATTACKED, *COMBINED), {"shift": 0.99, "near": 0.99, "far": 0.995, "gap": 0.03, "brier": 0.001, "corruptions": {}}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "verdict", "models", "fields"), CASES)
def test_a_changed_world_changes_the_verdict(study, name, verdict, models, fields):
    """Catches a family that is not looked at, a margin, a share and a direction that are wrong."""
    assert found(study, name, changed((models, fields))).verdict == verdict


def test_every_claim_has_a_world_for_each_verdict():
    """Catches a claim whose tests only ever see it hold."""
    seen = {(name, verdict) for name, verdict, _, _ in CASES} | {(name, "holds") for name in CLAIMS}
    assert seen == set(itertools.product(CLAIMS, ("holds", "does not hold", "undecided")))


# ---------------------------------------------------------------- what a finding tells


def test_the_effect_is_that_of_the_part_that_decides(study):
    """Catches a best-case summary, an effect in another unit, and a sign that is not the claim's."""
    shift = found(study, "S2", holding())  # 10 above 5 is the weakest: 2 corruptions of 5, 2 points
    assert (shift.effect, shift.unit) == (pytest.approx(0.8), "points")
    assert shift.low < shift.effect < shift.high
    failing = found(study, "S2", changed(("Committee 3", {"shift": 0.85})))
    assert failing.effect == pytest.approx(-2.0)
    assert "Committee 3 better than Plain" in failing.note
    area = found(study, "O3", holding())
    assert {part.unit for part in area.parts} == {"AUROC"}
    assert area.parts[1].effect == pytest.approx(0.03, abs=5e-4)  # worse by: positive


def test_a_lower_error_is_better(study):
    """Catches calibration judged as if higher were better."""
    parts = {part.what: part for part in found(study, "C2", holding()).parts}
    ece = parts["Committee 3 better than Plain, ECE"]
    assert ece.effect == pytest.approx(0.006)
    assert ece.verdict == "holds"


def test_parts_of_several_units_are_weighed_by_their_intervals(study):
    """Catches a weakest part chosen by raw size, which is always the one in small units."""
    finding = found(study, "T1", changed(("Committee 3", {"robust": 0.301})))
    assert (finding.verdict, finding.unit) == ("undecided", "points")


def test_overfitting_of_fgsm_training_is_told(study):
    """Catches a report in which FGSM training just looks weak."""
    world = changed(("Sign 0.3", {"robust": 0.02, "own": 0.99}))
    note = found(study, "R3", world).note
    assert "Sign 0.3 overfitted catastrophically: 99.0 % right under FGSM" in note
    assert "2.0 % under the worst attack" in note
    assert "Sign 0.1" not in note
    assert "overfitted" not in found(study, "R3", holding()).note
    weak = changed(("Sign 0.3", {"robust": 0.02, "own": 0.05}))
    assert "overfitted" not in found(study, "R3", weak).note


def test_a_model_out_of_its_tier_is_named(study):
    """Catches tiers whose means hide one that fell."""
    note = found(study, "R1", changed(("Sign 0.3", {"robust": 0.05}))).note
    assert "below a model of the tier beneath: Sign 0.3." in note
    assert "beneath" not in found(study, "R1", holding()).note


def test_the_maximum_logit_stands_beside(study):
    """Catches a verdict that is reached by the logit, and one that is not shown."""
    finding = found(study, "O5", changed((("Blend 0.2", "Blend 0.5"), {"logit": 0.05})))
    assert finding.verdict == "holds"
    assert "By the maximum logit: does not hold, -0.0" in finding.note


def test_stand_ins_are_named_elsewhere_than_on_mnist(study):
    """Catches digits letters that pass for KMNIST."""
    assert (
        "letters stands for KMNIST and patches for Fashion-MNIST"
        in found(study, "O2", holding()).note
    )
    ood = study.ood.model_copy(update={"near": ("kmnist",), "far": ("fashion-mnist",)})
    published = study.model_copy(update={"ood": ood})
    assert "stands for" not in found(published, "O2", holding()).note


def test_shares_are_told(study):
    """Catches a share without its count."""
    finding = found(study, "O1", changed((EVERYONE[:6], {"near": 0.85})))
    assert "19 of 25 models hold, 0 undecided; 19 needed." in finding.note


# ---------------------------------------------------------------- what is missing


def without(study, *families):
    """The suite without some families of models."""
    kept = tuple(model for model in study.models if model.family not in families)
    return study.model_copy(update={"models": kept})


@pytest.mark.parametrize(
    ("name", "family", "reason"),
    [
        ("S3", ("Wide",), "the suite has none"),
        ("O3", ("Wide",), "the suite has none"),
        ("S4", ("Sign", "Climb"), "the suite has none"),
        ("R3", ("Sign",), "no pair at one budget"),
        ("S6", ("SignHoles", "ClimbHoles", "SignBlend", "ClimbBlend"), "no steps in two orders"),
        ("C1", ("BlendSign", "BlendClimb"), "the suite has none"),
        ("T1", ("Committee",), "the suite has none"),
    ],
)
def test_a_suite_without_the_models_says_so(study, name, family, reason):
    """Catches a crash, and a claim that holds because nothing contradicts it."""
    finding = found(without(study, *family), name, holding())
    assert finding.verdict == "not measured"
    assert reason in finding.note or any(reason in part.what for part in finding.parts)
    assert finding.effect is None


def test_one_model_alone_measures_nothing_but_shares(tmp_path):
    """Catches a report that fails, or finds something, where there is one model."""
    text = "data: digits\nseeds: {seeds}\nmodels:\n  Only: {{network: lenet5}}\nattacks: [{{use: pgd, eps: 0.1}}]\n"
    alone = suite(tmp_path, text=text)
    told_ = findings(alone, {})
    assert {one.verdict for one in told_} == {"not measured"}
    assert all(one.note for one in told_)


def test_without_outcomes_nothing_is_measured(study):
    """Catches zeros in place of what was not measured."""
    assert {one.verdict for one in findings(study, {})} == {"not measured"}


def test_without_a_baseline_comparisons_with_it_are_not_measured(study):
    """Catches the first model taken for a baseline."""
    nobody = study.model_copy(update={"baseline": ""})
    finding = found(nobody, "S4", holding())
    assert "the suite names no baseline" in finding.parts[0].what
    assert finding.verdict == "undecided"  # budgets can still be compared


def row(model, axis, case, metric, status, note="", flags=()):
    return Row(
        "s", model, "f", 0, axis, case, metric, "harness", None, None, None, 0, "higher", status, flags,
        note=note,
    )  # fmt: skip


def test_a_failed_job_leaves_the_claim_open_with_its_reason(study):
    """Catches a failed model that counts as one that agrees, and one that is left out unsaid."""
    world = holding()
    del world["Committee 5"]
    failed = [
        row("Committee 5", "shift", "corruption=mean", "accuracy", "failed", "MemoryError: 3 GiB")
    ]
    finding = found(study, "S2", world, rows=failed)
    assert finding.verdict == "undecided"
    assert "Committee 5: failed: MemoryError: 3 GiB" in finding.note
    assert finding.effect is not None  # of what was measured
    world["Committee 3"] = replace(world["Committee 3"], shift=0.8)
    assert found(study, "S2", world, rows=failed).verdict == "does not hold"


@pytest.mark.parametrize("eps", ["mean", 0.2])
def test_a_void_number_is_no_evidence(study, eps):
    """Catches a robust accuracy that a check voids, or that is a mean of one, counted all the same."""
    case = f"attack=worst norm=linf eps={eps}"
    rows = [row("Sign 0.2", "adversarial", case, "robust_accuracy", "void", flags=("H44",))]
    finding = found(study, "R3", holding(), rows=rows)
    assert finding.verdict == "undecided"
    assert "void H44" in finding.note


def test_budgets_that_an_attack_did_not_meet_are_no_robust_accuracy(study):
    """Catches survival at a budget that was never attacked."""
    weaker = [attack.model_copy(update={"eps": (0.1, 0.2)}) for attack in study.attacks]
    finding = found(study.model_copy(update={"attacks": tuple(weaker)}), "R2", holding())
    assert finding.verdict == "not measured"


# ---------------------------------------------------------------- several seeds


def seeded(*worlds):
    import pyarrow as pa

    made = [tables(world, (seed,), ("shift",)) for seed, world in enumerate(worlds)]
    return {"shift": pa.concat_tables([one["shift"] for one in made])}


def test_a_difference_that_changes_sign_between_seeds_is_open(tmp_path):
    """Catches seeds pooled as if they were more images."""
    worse, better = {"shift": 0.8}, {"shift": 0.91}
    worlds = [changed(("Wide", fields)) for fields in (worse, worse, better)]
    three = suite(tmp_path, seeds=(0, 1, 2))
    finding = CLAIMS["S3"].finding(Evidence(three, seeded(*worlds)))
    assert finding.verdict == "undecided"
    assert finding.effect == pytest.approx(100 * (0.1 + 0.1 - 0.01) / 3 * 2 / 5)
    assert "Means over 3 seeds; the intervals cover images and seeds." in finding.note
    assert CLAIMS["S3"].finding(Evidence(three, seeded(*worlds[:1] * 3))).verdict == "holds"


def test_two_seeds_are_two_checkpoints(tmp_path):
    """Catches a t interval of one degree of freedom, which says nothing."""
    two = suite(tmp_path, seeds=(0, 1))
    worlds = [changed(("Wide", {"shift": share})) for share in (0.8, 0.85)]
    finding = CLAIMS["S3"].finding(Evidence(two, seeded(*worlds)))
    assert finding.verdict == "holds"
    assert "images only" in finding.note


def test_a_model_that_lacks_a_seed_is_not_measured(tmp_path):
    """Catches a mean over other seeds for one model than for another."""
    lacking = holding()
    del lacking["Wide"]
    finding = CLAIMS["S3"].finding(
        Evidence(suite(tmp_path, seeds=(0, 1)), seeded(holding(), lacking))
    )
    assert finding.verdict == "not measured"


# ---------------------------------------------------------------- who is who


def test_roles_are_read_off_the_models(study):
    """Catches roles by name, ensembles in the order of the file, a combination taken for pure."""
    matrix = Matrix(study)
    assert matrix.large.models == ("Wide",)
    assert matrix.ensembles.models == ENSEMBLES
    assert set(matrix.attacked) == set(ATTACKED)
    assert matrix.augmented.models == HOLES + BLEND
    assert set(matrix.combined) == set(COMBINED)
    assert matrix.mixup_first.models == MIXED_FIRST
    assert matrix.rivals == tuple((f"Sign {eps}", f"Climb {eps}") for eps in (0.1, 0.2, 0.3))
    assert set(matrix.ladders) == {ATTACKED[:3], ATTACKED[3:]}
    assert set(matrix.orders) == {
        ("HolesSign", "SignHoles"), ("HolesClimb", "ClimbHoles"),
        ("BlendSign", "SignBlend"), ("BlendClimb", "ClimbBlend"),
    }  # fmt: skip


def test_the_shipped_suite_has_the_roles_of_the_study():
    """Catches a suite that changes under the claims."""
    from pathlib import Path

    from harness.suite import load

    matrix = Matrix(load(Path(__file__).parent.parent / "suites" / "full.yaml", data="digits"))
    sizes = {
        "large": 1, "ensembles": 3, "attacked": 6, "augmented": 6, "combined": 8, "mixup_first": 2,
        "rivals": 3, "ladders": 2, "orders": 4, "everyone": 25, "adversarial": 14,
    }  # fmt: skip
    assert {name: len(getattr(matrix, name)) for name in sizes} == sizes


def test_an_attack_at_its_default_budget_is_an_attack(tmp_path):
    """Catches steps told apart by whether the suite spells out eps."""
    text = SUITE.replace("{{use: pgd, eps: {{each: [0.1, 0.2, 0.3]}}}}", "pgd")
    assert "Climb" in Matrix(suite(tmp_path, text=text)).attacked.models


# ---------------------------------------------------------------- logic

VERDICTS = ("holds", "does not hold", "undecided", "not measured")


def leaf(verdict, effect=1.0, p=0.01):
    if verdict == "not measured":
        return unmeasured("?", "?")
    return judged(Part(verdict, effect, effect - 1, effect + 1, verdict, p, "points"), effect)


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_a_verdict_is_what_all_ways_of_filling_the_gaps_agree_on(size):
    """Catches every shortcut: an open part is one that could fall either way."""
    for verdicts in itertools.product(VERDICTS, repeat=size):
        for count in range(1, size + 1):
            either = [
                (verdict == "holds",) if verdict in ("holds", "does not hold") else (True, False)
                for verdict in verdicts
            ]
            ways = {sum(filled) >= count for filled in itertools.product(*either)}
            expected = (
                "undecided" if len(ways) == 2 else "holds" if ways == {True} else "does not hold"
            )
            if set(verdicts) == {"not measured"}:
                expected = "not measured"
            assert at_least([leaf(v) for v in verdicts], count).verdict == expected


@pytest.mark.parametrize(
    ("low", "high", "bound", "expected"),
    [
        (0.1, 0.2, 0.0, "holds"),
        (-0.2, -0.1, 0.0, "does not hold"),
        (-0.1, 0.1, 0.0, "undecided"),
        (0.0, 0.0, 0.0, "undecided"),  # equal outcomes are not better
        (0.2, 0.3, 0.1, "holds"),
        (0.02, 0.05, 0.1, "does not hold"),  # better, but not by far
        (0.05, 0.2, 0.1, "undecided"),
    ],
)
def test_beyond(low, high, bound, expected):
    assert beyond(low, high, bound) == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.04, 0.04, "holds"),
        (0.01, 0.04, "holds"),  # different, and comparable
        (0.06, 0.09, "does not hold"),
        (-0.09, -0.06, "does not hold"),
        (0.04, 0.06, "undecided"),
        (-0.06, 0.01, "undecided"),
        (-0.06, 0.06, "undecided"),
        (-0.05, 0.01, "undecided"),  # on the margin is not inside
    ],
)
def test_within(low, high, expected):
    assert within(low, high, 0.05) == expected


def test_shares_round_up():
    """Catches 18 of 25 taken for three quarters, and a ninth of ten lost to rounding."""
    assert [needed(0.75, 25), needed(0.9, 19), needed(0.5, 25), needed(0.5, 14)] == [19, 18, 13, 7]
    assert [needed(0.9, 10), needed(0.9, 20), needed(0.7, 10), needed(1.0, 3)] == [9, 18, 7, 3]


def test_some_is_decided_after_holm():
    """Catches the smallest of many p values taken at its word."""
    small = leaf("holds", p=0.02)
    rest = [leaf("undecided", 0.0, 0.5) for _ in range(4)]
    assert some([small]).verdict == "holds"
    assert some([small, *rest]).verdict == "undecided"
    assert some([leaf("holds", p=0.001), *rest]).part.p == pytest.approx(0.005)
    assert some([leaf("does not hold", -2.0) for _ in range(3)]).verdict == "does not hold"
    assert some([leaf("does not hold", -2.0), rest[0]]).verdict == "undecided"


def test_the_deciding_part_is_the_weakest_of_those_needed():
    """Catches the strongest shown where all are needed, and the weakest where one is enough."""
    strong, weak, bad = leaf("holds", 9.0), leaf("holds", 2.0), leaf("does not hold", -3.0)
    assert every([strong, weak]).part.effect == 2.0
    assert every([bad, strong, weak]).part.effect == -3.0
    assert at_least([bad, strong, weak], 2).part.effect == 2.0
    assert at_least([bad, strong, weak], 1).part.effect == 9.0
    assert every([strong, leaf("not measured")]).part.effect == 9.0


def test_a_group_keeps_its_verdict_when_it_is_told_as_one_part():
    """Catches a group whose deciding part's own verdict replaces the group's."""
    group = every([leaf("holds"), leaf("not measured")])
    assert group.verdict == "undecided"
    assert told(group, "both").part.verdict == "undecided"
    assert told(group, "both").parts[0].what == "both"


def test_equal_outcomes_differ_by_exactly_nothing(study):
    """Catches sums in another order that make one model better by 1e-17, with no spread at all."""
    finding = found(study, "S3", changed(("Wide", {"shift": 0.9})))
    assert (finding.effect, finding.low, finding.high) == (0.0, 0.0, 0.0)
    assert np.isclose(finding.parts[0].p, 1.0)
