"""pyautoattack 0.2.0, the official AutoAttack as a package: its attacks by our names and parameters.

Known deviations: P1 to P6 in harness/crosscheck/deviations/attacks.yaml.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
from typing import TYPE_CHECKING, Any, Literal

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
    sealed,
    wrapped,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import torch

    from harness.core.threat import Threat
    from harness.core.types import Classifier

NORMS = {"linf": "Linf", "l2": "L2", "l1": "L1"}
PLACES = {
    "AutoAttack": "autoattack",
    "APGDAttack": "autopgd_base",
    "APGDAttack_targeted": "autopgd_base",
    "FABAttack_PT": "fab_pt",
    "SquareAttack": "square",
}
Name = Literal["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"]
VERSIONS: dict[str, list[str]] = {
    "standard": ["apgd-ce", "apgd-t", "fab-t", "square"],
    "plus": ["apgd-ce", "apgd-dlr", "fab", "square", "apgd-t", "fab-t"],
    "rand": ["apgd-ce", "apgd-dlr"],
}
NEEDS = {"apgd-dlr": 3, "apgd-t": 4}  # classes; with fewer the library fails on an index


def parity(
    model: Classifier, x: torch.Tensor, y: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and input gradient of the summed cross-entropy, as pyautoattack sees them."""
    import torch
    from pyautoattack import AutoAttack

    attack = AutoAttack(sealed(model, x), device=x.device, eps=0.1, norm="Linf", seed=0)
    points = x.detach().clone().requires_grad_()
    logits = attack.get_logits(points)
    loss = torch.nn.CrossEntropyLoss(reduction="none")(logits, y).sum()
    (gradient,) = torch.autograd.grad(loss, points)
    return logits.detach(), gradient


LIBRARY = registry.library(
    Library(
        "autoattack", "pyautoattack", "pyautoattack", "0.2.0", extra="autoattack", parity=parity
    )
)


