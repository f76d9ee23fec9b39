"""The probable cause of other scores than ours, of the same samples.

Scores are many, so a coincidence is no matter here: a fault must give every one of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize, special

from harness.crosscheck.diagnosis.reproduced import BATCHES, CHOSEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Change = Callable[[np.ndarray], np.ndarray]

RELATIVE = 1e-5  # of the spread of the scores: the same, but for float32
ORDERED = 0.999  # rank correlation of scores on another scale
BLOCK = 0.95  # of the rows between the first and the last that differ, which are then a block
START = 16  # rows that a straight line is drawn through
PART = 0.2  # of the rows that are ours, from which on it is asked where the others are
SHOWN = 5  # rows that are named
CLOSE = 1e-8  # of the spread of all classes, of which some is near by chance
DECIMALS = range(1, 7)


def scores(
    ours: np.ndarray,
    theirs: np.ndarray,
    *,
    logits: np.ndarray | None = None,
    others: Iterable[tuple[str, np.ndarray]] = (),
) -> str:
    """Why a detector's scores are not ours, in words; "" if they are the same or nothing fits.

    Args:
        ours: (N,) scores, higher = more OOD.
        theirs: (N,) scores of the suspect, of the same samples.
        logits: (N, K) of these samples, from which other scores are computed.
        others: names and (N,) scores of other detectors; computed when asked for.
    """
    if ours.shape != theirs.shape:
        return (
            f"it has {len(theirs)} scores for {len(ours)} samples: samples are dropped or repeated"
        )
    if bad := np.flatnonzero(~np.isfinite(theirs)).tolist():
        return f"{len(bad)} of its {len(theirs)} scores are not finite: {_rows(bad)}"
    if _same(ours, theirs, max(float(np.ptp(ours)), 1e-12)):
        return ""
    if np.ptp(theirs) == 0:
        return "all its scores are equal"
    logits = None if logits is None else logits.astype(np.float64)
    return (
        _same_numbers(ours, theirs)
        or _linear(ours, theirs)
        or _rounded(ours, theirs)
        or _partly(ours, theirs, logits)
        or _another(theirs, logits, others)
        or _in_pieces(ours, theirs)
        or _batch_by_batch(ours, theirs)
        or _related(ours, theirs)
    )


def _same(a: np.ndarray, b: np.ndarray, spread: float) -> bool:
    return float(np.abs(a - b).max()) <= RELATIVE * spread


def _line(a: np.ndarray, b: np.ndarray) -> tuple[float, float] | None:
    """(slope, offset) of b on a, or None if it is not a straight line."""
    if not np.isfinite(a).all() or np.ptp(a) <= 1e-12 * np.abs(a).max() or np.ptp(b) == 0:
        return None
    centre = a.mean()
    slope, level = np.polyfit(a - centre, b, 1)
    if not _same(slope * (a - centre) + level, b, float(np.ptp(b))):
        return None
    return float(slope), float(level - slope * centre)


def _said(line: tuple[float, float]) -> str:
    slope, offset = line
    times = "" if abs(slope - 1) <= RELATIVE else f"{slope:.4g} times "
    return f"{times}ours {'+' if offset >= 0 else '-'} {abs(offset):.4g}"


def _rows(rows: list[int]) -> str:
    more = ", ..." if len(rows) > SHOWN else ""
    return f"row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows[:SHOWN]))}{more}"


# ---------------------------------------------------------------- our scores, changed as a whole


def _same_numbers(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Our scores but for the sign, or in another order."""
    spread = max(float(np.ptp(ours)), 1e-12)
    if _same(-ours, theirs, spread):
        return "the sign of the score is flipped"
    if not _same(np.sort(ours), np.sort(theirs), spread):
        return ""
    for shift in (1, -1):
        if _same(np.roll(ours, shift), theirs, spread):
            where = "before" if shift == 1 else "after"
            return f"the scores stand in another order than the samples (each is that of the row {where})"
    if _same(ours[::-1], theirs, spread):
        return "the scores stand in another order than the samples (reversed)"
    return "the scores stand in another order than the samples (shuffled)"


def _linear(ours: np.ndarray, theirs: np.ndarray) -> str:
    line = _line(ours, theirs)
    if line is None:
        return ""
    if abs(line[0] - 1) <= RELATIVE:
        classes = np.exp(abs(line[1]))
        mean = abs(classes - round(classes)) < 1e-6 * classes and classes < 1e5
        why = f", log({classes:.0f}): a mean of so many where ours sums, or the reverse" if mean else ""  # fmt: skip
        return f"its scores are {_said(line)}: a constant is added, which changes no ranking{why}"
    flip = ", and the sign of the score is flipped" if line[0] < 0 else ""
    return f"its scores are {_said(line)}: other units or temperature{flip}"


