"""What a data set is, and what is on disk of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Literal

from harness.core.errors import DataError
from harness.data.drawing import Ids, held_out, twelfth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    import numpy as np

    from harness.core.types import Split

Part = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Dataset:
    """A data set; each part is read when it is first asked for, so that an OOD set costs its test.

    Args:
        name: how reports call it, for example "mnist".
        classes: names of the K classes; empty where images have no labels.
        source: who made it, in a line.
        parts: how each part that is there is read.
    """

    name: str
    classes: tuple[str, ...]
    source: str
    parts: Mapping[str, Callable[[], Split]]

    @cached_property
    def train(self) -> Split | None:
        """The images to train on, without those held out; None where only a test set is there."""
        return self.parts["train"]() if "train" in self.parts else None

    @cached_property
    def val(self) -> Split | None:
        """The images for every choice, held out of training; None as for `train`."""
        return self.parts["val"]() if "val" in self.parts else None

    @cached_property
    def test(self) -> Split:
        """The images to measure on."""
        return self.parts["test"]()


@dataclass(frozen=True, slots=True)
class Found:
    """What is on disk of a data set; only names and headers of files are looked at.

    Args:
        sizes: images in each part that is there; empty when nothing is.
        files: what the images are read from.
        where: the place looked at.
        how: how to get it.
    """

    sizes: Mapping[str, int]
    files: tuple[Path, ...]
    where: str
    how: str


def sizes_of(stored: Mapping[str, int]) -> dict[str, int]:
    """Images in each part, once validation is held out of a training part that has none beside."""
    if "train" not in stored or "val" in stored:
        return dict(stored)
    held = twelfth(stored["train"])
    return {**stored, "train": stored["train"] - held, "val": held}


def parts_of(
    stored: Iterable[str],
    labels: Callable[[str], np.ndarray | None],
    read: Callable[[str, str, Ids | None], Split],
) -> dict[str, Callable[[], Split]]:
    """How each part is read, by the rule of `sizes_of`.

    Args:
        stored: the parts on disk.
        labels: of a stored part.
        read: (stored part, part, positions or None for all) -> split.
    """
    stored = tuple(stored)

    def share(index: int, part: str) -> Split:
        known = labels("train")
        assert known is not None, "images to train on have labels"
        return read("train", part, held_out(known.reshape(len(known)))[index])

    parts = {part: partial(read, part, part, None) for part in stored}
    if "train" in stored and "val" not in stored:
        parts |= {"train": partial(share, 0, "train"), "val": partial(share, 1, "val")}
    return parts


class Unreachable(Exception):
    """A download failed for want of a network or of the file."""


def obtained(
    name: str, look: Callable[[], Found], fetch: Callable[[], None] | None = None
) -> Found:
    """What is on disk of a data set, after a download if nothing was.

    Args:
        name: of the data set.
        look: what is on disk now.
        fetch: the download, or None.

    Raises:
        DataError: nothing is there and nothing came.
    """
    found, reason = look(), ""
    if not found.sizes and fetch:
        try:
            fetch()
        except Unreachable as error:
            reason = f" The download failed: {error}."
        found = look()
    if not found.sizes:
        raise DataError(
            f"{name} is not in {found.where}.{reason} {found.how}."
            " Or run with --data digits, which needs neither files nor a network."
        )
    return found
