"""torchattacks 3.5.1: its attacks by our names and parameters, and any other by its own.

Known deviations: T1 to T8 in harness/crosscheck/deviations/attacks.yaml.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import operator
import sys
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

from harness.core.errors import InputError, UnknownName
from harness.core.parameters import Bound
from harness.core.registry import Library, registry
from harness.core.rng import global_state
from harness.core.translation import (
    Call,
    Task,
    Translation,
    arguments,
    at_least,
    repeated,
    sealed,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    import torch

    from harness.core.threat import Threat
    from harness.core.types import Classifier

NORMS = {"linf": "Linf", "l2": "L2"}
WRAPPERS = ("MultiAttack", "LGV")  # of torchattacks.__all__: they take attacks or data, not images


def parity(
    model: Classifier, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and input gradient of the summed cross-entropy, as torchattacks sees them."""
    import torch
    import torchattacks

    attack = torchattacks.PGD(sealed(model, x))
    points = x.detach().clone().requires_grad_()
    logits = attack.get_logits(points)
    loss = torch.nn.CrossEntropyLoss(reduction="sum")(logits, y)
    (gradient,) = torch.autograd.grad(loss, points)
    return logits.detach(), gradient


LIBRARY = registry.library(
    Library("torchattacks", "torchattacks", "torchattacks", "3.5.1", parity=parity)
)


def run(task: Task, how: Translation) -> torch.Tensor:
    """Do a task with the class, arguments and settings of a translation."""
    kind = _class(how.target.rpartition(".")[2])
    lift, shrink = how.model.get("lift", False), how.model.get("shrink", 0.0)
    x = task.x * (1 - 2 * shrink) + shrink if shrink else task.x
    with global_state(task.call.seed), _given_start(kind, task):
        attack = kind(sealed(task.model, task.x, lift=lift), **how.arguments)
        for path, value in how.settings.items():
            _set(attack, path, value)
        found = repeated(task, lambda: attack(x, task.y).detach(), how.repeat)
    untouched = (found == x).flatten(1).all(1)
    found[untouched] = task.x[untouched]
    return found


def _class(name: str) -> Callable[..., Any]:
    """An attack class of the library.

    Raises:
        UnknownName: it has none of that name.
    """
    import torchattacks

    known = [each for each in torchattacks.__all__ if each not in WRAPPERS]
    if name not in known:
        raise UnknownName("attack of torchattacks", name, known)
    return getattr(torchattacks, name)


def _set(attack: object, path: str, value: object) -> None:
    """Set an attribute by a dotted path, whose numbers are positions in lists."""
    *parents, last = path.split(".")
    for name in parents:
        attack = (
            operator.getitem(attack, int(name))  # pyright: ignore[reportArgumentType, reportCallIssue]
            if name.isdigit()
            else getattr(attack, name)
        )
    if not hasattr(attack, last):
        raise AttributeError(f"{path}: no such setting; another version of torchattacks?")
    setattr(attack, last, value)


@contextlib.contextmanager
def _given_start(kind: Callable[..., Any], task: Task) -> Generator[None]:
    """While it lasts, the module of `kind` starts at x + noise; the library has no hook for that."""
    if task.noise is None:
        yield
        return
    noise = task.noise[task.right()] if kind.__name__ == "APGD" else task.noise
    with mock.patch.object(sys.modules[kind.__module__], "torch", _Torch(noise)):
        yield


class _Torch:
    """`torch` as the module of one attack sees it: fresh numbers stand for the given noise."""

    def __init__(self, noise: torch.Tensor) -> None:
        self._noise = noise

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 -- whatever torch has
        if name in ("empty_like", "randn_like", "rand", "randn"):
            return lambda *_args, **_options: _Given(self._noise)
        return getattr(importlib.import_module("torch"), name)


class _Given:
    """Random numbers of a library that stand for the given noise.

    However the library scales, shifts or measures them, they stay the same; once added to images
    they become images + noise.
    """

    def __init__(self, noise: torch.Tensor) -> None:
        self._noise = noise
        self.shape = noise.shape

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        _types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        _options: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401 -- a tensor or the stand-in
        stand_in = next(arg for arg in args if isinstance(arg, cls))
        if function.__name__ in ("add", "__add__"):
            return args[0] + stand_in._noise
        return stand_in

    def _same(self, *_args: object, **_options: object) -> _Given:
        return self

    __mul__ = __rmul__ = __imul__ = __add__ = __sub__ = __truediv__ = __pow__ = __getitem__ = _same

    def __getattr__(self, name: str) -> Callable[..., _Given]:
        return self._same


