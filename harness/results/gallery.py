"""Example images of a report: a grid of tiles with captions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True, eq=False)
class Gallery:
    """A grid of images.

    Args:
        name: file name without suffix, lower case: "adversarial-fgsm", "augmentation", ...
        title: for people, says model and budget.
        tiles: (R, Q, C, H, W) float32 in [0, 1]; tiles of signed rows in [-1, 1].
        captions: R rows of Q captions, "" for none.
        rows: R titles at the left, or ().
        columns: Q titles on top, or ().
        signed: rows that show a perturbation: drawn with a diverging map round 0.
    """

    name: str
    title: str
    tiles: np.ndarray
    captions: tuple[tuple[str, ...], ...]
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    signed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        rows, columns = self.tiles.shape[:2]
        shape = (len(self.captions), *{len(line) for line in self.captions})
        if self.tiles.ndim != 5 or shape != (rows, columns):
            raise ValueError(f"tiles {self.tiles.shape} do not fit captions of shape {shape}")
        if len(self.rows) not in (0, rows) or len(self.columns) not in (0, columns):
            raise ValueError(f"gallery {self.name!r}: one title per row and column, or none")


def strips(
    name: str, title: str, strips: Sequence[tuple[str, np.ndarray, Sequence[str]]]
) -> Gallery:
    """A gallery of strips: one titled row of captioned images each.

    Args:
        name: file name without suffix.
        title: for people.
        strips: (row title or "", (Q, C, H, W) images in [0, 1], Q captions), equal Q throughout.
    """
    tiles = np.stack([np.asarray(images, np.float32) for _, images, _ in strips])
    captions = tuple(tuple(map(str, line)) for _, _, line in strips)
    rows = tuple(row for row, _, _ in strips)
    return Gallery(name, title, tiles, captions, rows=rows if any(rows) else ())


def adversarial(
    name: str,
    title: str,
    *,
    clean: np.ndarray,
    result: np.ndarray,
    labels: Sequence[str],
    predictions: Sequence[str],
) -> Gallery:
    """Clean images, perturbations and results of an attack, one image a column.

    Args:
        name: "adversarial-fgsm" or "adversarial-pgd".
        title: says attack, budget and model.
        clean: (Q, C, H, W) in [0, 1].
        result: (Q, C, H, W) in [0, 1].
        labels: Q true class names.
        predictions: Q class names predicted on `result`.
    """
    moved = result - clean
    tiles = np.stack([clean, moved, result]).astype(np.float32)
    sizes = tuple(f"at most {abs(one).max():.2g}" for one in moved)
    captions = (tuple(labels), sizes, tuple(predictions))
    return Gallery(name, title, tiles, captions, ("clean", "perturbation", "result"), (), (1,))
