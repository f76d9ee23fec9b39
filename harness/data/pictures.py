"""Image files to arrays, through Pillow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.core.errors import DataError
from harness.data.pixels import resized

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

Mode = Literal["auto", "grey", "colour"]
Channels = Literal["L", "RGB"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")
GREY = ("L", "LA", "1")
COLOUR = ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr")


def mode_of(file: Path, mode: Mode) -> Channels:
    """Pillow's mode for a set of pictures whose first is `file`."""
    if mode == "auto":
        return "L" if _opened(file, None).ndim == 2 else "RGB"
    return "L" if mode == "grey" else "RGB"


def read_pictures(files: Sequence[Path], channels: Channels, size: int | None) -> NDArray[np.uint8]:
    """(N, H, W, C) pictures, resized to `size` x `size` if given.

    Raises:
        DataError: a file is no picture of 8 bits, or of another size than the first.
    """
    pictures = [_sized(_opened(file, channels), size) for file in files]
    for file, picture in zip(files, pictures, strict=True):
        if picture.shape != pictures[0].shape:
            raise DataError(
                f"{file}: {_by(picture)} pixels where {files[0]} has {_by(pictures[0])};"
                " give `size` to resize all"
            )
    stacked = np.stack(pictures)
    return stacked[..., None] if stacked.ndim == 3 else stacked


def _opened(file: Path, channels: Channels | None) -> NDArray[np.uint8]:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            if picture.mode not in GREY + COLOUR:
                raise DataError(
                    f"{file}: mode {picture.mode} has not 8 bits a channel; save as such"
                )
            mode = channels or ("L" if picture.mode in GREY else "RGB")
            return np.asarray(picture.convert(mode))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{file}: not a picture that Pillow can read ({error})") from error


def _sized(picture: NDArray[np.uint8], size: int | None) -> NDArray[np.uint8]:
    if size is None or picture.shape[:2] == (size, size):
        return picture
    planes = np.moveaxis(np.atleast_3d(picture), 2, 0).astype(np.float32)
    levels = np.rint(resized(planes, size, size)).astype(np.uint8)
    return np.moveaxis(levels, 0, 2).reshape(size, size, *picture.shape[2:])


def _by(picture: NDArray[np.uint8]) -> str:
    return f"{picture.shape[1]} x {picture.shape[0]}"
