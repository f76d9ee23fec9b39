"""Data that comes with installed packages: digits, and two OOD partners for them.

The files are read where scikit-learn and Matplotlib keep them: importing either takes longer than
everything else here.

Digits are bitmaps of 32 x 32 pixels, counted in blocks of 4 x 4 to 8 x 8 values of 0 to 16 (Alpaydin
and Kaynak 1998, UCI). They are enlarged to 28 x 28 by linear interpolation and rounded to 8 bits.
Letters are drawn as such bitmaps and then go the same way, so that no detector can tell them by
their making; patches are cut at 28 x 28.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.core.errors import InputError, MissingLibrary
from harness.core.registry import registry
from harness.core.rng import numpy_rng
from harness.core.types import Split, array_digest
from harness.data.drawing import drawn, held_out
from harness.data.idx import TEN
from harness.data.pixels import LUMA, Images, eight_bit, resized
from harness.data.sets import Dataset, Found

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image as Pillow

SIDE = 28
PILLOW = ("PIL", "_version.py")  # among the files of what Pillow draws or decodes: it may change
TESTED, HELD = 500, 97  # of 1,797 digits; 1,200 are left to train on
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
PATCHES = 300  # of the 660 that the photographs hold: the rest is sky and shade, all alike
FACES = (
    "DejaVuSans",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSerif",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralItalic",
    "cmss10",
)
INK = 0.305, 0.034  # mean and spread of the share of a digit's bitmap that is lit
LETTERS = "ACEFHJKLMNPRTUVWXY"  # without those that are nearly digits: B, D, G, I, O, Q, S, Z


def _installed(package: str, path: str) -> Path:
    """A file of an installed package, which is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingLibrary(package, {"sklearn": "scikit-learn"}.get(package, package))
    return Path(spec.origin).parent / path


# ------------------------------------------------------------------ digits


def survey_digits(data_dir: Path) -> Found:
    """Always there."""
    del data_dir
    file = _installed("sklearn", "datasets/data/digits.csv.gz")
    sizes = {"train": 1797 - TESTED - HELD, "val": HELD, "test": TESTED}
    return Found(sizes, (file,), "scikit-learn", "It comes with scikit-learn")


@registry.register("data", "digits", supplied=(), survey=survey_digits, obtain=survey_digits)
def digits(data_dir: Path) -> Dataset:
    """Handwritten digits of scikit-learn at 28 x 28: 1,200 to train on, 97 held out, 500 to test."""
    parts = {part: functools.partial(_digits, part) for part in survey_digits(data_dir).sizes}
    return Dataset("digits", TEN, "Alpaydin and Kaynak 1998, by way of scikit-learn", parts)


def _digits(part: str) -> Split:
    x, y = _all_digits()
    ids = _digit_ids(y)[part]
    return Split(f"digits/{part}", x[ids], y[ids], array_digest(x[ids], y[ids]), TEN, ids)


@functools.cache
def _all_digits() -> tuple[Images, NDArray[np.int64]]:
    table = np.loadtxt(_installed("sklearn", "datasets/data/digits.csv.gz"), delimiter=",")
    return enlarged(table[:, :64].reshape(-1, 8, 8)), table[:, 64].astype(np.int64)


def _digit_ids(y: NDArray[np.int64]) -> dict[str, NDArray[np.int64]]:
    """The fixed, stratified parts: test first, then validation out of the rest."""
    test = drawn(y, TESTED, numpy_rng(0, "digits", "test"))
    rest = np.setdiff1d(np.arange(len(y)), test)
    train, val = held_out(y[rest], HELD)
    return {"train": rest[train], "val": rest[val], "test": test}


def enlarged(counts: NDArray[np.floating]) -> Images:
    """(N, 1, 28, 28) images of (N, 8, 8) counts of 0 to 16."""
    return eight_bit(resized((counts / 16).astype(np.float32)[:, None], SIDE, SIDE))


# ------------------------------------------------------------------ letters


def survey_letters(data_dir: Path, *, count: int = 1000) -> Found:
    """Always there.

    Raises:
        InputError: fewer than one letter.
    """
    del data_dir
    if count < 1:
        raise InputError(f"count must be at least 1, got {count}")
    fonts = tuple(_installed("matplotlib", f"mpl-data/fonts/ttf/{face}.ttf") for face in FACES)
    return Found(
        {"test": count},
        (*fonts, _installed(*PILLOW)),
        "Matplotlib's fonts",
        "It comes with Matplotlib",
    )


