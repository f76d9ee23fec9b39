"""Facts about the report as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.axes import adversarial
from harness.checks import raised
from harness.core.registry import registry
from harness.core.types import case_parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from harness.axes.view import View
    from harness.checks import Complaint
    from harness.core.registry import Kind
    from harness.core.types import Row
    from harness.results import LedgerRow
    from harness.results.run import Run

BAD = ("different", "failed")  # verdicts that need a reason and have none


def report(
    view: View, rows: Sequence[Row], run: Run, ledger: Sequence[LedgerRow]
) -> list[Complaint]:
    """What the rows, the record of the run and the ledger say together."""
    robust = [row for row in rows if row.metric == "robust_accuracy" and row.status == "ok"]
    facts: dict[str, Any] = {
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
        "disagreements": list(_disagreements(ledger)),
        "unprinted": dict(_unprinted(run)),
        "unsigned": _unsigned(run),
        "revision": run.get("revision", ""),
        "outputs": dict(_outputs(view)),
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


def _disagreements(ledger: Sequence[LedgerRow]) -> Iterator[dict[str, str]]:
    """Rows of the ledger that differ, or failed, for no known reason (H52)."""
    for row in ledger:
        if row.verdict in BAD:
            yield {
                "what": row.what, "a": row.a, "b": row.b, "model": row.model, "verdict": row.verdict,
                "explanation": row.explanation,
            }  # fmt: skip


def _unprinted(run: Run) -> Iterator[tuple[str, list[str]]]:
    """Attacks and detectors whose record lacks a parameter that they have (H63)."""
    attacks = [(one["params"].get("use", one["name"]), one["params"]) for one in run["attacks"]]
    detectors = [(one["name"], one["params"]) for one in run["detectors"]]
    used: dict[Kind, list[tuple[str, dict[str, Any]]]] = {"attack": attacks, "detector": detectors}
    for kind, members in used.items():
        for name, params in members:
            known = registry.get(kind, name).parameters
            missing = [one.name for one in known if one.name not in params]
            if missing:
                yield name, missing


def _unsigned(run: Run) -> dict[str, list[str]]:
    """Of what there is no digest, and which jobs have no line that runs them again (H66)."""
    return {
        "a digest of the weights": [
            one["name"] for one in run["models"] if one["training"] and not one["weights"]
        ],
        "a digest of the data": [one["name"] for one in run["splits"] if not one["digest"]],
        "a command": [one["title"] for one in run["jobs"].values() if not one["replay"]],
    }


def _outputs(view: View) -> Iterator[tuple[str, int]]:
    """Outputs of each model (H68)."""
    for who in view.everyone():
        arrays = view.arrays("predict", who, "test")
        if arrays is not None:
            yield who.name, arrays["logits"].shape[1]
