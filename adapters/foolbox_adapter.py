"""Foolbox 3.3.4: its attacks by our names and parameters, and any other by its own.

Known deviations: F1 to F5 in harness/crosscheck/deviations/attacks.yaml.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import warnings
from typing import TYPE_CHECKING, Any
from unittest import mock

from harness.core.errors import InputError, UnknownName
from harness.core.registry import Library, registry
from harness.core.rng import global_state
from harness.core.translation import (
    Call,
    Task,
    Translation,
    arguments,
    at_least,
    sealed,
    wrapped,
)

if TYPE_CHECKING:
    import torch

    from harness.core.threat import Threat
    from harness.core.types import Classifier

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}


def parity(
    model: Classifier, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and input gradient of the summed cross-entropy, as Foolbox sees them."""
    seen, images = _model(model, x), _eagerpy().astensor(x.detach().clone())
    loss = _attacks().LinfPGD().get_loss_fn(seen, _eagerpy().astensor(y))
    _, gradient = _eagerpy().value_and_grad(loss, images)
    return seen(images).raw.detach(), gradient.raw


LIBRARY = registry.library(
    Library("foolbox", "foolbox", "foolbox", "3.3.4", extra="foolbox", parity=parity)
)


@functools.cache
def _attacks() -> Any:  # noqa: ANN401 -- a module
    """`foolbox.attacks`, imported so that neither git nor SciPy's deprecation stands in the way."""
    # GitPython, which Foolbox imports, refuses to load where there is no git binary; and
    # attacks/blur.py imports from scipy.ndimage.filters, which SciPy 2 will drop.
    quiet = mock.patch.dict(os.environ, {"GIT_PYTHON_REFRESH": "quiet"})
    with quiet, warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*scipy.ndimage.filters.*", DeprecationWarning)
        return importlib.import_module("foolbox.attacks")


def _eagerpy() -> Any:  # noqa: ANN401 -- a module
    return importlib.import_module("eagerpy")


def _model(model: Classifier, x: torch.Tensor) -> Any:  # noqa: ANN401 -- Foolbox's
    _attacks()
    foolbox = importlib.import_module("foolbox")
    return foolbox.PyTorchModel(
        sealed(model, x), bounds=(0, 1), device=x.device, preprocessing=None
    )


def run(task: Task, how: Translation) -> tuple[torch.Tensor, torch.Tensor]:
    """Do a task with the class, arguments and call of a translation.

    Returns:
        The clipped images of an attack with a fixed budget, the raw ones of a minimum-norm attack
        (where it failed, x); and the success that Foolbox claims.
    """
    low, high = float(task.x.min()), float(task.x.max())
    if low < 0 or high > 1:
        raise InputError(f"{task.name}: images must lie in [0, 1], got [{low}, {high}]")
    kind = _class(how.target.rpartition(".")[2])
    attack = _starting(kind, task.noise)(**how.arguments, **_distance(how))
    times, eps = how.call.get("repeat", 1), how.call["epsilons"]
    attack = attack.repeat(times) if times > 1 else attack
    criterion = importlib.import_module("foolbox.criteria").Misclassification(task.y)
    with global_state(task.call.seed):
        raw, clipped, claimed = attack(_model(task.model, task.x), task.x, criterion, epsilons=eps)
    if eps is not None:
        return clipped, claimed
    black = (raw == 0).flatten(1).all(1)  # how L2CarliniWagnerAttack says that it found nothing
    raw[black] = task.x[black]
    return raw, claimed


def _distance(how: Translation) -> dict[str, Any]:
    """The constructor's `distance`, an object of the library, where the class takes one."""
    if "distance" not in how.call:
        return {}
    return {"distance": getattr(importlib.import_module("foolbox.distances"), how.call["distance"])}


def _class(name: str) -> type[Any]:
    """An attack class of the library.

    Raises:
        UnknownName: it has none of that name.
    """
    base = _attacks().Attack
    known = {
        each: kind
        for each, kind in vars(_attacks()).items()
        if inspect.isclass(kind) and issubclass(kind, base) and not inspect.isabstract(kind)
    }
    if name not in known:
        raise UnknownName("attack of foolbox", name, known)
    return known[name]


def _starting(kind: type[Any], noise: torch.Tensor | None) -> type[Any]:
    """The class, or one that starts at x + noise."""
    if noise is None:
        return kind

    def get_random_start(_self: object, x0: Any, _epsilon: float) -> Any:  # noqa: ANN401 -- eagerpy's
        return x0 + _eagerpy().astensor(noise)

    return type(kind.__name__, (kind,), {"get_random_start": get_random_start})


attack = functools.partial(wrapped, LIBRARY, run)


def _ascent(
    name: str, threat: Threat, call: Call, restarts: int, given: dict[str, Any]
) -> Translation:
    """A gradient ascent: its class for this norm, its start and its restarts."""
    at_least("restarts", restarts, 0)
    start = {"random_start": restarts > 0 or call.noise}
    often = {} if call.noise or restarts < 2 else {"repeat": restarts}
    target = f"foolbox.attacks.{NORMS[threat.norm]}{name}"
    return Translation(target, given | start, call={"epsilons": call.radius(threat), **often})


