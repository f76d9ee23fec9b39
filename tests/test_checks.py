"""Every named check: facts that raise it, facts that do not, and a paragraph that explains it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness import flags
from harness.checks import CHECKS, explain
from harness.checks.relations import Relations
from harness.core.errors import UnknownName

MODEL: dict[str, Any] = {
    "k": 64, "classes": 10, "clean": 0.95, "training": [], "logit_min": -8.0, "logit_max": 12.0,
    "row_sum_gap": 9.0, "logsumexp_gap": 12.0, "sum_spread": 0.8, "logsumexp_spread": 9.0, "not_finite_outputs": 0,
    "at_most": 0.02, "at_least": 0.002, "twins": "", "negated": 0.0, "matched": 0.95, "lead": 6.0, "flat": 0.0, "gap_alone": 1e-7, "right_min": 61, "right_max": 61,
    "random_gap": 0.0, "graph": "", "zero_ce": 0, "zero_margin": 0, "zero_ce_float64": 0,
    "not_finite": 0, "slope_error": 0.01, "side_error": 0.01, "input_min": 0.0, "input_max": 1.0, "flips_alone": 0,
    "scalings": {"x 255": 0.3, "/ 255": 0.1, "standardised": 0.9, "2x - 1": 0.8},
    "autograd_calls": 0, "landscape": 0.05, "eps_zero_changed": 0, "parity": {},
}  # fmt: skip
ATTACK: dict[str, Any] = {
    "k": 64, "steps": 40, "eps": 0.1, "step_size": 2.5 * 0.1 / 40, "loss": "ce", "lost": 0, "moving": 0.0,
    "standing": 30, "doubled": 0, "restarted": 0, "losses": {"margin": 0}, "violations": 0,
    "n": 64, "unmoved": 2, "broke": 30,
}  # fmt: skip
N = 200
RIGHT = np.ones(N, bool)
SOME = np.arange(N) < 60
RELATIONS = Relations(
    n=N, clean=RIGHT, eps=0.1, classes=10,
    broken={"fgsm": np.arange(N) < 50, "pgd": SOME, "margin": SOME, "square": SOME},
    kinds={"fgsm": "gradient", "pgd": "gradient", "margin": "margin", "square": "score"},
    monotone=(0.9, 0.7, 0.2), whole_box=0.0, square=SOME, square_rows=RIGHT, noise=np.arange(N) < 5,
    transfer=SOME, known_broken={"hot": (0.05, 0.0)}, strangers={"pgd linf": 1},
    headlines={"linf 0.1": (0.6, 0.65), "linf 0.2": (0.1, 0.1)},
)  # fmt: skip
MORE = np.arange(N) < 70
REPORT: dict[str, Any] = {
    "attacks": [{"name": "pgd", "norm": "linf", "budgets": [0.1], "knowledge": "white box", "goal": "untargeted", "headline": True}],
    "disagreements": [], "unprinted": {}, "unsigned": {"a digest of the data": []}, "revision": "abc", "outputs": {"a": 10},
    "robust_models": {"a"}, "clean_models": {"a", "b"}, "curve_ends": {("a", "linf"): 0.0}, "classes": 10,
    "attack_images": 1000, "test_images": 10_000, "has_shift": True,
}  # fmt: skip
AXIS: dict[str, Any] = {
    "identity": 0.97, "clean": 0.97, "noise_auroc": 0.99, "detector": "msp", "auroc": {"far": 0.95},
    "ranges": {"far": (0.0, 1.0)}, "seen": {"id": 0.001}, "neighbours": 1e-6, "disordered": [], "ece": 0.03, "ece_low": 0.02, "floor": 0.01, "ones": 0.0, "tied": 0.0,
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "flags": {},
    "adversarial": True,
    "seeds": 3,
    "losses": ["ce", "margin"],
}
STAGES = {
    "model": MODEL, "attack": ATTACK, "relation": RELATIONS, "report": REPORT, "axis": AXIS, "training": TRAINING,
}  # fmt: skip

# check -> (what is changed, the level that it then raises, a word that names the cause)
RAISED: list[tuple[str, dict[str, Any], str, str]] = [
    ("H01", {"training": ["dropout"]}, "FAIL", "training mode"),
    ("H02", {"random_gap": 0.1}, "FAIL", "identical calls"),
    ("H02", {"random_gap": 0.1, "eot": True}, "WARN", "identical calls"),
    ("H03", {"logit_min": 0.0, "logit_max": 1.0, "row_sum_gap": 0.0}, "FAIL", "probabilities"),
    ("H03", {"logit_max": 0.0, "logsumexp_gap": 1e-7}, "INFO", "log-probabilities"),
    ("H03", {"logsumexp_spread": 1e-7}, "WARN", "something added"),
    ("H03", {"logit_min": 0.0, "logit_max": 20.0, "sum_spread": 1e-7}, "FAIL", "times a factor"),
    ("H04", {"zero_ce": 1}, "WARN", "zero cross-entropy gradient"),
    ("H04", {"zero_ce": 30, "zero_margin": 0}, "FAIL", "saturates"),
    ("H04", {"zero_ce": 30, "zero_margin": 30, "zero_ce_float64": 30}, "FAIL", "masked"),
    ("H04", {"not_finite": 1}, "FAIL", "NaN"),
    ("H05", {"graph": "does not require grad"}, "FAIL", "No gradient path"),
    ("H05", {"slope_error": 1.0}, "FAIL", "detached"),
    ("H05", {"side_error": 0.5}, "FAIL", "a part of it is lost"),
    ("H05", {"slope_error": 1.0, "flat": 1.0}, "FAIL", "quantised"),
    ("H04", {"zero_ce": 64, "zero_margin": 64, "flat": 1.0}, "FAIL", "quantised"),
    ("H06", {"autograd_calls": 3}, "WARN", "autograd"),
    ("H07", {"input_max": 255.0}, "FAIL", "eps is stated"),
    ("H07", {"clean": 0.6, "scalings": {"x 255": 0.98}}, "FAIL", "x 255"),
    ("H08", {"parity": {"art": {"labels": 3, "logits": 11.8, "signs": 0.5}}}, "FAIL", "art"),
    ("H08", {"parity": {"art": {"error": "TypeError: no"}}}, "FAIL", "TypeError"),
    ("H03", {"logit_min": 0.0, "logit_max": 1.0, "column_sum_gap": 0.0}, "FAIL", "wrong axis"),
    ("H03", {"logit_min": 0.0, "logit_max": 1.0}, "WARN", "sigmoid"),
    ("H09", {"flips_alone": 2}, "WARN", "alone"),
    ("H09", {"flips_alone": 2, "earlier": 1.0}, "WARN", "earlier batch"),
    ("H09", {"gap_alone": 0.2}, "WARN", "depend on the batch"),
    ("H07", {"clean": 0.6, "scalings": {"mirrored": 0.98}}, "FAIL", "prepared otherwise"),
    ("H10", {"classes": 3}, "INFO", "3 classes"),
    ("H11", {"eps_zero_changed": 4}, "FAIL", "eps 0"),
    ("H12", {"clean": 0.1, "matched": 0.95}, "FAIL", "outputs in another order"),
    ("H12", {"clean": 0.01, "negated": 0.91}, "FAIL", "sign is flipped"),
    ("H15", {"not_finite_outputs": 3}, "FAIL", "NaN or infinite outputs"),
    ("H16", {"at_most": 0.9}, "WARN", "bounded"),
    ("H16", {"at_least": 0.3}, "WARN", "cut off"),
    ("H17", {"clean": 0.12, "matched": 0.2}, "WARN", "no better than a guess"),
    ("H17", {"twins": "4 and 9"}, "WARN", "copies the other"),
    ("H05", {"side_error": 0.5, "flat": 1.0}, "FAIL", "quantised"),
    ("H13", {"lead": 0.001}, "WARN", "temperature"),
    ("H13", {"lead": 5000.0}, "WARN", "temperature"),
    ("H14", {"rounded": "float16"}, "WARN", "float16"),
    ("H20", {"violations": 7, "worst_violation": 0.2, "reach": 3.0}, "FAIL", "no projection"),
    ("H20", {"violations": 7, "worst_violation": 0.9, "reach": 10.0}, "FAIL", "units of 0-255"),
    ("H20", {"violations": 7, "worst_violation": 0.9, "reach": 10.0, "astray": 6}, "FAIL", "another order"),
    ("H20", {"violations": 7, "worst_violation": 1e-3, "reach": 1.01, "unboxed": 7}, "FAIL", "not clipped"),
    ("H21", {"claimed_wrongly": 5}, "WARN", "claimed"),
    ("H22", {"lost": 2}, "WARN", "lost again"),
    ("H23", {"moving": 0.3}, "WARN", "raise steps"),
    ("H24", {"doubled": 3}, "WARN", "40 to 80"),
    ("H25", {"restarted": 3}, "WARN", "restart"),
    ("H26", {"step_size": 0.001}, "FAIL", "cannot cross"),
    ("H26", {"step_size": 0.2}, "WARN", "longer than the radius"),
    ("H27", {"landscape": 0.5, "random_gap": 0.1}, "WARN", "noisy"),
    ("H28", {"losses": {"margin": 9}}, "WARN", "margin"),
    ("H29", {"unmoved": 64, "broke": 0}, "FAIL", "returned clean images"),
    ("H40", {"broken": {"fgsm": MORE, "pgd": SOME & ~MORE}}, "FAIL", "FGSM breaks 70"),
    ("H41", {"monotone": (0.9, 0.5, 0.6)}, "FAIL", "rises by 10.0%"),
    ("H42", {"whole_box": 0.5}, "FAIL", "unbounded"),
    ("H42", {"whole_box": 0.01}, "WARN", "unbounded"),
    ("H43", {"stubborn": (3, 4)}, "WARN", "ids 3, 4"),
    ("H44", {"square": MORE}, "FAIL", "Square broke 10"),
    ("H45", {"transfer": MORE}, "FAIL", "other models"),
    ("H46", {"noise": MORE}, "FAIL", "noise broke 10"),
    ("H47", {"headlines": {"linf 0.1": (0.6, 0.5)}}, "FAIL", "no worst case"),
    ("H48", {"kinds": {"pgd": "gradient"}}, "WARN", "margin, score"),
    ("H49", {"kinds": {"pgd": "gradient"}, "trained_on": "pgd"}, "WARN", "trained on pgd"),
    ("H50", {"plain": True, "mnist_03": {"pgd": 0.2}}, "FAIL", "pgd leaves 20.0%"),
    ("H51", {"known_broken": {"hot": (0.9, 0.1)}}, "FAIL", "masked"),
    ("H52", {"disagreements": [{"what": "PGD", "a": "harness", "b": "art", "model": "m", "verdict": "different", "explanation": "probable cause: x"}]}, "WARN", "probable cause: x"),
    ("H53", {"strangers": {"pgd linf": 40}}, "FAIL", "same model"),
    ("H60", {"attacks": [{"name": "pgd", "norm": "linf", "goal": "untargeted"}]}, "FAIL", "budgets"),
    ("H61", {"robust_models": {"c"}}, "FAIL", "c has"),
    ("H62", {"curve_ends": {("a", "linf"): 0.4}}, "WARN", "stops at 40.0%"),
    ("H63", {"unprinted": {"pgd": ["steps"]}}, "FAIL", "pgd ran with steps"),
    ("H64", {"attack_images": 500}, "WARN", "500"),
    ("H64", {"attack_images": 500, "test_images": 500}, "INFO", "500"),
    ("H65", {"attacks": [{**REPORT["attacks"][0], "goal": "any"}]}, "FAIL", "neither targeted"),
    ("H65", {"attacks": [REPORT["attacks"][0], {**REPORT["attacks"][0], "goal": "targeted"}]}, "FAIL", "together"),
    ("H66", {"unsigned": {"a digest of the data": ["kmnist"]}}, "WARN", "kmnist"),
    ("H66", {"revision": ""}, "INFO", "no revision"),
    ("H67", {"has_shift": False}, "WARN", "shift"),
    ("H80", {"identity": 0.96}, "FAIL", "mixed up"),
    ("H68", {"outputs": {"a": 11}}, "WARN", "11 outputs"),
    ("H80", {"disordered": ["fog"]}, "FAIL", "fog"),
    ("H81", {"noise_auroc": 0.1, "auroc": {"far": 0.2}}, "FAIL", "sign"),
    ("H81", {"noise_auroc": 0.3}, "WARN", "familiar"),
    ("H82", {"ranges": {"far": (0.0, 255.0)}}, "FAIL", "scale"),
    ("H82", {"ranges": {"far": (0.0, 1 / 255)}}, "FAIL", "scale"),
    ("H82", {"seen": {"id": 0.9}}, "FAIL", "leaked"),
    ("H83", {"ece_low": 0.0}, "INFO", "not distinguishable"),
    ("H84", {"ones": 0.5}, "INFO", "exactly 1"),
    ("H85", {"tied": 0.5}, "WARN", "tied"),
    ("H86", {"neighbours": 0.2}, "FAIL", "fitted on test data"),
    ("H90", {"flags": {"H90": "sat at chance"}}, "FAIL", "collapsed"),
    ("H91", {"flags": {"H91": "fell"}}, "WARN", "catastrophically"),
    ("H92", {"seeds": 1}, "INFO", "1 seed"),
    ("H93", {"losses": ["ce"]}, "WARN", "cross-entropy"),
]  # fmt: skip


def changed(stage: str, change: dict[str, Any]) -> Any:
    facts = STAGES[stage]
    return replace(facts, **change) if isinstance(facts, Relations) else facts | change


@pytest.mark.parametrize(("name", "change", "level", "word"), RAISED)
def test_a_check_is_raised_by_its_cause(name, change, level, word):
    check = CHECKS[name]
    (complaint,) = check(changed(check.stage, change), "m", "c")
    assert (complaint.check, complaint.level, complaint.model) == (name, level, "m")
    assert word in complaint.message


@pytest.mark.parametrize("check", list(CHECKS), ids=lambda check: check.id)
def test_a_check_is_silent_on_a_clean_model(check):
    """Catches false alarms, and a check whose condition is turned round."""
    assert check(STAGES[check.stage]) == []


def test_every_check_has_a_case_that_raises_it():
    assert {name for name, *_ in RAISED} == {check.id for check in CHECKS}


@pytest.mark.parametrize("check", list(CHECKS), ids=lambda check: check.id)
def test_every_check_explains_itself(check):
    text = explain(check.id.lower())
    for part in ("Raised if:", "Explanation:", "What to do:"):
        assert part in text
    assert len(check.explanation) > 30


def test_unknown_check_names_the_nearest():
    with pytest.raises(UnknownName, match="H44"):
        explain("H444")


def test_a_sample_that_was_wrong_before_is_no_news_to_square():
    """Catches Square compared with robust accuracy instead of sample by sample."""
    facts = replace(RELATIONS, square=SOME & (np.arange(N) % 2 == 0))
    assert CHECKS["H44"](facts) == []


def test_a_check_does_without_an_attack_that_failed():
    """Catches a report that a single failed job brings down."""
    left = {name: values for name, values in RELATIONS.broken.items() if name != "pgd"}
    facts = replace(RELATIONS, broken=left)
    assert [
        one.check for check in CHECKS if check.stage == "relation" for one in check(facts)
    ] == []


def test_ties_are_told_once_and_mark_every_row():
    """Catches a string of warnings that say the same, and a list that leaves a cell out."""
    rates = {("a", "odin"): 0.105, ("b", "odin"): 0.099, ("a", "gen"): 0.19}
    found = [
        one
        for (model, detector), tied in rates.items()
        for one in CHECKS["H85"]({**AXIS, "tied": tied}, model, f"detector={detector}")
    ]
    other = CHECKS["H84"]({"ones": 0.5}, "a") + CHECKS["H84"]({"ones": 0.5}, "b")
    (ties, *rest) = flags.told([*found, *other])
    assert (ties["check"], ties["level"], ties["model"], ties["case"]) == ("H85", "WARN", "", "")
    assert "detector=odin: a 10.5%, b 9.9%; detector=gen: a 19.0%" in ties["message"]
    assert [one["model"] for one in rest] == ["a", "b"]  # the others keep a line a cell
    assert flags.told(found[:1])[0]["model"] == "a"
    assert next(one for one in flags.paragraphs(found) if one["id"] == "H85")["cells"] == 3
