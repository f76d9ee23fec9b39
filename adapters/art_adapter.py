"""ART 1.20.1 (adversarial-robustness-toolbox): its attacks by our names, and any other by its own.

Known deviations: A1 to A9 in harness/crosscheck/deviations/attacks.yaml.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.util
import inspect
import warnings
from typing import TYPE_CHECKING, Any, Literal
from unittest import mock

import numpy as np

from harness.core.errors import ContractViolation, InputError, MissingLibrary, UnknownName
from harness.core.parameters import Bound
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
    from collections.abc import Callable, Generator, Mapping

    import torch

    from harness.core.threat import Threat
    from harness.core.types import Classifier

NORMS: dict[str, str | int] = {"linf": "inf", "l2": 2, "l1": 1}
LOSSES = {"ce": "cross_entropy", "dlr": "difference_logits_ratio"}
EVASION = "art.attacks.evasion"
Reduction = Literal["sum", "mean"]


def parity(
    model: Classifier, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and input gradient of the summed cross-entropy, as ART sees them."""
    import torch

    call = Call(len(x), tuple(x.shape[1:]), model.num_classes, device=x.device.type)
    estimator = _estimator(model, x, _classifier(call))
    images, labels = _arrays(x, y)
    with global_state(0):
        logits = estimator.predict(images, batch_size=len(images))
        gradient = estimator.loss_gradient(
            images, np.eye(model.num_classes, dtype=np.float32)[labels]
        )
    return torch.from_numpy(logits).to(x), torch.from_numpy(gradient).to(x)


LIBRARY = registry.library(
    Library("art", "art", "adversarial-robustness-toolbox", "1.20.1", parity=parity)
)


def run(task: Task, how: Translation) -> torch.Tensor:
    """Do a task with the class, arguments and classifier of a translation."""
    import torch

    if task.x.dtype != torch.float32:
        raise InputError(f"{task.name}: ART computes in float32 only, got {task.x.dtype}")
    images, labels = _arrays(task.x, task.y)
    with global_state(task.call.seed), _given_start(task), _quiet():
        attack = _build(how.target, how.arguments, _estimator(task.model, task.x, how.model))
        found = torch.from_numpy(attack.generate(x=images, y=labels)).to(task.x)
    if how.target.endswith(".DeepFool"):  # ignores y: it would lead wrong rows back to their label
        wrong = ~task.right()
        found[wrong] = task.x[wrong]
    return found


