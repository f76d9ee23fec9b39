"""Two runs held against one another: what changed, what of it is beyond noise, and gates.

    found = compare(Path("reports/old"), Path("reports/new"), gates=[parse_gate("robust=0.01")])
    print(to_markdown(found))
    sys.exit(found.exit_code)      # 1 worse, 3 the data can't tell, 0 otherwise

Every comparison is paired: the same model on the same images, by their id. Nothing is imported that
a folder of results does not need.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.compare.changes import Change, Comparable
from harness.compare.comparison import Comparison
from harness.compare.gates import Gate, GateResult, judge, parse_gate
from harness.compare.machine import to_json
from harness.compare.markdown import to_markdown
from harness.compare.runs import Pair
from harness.results import Results

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def compare(
    run_a: Path, run_b: Path, *, gates: Sequence[Gate] = (), models: str = ""
) -> Comparison:
    """Run B against run A, the one that it is meant to replace.

    Args:
        run_a: folder of results, the old one.
        run_b: folder of results, the new one.
        gates: what must not get worse, see `parse_gate`.
        models: pattern of model names; all that stand in both runs if empty.

    Raises:
        InputError: a folder holds no results, the runs have no image, model or seed in common, or a
            gate names what neither measured.
    """
    pair = Pair(Results.read(run_a), Results.read(run_b), models)
    comparable = Comparable(pair)
    return Comparison(
        before=str(run_a),
        after=str(run_b),
        changes=comparable.changes,
        gates=tuple(judge(gate, comparable) for gate in gates),
        notes=tuple(pair.notes()),
        only_before=tuple(pair.only(pair.a, pair.b)),
        only_after=tuple(pair.only(pair.b, pair.a)),
        untested=comparable.untested(),
    )


__all__ = [
    "Change",
    "Comparison",
    "Gate",
    "GateResult",
    "compare",
    "parse_gate",
    "to_json",
    "to_markdown",
]
