"""netcal: calibration errors of the top label, and temperature scaling.

netcal is handed float64 confidences and their correctness, never (N, K) probabilities with labels:
in float32 it loses samples that lie on the edge of a bin, and labels with two values or fewer make
it assume a binary problem. What it is not handed, it cannot take wrongly: it accepts NaN, logits
and confidences above 1 in silence, so all of them are refused before.
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from harness.core.arrays import checked_probs, top_label
from harness.core.errors import InputError
from harness.core.registry import Library, registry

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Metric = Callable[..., float]

NETCAL = registry.library(Library("netcal", "netcal", "netcal", "1.4.0"))
LARGEST_RANGE = 30.0
"""Range of log-probabilities that survives netcal's clipping at 2.2e-16, whose log is -36."""


def _native(measure: str) -> Metric:
    """How the library's users call it: the model's own float32 probabilities, and labels."""

    def native(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
        return float(_metric(measure, bins).measure(probs, labels))

    return native


def _register(name: str, measure: str) -> Callable[[Metric], Metric]:
    return registry.register(
        "metric",
        f"netcal/{name}",
        library=NETCAL,
        native=_native(measure),
        better="lower",
        units="fraction",
        axis="calibration",
    )


def _metric(measure: str, bins: int):  # noqa: ANN202 -- a class of an untyped library
    import netcal.metrics

    return getattr(netcal.metrics, measure)(int(bins))


def _measured(measure: str, probs: np.ndarray, labels: np.ndarray, bins: int) -> float:
    return float(_metric(measure, bins).measure(*top_label(probs, labels)))


@_register("ece", "ECE")
def ece(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Expected calibration error by netcal; bins [a, b), the last closed."""
    return _measured("ECE", probs, labels, bins)


@_register("mce", "MCE")
def mce(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Maximum calibration error by netcal; bins [a, b), the last closed."""
    return _measured("MCE", probs, labels, bins)


@_register("ace_average", "ACE")
def ace_average(probs: np.ndarray, labels: np.ndarray, *, bins: int = 15) -> float:
    """Average calibration error by netcal: the unweighted mean over the bins that hold samples.

    netcal calls it ACE; the adaptive calibration error of the literature is another quantity.
    """
    return _measured("ACE", probs, labels, bins)


@contextmanager
def _quiet() -> Generator[None]:
    """Silence pyro's own use of what it deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "independent is deprecated", DeprecationWarning)
        yield


def _fitted(probs: np.ndarray, labels: np.ndarray) -> float:
    with _quiet():
        from netcal.scaling import TemperatureScaling

        scaling = TemperatureScaling()
        scaling.fit(probs, labels)
    return 1 / float(np.asarray(scaling.temperature).item())


@registry.register(
    "metric",
    "netcal/temperature",
    library=NETCAL,
    native=_fitted,
    better="none",
    units="",
    axis="calibration",
)
def temperature(probs: np.ndarray, labels: np.ndarray) -> float:
    """Temperature that minimises the negative log-likelihood, by netcal in float64.

    netcal's attribute of that name is its inverse.

    Args:
        probs: (N, K) softmax at temperature 1, each row within a factor of exp(LARGEST_RANGE).
        labels: (N,) integers in [0, K).

    Returns:
        T > 0 that the logits are to be divided by.

    Raises:
        InputError: netcal would lose the range by clipping, or take the problem for a binary one.
    """
    probs, labels = checked_probs(probs, labels)
    if probs.min() < np.exp(-LARGEST_RANGE):
        raise InputError(f"netcal clips probabilities as small as {probs.min():.1e}")
    if len(np.unique(labels)) <= 2:
        raise InputError("netcal takes two labels or fewer for a binary problem")
    return _fitted(probs, labels)
