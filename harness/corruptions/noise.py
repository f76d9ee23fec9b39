"""Shot noise and impulse noise: every pixel value draws for itself."""

from __future__ import annotations

import numpy as np

from harness.corruptions.levels import Levels, corruption, cut, setting


@corruption("shot_noise")
def shot_noise(levels: Levels, *, severity: int = 5, rng: np.random.Generator) -> Levels:
    """Poisson counts of so many photons at full brightness, fewer with severity.

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    photons = setting(severity, (60, 25, 12, 5, 3))
    lit = levels > 0  # a black pixel counts no photon: nothing to draw
    counts = rng.poisson(levels[lit] * (photons / 255))
    out = np.zeros_like(levels)
    out[lit] = cut(counts / photons)
    return out


@corruption("impulse_noise")
def impulse_noise(levels: Levels, *, severity: int = 4, rng: np.random.Generator) -> Levels:
    """A share of the values becomes black or white, evenly (salt and pepper).

    Source: MNIST-C (Mu and Gilmer 2019, arXiv:1906.02337), corruptions.py.
    """
    share = np.float32(setting(severity, (0.03, 0.06, 0.09, 0.17, 0.27)))
    draw = rng.random(levels.shape, dtype=np.float32)
    out = np.where(draw < share, np.uint8(0), levels)
    out[draw < share / 2] = 255
    return out
