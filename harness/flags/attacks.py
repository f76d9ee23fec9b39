"""Facts about the attacks on a model, each by itself and beside one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.axes import adversarial
from harness.checks import CHECKS, raised
from harness.checks.relations import Relations
from harness.core.registry import registry
from harness.core.types import case_parts, case_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from harness.axes.view import View, Who
    from harness.checks import Complaint
    from harness.core.types import Artifact, Row
    from harness.suite import AttackSpec

RUN = ("H20", "H21", "H29")  # checks on one run of an attack; the others rest on the probe
RETURNS_CLEAN = ("autoattack",)  # concepts that return what they could not break as it came


def registry_loss(attack: AttackSpec) -> str:
    """The loss that an attack climbs, "score" if it climbs none, "" if unknown."""
    plug = registry.get("attack", attack.use.name)
    if not plug.meta.get("gradient", True):
        return "score"
    return str(plug.complete(attack.use.params).get("loss", "ce"))


def kind(attack: AttackSpec) -> str:
    """What an attack lives on: "gradient", "margin" or "score"."""
    loss = registry_loss(attack)
    return {"ce": "gradient", "score": "score"}.get(loss, "margin")


# ---------------------------------------------------------------- each by itself


def runs(view: View, who: Who) -> list[Complaint]:
    """What the probe's search, every attack's record and the cross-check say of attacks as such."""
    found: list[Complaint] = []
    probe = view.record("probe", who)
    if probe is not None and probe.status == "ok":
        found += raised("attack", probe.facts["attack"], who.name)
    for attack in view.suite.attacks:
        record = view.record("attack", who, f"{attack.name} {attack.norm}")
        if record is not None and record.status == "ok":
            case = case_text(attack=attack.name, norm=attack.norm)
            facts = _run(attack, record)
            found += [one for name in RUN for one in CHECKS[name](facts, who.name, case)]
    return found + [
        one for facts, case in _libraries(view, who) for one in _judged(facts, who, case)
    ]


def _run(attack: AttackSpec, record: Artifact) -> Mapping[str, Any]:
    """Facts of one record; `broke` counts images that were right and are wrong at the end."""
    plug = registry.get("attack", attack.use.name)
    broke = int((record.arrays["broken"][:, -1] & record.arrays["clean"]).sum())
    fixed = plug.meta.get("goal") != "minimise" and plug.concept not in RETURNS_CLEAN
    unmoved = record.facts.get("unmoved", 0) if fixed else 0
    return {**record.facts, "broke": broke, "unmoved": unmoved}


def _judged(facts: Mapping[str, Any], who: Who, case: str) -> list[Complaint]:
    return [one for name in ("H20", "H21") for one in CHECKS[name](facts, who.name, case)]


def _libraries(view: View, who: Who) -> Iterator[tuple[Mapping[str, Any], str]]:
    """What each implementation of the cross-check left outside ball or box, or claimed wrongly."""
    for question, digest in view.plan.answers.items():
        record = view.read(digest)
        mine = (question.kind, question.model, question.seed) == ("crosscheck", who.name, who.seed)
        if not mine or record.status != "ok":
            continue
        params = view.plan.job(digest).params
        for ran in record.facts["ran"]:
            case = case_text(
                implementation=ran["implementation"], concept=params["concept"], norm=params["norm"],
                protocol=params["protocol"],
            )  # fmt: skip
            yield {**ran, "worst_violation": ran.get("worst", 0.0)}, case


# ---------------------------------------------------------------- beside one another


def related(view: View, who: Who, rows: Sequence[Row]) -> list[Complaint]:
    """What the attacks on one model say of one another."""
    facts = relations(view, who, rows)
    return [] if facts is None else raised("relation", facts, who.name)


def relations(view: View, who: Who, rows: Sequence[Row] = ()) -> Relations | None:
    """The L-inf attacks on one model at its budget, per sample; None if it met none there."""
    eps = who.spec.training_budget or view.suite.middle_budget
    specs = [a for a in view.suite.attacks if a.norm == "linf" and a.eps != "training"]
    known = {a.name: adversarial.outcomes(view, who, a) for a in specs}
    at = {name: one for name, one in known.items() if one is not None and eps in one.eps}
    if eps is None or not at:
        return None
    at = dict(zip(at, adversarial.alike(list(at.values())), strict=True))
    first = next(iter(at.values()))
    record = view.record("train", who)
    overfitted = bool(record and "H91" in record.facts.get("flags", {}))
    asked = {a.name: kind(a) for a in view.suite.attacks if a.norm == "linf"}
    return Relations(
        n=len(first.ids),
        clean=first.clean,
        eps=eps,
        broken={name: one.at(eps) for name, one in at.items()},
        kinds={**asked, **{name: kind(one.attack) for name, one in at.items()}},
        classes=len(view.classes),
        trained_on=adversarial.trained_on(who),
        overfitted=overfitted,
        plain=who.name == view.suite.baseline,
        mnist_03=_undefended(view, who, known),
        strangers=dict(_strangers(view, who)),
        headlines=_headlines(view, who, rows),
        **_probed(view, who, first.ids),
    )


def _undefended(view: View, who: Who, known: Mapping[str, Any]) -> dict[str, float]:
    """Share that iterative attacks at 0.3 leave right of the plain model, on MNIST (H50)."""
    if view.suite.data.name != "mnist" or who.name != view.suite.baseline:
        return {}
    found: dict[str, float] = {}
    for name, one in known.items():
        if one is not None and 0.3 in one.eps and one.attack.use.name != "fgsm":
            found[name] = float((~one.at(0.3)).mean())
    return found


def _strangers(view: View, who: Who) -> Iterator[tuple[str, int]]:
    """Images that an attack found right clean, and the prediction of the test set wrong, or the reverse."""
    test = view.arrays("predict", who, "test")
    if test is None:
        return
    right = dict(zip(test["ids"].tolist(), test["logits"].argmax(1) == test["labels"], strict=True))
    for attack in view.suite.attacks:
        arrays = view.arrays("attack", who, f"{attack.name} {attack.norm}")
        if arrays is not None:
            expected = [right.get(one) for one in arrays["ids"].tolist()]
            yield f"{attack.name} {attack.norm}", int(np.sum(arrays["clean"] != np.array(expected)))


def _headlines(view: View, who: Who, rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
    """At each norm and budget the worst case, and the smallest value of one headline attack (H47).

    Of attacks on the same images: a suite may give one fewer.
    """
    counted = {attack.name for attack in view.suite.attacks if attack.headline}
    worst: dict[tuple[str, int], float] = {}
    least: dict[tuple[str, int], float] = {}
    for row in rows:
        mine = (row.model, row.seed, row.metric) == (who.name, who.seed, "robust_accuracy")
        parts = case_parts(row.case)
        if not mine or row.value is None or "versus" in parts or parts["eps"] == adversarial.MEAN:
            continue
        budget = f"{parts['norm']} {parts['eps']}", row.n
        if parts["attack"] == adversarial.WORST:
            worst[budget] = row.value
        elif parts["attack"] in counted:
            least[budget] = min(row.value, least.get(budget, 1.0))
    return {key[0]: (value, least[key]) for key, value in worst.items() if key in least}


def _probed(view: View, who: Who, ids: np.ndarray) -> dict[str, Any]:
    """What the probe, Square and the other models' images say, aligned with the attacked images."""
    facts: dict[str, Any] = {}
    record = view.record("probe", who)
    if record is not None and record.status == "ok":
        curve = record.facts["attack"]["curve"]
        facts |= {"monotone": tuple(curve["accuracy"]), "whole_box": curve["whole_box"]}
        facts["stubborn"] = tuple(record.arrays["ids"][curve["stubborn"]].tolist())
        facts["noise"] = _aligned(ids, record.arrays["noise_ids"], record.arrays["noise"])
        facts["known_broken"] = record.facts.get("known_broken", {})
    transfer = view.arrays("transfer", who)
    if transfer is not None:
        facts["transfer"] = _aligned(ids, transfer["ids"], transfer["broken"])
    square = next((a for a in view.suite.attacks if kind(a) == "score" and a.norm == "linf"), None)
    if square is not None:
        arrays = view.arrays("attack", who, f"{square.name} linf")
        if arrays is not None:
            facts["square"] = _aligned(ids, arrays["ids"], arrays["broken"][:, -1])
            facts["square_rows"] = np.isin(ids, arrays["ids"])
    return facts


def _aligned(ids: np.ndarray, some: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(len(ids),) bool: `values` at the ids that they belong to, False elsewhere."""
    place = {int(one): index for index, one in enumerate(ids)}
    found = np.zeros(len(ids), bool)
    for one, value in zip(some, values, strict=True):
        if int(one) in place:
            found[place[int(one)]] = value
    return found