attack = functools.partial(wrapped, LIBRARY, run)


@attack("fgsm", norms=("linf",), start=True)
def fgsm(threat: Threat, call: Call, *, restarts: int = 0) -> Translation:
    """Fast gradient sign method: FGSM, or from random starts FFGSM with a step of eps.

    Its loss is the mean cross-entropy.
    """
    at_least("restarts", restarts, 0)
    eps = call.radius(threat)
    if restarts == 0 and not call.noise:
        return Translation("torchattacks.FGSM", {"eps": eps})
    return Translation(
        "torchattacks.FFGSM", {"eps": eps, "alpha": eps}, repeat=_times(restarts, call)
    )


def _times(restarts: int, call: Call) -> int:
    return 1 if call.noise else max(restarts, 1)


@attack("pgd", norms=("linf", "l2"), start=True)
def pgd(
    threat: Threat,
    call: Call,
    *,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
) -> Translation:
    """Projected gradient descent: PGD or PGDL2, on the mean cross-entropy, final iterate.

    The random start of PGDL2 is not uniform in the ball: see T9. Restarts are calls of their own;
    the library has none.
    """
    at_least("restarts", restarts, 0)
    given: dict[str, Any] = {
        "eps": call.radius(threat),
        "alpha": call.step(threat, steps, step_size),
        "steps": steps,
        "random_start": restarts > 0 or call.noise,
    }
    if threat.norm == "l2":
        given["eps_for_division"] = 1e-10
    name = "PGD" if threat.norm == "linf" else "PGDL2"
    return Translation(f"torchattacks.{name}", given, repeat=_times(restarts, call))


@attack("bim", norms=("linf",))
def bim(
    threat: Threat, call: Call, *, steps: int = 10, step_size: float | None = None
) -> Translation:
    """Basic iterative method: BIM, on the mean cross-entropy; its projection rounds as T10 says."""
    alpha = call.step(threat, steps, step_size)
    given = {"eps": call.radius(threat), "alpha": alpha, "steps": steps}
    return Translation("torchattacks.BIM", given)


@attack("mifgsm", norms=("linf",))
def mifgsm(
    threat: Threat,
    call: Call,
    *,
    steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
) -> Translation:
    """Momentum iterative FGSM: MIFGSM. A row whose gradient vanishes once never moves again (T6)."""
    alpha = call.step(threat, steps, step_size)
    given = {"eps": call.radius(threat), "alpha": alpha, "steps": steps, "decay": float(decay)}
    return Translation("torchattacks.MIFGSM", given)


@attack("cw", norms=("l2",), goal="minimise")
def cw(
    threat: Threat,
    call: Call,
    *,
    steps: int = 50,
    step_size: float = 0.01,
    const: float = 1.0,
    confidence: float = 0.0,
    shrink: float = 1e-6,
    lift: bool = True,
) -> Translation:
    """Carlini and Wagner's L2 attack: CW, which does not search for the constant.

    Args:
        threat: its radius plays no part.
        call: see `Call`.
        steps: of Adam.
        step_size: of Adam, in tanh space.
        const: weight of the margin against the squared distance.
        confidence: margin of logits to reach.
        shrink: images are first mapped to [shrink, 1 - shrink]; at 0, the library's own
            behaviour, pixels that are exactly 0 or 1 never move (T2).
        lift: logits are shifted to a minimum of 0; without, the library's margin is wrong where
            they are negative (T3).
    """
    del threat, call
    at_least("steps", steps, 1)
    if not 0 <= shrink < 0.5:
        raise InputError(f"shrink must be in [0, 0.5), got {shrink}")
    given = {"c": float(const), "kappa": float(confidence), "steps": steps, "lr": float(step_size)}
    return Translation("torchattacks.CW", given, model={"shrink": shrink, "lift": lift})


@attack("deepfool", norms=("l2",), goal="minimise")
def deepfool(
    threat: Threat, call: Call, *, steps: int = 50, overshoot: float = 0.02
) -> Translation:
    """DeepFool, which takes one image at a time and may stall at the boundary (T4)."""
    del threat, call
    at_least("steps", steps, 1)
    return Translation("torchattacks.DeepFool", {"steps": steps, "overshoot": float(overshoot)})


