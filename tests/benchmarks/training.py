"""One epoch of MNIST with LeNet-5, ours beside TorchUncertainty's ClassificationRoutine.

    pip install --no-deps --target TU torch-uncertainty==0.13.0 "lightning<2.7" lightning-utilities \\
        einops seaborn timm pyyaml huggingface_hub httpx2
    PYTHONPATH=TU python tests/benchmarks/training.py --data-dir DIR [--rounds 3] [--threads 1]

Both train the same network (TorchUncertainty's own LeNet, 6 and 16 filters) on the 60,000 images for
one epoch, and are scored on the 10,000 test images by us. The peer runs with its MNIST datamodule as
it comes, in batches of 128, except that it does not crop (`basic_augment=False`, which spares it work
and helps it in one epoch), with Adam at 1e-3 or at the best of --rates; ours runs at the batch and
rate that are best for one epoch, in float32 and in mixed precision (`harness.training.arithmetic`),
which pays where the processor multiplies bfloat16 natively. Rounds alternate, both have the same
cores, and the table has medians and the ratios of processor time to either of ours, the peer's
loading processes included, with wall time in brackets. A second table has the time of one gradient
with respect to the images, in turns: as PyTorch takes it, as training takes it in float32, and with
all passes written out, as attacks do.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import nn

from harness import models
from harness.attacks.gradients import Search, keep_memory, slope, written_out
from harness.core.rng import global_state
from harness.core.types import Split, Use, array_digest
from harness.data import Dataset, load
from harness.training import Arithmetic, Settings, train

SETTINGS = {  # the best for one epoch
    name: Settings(epochs=1, batch_size=256, learning_rate=2e-2, arithmetic=name)
    for name in get_args(Arithmetic)
}
Timed = tuple[float, float, float]
"""Seconds of processor and of wall time, and test accuracy."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="threads of the peer; we use one")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 3e-3], help="of the peer")
    return parser.parse_args()


def busy() -> float:
    """Seconds of processor time so far, of this process and of those it has ended."""
    return sum(os.times()[:4])


def accuracy(module: nn.Module, test: Split, mean: float = 0.0, std: float = 1.0) -> float:
    """Accuracy on the test images, normalised as the network was trained."""
    assert test.y is not None
    module.eval()
    with torch.no_grad():
        x = (torch.from_numpy(test.x) - mean) / std
        guess = torch.cat([module(part).argmax(1) for part in x.split(500)])
    return float((guess.numpy() == test.y).mean())


def network(seed: int) -> nn.Module:
    """TorchUncertainty's LeNet with the weights of a seed."""
    from torch_uncertainty.models.classification import lenet

    with global_state(seed):
        return lenet(1, 10)


def ours(data: Dataset, whole: Split, seed: int, arithmetic: Arithmetic) -> Timed:
    """Our loop, on one thread."""
    torch.set_num_threads(1)
    few = data.val.take(np.arange(1))  # the peer does not look at held-out images either
    start, wall = busy(), time.perf_counter()
    trained = train(network, whole, few, [], SETTINGS[arithmetic], seed=seed)
    taken, wall = busy() - start, time.perf_counter() - wall
    module = network(seed)
    module.load_state_dict(trained.state)
    return taken, wall, accuracy(module, data.test)


def peer(data: Dataset, chosen: argparse.Namespace, seed: int, rate: float) -> Timed:
    """TorchUncertainty's routine, trainer and datamodule; only `fit` is timed."""
    from torch_uncertainty import TUTrainer
    from torch_uncertainty.datamodules import MNISTDataModule
    from torch_uncertainty.routines import ClassificationRoutine

    torch.set_num_threads(chosen.threads)
    module = network(seed)
    routine = ClassificationRoutine(
        model=module,
        num_classes=10,
        loss=nn.CrossEntropyLoss(),
        optim_recipe=torch.optim.Adam(module.parameters(), lr=rate),
    )
    images = MNISTDataModule(chosen.data_dir, batch_size=128, basic_augment=False, pin_memory=False)
    with tempfile.TemporaryDirectory() as folder, global_state(seed):
        trainer = TUTrainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            limit_val_batches=0,
            num_sanity_val_steps=0,
            default_root_dir=folder,
        )
        start, wall = busy(), time.perf_counter()
        trainer.fit(routine, images)
        taken, wall = busy() - start, time.perf_counter() - wall
    return taken, wall, accuracy(module, data.test, images.mean[0], images.std[0])


def whole_training_set(data: Dataset) -> Split:
    """All 60,000 images, as the peer has them."""
    assert data.train.y is not None
    assert data.val.y is not None
    x, y = np.concatenate([data.train.x, data.val.x]), np.concatenate([data.train.y, data.val.y])
    return Split("mnist/all", x, y, array_digest(x, y), data.train.classes)


def epochs(data: Dataset, chosen: argparse.Namespace) -> list[str]:
    """Lines of the first table."""
    whole = whole_training_set(data)
    rows: dict[str, list[Timed]] = {}
    for seed in range(chosen.rounds):
        for arithmetic in SETTINGS:
            name = f"harness, {arithmetic}"
            rows.setdefault(name, []).append(ours(data, whole, seed, arithmetic))
        for rate in chosen.rates:
            name = f"TorchUncertainty, Adam {rate:g}"
            rows.setdefault(name, []).append(peer(data, chosen, seed, rate))
    seconds = {name: statistics.median(t for t, _, _ in runs) for name, runs in rows.items()}
    lines = [
        "| one epoch of MNIST | seconds (wall) | over float32 | over bfloat16 | test accuracy |",
        "|---|---|---|---|---|",
    ]
    for name, runs in rows.items():
        over = " | ".join(f"{seconds[name] / seconds[f'harness, {ours}']:.1f}" for ours in SETTINGS)
        wall, right = (statistics.median(run[i] for run in runs) for i in (1, 2))
        lines.append(f"| {name} | {seconds[name]:.2f} ({wall:.2f}) | {over} | {right:.4f} |")
    return lines


def gradients(rounds: int) -> list[str]:
    """Lines of the second table."""
    torch.set_num_threads(1)
    keep_memory()
    fresh = models.build(Use("lenet5"), num_classes=10, in_shape=(1, 28, 28), seed=0)
    plain = fresh.to(memory_format=torch.channels_last).requires_grad_(requires_grad=False)
    thin, rng = models.thin(plain), torch.Generator().manual_seed(0)
    x = torch.rand(128, 1, 28, 28, generator=rng)
    y = torch.randint(10, (128,), generator=rng)
    written = written_out(plain, x, torch.float32)
    assert written is not None
    forms: dict[str, Search] = {
        "as PyTorch does it": partial(slope, plain),
        "first convolution as a matrix product": partial(slope, thin),
        "all passes written out": written,
    }
    times: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(10 + 20 * rounds):
        for name, form in forms.items():
            start = time.process_time()
            form(x, y, "ce")
            times[name].append(1e3 * (time.process_time() - start))
    return [
        "| gradient of 128 images, LeNet-5, float32, one thread | ms |",
        "|---|---|",
        *(f"| {name} | {statistics.median(taken[10:]):.1f} |" for name, taken in times.items()),
    ]


def main() -> None:
    """Print both tables."""
    chosen = arguments()
    lines = epochs(load("mnist", chosen.data_dir), chosen)
    sys.stdout.write("\n".join([*lines, "", *gradients(chosen.rounds)]) + "\n")


if __name__ == "__main__":
    main()
