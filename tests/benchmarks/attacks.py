"""Attacks on the published LeNet-5 weights: ours beside the libraries', in turns, on the same threads.

    python tests/benchmarks/attacks.py --data-dir DIR [--images 300] [--rounds 3] [--threads 2] [--only curve]

DIR holds MNIST and weights/mnist_lenet5_{cln,adv}trained.pt (AdverTorch). Seconds are processor
time, wall time in brackets; medians over the rounds, whose seeds differ. The ratio is of processor
time on one thread, of wall time on several. All have the same threads, images and module. Ours are the default calls with all their steps: the search
direction in the arithmetic that the processor's rule chooses, every success confirmed in float32.
A robust accuracy is the share of all images that are right before and after the attack; the last
column is the most by which ours lies above the peer's at any budget, in points.
"""

import argparse
import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import peers
import torch
from contest import HEAD, Contest, Found

from harness import models, security_curve
from harness.attacks.gradients import fastest
from harness.attacks.runner import run_attack
from harness.core.registry import registry
from harness.core.threat import Threat
from harness.core.types import Classifier, Use
from harness.data import load, stratified
from harness.training import Settings, train

BUDGETS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
STEPS = 40
PUBLISHED = {"standard": "mnist_lenet5_clntrained.pt", "adversarial": "mnist_lenet5_advtrained.pt"}


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of everybody")
    parser.add_argument("--only", default="", help=f"rows with this text in {list(ROWS)}")
    return parser.parse_args()


class Bed:
    """Images and models.

    Args:
        data_dir: where MNIST and the weights lie.
        images: how many test images, each class with its share.
    """

    def __init__(self, data_dir: Path, images: int) -> None:
        self.data = load("mnist", data_dir)
        shown = stratified(self.data.test, images, seed=0)
        assert shown.y is not None
        self.x, self.y = torch.from_numpy(shown.x), torch.from_numpy(shown.y)
        self.models = {
            which: published(data_dir / "weights" / PUBLISHED[which]) for which in PUBLISHED
        }

    def ensemble(self, members: int = 5) -> Classifier:
        """LeNet-5s trained for one epoch each, the first time."""
        if "ensemble" not in self.models:
            fresh = models.builder(Use("lenet5"), num_classes=10, in_shape=(1, 28, 28))
            few = self.data.val.take(np.arange(1))
            self.models["ensemble"] = models.Ensemble(
                [
                    models.freeze(fresh(seed), one.state)
                    for seed in range(members)
                    for one in [
                        train(fresh, self.data.train, few, [], Settings(epochs=1), seed=seed)
                    ]
                ]
            )
        return self.models["ensemble"]

    def few(self) -> "Bed":
        """The same models and eight images: to load the libraries before the clock runs."""
        bed = copy.copy(self)
        bed.x, bed.y = self.x[:8], self.y[:8]
        return bed


def published(weights: Path) -> Classifier:
    """One of AdverTorch's networks."""
    network = models.build(Use("advertorch-lenet5"), num_classes=10, in_shape=(1, 28, 28), seed=0)
    return models.freeze(network, models.load_weights(weights))


def curves(bed: Bed, which: str) -> Contest:
    """Six budgets at once, against each library's way to get them."""
    model, x, y = bed.models[which], bed.x, bed.y

    def ours(seed: int) -> Found:
        found = security_curve(model, x, y, budgets=BUDGETS, steps=STEPS, rng=seed)
        return Found(found.robust_accuracy, float(found.gradients.mean()))

    return Contest(
        f"security curve, six budgets, {which}",
        ours,
        {
            "torchattacks": peers.torchattacks_pgd(model, x, y, BUDGETS, STEPS),
            "ART": peers.art_pgd(model, x, y, BUDGETS, STEPS),
            "Foolbox": peers.foolbox_pgd(model, x, y, BUDGETS, STEPS),
        },
        {"torchattacks": 10, "ART": 10, "Foolbox": 10},
    )


def plug(
    bed: Bed, model: Classifier, name: str, eps: float, **params: object
) -> Callable[[int], Found]:
    """One of our attacks at one budget."""

    def work(seed: int) -> Found:
        found = run_attack(
            registry.get("attack", name),
            params,
            model,
            bed.x,
            bed.y,
            Threat("linf", eps),
            seed=seed,
        )
        return Found(np.array([1 - found.success.mean()]), found.backwards)

    return work


def final(bed: Bed, which: str, arithmetic: str, bar: float) -> Contest:
    """One start, all steps, the last iterate, with torchattacks' step."""
    model = bed.models[which]
    ours = plug(bed, model, "pgd", 0.3, steps=STEPS, step_size=0.01, arithmetic=arithmetic)
    peer = peers.torchattacks_pgd(model, bed.x, bed.y, [0.3], STEPS)
    title = f"PGD-40 at 0.3, final iterate, {arithmetic}, {which}"
    return Contest(title, ours, {"torchattacks": peer}, {"torchattacks": bar})


def apgd(bed: Bed) -> Contest:
    """APGD on cross-entropy, one start."""
    model, how = bed.models["adversarial"], {"steps": 100, "arithmetic": fastest()}
    ours = plug(bed, model, "apgd", 0.3, **how)
    peer = peers.official_apgd(model, bed.x, bed.y, 0.3, 100)
    title = "APGD-CE, 100 steps at 0.3, adversarial"
    return Contest(title, ours, {"pyautoattack": peer}, {"pyautoattack": 2})


def ensemble(bed: Bed, keep: str) -> Contest:
    """PGD on five networks, of which the libraries see one module."""
    model, how = bed.ensemble(), {"steps": STEPS, "step_size": 0.1 / 30, "arithmetic": fastest()}
    ours = plug(bed, model, "pgd", 0.1, keep=keep, **how)
    peer = peers.torchattacks_pgd(model, bed.x, bed.y, [0.1], STEPS)
    title = f"deep ensemble of 5, PGD-40 at 0.1, {keep} iterate"
    return Contest(title, ours, {"torchattacks": peer}, {"torchattacks": 3})


ROWS: Mapping[str, Callable[[Bed], Contest]] = {
    "curve standard": lambda bed: curves(bed, "standard"),
    "curve adversarial": lambda bed: curves(bed, "adversarial"),
    "final float32 standard": lambda bed: final(bed, "standard", "float32", 1.4),
    "final bfloat16 standard": lambda bed: final(bed, "standard", "bfloat16", 2.5),
    "final float32 adversarial": lambda bed: final(bed, "adversarial", "float32", 1.4),
    "final bfloat16 adversarial": lambda bed: final(bed, "adversarial", "bfloat16", 2.5),
    "apgd": apgd,
    "ensemble first": lambda bed: ensemble(bed, "first"),
    "ensemble final": lambda bed: ensemble(bed, "final"),
}


def main() -> None:
    """Print the table, row by row as it comes."""
    chosen = arguments()
    torch.set_num_threads(chosen.threads)
    bed = Bed(chosen.data_dir, chosen.images)
    threads = "one thread" if chosen.threads == 1 else f"{chosen.threads} threads"
    said = f"{chosen.images} images, {chosen.rounds} rounds, {threads}, {fastest()} for directions"
    print("\n".join([said, "", *HEAD]), flush=True)
    for title, contest in ROWS.items():
        if chosen.only in title:
            contest(bed.few()).held(1)
            print("\n".join(contest(bed).held(chosen.rounds, chosen.threads)), flush=True)


if __name__ == "__main__":
    main()
