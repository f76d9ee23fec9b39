"""Made-up results that look like a run of the study, for the tests of everything that renders.

Every model is five latent numbers (skill, robustness, two OOD separations, sharpness); outcomes are
drawn from them, and the rows are computed from the outcomes, so that tables, figures and paired
tests agree with one another.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from harness.core.types import Row, case_text
from harness.results import Finding, LedgerRow, Part, Results, outcomes
from harness.results.exhibits import no_exhibits
from harness.results.gallery import adversarial, strips

if TYPE_CHECKING:
    import pyarrow as pa

CORRUPTIONS = [
    "shot_noise", "impulse_noise", "glass_blur", "motion_blur", "shear", "scale", "rotate",
    "brightness", "translate", "stripe", "fog", "spatter", "dotted_line", "zigzag", "canny_edges",
]  # fmt: skip
DROPS = [0.01, 0.05, 0.04, 0.06, 0.015, 0.05, 0.06, 0.01, 0.38, 0.11, 0.2, 0.015, 0.012, 0.09, 0.28]
DETECTORS = [
    "msp",
    "max_logit",
    "energy",
    "entropy",
    "odin",
    "mahalanobis",
    "knn",
    "vim",
    "react",
    "gen",
]
BUDGETS = {
    "linf": [0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5],
    "l2": [0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0],
}
TRAINING = [0.1, 0.2, 0.3]
ATTACKS = {
    ("fgsm", "linf"): 1.35,
    ("pgd", "linf"): 1.0,
    ("pgd_margin", "linf"): 0.98,
    ("pgd", "l2"): 9.0,
}
CLASSES = [str(digit) for digit in range(10)]
NASTY = "<img src=x onerror=alert(1)>|a"
NASTY_CLASSES = ["a|b", "two\nlines", "汉字", *CLASSES[3:]]


@dataclass(frozen=True)
class Latent:
    """One made-up model."""

    name: str
    family: str
    skill: float = 4.9
    radius: float = 0.06
    near: float = 2.6
    far: float = 3.2
    sharp: float = 1.0
    eps: float | None = None
    attack: str = ""
    members: int = 1


def study() -> list[Latent]:
    """The 25 models of the study."""
    models = [Latent("baseline", "Baseline"), Latent("large", "Large", 5.1, 0.08, 2.6, 2.9)]
    models += [
        Latent(f"ensemble {n}", "Ensemble", 5.0 + n / 40, 0.08 + n / 300, 2.75 + n / 50, 3.4 + n / 50, 1.0 - n / 40, members=n)
        for n in (3, 5, 10)
    ]  # fmt: skip
    for attack, title in (("fgsm", "FGSM"), ("pgd", "PGD")):
        models += [
            Latent(f"{title} {eps}", f"{title} training", 4.7 - 2 * eps, 0.06 + 1.2 * eps * (attack == "pgd" or eps < 0.3), 2.6, 3.1, 0.9, eps, attack)
            for eps in TRAINING
        ]  # fmt: skip
    models += [
        Latent(f"CutOut {what}", "CutOut", 4.95, 0.055, 2.8, 3.4) for what in ("1x8", "1x14", "4x6")
    ]
    models += [
        Latent(f"MixUp {alpha}", "MixUp", 4.9, 0.04, 2.2, 2.4, 0.5 - 0.1 * alpha)
        for alpha in (0.2, 0.5, 1)
    ]
    for augmentation in ("CutOut", "MixUp"):
        for title in ("FGSM", "PGD"):
            for order in (f"{augmentation} then {title}", f"{title} then {augmentation}"):
                sharp = 0.3 if order.startswith("MixUp") else 0.8
                models.append(Latent(order, "Combinations", 4.3, 0.33, 2.5, 2.9, sharp, 0.3, title.lower()))  # fmt: skip
    return models


def wilson(hits: float, n: int) -> tuple[float, float]:
    """95 % interval of a proportion."""
    p, z = hits / n, 1.959964
    centre, half = p + z * z / 2 / n, z * math.sqrt(p * (1 - p) / n + z * z / 4 / n / n)
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))


class Maker:
    """Draws outcomes of one run and collects rows, tables and exhibits."""

    def __init__(self, models: list[Latent], *, n: int, attacked: int, seeds: int, ood: tuple[str, ...], seed: int) -> None:  # fmt: skip
        self.models, self.n, self.attacked, self.ood = models, n, attacked, ood
        self.seeds = list(range(seeds))
        self.rng = np.random.default_rng(seed)
        self.rows: list[Row] = []
        self.tables: dict[str, list[dict[str, object]]] = {name: [] for name in outcomes.COLUMNS}
        self.exhibits = no_exhibits()
        self.labels = self.rng.integers(0, 10, n)
        self.hard = self.rng.normal(size=n)  # images differ: outcomes of models are correlated
        self.baseline_error: dict[tuple[int, str], float] = {}

    def row(self, latent: Latent, seed: int, axis, case, metric, value, low, high, n, better="higher", implementation="harness"):  # fmt: skip
        number = [None if part is None else float(part) for part in (value, low, high)]
        self.rows.append(
            Row("full", latent.name, latent.family, seed, axis, case, metric, implementation, *number, int(n), better, job=f"{axis}-{latent.name}-{seed}")
        )  # fmt: skip

    def share(self, latent, seed, axis, case, metric, hits):
        self.row(latent, seed, axis, case, metric, hits.mean(), *wilson(hits.sum(), len(hits)), len(hits))  # fmt: skip

    def keep(self, table: str, latent: Latent, seed: int, n: int, **columns):
        columns = {name: np.broadcast_to(value, n) for name, value in columns.items()}
        self.tables[table].append(
            {
                "model": np.full(n, latent.name),
                "seed": np.full(n, seed),
                "id": np.arange(n),
                **columns,
            }
        )

    def margin(self, latent: Latent, drop: float = 0.0) -> np.ndarray:
        base = latent.skill - 1.4 * self.hard - 10 * drop
        return base + self.rng.normal(size=self.n)

    def clean(self, latent: Latent, seed: int) -> np.ndarray:
        right = self.margin(latent) > 0.5
        wrong = (self.labels + 1) % 10
        self.keep("clean", latent, seed, self.n, label=self.labels, prediction=np.where(right, self.labels, wrong))  # fmt: skip
        self.share(latent, seed, "clean", "", "accuracy", right)
        return right

    def adversarial(self, latent: Latent, seed: int, right: np.ndarray) -> None:
        right = right[: self.attacked]
        strength = np.exp(
            0.35 * self.rng.normal(size=self.attacked) - 0.1 * self.hard[: self.attacked]
        )
        worst = np.full(self.attacked, np.inf)
        for (attack, norm), factor in ATTACKS.items():
            radius = (
                latent.radius
                * factor
                * strength
                * np.exp(0.03 * self.rng.normal(size=self.attacked))
            )
            if attack == "fgsm" and latent.attack == "fgsm":
                radius = radius * 1.5 + 0.2 * (latent.eps == 0.3)
            broken = self._first(radius, BUDGETS[norm], right)
            self._attack_rows(latent, seed, attack, norm, broken, BUDGETS[norm])
            worst = np.minimum(worst, broken) if norm == "linf" else worst
        self._attack_rows(latent, seed, "worst", "linf", worst, BUDGETS["linf"])
        share = np.mean([worst > eps for eps in TRAINING], axis=0)
        self._mean_row(latent, seed, "adversarial", case_text(attack="worst", norm="linf", eps="mean"), "robust_accuracy", share)  # fmt: skip
        if latent.attack:
            gap = 0.3 if latent.attack == "fgsm" else 0.01
            self.row(latent, seed, "adversarial", case_text(attack="unseen", norm="linf", eps="mean"), "robust_gap", gap, gap - 0.01, gap + 0.01, self.attacked, "lower")  # fmt: skip
        eps = latent.eps or 0.2
        few = min(200, self.attacked)
        square = np.where(
            worst[:few] > eps, np.inf, np.where(self.rng.random(few) < 0.8, eps, np.inf)
        )
        self._attack_rows(latent, seed, "square", "linf", np.where(right[:few], square, 0.0), [eps])

    @staticmethod
    def _first(radius: np.ndarray, budgets: list[float], right: np.ndarray) -> np.ndarray:
        grid = np.array([*budgets, np.inf])
        return np.where(right, grid[np.searchsorted(np.array(budgets), radius)], 0.0)

    def _attack_rows(self, latent, seed, attack, norm, broken, budgets):
        n = len(broken)
        self.keep("adversarial", latent, seed, n, norm=norm, attack=attack, first_broken=broken, largest=budgets[-1])  # fmt: skip
        for eps in budgets:
            self.share(latent, seed, "adversarial", case_text(attack=attack, norm=norm, eps=eps), "robust_accuracy", broken > eps)  # fmt: skip

    def _mean_row(self, latent, seed, axis, case, metric, values, better="higher"):
        half = 1.96 * values.std() / math.sqrt(len(values))
        mean = values.mean()
        self.row(
            latent, seed, axis, case, metric, mean, mean - half, mean + half, len(values), better
        )

    def shift(self, latent: Latent, seed: int) -> None:
        right = []
        for place, (corruption, drop) in enumerate(zip(CORRUPTIONS, DROPS, strict=True)):
            helped = 0.5 if latent.attack and place in (0, 1) else 1.0 + 0.6 * bool(latent.attack)
            found = self.margin(latent, min(0.55, drop * helped)) > 0.5
            self.keep("shift", latent, seed, self.n, corruption=corruption, correct=found)
            self.share(latent, seed, "shift", case_text(corruption=corruption), "accuracy", found)
            right.append(found)
        mean = np.mean(right, axis=0)
        self._mean_row(latent, seed, "shift", "corruption=mean", "accuracy", mean)
        errors = 1.001 - np.mean(right, axis=1)
        base = self.baseline_error.setdefault((seed, "all"), errors)
        ratio = float(np.mean(errors / base))
        self.row(latent, seed, "shift", "corruption=mean", "relative_error", ratio, ratio * 0.95, ratio * 1.05, self.n, "lower")  # fmt: skip

    def detect(self, latent: Latent, seed: int) -> None:
        for place, detector in enumerate(DETECTORS):
            score = {"id": self.rng.normal(size=self.n)}
            for near, name in zip((True, False), self.ood, strict=False):
                gap = (latent.near if near else latent.far) - 0.05 * abs(place - 2)
                score[name] = self.rng.normal(gap, 1.2, size=self.n)
            if not self.ood:
                return
            edges = np.linspace(
                min(map(np.min, score.values())), max(map(np.max, score.values())), 31
            )
            for name, found in score.items():
                self.keep("ood", latent, seed, self.n, detector=detector, set=name, score=found)
                count, _ = np.histogram(found, edges)
                self.exhibits["histograms"].append({"model": latent.name, "seed": seed, "detector": detector, "set": name, "edges": edges.round(5).tolist(), "count": count.tolist()})  # fmt: skip
            for name in self.ood:
                self._ood_rows(latent, seed, detector, name, score["id"], score[name])

    def _ood_rows(self, latent, seed, detector, name, inside, outside):
        case = case_text(set=name, detector=detector)
        thresholds = np.quantile(np.concatenate([inside, outside]), np.linspace(1, 0, 50))
        fpr = np.array([np.mean(inside >= t) for t in thresholds])
        tpr = np.array([np.mean(outside >= t) for t in thresholds])
        area = float(np.trapezoid([0, *tpr, 1], [0, *fpr, 1]))
        half = 1.2 * math.sqrt(area * (1 - area) / self.n)
        for metric, value, better in (("auroc", area, "higher"), ("aupr_out", area - 0.01, "higher"), ("aupr_in", area - 0.008, "higher"), ("fpr95", 2 * (1 - area), "lower")):  # fmt: skip
            self.row(latent, seed, "ood", case, metric, value, max(0, value - half), min(1, value + half), 2 * self.n, better)  # fmt: skip
        self.exhibits["roc"].append({"model": latent.name, "seed": seed, "detector": detector, "set": name, "fpr": fpr.round(4).tolist(), "tpr": tpr.round(4).tolist()})  # fmt: skip

    def calibration(self, latent: Latent, seed: int, right: np.ndarray) -> None:
        for scaling, temper in (("none", latent.sharp), ("temperature", 1.0)):
            logit = (
                4.5 * temper + 1.5 * right - 0.8 * self.hard + 0.5 * self.rng.normal(size=self.n)
            )
            confidence = 0.1 + 0.9 / (1 + np.exp(-logit))
            brier = np.where(right, (1 - confidence) ** 2, 1 + confidence**2) * 1.1
            nll = -np.log(np.where(right, confidence, (1 - confidence) / 9 + 1e-9))
            self.keep("calibration", latent, seed, self.n, scaling=scaling, confidence=confidence, correct=right, brier=brier, nll=nll)  # fmt: skip
            place = np.minimum((confidence * 15).astype(int), 14)
            count = np.bincount(place, minlength=15)
            mean = np.bincount(place, confidence, 15) / np.maximum(count, 1)
            accuracy = np.bincount(place, right, 15) / np.maximum(count, 1)
            ece = float(np.sum(count * np.abs(mean - accuracy)) / self.n)
            rms = float(np.sqrt(np.sum(count * (mean - accuracy) ** 2) / self.n))
            case = case_text(scaling=scaling)
            for metric, value in (("ece", ece), ("rms_calibration_error", rms), ("brier", brier.mean()), ("nll", nll.mean()), ("mce", 2 * rms)):  # fmt: skip
                self.row(latent, seed, "calibration", case, metric, value, value * 0.9, value * 1.12, self.n, "lower")  # fmt: skip
            self.row(latent, seed, "calibration", case, "ece", ece, ece * 0.9, ece * 1.12, self.n, "lower", "netcal")  # fmt: skip
            floor = 1.5 / math.sqrt(self.n) / 8
            self.row(latent, seed, "calibration", case, "ece_floor", floor, None, 1.6 * floor, self.n, "none")  # fmt: skip
            over = float(confidence.mean() - right.mean())
            self.row(latent, seed, "calibration", case, "overconfidence", over, over - 0.001, over + 0.001, self.n, "none")  # fmt: skip
            blank = [None if c == 0 else 1 for c in count]
            self.exhibits["reliability"].append({
                "model": latent.name, "seed": seed, "scaling": scaling, "temperature": 1.0 if scaling == "none" else 1.37,
                "confidence": [b and round(float(v), 5) for b, v in zip(blank, mean, strict=True)],
                "accuracy": [b and round(float(v), 5) for b, v in zip(blank, accuracy, strict=True)],
                "count": count.tolist(),
            })  # fmt: skip

    def train(self, latent: Latent, seed: int) -> None:
        epochs = np.arange(1, 7)
        probe = (latent.radius * 2 * epochs / 6).clip(0, 0.9)
        if latent.name == "FGSM 0.3":
            probe[3:] = 0.01
        self.exhibits["training"].append({"model": latent.name, "seed": seed, "epoch": epochs.tolist(), "loss": (1 / epochs).round(3).tolist(), "accuracy": (1 - 0.2 / epochs).round(3).tolist(), "probe": probe.round(3).tolist() if latent.attack else []})  # fmt: skip

    def all(self) -> None:
        for latent in self.models:
            for seed in self.seeds:
                right = self.clean(latent, seed)
                self.adversarial(latent, seed, right)
                self.shift(latent, seed)
                self.detect(latent, seed)
                self.calibration(latent, seed, right)
                self.train(latent, seed)

    def parquet(self) -> dict[str, pa.Table]:
        made = {}
        for name, chunks in self.tables.items():
            if chunks:
                columns = {key: np.concatenate([chunk[key] for chunk in chunks]) for key in outcomes.COLUMNS[name]}  # fmt: skip
                made[name] = outcomes.table(name, columns)
        return made


def make(
    *, models: list[Latent] | None = None, n: int = 500, attacked: int = 300, seeds: int = 1,
    ood: tuple[str, ...] = ("kmnist", "fashion-mnist"), faults: bool = True, nasty: bool = False, seed: int = 0,
) -> Results:  # fmt: skip
    """Results of a made-up run.

    Args:
        models: latent models; the 25 of the study when None.
        n: test images.
        attacked: images for attacks.
        seeds: number of seeds of the run.
        ood: names of the OOD sets, nearest first.
        faults: plant a failed job, void cells, flags.
        nasty: give the second model, a class and a message names that break naive renderers.
        seed: of the draw.
    """
    latents = models or study()
    if nasty:
        latents = [replace(m, name=NASTY) if place == min(1, len(latents) - 1) else m for place, m in enumerate(latents)]  # fmt: skip
    maker = Maker(latents, n=n, attacked=attacked, seeds=seeds, ood=ood, seed=seed)
    maker.all()
    classes = NASTY_CLASSES if nasty else CLASSES
    rows = [*maker.rows, *_differences(maker.rows, latents[0].name)]
    rows = _plant(rows, latents) if faults else rows
    return Results(
        rows=tuple(rows),
        run=_run(latents, maker, classes, faults=faults),
        outcomes=maker.parquet(),
        exhibits=maker.exhibits,
        galleries=_galleries(maker.rng, classes, latents, ood),
        ledger=tuple(_ledger(maker.rng, latents)),
        findings=tuple(_findings(maker.rng, latents)),
    )


def _differences(rows: list[Row], baseline: str) -> list[Row]:
    """Rows that hold a paired difference to the baseline instead of a value."""
    metrics = ("accuracy", "robust_accuracy", "auroc", "brier")
    known = {(r.seed, r.axis, r.case, r.metric): r.value for r in rows if r.model == baseline}
    made = []
    for row in rows:
        base = known.get((row.seed, row.axis, row.case, row.metric))
        if row.model != baseline and row.metric in metrics and base is not None:
            gap = row.value - base
            case = f"{row.case} versus=baseline".strip()
            made.append(replace(row, case=case, value=gap, low=gap - 0.02, high=gap + 0.02))
    return made


def _plant(rows: list[Row], latents: list[Latent]) -> list[Row]:
    """A failed job, and numbers that a check voids."""
    last, fgsm = latents[-1].name, [m.name for m in latents if m.family == "FGSM training"][-1:]

    def planted(row: Row) -> Row:
        if row.model == last and row.axis == "shift" and "zigzag" in row.case:
            return replace(row, value=None, low=None, high=None, status="failed", note="MemoryError: 3 GiB")  # fmt: skip
        if row.model == last and row.axis == "shift" and "mean" in row.case:
            return replace(row, value=None, low=None, high=None, status="failed", note="a corruption failed")  # fmt: skip
        if row.model in fgsm and row.axis == "adversarial" and "attack=worst" in row.case:
            return replace(row, status="void", flags=("H44",), note="Square is stronger than the white-box attacks")  # fmt: skip
        return row

    return [planted(row) for row in rows]


def _run(latents, maker, classes, *, faults):
    def model(latent):
        attack = f"{latent.attack} linf {latent.eps}" if latent.attack else "plain"
        return {
            "name": latent.name, "family": latent.family, "description": f"LeNet-5, {attack}", "parameters": 61706 * latent.members, "members": latent.members,
            "training": {"recipe": attack, "epochs": 6, "seconds": 18.0 * latent.members * (9 if latent.attack == "pgd" else 2 if latent.attack else 1), "passes": 12.0, "eps": latent.eps, "attack": latent.attack, "arithmetic": "float32", "note": "overfitted catastrophically (H91)" if latent.name == "FGSM 0.3" else ""},
            "weights": "ab" * 32,
        }  # fmt: skip

    def split(role, name, title, count, draw=""):
        return {"role": role, "name": name, "title": title, "n": count, "digest": "cd" * 32, "source": f"{title}, published files", "draw": draw}  # fmt: skip

    def attack(
        name, title, norm, *, headline, n=maker.attacked, budgets=None, knowledge="white box"
    ):
        return {"name": name, "title": title, "norm": norm, "params": {"steps": 40, "step_size": None, "restarts": 1}, "budgets": budgets or BUDGETS[norm], "n": n, "knowledge": knowledge, "goal": "untargeted", "headline": headline}  # fmt: skip

    def job(title, kind, status="ok", reason="", name=""):
        return {"title": title, "kind": kind, "status": status, "reason": reason, "model": name, "seconds": 3.5, "cached": False, "inputs": {"data": "cd" * 32}, "weights": ["ab" * 32], "data": {"mnist": "cd" * 32}, "replay": "harness run suites/full.yaml --only '*'"}  # fmt: skip

    last = latents[-1].name
    jobs = {f"{axis}-{m.name}-{seed}": job(f"{axis} of {m.name}", axis, name=m.name) for m in latents for seed in maker.seeds for axis in ("clean", "shift")}  # fmt: skip
    if faults:
        jobs[f"shift-{last}-0"] = job(f"zigzag of {last}", "predict", "failed", "MemoryError: 3 GiB wanted", last)  # fmt: skip
    check = {"explanation": "A gradient attack that a blind search beats has not done its work.", "cells": 25}  # fmt: skip
    checks = [
        {"id": "H44", "title": "white box at least as strong as black box", "level": "FAIL", "raised_if": "Square breaks samples that the white-box attacks did not.", "what_to_do": "Do not believe the robust accuracy; try a margin loss, restarts, more steps.", **check},
        {"id": "H64", "title": "enough samples", "level": "INFO", "raised_if": "n < 1000.", "what_to_do": "Read the intervals.", **check},
        {"id": "H83", "title": "ECE above its floor", "level": "INFO", "raised_if": "ECE is below the 96.5 % quantile of the calibrated null.", "what_to_do": "Do not rank by it.", **check},
    ]  # fmt: skip
    void = [m.name for m in latents if m.family == "FGSM training"][-1:]
    flags = [{"check": "H44", "level": "FAIL", "message": "Square removed 3.5 pp after white-box attacks: robustness is likely overestimated.", "model": name, "case": "attack=worst norm=linf eps=0.3"} for name in void]  # fmt: skip
    flags += [{"check": "H83", "level": "INFO", "message": "ECE is not distinguishable from that of a calibrated model.", "model": m.name, "case": "scaling=none"} for m in latents[:3]]  # fmt: skip
    roles = ["near OOD", "far OOD"]
    return {
        "suite": "full", "title": "Trade-offs between four kinds of safety", "question": "Which ways of training buy which kind of safety, and at what price on the others?",
        "dataset": "mnist", "classes": classes, "limit": None, "only": "", "seeds": maker.seeds, "baseline": latents[0].name, "headline_budgets": TRAINING,
        "models": [model(m) for m in latents], "corruptions": CORRUPTIONS,
        "splits": [split("training", "mnist/train", "MNIST", 54000), split("test", "mnist/test", "MNIST", maker.n), split("attacked", "mnist/attacked", "MNIST", maker.attacked, "seeded draw, stratified by class"), *[split(role, name, name, maker.n) for role, name in zip(roles, maker.ood, strict=False)]],
        "attacks": [attack("fgsm", "FGSM", "linf", headline=True), attack("pgd", "PGD", "linf", headline=True), attack("pgd_margin", "margin-loss PGD", "linf", headline=True), attack("pgd", "PGD", "l2", headline=False), attack("square", "Square", "linf", headline=False, n=200, budgets=TRAINING, knowledge="black box")],
        "detectors": [{"name": name, "title": name.replace("_", " "), "params": {}} for name in DETECTORS] if maker.ood else [], "headline_detector": "msp",
        "hardware": {"processor": "a processor", "cores": 2, "memory": 24 << 30, "device": "cpu", "system": "Linux 6.1"}, "versions": {"python": "3.11.7", "torch": "2.14.1", "numpy": "2.4.6"},
        "revision": "6c91980", "command": "harness run suites/full.yaml --data-dir data", "started": "2026-11-23T03:35:12Z", "seconds": 1834.2, "workers": 2, "memory": 1 << 30, "times": {"train": 2100.0, "attack": 900.0, "predict": 360.0, "score": 240.0},
        "jobs": jobs, "checks": checks if faults else [], "flags": flags if faults else [], "missing": ["pyautoattack is not installed: its attacks are not in the ledger."] if faults else [],
        "resolved": {"suite": "full", "budgets": BUDGETS, "seed": 0, "models": [m.name for m in latents]},
    }  # fmt: skip


def _digit(rng: np.random.Generator, n: int) -> np.ndarray:
    """(n, 1, 28, 28) strokes that look like something."""
    grid = np.linspace(-1, 1, 28)
    radius = np.hypot(*np.meshgrid(grid, grid))
    return np.stack([np.exp(-((radius - r) ** 2) / 0.02) for r in rng.uniform(0.3, 0.7, n)])[:, None].astype(np.float32)  # fmt: skip


def _galleries(rng, classes, latents, ood):
    clean = _digit(rng, 6)
    made = []
    for name, title in (("adversarial-fgsm", "FGSM"), ("adversarial-pgd", "PGD")):
        moved = (clean + 0.2 * rng.choice([-1, 1], clean.shape)).clip(0, 1)
        made.append(adversarial(name, f"{title}, L-inf, eps 0.2, against {latents[0].name}", clean=clean, result=moved, labels=classes[:6], predictions=classes[1:7]))  # fmt: skip
    made.append(strips("augmentation", "What the training sees", [(row, _digit(rng, 8), classes[:8]) for row in ("CutOut 1x14", "CutOut 4x6", "MixUp 0.5")]))  # fmt: skip
    if ood:
        made.append(strips("ood", "Out-of-distribution images", [(row, rng.random((8, 1, 28, 28)), [""] * 8) for row in ood]))  # fmt: skip
    made.append(strips("corruptions", "The corruptions", [("MNIST-C", _digit(rng, 8), CORRUPTIONS[:8]), ("", _digit(rng, 8), [*CORRUPTIONS[8:], "clean"])]))  # fmt: skip
    return tuple(made)


def _ledger(rng, latents):
    verdicts = ["identical", "equivalent", "explained", "different", "undecided", "not comparable", "missing", "failed"]  # fmt: skip
    peers = ["torchattacks", "art", "foolbox"]
    concepts = ["FGSM L-inf eps 0.1", "PGD L-inf eps 0.1", "PGD L2 eps 1", "BIM L-inf eps 0.1", "MI-FGSM L-inf eps 0.1", "CW L2", "DeepFool", "APGD-CE eps 0.1"]  # fmt: skip
    for place in range(60):
        verdict = verdicts[place % 8] if place % 3 == 2 else verdicts[place % 2]
        measured = verdict not in ("not comparable", "missing", "failed")
        gap = 0.0 if verdict == "identical" else float(rng.normal(0, 0.004)) + 0.04 * (verdict in ("different", "explained"))  # fmt: skip
        half = 0.0 if verdict == "identical" else 0.008
        yield LedgerRow(
            concepts[place % 8], "attack", "harness", peers[place % 3], latents[place % len(latents)].name, "lockstep" if place % 2 else "native", 64,
            abs(gap) if measured else None, 1 - abs(gap) if measured else None, gap if measured else None, gap - half if measured else None, gap + half if measured else None,
            0.2 if measured else None, verdict, "The library clips before it projects." if verdict == "explained" else "ModuleNotFoundError: no module" if verdict == "failed" else "",
            "art-l2-clip-before-ball" if verdict == "explained" else "", (0.4, 0.6), (40.0, 42.0), (40.0, 42.0), (0.0, abs(gap)) if measured else (None, None),
        )  # fmt: skip


IDS = [
    "R1",
    "R2",
    "R3",
    "R4",
    "S1",
    "S2",
    "S3",
    "S4",
    "S5",
    "S6",
    "O1",
    "O2",
    "O3",
    "O4",
    "O5",
    "C1",
    "C2",
    "C3",
    "T1",
    "T2",
]
AXES = {"R": "adversarial", "S": "shift", "O": "ood", "C": "calibration", "T": "trade-off"}


def _findings(rng, latents):
    for place, name in enumerate(IDS):
        effect = float(rng.normal(0.5, 2))
        parts = tuple(
            Part(f"{m.name} against {latents[0].name}", float(e), float(e) - 0.7, float(e) + 0.7, "holds" if e > 0.7 else "does not hold" if e < -0.7 else "undecided", 0.01)
            for m, e in zip(latents[1:9], rng.normal(effect, 1, 8), strict=False)
        )  # fmt: skip
        verdict = ["holds", "does not hold", "undecided"][place % 3]
        yield Finding(name, AXES[name[0]], f"Claim {name}: ensembles beat the baseline, larger ones more.", verdict, "every part must hold", effect, effect - 0.8, effect + 0.8, "points", parts, "The study used one seed." if place == 3 else "")  # fmt: skip
