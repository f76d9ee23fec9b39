"""The probable cause of other adversarial images than ours, from the same start by the same steps."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from harness.core.lazy import Lazy
from harness.crosscheck.diagnosis.hypotheses import (
    SAME,
    TRANSFORMS,
    described,
    reproduced,
    rows_match,
)
from harness.crosscheck.diagnosis.labels import another_attack, relabelled
from harness.crosscheck.diagnosis.walk import departure
from harness.crosscheck.diagnosis.watching import watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import torch

    from harness.core.registry import Plug
    from harness.crosscheck.diagnosis.watching import Case, Seen

    Rule = Callable[["Case", "Seen", "Seen"], str]
else:
    torch = Lazy("torch")

MOST = 0.9  # of the rows
LINEAR = 1e-4  # of a pixel, that a change of scale may leave over
GRIDS = {"8 bits": 255, "16 levels": 15, "8 levels": 7, "4 levels": 3}
ALIKE = 0.05  # of a ratio, about 1
HEAP = 0.02  # of all pixels: more than chance puts at one value


def cause(plug: Plug, reference: Plug, case: Case) -> str:
    """Why `plug` returns other images than `reference`, in words; "" if they are the same.

    Args:
        plug: the suspect.
        reference: our own implementation of the same concept.
        case: what both were given; its params are those of the spec.
    """
    try:
        theirs, ours = watch(plug, case), watch(reference, case)
    except Exception as error:  # noqa: BLE001 -- a crash is the cause
        return f"it crashes when it is run again ({type(error).__name__})"
    if rows_match(ours.raw, theirs.raw).all():
        return "" if rows_match(watch(plug, case).raw, theirs.raw).all() else RANDOM
    by_rule = (rule(case, ours, theirs) for rule in RULES)
    by_run = (search(reference, case, theirs.raw) for search in SEARCHES)
    if found := next(filter(None, chain(by_rule, by_run)), ""):
        return found
    if not rows_match(watch(plug, case).raw, theirs.raw).all():
        return RANDOM
    by_look = (rule(case, ours, theirs) for rule in (*LOOKS, departure))
    if found := next(filter(None, by_look), ""):
        return found
    return "; ".join(_described(case, ours, theirs))


RANDOM = (
    "it is random: a second run with the same start gives other images (draws of its own, dropout?)"
)

# ---------------------------------------------------------------- what its images tell


def _clean(case: Case, ours: Seen, theirs: Seen) -> str:
    """Rows that came back as they went in, or from where they began."""
    idle = rows_match(ours.raw, _array(case.x)) | rows_match(ours.raw, _array(case.start))
    if case.noise is not None and (rows_match(theirs.raw, _array(case.start)) | idle).all():
        return "it returns its start: its gradients are zero (broken graph), or it takes no step"
    still = rows_match(theirs.raw, _array(case.x)) & ~idle
    if not still.any():
        return ""
    if chosen := _chosen(case, ours, still | idle):
        return f"{int(still.sum())} of {len(still)} rows come back unattacked: {chosen}"
    if still.all() or still.sum() >= MOST * len(still):
        if theirs.gradients == 0:
            return "it returns the clean images without taking a gradient: it crashed silently, or gave up"
        return "it returns the clean images although it took gradients: they are zero (broken graph), or it crashed silently"
    if rows_match(theirs.raw, ours.raw)[~still].all():
        last = not still[: len(still) - int(still.sum())].any()
        where = "the last rows (a dropped last batch)" if last else "some rows"
        return f"{where}, {int(still.sum())} of {len(still)}, come back unattacked"
    return ""


def _chosen(case: Case, ours: Seen, still: np.ndarray) -> str:
    """What the rows that came back unattacked have in common, if they are all that have it."""
    with torch.no_grad():
        right = (case.model(case.x).argmax(1) == case.y).cpu().numpy()
        held = (case.model(torch.from_numpy(ours.raw).to(case.x)).argmax(1) == case.y).cpu().numpy()
    sets = {
        "those on which it fails": held,
        "those on which it succeeds": ~held,
        "those that are right without an attack": right,
    }
    split = (name for name, rows in sets.items() if 0 < rows.sum() < len(rows) and (rows == still).all())  # fmt: skip
    return next(split, "")


def _earlier(case: Case, ours: Seen, theirs: Seen) -> str:
    """Another of its own iterates in every row, although it took all its steps."""
    walk = [one for one in theirs.walk if one.shape == theirs.raw.shape]
    if len(walk) < 2 or theirs.gradients < ours.gradients:
        return ""
    at = np.stack([rows_match(one, theirs.raw) for one in walk])
    if not at.any(0).all():
        return ""
    with torch.no_grad():
        logits = [case.model(torch.from_numpy(one).to(case.x)) for one in walk]
    loss = torch.stack([torch.nn.functional.cross_entropy(one, case.y, reduction="none") for one in logits])  # fmt: skip
    place, worst, best = at.argmax(0), loss.argmin(0).numpy(), loss.argmax(0).numpy()
    if (place == best).mean() > MOST or (place == len(walk) - 1).all():
        return ""  # those are settings of an attack, and reproduced
    if np.ptp(place) == 0:
        return f"it takes all its steps, but returns the iterate after step {place[0]}: the first or the worst is kept"
    if (place == worst).mean() > MOST:
        return "it keeps the worst of its iterates, not the last: the comparison of losses is turned round"
    return "it returns an earlier iterate, another one from row to row: its choice among them is wrong, or off by one"


def _rows(case: Case, ours: Seen, theirs: Seen) -> str:
    """Rows that belong to others."""
    images = _flat(_array(case.x))
    nearest = _nearest(_flat(theirs.raw), images)
    away = torch.from_numpy(theirs.raw) - case.x.double().cpu()[torch.from_numpy(nearest)]
    if float(case.threat.distance(away).median()) > case.threat.eps * (1 + ALIKE):
        return ""
    moved = nearest != np.arange(len(nearest))
    moved &= ~rows_match(images[nearest], images)
    if moved.mean() < 1 / 3:
        return ""
    if rows_match(theirs.raw, ours.raw[nearest])[moved].mean() > MOST:
        count = len(np.unique(nearest))
        if count < MOST * len(nearest):
            return f"rows are duplicated: {len(nearest)} images come from {count}"
        return "the rows come back in another order (shuffled)"
    return "its images lie round other rows' clean images: projected round the wrong image, or rows shuffled"


def _outside(case: Case, ours: Seen, theirs: Seen) -> str:
    """Images in other units than [0, 1]."""
    low, high = theirs.raw.min(), theirs.raw.max()
    for name, back in (
        ("units of 0-255", theirs.raw / 255),
        ("[-1, 1]", (theirs.raw + 1) / 2),
    ):
        if (low < -SAME or high > 1 + SAME) and rows_match(back, ours.raw).mean() > MOST:
            return f"its images are returned in {name}"
    if low < -SAME or high > 1 + SAME:
        kept = case.threat.distance(torch.from_numpy(theirs.raw) - case.x.double().cpu())
        if float(kept.max()) <= case.threat.eps * 1.01:
            what = (
                " but to [-1, 1]" if abs(low + 1) < SAME or (low < 0 and high <= 1 + SAME) else
                " at its upper end (but to [0, 255], or not at all)" if low >= -SAME else ""
            )  # fmt: skip
            return f"not clipped to the box [0, 1]{what}: pixels reach [{low:.3g}, {high:.3g}]"
    return ""


def _combined(case: Case, ours: Seen, theirs: Seen) -> str:
    """Our perturbation, put together with the image otherwise."""
    x, delta = _array(case.x), ours.raw - _array(case.x)
    for name, there in {
        "its perturbation is returned, not the image with it": delta,
        "its perturbation is returned, moved to the middle of the box": delta + 0.5,
        "its perturbation is taken off the image, not added": x - delta,
        "its perturbation is added twice": x + 2 * delta,
        "the perturbation of the row before is added": x + np.roll(delta, 1, 0),
        "the perturbation of the row after is added": x + np.roll(delta, -1, 0),
        "the signs of its perturbation are added at full length": x
        + case.threat.eps * np.sign(delta),
    }.items():
        fitting = rows_match(there, theirs.raw) | rows_match(there.clip(0, 1), theirs.raw)
        if fitting.mean() > MOST:
            return name
    return ""


def _unprojected(case: Case, ours: Seen, theirs: Seen) -> str:
    """Images outside the ball that are ours once they are projected."""
    raw = torch.from_numpy(theirs.raw)
    inside = case.threat.project(case.x.double().cpu(), raw).numpy()
    if not rows_match(inside, ours.raw).all():
        return ""
    if (case.params.get("steps") or 1) == 1:
        return "no projection on the ball round the clean image"
    return "the last projection is missing: it projects before a step, not after it"


def _moved(case: Case, ours: Seen, theirs: Seen) -> str:
    """Images like ours, but shifted, mirrored, ..."""
    plain = rows_match(theirs.raw, ours.raw).mean()
    for name, change in TRANSFORMS.items():
        try:
            there = change(torch.from_numpy(ours.raw)).numpy()
        except RuntimeError:
            continue
        same = there.shape == theirs.raw.shape and rows_match(
            there.clip(0, 1), theirs.raw.clip(0, 1)
        )
        if np.mean(same) > max(MOST, plain):
            return f"its images are returned {name}"
    return ""


def _rounded(case: Case, ours: Seen, theirs: Seen) -> str:
    """Images on a grid that ours are not on."""
    for name, levels in GRIDS.items():
        if _on(theirs.raw, levels) and not _on(ours.raw, levels):
            return f"its images are quantised to {name}"
    for kind in ("bfloat16", "float16"):
        dtype = getattr(torch, kind)
        exact = [
            bool((torch.from_numpy(one.raw).to(dtype).double() == torch.from_numpy(one.raw)).all())
            for one in (theirs, ours)
        ]
        if exact == [True, False]:
            return f"its images are rounded to {kind}: computed or stored in half precision"
    return ""


def _on(raw: np.ndarray, levels: int) -> bool:
    return float(np.abs(raw * levels - np.round(raw * levels)).max()) < levels * 1e-6


# ---------------------------------------------------------------- what it shows to the model


def _mode(case: Case, ours: Seen, theirs: Seen) -> str:
    """Training mode during a pass."""
    if theirs.training and not ours.training:
        return "it switches the model to training mode: dropout and batch statistics change its gradients"
    return ""


def _shown(case: Case, ours: Seen, theirs: Seen) -> str:
    """A first batch that is not the start."""
    start = _array(case.start)
    if theirs.shown is None or theirs.shown.shape != start.shape:
        return ""
    off = np.abs(theirs.shown - start).max()
    if off <= SAME:
        return ""
    slope, offset = np.polyfit(start.ravel(), theirs.shown.ravel(), 1)
    if np.abs(slope * start + offset - theirs.shown).max() < LINEAR * max(1.0, abs(slope)):
        return f"the model is shown {slope:.4g} x {'+' if offset >= 0 else '-'} {abs(offset):.4g} instead of x: normalised twice, or in other units"
    for name, levels in GRIDS.items():
        if _on(theirs.shown, levels) and not _on(start, levels) and off < 1 / levels:
            return f"the model is shown images quantised to {name}"
    return ""


def _elsewhere(case: Case, ours: Seen, theirs: Seen) -> str:
    """An attack that never asks the model."""
    if ours.gradients == 0 or theirs.gradients > 0:
        return ""
    return "it takes no gradient of this model: its images are another model's (a stale cache, or a copy of other weights)"


def _by_norm(case: Case, ours: Seen, theirs: Seen) -> str:
    """Perturbations of one length in another norm."""
    delta = _flat(theirs.raw - _array(case.x))
    moved = delta[np.abs(delta).max(1) > SAME]
    if case.threat.norm == "linf" and len(moved) > 1:
        lengths, peaks = np.linalg.norm(moved, axis=1), np.abs(moved).max(1)
        if np.ptp(lengths) < 1e-3 * lengths.mean() and np.ptp(peaks) > ALIKE * peaks.mean():
            return f"the wrong norm: its perturbations all have length {lengths.mean():.3g} in l2, not in linf"
    return ""


RULES: tuple[Rule, ...] = (
    _mode,
    _clean,
    _combined,
    _earlier,
    _outside,
    _unprojected,
    _moved,
    _rows,
    _rounded,
    _elsewhere,
    _shown,
    _by_norm,
)


SEARCHES = (reproduced, relabelled, another_attack)

# ---------------------------------------------------------------- what nothing explains


def _begun(case: Case, ours: Seen, theirs: Seen) -> str:
    """A first batch that is a point of the ball, and not the start."""
    if theirs.shown is None or theirs.shown.shape != theirs.raw.shape:
        return ""
    start = _array(case.start)
    if any(
        one.shape == start.shape and np.abs(one - start).max() <= SAME for one in theirs.walk[:2]
    ):
        return ""  # it looks at the clean image first, for a loss that is relative to it
    shown = torch.from_numpy(theirs.shown)
    from_start = (shown - case.start.double().cpu()).abs().amax()
    away = case.threat.distance(shown - case.x.double().cpu())
    if float(from_start) <= SAME or float(away.max()) > case.threat.eps * (1 + ALIKE):
        return ""
    if float(away.max()) > SAME:
        where = "a point of its own choice (a random start)"
    elif (case.params.get("steps") or 1) > 1 and np.ptp(theirs.walk, axis=0).max() <= SAME:
        return "its gradients are all taken at the clean image, wherever it has come to: a stale gradient"
    else:
        where = "the clean image"
    return f"it begins at {where}, not at the start that it was given"


def _narrow(case: Case, ours: Seen, theirs: Seen) -> str:
    """Pixels heaped up at an edge that is not the box's."""
    low, high = float(theirs.raw.min()), float(theirs.raw.max())
    below = low > SAME and min((theirs.raw <= low + SAME).mean(), (ours.raw < low).mean()) > HEAP
    above = (
        high < 1 - SAME and min((theirs.raw >= high - SAME).mean(), (ours.raw > high).mean()) > HEAP
    )
    if not (below or above):
        return ""
    edges = f"[{low if below else 0:.3g}, {high if above else 1:.3g}]"
    return f"clipped to {edges}, which is narrower than the box [0, 1]"