def run(task: Task, how: Translation) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Do a task with the class, arguments and settings of a translation.

    Returns:
        The images, and for AutoAttack itself the success that it claims.
    """
    import torch

    if task.x.dtype != torch.float32:
        raise InputError(f"{task.name}: pyautoattack casts to float32, got {task.x.dtype}")
    kind = _class(how.target.rpartition(".")[2])
    attack = kind(sealed(task.model, task.x), **how.arguments, device=task.x.device)
    for path, value in how.settings.items():
        _set(attack, path, value)
    if task.noise is not None:
        right = task.right()
        start = (task.x + task.noise)[right]
        attack.attack_single_run = functools.partial(attack.attack_single_run, x_init=start)
    with global_state(task.call.seed), _undisturbed():
        if kind.__name__ == "AutoAttack":
            found, labels = attack.run_standard_evaluation(task.x, task.y, **how.call)
            return found, labels != task.y
        return attack.perturb(task.x.clone(), task.y.clone()).detach()


def _class(name: str) -> Callable[..., Any]:
    """An attack class of the library.

    Raises:
        UnknownName: it has none of that name.
    """
    import importlib

    if name not in PLACES:
        raise UnknownName("attack of pyautoattack", name, PLACES)
    return getattr(importlib.import_module(f"pyautoattack.{PLACES[name]}"), name)


def _set(attack: object, path: str, value: object) -> None:
    """Set an attribute by a dotted path."""
    *parents, last = path.split(".")
    for name in parents:
        attack = getattr(attack, name)
    if not hasattr(attack, last):
        raise AttributeError(f"{path}: no such setting; another version of pyautoattack?")
    setattr(attack, last, value)


@contextlib.contextmanager
def _undisturbed() -> Generator[None]:
    """Keep tracer, log and memory of the library's checks as they were.

    `check_dynamic` switches the tracer off and counts calls in a dictionary that is never reset,
    so that one model's finding is reported of all later ones. Its warnings have no place on the
    user's terminal: the harness probes models itself (H02 to H06).
    """
    from pyautoattack import checks

    tracer, log, seen = sys.gettrace(), logging.getLogger("auto-attack"), dict(checks.funcs)
    silent, log.disabled = log.disabled, True
    try:
        yield
    finally:
        sys.settrace(tracer)
        log.disabled = silent
        checks.funcs.update(seen)


attack = functools.partial(wrapped, LIBRARY, run)


@attack("apgd", norms=("linf", "l2", "l1"), start=True, bounds={"restarts": Bound(1)})
def apgd(
    threat: Threat,
    call: Call,
    *,
    steps: int = 100,
    restarts: int = 1,
    loss: Literal["ce", "dlr"] = "ce",
    rho: float = 0.75,
) -> Translation:
    """Auto-PGD: APGDAttack; rows that are wrong at the start, or never fall, come back clean."""
    at_least("steps", steps, 1)
    at_least("restarts", restarts, 1)
    if loss == "dlr":
        _enough_classes(["apgd-dlr"], call)
    given = {
        "n_iter": steps,
        "norm": NORMS[threat.norm],
        "n_restarts": 1 if call.noise else restarts,
        "eps": call.radius(threat),
        "seed": call.seed,
        "loss": loss,
        "eot_iter": 1,
        "rho": float(rho),
        "topk": None,
        "verbose": False,
        "use_largereps": False,
        "is_tf_model": False,
        "logger": None,
    }
    return Translation("pyautoattack.autopgd_base.APGDAttack", given)


@attack("square", norms=("linf", "l2", "l1"), gradient=False, bounds={"restarts": Bound(1)})
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
    """Square attack: SquareAttack.

    `rescale` stretches the schedule of square sizes over the queries; AutoAttack does not.
    """
    at_least("queries", queries, 1)
    at_least("restarts", restarts, 1)
    given = {
        "norm": NORMS[threat.norm],
        "n_queries": queries,
        "eps": call.radius(threat),
        "p_init": float(p_init),
        "n_restarts": restarts,
        "seed": call.seed,
        "verbose": False,
        "targeted": False,
        "loss": loss,
        "resc_schedule": rescale,
    }
    return Translation("pyautoattack.square.SquareAttack", given)


@attack("autoattack", norms=("linf", "l2", "l1"), whole=True)
def autoattack(
    threat: Threat,
    call: Call,
    *,
    version: Literal["standard", "plus", "rand"] = "standard",
    attacks: list[Name] | None = None,
    steps: int = 100,
    restarts: int | None = None,
    queries: int = 5000,
    seed: int | None = None,
    batch_size: int = 250,
) -> Translation:
    """The official AutoAttack.

    Args:
        threat: the ball.
        call: see `Call`.
        version: which sub-attacks, with which restarts.
        attacks: these sub-attacks in place of a version's.
        steps: of APGD and FAB.
        restarts: of the untargeted APGD and FAB; None for the version's own, 1 for `attacks`.
        queries: of Square.
        seed: of every sub-attack; drawn from the run's stream if None.
        batch_size: images at a time; the result depends on it.

    Raises:
        InputError: the model has too few classes for a sub-attack.

    Source: Croce and Hein, arXiv:2003.01690.
    """
    chosen: list[str] = list(attacks) if attacks else VERSIONS[version]
    for name in chosen:
        if name not in VERSIONS["plus"]:
            raise UnknownName("sub-attack of AutoAttack", name, VERSIONS["plus"])
    _enough_classes(chosen, call)
    given = {
        "attacks": chosen if attacks else None,
        "eps": call.radius(threat),
        "norm": NORMS[threat.norm],
        "seed": call.seed if seed is None else seed,
        "version": "custom" if attacks else version,
    }
    settings = _settings(threat, call, "custom" if attacks else version, steps, restarts)
    settings["square.n_queries"] = queries
    return Translation(
        "pyautoattack.AutoAttack", given, settings=settings, call={"batch_size": batch_size}
    )


def _enough_classes(attacks: list[str], call: Call) -> None:
    for name in attacks:
        if call.classes < NEEDS.get(name, 2):
            raise InputError(
                f"{name} needs at least {NEEDS[name]} classes, got {call.classes}; "
                "name other sub-attacks in `attacks`"
            )


def _settings(
    threat: Threat, call: Call, version: str, steps: int, restarts: int | None
) -> dict[str, Any]:
    """What makes up the sub-attacks; at 100 steps and 10 classes, the library's own values."""
    at_least("steps", steps, 1)
    wide = threat.norm == "l1" and version == "standard"
    own = 5 if wide or version == "plus" else 1
    times = own if restarts is None else restarts
    at_least("restarts", times, 1)
    targets = min(5 if wide else 9, call.classes - 1)
    pace = {
        "n_iter": steps,
        "n_iter_orig": steps,
        "n_iter_2": max(int(0.22 * steps), 1),
        "n_iter_min": max(int(0.06 * steps), 1),
        "size_decr": max(int(0.03 * steps), 1),
        "thr_decr": 0.75,
        "use_largereps": wide,
    }
    parts: dict[str, dict[str, Any]] = {
        "apgd": {**pace, "n_restarts": times, "eot_iter": 20 if version == "rand" else 1},
        "apgd_targeted": {**pace, "n_restarts": 1, "eot_iter": 1, "n_target_classes": targets},
        "fab": {
            "n_iter": steps,
            "n_restarts": times if version in ("plus", "custom") else 1,
            "n_target_classes": min(9, call.classes - 1),
            "alpha_max": 0.1,
            "eta": 1.05,
            "beta": 0.9,
        },
        "square": {"n_restarts": 1, "p_init": 0.8, "loss": "margin", "rescale_schedule": False},
    }
    return {f"{part}.{name}": value for part, its in parts.items() for name, value in its.items()}


@attack("any", norms=("linf", "l2", "l1"))
def any_attack(
    threat: Threat, call: Call, *, attack: str, params: dict[str, Any] | None = None
) -> Translation:
    """Any attack of pyautoattack, by the name of its class and its own arguments.

    `eps`, `norm` and `seed` are filled in where `params` does not say; all other arguments that
    are not given have the library's defaults.
    """
    ours = {"eps": call.radius(threat), "norm": NORMS[threat.norm], "seed": call.seed}
    supplied = ("model", "predict", "device")
    taken = arguments(_class(attack), params or {}, supplied=supplied)
    filled = {name: ours.get(name, value) for name, value in taken.items()} | (params or {})
    return Translation(f"pyautoattack.{PLACES[attack]}.{attack}", filled)
