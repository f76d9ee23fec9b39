"""Per-sample outcomes of a made-up study, exact to the image, for the tests of findings.

The suite has the 25 models of the study under names that are not the study's, so that roles can
only be read off what a model is made of. Every model is a handful of numbers; outcomes nest (the
same images are easy for all models), so that a difference of the numbers is a difference beyond
noise, and equal numbers are equal outcomes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from harness.results import outcomes
from harness.suite import load

IMAGES = 1000
IDS = np.arange(IMAGES)
SUITE = """
data: digits
seeds: {seeds}
models:
  Plain: {{network: lenet5}}
  Wide: {{network: lenet5-large}}
  Committee: {{ensemble: Plain, size: {{each: [10, 3, 5]}}}}
  Sign: {{network: lenet5, train: {{use: fgsm, eps: {{each: [0.3, 0.1, 0.2]}}}}}}
  Climb: {{network: lenet5, train: {{use: pgd, eps: {{each: [0.1, 0.2, 0.3]}}}}}}
  Holes: {{network: lenet5, train: {{use: cutout, each: [{{count: 1, size: 8}}, {{count: 1, size: 14}}, {{count: 4, size: 6}}]}}}}
  Blend: {{network: lenet5, train: {{use: mixup, alpha: {{each: [0.2, 0.5, 1]}}}}}}
  HolesSign: {{network: lenet5, train: [&holes {{use: cutout, size: 14}}, &sign {{use: fgsm, eps: 0.3, portion: 0.5}}]}}
  SignHoles: {{network: lenet5, train: [*sign, *holes]}}
  HolesClimb: {{network: lenet5, train: [*holes, &climb {{use: pgd, eps: 0.3, portion: 0.5}}]}}
  ClimbHoles: {{network: lenet5, train: [*climb, *holes]}}
  BlendSign: {{network: lenet5, train: [&blend {{use: mixup, alpha: 0.5}}, *sign]}}
  SignBlend: {{network: lenet5, train: [*sign, *blend]}}
  BlendClimb: {{network: lenet5, train: [*blend, *climb]}}
  ClimbBlend: {{network: lenet5, train: [*climb, *blend]}}
attacks:
  sign: {{use: fgsm, eps: [0.1, 0.2, 0.3]}}
  climb: {{use: pgd, eps: [0.1, 0.2, 0.3]}}