def _by_channel(case: Case, ours: Seen, theirs: Seen) -> str:
    """Radii that differ from channel to channel, where ours do not."""
    mine, other = (np.abs(one.raw - _array(case.x)).max((0, 2, 3)) for one in (ours, theirs))
    if case.threat.norm != "linf" or len(other) < 2 or np.ptp(mine) > ALIKE * mine.mean():
        return ""
    if np.ptp(other) <= ALIKE * other.mean():
        return ""
    told = ", ".join(f"{one:.3g}" for one in other / case.threat.eps)
    return f"its radius differs from channel to channel ({told} times eps): eps is scaled by a normalisation's standard deviations"


def _one_sided(case: Case, ours: Seen, theirs: Seen) -> str:
    """Perturbations of one sign, where ours have both."""
    mine, other = (one.raw - _array(case.x) for one in (ours, theirs))
    for sign, word in ((1, "brighter"), (-1, "darker")):
        lost = sign * mine < -SAME
        if lost.mean() > HEAP and not (sign * other < -SAME).any() and (other[~lost] != 0).any():
            return f"it only makes pixels {word}: its perturbations are cut to one sign"
    return ""


def _untouched(case: Case, ours: Seen, theirs: Seen) -> str:
    """Places in the image that stay what they were at the start, where ours do not."""
    mine, other = (np.abs(one.raw - _array(case.start)) > SAME for one in (ours, theirs))
    spared = mine.any(0) & ~other.any(0)
    share = float(spared.sum()) / max(int(mine.any(0).sum()), 1)
    if not 2 * HEAP < share < MOST:
        return ""
    return f"{share:.0%} of the pixels are never changed: a mask, or a gradient that lacks them"


