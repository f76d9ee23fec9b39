"""The numbers of the summary from per-sample outcomes, of one run or of several side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness.pairing.binned import binned_number
from harness.pairing.number import (
    Number,
    align,
    area_number,
    mean_number,
    proportion_number,
    shared,
)
from harness.pairing.samples import blocks

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pyarrow as pa

    from harness.pairing.number import Found, Key
    from harness.pairing.samples import Block

WORST, INSIDE = "worst", "id"
CASES = {
    "clean": (),
    "adversarial": ("norm", "attack"),
    "shift": ("corruption",),
    "ood": ("detector", "set"),
    "calibration": ("scaling",),
}


class Samples:
    """Per-sample outcomes by question.

    Args:
        runs: label of a run -> its tables of outcomes.
        key: (label, model) -> what the model is called here: its name, where there is one run.
    """

    def __init__(
        self,
        runs: Mapping[str, Mapping[str, pa.Table]],
        key: Callable[[str, str], Key] = lambda _, model: model,
    ) -> None:
        self._runs, self._key = runs, key
        self._read: dict[str, dict[tuple[Any, ...], dict[tuple[Key, int], Block]]] = {}

    def found(self, table: str, *case: str) -> Found:
        """Outcomes of one case by (model, seed), for example `found("adversarial", "linf", "pgd")`."""
        return self.cases(table).get(case, {})

    def cases(self, table: str) -> Mapping[tuple[Any, ...], Found]:
        """Outcomes of one table by case; the columns of a case are those of CASES."""
        if table not in self._read:
            self._read[table] = self._blocks(table)
        return self._read[table]

    def _blocks(self, table: str) -> dict[tuple[Any, ...], dict[tuple[Key, int], Block]]:
        read: dict[tuple[Any, ...], dict[tuple[Key, int], Block]] = {}
        for label, tables in self._runs.items():
            found = blocks(tables[table], "model", "seed", *CASES[table]) if table in tables else {}
            for (model, seed, *case), block in found.items():
                read.setdefault(tuple(case), {})[self._key(label, model), seed] = block
        return read


class Columns:
    """Makes the numbers of some models.

    Args:
        samples: where outcomes stand.
        keys: the models.
        seeds: a model counts as measured if it has all of these.
    """

    def __init__(self, samples: Samples, keys: Sequence[Key], seeds: Sequence[int]) -> None:
        self.samples, self.keys, self.seeds = samples, tuple(keys), tuple(seeds)

    def clean(self) -> Number:
        """Accuracy on unchanged test images."""
        found = {
            who: {"id": block["id"], "value": block["prediction"] == block["label"]}
            for who, block in self.samples.found("clean").items()
        }
        aligned = align(found, self.keys, self.seeds, "value")
        return proportion_number("clean accuracy", aligned, "value")

    def robust(
        self, budgets: Sequence[float], *, norm: str = "linf", attack: str = WORST
    ) -> Number:
        """Share of `budgets` at which an image stood, mean over images.

        A model whose images were not attacked up to the largest budget is not measured, and none is
        where there are no budgets.
        """
        return self._mean(
            "robust accuracy", "higher", self.stood(budgets, norm=norm, attack=attack)
        )

    def standing(self, eps: float, *, norm: str, attack: str) -> Number:
        """Share of the images that stand at one budget."""
        found = {
            who: {"id": block["id"], "value": block["value"] > 0}
            for who, block in self.stood([eps], norm=norm, attack=attack).items()
        }
        aligned = align(found, self.keys, self.seeds, "value")
        return proportion_number(f"robust accuracy at {eps:g}", aligned, "value")

    def stood(self, budgets: Sequence[float], *, norm: str = "linf", attack: str = WORST) -> Found:
        """Per image the share of `budgets` at which it stood, as column `value`."""
        return {
            who: {"id": block["id"], "value": _stood(block["first_broken"], budgets)}
            for who, block in self.samples.found("adversarial", norm, attack).items()
            if budgets and block["largest"].min() >= max(budgets)
        }

    def shift(self, corruptions: Sequence[str]) -> Number:
        """Accuracy on corrupted images, mean over the corruptions of each image."""
        cases = [self.samples.found("shift", name) for name in corruptions]
        whole = set.intersection(*(set(case) for case in cases)) if cases else set()
        found = {who: _mean_block([case[who] for case in cases]) for who in whole}
        return self._mean("accuracy under shift", "higher", found)

    def corrupted(self, corruption: str) -> Number:
        """Accuracy under one corruption."""
        aligned = align(self.samples.found("shift", corruption), self.keys, self.seeds, "correct")
        return proportion_number(f"accuracy under {corruption}", aligned, "correct")

    def across(self, key: Key, corruptions: Sequence[str]) -> Number:
        """Accuracy of one model under each corruption: the corruptions are what is compared."""
        found: dict[tuple[Key, int], Block] = {
            (name, seed): self.samples.found("shift", name)[key, seed]
            for name in corruptions
            for seed in self.seeds
            if (key, seed) in self.samples.found("shift", name)
        }
        aligned = align(found, corruptions, self.seeds, "correct")
        return proportion_number(f"accuracy of {key}", aligned, "correct")

    def brier(self, scaling: str = "none") -> Number:
        """Brier score."""
        return self._loss("Brier", "brier", scaling)

    def nll(self, scaling: str = "none") -> Number:
        """Negative log-likelihood, in nats."""
        return self._loss("NLL", "nll", scaling)

    def _loss(self, title: str, column: str, scaling: str) -> Number:
        found = {
            who: {"id": block["id"], "value": block[column]}
            for who, block in self.samples.found("calibration", scaling).items()
        }
        return self._mean(title, "lower", found)

    def binned(self, bins: int, scaling: str = "none") -> tuple[Number, Number]:
        """Expected and RMS calibration error."""
        found = self.samples.found("calibration", scaling)
        aligned = align(found, self.keys, self.seeds, "confidence", "correct")
        return (
            binned_number("ECE", "ece", aligned, bins),
            binned_number("RMS", "rms_calibration_error", aligned, bins),
        )

    def auroc(self, detector: str, name: str) -> Number:
        """AUROC of a detector on an OOD set."""
        inside = self.samples.found("ood", detector, INSIDE)
        outside = self.samples.found("ood", detector, name)
        both = [
            k for k in self.keys if all((k, s) in inside and (k, s) in outside for s in self.seeds)
        ]
        return area_number(
            f"AUROC {name}",
            align(inside, both, self.seeds, "score"),
            align(outside, both, self.seeds, "score"),
        )

    def _mean(self, title: str, better: Any, found: Found) -> Number:  # noqa: ANN401 -- a Better
        aligned = align(found, self.keys, self.seeds, "value")
        return mean_number(title, better, aligned, "value")


def _stood(first_broken: np.ndarray, budgets: Sequence[float]) -> np.ndarray:
    return (first_broken[:, None] > np.asarray(budgets)).mean(1)


def _mean_block(cases: Sequence[Block]) -> Block:
    ids = shared([case["id"] for case in cases])
    right = [case["correct"][np.searchsorted(case["id"], ids)] for case in cases]
    return {"id": ids, "value": np.mean(right, axis=0)}
