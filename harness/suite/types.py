"""The types of a suite: frozen, and no key that they do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from harness.core.threat import Norm
from harness.core.types import Use


class Strict(BaseModel):
    """Frozen, and no key that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)


def _use(value: object) -> object:
    if isinstance(value, str):
        return Use(value)
    if isinstance(value, Mapping) and isinstance(value.get("use"), str):
        return Use(value["use"], {str(k): v for k, v in value.items() if k != "use"})
    if isinstance(value, Use):
        return value
    raise ValueError("write a name, or a mapping with `use: name` and its parameters")


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _budgets(value: tuple[float, ...]) -> tuple[float, ...]:
    if not value:
        raise ValueError("give at least one budget, or leave the attack out")
    _once(value, "budget")
    return value


def _seeds(value: tuple[int, ...]) -> tuple[int, ...]:
    if not value:
        raise ValueError("give at least one seed, or leave the key out (seed 0)")
    wild = [seed for seed in value if not 0 <= seed < LARGEST_SEED]
    if wild:
        raise ValueError(f"seeds are whole numbers from 0 to {LARGEST_SEED - 1}")
    _once(value, "seed")
    return value


def _once(value: tuple[float, ...], what: str) -> None:
    """No number twice: equal runs are no second sample of anything."""
    twice = [one for place, one in enumerate(value) if one in value[:place]]
    if twice:
        raise ValueError(f"{what} {twice[0]} is given twice")


LARGEST_SEED = 2**62  # exclusive; tables keep seeds as 64 bits
Finite = Field(gt=0, allow_inf_nan=False)
UseField = Annotated[Use, BeforeValidator(_use)]
Uses = Annotated[tuple[UseField, ...], BeforeValidator(_listed)]
Budgets = Annotated[tuple[Annotated[float, Finite], ...], BeforeValidator(_listed), AfterValidator(_budgets)]  # fmt: skip


class Training(Strict):
    """How networks are trained; the recipe's steps stand with each model.

    Args:
        epochs: passes over the training split.
        batch_size: images a step.
        learning_rate: peak of the one-cycle schedule (Adam).
        weight_decay: decoupled, of Adam.
        arithmetic: "float32"; or "bfloat16", mixed precision with weights, optimiser and loss in
            float32. If None, the plan takes bfloat16 where the processor multiplies it natively.
    """

    epochs: int = Field(default=4, ge=1)
    batch_size: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    arithmetic: Literal["float32", "bfloat16"] | None = None


class ModelSpec(Strict):
    """One model of the matrix, after expansion.

    Either `network` is trained here by the steps of `train`, or `ensemble` names the model whose
    retrained copies it combines, or `factory` (and `weights`) bring the user's own. `family` is
    what reports show together; `entry` is the key of the file that it was written under.
    """

    name: str
    family: str
    entry: str = ""
    network: UseField | None = None
    train: Uses = ()
    training: Training = Training()
    ensemble: str | None = None
    size: int | None = Field(default=None, ge=1)
    factory: str | None = None
    weights: str | None = None
    budget: Annotated[float, Field(gt=0)] | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> ModelSpec:
        origins = [o for o in ("network", "ensemble", "factory") if getattr(self, o) is not None]
        if len(origins) != 1:
            raise ValueError("give exactly one of `network`, `ensemble` and `factory`")
        if (self.ensemble is None) != (self.size is None):
            raise ValueError("`ensemble` and `size` go together")
        if self.network is None and self.train:
            raise ValueError("`train` needs a `network`")
        return self

    @property
    def training_budget(self) -> float | None:
        """Largest eps of its training attacks, or the `budget` given for a model not trained here."""
        found = [step.params["eps"] for step in self.train if "eps" in step.params]
        return max(found) if found else self.budget


class AttackSpec(Strict):
    """One attack at a list of budgets.

    Args:
        name: how reports call it.
        use: the plug and its parameters.
        norm: of the threat.
        eps: budgets in [0, 1] pixel units; the word "training" means the budget that the model was
            trained at, or the middle one of the training budgets where it has none.
        images: how many images of the attack subset; all of it if None.
        headline: whether the per-sample worst case counts it.
    """

    name: str
    use: UseField
    norm: Norm = "linf"
    eps: Budgets | Literal["training"]
    images: int | None = Field(default=None, ge=1)
    headline: bool = True


class Shift(Strict):
    """Which corruptions, from a published set where the data has one, else made here."""

    data: str | None = None
    corruptions: tuple[str, ...] | Literal["all"] = "all"


class Ood(Strict):
    """Which sets are out of distribution, semantically near and far, and which detectors score."""

    near: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    far: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    detectors: Uses = ()
    fit_images: int = Field(default=10_000, ge=2)

    @model_validator(mode="after")
    def _something_to_score(self) -> Ood:
        if self.detectors and not self.sets:
            raise ValueError("`detectors` need a set to score: name one under `near` or `far`")
        return self

    @property
    def sets(self) -> tuple[str, ...]:
        """All sets, near ones first."""
        return self.near + self.far


class Calibration(Strict):
    """Bins of the binned errors."""

    bins: int = Field(default=15, ge=1)


class Crosscheck(Strict):
    """What the ledger compares.

    Args:
        models: names of models; empty means the baseline and the strongest-trained one.
        native_models: of these, the ones that the native protocol looks at; empty means all.
        concepts: attacks to compare, by concept, with parameters that all of them share.
        protocols: "lockstep", "native" or both.
        images: for attacks at a fixed budget.
        minimum_norm_images: for attacks that look for the smallest perturbation.
        eps: budgets by norm.
        steps: of iterative attacks.
        queries: of query attacks.
        metrics: compare calibration metrics, OOD scores and rankings of these models, too.
        boundary_cases: compare metrics on arrays made to be difficult, and every detector's sign.
    """

    models: tuple[str, ...] = ()
    native_models: tuple[str, ...] = ()
    concepts: Uses = (Use("fgsm"), Use("pgd"))
    protocols: tuple[Literal["lockstep", "native"], ...] = ("lockstep",)
    images: int = Field(default=64, ge=1)
    minimum_norm_images: int = Field(default=16, ge=1)
    eps: Mapping[Norm, Annotated[float, Field(gt=0)]] = {"linf": 0.1, "l2": 1.0}
    steps: int = Field(default=10, ge=1)
    queries: int = Field(default=200, ge=1)
    metrics: bool = True
    boundary_cases: bool = False


class Suite(Strict):
    """What a run is asked; see the module for the notation."""

    name: str
    title: str = ""
    question: str = ""
    data: UseField
    seeds: Annotated[tuple[int, ...], BeforeValidator(_listed), AfterValidator(_seeds)] = (0,)
    models: tuple[ModelSpec, ...]
    attacks: tuple[AttackSpec, ...] = ()
    attack_images: int | None = Field(default=None, ge=1)
    shift: Shift | None = None
    ood: Ood | None = None
    calibration: Calibration | None = Calibration()
    crosscheck: Crosscheck | None = None
    checks: bool = True
    baseline: str = ""
    limit: int | None = Field(default=None, ge=1)

    def model(self, name: str) -> ModelSpec:
        """The model of that name."""
        return next(model for model in self.models if model.name == name)

    @property
    def middle_budget(self) -> float | None:
        """Middle one of the L-inf budgets that models were trained at, else of those attacked; or None."""
        given = [a.eps for a in self.attacks if a.norm == "linf" and not isinstance(a.eps, str)]
        trained = {m.training_budget for m in self.models if m.training_budget}
        budgets = sorted(trained or {eps for budgets in given for eps in budgets})
        return budgets[len(budgets) // 2] if budgets else None
