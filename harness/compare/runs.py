"""What two runs have in common, and what else differs between them than their numbers."""

from __future__ import annotations

import fnmatch
from collections import Counter
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.core.errors import InputError
from harness.pairing import Samples
from harness.results import ALL_SEEDS
from harness.results.summary import is_difference

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from harness.core.types import Row
    from harness.results import Results

A, B = "a", "b"
OURS = "harness"
Cell = tuple[str, str, str]
"""axis, case and metric of a row."""


class Pair:
    """Two runs on the same images.

    Args:
        a: the old run.
        b: the new run.
        models: pattern of model names, or "".

    Raises:
        InputError: they have no image, model or seed in common.
    """

    def __init__(self, a: Results, b: Results, models: str = "") -> None:
        self.a, self.b, self._pattern = a, b, models
        self.samples = Samples({A: a.outcomes, B: b.outcomes}, lambda label, model: (label, model))
        self._check_data()
        self.models = self._common_models()
        self.seeds = self._common_seeds()
        self._check_labels()

    # ------------------------------------------------------------ what they share

    @cached_property
    def rows(self) -> tuple[dict[tuple[str, Cell], Row], dict[tuple[str, Cell], Row]]:
        """(model, cell) -> row of the first common seed, of each run; those that are not ok too."""
        return self._rows(self.a), self._rows(self.b)

    def _rows(self, results: Results) -> dict[tuple[str, Cell], Row]:
        found: dict[tuple[str, Cell], Row] = {}
        for row in results.rows:
            wanted = row.implementation == OURS and row.model in self.models
            if wanted and row.seed in self.seeds and not is_difference(row):
                key = (row.model, (row.axis, row.case, row.metric))
                # One seed that is not ok is enough to spoil the mean over seeds.
                if key not in found or row.status != "ok":
                    found[key] = row
        return found

    @property
    def budgets(self) -> list[float]:
        """Training budgets of both: those of the headline."""
        theirs = self.b.run["headline_budgets"]
        return [eps for eps in self.a.run["headline_budgets"] if eps in theirs]

    @property
    def corruptions(self) -> list[str]:
        """Corruptions of both."""
        return [name for name in self.a.run["corruptions"] if name in self.b.run["corruptions"]]

    @property
    def bins(self) -> int:
        """Bins of the calibration errors, of the new run."""
        asked = self.b.run["resolved"].get("calibration")
        return int(asked["bins"]) if isinstance(asked, dict) and "bins" in asked else 15

    def same_split(self, name: str) -> bool:
        """Whether a split is the same data in both runs, as far as they say."""
        digests = [
            {s["digest"] for s in run.run["splits"] if name in (s["name"], s["role"])}
            for run in (self.a, self.b)
        ]
        return not all(digests) or digests[0] == digests[1]

    def _check_data(self) -> None:
        one, other = self.a.run["dataset"], self.b.run["dataset"]
        if one != other:
            raise InputError(f"the runs have no image in common: {one!r} before, {other!r} after")

    def _common_models(self) -> tuple[str, ...]:
        names = [[model["name"] for model in run.run["models"]] for run in (self.a, self.b)]
        common = [name for name in names[0] if name in names[1]]
        if not common:
            lists = " before, ".join(", ".join(part) or "none" for part in names)
            raise InputError(f"no model stands in both runs: {lists} after; names must be equal")
        fits = [n for n in common if fnmatch.fnmatchcase(n.lower(), self._pattern.lower() or "*")]
        if not fits:
            raise InputError(
                f"{self._pattern!r} matches no model of both runs: {', '.join(common)}"
            )
        return tuple(fits)

    def _common_seeds(self) -> tuple[int, ...]:
        one, other = self.a.run["seeds"], self.b.run["seeds"]
        common = tuple(seed for seed in one if seed in other and seed != ALL_SEEDS)
        if not common:
            raise InputError(f"the runs have no seed in common: {one} before, {other} after")
        return common

    def _check_labels(self) -> None:
        """An id means the same image in both, or nothing can be paired."""
        found = self.samples.found("clean")
        blocks = [found.get(((label, self.models[0]), self.seeds[0])) for label in (A, B)]
        if blocks[0] is None or blocks[1] is None:
            return
        ids, mine, theirs = np.intersect1d(blocks[0]["id"], blocks[1]["id"], return_indices=True)
        wrong = ids[blocks[0]["label"][mine] != blocks[1]["label"][theirs]]
        if len(wrong):
            raise InputError(
                f"the test sets are not the same: image {wrong[0]} has another label after, "
                f"and so have {len(wrong) - 1} more"
            )

    # ------------------------------------------------------------ what differs

    def notes(self) -> Iterator[str]:
        """Sentences on what else differs."""
        for name in ("suite", "revision", "seeds", "limit", "headline_budgets", "corruptions"):
            yield from _changed(name, self.a.run.get(name), self.b.run.get(name))
        yield from _changed(
            "device", self.a.run["hardware"]["device"], self.b.run["hardware"]["device"]
        )
        yield from _by_key("version of ", self.a.run["versions"], self.b.run["versions"])
        yield from _by_key("data ", _digests(self.a), _digests(self.b))
        yield from _by_key("attack ", _attacks(self.a), _attacks(self.b))
        yield from _tree("suite", self.a.run["resolved"], self.b.run["resolved"])

    def only(self, one: Results, other: Results) -> Iterator[str]:
        """What `one` has and `other` has not: whole models, then numbers of the common ones."""
        theirs = {model["name"] for model in other.run["models"]}
        for model in one.run["models"]:
            if model["name"] not in theirs:
                yield f"model {model['name']}"
        mine, others = self.rows if one is self.a else self.rows[::-1]
        lost = Counter(
            cell
            for (model, cell), row in mine.items()
            if row.status == "ok" and _status(others.get((model, cell))) != "ok"
        )
        for (axis, case, metric), count in lost.items():
            yield f"{axis} {metric} {case}".strip() + f" of {count} of {len(self.models)} models"


def _status(row: Row | None) -> str:
    return "missing" if row is None else row.status


def _changed(name: str, before: object, after: object) -> Iterator[str]:
    if before != after:
        yield f"{name}: {_short(before)} before, {_short(after)} after"


def _by_key(prefix: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    for key in dict.fromkeys([*before, *after]):
        yield from _changed(f"{prefix}{key}", before.get(key), after.get(key))


def _digests(results: Results) -> dict[str, str]:
    return {f"{s['role']} {s['name']}": s["digest"][:12] for s in results.run["splits"]}


def _attacks(results: Results) -> dict[str, object]:
    return {
        f"{attack['name']} {attack['norm']}": {**attack["params"], "budgets": attack["budgets"], "n": attack["n"]}
        for attack in results.run["attacks"]
    }  # fmt: skip


def _tree(path: str, before: object, after: object) -> Iterator[str]:
    """Leaves of the resolved suites that differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in dict.fromkeys([*before, *after]):
            yield from _tree(f"{path}.{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for place, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _tree(f"{path}[{place}]", one, other)
    else:
        yield from _changed(path, before, after)


def _short(value: object) -> str:
    if value is None or value == "":
        return "nothing"
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
