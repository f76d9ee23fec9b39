"""Time of the fifteen corruptions on 10,000 images, on one core, beside the authors' generator.

    python tests/benchmarks/corruptions.py [--data-dir DIR] [--rounds 3]

The generator can't be run here (it needs ImageMagick and libraries of 2019): its total and, where it
was noted, its time for one corruption were measured once on another day. Ours is processor time, so
that a busy machine does not count; medians over the rounds. MNIST's test images where DIR has them,
else the digits that come with scikit-learn, repeated.
"""

import argparse
import os
import statistics
import sys
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before NumPy starts its threads

import numpy as np

from harness import corruptions
from harness.core.errors import DataError
from harness.core.rng import numpy_rng
from harness.data import load

COUNT = 10_000
PUBLISHED = {"glass_blur": 103.0, "fog": 8.0, "motion_blur": 7.0, "brightness": 3.0, "zigzag": 2.0}
PUBLISHED_TOTAL = 130.0


def images(data_dir: Path | None) -> tuple[str, np.ndarray]:
    """Name of the images, and 10,000 of them."""
    if data_dir is not None:
        try:
            return "MNIST", load("mnist", data_dir).test.x[:COUNT]
        except DataError as error:
            sys.stderr.write(f"{error}\n")
    x = load("digits", Path()).test.x
    return "digits, repeated", np.resize(x, (COUNT, *x.shape[1:]))


def seconds(name: str, x: np.ndarray, rounds: int) -> float:
    """Median processor time of a corruption."""
    times: list[float] = []
    for seed in range(rounds):
        start = time.process_time()
        getattr(corruptions, name)(x, rng=numpy_rng(seed))
        times.append(time.process_time() - start)
    return statistics.median(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    title, x = images(chosen.data_dir)
    taken = {name: seconds(name, x, chosen.rounds) for name in corruptions.MNIST_C}
    total = sum(taken.values())
    lines = [
        f"{COUNT:,} images ({title}), one core",
        "",
        "| corruption | ours, s | theirs, s | ratio |",
    ]
    lines.append("|---|---|---|---|")
    for name, ours in taken.items():
        theirs = PUBLISHED.get(name)
        shown = f"{theirs:.0f} | {theirs / ours:.0f}" if theirs else "below 2 |"
        lines.append(f"| {name} | {ours:.3f} | {shown} |")
    lines.append(f"| all | {total:.2f} | {PUBLISHED_TOTAL:.0f} | {PUBLISHED_TOTAL / total:.0f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
