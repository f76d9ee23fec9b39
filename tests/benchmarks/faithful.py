"""Whether the fast curve is the curve: the default call beside `exact` and beside torchattacks.

    python tests/benchmarks/faithful.py --data-dir DIR [--images 1000] [--seeds 3]

The published LeNet-5 weights, PGD-40, six budgets. For each seed, in points of robust accuracy: the
largest distance of the default curve from `exact` with the same steps and starts (bar: 0.2), and the
most by which it lies above torchattacks in a loop at any budget (bar: 0.2; negative = below at all).
"""

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch starts its threads

import numpy as np
import peers
import torch
from attacks import BUDGETS, PUBLISHED, STEPS, Bed

from harness import security_curve


def main() -> None:
    """Print the table, row by row as it comes."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    bed = Bed(chosen.data_dir, chosen.images)
    print(f"{chosen.images} images, one thread\n")
    print("| model | seed | from exact, points | above torchattacks, points | gradients an image |")
    print("|---|---|---|---|---|", flush=True)
    for which in PUBLISHED:
        model = bed.models[which]
        peer = peers.torchattacks_pgd(model, bed.x, bed.y, BUDGETS, STEPS)
        for seed in range(chosen.seeds):
            ours = security_curve(model, bed.x, bed.y, budgets=BUDGETS, steps=STEPS, rng=seed)
            exact = security_curve(
                model, bed.x, bed.y, budgets=BUDGETS, steps=STEPS, rng=seed, mode="exact"
            )
            theirs = peer(seed)
            off = 100 * np.abs(ours.robust_accuracy - exact.robust_accuracy).max()
            above = 100 * (ours.robust_accuracy - theirs.robust).max()
            spent = [ours.gradients.mean(), exact.gradients.mean(), theirs.gradients]
            shown = " / ".join(f"{one:.1f}" for one in spent)
            print(f"| {which} | {seed} | {off:.2f} | {above:+.2f} | {shown} |", flush=True)


if __name__ == "__main__":
    main()
