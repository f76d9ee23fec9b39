"""How it was measured, how to do it again, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.sections.blocks import Block, Bullets, Code, Column, Detail, Paragraph, Table, Text
from harness.sections.story import Story, section

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.results.run import JobFacts


@section("examples", "What the training saw")
def examples(story: Story) -> list[Block]:
    """Galleries that no axis shows, and the recipes."""
    told = {"adversarial-fgsm", "adversarial-pgd", "corruptions", "ood"}
    rest = [gallery.name for gallery in story.results.galleries if gallery.name not in told]
    return [*_recipes(story), *story.images(*rest)]


def _recipes(story: Story) -> list[Block]:
    trained = [model for model in story.run["models"] if model["training"]]
    if not trained:
        return []
    heads = (
        Column("Model"),
        Column("Recipe"),
        Column("Networks"),
        Column("Parameters"),
        Column("Epochs"),
        Column("Seconds"),
        Column("Note"),
    )
    rows = tuple(
        (Text(model["name"]), Text(training["recipe"]), Text(str(model["members"])), Text(f"{model['parameters']:,}"),
         Text(str(training["epochs"])), Text(f"{training['seconds']:.0f}"), Text(training["note"], "warn" if training["note"] else "plain"))
        for model in trained
        if (training := model["training"])
    )  # fmt: skip
    names = tuple(model["name"] for model in trained)
    families = tuple(model["family"] for model in trained)
    table = Table(
        "recipes", "How each model was trained, and what that cost.", heads, rows, names, families
    )
    return [Detail("Training recipes and their cost", (table,))]


@section("method", "How it was measured")
def method(story: Story) -> list[Block]:
    """Data, attacks, detectors, seeds, versions, hardware, time."""
    return [_data(story), *_attacks(story), *_detectors(story), _facts(story), *_times(story)]


def _data(story: Story) -> Table:
    heads = (
        Column("Role"),
        Column("Data"),
        Column("Images"),
        Column("Drawn"),
        Column("Source"),
        Column("Digest"),
    )
    rows = tuple(
        (Text(one["role"]), Text(one["title"]), Text(f"{one['n']:,}"), Text(one["draw"] or "all"), Text(one["source"]), Text(one["digest"][:12]))
        for one in story.run["splits"]
    )  # fmt: skip
    return Table("data", "The data.", heads, rows)


def _plain(params: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in params.items()) or "–"


def _attacks(story: Story) -> list[Block]:
    attacks = story.run["attacks"]
    if not attacks:
        return []
    heads = (Column("Attack"), Column("Norm"), Column("Budgets (eps)"), Column("Images"), Column("Knowledge"), Column("Goal"), Column("In the headline"), Column("Parameters"))  # fmt: skip
    rows = tuple(
        (Text(one["title"]), Text(one["norm"]), Text(", ".join(f"{eps:g}" for eps in one["budgets"])), Text(f"{one['n']:,}"),
         Text(one["knowledge"]), Text(one["goal"]), Text("yes" if one["headline"] else "no"), Text(_plain(one["params"])))
        for one in attacks
    )  # fmt: skip
    note = "The box is [0, 1]; success is judged by our own forward pass. A step size of None is 2.5 eps / steps."
    return [
        Table("attacks", "The attacks, with the parameters that ran.", heads, rows, notes=(note,))
    ]


def _detectors(story: Story) -> list[Block]:
    detectors = story.run["detectors"]
    if not detectors:
        return []
    items = "; ".join(
        f"{one['title']} ({_plain(one['params'])})" if one["params"] else one["title"]
        for one in detectors
    )
    return [Paragraph(items + ".", "Detectors.")]


def _facts(story: Story) -> Bullets:
    run, machine = story.run, story.run["hardware"]
    minutes = run["seconds"] / 60
    memory = f", {machine['memory'] / 2**30:.0f} GiB" if machine["memory"] else ""
    peak = f"; at most {run['memory'] / 2**20:.0f} MiB a worker" if run["memory"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    revision = run.get("revision", "")
    return Bullets((
        Paragraph(f"{', '.join(map(str, run['seeds']))}.", "Seeds."),
        Paragraph(f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['device']}, {machine['system']}.", "Machine."),
        Paragraph(f"{minutes:.1f} minutes from {run['started']} with {run['workers']} workers{peak}.", "Time."),
        Paragraph(f"{versions}{f'; revision {revision}' if revision else ''}.", "Versions."),
        Paragraph("95 % throughout: Wilson for proportions, DeLong for AUROC, bootstrap by image for means and calibration errors; paired tests on the same images, Holm over each column.", "Intervals."),
    ))  # fmt: skip


def _times(story: Story) -> list[Block]:
    times = story.run["times"]
    if not times:
        return []
    text = ", ".join(
        f"{kind} {seconds:.0f}"
        for kind, seconds in sorted(times.items(), key=lambda item: -item[1])
    )
    return [Paragraph(f"{text}.", "Core-seconds by kind of job.")]


@section("reproduce", "How to reproduce")
def reproduce(story: Story) -> list[Block]:
    """One command."""
    run = story.run
    again = "The report alone is made again from this folder, without the models, by `harness report` and its path."
    columns = "Every number stands in results.csv, its provenance in run.json under the digest of its job, every image's outcome in outcomes/; data-dictionary.md says what each column means."
    return [Code(run["command"]), Paragraph(again), Paragraph(columns)]


@section("missing", "What is missing")
def missing(story: Story) -> list[Block]:
    """What a reader might look for and not find, with the reason."""
    items = [Paragraph(text) for text in (*story.run["missing"], *_absent(story))]
    broken = [(digest, job) for digest, job in story.run["jobs"].items() if job["status"] != "ok"]
    gone = [row for row in story.rows if row.status in ("failed", "skipped")]
    blocks: list[Block] = [Bullets(tuple(items))] if items else []
    if broken:
        blocks.append(_broken(broken))
    if gone:
        blocks.append(_gone(story))
    return blocks or [Paragraph("Nothing: every job of the suite was done.")]


def _absent(story: Story) -> list[str]:
    run, axes = story.run, {row.axis for row in story.rows}
    found = []
    if len(run["models"]) == 1:
        found.append("One model only: there is nothing to compare it with.")
    if len(run["seeds"]) == 1:
        found.append("One seed only: the spread over seeds is unknown.")
    names = {"adversarial": "No attack was run", "shift": "No corruption was run", "ood": "There is no OOD set", "calibration": "Calibration was not measured"}  # fmt: skip
    found += [
        f"{text}: that axis has no numbers." for axis, text in names.items() if axis not in axes
    ]
    if not story.results.findings:
        found.append("The findings of the study were not asked for.")
    if not story.results.ledger:
        found.append("No cross-check was run.")
    return found


def _broken(jobs: list[tuple[str, JobFacts]]) -> Table:
    heads = (Column("Job"), Column("Status"), Column("Model"), Column("Reason"))
    rows = tuple(
        (Text(job["title"]), Text(job["status"], "bad"), Text(job["model"]), Text(job["reason"]))
        for _, job in jobs
    )
    return Table("jobs", "Jobs that did not finish.", heads, rows)


def _gone(story: Story) -> Table:
    heads = (
        Column("Model"),
        Column("Axis"),
        Column("Case"),
        Column("Metric"),
        Column("Status"),
        Column("Reason"),
    )
    rows = tuple(
        (
            Text(row.model),
            Text(row.axis),
            Text(row.case or "–"),
            Text(row.metric),
            Text(row.status, "bad"),
            Text(row.note),
        )
        for row in story.rows
        if row.status in ("failed", "skipped")
    )
    return Table("gone", "Numbers that do not exist.", heads, rows)
