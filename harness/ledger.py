"""The ledger: a row for each pair of implementations of the same thing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.crosscheck import comparison
from harness.crosscheck.attacks import Ran
from harness.crosscheck.verdicts import Subject, pairs, settle

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from harness.axes.view import View
    from harness.core.types import Artifact, Job
    from harness.results.verdicts import LedgerRow

FAILING = ("different", "failed")
STRICT = (*FAILING, "missing", "not comparable", "undecided", "explained")
TITLES = {
    "fgsm": "FGSM",
    "pgd": "PGD",
    "bim": "BIM",
    "mifgsm": "MI-FGSM",
    "apgd": "APGD",
    "cw": "CW",
    "deepfool": "DeepFool",
    "autoattack": "AutoAttack",
}


def ledger(view: View) -> tuple[LedgerRow, ...]:
    """All rows of a plan, with Holm over all of them; jobs that did not run have no rows here."""
    rows: list[LedgerRow] = []
    for question, digest in sorted(view.plan.answers.items()):
        record = view.read(digest)
        if record.status != "ok":
            continue
        if question.kind == "crosscheck":
            rows.extend(attack_rows(question.model, view.plan.job(digest), record))
        elif question.kind == "compared":
            rows.extend(comparison_rows(question.model, record))
    return tuple(settle(rows))


def attack_rows(model: str, job: Job, record: Artifact) -> list[LedgerRow]:
    """Rows of one concept on one model, before Holm."""
    subject = Subject(
        concept=job.params["concept"],
        what=_what(job.params),
        model=model,
        protocol=job.params["protocol"],
        norm=job.params["norm"],
        minimise=job.params["minimise"],
        facts=record.facts["conditions"],
    )
    return pairs(subject, list(_ran(record)))


def comparison_rows(model: str, record: Artifact) -> list[LedgerRow]:
    """Rows of metrics and scores on one model, or on boundary cases (model ""): they need no Holm."""
    rows: list[LedgerRow] = []
    for group in record.facts["groups"].values():
        found = [
            comparison.Comparison(**{**facts, "seconds": tuple(facts["seconds"])})
            for facts in group
        ]
        rows.extend(comparison.rows(found, model))
    return rows


def _ran(record: Artifact) -> Iterator[Ran]:
    for facts in record.facts["ran"]:
        arrays: dict[str, Any] = {
            name.partition("/")[2]: array
            for name, array in record.arrays.items()
            if name.partition("/")[0] == facts["implementation"]
        }
        yield Ran(**facts, **arrays)


def _what(params: Mapping[str, Any]) -> str:
    """A comparison in words: "PGD linf eps=0.1, 10 steps, random start"."""
    title = TITLES.get(params["concept"], params["concept"].capitalize())
    parts = [
        f"{title} {params['norm']}" + ("" if params["minimise"] else f" eps={params['eps']:g}")
    ]
    shared = dict(params["shared"])
    steps = shared.pop("steps", params["steps"])
    parts += [value if name == "loss" else f"{name}={value}" for name, value in shared.items()]
    if params["concept"] == "square":
        parts.append(f"{params['queries']} queries")
    elif params["concept"] != "fgsm":
        parts.append(f"{steps} steps")
    if params["protocol"] == "lockstep" and params["concept"] == "pgd":
        parts.append("random start" if params["random_start"] else "no start")
    return ", ".join(parts)


def failing(rows: Iterable[LedgerRow], *, strict: bool = False) -> list[LedgerRow]:
    """Rows whose verdict makes `harness crosscheck` exit with 1."""
    bad = STRICT if strict else FAILING
    return [row for row in rows if row.verdict in bad]
