"""Which fault reproduces a number: on the arrays at hand, and on parts of them.

One number agrees with many faults by coincidence: an ECE is the same in 10 bins as in 15 wherever
the bins that merge err to one side. So a fault is held against the suspect on other arrays too, if
the suspect can be asked again; if not, all faults that are told apart there are named.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness.core.registry import registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Metric = Callable[..., float]
    Hypothesis = tuple[str, Metric]
    Arrays = tuple[np.ndarray, ...]
    Rows = Callable[[int], np.ndarray]

RELATIVE = 1e-6  # the same number, but for float32
CONFIRMED = 1e-4  # the same number on a part, where a rounded confidence may change its bin
NO_OP = 0.5  # of the difference, which a fault must take away
CHOSEN = tuple(float(one) for one in (*np.arange(1, 101) / 20, *range(6, 21), 25, 50, 100, 1000))
"""Temperatures as people choose them."""
FAR = 6  # standard deviations of what chance gives, beyond which a number is no chance
MOST = 4  # causes that are named where several remain
BATCHES = (16, 32, 50, 64, 100, 128, 200, 250, 256, 500, 512, 1000, 1024)


@dataclass(frozen=True, slots=True)
class Others:
    """Arrays that a fault is held against once it gives the number of those at hand.

    Args:
        same: with as many samples; a suspect may have their number written into it.
        fewer: with fewer samples, by which sizes of batches are told apart.
    """

    same: tuple[Arrays, ...]
    fewer: tuple[Arrays, ...] = ()


def named(
    value: float,
    ours: float | None,
    arrays: Arrays,
    hypotheses: Iterable[Hypothesis],
    others: Others,
    *,
    again: Metric | None = None,
    within: float = RELATIVE,
) -> str:
    """The fault that gives the suspect's number here and on every part, in words; or "".

    Args:
        value: what the suspect says of `arrays`.
        ours: what we say of them; a fault that changes nothing is none.
        arrays: that both were given.
        hypotheses: words and the function of the arrays that they describe, most likely first.
        others: other arrays of the same kind.
        again: the suspect, or None if it cannot be asked again.
        within: relative, of two numbers that are the same.
    """
    fitting: list[Hypothesis] = []
    for words, function in hypotheses:
        found = attempt(function, *arrays)
        if equal(value, found, within) and not _changes_nothing(value, found, ours):
            fitting.append((words, function))
    for parts in ((*others.same, *others.fewer), others.same):
        said = [None if again is None else attempt(again, *part) for part in parts]
        if found := _listed(_confirmed(fitting, parts, said, max(within, CONFIRMED))):
            return found
    return ""


def _confirmed(
    fitting: Sequence[Hypothesis],
    parts: Sequence[Arrays],
    said: Sequence[float | None],
    within: float,
) -> list[str]:
    """Those that agree with what was said of the parts; of those that nothing tells apart, the first.

    Where they differ in what stands in brackets alone, all stay: then that is not known.
    """
    distinct: list[tuple[str, list[float | None]]] = []
    for words, function in fitting:
        shown = [attempt(function, *part) for part in parts]
        agree = (b is None or equal(a, b, within) for a, b in zip(shown, said, strict=True))
        if all(agree) and not any(
            _alike(shown, known) and _head(words) != _head(one) for one, known in distinct
        ):
            distinct.append((words, shown))
    return [words for words, _ in distinct]


def _changes_nothing(value: float, found: float | None, ours: float | None) -> bool:
    if found is None or ours is None:
        return False
    return abs(value - found) >= NO_OP * abs(value - ours)


def _alike(a: Sequence[float | None], b: Sequence[float | None]) -> bool:
    return all(one == two or equal(one, two) for one, two in zip(a, b, strict=True))


def _head(words: str) -> str:
    return words.partition(" (")[0]


def _listed(words: Sequence[str]) -> str:
    """All of them; of those that differ in what stands in brackets, only what they share."""
    heads: dict[str, list[str]] = {}
    for one in words:
        heads.setdefault(_head(one), []).append(one)
    said = [full[0] if len(full) == 1 else head for head, full in heads.items()]
    return ", or ".join(said[:MOST])


def attempt(function: Metric, *arrays: np.ndarray) -> float | None:
    """Its finite value, or None if it has none."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            found = float(function(*arrays))
    except Exception:  # noqa: BLE001 -- a suspect raises what it likes, and a fault meets any array
        return None
    return found if math.isfinite(found) else None


def equal(a: float | None, b: float | None, within: float = RELATIVE) -> bool:
    """Whether there are two numbers and they are the same but for rounding."""
    return (
        a is not None
        and b is not None
        and math.isclose(a, b, rel_tol=within, abs_tol=1e-6 * within)
    )


def library_that_says(
    concept: str, value: float, arrays: Arrays, given: Mapping[str, int]
) -> Metric | None:
    """The registered metric of a library that says `value` of the arrays: it can be asked again."""
    for plug in registry.plugs("metric"):
        if plug.concept == concept and plug.library and plug.library.installed:
            taken = {one.name for one in plug.parameters}
            asked = applied(plug.function, **{key: given[key] for key in given if key in taken})
            if equal(value, attempt(asked, *arrays)):
                return asked
    return None


