"""The corruptions of MNIST-C, vectorised over the batch, so that any data set can be corrupted.

    from harness.corruptions import MNIST_C, corrupt

    foggy = corrupt(split, "fog", {}, seed=0)

Settings, order of operations and rounding are those of the authors' generator at its published
defaults (`severity` takes the generator's other settings, where it has several). Where nothing is
random, and for every angle, direction or line that can be drawn, an MNIST image comes out as the
generator makes it, to the level. Lengths in pixels are those of 28 x 28 images at any size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.core.registry import registry
from harness.core.rng import numpy_rng
from harness.core.types import Split, array_digest
from harness.corruptions.affine import rotate, scale, shear, translate
from harness.corruptions.blur import glass_blur, motion_blur
from harness.corruptions.edges import canny_edges
from harness.corruptions.noise import impulse_noise, shot_noise
from harness.corruptions.strokes import dotted_line, stripe, zigzag
from harness.corruptions.weather import brightness, fog, spatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from harness.corruptions.levels import Images

__all__ = [
    "MNIST_C",
    "brightness",
    "canny_edges",
    "corrupt",
    "dotted_line",
    "fog",
    "glass_blur",
    "identity",
    "impulse_noise",
    "motion_blur",
    "rotate",
    "scale",
    "shear",
    "shot_noise",
    "spatter",
    "stripe",
    "translate",
    "zigzag",
]

MNIST_C = (
    "shot_noise",
    "impulse_noise",
    "glass_blur",
    "motion_blur",
    "shear",
    "scale",
    "rotate",
    "brightness",
    "translate",
    "stripe",
    "fog",
    "spatter",
    "dotted_line",
    "zigzag",
    "canny_edges",
)
"""The fifteen, in the published order."""


@registry.register("corruption", "identity")
def identity(x: Images, *, rng: np.random.Generator) -> Images:
    """The images as they are: accuracy must equal clean accuracy exactly (check H80)."""
    del rng
    return x


def corrupt(split: Split, name: str, params: Mapping[str, Any], seed: int) -> Split:
    """`split` under the corruption `name`; labels, classes and ids stay.

    Every corruption draws from its own stream under `seed`, so that the images do not depend on
    which others are asked for. The draw belongs to the whole split: corrupt first, then take rows.

    Args:
        split: images (N, 1 or 3, H, W).
        name: a registered corruption.
        params: its parameters; what is missing takes its default.
        seed: the run's seed.

    Raises:
        InputError: no such corruption, parameter or severity, or images it cannot take.
    """
    plug = registry.get("corruption", name).require()
    rng = numpy_rng(seed, "corruption", name)
    x = plug.function(split.x, **plug.complete(params), rng=rng)
    return Split(
        f"{split.name}/{name}", x, split.y, array_digest(x, split.y), split.classes, split.ids
    )
