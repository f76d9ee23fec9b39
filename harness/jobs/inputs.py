"""Splits as tensors, for the jobs that attack."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from harness.jobs.bench import Bench


@dataclass(frozen=True, slots=True)
class Images:
    """Labelled images on the bench's device.

    Args:
        x: (N, C, H, W) float32 in [0, 1].
        y: (N,) int64.
        ids: (N,) positions in the published split.
        digest: of the split.
    """

    x: torch.Tensor
    y: torch.Tensor
    ids: np.ndarray
    digest: str


def images(bench: Bench, reference: Mapping[str, Any]) -> Images:
    """The split of a reference, as tensors."""
    import torch

    split = bench.split(reference)
    assert split.y is not None, "only labelled splits are attacked"
    x, y = torch.from_numpy(split.x), torch.from_numpy(split.y)
    ids = np.arange(len(split)) if split.ids is None else split.ids
    return Images(x.to(bench.device), y.to(bench.device), ids, split.digest)
