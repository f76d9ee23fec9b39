"""Where a suspect's own walk departs from ours: read off the images that it showed to the model.

No list of faults stands behind it. From each image that the suspect stood at, the step that it
should have taken is computed, and the one that it took is held against it: its length, its
direction, and where projection took it. So a fault that nobody thought of still has a place.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from harness.attacks.gradients import slope
from harness.core.lazy import Lazy

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from harness.crosscheck.diagnosis.watching import Case, Seen
else:
    torch = Lazy("torch")

STILL = 2e-5  # of a pixel: no move, or none that differs
LIKE = 0.09  # of a length, about 1: a little more than the lengths that are tried lie apart
FIT = 0.05  # of a move, that a step along the gradient may leave unexplained
RADIAL = 0.99  # cosine with the clean image's way to where the step would have led
PLAIN = 0.95  # cosine with the gradient as it is
MOST = 0.5  # of the rows
LENGTHS = sorted(1.08 ** np.arange(-120.0, 49.0), key=lambda one: abs(np.log(one)))  # 1e-4 to 40


@dataclass(frozen=True)
class Step:
    """One step of a walk, held against the steepest one from the same image.

    Args:
        length: (M,) of the rows that moved: in units of the step asked for, negative against the
            gradient; NaN where no step along the gradient ends there.
        cosine: (M,) of the rows that moved, with the move that was asked for.
        plain: (M,) of the rows that moved, with the gradient as far as the box has room for it.
        radial: (M,) bool, rows that end on the way from the clean image to the end of their step.
        outside: rows that leave ball or box.
    """

    length: np.ndarray
    cosine: np.ndarray
    plain: np.ndarray
    radial: np.ndarray
    outside: int

    @property
    def fits(self) -> bool:
        """Whether most rows went along the gradient or against it, and were projected as they should."""
        return not len(self.length) or float(np.isfinite(self.length).mean()) > MOST

    @property
    def median(self) -> float:
        """Length of the step, over the rows that went along the gradient or against it."""
        known = self.length[np.isfinite(self.length)]
        return float(np.median(known)) if len(known) else 1.0


def departure(case: Case, ours: Seen, theirs: Seen) -> str:
    """The first way in which a walk is not one along the gradient, in words; "" if there is none.

    Args:
        case: what both were given.
        ours: our walk; if it does not follow the gradient either (momentum), nothing is said.
        theirs: the suspect's.
    """
    own, other = _steps(case, ours), _steps(case, theirs)
    if not own or not other or not all(one.fits for one in own):
        return ""
    return (
        _ending(case, theirs, other)
        or _landings(other)
        or _unsigned(case, other)
        or _directions(other)
        or _lengths(other, _count(case))
    )


def _steps(case: Case, seen: Seen) -> list[Step]:
    """The steps of a walk from the start that was given, as far as it can be followed."""
    start = case.start.double().cpu().numpy()
    stations = _stations([*seen.walk, seen.raw])
    if len(stations) > 2 and np.abs(stations[1] - start).max() <= STILL:
        stations = stations[1:]  # it looked at the clean image first
    begun = np.abs(stations[0] - start).max() <= STILL
    return [_step(case, here, there) for here, there in pairwise(stations) if begun]


def _count(case: Case) -> int:
    return case.params.get("steps") or 1


def _gradient(case: Case, here: torch.Tensor) -> torch.Tensor:
    return slope(case.model, here.to(case.x), case.y, "ce").gradient.double().cpu()


def _asked(case: Case, gradient: torch.Tensor) -> torch.Tensor:
    """The step that should be taken along a gradient."""
    count = _count(case)
    size = case.params.get("step_size") or (2.5 if count > 1 else 1.0) * case.threat.eps / count
    return size * case.threat.steepest(gradient)


def _stations(shown: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The images that a walk stood at, without those that it only looked at again."""
    found: list[np.ndarray] = []
    for images in shown:
        if not found or np.abs(images - found[-1]).max() > STILL:
            found.append(images)
    return found


def _step(case: Case, before: np.ndarray, after: np.ndarray) -> Step:
    """One step from `before` to `after`, (N, C, H, W) float64 each."""
    here, there, x = torch.from_numpy(before), torch.from_numpy(after), case.x.double().cpu()
    gradient = _gradient(case, here)
    asked, took = _asked(case, gradient), there - here
    room = gradient.where(torch.where(gradient > 0, here < 1, here > 0), 0)
    moved = took.flatten(1).abs().amax(1) > STILL
    x, here, there, asked, took, room = (one[moved] for one in (x, here, there, asked, took, room))
    end = (here + asked).clamp(0, 1) - x
    return Step(
        _lengths_that_fit(case, x, here, there, asked),
        _cosine(took, case.threat.project(x, here + asked) - here),
        _cosine(took, room),
        _cosine(there.clamp(0, 1) - x, end) > RADIAL,
        int((case.threat.project(x, there) - there).abs().flatten(1).amax(1).gt(STILL).sum()),
    )


def _cosine(a: torch.Tensor, b: torch.Tensor) -> np.ndarray:
    return torch.cosine_similarity(a.flatten(1), b.flatten(1), dim=1).numpy()