def _arrays(x: torch.Tensor, y: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Copies: ART writes into some of its inputs."""
    return x.detach().cpu().numpy().copy(), y.cpu().numpy().copy()


def _estimator(model: Classifier, x: torch.Tensor, given: Mapping[str, Any]) -> Any:  # noqa: ANN401 -- ART's
    import torch
    from art.estimators.classification import PyTorchClassifier

    reduction = given["loss"].partition("reduction=")[2].rstrip(")")
    loss = torch.nn.CrossEntropyLoss(reduction=reduction)
    ranges = {name: tuple(given[name]) for name in ("clip_values", "preprocessing", "input_shape")}
    return PyTorchClassifier(sealed(model, x), **{**given, **ranges, "loss": loss})


def _classifier(call: Call, reduction: Reduction = "sum") -> dict[str, Any]:
    """Arguments of ART's PyTorchClassifier but the model."""
    return {
        "loss": f"CrossEntropyLoss(reduction={reduction})",
        "input_shape": list(call.shape),
        "nb_classes": call.classes,
        "optimizer": None,
        "use_amp": False,
        "opt_level": "O1",
        "loss_scale": "dynamic",
        "channels_first": True,
        "clip_values": [0.0, 1.0],
        "preprocessing_defences": None,
        "postprocessing_defences": None,
        "preprocessing": [0.0, 1.0],
        "device_type": "cpu" if call.device == "cpu" else "gpu",
    }


def _build(target: str, given: Mapping[str, Any], estimator: Any) -> Any:  # noqa: ANN401 -- ART's
    """The attack; an argument that is a list of translations becomes a list of attacks."""
    parts = {
        name: [_build(part["target"], part["arguments"], estimator) for part in value]
        for name, value in given.items()
        if name == "attacks" and value
    }
    return _class(target.rpartition(".")[2])(estimator, **{**given, **parts})


def _class(name: str) -> Callable[..., Any]:
    """An attack class of the library.

    Raises:
        UnknownName: it has none of that name.
        MissingLibrary: the class needs a package that ART does not bring.
    """
    evasion = importlib.import_module(EVASION)
    base = importlib.import_module("art.attacks.attack").EvasionAttack
    known = {
        each: kind
        for each, kind in vars(evasion).items()
        if inspect.isclass(kind) and issubclass(kind, base)
    }
    if name not in known:
        raise UnknownName("attack of art", name, known)
    if name == "AutoAttack" and importlib.util.find_spec("multiprocess") is None:
        raise MissingLibrary("multiprocess", "multiprocess==0.70.19")
    return known[name]


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Without the warnings that ART itself causes, whatever its user does."""
    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        # utils.py:compute_success_array hands a torch tensor to NumPy (several restarts of PGD);
        # square_attack.py divides by a budget that may be zero (L2, A14): those steps are refused.
        message = "__array__ implementation doesn't accept a copy keyword"
        warnings.filterwarnings("ignore", message, DeprecationWarning)
        yield


@contextlib.contextmanager
def _given_start(task: Task) -> Generator[None]:
    """While it lasts, ART's random points of the ball are the given noise."""
    if task.noise is None:
        yield
        return
    noise = task.noise.detach().cpu().flatten(1).numpy()
    right = task.right().cpu().numpy()

    def sphere(points: int, *_: object) -> np.ndarray:
        rows = noise if points == len(noise) else noise[right]
        if len(rows) != points:
            raise ContractViolation(task.name, "asked for a start of other rows than were given")
        return rows

    with contextlib.ExitStack() as stack:
        for module in (
            "fast_gradient",
            "auto_projected_gradient_descent",
            "projected_gradient_descent.projected_gradient_descent_pytorch",
        ):
            place = importlib.import_module(f"{EVASION}.{module}")
            stack.enter_context(mock.patch.object(place, "random_sphere", sphere))
        yield


attack = functools.partial(wrapped, LIBRARY, run)


def _times(restarts: int, call: Call) -> int:
    at_least("restarts", restarts, 0)
    return 1 if call.noise else restarts


@attack("fgsm", norms=("linf", "l2", "l1"), start=True)
def fgsm(
    threat: Threat, call: Call, *, restarts: int = 0, reduction: Reduction = "sum"
) -> Translation:
    """Fast gradient method: FastGradientMethod.

    With several restarts it keeps the one that is best for the batch as a whole, and x itself if
    none has any success (A8).
    """
    eps = call.radius(threat)
    given = {
        "norm": NORMS[threat.norm],
        "eps": eps,
        "eps_step": eps,
        "targeted": False,
        "num_random_init": _times(restarts, call),
        "batch_size": call.rows,
        "minimal": False,
        "summary_writer": False,
    }
    return Translation(f"{EVASION}.FastGradientMethod", given, _classifier(call, reduction))


@attack("pgd", norms=("linf", "l2", "l1"), start=True)
def pgd(
    threat: Threat,
    call: Call,
    *,
    steps: int = 40,
    step_size: float | None = None,
    restarts: int = 1,
    reduction: Reduction = "sum",
    variant: Literal["torch", "numpy"] = "torch",
) -> Translation:
    """Projected gradient descent, final iterate; clips to the box before it projects on the ball.

    `variant` "torch" is what ProjectedGradientDescent chooses for a PyTorch model, "numpy" what it
    chooses for others.
    """
    given = {
        "norm": NORMS[threat.norm],
        "eps": call.radius(threat),
        "eps_step": call.step(threat, steps, step_size),
        "decay": None,
        "max_iter": steps,
        "targeted": False,
        "num_random_init": _times(restarts, call),
        "batch_size": call.rows,
        "random_eps": False,
        "summary_writer": False,
        "verbose": False,
    }
    name = "" if variant == "torch" else "Numpy"
    target = f"{EVASION}.ProjectedGradientDescent{name}"
    return Translation(target, given, _classifier(call, reduction))


@attack("bim", norms=("linf",))
def bim(
    threat: Threat,
    call: Call,
    *,
    steps: int = 10,
    step_size: float | None = None,
    reduction: Reduction = "sum",
) -> Translation:
    """Basic iterative method: BasicIterativeMethod, PGD from x in the L-inf ball."""
    given = {
        "eps": call.radius(threat),
        "eps_step": call.step(threat, steps, step_size),
        "max_iter": steps,
        "targeted": False,
        "batch_size": call.rows,
        "verbose": False,
    }
    return Translation(f"{EVASION}.BasicIterativeMethod", given, _classifier(call, reduction))


@attack("mifgsm", norms=("linf", "l2", "l1"))
def mifgsm(
    threat: Threat,
    call: Call,
    *,
    steps: int = 10,
    step_size: float | None = None,
    decay: float = 1.0,
    reduction: Reduction = "sum",
) -> Translation:
    """Momentum iterative FGSM: MomentumIterativeMethod, PGD from x on L1-normalised gradients."""
    given = {
        "norm": NORMS[threat.norm],
        "eps": call.radius(threat),
        "eps_step": call.step(threat, steps, step_size),
        "decay": float(decay),
        "max_iter": steps,
        "targeted": False,
        "batch_size": call.rows,
        "verbose": False,
    }
    return Translation(f"{EVASION}.MomentumIterativeMethod", given, _classifier(call, reduction))


@attack("cw", norms=("l2",), goal="minimise")
def cw(
    threat: Threat,
    call: Call,
    *,
    steps: int = 10,
    step_size: float = 0.01,
    search_steps: int = 10,
    const: float = 0.01,
    confidence: float = 0.0,
    halvings: int = 5,
    doublings: int = 5,
) -> Translation:
    """Carlini and Wagner's L2 attack: CarliniL2Method, gradient descent with a line search.

    Args:
        threat: its radius plays no part.
        call: see `Call`.
        steps: gradient steps for each constant.
        step_size: with which the line search begins, in tanh space.
        search_steps: constants that are tried.
        const: the first of them.
        confidence: margin of logits to reach.
        halvings: of the step, at most, in one line search.
        doublings: likewise.
    """
    del threat
    given = {
        "confidence": float(confidence),
        "targeted": False,
        "learning_rate": float(step_size),
        "binary_search_steps": search_steps,
        "max_iter": steps,
        "initial_const": float(const),
        "max_halving": halvings,
        "max_doubling": doublings,
        "batch_size": call.rows,
        "verbose": False,
    }
    return Translation(f"{EVASION}.CarliniL2Method", given, _classifier(call))


@attack("deepfool", norms=("l2",), goal="minimise")
def deepfool(
    threat: Threat, call: Call, *, steps: int = 50, overshoot: float = 0.02, candidates: int = 10
) -> Translation:
    """DeepFool away from the prediction; rows that are wrong already are left as they are.

    `candidates` is the number of classes whose boundaries are considered.
    """
    del threat
    return Translation(
        f"{EVASION}.DeepFool", _deepfool(call, steps, overshoot, candidates), _classifier(call)
    )


def _deepfool(call: Call, steps: int, overshoot: float, candidates: int) -> dict[str, Any]:
    at_least("steps", steps, 1)
    at_least("candidates", candidates, 1)
    return {
        "max_iter": steps,
        "epsilon": float(overshoot),
        "nb_grads": min(candidates, call.classes),
        "batch_size": call.rows,
        "verbose": False,
    }


@attack("apgd", norms=("linf", "l2", "l1"), start=True, bounds={"restarts": Bound(1)})
def apgd(
    threat: Threat,
    call: Call,
    *,
    steps: int = 100,
    step_size: float | None = None,
    restarts: int = 1,
    loss: Literal["ce", "dlr"] = "ce",
) -> Translation:
    """Auto-PGD: AutoProjectedGradientDescent, whose rows that never fall come back perturbed (A3).

    `step_size` is the first step, 2 * eps as in the paper if None.
    """
    at_least("restarts", restarts, 1)
    given = _apgd(threat, call, steps, step_size, _times(restarts, call), loss)
    return Translation(f"{EVASION}.AutoProjectedGradientDescent", given, _classifier(call))


def _apgd(
    threat: Threat, call: Call, steps: int, step_size: float | None, restarts: int, loss: str
) -> dict[str, Any]:
    at_least("steps", steps, 1)
    radius = call.radius(threat)
    return {
        "norm": NORMS[threat.norm],
        "eps": radius,
        "eps_step": 2 * radius if step_size is None else float(step_size),
        "max_iter": steps,
        "targeted": False,
        "nb_random_init": restarts,
        "batch_size": call.rows,
        "loss_type": LOSSES[loss],
        "verbose": False,
    }


@attack("square", norms=("linf", "l2"), gradient=False, bounds={"restarts": Bound(1)})
def square(
    threat: Threat,
    call: Call,
    *,
    queries: int = 5000,
    restarts: int = 1,
    p_init: float = 0.8,
) -> Translation:
    """Square attack: SquareAttack.

    `queries` counts its iterations, as in the other libraries; each costs ART three forward passes.
    The schedule of square sizes is stretched over them.
    """
    given = _square(threat, call, queries, restarts, p_init)
    return Translation(f"{EVASION}.SquareAttack", given, _classifier(call))


def _square(
    threat: Threat, call: Call, queries: int, restarts: int, p_init: float
) -> dict[str, Any]:
    at_least("queries", queries, 1)
    at_least("restarts", restarts, 1)
    return {
        "norm": NORMS[threat.norm],
        "adv_criterion": None,
        "loss": None,
        "max_iter": queries,
        "eps": call.radius(threat),
        "p_init": float(p_init),
        "nb_restarts": restarts,
        "batch_size": call.rows,
        "verbose": False,
    }


@attack("autoattack", norms=("linf", "l2"), native={"step_size": 0.1})
def autoattack(
    threat: Threat,
    call: Call,
    *,
    steps: int = 100,
    restarts: int = 5,
    step_size: float | None = None,
    queries: int = 5000,
    deepfool_steps: int = 100,
    overshoot: float = 1e-3,
) -> Translation:
    """AutoAttack as ART composes it: APGD-CE, APGD-DLR, DeepFool and Square, none of them targeted.

    This is not the official composition (A2). It needs the package `multiprocess`. `step_size` is
    APGD's first step, 2 * eps if None (ART's own default is 0.1).
    """
    searches = [
        (
            "AutoProjectedGradientDescent",
            _apgd(threat, call, steps, step_size, restarts, loss),
        )
        for loss in LOSSES
    ]
    parts = [
        *searches,
        ("DeepFool", _deepfool(call, deepfool_steps, overshoot, 10)),
        ("SquareAttack", _square(threat, call, queries, restarts, 0.8)),
    ]
    given = {
        "norm": NORMS[threat.norm],
        "eps": call.radius(threat),
        "eps_step": searches[0][1]["eps_step"],
        "attacks": [Translation(f"{EVASION}.{name}", part).plain() for name, part in parts],
        "batch_size": call.rows,
        "estimator_orig": None,
        "targeted": False,
        "parallel_pool_size": 0,
    }
    return Translation(f"{EVASION}.AutoAttack", given, _classifier(call))


@attack("any", norms=("linf", "l2", "l1"))
def any_attack(
    threat: Threat,
    call: Call,
    *,
    attack: str,
    params: dict[str, Any] | None = None,
    reduction: Reduction = "sum",
) -> Translation:
    """Any evasion attack of ART, by the name of its class and its own arguments.

    `eps`, `norm`, `batch_size` and `verbose` are filled in where the class takes them and `params`
    does not say; all other arguments that are not given have the library's defaults.
    """
    ours = {
        "eps": call.radius(threat),
        "norm": NORMS[threat.norm],
        "batch_size": call.rows,
        "verbose": False,
    }
    taken = arguments(_class(attack), params or {}, supplied=("estimator", "classifier"))
    filled = {name: ours.get(name, value) for name, value in taken.items()} | (params or {})
    return Translation(f"{EVASION}.{attack}", filled, _classifier(call, reduction))
