"""Whether this installation can be believed: what is known beforehand, computed here and compared.

A closed form on a linear model; every library step by step against ours; faults that must be found;
models whose robustness is only masked; published weights where their files lie; versions, and the
known deviations in force. Nothing is stored.
"""

from __future__ import annotations

import importlib.metadata
import platform
import time
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from harness.attacks import run_attack
from harness.core.lazy import Lazy
from harness.core.registry import registry
from harness.core.rng import numpy_rng
from harness.core.threat import Threat
from harness.crosscheck import attacks, calibration, catalogue, comparison, direction, ood
from harness.crosscheck.verdicts import Subject, pairs, settle
from harness.data import stratified
from harness.metrics import softmax
from harness.results.verdicts import Examined
from harness.statistics import proportion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    import torch

    from harness.core.registry import Plug
    from harness.core.threat import Norm
    from harness.core.types import Classifier
    from harness.results import LedgerRow
    from harness.results.verdicts import Health
else:
    torch = Lazy("torch")

Seen = tuple[str, str, str, bool | None]
"""What is examined, what is expected, what is seen, and whether it is well; None is a remark."""

ASCENTS: tuple[tuple[str, Norm], ...] = (
    ("fgsm", "linf"),
    ("pgd", "linf"),
    ("fgsm", "l2"),
    ("pgd", "l2"),
)
ATTAINED = 0.99  # of the closed form; rounding takes less than 1e-3
ROWS = 32  # a power of two: a mean and a sum then differ by an exact factor
MASKED, BROKEN = 0.5, 0.05  # robust accuracy that masking feigns at least, and that is left at most
EPS = 0.3
PUBLISHED = {"clntrained": (9889, 0.0), "advtrained": (9864, 0.9324)}
"""Weights of advertorch's LeNet-5 -> right of 10,000, and robust accuracy (PGD 40 x 0.01 at 0.3)."""
PROBED = 500  # images on which the published robust accuracy is looked for


def examine(data_dir: Path | None = None) -> Iterator[Examined]:
    """All examinations, one after another; one that crashes has failed.

    Args:
        data_dir: where MNIST and published weights may lie; None examines without.
    """
    for part, look in PARTS.items():
        began = time.perf_counter()
        try:
            for what, expected, seen, well in look(data_dir):
                yield Examined(part, what, expected, seen, STATUS[well], _since(began))
                began = time.perf_counter()
        except Exception as error:  # noqa: BLE001 -- whatever an installation raises is its illness
            seen = f"{type(error).__name__}: {error}"
            yield Examined(part, "the examination itself", "no exception", seen, "FAIL", _since(began))  # fmt: skip


def _since(began: float) -> float:
    return time.perf_counter() - began


# ---------------------------------------------------------------- versions and deviations


def _versions(_: Path | None) -> Iterator[Seen]:
    yield "Python, torch, NumPy", "", _installed(), None
    for library in registry.libraries():
        found = library.found_version()
        if not library.installed:
            yield library.name, library.version, f"missing: pip install {library.install}", None
        else:
            yield library.name, library.version, found, True if found == library.version else None


def _installed() -> str:
    parts = (importlib.metadata.version(name) for name in ("torch", "numpy"))
    return ", ".join([platform.python_version(), *parts])


def _deviations(_: Path | None) -> Iterator[Seen]:
    """How many known deviations hold for what is installed, and of how many that is not known."""
    for library in registry.libraries():
        known = [one for one in catalogue.load() if one.library == library.name and not one.struck]
        if not known or not library.installed:
            continue
        force = Counter(one.in_force(library.found_version()) for one in known)
        names = " ".join(one.id for one in known if one.in_force(library.found_version()))
        seen = f"{force[True]} in force: {names}" if force[True] else "none in force"
        seen += f"; {force[False]} not looked at in this version" if force[False] else ""
        yield library.name, f"{len(known)} known", seen, None


# ---------------------------------------------------------------- a closed form


