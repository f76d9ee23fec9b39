"""Randomness as an argument: independent streams by name, and no global seeds.

A stream belongs to a seed and a path of names, so that adding a consumer never shifts the numbers
that another one draws.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator

    import torch


def derive(seed: int, *names: str | int) -> int:
    """Seed in [0, 2**63) of the stream `names` under `seed`; equal across machines.

    >>> derive(0, "train", "baseline") == derive(0, "train", "baseline")
    True
    >>> derive(0, "train", "baseline") == derive(0, "train", "large")
    False
    """
    text = "\x1f".join([str(int(seed)), *(str(name) for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def numpy_rng(seed: int, *names: str | int) -> np.random.Generator:
    """NumPy generator of the stream `names` under `seed`."""
    return np.random.Generator(np.random.PCG64(derive(seed, *names)))


def torch_rng(seed: int, *names: str | int) -> torch.Generator:
    """Torch generator (CPU) of the stream `names` under `seed`.

    Draw on the CPU and move the result, so that a GPU run starts from the same points.
    """
    import torch

    return torch.Generator().manual_seed(derive(seed, *names))


@contextlib.contextmanager
def global_state(seed: int) -> Generator[None]:
    """Seed the global generators of torch, NumPy and Python, and restore all of them afterwards.

    Only for wrapped libraries that leave no other way.
    """
    import random

    import torch

    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 -- saved and restored
    cuda = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=cuda):  # pyright: ignore[reportUnknownMemberType]
        try:
            torch.default_generator.manual_seed(seed)
            for device in cuda:
                torch.cuda.default_generators[device].manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002, TID251 -- restored below
            random.seed(seed)  # noqa: TID251 -- restored below
            yield
        finally:
            np.random.set_state(numpy)  # noqa: NPY002
            random.setstate(python)
