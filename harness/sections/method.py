"""How it was measured, how to do it again, and what is missing."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from harness.results.titles import NORMS
from harness.sections.blocks import Block, Bullets, Code, Column, Detail, Paragraph, Table, Text
from harness.sections.story import Story, section

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.results.run import AttackFacts, DetectorFacts, JobFacts, SplitFacts


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
        Column("Arithmetic"),
        Column("Seconds"),
        Column("Note"),
    )
    rows = tuple(
        (Text(model["name"]), Text(training["recipe"]), Text(str(model["members"])), Text(f"{model['parameters']:,}"),
         Text(str(training["epochs"])), Text(training.get("arithmetic", "float32")), Text(f"{training['seconds']:.0f}"), Text(training["note"], "warn" if training["note"] else "plain"))
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
    rows = dict.fromkeys(
        (Text(one["role"]), Text(one["title"]), Text(f"{one['n']:,}"), Text(one["draw"] or "all"), Text(one["source"]), Text(one["digest"][:12]))
        for one in _merged(story.run["splits"])
    )  # fmt: skip
    return Table("data", "The data.", heads, tuple(rows))


def _merged(splits: Sequence[SplitFacts]) -> list[SplitFacts]:
    """By role, and the corruptions as one line where they have one source and size."""
    roles = list(dict.fromkeys(one["role"] for one in splits))
    found: dict[tuple[object, ...], list[SplitFacts]] = {}
    for place, one in enumerate(sorted(splits, key=lambda one: roles.index(one["role"]))):
        alike = one["role"] == "corruptions"
        found.setdefault((one["n"], one["source"]) if alike else (place,), []).append(one)
    return [
        group[0] if len(group) == 1 else {**group[0], "title": f"{len(group)} corruptions", "digest": ""}
        for group in found.values()
    ]  # fmt: skip


def _said(plug: AttackFacts | DetectorFacts) -> str:
    """The first line of its docstring, without the marks that a docstring gives to names."""
    return plug.get("summary", "").replace("`", "")


def _plain(params: Mapping[str, object]) -> str:
    """Parameters that ran; `use` is the attack or detector itself, and None its own rule."""
    shown = {name: value for name, value in params.items() if name != "use"}
    return (
        ", ".join(
            f"{name.replace('_', ' ')} {'by rule' if value is None else value}"
            for name, value in shown.items()
        )
        or "–"
    )


def _attacks(story: Story) -> list[Block]:
    attacks = story.run["attacks"]
    if not attacks:
        return []
    heads = (Column("Attack"), Column("Norm"), Column("Budgets (eps)"), Column("Images"), Column("Knowledge"), Column("Goal"), Column("In the headline"), Column("Parameters"))  # fmt: skip
    rows = tuple(
        (Text(one["title"]), Text(NORMS.get(one["norm"], one["norm"])), Text(", ".join(f"{eps:g}" for eps in one["budgets"])), Text(f"{one['n']:,}"),
         Text(one["knowledge"]), Text(one["goal"]), Text("yes" if one["headline"] else "no"), Text(_plain(one["params"])))
        for one in attacks
    )  # fmt: skip
    told: dict[str, dict[str, None]] = {}  # variants of one attack share a line
    for one in attacks:
        told.setdefault(_said(one), {})[one["title"]] = None
    notes = (
        "Pixels stay in [0, 1]; success is judged by our own forward pass, never by the attack. A step size by rule is 2.5 eps / steps.",
        *(f"{', '.join(titles)}: {summary}" for summary, titles in told.items() if summary),
    )  # fmt: skip
    return [
        Table("attacks", "The attacks, with the parameters that ran.", heads, rows, notes=notes)
    ]


def _detectors(story: Story) -> list[Block]:
    detectors = story.run["detectors"]
    if not detectors:
        return []
    heads = (Column("Detector"), Column("Score"), Column("Parameters"))
    rows = tuple(
        (Text(one["title"]), Text(_said(one)), Text(_plain(one["params"]))) for one in detectors
    )
    return [
        Table("detectors", "The OOD detectors; a higher score means more likely OOD.", heads, rows)
    ]


def _facts(story: Story) -> Bullets:
    run, machine = story.run, story.run["hardware"]
    cached = sum(job["cached"] for job in run["jobs"].values())
    took = f"{run['seconds'] / 60:.1f} minutes with {run['workers']} worker{'s' * (run['workers'] > 1)}, begun {_moment(run['started'])}"
    took += f"; {cached:,} of {len(run['jobs']):,} jobs had been done before" if cached else ""
    memory = f", {machine['memory'] / 2**30:.0f} GiB" if machine["memory"] else ""
    peak = f"; at most {run['memory'] / 2**20:.0f} MiB a worker" if run["memory"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    revision = run.get("revision", "")
    return Bullets((
        Paragraph(f"{', '.join(map(str, run['seeds']))}.", "Seeds."),
        Paragraph(f"{machine['processor']}, {machine['cores']} cores{memory}, {machine['device']}, {machine['system']}.", "Machine."),
        Paragraph(f"{took}{peak}.", "Time."),
        Paragraph(f"{versions}{f'; revision {revision}' if revision else ''}.", "Versions."),
        Paragraph("95 % throughout: Wilson for proportions, DeLong for AUROC, t with a correction for skewness for means over images, inverted tests for calibration errors, their bounds squared and added for differences of these; paired tests on the same images, Holm over each column.", "Intervals."),
    ))  # fmt: skip


def _moment(started: str) -> str:
    """A moment of run.json as people read it.

    >>> _moment("2026-11-23T07:09:56+00:00")
    '2026-11-23 07:09 UTC'
    """
    return f"{started[:10]} {started[11:16]} UTC"


def _times(story: Story) -> list[Block]:
    times = story.run["times"]
    if not times:
        return []
    text = ", ".join(
        f"{kind} {seconds:.0f}"
        for kind, seconds in sorted(times.items(), key=lambda item: -item[1])
    )
    cached = any(job["cached"] for job in story.run["jobs"].values())
    rest = "; what had been done before is not counted" if cached else ""
    return [Paragraph(f"{text}{rest}.", "Core-seconds of this run by kind of job.")]


@section("reproduce", "How to reproduce")
def reproduce(story: Story) -> list[Block]:
    """One command."""
    run = story.run
    again = "The report alone is made again from its results, without the models:"
    folder = f"reports/{run['suite']}-{run['dataset']}"
    columns = "Every number stands in results.csv, its provenance in run.json under the digest of its job, every image's outcome in outcomes/; data-dictionary.md says what each column means."
    return [
        Code(run["command"]),
        Paragraph(again),
        Code(f"harness report {shlex.quote(folder)}"),
        Paragraph(columns),
    ]


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
    if all(finding.verdict == "not measured" for finding in story.results.findings):
        found.append("None of the study's claims was measured.")
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