def _closed_form(_: Path | None) -> Iterator[Seen]:
    """On a linear model of two classes the margin falls by eps times the dual norm, and no more."""
    model, weight = _linear()
    rng = numpy_rng(0, "doctor", "images")
    x = torch.from_numpy(rng.uniform(0.3, 0.7, (ROWS, 1, 4, 4)).astype(np.float32))
    with torch.no_grad():
        y = model(x).argmax(1)
    for concept, norm in ASCENTS:
        threat = Threat(norm, 0.05)  # small: the box must not be reached
        best = threat.eps * float(np.linalg.norm(weight, 1 if norm == "linf" else 2))
        shares = {
            plug.implementation: _fall(plug, model, x, y, threat) / best
            for plug in _ready(attacks.implementations(concept, norm))
        }
        well = all(ATTAINED <= share <= 2 - ATTAINED for share in shares.values())
        seen = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
        yield f"{concept} {norm}: share of the best fall", f">= {ATTAINED}", seen, well


def _linear() -> tuple[Classifier, np.ndarray]:
    """Two classes of 16 pixels, and the difference of their weights."""
    weight = numpy_rng(0, "doctor", "weights").normal(size=(2, 16))
    return _classifier(weight, np.zeros(2), (1, 4, 4)), weight[0] - weight[1]


