"""The four axes, with what was measured, a figure and the numbers behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.core.types import case_parts, case_text
from harness.sections.blocks import Block, Cell, Column, Detail, Paragraph, Table, Text
from harness.sections.story import Story, section

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.core.types import Row


def _numbers(story: Story, name: str, caption: str, heads: Sequence[Column], pick: Callable[[str], list[Row | None]], *, percent: bool) -> Table:  # fmt: skip
    """A table with a line a model."""
    rows = []
    for model in story.models:
        cells: list[Cell] = [story.number(row, percent=percent) for row in pick(model)]
        rows.append((Text(model), *cells))
    families = tuple(story.families[model] for model in story.models)
    return Table(
        name, caption, (Column("Model"), *heads), tuple(rows), tuple(story.models), families
    )


def _index(
    story: Story, axis: str, metric: str, implementation: str = "harness"
) -> dict[tuple[str, str], Row]:
    return {
        (row.model, row.case): row
        for row in story.rows
        if (row.axis, row.metric, row.implementation) == (axis, metric, implementation)
    }


@section("adversarial", "Adversarial robustness")
def adversarial(story: Story) -> list[Block]:
    """Security curves and the headline at each training budget."""
    rows = _index(story, "adversarial", "robust_accuracy")
    if not rows:
        return []
    headline = [attack for attack in story.run["attacks"] if attack["headline"]]
    names = ", ".join(dict.fromkeys(attack["title"] for attack in headline))
    n = next((attack["n"] for attack in headline), 0)
    text = (
        f"Robust accuracy is the share of images that survive every attack tried ({names}; {n:,} images): an upper "
        "bound on the truth, which a stronger attack can only lower. An image counts as broken at every budget above "
        "the one where it fell; images that are wrong without an attack count as broken at 0."
    )
    eps = sorted({float(e) for _, case in rows for e in [case_parts(case)["eps"]] if case.startswith("attack=worst norm=linf") and e != "mean"})  # fmt: skip
    cases = [case_text(attack="worst", norm="linf", eps=budget) for budget in eps]
    heads = [Column(f"eps {budget:g}", "", "higher") for budget in eps]
    table = _numbers(story, "worst", "Robust accuracy in %, worst per image over the attacks, L-inf.", heads, lambda model: [rows.get((model, case)) for case in cases], percent=True)  # fmt: skip
    return [
        Paragraph(text),
        *story.chart("security-curves", "Robust accuracy over the attacker's budget; at 0 stands the clean accuracy on all test images."),
        *([Detail("Robust accuracy at every budget", (table,))] if eps else []),
        *story.chart("training", "Accuracy under a PGD probe after each epoch of adversarial training."),
        *story.images("adversarial-fgsm", "adversarial-pgd"),
    ]  # fmt: skip


@section("shift", "Distribution shift")
def shift(story: Story) -> list[Block]:
    """Corruptions."""
    if not any(row.axis == "shift" for row in story.rows):
        return []
    text = (
        f"Accuracy on the test images under {len(story.run['corruptions'])} corruptions. The mean is over corruptions; "
        "its interval resamples images, not predictions, since every corruption sees the same images."
    )
    return [
        Paragraph(text),
        *story.chart(
            "corruption-map", "Accuracy in % by model and corruption; an empty cell has no number."
        ),
        *story.chart("corruptions-by-family", "The same numbers, a line a corruption."),
        *story.images("corruptions"),
    ]


@section("ood", "Out-of-distribution inputs")
def ood(story: Story) -> list[Block]:
    """Detectors on OOD sets."""
    rows = _index(story, "ood", "auroc")
    if not rows:
        return []
    deck = story.deck
    headline = deck.title(story.run["headline_detector"])
    text = (
        "AUROC is the chance that a detector scores an image of the OOD set above a test image: 1 is perfect, 0.5 is a "
        f"coin. OOD is the positive class; the summary shows {headline}. Detectors were fitted on training data only."
    )
    tables = [_detectors(story, rows, name) for name in deck.sets]
    return [
        Paragraph(text),
        *story.chart("auroc-by-family", f"AUROC of {headline} with 95 % intervals."),
        *(Detail(f"AUROC of every detector on {deck.title(name)}", (table,)) for name, table in zip(deck.sets, tables, strict=True)),
        *story.chart("roc", f"ROC curves of {headline}."),
        *story.chart("ood-scores", "Scores on the test images and on the OOD sets, one model."),
        *story.images("ood"),
    ]  # fmt: skip


def _detectors(story: Story, rows: dict[tuple[str, str], Row], name: str) -> Table:
    cases = [case_text(set=name, detector=detector) for detector in story.deck.detectors]
    heads = [Column(story.deck.title(detector), "", "higher") for detector in story.deck.detectors]
    caption = f"AUROC on {story.deck.title(name)} against the test images."
    return _numbers(story, f"detectors-{name}", caption, heads, lambda model: [rows.get((model, case)) for case in cases], percent=False)  # fmt: skip


MEASURES = {"ece": "ECE", "rms_calibration_error": "RMS", "brier": "Brier", "nll": "NLL"}


@section("calibration", "Calibration")
def calibration(story: Story) -> list[Block]:
    """Confidence before and after temperature scaling."""
    found = {
        metric: _index(story, "calibration", metric)
        for metric in (*MEASURES, "ece_floor", "overconfidence")
    }
    if not any(found[metric] for metric in MEASURES):
        return []
    text = (
        "Confidence is the largest probability. A calibrated model is right as often as its confidence says. Even a "
        "perfectly calibrated model shows an ECE above zero on a finite test set: values below the floor (its 97.5 % "
        "quantile) can't be told from calibrated. Brier and NLL are proper scores; rank by them rather than by ECE."
    )
    tables = [
        Detail(
            f"Calibration {words}, with the netcal twin of ECE",
            (_calibrated(story, found, scaling, words),),
        )
        for scaling, words in (
            ("none", "before temperature scaling"),
            ("temperature", "after temperature scaling"),
        )
    ]
    return [
        Paragraph(text),
        *story.chart("calibration-by-family", "ECE, RMS calibration error and Brier score before and after temperature scaling."),
        *tables,
        *story.chart("reliability", "Accuracy against confidence in 15 bins, before and after temperature scaling."),
    ]  # fmt: skip


def _calibrated(
    story: Story, found: dict[str, dict[tuple[str, str], Row]], scaling: str, words: str
) -> Table:
    case = case_text(scaling=scaling)
    netcal = _index(story, "calibration", "ece", "netcal")
    heads = [Column(title, "", "lower") for title in MEASURES.values()]
    heads += [Column("ECE, netcal", "The same by another library.", "lower"),
              Column("ECE floor", "Mean of a calibrated model; the upper end is its 97.5 % quantile."),
              Column("Over-confidence", "Mean confidence minus accuracy.")]  # fmt: skip

    def pick(model: str) -> list[Row | None]:
        ours = [found[metric].get((model, case)) for metric in MEASURES]
        rest = [found[metric].get((model, case)) for metric in ("ece_floor", "overconfidence")]
        return [*ours, netcal.get((model, case)), *rest]

    return _numbers(
        story, f"calibration-{scaling}", f"Calibration {words}.", heads, pick, percent=False
    )
