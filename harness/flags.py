"""Every check on a finished plan: facts are gathered from the records, complaints go to the rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness import metrics
from harness.axes import adversarial
from harness.checks import CHECKS, raised
from harness.checks.relations import Relations
from harness.core.registry import registry
from harness.core.types import case_parts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.axes.view import View, Who
    from harness.checks import Complaint
    from harness.core.types import Row
    from harness.results.run import CheckFacts, Flag, Run
    from harness.suite import AttackSpec

VOIDABLE = {  # stage -> axes whose rows a FAIL of that stage voids
    "model": ("adversarial",),
    "attack": (),  # the images were projected and judged again: the number stands, the claim does not
    "relation": ("adversarial",),
    "axis": ("ood", "shift", "calibration"),
    "training": (),
    "report": (),
}


def complaints(view: View, rows: Sequence[Row], run: Run) -> list[Complaint]:
    """All complaints about a finished plan."""
    found: list[Complaint] = []
    for who in view.everyone():
        found += _model(view, who)
        found += _training(view, who)
        found += _relations(view, who)
        found += _ood(view, who)
    found += _calibration(rows)
    found += _report(view, rows, run)
    return list(dict.fromkeys(found))


def marked(rows: Iterable[Row], found: Sequence[Complaint]) -> list[Row]:
    """Rows with the flags that concern them; void where a check says that they are no result."""
    return [_marked(row, found) for row in rows]


def _marked(row: Row, found: Sequence[Complaint]) -> Row:
    mine = [one for one in found if _concerns(one, row)]
    if not mine:
        return row
    flags = tuple(sorted({*row.flags, *(one.check for one in mine if one.level != "INFO")}))
    void = row.status == "ok" and any(_voids(one, row) for one in mine)
    if not void:
        return replace(row, flags=flags)
    reason = next(one.message for one in mine if _voids(one, row))
    return replace(row, flags=flags, status="void", note=reason)


def _concerns(one: Complaint, row: Row) -> bool:
    if one.model not in ("", row.model):
        return False
    if not one.case:
        return (
            row.axis in VOIDABLE[CHECKS[one.check].stage] or CHECKS[one.check].stage == "training"
        )
    wanted, mine = case_parts(one.case), case_parts(row.case)
    return all(mine.get(key) == value for key, value in wanted.items())


def _voids(one: Complaint, row: Row) -> bool:
    return one.voids and row.axis in VOIDABLE[CHECKS[one.check].stage]


def told(found: Iterable[Complaint]) -> list[Flag]:
    """Complaints as run.json tells them."""
    return [
        {"check": o.check, "level": o.level, "message": o.message, "model": o.model, "case": o.case}
        for o in found
    ]


def paragraphs(found: Iterable[Complaint]) -> list[CheckFacts]:
    """Every check with its paragraph, and how many cells it complained of."""
    counts: dict[str, int] = {}
    for one in found:
        counts[one.check] = counts.get(one.check, 0) + 1
    return [
        {
            "id": one.id,
            "title": one.title,
            "level": one.level,
            "raised_if": one.raised_if,
            "explanation": one.explanation,
            "what_to_do": one.what_to_do,
            "cells": counts.get(one.id, 0),
        }
        for one in CHECKS
    ]


# ---------------------------------------------------------------- models and attacks


def _model(view: View, who: Who) -> list[Complaint]:
    record = view.record("probe", who)
    if record is None or record.status != "ok":
        return []
    found = raised("model", record.facts["model"], who.name)
    found += raised("attack", record.facts["attack"], who.name)
    for attack in view.suite.attacks:
        ran = view.record("attack", who, f"{attack.name} {attack.norm}")
        if ran is not None and ran.status == "ok":
            case = f"attack={attack.name} norm={attack.norm}"
            found += CHECKS["H20"](ran.facts, who.name, case)
    return found


def _training(view: View, who: Who) -> list[Complaint]:
    record = view.record("train", who)
    if record is None or record.status != "ok":
        return []
    losses = [registry_loss(attack) for attack in view.suite.attacks]
    facts = {
        "flags": record.facts.get("flags", {}),
        "adversarial": who.spec.training_budget is not None,
        "seeds": len(view.suite.seeds),
        "losses": [loss for loss in losses if loss],
    }
    return raised("training", facts, who.name)


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


def _relations(view: View, who: Who) -> list[Complaint]:
    found: list[Complaint] = []
    facts = relations(view, who)
    if facts is not None:
        found += raised("relation", facts, who.name)
    return found


def relations(view: View, who: Who) -> Relations | None:
    """The L-inf attacks on one model at its budget, per sample; None if it met none there."""
    eps = who.spec.training_budget or view.suite.middle_budget
    specs = [a for a in view.suite.attacks if a.norm == "linf" and a.eps != "training"]
    known = {a.name: adversarial.outcomes(view, who, a) for a in specs}
    at = {name: one for name, one in known.items() if one is not None and eps in one.eps}
    if eps is None or not at:
        return None
    first = next(iter(at.values()))
    broken = {name: one.broken[:, one.eps.index(eps)] for name, one in at.items()}
    arrays = view.arrays("attack", who, f"{first.attack.name} linf") or {}
    record = view.record("train", who)
    overfitted = bool(record and "H91" in record.facts.get("flags", {}))
    asked = {a.name: kind(a) for a in view.suite.attacks if a.norm == "linf"}
    return Relations(
        n=len(first.ids),
        clean=arrays["clean"],
        eps=eps,
        broken=broken,
        kinds={**asked, **{name: kind(one.attack) for name, one in at.items()}},
        classes=len(view.classes),
        trained_on=adversarial.trained_on(who),
        overfitted=overfitted,
        plain=who.name == view.suite.baseline,
        mnist_03=_undefended(view, who, known),
        **_probed(view, who, first.ids, broken),
    )


def _undefended(view: View, who: Who, known: Mapping[str, Any]) -> dict[str, float]:
    """Share that iterative attacks at 0.3 leave right of the plain model, on MNIST (H50)."""
    if view.suite.data.name != "mnist" or who.name != view.suite.baseline:
        return {}
    found: dict[str, float] = {}
    for name, one in known.items():
        if one is not None and 0.3 in one.eps and one.attack.use.name != "fgsm":
            found[name] = float((~one.broken[:, one.eps.index(0.3)]).mean())
    return found


def _probed(
    view: View, who: Who, ids: np.ndarray, broken: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """What the probe and Square say, aligned with the attacked images by id."""
    facts: dict[str, Any] = {}
    record = view.record("probe", who)
    if record is not None and record.status == "ok":
        curve = record.facts["attack"]["curve"]
        facts |= {"monotone": tuple(curve["accuracy"]), "whole_box": curve["whole_box"]}
        facts["stubborn"] = tuple(record.arrays["ids"][curve["stubborn"]].tolist())
        facts["noise"] = _aligned(ids, record.arrays["noise_ids"], record.arrays["noise"])
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


# ---------------------------------------------------------------- the other axes


def _ood(view: View, who: Who) -> list[Complaint]:
    ood = view.suite.ood
    found: list[Complaint] = []
    for detector in ood.detectors if ood else ():
        scores = view.arrays("score", who, detector.name)
        if scores is None or ood is None:
            continue
        facts = {
            "detector": detector.name,
            "tied": metrics.tied_scores(
                scores["id"], np.concatenate([scores[n] for n in ood.sets])
            ),
            "auroc": {name: metrics.auroc(scores["id"], scores[name]) for name in ood.sets},
            "noise_auroc": metrics.auroc(scores["id"], scores["noise"])
            if "noise" in scores
            else None,
        }
        for check in ("H81", "H85"):
            found += CHECKS[check](facts, who.name, f"detector={detector.name}")
    return found


def _calibration(rows: Sequence[Row]) -> list[Complaint]:
    floors = {
        (row.model, row.seed, row.case): row.high for row in rows if row.metric == "ece_floor"
    }
    found: list[Complaint] = []
    for row in rows:
        floor = floors.get((row.model, row.seed, row.case))
        if row.metric == "ece" and row.implementation == "harness" and floor is not None:
            facts = {"ece": row.value, "floor": floor}
            found += CHECKS["H83"](facts, row.model, row.case)
    return found


def _report(view: View, rows: Sequence[Row], run: Run) -> list[Complaint]:
    robust = [row for row in rows if row.metric == "robust_accuracy" and row.status == "ok"]
    facts = {
        "attacks": run["attacks"],
        "robust_models": {row.model for row in robust},
        "clean_models": {row.model for row in rows if row.axis == "clean" and row.status == "ok"},
        "curve_ends": dict(_ends(robust)),
        "classes": len(view.classes),
        "attack_images": max(
            (attack["n"] for attack in run["attacks"] if attack["headline"]), default=0
        ),
        "test_images": max((row.n for row in rows if row.axis == "clean"), default=0),
        "has_shift": view.suite.shift is not None,
    }
    return raised("report", facts)


def _ends(robust: Sequence[Row]) -> Iterator[tuple[tuple[str, str], float]]:
    """(model, norm) -> worst-case accuracy at the largest budget."""
    largest: dict[tuple[str, str], tuple[float, float]] = {}
    for row in robust:
        parts = case_parts(row.case)
        if (
            parts["attack"] != adversarial.WORST
            or parts["eps"] == adversarial.MEAN
            or "versus" in parts
        ):
            continue
        key, eps = (row.model, parts["norm"]), float(parts["eps"])
        if eps > largest.get(key, (0.0, 0.0))[0]:
            largest[key] = (eps, row.value or 0.0)
    for key, (_, left) in largest.items():
        yield key, left