def _rounded(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Our scores with fewer digits, or cut at an end."""
    with np.errstate(over="ignore"):
        half = theirs.astype(np.float16).astype(np.float64)
    if (half == theirs).all() and _same(ours, theirs, 1e3 * float(np.ptp(ours))):
        return "its scores are rounded to half precision: more of them tie"
    for count in DECIMALS:
        if _same(ours.round(count), theirs, 1e-3 * 10.0**-count):
            return f"its scores are rounded to {10.0**-count:g}: more of them tie"
    low, high = float(theirs.min()), float(theirs.max())
    if not _same(ours.clip(low, high), theirs, float(np.ptp(ours))):
        return ""
    above, below = high < ours.max() - RELATIVE, low > ours.min() + RELATIVE
    ends = {(True, True): f"to [{low:.4g}, {high:.4g}]", (True, False): f"at {high:.4g} from above"}
    return f"its scores are cut {ends.get((above, below), f'at {low:.4g} from below')}: the rest of them tie"


# ---------------------------------------------------------------- some rows are ours


def _partly(ours: np.ndarray, theirs: np.ndarray, logits: np.ndarray | None) -> str:
    """Which rows are not ours, and what stands there."""
    n = len(ours)
    rows = np.flatnonzero(np.abs(ours - theirs) > RELATIVE * float(np.ptp(ours)))
    if n - len(rows) < PART * n:
        return ""
    if logits is not None and _of_other_classes(theirs[rows], logits[rows]):
        return f"{len(rows)} of {n} scores are those of another class (the label?) where ours is of the predicted one"
    first, last = int(rows[0]), int(rows[-1])
    count = last - first + 1
    if len(rows) < BLOCK * count:
        return f"{len(rows)} of {n} scores are not ours ({_rows(rows.tolist())}): {_what(ours, theirs, rows)}"
    end = "first" if first == 0 else "last" if last == n - 1 else ""
    where = f"the {end} {count}" if end else f"rows {first} to {last}"
    return f"{where} of {n} scores are not ours: {_what(ours, theirs, rows)}"


def _of_other_classes(there: np.ndarray, logits: np.ndarray) -> bool:
    """Whether each is, but for the sign, a probability or a logit of its row, not the largest."""
    return any(
        bool((np.abs(values + sign * there[:, None]).min(1) <= CLOSE * np.ptp(values)).all())
        for values in (np.sort(known, axis=1)[:, :-1] for known in (_probable(logits), logits))
        for sign in (1, -1)
    )


def _what(ours: np.ndarray, theirs: np.ndarray, rows: np.ndarray) -> str:
    """What the suspect says of rows where it does not say what we do."""
    there, spread = theirs[rows], float(np.ptp(ours))
    if np.ptp(there) == 0:
        return f"{'all are' if len(rows) > 1 else 'it is'} {there[0]:.4g}"
    if _same(-ours[rows], there, spread):
        return "their sign is flipped"
    if _same(ours[rows - rows[0]], there, spread):
        return "they repeat the first ones"
    before = rows - len(rows)
    if before[0] >= 0 and _same(ours[before], there, spread):
        return "they repeat those before them"
    if _same(np.sort(ours[rows]), np.sort(there), spread):
        return "they stand in another order"
    line = _line(ours[rows], there) if len(rows) > 3 else None
    return f"they are {_said(line)}" if line else "they are those of another quantity"


def _in_pieces(ours: np.ndarray, theirs: np.ndarray) -> str:
    """One straight line up to a row, and another from there on."""
    line = _line(ours[:START], theirs[:START])
    if line is None:
        return ""
    off = np.abs(line[0] * ours + line[1] - theirs) > RELATIVE * float(np.ptp(theirs))
    count = int(off.argmax())
    rest = _line(ours[count:], theirs[count:]) if len(ours) - count >= START else None
    if rest is None:
        return ""
    return f"its scores are {_said(line)} in the first {count} rows and {_said(rest)} in the rest: each set is scaled by itself"


def _batch_by_batch(ours: np.ndarray, theirs: np.ndarray) -> str:
    """A straight line in every batch, and none for all."""
    for size in reversed(BATCHES):  # what holds for a size holds for its divisors
        if size > len(ours) // 2:
            continue
        starts = range(0, len(ours) - size + 1, size)
        if all(_line(ours[at : at + size], theirs[at : at + size]) for at in starts):
            return f"its scores are scaled or standardised batch by batch (batches of {size})"
    return ""


# ---------------------------------------------------------------- another score


def _probable(logits: np.ndarray) -> np.ndarray:
    return special.softmax(logits, axis=1)


def _largest(values: np.ndarray, place: int) -> np.ndarray:
    """(N,) the largest of each row, the second largest, ..."""
    return np.sort(values, axis=1)[:, -place]


def _energy(logits: np.ndarray) -> np.ndarray:
    return np.asarray(special.logsumexp(logits, axis=1))


def _entropy(logits: np.ndarray) -> np.ndarray:
    return special.entr(_probable(logits)).sum(1)


# All up to sign, scale and offset.
SCORES: tuple[tuple[str, Change], ...] = (
    ("the largest softmax probability (MSP)", lambda z: _largest(_probable(z), 1)),
    ("the largest logit", lambda z: _largest(z, 1)),
    ("the energy", _energy),
    ("the entropy of the softmax", _entropy),
    ("the margin of the two largest probabilities", lambda z: _largest(_probable(z), 1) - _largest(_probable(z), 2)),
    ("the margin of the two largest logits", lambda z: _largest(z, 1) - _largest(z, 2)),
    ("the second largest probability", lambda z: _largest(_probable(z), 2)),
    ("the second largest logit", lambda z: _largest(z, 2)),
    ("the smallest logit", lambda z: z.min(1)),
    ("the mean logit", lambda z: z.mean(1)),
    ("the variance of the logits", lambda z: z.var(1)),
    ("the length of the logits", lambda z: np.linalg.norm(z, axis=1)),
    ("the sum of exp(logits): the energy's logarithm is missing", lambda z: np.exp(z).sum(1)),
    ("the energy of the probabilities, not of the logits", lambda z: _energy(_probable(z))),
    ("the largest probability of a softmax over samples: the wrong axis", lambda z: special.softmax(z, axis=0).max(1)),
    ("the largest probability of a softmax that is taken twice", lambda z: _largest(_probable(_probable(z)), 1)),
    ("the largest sigmoid of a logit", lambda z: special.expit(z.max(1))),
    ("the log of the largest probability", lambda z: special.log_softmax(z, axis=1).max(1)),
    ("the sum of squared probabilities", lambda z: (_probable(z) ** 2).sum(1)),
    ("the index of the predicted class, not its score", lambda z: z.argmax(1).astype(np.float64)),
)  # fmt: skip
FAMILIES = tuple(one for one in SCORES if one[1] is _energy or one[1] is _entropy) + SCORES[:1]


def _another(
    theirs: np.ndarray, logits: np.ndarray | None, others: Iterable[tuple[str, np.ndarray]]
) -> str:
    """Which other score it is, or at which temperature."""
    if logits is not None and (found := _of_logits(theirs, logits)):
        return found
    for name, known in others:
        if known.shape == theirs.shape and (line := _line(known, theirs)):
            return f"it is the score {name}{_flipped(line)}"
    return ""


def _of_logits(theirs: np.ndarray, logits: np.ndarray) -> str:
    with np.errstate(over="ignore"):
        for name, score in SCORES:
            if _line(score(logits), theirs):
                return f"it is another score: {name}"
    for name, score in FAMILIES:
        if t := _temperature(theirs, logits, score):
            return f"the logits are divided by {t:.4g}: {name} at another temperature"
    return ""


def _flipped(line: tuple[float, float]) -> str:
    return "" if line[0] > 0 else ", and the sign is flipped"


def _temperature(theirs: np.ndarray, logits: np.ndarray, score: Change) -> float | None:
    """The temperature at which a score of the logits is theirs but for scale and offset."""

    def off(log_t: float) -> float:
        found = score(logits / np.exp(log_t))
        return 1 - abs(float(np.corrcoef(found, theirs)[0, 1])) if np.ptp(found) > 0 else 1.0

    for t in CHOSEN:
        if _line(score(logits / t), theirs):
            return t
    grid = np.linspace(np.log(0.05), np.log(2000), 60)
    best = float(grid[int(np.argmin([off(one) for one in grid]))])
    found = optimize.minimize_scalar(off, bounds=(best - 0.2, best + 0.2), method="bounded", options={"xatol": 1e-10})  # fmt: skip
    t = float(np.exp(found.x))
    return t if _line(score(logits / t), theirs) else None


# ---------------------------------------------------------------- what is left: the order


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values)).astype(float)


FUNCTIONS: tuple[tuple[str, Change], ...] = (
    ("the root of ours", lambda s: np.sqrt(np.abs(s))),
    ("the square of ours", np.square),
    ("the logarithm of ours", lambda s: np.log(np.abs(s))),
    ("log(1 + ours)", lambda s: np.log1p(np.abs(s))),
    ("exp of ours", np.exp),
    ("exp of minus ours", lambda s: np.exp(-s)),
    ("one over ours", lambda s: 1 / s),
    ("the sigmoid of ours", special.expit),
    ("the ranks of ours", _ranks),
)


def _related(ours: np.ndarray, theirs: np.ndarray) -> str:
    """Scores in our order, or hardly related."""
    rank = float(np.corrcoef(_ranks(ours), _ranks(theirs))[0, 1])
    if abs(rank) > ORDERED:
        with np.errstate(all="ignore"):
            known = (words for words, change in FUNCTIONS if _line(change(ours), theirs))
            function = next(known, "another function of the same quantity")
        if rank > 0:
            return f"its scores are in our order on another scale: {function}"
        return f"the sign of the score is flipped, on another scale: {function}"
    if abs(rank) < 0.2:
        return f"its scores hardly go with ours (rank correlation {rank:.2f}): rows mixed up, or another quantity"
    return f"its scores go with ours only in part (rank correlation {rank:.2f}): other parameters, or fitted on other data"
