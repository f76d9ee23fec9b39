"""A comparison as JSON, for whatever acts on it after us."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.compare.changes import Change
    from harness.compare.comparison import Comparison
    from harness.compare.gates import GateResult


def to_json(comparison: Comparison) -> str:
    """The comparison with its verdicts, indented; a number that is not finite is null."""
    record = {
        "verdict": comparison.verdict,
        "exit_code": comparison.exit_code,
        "before": comparison.before,
        "after": comparison.after,
        "gates": [_gate(result) for result in comparison.gates],
        "changes": [_change(change) for change in comparison.changes],
        "only_before": list(comparison.only_before),
        "only_after": list(comparison.only_after),
        "notes": list(comparison.notes),
        "untested": comparison.untested,
    }
    return json.dumps(record, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _gate(result: GateResult) -> dict[str, Any]:
    changes = [{**_change(change), "verdict": verdict} for change, verdict in result.changes]
    return {
        "name": result.gate.name,
        "margin": result.gate.margin,
        "verdict": result.verdict,
        "missing": list(result.missing),
        "changes": changes,
    }


def _change(change: Change) -> dict[str, Any]:
    plain: dict[str, Any] = {key: _finite(value) for key, value in asdict(change).items()}
    axis, case, metric = plain.pop("cell")
    return {"axis": axis, "case": case, "metric": metric, **plain, "verdict": change.verdict}


def _finite(value: object) -> object:
    return None if isinstance(value, float) and not math.isfinite(value) else value
