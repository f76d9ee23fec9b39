"""A finished plan to Results: every axis is asked, and the example images are framed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness import findings, flags, provenance, ranking
from harness.axes import adversarial, calibration, clean, ood, shift
from harness.axes.view import Measured, View, Who
from harness.ledger import ledger
from harness.results import Gallery, Results, outcomes
from harness.results.exhibits import no_exhibits
from harness.results.gallery import adversarial as adversarial_gallery
from harness.results.gallery import strips
from harness.results.titles import spelt

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from harness.engine import Outcome
    from harness.plan import Plan
    from harness.results.exhibits import Exhibits, History
    from harness.store import Store

ACROSS = 5  # corruptions side by side


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
        exhibits={**exhibits(measured), "training": list(histories(view))},
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


def histories(view: View) -> Iterator[History]:
    """What each training reported; epochs without a probe are left out where there are others."""
    for spec in view.suite.models:
        for seed in view.suite.seeds:
            record = view.record("train", Who(spec, seed), member=0) if spec.network else None
            if record is not None and record.status == "ok":
                # A training that collapsed was repeated; the table and this curve show the first.
                epochs = record.facts["attempts"][0]["history"]
                probed = [epoch for epoch in epochs if "probe_accuracy" in epoch]
                yield _history(spec.name, seed, probed or epochs)


def _history(model: str, seed: int, epochs: Sequence[Mapping[str, float]]) -> History:
    return {
        "model": model,
        "seed": seed,
        "epoch": [int(one["epoch"]) for one in epochs],
        "loss": [one["loss"] for one in epochs],
        "accuracy": [one["accuracy"] for one in epochs],
        "probe": [one["probe_accuracy"] for one in epochs if "probe_accuracy" in one],
    }


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
    yield from _attacks(view, record.arrays, classes)
    yield from _augmentations(record.arrays)
    yield from _outsiders(view, record.arrays, classes)
    yield from _corruptions(view, record.arrays)


def _names(arrays: Mapping[str, np.ndarray], kind: str) -> Iterable[str]:
    return dict.fromkeys(key.split("/")[1] for key in arrays if key.startswith(f"{kind}/"))


def _attacks(
    view: View, arrays: Mapping[str, np.ndarray], classes: tuple[str, ...]
) -> Iterator[Gallery]:
    model = view.suite.baseline or view.suite.models[0].name
    for name in _names(arrays, "attack"):
        yield adversarial_gallery(
            f"adversarial-{name}",
            f"{spelt(name)} (L-inf) against {model}. Below the images: true class, largest change of a pixel "
            "(orange is brighter, blue darker), prediction",
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


def _outsiders(
    view: View, arrays: Mapping[str, np.ndarray], classes: tuple[str, ...]
) -> Iterator[Gallery]:
    """OOD inputs, each with what the model took it for."""
    rows = [
        (spelt(name), arrays[f"split/{name}"], [str(classes[p]) for p in arrays[f"prediction/{name}"]])
        for name in (view.suite.ood.sets if view.suite.ood else ())
        if f"split/{name}" in arrays
    ]  # fmt: skip
    if rows:
        title = "Inputs that are out of distribution, and the class that the model gives them"
        yield strips("ood", title, rows)


def _corruptions(view: View, arrays: Mapping[str, np.ndarray]) -> Iterator[Gallery]:
    """One test image under every corruption."""
    names = [name for name in view.corruptions if f"split/{name}" in arrays]
    if not names:
        return
    tiles = [arrays[f"split/{name}"][0] for name in names]
    blank = -len(names) % ACROSS
    tiles += [np.ones_like(tiles[0])] * blank
    titles = [*map(spelt, names), *[""] * blank]
    rows = [
        ("", np.stack(tiles[place : place + ACROSS]), titles[place : place + ACROSS])
        for place in range(0, len(tiles), ACROSS)
    ]
    yield strips("corruptions", "One test image under each corruption", rows)
