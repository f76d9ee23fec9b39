"""A finished plan to Results: every axis is asked, and the example images are framed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness import findings, flags, provenance, ranking
from harness.axes import adversarial, calibration, clean, ood, shift
from harness.axes.view import Measured, View
from harness.ledger import ledger
from harness.results import Gallery, Results, outcomes
from harness.results.exhibits import no_exhibits
from harness.results.gallery import adversarial as adversarial_gallery
from harness.results.gallery import strips

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from harness.engine import Outcome
    from harness.plan import Plan
    from harness.results.exhibits import Exhibits
    from harness.store import Store


def assemble(plan: Plan, store: Store, outcome: Outcome, made: provenance.Made) -> Results:
    """All that a report needs, from the records of a plan.

    Args:
        plan: what was asked.
        store: where its records are.
        outcome: what became of its jobs in this run.
        made: when, where and by which command.
    """
    view = View(plan, store)
    measured = measure(view)
    run = provenance.run(view, outcome, made)
    book = ledger(view)
    found = flags.complaints(view, measured.rows, run, book)
    run["flags"], run["checks"] = flags.told(found), flags.paragraphs(found)
    rows = tuple(flags.marked(measured.rows, found))
    tables = {name: table(name, blocks) for name, blocks in measured.outcomes.items()}
    several = len(plan.suite.models) > 1
    results = Results(
        rows=rows,
        run=run,
        outcomes=tables,
        exhibits=exhibits(measured),
        galleries=tuple(galleries(view)),
        ledger=book,
        findings=findings.findings(plan.suite, tables, rows) if several else (),
    )
    return ranking.ranked(results)


def measure(view: View) -> Measured:
    """All axes, one after another."""
    corruptions = view.corruptions
    whole = Measured()
    for part in (
        clean.measure(view),
        adversarial.measure(view),
        shift.measure(view, corruptions) if corruptions else Measured(),
        ood.measure(view),
        calibration.measure(view),
    ):
        whole.add(part)
    return whole


def exhibits(measured: Measured) -> Exhibits:
    """Exhibits in the lists that the results know."""
    found: Any = no_exhibits()
    for name, items in measured.exhibits.items():
        found[name].extend(items)
    return found


def table(name: str, blocks: Sequence[Mapping[str, Any]]) -> pa.Table:
    """One table of outcomes from blocks of columns; a scalar stands for a whole block."""
    lengths = [max(np.size(value) for value in block.values()) for block in blocks]
    columns = {
        column: np.concatenate(
            [
                np.broadcast_to(np.asarray(block[column]), (length,))
                for block, length in zip(blocks, lengths, strict=True)
            ]
        )
        for column in outcomes.COLUMNS[name]
    }
    return outcomes.table(name, columns)


# ---------------------------------------------------------------- pictures


def galleries(view: View) -> Iterator[Gallery]:
    """The example images that the run drew, framed."""
    record = view.exhibit
    if record is None:
        return
    classes = view.classes
    yield from _attacks(record.arrays, classes)
    yield from _augmentations(record.arrays)
    yield from _splits(view, record.arrays, classes)


def _names(arrays: Mapping[str, np.ndarray], kind: str) -> Iterable[str]:
    return dict.fromkeys(key.split("/")[1] for key in arrays if key.startswith(f"{kind}/"))


def _attacks(arrays: Mapping[str, np.ndarray], classes: tuple[str, ...]) -> Iterator[Gallery]:
    for name in _names(arrays, "attack"):
        yield adversarial_gallery(
            f"adversarial-{name}",
            f"{name.upper()}: clean image, perturbation and result",
            clean=arrays[f"attack/{name}/clean"],
            result=arrays[f"attack/{name}/result"],
            labels=[str(classes[label]) for label in arrays[f"attack/{name}/label"]],
            predictions=[str(classes[label]) for label in arrays[f"attack/{name}/prediction"]],
        )


def _augmentations(arrays: Mapping[str, np.ndarray]) -> Iterator[Gallery]:
    names = list(_names(arrays, "augmentation"))
    if names:
        rows = [(name.replace("-", " "), arrays[f"augmentation/{name}"]) for name in names]
        yield strips(
            "augmentation",
            "Training images after augmentation",
            [(t, x, [""] * len(x)) for t, x in rows],
        )


def _splits(
    view: View, arrays: Mapping[str, np.ndarray], classes: tuple[str, ...]
) -> Iterator[Gallery]:
    """OOD inputs and corruptions, each with what the model took it for."""
    sets = view.suite.ood.sets if view.suite.ood else ()
    for name, title, members in (
        ("ood", "Inputs that are out of distribution, and what the model takes them for", sets),
        (
            "corruptions",
            "Corrupted test images, and what the model takes them for",
            view.corruptions,
        ),
    ):
        rows = [
            (
                member,
                arrays[f"split/{member}"],
                [str(classes[p]) for p in arrays[f"prediction/{member}"]],
            )
            for member in members
            if f"split/{member}" in arrays
        ]
        if rows:
            yield strips(name, title, rows)
