"""Logits of a model on a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.core.errors import ModelError
from harness.jobs import Done

if TYPE_CHECKING:
    from harness.core.types import Job, Split
    from harness.jobs.bench import Bench


def perform(job: Job, bench: Bench) -> Done:
    """Arrays: logits (N, K) float32. Facts: n."""
    import torch

    split = bench.split(job.params["split"])
    model = bench.model(job.params["model"])
    batch = job.numerics["predict_batch"]
    parts: list[np.ndarray] = []
    with torch.inference_mode():
        for start in range(0, len(split), batch):
            x = torch.from_numpy(split.x[start : start + batch]).to(bench.device)
            parts.append(model(x).float().cpu().numpy())
            bench.progress((start + batch) / len(split))
    logits = np.concatenate(parts)
    _check(logits, split.y)
    arrays = {"logits": logits, "ids": _ids(split)}
    if split.y is not None:
        arrays["labels"] = split.y
    return Done(arrays, {"n": len(split), "split": split.digest, "images": split.name})


def _ids(split: Split) -> np.ndarray:
    return np.arange(len(split)) if split.ids is None else split.ids


def _check(logits: np.ndarray, labels: np.ndarray | None) -> None:
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits)).any(1).sum())
        raise ModelError(
            f"the model gives NaN or infinite outputs on {bad} of {len(logits)} images"
        )
    if labels is not None and labels.max() >= logits.shape[1]:
        raise ModelError(
            f"the model has {logits.shape[1]} outputs, but labels go up to {labels.max()}: "
            "build it for the data set's classes"
        )