@registry.register("data", "letters", supplied=(), survey=survey_letters, obtain=survey_letters)
def letters(data_dir: Path, *, count: int = 1000) -> Dataset:
    """Capital letters drawn as the digits were: near OOD for them. Made anew, always the same.

    Args:
        data_dir: not used.
        count: letters to draw.
    """
    *faces, _ = survey_letters(data_dir, count=count).files
    read = functools.partial(_letters, faces, count)
    return Dataset("letters", (), "drawn from Matplotlib's fonts", {"test": read})


def _letters(faces: Sequence[Path], count: int) -> Split:
    rng = numpy_rng(0, "letters")
    glyph = functools.cache(_glyph)
    bitmaps = np.stack(
        [
            _bitmap(glyph(faces[int(rng.integers(len(faces)))], LETTERS[i % len(LETTERS)]), rng)
            for i in range(count)
        ]
    )
    x = enlarged(bitmaps.reshape(count, 8, 4, 8, 4).sum((2, 4)))
    return Split("letters/test", x, None, array_digest(x, None))


def _glyph(face: Path, letter: str) -> Pillow.Image:
    """A letter in white on black, cut to its ink, about 140 pixels high."""
    from PIL import Image, ImageDraw, ImageFont

    page = Image.new("L", (400, 400))
    font = ImageFont.truetype(str(face), 192)
    ImageDraw.Draw(page).text((100, 50), letter, font=font, fill=255)
    return page.crop(page.getbbox())


def _bitmap(glyph: Pillow.Image, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(32, 32) bitmap of a letter, as large as the digits are, slanted, turned and moved a little."""
    from PIL import Image, ImageFilter

    height = rng.uniform(28, 32)
    width = height * min(glyph.width / glyph.height, 1) * rng.uniform(0.6, 0.85)
    turn, slant = rng.normal(0, 0.08), rng.normal(0, 0.15)
    # Pillow wants the map from the result to the source: undo the turn and slant, then the scale.
    across, down = glyph.width / width, glyph.height / height
    cos, sin = math.cos(turn), math.sin(turn)
    matrix = np.array([[across, across * slant], [0, down]]) @ [[cos, sin], [-sin, cos]]
    centre = 16 + rng.normal(0, 0.7, 2)  # pixels are squares, from 0 to 32
    offset = np.array([glyph.width / 2, glyph.height / 2]) - matrix @ centre
    data = (*matrix[0], offset[0], *matrix[1], offset[1])
    thin = glyph.transform((32, 32), Image.Transform.AFFINE, data, Image.Resampling.BILINEAR)
    soft = np.asarray(thin.filter(ImageFilter.GaussianBlur(1.5)))
    return soft > np.quantile(soft, 1 - rng.normal(*INK))  # a pen that uses as much ink as theirs


# ------------------------------------------------------------------ patches


def survey_patches(data_dir: Path) -> Found:
    """Always there."""
    del data_dir
    files = tuple(_installed("sklearn", f"datasets/images/{name}") for name in PHOTOGRAPHS)
    return Found(
        {"test": PATCHES},
        (*files, _installed(*PILLOW)),
        "scikit-learn",
        "It comes with scikit-learn",
    )


@registry.register("data", "patches", supplied=(), survey=survey_patches, obtain=survey_patches)
def patches(data_dir: Path) -> Dataset:
    """Grey patches of scikit-learn's two photographs, none overlapping: far OOD for digits.

    Of all that fit, those with the most contrast.
    """
    *files, _ = survey_patches(data_dir).files
    read = functools.partial(_patches, files)
    return Dataset("patches", (), "photographs that come with scikit-learn", {"test": read})


def _patches(files: Sequence[Path]) -> Split:
    from PIL import Image

    cut: list[NDArray[np.floating]] = []
    for file in files:
        grey = np.asarray(Image.open(file).convert("RGB")).astype(np.float32) @ (LUMA / 255)
        rows, columns = grey.shape[0] // SIDE, grey.shape[1] // SIDE
        tiles = grey[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE)
        cut.append(tiles.transpose(0, 2, 1, 3).reshape(-1, 1, SIDE, SIDE))
    whole = np.concatenate(cut)
    contrast = whole.std((1, 2, 3))
    x = eight_bit(whole[np.sort(np.argsort(-contrast, kind="stable")[:PATCHES])])
    return Split("patches/test", x, None, array_digest(x, None))