def _classifier(weight: np.ndarray, bias: np.ndarray, shape: tuple[int, int, int]) -> Classifier:
    from harness import models

    class Linear(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.from_numpy(weight.astype(np.float32)))
            self.bias = torch.nn.Parameter(torch.from_numpy(bias.astype(np.float32)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1) @ self.weight.T + self.bias

    return models.freeze(Linear(), in_shape=shape)


def _fall(plug: Plug, model: Classifier, x: torch.Tensor, y: torch.Tensor, threat: Threat) -> float:
    """Least fall of the margin over the images."""
    known = {parameter.name for parameter in plug.parameters}
    params = {k: v for k, v in {"steps": 10, "restarts": 0}.items() if k in known}
    found = run_attack(plug, params, model, x, y, threat, seed=0)
    with torch.no_grad():
        before, after = (_margin(model(z), y) for z in (x, found.x_adv))
    return float((before - after).min())


def _margin(logits: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    own = logits.gather(1, y[:, None])[:, 0]
    return own - logits.scatter(1, y[:, None], -float("inf")).amax(1)


def _ready(plugs: Iterable[Plug]) -> list[Plug]:
    return [plug for plug in plugs if plug.library is None or plug.library.installed]


# ---------------------------------------------------------------- every library, step by step


@dataclass(frozen=True, slots=True)
class Scene:
    """Digits, a fixed small network and one simple model of them."""

    x: torch.Tensor
    y: torch.Tensor
    network: Classifier
    means: Classifier


def _scene(rows: int = ROWS) -> Scene:
    from harness import models
    from harness.core.types import Use

    digits = registry.get("data", "digits").function(None)
    shape = (1, 28, 28)
    small = Use("lenet5", {"channels": (4, 8), "hidden": 16})
    network = models.freeze(models.build(small, num_classes=10, in_shape=shape, seed=0))
    x, y = (torch.from_numpy(part[:rows].copy()) for part in (digits.test.x, digits.test.y))
    return Scene(x, y, network, _classifier(*_nearest_mean(digits.train.x, digits.train.y), shape))


def _nearest_mean(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weight and bias of the classifier that takes the class with the nearest mean image."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    means = np.stack([flat[y == label].mean(0) for label in range(10)])
    return means, -np.square(means).sum(1) / 2


def _lockstep(_: Path | None) -> Iterator[Seen]:
    """Attacks: the same bits. Metrics and scores: the same numbers."""
    scene = _scene()
    rows = [
        row
        for concept in ("fgsm", "pgd")
        for start in (False, True)
        for row in _compared(scene, attacks.implementations(concept, "linf"), start=start)
    ]
    for library in _libraries(rows):
        verdicts = Counter(r.verdict for r in rows if (r.a, r.b) == ("harness", library))
        well = set(verdicts) == {"identical"}
        yield (
            f"{library}: FGSM and PGD, with and without a start",
            "identical",
            _told(verdicts),
            well,
        )
    lines = _numbers()
    for library in _libraries(lines):
        verdicts = Counter(r.verdict for r in lines if (r.a, r.b) == ("harness", library))
        well = set(verdicts) <= {"identical", "equivalent", "explained", "not comparable"}
        yield f"{library}: calibration metrics and rankings", "equivalent", _told(verdicts), well
    verdicts = Counter(row.verdict for row in comparison.rows(direction.comparisons()))
    well = set(verdicts) <= {"identical", "equivalent", "missing"}
    yield "direction of every detector", "up", _told(verdicts), well


def _libraries(rows: Sequence[LedgerRow]) -> list[str]:
    """Those that are there, in the order of the rows."""
    return list(dict.fromkeys(r.b for r in rows if r.a == "harness" and r.verdict != "missing"))


def _told(verdicts: Counter[str]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common())


def _compared(
    scene: Scene, plugs: list[Plug], *, start: bool = False, norm: Norm = "linf"
) -> list[LedgerRow]:
    threat, concept = Threat(norm, 0.1), plugs[0].concept
    run = partial(attacks.lockstep, plugs, scene.network, scene.x, scene.y, threat)
    ran = list(run(spec={"steps": 10}, seed=0, random_start=start))
    return settle(pairs(Subject(concept, concept, "", "lockstep", norm), ran))


def _numbers() -> list[LedgerRow]:
    """Calibration metrics of made-up logits, and rankings of made-up scores with ties."""
    rng = numpy_rng(0, "doctor", "logits")
    probs = softmax(3 * rng.normal(size=(500, 10)))
    labels = (np.cumsum(probs, 1) < rng.random((500, 1))).sum(1).clip(max=9)
    inside, outside = rng.normal(size=300).round(1), (1 + rng.normal(size=200)).round(1)
    lines = calibration.comparisons(probs, labels, protocols=("lockstep",))
    return comparison.rows([*lines, *ood.metric_comparisons(inside, outside)])


# ---------------------------------------------------------------- faults that must be found


def _planted(_: Path | None) -> Iterator[Seen]:
    """Ours with a fault beside ours without."""
    scene, ours = _scene(), registry.get("attack", "pgd")
    for name, fault in FAULTS.items():
        faulty = replace(ours, name="planted/pgd", function=partial(fault, ours.function))
        (row,) = _compared(scene, [ours, faulty])
        yield f"PGD, {name}", "different", row.verdict, row.verdict == "different"
    yield _last_bin_dropped()


def _flipped(attack: Callable[..., torch.Tensor], model: Classifier, x: torch.Tensor, *rest: object, **params: object) -> torch.Tensor:  # fmt: skip
    """Goes the other way round x: what it returns is mirrored."""
    return (2 * x - attack(model, x, *rest, **params)).clamp(0, 1)


def _too_small(attack: Callable[..., torch.Tensor], model: Classifier, x: torch.Tensor, y: torch.Tensor, threat: Threat, **params: object) -> torch.Tensor:  # fmt: skip
    """Reads eps as if pixels went to 255."""
    return attack(model, x, y, Threat(threat.norm, threat.eps / 255), **{**params, "step_size": None})  # fmt: skip


def _step_missing(attack: Callable[..., torch.Tensor], *rest: object, steps: int, **params: object) -> torch.Tensor:  # fmt: skip
    return attack(*rest, steps=steps - 1, **params)


FAULTS: dict[str, Callable[..., torch.Tensor]] = {
    "sign flipped": _flipped,
    "eps read as 0 to 255": _too_small,
    "last step missing": _step_missing,
}


def _last_bin_dropped() -> Seen:
    """An ECE without its most confident bin, against netcal or torchmetrics, whichever is there."""
    rng = numpy_rng(0, "doctor", "confident")
    probs, labels = softmax(5 * rng.normal(size=(300, 10))), rng.integers(0, 10, 300)
    kept = probs.max(1) < 14 / 15
    plugs = _ready(plug for plug in registry.plugs("metric") if plug.concept == "ece")
    question = comparison.Question("ECE", "calibration", "ece", "lockstep", 300, 1e-9, {})
    ours = plugs[0]
    answers = [
        comparison.ask(ours, partial(ours.function, probs[kept], labels[kept])),
        comparison.ask(plugs[-1], partial(plugs[-1].function, probs, labels)),
    ]
    (row,) = comparison.rows([comparison.compare(question, *answers)])
    return "ECE, last bin dropped", "different", row.verdict, row.verdict == "different"


# ---------------------------------------------------------------- models that only look robust


def _masked(_: Path | None) -> Iterator[Seen]:
    """H51: gradient masking feigns robustness to PGD, and our attacks together see through it."""
    from harness.checks.masks import MASKS

    scene = _scene(64)
    for name, mask in MASKS.items():
        model = mask(scene.means)
        wrong: dict[str, np.ndarray] = {}
        for title, plug, params in SUITE:
            attack, threat = registry.get("attack", plug), Threat("linf", EPS)
            found = run_attack(attack, params, model, scene.x, scene.y, threat, seed=0)
            wrong[title] = found.success
        feigned = 1 - float(wrong["PGD"].mean())
        left = 1 - float(np.any(list(wrong.values()), axis=0).mean())
        seen = f"PGD {feigned:.2f}, all {left:.2f}"
        well = feigned >= MASKED and left <= BROKEN
        yield name, f"PGD >= {MASKED}, all <= {BROKEN}", seen, well


SUITE = (
    ("PGD", "pgd", {"steps": 20, "restarts": 1}),
    ("margin", "pgd", {"steps": 20, "restarts": 1, "loss": "margin"}),
    ("Square", "square", {"queries": 300}),
)


# ---------------------------------------------------------------- published weights


def _published(data_dir: Path | None) -> Iterator[Seen]:
    """Clean accuracy to the digit; robust accuracy inside the interval of a stratified draw."""
    for name, (right, robust) in PUBLISHED.items():
        path = data_dir / "weights" / f"mnist_lenet5_{name}.pt" if data_dir else None
        if data_dir is None or path is None or not path.is_file():
            yield name, "", "no weights: --data-dir names their folder", None
            continue
        from harness import models

        source = "harness.models:advertorch_lenet5"
        model = models.brought(source, path, num_classes=10, in_shape=(1, 28, 28))
        test = registry.get("data", "mnist").function(data_dir).test
        labels = _predicted(model, test.x)
        hits = int((labels == test.y).sum())
        yield f"{name}: right of 10,000", f"{right:,}", f"{hits:,}", hits == right
        some = stratified(test, PROBED, seed=0)
        x, y = torch.from_numpy(some.x), torch.from_numpy(some.y)
        how = {"steps": 40, "step_size": 0.01, "restarts": 0, "keep": "final"}
        plug, threat = registry.get("attack", "pgd"), Threat("linf", EPS)
        found = proportion(~run_attack(plug, how, model, x, y, threat, seed=0).success)
        low, high = found.low or 0.0, found.high or 0.0
        seen = f"{100 * found.value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"
        yield f"{name}: PGD 40 x 0.01 at 0.3", f"{100 * robust:.2f} %", seen, low <= robust <= high


def _predicted(model: Classifier, x: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        parts = [model(part).argmax(1) for part in torch.from_numpy(x).split(500)]
    return torch.cat(parts).numpy()


PARTS: dict[str, Callable[[Path | None], Iterator[Seen]]] = {
    "versions": _versions,
    "closed form": _closed_form,
    "lockstep": _lockstep,
    "planted faults": _planted,
    "masked models": _masked,
    "published weights": _published,
    "deviations": _deviations,
}
STATUS: dict[bool | None, Health] = {True: "ok", False: "FAIL", None: "note"}