def _pace(threat: Threat, call: Call, steps: int, step_size: float | None) -> dict[str, Any]:
    """`rel_stepsize` is overruled by `abs_stepsize`; the library wants both."""
    step = call.step(threat, steps, step_size)
    return {
        "rel_stepsize": step / call.radius(threat) if threat.eps else 1.0,
        "abs_stepsize": step,
        "steps": steps,
    }


@attack("fgsm", norms=("linf", "l2", "l1"), start=True)
def fgsm(threat: Threat, call: Call, *, restarts: int = 0) -> Translation:
    """Fast gradient method: {Linf,L2,L1}FastGradientAttack, one step of length eps."""
    return _ascent("FastGradientAttack", threat, call, restarts, {})


@attack("pgd", norms=("linf", "l2", "l1"), start=True)
def pgd(
    threat: Threat,
    call: Call,
    *,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
) -> Translation:
    """Projected gradient descent on the summed cross-entropy, final iterate.

    Several restarts are the library's `repeat`, which keeps the first success of each row.
    """
    pace = _pace(threat, call, steps, step_size)
    return _ascent("ProjectedGradientDescentAttack", threat, call, restarts, pace)


@attack("bim", norms=("linf", "l2", "l1"))
def bim(
    threat: Threat, call: Call, *, steps: int = 10, step_size: float | None = None
) -> Translation:
    """Basic iterative method: {Linf,L2,L1}BasicIterativeAttack, PGD from x."""
    return _ascent("BasicIterativeAttack", threat, call, 0, _pace(threat, call, steps, step_size))


@attack("mifgsm", norms=("linf", "l2", "l1"), start=True)
def mifgsm(
    threat: Threat,
    call: Call,
    *,
    steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
    restarts: int = 0,
) -> Translation:
    """Momentum iterative FGSM, which in L-inf adds up signs instead of gradients (F2)."""
    given = {"momentum": float(decay), **_pace(threat, call, steps, step_size)}
    return _ascent("MomentumIterativeFastGradientMethod", threat, call, restarts, given)


@attack("cw", norms=("l2",), goal="minimise")
def cw(
    threat: Threat,
    call: Call,
    *,
    steps: int = 1000,
    step_size: float = 0.01,
    search_steps: int = 9,
    const: float = 1e-3,
    confidence: float = 0.0,
    abort_early: bool = True,
) -> Translation:
    """Carlini and Wagner's L2 attack: L2CarliniWagnerAttack.

    Args:
        threat: its radius plays no part.
        call: see `Call`.
        steps: of Adam for each constant.
        step_size: of Adam, in tanh space.
        search_steps: constants that are tried.
        const: the first of them.
        confidence: margin of logits to reach.
        abort_early: give a constant up for the whole batch when its loss stalls.
    """
    del threat, call
    given = {
        "binary_search_steps": search_steps,
        "steps": steps,
        "stepsize": float(step_size),
        "confidence": float(confidence),
        "initial_const": float(const),
        "abort_early": abort_early,
    }
    return Translation("foolbox.attacks.L2CarliniWagnerAttack", given, call={"epsilons": None})


@attack("deepfool", norms=("linf", "l2"), goal="minimise")
def deepfool(
    threat: Threat, call: Call, *, steps: int = 50, overshoot: float = 0.02, candidates: int = 10
) -> Translation:
    """DeepFool: {L2,Linf}DeepFoolAttack, on logits.

    `candidates` is the number of classes whose boundaries are considered.
    """
    at_least("steps", steps, 1)
    at_least("candidates", candidates, 2)
    given = {
        "steps": steps,
        "candidates": min(candidates, call.classes),
        "overshoot": float(overshoot),
        "loss": "logits",
    }
    target = f"foolbox.attacks.{NORMS[threat.norm]}DeepFoolAttack"
    return Translation(target, given, call={"epsilons": None})


@attack("any", norms=("linf", "l2", "l1"))
def any_attack(
    threat: Threat, call: Call, *, attack: str, params: dict[str, Any] | None = None
) -> Translation:
    """Any attack of Foolbox, by the name of its class and its own arguments.

    An attack with a fixed budget gets eps; a minimum-norm attack runs without one. `distance` is
    filled in where the class takes it; all other arguments that are not given have the library's
    defaults.
    """
    kind = _class(attack)
    fixed = issubclass(kind, importlib.import_module("foolbox.attacks.base").FixedEpsilonAttack)
    given = arguments(kind, params or {}, supplied=("distance",))
    call_with: dict[str, Any] = {"epsilons": call.radius(threat) if fixed else None}
    if "distance" in inspect.signature(kind).parameters:
        call_with["distance"] = threat.norm
    return Translation(f"foolbox.attacks.{attack}", given, call=call_with)
