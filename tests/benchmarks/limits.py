"""Where the time of a gradient goes, how far the machine is from its limit, and how cost grows.

    python tests/benchmarks/limits.py [--rounds 3]

One thread. The limit of a pass is its floating-point operations over the rate of a large matrix
product on the same core, in the same precision. Backward, all products count, also those with 0 that
a pooled layer leaves out. Networks have fresh weights: about every second ReLU lets something through,
as after training. The last table fits seconds a gradient = a * FLOP^b and says what ResNet-50 at
224 x 224 would take, which is an extrapolation over three orders of magnitude.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch starts its threads

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from harness import models, security_curve
from harness.attacks.gradients import Arithmetic, at_logits, search, written_out
from harness.core.rng import torch_rng
from harness.core.types import Classifier, Use

PRECISIONS: dict[Arithmetic, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}
RESNET50 = 4.1e9 * 2  # FLOP forward of one image at 224 x 224: 4.1 billion products and sums


def seconds(work: Callable[[], object], runs: int) -> float:
    """Median processor time, after one run that does not count."""
    times: list[float] = []
    for _ in range(1 + runs):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return statistics.median(times[1:])


def network(use: str = "advertorch-lenet5", side: int = 28, **params: object) -> Classifier:
    """A network with fresh weights."""
    built = models.build(Use(use, params), num_classes=10, in_shape=(1, side, side), seed=0)
    return models.freeze(built)


def batch(side: int = 28, count: int = 128) -> tuple[torch.Tensor, torch.Tensor]:
    """Images and labels of no meaning."""
    rng = torch_rng(0, "limits")
    x = torch.rand(count, 1, side, side, generator=rng)
    return x, torch.randint(10, (count,), generator=rng)


def flop(module: nn.Module, side: int = 28) -> float:
    """Floating-point operations of one image forward."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(torch.zeros(1, 1, side, side))
    return float(counter.get_total_flops())


def rate(dtype: torch.dtype, runs: int, side: int = 1024) -> float:
    """Floating-point operations a second of a large matrix product."""
    matrix = torch.ones(side, side, dtype=dtype)
    return 2 * side**3 / seconds(lambda: matrix @ matrix, runs)


def profile(runs: int) -> list[str]:
    """Forward, loss, backward of one gradient, beside the limit."""
    model, (x, y) = network(), batch()
    lines = [
        "| AdverTorch's LeNet-5, microseconds an image | forward | loss | backward | all | limit |",
        "|---|---|---|---|---|---|",
    ]
    for name, dtype in PRECISIONS.items():
        fast = written_out(model.module, x[:8], dtype)
        assert fast is not None
        program = fast.program
        with torch.no_grad():
            logits, _ = program.forward(x, keep=True)
            _, above = at_logits(logits, y, "ce")
            forward = seconds(lambda p=program: p.forward(x, keep=True), runs)
            loss = seconds(lambda given=logits: at_logits(given, y, "ce"), runs)
            # Backward uses up what forward keeps, so the two can only be timed together.
            both = seconds(
                lambda p=program, g=above: p.backward(p.forward(x, keep=True)[1], g), runs
            )
        limit = 2 * flop(model.module) / rate(dtype, runs)
        parts = [forward, loss, both - forward, both + loss]
        cells = [f"{1e6 * part / len(x):.0f}" for part in parts]
        lines.append(f"| {name} | {' | '.join(cells)} | {1e6 * limit:.0f} |")
    plain = search(model, x, "plain")
    whole = seconds(lambda: plain(x, y, "ce"), runs)
    return [*lines, f"| autograd | | | | {1e6 * whole / len(x):.0f} | |"]


def growth(runs: int) -> list[str]:
    """Seconds of a whole curve as one thing grows at a time."""
    budgets = tuple(np.linspace(0.05, 0.3, 6))

    def curve(model: Classifier, images: int, some: tuple[float, ...]) -> float:
        x, _ = batch(count=images)
        with torch.no_grad():
            y = model(x).argmax(1)  # all right, so that all are attacked
        return seconds(lambda: security_curve(model, x, y, budgets=some), runs)

    def of(count: int) -> Classifier:
        return models.Ensemble([network("lenet5") for _ in range(count)])

    one = network("lenet5")
    grown = {
        "images": {n: curve(one, n, budgets) for n in (32, 64, 128, 256)},
        "budgets": {n: curve(one, 64, budgets[:n]) for n in (1, 2, 4, 6)},
        "models": {n: curve(of(n), 32, budgets) for n in (1, 2, 4, 8)},
    }
    lines = ["| growing | seconds of a curve at each size | exponent |", "|---|---|---|"]
    for name, found in grown.items():
        exponent = np.polyfit(np.log(list(found)), np.log(list(found.values())), 1)[0]
        shown = ", ".join(f"{size}: {taken:.2f}" for size, taken in found.items())
        lines.append(f"| {name} | {shown} | {exponent:.2f} |")
    return lines


def sizes(runs: int) -> list[str]:
    """Cost of a gradient over image size and filters, fitted to the operations it takes."""
    tried = {
        f"{side} x {side}, filters {first}, {second}": (side, (first, second))
        for side, first, second in ((28, 16, 32), (28, 32, 64), (56, 32, 64), (112, 32, 64))
    }
    lines = ["| LeNet-5 | MFLOP forward | ms a gradient |", "|---|---|---|"]
    work, taken = [], []
    for title, (side, filters) in tried.items():
        model, (x, y) = network(side=side, channels=list(filters)), batch(side, 32)
        slopes = search(model, x, "bfloat16")
        work.append(flop(model.module, side))
        taken.append(seconds(lambda s=slopes, x=x, y=y: s(x, y, "ce"), runs) / len(x))
        lines.append(f"| {title} | {work[-1] / 1e6:.1f} | {1e3 * taken[-1]:.3f} |")
    exponent, scale = np.polyfit(np.log(work), np.log(taken), 1)
    resnet = float(np.exp(scale)) * RESNET50**exponent
    hours = resnet * 50 * 1000 / 3600
    return [
        *lines,
        "",
        f"Seconds a gradient = {np.exp(scale):.2g} * FLOP^{exponent:.2f}. ResNet-50 at 224 x 224 "
        f"({RESNET50 / 1e9:.1f} GFLOP): {resnet:.2g} s a gradient, {hours:.2g} hours for 1,000 images "
        "of 50 gradients, on one core.",
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, help="not needed: taken for the common command")
    parser.add_argument("--rounds", type=int, default=3)
    runs = parser.parse_args().rounds
    torch.set_num_threads(1)
    rates = ", ".join(
        f"{rate(dtype, 5 * runs) / 1e9:.0f} in {name}" for name, dtype in PRECISIONS.items()
    )
    print(f"Matrix product of 1,024 x 1,024 on one core, GFLOP/s: {rates}\n")
    for table in (profile, growth, sizes):
        print("\n".join([*table(runs if table is growth else 5 * runs), ""]), flush=True)


if __name__ == "__main__":
    main()