@attack("apgd", norms=("linf", "l2"), start=True, bounds={"restarts": Bound(1)})
def apgd(
    threat: Threat,
    call: Call,
    *,
    steps: int = 100,
    restarts: int = 1,
    loss: Literal["ce", "dlr"] = "ce",
    rho: float = 0.75,
) -> Translation:
    """Auto-PGD: APGD; rows that are wrong at the start, or never fall, come back clean."""
    at_least("steps", steps, 1)
    at_least("restarts", restarts, 1)
    given = {
        "norm": NORMS[threat.norm],
        "eps": call.radius(threat),
        "steps": steps,
        "n_restarts": _times(restarts, call),
        "seed": call.seed,
        "loss": loss,
        "eot_iter": 1,
        "rho": float(rho),
        "verbose": False,
    }
    return Translation("torchattacks.APGD", given)


@attack(
    "square",
    norms=("linf", "l2"),
    gradient=False,
    native={"rescale": True},
    bounds={"restarts": Bound(1)},
)
def square(
    threat: Threat,
    call: Call,
    *,
    queries: int = 5000,
    restarts: int = 1,
    p_init: float = 0.8,
    loss: Literal["margin", "ce"] = "margin",
    rescale: bool = False,
) -> Translation:
    """Square attack: Square.

    `rescale` stretches the schedule of square sizes over the queries, this library's default; the
    official AutoAttack does not.
    """
    at_least("queries", queries, 1)
    at_least("restarts", restarts, 1)
    given = {
        "norm": NORMS[threat.norm],
        "eps": call.radius(threat),
        "n_queries": queries,
        "n_restarts": restarts,
        "p_init": float(p_init),
        "loss": loss,
        "resc_schedule": rescale,
        "seed": call.seed,
        "verbose": False,
    }
    return Translation("torchattacks.Square", given)


SEARCH: dict[str, Any] = {"n_restarts": 1, "eot_iter": 1, "thr_decr": 0.75}
FAB: dict[str, Any] = {"n_restarts": 1, "alpha_max": 0.1, "eta": 1.05, "beta": 0.9}
SQUARE: dict[str, Any] = {"n_restarts": 1, "p_init": 0.8, "loss": "margin"}
# The sub-attacks of each version, in order, with the settings that make them up.
VERSIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "standard": (
        {**SEARCH, "loss": "ce"},
        SEARCH,
        {**FAB, "multi_targeted": True},
        SQUARE,
    ),
    "plus": (
        {**SEARCH, "loss": "ce", "n_restarts": 5},
        {**SEARCH, "loss": "dlr", "n_restarts": 5},
        {**FAB, "multi_targeted": False, "n_restarts": 5},
        SQUARE,
        SEARCH,
        {**FAB, "multi_targeted": True},
    ),
    "rand": (
        {**SEARCH, "loss": "ce", "eot_iter": 20},
        {**SEARCH, "loss": "dlr", "eot_iter": 20},
    ),
}


@attack("autoattack", norms=("linf", "l2"), native={"steps": 10, "rescale": True})
def autoattack(
    threat: Threat,
    call: Call,
    *,
    version: Literal["standard", "plus", "rand"] = "standard",
    steps: int = 100,
    queries: int = 5000,
    rescale: bool = False,
    seed: int | None = None,
) -> Translation:
    """AutoAttack as torchattacks composes it.

    Left alone, it takes 10 steps in APGD and FAB where the official one takes 100 (T1), and
    stretches Square's schedule: `steps=10, rescale=True` is what its users get. `seed` is drawn
    from the run's stream if None.
    """
    given = {
        "norm": NORMS[threat.norm],
        "eps": call.radius(threat),
        "version": version,
        "n_classes": call.classes,
        "seed": call.seed if seed is None else seed,
        "verbose": False,
    }
    black = {"n_queries": queries, "rescale_schedule": rescale}
    settings = {
        f"_autoattack.attacks.{position}.{name}": value
        for position, part in enumerate(VERSIONS[version])
        for name, value in (part | (black if part is SQUARE else {"steps": steps})).items()
    }
    return Translation("torchattacks.AutoAttack", given, settings=settings)


@attack("any", norms=("linf", "l2", "l1"))
def any_attack(
    threat: Threat, call: Call, *, attack: str, params: dict[str, Any] | None = None
) -> Translation:
    """Any attack of torchattacks, by the name of its class and its own arguments.

    `eps`, `norm`, `seed` and `n_classes` are filled in where the class takes them and `params` does
    not say; all other arguments that are not given have the library's defaults.
    """
    kind = _class(attack)
    ours = {
        "eps": call.radius(threat),
        "norm": NORMS.get(threat.norm, "L1"),
        "seed": call.seed,
        "n_classes": call.classes,
    }
    taken = arguments(kind, params or {}, supplied=("model",))
    filled = {name: ours.get(name, value) for name, value in taken.items()} | (params or {})
    return Translation(f"torchattacks.{attack}", filled)