LOOKS: tuple[Rule, ...] = (_begun, _by_channel, _narrow, _one_sided, _untouched)


def _described(case: Case, ours: Seen, theirs: Seen) -> Iterator[str]:
    """Size, direction and place of the difference."""
    clean = _array(case.x)
    mine, other = ours.raw - clean, theirs.raw - clean
    size = _length(case, other) / max(_length(case, mine), 1e-12)
    beyond = float(case.threat.distance(torch.from_numpy(other)).max()) / max(
        case.threat.eps, 1e-12
    )
    if beyond > 1 + ALIKE:
        yield f"perturbations reach {beyond:.3g} times eps: no projection, or another eps"
    elif abs(size - 1) > ALIKE:
        yield f"its perturbations are {described(size)} as large as ours: eps or step size too {'small' if size < 1 else 'large'}"
    either = (mine != 0) | (other != 0)
    agree = float((np.sign(mine) == np.sign(other))[either].mean()) if either.any() else 1.0
    differ = int((~rows_match(ours.raw, theirs.raw)).sum())
    if agree < 1 / 4:
        yield "its steps go the other way: the sign is flipped"
    elif agree < MOST:
        yield f"it follows another gradient ({agree:.0%} of the signs are ours): another model's images (a stale cache), another loss or other labels"
    else:
        yield f"{differ} of {len(clean)} rows differ, {agree:.1%} of the signs agree: rounding that grew, or another stop"


def _length(case: Case, delta: np.ndarray) -> float:
    return float(case.threat.distance(torch.from_numpy(delta)).median())


def _nearest(rows: np.ndarray, images: np.ndarray) -> np.ndarray:
    """(N,) for each row, which of the images is nearest."""
    return torch.cdist(torch.from_numpy(rows), torch.from_numpy(images)).argmin(1).numpy()


def _array(x: torch.Tensor) -> np.ndarray:
    return x.detach().double().cpu().numpy()


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)
