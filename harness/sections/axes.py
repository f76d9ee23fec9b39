"""The four axes, with what was measured, a figure and the numbers behind it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from harness.core.types import case_parts, case_text
from harness.sections.blocks import Block, Bullets, Column, Detail, Paragraph, Table, Text
from harness.sections.story import Story, section, voids

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from harness.core.types import Row


def _numbers(story: Story, name: str, caption: str, heads: Sequence[Column], pick: Callable[[str], list[Row | None]], *, percent: bool) -> Table:  # fmt: skip
    """A table with a line a model."""
    picked = {model: pick(model) for model in story.models}
    rows = [
        (Text(model), *(story.number(row, percent=percent) for row in found))
        for model, found in picked.items()
    ]
    notes = voids(row for found in picked.values() for row in found)
    families = tuple(story.families[model] for model in story.models)
    return Table(
        name, caption, (Column("Model"), *heads), tuple(rows), tuple(story.models), families,
        notes=tuple(notes),
    )  # fmt: skip


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
        f"Robust accuracy is the share of images that stay right under every attack tried ({names}; {n:,} images). It is an "
        "upper bound: a stronger attack can only lower it. An image that falls at one budget counts as fallen at every larger "
        "one; an image that is wrong without an attack counts as fallen from the start. What each attack did stands under "
        "How it was measured."
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
        *_origin(story),
        *story.chart(
            "corruption-map", "Accuracy in % by model and corruption; an empty cell has no number."
        ),
        *story.chart("corruptions-by-family", "The same numbers, a line a corruption."),
        *story.images("corruptions"),
    ]


def _origin(story: Story) -> list[Block]:
    """Whether the corruptions are the published ones."""
    splits = [one for one in story.run["splits"] if one["role"] == "corruptions"]
    sources = dict.fromkeys(one["source"] for one in splits)
    return [Paragraph(" ".join(sources), "Where they come from.")] if sources else []


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
        f"coin. OOD is the positive class; the summary shows the {headline} score. Detectors were fitted on training data only; "
        "AUPR and FPR95 of each stand in results.csv."
    )
    tables = [_detectors(story, rows, name) for name in deck.sets]
    return [
        Paragraph(text),
        *_sets(story),
        *story.chart("auroc-by-family", f"AUROC of the {headline} score with 95 % intervals."),
        *(Detail(f"AUROC of every detector on {deck.title(name)}", (table,)) for name, table in zip(deck.sets, tables, strict=True)),
        *story.chart("roc", f"ROC curves of the {headline} score."),
        *story.chart("ood-scores", "Scores that one model gives the test images and the OOD sets: to the right, more likely OOD; up, the share of the images of each set."),
        *story.images("ood"),
    ]  # fmt: skip


def _sets(story: Story) -> list[Block]:
    """What the OOD sets hold."""
    splits = {one["name"]: one for one in story.run["splits"] if "OOD" in one["role"]}
    found = [splits[name] for name in story.deck.sets if name in splits]
    items = (
        Paragraph(f"{one['role']}, {one['n']:,} images. {one['source']}", f"{one['title']}:")
        for one in found
    )
    return [Bullets(tuple(items))] if found else []


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
        "perfectly calibrated model shows an ECE above zero on a finite test set, and stays below the floor 96.5 % of the "
        "time: an ECE whose interval begins at 0 can't be told from calibrated. Intervals of ECE and RMS error, and of their "
        "differences between models, take off the upward bias, so that a value may stand near their upper end. Brier and NLL are proper scores; rank by them rather than by ECE."
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
              Column("ECE floor", "96.5 % of the time, a perfectly calibrated model shows less."),
              Column("Over-confidence", "Mean confidence minus accuracy.")]  # fmt: skip

    def pick(model: str) -> list[Row | None]:
        ours = [found[metric].get((model, case)) for metric in MEASURES]
        floor = found["ece_floor"].get((model, case))
        high = floor and replace(floor, value=floor.high, low=None, high=None)
        over = found["overconfidence"].get((model, case))
        return [*ours, netcal.get((model, case)), high, over]

    return _numbers(
        story, f"calibration-{scaling}", f"Calibration {words}.", heads, pick, percent=False
    )
