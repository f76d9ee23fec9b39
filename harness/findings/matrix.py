"""Who is who in a suite, told by what a model is made of and not by its name."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from harness.core.registry import registry
from harness.core.types import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.core.types import Use
    from harness.suite import ModelSpec, Suite

CUTOUT, MIXUP, FGSM, PGD = "cutout", "mixup", "fgsm", "pgd"


@dataclass(frozen=True)
class Role:
    """Models that play one part in the claims.

    Args:
        title: for people, in the plural.
        models: names, in the order of the suite.
    """

    title: str
    models: tuple[str, ...]

    def __iter__(self) -> Iterator[str]:
        return iter(self.models)

    def __len__(self) -> int:
        return len(self.models)

    def __add__(self, other: Role) -> Role:
        return Role(f"{self.title} and {other.title}", self.models + other.models)

    def without(self, others: Iterable[str]) -> Role:
        """The models that are not among `others`."""
        left_out = set(others)
        return Role(f"other {self.title}", tuple(m for m in self.models if m not in left_out))


@dataclass(frozen=True)
class Step:
    """One step of a training: its plug's name, its parameters with defaults, whether it attacks."""

    name: str
    params: dict[str, Any]
    attack: bool

    @classmethod
    def of(cls, use: Use) -> Step:
        """The step that a suite names."""
        plug = registry.get("recipe", use.name)
        return cls(use.name, plug.complete(use.params), bool(plug.meta["attack"]))

    @property
    def text(self) -> str:
        """The same for equal steps."""
        return canonical([self.name, self.params])


@dataclass(frozen=True)
class Matrix:
    """The models of a suite by role.

    Args:
        suite: resolved.
    """

    suite: Suite

    @property
    def baseline(self) -> str:
        """Name of the baseline, or ""."""
        return self.suite.baseline

    @cached_property
    def everyone(self) -> Role:
        """All models."""
        return self._role("models", self.suite.models)

    @cached_property
    def large(self) -> Role:
        """Trained as the baseline is, on another network."""
        own = self._base.network if self._base else None
        plain = [m for m in self.suite.models if m.network is not None and not m.train]
        return self._role(
            "models of another size",
            (m for m in plain if m.name != self.baseline and m.network != own),
        )

    @cached_property
    def ensembles(self) -> Role:
        """Ensembles of the baseline, smallest first."""
        found = [m for m in self.suite.models if m.ensemble and m.ensemble == self.baseline]
        return self._role("ensembles", sorted(found, key=lambda model: model.size or 0))

    @cached_property
    def attacked(self) -> Role:
        """Trained on attacks and nothing else."""
        return self._trained("purely adversarially trained models", lambda *kinds: all(kinds))

    @cached_property
    def augmented(self) -> Role:
        """Trained on augmented images and nothing else."""
        return self._trained("augmented models", lambda *kinds: not any(kinds))

    @cached_property
    def combined(self) -> Role:
        """Trained on augmentation and attacks."""
        return self._trained("combinations", lambda *kinds: any(kinds) and not all(kinds))

    @cached_property
    def adversarial(self) -> Role:
        """Trained on attacks, augmented or not."""
        return Role("adversarially trained models", self.attacked.models + self.combined.models)

    # ------------------------------------------------------------ within the roles

    def having(self, role: Role, name: str, title: str) -> Role:
        """Those of a role that train with a step of that name."""
        return Role(title, tuple(m for m in role if name in self._names(m)))

    @cached_property
    def mixup_first(self) -> Role:
        """Trained with MixUp first and an attack second."""
        found = tuple(m for m in self.combined if self._names(m)[0] == MIXUP)
        return Role("models trained with MixUp first and an attack second", found)

    @cached_property
    def ladders(self) -> tuple[tuple[str, ...], ...]:
        """Purely adversarially trained models that differ in the budget alone, smallest first."""
        groups: dict[str, list[str]] = {}
        for model in sorted(self.attacked, key=self.budget):
            groups.setdefault(self._but_budget(model), []).append(model)
        return tuple(tuple(group) for group in groups.values() if len(group) > 1)

    @cached_property
    def rivals(self) -> tuple[tuple[str, str], ...]:
        """(trained on FGSM, trained on PGD) at the same budget, smallest first."""
        by = {(self._names(m)[0], self.budget(m)): m for m in self.attacked}
        budgets = sorted({budget for _, budget in by})
        return tuple(
            (by[FGSM, budget], by[PGD, budget])
            for budget in budgets
            if (FGSM, budget) in by and (PGD, budget) in by
        )

    @cached_property
    def orders(self) -> tuple[tuple[str, str], ...]:
        """(augmented first, attacked first): combinations of the same steps in the two orders."""
        texts = {m: [step.text for step in self.steps(m)] for m in self.combined}
        return tuple(
            (a, b)
            for a in self.combined
            for b in self.combined
            if texts[a] == texts[b][::-1] and not self.steps(a)[0].attack
        )

    # ------------------------------------------------------------ one model

    def steps(self, model: str) -> tuple[Step, ...]:
        """Steps of its training."""
        return tuple(Step.of(use) for use in self.suite.model(model).train)

    def budget(self, model: str) -> float:
        """Largest eps of its training attacks."""
        return max(step.params["eps"] for step in self.steps(model) if step.attack)

    def attack(self, model: str) -> str:
        """Name of the attack that it was trained on."""
        return next(step.name for step in self.steps(model) if step.attack)

    def _names(self, model: str) -> tuple[str, ...]:
        return tuple(step.name for step in self.steps(model))

    def _but_budget(self, model: str) -> str:
        spec = self.suite.model(model)
        steps = [
            [step.name, {key: value for key, value in step.params.items() if key != "eps"}]
            for step in self.steps(model)
        ]
        return canonical([spec.network.plain() if spec.network else None, steps])

    @property
    def _base(self) -> ModelSpec | None:
        return self.suite.model(self.baseline) if self.baseline else None

    def _trained(self, title: str, fits: Any) -> Role:  # noqa: ANN401 -- a test of bools
        found = (m for m in self.suite.models if m.train)
        return self._role(
            title, (m for m in found if fits(*(s.attack for s in self.steps(m.name))))
        )

    @staticmethod
    def _role(title: str, models: Iterable[ModelSpec]) -> Role:
        return Role(title, tuple(model.name for model in models))