def _lengths_that_fit(
    case: Case, x: torch.Tensor, here: torch.Tensor, there: torch.Tensor, asked: torch.Tensor
) -> np.ndarray:
    """(M,) of the lengths that lead to `there` once projected, the one that is nearest to 1."""
    found = np.full(len(x), np.nan)
    allowed = FIT * (there - here).flatten(1).norm(dim=1) + STILL
    for length in (*LENGTHS, *(-one for one in LENGTHS)):
        open_ = np.isnan(found)
        if not open_.any():
            break
        left = (case.threat.project(x, here + length * asked) - there).flatten(1).norm(dim=1)
        found[open_ & (left <= allowed).numpy()] = length
    return found


def _ending(case: Case, seen: Seen, steps: Sequence[Step]) -> str:
    """A sound walk, of which other images are returned than it led to."""
    sound = all(one.fits for one in steps[:-1])
    if len(steps) != _count(case) or len(steps) == 1 or steps[-1].fits or not sound:
        return ""
    walk = [torch.from_numpy(one) for one in _stations(seen.walk)]
    x, raw = case.x.double().cpu(), torch.from_numpy(seen.raw)
    end = case.threat.project(x, walk[-1] + _asked(case, _gradient(case, walk[-1])))
    for name, iterates in {"": [*walk[1:], end], ", its start among them": [*walk, end]}.items():
        if _same(torch.stack(iterates).mean(0), raw):
            return f"it returns the mean of its iterates{name}, not the last of them"
    part = float(((raw - x) * (end - x)).sum() / (end - x).square().sum())
    if _same(x + part * (end - x), raw):
        return f"its perturbations are scaled at the end: to {part:.3g} times what its walk led to"
    return "its walk follows the gradient, but it returns other images than the walk led to: they are changed at the end (noise, smoothing, another iterate)"


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    return float((a - b).abs().flatten(1).amax(1).le(STILL).double().mean()) > MOST


def _landings(steps: Sequence[Step]) -> str:
    """Steps along the gradient whose projection is another one."""
    off = [place for place, one in enumerate(steps, 1) if not one.fits and one.radial.mean() > MOST]
    if not off or off != [place for place, one in enumerate(steps, 1) if not one.fits]:
        return ""
    how = "another radius or norm in the projection, or one length for the whole batch"
    if any(steps[place - 1].outside for place in off):
        how = "no projection there, or one length for the whole batch"
    return (
        f"its steps follow the gradient, but {_named(off, len(steps))} elsewhere at the edge: {how}"
    )


def _unsigned(case: Case, steps: Sequence[Step]) -> str:
    """Steps along the gradient itself, where its signs were asked for."""
    plain = np.concatenate([one.plain for one in steps])
    signed = np.concatenate([one.cosine for one in steps])
    if case.threat.norm != "linf" or not len(plain) or np.median(plain) < PLAIN:
        return ""
    if np.median(plain) <= np.median(signed):
        return ""
    return "its steps go along the gradient as it is: its sign is not taken (the steepest step of another norm)"


def _directions(steps: Sequence[Step]) -> str:
    """Steps that do not go along the gradient."""
    off = [place for place, one in enumerate(steps, 1) if not one.fits]
    if off:
        how = f"(cosine {np.median(steps[off[0] - 1].cosine):.2f})"
        if off[0] > 1:
            return f"from step {off[0]} on it does not follow the gradient at its place {how}: it remembers earlier ones (momentum, gradients that add up, or a stale one)"
        return f"its steps do not follow the gradient of this loss at its place {how}: another loss, other labels, another model (a stale copy of the weights), or a gradient that is changed on its way (smoothed, masked)"
    back = [place for place, one in enumerate(steps, 1) if one.median < 0]
    if back:
        return f"{_named(back, len(steps))} against the gradient: the sign is flipped there"
    return ""


def _lengths(steps: Sequence[Step], asked: int) -> str:
    """Steps of other lengths than were asked for, from step to step or from row to row."""
    spans = [np.nanquantile(one.length, [0.1, 0.9]) for one in steps if len(one.length) > 1]
    widest = max(spans, key=lambda span: span[1] / span[0], default=np.ones(2))
    if widest[1] > (1 + 2 * LIKE) * widest[0]:
        return f"its steps have other lengths from row to row ({widest[0]:.2g} to {widest[1]:.2g} times the step): normalised over the batch, or not at all, instead of for each image"
    lengths = [one.median for one in steps]
    if max(abs(one - 1) for one in lengths) <= LIKE:
        return ""
    if max(lengths) <= (1 + LIKE) * min(lengths):
        many = "" if len(steps) == asked else f", and there are {len(steps)} instead of {asked}"
        return f"its steps are {lengths[0]:.2g} times as long as asked for: another step size{many}"
    told = ", ".join(f"{one:.2g}" for one in lengths[:8])
    return f"its steps have lengths of {told} times the step asked for: a schedule, or a step that shrinks"


def _named(places: Sequence[int], count: int) -> str:
    """Steps in words, as the beginning of a sentence.

    >>> _named([2, 4], 5)
    'steps 2, 4 of 5 go'
    """
    if len(places) == count:
        return "every step goes"
    if len(places) == 1:
        return f"step {places[0]} of {count} goes"
    return f"steps {', '.join(map(str, places))} of {count} go"
