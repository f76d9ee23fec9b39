"""The libraries as their users call them: images, labels and budgets to robust accuracy.

Each takes the network as a module that counts its passes, and is judged by our own forward pass: an
image counts as robust if it is right before the attack and after it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from contest import Found

from harness.attacks.counting import Counted
from harness.attacks.runner import predict
from harness.core.rng import global_state
from harness.core.types import Classifier

Peer = Callable[[int], Found]
Attack = Callable[[torch.nn.Module, torch.Tensor, torch.Tensor, float], torch.Tensor]


def torchattacks_pgd(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, budgets: Sequence[float], steps: int
) -> Peer:
    """torchattacks.PGD in a loop over budgets, alpha = eps / 30, its random start."""

    def attack(
        module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float
    ) -> torch.Tensor:
        import torchattacks

        return torchattacks.PGD(module, eps=eps, alpha=eps / 30, steps=steps)(x, y)

    return _loop(attack, model, x, y, budgets)


def art_pgd(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, budgets: Sequence[float], steps: int
) -> Peer:
    """ART's ProjectedGradientDescent in a loop over budgets, one random start, batches of 500."""

    def attack(
        module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float
    ) -> torch.Tensor:
        from art.attacks.evasion import ProjectedGradientDescent
        from art.estimators.classification import PyTorchClassifier

        wrapped = PyTorchClassifier(
            model=module,
            loss=torch.nn.CrossEntropyLoss(),
            input_shape=tuple(x.shape[1:]),
            nb_classes=model.num_classes,
            clip_values=(0.0, 1.0),
            device_type="cpu",
        )
        attack = ProjectedGradientDescent(
            wrapped,
            eps=eps,
            eps_step=eps / 30,
            max_iter=steps,
            num_random_init=1,
            batch_size=500,
            verbose=False,
        )
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))

    return _loop(attack, model, x, y, budgets)


def foolbox_pgd(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, budgets: Sequence[float], steps: int
) -> Peer:
    """Foolbox's LinfPGD with epsilons=[...], steps of eps / 30, its random start."""

    def work(seed: int) -> Found:
        import foolbox

        counted = Counted(model)
        wrapped = foolbox.PyTorchModel(counted.module.eval(), bounds=(0, 1))
        attack = foolbox.attacks.LinfPGD(rel_stepsize=1 / 30, steps=steps, random_start=True)
        with global_state(seed):
            _, moved, _ = attack(wrapped, x, y, epsilons=list(budgets))
        return Found(_robust(model, x, y, moved), counted.backwards / len(x))

    return work


def official_apgd(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, eps: float, steps: int
) -> Peer:
    """pyautoattack's APGD on cross-entropy, one start."""

    def attack(
        module: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, eps: float
    ) -> torch.Tensor:
        from pyautoattack.autopgd_base import APGDAttack

        official = APGDAttack(
            module, n_iter=steps, norm="Linf", n_restarts=1, eps=eps, seed=0, device=x.device
        )
        return official.perturb(x, y)

    return _loop(attack, model, x, y, [eps])


def _loop(
    attack: Attack, model: Classifier, x: torch.Tensor, y: torch.Tensor, budgets: Sequence[float]
) -> Peer:
    def work(seed: int) -> Found:
        counted = Counted(model)
        with global_state(seed):
            moved = [attack(counted.module.eval(), x.clone(), y.clone(), eps) for eps in budgets]
        return Found(_robust(model, x, y, moved), counted.backwards / len(x))

    return work


def _robust(
    model: Classifier, x: torch.Tensor, y: torch.Tensor, moved: Sequence[torch.Tensor]
) -> np.ndarray:
    right = predict(model, x) == y.numpy()
    return np.array([(right & (predict(model, z) == y.numpy())).mean() for z in moved])