shift: {{corruptions: all}}
ood: {{near: letters, far: patches, detectors: [msp, mls]}}
baseline: Plain
"""

ENSEMBLES = ("Committee 3", "Committee 5", "Committee 10")
ATTACKED = tuple(f"{name} {eps}" for name in ("Sign", "Climb") for eps in (0.1, 0.2, 0.3))
HOLES = ("Holes 1x8", "Holes 1x14", "Holes 4x6")
BLEND = ("Blend 0.2", "Blend 0.5", "Blend 1")
MIXED_FIRST = ("BlendSign", "BlendClimb")
COMBINED = (
    "HolesSign", "SignHoles", "HolesClimb", "ClimbHoles", *MIXED_FIRST, "SignBlend", "ClimbBlend",
)  # fmt: skip
CORRUPTIONS = ("fog", "impulse_noise", "stripe", "shear", "zigzag")
STEEP = {"fog": 0.3, "impulse_noise": 0.35, "stripe": 0.5}


@dataclass(frozen=True)
class Latent:
    """What is true of one model.

    Args:
        robust: share of images that stand at every budget.
        shift: accuracy under every corruption but those of `corruptions`.
        corruptions: name -> accuracy.
        near, far: AUROC of the maximum softmax; the logit's is the same plus `logit`.
        gap: confidence minus accuracy: the ECE and the RMS error.
        brier: Brier score.
        noise: > 0 shuffles the outcomes by this seed, so that they do not nest.
        own: accuracy under the attack that it was trained on; `robust` if None.
    """

    robust: float = 0.3
    shift: float = 0.9
    corruptions: dict[str, float] = field(default_factory=dict)
    near: float = 0.95
    far: float = 0.96
    logit: float = 0.0
    gap: float = 0.06
    brier: float = 0.02
    noise: int = 0
    own: float | None = None


def holding() -> dict[str, Latent]:
    """A world in which all twenty claims hold."""
    plain = Latent(corruptions=STEEP)
    world = {"Plain": plain}
    world["Wide"] = replace(
        plain, robust=0.33, shift=0.85, near=0.951, far=0.93, gap=0.07, brier=0.03
    )
    for place, name in enumerate(ENSEMBLES):
        up = 0.01 * (place + 1)
        world[name] = replace(
            plain, robust=0.3 + up, shift=0.9 + 2 * up, near=0.95 + up, far=0.96 + up,
            gap=0.06 - 0.6 * up, brier=0.02 - up / 3,
        )  # fmt: skip
    for place, name in enumerate(ATTACKED):
        down = 0.03 * (place % 3 + 1)
        corruptions = {**STEEP, "stripe": 0.55}
        world[name] = Latent(0.95, 0.86 - down, corruptions, 0.948, 0.958, gap=0.07, brier=0.03)
    for name in HOLES:
        world[name] = replace(plain, robust=0.25, near=0.97, far=0.98, gap=0.07, brier=0.03)
    for name in BLEND:
        world[name] = replace(plain, robust=0.15, near=0.92, far=0.93, gap=0.07, brier=0.03)
    for name in COMBINED:
        up = 0.02 * ("Holes" in name)
        world[name] = replace(
            plain, robust=0.93, shift=0.85, near=0.95 + up, far=0.96 + up, gap=0.07, brier=0.03
        )
    for name in MIXED_FIRST:
        world[name] = replace(world[name], gap=0.15, brier=0.15)
    return world


def suite(folder, seeds=(0,), text=SUITE):
    """The suite, resolved; `folder` takes the file."""
    path = folder / "made-up.yaml"
    path.write_text(text.format(seeds=list(seeds)))
    return load(path)


TABLES = ("adversarial", "shift", "ood", "calibration")


def tables(world: dict[str, Latent], seeds=(0,), only=TABLES):
    """Outcomes of a world, the same for every seed but where a model is noisy."""
    made: dict[str, list[dict[str, object]]] = {name: [] for name in only}
    for name, latent in world.items():
        for seed in seeds:
            for table in only:
                for columns in BLOCKS[table](latent, Draw(latent.noise, seed)):
                    made[table].append({"model": name, "seed": seed, "id": IDS, **columns})
    return {name: joined(name, parts) for name, parts in made.items()}


def joined(name: str, parts: list[dict[str, object]]):
    columns = {}
    for column in outcomes.COLUMNS[name]:
        filled = [np.broadcast_to(np.asarray(part[column]), len(part["id"])) for part in parts]
        columns[column] = np.concatenate(filled)
    return outcomes.table(name, columns)


class Draw:
    """Outcomes of one model and seed."""

    def __init__(self, noise: int, seed: int) -> None:
        self.rng = np.random.default_rng([noise, seed]) if noise else None

    def shuffled(self, values):
        return self.rng.permutation(values) if self.rng else values

    def hits(self, share: float):
        return self.shuffled(round(share * IMAGES) > IDS)


def adversarial(latent: Latent, draw: Draw):
    own = latent.robust if latent.own is None else latent.own
    for attack, share in (("worst", latent.robust), ("climb", latent.robust), ("sign", own)):
        broken = np.where(draw.hits(share), np.inf, 0.05)
        yield {"norm": "linf", "attack": attack, "first_broken": broken, "largest": 0.3}


def shift(latent: Latent, draw: Draw):
    for name in CORRUPTIONS:
        yield {"corruption": name, "correct": draw.hits(latent.corruptions.get(name, latent.shift))}


def ood(latent: Latent, draw: Draw):
    grid = (IDS + 0.5) / IMAGES
    for detector, extra in (("msp", 0.0), ("mls", latent.logit)):
        yield {"detector": detector, "set": "id", "score": draw.shuffled(grid)}
        for name, area in (("letters", latent.near), ("patches", latent.far)):
            # Two uniform grids, one moved by d, have the AUROC 1 - (1 - d)^2 / 2.
            moved = grid + 1 - np.sqrt(2 * (1 - area - extra))
            yield {"detector": detector, "set": name, "score": draw.shuffled(moved)}


def calibration(latent: Latent, draw: Draw):
    yield {
        "scaling": "none", "confidence": 0.8 + latent.gap, "correct": draw.hits(0.8),
        "brier": draw.hits(0.5) * 2 * latent.brier, "nll": 0.0,
    }  # fmt: skip


BLOCKS = {"adversarial": adversarial, "shift": shift, "ood": ood, "calibration": calibration}