def in_random_order(
    value: float,
    metric: Metric,
    arrays: Arrays,
    shuffled: Callable[[np.random.Generator, Arrays], Arrays],
    others: Others,
    again: Metric | None,
) -> bool:
    """Whether the suspect's numbers are such as arrays in random order give, and ours are not."""
    said: list[tuple[float | None, Arrays]] = [(value, arrays)]
    if again is not None:
        said += [(attempt(again, *part), part) for part in others.same]
    return all(_by_chance(one, metric, part, shuffled) for one, part in said)


def _by_chance(
    value: float | None,
    metric: Metric,
    arrays: Arrays,
    shuffled: Callable[[np.random.Generator, Arrays], Arrays],
) -> bool:
    rng, ours = np.random.default_rng(0), attempt(metric, *arrays)
    found = [attempt(metric, *shuffled(rng, arrays)) for _ in range(30)]
    if value is None or ours is None or None in found:
        return False
    middle, spread = np.mean(np.array(found, float)), np.std(np.array(found, float))
    return bool(abs(value - middle) < 3 * spread and abs(ours - middle) > FAR * spread)


# ---------------------------------------------------------------- shared by all numbers


def applied(function: Metric, **given: int) -> Metric:
    """The function with its settings, so that only arrays are left to be handed over."""
    return lambda *arrays: float(function(*arrays, **given))


def composed(outer: Callable[[float], float], metric: Metric) -> Metric:
    """A function of the metric's value."""
    return lambda *arrays: outer(metric(*arrays))


UNITS: tuple[tuple[str, Callable[[float], float]], ...] = (
    ("the same number with the sign turned round", lambda v: -v),
    ("the same number in percent", lambda v: 100 * v),
    ("the same number as a fraction, where ours is in percent", lambda v: v / 100),
    ("the same number twice", lambda v: 2 * v),
    ("the same number halved", lambda v: v / 2),
    ("the same number squared: the root is missing", lambda v: v**2),
    ("the root of our number", math.sqrt),
)
SHAPES: tuple[tuple[str, Callable[[float], float]], ...] = (
    ("", lambda v: v),
    ("one minus ", lambda v: 1 - v),
    ("the root of ", math.sqrt),
    ("the square of ", lambda v: v**2),
)


MEANT = {
    "ece": ", the mean of the gaps",
    "mce": ", the largest gap of a bin",
    "rms_calibration_error": ", the root mean square of the gaps",
    "ace_average": ", the mean gap without weights",
}


def other_metrics(concept: str, bins: int | None = None) -> Iterator[Hypothesis]:
    """Every other metric that takes the same arrays, plain and put in another shape."""
    from harness.metrics import METRICS

    ranks = registry.get("metric", concept).meta["axis"] == "ood"
    for plug in registry.plugs("metric"):
        if plug.library or plug.concept == concept or (plug.meta["axis"] == "ood") != ranks:
            continue
        binned = any(one.name == "bins" for one in plug.parameters)
        metric = applied(plug.function, **({"bins": bins} if binned and bins else {}))
        title = METRICS[plug.concept].title if plug.concept in METRICS else plug.concept
        for shape, outer in SHAPES:
            words = f"it is {shape}{title}{MEANT.get(plug.concept, '')}: another metric"
            yield words, composed(outer, metric)


def sampled() -> Iterator[tuple[str, Rows]]:
    """Which rows are counted where a slice has a fault."""
    yield "the last sample is dropped", lambda n: np.arange(n - 1)
    yield "the first sample is dropped", lambda n: np.arange(1, n)
    yield "only every second sample is counted", lambda n: np.arange(0, n, 2)
    yield "only the first half of the samples is counted", lambda n: np.arange(n // 2)


def batched() -> Iterator[tuple[str, Rows]]:
    """Which rows are counted where a loop over batches has a fault."""
    for size in BATCHES:
        for words, rows in (
            ("the last batch is dropped", _without_last),
            ("the last batch is filled up with its last row", _filled_up),
            ("the last batch is filled up with the first rows", _wrapped),
            ("the last batch is counted twice", _repeated),
        ):
            yield f"{words} (batches of {size})", _of_size(rows, size)


def _of_size(rows: Callable[[int, int], np.ndarray], size: int) -> Rows:
    return lambda n: rows(n, size)


def _without_last(n: int, size: int) -> np.ndarray:
    return np.arange(n - n % size)


def _filled_up(n: int, size: int) -> np.ndarray:
    return np.minimum(np.arange(n + -n % size), n - 1)


def _wrapped(n: int, size: int) -> np.ndarray:
    return np.arange(n + -n % size) % n


def _repeated(n: int, size: int) -> np.ndarray:
    return np.concatenate([np.arange(n), np.arange(n - (n % size or size), n)])


def means_of_batches(metric: Metric, n: int) -> Iterator[Hypothesis]:
    """The metric of each batch, and the mean of these, where it is asked of all samples at once."""
    for size in BATCHES:
        if size < n:
            words = f"the mean over batches, not of all samples at once (batches of {size}"
            yield f"{words})", _mean_of_batches(metric, size, whole=False)
            yield f"{words}, the last one dropped)", _mean_of_batches(metric, size, whole=True)


def _mean_of_batches(metric: Metric, size: int, *, whole: bool) -> Metric:
    def mean(*arrays: np.ndarray) -> float:
        n = min(len(one) for one in arrays)
        starts = range(0, n - size + 1 if whole else n, size)
        return float(np.mean([metric(*(one[at : at + size] for one in arrays)) for at in starts]))

    return mean
